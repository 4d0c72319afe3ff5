"""A run that was stopped goes on, never mixes two questions, and is written for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from styleclip.editing.edit import Edit
from styleclip.errors import ArgumentError
from styleclip.evaluation.prompts import JudgedPrompt, PromptFile
from styleclip.evaluation.protocol import Judges, Row
from styleclip.evaluation.report import as_html, as_text, write_report
from styleclip.evaluation.run import evaluate_rows, open_folder, sheet_rows
from styleclip.evaluation.summary import Figures
from styleclip.prompts import PromptPair
from tests.evaluation.plates import Bands, Plate, PlateWorld, asks, nothing, pictures, sets

START = pictures((0, 0, 0), (0, 1, 0), (1, 0, 2), (0, 0, 1), (1, 1, 1), (0, 1, 2))
FILE = PromptFile("three", (asks(left="high"), asks(centre="high"), asks(right="high")))
OTHER = PromptFile("one", (asks(left="middle"),))
SETTINGS = {"seed": 0, "count": 6}
WORLD = PlateWorld(START, ((("left", "high"), ("centre", "high"), 2.0),))


class Killed(BaseException):
    """As abrupt as a signal."""


class Method:
    """Counts what it is asked; ``dies_at`` is the number of the call that never returns."""

    def __init__(self, dies_at: int = 0) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.dies_at = dies_at

    def __call__(self, index: list[int], prompt: JudgedPrompt) -> Edit:
        self.asked.append((prompt.prompt.target, tuple(index)))
        if len(self.asked) == self.dies_at:
            raise Killed
        return sets(START, **prompt.targets)(index, prompt)


def run(folder: Path, *rows: Row, files: tuple[PromptFile, ...] = (FILE, OTHER)) -> list[Figures]:
    return evaluate_rows(Plate(), Judges(Bands()), START, rows, files, folder, WORLD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    open_folder(tmp_path / "run", SETTINGS)
    return tmp_path / "run"


# --- what is done, and what is not done again ---------------------------------


def test_every_row_answers_every_file(folder: Path) -> None:
    found = run(folder, Row("nothing", nothing), Row("sets it", Method()))
    named = [(each["row"], each["file"]) for each in found]
    assert named == [("nothing", "three"), ("nothing", "one"),
                     ("sets it", "three"), ("sets it", "one")]  # fmt: skip
    assert [each["edits"] for each in found] == [12, 6, 12, 6]
    assert [each["success"]["mean"] for each in found] == [0, 0, 1, 1]
    assert all(each["peak_memory_bytes"] > 2**20 for each in found)


def test_a_stopped_run_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    open_folder(tmp_path / "whole", SETTINGS)
    whole = run(tmp_path / "whole", Row("m", Method()))
    with pytest.raises(Killed):
        run(folder, Row("m", Method(dies_at=3)))
    method = Method()
    resumed = run(folder, Row("m", method))
    assert [text for text, _ in method.asked] == ["high", "middle"]
    assert len(whole) == len(resumed) == 2
    for one, other in zip(whole, resumed, strict=True):
        for key in one.keys() - {"seconds", "peak_memory_bytes"}:
            assert one[key] == other[key], key


def test_a_finished_run_is_only_read(folder: Path) -> None:
    found = run(folder, Row("m", Method()))
    before = {path: path.read_bytes() for path in (folder / "records").iterdir()}
    assert run(folder, Row("m", Method(dies_at=1))) == found
    assert {path: path.read_bytes() for path in (folder / "records").iterdir()} == before
    assert len(before) == 4  # and nothing half-written beside them


def test_progress_is_told_for_every_row_and_file(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []

    def bar(name: str):
        def on_step(step: int, steps: int, figures: Mapping[str, float]) -> None:
            told.append((name, step, steps))

        return on_step

    evaluate_rows(
        Plate(), Judges(Bands()), START, [Row("m", nothing)], (FILE, OTHER), folder, bar=bar
    )
    assert told == [("m, three", 1, 3), ("m, three", 2, 3), ("m, three", 3, 3), ("m, one", 1, 1)]


def test_a_short_row_takes_the_first_pictures_of_the_first_file(folder: Path) -> None:
    long, short = Method(), Method()
    run(folder, Row("long", long))
    (found,) = run(folder, Row("short", short, limit=6))
    assert found["file"] == "three" and found["edits"] == 6
    assert short.asked == [(text, index[:2]) for text, index in long.asked[:3]]


def test_a_method_that_trains_for_each_prompt_takes_its_own_files_alone(folder: Path) -> None:
    prepared: list[str] = []
    method, other = Method(), Method()
    row = Row(
        "trains", method, own=True, prepare=lambda each: prepared.append(each.prompt.target),
        preparation=1.0,
    )  # fmt: skip
    own = PromptFile("own", FILE.prompts[:2], ("trains",))
    found = run(folder, row, Row("other", other), files=(FILE, own))
    assert [(each["row"], each["file"]) for each in found] == [
        ("trains", "own"),
        ("other", "three"),
    ]
    assert prepared == [each.prompt.target for each in own.prompts]
    assert [text for text, _ in method.asked] == prepared
    assert found[0]["seconds"]["preparation"] > 1
    # what is stored is not prepared again
    run(folder, row, files=(own,))
    assert len(prepared) == 2


def test_prompts_without_a_picture_are_left_out(folder: Path) -> None:
    many = PromptFile("many", FILE.prompts * 10)
    (found,) = run(folder, Row("m", Method()), files=(many,))
    assert found["edits"] == 12 and len(found["prompts"]) == 12


def test_the_sheet_shows_the_first_picture_of_each_prompt(folder: Path) -> None:
    method = Method()
    rows = [Row("m", method), Row("never run", nothing)]
    run(folder, rows[0], files=(FILE,))
    sheet = sheet_rows(START, rows, FILE, folder, seed=0)
    assert [text for text, _ in sheet] == ["high", "high", "high"]
    for (_, tiles), (_, index), prompt in zip(sheet, method.asked, FILE.prompts, strict=True):
        assert len(tiles) == 3  # picture, inversion, the one row that was run
        assert torch.equal(tiles[0], START.images[index[0]])
        expected = WORLD.redrawn(index[0], prompt.targets)
        torch.testing.assert_close(tiles[2], expected, rtol=0, atol=0.01)


# --- one folder, one question -------------------------------------------------


def test_the_same_question_goes_on_in_its_folder(folder: Path) -> None:
    run(folder, Row("m", Method()))
    open_folder(folder, dict(reversed(SETTINGS.items())))
    run(folder, Row("m", Method(dies_at=1)))


def test_another_question_in_the_same_folder_is_refused(folder: Path) -> None:
    run(folder, Row("m", Method()))
    before = sorted(folder.rglob("*"))
    with pytest.raises(ArgumentError, match=r"other settings .*settings\.json.*--force"):
        open_folder(folder, {**SETTINGS, "seed": 1})
    assert sorted(folder.rglob("*")) == before


def test_force_forgets_what_another_question_found(folder: Path) -> None:
    run(folder, Row("m", Method()))
    open_folder(folder, {**SETTINGS, "seed": 1}, force=True)
    assert not list((folder / "records").iterdir())
    method = Method()
    run(folder, Row("m", method))
    assert len(method.asked) == 4
    # with the same settings there is nothing to forget
    open_folder(folder, {**SETTINGS, "seed": 1}, force=True)
    run(folder, Row("m", Method(dies_at=1)))


# --- the report ---------------------------------------------------------------


def result_of(rows: list[Figures], name: str = "plates", **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1, "name": name, "settings": {"count": 6, "seed": 0, "world": None},
        "machine": "an abacus", "commit": "unknown", "networks": None, "edits": rows,
        "unknown_words": {"a ginger plate": ["ginger"]}, **changes,
    }  # fmt: skip


def test_the_result_is_written_three_times(folder: Path) -> None:
    rows = [Row("nothing", nothing), Row("sets it", Method())]
    result = result_of(run(folder, *rows))
    sheet = sheet_rows(START, rows, FILE, folder, seed=0)
    write_report(result, sheet, ["picture", "inversion", "nothing", "sets it"], folder)
    assert json.loads((folder / "result.json").read_text()) == result
    assert (folder / "result.md").read_text() == as_text(result) + "\n"
    page = (folder / "report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 3 * 4
    for text in ("sets it", "an abacus", "ginger", "left=high"):
        assert text in page, text
    assert "http" not in page and "src=" not in page.replace('src="data:', "")


def test_the_tables_are_whole(folder: Path) -> None:
    text = as_text(result_of(run(folder, Row("nothing", nothing), Row("sets it", Method()))))
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    # of each file the methods, its prompts and what they drag; nothing has no prompts of its own
    assert len(tables) >= 4
    for table in tables:
        assert len({line.count("|") for line in table.split("\n")}) == 1, table
    assert "| sets it | 12 | 100.0% (100.0 to 100.0) |" in text
    assert "| nothing | 12 | 0.0% (0.0 to 0.0) | 100.0% (100.0 to 100.0) |" in text


def test_what_was_not_measured_is_a_dash() -> None:
    from styleclip.evaluation.summary import summarize
    from tests.evaluation.plates import judged

    shown = pictures((2, 0, 0), (2, 1, 0))
    prompt = asks(left="high")
    row = summarize(Row("m", nothing), [(prompt, judged(shown, prompt, nothing))], Bands(), None)
    text = as_text(result_of([{"file": "f", "peak_memory_bytes": 0.0, **row}]))
    assert "| m | 2 | – | 100.0%" in text and "| high | 0 | – | 100.0% |" in text


def test_figures_that_nobody_could_judge_are_dashes(folder: Path) -> None:
    found = run(folder, Row("m", Method()))
    found[0]["prompts"][0]["kept"] = None  # everything it reads was asked for
    found[0]["outside"] = {"outside": {"mean": 0.5}, "inside": None}  # drawn nowhere
    text = as_text(result_of(found))
    assert "| – |" in text and "| 0.5000 / – |" in text


def test_the_page_escapes_what_people_typed(folder: Path) -> None:
    evil = "<script>alert('x')</script> & \"more\""
    file = PromptFile("evil", (JudgedPrompt(PromptPair(evil, "a plate"), {"left": "high"}),))
    row = Row("<b>bold</b>", Method())
    result = result_of(run(folder, row, files=(file,)), name="<i>name</i>")
    sheet = sheet_rows(START, [row], file, folder, seed=0)
    assert sheet[0][0] == evil
    page = as_html(as_text(result), sheet, ["picture", "inversion", "<u>row</u>"])
    for tag in ("<script", "<b>", "<i>", "<u>"):
        assert tag not in page
    assert page.count("&lt;script&gt;") == 2  # in the table and in the sheet
