"""The public surface: every promised name is there, and typed as it is at run time."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import styleclip
from styleclip import checkpoints

LAZY = pytest.mark.parametrize("module", [styleclip, checkpoints])


@LAZY
def test_every_name_resolves(module: ModuleType) -> None:
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    assert set(module.__all__) <= set(dir(module))


@LAZY
def test_one_list_of_names_three_times(module: ModuleType) -> None:
    """``__all__``, the lazy table and what a type checker sees are written by hand."""
    tree = ast.parse(inspect.getsource(module))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == module._HOME_OF
    assert {*seen, "__version__"} - set(module.__all__) <= {"__version__"}
    assert set(module.__all__) - set(seen) <= {"__version__"}
    assert len(set(module.__all__)) == len(module.__all__)


@LAZY
def test_an_unknown_name_is_an_attribute_error(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        module.nonsense  # noqa: B018


@pytest.mark.parametrize("command", [["--help"], ["models", "list"]])
def test_light_commands_do_not_wait_for_torch(command: list[str]) -> None:
    code = (
        "import sys; from styleclip.apps.cli import main; "
        f"code = main({command!r}); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_classes_say_where_they_live() -> None:
    for name, module in styleclip._HOME_OF.items():
        value = getattr(styleclip, name)
        if inspect.isclass(value):
            assert value.__module__ == module, name
