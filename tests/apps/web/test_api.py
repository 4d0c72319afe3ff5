"""The calls over HTTP as docs/page.md shows them, and what they say to nonsense."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image

from styleclip import images
from styleclip.apps.web import engine as engines
from styleclip.apps.web.api import Api, _bytes
from styleclip.apps.web.engine import Engine
from styleclip.apps.web.guard import completed
from styleclip.apps.web.jobs import Job, StoppedError
from styleclip.apps.web.session import MOST_ROWS
from styleclip.editing.mapper_training import TrainingConfig
from styleclip.errors import ImageError
from styleclip.images import RECIPE_KEY
from styleclip.studio import Studio
from tests.pages import blocks_for

pytestmark = pytest.mark.slow
HERE = "tests/apps/web/test_api.py"
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "page.md").read_text("utf-8")


@pytest.fixture
def client(address: str) -> Any:
    return Client(address, verbose=False)


def picture(answer: dict[str, Any]) -> Image.Image:
    content = base64.b64decode(answer["image"].removeprefix("data:image/png;base64,"))
    return Image.open(io.BytesIO(content))


def asked_by(answer: dict[str, Any]) -> list[str]:
    """The targets in the recipe of an answer's picture."""
    recipe = json.loads(picture(answer).text[RECIPE_KEY])  # type: ignore[attr-defined]
    return [each["target"] for each in recipe["edits"]]


def test_the_python_example_runs(address: str, place: Path) -> None:
    (example,) = blocks_for("docs/page.md", f"{HERE}::test_the_python_example_runs")
    names: dict[str, Any] = {}
    exec(example.content.replace("http://127.0.0.1:7860", address), names)
    with Image.open("glasses.png") as picture:
        assert picture.size == (128, 128)
    assert asked_by(names["answer"]) == ["a face with glasses", "a smiling face"]
    assert names["answer"]["edits"][1]["strength"] == 4.0
    assert names["news"]["edits"][0]["method"] == "optimisation"


def test_the_curl_example_runs(address: str, place: Path) -> None:
    (example,) = blocks_for("docs/page.md", f"{HERE}::test_the_curl_example_runs")
    done = subprocess.run(
        ["bash", "-e", "-c", example.content.replace("http://127.0.0.1:7860", address)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "no_proxy": "127.0.0.1"},
    )  # fmt: skip
    assert "event: complete" in done.stdout and "data:image/png;base64," in done.stdout, done


def test_every_call_is_documented_and_no_other_is_offered(client: Any) -> None:
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    documented = [line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `/")]
    assert sorted(offered) == sorted(documented)


def test_a_picture_that_was_edited_is_edited_again(client: Any) -> None:
    first = client.predict("a face with red hair", seed=3, api_name="/edit")
    assert asked_by(first) == ["a face with red hair"]
    again = client.predict("a face with glasses", image=first["image"], api_name="/edit")
    assert asked_by(again) == ["a face with red hair", "a face with glasses"]
    assert [each["target"] for each in again["edits"]] == asked_by(again)
    assert again["edits"][0] == first["edits"][0]
    sent = {"prompt": "a face with a beard", "image": first["image"]}
    last = list(client.submit(api_name="/optimise", **sent))[-1]
    assert asked_by(last) == ["a face with red hair", "a face with a beard"]
    assert last["edits"][0] == first["edits"][0]


def test_a_picture_holds_as_many_sentences_as_the_page(client: Any) -> None:
    answer: dict[str, Any] = {"image": ""}
    for _ in range(MOST_ROWS):
        sent = {"prompt": "a smiling face", "image": answer["image"], "strength": 0.5}
        answer = client.predict(api_name="/edit", **sent)
    with pytest.raises(Exception, match="The stack holds 5 sentences"):
        client.predict("a smiling face", image=answer["image"], api_name="/edit")


def test_several_sentences_are_one_picture(client: Any) -> None:
    sentences = ["a face with red hair", "a face with glasses"]
    both = client.predict(sentences, seed=3, strength=[3, 2.5], api_name="/edit")
    assert asked_by(both) == sentences
    assert [each["strength"] for each in both["edits"]] == [3, 2.5]
    first = client.predict(sentences[0], seed=3, strength=3, api_name="/edit")
    after = client.predict(sentences[1], image=first["image"], strength=2.5, api_name="/edit")
    assert picture(after).tobytes() == picture(both).tobytes()


def test_the_way_there_as_a_film_by_any_method(client: Any) -> None:
    asked = {"prompt": "a face with red hair", "seed": 3, "truncation": 0.5}
    far = client.predict(**asked, strength=4, api_name="/animate")["gif"]
    assert far != client.predict(**asked, strength=4, threshold=0.15, api_name="/animate")["gif"]
    film = client.predict(**asked, method="mapper", kind="mp4", api_name="/animate")["mp4"]
    assert base64.b64decode(film.removeprefix("data:video/mp4;base64,"))[4:8] == b"ftyp"
    edited = client.predict(**asked, strength=4, api_name="/edit")["image"]
    assert client.predict(image=edited, api_name="/animate")["gif"] == far
    with pytest.raises(Exception, match="kind is gif or mp4, got 'avi'"):
        client.predict(**asked, kind="avi", api_name="/animate")
    with pytest.raises(Exception, match="prompt is empty"):
        client.predict(seed=3, api_name="/animate")


def test_where_an_edit_changed_the_picture(client: Any) -> None:
    answer = client.predict("a face with red hair", seed=3, strength=4, api_name="/map")
    assert answer["map"].startswith("data:image/jpeg;base64,")
    far = [abs(each["deviations"]) for each in answer["channels"]]
    assert len(far) == 10 and far == sorted(far, reverse=True)
    assert far[0] == pytest.approx(4, abs=0.01)  # the strongest channel, so many deviations
    edited = client.predict("a face with red hair", seed=3, strength=4, api_name="/edit")["image"]
    assert client.predict(image=edited, api_name="/map")["channels"] == answer["channels"]


def test_a_direction_over_strengths_and_thresholds(client: Any) -> None:
    answer = client.predict("a face with red hair", seed=3, api_name="/grid")
    strengths = [each["strength"] for each in answer["pictures"]]
    assert strengths[:6] == [-3, 0, 2, 4, 6, 8] and len(strengths) % 6 == 0
    assert len({each["image"] for each in answer["pictures"][:6]}) == 6
    assert answer["pictures"][0]["threshold"] == 0 < answer["pictures"][-1]["threshold"]


def test_the_latent_is_the_seeds_own(client: Any) -> None:
    answer = client.predict(3, api_name="/latent")
    content = base64.b64decode(answer["latent"].partition(",")[2])
    w_plus = np.load(io.BytesIO(content))
    assert list(w_plus.shape) == answer["shape"]
    assert np.allclose(w_plus, Studio.load("portraits").sample(3).numpy(), atol=1e-5)


def test_who_cancels_a_training_ends_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """gradio closes the call of who goes away."""
    monkeypatch.setattr(engines, "TRAINING_LATENTS", 8)
    jobs: list[Job[Any]] = []
    start = engine.train
    monkeypatch.setattr(engine, "train", lambda *asked: jobs.append(start(*asked)) or jobs[-1])
    training = Api(engine).train("a face with red hair", seed=3)
    assert next(training)["steps"] > 1
    (job,) = jobs
    assert job._thread.is_alive() and not job.stop.is_set()
    training.close()  # type: ignore[attr-defined]
    assert job.stop.is_set()
    job._thread.join(60)
    assert not job._thread.is_alive() and isinstance(job._failure, StoppedError)


def test_training_ends_with_its_picture_and_a_file(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick = TrainingConfig(steps=2, batch=2, check_every=1, held_out=2)
    monkeypatch.setattr(TrainingConfig, "of", classmethod(lambda *_: quick))
    monkeypatch.setattr(engines, "TRAINING_LATENTS", 8)
    *news, last = Api(engine).train("a face with red hair", seed=3)
    assert news[-1]["step"] == 2 and last["edits"][0]["method"] == "mapper"
    place = tmp_path / "mapper.safetensors"
    place.write_bytes(base64.b64decode(last["mapper"].partition(",")[2]))
    mapper = engine.studio.load_mapper(place)
    again = engine.studio.edit(engine.studio.sample(3), mapper.own_prompt, mapper)
    drawn = images.to_picture(engine.studio.render(engine.studio.sample(3), again))
    assert drawn.tobytes() == picture(last).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": ["red hair", ""]}, "prompt is empty"),
        ({"prompt": 7}, "prompt must be a text, got 7"),
        ({"prompt": {"a": 1}}, "prompt must be a text, got {'a': 1}"),
        ({"prompt": ["red hair"] * 6}, "at most 5 sentences"),
        ({"prompt": "red hair", "seed": -1}, "a seed is a whole number"),
        ({"prompt": "red hair", "seed": "x"}, "a seed is a whole number from 0 to .*got 'x'"),
        ({"prompt": "red hair", "seed": 2.5}, "a seed is a whole number"),
        ({"prompt": "red hair", "seed": None}, "a seed is a whole number"),
        ({"prompt": "red hair", "image": "hello!"}, "not base64"),
        ({"prompt": "red hair", "image": "aGVsbG8="}, "not a picture"),
        ({"prompt": "red hair", "image": ["aGVsbG8="]}, "image is not a text"),
        ({"prompt": "red hair", "method": "magic"}, "no method 'magic'"),
        ({"prompt": "red hair", "method": ["mapper"]}, "no method \\['mapper'\\]"),
        ({"prompt": "red hair", "method": "optimisation"}, "call /optimise"),
        ({"prompt": "red hair", "method": "optimize"}, "call /optimise"),
        ({"prompt": "red hair", "method": "mapper", "preserve": "age"}, "preserve belongs to"),
        ({"prompt": "red hair", "method": "mapper", "threshold": 0.1}, "threshold belongs to"),
        ({"prompt": "red hair", "strength": 1e9}, "between -20 and 20"),
        ({"prompt": "red hair", "strength": "abc"}, "strength must be a number.*got 'abc'"),
        ({"prompt": "red hair", "strength": "nan"}, "strength must be a number.*got 'nan'"),
        ({"prompt": "red hair", "strength": [1, 2]}, "one for each"),
        ({"prompt": "red hair", "threshold": 7}, "threshold must be"),
        ({"prompt": "red hair", "threshold": "x"}, "threshold must be a number"),
        ({"prompt": "red hair", "truncation": 9}, "truncation must be"),
        ({"prompt": "red hair", "truncation": "x"}, "truncation must be a number"),
        ({"prompt": "red hair", "preserve": 3}, "preserve must be a text"),
        ({"prompt": "red " * 200}, "letters"),
        ({"prompt": "<img src=x onerror=alert(1)> -> b -> c"}, "&lt;img"),
    ],
)
def test_nonsense_gets_one_sentence(client: Any, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match="(?i)" + words):
        client.predict(api_name="/edit", **wrong)


def test_values_that_are_left_out_are_the_usual_ones() -> None:
    assert completed([3], [0, 0.7]) == [3, 0.7]
    with pytest.raises(Exception, match="takes 2 values at most, got 3"):
        completed([3, 0.7, 1], [0, 0.7])


def test_an_image_that_is_too_large_is_not_decoded() -> None:
    with pytest.raises(ImageError, match="20 MB"):
        _bytes("A" * 30_000_000)
