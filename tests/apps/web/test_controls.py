"""The controls in chromium: by keys, with help lines, contrast, on a telephone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.apps.web.visiting import shown, steps

pytestmark = pytest.mark.slow


def test_the_line_is_drawn_with_keys_and_the_mouse(visit: Any) -> None:
    visitor = visit()
    wipe = visitor.page.locator(".sc-wipe")
    wipe.focus()
    for _ in range(5):
        visitor.page.keyboard.press("ArrowRight")
    assert wipe.get_attribute("aria-valuetext") == "line at 55 percent"
    box = wipe.bounding_box()
    visitor.page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2)
    style = visitor.page.get_attribute(".sc-frame", "style")
    assert style is not None and 17 < float(style.partition("--wipe:")[2].strip(" %;")) < 23


def test_a_slider_goes_by_keys_and_its_focus_is_seen(visit: Any) -> None:
    """One press is one step of the history, and so is a key that is held."""
    visitor = visit()
    page, slider = visitor.page, visitor.page.locator("#strength-1 input[type=range]")
    opening = float(slider.input_value())
    slider.focus()
    visitor.after(lambda: page.keyboard.press("ArrowRight"))
    assert float(slider.input_value()) == pytest.approx(opening + 0.1)
    assert slider.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    steps(visitor, 2)
    page.wait_for_function(f"location.search.includes('strength={opening + 0.1:.1f}')")
    for _ in range(3):
        visitor.after(lambda: page.keyboard.down("ArrowRight"))
    assert float(slider.input_value()) == pytest.approx(opening + 0.4)
    page.keyboard.up("ArrowRight")
    steps(visitor, 3)
    for strength in (opening + 0.1, opening):
        visitor.after(lambda: page.keyboard.press("Control+z"))
        assert float(slider.input_value()) == pytest.approx(strength)


@pytest.mark.parametrize("key", ["Enter", "Tab"])
def test_a_number_that_is_typed_is_a_step(visit: Any, key: str) -> None:
    visitor = visit()
    number = visitor.page.locator("#strength-1 input[type=number]")
    number.fill("2.5")
    visitor.page.keyboard.press(key)
    steps(visitor, 2)
    visitor.page.wait_for_function("location.search.includes('strength=2.5')")


def test_a_number_beyond_the_bounds_or_none_is_put_right(visit: Any) -> None:
    """What the box says, the picture, and the link are the same, and the server has no error."""
    visitor = visit()
    failed: list[int] = []
    visitor.page.on("response", lambda it: failed.append(it.status) if it.status >= 400 else None)
    number = visitor.page.locator("#strength-1 input[type=number]")
    number.fill("")  # slides to nothing
    number.type("300")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_function("location.search.includes('strength=20')")
    visitor.page.wait_for_function("document.querySelector('.sc-after').alt.endsWith(' 20')")
    visitor.page.wait_for_function(
        "document.querySelector('#strength-1 input[type=number]').value == 20"
    )
    number.fill("")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_function(
        "document.querySelector('#strength-1 input[type=number]').value == 20"
    )
    assert failed == []


def test_words_that_are_typed_while_an_answer_comes_stay(visit: Any) -> None:
    visitor = visit()
    visitor.say("a face with glasses")
    visitor.page.fill("#target-1 input, #target-1 textarea", "a face with a be")
    visitor.page.wait_for_function("document.querySelector('.sc-after').alt.includes('glasses')")
    visitor.page.wait_for_timeout(300)
    assert visitor.value("#target-1") == "a face with a be"


PARTS = "['stage', 'tools', 'history', 'ask', 'who', 'head'].find((id) => it.closest('#' + id))"
TABBED = f"""() => {{
  const it = document.activeElement;
  return it === document.body ? null : {PARTS} ?? "more";
}}"""
COLUMNS = {
    1440: ["head", "who", "stage", "tools", "history", "ask", "more"],
    1000: ["head", "stage", "tools", "history", "ask", "who", "more"],
    390: ["head", "stage", "ask", "tools", "history", "who", "more"],
}


@pytest.mark.parametrize(("width", "turned"), [(1440, 390), (1000, 1440), (390, 1000)])
def test_tab_goes_as_the_eye_does(visit: Any, width: int, turned: int) -> None:
    """Also after the window has another width, and what has the focus keeps it."""
    visitor = visit(viewport={"width": width, "height": 900})
    page = visitor.page
    visitor.after(lambda: visitor.say("a face with glasses"))  # a history, an undo
    for columns in (width, turned):
        page.set_viewport_size({"width": columns, "height": 900})
        page.wait_for_timeout(200)
        assert page.evaluate(TABBED) == "ask"
        parts = tabbed(page)
        start = parts.index("head")
        assert parts[start:] + parts[:start] == COLUMNS[columns]
        page.locator("#target-1 input, #target-1 textarea").focus()
        if columns != 1440:  # from above to below, each where it is seen
            shown = [part for part in COLUMNS[columns] if columns == 390 or part != "ask"]
            tops = [page.locator(f"#{part}").bounding_box()["y"] for part in shown[1:-1]]
            assert tops == sorted(tops)


def tabbed(page: Any) -> list[str]:
    """The parts of the page in the order in which Tab comes to them, all the way round."""
    start = page.evaluate_handle("document.activeElement")
    parts: list[str] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        part = page.evaluate(TABBED)
        if part is not None and (not parts or part != parts[-1]):
            parts.append(part)
        if page.evaluate("start => document.activeElement === start", start):
            break
    return parts[:-1] if len(parts) > 1 and parts[0] == parts[-1] else parts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_of_a_text_is_seen(visit: Any, scheme: str) -> None:
    visitor = visit(color_scheme=scheme)
    for place in ("#target-1", "#seed", "#strength-1 [data-testid=number-input], #strength-1"):
        text = visitor.page.locator(place).first.locator("input, textarea").first
        text.focus()
        style = "it => ['Style', 'Width'].map((name) => getComputedStyle(it)['outline' + name])"
        assert text.evaluate(style) == ["solid", "2px"], place


def test_what_is_seen_is_told_to_who_cannot_see(visit: Any) -> None:
    """Help lines of inputs, whose they are, what is folded out."""
    visitor = visit()
    visitor.after(lambda: visitor.page.click("#add"))
    visitor.page.wait_for_selector("[role=group][aria-label='Sentence 2'] #strength-2")
    visitor.page.wait_for_selector("#more-1 button[aria-expanded=false]")
    visitor.page.click("#more-1 button")
    visitor.page.wait_for_selector("#more-1 button[aria-expanded=true]")
    for control in ("#target-1", "#strength-1", "#threshold-1", "#seed", "#method-1"):
        told = visitor.page.locator(f"{control} :is(input, textarea)").first
        visitor.page.wait_for_selector(f"{control} [aria-describedby='info-{control[1:]}']")
        assert visitor.text(f"#{told.get_attribute('aria-describedby')}")


def test_the_focus_goes_from_undo_to_redo_at_the_end(visit: Any) -> None:
    visitor = visit()
    visitor.after(lambda: visitor.say("a face with glasses"))
    visitor.page.wait_for_selector("#undo:not([disabled])")
    for here, there in (("undo", "redo"), ("redo", "undo")):
        visitor.page.focus(f"#{here}")
        visitor.page.keyboard.press("Enter")
        visitor.page.wait_for_selector(f"#{here}[disabled]")
        visitor.page.wait_for_function(f"document.activeElement.id === '{there}'")


def test_arrows_go_from_method_to_method(visit: Any) -> None:
    visitor = visit()
    visitor.page.locator("#method-1 input[type=radio]").first.focus()
    visitor.after(lambda: visitor.page.keyboard.press("ArrowRight"))
    visitor.page.wait_for_function("location.search.includes('by=mapper')")
    visitor.after(lambda: visitor.page.keyboard.press("ArrowLeft"))
    visitor.page.wait_for_function("location.search.includes('by=direction')")


CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, a = 1] = rgb(getComputedStyle(e).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("#head *, #studio *, #compare *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const seen = e.checkVisibility({opacityProperty: true, visibilityProperty: true});
    if (!own || !seen || e.closest("button:disabled")) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(under(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push([e.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit: Any, scheme: str) -> None:
    visitor = visit(color_scheme=scheme)
    visitor.page.click("#more-1 button")
    visitor.page.click("#compare button")
    visitor.page.wait_for_timeout(400)
    assert visitor.page.evaluate(CONTRAST) == []


def test_a_telephone_has_the_picture_beside_the_slider(visit: Any) -> None:
    visitor = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = visitor.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#strength-1").scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 300)")
    page.wait_for_timeout(200)
    frame, slider = (page.locator(each).bounding_box() for each in (".sc-frame", "#strength-1"))
    assert frame["y"] >= 0 and frame["y"] + frame["height"] < 844  # it stays
    assert slider["y"] > 0
    page.click("#compare button")
    page.click("#draw-grid")
    page.wait_for_selector("#grid .sc-grid button")
    assert (
        page.evaluate(
            "(it => it.scrollWidth - it.clientWidth)(document.querySelector('#grid .sc-grid'))"
        )
        <= 0
    )


def test_every_control_has_a_help_line(visit: Any) -> None:
    visitor = visit()
    config = json.loads(visitor.page.evaluate("JSON.stringify(window.gradio_config.components)"))
    asking = ("textbox", "slider", "number", "radio", "dropdown", "checkbox")
    silent = [
        each["props"].get("elem_id") for each in config
        if each["type"] in asking and not each["props"].get("info")
        and each["props"].get("visible") is not False and each["props"].get("elem_id") != "query"
    ]  # fmt: skip
    assert silent == []
    visitor.after(lambda: visitor.page.click("#add"))  # now two can be removed, and undo goes
    visitor.after(lambda: visitor.page.click("#method-1 label:has-text('Optimise')"))
    for more in ("#more-1", "#compare", "#changed"):
        visitor.page.click(f"{more} button")
    visitor.page.wait_for_selector("#draw-map")
    buttons = visitor.page.locator("button[id]:visible:not([disabled])").all()
    assert len(buttons) == 13, [each.get_attribute("id") for each in buttons]
    groups = visitor.page.locator(".sc-thumbs").all()
    assert len(groups) == 4  # of people, steps, suggestions, and the grid
    for group in groups:
        assert group.get_attribute("role") == "group" and group.get_attribute("aria-label")
        help_line = group.get_attribute("aria-describedby")
        assert visitor.page.is_visible(f"#{help_line}") and visitor.text(f"#{help_line}")
    for button in buttons:
        button.focus()
        help_line = button.get_attribute("aria-describedby")
        assert help_line, button.inner_text()
        assert visitor.page.is_visible(f"#{help_line}") and visitor.text(f"#{help_line}")


def test_the_automatic_threshold_is_shown_and_comes_back(visit: Any) -> None:
    visitor = visit()
    visitor.page.click("#more-1 button")
    box = visitor.page.locator("#automatic-1 input")
    slider = visitor.page.locator("#threshold-1 input[type=range]")
    assert box.is_checked()
    picture = shown(visitor)
    slider.focus()
    for _ in range(5):
        visitor.after(lambda: visitor.page.keyboard.press("ArrowRight"))
    visitor.page.wait_for_function("!document.querySelector('#automatic-1 input').checked")
    visitor.page.wait_for_function("location.search.includes('threshold=')")
    assert np.abs(shown(visitor) - picture).max() > 0
    visitor.after(lambda: box.check())
    visitor.page.wait_for_function("!location.search.includes('threshold=')")
    assert np.abs(shown(visitor) - picture).max() == 0
    visitor.after(lambda: box.uncheck())  # the same as a number
    visitor.page.wait_for_function("location.search.includes('threshold=0.1')")


def test_an_empty_sentence_is_told_what_to_do(visit: Any) -> None:
    visitor = visit()
    visitor.after(lambda: visitor.say(""), note="Type what the picture should show, such as")
    visitor.after(lambda: visitor.say("a face with glasses"))
    assert "Type what" not in visitor.text(".sc-note")
