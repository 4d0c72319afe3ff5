"""What a call over HTTP asks for, read without a server."""

from __future__ import annotations

import pytest

from styleclip.apps.web.wishes import names
from styleclip.errors import ArgumentError


def test_the_names_that_stay_are_not_without_end() -> None:
    assert names(["glasses"] * 1000) == ("glasses",)
    assert names("glasses, age,glasses,") == ("glasses", "age")
    with pytest.raises(ArgumentError, match="at most 30 names can stay, got 1000"):
        names([f"glasses {i}" for i in range(1000)])
