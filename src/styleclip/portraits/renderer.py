"""Draw a portrait: shaded vector art of a known face, anti-aliased with skia.

`render` maps a Portrait to uint8 pixels [size, size, 3] (sRGB), deterministically; `mask` says
where a drawing depends on one attribute, `landmarks` where eyes and mouth lie. Drawn in unit
coordinates, back to front: background, hair behind, clothes, neckwear, head, face, hair in front,
hat, glasses, earrings. Discrete values change several pixels even at size 64; nuisances shift,
scale and roll the figure and move the light.
"""

from __future__ import annotations

import cmath
import math

import numpy as np

from styleclip.faces.alignment import HALF, Similarity
from styleclip.faces.landmarks import Landmarks
from styleclip.portraits.attributes import Portrait, attribute_values
from styleclip.portraits.drawing.colours import BACKGROUND, CLOTHES, HAIR, IRIS, SKIN
from styleclip.portraits.drawing.face import (
    EYE_Y,
    draw_beard,
    draw_brows,
    draw_ears,
    draw_eyes,
    draw_face,
    draw_moustache,
    draw_mouth,
    draw_nose,
    draw_wrinkles,
    geometry,
    head_outline,
    mouth_corner,
)
from styleclip.portraits.drawing.hair import draw_hair_behind, draw_hair_in_front, draw_long_locks
from styleclip.portraits.drawing.pen import Pen, load_skia
from styleclip.portraits.drawing.worn import (
    draw_background,
    draw_earrings,
    draw_eyewear,
    draw_hat,
    draw_neck_and_clothes,
    draw_neckwear,
)

# where eyes and mouth lie on average, in the unit square: what photographs are aligned to
FRAME = Landmarks((0.376, 0.492), (0.624, 0.492), (0.41, 0.705), (0.59, 0.705))
PIVOT = 0.5 + 0.55j  # what the figure turns and grows around, as x + iy


def render(portrait: Portrait, size: int = 128) -> np.ndarray:
    """The drawing of a portrait: uint8 [size, size, 3], sRGB.

    Raises MissingExtraError if skia-python is not installed.
    """
    skia = load_skia()
    pixels = np.zeros((size, size, 4), np.uint8)
    canvas = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType).getCanvas()
    canvas.scale(size, size)
    pen = Pen(skia, canvas)
    light = portrait.nuisance[-1]
    form = geometry(portrait)
    style, hat = portrait.value("hair_style"), portrait.value("hat")
    hair = HAIR["brown" if style == "bald" else portrait.value("hair_colour")]
    skin = SKIN[portrait.value("skin")]

    # The background stays; the figure moves as one.
    draw_background(pen, BACKGROUND[portrait.value("background")], light)
    middle, degrees, scale = _pose(portrait)
    canvas.translate(middle.real, middle.imag)
    canvas.rotate(degrees)
    canvas.scale(scale, scale)
    canvas.translate(-PIVOT.real, -PIVOT.imag)

    # Back to front.
    draw_hair_behind(pen, style, hair, light)
    draw_neck_and_clothes(pen, skin, CLOTHES[portrait.value("clothes")], form, light)
    draw_neckwear(pen, portrait.value("neckwear"), skin)
    if style == "long":
        draw_long_locks(pen, hair)
    draw_ears(pen, skin, form)
    head = head_outline(pen, form)
    draw_face(pen, head, skin, form, light)
    if portrait.value("age") == "old":
        draw_wrinkles(pen, skin, form)
    if portrait.value("facial_hair") == "beard":
        draw_beard(pen, head, hair, form)
    draw_nose(pen, skin, form)
    if portrait.value("facial_hair") == "moustache":
        draw_moustache(pen, hair, form)
    draw_mouth(pen, portrait.value("expression"), portrait.value("lipstick"), skin, form)
    draw_eyes(pen, IRIS[portrait.value("eye_colour")], portrait.value("expression"), skin, form)
    draw_brows(pen, hair, portrait.value("expression"), form)
    draw_hair_in_front(pen, head, style, hair, hat != "none")
    if hat != "none":
        draw_hat(pen, hat, style, hair)
    draw_eyewear(pen, portrait.value("eyewear"), form)
    if portrait.value("earrings") == "earrings":
        draw_earrings(pen, form)
    return pixels[:, :, :3].copy()


def landmarks(portrait: Portrait, size: int = 128) -> Landmarks:
    """Where the eyes and the corners of the mouth are in ``render(portrait, size)``, in pixels."""
    form = geometry(portrait)
    half, low = mouth_corner(portrait.value("expression"), portrait.value("lipstick"), form)
    middle, degrees, scale = _pose(portrait)
    turn = cmath.rect(scale, math.radians(degrees))
    onto = Similarity(size * turn, size * (middle - turn * PIVOT) - HALF)
    places = [(-form.eye_x, EYE_Y), (form.eye_x, EYE_Y), (-half, low), (half, low)]
    return Landmarks(*(onto.at((0.5 + x, y)) for x, y in places))


def mask(portrait: Portrait, name: str, value: str | None = None, size: int = 128) -> np.ndarray:
    """Where the drawing depends on an attribute: bool [size, size].

    A pixel belongs to it if it differs from the drawing of the same portrait with that ``value``
    (with any other value, if None) by more than the rounding of the shades. Raises KeyError for an
    unknown attribute, ValueError for an unknown value.
    """
    values = attribute_values(name) if value is None else (value,)
    drawn = render(portrait, size).astype(np.int16)
    others = (render(portrait.replaced(**{name: each}), size) for each in values)
    differs = [np.abs(drawn - other).max(axis=2) > 2 for other in others]
    inside: np.ndarray = np.logical_or.reduce(differs)
    return inside


def _pose(portrait: Portrait) -> tuple[complex, float, float]:
    """Where the figure's pivot lies, its degrees clockwise and its scale."""
    shift_x, shift_y, scale, roll, _ = portrait.nuisance
    middle = PIVOT + complex(0.022 * shift_x, 0.018 * shift_y)
    return middle, 4.0 * roll, 1.0 + 0.045 * scale
