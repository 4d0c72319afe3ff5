"""Makes the notebooks of this folder from their texts, and runs them.

  text/01-quickstart.md -cells-> notebook -run-> with outputs -tidied-> 01-quickstart.ipynb
A text is Markdown; each of its fenced Python blocks becomes a code cell. The cell that installs is
put behind the introduction here, since it is the same in all of them. They run in a folder and a
home of their own, without network; whatever a cell writes there is gone afterwards.
  python notebooks/build.py         all, two minutes on one core
  python notebooks/build.py 02 05   those whose names begin so
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # or jupyter_core warns when it is imported

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode, v4
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TEXTS = sorted((HERE / "text").glob("*.md"))
SECONDS = 300  # that one cell may take
QUALITY = 80  # of the JPEGs that outputs are kept as

QUIET = ["--log-level=ERROR", "--HistoryManager.enabled=False"]  # the kernel listens here alone
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}

INSTALL = """\
import importlib.util
{imports}import subprocess
import sys
import warnings

warnings.filterwarnings("ignore", "IProgress not found")  # of bars, which no cell here draws
if importlib.util.find_spec("styleclip") is None:  # in a fresh Colab, say
{fetch}    pip = [sys.executable, "-m", "pip"]
    if "google.colab" in sys.modules:  # its torchvision is of another torch: ../docs/install.md
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    tested = ["-c", "../constraints.txt", "torch"]  # in one command with the package
    subprocess.run([*pip, "install", "--quiet", *tested, ".."], check=True)
    importlib.invalidate_caches()"""
# where the project has an address, so that a notebook may come alone
FETCH = """\
    subprocess.run(["git", "clone", "--depth", "1", {address!r}, "fetched"], check=True)
    os.chdir("fetched/notebooks")
"""
BADGE = """\
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]\
(https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb)"""

# run by the kernel before the first cell: whoever asks for a connection elsewhere gets an error
OFFLINE = """\
import sys
def _refuse(event, arguments):
    if event == "socket.getaddrinfo":
        asked = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        asked = arguments[1][0]
    else:
        return
    if asked not in (None, "", "localhost", "127.0.0.1", "::1"):
        raise OSError(f"a notebook asked for {asked}: they run without network")
sys.addaudithook(_refuse)
"""


def cells(text: str, name: str, address: str = "") -> NotebookNode:
    """A text as a notebook without outputs; ``address`` is the project's, "" if it has none."""
    found = []
    for kind, content in _parts(text):
        found.append(v4.new_code_cell(content) if kind == "code" else v4.new_markdown_cell(content))
    fetch = FETCH.format(address=address) if address else ""
    install = INSTALL.format(imports="import os\n" if address else "", fetch=fetch)
    found.insert(1, v4.new_code_cell(install))
    if address:
        repository = address.removesuffix(".git").split("github.com/")[-1].strip("/")
        found.insert(0, v4.new_markdown_cell(BADGE.format(repository=repository, name=name)))
    for i, cell in enumerate(found):
        cell.id = f"{name[:2]}-{i:02}"  # the same at every build
    notebook = v4.new_notebook(cells=found, metadata=METADATA)
    notebook.nbformat_minor = 5
    return notebook


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """("markdown" or "code", content) of every stretch of prose and every Python block."""
    for i, part in enumerate(re.split(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)):
        if part.strip():
            yield ("code" if i % 2 else "markdown"), part.strip("\n")


def project_address() -> str:
    """Where the project lives, as pyproject.toml says: ``[project.urls] Repository``; "" if not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project.get("urls", {}).get("Repository", ""))


def run(notebook: NotebookNode, environment: Mapping[str, str] | None = None) -> NotebookNode:
    """Execute in a fresh kernel, and tidy the outputs. Raises ``CellExecutionError``."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place, "home")
        startup = home / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "offline.py").write_text(OFFLINE)
        folder = Path(place, "notebooks")
        folder.mkdir()
        shutil.copytree(ROOT / "examples", Path(place, "examples"))
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", record_timing=False,
            resources={"metadata": {"path": str(folder)}}, extra_arguments=QUIET,
        )  # fmt: skip
        client.execute(env=_kernel_environment(home) | dict(environment or {}))
    for cell in notebook.cells:
        _tidy(cell)
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel wrote its version into it
    return notebook


def _kernel_environment(home: Path) -> dict[str, str]:
    named = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "TORCH_HOME", "STYLECLIP_HOME")
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **dict.fromkeys(named, str(home)),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # debugpy warns of Python's frozen modules
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def _tidy(cell: NotebookNode) -> None:
    """Keep what a reader sees, and nothing that differs from run to run."""
    cell.metadata = NotebookNode()
    if cell.cell_type != "code":
        return
    cell.execution_count = None
    cell.outputs = _joined(cell.outputs)
    for output in cell.outputs:
        if "data" not in output:
            continue
        output.metadata = NotebookNode()
        if "execution_count" in output:
            output.execution_count = None
        if "image/png" in output.data:
            output.data = NotebookNode({"image/jpeg": _as_jpeg(output.data["image/png"])})


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """What a cell prints arrives in one piece or in several, as the machine is busy: one here."""
    kept: list[NotebookNode] = []
    for output in outputs:
        same = kept and output.output_type == "stream" and kept[-1].get("name") == output.name
        if same:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def _as_jpeg(png: str) -> str:
    """A picture at a third of its bytes, in base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def outputs_of(notebook: NotebookNode) -> list[list[tuple[Any, ...]]]:
    """What kinds of output each code cell has: what two runs must agree in."""
    return [
        [(each.output_type, each.get("name"), *sorted(each.get("data", {}))) for each in c.outputs]
        for c in notebook.cells
        if c.cell_type == "code"
    ]


def main(names: list[str]) -> None:
    for path in TEXTS:
        if names and not path.name.startswith(tuple(names)):
            continue
        notebook = run(cells(path.read_text("utf-8"), path.stem, project_address()))
        target = HERE / f"{path.stem}.ipynb"
        nbformat.write(notebook, target)
        print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
