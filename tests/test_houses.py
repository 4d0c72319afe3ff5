"""examples/houses: the files are what their recipe makes, and good enough for pages to rest on."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from examples.houses import train
from styleclip import load_clip, load_generator
from styleclip.images import open_picture


def test_mine_is_a_house_that_nothing_was_trained_on() -> None:
    _, _, pictures = train.stored(1, first=train.MINE)
    drawn = pictures[0].permute(1, 2, 0).numpy()
    assert np.array_equal(drawn, np.asarray(open_picture(train.HERE / "mine.png")))


def test_every_value_is_equally_frequent() -> None:
    values, shades = train.houses_of(torch.randn(4000, 16, generator=torch.Generator()))
    for part, ways in enumerate(train.PARTS):
        counts = torch.bincount(values[:, part], minlength=len(ways))
        assert counts.min() > 0.8 * 4000 / len(ways)
    assert shades.abs().max() <= 1


def test_captions_are_true_and_in_words_that_the_clip_knows() -> None:
    words, known = np.random.default_rng(0), set(train.vocabulary())
    for _ in range(200):
        values = [int(words.integers(len(part))) for part in train.PARTS]
        text, stated = train.caption(values, words)
        assert all(each in (-1, value) for each, value in zip(stated, values, strict=True))
        assert set(text.split()) <= known


@torch.no_grad()
def test_the_generator_draws_new_houses() -> None:
    generator = load_generator(train.HERE / "houses.pt")
    assert generator.config.channels == train.CONFIG.channels
    z, _, pictures = train.stored(64, first=train.MINE + 1)
    drawn = generator.synthesis(generator.affine(generator.truncate(generator.mapping(z))))
    error = F.mse_loss(drawn.clamp(-1, 1), train.unit(pictures))
    assert 10 * torch.log10(4 / error) > 20


def test_the_clip_tells_sentences_apart() -> None:
    embedder = load_clip(train.HERE / "my-clip")
    _, values, pictures = train.stored(200, first=train.MINE + 2)
    assert train.told_apart(embedder, values, pictures) > 0.9
