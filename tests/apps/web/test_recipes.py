"""Recipes that strangers wrote: each is a picture and a doubt, whatever it says."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from styleclip.apps.web.engine import Engine
from styleclip.errors import ImageError
from tests.apps.web.test_safety import EVIL, with_recipe


def source(**more: Any) -> dict[str, Any]:
    return {"version": 1, "model": "portraits", "hashes": {}, "made_with": "x", "edits": [],
            "source": {"noise": "const", "seed": 1, "truncation": 0.7}, **more}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        with_recipe("{" * 100_000),
        with_recipe("[" * 100_000 + "]" * 100_000),
        with_recipe(source(source={"noise": "const", "w_plus": {"shape": [10**9, 9], "data": ""}})),
        with_recipe(source(source={"noise": "const", "w_plus": "A" * 10**6})),
        with_recipe(source(source={"noise": "const", "seed": 10**30, "truncation": 1})),
        with_recipe(source(edits=[{"method": "direction", "target": EVIL, "neutral": EVIL,
                                   "strength": 1e308, "config": {"strength": 1e-300}}] * 5000)),
        with_recipe(source(version=EVIL)),
        with_recipe(source(model=EVIL)),
    ],
    ids=map(str, range(8)),
)  # fmt: skip
def test_a_hostile_recipe_is_not_used(engine: Engine, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(content)
    picture, look, note = engine._read(path)
    assert picture.size == (32, 32) and look is None and len(note) < 500
    job = engine.opened(path, threading.Event())
    list(job)
    assert job.result[0].edits == []


def test_a_recipe_that_unpacks_without_end_is_refused(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(with_recipe("A" * 50_000_000, packed=True))  # 50 kB that become 50 MB
    with pytest.raises(ImageError, match="damaged or truncated"):
        engine._read(path)
