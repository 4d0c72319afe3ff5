"""Pictures in and out: every kind of file becomes plain RGB, every fault one sentence."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from styleclip import colours, images
from styleclip.errors import ImageError

COLOURS = [(200, 40, 10), (10, 200, 40), (40, 10, 200), (90, 90, 90)]


def quarters(size: int = 16) -> Image.Image:
    """Four plain quarters: red, green above blue, grey."""
    picture = Image.new("RGB", (size, size))
    half = size // 2
    for i, colour in enumerate(COLOURS):
        picture.paste(
            colour, (i % 2 * half, i // 2 * half, (i % 2 + 1) * half, (i // 2 + 1) * half)
        )
    return picture


def corners(picture: Image.Image) -> list[tuple[int, ...]]:
    w, h = picture.size
    spots = [(w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4)]
    return [picture.getpixel(spot) for spot in spots]  # type: ignore[misc]


def close(found: list[tuple[int, ...]], expected: list[tuple[int, ...]], within: int = 0) -> bool:
    return bool((np.abs(np.array(found) - np.array(expected)) <= within).all())


def test_tensor_and_picture_are_each_other() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    tensor = images.to_tensor(Image.fromarray(pixels))
    assert tensor.shape == (1, 3, 5, 7)
    assert tensor.min() >= -1 and tensor.max() <= 1
    assert np.array_equal(np.asarray(images.to_picture(tensor)), pixels)
    assert np.array_equal(np.asarray(images.to_picture(5 * tensor[0])) > 127, pixels > 127)


def test_a_batch_is_not_a_picture() -> None:
    with pytest.raises(ImageError, match=r"one picture \[1, 3, H, W\]"):
        images.to_picture(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp", "a.jpg", "a.gif", "a.avif"])
def test_formats(name: str, tmp_path: Path) -> None:
    options = {"lossless": True} if name == "a.webp" else {}
    quarters(64).save(tmp_path / name, **options)
    lossy = name in ("a.jpg", "a.avif")
    assert close(corners(images.open_picture(tmp_path / name)), COLOURS, 12 if lossy else 0)


def test_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    palette = quarters().quantize(4)
    clear = palette.getpixel((0, 0))
    palette.save(tmp_path / "p.png", transparency=clear)
    expected = [(255, 255, 255), *COLOURS[1:]]
    assert close(corners(images.open_picture(tmp_path / "p.png")), expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_lies_on_white(mode: str, tmp_path: Path) -> None:
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    picture.convert(mode).save(tmp_path / ("a.png" if mode != "PA" else "a.tiff"))
    (found,) = set(corners(images.open_picture(next(tmp_path.iterdir()))))
    assert close([found], [(127, 127, 127)], 1)


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    Image.fromarray(values).save(tmp_path / "deep.tiff")
    for name in ("deep.png", "deep.tiff"):
        found = np.asarray(images.open_picture(tmp_path / name))
        assert np.abs(found[..., 0] - values / 257).max() <= 0.51, name


def test_float_pictures(tmp_path: Path) -> None:
    for name, scale in (("unit.tiff", 1), ("bytes.tiff", 255)):
        values = np.array([[0, 0.5], [0.25, 1]], np.float32) * scale
        Image.fromarray(values).save(tmp_path / name)
        found = np.asarray(images.open_picture(tmp_path / name))[..., 0]
        assert found.tolist() == [[0, 128], [64, 255]]


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "YCbCr", "LAB", "HSV"])
def test_other_modes(mode: str, tmp_path: Path) -> None:
    grey = Image.new("RGB", (8, 8), "white")
    if mode == "LAB":
        srgb = ImageCms.createProfile("sRGB")
        lab = ImageCms.buildTransform(srgb, ImageCms.createProfile("LAB"), "RGB", "LAB")
        other = ImageCms.applyTransform(grey, lab)
        assert other is not None
    else:
        other = grey.convert(mode)
    if mode == "HSV":
        assert images.to_rgb(other).getpixel((0, 0)) == (255, 255, 255)
        return
    # Pillow 12 does not read its own uncompressed YCbCr again
    other.save(tmp_path / "a.tiff", compression="tiff_lzw" if mode == "YCbCr" else None)
    found = images.open_picture(tmp_path / "a.tiff").getpixel((0, 0))
    assert close([found], [(255, 255, 255)], 2)  # type: ignore[list-item]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation: int, tmp_path: Path) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    picture = quarters().resize((32, 16), Image.Resampling.NEAREST)
    stored = picture.transpose(turns[orientation]) if orientation in turns else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    found = images.open_picture(tmp_path / "turned.png")
    assert found.size == (32, 16)
    assert corners(found) == COLOURS


def test_centre_square() -> None:
    wide = Image.new("RGB", (48, 16), "black")
    wide.paste(quarters(), (16, 0))
    assert corners(images.centre_square(wide, 16)) == COLOURS
    assert images.centre_square(wide, 8).size == (8, 8)
    assert images.centre_square(Image.new("RGB", (1, 300)), 64).size == (64, 64)
    assert images.to_tensor(wide, 4).shape == (1, 3, 4, 4)


def faulty(folder: Path) -> dict[str, tuple[Path, str]]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    files = {
        "cut.png": buffer.getvalue()[:2000],
        "head.png": buffer.getvalue()[:20],
        "empty.png": b"",
        "text.png": b"this is not a picture at all",
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    jpeg = io.BytesIO()
    Image.fromarray(noise).save(jpeg, "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg.getvalue()[:1500])
    return {
        "missing": (folder / "none.png", "there is no file"),
        "folder": (folder, "is a folder"),
        "cut": (folder / "cut.png", "truncated"),
        "cut jpeg": (folder / "cut.jpg", "truncated"),
        "cut in its head": (folder / "head.png", "picture"),
        "empty": (folder / "empty.png", "not a picture"),
        "text": (folder / "text.png", "not a picture"),
        "a format that runs programs": (folder / "page.eps", "not a picture"),
    }


def test_faults_are_one_sentence(tmp_path: Path) -> None:
    for name, (path, expected) in faulty(tmp_path).items():
        with pytest.raises(ImageError) as caught:
            images.read_image(path)
        assert expected in str(caught.value), name
        assert "\n" not in str(caught.value), name


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_a_bomb_is_refused_before_decoding(side: int, tmp_path: Path) -> None:
    # a header that promises far more than the file holds; decoding it would say "truncated"
    quarters().save(tmp_path / "bomb.png")
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(ImageError, match="too large"):
        images.read_image(tmp_path / "bomb.png")


def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    quarters().save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ImageError, match="permission denied"):
        images.read_image(path)


def test_saved_is_read_again(tmp_path: Path) -> None:
    recipe = {"version": 1, "text": "a façe → ☺", "numbers": [1, 2.5, None]}
    image = images.to_tensor(quarters())
    images.save_image(tmp_path / "a.png", image, recipe)
    assert torch.equal(images.read_image(tmp_path / "a.png"), image)
    assert images.read_recipe(tmp_path / "a.png") == recipe
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").stat().st_mode & 0o444 == 0o444 & ~images._umask()


def test_without_a_recipe(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        quarters().save(tmp_path / name)
        with pytest.raises(ImageError, match="carries no recipe"):
            images.read_recipe(tmp_path / name)
    for text in ("{", "[1]"):
        chunks = PngInfo()
        chunks.add_itxt(images.RECIPE_KEY, text)
        quarters().save(tmp_path / "a.png", pnginfo=chunks)
        with pytest.raises(ImageError, match="make the picture again"):
            images.read_recipe(tmp_path / "a.png")


def test_existing_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(ImageError, match="--force"):
        images.save_image(path, quarters())
    assert path.read_bytes() == b"mine"
    images.save_image(path, quarters(), overwrite=True)
    assert corners(images.open_picture(path)) == COLOURS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("out.jpg", "end in .png"),
        ("none/out.png", "no folder"),
        ("folder.png", "is a folder"),
        ("/proc/out.png", "cannot be written"),
    ],
)
def test_unwritable_outputs(name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=expected):
        images.check_output(tmp_path / name)


def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        images.check_output(tmp_path / "pipe.png", overwrite=True)


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        images.save_image(tmp_path / "a.png", quarters())
    assert not list(tmp_path.iterdir())


def test_strip_has_every_picture_and_caption() -> None:
    small, large = quarters(), quarters(256)
    page = images.strip(
        [small, images.to_tensor(large)], ["before", "a face with very red hair " * 4]
    )
    assert page.width >= 2 * 256
    assert page.height > 256 + 3 * 14  # the long caption takes several lines
    pixels = np.asarray(page.convert("L"))
    assert (pixels[256 + images.MARGIN :] < 128).any()  # there is writing


def test_a_strip_of_small_pictures_is_large_enough() -> None:
    narrow = quarters().resize((8, 16), Image.Resampling.NEAREST)
    page = images.strip([narrow, quarters(64), quarters()], ["a", "b", "c"])
    assert page.width == images.MARGIN + 3 * (images.TILE + images.MARGIN)
    left = images.MARGIN + images.TILE // 4 + 10  # the narrow one stands in the middle
    assert close([page.getpixel((left, images.MARGIN + 10))], [COLOURS[0]], 2)  # type: ignore[list-item]
    assert page.getpixel((images.MARGIN + 10, images.MARGIN + 10)) == (255, 255, 255)


def test_captions_stay_under_their_picture() -> None:
    long = "Donaudampfschifffahrtsgesellschaftskapitän " * 3 + "红头发的脸" * 20
    page = np.asarray(images.strip([quarters()] * 2, ["", long]).convert("L"))
    step = images.TILE + images.MARGIN
    below = page[images.MARGIN + images.TILE + 1 :]
    assert (below[:, :step] == 255).all()
    assert (below[:, images.MARGIN + step + images.TILE + 2 :] == 255).all()
    assert (below[:, step:] < 128).any() and (below[-images.MARGIN // 2 :] == 255).all()
    lines = images._wrapped(long, images.ImageFont.load_default(size=images.FONT), images.TILE)
    assert "".join(lines).replace(" ", "") == long.replace(" ", "")


def test_largest_difference() -> None:
    other = quarters()
    other.putpixel((3, 5), (200, 40, 17))
    assert images.largest_difference(quarters(), other) == 7
    assert images.largest_difference(quarters(), quarters()) == 0
    assert images.largest_difference(quarters(), quarters(32)) is None


def test_gif_goes_there_and_back(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), (60 * i, 0, 0)) for i in range(4)]
    images.save_gif(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as found:
        reds = []
        for i in range(found.n_frames):
            found.seek(i)
            reds.append(found.convert("RGB").getpixel((99, 99))[0])  # type: ignore[index]
        assert found.info["loop"] == 0
    assert close([tuple(reds)], [(0, 60, 120, 180, 120, 60)], 2)


def test_a_picture_says_of_which_run_it_is(tmp_path: Path) -> None:
    images.save_image(tmp_path / "a.png", quarters(), {"version": 1}, run="seven")
    assert images.read_run(tmp_path / "a.png") == "seven"
    assert images.read_recipe(tmp_path / "a.png") == {"version": 1}
    images.save_image(tmp_path / "b.png", quarters())
    quarters().save(tmp_path / "c.jpg")
    assert images.read_run(tmp_path / "b.png") == images.read_run(tmp_path / "c.jpg") == ""
    (tmp_path / "d.png").write_text("no picture")
    with pytest.raises(ImageError, match="not a picture"):
        images.read_run(tmp_path / "d.png")


def test_what_a_killed_write_leaves_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, left = tmp_path / f"{'long' * 20} [1].png", list[str]()
    monkeypatch.setattr(os, "replace", lambda source, _: left.append(Path(source).name))
    images.save_image(path, quarters())
    assert images.is_unfinished(left[0], path)
    assert not images.is_unfinished(left[0], tmp_path / "other.png")
    assert not images.is_unfinished(path.name, path)


# Where a picture changed


def plain(*shades: float, size: tuple[int, int] = (24, 40)) -> torch.Tensor:
    return torch.tensor(shades).view(1, 3, 1, 1).expand(1, 3, *size).clone()


def test_the_same_picture_is_cold() -> None:
    noise = torch.rand(1, 3, 24, 40) * 2 - 1
    assert images.heat_map(noise, noise).max() == 0
    # an eighth bit is not seen, in the dark neither
    for shade in (-1.0, -0.9, 0.0, 1 - 2 / 255):
        assert images.heat_map(plain(*3 * [shade]), plain(*3 * [shade + 2 / 255])).max() < 0.02


def test_heat_is_where_the_change_is() -> None:
    before = plain(0, 0, 0, size=(64, 96))
    after = before.clone()
    after[:, :, 16:32, 48:80] = torch.tensor([1.0, -1, -1]).view(3, 1, 1)
    heat = images.heat_map(before, after)
    assert heat.shape == (64, 96) and heat.min() >= 0 and heat.max() <= 1
    assert heat[20:28, 52:76].min() > 0.9
    assert heat[40:].max() == 0 and heat[:, :40].max() == 0


def test_heat_has_one_scale_for_all_pictures() -> None:
    """Half the distance is half the heat, whatever else is there."""
    grey = plain(0, 0, 0)
    lightness = images.to_lab(grey)[0, 0, 0, 0]
    warmer = [
        colours.from_lab(torch.tensor([lightness, far, 0.0]).view(1, 3, 1, 1)).expand(grey.shape)
        for far in (15.0, 30.0)
    ]
    heats = [images.heat_map(grey, each) for each in warmer]
    for heat, expected in zip(heats, (15 / images.HOT, 30 / images.HOT), strict=True):
        assert heat.numpy() == pytest.approx(expected, abs=1e-3)
    both = torch.cat([warmer[0], warmer[1]], dim=3)
    heat = images.heat_map(torch.cat([grey, grey], dim=3), both)
    assert heat[:, :30].numpy() == pytest.approx(15 / images.HOT, abs=1e-3)


def test_an_overlay_is_grey_where_nothing_changed() -> None:
    before = images.to_tensor(quarters(64))
    pixels = np.asarray(images.heat_overlay(before, before)).astype(int)
    assert np.ptp(pixels, axis=2).max() <= 1 and pixels.max() < 128
    after = before.clone()
    after[:, :, :32, :32] = 1.0
    pixels = np.asarray(images.heat_overlay(before, after)).astype(int)
    assert pixels[8:24, 8:24].min() > 200  # the end of the ramp
    assert np.ptp(pixels[40:, 40:], axis=2).max() <= 1


def test_heat_compares_pictures_of_one_size() -> None:
    for other in (plain(0, 0, 0, size=(24, 24)), torch.zeros(2, 3, 24, 40), torch.zeros(3, 24, 40)):
        with pytest.raises(ImageError, match="two pictures"):
            images.heat_map(other, plain(0, 0, 0))


def test_a_blur_keeps_the_sum_and_takes_any_shape() -> None:
    for shape in ((3, 50), (50, 3), (1, 1), (2, 2)):
        values = torch.rand(1, 2, *shape, dtype=torch.float64)
        flat = torch.full_like(values, 0.25)
        torch.testing.assert_close(images.blurred(flat, 4.0), flat)
        assert images.blurred(values, 4.0).shape == values.shape
    point = torch.zeros(1, 1, 21, 21)
    point[..., 10, 10] = 1
    soft = images.blurred(point, 2.0)
    assert soft.sum() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(soft, soft.transpose(2, 3)) and soft.max() == soft[..., 10, 10]


def test_a_sweep_rests_at_both_ends() -> None:
    assert images.there_and_back(3) == [(0, 8), (1, 1), (2, 8), (1, 1)]
    assert images.there_and_back(1) == [(0, 8)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="is a pipe"):
        images.open_picture(tmp_path / "pipe.png")


def with_space(profile: bytes, space: bytes) -> bytes:
    """A profile that says it is of another colour space."""
    return profile[:16] + space + profile[20:]


def test_a_profile_stays_with_the_pixels_that_it_is_of(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red = Image.new("RGBA", (8, 8), (200, 30, 30, 255))
    red.save(tmp_path / "rgb.png", icc_profile=profile)
    assert images.open_picture(tmp_path / "rgb.png").info["icc_profile"] == profile
    for space, mode in ((b"GRAY", "L"), (b"CMYK", "CMYK"), (b"Lab ", "RGB")):
        red.convert(mode).save(tmp_path / "x.tif", icc_profile=with_space(profile, space))
        assert "icc_profile" not in images.open_picture(tmp_path / "x.tif").info
