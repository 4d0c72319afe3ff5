"""Files to networks: the only room that knows foreign key names (design D6).

  load_generator(path) -> StyleGAN2      native, rosinality or NVIDIA weights, told by their keys
  load_clip(path)      -> ClipEmbedder   a transformers folder, or OpenAI's state dict
  load_encoder(path)   -> Encoder        native
  load_edit(path)      -> SavedEdit      native
  load_bank(path)      -> Bank           native
  load_mapper(path)    -> SavedMapper    native, or of the official StyleCLIP code
  load_tuning(path)    -> SavedTuning    native
Foreign weights are converted at this border by complete key maps: every parameter of ours filled
once, every foreign key used or knowingly dropped, anything else an error. The rest of the library
cannot tell where weights came from. Nothing in a file is ever executed.
"""

from styleclip.checkpoints.banks import (
    Bank,
    check_bank,
    load_bank,
    load_scan,
    save_bank,
    save_scan,
)
from styleclip.checkpoints.edits import SavedEdit, load_edit, save_edit
from styleclip.checkpoints.files import file_hash, read_weights, tensors_hash
from styleclip.checkpoints.loaders import (
    load_clip,
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
    check_mapper,
    load_mapper,
    load_training,
    save_mapper,
    save_training,
)
from styleclip.checkpoints.native import read_network, save_network
from styleclip.checkpoints.registry import Model, read_model, resolve_model
from styleclip.checkpoints.tunings import (
    SavedTuning,
    check_tuning,
    load_tuning,
    save_tuning,
)

__all__ = [
    "Bank",
    "Model",
    "SavedEdit",
    "SavedMapper",
    "SavedTuning",
    "check_bank",
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
    "load_mapper",
    "load_reader",
    "load_scan",
    "load_training",
    "load_tuning",
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
    "tensors_hash",
]
