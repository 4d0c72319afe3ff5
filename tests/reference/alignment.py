"""FFHQ's square the long way: corners by vectors, four times as many samples, then an average."""

from __future__ import annotations

import numpy as np
from PIL import Image

from styleclip.faces.landmarks import Landmarks


def ffhq_quad(face: Landmarks) -> np.ndarray:
    """Corners [4,2] in pixels: upper left, lower left, lower right, upper right of the face."""
    left, right, mouth_left, mouth_right = (np.array(point, float) for point in face.points)
    between, along = (left + right) / 2, right - left
    down = (mouth_left + mouth_right) / 2 - between
    x = along - np.array([-down[1], down[0]])
    x = x / np.sqrt((x**2).sum())
    x = x * max(2.0 * np.sqrt((along**2).sum()), 1.8 * np.sqrt((down**2).sum()))
    y = np.array([-x[1], x[0]])
    middle = between + 0.1 * down
    return np.stack([middle - x - y, middle - x + y, middle + x + y, middle + x - y])


def ffhq_square(photo: Image.Image, face: Landmarks, size: int) -> Image.Image:
    """The face as FFHQ cuts it, for one that lies inside the photo and is not shrunk."""
    corners = (ffhq_quad(face) + 0.5).flatten().tolist()
    fine = (4 * size, 4 * size)
    large = photo.transform(fine, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return large.resize((size, size), Image.Resampling.LANCZOS)
