"""What surrounds the face: background, clothes, neckwear, hats, glasses, earrings."""

from __future__ import annotations

from styleclip.portraits.drawing.colours import (
    BEANIE,
    BOW_TIE,
    CAP,
    GOLD,
    INK,
    SCARF,
    WHITE,
    Colour,
)
from styleclip.portraits.drawing.face import EYE_Y, Geometry
from styleclip.portraits.drawing.pen import Pen, dark, pale, sides


def draw_background(pen: Pen, colour: Colour, light: float) -> None:
    paint = pen.radial(0.5 + 0.3 * light, 0.32, 0.95, pale(colour, 0.22), colour, dark(colour, 0.2))
    pen.canvas.drawPaint(paint)


def draw_neck_and_clothes(
    pen: Pen, skin: Colour, cloth: Colour, form: Geometry, light: float
) -> None:
    neck = pen.path("M", 0.4, 0.7, "L", 0.4, 0.86, "Q", 0.36, 0.9, 0.3, 0.92)
    neck.lineTo(0.7, 0.92)
    neck.quadTo(0.64, 0.9, 0.6, 0.86)
    neck.lineTo(0.6, 0.7)
    neck.close()
    pen.draw(neck, pen.linear(0.5, 0.8, 0.5, 0.93, dark(skin, 0.3), dark(skin, 0.06)))

    # A wide body with a round collar that leaves the throat free.
    body = pen.path(
        "M", -0.2, 1.3, "L", -0.06, 1.0, "C", 0.02, 0.91, 0.22, 0.9, 0.365, 0.862,
        "Q", 0.5, 0.995, 0.635, 0.862, "C", 0.78, 0.9, 0.98, 0.91, 1.06, 1.0, "L", 1.2, 1.3, "Z",
    )  # fmt: skip
    x = 0.5 + 0.3 * light
    pen.draw(body, pen.radial(x, 0.85, 0.62, pale(cloth, 0.12), cloth, dark(cloth, 0.35)))
    pen.line(dark(cloth, 0.4), 0.02, "M", 0.365, 0.866, "Q", 0.5, 0.998, 0.635, 0.866, alpha=0.75)
    for side in sides():
        x = 0.5 + side * 0.31
        pen.line(dark(cloth, 0.45), 0.008, "M", x, 0.96, "L", x - 0.012 * side, 1.2, alpha=0.7)
    # The head's shadow on throat and shirt.
    pen.canvas.save()
    neck.addPath(body)
    pen.canvas.clipPath(neck, doAntiAlias=True)
    shadow = pen.paint(dark(skin, 0.75), 0.36, blur=0.02)
    pen.oval(0.5, form.chin + 0.012, 0.15, 0.042, shadow)
    pen.canvas.restore()


def draw_neckwear(pen: Pen, neckwear: str, skin: Colour) -> None:
    if neckwear == "scarf":
        shade, shine = dark(SCARF, 0.4), pale(SCARF, 0.45)
        tail = pen.path(
            "M", 0.585, 0.93, "L", 0.7, 0.92, "L", 0.735, 1.2, "L", 0.6, 1.2, "Z"
        )  # fmt: skip
        pen.draw(tail, pen.linear(0.59, 0.95, 0.73, 0.95, dark(SCARF, 0.28), SCARF))
        wrap = pen.path(
            "M", 0.335, 0.842, "Q", 0.5, 0.925, 0.665, 0.842, "C", 0.71, 0.86, 0.72, 0.92,
            0.69, 0.95, "Q", 0.5, 1.045, 0.31, 0.95, "C", 0.28, 0.92, 0.29, 0.86, 0.335, 0.842, "Z",
        )  # fmt: skip
        pen.draw(wrap, pen.paint(dark(SCARF, 0.75), 0.4, 0.02, blur=0.012))
        pen.draw(wrap, pen.linear(0.5, 0.86, 0.5, 1.0, pale(SCARF, 0.12), SCARF, dark(SCARF, 0.3)))
        pen.line(shine, 0.016, "M", 0.308, 0.885, "Q", 0.5, 0.972, 0.692, 0.885)
        pen.line(shade, 0.007, "M", 0.3, 0.92, "Q", 0.5, 1.006, 0.7, 0.92, alpha=0.8)
        shadow = pen.paint(dark(skin, 0.75), 0.3, blur=0.015)
        pen.oval(0.5, 0.862, 0.12, 0.022, shadow)
    elif neckwear == "bow tie":
        y, edge = 0.932, dark(BOW_TIE, 0.5)
        for side in sides():
            wing = pen.path(
                "M", 0.5, y - 0.016, "C", 0.5 + side * 0.05, y - 0.062, 0.5 + side * 0.1, y - 0.066,
                0.5 + side * 0.128, y - 0.05, "Q", 0.5 + side * 0.116, y, 0.5 + side * 0.128,
                y + 0.05, "C", 0.5 + side * 0.1, y + 0.066, 0.5 + side * 0.05, y + 0.062, 0.5,
                y + 0.016, "Z",
            )  # fmt: skip
            pen.draw(wing, pen.paint(edge, 1.0, 0.012))
            pen.draw(wing, pen.linear(0.5, y - 0.05, 0.5, y + 0.06, pale(BOW_TIE, 0.2), BOW_TIE,
                                      dark(BOW_TIE, 0.3)))  # fmt: skip
            pen.line(edge, 0.008, "M", 0.5 + side * 0.03, y, "L", 0.5 + side * 0.075, y - 0.01)
        pen.oval(0.5, y, 0.027, 0.034, pen.paint(edge), pen.paint(pale(BOW_TIE, 0.1), 1.0, 0.009))


def draw_hat(pen: Pen, hat: str, style: str, hair: Colour) -> None:
    pen.oval(0.5, 0.335, 0.25, 0.03, pen.paint(INK, 0.35, blur=0.018))
    if style == "mohawk":  # the crest pokes out above the crown
        crest = pen.path(
            "M", 0.3, 0.2, "L", 0.235, 0.1, "L", 0.31, 0.085, "L", 0.28, -0.01, "L", 0.39, 0.025,
            "L", 0.41, -0.05, "L", 0.5, 0.0, "L", 0.59, -0.05, "L", 0.61, 0.025, "L", 0.72, -0.01,
            "L", 0.69, 0.085, "L", 0.765, 0.1, "L", 0.7, 0.2, "Z",
        )  # fmt: skip
        pen.draw(crest, pen.linear(0.5, 0.0, 0.5, 0.14, hair, dark(hair, 0.3)))
    half = 0.32 if style == "curly" else 0.298
    if hat == "cap":
        _cap(pen, half)
    else:
        _beanie(pen, half)


def _cap(pen: Pen, half: float) -> None:
    crown = pen.path(
        "M", 0.5 - half, 0.34, "C", 0.49 - half, 0.15, 0.36, 0.075, 0.5, 0.075,
        "C", 0.64, 0.075, 0.51 + half, 0.15, 0.5 + half, 0.34, "Q", 0.5, 0.26, 0.5 - half, 0.34,
        "Z",
    )  # fmt: skip
    pen.draw(crown, pen.radial(0.42, 0.13, 0.4, pale(CAP, 0.3), CAP, dark(CAP, 0.4)))
    pen.oval(0.5, 0.18, 0.066, 0.058, pen.paint(WHITE, 0.95), pen.paint(dark(CAP, 0.4), 1.0, 0.008))
    pen.oval(0.5, 0.078, 0.02, 0.012, pen.paint(dark(CAP, 0.35)))
    for side in sides():
        pen.line(
            dark(CAP, 0.4), 0.007, "M", 0.5 + side * 0.03, 0.085,
            "Q", 0.5 + side * 0.15, 0.14, 0.5 + side * 0.18, 0.28,
        )  # fmt: skip
    visor = pen.path(
        "M", 0.245, 0.318, "C", 0.33, 0.225, 0.67, 0.225, 0.755, 0.318,
        "C", 0.81, 0.362, 0.775, 0.378, 0.735, 0.366, "C", 0.62, 0.318, 0.38, 0.318, 0.265, 0.366,
        "C", 0.225, 0.378, 0.19, 0.362, 0.245, 0.318, "Z",
    )  # fmt: skip
    pen.draw(visor, pen.linear(0.5, 0.24, 0.5, 0.37, dark(CAP, 0.15), dark(CAP, 0.62)))


def _beanie(pen: Pen, half: float) -> None:
    crown = pen.path(
        "M", 0.5 - half, 0.31, "C", 0.5 - half, 0.13, 0.36, 0.075, 0.5, 0.075,
        "C", 0.64, 0.075, 0.5 + half, 0.13, 0.5 + half, 0.31, "Z",
    )  # fmt: skip
    pen.draw(crown, pen.radial(0.42, 0.15, 0.4, pale(BEANIE, 0.22), BEANIE, dark(BEANIE, 0.35)))
    for index in range(-3, 4):
        x = 0.5 + 0.075 * index
        pen.line(
            dark(BEANIE, 0.4), 0.008, "M", 0.5 + 0.045 * index, 0.1, "Q", x, 0.17,
            x + 0.006 * index, 0.25, alpha=0.7,
        )  # fmt: skip
    wool = pen.radial(0.485, 0.045, 0.08, (255, 252, 244), (226, 214, 200))
    pen.oval(0.5, 0.065, 0.06, 0.055, wool)
    band = pen.skia.Rect.MakeLTRB(0.485 - half, 0.245, 0.515 + half, 0.34)
    knit = pen.linear(0.5, 0.24, 0.5, 0.345, (250, 244, 232), (206, 192, 186))
    pen.canvas.drawRoundRect(band, 0.035, 0.035, knit)
    for index in range(-6, 7):
        x = 0.5 + 0.047 * index
        pen.line((168, 150, 150), 0.006, "M", x, 0.25, "L", x, 0.33, alpha=0.8)


def draw_eyewear(pen: Pen, eyewear: str, form: Geometry) -> None:
    if eyewear == "none":
        return
    dark = eyewear == "sunglasses"
    rim: Colour = (20, 18, 22) if dark else (44, 26, 32)
    y, rx, ry = EYE_Y + 0.006, 0.096, 0.082
    gap = form.eye_x + 0.002 - rx
    pen.line(rim, 0.017, "M", 0.5 - gap, y - 0.014, "Q", 0.5, y - 0.034, 0.5 + gap, y - 0.014)
    for side in sides():
        x = 0.5 + side * (form.eye_x + 0.002)
        pen.line(rim, 0.016, "M", x + side * rx, y - 0.022, "L", 0.5 + side * 0.272, y - 0.03)
        rect = pen.skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry)
        shape = pen.skia.RRect.MakeRectXY(rect, 0.07, 0.066)
        if dark:
            fill = pen.linear(x, y - ry, x, y + ry, (16, 16, 22), (34, 34, 44), (92, 92, 108))
            pen.canvas.drawRRect(shape, fill)
            pen.line(WHITE, 0.014, "M", x - 0.052, y - 0.008, "L", x - 0.02, y - 0.05, alpha=0.75)
        else:
            pen.canvas.drawRRect(shape, pen.paint(WHITE, 0.14))
        pen.canvas.drawRRect(shape, pen.paint(rim, 1.0, 0.018))


def draw_earrings(pen: Pen, form: Geometry) -> None:
    """A stud at the lobe and a drop below it, in front of any hair."""
    rim: Colour = (146, 84, 0)
    for side in sides():
        x, y = 0.5 + side * 0.292, 0.515 + 0.058 * form.ear + 0.012
        pen.line(rim, 0.02, "M", x, y, "L", x, y + 0.05)
        pen.oval(x, y, 0.026, 0.026, pen.paint(rim), pen.paint(GOLD, 1.0, 0.012))
        pen.oval(x, y + 0.078, 0.045, 0.045, pen.paint(rim))
        shine = pen.radial(x - 0.012, y + 0.062, 0.06, (255, 244, 170), GOLD)
        pen.oval(x, y + 0.078, 0.037, 0.037, shine)
