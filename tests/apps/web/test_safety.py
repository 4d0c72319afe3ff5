"""Strangers at the page: files, addresses, nonsense, bombs and scripts; it answers, and goes on."""

from __future__ import annotations

import http.client
import http.server
import io
import json
import math
import pickle
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.page import serving
from benchmarks.person import Person, RefusedError
from styleclip.images import RECIPE_KEY
from tests.apps.web.conftest import Server

pytestmark = pytest.mark.slow
BROKEN = "damaged|not a picture|not whole|cannot be read|truncated"
EVIL = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"


@pytest.fixture(scope="module")
def person(address: str) -> Iterator[Person]:
    with Person(address) as person:
        yield person.open()


@pytest.fixture(autouse=True)
def alive(request: pytest.FixtureRequest, server: Server) -> Iterator[None]:
    """After each test a slider still moves a picture, and the log has whole lines only."""
    before = len(server.lines)
    yield
    with Person(server.address) as somebody:
        somebody.open().slide(4.0)
        assert somebody.stage["title"].endswith(" 4")
    wrong = [line for line in server.lines[before:] if not line.startswith("styleclip: error: ")]
    assert wrong == []


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    place = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "red").save(place)
    return place


def raw(address: str, path: str) -> tuple[int, bytes]:
    """A path as it is written: clients would tidy it."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# Files of the server


def test_no_address_gives_a_file(address: str, secret: Path) -> None:
    up = "../" * 12
    names = [str(secret), quote(str(secret), safe=""), f"{up}{secret}", quote(up, safe="") + "x",
             f"..%2f..%2f..{secret}", f"%2e%2e/{up}{secret}", f"file://{secret}", f"/{secret}",
             quote(quote(str(secret), safe=""), safe=""), f"{secret}%00.png", f".\\..\\{secret}",
             str(Path("/proc/self/environ")), "/etc/passwd", "C:/Windows/win.ini"]  # fmt: skip
    roads = ["/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/svelte/",
             "/static/../", "/gradio_api/custom_component/x/client/y/", "/gradio_api/proxy=",
             "/gradio_api/stream/", "/", "/gradio_api/call/edit/"]  # fmt: skip
    content = secret.read_bytes()
    for road in roads:
        for name in names:
            status, said = raw(address, road + name.replace(" ", "%20"))
            assert status != 200 and content not in said and b"root:" not in said, road + name


class Listener:
    """Somebody inside, whom the page must not ask."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.asked.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.server.shutdown()
    listener.server.server_close()


def test_no_call_reads_a_path_or_an_address(
    person: Person, listener: Listener, secret: Path
) -> None:
    """Every call, hidden ones too, with a file's description in place of every value."""
    meta = {"_type": "gradio.FileData"}
    evil = [
        {"path": str(secret), "meta": meta},
        {"path": listener.address + "/a", "meta": meta},
        {"path": str(secret), "url": listener.address + "/b", "meta": meta, "orig_name": "x.png"},
    ]
    tried = 0
    for wire in {each["id"]: each for each in person.wires.values()}.values():
        kinds = [person.components[i]["type"] for i in wire["inputs"]]
        if all(kind == "state" for kind in kinds):
            continue
        for file in evil:
            body = {"data": [None if kind == "state" else [file] for kind in kinds],
                    "fn_index": wire["id"], "session_hash": person.hash}  # fmt: skip
            with pytest.raises(RefusedError, match="dropped on this page"):
                person.ask(wire, body)
            tried += 1
    assert tried > 60 and listener.asked == [] and secret.exists()
    for road in ("file=", "proxy="):
        assert raw(person.address, f"/gradio_api/{road}{listener.address}/c")[0] == 404
    assert listener.asked == []


# Nonsense


def test_nonsense_is_answered(person: Person) -> None:
    bodies: list[Any] = [
        {}, [], None, 3, "x", {"data": None}, {"data": []}, {"data": [], "fn_index": 0},
        *({"data": [], "fn_index": i} for i in (-1, 10**6, 2**70, 1.5, "x", None, [1])),
        {"data": [None], "fn_index": person.wires["undo", "click"]["id"], "trigger_id": -5},
    ]  # fmt: skip
    slide, pick = person.body("strength-1", "input", 1.0), person.body("history", "pick")
    values = ("x", None, [1], {"a": 1}, 1e9, math.nan, -math.inf, 2**70, True, "1" * 10**6)
    for value in values:
        bodies.append({**slide, "data": [None, None, value]})
        bodies.append({**pick, "event_data": value})
        bodies.append({**pick, "event_data": {"index": value}})
    ask = person.body("target-1", "submit", "", "")
    texts = (["a face " * 150_000, ""], [["x"], 3], [{"a": 1}, None], ["x" * 500, "y" * 500])
    bodies += [{**ask, "data": [None, None, *each]} for each in texts]
    bodies.append(person.body("keep", "change", [f"name {i}" for i in range(10_000)]))
    seed = person.body("keys", "seed", 0.7)
    bodies += [{**seed, "event_data": {"value": each}} for each in (2.0**60, "x", [1], math.nan)]
    for body in bodies:
        text = json.dumps(body)
        for road in ("run/predict", "queue/join", "call/edit", "api/x"):
            answer = person.http.post(
                f"/gradio_api/{road}", content=text, headers={"content-type": "application/json"}
            )
            assert "Traceback" not in answer.text and "/site-packages" not in answer.text
    for content in (b"[" * 19_000, b"{", b"\xff\xfe", b""):
        answer = person.http.post("/gradio_api/run/predict", content=content,
                                  headers={"content-type": "application/json"})  # fmt: skip
        assert 400 <= answer.status_code < 500
    assert person.http.post("/gradio_api/run/predict", content=b"1," * 25_000).status_code == 413


def test_many_things_at_once_by_one_are_refused(person: Person) -> None:
    said: list[str] = []

    def slide() -> None:
        try:
            person.slide(1.0)
        except RefusedError as error:
            said.append(str(error))

    threads = [threading.Thread(target=slide) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) < 40 and {text for text in said if "Too many things" not in text} == set()


# Uploads


def png(width: int, height: int, *, text: bytes = b"") -> bytes:
    """A PNG that says it is large, with hardly any pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + text
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))  # fmt: skip


def with_recipe(recipe: Any, packed: bool = False) -> bytes:
    """A picture with such a recipe in it."""
    info = PngInfo()
    text = recipe if isinstance(recipe, str) else json.dumps(recipe)
    info.add_itxt(RECIPE_KEY, text, zip=packed)
    content = io.BytesIO()
    Image.new("RGB", (32, 32), "blue").save(content, "PNG", pnginfo=info)
    return content.getvalue()


def half_a_jpeg() -> bytes:
    content = io.BytesIO()
    Image.effect_noise((200, 200), 50).convert("RGB").save(content, "JPEG")
    return content.getvalue()[: len(content.getvalue()) // 2]


class Bomb:
    def __reduce__(self) -> Any:
        return exec, ("open('/tmp/styleclip-was-here', 'w')",)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("huge.png", png(60_000, 60_000), "too large"),
        ("short.png", png(3_000, 3_000), BROKEN),
        ("half.jpg", half_a_jpeg(), BROKEN),
        ("me.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        ("me.png", pickle.dumps(Bomb()), "not a picture"),
        ("me.png", b"%!PS\n(x) print", "not a picture"),
        ("none.png", b"", "not a picture|empty"),
        (EVIL + ".png", b"hello", "not a picture"),
        ("../../../../etc/x.png", b"hello", "^X.png is not a picture"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_said(
    person: Person, temporary: Path, name: str, content: bytes, words: str
) -> None:
    before = person.stage["after"]
    with pytest.raises(RefusedError, match="(?i)" + words) as caught:
        person.drop(content, name)
    said = str(caught.value)
    assert "<" not in said and "/tmp" not in said and str(temporary) not in said
    assert person.stage["after"] == before and not Path("/tmp/styleclip-was-here").exists()
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_a_hostile_recipe_is_a_picture_and_a_doubt(person: Person) -> None:
    person.drop(with_recipe({"version": EVIL}))
    note = person.stage["note"]  # shown as text
    assert "Its recipe was not used" in note and f"has version {EVIL!r} and this" in note


def test_an_upload_has_an_end(address: str, temporary: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(200):
            yield bytes(1_000_000)
        yield b"\r\n--x--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=x"}
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        try:
            answer = client.post("/gradio_api/upload", content=parts(), headers=kind)
            assert answer.status_code == 413
        except (httpx.WriteError, httpx.ReadError):
            pass  # the page hung up
        two = [("files", (f"{i}.png", b"x")) for i in range(2)]
        assert client.post("/gradio_api/upload", files=two).status_code == 400
        assert client.post("/gradio_api/upload", content=b"x", headers=kind).status_code == 400
        assert client.post("/gradio_api/upload", json={}).status_code == 400
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


# Scripts


def test_nothing_that_is_said_becomes_part_of_the_page(visit: Any, tmp_path: Path) -> None:
    visitor = visit()
    texts = {"seed": "3", "to": EVIL, "from": EVIL, "strength": "2", "keep": EVIL}
    for link in (
        "?" + urlencode(texts), "?seed=" + quote(EVIL), "?seed=1&to=x&by=" + quote(EVIL),
        "?" + "to=x&" * 2000, "?to=" + "x" * 7000, "?seed=1&strength=nan&truncation=inf",
    ):  # fmt: skip
        visitor.page.goto(visitor.address + "/" + link)
        visitor.page.wait_for_timeout(1500)
        assert visitor.page.evaluate("window.hit") is None
        assert visitor.page.locator("img[src='x']").count() == 0
    visitor.open()
    bad = tmp_path / "x.png"
    bad.write_bytes(with_recipe({"version": EVIL}))
    visitor.after(lambda: visitor.drop(bad))
    visitor.say(EVIL)
    visitor.page.wait_for_timeout(1500)
    assert visitor.page.evaluate("window.hit") is None
    assert visitor.page.locator("img[src='x']").count() == 0


# Two people


def test_of_one_nothing_is_reached_by_another(address: str, person: Person) -> None:
    mine = person.http.get("/config").text
    assert person.hash not in mine and "data:image/jpeg" not in mine
    person.say("a face with a secret of mine")  # no suggestion
    file = person.upload(b"mine", "mine.png")
    with Person(address) as other:
        other.open()
        everything = json.dumps(other.stage) + other.http.get("/config").text
        everything += other.http.get("/").text + other.http.get("/gradio_api/queue/status").text
        everything += other.http.get(f"/gradio_api/deep_link?session_hash={person.hash}").text
        for road in ("file=", "file/"):
            everything += other.http.get(f"/gradio_api/{road}{file['path']}").text
        for guess in ("", "x", person.hash[:-1], person.hash.upper(), "*", "%2a", "..", "null"):
            answer = other.http.get("/gradio_api/queue/data", params={"session_hash": guess})
            everything += answer.text
            everything += other.http.get(f"/gradio_api/call/edit/{guess}").text
        assert "secret of mine" not in everything and person.stage["after"] not in everything
        with pytest.raises(RefusedError):
            other.do("history", "pick", data={"index": "__class__"})
    person.do("drop", "upload", None)  # they never dropped it
    person.http.post(
        "/gradio_api/cancel", json={"session_hash": "x", "fn_index": 1, "event_id": "y"}
    )


# A password


def test_with_a_password_nothing_answers_without(tiny_model: Path) -> None:
    options = ("--model", str(tiny_model), "--auth", "me:secret", "--host", "0.0.0.0")
    with serving(*options) as (address, _):
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
            roads = ["config", "gradio_api/info", "gradio_api/run/predict", "gradio_api/call/edit",
                     "gradio_api/queue/join", "gradio_api/queue/data?session_hash=x",
                     "gradio_api/upload", "gradio_api/heartbeat/x", "gradio_api/cancel",
                     "gradio_api/reset", "gradio_api/queue/status", "gradio_api/openapi.json",
                     "gradio_api/call/edit/x", "gradio_api/app_id"]  # fmt: skip
            for road in roads:
                assert client.get("/" + road).status_code == 401
                assert client.post("/" + road).status_code == 401
            assert "auth_required" in client.get("/").text
            for wrong in ("guess", "", "secret "):
                answer = client.post("/login", data={"username": "me", "password": wrong})
                assert answer.status_code in (400, 422)
            assert client.get("/config").status_code == 401
            client.post("/login", data={"username": "me", "password": "secret"}).raise_for_status()
            assert client.get("/config").status_code == 200
            cookies = dict(client.cookies)
        with Person(address, cookies=cookies) as person:
            assert person.open().stage["after"].startswith("data:image/jpeg")
