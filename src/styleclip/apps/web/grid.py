"""A direction over strengths and thresholds: which way of a sentence suits a picture.

look -> (strength, threshold, picture) ... of its last sentence that asks something, one threshold
        after the other
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from styleclip.apps.web.session import Look
from styleclip.errors import StyleclipError

if TYPE_CHECKING:
    from PIL import Image

    from styleclip.apps.web.engine import Engine

GRID = ((-3.0, 0.0, 2.0, 4.0, 6.0, 8.0), (0.0, 0.05, 0.1, 0.15))  # strengths, thresholds


def cells(engine: Engine, look: Look) -> Iterator[tuple[float, float, Image.Image]]:
    """Pictures of the last sentence by its direction, the others as they are; none if none asks."""
    index = look.last_asked
    if index is None:
        return
    if look.rows[index].method != "direction":
        look = look.with_row(index, method="direction")
    strengths, thresholds = GRID
    for threshold in thresholds:
        try:
            row_look = engine.found(look.with_row(index, threshold=threshold))
        except StyleclipError:  # it leaves nothing: so do all higher ones
            break
        looks = [row_look.with_row(index, strength=each) for each in strengths]
        pictures = engine.pictures(row_look, [each.edits for each in looks])
        for strength, picture in zip(strengths, pictures, strict=True):
            yield strength, threshold, picture
