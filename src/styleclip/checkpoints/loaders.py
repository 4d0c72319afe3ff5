"""From a path to a network that is ready to use: tell the layout apart, convert, fill strictly.

  load_generator(path) -> StyleGAN2        native, rosinality or NVIDIA weights
  load_clip(path)      -> ClipEmbedder     a transformers folder, or OpenAI's state dict
  load_encoder, load_latent_map, load_reader, load_identity          native
  load_image_encoder(folder or hub name) -> DinoIdentity
Networks come back in eval mode, float32, on the CPU, with gradients off for their weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from styleclip.checkpoints import (
    clip_openai,
    keymap,
    registry,
    stylegan2_nvidia,
    stylegan2_rosinality,
)
from styleclip.checkpoints.files import Weights, check_hashes, first_line, read_weights
from styleclip.checkpoints.native import is_native, parse_network, save_network, write_network
from styleclip.editing.latent_map import LatentMap
from styleclip.errors import CheckpointError
from styleclip.faces.identity import IdentityConfig, IdentityNetwork
from styleclip.faces.image_encoder import IMAGENET_MEAN, IMAGENET_STD, DinoIdentity
from styleclip.faces.reader import Reader, ReaderConfig
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.inversion.encoder import Encoder, EncoderConfig

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from styleclip.clip.embedder import ClipEmbedder

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)

KIND = "stylegan2"
MEAN_W_SAMPLES = 10_000  # for files without the mean w; StyleCLIP's own scripts draw 4,096

# a key that gives away what a file is, when it is not a generator
OTHER_LAYOUTS = {
    "visual.conv1.weight": "an OpenAI CLIP (load_clip reads it)",
    "text_projection": "an OpenAI CLIP (load_clip reads it)",
    "vision_model.embeddings.class_embedding": "a transformers CLIP (load_clip reads its folder)",
    "synthesis.input.freqs": "a StyleGAN3, which is not readable yet",
}


def load_generator(path: str | Path, clamp: float | None = None) -> StyleGAN2:
    """A generator from a file of weights, a model folder, or the name of a built-in model.

    ``clamp`` is NVIDIA's ``conv_clamp``, which the tensors do not hold (networks trained with
    float16 layers have 256); without it the file's metadata is asked, then nothing is clamped. The
    other layouts do not use it. Raises ``CheckpointError``.
    """
    weights = read_weights(_inside_model(path, registry.GENERATOR))
    if is_native(weights):
        config, state_dict = _native_generator(weights)
    elif stylegan2_nvidia.recognises(weights.contents):
        config, state_dict = _nvidia_generator(weights, clamp)
    elif stylegan2_rosinality.recognises(weights.contents):
        config, state_dict = _rosinality_generator(weights)
    else:
        raise _unknown(weights)
    generator = empty_generator(config)
    keymap.fill(generator, state_dict, weights.path)
    generator.channels_last()
    return generator.eval().requires_grad_(False)


def load_clip(path: str | Path, tokenizer: str | Path | None = None) -> ClipEmbedder:
    """A CLIP from a `transformers` folder, OpenAI's state dict, a model folder or a built-in name.

    OpenAI's file holds no tokenizer: ``tokenizer`` is a folder that does (vocab.json and
    merges.txt). Without it only ``embed_images`` and ``embed_token_ids`` work; texts raise
    ``PromptError``. Raises ``CheckpointError``.
    """
    from styleclip.clip.embedder import ClipEmbedder

    location = _inside_model(path, registry.CLIP)
    if location.is_dir():
        return ClipEmbedder.from_folder(location)
    weights = read_weights(location)
    if not clip_openai.recognises(weights.contents):
        raise CheckpointError(
            f"{location} is not OpenAI's CLIP state dict: "
            "give that, or a folder saved by transformers"
        )
    model = clip_openai.build(weights.contents, location)
    if tokenizer is None:
        return ClipEmbedder(model, None)
    return ClipEmbedder(model, _read_tokenizer(Path(tokenizer), model.config.text_config))


def load_latent_map(
    path: str | Path, hashes: Callable[[], Mapping[str, str]] | None = None
) -> LatentMap:
    """The map from CLIP's space to w of a native file, a model folder or a built-in name.

    Only files that this project wrote are read. ``hashes`` gives those of "generator" and "clip"
    that it must have been measured with, if the file says so. Raises ``CheckpointError``.
    """
    location = _inside_model(path, registry.LATENT_MAP)
    _, config, tensors = parse_network(read_weights(location), "latent-map")
    if config and hashes is not None:
        theirs = {part: str(config.get(part, "")) for part in ("generator", "clip")}
        check_hashes(
            theirs, hashes(), f"{location} was measured", location.parent.name,
            "delete it, and it is measured again",
        )  # fmt: skip
    wanted = ("matrix", "mean", "covariance")
    if sorted(tensors) != sorted(wanted):
        raise CheckpointError(f"{location} holds {sorted(tensors)}, a latent map has {wanted}")
    return LatentMap(*(tensors[name] for name in wanted))


def save_latent_map(path: str | Path, latent_map: LatentMap, hashes: Mapping[str, str]) -> None:
    """Write a map at once or not at all, with the ``hashes`` of its "generator" and "clip".

    Raises ``CheckpointError`` if it cannot be written.
    """
    write_network(path, "latent-map", hashes, vars(latent_map))


def load_encoder(path: str | Path) -> Encoder:
    """An image -> w_plus encoder from a native file, a model folder or a built-in name.

    Only files that this project wrote are read so far. Raises ``CheckpointError``.
    """
    return _native(path, registry.ENCODER, "encoder", EncoderConfig.from_dict, Encoder)


def load_reader(path: str | Path) -> Reader:
    """The reader of attributes of a native file, a model folder or a built-in name.

    Raises ``CheckpointError``.
    """
    return _native(path, registry.READER, "reader", ReaderConfig.from_dict, Reader)


def load_identity(path: str | Path) -> IdentityNetwork:
    """The identity network of a native file, a model folder or a built-in name.

    Raises ``CheckpointError``.
    """
    return _native(path, registry.IDENTITY, "identity", IdentityConfig.from_dict, IdentityNetwork)


def load_image_encoder(name: str | Path) -> DinoIdentity:
    """A DINOv2 for identities: a folder as `transformers` saves it, or a hub name.

    A hub name ("facebook/dinov2-small") is fetched by `transformers` on its first use. Raises
    ``CheckpointError``.
    """
    from transformers import AutoConfig, AutoModel

    from styleclip.clip.embedder import _silenced

    here = Path(name).is_dir()
    if not here and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(name)):
        raise CheckpointError(
            f"there is no folder {name} of a DINOv2: give one as transformers saves it, or a hub "
            "name such as facebook/dinov2-small"
        )
    try:
        with _silenced():
            config = AutoConfig.from_pretrained(name, local_files_only=here)
            if config.model_type not in ("dinov2", "dinov2_with_registers"):
                raise CheckpointError(
                    f"{name} is a {config.model_type}, expected a DINOv2: for a CLIP say 'clip'"
                )
            loaded: Any = AutoModel.from_pretrained(
                name, local_files_only=here, dtype=torch.float32, output_loading_info=True
            )
            model, report = loaded
            stated = _image_settings(name, here)
    except CheckpointError:
        raise
    except Exception as error:  # transformers raises whatever its many readers raise
        raise CheckpointError(f"{name} cannot be read as a DINOv2: {first_line(error)}") from error
    lacking = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if lacking:
        raise CheckpointError(
            f"{name} lacks {len(lacking)} tensors of a DINOv2, such as {lacking[0]}: copy it whole"
        )
    patch = int(model.config.patch_size)
    crop = stated.get("crop_size") or {}
    side = int(crop.get("height", 0) or min(224, int(model.config.image_size)))
    mean, std = (stated.get(f"image_{each}") for each in ("mean", "std"))
    return DinoIdentity(
        model, max(patch, side // patch * patch), mean or IMAGENET_MEAN, std or IMAGENET_STD
    )


def _image_settings(name: str | Path, here: bool) -> dict[str, Any]:
    """What the preprocessor_config.json beside a network states; nothing if there is none."""
    from transformers.utils.hub import cached_file

    path = cached_file(
        str(name), "preprocessor_config.json", local_files_only=here,
        _raise_exceptions_for_missing_entries=False,
    )  # fmt: skip
    return {} if path is None else dict(json.loads(Path(path).read_text(encoding="utf-8")))


def _native(
    path: str | Path,
    part: str,
    kind: str,
    read_config: Callable[[dict[str, Any]], C],
    build: Callable[[C], N],
) -> N:
    """A network that this project wrote: its config, the network, its tensors."""
    location = _inside_model(path, part)
    _, values, state_dict = parse_network(read_weights(location), kind)
    try:
        config = read_config(values)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{location} has an unusable config: {error}") from error
    network = build(config)
    keymap.fill(network, state_dict, location)
    network.eval().requires_grad_(False)
    return network


def _read_tokenizer(folder: Path, config: Any) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    if not folder.is_dir():
        raise CheckpointError(f"there is no tokenizer folder {folder}: check the path")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise CheckpointError(
            f"{folder} holds no CLIP tokenizer: it has neither tokenizer.json nor vocab.json"
        )
    tokenizer: CLIPTokenizer
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises whatever its many readers raise
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be read: {first_line(error)}"
        ) from error
    if tokenizer.eos_token_id != config.eos_token_id:
        raise CheckpointError(
            f"the tokenizer in {folder} ends texts with token {tokenizer.eos_token_id}, this CLIP "
            f"expects {config.eos_token_id}: they do not belong together"
        )
    return tokenizer


def save_generator(
    path: str | Path, generator: StyleGAN2, dtype: torch.dtype | None = None
) -> None:
    """Write a generator in the native format; ``load_generator`` reads it again."""
    save_network(path, KIND, generator.config.to_dict(), generator.state_dict(), dtype)


def empty_generator(config: StyleGAN2Config) -> StyleGAN2:
    """The network without memory for its weights, to be filled."""
    with torch.device("meta"):
        return StyleGAN2(config)


def _native_generator(weights: Weights) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    _, values, state_dict = parse_network(weights, KIND)
    try:
        return StyleGAN2Config.from_dict(values), state_dict
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights.path} has an unusable config: {error}") from error


def _nvidia_generator(
    weights: Weights, clamp: float | None
) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    if clamp is None and "conv_clamp" in weights.metadata:
        clamp = _number(weights.metadata["conv_clamp"], "conv_clamp", weights.path)
    foreign = stylegan2_nvidia.unwrap(weights.contents)
    config = stylegan2_nvidia.infer_config(foreign, weights.path, clamp)
    table = stylegan2_nvidia.rules(config)
    return config, _convert(foreign, table, config, stylegan2_nvidia.DROPPED, weights.path)


def _rosinality_generator(weights: Weights) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    foreign = stylegan2_rosinality.unwrap(weights.contents)
    config = stylegan2_rosinality.infer_config(foreign, weights.path)
    table = stylegan2_rosinality.rules(config)
    return config, _convert(foreign, table, config, stylegan2_rosinality.DROPPED, weights.path)


def _convert(
    foreign: dict[str, object],
    table: list[keymap.Rule],
    config: StyleGAN2Config,
    dropped: Mapping[str, Tensor | None],
    source: Path,
) -> dict[str, Tensor]:
    """Convert, and supply what files may lack: noise images from seed 0, the mean w computed."""
    _check_square(foreign, table, config, source)
    generator = empty_generator(config)
    network = generator.state_dict()
    random = torch.Generator().manual_seed(0)
    defaults = {
        name: torch.randn(tensor.shape, generator=random)
        for name, tensor in network.items()
        if name.endswith("noise_const")
    }
    average = "w_average"
    theirs = next(rule.theirs for rule in table if rule.ours == average)
    if theirs not in foreign:
        defaults[average] = torch.zeros(config.w_dim)
    state_dict = keymap.convert(
        foreign, table, network, source=source, dropped=dropped, defaults=defaults
    )
    if theirs not in foreign:
        keymap.fill(generator, state_dict, source)
        state_dict[average] = generator.mean_w(MEAN_W_SAMPLES, random)[0]
    return state_dict


def _check_square(
    foreign: dict[str, object], table: list[keymap.Rule], config: StyleGAN2Config, source: Path
) -> None:
    """Raise ``CheckpointError`` for forks whose first layer is not 4 x 4 pixels, such as 8 x 4."""
    const = foreign.get(next(rule.theirs for rule in table if rule.ours == "const"))
    if not isinstance(const, Tensor) or const.ndim < 3 or tuple(const.shape[-2:]) == (4, 4):
        return  # what else is wrong, the key map says
    height, width = const.shape[-2:]
    times = config.resolution // 4
    raise CheckpointError(
        f"{source} draws pictures of {height * times} x {width * times} pixels (its first layer "
        f"has {height} x {width}): only square generators can be used, whose first layer has 4 x 4"
    )


def _inside_model(path: str | Path, part: str) -> Path:
    """The part of a model, if ``path`` is its name or its folder; otherwise ``path`` itself."""
    is_model = str(path) in registry.BUILT_IN or (Path(path) / registry.DESCRIPTION).is_file()
    if is_model:
        return registry.read_model(path).file(part)
    if not Path(path).exists():
        known = ", ".join(sorted(registry.BUILT_IN))
        raise CheckpointError(
            f"there is no file {path}, and no built-in model of that name ({known}): check the path"
        )
    return Path(path)


def _number(text: str, name: str, source: Path) -> float | None:
    """A number in a file's metadata, where "null" and "None" mean that there is none."""
    if text in ("null", "None"):
        return None
    try:
        return float(text)
    except ValueError as error:
        raise CheckpointError(f"{source} says {name} = {text!r}, expected a number") from error


def _unknown(weights: Weights) -> CheckpointError:
    hints = [hint for key, hint in OTHER_LAYOUTS.items() if key in weights.contents]
    if hints:
        return CheckpointError(f"{weights.path} is not a StyleGAN2 but {hints[0]}")
    keys = ", ".join(list(weights.contents)[:5]) or "none"
    return CheckpointError(
        f"{weights.path} has the keys of no known StyleGAN2 layout (native, rosinality, NVIDIA); "
        f"its first keys: {keys}"
    )
