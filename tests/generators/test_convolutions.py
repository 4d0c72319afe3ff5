"""The quick 3x3 convolutions against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.generators import convolutions
from styleclip.generators.stylegan2 import StyleGAN2Config
from tests.reference.networks import random_generator

QUICK = ("_by_tiles", "_by_parity")


def a_convolution(batch: int, inputs: int, outputs: int, *size: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, inputs, *size).contiguous(memory_format=torch.channels_last)
    return x, torch.randn(outputs, inputs, 3, 3)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the quick ways that were taken."""
    names: list[str] = []
    for name in QUICK:
        real = getattr(convolutions, name)

        def noted(x: Tensor, weight: Tensor, name: str = name, real=real) -> Tensor:
            names.append(name)
            return real(x, weight)

        monkeypatch.setattr(convolutions, name, noted)
    return names


@pytest.mark.parametrize("size", [(8, 8), (4, 12), (36, 20), (132, 8)])
@pytest.mark.parametrize("batch", [1, 3, 70])
def test_tiles_give_the_convolution_whatever_the_parts(batch: int, size: tuple[int, int]) -> None:
    x, weight = a_convolution(batch, 5, 7, *size)
    expected = F.conv2d(x.double(), weight.double(), padding=1)
    found = convolutions._by_tiles(x.double(), weight.double())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("size", [(1, 1), (4, 7), (9, 2)])
def test_parities_give_the_doubled_convolution(size: tuple[int, int]) -> None:
    x, weight = a_convolution(2, 5, 3, *size)
    expected = F.conv_transpose2d(x.double(), weight.double().transpose(0, 1), stride=2)
    found = convolutions._by_parity(x.double(), weight.double())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_wide_layer_goes_by_tiles_and_loses_no_picture(taken: list[str]) -> None:
    x, weight = a_convolution(2, 256, 256, 64, 64)
    found = convolutions.same_size(x, weight)
    assert taken == ["_by_tiles"]
    expected = F.conv2d(x, weight, padding=1)
    assert (found - expected).abs().max() < 3e-5 * expected.abs().max()
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_a_narrow_doubling_goes_by_parity(taken: list[str]) -> None:
    x, weight = a_convolution(2, 256, 128, 16, 16)
    found = convolutions.doubled(x, weight)
    assert taken == ["_by_parity"]
    expected = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max()
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("inputs", "outputs", "size"),
    [(255, 256, (64, 64)), (256, 255, (64, 64)), (256, 256, (60, 64)), (256, 256, (64, 66))],
)
def test_other_shapes_are_left_to_pytorch(
    inputs: int, outputs: int, size: tuple[int, int], taken: list[str]
) -> None:
    x, weight = a_convolution(1, inputs, outputs, *size)
    found = convolutions.same_size(x, weight)
    assert not taken
    assert torch.equal(found, F.conv2d(x, weight, padding=1))


@pytest.mark.parametrize("asked", ["x", "weight", "float64", "bfloat16"])
def test_gradients_and_other_precisions_are_left_to_pytorch(asked: str, taken: list[str]) -> None:
    x, weight = a_convolution(1, 256, 256, 64, 64)
    narrow = weight[:8]
    if asked in ("x", "weight"):
        (x if asked == "x" else weight).requires_grad_()
        narrow = weight[:8]
        assert convolutions.same_size(x, weight).requires_grad
        assert convolutions.doubled(x, narrow).requires_grad
        assert not taken
        with torch.no_grad():
            convolutions.same_size(x, weight)
            convolutions.doubled(x, narrow)
        assert taken == list(QUICK)
    else:
        x, weight, narrow = (part.to(getattr(torch, asked)) for part in (x, weight, narrow))
        convolutions.same_size(x, weight)
        convolutions.doubled(x, narrow)
        assert not taken


def test_under_autocast_pytorch_s_own_are_taken(taken: list[str]) -> None:
    """Tiles in bfloat16 are wrong by a tenth; activations of a prefix may still be of float32."""
    x, weight = a_convolution(1, 256, 256, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = convolutions.same_size(x, weight), F.conv2d(x, weight, padding=1)
        doubled = convolutions.doubled(x, weight[:8])
    assert not taken
    assert found.dtype == doubled.dtype == torch.bfloat16
    assert torch.equal(found, expected)


def test_a_picture_is_the_one_that_gradients_are_taken_of(taken: list[str]) -> None:
    config = StyleGAN2Config(64, (256, 256, 256, 128, 256), w_dim=6, z_dim=5, mapping_layers=2)
    generator = random_generator(config)
    style = generator.affine(torch.randn(2, generator.rows, 6))
    with_gradient = generator.synthesis(style.clone().requires_grad_())
    assert not taken
    found = generator.synthesis(style)
    assert taken == ["_by_parity", "_by_tiles"]
    assert (found - with_gradient).abs().max() < 3e-5 * with_gradient.abs().max()
