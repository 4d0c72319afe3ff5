"""The controls of the page, by their places, each with its help line.

who (seed, examples, file) | view (before | after, history, save) | ask (sentences, sliders)
"""

from __future__ import annotations

import html
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from styleclip.apps.web.session import (
    METHODS,
    MOST_LETTERS,
    MOST_ROWS,
    MOST_STRENGTH,
    USUAL_THRESHOLD,
    USUAL_TRUNCATION,
)
from styleclip.apps.web.theme import static

if TYPE_CHECKING:
    from styleclip.studio import Studio

TRUNCATION = 0.7
AUTOMATIC = 0.1  # where the threshold's slider stands while it is automatic
NAMES = {"direction": "Direction", "mapper": "Mapper", "optimisation": "Optimise"}
OPENING = "a face with red hair"  # the sentence that a page of faces opens with


@dataclass(frozen=True)
class RowControls:
    """The controls of one sentence."""

    box: gr.Group
    target: gr.Textbox
    strength: gr.Slider
    method: gr.Radio
    optimising: gr.Column
    run: gr.Button
    threshold: gr.Slider
    automatic: gr.Checkbox
    neutral: gr.Textbox
    train: gr.Button
    removing: gr.Column
    remove: gr.Button

    @property
    def all(self) -> list[Any]:
        """What a look sets, in the order of ``Updates``."""
        return [self.box, self.target, self.strength, self.method, self.optimising, self.threshold,
                self.neutral, self.removing]  # fmt: skip


class Controls:
    """Every control, made in the blocks that are open; ``whole`` is what a look sets."""

    def __init__(self, studio: Studio) -> None:
        self.vocabulary, self.neutral = studio.vocabulary, studio.model.neutral
        self.chips = _suggestions(self.vocabulary)
        of_faces = bool(self.neutral) and OPENING.startswith(self.neutral)
        self.opening = OPENING if of_faces else ""
        known = [self.opening, *(text for _, text in self.chips)]
        self.example = next(filter(None, known), f"{self.neutral or 'a photo'} -> something else")
        self._head(studio.model.name)
        with gr.Row(elem_id="studio"):
            self._who()
            self._view()
            self._ask()
        self._more()
        self.saver = _custom("saver.js", "<span></span>", elem_id="saver")
        self.address = _custom("address.js", "<span></span>", elem_id="address")
        self.keys = _custom("keys.js", "<span></span>", elem_id="keys")
        self.query = gr.Textbox(visible="hidden", elem_id="query")
        self.whole = [
            self.stage, self.address, self.history, self.undo, self.redo,
            *(row.automatic for row in self.rows), self.person, self.seed, self.truncation,
            self.keep, self.add, *(control for row in self.rows for control in row.all),
        ]  # fmt: skip
        self.past = self.whole[1 : 5 + MOST_ROWS]  # what a slider that is let go changes

    def _head(self, name: str) -> None:
        with gr.Row(elem_id="head"):
            gr.HTML(
                "<h1>StyleCLIP</h1><p>Say what should change in a picture, and drag how much. "
                f"Model: {html.escape(name)}.</p>"
            )
            self.undo = gr.Button("Undo", size="sm", elem_id="undo", interactive=False)
            self.redo = gr.Button("Redo", size="sm", elem_id="redo", interactive=False)

    def _who(self) -> None:
        with gr.Column(elem_id="who"):
            self.person = gr.HTML("", elem_id="person")
            self.dice = gr.Button("Someone else", elem_id="dice")
            _help("dice", "At random, or one of these:")
            self.gallery = _thumbs("examples", "People", help_of="dice")
            self.drop = gr.File(
                label="Your own picture", show_label=False, file_types=["image"], type="filepath",
                height=64, elem_id="drop",
            )  # fmt: skip
            _help(
                "drop",
                "A face in the middle of a square works best. A PNG that was saved here brings "
                "all its sliders back.",
            )
            with gr.Group():
                self.seed = gr.Number(
                    0, precision=0, minimum=0, label="Seed", elem_id="seed", interactive=True,
                    info="The same number is the same person.",
                )  # fmt: skip
                self.truncation = gr.Slider(
                    0, USUAL_TRUNCATION, TRUNCATION, step=0.05, label="Variety", buttons=[],
                    info="0 is the average face.", elem_id="truncation",
                )  # fmt: skip

    def _view(self) -> None:
        with gr.Column(elem_id="view"):
            self.stage = _custom("stage.js", static("stage.html"), elem_id="stage")
            with gr.Row(elem_id="tools"):
                self.png = gr.Button("Save PNG", size="sm", variant="primary", elem_id="save-png")
                self.gif = gr.Button("GIF", size="sm", elem_id="save-gif")
                self.mp4 = gr.Button("MP4", size="sm", elem_id="save-mp4", visible=_has_films())
                self.latent = gr.Button("Latent", size="sm", elem_id="save-latent")
                self.link = gr.Button("Copy link", size="sm", elem_id="copy-link")
            films = "GIF and MP4 show" if _has_films() else "The GIF shows"
            _help(
                "tools",
                f"The PNG carries its recipe: seed, sentences, latent. {films} the way there, the "
                "latent is for NumPy, and the link brings all of this back.",
            )
            self.history = _thumbs("history", "History")
            _help("history", "Every step: choose one, or Undo (Ctrl+Z) and Redo (Ctrl+Shift+Z).")

    def _ask(self) -> None:
        with gr.Column(elem_id="ask"):
            self.rows = [self._row(index) for index in range(MOST_ROWS)]
            with gr.Column(visible=bool(self.chips), elem_id="try"):
                gr.HTML('<p class="sc-title">Or try</p>')
                self.chip_list = _thumbs(
                    "chips", "Suggestions",
                    value={"items": [{"text": short, "title": text} for short, text in self.chips]},
                )  # fmt: skip
                _help("chips", "One of these takes the place of the last sentence.")
            self.add = gr.Button("Add another sentence", size="sm", elem_id="add")
            _help("add", f"Up to {MOST_ROWS} change the picture together.")
            self.keep = gr.Dropdown(
                list(self.vocabulary), multiselect=True, allow_custom_value=True,
                label="Keep as it is", elem_id="keep",
                info="What directions must leave alone: choose, or type your own words.",
            )  # fmt: skip

    def _row(self, index: int) -> RowControls:
        number = index + 1
        with gr.Group(
            visible=index == 0, elem_id=f"row-{number}", elem_classes="row-box"
        ) as box:  # fmt: skip
            target = gr.Textbox(
                label="What the picture should show", placeholder=self.opening or "something else",
                info="Press Enter to see it.", max_length=MOST_LETTERS, max_lines=1,
                elem_id=f"target-{number}",
            )  # fmt: skip
            most = MOST_STRENGTH["direction"]
            strength = gr.Slider(
                -most, most, 0, step=0.1, label="Strength", elem_id=f"strength-{number}",
                info="0 changes nothing, negative is the opposite.", buttons=[],
            )  # fmt: skip
            method = gr.Radio(
                [(NAMES[each], each) for each in METHODS], value="direction", label="Method",
                info="Direction and mapper answer at once; optimising takes seconds.",
                elem_id=f"method-{number}",
            )  # fmt: skip
            with gr.Column(visible=False, elem_classes="row-part") as optimising:
                run = gr.Button("Optimise this picture", variant="primary", elem_id=f"run-{number}")
                _help(
                    f"run-{number}",
                    "Searches the best edit of this one picture. Every step is shown, and Stop "
                    "ends it.",
                )
            with gr.Accordion("More", open=False, elem_id=f"more-{number}"):
                threshold = gr.Slider(
                    0, USUAL_THRESHOLD, AUTOMATIC, step=0.01, label="Threshold", buttons=[],
                    info="Of a direction: a higher one moves fewer channels, so less else changes.",
                    elem_id=f"threshold-{number}",
                )  # fmt: skip
                automatic = gr.Checkbox(
                    True, label="Automatic threshold", elem_id=f"automatic-{number}",
                    info=f"{AUTOMATIC:g}, or less for a sentence that moves little. Moving the "
                    "slider turns it off.",
                )  # fmt: skip
                neutral = gr.Textbox(
                    label="Instead of", placeholder=self.neutral,
                    info="What pictures show anyway; the change is from this to the sentence.",
                    max_length=MOST_LETTERS, max_lines=1, elem_id=f"neutral-{number}",
                )  # fmt: skip
                train = gr.Button(
                    "Train a mapper for this sentence", size="sm", elem_id=f"train-{number}"
                )
                _help(
                    f"train-{number}",
                    "Learns it in a minute or more; then any picture is edited at once.",
                )
                with gr.Column(visible=False, elem_classes="row-part") as removing:
                    remove = gr.Button("Remove", size="sm", elem_id=f"remove-{number}")
                    _help(f"remove-{number}", "Takes this sentence out; the others stay.")
        return RowControls(
            box, target, strength, method, optimising, run, threshold, automatic, neutral, train,
            removing, remove,
        )  # fmt: skip

    def _more(self) -> None:
        with gr.Accordion("Compare strengths and thresholds", open=False, elem_id="compare"):
            _help(
                "draw-grid",
                "The last sentence as a direction, over strength (to the right) and threshold "
                "(downwards). Choose a picture to take its values.",
            )
            self.draw_grid = gr.Button("Draw them", size="sm", elem_id="draw-grid")
            self.grid = _thumbs("grid", "Strengths and thresholds", help_of="draw-grid")

        with gr.Accordion("Where it changed", open=False, elem_id="changed"):
            _help(
                "draw-map",
                "The brighter, the more a place changed; and the style channels that moved most, "
                "in standard deviations of theirs over random pictures.",
            )
            self.draw_map = gr.Button("Show it", size="sm", elem_id="draw-map")
            self.map = gr.HTML("", elem_id="map")


def _help(of: str, text: str) -> None:
    """The help line of a button, or of some that stand together; page.js tells them of it."""
    gr.HTML(f'<p class="sc-help" id="help-{of}">{text}</p>', elem_classes="sc-under")


def _has_films() -> bool:
    """Whether MP4 can be written here (extra ``video``)."""
    return importlib.util.find_spec("av") is not None


def _custom(script: str, template: str, **options: Any) -> Any:
    """A component of our own: a template that stays, and a script that shows ``value`` in it."""
    return gr.HTML(
        html_template=template, js_on_load=static(script), apply_default_css=False, **options
    )


def _thumbs(name: str, label: str, help_of: str = "", **options: Any) -> Any:
    """Pictures or words to choose from: a group that has a name, and a help line."""
    group = static("thumbs.html").replace("LABEL", label).replace("HELP", f"help-{help_of or name}")
    return _custom("thumbs.js", group, elem_id=name, **options)


def _suggestions(vocabulary: dict[str, list[str]]) -> list[tuple[str, str]]:
    """(short, whole) sentences that the model knows, one or two of a kind."""
    found = []
    for texts in vocabulary.values():
        for text in texts[-1:]:
            short = text.removeprefix("a face ").removeprefix("with ").removeprefix("a ")
            found.append((short, text))
    return found[:12]
