"""open_clip's state dicts to `transformers`' CLIPModel (LAION's CLIPs and others with ViT towers).

  text.token_embedding.weight = token_embedding.weight     newer files keep the text tower apart
The tensors are OpenAI's, by OpenAI's names (`clip_openai`). What no tensor says stands in
``open_clip_config.json`` beside the file: the activation (exact GELU unless "quick_gelu"), the
width of a head, how pictures are resized, and the mean and std of the pixels. Without it heads
follow from the width, and the rest is assumed with a ``CheckpointWarning``. Key names and configs
were looked up on public pages; the only files of this layout that were read are ones that this
project wrote.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from styleclip.checkpoints import clip_openai
from styleclip.checkpoints.clip_openai import Activation
from styleclip.checkpoints.keymap import Rule
from styleclip.clip.embedder import OPENAI_MEAN, OPENAI_STD, Interpolation, pixel_statistics
from styleclip.errors import CheckpointError, CheckpointWarning

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

CONFIG = "open_clip_config.json"
# what a config of other things than expected can raise
UNTOLD = (
    OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError
)  # fmt: skip
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TEXT = "text."
# the published vision towers whose heads are not 64 wide: H, g, bigG, e
HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104, 1792: 112}
# widths of published towers with heads of 64
USUAL_WIDTHS = (256, 384, 512, 640, 768, 896, 1024)
TEXT_WIDTHS = (*USUAL_WIDTHS, 1280)
# a mask that is computed, and the offset of a loss that no embedding knows
DROPPED: dict[str, Tensor | None] = {r"(text\.)?attn_mask": None, "logit_bias": None}

# keys that give away a tower which is no ViT of this kind
OTHER_TOWERS = {
    "visual.trunk.": "a timm image tower",
    "visual.attn_pool.": "an image tower with attention pooling",
    "text_decoder.": "a text decoder (CoCa)",
    "text.proj.": "a text tower of another library",
    "text.transformer.embeddings.": "a text tower of another library",
}
# what open_clip's configs may say; anything else must be as it is by default
READ = {
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text",
                  "init_logit_scale", "init_logit_bias"},
    "vision_cfg": {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio",
                   "patch_dropout", "output_tokens"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio",
                 "hf_tokenizer_name", "output_tokens"},
}  # fmt: skip
DEFAULTS = {"pool_type": ("tok", "argmax"), "pos_embed_type": ("learnable",),
            "proj_type": ("linear",)}  # fmt: skip
# how its pictures may be resized; "random" is of trainings, which look bicubically afterwards
INTERPOLATIONS: dict[str, Interpolation] = {
    "bicubic": "bicubic", "bilinear": "bilinear", "random": "bicubic"
}  # fmt: skip
FITS = ("shortest", "longest", "squash")  # a square, which is all that comes here, fits alike


@dataclass(frozen=True)
class Settings:
    """What the file beside the weights says, or what is assumed without it.

    ``vision``, ``text`` are open_clip's settings of the towers; heads that they do not name are 64
    wide in the vision tower and 8 in the text tower, as there. None: not known.
    """

    activation: Activation
    mean: Sequence[float] = OPENAI_MEAN
    std: Sequence[float] = OPENAI_STD
    interpolation: Interpolation = "bicubic"
    embedding: int | None = None
    vision: Mapping[str, Any] | None = None
    text: Mapping[str, Any] = field(default_factory=dict)


def unwrap(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict itself: out of a training's checkpoint, without ``module.`` in front."""
    state = contents.get("state_dict", contents)
    if not isinstance(state, Mapping):
        return dict(contents)
    for prefix in ("module.", "_orig_mod."):
        if state and all(str(key).startswith(prefix) for key in state):
            state = {str(key).removeprefix(prefix): value for key, value in state.items()}
    return {str(key): value for key, value in state.items()}


def recognises(state: Mapping[str, Any]) -> bool:
    """Whether this is an (unwrapped) state dict of an open_clip model, of any tower."""
    text = "text_projection" in state or any(key.startswith(TEXT) for key in state)
    return text and any(key.startswith("visual.") for key in state)


def build(
    state: Mapping[str, Any], source: str | Path, activation: Activation | None = None
) -> tuple[CLIPModel, Settings]:
    """The model with its weights, and what was said or assumed of it.

    ``activation`` overrides what the config says. Raises ``CheckpointError``.
    """
    check_towers(state, source)
    settings = read_settings(Path(source), activation)
    config = infer_config(state, source, settings)
    table = rules(config, TEXT if f"{TEXT}token_embedding.weight" in state else "")
    return clip_openai.convert(state, config, table, DROPPED, source), settings


def check_towers(state: Mapping[str, Any], source: str | Path) -> None:
    """Raise ``CheckpointError`` for a model with a tower that is no ViT of this kind."""
    for start, kind in OTHER_TOWERS.items():
        if any(key.startswith(start) for key in state):
            raise CheckpointError(
                f"{source} is an open_clip model with {kind}, which is not readable: take a plain "
                "ViT (such as LAION's ViT-B-32, B-16, L-14 or H-14)"
            )


def rules(config: CLIPConfig, prefix: str = "") -> list[Rule]:
    """The table: every entry of the CLIPModel once; ``prefix`` is "text." in newer files."""
    return clip_openai.rules(config, prefix)


def read_settings(source: Path, activation: Activation | None = None) -> Settings:
    """The settings beside the weights ``source``; assumed, with a warning, where there are none."""
    path = config_beside(source)
    if path is None:
        if activation is None:
            warnings.warn(
                f"{source} has no {CONFIG} beside it, so exact GELU and OpenAI's mean and std of "
                "the pixels are assumed, as most networks of open_clip have them: put that file "
                "there, or say activation='quick_gelu' for one that began as OpenAI's",
                CheckpointWarning, stacklevel=4,  # whoever called load_clip
            )  # fmt: skip
        return Settings(activation or "gelu")
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        model = stated["model_cfg"]
        vision, text = model["vision_cfg"], model["text_cfg"]
        pixels = stated.get("preprocess_cfg", {})
        mean, std = pixel_statistics(pixels.get("mean", OPENAI_MEAN), pixels.get("std", OPENAI_STD))
        for name, settings in (("model_cfg", model), ("vision_cfg", vision), ("text_cfg", text)):
            _check_known(settings, name, path)
        interpolation = _interpolation(pixels, vision, path)
        said: Activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
        width = int(model["embed_dim"])
        return Settings(activation or said, mean, std, interpolation, width, vision, text)
    except UNTOLD as error:
        raise CheckpointError(
            f"{path} does not describe a CLIP ({type(error).__name__}: {error}): take the one that "
            "was published with the weights"
        ) from error


def config_beside(source: Path) -> Path | None:
    """The config of these weights: under their own name, as fetched ones have it, or the usual."""
    names = (f"{source.stem}.{CONFIG}", CONFIG)
    return next((path for n in names if (path := source.with_name(n)).is_file()), None)


def _interpolation(
    pixels: Mapping[str, Any], vision: Mapping[str, Any], path: Path
) -> Interpolation:
    """How pictures are resized. Raises ``CheckpointError`` for a way that is not known here."""
    sides = pixels.get("size", vision.get("image_size"))
    for side in sides if isinstance(sides, list) else [sides]:
        if side != vision.get("image_size"):
            raise CheckpointError(
                f"{path} wants pictures of {sides} pixels for a tower of "
                f"{vision.get('image_size')}: take the one that was published with the weights"
            )
    known = {
        "interpolation": tuple(INTERPOLATIONS), "resize_mode": FITS, "mode": ("RGB",)
    }  # fmt: skip
    for key, ways in known.items():
        if pixels.get(key, ways[0]) not in ways:
            raise CheckpointError(
                f"{path} asks for {key} = {pixels[key]!r}, which is not known here (known: "
                f"{', '.join(ways)}): take the one that was published with the weights"
            )
    return INTERPOLATIONS[pixels.get("interpolation", "bicubic")]


def _check_known(settings: Mapping[str, Any], name: str, path: Path) -> None:
    """Raise ``CheckpointError`` for a setting that changes the network in a way unknown here."""
    for key, value in settings.items():
        if key in READ[name] or not value or value in DEFAULTS.get(key, ()):
            continue
        raise CheckpointError(
            f"{path} asks for {key} = {value!r} in {name}, a tower which is not readable: take a "
            "plain ViT (such as LAION's ViT-B-32, B-16, L-14 or H-14)"
        )


def infer_config(state: Mapping[str, Any], source: str | Path, settings: Settings) -> CLIPConfig:
    """The architecture, from shapes and settings, which must agree."""
    prefix = TEXT if f"{TEXT}token_embedding.weight" in state else ""
    text, vision, embedding = clip_openai.infer_sizes(state, source, prefix)
    if settings.vision is not None:
        _check_sizes(text, vision, embedding, settings, source)
    text["num_attention_heads"] = _text_heads(text["hidden_size"], settings, source)
    vision["num_attention_heads"] = _vision_heads(vision["hidden_size"], settings, source)
    for tower in (text, vision):
        tower["hidden_act"] = settings.activation
        if tower["hidden_size"] % tower["num_attention_heads"]:
            raise CheckpointError(
                f"{source} has a tower of width {tower['hidden_size']}, which cannot have the "
                f"{tower['num_attention_heads']} heads that {CONFIG} says: take the config that "
                "was published with the weights"
            )
    return clip_openai.new_config(text, vision, embedding)


def _vision_heads(width: int, settings: Settings, source: str | Path) -> int:
    if settings.vision is not None:
        each = _number(settings.vision.get("head_width") or 64, source)
        if not 0 < each <= width or width % each:
            raise CheckpointError(
                f"{CONFIG} beside {source} asks for heads of width {each} in a tower of width "
                f"{width}: take the one that was published with the weights"
            )
        return width // each
    if width in HEAD_WIDTHS or width in USUAL_WIDTHS:
        return width // HEAD_WIDTHS.get(width, 64)
    raise _undecidable("vision", width, source)


def _text_heads(width: int, settings: Settings, source: str | Path) -> int:
    if settings.vision is not None:
        return max(1, _number(settings.text.get("heads", 8), source))
    if width in TEXT_WIDTHS:
        return width // 64
    raise _undecidable("text", width, source)


def _undecidable(tower: str, width: int, source: str | Path) -> CheckpointError:
    return CheckpointError(
        f"{source} has a {tower} tower of width {width}, which no published model has, so its "
        f"number of heads is unknown: put its {CONFIG} beside it"
    )


def _number(value: Any, source: str | Path) -> int:
    if isinstance(value, int) and value > 0:
        return value
    raise CheckpointError(f"{CONFIG} beside {source} says {value!r} where a count must stand")


def _check_sizes(
    text: Mapping[str, Any], vision: Mapping[str, Any], embedding: int, settings: Settings,
    source: str | Path,
) -> None:  # fmt: skip
    """Raise ``CheckpointError`` where the config is another network's than the tensors are."""
    names = {
        "width": "hidden_size", "layers": "num_hidden_layers", "patch_size": "patch_size",
        "context_length": "max_position_embeddings", "vocab_size": "vocab_size",
        "image_size": "image_size",
    }  # fmt: skip
    said = {"embed_dim": (settings.embedding, embedding)}
    for tower, ours, theirs in (("vision", vision, settings.vision), ("text", text, settings.text)):
        said |= {
            f"{tower} {name}": (theirs[name], ours[mine])
            for name, mine in names.items()
            if theirs and name in theirs and mine in ours
        }
    for name, (wanted, found) in said.items():
        if wanted != found:
            raise CheckpointError(
                f"{CONFIG} beside {source} is another network's: it says {name} {wanted}, the "
                f"weights have {found}; take the one that was published with the weights"
            )
