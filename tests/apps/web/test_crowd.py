"""What somebody sees when too many wait already."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from benchmarks.person import Person
from styleclip.apps.web.limits import MOST_CALLS

pytestmark = pytest.mark.slow
FULL = "Too many people are waiting just now: try again in a minute."


def test_a_full_queue_is_said_and_nothing_hangs(visit: Any, address: str) -> None:
    """One trains, others wait for that; who comes then keeps what is shown, and is told."""
    visitor = visit()
    shown = visitor.page.get_attribute(".sc-after", "src")
    with Person(address) as trainer:
        trainer.open()
        training = trainer.watch("train-1", "click")
        next(training)
        next(training)
        train = trainer.body("train-1", "click")
        wire = trainer.following[trainer.wires["train-1", "click"]["id"]]
        wait = {**train, "fn_index": wire["id"], "data": [None] * len(wire["inputs"])}
        for _ in range(MOST_CALLS + 1):  # strangers without a page: their turn is over at once
            body = {**wait, "session_hash": secrets.token_hex(6)}
            answer = trainer.http.post("/gradio_api/queue/join", json=body)
            if answer.status_code != 200:
                break
        assert (answer.status_code, answer.json()["detail"]) == (429, FULL)
        said = httpx.post(f"{address}/gradio_api/call/picture", json={"data": [3, 0.7]})
        assert said.status_code == 429

        visitor.page.click("#more-1 button")
        visitor.page.click("#train-1")
        visitor.page.wait_for_selector(".toast-body")
        assert FULL in visitor.text(".toast-body")
        visitor.page.wait_for_selector(".sc-busy", state="hidden")
        assert visitor.page.get_attribute(".sc-after", "src") == shown
        trainer.do("stage", "stop")
        for _ in training:
            pass
    visitor.after(lambda: visitor.page.click("#dice"))  # there is room again
