"""Films: pictures one after the other as an MP4 that browsers play (extra ``video``).

  frames (PIL RGB, one size) -> even sizes -> H.264, yuv420p, BT.709 -> MP4, its index in front
A film from a sweep of strengths runs there and back, as the GIF does, and rests at both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from styleclip.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from PIL import Image

QUALITY = "18"  # x264's crf: at 18 the loss is hardly seen
BT709 = 1  # in the tables of H.264: primaries, transfer and matrix of a screen
TICK = 0.08  # seconds of a frame of a sweep, the GIF's


def write_mp4(
    target: str | Path | BinaryIO,
    frames: Sequence[Image.Image],
    seconds: float,
    overwrite: bool = False,
) -> None:
    """Write ``frames`` of one size as a film that lasts ``seconds``, each as long as the others.

    ``target``: a path, written whole or not at all, or a file that is open for bytes. An odd
    width or height grows by one pixel. Raises ``MissingExtraError`` without PyAV, ``ArgumentError``
    for frames that make no film, ``ImageError`` for a path as ``images.save_image`` does.
    """
    from styleclip import images

    check_extra()
    if not frames or not seconds > 0 or len({frame.size for frame in frames}) != 1:
        sizes = sorted({frame.size for frame in frames})
        raise ArgumentError(
            "a film needs frames of one size and a positive time, got "
            f"{len(frames)} frames of the sizes {sizes} and {seconds} s"
        )
    content = _encoded(frames, Fraction(len(frames) / seconds).limit_denominator(1000))
    if isinstance(target, str | Path):
        images.check_output(target, overwrite, ".mp4")
        images.save_bytes(target, content, overwrite)
    else:
        target.write(content)


def sweep(frames: Sequence[Image.Image]) -> tuple[list[Image.Image], float]:
    """The frames of a film that runs there and back, and how many seconds it lasts."""
    from styleclip import images

    order = images.there_and_back(len(frames))
    film = [frames[each] for each, ticks in order for _ in range(ticks)]
    return film, TICK * len(film)


def check_extra() -> None:
    """Raise ``MissingExtraError`` unless PyAV is installed: ask before the work starts."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "writing MP4 needs the package av: pip install 'styleclip[video]', or make a GIF"
        ) from error


def _encoded(frames: Sequence[Image.Image], rate: Fraction) -> bytes:
    import av

    with TemporaryDirectory() as folder:  # the index comes in front by reading the file again
        file = Path(folder) / "film.mp4"
        with av.open(file, "w", options={"movflags": "faststart"}) as film:
            _encode(film, frames, rate)
        return file.read_bytes()


def _encode(film: OutputContainer, frames: Sequence[Image.Image], rate: Fraction) -> None:
    import av
    import numpy as np
    from av.video.reformatter import ColorRange, Colorspace

    from styleclip import images

    stream = film.add_stream("libx264", rate=rate, options={"crf": QUALITY})
    width, height = frames[0].size
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = ColorRange.MPEG
    for frame in frames:
        pixels = np.pad(
            np.asarray(images.to_rgb(frame)), ((0, height % 2), (0, width % 2), (0, 0)), "edge"
        )
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        film.mux(stream.encode(picture))
    film.mux(stream.encode())
