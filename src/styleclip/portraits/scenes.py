"""Photographs, so to speak: prints of portraits on a table, turned and scaled, landmarks known.

  tabletop(width, height) -> picture;   lay(picture, portrait, middle, degrees, side) -> Landmarks
They are what the way of a photo (found, aligned, edited, set back) is tested and shown on.
"""

from __future__ import annotations

import cmath
import math

import numpy as np
from PIL import Image, ImageDraw

from styleclip.faces.alignment import HALF, Similarity, affine
from styleclip.faces.landmarks import Landmarks
from styleclip.portraits.attributes import Portrait
from styleclip.portraits.renderer import landmarks, render

PAPER = (246, 243, 236)
RIM = 0.06  # of white paper round a print, in its sides
FINE = 3  # samples each way for a pixel of an edge
PLANKS = 5


def tabletop(width: int, height: int, seed: int = 0) -> Image.Image:
    """A wooden table with sheets of coloured paper on it, RGB; the same for the same seed."""
    random = np.random.default_rng([7023, seed])
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    plank = np.floor(y * PLANKS / height)
    tone = random.uniform(-14, 14, PLANKS + 1)[plank.astype(int)]
    waves = np.sin(x / 190 + 3 * plank) * 6
    grain = np.sin((y + waves) * 0.9 + plank) * 4 + np.sin((y + 2 * waves) * 0.31) * 7
    gap = np.abs(y * PLANKS / height - np.round(y * PLANKS / height)) < PLANKS / height
    shade = tone + grain - 45 * gap
    pixels = np.stack([168 + shade, 122 + 0.9 * shade, 82 + 0.7 * shade], axis=-1)
    table = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(table)
    for _ in range(6):
        middle = complex(random.uniform(0, width), random.uniform(0, height))
        half = cmath.rect(random.uniform(0.06, 0.14) * width, random.uniform(0, 6.3))
        corners = [middle + half * turn for turn in (1, 0.7j, -1, -0.7j)]
        colour = tuple(int(each) for each in random.integers(60, 230, 3))
        draw.polygon([(z.real, z.imag) for z in corners], fill=colour)
    return table


def lay(
    picture: Image.Image, portrait: Portrait, middle: complex, degrees: float, side: float
) -> Landmarks:
    """Lay a print of a portrait into ``picture``, and say where its eyes and mouth are now.

    ``middle`` (x + iy, pixels) of the print, turned clockwise by ``degrees``; ``side`` is the
    drawing's, its white rim comes on top.
    """
    size = math.ceil(side)
    rim = round(RIM * size)
    paper = Image.new("RGBA", (size + 2 * rim, size + 2 * rim), PAPER)
    paper.paste(Image.fromarray(render(portrait, size)), (rim, rim))
    turn = cmath.rect(side / size, math.radians(degrees))
    onto = Similarity(turn, middle - turn * paper.width / 2 * (1 + 1j))  # from corners of pixels
    fine = Similarity(onto.inverse.turn / FINE, onto.inverse.shift)
    sheet = paper.transform(
        (FINE * picture.width, FINE * picture.height),
        Image.Transform.AFFINE,
        affine(fine),
        Image.Resampling.BICUBIC,
    ).reduce(FINE)
    picture.paste(sheet, (0, 0), sheet)
    corner = complex(rim, rim) + HALF
    places = (onto(complex(*point) + corner) - HALF for point in landmarks(portrait, size).points)
    return Landmarks(*((z.real, z.imag) for z in places))
