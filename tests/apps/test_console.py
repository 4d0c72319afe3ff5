"""What the commands say on the way: about which file, and how far they are."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from styleclip.apps import console


def test_complaints_name_the_file_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain("it is\n  odd", kind="note")
    with console.naming("a/b.png"):
        console.complain("it is odd", kind="note")
        console.complain("the file a/b.png is odd")
    console.complain("all is well", kind="note")
    assert capsys.readouterr().err.splitlines() == [
        "styleclip: note: it is odd",
        "styleclip: note: a/b.png: it is odd",
        "styleclip: error: the file a/b.png is odd",
        "styleclip: note: all is well",
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where bars are shown, as if somebody watched."""
    shown = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda **_: Console(file=shown, force_terminal=True, width=80, color_system=None),
    )
    return shown


def test_one_bar_counts_many_things(terminal: io.StringIO) -> None:
    long = "a name that is too long for any line of any terminal that people have " * 3
    with console.counting("editing 9 pictures", 9) as tell:
        tell(4, "[b]odd[/b].png")
        tell(5, long)
    text = terminal.getvalue()
    assert "editing 9 pictures" in text and "5/9" in text
    assert long[:20] in text and long[:60] not in text  # what matters keeps its room


def test_bars_show_figures(terminal: io.StringIO) -> None:
    with console.progress() as bar:
        bar("inverting")(3, 20, {"error": 0.25})
    assert "inverting" in terminal.getvalue() and " 3/20" in terminal.getvalue()
    assert "error 0.25" in terminal.getvalue()


def test_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress() as bar, console.counting("a", 2) as tell:
        bar("b")(1, 2, {})
        tell(1, "c")
    assert capsys.readouterr() == ("", "")


def test_a_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with console.progress() as bar:
        on_step = bar("generator")
        for step in range(200):
            now[0] += 1
            on_step(step, 800, {"loss": 0.25})
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"(styleclip: generator: \d+ of 800, \d+ min left loss 0.25\n){3}", err), (
        err
    )
    assert "119 of 800" in err  # of the second minute
