"""The head and what is on it: outline, ears, nose, wrinkles, mouth, eyes, brows, beard.

Identity traits move the geometry by a few per cent of the picture (`geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from styleclip.portraits.attributes import Portrait
from styleclip.portraits.drawing.colours import CRIMSON, INK, SKIN, WHITE, Colour
from styleclip.portraits.drawing.pen import Pen, dark, mix, pale, sides


@dataclass(frozen=True)
class Geometry:
    """Where the features lie, in unit coordinates; half-widths are distances from x = 0.5."""

    jaw: float
    chin: float
    eye_x: float
    eye: float
    nose_y: float
    nose: float
    brow_y: float
    ear: float
    mouth: float


def geometry(portrait: Portrait) -> Geometry:
    jaw, length, spacing, eye, nose_length, nose_width, brow, ear, mouth = portrait.identity
    return Geometry(
        jaw=0.165 + 0.055 * jaw,
        chin=0.815 + 0.035 * length,
        eye_x=0.124 + 0.017 * spacing,
        eye=1.0 + 0.16 * eye,
        nose_y=0.609 + 0.022 * nose_length,
        nose=0.039 + 0.02 * nose_width,
        brow_y=0.402 - 0.018 * brow,
        ear=1.0 + 0.25 * ear,
        mouth=1.0 + 0.2 * mouth,
    )


EYE_Y = 0.492


MOUTH_Y = 0.705


SAD_BEND = 0.052


def draw_ears(pen: Pen, skin: Colour, form: Geometry) -> None:
    for side in sides():
        x, y = 0.5 + side * 0.272, 0.515
        rx, ry = 0.043 * form.ear, 0.07 * form.ear
        paint = pen.radial(x, y - 0.02, 0.09, pale(skin, 0.05), skin, dark(skin, 0.2))
        pen.oval(x, y, rx, ry, paint)
        inner = pen.paint(dark(mix(skin, (220, 60, 50), 0.25), 0.22), 0.7)
        pen.oval(x + side * 0.004, y, rx * 0.5, ry * 0.55, inner)


def head_outline(pen: Pen, form: Geometry) -> Any:
    """The outline of skull, cheeks and chin."""
    top, wide, y, jaw, chin = 0.185, 0.267, 0.47, form.jaw, form.chin
    low = y + 0.52 * (chin - y)
    return pen.path(
        "M", 0.5, top,
        "C", 0.5 + 0.6 * wide, top, 0.5 + wide, top + 0.11, 0.5 + wide, y,
        "C", 0.5 + wide, low, 0.5 + jaw, chin, 0.5, chin,
        "C", 0.5 - jaw, chin, 0.5 - wide, low, 0.5 - wide, y,
        "C", 0.5 - wide, top + 0.11, 0.5 - 0.6 * wide, top, 0.5, top, "Z",
    )  # fmt: skip


def draw_face(pen: Pen, head: Any, skin: Colour, form: Geometry, light: float) -> None:
    x = 0.5 + 0.14 * light
    pen.draw(
        head,
        pen.radial(x, 0.43, 0.46, pale(skin, 0.16), skin, dark(skin, 0.1), dark(skin, 0.36)),
    )
    blush = pen.paint(mix(skin, (226, 50, 60), 0.55), 0.42, blur=0.026)
    for side in sides():
        pen.oval(0.5 + side * 0.165, 0.625, 0.05, 0.032, blush)
    pen.oval(0.5, form.chin - 0.035, 0.04, 0.014, pen.paint(pale(skin, 0.5), 0.3, blur=0.012))


def draw_nose(pen: Pen, skin: Colour, form: Geometry) -> None:
    y, half = form.nose_y, form.nose
    shade = dark(mix(skin, (196, 60, 40), 0.18), 0.3)
    warm = pen.paint(mix(skin, (226, 70, 60), 0.3), 0.5, blur=0.01)
    pen.oval(0.5, y - 0.014, half * 0.9, 0.026, warm)
    pen.line(
        shade, 0.013, "M", 0.5 - half, y - 0.008, "Q", 0.5 - half, y + 0.01, 0.5 - half * 0.35,
        y + 0.005, "Q", 0.5, y + 0.017, 0.5 + half * 0.35, y + 0.005, "Q", 0.5 + half, y + 0.01,
        0.5 + half, y - 0.008,
    )  # fmt: skip
    pen.oval(0.495, y - 0.03, 0.009, 0.016, pen.paint(pale(skin, 0.75), 0.5, blur=0.004))


def draw_wrinkles(pen: Pen, skin: Colour, form: Geometry) -> None:
    """Forehead lines, crow's feet, eye bags and cheek folds."""
    shade = dark(mix(skin, (150, 60, 40), 0.15), 0.62 if skin == SKIN["dark"] else 0.46)
    for y, half in ((0.275, 0.1), (0.312, 0.125), (0.348, 0.1)):
        pen.line(
            shade, 0.0115, "M", 0.5 - half, y + 0.006, "Q", 0.5 - half / 2, y - 0.012, 0.5, y,
            "Q", 0.5 + half / 2, y - 0.012, 0.5 + half, y + 0.006,
        )  # fmt: skip
    for side in sides():
        x = 0.5 + side * form.eye_x
        bag = pen.path("M", x - 0.062, 0.552, "Q", x, 0.612, x + 0.062, 0.552)
        pen.draw(bag, pen.paint(shade, 0.95, 0.011))
        pen.oval(x, 0.556, 0.05, 0.016, pen.paint(shade, 0.4, blur=0.008))
        edge = 0.5 + side * 0.215
        for dy in (-0.028, 0.0, 0.028):
            y = 0.5 + 0.5 * dy
            pen.line(shade, 0.0095, "M", edge, y, "L", edge + side * 0.034, y + dy)
        pen.line(
            shade, 0.013, "M", 0.5 + side * 0.06, form.nose_y - 0.004,
            "Q", 0.5 + side * 0.135, 0.65, 0.5 + side * 0.132, 0.725,
        )  # fmt: skip
        pen.line(
            shade, 0.009, "M", 0.5 + side * 0.185, 0.63, "Q", 0.5 + side * 0.19, 0.67,
            0.5 + side * 0.172, 0.715,
        )  # fmt: skip


def mouth_y(form: Geometry) -> float:
    return MOUTH_Y + 0.3 * (form.chin - 0.815)


def mouth_corner(expression: str, lipstick: str, form: Geometry) -> tuple[float, float]:
    """Where the corners of the mouth lie: their distance from x = 0.5, and y."""
    y = mouth_y(form)
    half, drop = {
        "smiling": (0.118, -0.024),
        "surprised": (0.047, 0.02),
        "sad": (0.0, 0.7 * SAD_BEND),
    }.get(expression, (0.0, 0.0))
    if not half:
        half = 0.092 if lipstick == "lipstick" else 0.08
    return half * form.mouth, y + drop


def draw_mouth(pen: Pen, expression: str, lipstick: str, skin: Colour, form: Geometry) -> None:
    painted = lipstick == "lipstick"
    natural = mix(skin, (206, 96, 96), 0.5) if skin != SKIN["dark"] else (164, 88, 82)
    lip = CRIMSON if painted else natural
    thick = 0.027 if painted else 0.013
    y = mouth_y(form)
    pen.canvas.save()
    pen.canvas.translate(0.5, 0.0)
    pen.canvas.scale(form.mouth, 1.0)
    pen.canvas.translate(-0.5, 0.0)
    if expression == "smiling":
        mouth = pen.path(
            "M", 0.382, y - 0.024, "Q", 0.5, y + 0.006, 0.618, y - 0.024,
            "Q", 0.59, y + 0.066, 0.5, y + 0.066, "Q", 0.41, y + 0.066, 0.382, y - 0.024, "Z",
        )  # fmt: skip
        pen.draw(mouth, pen.paint(WHITE))
        pen.line((120, 20, 36), 0.018, "M", 0.43, y + 0.052, "Q", 0.5, y + 0.064, 0.57, y + 0.052)
        pen.draw(mouth, pen.paint(lip, 1.0, thick))
    elif expression == "surprised":
        pen.oval(0.5, y + 0.02, 0.047, 0.054, pen.paint((70, 12, 24)))
        pen.oval(0.5, y + 0.05, 0.028, 0.02, pen.paint((216, 84, 96)))
        pen.oval(0.5, y + 0.02, 0.047, 0.054, pen.paint(lip, 1.0, thick))
    else:
        bend = SAD_BEND if expression == "sad" else 0.0
        half = 0.092 if painted else 0.08
        left, right = 0.5 - half, 0.5 + half
        ends = y + bend * 0.7
        full = 0.034 if painted else 0.016
        lips = pen.path(
            "M", left, ends,
            "Q", 0.5 - half / 2, y - bend * 0.5 - full, 0.488, y - bend * 0.3 - full,
            "L", 0.5, y - bend * 0.3 - full * 0.75, "L", 0.512, y - bend * 0.3 - full,
            "Q", 0.5 + half / 2, y - bend * 0.5 - full, right, ends,
            "Q", 0.5, y - bend * 0.55 + 2.1 * full, left, ends, "Z",
        )  # fmt: skip
        pen.draw(lips, pen.paint(lip), pen.paint(lip, 1.0, 0.4 * thick))
        seam = pen.path("M", left, ends, "Q", 0.5, y - bend * 0.75, right, ends)
        pen.draw(seam, pen.paint(dark(lip, 0.7), 0.95, 0.0115))
    if painted and expression in ("neutral", "sad"):
        pen.oval(0.5, y + 0.014, 0.022, 0.005, pen.paint((255, 150, 170), 0.7, blur=0.004))
    pen.canvas.restore()


def draw_eyes(pen: Pen, iris: Colour, expression: str, skin: Colour, form: Geometry) -> None:
    tall = {"surprised": 1.2, "smiling": 0.94, "sad": 0.94}.get(expression, 1.0)
    for side in sides():
        x = 0.5 + side * form.eye_x
        rx, ry = 0.066 * form.eye, 0.05 * form.eye * tall
        droop = 0.012 if expression == "sad" else 0.0
        outer, inner = x + side * rx, x - side * rx
        eye = pen.path(
            "M", inner, EYE_Y + 0.006 - droop,
            "C", x - side * rx * 0.6, EYE_Y - ry * 1.25 - droop, x + side * rx * 0.7,
            EYE_Y - ry * 1.25, outer, EYE_Y - 0.002 + droop,
            "C", x + side * rx * 0.6, EYE_Y + ry * 1.2, x - side * rx * 0.6, EYE_Y + ry * 1.2,
            inner, EYE_Y + 0.006 - droop, "Z",
        )  # fmt: skip
        pen.draw(eye, pen.paint(dark(skin, 0.6), 0.35, 0.02, blur=0.008), pen.paint(WHITE))
        pen.canvas.save()
        pen.canvas.clipPath(eye, doAntiAlias=True)
        radius = 0.043 * form.eye
        pen.oval(x, EYE_Y, radius, radius, pen.paint(dark(iris, 0.45)))
        fill = pen.radial(x, EYE_Y + 0.018, radius * 1.2, pale(iris, 0.3), iris, dark(iris, 0.2))
        pen.oval(x, EYE_Y, radius * 0.88, radius * 0.88, fill)
        pen.oval(x, EYE_Y, radius * 0.4, radius * 0.4, pen.paint((14, 10, 14)))
        pen.oval(x, EYE_Y - ry, rx, ry * 0.42, pen.paint(INK, 0.3, blur=0.008))
        pen.canvas.restore()
        pen.oval(x - 0.014, EYE_Y - 0.016, 0.0105, 0.0105, pen.paint(WHITE, 0.95))
        pen.line(
            INK, 0.014, "M", inner, EYE_Y + 0.006 - droop, "C", x - side * rx * 0.6,
            EYE_Y - ry * 1.25 - droop, x + side * rx * 0.7, EYE_Y - ry * 1.25, outer,
            EYE_Y - 0.002 + droop, "L", outer + side * 0.008, EYE_Y - 0.008 + droop,
        )  # fmt: skip


def draw_brows(pen: Pen, hair: Colour, expression: str, form: Geometry) -> None:
    inner, arch, outer = {
        "neutral": (0.004, -0.012, 0.008),
        "smiling": (0.002, -0.02, 0.006),
        "sad": (-0.036, -0.012, 0.03),
        "surprised": (-0.034, -0.064, -0.026),
    }[expression]
    y = form.brow_y
    for side in sides():
        x = 0.5 + side * form.eye_x
        tokens = (
            "M", x - side * 0.062, y + inner, "Q", x, y + arch, x + side * 0.068, y + outer,
        )  # fmt: skip
        pen.line(dark(hair, 0.32), 0.023, *tokens)


def draw_beard(pen: Pen, head: Any, hair: Colour, form: Geometry) -> None:
    """Side burns to chin, with a moustache; the mouth is drawn over it."""
    chin, nose = form.chin, form.nose_y
    beard = pen.path(
        "M", 0.2, 0.53, "L", 0.262, 0.55, "C", 0.29, 0.66, 0.36, 0.68, 0.415, nose + 0.032,
        "Q", 0.47, nose + 0.016, 0.5, nose + 0.03, "Q", 0.53, nose + 0.016, 0.585, nose + 0.032,
        "C", 0.64, 0.68, 0.71, 0.66, 0.738, 0.55, "L", 0.8, 0.53, "L", 0.8, chin + 0.1,
        "L", 0.2, chin + 0.1, "Z",
    )  # fmt: skip
    grow = pen.path(
        "M", 0.5 - form.jaw - 0.05, chin - 0.1, "Q", 0.5 - form.jaw * 0.6, chin + 0.045, 0.5,
        chin + 0.045, "Q", 0.5 + form.jaw * 0.6, chin + 0.045, 0.5 + form.jaw + 0.05, chin - 0.1,
        "Z",
    )  # fmt: skip
    paint = pen.radial(0.5, 0.66, 0.26, pale(hair, 0.08), hair, dark(hair, 0.35))
    pen.draw(grow, paint)
    pen.canvas.save()
    pen.canvas.clipPath(head, doAntiAlias=True)
    pen.draw(beard, paint)
    pen.canvas.restore()
    for index in range(-5, 6):
        x = 0.5 + index * 0.032
        y = chin + 0.02 - 0.0035 * index * index
        colour = pale(hair, 0.28) if index % 2 else dark(hair, 0.4)
        pen.line(colour, 0.006, "M", x, y - 0.045, "L", x * 0.9 + 0.05, y + 0.01, alpha=0.7)


def draw_moustache(pen: Pen, hair: Colour, form: Geometry) -> None:
    y = form.nose_y + 0.03
    for side in sides():
        half = pen.path(
            "M", 0.5, y - 0.014, "Q", 0.5 + side * 0.06, y - 0.032, 0.5 + side * 0.105, y + 0.018,
            "Q", 0.5 + side * 0.122, y + 0.034, 0.5 + side * 0.16, y + 0.006,
            "Q", 0.5 + side * 0.138, y + 0.068, 0.5 + side * 0.085, y + 0.056,
            "Q", 0.5 + side * 0.05, y + 0.034, 0.5, y + 0.034, "Z",
        )  # fmt: skip
        pen.draw(half, pen.paint(dark(hair, 0.5), 1.0, 0.01))
        pen.draw(half, pen.linear(0.5, y - 0.02, 0.5, y + 0.05, hair, dark(hair, 0.3)))
        pen.line(
            pale(hair, 0.3), 0.006, "M", 0.5 + side * 0.02, y + 0.002,
            "Q", 0.5 + side * 0.06, y + 0.0, 0.5 + side * 0.098, y + 0.038, alpha=0.7,
        )  # fmt: skip
