"""One file over HTTPS, whole or not at all: resumed where it was cut, checked, then renamed.

  address --GET, Range--> NAME.part --size, SHA-256--> NAME
A part that is there already is continued if the server still has the same file (If-Range), or if a
known hash will tell; otherwise it starts over. Cut connections are taken up again with growing
pauses, as long as they bring something. The standard library's urllib does the talking: proxies,
certificates and redirects are in it, and what is left (resuming, checking) no client does for us.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from styleclip.errors import DownloadError

OnBytes = Callable[[int, int | None], None]  # bytes that are here, bytes in all if known

CHUNK = 1 << 18
LARGEST = 8 << 30  # bytes of a file whose size no page states
PROGRESS = 1 << 20  # bytes that make an attempt worth another
LENGTH = "[0-9]{1,18}"  # a number of bytes in a header
HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Patience:
    """When to give up: ``timeout`` seconds without a byte, ``attempts`` in a row for nothing."""

    timeout: float = 30.0
    attempts: int = 4
    pause: float = 1.0  # seconds after the first of them, doubled after each


@dataclass(frozen=True)
class Wanted:
    """What is downloaded, and what is known of it."""

    address: str
    sha256: str | None = None
    size: int | None = None
    mirror: str | None = None  # the prefix that stands for https:// , may be http://
    largest: int = LARGEST

    @property
    def source(self) -> str:
        """The address that is asked: the mirror's, if there is one."""
        if not self.mirror:
            return self.address
        return f"{self.mirror.rstrip('/')}/{self.address.removeprefix('https://')}"


class Arrived(NamedTuple):
    """What was downloaded."""

    sha256: str
    size: int


class _CutError(Exception):
    """The connection broke; another attempt may go on from there."""


def download(
    wanted: Wanted, path: Path, on_bytes: OnBytes | None = None, patience: Patience = Patience()
) -> Arrived:
    """Fetch one file to ``path``, by way of ``path`` + ".part". Raises ``DownloadError``.

    After an error nothing is at ``path``; the part stays if it can be continued. Nobody else may
    write there meanwhile (``alone``).
    """
    check_address(wanted.source, wanted.mirror)
    part = path.with_name(path.name + ".part")
    resumed = _size(part) > 0
    _transfer(wanted, part, on_bytes, patience)
    arrived = examine(part)
    if arrived.sha256 != (wanted.sha256 or arrived.sha256) and resumed:
        _discard(part)  # the old part may have been another file's: once more from the start
        _transfer(wanted, part, on_bytes, patience)
        arrived = examine(part)
    if arrived.sha256 != (wanted.sha256 or arrived.sha256):
        _discard(part)
        raise DownloadError(
            f"{wanted.source} holds another file than the one that is known: expected SHA-256 "
            f"{wanted.sha256}, found {arrived.sha256}; nothing was kept"
        )
    with on_disk(path):
        os.replace(part, path)
    _tag(part).unlink(missing_ok=True)
    return arrived


@contextlib.contextmanager
def alone(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """One process at a time works on ``path``; ``on_wait`` is called if another one does now.

    The lock is the system's, on a hidden file beside it: it ends with its process, however.
    """
    from filelock import FileLock, Timeout

    with on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            if on_wait is not None:
                on_wait()
            lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Failures of the disk as one sentence; those of the connection never come here."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written ({error.strerror or error}): make room, or move the cache "
            "(STYLECLIP_HOME)"
        ) from error


def check_address(address: str, mirror: str | None = None) -> None:
    """Raise ``DownloadError`` unless it is https, or this machine's, or the mirror's own host."""
    with contextlib.suppress(ValueError):  # of addresses that are none
        parsed = urllib.parse.urlsplit(address)
        trusted = {*HERE, urllib.parse.urlsplit(mirror or "").hostname}
        if parsed.scheme == "https" and parsed.hostname:
            return
        if parsed.scheme == "http" and parsed.hostname in trusted:
            return
    raise DownloadError(f"{address} is not an https address: nothing is fetched from it")


def _transfer(wanted: Wanted, part: Path, on_bytes: OnBytes | None, patience: Patience) -> None:
    """Fill the part to its end, in as many attempts as are worth it."""
    idle = 0
    while True:
        before = _size(part)
        try:
            _attempt(wanted, part, on_bytes, patience.timeout)
            break
        except _CutError as cut:
            gained = _size(part) - before
            idle = 0 if gained >= PROGRESS else idle + 1
            if idle >= patience.attempts:
                kept = _size(part)
                rest = f"{kept:,} bytes are kept, try again to go on from there"
                raise DownloadError(
                    f"{wanted.source} cannot be fetched ({cut}), tried {idle} times; "
                    + (rest if kept else "check the connection, and try again")
                ) from cut
            time.sleep(patience.pause * 2 ** max(idle - 1, 0))
    size = _size(part)
    if not size:
        _discard(part)
        raise DownloadError(f"{wanted.source} is empty: nothing was kept")
    if wanted.size is not None and size != wanted.size:
        _discard(part)
        raise DownloadError(
            f"{wanted.source} holds another file than the one that is known: expected "
            f"{wanted.size:,} bytes, found {size:,}; nothing was kept"
        )


def _attempt(wanted: Wanted, part: Path, on_bytes: OnBytes | None, timeout: float) -> None:
    """One request, from where the part ends. Raises ``_CutError`` if it ends too early."""
    start = _size(part)
    if wanted.size is not None and start == wanted.size:
        return
    tag = _read_tag(part, wanted.source)
    if tag is None and wanted.sha256 is None:
        start = 0  # nothing would tell whether the rest belongs to it
    response = _ask(wanted, part, start, tag, timeout)
    if response is None:
        return
    with response:
        start, total = _plan(wanted, response, start)
        with on_disk(part), part.open("ab" if start else "wb", buffering=0) as stream:
            if start == 0:
                _write_tag(part, wanted.source, response)
            _copy(wanted, response, stream, start, total, on_bytes)


def _ask(wanted: Wanted, part: Path, start: int, tag: str | None, timeout: float) -> Any:
    """The open answer, from byte ``start`` on; None if there is nothing left to fetch."""
    headers = {"User-Agent": "styleclip", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag is not None:
            headers["If-Range"] = tag  # if it is another file by now, all of it comes
    request = urllib.request.Request(wanted.source, headers=headers)
    opener = urllib.request.build_opener(_Redirects(wanted.mirror))
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 416 or not start:
                _refused(wanted.source, error.code)
            if (error.headers.get("Content-Range") or "") == f"bytes */{start}":
                return None  # the part was whole
            _discard(part)
            raise _CutError("the part that was here is longer than the file") from error
    except (OSError, http.client.HTTPException) as error:
        _broken(wanted.source, error)
    except ValueError as error:
        raise DownloadError(
            f"{wanted.source} leads to an address that is none ({str(error)[:80]!r}): nothing is "
            "fetched from it"
        ) from error


def _plan(wanted: Wanted, response: Any, start: int) -> tuple[int, int | None]:
    """Where the answer begins, and how long the file is if the server says. Raises."""
    length = response.headers.get("Content-Length") or ""
    expected = int(length) if re.fullmatch(LENGTH, length) else None
    packed = response.headers.get("Content-Encoding") or "identity"
    if packed.strip().lower() != "identity" or response.status not in (200, 206):
        raise DownloadError(
            f"{wanted.source} does not send the file as it is (the server answers "
            f"{response.status}, {packed[:20]!r}): nothing was kept"
        )
    kind = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise DownloadError(
            f"{wanted.source} answers with a web page in place of the file: open it in a browser, "
            "it may ask for a login"
        )
    if response.status == 206:
        stated = response.headers["Content-Range"] or ""
        found = re.fullmatch(rf"bytes ({LENGTH})-{LENGTH}/({LENGTH}|\*)", stated)
        if not found or int(found[1]) != start:
            raise DownloadError(
                f"{wanted.source} sends another range than it was asked for: "
                "delete the .part file and try again"
            )
        total = int(found[2]) if found[2] != "*" else None
    else:
        start, total = 0, expected  # the whole file, whatever was asked
    if total is not None:
        _check_size(wanted, total)
    return start, total


def _check_size(wanted: Wanted, total: int) -> None:
    if wanted.size is not None and total != wanted.size:
        raise DownloadError(
            f"{wanted.source} holds another file than the one that is known: expected "
            f"{wanted.size:,} bytes, the server has {total:,}"
        )
    if total > wanted.largest:
        raise DownloadError(
            f"{wanted.source} is larger than any file that is expected there: {total:,} bytes, "
            f"at most {wanted.largest:,}"
        )


def _copy(
    wanted: Wanted,
    response: Any,
    stream: IO[bytes],
    start: int,
    total: int | None,
    on_bytes: OnBytes | None,
) -> None:
    """The body to the open part."""
    if total is not None:
        _check_room(stream, total - start)
    done = start
    most = wanted.size if wanted.size is not None else wanted.largest
    while True:
        if on_bytes is not None:
            on_bytes(done, total)
        try:
            # read1, not read: what came before a cut is not lost with it
            block = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            _broken(wanted.source, error)
        if not block:
            break
        done += len(block)
        if done > most:
            stream.truncate(0)
            raise DownloadError(f"{wanted.source} sends more than {most:,} bytes: stopped")
        _write(stream, block)
    if total is not None and done < total:
        raise _CutError(f"the connection ended after {done:,} of {total:,} bytes")


def _write(stream: IO[bytes], block: bytes) -> None:
    """All of it: on a disk that fills up, the system writes a part and says how much."""
    left = memoryview(block)
    while left:
        left = left[stream.write(left) :]


def _check_room(stream: IO[bytes], needed: int) -> None:
    folder = Path(stream.name).parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{folder} has no room: {needed:,} bytes are needed, {free:,} are free; make room, or "
            "move the cache (STYLECLIP_HOME)"
        )


def _refused(source: str, code: int) -> NoReturn:
    if code in (408, 425, 429) or code >= 500:
        raise _CutError(f"the server answers {code}")
    if code in (404, 410):
        raise DownloadError(f"there is no file at {source} any more (the server answers {code})")
    if code in (401, 403):
        raise DownloadError(f"{source} is not given to everybody (the server answers {code})")
    raise DownloadError(f"{source} cannot be fetched: the server answers {code}")


def _broken(source: str, error: Exception) -> NoReturn:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise DownloadError(
            f"the certificate of {source} is not valid ({reason.verify_message}): nothing is "
            "fetched from it"
        ) from error
    if isinstance(error, DownloadError):
        raise error
    if isinstance(reason, TimeoutError):
        raise _CutError("the server went silent") from error
    text = getattr(reason, "strerror", None) or f"{type(error).__name__} {reason}".strip()
    raise _CutError(text) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that could have been asked in the first place."""

    def __init__(self, mirror: str | None) -> None:
        self.mirror = mirror

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # an address that is none
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_address(newurl, self.mirror)
        except DownloadError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def examine(path: Path) -> Arrived:
    """What a file here is. Raises ``DownloadError``."""
    with on_disk(path), path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Arrived(digest, stream.tell())


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _discard(part: Path) -> None:
    with on_disk(part):
        part.unlink(missing_ok=True)
        _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    """Beside a part: whose it is, in the server's words."""
    return part.with_name(part.name + ".tag")


def _read_tag(part: Path, source: str) -> str | None:
    """What the server called the file when the part was begun, if it was this address's."""
    try:
        found = _tag(part).read_text("utf-8").split("\n")
    except (OSError, ValueError):
        return None
    return found[1] if len(found) == 2 and found[0] == source else None


def _write_tag(part: Path, source: str, response: Any) -> None:
    tag = response.headers.get("ETag") or ""
    if not tag or tag.startswith("W/"):  # weak: the same meaning, not the same bytes
        tag = response.headers.get("Last-Modified") or ""
    _tag(part).unlink(missing_ok=True)
    if tag:
        _tag(part).write_text(f"{source}\n{tag}", "utf-8")
