"""Small networks in the layouts of the public files: what a download brings, in miniature."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import torch

from tests.reference.networks import VECTORS

MERGES = ["f a", "fa c", "fac e</w>", "r e", "re d</w>", "h a"]
TOKENS = 2 * 256 + len(MERGES) + 2


def write_vocabulary(path: Path) -> None:
    """OpenAI's vocabulary file, with more merges than the CLIP has, as theirs."""
    lines = ['"tiny#version: 0.2', *MERGES, "z z", "zz z", ""]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def write_clip(path: Path) -> None:
    """A CLIP of random weights for pictures of 32 pixels: OpenAI's state dict, half precision."""
    from transformers import CLIPConfig, CLIPModel

    from styleclip.checkpoints import clip_openai, keymap

    tower = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1,
             "num_attention_heads": 1}  # fmt: skip
    end = TOKENS - 1
    text = {**tower, "vocab_size": TOKENS, "bos_token_id": end - 1, "eos_token_id": end,
            "pad_token_id": end}  # fmt: skip
    vision = {**tower, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
        model = CLIPModel(config)
    theirs = keymap.invert(clip_openai.rules(config), model.state_dict())
    sizes = {"input_resolution": 32, "context_length": 77, "vocab_size": TOKENS}
    said = {name: torch.tensor(size) for name, size in sizes.items()}  # theirs say so, too
    torch.save({name: tensor.half() for name, tensor in theirs.items()} | said, path)


def write_generator(path: Path) -> None:
    """A StyleGAN2 of 32 pixels in rosinality's layout."""
    shutil.copyfile(VECTORS / "stylegan2-rosinality.pt", path)
