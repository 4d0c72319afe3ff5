"""Files to networks: the only room that knows foreign key names (design D6).

  load_generator(path) -> StyleGAN2      native, rosinality or NVIDIA weights, told by their keys
  load_clip(path)      -> ClipEmbedder   a transformers folder, a hub name, OpenAI's or open_clip's
  load_encoder(path)   -> Encoder        native; PyramidEncoder of e4e and pSp
  load_identity(path)  -> IdentityNetwork        native; ArcFace of the public IR-SE50
  load_edit(path)      -> SavedEdit      native
  load_bank(path)      -> Bank           native, or the official fs3.npy
  load_latents(path)   -> w_plus         .npy, or a tensor that torch saved
  load_mapper(path)    -> SavedMapper    native, or of the official StyleCLIP code
Foreign weights are converted at this border by complete key maps: every parameter of ours filled
once, every foreign key used or knowingly dropped, anything else an error. The rest of the library
cannot tell where weights came from. Nothing in a file is ever executed.
"""

from styleclip.checkpoints.arrays import load_latents
from styleclip.checkpoints.banks import (
    Bank,
    check_bank,
    load_bank,
    load_scan,
    save_bank,
    save_scan,
)
from styleclip.checkpoints.clips import load_clip
from styleclip.checkpoints.edits import SavedEdit, load_edit, save_edit
from styleclip.checkpoints.files import file_hash, read_weights, tensors_hash
from styleclip.checkpoints.loaders import (
    load_encoder,
    load_generator,
    load_identity,
    load_latent_map,
    load_reader,
    save_generator,
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

__all__ = [
    "Bank",
    "Model",
    "SavedEdit",
    "SavedMapper",
    "check_bank",
    "check_mapper",
    "file_hash",
    "load_bank",
    "load_clip",
    "load_edit",
    "load_encoder",
    "load_generator",
    "load_identity",
    "load_latent_map",
    "load_latents",
    "load_mapper",
    "load_reader",
    "load_scan",
    "load_training",
    "read_model",
    "read_network",
    "read_weights",
    "resolve_model",
    "save_bank",
    "save_edit",
    "save_generator",
    "save_mapper",
    "save_network",
    "save_scan",
    "save_training",
    "tensors_hash",
]
