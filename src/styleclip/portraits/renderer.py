"""Draw a portrait: shaded vector art of a known face, anti-aliased with skia.

`render` maps a Portrait to uint8 pixels [size, size, 3] (sRGB), deterministically. Everything is
drawn in unit coordinates (x right, y down, 0..1), back to front: background, hair behind, neck and
clothes, head, ears, face, hair in front, hat. Discrete values change the drawing by several pixels
even at size 64; identity traits move the geometry by a few per cent (see `_geometry`); nuisances
shift, scale and roll the whole figure and move the light.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from styleclip.portraits.attributes import Portrait

Colour = tuple[int, int, int]

HAIR: dict[str, Colour] = {
    "black": (34, 31, 40),
    "brown": (94, 50, 22),
    "blond": (240, 204, 104),
    "red": (208, 70, 22),
    "grey": (172, 176, 184),
    "blue": (36, 84, 216),
    "pink": (248, 100, 178),
    "green": (28, 150, 66),
}
SKIN: dict[str, Colour] = {"light": (252, 220, 198), "tan": (218, 164, 116), "dark": (136, 86, 60)}
IRIS: dict[str, Colour] = {"brown": (116, 62, 24), "blue": (40, 124, 236), "green": (34, 158, 72)}
BACKGROUND: dict[str, Colour] = {
    "white": (242, 242, 240),
    "yellow": (255, 226, 92),
    "blue": (120, 184, 244),
    "green": (146, 216, 146),
    "purple": (180, 142, 226),
}
CLOTHES: dict[str, Colour] = {
    "red": (204, 38, 46),
    "blue": (34, 66, 164),
    "green": (34, 122, 66),
    "black": (38, 38, 44),
    "white": (238, 238, 242),
}
CAP: Colour = (20, 178, 184)
BEANIE: Colour = (108, 48, 156)
SCARF: Colour = (240, 126, 34)
BOW_TIE: Colour = (216, 36, 132)
GOLD: Colour = (255, 198, 30)
CRIMSON: Colour = (206, 6, 62)
INK: Colour = (38, 26, 30)
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class _Geometry:
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


def render(portrait: Portrait, size: int = 128) -> np.ndarray:
    """The drawing of a portrait: uint8 [size, size, 3], sRGB.

    Raises MissingExtraError if skia-python is not installed.
    """
    skia = _skia()
    pixels = np.zeros((size, size, 4), np.uint8)
    canvas = skia.Surface(pixels, colorType=skia.kRGBA_8888_ColorType).getCanvas()
    canvas.scale(size, size)
    pen = _Pen(skia, canvas)
    shift_x, shift_y, scale, roll, light = portrait.nuisance
    form = _geometry(portrait)
    style, hat = portrait.value("hair_style"), portrait.value("hat")
    hair = HAIR["brown" if style == "bald" else portrait.value("hair_colour")]
    skin = SKIN[portrait.value("skin")]

    # The background stays; the figure moves as one.
    _background(pen, BACKGROUND[portrait.value("background")], light)
    canvas.translate(0.5 + 0.022 * shift_x, 0.55 + 0.018 * shift_y)
    canvas.rotate(4.0 * roll)
    canvas.scale(1.0 + 0.045 * scale, 1.0 + 0.045 * scale)
    canvas.translate(-0.5, -0.55)

    # Back to front.
    _hair_behind(pen, style, hair, light)
    _neck_and_clothes(pen, skin, CLOTHES[portrait.value("clothes")], form, light)
    _neckwear(pen, portrait.value("neckwear"), skin)
    if style == "long":
        _long_locks(pen, hair)
    _ears(pen, skin, form)
    head = _head(pen, form)
    _face(pen, head, skin, form, light)
    if portrait.value("age") == "old":
        _wrinkles(pen, skin, form)
    if portrait.value("facial_hair") == "beard":
        _beard(pen, head, hair, form)
    _nose(pen, skin, form)
    if portrait.value("facial_hair") == "moustache":
        _moustache(pen, hair, form)
    _mouth(pen, portrait.value("expression"), portrait.value("lipstick"), skin, form)
    _eyes(pen, IRIS[portrait.value("eye_colour")], portrait.value("expression"), skin, form)
    _brows(pen, hair, portrait.value("expression"), form)
    _hair_in_front(pen, head, style, hair, hat != "none")
    if hat != "none":
        _hat(pen, hat, style, hair)
    _eyewear(pen, portrait.value("eyewear"), form)
    if portrait.value("earrings") == "earrings":
        _earrings(pen, form)
    return pixels[:, :, :3].copy()


def _skia() -> Any:
    try:
        import skia
    except ImportError as error:
        from styleclip.errors import MissingExtraError

        raise MissingExtraError(
            "drawing portraits needs skia-python, which is not installed; "
            "run: pip install 'styleclip[portraits]'"
        ) from error
    return skia


def _geometry(portrait: Portrait) -> _Geometry:
    jaw, length, spacing, eye, nose_length, nose_width, brow, ear, mouth = portrait.identity
    return _Geometry(
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


@lru_cache(maxsize=4096)
def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` moved towards `b` by `share` in [0, 1]."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _dark(colour: Colour, share: float) -> Colour:
    return _mix(colour, (24, 8, 20), share)


def _pale(colour: Colour, share: float) -> Colour:
    return _mix(colour, WHITE, share)


@dataclass(frozen=True)
class _Pen:
    """A skia canvas in unit coordinates, with the few strokes the drawing needs."""

    skia: Any
    canvas: Any

    def path(self, *tokens: str | float) -> Any:
        """A path from SVG-like tokens: "M" x y, "L" x y, "Q" 4 numbers, "C" 6 numbers, "Z"."""
        path = self.skia.Path()
        verbs = {"M": path.moveTo, "L": path.lineTo, "Q": path.quadTo, "C": path.cubicTo}
        counts = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}
        index = 0
        while index < len(tokens):
            verb = str(tokens[index])
            numbers = tokens[index + 1 : index + 1 + counts[verb]]
            if verb == "Z":
                path.close()
            else:
                verbs[verb](*numbers)
            index += 1 + counts[verb]
        return path

    def paint(
        self, colour: Colour, alpha: float = 1.0, width: float = 0.0, blur: float = 0.0
    ) -> Any:
        """A fill, or a round stroke of `width`; blurred by a Gaussian of deviation `blur`."""
        skia = self.skia
        paint = skia.Paint(AntiAlias=True, Color=self._argb(colour, alpha))
        if width:
            paint.setStyle(skia.Paint.kStroke_Style)
            paint.setStrokeWidth(width)
            paint.setStrokeCap(skia.Paint.kRound_Cap)
            paint.setStrokeJoin(skia.Paint.kRound_Join)
        if blur:
            paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
        return paint

    def radial(self, x: float, y: float, radius: float, *colours: Colour) -> Any:
        """A fill whose colours run from the centre (x, y) outwards."""
        stops = [self._argb(colour, 1.0) for colour in colours]
        shader = self.skia.GradientShader.MakeRadial(self.skia.Point(x, y), radius, stops)
        return self.skia.Paint(AntiAlias=True, Shader=shader)

    def linear(self, x0: float, y0: float, x1: float, y1: float, *colours: Colour) -> Any:
        """A fill whose colours run from (x0, y0) to (x1, y1)."""
        points = [self.skia.Point(x0, y0), self.skia.Point(x1, y1)]
        stops = [self._argb(colour, 1.0) for colour in colours]
        shader = self.skia.GradientShader.MakeLinear(points, stops)
        return self.skia.Paint(AntiAlias=True, Shader=shader)

    def draw(self, path: Any, *paints: Any) -> None:
        for paint in paints:
            self.canvas.drawPath(path, paint)

    def oval(self, x: float, y: float, rx: float, ry: float, *paints: Any) -> None:
        rect = self.skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry)
        for paint in paints:
            self.canvas.drawOval(rect, paint)

    def line(self, colour: Colour, width: float, *tokens: str | float, alpha: float = 1.0) -> None:
        self.canvas.drawPath(self.path(*tokens), self.paint(colour, alpha, width))

    @staticmethod
    def _argb(colour: Colour, alpha: float) -> int:
        return round(255 * alpha) << 24 | colour[0] << 16 | colour[1] << 8 | colour[2]


def _sides() -> Iterable[int]:
    return (-1, 1)


def _background(pen: _Pen, colour: Colour, light: float) -> None:
    paint = pen.radial(
        0.5 + 0.3 * light, 0.32, 0.95, _pale(colour, 0.22), colour, _dark(colour, 0.2)
    )
    pen.canvas.drawPaint(paint)


def _neck_and_clothes(
    pen: _Pen, skin: Colour, cloth: Colour, form: _Geometry, light: float
) -> None:
    neck = pen.path("M", 0.4, 0.7, "L", 0.4, 0.86, "Q", 0.36, 0.9, 0.3, 0.92)
    neck.lineTo(0.7, 0.92)
    neck.quadTo(0.64, 0.9, 0.6, 0.86)
    neck.lineTo(0.6, 0.7)
    neck.close()
    pen.draw(neck, pen.linear(0.5, 0.8, 0.5, 0.93, _dark(skin, 0.3), _dark(skin, 0.06)))

    # A wide body with a round collar that leaves the throat free.
    body = pen.path(
        "M", -0.2, 1.3, "L", -0.06, 1.0, "C", 0.02, 0.91, 0.22, 0.9, 0.365, 0.862,
        "Q", 0.5, 0.995, 0.635, 0.862, "C", 0.78, 0.9, 0.98, 0.91, 1.06, 1.0, "L", 1.2, 1.3, "Z",
    )  # fmt: skip
    x = 0.5 + 0.3 * light
    pen.draw(body, pen.radial(x, 0.85, 0.62, _pale(cloth, 0.12), cloth, _dark(cloth, 0.35)))
    pen.line(_dark(cloth, 0.4), 0.02, "M", 0.365, 0.866, "Q", 0.5, 0.998, 0.635, 0.866, alpha=0.75)
    for side in _sides():
        x = 0.5 + side * 0.31
        pen.line(_dark(cloth, 0.45), 0.008, "M", x, 0.96, "L", x - 0.012 * side, 1.2, alpha=0.7)
    # The head's shadow on throat and shirt.
    pen.canvas.save()
    neck.addPath(body)
    pen.canvas.clipPath(neck, doAntiAlias=True)
    shadow = pen.paint(_dark(skin, 0.75), 0.36, blur=0.02)
    pen.oval(0.5, form.chin + 0.012, 0.15, 0.042, shadow)
    pen.canvas.restore()


def _neckwear(pen: _Pen, neckwear: str, skin: Colour) -> None:
    if neckwear == "scarf":
        shade, shine = _dark(SCARF, 0.4), _pale(SCARF, 0.45)
        tail = pen.path(
            "M", 0.585, 0.93, "L", 0.7, 0.92, "L", 0.735, 1.2, "L", 0.6, 1.2, "Z"
        )  # fmt: skip
        pen.draw(tail, pen.linear(0.59, 0.95, 0.73, 0.95, _dark(SCARF, 0.28), SCARF))
        wrap = pen.path(
            "M", 0.335, 0.842, "Q", 0.5, 0.925, 0.665, 0.842, "C", 0.71, 0.86, 0.72, 0.92, 0.69, 0.95,
            "Q", 0.5, 1.045, 0.31, 0.95, "C", 0.28, 0.92, 0.29, 0.86, 0.335, 0.842, "Z",
        )  # fmt: skip
        pen.draw(wrap, pen.paint(_dark(SCARF, 0.75), 0.4, 0.02, blur=0.012))
        pen.draw(wrap, pen.linear(0.5, 0.86, 0.5, 1.0, _pale(SCARF, 0.12), SCARF, _dark(SCARF, 0.3)))
        pen.line(shine, 0.016, "M", 0.308, 0.885, "Q", 0.5, 0.972, 0.692, 0.885)
        pen.line(shade, 0.007, "M", 0.3, 0.92, "Q", 0.5, 1.006, 0.7, 0.92, alpha=0.8)
        shadow = pen.paint(_dark(skin, 0.75), 0.3, blur=0.015)
        pen.oval(0.5, 0.862, 0.12, 0.022, shadow)
    elif neckwear == "bow tie":
        y, edge = 0.932, _dark(BOW_TIE, 0.5)
        for side in _sides():
            wing = pen.path(
                "M", 0.5, y - 0.016, "C", 0.5 + side * 0.05, y - 0.062, 0.5 + side * 0.1, y - 0.066,
                0.5 + side * 0.128, y - 0.05, "Q", 0.5 + side * 0.116, y, 0.5 + side * 0.128, y + 0.05,
                "C", 0.5 + side * 0.1, y + 0.066, 0.5 + side * 0.05, y + 0.062, 0.5, y + 0.016, "Z",
            )  # fmt: skip
            pen.draw(wing, pen.paint(edge, 1.0, 0.012))
            pen.draw(wing, pen.linear(0.5, y - 0.05, 0.5, y + 0.06, _pale(BOW_TIE, 0.2), BOW_TIE,
                                      _dark(BOW_TIE, 0.3)))  # fmt: skip
            pen.line(edge, 0.008, "M", 0.5 + side * 0.03, y, "L", 0.5 + side * 0.075, y - 0.01)
        pen.oval(0.5, y, 0.027, 0.034, pen.paint(edge), pen.paint(_pale(BOW_TIE, 0.1), 1.0, 0.009))


def _ears(pen: _Pen, skin: Colour, form: _Geometry) -> None:
    for side in _sides():
        x, y = 0.5 + side * 0.272, 0.515
        rx, ry = 0.043 * form.ear, 0.07 * form.ear
        paint = pen.radial(x, y - 0.02, 0.09, _pale(skin, 0.05), skin, _dark(skin, 0.2))
        pen.oval(x, y, rx, ry, paint)
        inner = pen.paint(_dark(_mix(skin, (220, 60, 50), 0.25), 0.22), 0.7)
        pen.oval(x + side * 0.004, y, rx * 0.5, ry * 0.55, inner)


def _head(pen: _Pen, form: _Geometry) -> Any:
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


def _face(pen: _Pen, head: Any, skin: Colour, form: _Geometry, light: float) -> None:
    x = 0.5 + 0.14 * light
    pen.draw(
        head,
        pen.radial(x, 0.43, 0.46, _pale(skin, 0.16), skin, _dark(skin, 0.1), _dark(skin, 0.36)),
    )
    blush = pen.paint(_mix(skin, (226, 50, 60), 0.55), 0.42, blur=0.026)
    for side in _sides():
        pen.oval(0.5 + side * 0.165, 0.625, 0.05, 0.032, blush)
    pen.oval(0.5, form.chin - 0.035, 0.04, 0.014, pen.paint(_pale(skin, 0.5), 0.3, blur=0.012))


def _nose(pen: _Pen, skin: Colour, form: _Geometry) -> None:
    y, half = form.nose_y, form.nose
    shade = _dark(_mix(skin, (196, 60, 40), 0.18), 0.3)
    warm = pen.paint(_mix(skin, (226, 70, 60), 0.3), 0.5, blur=0.01)
    pen.oval(0.5, y - 0.014, half * 0.9, 0.026, warm)
    pen.line(
        shade, 0.013, "M", 0.5 - half, y - 0.008, "Q", 0.5 - half, y + 0.01, 0.5 - half * 0.35,
        y + 0.005, "Q", 0.5, y + 0.017, 0.5 + half * 0.35, y + 0.005, "Q", 0.5 + half, y + 0.01,
        0.5 + half, y - 0.008,
    )  # fmt: skip
    pen.oval(0.495, y - 0.03, 0.009, 0.016, pen.paint(_pale(skin, 0.75), 0.5, blur=0.004))


def _wrinkles(pen: _Pen, skin: Colour, form: _Geometry) -> None:
    """Forehead lines, crow's feet, eye bags and cheek folds."""
    shade = _dark(_mix(skin, (150, 60, 40), 0.15), 0.62 if skin == SKIN["dark"] else 0.46)
    for y, half in ((0.275, 0.1), (0.312, 0.125), (0.348, 0.1)):
        pen.line(
            shade, 0.0115, "M", 0.5 - half, y + 0.006, "Q", 0.5 - half / 2, y - 0.012, 0.5, y,
            "Q", 0.5 + half / 2, y - 0.012, 0.5 + half, y + 0.006,
        )  # fmt: skip
    for side in _sides():
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


MOUTH_Y = 0.705


def _mouth(pen: _Pen, expression: str, lipstick: str, skin: Colour, form: _Geometry) -> None:
    painted = lipstick == "lipstick"
    natural = _mix(skin, (206, 96, 96), 0.5) if skin != SKIN["dark"] else (164, 88, 82)
    lip = CRIMSON if painted else natural
    thick = 0.027 if painted else 0.013
    y = MOUTH_Y + 0.3 * (form.chin - 0.815)
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
        bend = 0.052 if expression == "sad" else 0.0
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
        pen.draw(seam, pen.paint(_dark(lip, 0.7), 0.95, 0.0115))
    if painted and expression in ("neutral", "sad"):
        pen.oval(0.5, y + 0.014, 0.022, 0.005, pen.paint((255, 150, 170), 0.7, blur=0.004))
    pen.canvas.restore()


EYE_Y = 0.492


def _eyes(pen: _Pen, iris: Colour, expression: str, skin: Colour, form: _Geometry) -> None:
    tall = {"surprised": 1.2, "smiling": 0.94, "sad": 0.94}.get(expression, 1.0)
    for side in _sides():
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
        pen.draw(eye, pen.paint(_dark(skin, 0.6), 0.35, 0.02, blur=0.008), pen.paint(WHITE))
        pen.canvas.save()
        pen.canvas.clipPath(eye, doAntiAlias=True)
        radius = 0.043 * form.eye
        pen.oval(x, EYE_Y, radius, radius, pen.paint(_dark(iris, 0.45)))
        fill = pen.radial(x, EYE_Y + 0.018, radius * 1.2, _pale(iris, 0.3), iris, _dark(iris, 0.2))
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


def _brows(pen: _Pen, hair: Colour, expression: str, form: _Geometry) -> None:
    inner, arch, outer = {
        "neutral": (0.004, -0.012, 0.008),
        "smiling": (0.002, -0.02, 0.006),
        "sad": (-0.036, -0.012, 0.03),
        "surprised": (-0.034, -0.064, -0.026),
    }[expression]
    y = form.brow_y
    for side in _sides():
        x = 0.5 + side * form.eye_x
        tokens = (
            "M", x - side * 0.062, y + inner, "Q", x, y + arch, x + side * 0.068, y + outer,
        )  # fmt: skip
        pen.line(_dark(hair, 0.32), 0.023, *tokens)


def _beard(pen: _Pen, head: Any, hair: Colour, form: _Geometry) -> None:
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
    paint = pen.radial(0.5, 0.66, 0.26, _pale(hair, 0.08), hair, _dark(hair, 0.35))
    pen.draw(grow, paint)
    pen.canvas.save()
    pen.canvas.clipPath(head, doAntiAlias=True)
    pen.draw(beard, paint)
    pen.canvas.restore()
    for index in range(-5, 6):
        x = 0.5 + index * 0.032
        y = chin + 0.02 - 0.0035 * index * index
        colour = _pale(hair, 0.28) if index % 2 else _dark(hair, 0.4)
        pen.line(colour, 0.006, "M", x, y - 0.045, "L", x * 0.9 + 0.05, y + 0.01, alpha=0.7)


def _moustache(pen: _Pen, hair: Colour, form: _Geometry) -> None:
    y = form.nose_y + 0.03
    for side in _sides():
        half = pen.path(
            "M", 0.5, y - 0.014, "Q", 0.5 + side * 0.06, y - 0.032, 0.5 + side * 0.105, y + 0.018,
            "Q", 0.5 + side * 0.122, y + 0.034, 0.5 + side * 0.16, y + 0.006,
            "Q", 0.5 + side * 0.138, y + 0.068, 0.5 + side * 0.085, y + 0.056,
            "Q", 0.5 + side * 0.05, y + 0.034, 0.5, y + 0.034, "Z",
        )  # fmt: skip
        pen.draw(half, pen.paint(_dark(hair, 0.5), 1.0, 0.01))
        pen.draw(half, pen.linear(0.5, y - 0.02, 0.5, y + 0.05, hair, _dark(hair, 0.3)))
        pen.line(
            _pale(hair, 0.3), 0.006, "M", 0.5 + side * 0.02, y + 0.002,
            "Q", 0.5 + side * 0.06, y + 0.0, 0.5 + side * 0.098, y + 0.038, alpha=0.7,
        )  # fmt: skip


def _hair_behind(pen: _Pen, style: str, hair: Colour, light: float) -> None:
    x = 0.5 + 0.15 * light
    if style == "short":
        back = pen.path(
            "M", 0.215, 0.5, "C", 0.17, 0.28, 0.28, 0.11, 0.5, 0.11,
            "C", 0.72, 0.11, 0.83, 0.28, 0.785, 0.5, "Z",
        )  # fmt: skip
        pen.draw(back, pen.radial(x, 0.2, 0.45, _pale(hair, 0.1), hair, _dark(hair, 0.35)))
    elif style == "long":
        back = pen.path(
            "M", 0.12, 1.12, "C", 0.1, 0.7, 0.13, 0.09, 0.5, 0.09,
            "C", 0.87, 0.09, 0.9, 0.7, 0.88, 1.12, "Z",
        )  # fmt: skip
        pen.draw(back, pen.radial(x, 0.2, 0.75, hair, _dark(hair, 0.18), _dark(hair, 0.5)))
    elif style == "curly":
        for index in range(19):
            angle = math.pi * (0.86 + 1.28 * index / 18)
            wobble = 0.012 * math.cos(2.4 * index)
            radius = 0.31 + wobble
            _curl(
                pen, 0.5 + radius * math.cos(angle), 0.415 + radius * math.sin(angle), 0.085, hair
            )


def _curl(pen: _Pen, x: float, y: float, radius: float, hair: Colour) -> None:
    pen.oval(x, y, radius, radius, pen.paint(_dark(hair, 0.34)))
    pen.oval(x - 0.004, y - 0.006, radius * 0.88, radius * 0.88, pen.paint(hair))
    r = radius * 0.5
    pen.line(
        _pale(hair, 0.32),
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
        _dark(hair, 0.4), radius * 0.16, "M", x + r, y - r * 0.2, "Q", x + r, y + r, x - r * 0.2,
        y + r * 0.9, alpha=0.7,
    )  # fmt: skip


def _long_locks(pen: _Pen, hair: Colour) -> None:
    """Tresses behind the ears that fall over the shoulders."""
    for side in _sides():
        lock = pen.path(
            "M", 0.5 + side * 0.22, 0.5,
            "C", 0.5 + side * 0.29, 0.68, 0.5 + side * 0.2, 0.8, 0.5 + side * 0.235, 1.12,
            "L", 0.5 + side * 0.395, 1.12,
            "C", 0.5 + side * 0.43, 0.8, 0.5 + side * 0.4, 0.62, 0.5 + side * 0.36, 0.45, "Z",
        )  # fmt: skip
        x0, x1 = 0.5 + side * 0.2, 0.5 + side * 0.42
        pen.draw(lock, pen.paint(_dark(hair, 0.7), 0.35, 0.02, blur=0.012))
        tones = (_dark(hair, 0.3), _pale(hair, 0.08), _dark(hair, 0.2))
        pen.draw(lock, pen.linear(x0, 0.7, x1, 0.7, *tones))
        shade, shine = _dark(hair, 0.42), _pale(hair, 0.3)
        for offset, colour in ((0.26, shade), (0.31, shine), (0.355, shade)):
            x = 0.5 + side * offset
            pen.line(
                colour, 0.009, "M", x, 0.6, "C", x + side * 0.03, 0.72, x - side * 0.02, 0.84,
                x + side * 0.012, 1.08, alpha=0.7,
            )  # fmt: skip


def _hair_in_front(pen: _Pen, head: Any, style: str, hair: Colour, covered: bool) -> None:
    shine, shade = _pale(hair, 0.34), _dark(hair, 0.42)
    if style == "bald":
        pen.oval(0.44, 0.25, 0.07, 0.03, pen.paint(WHITE, 0.4, blur=0.016))
    elif style == "short":
        cut = pen.path(
            "M", 0.205, 0.5, "C", 0.16, 0.24, 0.28, 0.105, 0.5, 0.105,
            "C", 0.72, 0.105, 0.84, 0.24, 0.795, 0.5, "L", 0.755, 0.5, "L", 0.742, 0.375,
            "C", 0.72, 0.31, 0.66, 0.27, 0.6, 0.245, "Q", 0.44, 0.3, 0.33, 0.255,
            "C", 0.28, 0.29, 0.265, 0.33, 0.258, 0.375, "L", 0.245, 0.5, "Z",
        )  # fmt: skip
        pen.draw(cut, pen.linear(0.3, 0.1, 0.62, 0.42, _pale(hair, 0.12), hair, _dark(hair, 0.25)))
        for index in range(7):
            x = 0.3 + 0.062 * index
            pen.line(
                shine if index % 2 else shade, 0.009,
                "M", x + 0.03, 0.135 + 0.004 * (index - 3) ** 2, "Q", x - 0.01, 0.18,
                x + 0.004, 0.235, alpha=0.6,
            )  # fmt: skip
    elif style == "long":
        for side in _sides():
            part = pen.path(
                "M", 0.475, 0.175, "C", 0.475 + side * 0.06, 0.27, 0.5 + side * 0.22, 0.3,
                0.5 + side * 0.252, 0.5, "L", 0.5 + side * 0.325, 0.5,
                "C", 0.5 + side * 0.38, 0.24, 0.5 + side * 0.24, 0.085, 0.475, 0.085, "Z",
            )  # fmt: skip
            ends = (_pale(hair, 0.14), hair, _dark(hair, 0.25))
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


def _mohawk(pen: _Pen, head: Any, hair: Colour, shine: Colour, shade: Colour) -> None:
    # Shaved sides: a faint stubble inside the skull's outline.
    pen.canvas.save()
    pen.canvas.clipPath(head, doAntiAlias=True)
    stubble = pen.path(
        "M", 0.2, 0.46, "Q", 0.3, 0.26, 0.5, 0.27, "Q", 0.7, 0.26, 0.8, 0.46, "L", 0.8, 0.1,
        "L", 0.2, 0.1, "Z",
    )  # fmt: skip
    pen.draw(stubble, pen.paint(_dark(hair, 0.5), 0.3, blur=0.012))
    pen.canvas.restore()
    crest = pen.path(
        "M", 0.41, 0.3, "L", 0.38, 0.18, "L", 0.31, 0.125, "L", 0.37, 0.11, "L", 0.345, 0.035,
        "L", 0.43, 0.06, "L", 0.5, -0.005, "L", 0.57, 0.06, "L", 0.655, 0.035, "L", 0.63, 0.11,
        "L", 0.69, 0.125, "L", 0.62, 0.18, "L", 0.59, 0.3, "Q", 0.5, 0.35, 0.41, 0.3, "Z",
    )  # fmt: skip
    pen.draw(crest, pen.linear(0.5, 0.0, 0.5, 0.33, _pale(hair, 0.14), hair, _dark(hair, 0.28)))
    for dx in (-0.064, -0.032, 0.0, 0.032, 0.064):
        pen.line(
            shine if abs(dx) == 0.032 else shade, 0.009, "M", 0.5 + 0.8 * dx, 0.295,
            "Q", 0.5 + dx, 0.18, 0.5 + 1.7 * dx, 0.08, alpha=0.7,
        )  # fmt: skip


def _hat(pen: _Pen, hat: str, style: str, hair: Colour) -> None:
    pen.oval(0.5, 0.335, 0.25, 0.03, pen.paint(INK, 0.35, blur=0.018))
    if style == "mohawk":  # the crest pokes out above the crown
        crest = pen.path(
            "M", 0.3, 0.2, "L", 0.235, 0.1, "L", 0.31, 0.085, "L", 0.28, -0.01, "L", 0.39, 0.025,
            "L", 0.41, -0.05, "L", 0.5, 0.0, "L", 0.59, -0.05, "L", 0.61, 0.025, "L", 0.72, -0.01,
            "L", 0.69, 0.085, "L", 0.765, 0.1, "L", 0.7, 0.2, "Z",
        )  # fmt: skip
        pen.draw(crest, pen.linear(0.5, 0.0, 0.5, 0.14, hair, _dark(hair, 0.3)))
    half = 0.32 if style == "curly" else 0.298
    if hat == "cap":
        _cap(pen, half)
    else:
        _beanie(pen, half)


def _cap(pen: _Pen, half: float) -> None:
    crown = pen.path(
        "M", 0.5 - half, 0.34, "C", 0.49 - half, 0.15, 0.36, 0.075, 0.5, 0.075,
        "C", 0.64, 0.075, 0.51 + half, 0.15, 0.5 + half, 0.34, "Q", 0.5, 0.26, 0.5 - half, 0.34,
        "Z",
    )  # fmt: skip
    pen.draw(crown, pen.radial(0.42, 0.13, 0.4, _pale(CAP, 0.3), CAP, _dark(CAP, 0.4)))
    pen.oval(
        0.5, 0.18, 0.066, 0.058, pen.paint(WHITE, 0.95), pen.paint(_dark(CAP, 0.4), 1.0, 0.008)
    )
    pen.oval(0.5, 0.078, 0.02, 0.012, pen.paint(_dark(CAP, 0.35)))
    for side in _sides():
        pen.line(
            _dark(CAP, 0.4), 0.007, "M", 0.5 + side * 0.03, 0.085,
            "Q", 0.5 + side * 0.15, 0.14, 0.5 + side * 0.18, 0.28,
        )  # fmt: skip
    visor = pen.path(
        "M", 0.245, 0.318, "C", 0.33, 0.225, 0.67, 0.225, 0.755, 0.318,
        "C", 0.81, 0.362, 0.775, 0.378, 0.735, 0.366, "C", 0.62, 0.318, 0.38, 0.318, 0.265, 0.366,
        "C", 0.225, 0.378, 0.19, 0.362, 0.245, 0.318, "Z",
    )  # fmt: skip
    pen.draw(visor, pen.linear(0.5, 0.24, 0.5, 0.37, _dark(CAP, 0.15), _dark(CAP, 0.62)))


def _beanie(pen: _Pen, half: float) -> None:
    crown = pen.path(
        "M", 0.5 - half, 0.31, "C", 0.5 - half, 0.13, 0.36, 0.075, 0.5, 0.075,
        "C", 0.64, 0.075, 0.5 + half, 0.13, 0.5 + half, 0.31, "Z",
    )  # fmt: skip
    pen.draw(crown, pen.radial(0.42, 0.15, 0.4, _pale(BEANIE, 0.22), BEANIE, _dark(BEANIE, 0.35)))
    for index in range(-3, 4):
        x = 0.5 + 0.075 * index
        pen.line(
            _dark(BEANIE, 0.4), 0.008, "M", 0.5 + 0.045 * index, 0.1, "Q", x, 0.17,
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


def _eyewear(pen: _Pen, eyewear: str, form: _Geometry) -> None:
    if eyewear == "none":
        return
    dark = eyewear == "sunglasses"
    rim: Colour = (20, 18, 22) if dark else (44, 26, 32)
    y, rx, ry = EYE_Y + 0.006, 0.096, 0.082
    gap = form.eye_x + 0.002 - rx
    pen.line(rim, 0.017, "M", 0.5 - gap, y - 0.014, "Q", 0.5, y - 0.034, 0.5 + gap, y - 0.014)
    for side in _sides():
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


def _earrings(pen: _Pen, form: _Geometry) -> None:
    """A stud at the lobe and a drop below it, in front of any hair."""
    rim: Colour = (146, 84, 0)
    for side in _sides():
        x, y = 0.5 + side * 0.292, 0.515 + 0.058 * form.ear + 0.012
        pen.line(rim, 0.02, "M", x, y, "L", x, y + 0.05)
        pen.oval(x, y, 0.026, 0.026, pen.paint(rim), pen.paint(GOLD, 1.0, 0.012))
        pen.oval(x, y + 0.078, 0.045, 0.045, pen.paint(rim))
        shine = pen.radial(x - 0.012, y + 0.062, 0.06, (255, 244, 170), GOLD)
        pen.oval(x, y + 0.078, 0.037, 0.037, shine)
