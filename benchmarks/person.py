"""Somebody who uses the page without a browser: the requests that a browser makes, by themselves.

  person.open() -> person.do("strength-1", "input", 3.0) -> person.stage["after"]
A session hash of its own, a heartbeat while it is there, quick calls outside the queue and long
ones through it, with every preview.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import httpx
from gradio_client.utils import apply_diff

SECONDS = 120.0  # for an answer


class RefusedError(RuntimeError):
    """What the page said instead of an answer."""


class Person:
    """One session. ``stage`` is what the picture's frame was last told, ``waits`` a queue's."""

    def __init__(self, address: str, **options: Any) -> None:
        self.address = address
        self.http = httpx.Client(base_url=address, timeout=SECONDS, trust_env=False, **options)
        self.hash = secrets.token_hex(6)
        self.stage: dict[str, Any] = {}
        self.notices: list[str] = []
        self.joined = threading.Event()  # set when the queue has taken what is asked for
        config = self.http.get("/config").raise_for_status().json()
        self.components = {each["id"]: each for each in config["components"]}
        self.wires: dict[tuple[str, str], dict[str, Any]] = {}
        self.following: dict[int, dict[str, Any]] = {}  # what a page does next of itself
        for wire in config["dependencies"]:
            if wire["trigger_after"] is not None and not wire["trigger_only_on_failure"]:
                self.following[wire["trigger_after"]] = wire
            for target, event in wire["targets"]:
                self.wires[self._name(target), event] = wire
        (self.frame,) = [i for i in self.components if self._name(i) == "stage"]
        self._beating = threading.Event()
        self._heart: threading.Thread | None = None

    def _name(self, component: Any) -> str:
        """The element's id, or what takes its place."""
        props = self.components.get(component, {}).get("props", {})
        return str(props.get("elem_id") or component)

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the page."""
        self._beating.set()
        if self._heart is not None:
            self._heart.join(40)
        self.http.close()

    def open(self, query: str = "") -> Person:
        """The first picture, and its sentence."""
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self.do("0", "load", query)
        return self

    def _beat(self) -> None:
        """What tells the server that the page is open; it says something every 15 seconds."""
        client = httpx.Client(base_url=self.http.base_url, timeout=2, trust_env=False)
        client.cookies = self.http.cookies
        while not self._beating.is_set():
            try:
                with client.stream("GET", f"/gradio_api/heartbeat/{self.hash}") as answer:
                    for _ in answer.iter_raw():
                        if self._beating.is_set():
                            break
            except httpx.HTTPError:
                continue
        client.close()

    def body(self, element: str, event: str, *values: Any, data: Any = None) -> dict[str, Any]:
        """What a browser sends: ``values`` are those of the inputs that are no state."""
        wire = self.wires[element, event]
        left = list(values)
        inputs = [
            None if self.components[i]["type"] == "state" else left.pop(0) for i in wire["inputs"]
        ]
        assert not left
        return {
            "data": inputs, "fn_index": wire["id"], "session_hash": self.hash,
            "event_data": data, "trigger_id": wire["targets"][0][0],
        }  # fmt: skip

    def do(self, element: str, event: str, *values: Any, data: Any = None) -> list[Any]:
        """Do something and have its answer. Raises ``RefusedError``."""
        answers = list(self.watch(element, event, *values, data=data))
        return answers[-1]

    def watch(
        self, element: str, event: str, *values: Any, data: Any = None
    ) -> Iterator[list[Any]]:
        """Every answer of something that takes long, as it comes."""
        wire, body = self.wires[element, event], self.body(element, event, *values, data=data)
        yield from self._answers(wire, body)
        while following := self.following.get(wire["id"]):
            wire = following
            body = {**body, "fn_index": wire["id"], "event_data": None}
            yield from self._answers(wire, {**body, "data": [None] * len(wire["inputs"])})

    def ask(self, wire: dict[str, Any], body: dict[str, Any]) -> list[Any]:
        """A call that a page would not make."""
        return list(self._answers(wire, body))[-1]

    def _answers(self, wire: dict[str, Any], body: dict[str, Any]) -> Iterator[list[Any]]:
        for answer in self._queued(body) if wire["queue"] else iter([self._asked(body)]):
            for component, value in zip(wire["outputs"], answer, strict=True):
                if component == self.frame and isinstance(value, dict) and "n" in value:
                    self.stage = {**self.stage, "busy": None, **value}
            yield answer

    def _asked(self, body: dict[str, Any]) -> list[Any]:
        answer = self.http.post("/gradio_api/run/predict", json=body)
        said = answer.json()
        if answer.status_code != 200:
            raise RefusedError(str(said.get("error") or said.get("detail")))
        found: list[Any] = said["data"]
        return found

    def _queued(self, body: dict[str, Any]) -> Iterator[list[Any]]:
        joined = self.http.post("/gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            raise RefusedError(joined.text)
        self.joined.set()
        event, so_far = joined.json()["event_id"], list[Any]()
        parameters = {"session_hash": self.hash}
        with self.http.stream("GET", "/gradio_api/queue/data", params=parameters) as lines:
            for line in lines.iter_lines():
                news = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if news.get("msg") == "log":
                    self.notices.append(news["log"])
                if news.get("event_id") != event:
                    continue
                output = news.get("output") or {}
                if news["msg"] == "process_generating":
                    if so_far:
                        new = [apply_diff(a, b) for a, b in zip(so_far, output["data"])]  # noqa: B905
                    else:
                        new = output["data"]
                    so_far = new
                    yield so_far
                if news["msg"] == "process_completed":
                    if not news["success"]:
                        raise RefusedError(str(output.get("error")))
                    if output.get("data"):
                        yield output["data"]
                    return
        raise RefusedError("the answer never came")

    # what people do

    def say(self, sentence: str, neutral: str = "", row: int = 1) -> None:
        """Type a sentence and press Enter."""
        self.do(f"target-{row}", "submit", sentence, neutral)

    def slide(self, strength: float, row: int = 1) -> None:
        """Move the slider of strength."""
        self.do(f"strength-{row}", "input", strength)

    def upload(self, content: bytes, name: str = "me.png") -> dict[str, Any]:
        """Send a file; what the page then says of it."""
        answer = self.http.post("/gradio_api/upload", files={"files": (name, content)})
        if answer.status_code != 200:
            raise RefusedError(answer.text)
        (path,) = answer.json()
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def drop(self, content: bytes, name: str = "me.png") -> None:
        """Drop a file on the page."""
        self.do("drop", "upload", self.upload(content, name))
