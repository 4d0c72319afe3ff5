"""Any file that is read here -> our format: one safetensors file, or a CLIP's folder.

  convert(source, target) -> Inspection of what was written
A file is read by its loader and written by its writer, so what it computes stays the same; ``half``
stores floats as float16. Everything is written under another name and renamed when it is whole.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from styleclip.checkpoints import inspection, layouts
from styleclip.checkpoints.banks import load_bank, save_bank
from styleclip.checkpoints.cache import Cache
from styleclip.checkpoints.clip_openai import Activation
from styleclip.checkpoints.clips import load_clip
from styleclip.checkpoints.face_encoders import Method
from styleclip.checkpoints.files import first_line
from styleclip.checkpoints.inspection import Inspection, inspect
from styleclip.checkpoints.loaders import (
    ARCFACE_KIND,
    KIND,
    PYRAMID_KIND,
    load_encoder,
    load_generator,
    load_identity,
)
from styleclip.checkpoints.mappers import load_mapper, save_mapper
from styleclip.checkpoints.native import read_network, write_network
from styleclip.checkpoints.public import VOCABULARY
from styleclip.errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from styleclip.clip.embedder import ClipEmbedder

# our own kinds that bear float16; of others the numbers are needed as they are
HALVED = ("stylegan2", "encoder", "pyramid-encoder", "identity", "arcface", "reader", "mapper",
          "text-mapper")  # fmt: skip


@dataclass(frozen=True)
class ConvertConfig:
    """What a file does not say by itself.

    ``half``: store floats as float16. ``part``: "generator" takes the one inside a file of e4e, pSp
    or a mapper. ``clamp`` is of NVIDIA's generators, ``method`` of e4e or pSp, ``tokenizer`` and
    ``activation`` are of CLIPs, ``generator`` is the file that an fs3 was measured on; all as the
    loaders take them.
    """

    half: bool = False
    part: str | None = None
    clamp: float | None = None
    method: Method | None = None
    tokenizer: Path | None = None
    activation: Activation | None = None
    generator: Path | None = None

    @property
    def dtype(self) -> torch.dtype | None:
        """How floats are stored; None as they are."""
        return torch.float16 if self.half else None


def convert(
    source: str | Path,
    target: str | Path,
    config: ConvertConfig = ConvertConfig(),
    overwrite: bool = False,
) -> Inspection:
    """Write ``source`` in our format to ``target``: a .safetensors file, for a CLIP a folder.

    Raises ``ArgumentError`` for what is ours already (unless ``half`` makes it smaller), for a
    ``target`` that is there (unless ``overwrite``), and ``CheckpointError`` as the loaders do.
    """
    source, target = Path(source), Path(target)
    found = inspect(source)
    write = _writer(found, config)
    _check_target(source, target, found.layout.kind == "clip", overwrite)
    write(found.path, target, config)
    return inspect(target)


Write = Callable[[Path, Path, ConvertConfig], None]


def _writer(found: Inspection, config: ConvertConfig) -> Write:
    """What writes such a file, if it should be written."""
    layout, path = found.layout, found.path
    if config.part == "generator" and layout in (layouts.PYRAMID, layouts.MAPPER):
        return _generator
    if config.part not in (None, "generator") or (config.part and layout.kind != KIND):
        raise ArgumentError(f"{path} holds no {config.part} beside {layout.words}: leave it out")
    if layout in WRITERS:
        return WRITERS[layout]
    ours = layout.origin in ("styleclip", "transformers")
    if ours and config.half and layout.kind in (*HALVED, "clip"):
        return _clip if layout.kind == "clip" else _halved
    if ours and config.half:
        raise ArgumentError(f"{path} is {layout.words}, whose numbers are needed as they are")
    if ours:
        raise ArgumentError(
            f"{path} is {layout.words} in the format that is used here: there is nothing to convert"
        )
    if layout.reader is None:
        raise CheckpointError(f"{path} is {layout.hint}")
    raise ArgumentError(f"{path} is {layout.words}, which is read as it is: nothing to convert")


def _check_target(source: Path, target: Path, folder: bool, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise ArgumentError(f"there is no folder {target.parent}: make it first")
    if target.exists() and target.samefile(source):
        raise ArgumentError(f"{target} is what is converted: write to another place")
    if not folder and target.suffix != ".safetensors":
        raise ArgumentError(f"{target} must end with .safetensors, which is what is written")
    if folder and target.suffix in (".safetensors", ".pt"):
        raise ArgumentError(f"{target} names a file, and a CLIP is written as a folder: give one")
    if target.exists() and not overwrite:
        raise ArgumentError(f"{target} exists: choose another name, or add --force")
    if target.exists() and target.is_dir() != folder:
        raise ArgumentError(f"{target} is {'no' if folder else 'a'} folder: choose another name")
    if folder and target.is_dir() and not (target / "config.json").is_file():
        raise ArgumentError(f"{target} is a folder of something else: choose another name")


def _save(
    target: Path, kind: str, config: Mapping[str, Any], state_dict: Mapping[str, Tensor],
    dtype: torch.dtype | None,
) -> None:  # fmt: skip
    """``write_network``, if the numbers can be stored so."""
    if dtype == torch.float16:
        check_half(state_dict, target)
    write_network(target, kind, config, state_dict, dtype)


def check_half(state_dict: Mapping[str, Tensor], target: Path) -> None:
    """Raise ``CheckpointError`` for numbers that float16 does not have."""
    for name, tensor in state_dict.items():
        if tensor.is_floating_point() and tensor.numel() and tensor.abs().max() > 65504:
            raise CheckpointError(
                f"{target} is not written: {name} has numbers that are too large for float16; "
                "leave --half out"
            )


def _generator(source: Path, target: Path, config: ConvertConfig) -> None:
    network = load_generator(source, config.clamp)
    _save(target, KIND, network.config.to_dict(), network.state_dict(), config.dtype)


def _pyramid(source: Path, target: Path, config: ConvertConfig) -> None:
    network = load_encoder(source, config.method)
    values = network.config.to_dict()
    _save(target, PYRAMID_KIND, values, network.state_dict(), config.dtype)


def _arcface(source: Path, target: Path, config: ConvertConfig) -> None:
    network = load_identity(source)
    values = network.config.to_dict()
    _save(target, ARCFACE_KIND, values, network.state_dict(), config.dtype)


def _mapper(source: Path, target: Path, config: ConvertConfig) -> None:
    mapper = load_mapper(source)
    if config.half:
        check_half(mapper.network.state_dict(), target)
    hashes = {"generator": mapper.generator_hash, "clip": mapper.clip_hash}
    save_mapper(target, mapper.network, mapper.prompts, hashes, mapper.training, config.dtype)


def _bank(source: Path, target: Path, config: ConvertConfig) -> None:
    if config.generator is None:
        raise ArgumentError(
            f"{source} is an official fs3, which means something to one generator only: give that "
            "with --generator"
        )
    bank = load_bank(source, load_generator(config.generator, config.clamp))
    dtype = torch.float16 if config.half else torch.float32
    save_bank(target, bank, bank.generator_hash, bank.clip_hash, dtype)


def _halved(source: Path, target: Path, config: ConvertConfig) -> None:
    network = read_network(source, floats=None)
    _save(target, network.kind, network.config, network.state_dict, config.dtype)


def _clip(source: Path, target: Path, config: ConvertConfig) -> None:
    tokenizer = config.tokenizer
    fetched = Cache.here().file(VOCABULARY)
    embedder = load_clip(source, tokenizer, config.activation)
    if embedder.tokenizer is None and fetched.is_file():
        embedder = load_clip(source, fetched, config.activation)
    if embedder.tokenizer is None:
        raise CheckpointError(
            f"{source} has no tokenizer, without which no text can be read: give its folder or "
            f"OpenAI's vocabulary with --tokenizer (styleclip models fetch {VOCABULARY})"
        )
    if config.half:
        check_half(embedder.model.state_dict(), target)
        embedder.model.half()
    new = Path(tempfile.mkdtemp(prefix=target.name, suffix=".part", dir=target.parent))
    try:
        _save_clip(new, embedder)
        new.chmod(0o755)
        old = new.with_suffix(".old")
        if target.is_dir():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({first_line(error)}): choose another place"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _save_clip(folder: Path, embedder: ClipEmbedder) -> None:
    """As `transformers` saves it: config, weights, tokenizer, preprocessing."""
    from styleclip.clip.embedder import RESAMPLING, silenced

    with silenced():
        embedder.model.save_pretrained(folder)
        if embedder.tokenizer is not None:
            embedder.tokenizer.save_pretrained(folder)
    size = {"height": embedder.image_size, "width": embedder.image_size}
    resample = {name: number for number, name in RESAMPLING.items()}[embedder.interpolation]
    pixels = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True, "size": {"shortest_edge": embedder.image_size}, "resample": resample,
        "do_center_crop": True, "crop_size": size, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "do_convert_rgb": True,
        "image_mean": embedder.mean.flatten().double().tolist(),
        "image_std": embedder.std.flatten().double().tolist(),
    }  # fmt: skip
    text = json.dumps(pixels, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


WRITERS: dict[layouts.Layout, Write] = {
    layouts.NVIDIA: _generator,
    layouts.TENSORFLOW: _generator,
    layouts.ROSINALITY: _generator,
    layouts.OPENAI: _clip,
    layouts.OPEN_CLIP: _clip,
    layouts.PYRAMID: _pyramid,
    layouts.ARCFACE: _arcface,
    layouts.MAPPER: _mapper,
    inspection.FS3: _bank,
}
