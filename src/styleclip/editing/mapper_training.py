"""Training a latent mapper (StyleCLIP, section 5), for one prompt or for many.

  argmin_M  mean over latents w, prompts (t, n) of
            D_CLIP(G(w'), text) + latent |step|^2 + identity (1 - cos(R(G(w')), R(G(w))))
  w' = w + step of M(w)              M a `Mapper` (W+ levels, S), or a `TextMapper` that sees d too
A `TextMapper`'s step is u, and its |step|^2 has two weights: latent |u off d|^2 + length (u.d)^2.
D_CLIP is the optimisation's, with the same names: "reach" and its keep term, "directional",
"target". What G(w) looks like is embedded once; held-out latents say when to stop.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.asking import (
    Asked,
    ask,
    check_identity,
    clip_terms,
    look,
    shown_resolution,
)
from styleclip.editing.checking import check_choices, check_finite
from styleclip.editing.latent_map import LatentMap, measure_latent_map
from styleclip.editing.mapper import Mapper, MapperConfig
from styleclip.editing.ranger import Ranger
from styleclip.editing.text_mapper import TextMapper, TextMapperConfig
from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators import Generator, chunk_size
from styleclip.losses import identity_distance, latent_distance, off_direction
from styleclip.prompts import PromptPair

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, mean of each term
Level = Literal["coarse", "medium", "fine"]
MANY_STEPS = 1_200  # of a mapper that reads its prompts
CHOICES = {
    "network": ("text", "levels", "single", "style"),
    "loss": ("reach", "directional", "target"),
    "optimizer": ("adam", "ranger"),
    "clip_input": ("correct", "paper"),
    "resolution": ("full", "enough"),
    "precision": ("mixed", "float32"),
    "norm": ("channels", "layers"),
    "edit_noise": ("const", "random"),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Ours by default; goal, first and keep are in the samples' deviations along the text."""

    network: Literal["text", "levels", "single", "style"] = "text"
    levels: tuple[Level, ...] = ("coarse", "medium", "fine")
    loss: Literal["reach", "directional", "target"] = "reach"
    optimizer: Literal["adam", "ranger"] = "adam"
    steps: int = 300  # enough for one prompt; for hundreds see MANY_STEPS
    batch: int = 16
    rate: float = 1e-3
    decay: bool = True  # of the rate, in a line to 0 over the second half
    first: float = 6.5  # where a text mapper's training begins
    goal: float = 3.5
    keep_weight: float = 0.06
    latent_weight: float = 0.02  # of |u off d|^2; of other networks: of the mean square of the step
    length_weight: float = 0.002  # of (u.d)^2, a text mapper's: too far spoils faces
    identity_weight: float = 0.0
    average: float | None = 0.99  # of the weights that are returned; None: the last ones
    clip_input: Literal["correct", "paper"] = "correct"
    resolution: Literal["full", "enough"] = "enough"  # rendered for CLIP
    precision: Literal["mixed", "float32"] = "mixed"  # rendering and CLIP in bfloat16, on CUDA
    norm: Literal["channels", "layers"] = "channels"  # of the paper's networks, see MapperConfig
    edit_noise: Literal["const", "random"] = "const"  # of the edit; sources have the network's own
    held_out: int = 64  # latents that say when to stop
    check_every: int = 50
    patience: int | None = 4  # checks without a gain of 0.1 %; None: to the end, all latents learn
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self, CHOICES)
        check_finite(self)
        for name in ("steps", "batch", "check_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"{name} must be at least 1, got {value}")
        if self.average is not None and not 0 <= self.average < 1:
            raise ArgumentError(f"average must be at least 0 and below 1, got {self.average}")
        if self.network == "levels":
            MapperConfig.levels(1, self.levels)  # raises for a level that is not there

    @classmethod
    def of(
        cls, network: Literal["text", "levels", "single", "style"], prompts: int = 1
    ) -> TrainingConfig:
        """Ours, for a kind of network: the paper's learn at a hundredth of their rate."""
        if network == "text":
            return cls() if prompts == 1 else cls(steps=MANY_STEPS, patience=None)
        return cls(network=network, rate=1.0, latent_weight=0.1)

    @classmethod
    def paper(cls, network: Literal["levels", "single", "style"] = "levels") -> TrainingConfig:
        """The official training: 50,000 steps of two pictures, with Ranger at 0.5.

        In W+ its quirks too: the normalisation runs over the rows, and the edit is drawn with new
        noise at every step, the source with the network's own.
        """
        in_style = network == "style"
        return cls(
            network=network,
            loss="target",
            optimizer="ranger",
            steps=50_000,
            batch=2,
            rate=0.5,
            decay=False,
            latent_weight=0.8,
            length_weight=0.0,
            identity_weight=0.1,
            average=None,
            clip_input="paper",
            resolution="full",
            precision="float32",
            patience=None,
            norm="channels" if in_style else "layers",
            edit_noise="const" if in_style else "random",
        )

    @property
    def needs_latent_map(self) -> bool:
        """Whether it moves in the latent map, or asks in its deviations."""
        return self.network == "text" or self.loss == "reach"


@dataclass(eq=False)
class TrainingState:
    """How far a training is: all that a kill must not lose. Of the mapper alone."""

    step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    lowest: float = math.inf  # loss on the held-out latents
    since: int = 0  # checks without a gain


def train_mapper(
    generator: Generator,
    embedder: Embedder,
    latents: Tensor,
    prompts: PromptPair | Sequence[PromptPair],
    config: TrainingConfig = TrainingConfig(),
    latent_map: LatentMap | None = None,
    identity: Callable[[Tensor], Tensor] | None = None,
    on_step: OnStep | None = None,
    state: TrainingState | None = None,
    on_state: Callable[[TrainingState], None] | None = None,
) -> Mapper | TextMapper:
    """A mapper of ``latents`` [N,L,D] for one prompt or, if it sees the text, for many.

    ``latent_map`` is measured here where it is needed and not given. ``identity`` maps images to
    unit vectors, for its weight. ``on_state`` is called after every step with the state of the work
    (live tensors: copy or write them at once); given back as ``state``, the training goes on and
    ends in the same numbers. Raises ``NonFiniteError`` when the loss leaves the numbers.
    """
    prompts = [prompts] if isinstance(prompts, PromptPair) else list(prompts)
    check_training(generator, prompts, config, identity)
    if len(latents) < 2 or float(latents.std(dim=0).max()) < 1e-3:
        raise ArgumentError(
            f"{len(latents)} latents that hardly differ teach nothing: give more, and various ones"
        )
    if config.needs_latent_map and latent_map is None:
        latent_map = measure_latent_map(generator, embedder)
    task = _Task.of(generator, embedder, latents, prompts, config, latent_map, identity)
    mapper = new_mapper(generator, latents, embedder, config, latent_map)
    average, optimizer = copy.deepcopy(mapper), _optimizer(mapper, config)
    state = state or TrainingState()
    if state.step:
        mapper.load_state_dict(state.weights)
        average.load_state_dict(state.average)
        optimizer.load_state_dict(state.optimizer)
    learning, held = task.split()

    for step in range(state.step, config.steps):
        if config.patience is not None and state.since >= config.patience:
            break
        random = torch.Generator().manual_seed((config.seed * 1_000_003 + step) % 2**63)
        pictures = learning[torch.randint(len(learning), (config.batch,), generator=random)]
        asked = torch.randint(len(prompts), (config.batch,), generator=random)
        terms = task.terms(mapper, pictures, asked, random)
        loss = torch.stack(list(terms.values())).sum(dim=0).mean()
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(
                f"the loss became {loss.item()} at step {step + 1}: lower the rate"
            )
        for group in optimizer.param_groups:
            group["lr"] = config.rate * (
                min(1.0, 2 * (1 - step / config.steps)) if config.decay else 1.0
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not all(bool(torch.isfinite(each).all()) for each in mapper.parameters()):
            raise NonFiniteError(f"a gradient is not finite at step {step + 1}: lower the rate")
        share = 0.0 if config.average is None else min(config.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(average.parameters(), mapper.parameters(), strict=True):
                mean.lerp_(value, 1 - share)

        # the held-out latents decide which weights are kept, and when it is enough
        best, lowest, since = state.best, state.lowest, state.since
        checked = {}
        if len(held) and (step + 1) % config.check_every == 0:
            found = task.loss(average, held)
            checked = {"held out": found}
            since = 0 if found < lowest - 1e-3 * abs(lowest) or not best else since + 1
            if found < lowest:
                best, lowest = copy.deepcopy(average.state_dict()), found
        state = TrainingState(
            step + 1, mapper.state_dict(), average.state_dict(), optimizer.state_dict(),
            best, lowest, since,
        )  # fmt: skip
        if on_state is not None:
            on_state(state)
        if on_step is not None:
            means = {name: term.mean().item() for name, term in terms.items()}
            on_step(step + 1, config.steps, {**means, **checked})
    if state.best:
        average.load_state_dict(state.best)
    return average.eval().requires_grad_(False)


def new_mapper(
    generator: Generator,
    latents: Tensor,
    embedder: Embedder,
    config: TrainingConfig,
    latent_map: LatentMap | None,
) -> Mapper | TextMapper:
    """A mapper before its training, from the seed alone."""
    width = latents.shape[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.network == "text":
            assert latent_map is not None
            embedding = latent_map.matrix.shape[0]
            text = TextMapper(TextMapperConfig(width, embedding, first=config.first))
            text.to(latents.device).know(latent_map, latents.mean(dim=1))
            return text
        if config.network == "levels":
            layout = MapperConfig.levels(width, config.levels)
        elif config.network == "single":
            layout = MapperConfig.single(width)
        else:
            layout = MapperConfig.style(generator.layout)
        return Mapper(replace(layout, norm=config.norm)).to(latents.device)


@dataclass(frozen=True, eq=False)
class _Task:
    """What a training has before it: pictures, texts, and what they look like to CLIP."""

    generator: Generator
    embedder: Embedder
    config: TrainingConfig
    latents: Tensor  # [N,L,D]
    asked: Asked  # of every prompt
    identity: Callable[[Tensor], Tensor] | None
    sources: Tensor  # [N,E]
    faces: Tensor | None  # [N,F]

    @classmethod
    def of(
        cls,
        generator: Generator,
        embedder: Embedder,
        latents: Tensor,
        prompts: Sequence[PromptPair],
        config: TrainingConfig,
        latent_map: LatentMap | None,
        identity: Callable[[Tensor], Tensor] | None,
    ) -> _Task:
        asked = ask(embedder, prompts, config.loss, latent_map, config.goal, latents)
        empty = latents.new_zeros(0)
        task = cls(generator, embedder, config, latents, asked, identity, empty, None)
        return task.seen()

    @torch.no_grad()
    def seen(self) -> _Task:
        """The task, with every source picture embedded, once; if the loss looks at sources."""
        if self.config.loss == "target" and not self.config.identity_weight:
            return replace(self, sources=self.latents.new_zeros(len(self.latents), 1))
        sources, faces = [], []
        for part in self.latents.split(chunk_size(self.resolution)):
            images = self.render(self.generator.affine(part))
            sources.append(self.look(images))
            if self.identity is not None and self.config.identity_weight:
                faces.append(self.identity(images))
        return replace(self, sources=torch.cat(sources), faces=torch.cat(faces) if faces else None)

    def split(self) -> tuple[Tensor, Tensor]:
        """The numbers of the latents that are learned from, and of the held-out ones."""
        numbers = torch.arange(len(self.latents))
        held = min(self.config.held_out, len(numbers) // 5)
        held = 0 if self.config.patience is None else held
        return numbers[: len(numbers) - held], numbers[len(numbers) - held :]

    @property
    def resolution(self) -> int:
        """Of the pictures that CLIP is shown."""
        return shown_resolution(self.generator, self.embedder, self.config.resolution)

    def render(self, style: Tensor, random: torch.Generator | None = None) -> Tensor:
        """Images [B,3,r,r], with new noise from ``random`` where the config asks for it."""
        if random is None or self.config.edit_noise == "const":
            return self.generator.synthesis(style, resolution=self.resolution)
        return self.generator.synthesis(style, "random", self.resolution, random)

    def look(self, images: Tensor) -> Tensor:
        """Images -> unit vectors [B,E]."""
        return look(self.embedder, images, self.config.clip_input).to(self.latents)

    def moved(
        self, mapper: Mapper | TextMapper, w_plus: Tensor, direction: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The style [B,S] after the step, and the terms [B] of how large the step is."""
        config = self.config
        if isinstance(mapper, TextMapper):
            u = mapper.coordinates(w_plus, direction)
            style = self.generator.affine(w_plus + mapper.step(u, direction))
            off, along = off_direction(u, direction), (u * direction).sum(dim=1)
            return style, {
                "latent": config.latent_weight * latent_distance(off),
                "length": config.length_weight * along.square(),
            }
        if mapper.config.space == "w_plus":
            moved = mapper(w_plus)
            style, size = self.generator.affine(moved), (moved - w_plus).square().mean(dim=(1, 2))
        else:
            before = self.generator.affine(w_plus)
            style = mapper(before)
            parts = (style - before).split([each.channels for each in self.generator.layout], dim=1)
            size = torch.stack([part.square().mean(dim=1) for part in parts]).sum(dim=0)
        return style, {"latent": config.latent_weight * size}

    def terms(
        self,
        mapper: Mapper | TextMapper,
        pictures: Tensor,
        asked: Tensor,
        random: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Every term of the loss, weighted, one value a picture."""
        config, wanted, device = self.config, self.asked[asked], self.latents.device.type
        mixed = config.precision == "mixed" and device == "cuda"
        # the step is small, so it stays exact
        style, sizes = self.moved(mapper, self.latents[pictures], wanted.direction)
        with torch.autocast(device, torch.bfloat16, enabled=mixed):
            images = self.render(style, random)
            embeddings = self.look(images)
        sources = self.sources[pictures]
        terms = clip_terms(wanted, config.loss, config.keep_weight, embeddings, sources) | sizes
        if self.identity is not None and self.faces is not None:
            far = identity_distance(self.identity(images), self.faces[pictures])
            terms["identity"] = config.identity_weight * far
        return terms

    @torch.no_grad()
    def loss(self, mapper: Mapper | TextMapper, pictures: Tensor) -> float:
        """The mean loss on some pictures, each with its own prompt and the network's own noise."""
        total = 0.0
        for part in pictures.split(chunk_size(self.resolution)):
            terms = self.terms(mapper, part, part * 7919 % len(self.asked.goal))  # spread over all
            total += torch.stack(list(terms.values())).sum().item()
        return total / len(pictures)


def _optimizer(mapper: Mapper | TextMapper, config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "ranger":
        return Ranger(mapper.parameters(), lr=config.rate)
    return torch.optim.Adam(mapper.parameters(), lr=config.rate, betas=(0.9, 0.99))


def check_training(
    generator: Generator,
    prompts: Sequence[PromptPair],
    config: TrainingConfig,
    identity: Callable[[Tensor], Tensor] | None,
) -> None:
    """Raise ``ArgumentError`` for what cannot be trained, before any work is done."""
    if not prompts:
        raise ArgumentError("a mapper needs at least one prompt to learn")
    if len(prompts) > 1 and config.network != "text":
        raise ArgumentError(
            f"a mapper of kind {config.network!r} learns one prompt, got {len(prompts)}: train one "
            "for each, or network='text' for all"
        )
    if config.network == "levels":
        last = MapperConfig.levels(1, config.levels).groups[-1]
        if last.first >= generator.rows:
            raise ArgumentError(
                f"this generator has {generator.rows} rows of W+, and {last.name} begins at row "
                f"{last.first + 1}: leave that level out"
            )
    check_identity(config.identity_weight, identity)
