"""Films: what is written is what a browser plays."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from styleclip.apps.films import sweep, write_mp4
from styleclip.errors import ArgumentError, ImageError

COLOURS = [(200, 40, 30), (40, 200, 30), (40, 30, 200)]


def frames(size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    return [Image.new("RGB", size, colour) for colour in COLOURS]


def test_a_film_has_its_frames_in_their_time_and_colours() -> None:
    file = io.BytesIO()
    write_mp4(file, frames(), seconds=1.5)
    content = file.getvalue()
    assert content.index(b"moov") < content.index(b"mdat")  # plays before it is loaded
    file.seek(0)
    with av.open(file) as film:
        (stream,) = film.streams.video
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.duration * stream.time_base) == pytest.approx(1.5)
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    means = [frame.reshape(-1, 3).mean(axis=0).tolist() for frame in shown]
    assert np.abs(np.array(means) - COLOURS).max() < 6


@pytest.mark.parametrize("size", [(33, 17), (64, 17), (1, 1)])
def test_odd_sizes_grow_by_a_pixel(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    write_mp4(file, frames(size), seconds=1)
    file.seek(0)
    with av.open(file) as film:
        context = film.streams.video[0].codec_context
        assert context.width - size[0] == size[0] % 2
        assert context.height - size[1] == size[1] % 2


def test_a_path_is_written_whole_and_not_twice(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", frames(), seconds=1)
    with pytest.raises(ImageError, match="exists already"):
        write_mp4(tmp_path / "a.mp4", frames(), seconds=1)
    with pytest.raises(ImageError, match=r"end in \.mp4"):
        write_mp4(tmp_path / "a.avi", frames(), seconds=1)
    write_mp4(tmp_path / "a.mp4", frames(), seconds=1, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("pictures", "seconds"),
    [([], 1.0), (frames(), 0.0), (frames(), float("nan")), ([*frames(), *frames((8, 8))], 1.0)],
)
def test_what_makes_no_film(pictures: list[Image.Image], seconds: float) -> None:
    with pytest.raises(ArgumentError, match="frames of one size and a positive time"):
        write_mp4(io.BytesIO(), pictures, seconds)


def test_a_sweep_lasts_as_long_as_its_gif() -> None:
    film, seconds = sweep(frames())
    assert [frame.getpixel((0, 0)) for frame in film[7:10]] == COLOURS
    assert len(film) == 18 and seconds == pytest.approx(18 * 0.08)
