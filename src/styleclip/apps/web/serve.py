"""``styleclip serve``: the page, on this machine unless somebody says otherwise.

torch + generator -> first pictures -> the address is printed; CLIP follows in the background
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from styleclip.apps.console import complain
from styleclip.apps.options import Device, ModelName, open_studio
from styleclip.apps.web.uploads import own_folder
from styleclip.errors import ArgumentError, MissingExtraError

if TYPE_CHECKING:
    from styleclip.apps.web.page import Page

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SESSIONS = 100  # people that are remembered at once; the oldest are forgotten


def serve(
    model: ModelName = "portraits",
    device: Device = "auto",
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Who may come: 127.0.0.1 is this machine alone, 0.0.0.0 the whole network.",
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="N")] = 7860,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD", help="Ask for a name and a password before anything is shown."
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
) -> None:
    """Open a page with sliders: pick or drop a picture, say what should change, drag how much."""
    login = _login(auth)
    if host not in LOOPBACK and login is None:
        complain(
            f"everybody who reaches {host} can use this page: --auth USER:PASSWORD asks for a "
            "password",
            kind="warning",
        )
    _check_port(host, port)
    _few_heaps()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # an end that leaves no files
    with own_folder():
        page = _page(model, device)
        _launch(page, host, port, login, open_browser)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        print(f"the page is at http://{shown}:{port}  (Ctrl-C stops it)", flush=True)
        page.engine.start()
        page.blocks.tidy()
        page.blocks.block_thread()


def _few_heaps() -> None:
    """Have the C library keep two heaps, not one for every thread, and give back what is free.

    Every visit and every long work has threads of its own, and each left its heap behind: 12 MB a
    visitor. Only glibc has these switches.
    """
    arena_max, trim_threshold = -8, -1  # their numbers in malloc.h
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(arena_max, 2)
            mallopt(trim_threshold, 100_000)


def _launch(
    page: Page, host: str, port: int, login: tuple[str, str] | None, open_browser: bool
) -> None:
    """Listen, behind the limit of bodies and the gate."""
    from starlette.middleware import Middleware

    from styleclip.apps.web.gate import Gate
    from styleclip.apps.web.limits import LARGEST_FILE, MOST_CALLS, BodyLimit
    from styleclip.apps.web.theme import launch_options

    gate = Middleware(Gate, loopback=host in LOOPBACK and login is None)
    page.blocks.queue(default_concurrency_limit=4, max_size=MOST_CALLS, api_open=False)
    page.blocks.launch(
        server_name=host, server_port=port, auth=login, max_file_size=LARGEST_FILE,
        state_session_capacity=SESSIONS, prevent_thread_lock=True,
        app_kwargs={"middleware": [Middleware(BodyLimit), gate]},
        **{**launch_options(), "inbrowser": open_browser},
    )  # fmt: skip


def _page(model: str, device: str) -> Page:
    """The page of a model. Raises ``MissingExtraError`` without gradio."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # no sums of calls
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the page needs the package gradio: pip install 'styleclip[ui]'"
        ) from error
    from styleclip.apps.web.engine import Engine
    from styleclip.apps.web.page import Page

    return Page(Engine(open_studio(model, device)))


def _login(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    user, colon, password = auth.partition(":")
    if not (user and colon and password):
        raise ArgumentError("--auth is a name and a password with a colon between, as in me:secret")
    return user, password


def _check_port(host: str, port: int) -> None:
    """Raise ``ArgumentError`` if nobody can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":  # there it would share the port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ArgumentError(
            f"port {port} of {host} cannot be used ({reason}): choose another one with --port"
        ) from error
