"""From nothing to an edited picture with public files, against a server on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from styleclip import images
from styleclip.checkpoints import public, read_model, save_network
from styleclip.checkpoints.cache import Cache
from styleclip.checkpoints.public import LANDMARKER, NVIDIA, OPENAI, Bundle, PublicFile
from styleclip.faces.landmarks import Landmarks, MediapipeFinder
from styleclip.inversion.encoder import Encoder, EncoderConfig
from tests.apps.running import Run, files
from tests.pages import PUBLIC_FILES, blocks_for
from tests.pages import commands as commands_of
from tests.reference.public_layouts import write_clip, write_generator, write_vocabulary
from tests.reference.serving import Answer, Site, serving

ROOT = Path(__file__).parents[2]
PAGE = "https://example.org/page"
GENERATOR, CLIP, WORDS, ENCODER = "tiny.pt", "tiny-clip.pt", "tiny-words.gz", "tiny-encoder.st"
CLICKED = "tiny-encoder-2.st"
QUICK = ("--method", "optimize", "--space", "w_plus", "--steps", "2")


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every part in a public layout, as bytes."""
    folder = tmp_path_factory.mktemp("public")
    write_generator(folder / GENERATOR)
    write_clip(folder / CLIP)
    write_vocabulary(folder / WORDS)
    encoder = Encoder(EncoderConfig(32, 8, 32, widths=(8, 8, 8), hidden=16))
    config, state = encoder.config.to_dict(), encoder.state_dict()
    save_network(folder / ENCODER, "encoder", config, state)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def site(networks: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server of them, and in the registry a bundle of what it serves."""
    with serving() as site:
        for kind, name, licence in (
            ("generator", GENERATOR, NVIDIA),
            ("clip", CLIP, OPENAI),
            ("tokenizer", WORDS, OPENAI),
            ("encoder", ENCODER, OPENAI),
        ):
            address = site.put(name, networks[name])
            file = PublicFile(name, kind, address, PAGE, licence, about="tiny")  # type: ignore[arg-type]
            monkeypatch.setitem(public.FILES, name, file)
        clicked = replace(public.FILES[ENCODER], name=CLICKED, address=None)
        monkeypatch.setitem(public.FILES, CLICKED, clicked)
        parts = {"generator": GENERATOR, "clip": CLIP, "tokenizer": WORDS}
        for name, encoder in (("tiny", ENCODER), ("tiny-2", CLICKED)):
            bundle = Bundle(name, "tiny pictures", "a face", {**parts, "encoder": encoder})
            monkeypatch.setitem(public.BUNDLES, name, bundle)
        yield site


@pytest.fixture
def run(tiny_model: Path, capsys: pytest.CaptureFixture[str], place: Path) -> Run:
    """Every command reads its model anew, as it does for users."""
    return Run(tiny_model, capsys)


@pytest.fixture
def here() -> Cache:
    return Cache.here()


def models(run: Run, *arguments: str | Path) -> Run:
    return run("models", *arguments, model=False)


# A bundle, end to end


def test_fetch_and_edit(run: Run, site: Site, here: Cache) -> None:
    found = models(run, "fetch", "tiny", "--yes", "--json").json()
    assert [each["name"] for each in found["files"]] == [GENERATOR, CLIP, WORDS, ENCODER]
    assert found["models"] == ["tiny"] and found["skipped"] == []
    assert here.model("tiny").is_dir()
    assert f"{GENERATOR}: Nvidia Source Code License, {NVIDIA.page}; research" in run.err
    run("edit", "--seed", "1", "--model", "tiny", "a face -> a red face", *QUICK, "--out", "a.png",
        model=False)  # fmt: skip
    assert run.code == 0, run.err
    assert images.open_picture("a.png").size == (32, 32)
    assert images.read_recipe("a.png")["model"] == "tiny"
    shown = run("show", "a.png", "--replay", "--json", model=False).json()  # by its name alone
    assert shown["largest_difference"] == 0
    models(run, "fetch", "tiny")  # all here, nothing to accept
    assert (run.code, run.err) == (0, "") and len(site.requests) == 4


def test_edit_a_picture_with_the_encoder_and_without(
    run: Run, site: Site, here: Cache, picture: Path
) -> None:
    models(run, "fetch", "tiny", "--yes")
    for out in ("with.png", "without.png"):
        run("edit", picture, "a red face", "--model", "tiny", *QUICK, "--refine", "1", "--out", out,
            model=False)  # fmt: skip
        assert run.code == 0, run.err
        here.file(ENCODER).unlink(missing_ok=True)
    run("invert", picture, "--refine", "0", "--model", "tiny", model=False)
    assert run.code == 2 and "has no encoder" in run.err


def test_files_that_come_with_others(
    run: Run, site: Site, here: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config with its weights, a finder of faces with a model of faces; no part of either."""
    beside = replace(public.FILES[CLIP], beside=(WORDS,))
    monkeypatch.setitem(public.FILES, CLIP, beside)
    found = models(run, "fetch", CLIP, "--yes", "--json").json()
    assert [each["name"] for each in found["files"]] == [CLIP, WORDS]
    small = replace(public.BUNDLES["tiny"], parts={"generator": GENERATOR}, more=(ENCODER,))
    monkeypatch.setitem(public.BUNDLES, "tiny", small)
    found = models(run, "fetch", "tiny", "--yes", "--json").json()
    assert [each["name"] for each in found["files"]] == [GENERATOR, ENCODER]


def test_a_part_behind_a_click(
    run: Run, site: Site, here: Cache, networks: dict[str, bytes]
) -> None:
    found = models(run, "fetch", "tiny-2", "--yes", "--json").json()
    assert found["skipped"] == [CLICKED] and found["models"] == ["tiny-2"]
    assert f"save {PAGE} as {here.file(CLICKED)}" in run.err
    assert models(run, "fetch", CLICKED).code == 2
    assert "behind a click: open" in run.err
    here.file(CLICKED).write_bytes(networks[ENCODER])
    assert models(run, "fetch", "tiny-2", "--json").json()["skipped"] == []
    run("sample", "--model", "tiny-2", model=False)
    assert run.code == 0


@pytest.mark.slow
def test_a_killed_fetch_goes_on(site: Site, here: Cache) -> None:
    """kill -9 in the middle of the command, and the same command again; by a mirror."""
    name, content = "stylegan2-ffhq-256x256.pkl", bytes(range(256)) * 8192
    path = str(public.FILES[name].address).removeprefix("https://")
    site.put(path, content, Answer(cut_after=1_500_000), Answer(silence=300.0), Answer())
    command = [sys.executable, "-m", "styleclip", "models", "fetch", name, "--yes", "--json"]
    settings = {**os.environ, "STYLECLIP_MIRROR": site.address, "STYLECLIP_HOME": str(here.folder)}
    child = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(site.requests) < 2:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    assert not here.file(name).exists()
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["size"] == len(content)
    assert site.requests[-1] == ("/" + path, "bytes=1500000-")
    assert here.file(name).read_bytes() == content
    assert "no page states the SHA-256" in done.stderr


# What is asked first


def test_nothing_is_fetched_before_the_terms_are_accepted(
    run: Run, site: Site, here: Cache
) -> None:
    assert models(run, "fetch", "tiny").code == 2
    assert "add --accept-licence" in run.err and OPENAI.page in run.err
    assert site.requests == [] and not here.folder.exists()
    run("sample", "--model", "tiny", model=False)
    assert run.code == 2 and "run 'styleclip models fetch tiny'" in run.err


@pytest.mark.parametrize("yes", [True, False])
def test_a_terminal_is_asked(
    run: Run, site: Site, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    asked: list[str] = []
    monkeypatch.setattr(
        "typer.confirm", lambda question, err: asked.append(question) is None and yes
    )
    assert models(run, "fetch", WORDS).code == (0 if yes else 2)
    assert asked == ["Do you accept these terms?"] and len(site.requests) == int(yes)


def test_unknown_names(run: Run, site: Site) -> None:
    for command in (["fetch", "ffhp"], ["verify", "ffhp"], ["path", "ffhp"]):
        assert models(run, *command).code == 2
        assert "no public model or file 'ffhp'" in run.err
    assert models(run, "fetch").code == 2
    assert "name a model, such as ffhq" in run.err


def test_a_failed_fetch_is_one_sentence(run: Run, site: Site, here: Cache) -> None:
    site.files.clear()
    assert models(run, "fetch", "tiny", "--yes").code == 2
    (line,) = [line for line in run.err.splitlines() if ": error: " in line]
    assert f"there is no file at {site.address}/{GENERATOR}" in line
    assert not here.file(GENERATOR).exists()


# What is here


def test_list(run: Run, site: Site) -> None:
    found = models(run, "list", "--json").json()
    states = {row["name"]: row["state"] for row in found["models"]}
    assert states["portraits"] == "built in" and states["tiny"] == states["ffhq"] == "not fetched"
    kinds = {row["name"]: row["kind"] for row in found["files"]}
    assert kinds["ViT-B-32.pt"] == "clip" and kinds["model_ir_se50.pth"] == "identity"
    models(run, "fetch", CLIP, "--yes")
    assert re.search(r"tiny +1 of 4 files", models(run, "list").out)
    models(run, "fetch", "tiny-2", "--yes")
    shown = models(run, "list", "--files").out
    assert re.search(r"tiny-2 +ready, 3 of 4 files +tiny pictures", shown)
    assert re.search(rf"{CLICKED} +behind a click", shown)
    assert re.search(r"ffhq +not fetched +over 1,764 MB +photographs", shown)


def test_verify(run: Run, site: Site, here: Cache) -> None:
    assert models(run, "verify").out.startswith("nothing was fetched")
    models(run, "fetch", "tiny", "--yes")
    assert models(run, "verify").code == 0 and run.out.count("right") == 4
    content = here.file(CLIP).read_bytes()
    here.file(CLIP).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert models(run, "verify").code == 1
    assert re.search(rf"changed +{CLIP}", run.out) and run.out.count("right") == 3
    here.file(CLIP).unlink()
    found = models(run, "verify", CLIP, "--json")
    assert found.code == 1 and json.loads(found.out)["files"] == [{"name": CLIP, "state": "absent"}]


def test_path(run: Run, site: Site, here: Cache, tmp_path: Path) -> None:
    assert models(run, "path").out.strip() == str(here.folder)
    assert models(run, "path", CLIP, "--json").json() == {CLIP: str(here.file(CLIP))}
    assert len(models(run, "path", "tiny").out.splitlines()) == 4
    assert models(run, "path", "portraits").out.strip().endswith("weights")
    assert models(run, "path", "--cache", tmp_path / "x").out.strip() == str(tmp_path / "x")


def test_a_cache_elsewhere(
    run: Run, site: Site, here: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    models(run, "fetch", "tiny", "--yes", "--cache", "nets")
    assert Path("nets/files", CLIP).is_file() and not here.folder.exists()
    monkeypatch.setenv("STYLECLIP_HOME", "nets")
    run("sample", "--model", "tiny", model=False)
    assert run.code == 0, run.err


# One's own


@pytest.fixture
def own(networks: dict[str, bytes], place: Path) -> None:
    for name in (GENERATOR, CLIP, WORDS, ENCODER):
        Path(name).write_bytes(networks[name])


def test_add_and_edit(run: Run, own: None, here: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    found = models(
        run, "add", "mine", "--generator", GENERATOR, "--clip", CLIP, "--tokenizer", WORDS,
        "--encoder", ENCODER, "--neutral", "a face", "--description", "my own", "--faces", "--json",
    ).json()  # fmt: skip
    assert read_model("mine").extra == {"alignment": {"kind": "ffhq"}}
    assert found["out"] == str(here.model("mine") / "model.json")
    assert re.search(r"mine +added +my own", models(run, "list").out)
    assert models(run, "path", "mine").out.strip() == str(here.model("mine"))
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # its files are found from everywhere
    run("edit", "--seed", "1", "--model", "mine", "a red face", *QUICK, model=False)
    assert run.code == 0, run.err
    assert files() == {"seed-1-a-red-face.png"}


def test_a_damaged_model_is_listed(run: Run, here: Cache) -> None:
    here.model("mine").mkdir(parents=True)
    (here.model("mine") / "model.json").write_text("{")
    assert re.search(r"mine +damaged +.*is not readable JSON", models(run, "list").out)


def test_add_with_a_fetched_clip(run: Run, site: Site, own: None) -> None:
    Path(CLIP).unlink()
    arguments = ["add", "mine", "--generator", GENERATOR, "--clip", CLIP, "--tokenizer", WORDS,
                 "--neutral", "a face"]  # fmt: skip
    assert models(run, *arguments).code == 2
    assert f"run 'styleclip models fetch {CLIP}' first" in run.err
    models(run, "fetch", CLIP, "--yes")
    assert models(run, *arguments).code == 0
    run("edit", "--seed", "1", "--model", "mine", "a red face", *QUICK, model=False)
    assert run.code == 0, run.err


def test_what_cannot_be_added(run: Run, own: None) -> None:
    def refused(*arguments: str) -> str:
        assert models(run, "add", *arguments).code == 2
        return run.err

    whole = ("--generator", GENERATOR, "--clip", CLIP, "--tokenizer", WORDS, "--neutral", "a face")
    assert "is taken by a public model" in refused("ffhq", *whole)
    assert "is taken by a public model" in refused("portraits", *whole)
    assert "is not a name" in refused("../mine", *whole)
    assert "--neutral is empty" in refused("mine", *whole[:-1], " ")
    assert "no file nothing.pkl" in refused("mine", "--generator", "nothing.pkl", *whole[2:])
    assert "models fetch bpe_simple_vocab" in refused("mine", *whole[:4], *whole[6:])
    models(run, "add", "mine", *whole)
    assert "there is a model 'mine' already" in refused("mine", *whole)
    assert models(run, "add", "mine", *whole, "--force").code == 0


def test_a_folder_of_ones_own(run: Run, own: None) -> None:
    Path("mine").mkdir()
    parts = {"generator": f"../{GENERATOR}", "clip": f"../{CLIP}", "tokenizer": f"../{WORDS}"}
    description = {"name": "mine", "neutral": "a face", "parts": parts}
    Path("mine/model.json").write_text(json.dumps(description))
    run("edit", "--seed", "1", "--model", "mine", "a red face", *QUICK, "--out", "a.png",
        model=False)  # fmt: skip
    assert run.code == 0, run.err


# What the documents say


@pytest.mark.parametrize("page", ["README.md", "docs/real-weights.md"])
def test_the_documented_commands_run(
    page: str, run: Run, site: Site, own: None, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are written; only the files are smaller and the server is this machine."""
    served = {"generator": GENERATOR, "clip": CLIP, "tokenizer": WORDS, "encoder": ENCODER}
    for name, part in public.BUNDLES["ffhq"].parts.items():
        known = public.FILES[part]
        if name == "identity":
            monkeypatch.setitem(public.FILES, part, replace(known, address=None))
        else:
            address = public.FILES[served[name]].address
            small = replace(known, address=address, sha256=None, size=None)
            monkeypatch.setitem(public.FILES, part, small)
    finder = replace(
        public.FILES[LANDMARKER], address=site.put("task", b"task"), sha256=None, size=None
    )
    monkeypatch.setitem(public.FILES, LANDMARKER, finder)
    asked: list[Path] = []

    def find(finder: MediapipeFinder, image: np.ndarray) -> list[Landmarks]:
        asked.append(finder.model)
        return [Landmarks((32, 25), (48, 25), (34, 40), (46, 40))]

    monkeypatch.setattr(MediapipeFinder, "find", find)  # mediapipe itself is an extra
    picture.rename("photo.jpg")
    Path(GENERATOR).rename("network.pkl")
    commands = [words for block in blocks_for(page, PUBLIC_FILES) for words in commands_of(block)]
    assert sum("fetch" in words for words in commands) >= 1
    assert sum("edit" in words for words in commands) >= 1
    for words in commands:
        quick = [*QUICK, "--refine", "1"] if words[0] == "edit" else []
        assert run(*words, *quick, model=False).code == 0, (words, run.err)
    assert asked == [Cache.here().file(LANDMARKER)] and asked[0].read_bytes() == b"task"
