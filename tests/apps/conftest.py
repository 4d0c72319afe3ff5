"""A working directory, a picture in it, and the command line with a model that is loaded once."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image

from styleclip.studio import Studio
from tests.apps.running import Run
from tests.faces.faces import UPRIGHT

load = Studio.load


@cache
def load_once(name: str, device: torch.device, identity: str | None = None) -> Studio:
    return load(name, device, identity)


@pytest.fixture
def run(
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    monkeypatch.setattr(Studio, "load", load_once)
    monkeypatch.setattr("styleclip.apps.writing.SWEEP", 3)  # a GIF takes longer than its edit
    return Run(tiny_model, capsys)


@pytest.fixture
def picture(place: Path) -> Path:
    """A photograph, so to speak: not square, not the model's size."""
    Image.linear_gradient("L").resize((80, 60)).convert("RGB").save("me.jpg")
    return Path("me.jpg")


@pytest.fixture(scope="session")
def face_model(tiny_model: Path) -> Path:
    """The tiny model again, of faces now."""
    folder = tiny_model.parent / "faces"
    shutil.copytree(tiny_model, folder)
    description = json.loads((folder / "model.json").read_text())
    description["alignment"] = {"kind": "points", **UPRIGHT.to_json()}
    (folder / "model.json").write_text(json.dumps(description))
    return folder
