"""A skia canvas in unit coordinates (x right, y down, 0..1), and the few strokes drawing needs.

Colours are sRGB triples of 0..255; `dark` and `pale` move one towards shadow and light.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from styleclip.portraits.drawing.colours import WHITE, Colour


def load_skia() -> Any:
    try:
        import skia
    except ImportError as error:
        from styleclip.errors import MissingExtraError

        raise MissingExtraError(
            "drawing portraits needs skia-python, which is not installed; "
            "run: pip install 'styleclip[portraits]'"
        ) from error
    return skia


@lru_cache(maxsize=4096)
def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` moved towards `b` by `share` in [0, 1]."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def dark(colour: Colour, share: float) -> Colour:
    return mix(colour, (24, 8, 20), share)


def pale(colour: Colour, share: float) -> Colour:
    return mix(colour, WHITE, share)


@dataclass(frozen=True)
class Pen:
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


def sides() -> Iterable[int]:
    return (-1, 1)
