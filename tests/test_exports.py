"""The public surface: every promised name is there, and typed as it is at run time."""

from __future__ import annotations

import ast
import inspect

import pytest

import styleclip


def test_every_name_resolves() -> None:
    for name in styleclip.__all__:
        assert getattr(styleclip, name) is not None, name
    assert set(styleclip.__all__) <= set(dir(styleclip))


def test_one_list_of_names_three_times() -> None:
    """``__all__``, the lazy table and what a type checker sees are written by hand."""
    tree = ast.parse(inspect.getsource(styleclip))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == styleclip._HOME_OF
    assert {*seen, "__version__"} == set(styleclip.__all__)
    assert len(set(styleclip.__all__)) == len(styleclip.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        styleclip.nonsense  # noqa: B018


def test_classes_say_where_they_live() -> None:
    for name, module in styleclip._HOME_OF.items():
        value = getattr(styleclip, name)
        if inspect.isclass(value):
            assert value.__module__ == module, name
