"""The folder of fetched files: what is trusted, what is checked, what is never fetched."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from styleclip.checkpoints.cache import Cache, plain_name
from styleclip.checkpoints.public import BUNDLES, FILES, LANDMARKER, OPENAI, PublicFile
from styleclip.checkpoints.registry import BUILT_IN, PARTS, REQUIRED
from styleclip.errors import ArgumentError, CheckpointError, DownloadError
from tests.reference.serving import Answer, Site, serving

CONTENT = b"a network" * 1000
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def public(address: str | None, sha256: str | None = None) -> PublicFile:
    return PublicFile("net.pt", "generator", address, "https://example.org/page", OPENAI, sha256)


# Where it is


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache.here().folder == tmp_path / "styleclip"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Cache.here().folder == Path.home() / ".cache" / "styleclip"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Cache.here().folder == Path.home() / "Library" / "Caches" / "styleclip"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert Cache.here().folder == tmp_path / "styleclip"
    monkeypatch.setenv("STYLECLIP_HOME", "~/nets")
    assert Cache.here().folder == Path.home() / "nets"


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", "/a", ".hidden", "a b"])
def test_names_are_no_paths(cache: Cache, name: str) -> None:
    for use in (cache.file, cache.model):
        with pytest.raises(ArgumentError, match="is not a name"):
            use(name)


# What is fetched and trusted


def test_an_unknown_hash_is_recorded_and_checked_afterwards(site: Site, cache: Cache) -> None:
    file = public(site.put("net.pt", CONTENT))
    assert cache.known_hash(file) is None
    path = cache.fetch(file)
    assert path == cache.folder / "files" / "net.pt" and path.read_bytes() == CONTENT
    assert cache.known_hash(file) == HASH
    assert cache.fetch(file) == path and len(site.requests) == 1  # it is here
    path.unlink()
    site.put("net.pt", b"another one")
    with pytest.raises(DownloadError, match=f"expected SHA-256 {HASH}"):
        cache.fetch(file)
    assert not path.exists()


def test_a_known_hash_is_checked(site: Site, cache: Cache) -> None:
    address = site.put("net.pt", CONTENT)
    with pytest.raises(DownloadError, match="another file than the one that is known"):
        cache.fetch(public(address, "0" * 64))
    assert cache.fetch(public(address, HASH)).read_bytes() == CONTENT


def test_verify_hashes_again(site: Site, cache: Cache) -> None:
    file = public(site.put("net.pt", CONTENT))
    assert cache.verify(file) == "absent"
    path = cache.fetch(file)
    assert cache.verify(file) == "right"
    path.write_bytes(CONTENT[:-1] + b"?")
    assert cache.verify(file) == "changed"
    assert cache.verify(replace(file, sha256=HASH)) == "changed"


def test_a_file_that_changed_its_size_is_not_taken(site: Site, cache: Cache) -> None:
    file = public(site.put("net.pt", CONTENT))
    cache.fetch(file).write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=r"not the file that is known.*delete it"):
        cache.fetch(file)


def test_a_file_put_there_by_hand(cache: Cache) -> None:
    """As one does with what lies behind a click."""
    file = public(None)
    with pytest.raises(DownloadError, match=r"behind a click: open https://example\.org/page"):
        cache.fetch(file)
    cache.file("net.pt").write_bytes(CONTENT)
    assert cache.fetch(file) == cache.file("net.pt")
    assert cache.known_hash(file) == HASH
    other = Cache(cache.folder / "other")
    (other.folder / "files").mkdir(parents=True)
    other.file("net.pt").write_bytes(CONTENT)
    with pytest.raises(DownloadError, match="is not the file that is known"):
        other.fetch(public(None, "0" * 64))
    assert other.fetch(public(None, HASH)).is_file()


def test_a_damaged_record(site: Site, cache: Cache) -> None:
    file = public(site.put("net.pt", CONTENT))
    path = cache.fetch(file)
    path.with_name("net.pt.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"net\.pt\.json is damaged: delete it"):
        cache.fetch(file)


def test_offline(site: Site, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    file = public(site.put("net.pt", CONTENT))
    monkeypatch.setenv("STYLECLIP_OFFLINE", "1")
    with pytest.raises(DownloadError, match="STYLECLIP_OFFLINE is set"):
        cache.fetch(file)
    monkeypatch.setenv("STYLECLIP_OFFLINE", "0")
    path = cache.fetch(file)
    monkeypatch.setenv("STYLECLIP_OFFLINE", "1")
    assert cache.fetch(file) == path


def test_a_mirror(site: Site, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("copy/example.org/net.pt", CONTENT)
    monkeypatch.setenv("STYLECLIP_MIRROR", f"{site.address}/copy")
    assert cache.fetch(public("https://example.org/net.pt")).read_bytes() == CONTENT


def test_two_at_once_fetch_it_once(site: Site, cache: Cache) -> None:
    file = public(site.put("net.pt", CONTENT, Answer(silence=60.0)))
    waiting = threading.Event()
    threads = [
        threading.Thread(target=cache.fetch, args=(file, None, waiting.set)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert waiting.wait(60)
    site.released.set()
    for thread in threads:
        thread.join()
    assert len(site.requests) == 1
    assert cache.file("net.pt").read_bytes() == CONTENT


CHILD = """
import sys
from pathlib import Path
from styleclip.checkpoints.cache import Cache
from styleclip.checkpoints.public import OPENAI, PublicFile
file = PublicFile("net.pt", "generator", sys.argv[2], "https://example.org/page", OPENAI)
Cache(Path(sys.argv[1])).fetch(file, on_wait=lambda: print("waiting", flush=True))
"""


@pytest.mark.slow
def test_two_processes_fetch_it_once(site: Site, cache: Cache) -> None:
    address = site.put("net.pt", CONTENT, Answer(silence=60.0))
    command = [sys.executable, "-c", CHILD, str(cache.folder), address]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    while len(site.requests) < 1 or not list((cache.folder / "files").glob(".net.pt.lock")):
        time.sleep(0.02)
    time.sleep(1.0)  # the other one asks for the lock meanwhile, or is late and finds the file
    site.released.set()
    for child in children:
        child.communicate(timeout=120)
        assert child.returncode == 0
    assert len(site.requests) == 1
    assert cache.file("net.pt").read_bytes() == CONTENT


def test_licences_are_remembered(cache: Cache) -> None:
    assert not cache.accepted(OPENAI)
    cache.accept([OPENAI])
    assert cache.accepted(OPENAI) and not cache.accepted(replace(OPENAI, name="other"))


# The table


@pytest.mark.parametrize("file", FILES.values(), ids=lambda file: file.name)
def test_every_public_file_is_whole(file: PublicFile) -> None:
    assert plain_name(file.name) == file.name
    assert file.about and file.licence.name and file.licence.page.startswith("https://")
    assert file.page.startswith("https://")
    assert file.address is None or file.address.startswith("https://")
    assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
    assert file.size is None or file.size > 10**6
    assert set(file.beside) <= set(FILES) - {file.name}
    if file.kind == "clip" and "openaipublic" in str(file.address):
        assert str(file.address).split("/")[-2] == file.sha256


def test_every_bundle_is_whole() -> None:
    assert not set(BUNDLES) & (set(BUILT_IN) | set(FILES))
    for name, bundle in BUNDLES.items():
        assert plain_name(name) == bundle.name == name and bundle.neutral and bundle.description
        assert set(REQUIRED) <= set(bundle.parts) <= set(PARTS)
        for part, file in bundle.parts.items():
            assert FILES[file].kind == part
        assert all(FILES[bundle.parts[part]].address for part in REQUIRED), name
        assert set(bundle.more) <= set(FILES) and FILES[LANDMARKER].kind == "landmarks"
        # what aligns photographs has what finds their faces
        assert (LANDMARKER in bundle.more) == ("alignment" in bundle.extra)
