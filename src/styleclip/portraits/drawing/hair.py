"""Hair, in two layers: what falls behind the head, and what grows in front of it."""

from __future__ import annotations

import math
from typing import Any

from styleclip.portraits.drawing.colours import WHITE, Colour
from styleclip.portraits.drawing.pen import Pen, dark, pale, sides


def draw_hair_behind(pen: Pen, style: str, hair: Colour, light: float) -> None:
    x = 0.5 + 0.15 * light
    if style == "short":
        back = pen.path(
            "M", 0.215, 0.5, "C", 0.17, 0.28, 0.28, 0.11, 0.5, 0.11,
            "C", 0.72, 0.11, 0.83, 0.28, 0.785, 0.5, "Z",
        )  # fmt: skip
        pen.draw(back, pen.radial(x, 0.2, 0.45, pale(hair, 0.1), hair, dark(hair, 0.35)))
    elif style == "long":
        back = pen.path(
            "M", 0.12, 1.12, "C", 0.1, 0.7, 0.13, 0.09, 0.5, 0.09,
            "C", 0.87, 0.09, 0.9, 0.7, 0.88, 1.12, "Z",
        )  # fmt: skip
        pen.draw(back, pen.radial(x, 0.2, 0.75, hair, dark(hair, 0.18), dark(hair, 0.5)))
    elif style == "curly":
        for index in range(19):
            angle = math.pi * (0.86 + 1.28 * index / 18)
            wobble = 0.012 * math.cos(2.4 * index)
            radius = 0.31 + wobble
            _curl(
                pen, 0.5 + radius * math.cos(angle), 0.415 + radius * math.sin(angle), 0.085, hair
            )


def _curl(pen: Pen, x: float, y: float, radius: float, hair: Colour) -> None:
    pen.oval(x, y, radius, radius, pen.paint(dark(hair, 0.34)))
    pen.oval(x - 0.004, y - 0.006, radius * 0.88, radius * 0.88, pen.paint(hair))
    r = radius * 0.5
    pen.line(
        pale(hair, 0.32),
        radius * 0.2,
        "M",
        x - r,
        y,
        "Q",
        x - r,
        y - r,
        x,
        y - r * 1.1,
        alpha=0.75,
    )
    pen.line(
        dark(hair, 0.4), radius * 0.16, "M", x + r, y - r * 0.2, "Q", x + r, y + r, x - r * 0.2,
        y + r * 0.9, alpha=0.7,
    )  # fmt: skip


def draw_long_locks(pen: Pen, hair: Colour) -> None:
    """Tresses behind the ears that fall over the shoulders."""
    for side in sides():
        lock = pen.path(
            "M", 0.5 + side * 0.22, 0.5,
            "C", 0.5 + side * 0.29, 0.68, 0.5 + side * 0.2, 0.8, 0.5 + side * 0.235, 1.12,
            "L", 0.5 + side * 0.395, 1.12,
            "C", 0.5 + side * 0.43, 0.8, 0.5 + side * 0.4, 0.62, 0.5 + side * 0.36, 0.45, "Z",
        )  # fmt: skip
        x0, x1 = 0.5 + side * 0.2, 0.5 + side * 0.42
        pen.draw(lock, pen.paint(dark(hair, 0.7), 0.35, 0.02, blur=0.012))
        tones = (dark(hair, 0.3), pale(hair, 0.08), dark(hair, 0.2))
        pen.draw(lock, pen.linear(x0, 0.7, x1, 0.7, *tones))
        shade, shine = dark(hair, 0.42), pale(hair, 0.3)
        for offset, colour in ((0.26, shade), (0.31, shine), (0.355, shade)):
            x = 0.5 + side * offset
            pen.line(
                colour, 0.009, "M", x, 0.6, "C", x + side * 0.03, 0.72, x - side * 0.02, 0.84,
                x + side * 0.012, 1.08, alpha=0.7,
            )  # fmt: skip


def draw_hair_in_front(pen: Pen, head: Any, style: str, hair: Colour, covered: bool) -> None:
    shine, shade = pale(hair, 0.34), dark(hair, 0.42)
    if style == "bald":
        pen.oval(0.44, 0.25, 0.07, 0.03, pen.paint(WHITE, 0.4, blur=0.016))
    elif style == "short":
        cut = pen.path(
            "M", 0.205, 0.5, "C", 0.16, 0.24, 0.28, 0.105, 0.5, 0.105,
            "C", 0.72, 0.105, 0.84, 0.24, 0.795, 0.5, "L", 0.755, 0.5, "L", 0.742, 0.375,
            "C", 0.72, 0.31, 0.66, 0.27, 0.6, 0.245, "Q", 0.44, 0.3, 0.33, 0.255,
            "C", 0.28, 0.29, 0.265, 0.33, 0.258, 0.375, "L", 0.245, 0.5, "Z",
        )  # fmt: skip
        pen.draw(cut, pen.linear(0.3, 0.1, 0.62, 0.42, pale(hair, 0.12), hair, dark(hair, 0.25)))
        for index in range(7):
            x = 0.3 + 0.062 * index
            pen.line(
                shine if index % 2 else shade, 0.009,
                "M", x + 0.03, 0.135 + 0.004 * (index - 3) ** 2, "Q", x - 0.01, 0.18,
                x + 0.004, 0.235, alpha=0.6,
            )  # fmt: skip
    elif style == "long":
        for side in sides():
            part = pen.path(
                "M", 0.475, 0.175, "C", 0.475 + side * 0.06, 0.27, 0.5 + side * 0.22, 0.3,
                0.5 + side * 0.252, 0.5, "L", 0.5 + side * 0.325, 0.5,
                "C", 0.5 + side * 0.38, 0.24, 0.5 + side * 0.24, 0.085, 0.475, 0.085, "Z",
            )  # fmt: skip
            ends = (pale(hair, 0.14), hair, dark(hair, 0.25))
            pen.draw(part, pen.linear(0.5, 0.1, 0.5 + side * 0.3, 0.45, *ends))
            for offset, colour in ((0.05, shade), (0.1, shine), (0.15, shade)):
                pen.line(
                    colour, 0.009, "M", 0.478 + side * offset, 0.11 + 0.3 * offset,
                    "C", 0.5 + side * (0.1 + offset), 0.2, 0.5 + side * (0.19 + 0.6 * offset), 0.28,
                    0.5 + side * (0.225 + 0.5 * offset), 0.42, alpha=0.65,
                )  # fmt: skip
        pen.line(shade, 0.008, "M", 0.475, 0.09, "L", 0.475, 0.18)
    elif style == "curly":
        for index in range(9):
            angle = math.pi * (1.06 + 0.88 * index / 8)
            _curl(pen, 0.5 + 0.235 * math.cos(angle), 0.385 + 0.2 * math.sin(angle), 0.062, hair)
    elif style == "mohawk":
        _mohawk(pen, head, hair, shine, shade)


def _mohawk(pen: Pen, head: Any, hair: Colour, shine: Colour, shade: Colour) -> None:
    # Shaved sides: a faint stubble inside the skull's outline.
    pen.canvas.save()
    pen.canvas.clipPath(head, doAntiAlias=True)
    stubble = pen.path(
        "M", 0.2, 0.46, "Q", 0.3, 0.26, 0.5, 0.27, "Q", 0.7, 0.26, 0.8, 0.46, "L", 0.8, 0.1,
        "L", 0.2, 0.1, "Z",
    )  # fmt: skip
    pen.draw(stubble, pen.paint(dark(hair, 0.5), 0.3, blur=0.012))
    pen.canvas.restore()
    crest = pen.path(
        "M", 0.41, 0.3, "L", 0.38, 0.18, "L", 0.31, 0.125, "L", 0.37, 0.11, "L", 0.345, 0.035,
        "L", 0.43, 0.06, "L", 0.5, -0.005, "L", 0.57, 0.06, "L", 0.655, 0.035, "L", 0.63, 0.11,
        "L", 0.69, 0.125, "L", 0.62, 0.18, "L", 0.59, 0.3, "Q", 0.5, 0.35, 0.41, 0.3, "Z",
    )  # fmt: skip
    pen.draw(crest, pen.linear(0.5, 0.0, 0.5, 0.33, pale(hair, 0.14), hair, dark(hair, 0.28)))
    for dx in (-0.064, -0.032, 0.0, 0.032, 0.064):
        pen.line(
            shine if abs(dx) == 0.032 else shade, 0.009, "M", 0.5 + 0.8 * dx, 0.295,
            "Q", 0.5 + dx, 0.18, 0.5 + 1.7 * dx, 0.08, alpha=0.7,
        )  # fmt: skip
