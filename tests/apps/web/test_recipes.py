"""Recipes that strangers wrote: each is a picture and a doubt, whatever it says."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from styleclip.apps.web.engine import Engine
from styleclip.errors import ImageError
from styleclip.images import png_bytes
from styleclip.recipe import _pack
from tests.apps.web.test_safety import EVIL, with_recipe

OURS = "the weights"  # stands for the weights that are here


def source(**more: Any) -> dict[str, Any]:
    return {"version": 1, "model": "portraits", "hashes": {"generator": OURS}, "made_with": "x",
            "source": {"noise": "const", "seed": 1, "truncation": 0.7}, "edits": [],
            **more}  # fmt: skip


def edits(**config: Any) -> dict[str, Any]:
    """A recipe of one edit that moves nothing, with such settings."""
    edit = {"method": "direction", "target": "red hair", "neutral": "hair", "strength": 1.0,
            "config": config}  # fmt: skip
    return source(edits=[edit])


def written(engine: Engine, recipe: Any) -> bytes:
    """A PNG of these weights whose picture is what its recipe makes, if that makes any."""
    ours = engine.studio.hashes("generator")["generator"]
    text = recipe if isinstance(recipe, str) else json.dumps(recipe).replace(OURS, ours)
    if isinstance(recipe, str):
        return with_recipe(text)
    return png_bytes(engine.person(1, 0.7).picture, json.loads(text))


def test_a_recipe_of_these_weights_is_used(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(written(engine, edits(threshold=0.1, strength=2)))
    _, look, _ = engine._read(path)
    assert look is not None and (look.rows[0].threshold, look.rows[0].strength) == (0.1, 2.0)


@pytest.mark.parametrize(
    "recipe",
    [
        "{" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        source(source={"noise": "const", "w_plus": {"shape": [10**9, 9], "data": ""}}),
        source(source={"noise": "const", "w_plus": "A" * 10**6}),
        source(source={"noise": "const", "seed": 10**30, "truncation": 1}),
        source(edits=[{"method": "direction", "target": EVIL, "neutral": EVIL,
                       "strength": 1e308, "config": {"strength": 1e-300}}] * 500),
        source(version=EVIL),
        source(hashes={"generator": EVIL}, model=EVIL),
        edits(threshold="x"),
        edits(threshold=float("nan")),
        edits(threshold=7),
        edits(strength="x"),
        edits(strength=[1]),
        edits(strength=1e300),
        edits(strengths={"a": 1}),
        edits(strengths=[None]),
        edits(strength=10**400),
    ],
    ids=map(str, range(17)),
)  # fmt: skip
def test_a_hostile_recipe_is_not_used(engine: Engine, tmp_path: Path, recipe: Any) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(written(engine, recipe))
    picture, look, note = engine._read(path)
    assert picture.size == (32, 32) and look is None and len(note) < 500
    job = engine.opened(path, threading.Event())
    list(job)
    assert job.result[0].edits == []


@pytest.mark.parametrize("shape", [(300, 7, 16), (7, 16), (1, 1, 7, 16)])
def test_a_latent_is_of_one_picture(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "me.png"
    w_plus = _pack(torch.zeros(shape))
    path.write_bytes(written(engine, source(source={"noise": "const", "w_plus": w_plus})))
    monkeypatch.setattr(engine.studio, "render", None)  # nothing is drawn for it
    _, look, note = engine._read(path)
    assert look is None and f"a w_plus of shape {list(shape)}" in note


def test_a_recipe_that_unpacks_without_end_is_refused(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(with_recipe("A" * 50_000_000, packed=True))  # 50 kB that become 50 MB
    with pytest.raises(ImageError, match="damaged or truncated"):
        engine._read(path)
