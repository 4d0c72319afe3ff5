"""The command before and around the page: who may come, where, and what is too large."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from benchmarks.page import serving
from styleclip.apps.web.limits import BodyLimit
from styleclip.apps.web.serve import _check_port, _login, _page
from styleclip.errors import ArgumentError, MissingExtraError
from tests.apps.running import Run


def test_a_busy_port_is_refused_in_a_sentence(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("serve", "--port", str(port)).code == 2
    assert run.err.count("\n") == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in run.err and "--port" in run.err


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"192\.0\.2\.1 cannot be used"):
        _check_port("192.0.2.1", 7860)


@pytest.mark.parametrize("auth", ["me", "me:", ":secret", ""])
def test_a_login_has_two_halves(auth: str) -> None:
    with pytest.raises(ArgumentError, match="a colon between"):
        _login(auth)
    assert _login(None) is None
    assert _login("me:se:cret") == ("me", "se:cret")


def test_beyond_this_machine_a_password_is_offered(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        run("serve", "--host", "0.0.0.0", "--port", port)
        assert "--auth USER:PASSWORD asks for a password" in run.err
        run("serve", "--host", "0.0.0.0", "--port", port, "--auth", "me:secret")
        assert "warning" not in run.err


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'styleclip\[ui\]'"):
        _page("portraits", "cpu")


# Bodies


def answers(body: list[bytes], length: int | None = None, most: int = 100) -> list[int]:
    """The statuses that a request of these chunks gets."""
    statuses = []
    chunks = [
        {"type": "http.request", "body": chunk, "more_body": i < len(body) - 1}
        for i, chunk in enumerate(body)
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return chunks.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    scope = {"type": "http", "headers": headers}
    asyncio.run(BodyLimit(app, most)(scope, receive, send))
    return statuses


def test_small_requests_pass_and_large_ones_end() -> None:
    assert answers([b"x" * 50], length=50) == [200]
    assert answers([b"x" * 50, b"x" * 50]) == [200]
    assert answers([b"x" * 101], length=101) == [413]
    assert answers([b"x" * 50, b"x" * 51]) == [413]  # nobody said how much would come
    assert answers([b"x"], length=-5) == [413]


@pytest.mark.slow
def test_a_password_is_asked_before_anything_is_shown() -> None:
    with serving("--auth", "me:secret") as (address, _):
        with urllib.request.urlopen(address + "/", timeout=20) as answer:
            assert b"StyleCLIP" not in answer.read()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address + "/gradio_api/info", timeout=20)
        assert refused.value.code == 401
        refused.value.close()


@pytest.mark.slow
def test_a_call_that_is_too_large_ends(address: str) -> None:
    request = urllib.request.Request(
        address + "/gradio_api/call/invert", data=b"x" * 31_000_000,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    with pytest.raises((urllib.error.URLError, ConnectionError)) as refused:
        urllib.request.urlopen(request, timeout=20)
    if isinstance(refused.value, urllib.error.HTTPError):
        assert refused.value.code == 413
        refused.value.close()
