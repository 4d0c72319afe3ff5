"""Latent optimisation (StyleCLIP, arXiv 2103.17249, section 4): descend on what CLIP says.

  argmin_v  D_CLIP(G(v), text) + l2 ||v - v_s||^2 + id (1 - cos(R(G(v)), R(G(v_s))))
v is a w_plus [B,L,D] or a style [B,S]; v_s the latents of the pictures to edit. D_CLIP is the distance to
the target text, or between the direction the picture moved in and the direction of the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError, NonFiniteError
from styleclip.generators import Generator
from styleclip.losses import (
    directional_distance,
    latent_distance,
    target_distance,
)
from styleclip.prompts import PromptPair

OnStep = Callable[[int, int, Mapping[str, float]], None]  # step, steps, mean of each term


@dataclass(frozen=True)
class OptimizationConfig:
    """Ours by default; ``OptimizationConfig.paper()`` is the official run, quirks included."""

    space: Literal["w_plus", "style"] = "style"
    loss: Literal["directional", "target"] = "directional"
    steps: int = 60
    rate: float = 0.1  # of Adam, in units of the latent's own spread if ``whiten``
    ramp_up: float = 0.05  # shares of the run, as the official schedule
    ramp_down: float = 0.25
    latent_weight: float = 0.008
    identity_weight: float = 0.0
    whiten: bool = True
    clip_input: Literal["correct", "paper"] = "correct"
    resolution: Literal["full", "enough"] = "enough"  # rendered for CLIP
    chunk: int | None = None  # images a backward pass; None: as many as 4 GB surely hold

    @classmethod
    def paper(cls, space: Literal["w_plus", "style"] = "w_plus") -> OptimizationConfig:
        """The official script's defaults: 300 steps at full resolution on its own CLIP input."""
        return cls(
            space=space,
            loss="target",
            steps=300,
            whiten=False,
            clip_input="paper",
            resolution="full",
        )


def optimize(
    generator: Generator,
    embedder: Embedder,
    w_plus: Tensor | None,
    prompt: PromptPair,
    config: OptimizationConfig = OptimizationConfig(),
    on_step: OnStep | None = None,
    identity: Callable[[Tensor], Tensor] | None = None,
) -> Edit:
    """Edit the pictures of ``w_plus`` [B,L,D], each by itself, towards ``prompt``.

    Without a ``w_plus`` it generates freely: from the mean latent, by the text alone.
    ``identity`` maps images [B,3,H,W] to unit vectors [B,N]; needed if its weight is not zero.
    Raises ``NonFiniteError``, with the best edit so far, when the loss leaves the numbers.
    """
    free = w_plus is None
    if w_plus is None:
        w_plus = generator.truncate(generator.w_average[None])
    start = w_plus if config.space == "w_plus" else generator.affine(w_plus).detach()
    movable, scale = _movable(generator, start, config)
    render = _renderer(generator, config, embedder)
    look = _clip_input(generator, embedder, config)

    # where the texts and the source pictures are
    target, neutral = embedder.embed_texts([prompt.target, prompt.neutral])
    with torch.no_grad():
        source = torch.cat([look(render(part)) for part in start.split(1)])

    # descend on a step u, an image each; v = v_s + scale u
    u = torch.zeros_like(start, requires_grad=True)
    adam = torch.optim.Adam([u], lr=config.rate)
    best = u.detach().clone()
    chunk = config.chunk or chunk_size(generator.resolution)
    for step in range(config.steps):
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, config)
        adam.zero_grad()
        sums: dict[str, float] = {}
        for part in torch.arange(len(start)).split(chunk):
            moved = scale * movable * u[part]
            embeddings = look(images := render(start[part] + moved))
            terms = {}
            if config.loss == "target" or free:
                terms["clip"] = target_distance(embeddings, target)
            else:
                terms["clip"] = directional_distance(embeddings, source[part], target - neutral)
            if not free:
                terms["latent"] = config.latent_weight * latent_distance(moved)
            if config.identity_weight and not free:
                raise ArgumentError("identity")
            loss = torch.stack(list(terms.values())).sum()
            loss.backward()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.sum().item() / len(start)
        sums["loss"] = sum(sums.values())
        if not math.isfinite(sums["loss"]):
            raise NonFiniteError(
                f"the loss became {sums['loss']} at step {step + 1}; lower the rate",
                _edit(config, prompt, scale * movable * best),
            )
        best = u.detach().clone()
        adam.step()
        if on_step is not None:
            on_step(step + 1, config.steps, sums)
    return _edit(config, prompt, (scale * movable * u).detach())


def learning_rate(step: int, config: OptimizationConfig) -> float:
    """Linear up over the first share of the run, cosine down over the last; 0 at step 0."""
    t = step / config.steps
    down = min(1.0, (1.0 - t) / config.ramp_down) if config.ramp_down else 1.0
    up = min(1.0, t / config.ramp_up) if config.ramp_up else 1.0
    return config.rate * (0.5 - 0.5 * math.cos(math.pi * down)) * up


def paper_pixels(images: Tensor, size: int) -> Tensor:
    """The official CLIP input: nearest upsampling by size/32, average pooling by H/32, no mean, no std.

    Separable, so done as two products [size,H]; the seven times larger picture is never made.
    """
    height = images.shape[2]
    if size % 32 or height % 32:
        raise ArgumentError(
            f"the official CLIP input needs sizes divisible by 32, got {height} and {size}"
        )
    columns = torch.eye(height).repeat_interleave(size // 32, dim=1)[None]  # nearest
    matrix = F.avg_pool1d(columns, height // 32)[0].t().to(images)  # [size,H]
    return matrix @ images @ matrix.t()


def chunk_size(resolution: int) -> int:
    """Images a backward pass, so that activations stay within a few GB."""
    return max(1, 8 * 256**2 // resolution**2)


def _movable(
    generator: Generator, start: Tensor, config: OptimizationConfig
) -> tuple[Tensor, Tensor]:
    """Which columns move [S] or all, and the spread of each over the generator's own samples."""
    movable = torch.ones(start.shape[-1])
    if config.space == "style":
        movable = generator.layout.conv_columns().to(start)
    if not config.whiten:
        return movable.to(start), torch.ones_like(start[:1])
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        z = torch.randn(1024, 128, generator=random)
        samples = generator.truncate(generator.mapping(z.to(start)))
        if config.space == "style":
            samples = generator.affine(samples)
    return movable.to(start), samples.std(dim=0, keepdim=True)


def _renderer(
    generator: Generator, config: OptimizationConfig, embedder: Embedder
) -> Callable[[Tensor], Tensor]:
    """Latents -> images at the resolution that CLIP needs."""
    resolution = generator.resolution
    while config.resolution == "enough" and resolution // 2 >= embedder.image_size:
        resolution //= 2

    def render(latents: Tensor) -> Tensor:
        style = generator.affine(latents) if config.space == "w_plus" else latents
        return generator.synthesis(style, resolution=resolution)

    return render


def _clip_input(
    generator: Generator, embedder: Embedder, config: OptimizationConfig
) -> Callable[[Tensor], Tensor]:
    if config.clip_input == "correct":
        return embedder.embed_images
    return lambda images: embedder.embed_pixels(paper_pixels(images, embedder.image_size))


def _edit(config: OptimizationConfig, prompt: PromptPair, step: Tensor) -> Edit:
    named = {"w_plus_step": step} if config.space == "w_plus" else {"style_step": step}
    return Edit(method="optimization", prompt=prompt, config=asdict(config), **named)
