"""Every colour of the portraits, in sRGB."""

from __future__ import annotations

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
