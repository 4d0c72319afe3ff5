"""What is made of edits: the picture with its recipe, and what stands beside it.

squares before and after -> the square, or the whole photo -> PNG, GIF, MP4, heat map, strip
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from styleclip.apps.outputs import Outputs, make_folder, save_picture
from styleclip.apps.starts import Request, Square

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.editing.edit import Edit

SWEEP = 13  # pictures of a strength sweep, 0 included
PREVIEW = 768  # pixels each way that a whole photo has at most in a strip or a sweep


def write_picture(
    request: Request,
    squares: Sequence[Square],
    edits: Sequence[Sequence[Edit]],
    strengths: Sequence[float],
    outputs: Outputs,
    picture: int,
    found_here: bool,
) -> list[Tensor]:
    """The squares with their edits; the picture, its sweeps and its edit are in their files."""
    from styleclip import images
    from styleclip.apps import films

    def at(level: float) -> list[Tensor]:
        return [
            square.start.studio.render(square.w_plus, square.edited(each, strengths, level))
            for square, each in zip(squares, edits, strict=True)
        ]

    path = outputs.pictures[picture]
    first = squares[0].start
    after = at(1.0)
    whole = _whole(request, squares, after)
    make_folder(path.parent)
    alone = len(squares) == 1  # a recipe is one square's
    save_picture(
        path,
        whole,
        first.studio,
        first.source,
        squares[0].edited(edits[0], strengths),
        request.no_recipe or not alone,
        outputs.force,
        found_here,
        _corners(request),
        request.run,
    )
    if outputs.gifs or outputs.films:
        levels = [i / (SWEEP - 1) for i in range(SWEEP)]
        frames = [_preview(_whole(request, squares, at(level))) for level in levels]
        if outputs.gifs:
            images.save_gif(outputs.gifs[picture], frames, overwrite=outputs.force)
        if outputs.films:
            film = films.sweep([images.tile(each) for each in frames])
            films.write_mp4(outputs.films[picture], *film, overwrite=outputs.force)
    if outputs.heats:
        heat = _heat(request, squares, whole)
        images.save_image(outputs.heats[picture], heat, overwrite=outputs.force)
    if outputs.edit is not None:
        first.studio.save_edit(outputs.edit, edits[0][0])
    return after


def _whole(
    request: Request, squares: Sequence[Square], after: Sequence[Tensor]
) -> Tensor | Image.Image:
    """What is written: the edited square, or the photo with the edited squares in it."""
    if request.photo is None or not request.photo.blend:
        return after[0]
    return request.photo.with_edits([square.before for square in squares], after)


def _heat(request: Request, squares: Sequence[Square], whole: Tensor | Image.Image) -> Image.Image:
    """Where ``whole``, which is written, differs from what it was before the edit."""
    from PIL import Image

    from styleclip import images

    if not isinstance(whole, Image.Image):
        return images.heat_overlay(squares[0].before, whole)
    assert request.photo is not None
    return images.heat_overlay(*map(images.to_tensor, (request.photo.picture, whole)))


def _corners(request: Request) -> list[tuple[float, float]] | None:
    """Where the square of a recipe lies in the photo, if that is what is written."""
    if request.photo is None or not request.photo.blend:
        return None
    return request.photo.squares[0].corners


def _preview(picture: Tensor | Image.Image) -> Tensor | Image.Image:
    """A whole photo in a size to look at; squares as they are."""
    from PIL import Image

    if not isinstance(picture, Image.Image):
        return picture
    small = picture.copy()
    small.thumbnail((PREVIEW, PREVIEW))
    return small


def strip(
    request: Request,
    squares: Sequence[Square],
    after: Sequence[Sequence[Tensor]],
    captions: Sequence[str],
) -> Image.Image:
    """Before and after; of a photo the whole of it, and below it each square as the model sees."""
    from styleclip import images

    rows = []
    if request.photo is not None and request.photo.blend:
        wholes = [_preview(_whole(request, squares, each)) for each in after]
        pictures = [_preview(request.photo.picture), *wholes]
        rows.append(images.strip(pictures, ["the photo", *captions]))
    for number, square in enumerate(squares):
        pictures = [square.before, *(each[number] for each in after)]
        first = ["before"]
        if square.start.original is not None:
            pictures.insert(0, square.start.original)
            first = ["the picture", "as the model sees it"]
        rows.append(images.strip(pictures, [*first, *captions]))
    return rows[0] if len(rows) == 1 else images.stacked(rows)


def described(
    edit: Edit, strength: float, request: Request, outputs: Outputs, picture: int, square: int
) -> dict[str, Any]:
    numbers = request.photo.numbers if request.photo is not None else []
    return {
        "target": edit.prompt.target,
        "neutral": edit.prompt.neutral,
        "strength": strength,
        "method": edit.method,
        "config": dict(edit.config),
        **({"face": numbers[square]} if numbers else {}),
        **{kind: str(path) for kind, path in outputs.of_picture(picture).items()},
    }
