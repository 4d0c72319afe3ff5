"""A web server on this machine that misbehaves as asked: cuts, wrong bytes, no ranges, silence."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """How one request is answered; a well-behaved server if nothing is said."""

    cut_after: int | None = None  # bytes of the body, then the connection breaks
    ranges: bool = True
    status: int | None = None
    declared: int | None = None  # Content-Length, whatever is sent
    lengthless: bool = False  # no Content-Length, the end of the connection is the end
    shift: int = 0  # a range that begins elsewhere than asked
    location: str | None = None
    silence: float = 0.0  # seconds before the body
    kind: str = "application/octet-stream"
    tag: str | None = '"1"'  # ETag
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)  # in place of those that belong there


@dataclass
class Site:
    """Files by path, and how the next requests for each are answered (the last one stays)."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, deque[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    released: threading.Event = field(default_factory=threading.Event)

    def put(self, name: str, content: bytes, *answers: Answer) -> str:
        """Serve ``content``; its address."""
        self.files["/" + name] = content
        self.answers["/" + name] = deque(answers or [Answer()])
        return f"{self.address}/{name}"

    def answer(self, path: str) -> Answer:
        waiting = self.answers.get(path, deque([Answer()]))
        return waiting.popleft() if len(waiting) > 1 else waiting[0]


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.site.requests.append((self.path, asked))
        answer = self.site.answer(self.path)
        content = answer.body if answer.body is not None else self.site.files.get(self.path)
        self.close_connection = True
        if answer.location is not None:
            return self._head(answer, 302, 0, Location=answer.location)
        if content is None or answer.status is not None:
            return self._head(answer, answer.status or 404, 0)
        start, status, extra = 0, 200, {}
        same = self.headers.get("If-Range") in (None, answer.tag)
        if asked and answer.ranges and same:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self._head(answer, 416, 0, **{"Content-Range": f"bytes */{len(content)}"})
            status = 206
            first = start + answer.shift
            extra["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        length = len(body) if answer.declared is None else answer.declared
        self._head(answer, status, None if answer.lengthless else length, **extra)
        if answer.silence:
            self.site.released.wait(answer.silence)
        with suppress(OSError):  # nobody may listen any more
            self.wfile.write(body if answer.cut_after is None else body[: answer.cut_after])
        return None

    def _head(self, answer: Answer, status: int, length: int | None, **extra: str) -> None:
        extra |= answer.headers
        length = None if "Content-Length" in extra else length
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        if answer.tag is not None:
            self.send_header("ETag", answer.tag)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Site]:
    """A site that lives as long as the block."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
