"""Complete key maps between foreign state dicts and ours, as tables that work in both directions.

  ours = scale * theirs, after a reshape or a transposition;  several of ours may be one of theirs,
  cut into equal parts along the first axis (CLIP's q, k, v)
A table is a list of ``Rule``s. ``convert`` fills every entry of our network exactly once and uses
or knowingly drops every foreign key; anything else is an error that lists the keys. ``invert``
goes back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from styleclip.errors import ArgumentError, CheckpointError

LOW_PASS = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0]))


@dataclass(frozen=True)
class Rule:
    """One line of a table: the entry ``theirs`` is our entry ``ours`` (or several, stacked).

    ``shape`` is theirs where it differs from ours by axes of one; ``transpose`` swaps two axes.
    """

    ours: str | tuple[str, ...]
    theirs: str
    scale: float = 1.0
    shape: tuple[int, ...] | None = None
    transpose: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.ours,) if isinstance(self.ours, str) else self.ours


def convert(
    foreign: Mapping[str, Any],
    rules: Sequence[Rule],
    network: Mapping[str, Tensor],
    *,
    source: str | Path,
    dropped: Mapping[str, Tensor | None] | None = None,
    defaults: Mapping[str, Tensor] | None = None,
    consume: bool = False,
) -> dict[str, Tensor]:
    """Foreign tensors -> our state dict, floats as float32.

    ``network`` is our state dict on any device (meta will do), for names and shapes. ``dropped``
    has patterns of foreign keys that we do not need, each with the value (up to a factor) that it
    must have, or None. ``defaults`` are values of our entries that the foreign file may lack.
    ``source`` names the file in errors. ``consume`` takes each tensor out of ``foreign`` (a dict)
    as it is used, so that a network is not in memory twice.
    """
    defaults = defaults or {}
    check(foreign, rules, network, source=source, dropped=dropped, optional=defaults)
    converted: dict[str, Tensor] = {}
    for rule in rules:
        value = foreign.get(rule.theirs)
        if value is None:
            converted.update({name: defaults[name] for name in rule.names})
        else:
            converted.update(_forward(rule, value, network))
        if consume and value is not None:
            del value, foreign[rule.theirs]
    return {name: converted[name] for name in network}


def check(
    foreign: Mapping[str, Any],
    rules: Sequence[Rule],
    network: Mapping[str, Tensor],
    *,
    source: str | Path,
    dropped: Mapping[str, Tensor | None] | None = None,
    optional: Collection[str] = (),
) -> None:
    """Raise the error that ``convert`` would raise, and convert nothing: meta tensors will do.

    ``optional`` are our entries that the file may lack.
    """
    _check_table(rules, network)
    missing, misshapen = [], []
    for rule in rules:
        value = foreign.get(rule.theirs)
        if value is not None:
            misshapen += _faults(rule, value, network)
        elif not all(name in optional for name in rule.names):
            missing.append(rule.theirs)
    Problems(missing, _unexpected(foreign, rules, dropped or {}), misshapen).check(source)


def _faults(rule: Rule, value: Any, network: Mapping[str, Tensor]) -> list[str]:
    """What keeps an entry of theirs from becoming ours, if anything does."""
    expected, ours = their_shape(rule, network), network[rule.names[0]]
    if not isinstance(value, Tensor):
        return [f"{rule.theirs} is a {type(value).__name__}, not a tensor"]
    if tuple(value.shape) != expected:
        return [f"{rule.theirs} {list(value.shape)} instead of {list(expected)}"]
    if value.is_floating_point() != ours.is_floating_point():
        return [_of_another_type(rule.theirs, value, ours)]
    return []


def _unexpected(
    foreign: Mapping[str, Any], rules: Sequence[Rule], dropped: Mapping[str, Tensor | None]
) -> list[str]:
    """Their entries that are neither used nor knowingly dropped."""
    used = {rule.theirs for rule in rules}
    found = []
    for key in foreign:
        if key in used:
            continue
        pattern = next((known for known in dropped if re.fullmatch(known, key)), None)
        if pattern is None:
            found.append(key)
        elif not _is_proportional(foreign[key], dropped[pattern]):
            found.append(f"{key} (its values are not the usual ones)")
    return found


def invert(rules: Sequence[Rule], state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict -> the foreign one, without the keys that ``convert`` drops."""
    foreign = {}
    for rule in rules:
        parts = [state_dict[name] for name in rule.names]
        value = torch.cat(parts) if len(parts) > 1 else parts[0]
        value = value.t() if rule.transpose else value
        value = value / rule.scale if rule.scale != 1.0 else value
        value = value.reshape(their_shape(rule, state_dict))
        foreign[rule.theirs] = value.clone(memory_format=torch.contiguous_format)
    return foreign


def fill(network: nn.Module, state_dict: Mapping[str, Tensor], source: str | Path) -> None:
    """Load strictly: every entry of ``network`` and no other, each of its shape.

    The tensors are taken over, not copied, so ``network`` may live on the meta device.
    """
    check_entries(network.state_dict(), state_dict, source)
    network.load_state_dict(dict(state_dict), strict=True, assign=True)


def check_entries(
    expected: Mapping[str, Tensor], state_dict: Mapping[str, Tensor], source: str | Path
) -> None:
    """Raise ``CheckpointError`` unless both have the same entries, of the same shapes and types."""
    Problems(
        missing=[name for name in expected if name not in state_dict],
        unexpected=[name for name in state_dict if name not in expected],
        misshapen=[
            f"{name} {list(state_dict[name].shape)} instead of {list(tensor.shape)}"
            if state_dict[name].shape != tensor.shape
            else _of_another_type(name, state_dict[name], tensor)
            for name, tensor in expected.items()
            if name in state_dict
            and (
                state_dict[name].shape != tensor.shape
                or state_dict[name].is_floating_point() != tensor.is_floating_point()
            )
        ],
    ).check(source)


class Problems(NamedTuple):
    """What keeps a state dict from fitting a network."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    def check(self, source: str | Path) -> None:
        """Raise a ``CheckpointError`` that lists the keys, if there are any."""
        found = [
            f"{label}: {_listed(names)}"
            for label, names in zip(self._fields, self, strict=True)
            if names
        ]
        if found:
            raise CheckpointError(
                f"{source} does not fit the network that it describes, so it is damaged or of "
                f"another kind; {'; '.join(found)}"
            )


def their_shape(rule: Rule, network: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape that the foreign entry of ``rule`` must have."""
    if rule.shape is not None:
        return rule.shape
    first, *rest = (tuple(network[name].shape) for name in rule.names)
    stacked = (sum(shape[0] for shape in (first, *rest)), *first[1:]) if rest else first
    return stacked[::-1] if rule.transpose else stacked


def _forward(rule: Rule, value: Tensor, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    value = value.float() if value.is_floating_point() else value
    value = value.t() if rule.transpose else value
    parts = value.chunk(len(rule.names)) if len(rule.names) > 1 else (value,)
    converted = {}
    for name, part in zip(rule.names, parts, strict=True):
        # a copy of its own: nothing of ours shares memory with the file or with another entry
        layout = _layout(network[name])
        ours = part.reshape(network[name].shape).clone(memory_format=layout)
        converted[name] = ours.mul_(rule.scale) if rule.scale != 1.0 else ours
    return converted


def _layout(tensor: Tensor) -> torch.memory_format:
    """How the network lays this entry out, so that it is not copied once more."""
    if tensor.is_contiguous():
        return torch.contiguous_format
    is_last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _is_proportional(value: Any, expected: Tensor | None) -> bool:
    if expected is None:
        return True
    if not isinstance(value, Tensor) or value.shape != expected.shape or value.is_complex():
        return False
    if value.is_meta:
        return True  # only its shape is known
    value = value.float()
    return torch.allclose(value / value.sum(), expected / expected.sum(), atol=1e-3)


def _of_another_type(name: str, value: Tensor, expected: Tensor) -> str:
    found, wanted = (str(each.dtype).removeprefix("torch.") for each in (value, expected))
    return f"{name} of {found} instead of {wanted}"


def _check_table(rules: Sequence[Rule], network: Mapping[str, Tensor]) -> None:
    """A table that does not fill each entry of ours once is a mistake of ours, not of the file."""
    names = [name for rule in rules for name in rule.names]
    if sorted(names) != sorted(network):
        wrong = sorted(
            {name for name in names if names.count(name) > 1} | (set(names) ^ set(network))
        )
        raise ArgumentError(f"the key map must name each entry of the network once: {wrong}")


def _listed(names: list[str], most: int = 12) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
