"""One server of the portraits and one browser for all tests of the page; a tiny engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.page import chromium, serving
from styleclip.apps.web.engine import Engine
from styleclip.studio import Studio
from tests.apps.web.visiting import Visitor, profile


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)  # turns set it for their thread


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    """Of random weights, and CLIP is there."""
    engine = Engine(Studio.load(tiny_model))
    engine.start()
    engine.wait_for_text()
    return engine


@pytest.fixture(scope="session")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server puts uploads."""
    return tmp_path_factory.mktemp("uploads")


@dataclass
class Server:
    """A running page: where, which process, and what it wrote."""

    address: str
    pid: int
    lines: list[str] = field(default_factory=list)

    def listen(self, said: Any) -> None:
        for line in said:
            self.lines.append(line)


@pytest.fixture(scope="session")
def server(temporary: Path) -> Iterator[Server]:
    """A page of the portraits."""
    environment = {
        "GRADIO_TEMP_DIR": str(temporary),
        "PYTHONPATH": os.pathsep.join(["src", os.environ.get("PYTHONPATH", "")]),
    }
    with serving(environment=environment) as (address, process):
        server = Server(address, process.pid)
        reader = threading.Thread(target=server.listen, args=(process.stdout,), daemon=True)
        reader.start()
        yield server
        process.terminate()
        reader.join(30)
    assert list(temporary.iterdir()) == []  # it left nothing


@pytest.fixture(scope="session")
def address(server: Server) -> str:
    """Of that page."""
    return server.address


@pytest.fixture(scope="module")  # not longer: its event loop is in the way of everybody else's
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def common(browser: Any) -> Iterator[Any]:
    """A profile of most visitors, one after the other: it has the page's scripts already."""
    with profile(browser) as common:
        yield common


@pytest.fixture
def visit(browser: Any, common: Any, address: str) -> Iterator[Any]:
    """Somebody new; nothing of theirs may leave this machine or break.

    Who comes beside somebody, or with another screen, brings a profile of their own.
    """
    visitors: list[Visitor] = []
    with ExitStack() as open_yet:

        def visit(query: str = "", **options: Any) -> Visitor:
            own = bool(visitors or options)
            context = open_yet.enter_context(profile(browser, **options)) if own else common
            visitors.append(Visitor(context, address))
            open_yet.callback(visitors[-1].page.close)
            return visitors[-1].open(query)

        yield visit
    for visitor in visitors:
        assert not visitor.outside and not visitor.errors
