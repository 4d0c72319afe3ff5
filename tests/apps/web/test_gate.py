"""Who reaches the page, with what, and what is kept of it: without a server."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import StateHolder

from styleclip.apps.web import gate as gates
from styleclip.apps.web import uploads
from styleclip.apps.web.gate import MOST_VALUES, Gate
from styleclip.apps.web.guard import FORGET, LEFT, LONGEST_TEXT, Guarded, check
from styleclip.apps.web.session import Session
from styleclip.errors import ImageError

HERE = "127.0.0.1:7860"
CALL = "/gradio_api/run/predict"


def answer(
    path: str = "/", method: str = "GET", body: bytes = b"", loopback: bool = True,
    users: dict[str, str] | None = None, fails: bool = False, **headers: str,
) -> tuple[int, Any]:  # fmt: skip
    """The status and what is said, by a gate before an app that says 200."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if fails:
            raise KeyError("a secret\nof two lines")
        if method == "POST":
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'"inside"'})

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    inside = SimpleNamespace(
        auth=users, auth_dependency=None, cookie_id="c", tokens={"a-token": "me"}
    )
    headers = {"host": HERE, **{name.replace("_", "-"): each for name, each in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path, "app": inside, "query_string": b"",
        "headers": [(name.encode(), each.encode()) for name, each in headers.items()],
    }  # fmt: skip
    asyncio.run(Gate(app, loopback)(scope, receive, send))
    assert b"nosniff" in dict(sent[0]["headers"]).values()
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd", "/gradio_api/file=http://127.0.0.1:1/x",
        "/file=/etc/passwd",
        "/gradio_api/file/etc/passwd", "/gradio_api/proxy=http://127.0.0.1:1/", "/file/etc/passwd",
        "/gradio_api/deep_link", "/gradio_api/component_server", "/gradio_api/process_recording",
        "/gradio_api/dev/reload", "/gradio_api/vibe-edit/", "/gradio_api/runs", "/monitoring",
        "/monitoring/summary", "/gradio_api/stream/x", "/gradio_api/stream/x/y/1/playlist-file",
        "/gradio_api/custom_component/x/client/y/z", "/assets/../../../etc/passwd", "/openapi.json",
        "/gradio_api/call/edit/../../x", "/gradio_api/heartbeat/" + "x" * 65, "//etc/passwd",
        "/gradio_api/upload_progress", "/assets/x\n", "/pwa_icon", "/metrics",
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        status, said = answer(path, method)
        # a path with dots in it reaches gradio, which joins it safely
        assert (status == 404 and said["error"] == "there is nothing here") or "assets/.." in path


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/assets/index-B2.js", "/gradio_api/info", "/gradio_api/queue/data",
     "/gradio_api/heartbeat/abc123", "/gradio_api/call/edit/0f", "/theme.css"],
)  # fmt: skip
def test_what_it_needs_is(path: str) -> None:
    assert answer(path) == (200, "inside")


def test_a_password_is_before_everything_that_answers() -> None:
    paths = ["/config", "/gradio_api/info", CALL, "/gradio_api/queue/join", "/gradio_api/cancel",
             "/gradio_api/queue/data", "/gradio_api/heartbeat/x", "/gradio_api/upload",
             "/gradio_api/reset", "/gradio_api/call/edit", "/gradio_api/openapi.json"]  # fmt: skip
    users = {"me": "secret"}
    for path in paths:
        for cookie in ("", "access-token-c=guess", "access-token-c=", "access-token-x=a-token"):
            assert answer(path, users=users, cookie=cookie)[0] == 401
        assert answer(path, users=users, cookie="access-token-c=a-token")[0] == 200
    assert answer("/", users=users) == answer("/login", users=users) == (200, "inside")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost@evil.example", "[",
     "", "192.168.1.5:7860"],
)  # fmt: skip
def test_another_name_of_this_machine_is_refused(host: str) -> None:
    """A name that a stranger lets point to 127.0.0.1 (DNS rebinding)."""
    status, said = answer(host=host)
    assert status == 403 and "--host" in said["error"]
    assert answer(host=host, loopback=False)[0] == 200  # or has a password


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:80", "LOCALHOST", "[::1]:7860"])
def test_its_own_names_are_not(host: str) -> None:
    assert answer(host=host)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"origin": f"http://{HERE}"}, 200),
        ({"origin": f"http://{HERE}", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://evil.example", "sec_fetch_site": "cross-site"}, 403),
        ({"origin": "http://127.0.0.1:9999", "sec_fetch_site": "same-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://{HERE}.evil.example"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"origin": "https://my.site", "x_forwarded_host": "my.site"}, 200),
        ({"origin": "https://my.site", "sec_fetch_site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_ask_for_nothing(headers: dict[str, str], status: int) -> None:
    for path, method in ((CALL, "POST"), ("/gradio_api/upload", "GET"), ("/config", "GET")):
        assert answer(path, method, **headers)[0] == status


def test_a_link_on_another_site_is_welcome() -> None:
    assert answer("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200


def test_too_many_values_are_not_even_read() -> None:
    for part in (b"[],", b"{},", b"1,"):
        status, said = answer(CALL, "POST", b"[" + part * MOST_VALUES + b"0]")
        assert status == 413 and "too many values" in said["error"]
    assert answer(CALL, "POST", b'"' + b"A" * 10_000_000 + b'"')[0] == 200


def test_an_error_is_one_line_here_and_no_secret_there(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = answer(fails=True)
    assert status == 500 and "secret" not in str(said)
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "GET /" in line and "KeyError" in line


def test_wrong_passwords_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        status = 200 if body == b"right" else 400
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def log_in(gate: Gate, body: bytes) -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/login", "headers": []}
        await gate(scope, receive, send)
        return int(sent[0]["status"])

    async def all_at_once() -> list[int]:
        gate = Gate(app, loopback=False)
        return await asyncio.gather(*(log_in(gate, b"wrong") for _ in range(25)))

    monkeypatch.setattr(gates.asyncio, "sleep", sleep)
    assert asyncio.run(log_in(Gate(app, False), b"right")) == 200 and not slept
    assert Counter(asyncio.run(all_at_once())) == {400: gates.MOST_LOGINS, 429: 5}
    assert slept == [gates.PATIENCE] * gates.MOST_LOGINS


# Values


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "finite"), ([[-math.inf]], "finite"), ({"a": {"b": math.inf}}, "finite"),
        (2**63, "too large"), ("x" * (LONGEST_TEXT + 1), "letters"),
        ({"path": "/etc/passwd"}, "dropped on this page"), ({"path": None}, "dropped on this page"),
        ({"url": "http://127.0.0.1/"}, "dropped on this page"), ([{"path": 3}], "dropped on"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(value: Any, words: str) -> None:
    with pytest.raises(gr.Error, match=words):
        check([None, "text", 1.5, value], LONGEST_TEXT)


def test_ordinary_values_pass_and_so_do_deep_ones() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    check(["a face", -3.2, None, True, ["glasses"], {"index": 3}, deep], LONGEST_TEXT)


# Uploads


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "here"))
    with uploads.own_folder() as folder:
        yield folder
    assert not folder.exists() and os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("me.png", "me.png"), ("../../etc/passwd", "passwd"), ("..", "picture"), ("", "picture"),
        ("a\\b\\c.png", "c.png"), ("/etc/", "picture"), ("\0\n.png", "__.png"), (".ssh", "ssh"),
        ("é" * 300 + ".png", "é" * 76 + ".png"), ("<img src=x>.png", "_img src=x_.png"),
    ],
)  # fmt: skip
def test_a_file_lies_where_nobody_guesses(folder: Path, name: str, expected: str) -> None:
    place, other = uploads.place_for(name), uploads.place_for(name)
    assert place.name == expected and place.parent.parent == folder
    assert place.parent != other.parent and folder.stat().st_mode & 0o077 == 0
    place.write_bytes(b"content")
    assert uploads.is_upload(str(place))
    assert uploads.taken(str(place)) == uploads.Upload(expected, b"content")
    assert not place.parent.exists()
    with pytest.raises(ImageError, match="not here any more"):
        uploads.taken(str(place))


def test_no_other_path_is_an_upload(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = uploads.place_for("link.png")
    link.symlink_to(secret)
    place = uploads.place_for("me.png")
    place.write_bytes(b"content")
    paths: list[Any] = [
        "/etc/passwd", str(secret), str(link), str(folder), str(place.parent), "", "me.png", 3,
        None, f"{place.parent}/../{place.parent.name}/me.png", f"file://{place}", f"{place}\0",
        "x" * 5000,
        f"{place.parent}/../../../secret", os.path.relpath(place),
    ]  # fmt: skip
    assert [path for path in paths if uploads.is_upload(path)] == []
    for path in paths[:8]:
        with pytest.raises(ImageError, match="dropped on this page"):
            uploads.taken(str(path))
    assert secret.read_text() == "secret" and link.is_symlink()


def test_what_nobody_reads_goes(folder: Path) -> None:
    old, new = uploads.place_for("old.png"), uploads.place_for("new.png")
    for each in (old, new):
        each.write_bytes(b"12345")
    assert uploads.waiting() == 10
    os.utime(old.parent, (time.time() - 2 * uploads.UNREAD,) * 2)
    uploads.sweep()
    assert not old.parent.exists() and new.exists()


# What people leave behind


def test_sessions_are_forgotten_and_what_they_had_under_way_stops() -> None:
    now = 1_800_000_000.0
    sessions = {"used": (10.0, False), "idle": (FORGET + 1, False), "left": (LEFT + 1, True),
                "open": (LEFT + 1, False), "busy": (FORGET + 1, False)}  # fmt: skip
    held = {who: Session() for who in sessions}
    blocks = Guarded.__new__(Guarded)  # gradio's own beginnings leave an event loop open
    blocks._busy, blocks._unclaimed = Counter(), {}
    answers: dict[str, object] = {}
    blocks._queue = SimpleNamespace(
        event_ids_to_events={}, pending_messages_per_session=answers, pending_event_ids_session={}
    )  # type: ignore[assignment]
    holder = blocks.state_holder = StateHolder()
    for who, (age, closed) in sessions.items():
        holder.session_data[who] = SimpleNamespace(state_data={1: held[who]}, is_closed=closed)
        holder.time_last_used[who] = datetime.fromtimestamp(now - age)
    blocks._busy["busy"] = 1
    answers.update(nobody=object(), used=object())
    blocks.forget(now)
    assert set(holder.session_data) == set(holder.time_last_used) == {"used", "open", "busy"}
    assert {who for who, each in held.items() if each.stop.is_set()} == {"idle", "left"}
    assert "nobody" in answers  # it may be fetched yet
    blocks.forget(now + LEFT)
    assert set(answers) == {"used"}
