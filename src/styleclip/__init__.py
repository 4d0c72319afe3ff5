"""Text-driven editing of StyleGAN pictures: StyleCLIP (Patashnik et al., ICCV 2021, 2103.17249).

  from styleclip import Studio, save_image
The names of ``__all__`` are the public surface; each loads its module when first asked for, so that
importing the package costs nothing (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from styleclip.checkpoints import (
        load_clip,
        load_edit,
        load_encoder,
        load_generator,
        read_model,
        save_edit,
        save_generator,
    )
    from styleclip.clip.embedder import ClipEmbedder
    from styleclip.editing.edit import Edit, apply_edits
    from styleclip.editing.latent_map import LatentMap, measure_latent_map
    from styleclip.editing.optimization import OptimizationConfig, optimize
    from styleclip.errors import (
        ArgumentError,
        CheckpointError,
        ImageError,
        MissingExtraError,
        NonFiniteError,
        PromptError,
        StyleclipError,
    )
    from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
    from styleclip.images import read_image, read_recipe, save_gif, save_image, strip
    from styleclip.inversion.encoder import Encoder
    from styleclip.inversion.projection import ProjectionConfig, project
    from styleclip.latents import StyleLayer, StyleLayout
    from styleclip.prompts import PromptPair, parse_prompt
    from styleclip.recipe import Recipe, Source
    from styleclip.studio import PromptWarning, Studio

__version__ = "0.1.0"

_HOMES = {
    "styleclip.checkpoints": (
        "load_clip", "load_edit", "load_encoder", "load_generator", "read_model", "save_edit",
        "save_generator",
    ),
    "styleclip.clip.embedder": ("ClipEmbedder",),
    "styleclip.editing.edit": ("Edit", "apply_edits"),
    "styleclip.editing.latent_map": ("LatentMap", "measure_latent_map"),
    "styleclip.editing.optimization": ("OptimizationConfig", "optimize"),
    "styleclip.errors": (
        "ArgumentError", "CheckpointError", "ImageError", "MissingExtraError", "NonFiniteError",
        "PromptError", "StyleclipError",
    ),
    "styleclip.generators.stylegan2": ("StyleGAN2", "StyleGAN2Config"),
    "styleclip.images": ("read_image", "read_recipe", "save_gif", "save_image", "strip"),
    "styleclip.inversion.encoder": ("Encoder",),
    "styleclip.inversion.projection": ("ProjectionConfig", "project"),
    "styleclip.latents": ("StyleLayer", "StyleLayout"),
    "styleclip.prompts": ("PromptPair", "parse_prompt"),
    "styleclip.recipe": ("Recipe", "Source"),
    "styleclip.studio": ("PromptWarning", "Studio"),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "ClipEmbedder",
    "Edit",
    "Encoder",
    "ImageError",
    "LatentMap",
    "MissingExtraError",
    "NonFiniteError",
    "OptimizationConfig",
    "ProjectionConfig",
    "PromptError",
    "PromptPair",
    "PromptWarning",
    "Recipe",
    "Source",
    "Studio",
    "StyleGAN2",
    "StyleGAN2Config",
    "StyleLayer",
    "StyleLayout",
    "StyleclipError",
    "__version__",
    "apply_edits",
    "load_clip",
    "load_edit",
    "load_encoder",
    "load_generator",
    "measure_latent_map",
    "optimize",
    "parse_prompt",
    "project",
    "read_image",
    "read_model",
    "read_recipe",
    "save_edit",
    "save_generator",
    "save_gif",
    "save_image",
    "strip",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'styleclip' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
