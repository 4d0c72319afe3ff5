"""From a path to a network that is ready to use: tell the layout apart, convert, fill strictly.

  load_generator(path) -> StyleGAN2        native, rosinality or NVIDIA weights
  load_encoder(path)   -> Encoder or PyramidEncoder        native, e4e or pSp
  load_identity(path)  -> IdentityNetwork or ArcFace       native, or the public IR-SE50
  load_image_encoder(folder or hub name) -> DinoIdentity
  load_latent_map, load_reader                             native
Networks come back in eval mode, float32, on the CPU, with gradients off for their weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from styleclip.checkpoints import (
    face_encoders,
    folders,
    hub,
    keymap,
    layouts,
    registry,
    stylegan2_nvidia,
    stylegan2_rosinality,
    stylegan2_tensorflow,
)
from styleclip.checkpoints.files import Weights, check_hashes, first_line, read_weights
from styleclip.checkpoints.native import (
    check_axes,
    check_config,
    is_native,
    parse_network,
    save_network,
    write_network,
)
from styleclip.clip.embedder import pixel_statistics
from styleclip.editing.latent_map import LatentMap
from styleclip.editing.mapper import Mapper, MapperConfig
from styleclip.editing.text_mapper import TextMapper, TextMapperConfig
from styleclip.errors import CheckpointError
from styleclip.faces.arcface import ArcFace, ArcFaceConfig
from styleclip.faces.identity import IdentityConfig, IdentityNetwork
from styleclip.faces.image_encoder import IMAGENET_MEAN, IMAGENET_STD, DinoIdentity
from styleclip.faces.reader import Reader, ReaderConfig
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.inversion.e4e import PyramidConfig, PyramidEncoder
from styleclip.inversion.encoder import Encoder, EncoderConfig

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)

KIND = "stylegan2"
PYRAMID_KIND, ARCFACE_KIND = "pyramid-encoder", "arcface"
# what our own files of networks hold: how their config is read, and what it describes
NETWORKS: dict[str, tuple[Callable[[dict[str, Any]], Any], Callable[[Any], nn.Module]]] = {
    KIND: (StyleGAN2Config.from_dict, StyleGAN2),
    "encoder": (EncoderConfig.from_dict, Encoder),
    PYRAMID_KIND: (PyramidConfig.from_dict, PyramidEncoder),
    "identity": (IdentityConfig.from_dict, IdentityNetwork),
    ARCFACE_KIND: (ArcFaceConfig.from_dict, ArcFace),
    "reader": (ReaderConfig.from_dict, Reader),
    "mapper": (lambda config: MapperConfig.from_dict(config["network"]), Mapper),
    "text-mapper": (lambda config: TextMapperConfig.from_dict(config["network"]), TextMapper),
}
MEAN_W_SAMPLES = 10_000  # for files without the mean w; StyleCLIP's own scripts draw 4,096


def load_generator(path: str | Path, clamp: float | None = None) -> StyleGAN2:
    """A generator from a file of weights, a model folder, or the name of a built-in model.

    ``clamp`` is NVIDIA's ``conv_clamp``, which the tensors do not hold (networks trained with
    float16 layers have 256); without it the settings in a .pkl or the metadata of safetensors are
    asked, then nothing is clamped. The other layouts do not use it. Files of e4e and pSp carry a
    generator, which is read too; other networks in a file are not read. Raises ``CheckpointError``.
    """
    weights = read_weights(
        _inside_model(path, registry.GENERATOR), _of_generator, inside=face_encoders.of_decoder
    )
    weights = replace(weights, contents=face_encoders.decoder(weights.contents) or weights.contents)
    layout = layouts.layout_of(weights)
    if is_native(weights):
        config, state_dict = _native_generator(weights)
    elif layout == layouts.NVIDIA:
        config, state_dict = _nvidia_generator(weights, clamp)
    elif layout == layouts.TENSORFLOW:
        config, state_dict = _tensorflow_generator(weights, clamp)
    elif layout == layouts.ROSINALITY:
        config, state_dict = _rosinality_generator(weights)
    else:
        raise layouts.refusal(weights, "a StyleGAN2", "native, rosinality, NVIDIA")
    generator = empty_generator(config, weights.path)
    keymap.fill(generator, state_dict, weights.path)
    state_dict.clear()  # laid out anew, the weights would be in memory twice
    generator.channels_last()
    return generator.eval().requires_grad_(False)


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
    check_axes(location, "latent-map", tensors)
    return LatentMap(**tensors)


def save_latent_map(path: str | Path, latent_map: LatentMap, hashes: Mapping[str, str]) -> None:
    """Write a map at once or not at all, with the ``hashes`` of its "generator" and "clip".

    Raises ``CheckpointError`` if it cannot be written.
    """
    write_network(path, "latent-map", hashes, vars(latent_map))


def load_encoder(
    path: str | Path, method: face_encoders.Method | None = None
) -> Encoder | PyramidEncoder:
    """An image -> w_plus encoder: native, a file of e4e or pSp, a model folder, a built-in name.

    ``method``, "e4e" or "psp", is needed for files of theirs that carry no ``opts``. Raises
    ``CheckpointError``.
    """
    weights = read_weights(_inside_model(path, registry.ENCODER), inside=face_encoders.of_others)
    if weights.metadata.get("kind") == PYRAMID_KIND:
        return cast(PyramidEncoder, _native(weights, PYRAMID_KIND))
    if layouts.layout_of(weights) == layouts.PYRAMID:
        return _pyramid_encoder(weights, method)
    _refuse_others(weights, "an encoder", "native, e4e, pSp")
    return cast(Encoder, _native(weights, "encoder"))


def load_reader(path: str | Path) -> Reader:
    """The reader of attributes of a native file, a model folder or a built-in name.

    Raises ``CheckpointError``.
    """
    weights = read_weights(_inside_model(path, registry.READER))
    return cast(Reader, _native(weights, "reader"))


def load_identity(path: str | Path) -> IdentityNetwork | ArcFace:
    """An identity network: native, the public IR-SE50, a model folder or a built-in name.

    Raises ``CheckpointError``.
    """
    weights = read_weights(_inside_model(path, registry.IDENTITY))
    if weights.metadata.get("kind") == ARCFACE_KIND:
        return cast(ArcFace, _native(weights, ARCFACE_KIND))
    if layouts.layout_of(weights) == layouts.ARCFACE:
        return _arcface(weights)
    _refuse_others(weights, "an identity network", "native, IR-SE50")
    return cast(IdentityNetwork, _native(weights, "identity"))


def _pyramid_encoder(weights: Weights, method: face_encoders.Method | None) -> PyramidEncoder:
    contents, source = weights.contents, weights.path
    config = face_encoders.encoder_config(contents, source, method)
    dropped = face_encoders.encoder_dropped(contents)
    network = empty_network(PyramidEncoder, config, source)
    return _filled(
        network,
        keymap.convert(
            _taken(weights, face_encoders.unwrap_encoder),
            face_encoders.encoder_rules(config),
            network.state_dict(),
            source=source,
            dropped=dropped,
            consume=True,
        ),
        source,
    )


def _arcface(weights: Weights) -> ArcFace:
    contents, source = weights.contents, weights.path
    config = face_encoders.identity_config(contents, source)
    network = empty_network(ArcFace, config, source)
    return _filled(
        network,
        keymap.convert(
            contents,
            face_encoders.identity_rules(config),
            network.state_dict(),
            source=source,
            dropped=face_encoders.DROPPED,
            consume=True,
        ),
        source,
    )


def _refuse_others(weights: Weights, expected: str, known: str) -> None:
    """Say what a file of another code is, where something else was asked for."""
    if not is_native(weights):
        raise layouts.refusal(weights, expected, known)


def load_image_encoder(name: str | Path) -> DinoIdentity:
    """A DINOv2 for identities: a folder as `transformers` saves it, or a hub name.

    A hub name ("facebook/dinov2-small") is fetched on its first use. Raises ``CheckpointError``.
    """
    from transformers import AutoModel

    from styleclip.clip.embedder import silenced

    wanted = hub.hub_name(name)
    if wanted is None and not Path(name).is_dir():
        raise CheckpointError(
            f"there is no folder {name} of a DINOv2: give one as transformers saves it, or a hub "
            "name such as facebook/dinov2-small"
        )
    folder = Path(name) if wanted is None else hub.find_model(wanted, "DINOv2")
    folders.check_size(folder, _of_dino(folder))
    try:
        with silenced():
            loaded: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported, and judged below
            )  # fmt: skip
            model, report = loaded
            size, mean, std = _image_settings(folder, model.config)
    except Exception as error:  # transformers raises whatever its many readers raise
        raise CheckpointError(f"{name} cannot be read as a DINOv2: {first_line(error)}") from error
    # a classifier on top of it may be there
    more = [key for key in report["unexpected_keys"] if not key.startswith("classifier.")]
    keymap.Problems(
        sorted(report["missing_keys"]), sorted(more),
        sorted(f"{key} {list(found)} instead of {list(ours)}"
               for key, found, ours in report["mismatched_keys"]),
    ).check(name)  # fmt: skip
    return DinoIdentity(model, size, mean, std)


def _of_dino(folder: Path) -> dict[str, Tensor]:
    """The entries of a DINOv2's folder, on the meta device. Raises ``CheckpointError``."""
    kind = folders.read_config(folder)["model_type"]
    if kind not in folders.DINO:
        raise CheckpointError(f"{folder} is a {kind}, expected a DINOv2: for a CLIP say 'clip'")
    return folders.read_shapes(folders.weight_files(folder))


def _image_settings(folder: Path, config: Any) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Side of the pictures, mean and std: as the preprocessor_config.json beside says, or usual."""
    path = folder / "preprocessor_config.json"
    stated = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    patch = int(config.patch_size)
    crop = stated.get("crop_size") or {}
    side = int(crop.get("height", 0) or min(224, int(config.image_size)))
    mean, std = pixel_statistics(
        stated.get("image_mean") or IMAGENET_MEAN, stated.get("image_std") or IMAGENET_STD
    )
    return max(patch, side // patch * patch), mean, std


def _native(weights: Weights, kind: str) -> Any:
    """A network that this project wrote: its config, the network, its tensors."""
    _, values, state_dict = parse_network(weights, kind)
    weights.contents.clear()  # so that each weight is held once
    _, network = described(kind, values, weights.path)
    return _filled(network, state_dict, weights.path)


def described(kind: str, values: dict[str, Any], source: Path) -> tuple[Any, Any]:
    """The config that a file of ours has, and its network, without memory for its weights.

    Raises ``CheckpointError`` for values that no network has.
    """
    config = _config(kind, values, source)
    if kind == KIND:
        return config, empty_generator(config, source)
    return config, empty_network(NETWORKS[kind][1], config, source)


def _config(kind: str, values: dict[str, Any], source: Path) -> Any:
    """The config that a file of ours has. Raises ``CheckpointError`` for what no network has."""
    try:
        config = NETWORKS[kind][0](values)
        check_config(config)
    except Exception as error:  # a stranger's values fail in as many ways as there are configs
        raise CheckpointError(
            f"{source} has an unusable config: {first_line(error)} ({type(error).__name__}); it is "
            "damaged, or was not written here"
        ) from error
    return config


def empty_network(build: Callable[[C], N], config: C, source: Path) -> N:
    """The network without memory for its weights, to be filled. Raises ``CheckpointError``."""
    try:
        with torch.device("meta"):
            return build(config)
    except Exception as error:  # sizes of nothing, of too much, or that do not go together
        raise CheckpointError(
            f"{source} describes a network of impossible size ({first_line(error)}): it is damaged"
        ) from error


def _filled(network: N, state_dict: dict[str, Tensor], source: Path) -> N:
    """``state_dict`` is used up: each weight is held once while they are put in another order."""
    keymap.fill(network, state_dict, source)
    state_dict.clear()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.eval().requires_grad_(False)
    return network


def save_generator(
    path: str | Path, generator: StyleGAN2, dtype: torch.dtype | None = None
) -> None:
    """Write a generator in the native format; ``load_generator`` reads it again."""
    save_network(path, KIND, generator.config.to_dict(), generator.state_dict(), dtype)


def empty_generator(config: StyleGAN2Config, source: Path) -> StyleGAN2:
    """The network without memory for its weights, to be filled. Raises ``CheckpointError``."""
    with _ShapesOnly():
        return empty_network(StyleGAN2, config, source)


class _ShapesOnly(TorchFunctionMode):
    """Leaves out the drawing and scaling of first values, of which the meta device has none.

    With them torch imports another 800 modules for the first network: 75 MB and two seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.div:
            return args[0]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def _native_generator(weights: Weights) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    _, values, state_dict = parse_network(weights, KIND)
    weights.contents.clear()  # so that each weight is held once
    return _config(KIND, values, weights.path), state_dict


def _nvidia_generator(
    weights: Weights, clamp: float | None
) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    clamp = nvidia_clamp(weights)[0] if clamp is None else clamp
    foreign = _taken(weights, stylegan2_nvidia.unwrap)
    config = stylegan2_nvidia.infer_config(foreign, weights.path, clamp)
    table = stylegan2_nvidia.rules(config)
    return config, _convert(foreign, table, config, stylegan2_nvidia.DROPPED, weights.path)


def nvidia_clamp(weights: Weights) -> tuple[float | None, bool]:
    """``conv_clamp`` as a file of NVIDIA's states it, and whether it states anything."""
    inside = stylegan2_nvidia.clamp_of(weights.settings, weights.path)
    if "conv_clamp" in weights.metadata:
        return _number(weights.metadata["conv_clamp"], "conv_clamp", weights.path), True
    return inside, any(name.endswith("conv_clamp") for name in weights.settings)


def _tensorflow_generator(
    weights: Weights, clamp: float | None
) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    inside = stylegan2_tensorflow.clamp_of(weights.settings, weights.path)
    clamp = inside if clamp is None else clamp
    foreign = stylegan2_tensorflow.as_pytorch(weights.contents, weights.path)
    weights.contents.clear()
    config = stylegan2_nvidia.infer_config(foreign, weights.path, clamp)
    table = stylegan2_nvidia.rules(config)
    return config, _convert(foreign, table, config, {}, weights.path)


def _rosinality_generator(weights: Weights) -> tuple[StyleGAN2Config, dict[str, Tensor]]:
    foreign = _taken(weights, stylegan2_rosinality.unwrap)
    config = stylegan2_rosinality.infer_config(foreign, weights.path)
    table = stylegan2_rosinality.rules(config)
    return config, _convert(foreign, table, config, stylegan2_rosinality.DROPPED, weights.path)


def _taken(weights: Weights, unwrap: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The flat foreign state dict, which then alone holds the tensors."""
    foreign = unwrap(weights.contents)
    weights.contents.clear()
    return foreign


def _convert(
    foreign: dict[str, Any],
    table: list[keymap.Rule],
    config: StyleGAN2Config,
    dropped: Mapping[str, Tensor | None],
    source: Path,
) -> dict[str, Tensor]:
    """Convert, and supply what files may lack: noise images from seed 0, the mean w computed.

    ``foreign`` is used up, so that the network is in memory once.
    """
    check_square(foreign, table, config, source)
    generator = empty_generator(config, source)
    network = generator.state_dict()
    random = torch.Generator().manual_seed(0)
    names = {rule.ours: rule.theirs for rule in table}
    defaults = {}
    for name, tensor in network.items():
        if name.endswith("noise_const"):
            noise = torch.randn(tensor.shape, generator=random)
            if names[name] not in foreign:
                defaults[name] = noise
    average = "w_average"
    lacks_average = names[average] not in foreign
    if lacks_average:
        defaults[average] = torch.zeros(config.w_dim)
    state_dict = keymap.convert(
        foreign, table, network, source=source, dropped=dropped, defaults=defaults, consume=True
    )
    if lacks_average:
        keymap.fill(generator, state_dict, source)
        state_dict[average] = generator.mean_w(MEAN_W_SAMPLES, random)[0]
    return state_dict


def _of_generator(names: list[str]) -> list[str]:
    """What to read of a file with several networks: the average one, without the others."""
    for network in (stylegan2_nvidia.NETWORK, stylegan2_tensorflow.NETWORK):
        if network in names:
            return [network]
    for network in stylegan2_rosinality.NETWORKS:
        if network in names:
            return [network, "latent_avg"]
    return face_encoders.of_decoder(names)


def check_square(
    foreign: Mapping[str, Any], table: list[keymap.Rule], config: StyleGAN2Config, source: Path
) -> None:
    """Raise ``CheckpointError`` for forks whose first layer is not 4 x 4 pixels, such as 8 x 4."""
    const = foreign.get(next(rule.theirs for rule in table if rule.ours == "const"))
    shape = tuple(getattr(const, "shape", ()))
    if len(shape) < 3 or shape[-2:] == (4, 4):
        return  # what else is wrong, the key map says
    height, width = shape[-2:]
    times = config.resolution // 4
    raise CheckpointError(
        f"{source} draws pictures of {height * times} x {width * times} pixels (its first layer "
        f"has {height} x {width}): only square generators can be used, whose first layer has 4 x 4"
    )


def _inside_model(path: str | Path, part: str) -> Path:
    """The part of a model, if ``path`` is its name or its folder; otherwise ``path`` itself."""
    if registry.is_model(path):
        return registry.read_model(path).file(part)
    if not Path(path).exists():
        known = registry.known_names()
        raise CheckpointError(
            f"there is no file {path}, and no model of that name ({known}): check the path"
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
