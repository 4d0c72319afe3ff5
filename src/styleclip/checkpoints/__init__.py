"""Files to networks: the only room that knows foreign key names (design D6).

  load_generator(path) -> StyleGAN2      native, rosinality or NVIDIA weights, told by their keys
  load_clip(path)      -> ClipEmbedder   a transformers folder, a hub name, OpenAI's or open_clip's
  load_encoder(path)   -> Encoder        native; PyramidEncoder of e4e and pSp
  load_identity(path)  -> IdentityNetwork        native; ArcFace of the public IR-SE50
  load_edit(path)      -> SavedEdit      native
  load_bank(path)      -> Bank           native, or the official fs3.npy
  load_latents(path)   -> w_plus         .npy, or a tensor that torch saved
  load_mapper(path)    -> SavedMapper    native, or of the official StyleCLIP code
  load_tuning(path)    -> SavedTuning    native
Foreign weights are converted at this border by complete key maps: every parameter of ours filled
once, every foreign key used or knowingly dropped, anything else an error. The rest of the library
cannot tell where weights came from. Nothing in a file is ever executed. The names load their
modules when first asked for: what needs no network must not wait for torch (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from styleclip.checkpoints.arrays import (
        load_latents,
    )
    from styleclip.checkpoints.banks import (
        Bank,
        check_bank,
        load_bank,
        load_scan,
        save_bank,
        save_scan,
    )
    from styleclip.checkpoints.clips import (
        load_clip,
    )
    from styleclip.checkpoints.edits import (
        SavedEdit,
        load_edit,
        save_edit,
    )
    from styleclip.checkpoints.files import (
        file_hash,
        read_weights,
        tensors_hash,
    )
    from styleclip.checkpoints.loaders import (
        load_encoder,
        load_generator,
        load_identity,
        load_image_encoder,
        load_latent_map,
        load_reader,
        save_generator,
        save_latent_map,
    )
    from styleclip.checkpoints.mappers import (
        SavedMapper,
        check_layers,
        check_mapper,
        load_mapper,
        load_training,
        save_mapper,
        save_training,
    )
    from styleclip.checkpoints.native import (
        load_unfinished,
        read_network,
        save_network,
        save_unfinished,
    )
    from styleclip.checkpoints.registry import (
        Model,
        read_model,
        resolve_model,
    )
    from styleclip.checkpoints.tunings import (
        SavedTuning,
        check_tuning,
        load_tuning,
        save_tuning,
    )

_HOMES = {
    "styleclip.checkpoints.arrays": ("load_latents",),
    "styleclip.checkpoints.banks": (
        "Bank",
        "check_bank",
        "load_bank",
        "load_scan",
        "save_bank",
        "save_scan",
    ),
    "styleclip.checkpoints.clips": ("load_clip",),
    "styleclip.checkpoints.edits": (
        "SavedEdit",
        "load_edit",
        "save_edit",
    ),
    "styleclip.checkpoints.files": (
        "file_hash",
        "read_weights",
        "tensors_hash",
    ),
    "styleclip.checkpoints.loaders": (
        "load_encoder",
        "load_generator",
        "load_identity",
        "load_image_encoder",
        "load_latent_map",
        "load_reader",
        "save_generator",
        "save_latent_map",
    ),
    "styleclip.checkpoints.mappers": (
        "SavedMapper",
        "check_layers",
        "check_mapper",
        "load_mapper",
        "load_training",
        "save_mapper",
        "save_training",
    ),
    "styleclip.checkpoints.native": (
        "load_unfinished",
        "read_network",
        "save_network",
        "save_unfinished",
    ),
    "styleclip.checkpoints.registry": (
        "Model",
        "read_model",
        "resolve_model",
    ),
    "styleclip.checkpoints.tunings": (
        "SavedTuning",
        "check_tuning",
        "load_tuning",
        "save_tuning",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Bank",
    "Model",
    "SavedEdit",
    "SavedMapper",
    "SavedTuning",
    "check_bank",
    "check_layers",
    "check_mapper",
    "check_tuning",
    "file_hash",
    "load_bank",
    "load_clip",
    "load_edit",
    "load_encoder",
    "load_generator",
    "load_identity",
    "load_image_encoder",
    "load_latent_map",
    "load_latents",
    "load_mapper",
    "load_reader",
    "load_scan",
    "load_training",
    "load_tuning",
    "load_unfinished",
    "read_model",
    "read_network",
    "read_weights",
    "resolve_model",
    "save_bank",
    "save_edit",
    "save_generator",
    "save_latent_map",
    "save_mapper",
    "save_network",
    "save_scan",
    "save_training",
    "save_tuning",
    "save_unfinished",
    "tensors_hash",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
