"""OpenAI's CLIP state dict to `transformers`' CLIPModel (Radford et al. 2021; ViT towers).

  in_proj_weight [3D,D] = q, k, v stacked;  projections [D,E] are transposed, ours being [E,D]
The architecture follows from the shapes, heads being 64 wide throughout. Weights are often float16
and become float32. The text vector is read at the first end token, the last of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.checkpoints import keymap
from styleclip.checkpoints.keymap import Rule
from styleclip.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import CLIPConfig, CLIPModel

HEAD_WIDTH = 64
# sizes that the shapes say as well, and a mask that is computed
DROPPED = dict.fromkeys(("input_resolution", "context_length", "vocab_size", "attn_mask"))

# their names inside a residual block, and ours
BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ln_2": "layer_norm2",
}


def recognises(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of such a file, of any tower."""
    return "text_projection" in contents and "visual.conv1.weight" in contents


def build(contents: Mapping[str, Any], source: str | Path) -> CLIPModel:
    """The model with its weights; ``CheckpointError`` if they do not fit."""
    from transformers import CLIPModel

    config = infer_config(contents, source)
    model = CLIPModel(config)
    network = model.state_dict()
    state_dict = keymap.convert(contents, rules(config), network, source=source, dropped=DROPPED)
    keymap.fill(model, state_dict, source)
    return model


def infer_config(contents: Mapping[str, Any], source: str | Path) -> CLIPConfig:
    """The architecture, from the shapes of a few entries."""
    from transformers import CLIPConfig

    if any(key.startswith("visual.layer1.") for key in contents):
        raise CheckpointError(
            f"{source} is a CLIP with a ResNet image tower, which is not readable: take a ViT one "
            "(ViT-B/32, ViT-B/16, ViT-L/14)"
        )
    try:
        vocabulary, text_width = contents["token_embedding.weight"].shape
        context_length = contents["positional_embedding"].shape[0]
        embedding = contents["text_projection"].shape[1]
        vision_width, _, patch, _ = contents["visual.conv1.weight"].shape
        cells = contents["visual.positional_embedding"].shape[0] - 1
        text = _tower(contents, "transformer", text_width)
        vision = _tower(contents, "visual.transformer", vision_width)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{source} has keys of an OpenAI CLIP but not enough to tell its architecture "
            f"({error}): it is damaged or incomplete"
        ) from error
    end = vocabulary - 1
    text |= {
        "vocab_size": vocabulary,
        "max_position_embeddings": context_length,
        "bos_token_id": end - 1,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    vision |= {"patch_size": patch, "image_size": patch * round(cells**0.5)}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=embedding)


def _tower(contents: Mapping[str, Any], prefix: str, width: int) -> dict[str, Any]:
    pattern = re.compile(re.escape(prefix) + r"\.resblocks\.\d+\.ln_1\.weight")
    return {
        "hidden_size": width,
        "intermediate_size": contents[f"{prefix}.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": len([key for key in contents if pattern.fullmatch(key)]),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "hidden_act": "quick_gelu",
    }


def rules(config: CLIPConfig) -> list[Rule]:
    """The table: every entry of the CLIPModel once."""
    table = [
        Rule("logit_scale", "logit_scale"),
        Rule("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        Rule("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        Rule("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        Rule("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        Rule("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        Rule("text_projection.weight", "text_projection", transpose=True),
        Rule("visual_projection.weight", "visual.proj", transpose=True),
        *_same("text_model.final_layer_norm", "ln_final"),
        *_same("vision_model.pre_layrnorm", "visual.ln_pre"),  # sic
        *_same("vision_model.post_layernorm", "visual.ln_post"),
    ]
    text: Any = config.text_config
    vision: Any = config.vision_config
    for i in range(text.num_hidden_layers):
        table += _block(f"text_model.encoder.layers.{i}", f"transformer.resblocks.{i}")
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
