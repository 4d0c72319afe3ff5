"""CIELAB against values that were worked out elsewhere, and a ramp of equal steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from styleclip import colours

KNOWN = {  # sRGB of 0..255 -> CIELAB under D65, as published tables have it
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (119, 119, 119): (50.03, 0.0, 0.0),
}


def lab_of(shades: tuple[float, ...]) -> torch.Tensor:
    return colours.to_lab(torch.tensor(shades).view(1, 3, 1, 1) / 127.5 - 1).flatten()


@pytest.mark.parametrize("shades", KNOWN)
def test_known_colours(shades: tuple[int, ...]) -> None:
    assert lab_of(shades).numpy() == pytest.approx(KNOWN[shades], abs=0.02)


def test_there_and_back() -> None:
    image = torch.rand(2, 3, 9, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    again = colours.from_lab(colours.to_lab(image))
    torch.testing.assert_close(again, image, atol=1e-4, rtol=0)


def test_the_ramp_has_equal_steps_and_always_brightens() -> None:
    shown = colours.ramp(torch.linspace(0, 1, 256)[None])
    assert shown.shape == (1, 3, 1, 256) and shown.abs().max() <= 1
    lab = colours.to_lab(shown.double())[0, :, 0]  # [3,256]
    steps = (lab[:, 1:] - lab[:, :-1]).norm(dim=0).numpy()
    assert steps == pytest.approx(np.full(255, steps.mean()), rel=0.03)
    assert (lab[0, 1:] > lab[0, :-1]).all()
    assert lab[0, 0] < 10 and lab[0, -1] > 90
    assert lab[1:].norm(dim=0).max() > 60  # it has colours


def test_the_ramp_ends_where_values_end() -> None:
    ends = colours.ramp(torch.tensor([[-3.0, 0.0, 1.0, 7.0]]))
    assert torch.equal(ends[..., 0], ends[..., 1]) and torch.equal(ends[..., 2], ends[..., 3])
