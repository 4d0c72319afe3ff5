"""The wheel edits a picture by itself: outside the checkout, with what is inside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed, away from this checkout and its settings."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: no leftovers of earlier builds, nothing written into the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    run(*build, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    package = ROOT / "src" / "styleclip"
    wanted = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    weights = {name for name in wanted if "/portraits/weights/" in name}
    assert any(name.endswith(".safetensors") for name in weights)
    assert {"styleclip/py.typed", "styleclip/portraits/prompts/plain.json"} <= wanted
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert not wanted - inside
    assert not {name for name in inside - wanted if ".dist-info/" not in name}
    assert wheel.stat().st_size < 32 * 2**20


def test_wheel_edits_a_picture_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # Borrow the dependencies from this environment; its .pth files (the checkout) do not count.
    borrowed = sysconfig.get_path("purelib")
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
    (Path(own.strip()) / "borrowed.pth").write_text(borrowed + "\n")
    location = run(python, "-c", "import styleclip; print(styleclip.__file__)", cwd=tmp_path)
    assert Path(location.strip()).is_relative_to(home)

    shutil.copy(ROOT / "examples" / "portrait.png", tmp_path / "portrait.png")
    sentence = "a face -> a face with red hair"
    styleclip = home / "bin" / "styleclip"
    run(styleclip, "edit", "portrait.png", sentence, "--out", "edited.png", cwd=tmp_path)

    original, edited = (Image.open(tmp_path / name) for name in ("portrait.png", "edited.png"))
    with original, edited:
        assert edited.format == "PNG"
        difference = ImageChops.difference(
            original.convert("RGB").resize(edited.size), edited.convert("RGB")
        )
    assert difference.getbbox() is not None
