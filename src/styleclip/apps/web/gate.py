"""What reaches the page at all: known addresses, from this page or programs, of a bearable size.

  request -> Host, Origin, address, login, size -> gradio -> answer with headers, errors in one line
gradio serves more than a page needs: files of the machine, other hosts (proxy), states as links.
Here everything is refused that is not listed. A page of another site in somebody's browser can
reach 127.0.0.1 too, so requests say whom they mean (Host) and where they come from (Origin).
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from styleclip.apps.console import complain
from styleclip.apps.web.limits import LARGEST_FILE, MOST_CALLS, TooLargeError
from styleclip.apps.web.uploads import MOST_WAITING, place_for, waiting

ANYBODY = re.compile(
    r"/(|login/?|logout|theme\.css|favicon\.ico|robots\.txt|manifest\.json|"
    r"(assets|static|svelte)/[\w./@+-]+|gradio_api/(theme\.css|startup-events))"
)  # before a password is asked for: the page's own files, and how it is asked
UPLOAD = "/gradio_api/upload"
WAITS = re.compile(r"/gradio_api/(queue/join|call/)")  # what may have to wait for its turn
LOGGED_IN = re.compile(
    r"/(config/?|gradio_api/(info/?|openapi\.json|app_id/?|user/?|login_check/?|token/?|upload|"
    r"cancel|reset/?|queue/(join|data|status)|heartbeat/[\w-]{1,64}|(run|api)/\w{1,64}/?|"
    r"call/(v2/)?\w{1,64}(/|/\w{1,64})?))"
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_VALUES = 20_000  # commas and brackets of a body: a value takes ten times its text in memory
PATIENCE = 1.0  # seconds from a wrong password to the next try, whoever's
MOST_LOGINS = 20  # that wait for that
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the answer says what it would


class RefusedError(Exception):
    """A request that is not answered: its status, and the sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Gate:
    """ASGI middleware. ``loopback``: the page is this machine's alone, and has no password."""

    def __init__(self, app: ASGIApp, loopback: bool) -> None:
        self.app = app
        self.loopback = loopback
        self._logins = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: there is none here
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = False

        async def sends(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            await self._pass(scope, receive, sends)
        except RefusedError as refused:
            await _say(sends, refused.status, str(refused))
        except TooLargeError:  # the limit around this says so
            raise
        except ClientDisconnect:
            pass
        except Exception as error:  # of gradio, or of ours: a bug, or nonsense that it let in
            note(f"{scope['method']} {scope['path'][:80]}", error)
            if begun:  # a stream ends where it is
                await send({"type": "http.response.body", "body": b""})
            else:
                await _say(sends, 500, "this could not be answered: the log says why")

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if self.loopback and _host(headers) not in LOOPBACK:
            raise RefusedError(
                403, "this page is for this machine alone, as 127.0.0.1 or localhost: "
                "--host opens it to others, --auth asks them for a password",
            )  # fmt: skip
        if _foreign(headers):
            raise RefusedError(403, "another site asked for this: open the page itself")
        if ANYBODY.fullmatch(path) is None:
            if LOGGED_IN.fullmatch(path) is None:
                raise RefusedError(404, "there is nothing here")
            if not _known(scope["app"], headers):
                raise RefusedError(401, "not authenticated: log in first")
        if scope["method"] == "HEAD" and path == "/":  # gradio asks itself, and gives up soon
            await _say(send, 200, [])
        elif scope["method"] == "POST" and path.startswith("/login"):
            await self._login(scope, receive, send)
        elif scope["method"] != "POST":
            await self.app(scope, receive, send)
        elif path == UPLOAD:
            await _say(send, 200, [await _uploaded(scope, receive)])
        elif WAITS.match(path) and len(scope["app"].get_blocks()._queue) >= MOST_CALLS:
            raise RefusedError(429, "Too many people are waiting just now: try again in a minute.")
        else:
            await self.app(scope, _again(await _body(receive), receive), send)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One try at a time, and after a wrong one a pause."""
        if self._waiting >= MOST_LOGINS:
            raise RefusedError(429, "too many people try to log in: wait a minute")
        body, wrong = await _body(receive), False

        async def sends(message: Message) -> None:
            nonlocal wrong
            wrong = wrong or message.get("status", 200) >= 400
            await send(message)

        self._waiting += 1
        try:
            async with self._logins:
                await self.app(scope, _again(body, receive), sends)
                if wrong:
                    await asyncio.sleep(PATIENCE)
        finally:
            self._waiting -= 1


def note(where: str, error: Exception) -> None:
    """One line of the log."""
    complain(f"{where}: {type(error).__name__}: {str(error)[:300]}")


async def _say(send: Send, status: int, said: str | list[str]) -> None:
    values = {"detail": said, "error": said} if isinstance(said, str) else said
    body = json.dumps(values).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _host(headers: Headers) -> str:
    """The name that was asked for, without its port."""
    try:
        return urlsplit("//" + headers.get("host", "")).hostname or ""
    except ValueError:
        return ""


def _foreign(headers: Headers) -> bool:
    """Whether a page of another site asks. Programs that are no browsers send no such headers."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none"):  # set by the browser, no page can
        return False
    if origin is not None:
        meant = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
        return origin.partition("://")[2] != meant
    return site is not None and headers.get("sec-fetch-mode") != "navigate"  # links are welcome


def _known(app: Any, headers: Headers) -> bool:
    """Whether somebody is logged in, or nobody has to."""
    if app.auth is None and app.auth_dependency is None:
        return True
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return False
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(name in cookies and cookies[name].value in app.tokens for name in names)


async def _body(receive: Receive) -> bytes:
    """All of a body. Raises ``RefusedError`` for one of too many values."""
    parts, more = list[bytes](), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    if sum(body.count(each) for each in (b",", b"[", b"{")) > MOST_VALUES:
        raise RefusedError(413, "these are too many values at once")
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for whoever reads it next."""
    told = False

    async def receives() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receives


async def _uploaded(scope: Scope, receive: Receive) -> str:
    """Where the one file of a form was put. Raises ``RefusedError``."""
    size = 0

    async def receives() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LARGEST_FILE + 10_000:  # the form around it
            raise RefusedError(
                413, f"a file may have {LARGEST_FILE // 1_000_000} MB: make it smaller"
            )
        return message

    try:
        form = await Request(scope, receives).form(max_files=1, max_fields=1)
    except (MultiPartException, HTTPException) as error:
        raise RefusedError(400, "this is not one file") from error
    try:
        files = [each for each in form.getlist("files") if not isinstance(each, str)]
        if len(files) != 1:
            raise RefusedError(400, "drop one file")
        if waiting() > MOST_WAITING:
            raise RefusedError(503, "too many files wait to be read: try again in some minutes")
        place = place_for(files[0].filename or "")
        place.write_bytes(await files[0].read())
        return str(place)
    finally:
        await form.close()
