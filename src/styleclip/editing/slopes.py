"""How fast a picture's embedding turns with every style channel: gradients of CLIP through G.

J_ic = de(s_i) / ds_c                        [E], of which a backward pass gives one component
prompt:  u_ic = J_ic / |J_ic|,  R_c = <m_c, d> / |m_c|,  m_c = mean_i u_ic
         |x|^2 ~ <x, d>^2 + (E-1)/P sum_p <x, r_p>^2       P random unit r_p, orthogonal to d
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.clip.embedder import Embedder
from styleclip.generators import Generator, chunk_size


def embedding_slopes(
    generator: Generator, embedder: Embedder, styles: Tensor, directions: Tensor, resolution: int
) -> Tensor:
    """d <e(G(s)), direction> / ds: styles [N,S], directions [K,E] -> [K,N,S]."""
    styles = styles.detach().requires_grad_(True)
    embeddings = embedder.embed_images(generator.synthesis(styles, resolution=resolution))
    along = (embeddings @ directions.to(embeddings).t()).sum(dim=0)  # pictures are independent
    slopes = [
        torch.autograd.grad(each, styles, retain_graph=k + 1 < len(along))[0]
        for k, each in enumerate(along)
    ]
    return torch.stack(slopes)


def principal_directions(embeddings: Tensor, components: int) -> Tensor:
    """The directions [K,E] along which embeddings [N,E] differ most, unit, strongest first."""
    centred = embeddings - embeddings.mean(dim=0)
    _, _, rows = torch.linalg.svd(centred, full_matrices=False)
    found: Tensor = rows[: min(components, len(embeddings) - 1)]
    return found


def prompt_response(
    generator: Generator,
    embedder: Embedder,
    styles: Tensor,
    direction: Tensor,
    probes: int,
    seed: int,
    resolution: int,
) -> Tensor:
    """R [S] of a unit ``direction`` [E], by gradient, over the pictures ``styles`` [N,S]."""
    random = torch.Generator().manual_seed(seed)
    others = torch.randn(probes, len(direction), generator=random).to(direction)
    others = F.normalize(others - (others @ direction)[:, None] * direction, dim=1)
    directions = torch.cat([direction[None], others])
    slopes = torch.cat(
        [
            embedding_slopes(generator, embedder, part, directions, resolution)
            for part in styles.split(min(16, chunk_size(resolution)))
        ],
        dim=1,
    ).cpu()  # [1 + P,N,S]
    width = len(direction)
    turned = slopes / _length(slopes, width).clamp(min=1e-20)
    mean = turned.mean(dim=1)  # [1 + P,S]
    response: Tensor = mean[0] / _length(mean, width).clamp(min=1e-20)
    return response


def _length(components: Tensor, width: int) -> Tensor:
    """The estimated length of vectors [E] from their parts along d and the probes [1 + P,...]."""
    along, others = components[0], components[1:]
    return (along.square() + (width - 1) * others.square().mean(dim=0)).sqrt()
