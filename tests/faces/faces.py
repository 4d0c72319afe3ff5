"""Faces for tests: four points of an upright one, moved by a known similarity."""

from __future__ import annotations

import cmath
import math

import numpy as np
from PIL import Image

from styleclip.faces.alignment import Similarity
from styleclip.faces.landmarks import Landmarks

UPRIGHT = Landmarks((0.4, 0.45), (0.6, 0.45), (0.43, 0.7), (0.57, 0.7))


def similarity(scale: float, degrees: float, shift: complex) -> Similarity:
    return Similarity(cmath.rect(scale, math.radians(degrees)), shift)


def moved(face: Landmarks, by: Similarity) -> Landmarks:
    return Landmarks(*(by.at(point) for point in face.points))


def smooth_photo(width: int, height: int) -> Image.Image:
    """Waves in every channel, none shorter than 40 pixels."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9 + y / 40), np.cos(y / 11 - x / 50), np.sin((x + y) / 13)]
    return Image.fromarray((127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8))


# three faces in a photo of 300 x 150, from left to right
SIDES = (60.0, 110.0, 70.0)  # pixels of the three faces' squares, from left to right
MIDDLES = (40 + 70j, 140 + 60j, 250 + 80j)


def face_of(side: float, degrees: float, middle: complex) -> Landmarks:
    by = similarity(side, degrees, 0)
    return moved(UPRIGHT, similarity(side, degrees, middle - by(0.5 + 0.5j)))


FACES = [face_of(SIDES[i], (-10, 20, 0)[i], MIDDLES[i]) for i in range(3)]
