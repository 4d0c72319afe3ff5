"""What every config is asked before it is used: NaN passes most comparisons, and costs hours."""

from __future__ import annotations

import math

from styleclip.errors import ArgumentError


def check_finite(config: object) -> None:
    """Raise ``ArgumentError`` for a number of a config that is not finite."""
    for name, value in vars(config).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ArgumentError(f"{name} must be a finite number, got {value}")


def check_choices(config: object, choices: dict[str, tuple[str, ...]]) -> None:
    """Raise ``ArgumentError`` for a word of a config that is none of those for its field."""
    for name, known in choices.items():
        value = getattr(config, name)
        if value not in known:
            raise ArgumentError(f"{name} is {value!r}: choose from {', '.join(known)}")
