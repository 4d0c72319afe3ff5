"""The notebooks: what their texts say, well-formed, and run from top to bottom without network."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from PIL import Image

from notebooks import build
from styleclip.checkpoints.registry import DESCRIPTION
from tests.test_project import problem_with

NAMES = [path.stem for path in build.TEXTS]
WITH_A_MODEL = NAMES[:5]  # the last makes its own
ADDRESS = "https://github.com/someone/something"
MOST = 600_000  # bytes, pictures included
ABSOLUTE = re.compile(r"(?<![\w.:/)])/(home|root|tmp|usr|var|work|Users|opt|content)/|[A-Z]:\\\\")


def text_of(name: str) -> str:
    return (build.HERE / "text" / f"{name}.md").read_text("utf-8")


def stored(name: str) -> NotebookNode:
    return nbformat.read(build.HERE / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(notebook: NotebookNode) -> list[np.ndarray]:
    """Every picture among the outputs, as RGB."""
    found = [
        output.data["image/jpeg"]
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/jpeg" in output.get("data", {})
    ]
    opened = [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]
    return [np.asarray(each.convert("RGB")) for each in opened]


def complaints(notebook: NotebookNode) -> list[str]:
    """Errors among the outputs, and what went to stderr: warnings do."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [
        str(each) for each in outputs if each.output_type == "error" or each.get("name") == "stderr"
    ]


def test_there_are_six_and_nothing_else() -> None:
    assert len(NAMES) == 6
    assert {path.stem for path in build.HERE.glob("*.ipynb")} == set(NAMES)


# What is committed


@pytest.mark.parametrize("name", NAMES)
def test_is_well_formed(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata == build.METADATA
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(not cell.metadata for cell in notebook.cells)
    assert all(cell.execution_count is None for cell in code_cells(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_says_what_its_text_says(name: str) -> None:
    built = build.cells(text_of(name), name, build.project_address())
    found = [(cell.id, cell.cell_type, cell.source) for cell in stored(name).cells]
    assert found == [(cell.id, cell.cell_type, cell.source) for cell in built.cells], (
        f"run: python notebooks/build.py {name[:2]}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_is_committed_with_its_pictures(name: str) -> None:
    notebook, path = stored(name), build.HERE / f"{name}.ipynb"
    assert complaints(notebook) == []
    assert len(pictures(notebook)) >= 5
    assert all(picture.std() > 20 for picture in pictures(notebook))
    assert path.stat().st_size < MOST
    assert not ABSOLUTE.search(path.read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text_of(name))
    assert [each for each in links if "://" not in each and not (build.HERE / each).exists()] == []


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("02-latent-optimisation", "optimization"),
        ("03-latent-mapper", "mapper"),
        ("04-global-directions", "direction-exact"),
        ("04-global-directions", "direction"),
    ],
)
def test_figures_are_the_committed_ones(name: str, row: str) -> None:
    """Of a method on the benchmark's plain prompts: a mapper trained anew has others."""
    results = json.loads((build.ROOT / "benchmarks/results/portraits.json").read_text())["edits"]
    (found,) = (each for each in results if (each["row"], each["file"]) == (row, "plain"))
    for share in (found["success"]["mean"], found["kept"]["mean"]["mean"]):
        assert f"{100 * share:.1f} %" in text_of(name)


# How they are made


def test_paths_of_a_machine_would_be_noticed() -> None:
    for text in ('"/home/me/x"', "in /tmp/abc", r'"C:\\\\Users"'):
        assert ABSOLUTE.search(text), text
    assert not ABSOLUTE.search("![x](https://a.org/home/me) ../tmp/x a/tmp/b")


@pytest.mark.parametrize("address", ["", ADDRESS])
def test_the_cell_that_installs_does_nothing_here(address: str) -> None:
    notebook = build.cells(text_of(NAMES[0]), NAMES[0], address)
    install = code_cells(notebook)[0].source
    assert "pip" in install
    before = Path.cwd()
    exec(compile(install, "the cell", "exec"), {})
    assert Path.cwd() == before


@pytest.mark.parametrize("colab", [False, True])
@pytest.mark.parametrize("address", ["", ADDRESS])
def test_the_cell_that_installs(
    address: str, colab: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tested versions, and never a torchvision of another torch beside them."""
    (place / "fetched" / "notebooks").mkdir(parents=True)
    asked: list[list[str]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append(command))
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", object())
    install = code_cells(build.cells(text_of(NAMES[0]), NAMES[0], address))[0].source
    exec(compile(install, "the cell", "exec"), {})
    pip = [sys.executable, "-m", "pip"]
    fetch = ["git", "clone", "--depth", "1", ADDRESS, "fetched"]
    assert asked == [
        *([fetch] if address else []),
        *([[*pip, "uninstall", "--quiet", "--yes", "torchvision"]] if colab else []),
        [*pip, "install", "--quiet", "-c", "../constraints.txt", "torch", ".."],
    ]
    assert (build.HERE / "../constraints.txt").is_file()
    if address:
        assert Path.cwd() == place / "fetched" / "notebooks"


@pytest.mark.parametrize("name", WITH_A_MODEL)
def test_the_cell_of_the_model_can_fetch_another(name: str) -> None:
    (cell,) = (each.source for each in code_cells(stored(name)) if "MODEL =" in each.source)
    (line,) = re.findall(r"^# !(.+)$", cell, re.MULTILINE)
    words = shlex.split(line, comments=True)
    assert words[1:4] == ["models", "fetch", "ffhq"] and f'or "{words[3]}"' in cell
    assert problem_with(words) is None
    assert "--accept-licence" in words  # nobody can answer in a notebook


def test_a_badge_needs_an_address() -> None:
    first = build.cells(text_of(NAMES[1]), NAMES[1], ADDRESS).cells[0].source
    assert f"github/someone/something/blob/main/notebooks/{NAMES[1]}.ipynb" in first
    without = build.cells(text_of(NAMES[1]), NAMES[1], "")
    assert not [cell for cell in without.cells if "colab-badge" in cell.source]


def test_tidied_outputs_hold_no_trace_of_the_run() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": "<at 0x7f>"}
    output = nbformat.v4.new_output("execute_result", data=data, execution_count=3)
    cell = nbformat.v4.new_code_cell("x", outputs=[output], execution_count=3)
    cell.metadata["execution"] = {"iopub.execute_input": "2020-01-01"}
    build._tidy(cell)
    assert not cell.metadata and cell.execution_count is None
    assert list(output.data) == ["image/jpeg"] and not output.metadata
    assert output.execution_count is None


def test_what_is_printed_in_pieces_is_kept_in_one() -> None:
    pieces = [("stdout", "a\n"), ("stdout", "b\n"), ("stderr", "c"), ("stdout", "d")]
    outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs)
    build._tidy(cell)
    assert [(each.name, each.text) for each in cell.outputs] == [
        ("stdout", "a\nb\n"), ("stderr", "c"), ("stdout", "d")
    ]  # fmt: skip


# That they run


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_runs_as_it_is_committed(name: str) -> None:
    ran = build.run(build.cells(text_of(name), name))
    assert complaints(ran) == []
    assert build.outputs_of(ran) == build.outputs_of(stored(name))
    # a caption with another number may wrap elsewhere, so heights can differ
    widths = [each.shape[1] for each in pictures(ran)]
    assert widths == [each.shape[1] for each in pictures(stored(name))]


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_A_MODEL)
def test_runs_with_another_model(name: str, tiny_model: Path, tmp_path: Path) -> None:
    """A model without a mapper, a bank and an identity network, as "ffhq" may be."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_model, folder)
    description = json.loads((folder / DESCRIPTION).read_text()) | {"alignment": {"kind": "ffhq"}}
    (folder / DESCRIPTION).write_text(json.dumps(description))
    switch = 'MODEL = "portraits"'
    assert text_of(name).count(switch) == 1
    other = text_of(name).replace(switch, f"MODEL = {str(folder)!r}")
    ran = build.run(build.cells(other, name))
    assert complaints(ran) == []
    assert len(pictures(ran)) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "asking",
    ["socket.getaddrinfo('example.org', 80)", "socket.create_connection(('192.0.2.1', 80), 1)"],
)
def test_a_cell_that_asks_for_the_network_fails(asking: str) -> None:
    code = f"import socket\n{asking}"
    notebook = build.cells(f"# A title\n\n```python\n{code}\n```\n", "00-none")
    from nbclient.exceptions import CellExecutionError

    with pytest.raises(CellExecutionError, match="a notebook asked for"):
        build.run(notebook)
