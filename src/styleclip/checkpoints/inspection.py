"""What a file holds, told from names, shapes and types: hardly anything is read or held.

  inspect(path) -> Inspection     kind, layout, sizes, precision, hash, what loading would make up
The layouts are those of ``layouts``, the sizes those that the readers infer, and names, shapes and
types of the entries are compared with the readers' tables and with networks that have no memory. A
file that no reader would take is a ``CheckpointError``, as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from styleclip.checkpoints import (
    clip_openai,
    clip_openclip,
    clips,
    face_encoders,
    folders,
    hub,
    keymap,
    layouts,
    registry,
    styleclip_official,
    stylegan2_nvidia,
    stylegan2_rosinality,
    stylegan2_tensorflow,
)
from styleclip.checkpoints.arrays import read_array
from styleclip.checkpoints.files import Weights, file_hash, first_line, read_weights
from styleclip.checkpoints.layouts import Layout
from styleclip.checkpoints.loaders import (
    KIND,
    NETWORKS,
    check_square,
    described,
    empty_generator,
    empty_network,
    nvidia_clamp,
)
from styleclip.checkpoints.native import AXES, check_axes, parse_network
from styleclip.checkpoints.pickles import read_plain
from styleclip.editing.mapper import Mapper
from styleclip.errors import CheckpointError
from styleclip.faces.arcface import ArcFace
from styleclip.generators.stylegan2 import StyleGAN2Config
from styleclip.inversion.e4e import PyramidEncoder

NOISE = "the noise images, drawn from seed 0"
MEAN_W = "the mean w, computed from 10,000 samples"
TOKENIZER = "a tokenizer: give one, or texts cannot be read"
CLAMP = "conv_clamp: nothing is clamped (networks trained with float16 layers have 256)"
METHOD = 'whether rows are offsets from the first: say method "e4e" or "psp"'
GENERATOR_INSIDE = "a generator (load_generator reads it)"
PROMPTS = "its prompts, and the hashes of its generator and CLIP"
# of our own files: entries whose shapes say what they belong to
SHAPES = {"edit": ("w_plus_step", "style_step"), "tuning": ("pivot",), "directions": ("matrix",),
          "latent-map": ("matrix",)}  # fmt: skip
FS3 = Layout("directions", "StyleCLIP", "an official fs3", "load_bank", lambda contents: False)
STATISTICS = replace(FS3, kind="statistics", words="an official S_mean_std, for the fs3 beside it")
LATENTS = replace(FS3, kind="latents", origin="array", words="latents in W+", reader="load_latents")
TRAINING = replace(
    FS3, kind="training", origin="styleclip", words="a training under way", reader="load_training"
)


@dataclass(frozen=True)
class Inspection:
    """One file. ``figures`` are its sizes and what it says of itself, by their names.

    ``precision`` counts the numbers of each type; ``parameters`` are those of what ``reader``
    returns. ``missing`` is what the file lacks, with what loading takes in its place; ``inside`` is
    what else it holds. ``sha256`` is of the file, None for a folder.
    """

    path: Path
    layout: Layout
    size: int
    sha256: str | None
    parameters: int
    precision: dict[str, int]
    figures: dict[str, Any]
    missing: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)

    @property
    def carries_generator(self) -> bool:
        """Whether an encoder's or a mapper's file holds a generator that is read, too."""
        return GENERATOR_INSIDE in self.inside


Facts = tuple[Mapping[str, Any], dict[str, Any], list[str]]  # entries, figures, missing


def inspect(path: str | Path) -> Inspection:
    """What the file, or the folder of a CLIP, is. Raises ``CheckpointError``."""
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    try:
        weights = read_weights(path, shapes=True)
    except CheckpointError as error:
        found = _array(path)
        if found is None:
            raise error from None
        return _result(path, *found, [])
    layout = layouts.layout_of(weights)
    if layout is None and set(weights.contents) == {"settings", *_training_names()}:
        return _result(path, TRAINING, weights.contents, {}, [])
    if layout is None:
        keys = ", ".join(list(weights.contents)[:5]) or "none"
        raise CheckpointError(
            f"{path} is a file of weights, and of no layout that is known here; its first keys: "
            f"{keys}"
        )
    if layout in DESCRIBE:
        entries, figures, missing = DESCRIBE[layout](weights)
    else:
        entries, figures, missing = _native(weights)
    networks = sorted(
        name
        for name, value in weights.contents.items()
        if isinstance(value, Mapping) and next(_tensors(value), None) is not None
    )
    others = _inside(weights, layout, networks)
    return replace(_result(path, layout, entries, figures, missing), inside=others)


def _training_names() -> tuple[str, ...]:
    from styleclip.checkpoints.mappers import STATE

    return STATE


def _result(
    path: Path, layout: Layout, entries: Mapping[str, Any], figures: dict[str, Any],
    missing: list[str],
) -> Inspection:  # fmt: skip
    precision: dict[str, int] = {}
    for value in _tensors(entries):
        name = str(value.dtype).removeprefix("torch.")
        precision[name] = precision.get(name, 0) + int(np.prod(value.shape, dtype=np.int64))
    floats = sum(count for name, count in precision.items() if "float" in name)
    size = path.stat().st_size
    return Inspection(path, layout, size, file_hash(path), floats, precision, figures, missing)


def _tensors(entries: Any) -> Iterator[Any]:
    if isinstance(entries, (Tensor, np.ndarray)):
        yield entries
    elif isinstance(entries, Mapping):
        for value in entries.values():
            yield from _tensors(value)
    elif isinstance(entries, (list, tuple)):
        for value in entries:
            yield from _tensors(value)


def _inside(weights: Weights, layout: Layout, names: list[str]) -> list[str]:
    """What else is in there, in words."""
    if layout in (layouts.PYRAMID, layouts.MAPPER):
        return [GENERATOR_INSIDE] if _has_decoder(weights) else []
    used = {layouts.NVIDIA: "G_ema", layouts.TENSORFLOW: "Gs"}.get(layout)
    networks = stylegan2_rosinality.NETWORKS
    used = next((n for n in networks if n in names), None) if used is None else used
    return [f"{name}, which is not read" for name in names if used in names and name != used]


def _has_decoder(weights: Weights) -> bool:
    return face_encoders.decoder(weights.contents) is not None


# --- generators ---


def _stylegan2(config: StyleGAN2Config) -> dict[str, Any]:
    layout = config.layout()
    return {
        "resolution": config.resolution,
        "channels": list(config.channels),
        "z_dim": config.z_dim,
        "w_rows": layout.rows,
        "w_dim": config.w_dim,
        "style_columns": layout.size,
        "classes": config.c_dim,
        "mapping_layers": config.mapping_layers,
        "clamp": config.clamp,
    }


def _used(entries: Mapping[str, Any], table: list[keymap.Rule]) -> dict[str, Any]:
    """What becomes part of the network."""
    return {rule.theirs: entries[rule.theirs] for rule in table if rule.theirs in entries}


def _lacking(entries: Mapping[str, Any], table: list[keymap.Rule]) -> list[str]:
    """What loading would make up."""
    absent = {str(rule.ours) for rule in table if rule.theirs not in entries}
    noise = [NOISE] if any(name.endswith("noise_const") for name in absent) else []
    return noise + ([MEAN_W] if "w_average" in absent else [])


def _generator(
    entries: Mapping[str, Any], config: StyleGAN2Config, table: list[keymap.Rule],
    dropped: Mapping[str, Tensor | None], source: Path,
) -> Facts:  # fmt: skip
    check_square(entries, table, config, source)
    network = empty_generator(config, source).state_dict()
    optional = [name for name in network if name.endswith(("noise_const", "w_average"))]
    keymap.check(entries, table, network, source=source, dropped=dropped, optional=optional)
    return _used(entries, table), _stylegan2(config), _lacking(entries, table)


def _nvidia(weights: Weights) -> Facts:
    entries = stylegan2_nvidia.unwrap(weights.contents)
    clamp, known = nvidia_clamp(weights)
    config = stylegan2_nvidia.infer_config(entries, weights.path, clamp)
    table, dropped = stylegan2_nvidia.rules(config), stylegan2_nvidia.DROPPED
    facts = _generator(entries, config, table, dropped, weights.path)
    return *facts[:2], facts[2] + ([] if known else [CLAMP])


def _tensorflow(weights: Weights) -> Facts:
    clamp = stylegan2_tensorflow.clamp_of(weights.settings, weights.path)
    entries = stylegan2_tensorflow.as_pytorch(weights.contents, weights.path, shapes=True)
    config = stylegan2_nvidia.infer_config(entries, weights.path, clamp)
    return _generator(entries, config, stylegan2_nvidia.rules(config), {}, weights.path)


def _rosinality(weights: Weights) -> Facts:
    return _of_rosinality(weights.contents, weights.path)


def _of_rosinality(contents: Mapping[str, Any], source: Path) -> Facts:
    entries = stylegan2_rosinality.unwrap(contents)
    config = stylegan2_rosinality.infer_config(entries, source)
    table, dropped = stylegan2_rosinality.rules(config), stylegan2_rosinality.DROPPED
    return _generator(entries, config, table, dropped, source)


# --- CLIPs ---


def _towers(text: Mapping[str, Any], vision: Mapping[str, Any], embedding: int) -> dict[str, Any]:
    return {
        "resolution": vision["image_size"],
        "patch": vision["patch_size"],
        "embedding": embedding,
        "vision_layers": f"{vision['num_hidden_layers']} of {vision['hidden_size']}",
        "text_layers": f"{text['num_hidden_layers']} of {text['hidden_size']}",
        "tokens": text["vocab_size"],
        "context": text["max_position_embeddings"],
    }


def _clip(
    entries: Mapping[str, Any], source: Path, dropped: Mapping[str, Tensor | None], prefix: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    text, vision, embedding = clip_openai.infer_sizes(entries, source, prefix)
    towers: Any = SimpleNamespace(
        text_config=SimpleNamespace(**text), vision_config=SimpleNamespace(**vision)
    )
    table = clip_openai.rules(towers, prefix)
    network = clip_openai.shapes(text, vision, embedding, source)
    keymap.check(entries, table, network, source=source, dropped=dropped)
    return _used(entries, table), _towers(text, vision, embedding)


def _openai(weights: Weights) -> Facts:
    entries, figures = _clip(weights.contents, weights.path, clip_openai.DROPPED, "")
    lacks = [] if clips.has_tokenizer(weights.path.parent) else [TOKENIZER]
    return entries, {**figures, "activation": "quick_gelu"}, lacks


def _open_clip(weights: Weights) -> Facts:
    state, source = clip_openclip.unwrap(weights.contents), weights.path
    clip_openclip.check_towers(state, source)
    prefix = clip_openclip.TEXT if f"{clip_openclip.TEXT}token_embedding.weight" in state else ""
    entries, figures = _clip(state, source, clip_openclip.DROPPED, prefix)
    missing = [] if clips.has_tokenizer(source.parent) else [TOKENIZER]
    if clip_openclip.config_beside(source) is None:
        missing.append(
            f"{clip_openclip.CONFIG} beside it: exact GELU and OpenAI's pixels are assumed"
        )
        return entries, figures, missing
    said = clip_openclip.read_settings(source)
    return entries, {**figures, "activation": said.activation}, missing


def _bare_transformers(weights: Weights) -> Facts:
    raise CheckpointError(
        f"{weights.path} is the weights of a transformers CLIP, which say less than its folder: "
        f"give the folder {weights.path.parent}, with its config.json"
    )


# --- faces and mappers ---


def _pyramid(weights: Weights) -> Facts:
    contents, source = weights.contents, weights.path
    method = face_encoders.method_of(contents, source)
    config = face_encoders.encoder_config(contents, source, None if method else "e4e")
    entries, table = face_encoders.unwrap_encoder(contents), face_encoders.encoder_rules(config)
    dropped = face_encoders.encoder_dropped(contents)
    network = empty_network(PyramidEncoder, config, source).state_dict()
    keymap.check(entries, table, network, source=source, dropped=dropped)
    figures = {
        "method": method, "resolution": config.resolution, "w_rows": config.rows,
        "w_dim": config.w_dim, "trunk": list(config.trunk.widths),
    }  # fmt: skip
    return _used(entries, table), figures, [] if method else [METHOD]


def _arcface(weights: Weights) -> Facts:
    config = face_encoders.identity_config(weights.contents, weights.path)
    table = face_encoders.identity_rules(config)
    network = empty_network(ArcFace, config, weights.path).state_dict()
    dropped = face_encoders.DROPPED
    keymap.check(weights.contents, table, network, source=weights.path, dropped=dropped)
    figures = {
        "resolution": config.resolution, "embedding": config.embedding,
        "trunk": list(config.trunk.widths),
    }  # fmt: skip
    return _used(weights.contents, table), figures, []


def _mapper(weights: Weights) -> Facts:
    config = styleclip_official.infer_config(weights.contents, weights.path)
    state = weights.contents["state_dict"]
    dropped = styleclip_official.DROPPED
    table = styleclip_official.rules(config)
    network = empty_network(Mapper, config, weights.path).state_dict()
    keymap.check(state, table, network, source=weights.path, dropped=dropped)
    figures = {"space": config.space, "groups": [group.name for group in config.groups]}
    return _used(state, table), figures, [PROMPTS]


DESCRIBE: dict[Layout, Callable[[Weights], Facts]] = {
    layouts.NVIDIA: _nvidia,
    layouts.TENSORFLOW: _tensorflow,
    layouts.ROSINALITY: _rosinality,
    layouts.OPENAI: _openai,
    layouts.OPEN_CLIP: _open_clip,
    layouts.TRANSFORMERS: _bare_transformers,
    layouts.PYRAMID: _pyramid,
    layouts.ARCFACE: _arcface,
    layouts.MAPPER: _mapper,
    layouts.STYLEGAN3: lambda weights: (weights.contents, {}, []),
}


# --- our own files, folders and arrays ---


def _native(weights: Weights) -> Facts:
    kind, config, entries = parse_network(weights, floats=None)
    if kind in NETWORKS:
        stated, network = described(kind, config, weights.path)
        keymap.check_entries(network.state_dict(), entries, weights.path)
        if kind == KIND:
            return entries, _stylegan2(stated), []
    if kind in AXES:
        check_axes(weights.path, kind, entries)
    if not entries:
        raise CheckpointError(f"{weights.path} holds no tensors: it is damaged")
    named = SHAPES.get(kind, ())
    shapes: dict[str, Any] = {n: list(entries[n].shape) for n in named if n in entries}
    return entries, {**config, **shapes}, []


def _folder(path: Path) -> Inspection:
    if (path / registry.DESCRIPTION).is_file():
        model = registry.read_model(path)
        parts = sorted(p for p, name in registry.PARTS.items() if model.find(name) is not None)
        raise CheckpointError(
            f"{path} is the folder of the model {model.name!r}: give one of its parts "
            f"({', '.join(parts)})"
        )
    found = clips.open_clip_file(path)
    if found is not None:
        return inspect(found)
    said = folders.read_config(path)
    files = folders.weight_files(path)
    if not files:
        raise CheckpointError(f"{path} has no {hub.TRANSFORMERS[0]}: copy the folder whole")
    entries = folders.read_shapes(files)
    folders.check_entries(path, entries)
    try:
        figures = _folder_figures(said)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path / 'config.json'} does not say its sizes ({first_line(error)}): take the one "
            "that was published with the weights"
        ) from error
    layout, missing = layouts.TRANSFORMERS, []
    if said["model_type"] != "clip":
        layout = replace(
            layout, kind="image-encoder", words="a DINOv2", reader="load_image_encoder"
        )
    elif not clips.has_tokenizer(path):
        missing = [TOKENIZER]
    layout = replace(layout, words=layout.words.removesuffix(" without its folder"))
    first = _result(files[0], layout, entries, figures, missing)
    size = sum(each.stat().st_size for each in files)
    return replace(first, path=path, size=size, sha256=first.sha256 if len(files) == 1 else None)


def _folder_figures(said: dict[str, Any]) -> dict[str, Any]:
    if said["model_type"] != "clip":
        names = {"resolution": "image_size", "patch": "patch_size", "embedding": "hidden_size"}
        return {ours: said[theirs] for ours, theirs in names.items() if theirs in said}
    # what equals transformers' own defaults (ViT-B/32) may be left out
    text = {"vocab_size": 49408, "hidden_size": 512, "num_hidden_layers": 12,
            "max_position_embeddings": 77, **said.get("text_config", {})}  # fmt: skip
    vision = {"image_size": 224, "patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12,
              "hidden_act": "quick_gelu", **said.get("vision_config", {})}  # fmt: skip
    figures = _towers(text, vision, said.get("projection_dim", 512))
    return {**figures, "activation": vision["hidden_act"]}


def _array(path: Path) -> tuple[Layout, Any, dict[str, Any]] | None:
    """An fs3, latents, or the statistics beside an fs3; None for anything else."""
    try:
        array = read_array(path)
    except CheckpointError:
        return _statistics(path)
    if array.ndim == 2 and _are_directions(array):
        return FS3, array, {"channels": len(array), "embedding": array.shape[1]}
    if array.ndim in (2, 3):
        pictures, rows, width = array.shape if array.ndim == 3 else (1, *array.shape)
        return LATENTS, array, {"pictures": pictures, "w_rows": rows, "w_dim": width}
    return None


def _are_directions(array: Tensor) -> bool:
    lengths = torch.where(array.isnan().all(dim=1, keepdim=True), 0.0, array).norm(dim=1)
    return bool(((lengths - 1).abs().lt(0.02) | lengths.eq(0)).all())


def _statistics(path: Path) -> tuple[Layout, Any, dict[str, Any]] | None:
    try:
        found = read_plain(path)
    except CheckpointError:
        return None
    lists = found if isinstance(found, (list, tuple)) else ()
    if len(lists) != 2 or not all(isinstance(each, (list, tuple)) and each for each in lists):
        return None
    widths = [[getattr(part, "size", None) for part in each] for each in lists]
    if widths[0] != widths[1] or not all(isinstance(width, int) for width in widths[0]):
        return None
    return STATISTICS, lists, {"layers": len(widths[0]), "style_columns": sum(widths[0])}
