"""A world in which every edit can be followed by hand: pictures of three upright bands.

w_plus [N,1,3] = style [N,3] = the levels of the bands, -1, 0 or 1: "low", "middle", "high"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from styleclip.editing.edit import Edit
from styleclip.evaluation.prompts import JudgedPrompt
from styleclip.evaluation.protocol import Judges, MakeEdit, Pictures, Record, World, run_prompt
from styleclip.faces.reader import Reader, ReaderConfig
from styleclip.prompts import PromptPair

BAND = 8  # pixels
NAMES = ("left", "centre", "right")
VALUES = ("low", "middle", "high")
COVERED = (("centre", "high", ("right",)),)  # a high centre hides what is right of it


class Plate:
    """The generator."""

    resolution = 3 * BAND

    def affine(self, w_plus: Tensor) -> Tensor:
        return w_plus.flatten(1)

    def synthesis(self, style: Tensor) -> Tensor:
        pixels = style.repeat_interleave(BAND, dim=1)
        return pixels[:, None, None, :].expand(-1, 3, 3 * BAND, -1)


class Bands(Reader):
    """A reader without a fault: logit = -(level - value)^2."""

    def __init__(self, hides: tuple[tuple[str, str, tuple[str, ...]], ...] = ()) -> None:
        super().__init__(
            ReaderConfig(tuple((name, VALUES) for name in NAMES), hides, resolution=8, widths=(1,))
        )
        self.head = nn.Linear(3, 9)  # its width is that of the features

    def features(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2)).unflatten(1, (3, BAND)).mean(dim=2)

    def forward(self, images: Tensor) -> Tensor:
        levels = self.features(images)
        return -(levels[:, :, None] - torch.tensor([-1.0, 0.0, 1.0])).square().flatten(1)


def latents(*values: tuple[int, int, int]) -> Tensor:
    """Value indices -> w_plus [N,1,3]."""
    return torch.tensor(values).float()[:, None] - 1


def pictures(*values: tuple[int, int, int], truth: Tensor | None = None) -> Pictures:
    """Pictures whose inversions show these values."""
    w_plus = latents(*values)
    images = Plate().synthesis(w_plus.flatten(1))
    return Pictures(images, w_plus, images, torch.tensor(values), truth)


def asks(**targets: str) -> JudgedPrompt:
    return JudgedPrompt(PromptPair(target=" ".join(targets.values()), neutral="a plate"), targets)


def becomes(start: Pictures, *values: tuple[int, int, int]) -> MakeEdit:
    """A method that turns the n-th picture it gets into the n-th of these."""

    def make(index: list[int], prompt: JudgedPrompt) -> Edit:
        return Edit("test", prompt.prompt, w_plus_step=latents(*values) - start.w_plus[index])

    return make


def sets(start: Pictures, **values: str) -> MakeEdit:
    """A method that gives these bands these values, whatever is asked."""

    def make(index: list[int], prompt: JudgedPrompt) -> Edit:
        wanted = start.w_plus[index].clone()
        for name, value in values.items():
            wanted[:, 0, NAMES.index(name)] = VALUES.index(value) - 1
        return Edit("test", prompt.prompt, w_plus_step=wanted - start.w_plus[index])

    return make


def nothing(index: list[int], prompt: JudgedPrompt) -> Edit:
    return Edit("nothing", prompt.prompt, w_plus_step=torch.zeros(1, 1, 3))


class PlateWorld:
    """What is asked for is drawn in its bands and nowhere else."""

    def __init__(
        self,
        start: Pictures,
        correlations: Sequence[tuple[tuple[str, str], tuple[str, str], float]] = (),
    ) -> None:
        self.start = start
        self.correlations = correlations

    def redrawn(self, picture: int, targets: Mapping[str, str]) -> Tensor:
        w_plus = self.start.w_plus[picture : picture + 1].clone()
        for name, value in targets.items():
            w_plus[:, 0, NAMES.index(name)] = VALUES.index(value) - 1
        return Plate().synthesis(w_plus.flatten(1))[0]

    def region(self, picture: int, targets: Mapping[str, str]) -> Tensor:
        region = torch.zeros(3 * BAND, 3 * BAND, dtype=torch.bool)
        for name in targets:
            i = NAMES.index(name)
            region[:, BAND * i : BAND * (i + 1)] = True
        return region

    def examples(self, targets: Mapping[str, str], count: int, seed: int) -> Tensor:
        drawn = torch.randint(3, (count, 3), generator=torch.Generator().manual_seed(seed)) - 1.0
        for name, value in targets.items():
            drawn[:, NAMES.index(name)] = VALUES.index(value) - 1
        return Plate().synthesis(drawn)


def judged(
    start: Pictures,
    prompt: JudgedPrompt,
    make: MakeEdit,
    *,
    hides: tuple[tuple[str, str, tuple[str, ...]], ...] = (),
    index: list[int] | None = None,
    judges: Judges | None = None,
    world: World | None = None,
) -> Record:
    """``run_prompt`` on plates; all pictures if no ``index`` is given."""
    index = list(range(len(start.images))) if index is None else index
    judges = Judges(Bands(hides)) if judges is None else judges
    return run_prompt(Plate(), judges, start, index, prompt, make, world, seed=0)
