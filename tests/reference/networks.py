"""Small networks with random weights, and the reference vectors, for tests of every room."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from styleclip.faces.arcface import ArcFace, ArcFaceConfig
from styleclip.faces.irse import TrunkConfig
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config

VECTORS = Path(__file__).parents[1] / "vectors"


def expected(name: str) -> dict[str, Tensor]:
    """What the reference implementation computes from the vector file ``name``."""
    return load_file(VECTORS / f"{name}.expected.safetensors")


def save_dino(folder: Path, layers: int = 2) -> None:
    """A small DINOv2 of random weights, 28 pixels, as transformers saves it."""
    from transformers import Dinov2Config, Dinov2Model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Dinov2Config(
            hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, image_size=28,
            patch_size=14,
        )  # fmt: skip
        model = Dinov2Model(config)
        for parameter in model.parameters():  # a fresh one hardly looks at the picture
            parameter.data.add_(0.2 * torch.randn(parameter.shape))
        model.save_pretrained(folder)


def random_generator(config: StyleGAN2Config, seed: int = 0) -> StyleGAN2:
    """A generator whose every parameter matters: noise, biases and the mean w are not zero."""
    random = torch.Generator().manual_seed(seed)
    generator = StyleGAN2(config).eval().requires_grad_(False)
    for name, tensor in generator.state_dict().items():
        drawn = torch.randn(tensor.shape, generator=random)
        if name.startswith("mapping_layers") and name.endswith("weight"):
            tensor.copy_(drawn / 0.01)
        elif name.endswith("affine.bias"):
            tensor.copy_(1 + 0.3 * drawn)
        elif name.endswith(("bias", "noise_strength", "w_average")):
            tensor.copy_(0.3 * drawn)
        else:
            tensor.copy_(drawn)
    return generator


def random_arcface(seed: int = 0) -> ArcFace:
    """A narrow ArcFace that reads 32 pixels, every entry drawn."""
    trunk = TrunkConfig((4, 6, 8, 10), (1, 2, 1, 1), squeeze=2)
    network = ArcFace(ArcFaceConfig(32, 12, trunk=trunk)).eval().requires_grad_(False)
    fill_randomly(network, seed)
    return network


def fill_randomly(network: nn.Module, seed: int = 0) -> None:
    """Draw every entry: matrices at unit gain, variances above zero, the rest about 0 or 1."""
    random = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        drawn = torch.randn(tensor.shape, generator=random)
        if tensor.ndim > 1 and name != "average":
            tensor.copy_(drawn / tensor[0].numel() ** 0.5)
        elif name.endswith("variance"):
            tensor.copy_(1 + 0.3 * drawn.abs())
        else:
            tensor.copy_(0.1 * drawn + name.endswith("weight"))
