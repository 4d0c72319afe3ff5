"""Latent optimisation (StyleCLIP, arXiv 2103.17249, section 4): descend on what CLIP says.

  argmin_u  D_CLIP(G(v(u)), text) + latent ||u - u_0||^2 + identity (1 - cos(R(G(v)), R(G(v_s))))
What moves, ``space``: v = w_plus + u [B,L,D];  v = style + u [B,S], toRGB held;  or "mapped", ours:
v = w_plus + u A, u [B,E] in CLIP's coordinates and A of ``latent_map``. What is wanted, ``loss``:
"target" 1 - cos(e, t);  "directional" 1 - cos(e - e_s, t - n);  or "reach", ours:
relu(goal - <e, d>) + keep ||(e - e_s) without its part along d||^2,  d = normalise(t - n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

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
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap, measure_latent_map
from styleclip.errors import NonFiniteError
from styleclip.generators import Generator, chunk_size
from styleclip.losses import identity_distance, latent_distance
from styleclip.prompts import PromptPair

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, mean of each term


@dataclass(frozen=True)
class OptimizationConfig:
    """Ours by default, for what was tried see docs/optimization-notes.md.

    In the mapped space u, ``rate``, ``goal`` and ``reach`` are in standard deviations of the
    generator's own samples along the text's direction, so the numbers hold for any CLIP.
    """

    space: Literal["mapped", "w_plus", "style"] = "mapped"
    loss: Literal["reach", "directional", "target"] = "reach"
    steps: int = 20
    rate: float = 0.15
    ramp_up: float = 0.0  # shares of the run, as the official schedule
    ramp_down: float = 1.0
    goal: float = 3.5  # how far above the samples' mean counts as reached
    reach: float = 13.0  # the first guess goes along the direction, at most this far
    keep_weight: float = 0.06
    latent_weight: float = 0.1
    identity_weight: float = 0.0
    clip_input: Literal["correct", "paper"] = "correct"
    resolution: Literal["full", "enough"] = "enough"  # rendered for CLIP
    patience: int | None = 5  # steps without a gain of 0.1 % that end the run; None: never
    chunk: int | None = None  # images a backward pass; None: as many as a few GB surely hold

    @classmethod
    def plain(cls, space: Literal["w_plus", "style"] = "w_plus") -> OptimizationConfig:
        """Directional loss straight in W+ or S, where there is no latent map."""
        return cls(
            space=space,
            loss="directional",
            steps=100,
            rate=0.05,
            ramp_up=0.05,
            ramp_down=0.25,
            latent_weight=0.008,
        )

    @classmethod
    def paper(cls, space: Literal["w_plus", "style"] = "w_plus") -> OptimizationConfig:
        """The official script's defaults: 300 steps at full resolution on its own CLIP input."""
        return cls(
            space=space,
            loss="target",
            steps=300,
            rate=0.1,
            ramp_up=0.05,
            ramp_down=0.25,
            latent_weight=0.008,
            clip_input="paper",
            resolution="full",
            patience=None,
        )


def optimize(
    generator: Generator,
    embedder: Embedder,
    w_plus: Tensor | None,
    prompt: PromptPair,
    config: OptimizationConfig = OptimizationConfig(),
    on_step: OnStep | None = None,
    identity: Callable[[Tensor], Tensor] | None = None,
    latent_map: LatentMap | None = None,
    on_edit: Callable[[Edit], None] | None = None,
) -> Edit:
    """Edit the pictures of ``w_plus`` [B,L,D], each by itself, towards ``prompt``.

    Without a ``w_plus`` it generates freely: from the mean latent, held by nothing. ``identity``
    maps images [B,3,H,W] to unit vectors [B,N] and is needed where its weight is not zero.
    ``latent_map`` is measured here if the config needs one and none is given: 2,000 small pictures,
    so measure it once (``measure_latent_map``) and pass it when there is more than one edit.
    ``on_edit`` is shown the edit as it is after every step, behind ``on_step``.
    Returned is where the last step ended.
    Raises ``NonFiniteError``, with the best edit so far, when the loss leaves the numbers.
    """
    problem, parts = _Problem.of(generator, embedder, w_plus, prompt, config, identity, latent_map)
    first = problem.first_guess(parts)
    u = first.clone().requires_grad_(True)
    adam = torch.optim.Adam([u], lr=config.rate)
    best, lowest = first, torch.full((len(u),), math.inf).to(u)
    since = torch.zeros(len(u)).to(u)  # steps without a gain

    # pictures are independent: chunks add up to the same gradient, and each stops by itself
    for step in range(config.steps):
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, config)
        adam.zero_grad()
        losses, means = torch.empty_like(lowest), dict[str, float]()
        for part in parts:
            terms = problem.terms(u[part], first[part], part)
            loss = torch.stack(list(terms.values())).sum(dim=0)  # [B]
            loss.sum().backward()
            losses[part] = loss.detach()
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + term.sum().item() / len(u)
        means["loss"] = sum(means.values())
        if not bool(torch.isfinite(losses).all()):
            raise _left_the_numbers(f"the loss became {means['loss']}", step, problem.edit(best))

        gained = losses < lowest - 1e-3 * lowest.abs().nan_to_num(posinf=0.0)
        since = torch.where(gained, 0.0, since + 1)
        best = torch.where(_per_picture(losses < lowest, u), u.detach(), best)
        lowest = torch.minimum(lowest, losses)
        before = u.detach().clone()
        adam.step()
        if not bool(torch.isfinite(u).all()):
            raise _left_the_numbers("a gradient is not finite", step, problem.edit(best))
        if config.patience is not None:
            done = since >= config.patience
            with torch.no_grad():
                u.copy_(torch.where(_per_picture(done, u), before, u))
        if on_step is not None:
            on_step(step + 1, config.steps, means)
        if on_edit is not None:
            on_edit(problem.edit(u.detach().clone()))
        if config.patience is not None and bool(done.all()):
            break
    return problem.edit(u.detach())


@dataclass(frozen=True, eq=False)
class _Problem:
    """One prompt and its pictures: what is fixed while u moves."""

    generator: Generator
    embedder: Embedder
    config: OptimizationConfig
    prompt: PromptPair
    identity: Callable[[Tensor], Tensor] | None
    w_plus: Tensor  # [B,L,D], the pictures to edit
    free: bool  # nothing holds on to them
    asked: Asked  # of the one prompt
    matrix: Tensor | None  # [E,D], a latent map in units of the deviation along the text
    source: Tensor  # [B,E]
    faces: Tensor | None  # [B,N]

    @classmethod
    def of(
        cls,
        generator: Generator,
        embedder: Embedder,
        w_plus: Tensor | None,
        prompt: PromptPair,
        config: OptimizationConfig,
        identity: Callable[[Tensor], Tensor] | None,
        latent_map: LatentMap | None,
    ) -> tuple[_Problem, tuple[Tensor, ...]]:
        """The problem, and its pictures in chunks."""
        check_identity(config.identity_weight, identity)
        free = w_plus is None
        if w_plus is None:
            w_plus = generator.truncate(generator.w_average[None])
        if config.space == "mapped" or config.loss == "reach":
            latent_map = latent_map or measure_latent_map(generator, embedder)
        else:
            latent_map = None
        asked = ask(embedder, [prompt], config.loss, latent_map, config.goal, w_plus)
        matrix = None if latent_map is None else latent_map.matrix.to(w_plus) * asked.deviation
        empty = w_plus.new_zeros(0)
        problem = cls(generator, embedder, config, prompt, identity, w_plus.detach(), free, asked,
                      matrix, empty, None)  # fmt: skip
        parts = torch.arange(len(w_plus)).split(config.chunk or chunk_size(generator.resolution))
        with torch.no_grad():
            start = problem.nothing()
            images = [problem.render(start[part], part) for part in parts]
            faces = None
            if config.identity_weight and identity is not None:
                faces = torch.cat([identity(each) for each in images])
            source = torch.cat([problem.look(each) for each in images])
        return replace(problem, source=source, faces=faces), parts

    def nothing(self) -> Tensor:
        """The u that changes nothing."""
        if self.config.space == "style":
            return self.w_plus.new_zeros(len(self.w_plus), self.generator.layout.size)
        if self.matrix is not None and self.config.space == "mapped":
            return self.w_plus.new_zeros(len(self.w_plus), len(self.matrix))
        return torch.zeros_like(self.w_plus)

    def render(self, u: Tensor, part: Tensor) -> Tensor:
        """Pictures ``part`` moved by u, as large as CLIP needs them."""
        size = shown_resolution(self.generator, self.embedder, self.config.resolution)
        style = self.edit(u).apply(self.generator, self.w_plus[part])
        return self.generator.synthesis(style, resolution=size)

    def look(self, images: Tensor) -> Tensor:
        """Images -> unit vectors [B,E]."""
        return look(self.embedder, images, self.config.clip_input).to(self.w_plus)

    def terms(self, u: Tensor, first: Tensor, part: Tensor) -> dict[str, Tensor]:
        """Every term of the loss, weighted, one value a picture."""
        config, images = self.config, self.render(u, part)
        sources = None if self.free else self.source[part]
        terms = clip_terms(self.asked, config.loss, config.keep_weight, self.look(images), sources)
        if self.free:
            return terms
        terms["latent"] = config.latent_weight * latent_distance(self.movable(u - first))
        if self.identity is not None and self.faces is not None:
            far = identity_distance(self.identity(images), self.faces[part])
            terms["identity"] = config.identity_weight * far
        return terms

    @torch.no_grad()
    def first_guess(self, parts: Sequence[Tensor], points: int = 9) -> Tensor:
        """Nothing; in the mapped space the first point straight along the text that is far enough.

        Where no point is, the one that comes nearest.
        """
        if self.config.space != "mapped":
            return self.nothing()
        (direction,) = self.asked.direction
        lengths = torch.linspace(0, self.config.reach, points).to(self.w_plus)
        # far enough for a start: where the target fits as well as the neutral text, or the goal
        enough = self.asked.goal.clamp(max=0.0)
        guesses = []
        for part in parts:
            rays = [(length * direction).expand(len(part), -1) for length in lengths]
            along = torch.stack([self.look(self.render(u, part)) @ direction for u in rays])
            far = (along >= enough).float()
            choice = torch.where(far.any(dim=0), far.argmax(dim=0), along.argmax(dim=0))
            guesses.append(lengths[choice][:, None] * direction)
        return torch.cat(guesses)

    def movable(self, u: Tensor) -> Tensor:
        """u without what may not move: the toRGB columns of a style."""
        if self.config.space != "style":
            return u
        return u * self.generator.layout.conv_columns().to(u)

    def edit(self, u: Tensor) -> Edit:
        """u as an edit."""
        config = asdict(self.config)
        if self.config.space == "style":
            return Edit("optimization", self.prompt, style_step=self.movable(u), config=config)
        if self.config.space == "mapped" and self.matrix is not None:
            step = (u @ self.matrix)[:, None].expand(-1, self.generator.rows, -1)
            return Edit("optimization", self.prompt, w_plus_step=step, config=config)
        return Edit("optimization", self.prompt, w_plus_step=u, config=config)


def _per_picture(mask: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B,1,...], to choose between tensors shaped ``like`` [B,...]."""
    return mask.view(-1, *[1] * (like.ndim - 1))


def _left_the_numbers(what: str, step: int, best: Edit) -> NonFiniteError:
    return NonFiniteError(f"{what} at step {step + 1}: lower the rate", best)


def learning_rate(step: int, config: OptimizationConfig) -> float:
    """Linear up over the first share of the run, cosine down over the last."""
    t = step / config.steps
    down = min(1.0, (1.0 - t) / config.ramp_down) if config.ramp_down else 1.0
    up = min(1.0, t / config.ramp_up) if config.ramp_up else 1.0
    return config.rate * (0.5 - 0.5 * math.cos(math.pi * down)) * up
