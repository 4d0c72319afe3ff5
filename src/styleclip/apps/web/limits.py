"""What may be sent to the page: requests with a body beyond a limit end before they are read.

gradio limits the files of its upload route; calls with pictures in their text come another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_FILE = 20_000_000  # bytes of a picture
LARGEST_BODY = 30_000_000  # the same in base64, and what stands around it
MOST_CALLS = 30  # that wait for their turn, of everybody together; one may hold a file


class BodyLimit:
    """ASGI: answers 413 to a body that is, or becomes, larger than ``most`` bytes."""

    def __init__(self, app: ASGIApp, most: int = LARGEST_BODY) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through that is small enough."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if not told.isdigit() or int(told) > self.most:
            await _refuse(send)
            return
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, counted, watched)
        except TooLargeError:
            if not begun:
                await _refuse(send)


class TooLargeError(Exception):
    """More came than was told."""


async def _refuse(send: Send) -> None:
    text = b"the request is too large: send a picture of at most 20 MB"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": text})
