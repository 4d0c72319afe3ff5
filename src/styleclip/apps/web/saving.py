"""Files that somebody takes home, made in memory: PNG with its recipe, GIF, MP4, latent.

Look -> (name, data URI)
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from styleclip.apps.outputs import slug
from styleclip.apps.web.session import Look
from styleclip.apps.web.show import data_uri

if TYPE_CHECKING:
    from PIL import Image

    from styleclip.apps.web.engine import Engine
    from styleclip.checkpoints import SavedMapper

Kind = Literal["png", "gif", "mp4", "latent"]
SWEEP = 13  # pictures from no strength to all of it


def save_file(engine: Engine, look: Look, kind: Kind) -> tuple[str, str]:
    """The name and the content of a file of this look."""
    name = _name(look)
    look = engine.found(look)
    if kind == "png":
        return f"{name}.png", data_uri(png(engine, look), "image/png")
    if kind == "gif":
        return f"{name}.gif", data_uri(gif(engine, look), "image/gif")
    if kind == "mp4":
        return f"{name}.mp4", data_uri(mp4(engine, look), "video/mp4")
    return f"{name}-w_plus.npy", data_uri(latent(look), "application/octet-stream")


def png(engine: Engine, look: Look) -> bytes:
    """The picture at the model's own size, with its recipe."""
    from styleclip.images import png_bytes

    with engine.turns:
        recipe = engine.studio.recipe(look.subject.source, look.edits)
    recipe = replace(recipe, preserve=look.keep)
    return png_bytes(engine.picture(look), recipe.to_json())


def gif(engine: Engine, look: Look) -> bytes:
    """From the unedited picture to this one and back."""
    from styleclip.images import gif_bytes

    return gif_bytes(frames(engine, look))


def mp4(engine: Engine, look: Look) -> bytes:
    """The same as a film. Raises ``MissingExtraError`` without PyAV."""
    from styleclip.apps.films import check_extra, sweep, write_mp4
    from styleclip.images import tile

    check_extra()
    content = io.BytesIO()
    write_mp4(content, *sweep([tile(frame) for frame in frames(engine, look)]))
    return content.getvalue()


def frames(engine: Engine, look: Look) -> list[Image.Image]:
    """Pictures of the stack from no strength to its own."""
    levels = [i / (SWEEP - 1) for i in range(SWEEP)]
    stacks = [[(edit, level * strength) for edit, strength in look.edits] for level in levels]
    return engine.pictures(look, stacks)


def latent(look: Look) -> bytes:
    """The unedited w_plus [1,L,D] as a NumPy file."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, look.subject.w_plus.detach().cpu().numpy())
    return buffer.getvalue()


def mapper_file(engine: Engine, mapper: SavedMapper) -> bytes:
    """A mapper that was trained here, as ``styleclip edit --mapper`` reads it."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "mapper.safetensors"
        with engine.turns:
            engine.studio.save_mapper(path, mapper.network, mapper.prompts, mapper.training)
        return path.read_bytes()


def _name(look: Look) -> str:
    seed = look.subject.source.seed
    said = [row.target for row in look.rows if row.asks and row.strength]
    parts = ["picture" if seed is None else f"seed-{seed}", *(slug(each) for each in said)]
    return "-".join(parts)[:80]
