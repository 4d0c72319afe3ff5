"""The figures of networks, on readers and pictures whose answers can be counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styleclip.portraits.attributes import ATTRIBUTES
from styleclip.portraits.networks import (
    _association_gaps,
    _share_gaps,
    accuracy,
    blind_pairs,
    confusion,
    psnr,
    retrieval,
)
from styleclip.portraits.training import portrait_of_seed
from styleclip.portraits.world import NAMES, truth_table


def people(count: int) -> tuple[Tensor, Tensor]:
    return truth_table([portrait_of_seed(2_000_000 + i) for i in range(count)])


def test_accuracy_counts_what_shows() -> None:
    truth, seen = people(60)
    assert accuracy(truth, truth, seen)["mean"] == 1.0
    read = truth.clone()
    read[:, NAMES.index("age")] = 1 - read[:, NAMES.index("age")]
    wrong = accuracy(read, truth, seen)
    assert (wrong["worst"], wrong["worst_share"]) == ("age", 0.0)
    assert wrong["mean"] == pytest.approx((len(NAMES) - 1) / len(NAMES))
    # what nobody can see may be anything
    read = torch.where(seen, truth, 0)
    assert accuracy(read, truth, seen)["mean"] == 1.0


def test_confusion_has_rows_of_truth() -> None:
    truth, seen = people(40)
    i = NAMES.index("expression")
    read = truth.clone()
    read[:, i] = 2
    table = confusion(read, truth, seen)["expression"]
    assert [row[2] for row in table] == truth[:, i].bincount(minlength=4).tolist()
    assert sum(map(sum, table)) == 40 and sum(row[2] for row in table) == 40
    hidden = confusion(truth, truth, seen)["hair_colour"]
    assert sum(map(sum, hidden)) == int(seen[:, NAMES.index("hair_colour")].sum()) < 40


def test_a_share_that_is_off_is_found() -> None:
    truth, seen = people(400)
    assert _share_gaps(truth, seen, truth, seen)["worst_gap"] == 0
    read = truth.clone()
    i = NAMES.index("hat")
    read[:, i] = 1
    found = _share_gaps(read, seen, truth, seen)
    bare = float((truth[:, i] == 0).float().mean())
    capped = float((truth[:, i] == 1).float().mean())
    assert found["worst_gap"] == pytest.approx(max(bare, 1 - capped))
    assert found["worst"].startswith("hat=")
    assert len(found["values"]) == sum(len(a.values) for a in ATTRIBUTES)


def test_an_association_that_is_lost_is_found() -> None:
    truth, seen = people(3000)
    assert _association_gaps(truth, seen, truth, seen)["worst_gap"] == 0
    read = truth.clone()
    i = NAMES.index("hair_colour")
    read[:, i] = read[torch.randperm(3000, generator=torch.Generator().manual_seed(1)), i]
    found = _association_gaps(read, seen, truth, seen)
    assert "hair_colour" in found["worst"] and found["worst_gap"] > 0.2


class Names:
    """An embedder that reads a picture's number, and knows which caption is whose."""

    def __init__(self, wrong: int = 0) -> None:
        self.wrong = wrong

    def embed_images(self, images: Tensor) -> Tensor:
        return torch.eye(20)[images[:, 0, 0, 0].long()]

    def embed_texts(self, texts: list[str]) -> Tensor:
        rows = torch.eye(20)[: len(texts)]
        return torch.cat([rows[: self.wrong].roll(1, 0), rows[self.wrong :]])


def test_retrieval_is_the_share_of_own_pictures() -> None:
    portraits = [portrait_of_seed(2_000_000 + i) for i in range(20)]
    images = torch.arange(20.0)[:, None, None, None].expand(-1, 3, 1, 1)
    found = retrieval(Names(), images, portraits)
    assert found["captions"] == 20 == found["pool"]
    assert found["picture from caption R@1"] == 1.0 == found["caption from picture R@1"]
    found = retrieval(Names(wrong=5), images, portraits)
    assert found["picture from caption R@1"] == 0.75 == found["caption from picture R@1"]


def test_blind_pairs_say_where_the_sample_is() -> None:
    samples, renders = torch.ones(40, 3, 2, 2), -torch.ones(40, 3, 2, 2)
    pairs, answers = blind_pairs(samples, renders, seed=3)
    assert all(pair.shape == (3, 2, 4) for pair in pairs)
    for pair, answer in zip(pairs, answers, strict=True):
        assert (float(pair[0, 0, 0]) == 1) == (answer == "left")
    assert 8 < answers.count("left") < 32
    assert blind_pairs(samples, renders, seed=3)[1] == answers


def test_decibels() -> None:
    images = torch.zeros(2, 3, 4, 4)
    off = torch.stack([torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), 0.02)])
    torch.testing.assert_close(psnr(images, off), torch.tensor([20.0, 40.0]))
