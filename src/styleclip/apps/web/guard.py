"""gradio's blocks, careful with what strangers send and what people leave behind.

  call -> checked values -> gradio -> answer, or one sentence (and one line in the log)
Values are finite, texts short, paths those of uploads; nothing is fetched. What a session left is
forgotten some minutes after its page was closed, or an hour after its last use.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from datetime import datetime
from typing import Any

import gradio as gr

from styleclip.apps.web.gate import note
from styleclip.apps.web.session import Session
from styleclip.apps.web.telling import sentence
from styleclip.apps.web.uploads import is_upload, sweep
from styleclip.errors import StyleclipError

FORGET = 3600.0  # seconds from the last use of a page that is open until it is forgotten
LEFT = 600.0  # the same of one that was closed, and of an answer that nobody fetches
ROUND = 60.0  # seconds between looks at what can go
AT_ONCE = 8  # calls of one session; a browser has six connections
LONGEST_TEXT = 8000  # letters of a value; a link may be the longest


class Guarded(gr.Blocks):
    """Blocks that refuse nonsense in a sentence."""

    def __init__(self, **options: Any) -> None:
        self._busy: Counter[str] = Counter()
        self._unclaimed: dict[str, float] = {}
        super().__init__(**options)

    async def process_api(
        self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any
    ) -> Any:
        """Every call comes through here: of the page, and over HTTP."""
        who = str(options.get("session_hash") or "")
        public = getattr(block_fn, "api_visibility", "") == "public"
        self._busy[who] += 1
        try:
            if who and self._busy[who] > AT_ONCE:
                raise gr.Error("Too many things at once: wait for those under way.")
            if options.get("iterator") is None:  # else it goes on, with what was checked
                check(inputs, math.inf if public else LONGEST_TEXT)
                if public:
                    inputs = completed(inputs, [each.value for each in block_fn.inputs])
            return await super().process_api(block_fn, inputs, *args, **options)
        except gr.Error as error:
            error.print_exception = False  # it is for people
            raise
        except StyleclipError as error:
            raise gr.Error(sentence(error), title="", print_exception=False) from error
        except Exception as error:
            note(str(getattr(block_fn, "name", "call")), error)
            raise gr.Error(
                "This could not be done, and the log of the server says why.", title="",
                print_exception=False,
            ) from error  # fmt: skip
        finally:
            self._busy[who] -= 1
            if not self._busy[who]:
                del self._busy[who]
            if public and who:
                self._release(who)

    def _release(self, who: str) -> None:
        """A call over HTTP has a session of its own, which must not push people out."""
        holder = self.state_holder
        with holder.lock:
            state = holder.session_data.get(who)
            if state is not None and not state.state_data:
                holder.session_data.pop(who, None)
                holder.time_last_used.pop(who, None)

    # what people leave behind

    def tidy(self) -> None:
        """Forget in the background, as long as the program runs."""
        threading.Thread(target=self._tidying, name="styleclip-tidy", daemon=True).start()

    def _tidying(self) -> None:
        while True:
            time.sleep(ROUND)
            try:
                self.forget()
                sweep()
            except Exception as error:  # the next round may do it
                note("tidying", error)

    def forget(self, now: float | None = None) -> None:
        """Drop the sessions that are over at ``now`` (seconds), and answers that nobody fetched."""
        now = time.time() if now is None else now
        holder = self.state_holder
        for who, used in list(holder.time_last_used.items()):
            with holder.lock:
                state = holder.session_data.get(who)
                keep = LEFT if state is not None and state.is_closed else FORGET
                if now - datetime.timestamp(used) < keep or self._busy[who]:
                    continue
                holder.session_data.pop(who, None)
                holder.time_last_used.pop(who, None)
            left(state)
        self._forget_answers(now)

    def _forget_answers(self, now: float) -> None:
        queue = self._queue
        working = {each.session_hash for each in list(queue.event_ids_to_events.values())}
        answers = queue.pending_messages_per_session
        idle = {who for who in list(answers) if who not in self.state_holder and who not in working}
        self._unclaimed = {who: self._unclaimed.get(who, now) for who in idle}
        for who, since in self._unclaimed.items():
            if now - since >= LEFT:
                answers.pop(who, None)
                queue.pending_event_ids_session.pop(who, None)


def left(state: Any) -> None:
    """Stop what somebody who is forgotten had under way."""
    for value in [] if state is None else list(state.state_data.values()):
        if isinstance(value, Session):
            value.stop.set()


def completed(values: list[Any], usual: list[Any]) -> list[Any]:
    """What was sent, and for what was left out at its end the ``usual``. Raises ``gr.Error``."""
    if len(values) > len(usual):
        raise gr.Error(f"This call takes {len(usual)} values at most, got {len(values)}.")
    return [*values, *usual[len(values) :]]


def check(values: Any, longest: float) -> None:
    """Raise ``gr.Error`` for numbers that are none, texts without end and paths of the server."""
    left = [values]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if ("path" in value or "url" in value) and not is_upload(value.get("path")):
                raise gr.Error("Only a file that was dropped on this page is read.")
            left.extend(each for name, each in value.items() if name not in ("path", "url"))
        elif isinstance(value, list | tuple):
            left.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise gr.Error("A number must be finite.")
        elif isinstance(value, int) and abs(value) > 2**53:
            raise gr.Error("A number is too large.")
        elif isinstance(value, str) and len(value) > longest:
            raise gr.Error(f"A text has {len(value)} letters, more than are read here.")
