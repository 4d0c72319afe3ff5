"""OpenAI's CLIP state dict to `transformers`' CLIPModel (Radford et al. 2021; ViT towers).

  in_proj_weight [3D,D] = q, k, v stacked;  projections [D,E] are transposed, ours being [E,D]
A state dict, or the TorchScript archive that OpenAI publishes, read as its tensors alone. The
architecture follows from the shapes, heads being 64 wide throughout, and the activation is
QuickGELU. Weights are often float16 and become float32. The text vector is read at the first end
token, the last of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from styleclip.checkpoints import keymap
from styleclip.checkpoints.files import first_line
from styleclip.checkpoints.keymap import Rule
from styleclip.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

Activation = Literal["gelu", "quick_gelu"]
HEAD_WIDTH = 64
# sizes that the shapes say as well, which only OpenAI's files have; and a mask that is computed
SIZES = ("input_resolution", "context_length", "vocab_size")
DROPPED: dict[str, Tensor | None] = {
    **dict.fromkeys(SIZES), r"(transformer\.(resblocks\.\d+\.)?)?attn_mask": None,
}  # fmt: skip

# their names inside a residual block, and ours
BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ln_2": "layer_norm2",
}


def recognises(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of a file of OpenAI's, of any tower."""
    named = "text_projection" in contents and "visual.conv1.weight" in contents
    return named and any(size in contents for size in SIZES)


def build(
    contents: Mapping[str, Any], source: str | Path, activation: Activation = "quick_gelu"
) -> CLIPModel:
    """The model with its weights; ``CheckpointError`` if they do not fit."""
    config = infer_config(contents, source, activation)
    return convert(contents, config, rules(config), DROPPED, source)


def convert(
    contents: Mapping[str, Any],
    config: CLIPConfig,
    table: list[Rule],
    dropped: Mapping[str, Tensor | None],
    source: str | Path,
) -> CLIPModel:
    """The network of ``config``, filled by ``table``. Raises ``CheckpointError``."""
    model = _empty(config, source)
    state_dict = keymap.convert(contents, table, model.state_dict(), source=source, dropped=dropped)
    keymap.fill(model, state_dict, source)
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:  # the numbers of the positions, which no file holds
                setattr(module, name, torch.arange(buffer.shape[-1]).expand(buffer.shape))
    return model


def shapes(
    text: dict[str, Any], vision: dict[str, Any], embedding: int, source: str | Path
) -> dict[str, Tensor]:
    """Our entries for towers of these sizes, without memory; they are the same for any heads."""
    one = {"num_attention_heads": 1}
    model = _empty(new_config(text | one, vision | one, embedding), source)
    return dict(model.state_dict())


def _empty(config: CLIPConfig, source: str | Path) -> CLIPModel:
    """The network without memory, and without random numbers, for its weights."""
    from transformers import CLIPModel

    try:
        with torch.device("meta"):
            return CLIPModel(config)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(
            f"{source} has tensors of sizes that no CLIP has ({first_line(error)}): it is damaged, "
            "or of another kind"
        ) from error


def infer_config(
    contents: Mapping[str, Any], source: str | Path, activation: Activation = "quick_gelu"
) -> CLIPConfig:
    """The architecture, from the shapes of a few entries."""
    text, vision, embedding = infer_sizes(contents, source)
    for tower in (text, vision):
        width = tower["hidden_size"]
        if width % min(width, HEAD_WIDTH):
            raise CheckpointError(
                f"{source} has a tower of width {width}, expected a multiple of {HEAD_WIDTH} as in "
                "OpenAI's CLIPs: it is damaged, or of another kind"
            )
        tower["num_attention_heads"] = width // min(width, HEAD_WIDTH)
        tower["hidden_act"] = activation
    return new_config(text, vision, embedding)


def infer_sizes(
    contents: Mapping[str, Any], source: str | Path, prefix: str = ""
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What shapes say of the text tower (its keys behind ``prefix``), the vision tower, and E."""
    if any(key.startswith("visual.layer1.") for key in contents):
        raise CheckpointError(
            f"{source} is a CLIP with a ResNet image tower, which is not readable: take a ViT one "
            "(ViT-B/32, ViT-B/16, ViT-L/14)"
        )
    try:
        vocabulary, text_width = contents[f"{prefix}token_embedding.weight"].shape
        context_length = contents[f"{prefix}positional_embedding"].shape[0]
        embedding = contents[f"{prefix}text_projection"].shape[1]
        vision_width, _, patch, _ = contents["visual.conv1.weight"].shape
        cells = contents["visual.positional_embedding"].shape[0] - 1
        text = _tower(contents, f"{prefix}transformer", text_width)
        vision = _tower(contents, "visual.transformer", vision_width)
        text |= {"vocab_size": vocabulary, "max_position_embeddings": context_length}
        vision |= {"patch_size": patch, "image_size": patch * round(max(0, cells) ** 0.5)}
        if min(*text.values(), *vision.values(), embedding) < 1 or vocabulary < 3:
            raise ValueError("one of its sizes is zero")
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{source} has keys of a CLIP but not enough to tell its architecture "
            f"({error}): it is damaged or incomplete"
        ) from error
    return text, vision, embedding


def new_config(text: dict[str, Any], vision: dict[str, Any], embedding: int) -> CLIPConfig:
    """A config of two towers, texts ending in the last token of the vocabulary."""
    from transformers import CLIPConfig

    end = text["vocab_size"] - 1
    ends = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    return CLIPConfig(text_config=text | ends, vision_config=vision, projection_dim=embedding)


def _tower(contents: Mapping[str, Any], prefix: str, width: int) -> dict[str, Any]:
    pattern = re.compile(re.escape(prefix) + r"\.resblocks\.\d+\.ln_1\.weight")
    return {
        "hidden_size": width,
        "intermediate_size": contents[f"{prefix}.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": len([key for key in contents if pattern.fullmatch(key)]),
    }


def rules(config: CLIPConfig, prefix: str = "") -> list[Rule]:
    """The table: every entry of the CLIPModel once. ``prefix`` is in front of their text tower."""
    table = [
        Rule("logit_scale", "logit_scale"),
        Rule("text_model.embeddings.token_embedding.weight", f"{prefix}token_embedding.weight"),
        Rule("text_model.embeddings.position_embedding.weight", f"{prefix}positional_embedding"),
        Rule("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        Rule("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        Rule("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        Rule("text_projection.weight", f"{prefix}text_projection", transpose=True),
        Rule("visual_projection.weight", "visual.proj", transpose=True),
        *_same("text_model.final_layer_norm", f"{prefix}ln_final"),
        *_same("vision_model.pre_layrnorm", "visual.ln_pre"),  # sic
        *_same("vision_model.post_layernorm", "visual.ln_post"),
    ]
    text: Any = config.text_config
    vision: Any = config.vision_config
    for i in range(text.num_hidden_layers):
        table += _block(f"text_model.encoder.layers.{i}", f"{prefix}transformer.resblocks.{i}")
    for i in range(vision.num_hidden_layers):
        table += _block(f"vision_model.encoder.layers.{i}", f"visual.transformer.resblocks.{i}")
    return table


def _block(ours: str, theirs: str) -> list[Rule]:
    table = []
    for part in ("weight", "bias"):
        stacked = tuple(f"{ours}.self_attn.{name}_proj.{part}" for name in "qkv")
        table.append(Rule(stacked, f"{theirs}.attn.in_proj_{part}"))
    for their_name, our_name in BLOCK.items():
        table += _same(f"{ours}.{our_name}", f"{theirs}.{their_name}")
    return table


def _same(ours: str, theirs: str) -> list[Rule]:
    return [Rule(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]
