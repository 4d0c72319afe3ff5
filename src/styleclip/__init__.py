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
        load_bank,
        load_clip,
        load_edit,
        load_encoder,
        load_generator,
        load_mapper,
        load_tuning,
        read_model,
        save_bank,
        save_edit,
        save_generator,
        save_mapper,
        save_tuning,
    )
    from styleclip.clip.embedder import (
        ClipEmbedder,
    )
    from styleclip.editing.directions import (
        DirectionConfig,
        find_direction,
    )
    from styleclip.editing.edit import (
        Edit,
        MovedChannel,
        apply_edits,
        moved_channels,
    )
    from styleclip.editing.latent_map import (
        LatentMap,
        measure_latent_map,
    )
    from styleclip.editing.mapper import (
        Mapper,
        MapperConfig,
    )
    from styleclip.editing.mapper_training import (
        TrainingConfig,
        train_mapper,
    )
    from styleclip.editing.optimization import (
        OptimizationConfig,
        optimize,
    )
    from styleclip.editing.relevance import (
        PromptRelevanceConfig,
        Relevance,
        RelevanceConfig,
        measure_relevance,
        prompt_relevance,
    )
    from styleclip.editing.strength import (
        StrengthConfig,
        fit_strength,
    )
    from styleclip.editing.text_mapper import (
        TextMapper,
        TextMapperConfig,
    )
    from styleclip.errors import (
        ArgumentError,
        CheckpointError,
        DownloadError,
        ImageError,
        LandmarksError,
        MissingExtraError,
        NonFiniteError,
        PromptError,
        StyleclipError,
    )
    from styleclip.faces.alignment import (
        Aligned,
        align,
    )
    from styleclip.faces.blending import (
        BlendConfig,
        set_back,
    )
    from styleclip.faces.landmarks import (
        Landmarks,
        read_landmarks,
    )
    from styleclip.generators.stylegan2 import (
        StyleGAN2,
        StyleGAN2Config,
    )
    from styleclip.images import (
        heat_map,
        heat_overlay,
        read_image,
        read_recipe,
        save_gif,
        save_image,
        strip,
    )
    from styleclip.inversion.encoder import (
        Encoder,
    )
    from styleclip.inversion.projection import (
        ProjectionConfig,
        project,
    )
    from styleclip.inversion.tuning import (
        Tuning,
        TuningConfig,
        tune,
        tuned_generator,
    )
    from styleclip.latents import (
        StyleLayer,
        StyleLayout,
    )
    from styleclip.prompts import (
        PromptPair,
        parse_prompt,
    )
    from styleclip.recipe import (
        Recipe,
        Source,
    )
    from styleclip.studio import (
        PromptWarning,
        Studio,
    )

__version__ = "0.1.0"

_HOMES = {
    "styleclip.checkpoints": (
        "load_bank",
        "load_clip",
        "load_edit",
        "load_encoder",
        "load_generator",
        "load_mapper",
        "load_tuning",
        "read_model",
        "save_bank",
        "save_edit",
        "save_generator",
        "save_mapper",
        "save_tuning",
    ),
    "styleclip.clip.embedder": ("ClipEmbedder",),
    "styleclip.editing.directions": (
        "DirectionConfig",
        "find_direction",
    ),
    "styleclip.editing.edit": (
        "Edit",
        "MovedChannel",
        "apply_edits",
        "moved_channels",
    ),
    "styleclip.editing.latent_map": (
        "LatentMap",
        "measure_latent_map",
    ),
    "styleclip.editing.mapper": (
        "Mapper",
        "MapperConfig",
    ),
    "styleclip.editing.mapper_training": (
        "TrainingConfig",
        "train_mapper",
    ),
    "styleclip.editing.optimization": (
        "OptimizationConfig",
        "optimize",
    ),
    "styleclip.editing.relevance": (
        "PromptRelevanceConfig",
        "Relevance",
        "RelevanceConfig",
        "prompt_relevance",
        "measure_relevance",
    ),
    "styleclip.editing.strength": (
        "StrengthConfig",
        "fit_strength",
    ),
    "styleclip.editing.text_mapper": (
        "TextMapper",
        "TextMapperConfig",
    ),
    "styleclip.errors": (
        "ArgumentError",
        "CheckpointError",
        "DownloadError",
        "ImageError",
        "LandmarksError",
        "MissingExtraError",
        "NonFiniteError",
        "PromptError",
        "StyleclipError",
    ),
    "styleclip.faces.alignment": (
        "Aligned",
        "align",
    ),
    "styleclip.faces.blending": (
        "BlendConfig",
        "set_back",
    ),
    "styleclip.faces.landmarks": (
        "Landmarks",
        "read_landmarks",
    ),
    "styleclip.generators.stylegan2": (
        "StyleGAN2",
        "StyleGAN2Config",
    ),
    "styleclip.images": (
        "heat_map",
        "heat_overlay",
        "read_image",
        "read_recipe",
        "save_gif",
        "save_image",
        "strip",
    ),
    "styleclip.inversion.encoder": ("Encoder",),
    "styleclip.inversion.projection": (
        "ProjectionConfig",
        "project",
    ),
    "styleclip.inversion.tuning": (
        "Tuning",
        "TuningConfig",
        "tune",
        "tuned_generator",
    ),
    "styleclip.latents": (
        "StyleLayer",
        "StyleLayout",
    ),
    "styleclip.prompts": (
        "PromptPair",
        "parse_prompt",
    ),
    "styleclip.recipe": (
        "Recipe",
        "Source",
    ),
    "styleclip.studio": (
        "PromptWarning",
        "Studio",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Aligned",
    "ArgumentError",
    "BlendConfig",
    "CheckpointError",
    "ClipEmbedder",
    "DirectionConfig",
    "DownloadError",
    "Edit",
    "Encoder",
    "ImageError",
    "Landmarks",
    "LandmarksError",
    "LatentMap",
    "Mapper",
    "MapperConfig",
    "MissingExtraError",
    "MovedChannel",
    "NonFiniteError",
    "OptimizationConfig",
    "ProjectionConfig",
    "PromptError",
    "PromptPair",
    "PromptRelevanceConfig",
    "PromptWarning",
    "Recipe",
    "Relevance",
    "RelevanceConfig",
    "Source",
    "StrengthConfig",
    "Studio",
    "StyleGAN2",
    "StyleGAN2Config",
    "StyleLayer",
    "StyleLayout",
    "StyleclipError",
    "TextMapper",
    "TextMapperConfig",
    "TrainingConfig",
    "Tuning",
    "TuningConfig",
    "__version__",
    "align",
    "apply_edits",
    "find_direction",
    "fit_strength",
    "heat_map",
    "heat_overlay",
    "load_bank",
    "load_clip",
    "load_edit",
    "load_encoder",
    "load_generator",
    "load_mapper",
    "load_tuning",
    "measure_latent_map",
    "measure_relevance",
    "moved_channels",
    "optimize",
    "parse_prompt",
    "project",
    "prompt_relevance",
    "read_image",
    "read_landmarks",
    "read_model",
    "read_recipe",
    "save_bank",
    "save_edit",
    "save_generator",
    "save_gif",
    "save_image",
    "save_mapper",
    "save_tuning",
    "set_back",
    "strip",
    "train_mapper",
    "tune",
    "tuned_generator",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'styleclip' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
