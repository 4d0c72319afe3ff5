"""What is judged of an edit, and how: on pictures of bands, where it can be counted by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError
from styleclip.evaluation.prompts import JudgedPrompt
from styleclip.evaluation.protocol import (
    STRENGTHS,
    Judges,
    MakeEdit,
    Pictures,
    Record,
    Row,
    draw,
    features,
    reader_width,
)
from styleclip.evaluation.summary import Figures, summarize
from tests.evaluation.plates import (
    COVERED,
    NAMES,
    Bands,
    Plate,
    PlateWorld,
    asks,
    becomes,
    judged,
    nothing,
    pictures,
    sets,
)

NAN = math.nan
HIGH = asks(left="high")


def figures(
    *records: tuple[JudgedPrompt, Record],
    world: PlateWorld | None = None,
    hides: tuple[tuple[str, str, tuple[str, ...]], ...] = (),
) -> Figures:
    return summarize(Row("test", nothing, preparation=7.0), records, Bands(hides), world)


# --- success ------------------------------------------------------------------


def test_the_method_gets_its_pictures_and_what_is_asked() -> None:
    start = pictures((0, 0, 0), (1, 1, 1), (2, 2, 2))
    seen: list[tuple[list[int], JudgedPrompt]] = []

    def make(index: list[int], prompt: JudgedPrompt) -> Edit:
        seen.append((index, prompt))
        return nothing(index, prompt)

    record = judged(start, HIGH, make, index=[2, 0])
    assert seen == [([2, 0], HIGH)]
    assert record["picture"].tolist() == [2, 0]
    assert record["before"].tolist() == record["after"].tolist() == [[2, 2, 2], [0, 0, 0]]


def test_success_is_the_wanted_value_and_no_other() -> None:
    start = pictures((0, 0, 0), (0, 0, 0), (0, 0, 0))
    record = judged(start, HIGH, becomes(start, (2, 0, 0), (1, 0, 0), (0, 0, 0)))
    assert record["success"].tolist() == [True, False, False]


def test_two_targets_need_both() -> None:
    start = pictures((0, 0, 0), (0, 0, 0), (0, 0, 0), (2, 0, 0))
    made = becomes(start, (2, 2, 0), (2, 0, 0), (0, 2, 0), (2, 2, 1))
    record = judged(start, asks(left="high", centre="high"), made)
    assert record["success"].tolist() == [True, False, False, True]
    assert not record["shown_before"].any()
    expected = torch.tensor([[NAN, NAN, kept] for kept in (1.0, 1.0, 1.0, 0.0)])
    torch.testing.assert_close(record["kept"], expected, equal_nan=True)


def test_only_pictures_that_did_not_show_it_can_succeed() -> None:
    start = pictures((0, 0, 0), (2, 1, 0), (1, 2, 1), (2, 2, 2))
    record = judged(start, HIGH, becomes(start, (2, 0, 0), (0, 1, 0), (1, 2, 1), (2, 2, 2)))
    assert record["shown_before"].tolist() == [False, True, False, True]
    found = figures((HIGH, record))
    # the first reached it and the third did not; the others had it already
    assert found["success"]["mean"] == 0.5 and found["success"]["count"] == 2
    assert found["prompts"][0]["judged"] == 2 and found["prompts"][0]["success"] == 0.5
    assert found["edits"] == 4


def test_a_target_that_all_pictures_show_has_no_success() -> None:
    start = pictures((2, 0, 0), (2, 1, 0))
    found = figures((HIGH, judged(start, HIGH, nothing)))
    assert found["success"] is None and found["prompts"][0]["success"] is None
    assert found["kept"]["mean"]["mean"] == 1


def test_an_unknown_target_is_refused_before_any_edit() -> None:
    start = pictures((0, 0, 0))

    def never(index: list[int], prompt: JudgedPrompt) -> Edit:
        raise AssertionError("this cannot be judged")

    with pytest.raises(ArgumentError, match=r"no attribute 'top': it reads left, centre, right"):
        judged(start, asks(top="high"), never)
    with pytest.raises(ArgumentError, match="left has no value 'red'"):
        judged(start, asks(left="red"), never)


# --- kept ---------------------------------------------------------------------


def test_kept_compares_the_others_and_not_the_target() -> None:
    start = pictures((0, 0, 1), (1, 2, 2))
    record = judged(start, HIGH, sets(start, left="high", centre="high"))
    # the centre became high: changed in the first picture, as it was in the second
    expected = torch.tensor([[NAN, 0.0, 1.0], [NAN, 1.0, 1.0]])
    torch.testing.assert_close(record["kept"], expected, equal_nan=True)


def test_what_is_hidden_before_or_after_is_not_judged() -> None:
    start = pictures((0, 1, 0), (0, 2, 0), (0, 1, 0))
    # all reach the target; the second uncovers the right band, the third covers it
    made = becomes(start, (2, 1, 2), (2, 0, 2), (2, 2, 2))
    record = judged(start, HIGH, made, hides=COVERED)
    expected = torch.tensor([[NAN, 1.0, 0.0], [NAN, 0.0, NAN], [NAN, 0.0, NAN]])
    torch.testing.assert_close(record["kept"], expected, equal_nan=True)


def test_kept_the_whole_way_compares_with_the_truth() -> None:
    # inverting lost the centre of the first picture and the right of the third
    truth = torch.tensor([[0, 1, 0], [0, 2, 1], [0, 0, 2]])
    start = pictures((0, 0, 0), (0, 2, 0), (0, 0, 0), truth=truth)
    record = judged(start, HIGH, sets(start, left="high"), hides=COVERED)
    kept = torch.tensor([[NAN, 1.0, 1.0], [NAN, 1.0, NAN], [NAN, 1.0, 1.0]])
    whole = torch.tensor([[NAN, 0.0, 1.0], [NAN, 1.0, NAN], [NAN, 1.0, 0.0]])
    torch.testing.assert_close(record["kept"], kept, equal_nan=True)
    torch.testing.assert_close(record["kept_truth"], whole, equal_nan=True)
    found = figures((HIGH, record), hides=COVERED)
    assert found["kept"]["mean"]["mean"] == 1
    assert found["kept_truth"]["mean"]["mean"] == pytest.approx((0.5 + 1 + 0.5) / 3)


# --- pictures -----------------------------------------------------------------


def test_pictures_are_drawn_as_files_would_hold_them() -> None:
    style = torch.tensor([[-7.0, 0.0, 1.3], [0.1234567, -0.5, 1.0]])
    images = draw(Plate(), style)
    assert float(images.min()) == -1 and float(images.max()) == 1
    levels = (images + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    found = images[:, 0, 0].unflatten(1, (3, -1))[:, :, 0]
    torch.testing.assert_close(found, style.clamp(-1, 1), rtol=0, atol=0.501 / 127.5)


def test_drawing_in_batches_changes_nothing() -> None:
    style = torch.rand(7, 3, generator=torch.Generator().manual_seed(1))
    for batch in (1, 3, 7):
        assert torch.equal(draw(Plate(), style, batch), draw(Plate(), style))


def test_the_first_edit_is_kept_for_the_report() -> None:
    start = pictures((0, 0, 0), (1, 1, 1))
    (shown,) = judged(start, HIGH, sets(start, left="high"), index=[1, 0])["shown_in_report"]
    assert shown.dtype == torch.uint8
    assert shown[0, 0].unflatten(0, (3, -1))[:, 0].tolist() == [255, 128, 128]


# --- strength -----------------------------------------------------------------


@pytest.mark.parametrize(("step", "expected"), [(4 / 3, 1.0), (-0.5, -1.0), (0.0, 0.0)])
def test_order_is_that_of_the_logit(step: float, expected: float) -> None:
    start = pictures((0, 0, 0), (0, 1, 0))
    prompt = asks(left="high") if step > 0 else asks(centre="high")

    def make(index: list[int], judged_prompt: JudgedPrompt) -> Edit:
        change = torch.tensor([max(step, 0), min(step, 0), 0.0]).view(1, 1, 3)
        return Edit("test", judged_prompt.prompt, w_plus_step=change)

    index = [0, 1] if step > 0 else [1]
    record = judged(start, prompt, make, index=index)
    assert record["logits"].shape == (len(index), len(STRENGTHS))
    assert figures((prompt, record))["order"]["mean"] == pytest.approx(expected)


def test_the_logit_of_two_targets_is_their_mean() -> None:
    start = pictures((0, 1, 0))
    record = judged(start, asks(left="high", centre="high"), nothing)
    # -(2^2) and -(1^2), but for the rounding to 256 levels
    expected = torch.full((1, len(STRENGTHS)), -2.5)
    torch.testing.assert_close(record["logits"], expected, rtol=0, atol=0.02)


# --- what the truth adds ------------------------------------------------------


def test_changes_are_measured_inside_and_outside_of_what_is_drawn() -> None:
    start = pictures((0, 0, 0), (0, 0, 1))
    # the target's band changes by 2; in the second picture the right one by 1 as well
    made = becomes(start, (2, 0, 0), (2, 0, 2))
    record = judged(start, HIGH, made, world=PlateWorld(start))
    close = {"rtol": 0, "atol": 0.02}  # 256 levels
    torch.testing.assert_close(record["inside"], torch.tensor([4.0, 4.0]), **close)
    torch.testing.assert_close(record["outside"], torch.tensor([0.0, 0.5]), **close)
    found = figures((HIGH, record), world=PlateWorld(start))["outside"]
    assert found["outside"]["mean"] == pytest.approx(0.25, abs=0.01)
    assert found["inside"]["mean"] == pytest.approx(4, abs=0.01)


def test_a_picture_where_nothing_would_be_drawn_is_not_measured_inside() -> None:
    start = pictures((0, 0, 0), (0, 0, 0))

    class Hidden(PlateWorld):
        def region(self, picture: int, targets: object) -> Tensor:
            return super().region(picture, {} if picture == 0 else {"left": "high"})

    world = Hidden(start)
    record = judged(start, HIGH, sets(start, left="high"), world=world)
    assert record["inside"].isnan().tolist() == [True, False]
    assert figures((HIGH, record), world=world)["outside"]["inside"]["count"] == 1


def test_edits_are_compared_with_pictures_that_show_the_target() -> None:
    random = torch.randint(3, (40, 3), generator=torch.Generator().manual_seed(9))
    random[:, 0] = 0
    start = pictures(*(tuple(row) for row in random.tolist()))
    world = PlateWorld(start)
    found = figures((HIGH, judged(start, HIGH, sets(start, left="high"), world=world)), world=world)
    assert found["kid"]["reader"]["edited"] < 0.2 * found["kid"]["reader"]["inversions"]
    assert set(found["kid"]) == {"reader", "random"}  # flat plates have no texture to compare


def test_features_are_the_readers_and_the_random_ones() -> None:
    images = pictures((0, 1, 2), (2, 2, 2)).images
    reader = Bands()
    found = features(reader, images)
    assert reader_width(reader) == 3
    torch.testing.assert_close(found[:, :3].float(), reader.features(images))
    assert found.shape[1] > 3 and bool(torch.isfinite(found).all())


def test_without_a_world_or_identity_there_are_no_such_figures() -> None:
    start = pictures((0, 0, 0), (1, 1, 1))
    found = figures((HIGH, judged(start, HIGH, nothing)))
    assert not {"kept_truth", "identity", "outside", "dragged", "kid"} & found.keys()


def test_identity_is_compared_with_the_inversion_another_and_the_redrawn() -> None:
    start = pictures((0, 0, 1), (0, 1, 0))

    def identity(images: Tensor) -> Tensor:
        """The person is the two bands on the right."""
        return F.normalize(Bands().features(images)[:, 1:], dim=1)

    judges = Judges(Bands(), identity)
    record = judged(start, HIGH, sets(start, left="high"), judges=judges, world=PlateWorld(start))
    who = figures((HIGH, record), world=PlateWorld(start))["identity"]
    assert who["edited"]["mean"] == pytest.approx(1, abs=1e-3)
    assert who["same person, drawn so"]["mean"] == pytest.approx(1, abs=1e-3)
    # (-1, 0) and (0, -1)
    assert who["another person"]["mean"] == pytest.approx(0, abs=0.02)
    record = judged(start, HIGH, becomes(start, (0, 2, 1), (0, 1, 2)), judges=judges)
    # (1, 0) after (-1, 0), and the same with the other band
    assert record["identity"].tolist() == pytest.approx([-1, -1], abs=0.02)


# --- what is dragged along ----------------------------------------------------

PAIR = ((("left", "high"), ("centre", "high"), 2.0),)


def dragged(
    prompt: JudgedPrompt,
    start: Pictures,
    made: MakeEdit,
    hides: tuple[tuple[str, str, tuple[str, ...]], ...] = (),
) -> list[Figures]:
    world = PlateWorld(start, PAIR)
    record = judged(start, prompt, made, world=world, hides=hides)
    return figures((prompt, record), world=world, hides=hides)["dragged"]


def test_a_partner_that_comes_along_is_counted_both_ways() -> None:
    start = pictures((0, 0, 0), (0, 1, 0), (1, 2, 0), (0, 2, 0))
    # the centre: comes, does not come, was there and stays, was there and goes
    made = becomes(start, (2, 2, 0), (2, 1, 0), (2, 2, 0), (2, 0, 0))
    (row,) = dragged(HIGH, start, made)
    assert (row["asked"], row["partner"], row["factor"]) == ("left=high", "centre=high", 2.0)
    assert row["more_often"]["mean"] == pytest.approx((1 + 0 + 0 - 1) / 4)
    assert row["more_often"]["count"] == 4

    other = asks(centre="high")
    start = pictures((0, 0, 0), (1, 1, 0))
    (row,) = dragged(other, start, becomes(start, (2, 2, 0), (1, 2, 0)))
    assert (row["asked"], row["partner"]) == ("centre=high", "left=high")
    assert row["more_often"]["mean"] == 0.5


def test_a_partner_is_only_judged_where_the_target_is_new() -> None:
    start = pictures((2, 0, 0), (0, 0, 0))
    (row,) = dragged(HIGH, start, becomes(start, (2, 2, 0), (2, 0, 0)))
    assert row["more_often"]["mean"] == 0 and row["more_often"]["count"] == 1


def test_a_hidden_partner_is_not_judged() -> None:
    start = pictures((0, 0, 0), (0, 0, 0))
    hides = (("right", "high", ("centre",)),)
    made = becomes(start, (2, 2, 2), (2, 2, 0))
    (row,) = dragged(HIGH, start, made, hides)
    assert row["more_often"]["count"] == 1


def test_a_partner_that_was_asked_for_is_not_dragged() -> None:
    both, other = asks(left="high", centre="low"), asks(left="low")
    start = pictures((1, 1, 1), (1, 1, 1))
    for prompt in (both, other):
        assert dragged(prompt, start, nothing) == []


# --- summary ------------------------------------------------------------------


def test_doing_nothing_never_succeeds_and_keeps_everything() -> None:
    start = pictures((0, 0, 0), (1, 2, 1), (0, 1, 2))
    found = figures((HIGH, judged(start, HIGH, nothing, world=PlateWorld(start))))
    assert found["success"]["mean"] == 0
    assert found["kept"]["mean"]["mean"] == 1 and found["kept"]["worst_share"] == 1
    assert found["order"]["mean"] == 0


def test_a_summary_counts_every_edit_once() -> None:
    start = pictures((0, 0, 0), (0, 1, 1), (0, 2, 2))
    other = asks(right="low")
    first = judged(start, HIGH, becomes(start, (2, 0, 1), (1, 1, 1)), index=[0, 1])
    second = judged(start, other, becomes(start, (0, 2, 0)), index=[2])
    first["seconds"], second["seconds"] = torch.tensor([2.0, 2.0]), torch.tensor([5.0])
    found = figures((HIGH, first), (other, second))
    assert found["edits"] == 3
    assert found["success"]["mean"] == pytest.approx(2 / 3)
    # of two others each: one lost, none lost, none lost
    assert found["kept"]["mean"]["mean"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["kept"]["attributes"] == {"left": 1.0, "centre": 1.0, "right": 0.5}
    assert (found["kept"]["worst"], found["kept"]["worst_share"]) == ("right", 0.5)
    assert found["seconds"]["median"] == 2 and found["seconds"]["preparation"] == 7
    assert 2 < found["seconds"]["p95"] <= 5
    assert [each["text"] for each in found["prompts"]] == ["high", "low"]
    assert [each["kept"] for each in found["prompts"]] == [0.75, 1.0]


def test_an_attribute_that_was_never_judged_has_no_figure() -> None:
    start = pictures((0, 0, 0), (1, 1, 1))
    kept = figures((HIGH, judged(start, HIGH, nothing)))["kept"]
    assert set(kept["attributes"]) == set(NAMES) - {"left"}


def test_intervals_are_over_pictures() -> None:
    # twenty edits of four pictures: each picture always succeeds, or never
    start = pictures(*[(0, 0, 0)] * 4)
    made = becomes(start, (2, 0, 0), (2, 0, 0), (0, 0, 0), (0, 0, 0))
    record = judged(start, HIGH, made)
    once = figures((HIGH, record))["success"]
    five = figures(*[(HIGH, record)] * 5)["success"]
    assert five["count"] == 20 and five["mean"] == 0.5
    assert (five["low"], five["high"]) == pytest.approx((once["low"], once["high"]))
