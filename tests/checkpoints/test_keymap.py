"""Tables that work both ways: scale, shape, transposition, stacking, defaults, and bad tables."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from styleclip.checkpoints.keymap import Rule, convert, fill, invert
from styleclip.errors import ArgumentError, CheckpointError

RULES = [
    Rule("plain", "a"),
    Rule("scaled", "b", scale=0.5),
    Rule("flat", "c", shape=(1, 3, 1)),
    Rule("matrix", "d", transpose=True),
    Rule(("q", "k", "v"), "e"),
]


def network() -> dict[str, Tensor]:
    shapes = {"plain": (2,), "scaled": (2, 2), "flat": (3,), "matrix": (2, 3)}
    shapes |= dict.fromkeys("qkv", (2, 4))
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def foreign() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = {"a": (2,), "b": (2, 2), "c": (1, 3, 1), "d": (3, 2), "e": (6, 4)}
    return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


def test_each_transform_does_what_it_says() -> None:
    theirs = foreign()
    ours = convert(theirs, RULES, network(), source="file")
    assert list(ours) == list(network())
    assert torch.equal(ours["plain"], theirs["a"])
    assert torch.equal(ours["scaled"], theirs["b"] / 2)
    assert torch.equal(ours["flat"], theirs["c"].flatten())
    assert torch.equal(ours["matrix"], theirs["d"].t())
    assert torch.equal(ours["k"], theirs["e"][2:4])


@given(st.floats(0.01, 100), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_there_and_back_is_the_identity(scale: float, rows: int, columns: int, seed: int) -> None:
    rules = [
        Rule(("q", "k"), "stacked", scale),
        Rule("m", "matrix", scale, transpose=True),
        Rule("b", "boxed", scale, shape=(1, rows, 1, columns)),
    ]
    ours = {name: torch.empty(rows, columns, device="meta") for name in "qkmb"}
    random = torch.Generator().manual_seed(seed)
    theirs = {
        "stacked": torch.randn(2 * rows, columns, generator=random),
        "matrix": torch.randn(columns, rows, generator=random),
        "boxed": torch.randn(1, rows, 1, columns, generator=random),
    }
    back = invert(rules, convert(theirs, rules, ours, source="file"))
    for key, tensor in theirs.items():
        torch.testing.assert_close(back[key], tensor, rtol=1e-6, atol=0.0)  # x s / s in float32


def test_nothing_of_ours_shares_memory() -> None:
    theirs = foreign()
    ours = convert(theirs, RULES, network(), source="file")
    pointers = [t.untyped_storage().data_ptr() for t in (*ours.values(), *theirs.values())]
    assert len(set(pointers)) == len(pointers)


def test_all_problems_come_in_one_error() -> None:
    theirs = foreign()
    del theirs["a"]
    theirs["b"] = torch.zeros(9)
    theirs["c"] = "text"  # type: ignore[assignment]
    theirs["z"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        convert(theirs, RULES, network(), source="some file")
    message = str(error.value)
    assert message.startswith("some file does not fit")
    assert "missing: a; unexpected: z; misshapen: b [9] instead of [2, 2], c is a str" in message


def test_dropped_keys_are_patterns_that_match_as_a_whole() -> None:
    theirs = foreign() | {"x.1.kernel": torch.zeros(1)}
    convert(theirs, RULES, network(), source="file", dropped={r"x\.\d\.kernel": None})
    with pytest.raises(CheckpointError, match=r"unexpected: x\.1\.kernel"):
        convert(theirs, RULES, network(), source="file", dropped={r"x\.\d": None})


def test_a_dropped_value_may_differ_by_a_factor_only() -> None:
    dropped = {"filter": torch.tensor([1.0, 2.0])}
    theirs = foreign() | {"filter": torch.tensor([10.0, 20.0])}
    convert(theirs, RULES, network(), source="file", dropped=dropped)
    for other in (torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0, 3.0]), "text"):
        with pytest.raises(CheckpointError, match=r"filter \(its values are not the usual ones"):
            convert(foreign() | {"filter": other}, RULES, network(), source="file", dropped=dropped)


def test_defaults_fill_what_the_file_lacks_and_nothing_else() -> None:
    theirs = foreign()
    default = {"plain": torch.tensor([7.0, 8.0])}
    kept = convert(theirs, RULES, network(), source="file", defaults=default)
    assert torch.equal(kept["plain"], theirs["a"])
    del theirs["a"]
    filled = convert(theirs, RULES, network(), source="file", defaults=default)
    assert torch.equal(filled["plain"], default["plain"])


def test_integers_stay_integers_and_halves_become_float32() -> None:
    rules = [Rule("count", "count"), Rule("x", "x")]
    theirs = {"count": torch.tensor(3), "x": torch.ones(2, dtype=torch.float16)}
    ours = convert(theirs, rules, theirs, source="file")
    assert ours["count"].dtype == torch.int64
    assert ours["x"].dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_other_numbers_are_no_weights(dtype: torch.dtype) -> None:
    theirs = foreign() | {"a": torch.zeros(2, dtype=dtype)}
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=f"misshapen: a of {name} instead of float32"):
        convert(theirs, RULES, network(), source="file")


def test_a_table_that_fills_an_entry_twice_or_never_is_our_mistake() -> None:
    with pytest.raises(ArgumentError, match=r"each entry of the network once: \['plain'\]"):
        convert(foreign(), [*RULES, Rule("plain", "z")], network(), source="file")
    with pytest.raises(ArgumentError, match=r"once: \['plain'\]"):
        convert(foreign(), RULES[1:], network(), source="file")


def test_filling_is_strict() -> None:
    state = {"weight": torch.zeros(2, 3), "bias": torch.ones(2)}
    linear = nn.Linear(3, 2, device="meta")
    fill(linear, state, "file")
    assert torch.equal(linear.bias, torch.ones(2))
    for change, message in (
        ({"extra": torch.zeros(1)}, "unexpected: extra"),
        ({"bias": torch.zeros(3)}, r"misshapen: bias \[3\] instead of \[2\]"),
    ):
        with pytest.raises(CheckpointError, match=message):
            fill(nn.Linear(3, 2), state | change, "file")
    with pytest.raises(CheckpointError, match="missing: weight"):
        fill(nn.Linear(3, 2), {"bias": state["bias"]}, "file")
