"""Where pictures go: names that say what they show, checked before the work starts.

One picture is named by --out, several go into the folder --out, each under its own name; strips and
sweeps stand beside them. Nothing is made or written before the first picture is there.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from styleclip.errors import ArgumentError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.editing.edit import Edit
    from styleclip.recipe import Source
    from styleclip.studio import Studio


@dataclass(frozen=True)
class Extras:
    """What is written beside the pictures: strengths side by side, sweeps, heat maps, the edit."""

    strip: bool = False
    gif: bool = False
    mp4: bool = False
    heat: bool = False
    edit: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """The files to write; of gifs, films and heat maps as many as of ``pictures``, or none."""

    pictures: list[Path]
    strip: Path | None = None
    gifs: list[Path] = field(default_factory=list)
    films: list[Path] = field(default_factory=list)
    heats: list[Path] = field(default_factory=list)
    edit: Path | None = None
    force: bool = False

    def __iter__(self) -> Iterator[Path]:
        yield from (*self.pictures, *self.gifs, *self.films, *self.heats)
        yield from (path for path in (self.edit, self.strip) if path is not None)

    def of_picture(self, picture: int) -> dict[str, Path]:
        """The files of one picture by what they are, for --json."""
        kinds = {"out": self.pictures, "gif": self.gifs, "mp4": self.films, "heat": self.heats}
        found = {kind: paths[picture] for kind, paths in kinds.items() if paths}
        return found if self.edit is None else {**found, "saved": self.edit}


def plan_outputs(
    name: str,
    captions: Sequence[str],
    out: Path | None,
    force: bool,
    extras: Extras = Extras(),
) -> Outputs:
    """Files for pictures of ``name`` with these captions; raises if one cannot be written."""
    if extras.mp4:
        from styleclip.apps.films import check_extra

        check_extra()
    if len(captions) == 1:
        (caption,) = captions
        picture = out or Path(f"{name}-{slug(caption)}.png")
        strip = picture.with_name(f"{picture.stem}-strip.png")
        outputs = _outputs([picture], strip, extras, force)
    else:
        folder = out or Path()
        if folder.suffix.lower() == ".png":
            raise ArgumentError(
                f"several prompts make several pictures, so --out names a folder; got {folder}: "
                "leave .png out, or add --stack to make one picture of them"
            )
        outputs = outputs_in(folder, name, captions, force, extras)
    check_outputs(outputs, may_make_folder=len(captions) > 1)
    return outputs


def outputs_in(
    folder: Path, name: str, captions: Sequence[str], force: bool, extras: Extras
) -> Outputs:
    """The files in a folder for pictures of ``name`` with these captions; not checked."""
    strip = folder / f"{name}-strip.png"
    stems = _distinct([f"{name}-{slug(each)}" for each in captions], {strip.stem})
    return _outputs([folder / f"{stem}.png" for stem in stems], strip, extras, force)


def _outputs(pictures: list[Path], strip: Path, extras: Extras, force: bool) -> Outputs:
    taken = {strip.stem, *(path.stem for path in pictures)}
    heats = _distinct([f"{path.stem}-heat" for path in pictures], taken)
    return Outputs(
        pictures,
        strip if extras.strip else None,
        [path.with_suffix(".gif") for path in pictures] if extras.gif else [],
        [path.with_suffix(".mp4") for path in pictures] if extras.mp4 else [],
        [pictures[0].with_name(f"{stem}.png") for stem in heats] if extras.heat else [],
        extras.edit,
        force,
    )


def check_outputs(outputs: Outputs, may_make_folder: bool = False) -> None:
    """Raise ``ImageError`` or ``ArgumentError`` unless every file can be written."""
    from styleclip import images

    folder = outputs.pictures[0].parent
    if may_make_folder and not folder.is_dir():
        check_folder(folder)
        return
    suffixes = dict.fromkeys(outputs.gifs, ".gif") | dict.fromkeys(outputs.films, ".mp4")
    for path in outputs:
        suffix = ".safetensors" if path == outputs.edit else suffixes.get(path, ".png")
        images.check_output(path, outputs.force, suffix)


def check_edit_file(path: Path, force: bool) -> None:
    """Raise ``ImageError`` unless a .safetensors file can be written to ``path``."""
    from styleclip import images

    images.check_output(path, force, ".safetensors")


def save_picture(
    path: Path,
    image: Tensor | Image.Image,
    studio: Studio,
    source: Source,
    edits: Sequence[tuple[Edit, float]] = (),
    no_recipe: bool = False,
    force: bool = False,
    found_here: bool = True,
    corners: Sequence[tuple[float, float]] | None = None,
    run: str = "",
) -> None:
    """One picture with its recipe, unless that is not wanted.

    ``corners``: the recipe makes a square of the picture, a photo, and it lies there. ``run``:
    which of many it is of.
    """
    from styleclip import images

    recipe = None
    if not no_recipe:
        made = replace(studio.recipe(source, edits, found_here), corners=corners)
        recipe = made.to_json()
    images.save_image(path, image, recipe, overwrite=force, run=run)


def make_folder(folder: Path) -> None:
    """Make it and those above it, unless it is there. Raises ``ArgumentError``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, error) from error


def slug(text: str) -> str:
    """A text as a part of a file name: letters and digits of any script, and hyphens."""
    return re.sub(r"[\W_]+", "-", text.lower()).strip("-")[:48].rstrip("-") or "edited"


def _distinct(names: Sequence[str], taken: set[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        numbered = (name, *(f"{name}-{i}" for i in range(2, len(names) + 3)))
        found.append(next(each for each in numbered if each not in taken | set(found)))
    return found


def check_folder(folder: Path) -> None:
    """Raise ``ArgumentError`` unless it takes files, or the nearest above that exists takes it."""
    above = folder
    try:
        while not above.exists():
            above = above.parent
        with tempfile.TemporaryDirectory(dir=above):
            pass
    except OSError as error:
        raise _no_folder(folder, error) from error


def _no_folder(folder: Path, error: OSError) -> ArgumentError:
    reason = (error.strerror or str(error)).lower()
    return ArgumentError(f"{folder} cannot be made a folder: {reason}; choose another place")
