"""Pictures at the border: files and PIL outside, tensors [1,3,H,W] in [-1,1] inside (design D1).

  file -open_picture-> PIL RGB -to_tensor(size)-> [1,3,H,W] -to_picture-> PIL -save_image-> file
Whatever a picture file can be (palette, 16 bits, alpha, turned by EXIF, grey, CMYK) becomes plain
RGB, and whatever can be wrong with it one ``ImageError``. A file is written beside its place and
renamed, so it is whole or absent. A PNG may carry a recipe: JSON in an iTXt chunk "styleclip".
"""

from __future__ import annotations

import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from styleclip.colours import ramp, to_lab
from styleclip.errors import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF")  # none that runs programs
MAX_PIXELS = 100_000_000  # a picture of 10,000 x 10,000; decoded it takes 300 MB
PROFILE = "icc_profile"  # as PIL calls a colour profile
RECIPE_KEY = "styleclip"
RUN_KEY = "styleclip-run"
TILE = 192  # pixels a picture has at least in a strip, room enough for a caption
MARGIN = 12
FONT = 14  # pixels, of a caption under a tile of 192; larger tiles have larger ones
HOT = 60.0  # distance in CIELAB that is 1 in a heat map: dark hair that turned red is beyond it
HEAT_SPREAD = 1 / 128  # of a picture's longer side, a heat map's blur
REST = 8  # of a sweep, how long both ends stand


def read_image(path: str | Path, size: int | None = None) -> Tensor:
    """A picture file as [1,3,H,W] in [-1,1]; with ``size``, its centre square at that size.

    Raises ``ImageError`` for a file that is missing, not a picture, damaged or too large.
    """
    return to_tensor(open_picture(path), size)


def open_picture(path: str | Path) -> Image.Image:
    """A picture file as upright, opaque PIL RGB, with its colour profile if that is of RGB.

    Raises ``ImageError``.
    """
    path = Path(path)
    with _opened(path, FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise _too_large(path, f"{width} x {height}")
        picture.load()
        return _as_rgb(ImageOps.exif_transpose(picture))


def _as_rgb(picture: Image.Image) -> Image.Image:
    """As RGB. A profile of CMYK says what its inks look like; one of RGB stays with the pixels."""
    profile = picture.info.get(PROFILE)
    profile = profile if isinstance(profile, bytes) else b""
    kind = profile[16:20]
    if kind == b"CMYK" == picture.mode.encode():
        with suppress(ImageCms.PyCMSError):  # of a damaged profile: as if there were none
            inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            screen = ImageCms.createProfile("sRGB")
            picture = ImageCms.profileToProfile(picture, inks, screen, outputMode="RGB") or picture
    rgb = to_rgb(picture)
    rgb.info.pop(PROFILE, None)
    return with_profile(rgb, profile if kind == b"RGB " else None)


def with_profile(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The same picture, and what its numbers mean as colours: PNG files of it say so."""
    if profile is not None:
        picture.info[PROFILE] = profile
    return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any PIL mode as RGB: 16 bits scaled to 8, transparent places white."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float64)
        if picture.mode == "F":  # 0..1 by convention, some writers mean 0..255
            values = values * 255 if np.nanmax(values) <= 1 else values
        else:
            values = values / 257  # 65535 -> 255
        picture = Image.fromarray(np.nan_to_num(values).clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        picture = Image.alpha_composite(paper, layer)
    return picture.convert("RGB")


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """The largest square around the centre, resized to ``size`` pixels each way (antialiased)."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        return picture.crop(box)
    return picture.resize((size, size), Image.Resampling.LANCZOS, box=box)


def to_tensor(picture: Image.Image, size: int | None = None) -> Tensor:
    """PIL -> [1,3,H,W] in [-1,1]; with ``size``, its centre square at that size."""
    picture = to_rgb(picture)
    if size is not None:
        picture = centre_square(picture, size)
    pixels = torch.from_numpy(np.array(picture))  # [H,W,3] uint8
    return pixels.permute(2, 0, 1)[None].contiguous().float() / 127.5 - 1


def to_picture(image: Tensor) -> Image.Image:
    """[1,3,H,W] or [3,H,W], clamped to [-1,1], -> PIL RGB; ``ImageError`` for other shapes."""
    pixels = image[0] if image.ndim == 4 and image.shape[0] == 1 else image
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ImageError(f"expected one picture [1, 3, H, W] or [3, H, W], got {list(image.shape)}")
    unit = (pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    return Image.fromarray(unit.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def png_bytes(
    image: Tensor | Image.Image, recipe: Mapping[str, Any] | None = None, run: str = ""
) -> bytes:
    """One picture as the bytes of a PNG file, with its recipe if there is one.

    ``run``: a word that says which of many runs wrote it, for ``read_run``.
    """
    picture = to_picture(image) if isinstance(image, Tensor) else image
    chunks = PngInfo()
    if run:
        chunks.add_itxt(RUN_KEY, run)
    if recipe is not None:
        chunks.add_itxt(RECIPE_KEY, json.dumps(recipe, ensure_ascii=False), zip=True)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


def save_image(
    path: str | Path,
    image: Tensor | Image.Image,
    recipe: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    run: str = "",
) -> None:
    """Write one picture as PNG, whole or not at all, with its recipe and ``run`` if there are any.

    Raises ``ImageError`` if the file exists (unless ``overwrite``) or cannot be written.
    """
    check_output(path, overwrite)
    _write(Path(path), png_bytes(image, recipe, run), overwrite)


def save_bytes(path: str | Path, content: bytes, overwrite: bool = False) -> None:
    """Write what belongs to a picture (its landmarks, a film), whole or not at all. As above."""
    check_output(path, overwrite, Path(path).suffix.lower())
    _write(Path(path), content, overwrite)


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The recipe that a PNG carries, as JSON values. Raises ``ImageError`` if it has none."""
    path = Path(path)
    with _opened(path, FORMATS) as picture:
        if picture.size[0] * picture.size[1] > MAX_PIXELS:
            raise _too_large(path, "{} x {}".format(*picture.size))
        picture.load()  # a chunk may stand behind the pixels
        text = dict(getattr(picture, "text", {})).get(RECIPE_KEY)
    if text is None:
        raise ImageError(
            f"{path} carries no recipe: it was written with --no-recipe, by another program, "
            "or its metadata was removed"
        )
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"the recipe in {path} is damaged: make the picture again") from error
    if not isinstance(recipe, dict):
        raise ImageError(f"the recipe in {path} is not a JSON object: make the picture again")
    return recipe


def read_run(path: str | Path) -> str:
    """Which run wrote a PNG, "" if it does not say. Pixels are not looked at. ``ImageError``."""
    with _opened(Path(path), FORMATS) as picture:
        return str(picture.info.get(RUN_KEY, ""))


def strip(pictures: Sequence[Tensor | Image.Image], captions: Sequence[str]) -> Image.Image:
    """Pictures side by side on white, each over its caption, small ones enlarged."""
    tiles = [tile(picture) for picture in pictures]
    width, height = max(TILE, *(t.width for t in tiles)), max(t.height for t in tiles)
    font = ImageFont.load_default(size=max(FONT, width // 20))
    texts = [
        "\n".join(_wrapped(caption, font, width))
        for _, caption in zip(tiles, captions, strict=True)
    ]
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    text_height = max(round(draw.multiline_textbbox((0, 0), text, font=font)[3]) for text in texts)
    size = (MARGIN + len(tiles) * (width + MARGIN), 3 * MARGIN + height + text_height)
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for i, (picture, text) in enumerate(zip(tiles, texts, strict=True)):
        left = MARGIN + i * (width + MARGIN)
        page.paste(picture, (left + (width - picture.width) // 2, MARGIN))
        middle = (left + width / 2, 2 * MARGIN + height)
        draw.multiline_text(middle, text, fill="black", font=font, anchor="ma", align="center")
    return page


def tile(image: Tensor | Image.Image) -> Image.Image:
    """A picture as PIL RGB, a small one enlarged to TILE pixels."""
    picture = to_picture(image) if isinstance(image, Tensor) else to_rgb(image)
    scale = TILE / max(picture.size)
    if scale <= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def stacked(pages: Sequence[Image.Image]) -> Image.Image:
    """Strips below each other on white."""
    size = max(page.width for page in pages), sum(page.height for page in pages)
    whole = Image.new("RGB", size, "white")
    top = 0
    for page in pages:
        whole.paste(page, (0, top))
        top += page.height
    return whole


def heat_map(before: Tensor, after: Tensor) -> Tensor:
    """Where a picture changed, and how visibly: two [1,3,H,W] in [-1,1] -> [H,W] in [0,1].

    The distance of the colours in CIELAB, a little blurred, over HOT, the same for all pictures:
    where nothing changed it is 0, and what is just noticed 0.04. Raises ``ImageError`` for
    pictures of two sizes.
    """
    if before.shape != after.shape or before.ndim != 4 or before.shape[:2] != (1, 3):
        raise ImageError(
            "a heat map compares two pictures [1, 3, H, W] of one size, got "
            f"{list(before.shape)} and {list(after.shape)}"
        )
    distance = (to_lab(after) - to_lab(before)).norm(dim=1, keepdim=True)  # [1,1,H,W]
    soft = blurred(distance, HEAT_SPREAD * max(distance.shape[-2:]))
    return (soft[0, 0] / HOT).clamp(0, 1)


def heat_overlay(before: Tensor, after: Tensor) -> Image.Image:
    """The heat map of two pictures, as a picture: colours over ``after`` in dim grey."""
    heat = heat_map(before, after)
    grey = to_lab(after)[:, :1] / 100 * 0.9 - 1  # [1,1,H,W], lightness as shade
    cover = heat.sqrt()  # so that a weak change is seen, too
    return to_picture(grey + cover * (ramp(heat) - grey))


def blurred(values: Tensor, deviation: float) -> Tensor:
    """A Gaussian of ``deviation`` pixels over the last two of [1,C,H,W], the border mirrored."""
    reach = min(max(1, round(3 * deviation)), min(values.shape[-2:]) - 1)
    at = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-(at**2) / (2 * max(deviation, 0.3) ** 2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    planes = F.pad(values.transpose(0, 1), (reach,) * 4, mode="reflect")
    planes = F.conv2d(F.conv2d(planes, kernel), kernel.transpose(2, 3))
    return planes.transpose(0, 1)


def there_and_back(count: int) -> list[tuple[int, int]]:
    """(frame, how long) of an endless sweep over ``count`` frames, resting at both ends."""
    shown = [*range(count), *range(count - 2, 0, -1)]
    return [(each, REST if each in (0, count - 1) else 1) for each in shown]


def save_gif(
    path: str | Path,
    frames: Sequence[Tensor | Image.Image],
    overwrite: bool = False,
    milliseconds: int = 80,
) -> None:
    """Write ``frames`` as an endless GIF that runs there and back. Raises as ``save_image``."""
    check_output(path, overwrite, ".gif")
    _write(Path(path), gif_bytes(frames, milliseconds), overwrite)


def gif_bytes(frames: Sequence[Tensor | Image.Image], milliseconds: int = 80) -> bytes:
    """``frames`` as the bytes of an endless GIF that runs there and back."""
    tiles = [tile(frame).quantize() for frame in frames]  # here, because most are shown twice
    order = there_and_back(len(tiles))
    first, *others = [tiles[each] for each, _ in order]
    waits = [milliseconds * ticks for _, ticks in order]
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=others, duration=waits, loop=0)
    return buffer.getvalue()


def largest_difference(a: Image.Image, b: Image.Image) -> int | None:
    """Of two RGB pictures, pixel by pixel, in 0..255; None if their sizes differ."""
    if a.size != b.size:
        return None
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


def check_output(path: str | Path, overwrite: bool = False, suffix: str = ".png") -> None:
    """Raise ``ImageError`` unless a file can be written at ``path``: ask before the work starts."""
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise ImageError(f"{path} cannot be written: let its name end in {suffix}")
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder: give the name of a file in it")
        if path.exists() and not path.is_file():
            raise ImageError(f"{path} is not a regular file: give the name of a new file")
        if path.exists() and not overwrite:
            raise ImageError(
                f"{path} exists already: choose another name, or --force to overwrite it"
            )
        if not path.parent.is_dir():
            raise ImageError(
                f"there is no folder {path.parent} to write {path.name} in: make it first"
            )
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:  # a name that is too long, too
        raise _unwritable(path, error) from error


def is_unfinished(name: str, path: Path) -> bool:
    """Whether a file of this name is what a killed write of ``path`` left beside it."""
    return re.fullmatch(rf"{re.escape(_prefix(path))}\w+\.part", name) is not None


def _prefix(path: Path) -> str:
    return f".{path.name[:40]}."  # the whole name may be as long as a name can be


def _write(path: Path, content: bytes, overwrite: bool) -> None:
    temporary: Path | None = None
    try:
        prefix = _prefix(path)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o666 & ~_umask())  # mkstemp allows the owner alone
        if path.exists() and not overwrite:  # it came while we worked
            raise ImageError(f"{path} exists already: choose another name, or --force")
        os.replace(temporary, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:  # Ctrl-C included
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """The file as a PIL picture that is not decoded yet; every failure becomes ``ImageError``."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # to open a pipe is to wait
            raise ImageError(f"{path} is a pipe or a device: give a picture file")
        stream = path.open("rb")
    except IsADirectoryError as error:
        raise ImageError(f"{path} is a folder: give a picture file in it") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"there is no file {path}: check the name") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {_reason(error)}") from error
    with stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL warns of odd metadata and of large pictures
        try:
            with Image.open(stream, formats=formats) as picture:
                yield picture
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(path, "more than 10,000 x 10,000") from error
        except UnidentifiedImageError as error:
            raise ImageError(
                f"{path} is not a picture that can be read: give a PNG, JPEG, WebP, TIFF, GIF, "
                "BMP or AVIF file"
            ) from error
        except Exception as error:  # decoders raise anything on damaged bytes
            raise ImageError(
                f"{path} is a damaged or truncated picture ({_reason(error)}): get the file again"
            ) from error


def _too_large(path: Path, size: str) -> ImageError:
    return ImageError(
        f"{path} is too large ({size} pixels, at most {MAX_PIXELS // 1_000_000} million can be "
        "read): make it smaller first"
    )


def _unwritable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} cannot be written: {_reason(error)}; choose another place")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _wrapped(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a word that is wider than its tile is broken
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
