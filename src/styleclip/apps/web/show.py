"""Pictures as the page gets them: text in its answers, never files.

  picture -> "data:image/jpeg;base64,..."      small ones are enlarged here, smoothly
So nothing of anybody's pictures is on the server's disk, and nothing can be asked for by a name.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SHOWN = 384  # pixels that a picture has at least; browsers enlarge in blocks
THUMB = 96


def encode(picture: Tensor | Image.Image, least: int = SHOWN) -> str:
    """A picture, to look at: a JPEG of full colour resolution."""
    from PIL import Image

    from styleclip import images

    shown = picture if isinstance(picture, Image.Image) else images.to_picture(picture)
    scale = least / max(shown.size)
    if scale > 1:
        size = (round(shown.width * scale), round(shown.height * scale))
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    shown.save(buffer, format="JPEG", quality=92, subsampling=0)
    return data_uri(buffer.getvalue(), "image/jpeg")


def thumb(picture: Tensor | Image.Image, size: int = THUMB) -> str:
    """A picture the size of a stamp."""
    from PIL import Image

    from styleclip import images

    small = picture.copy() if isinstance(picture, Image.Image) else images.to_picture(picture)
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=88, subsampling=0)
    return data_uri(buffer.getvalue(), "image/jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
