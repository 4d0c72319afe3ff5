"""Every way in which a connection fails ends in the right file or in one sentence."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styleclip.checkpoints import downloads
from styleclip.checkpoints.downloads import Arrived, Patience, Wanted, alone, download
from styleclip.errors import DownloadError
from tests.reference.serving import Answer, Site, serving

CONTENT = random.Random(0).randbytes(3_000_000)
HASH = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
OLD, NEW = bytes(range(256)) * 8, bytes(range(255, -1, -1)) * 8
HASTY = Patience(timeout=5.0, attempts=3, pause=0.0)
CUT = Answer(cut_after=1_300_000)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.pt"


def wanted(address: str, known: bool = True) -> Wanted:
    return Wanted(address, HASH, SIZE) if known else Wanted(address)


def left(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


def fails(wanted: Wanted, path: Path, match: str, patience: Patience = HASTY) -> str:
    """The sentence of a download that must fail, and leave nothing under the final name."""
    with pytest.raises(DownloadError, match=match) as error:
        download(wanted, path, patience=patience)
    assert not path.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


# What arrives


@pytest.mark.parametrize("known", [True, False])
def test_a_file_arrives(site: Site, path: Path, known: bool) -> None:
    seen: list[tuple[int, int | None]] = []
    address = site.put("a", CONTENT)
    found = download(wanted(address, known), path, lambda *bytes_: seen.append(bytes_))
    assert found == Arrived(HASH, SIZE)
    assert path.read_bytes() == CONTENT
    assert left(path) == {"network.pt"}
    assert seen[0] == (0, SIZE) and seen[-1] == (SIZE, SIZE)
    assert seen == sorted(seen)


@pytest.mark.parametrize("known", [True, False])
def test_a_cut_connection_is_taken_up_again(site: Site, path: Path, known: bool) -> None:
    address = site.put("a", CONTENT, CUT, CUT, Answer())
    assert download(wanted(address, known), path, patience=HASTY).sha256 == HASH
    asked = [int(each.split("=")[1][:-1]) for _, each in site.requests[1:] if each]
    assert len(asked) == 2 and 0 < asked[0] < asked[1] < SIZE


@pytest.mark.parametrize("known", [True, False])
def test_a_server_without_ranges_starts_over(site: Site, path: Path, known: bool) -> None:
    address = site.put(
        "a", CONTENT, Answer(cut_after=1_300_000, ranges=False), Answer(ranges=False)
    )
    assert download(wanted(address, known), path, patience=HASTY) == Arrived(HASH, SIZE)


def test_a_server_that_says_no_length(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(lengthless=True))
    assert download(wanted(address, known=False), path) == Arrived(HASH, SIZE)
    path.unlink()
    short = site.put("b", CONTENT, Answer(lengthless=True, cut_after=10))
    fails(wanted(short), path, "expected 3,000,000 bytes, found 10")


def test_redirects_are_followed(site: Site, path: Path) -> None:
    address = site.put("a", b"", Answer(location=site.put("b", CONTENT)))
    assert download(wanted(address), path).sha256 == HASH


def test_another_file_by_now_is_fetched_whole(site: Site, path: Path) -> None:
    """With no known hash, only the server's word tells that the rest belongs to the part."""
    old = bytes(SIZE)
    address = site.put(
        "a", CONTENT, Answer(cut_after=1_300_000, body=old, tag='"old"'), Answer(tag='"new"')
    )
    assert download(wanted(address, known=False), path, patience=HASTY).sha256 == HASH


def test_a_file_that_cannot_be_told_apart_starts_over(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(cut_after=1_300_000, tag=None), Answer(tag=None))
    assert download(wanted(address, known=False), path, patience=HASTY).sha256 == HASH
    assert [asked for _, asked in site.requests] == [None, None]
    path.unlink()
    part = path.with_name("network.pt.part")
    part.write_bytes(CONTENT[:100])  # of another address, perhaps
    assert download(wanted(address, known=False), path).sha256 == HASH
    assert site.requests[-1] == ("/a", None)


def test_a_mirrors_tag_is_not_the_origins(site: Site, path: Path) -> None:
    """Two servers may call two files alike: a part goes on only where it was begun."""
    copy = site.put("copy/example.org/a.pt", b"", Answer(body=OLD, cut_after=100, tag='"1"'))
    mirrored = Wanted("https://example.org/a.pt", mirror=copy.removesuffix("/example.org/a.pt"))
    fails(mirrored, path, "100 bytes are kept", Patience(attempts=1))
    origin = site.put("a.pt", NEW, Answer(tag='"1"'))
    download(Wanted(origin), path, patience=HASTY)
    assert path.read_bytes() == NEW and site.requests[-1] == ("/a.pt", None)


def test_a_weak_tag_is_none(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(cut_after=1_300_000, tag='W/"1"'), Answer())
    assert download(wanted(address, known=False), path, patience=HASTY).sha256 == HASH
    assert [asked for _, asked in site.requests] == [None, None]


@pytest.mark.parametrize("part", [CONTENT[:100], bytes(100), CONTENT, CONTENT + b"more"])
def test_parts_of_an_earlier_day(site: Site, path: Path, part: bytes) -> None:
    """Continued if they are right, begun again if they are not."""
    path.with_name("network.pt.part").write_bytes(part)
    address = site.put("a", CONTENT)
    assert download(wanted(address), path, patience=HASTY).sha256 == HASH
    assert path.read_bytes() == CONTENT and left(path) == {"network.pt"}


def test_a_whole_part_of_a_file_of_unknown_length(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT)
    path.with_name("network.pt.part").write_bytes(CONTENT)
    assert download(Wanted(address, HASH), path) == Arrived(HASH, SIZE)
    assert site.requests == [("/a", f"bytes={SIZE}-")]


def test_a_mirror_is_asked_instead(site: Site, path: Path) -> None:
    site.put("copy/example.org/nets/a.pt", CONTENT)
    found = Wanted("https://example.org/nets/a.pt", HASH, mirror=f"{site.address}/copy/")
    assert download(found, path).sha256 == HASH


# What is refused


def test_wrong_bytes(site: Site, path: Path) -> None:
    address = site.put("a", bytes(SIZE))
    text = fails(wanted(address), path, "holds another file than the one that is known")
    assert HASH in text and left(path) == set()


def test_a_wrong_size(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT[:-1])
    fails(wanted(address), path, "expected 3,000,000 bytes, the server has 2,999,999")


def test_a_length_that_is_too_short(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(declared=1000))
    fails(wanted(address), path, "the server has 1,000")
    fails(Wanted(address, HASH), path, "holds another file")


def test_a_length_that_is_too_long(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(declared=SIZE + 5))
    fails(wanted(address), path, "the server has 3,000,005")
    found = download(Wanted(address, HASH), path, patience=HASTY)  # the rest is never there
    assert found == Arrived(HASH, SIZE)


def test_more_than_is_expected(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(lengthless=True))
    fails(Wanted(address, size=1000), path, "sends more than 1,000 bytes: stopped")
    fails(Wanted(address, largest=1000), path, "sends more than 1,000 bytes: stopped")
    assert path.with_name("network.pt.part").stat().st_size == 0
    declared = site.put("b", CONTENT)
    fails(Wanted(declared, largest=1000), path, "larger than any file .* at most 1,000")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(404, "no file at .*404"), (410, "no file at"), (403, "not given to everybody"), (418, "418")],
)
def test_refusals_are_final(site: Site, path: Path, status: int, sentence: str) -> None:
    fails(wanted(site.put("a", CONTENT, Answer(status=status))), path, sentence)
    assert len(site.requests) == 1


def test_a_busy_server_is_asked_again(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(status=503), Answer(status=429), Answer())
    assert download(wanted(address), path, patience=HASTY).sha256 == HASH
    path.unlink()
    address = site.put("b", CONTENT, Answer(status=500))
    fails(wanted(address), path, r"the server answers 500\), tried 3 times")


def test_a_server_that_always_cuts(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(cut_after=1000))
    text = fails(wanted(address), path, "tried 3 times; 3,000 bytes are kept")
    assert "try again to go on from there" in text
    site.put("a", CONTENT)
    assert download(wanted(address), path).sha256 == HASH
    assert site.requests[-1] == ("/a", "bytes=3000-")


def test_what_brings_something_goes_on(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(cut_after=1_100_000))
    patience = Patience(attempts=1, pause=0.0)
    assert download(wanted(address), path, patience=patience).sha256 == HASH
    assert len(site.requests) == 3


def test_a_tag_goes_with_its_part(site: Site, path: Path) -> None:
    """The second answer begins another file and does not say so; the third is the first's again."""
    address = site.put(
        "a", b"",
        Answer(body=OLD, cut_after=100), Answer(body=NEW, tag=None, ranges=False, cut_after=200),
        Answer(body=OLD),
    )  # fmt: skip
    download(wanted(address, known=False), path, patience=HASTY)
    assert path.read_bytes() == OLD


def test_a_silent_server(site: Site, path: Path) -> None:
    address = site.put("a", CONTENT, Answer(silence=20.0))
    patience = Patience(timeout=0.1, attempts=2, pause=0.0)
    fails(wanted(address), path, r"the server went silent\), tried 2 times", patience)


def test_nobody_there(path: Path) -> None:
    with serving() as site:
        address = site.address
    fails(wanted(f"{address}/a"), path, "cannot be fetched .*refused.*check the connection")


def test_a_web_page_is_no_network(site: Site, path: Path) -> None:
    address = site.put("a", b"<html>sign in</html>", Answer(kind="text/html; charset=utf-8"))
    fails(wanted(address, known=False), path, "a web page in place of the file")


def test_another_range_than_asked(site: Site, path: Path) -> None:
    path.with_name("network.pt.part").write_bytes(CONTENT[:100])
    fails(wanted(site.put("a", CONTENT, Answer(shift=1))), path, "another range than it was asked")


@pytest.mark.parametrize(
    "address", ["http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/hostname", "a.pt", ""]
)
def test_only_https(address: str, path: Path) -> None:
    fails(Wanted(address), path, "not an https address")


def test_a_redirect_leads_nowhere_unsafe(site: Site, path: Path) -> None:
    address = site.put("a", b"", Answer(location="http://example.org/a"))
    fails(wanted(address), path, r"http://example\.org/a is not an https address")
    for target in ("file:///etc/hostname", f"{site.address}/a"):  # and not round in circles
        site.put("a", b"", Answer(location=target))
        fails(wanted(address), path, "https address|cannot be fetched: the server answers 302")


def test_a_full_disk(site: Site, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: room)
    fails(wanted(site.put("a", CONTENT)), path, "no room: 3,000,000 bytes are needed")


def test_a_folder_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "network.pt"
    fails(wanted(site.put("a", CONTENT)), path, "cannot be written")
    with pytest.raises(DownloadError, match="cannot be written"), alone(path):
        pass


# Anything at all

ANSWERS = st.builds(
    lambda new, tagged, **rest: Answer(
        body=NEW if new else OLD, tag=('"new"' if new else '"old"') if tagged else None, **rest
    ),
    new=st.booleans(),
    tagged=st.booleans(),
    cut_after=st.none() | st.integers(0, len(OLD)),
    ranges=st.booleans(),
    status=st.sampled_from([None, None, None, 503, 404]),
)


@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=6),
    part=st.none() | st.integers(0, len(OLD) + 9),
    known=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_whatever_a_server_does(answers: list[Answer], part: int | None, known: bool) -> None:
    """The file that was asked for, or, if any will do, one of those that were served; or none."""
    with serving() as site, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt"
        if part is not None:
            path.with_name("net.pt.part").write_bytes((OLD + bytes(9))[:part])
        wanted = Wanted(
            site.put("a", b"", *answers), hashlib.sha256(NEW).hexdigest() if known else None
        )
        found = sentence = None
        try:
            found = download(wanted, path, patience=HASTY)
        except DownloadError as error:
            sentence = str(error)
        if found is None:
            assert not path.exists() and sentence and "\n" not in sentence
            return
        content = path.read_bytes()
        assert content == NEW or (content == OLD and not known)
        assert found == Arrived(hashlib.sha256(content).hexdigest(), len(content))


# More than one process

CHILD = """
import sys
from pathlib import Path
from styleclip.checkpoints.downloads import Wanted, download
download(Wanted(sys.argv[1], sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_download_goes_on(site: Site, path: Path) -> None:
    """kill -9 in the middle, and the same again."""
    address = site.put("a", CONTENT, Answer(cut_after=None, silence=60.0), Answer())
    site.answers["/a"].appendleft(Answer(cut_after=1_300_000))
    child = subprocess.Popen([sys.executable, "-c", CHILD, address, HASH, str(path)])
    part = path.with_name("network.pt.part")
    try:
        wait_for(lambda: len(site.requests) == 2)  # cut once, and silent now
        assert part.stat().st_size == 1_300_000
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert not path.exists() and part.stat().st_size == 1_300_000
    assert download(wanted(address), path, patience=HASTY).sha256 == HASH
    assert site.requests[-1] == ("/a", "bytes=1300000-")
    assert path.read_bytes() == CONTENT and left(path) == {"network.pt"}


def test_one_at_a_time(path: Path) -> None:
    order: list[str] = []
    entered, waiting = threading.Event(), threading.Event()

    def second() -> None:
        entered.wait(10)
        with alone(path, waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone(path):
        entered.set()
        assert waiting.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def wait_for(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


# --- answers that lie about themselves ----------------------------------------


@pytest.mark.parametrize("length", ["9" * 5000, "\u00b2", "-1", "1e9"])
def test_a_length_that_is_no_number_is_none(site: Site, path: Path, length: str) -> None:
    address = site.put("f", CONTENT, Answer(headers={"Content-Length": length}))
    assert download(wanted(address), path, patience=HASTY) == Arrived(HASH, SIZE)


@pytest.mark.parametrize("stated", [f"bytes 3-9/{'9' * 5000}", f"bytes {'9' * 5000}-9/9", "x"])
def test_a_range_that_is_no_number_is_refused(site: Site, path: Path, stated: str) -> None:
    path.with_name("network.pt.part").write_bytes(CONTENT[:3])
    address = site.put("f", CONTENT, Answer(headers={"Content-Range": stated}))
    fails(wanted(address), path, "another range")


@pytest.mark.parametrize("content", [Answer(body=b""), Answer(status=204, body=b"")])
def test_nothing_is_no_file(site: Site, path: Path, content: Answer) -> None:
    """Recorded as the file, its hash would be the known one from then on."""
    fails(wanted(site.put("f", b"x", content), known=False), path, "is empty|as it is")
    assert left(path) <= {"network.pt.part"}


def test_a_packed_file_is_not_the_file(site: Site, path: Path) -> None:
    packed = Answer(headers={"Content-Encoding": "gzip"})
    fails(wanted(site.put("f", CONTENT, packed), known=False), path, "as it is .*gzip")


@pytest.mark.parametrize("address", ["http://[::1", "https://[", "https://", "nonsense"])
def test_an_address_that_is_none(site: Site, path: Path, address: str) -> None:
    fails(Wanted(address), path, "is not an https address")
    fails(Wanted("https://host/f", mirror="http://[::1"), path, "is not an https address")
    moved = site.put("f", CONTENT, Answer(location=address))
    fails(
        Wanted(moved),
        path,
        "not an https|server answers|leads to an address that is none|cannot be fetched",
    )


FILLED = """
import resource, sys
from pathlib import Path
from styleclip.checkpoints.downloads import Patience, Wanted, download
from styleclip.errors import DownloadError

resource.setrlimit(resource.RLIMIT_FSIZE, (2_999_000, 2_999_000))  # a disk that fills up
try:
    download(Wanted(sys.argv[1]), Path(sys.argv[2]), patience=Patience(5.0, 2, 0.0))
except DownloadError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_disk_that_fills_up_leaves_no_file_that_is_cut(site: Site, path: Path) -> None:
    """The system writes a part of the last block, and only says so."""
    command = [sys.executable, "-c", FILLED, site.put("f", CONTENT), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert not path.exists()
