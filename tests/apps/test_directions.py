"""Banks of directions from the command line: measured, killed, resumed, looked into, used."""

from __future__ import annotations

import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from styleclip import images
from styleclip.apps.banks import extent
from styleclip.apps.channels import channel_strip
from styleclip.checkpoints import load_bank, load_edit, save_bank
from styleclip.checkpoints.registry import LATENT_MAP
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing import relevance as measuring
from styleclip.editing import scan as scanning
from styleclip.editing.latent_map import LatentMapConfig
from styleclip.editing.relevance import RelevanceConfig, bytes_per_picture
from styleclip.studio import Studio
from tests.apps.killing import kill_at_random
from tests.apps.running import PROMPT, Run, files

TARGET = PROMPT.split(" -> ")[1]
FEW = ("--images", "4", "--batch", "16")


@pytest.fixture
def bank(run: Run) -> Path:
    path = Path("bank.safetensors")
    assert run("directions", "measure", path, *FEW).code == 0, run.err
    return path


def test_measuring_writes_a_bank_of_this_model(run: Run) -> None:
    found = run("directions", "measure", "b.safetensors", *FEW, "--json").json()
    studio = Studio.load(run.model, torch.device("cpu"))
    conv = int(studio.generator.layout.conv_columns().sum())
    assert (found["out"], found["channels"]) == ("b.safetensors", conv)
    assert 2 <= found["images"] <= 4
    assert files() & {"b.safetensors", "b.safetensors.partial"} == {"b.safetensors"}
    kept = studio.load_bank("b.safetensors")
    assert kept.matrix.shape[0] == studio.generator.layout.size
    # a second one is not written over it
    assert run("directions", "measure", "b.safetensors", *FEW).code == 2
    assert "exists already" in run.err


@pytest.mark.parametrize("method", ["gradient", "samples"])
def test_the_other_ways_to_measure(run: Run, method: str) -> None:
    few = FEW if method == "gradient" else ()
    assert run("directions", "measure", "b.safetensors", "--method", method, *few).code == 0
    assert load_bank("b.safetensors").config["method"] == method


@pytest.mark.parametrize(
    ("method", "option"),
    [("gradient", "--sigma"), ("gradient", "--cosine"), ("samples", "--sigma"),
     ("samples", "--images"), ("samples", "--rgb"), ("samples", "--full")],
)  # fmt: skip
def test_options_of_another_way_to_measure_are_refused(run: Run, method: str, option: str) -> None:
    value = {"--sigma": ["5"], "--cosine": ["0.98"], "--images": ["4"]}.get(option, [])
    assert run("directions", "measure", "b.safetensors", "--method", method, option,
               *value).code == 2  # fmt: skip
    assert f"{option} belongs to --method exact" in run.err
    assert not files() & {"b.safetensors", "b.safetensors.partial"}


def test_what_is_measured_may_be_truncated_otherwise(run: Run, bank: Path) -> None:
    assert run("directions", "measure", "b.safetensors", *FEW, "--truncation", "0.5", "--cutoff",
               "2", "--sigma", "3", "--cosine", "1").code == 0, run.err  # fmt: skip
    other, usual = load_bank("b.safetensors"), load_bank(bank)
    found = {name: other.config[name] for name in ("truncation", "cutoff", "sigma", "cosine")}
    assert found == {"truncation": 0.5, "cutoff": 2, "sigma": 3.0, "cosine": None}
    assert {name: usual.config[name] for name in found} == {
        "truncation": 0.7, "cutoff": None, "sigma": 5.0, "cosine": 0.98,
    }  # fmt: skip
    assert not torch.allclose(other.std, usual.std)


@pytest.mark.parametrize("method", ["exact", "gradient", "samples"])
def test_pictures_without_variety_are_not_measured(run: Run, method: str) -> None:
    assert run("directions", "measure", "b.safetensors", "--method", method, "--truncation",
               "0").code == 2  # fmt: skip
    assert "at a truncation of 0 pictures have no variety" in run.err
    assert not files() & {"b.safetensors", "b.safetensors.partial"}


def test_a_bank_that_moves_nothing_gives_no_direction(run: Run, bank: Path) -> None:
    found = load_bank(bank)
    found.std.zero_()
    save_bank("still.safetensors", found, found.generator_hash, found.clip_hash)
    still = ("--bank", "still.safetensors")
    assert run("directions", "find", PROMPT, "x.safetensors", *still).code == 2
    assert "do not vary in this bank" in run.err and "x.safetensors" not in files()
    assert run("edit", PROMPT, "--seed", "3", "--method", "direction", *still).code == 2
    assert "do not vary in this bank" in run.err


def test_a_measurement_that_was_stopped_goes_on(
    run: Run, bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, pieces = load_bank(bank), []
    pushed = scanning.pushed_apart

    def stopped(*arguments: Any) -> torch.Tensor:
        pieces.append(1)
        if len(pieces) == 4:
            raise KeyboardInterrupt
        return pushed(*arguments)

    monkeypatch.setattr(scanning, "pushed_apart", stopped)
    assert run("directions", "measure", "again.safetensors", *FEW).code == 130
    assert "again.safetensors" not in files()
    # another measurement must not take its numbers
    monkeypatch.setattr(scanning, "pushed_apart", pushed)
    assert run("directions", "measure", "again.safetensors", "--images", "5").code == 2
    assert "other settings" in run.err
    assert run("directions", "measure", "again.safetensors", *FEW).code == 0
    assert torch.equal(load_bank("again.safetensors").matrix, whole.matrix)
    assert Path("again.safetensors").read_bytes() == bank.read_bytes()


@pytest.mark.parametrize("method", ["exact", "gradient", "samples"])
def test_what_is_asked_to_stop_saves_all_that_it_has(
    run: Run, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only what the last half minute wrote: the next run begins where this one stopped."""
    monkeypatch.setattr(measuring, "LatentMapConfig", partial(LatentMapConfig, samples=60))
    few = ("--method", method, "--batch", "8", *(() if method == "samples" else FEW[:2]))
    assert run("directions", "measure", "whole.safetensors", *few).code == 0, run.err
    embed, looks = ClipEmbedder.embed_images, []
    last = 2 if method == "gradient" else 4

    def stopped(self: ClipEmbedder, pictures: torch.Tensor) -> torch.Tensor:
        looks.append(len(pictures))
        if len(looks) == last:
            signal.raise_signal(signal.SIGINT)  # in the middle of a batch
        return embed(self, pictures)

    monkeypatch.setattr(ClipEmbedder, "embed_images", stopped)
    assert run("directions", "measure", "again.safetensors", *few).code == 130
    before, last = sum(looks), 0
    assert {"again.safetensors", "again.safetensors.partial"} & files() == {
        "again.safetensors.partial"
    }
    looks.clear()
    assert run("directions", "measure", "again.safetensors", *few).code == 0, run.err
    rest = sum(looks)
    looks.clear()
    assert run("directions", "measure", "whole.safetensors", *few, "--force").code == 0
    whole = sum(looks)
    assert rest == whole - before  # nothing twice
    assert Path("again.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


def test_a_memory_bounds_the_batch_and_changes_nothing(run: Run, bank: Path) -> None:
    measure = ("directions", "measure", "b.safetensors", *FEW[:2], "--json")
    assert run(*measure, "--memory", "1kB").code == 2
    assert "one picture at a time needs about" in run.err
    assert run(*measure, "--memory", "much").code == 2
    assert "--memory takes a size such as 2GB or 500MB, got 'much'" in run.err
    assert run(*measure, "--memory", "2GB", "--batch", "3").code == 2
    assert "give one of them" in run.err
    studio = Studio.load(run.model, torch.device("cpu"))
    each = bytes_per_picture(studio.generator, studio.embedder, RelevanceConfig())
    found = run(*measure, "--memory", f"{5 * each / 1000}kB").json()
    assert found["batch"] == 4  # slopes take the rest
    matrix, usual = load_bank("b.safetensors").matrix, load_bank(bank).matrix
    torch.testing.assert_close(matrix, usual, rtol=0, atol=1e-3)  # of half precision
    assert run(*measure, "--memory", "2GB", "--force").json()["batch"] > 64


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient", "samples"])
def test_killed_by_other_ways_to_measure_it_ends_in_the_same_file(run: Run, method: str) -> None:
    options = ("--method", method, "--batch", "8")
    options += ("--images", "200") if method == "gradient" else ()
    whole, killed = Path("whole.safetensors"), Path("killed.safetensors")
    seconds = run("directions", "measure", whole, *options, "--json").json()["seconds"]["measure"]
    words = ("directions", "measure", killed, *options, "--model", run.model)
    subprocess.run(kill_at_random(words, killed, seconds), check=True)
    assert killed.read_bytes() == whole.read_bytes()
    assert "killed.safetensors.partial" not in files()


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_in_the_same_file(run: Run) -> None:
    options = ("--images", "32", "--batch", "16")
    whole, killed = Path("whole.safetensors"), Path("killed.safetensors")
    seconds = run("directions", "measure", whole, *options, "--json").json()["seconds"]["measure"]
    words = ("directions", "measure", killed, *options, "--model", run.model)
    subprocess.run(kill_at_random(words, killed, seconds), check=True)
    assert killed.read_bytes() == whole.read_bytes()
    assert "killed.safetensors.partial" not in files()


def test_a_direction_is_an_edit_that_can_be_applied(run: Run, bank: Path, picture: Path) -> None:
    found = run(
        "directions", "find", PROMPT, "red.safetensors", "--channels", "3", "--bank", bank, "--json"
    ).json()
    assert found["channels"] == 3
    edit = load_edit("red.safetensors")
    assert edit.method == "direction" and edit.style_step is not None
    assert int((edit.style_step != 0).sum()) == 3
    assert run("apply", picture, "red.safetensors", "--refine", "0", "--out", "red.png").code == 0
    assert run("directions", "find", PROMPT, "n.safetensors", "--threshold", "0.99",
               "--bank", bank).code == 2  # fmt: skip
    assert "the largest |R| is" in run.err and "lower the threshold" in run.err


def test_top_lists_the_channels_that_a_prompt_moves(run: Run, bank: Path) -> None:
    found = run("directions", "top", PROMPT, "--count", "3", "--bank", bank, "--strip", "top.png",
                "--json").json()  # fmt: skip
    sizes = [abs(row["R"]) for row in found["rows"]]
    assert len(sizes) == 3 and sizes == sorted(sizes, reverse=True)
    assert all(row["effect"] > 0 for row in found["rows"])
    run("directions", "top", PROMPT, "--count", "3", "--bank", bank)
    assert run.out.splitlines()[0].split() == ["channel", "R", "effect"]
    page = images.open_picture("top.png")
    assert page.width == 3 * (192 + 12) + 12 and page.height > 3 * 192  # a row for each
    assert run("directions", "top", PROMPT, "--count", "51", "--bank", bank, "--strip",
               "much.png").code == 2  # fmt: skip
    assert "a strip shows 50 channels at most" in run.err and "much.png" not in files()
    channel = found["rows"][0]["channel"]
    assert run("directions", "top", "--channel", channel, "--bank", bank).code == 2
    assert "has no vocabulary" in run.err
    assert run("directions", "top", "--channel", "5.conv:0", "--bank", bank).code == 2
    assert "there is no channel '5.conv:0': this generator has 4.conv:0-" in run.err
    assert run("directions", "top", "--channel", "4.conv:²", "--bank", bank).code == 2
    assert "there is no channel '4.conv:²'" in run.err
    assert run("directions", "top").code == 2
    assert "give a prompt" in run.err


def test_a_row_of_a_strip_is_down_as_it_is_and_up(run: Run, bank: Path) -> None:
    studio, found = Studio.load(run.model, torch.device("cpu")), load_bank(bank)
    found.std.mul_(4)  # so that it shows
    columns = [studio.generator.layout.column(name) for name in ("4.conv:1", "8.conv:2")]
    page = channel_strip(studio, found, columns, seed=3)
    style, rows = studio.generator.affine(studio.sample(3)), []
    for column in columns:
        pictures = []
        for sign in (-1, 0, 1):
            moved = style.clone()
            if sign:
                moved[:, column] = found.mean[column] + sign * 5 * found.std[column]
            with torch.no_grad():
                pictures.append(images.tile(studio.generator.synthesis(moved)))
        rows.append(pictures)
    assert page.width == 3 * (192 + 12) + 12
    for top, pictures in zip((0, page.height // 2), rows, strict=True):
        for i, picture in enumerate(pictures):
            left, upper = 12 + i * (192 + 12), top + 12
            shown = page.crop((left, upper, left + 192, upper + 192))
            assert images.largest_difference(shown, picture) == 0, i
        assert images.largest_difference(pictures[0], pictures[2]) != 0


def test_a_channel_that_was_not_measured_says_so(run: Run, bank: Path) -> None:
    layout = Studio.load(run.model, torch.device("cpu")).generator.layout
    conv = int(layout.conv_columns().sum())
    rgb = next(layer for layer in layout if layer.kind == "rgb")
    assert run("directions", "top", "--channel", f"{rgb.name}:0", "--bank", bank).code == 2
    assert f"{rgb.name}:0 was not measured: the bank has {conv} of {layout.size}" in run.err
    assert "left out: toRGB layers (--rgb measures them)" in run.err


def test_what_was_left_out_is_said(run: Run) -> None:
    layout = Studio.load(run.model, torch.device("cpu")).generator.layout
    assert run("directions", "measure", "b.safetensors", *FEW).code == 0
    conv = int(layout.conv_columns().sum())
    told = f"measured {conv} of {layout.size} style channels; left out: toRGB layers (--rgb"
    assert run.out.startswith(told)
    assert run("directions", "measure", "c.safetensors", *FEW, "--rgb").code == 0
    assert run.out.startswith(f"measured all {layout.size} style channels\n")
    few = layout.columns(lambda layer: layer.resolution <= 8 and layer.kind == "conv")
    assert extent(layout, few) == (
        f"{int(few.sum())} of {layout.size} style channels; left out: layers of more than 8 pixels "
        "(--full measures them) and toRGB layers (--rgb measures them)"
    )


def test_a_channel_is_described_in_words(run: Run, bank: Path) -> None:
    run.model = Path(shutil.copytree(run.model, "model"))
    description = run.model / "model.json"
    texts = '"vocabulary": {"hair": ["a face with red hair", "a face with blue hair"]}, "name"'
    description.write_text(description.read_text().replace('"name"', texts, 1))
    found = run("directions", "top", "--channel", "8.conv:0", "--bank", bank, "--json").json()
    assert {row["text"] for row in found["rows"]} == {
        "a face with red hair", "a face with blue hair",
    }  # fmt: skip
    assert found["rows"][0]["R"] == pytest.approx(-found["rows"][1]["R"], abs=1e-5)
    # towards a text is positive
    studio = Studio.load(run.model, torch.device("cpu"))
    row = load_bank(bank).matrix[studio.generator.layout.column("8.conv:0")]
    red, blue = studio.embedder.embed_texts(["a face with red hair", "a face with blue hair"])
    toward = float(torch.nn.functional.normalize(red - blue, dim=0) @ row)
    values = {row["text"]: row["R"] for row in found["rows"]}
    assert abs(toward) > 1e-3
    assert values["a face with red hair"] == pytest.approx(toward, abs=1e-4)


# --- styleclip edit --method direction ----------------------------------------


def test_a_picture_is_edited_by_a_direction(run: Run, picture: Path, bank: Path) -> None:
    found = run("edit", picture, PROMPT, "--method", "direction", "--refine", "0", "--out", "a.png",
                "--json").json()  # fmt: skip
    (edit,) = found["edits"]
    assert edit["method"] == "direction"
    assert len(edit["config"]["strengths"]) == 1
    assert {"clip", "latent map"} <= images.read_recipe("a.png")["hashes"].keys()
    assert run("show", "a.png", "--replay").code == 0
    fixed = run("edit", picture, PROMPT, "--method", "direction", "--refine", "0", "--out", "b.png",
                "--alpha", "2", "--channels", "4", "--bank", bank, "--json").json()  # fmt: skip
    assert fixed["edits"][0]["config"] == {
        "threshold": None, "channels": 4, "strength": 2.0, "rgb": True, "templates": [],
        "relevance": "bank",
    }  # fmt: skip
    # the map has no part in a bank's direction of a fixed length, but in finding the length
    assert images.read_recipe("b.png")["hashes"].keys() == {"generator", "clip"}
    assert run("edit", picture, PROMPT, "--method", "direction", "--refine", "0", "--out", "c.png",
               "--bank", bank).code == 0, run.err  # fmt: skip
    assert "latent map" in images.read_recipe("c.png")["hashes"]


def test_what_belongs_to_another_method_is_refused(run: Run, picture: Path) -> None:
    assert run("edit", picture, PROMPT, "--alpha", "3").code == 2
    assert "--alpha belongs to --method direction" in run.err
    assert run("edit", picture, PROMPT, "--method", "direction", "--steps", "3").code == 2
    assert "--steps belongs to --method optimize" in run.err
    assert run("edit", picture, PROMPT, "--method", "direction", "--threshold", "0.1",
               "--channels", "3").code == 2  # fmt: skip
    assert "not both" in run.err
    assert run("edit", picture, PROMPT, "--method", "direction", "--preset", "paper").code == 2
    assert "has no directions.safetensors" in run.err


def test_a_bank_of_other_weights_is_refused(run: Run, picture: Path, bank: Path) -> None:
    found = load_bank(bank)
    save_bank("other.safetensors", found, "f" * 64, found.clip_hash)
    assert run("edit", picture, PROMPT, "--method", "direction", "--bank",
               "other.safetensors").code == 2  # fmt: skip
    assert "measured with another generator: expected ffffffffffff" in run.err
    save_bank("other.safetensors", found, found.generator_hash, "e" * 64)
    assert run("directions", "top", PROMPT, "--bank", "other.safetensors").code == 2
    assert "measured with another clip" in run.err


def test_preserving_what_was_asked_for_is_refused(run: Run, picture: Path) -> None:
    assert run("edit", picture, PROMPT, "--method", "direction", "--preserve", "red hair").code == 2
    assert "preserve less" in run.err
    assert run("edit", picture, PROMPT, "--method", "direction", "--preserve", "xyzzy").code == 2
    assert "never learned 'xyzzy', so it cannot be preserved" in run.err
    out = ("--refine", "0", "--out", "kept.png")
    assert run("edit", picture, PROMPT, "--method", "direction", "--preserve", "hat",
               *out).code == 0, run.err  # fmt: skip
    (kept,) = images.read_recipe("kept.png")["edits"]
    assert kept["config"]["preserve"] == ["hat"]


def test_a_sweep_is_a_page_of_strengths_and_thresholds(run: Run, bank: Path) -> None:
    found = run("directions", "sweep", TARGET, "--seed", "3", "--alpha", "0,4", "--beta", "0,0.05",
                "--bank", bank, "--out", "s.png", "--json").json()  # fmt: skip
    assert (found["alpha"], found["beta"]) == ([0, 4], [0, 0.05])
    assert found["channels"][0] > found["channels"][1]
    page = images.open_picture("s.png")
    assert page.width == 2 * (192 + 12) + 12
    assert run("directions", "sweep", TARGET, "--seed", "3", "--alpha", "much",
               "--out", "t.png").code == 2  # fmt: skip
    assert "--alpha takes numbers between commas" in run.err
    assert run("directions", "sweep", TARGET, "--seed", "3", "--bank", "own",
               "--out", "t.png").code == 2  # fmt: skip
    assert "has no directions.safetensors" in run.err
    assert "t.png" not in files()


@pytest.mark.parametrize("way", ["instant", "prompt-gradient"])
def test_a_direction_needs_no_bank(run: Run, way: str) -> None:
    found = run("directions", "find", TARGET, "i.safetensors", "--bank", way, "--json").json()
    assert found["channels"] > 0
    assert load_edit("i.safetensors").style_step is not None
    edit = ("edit", TARGET, "--seed", "3", "--method", "direction", "--bank", way)
    assert run(*edit, "--out", "i.png").code == 0, run.err
    assert run(*edit, "--preserve", "hat", "--out", "j.png").code == (
        2 if way == "prompt-gradient" else 0
    )
    assert ("that prompt alone is known" in run.err) == (way == "prompt-gradient")
    assert run("directions", "top", TARGET, "--bank", way).code == 2


def test_finding_warns_of_words_and_preserves_what_is_named(run: Run, bank: Path) -> None:
    find = ("directions", "find", TARGET, "--bank", bank)
    assert run(*find, "plain.safetensors").code == 0
    assert not run.err
    assert run(*find, "held.safetensors", "--preserve", "hat").code == 0, run.err
    plain, held = (load_edit(f"{name}.safetensors").style_step for name in ("plain", "held"))
    assert plain is not None and held is not None and not torch.equal(plain, held)
    assert run("directions", "find", "a face with xyzzy", "x.safetensors", "--bank", bank).code == 0
    assert "never learned" in run.err
    assert run("directions", "top", "a face with xyzzy", "--bank", bank).code == 0
    assert "never learned" in run.err


@pytest.mark.parametrize("command", ["find", "sweep", "edit"])
def test_what_is_not_understood_of_names_is_said_once(
    run: Run, bank: Path, command: str, picture: Path
) -> None:
    words = {
        "find": ("directions", "find", "red hair -> blue hair", "x.safetensors"),
        "sweep": ("directions", "sweep", "red hair -> blue hair", "--seed", "3", "--alpha", "1",
                  "--beta", "0,0.01"),
        "edit": ("edit", picture, "red hair -> blue hair", "--method", "direction",
                 "--refine", "0"),
    }[command]  # fmt: skip
    assert run(*words, "--bank", bank, "--preserve", "xyzzy hat").code == 0, run.err
    assert run.err.count("never learned") == 1
    assert "styleclip: warning: the model 'tiny' never learned the words 'xyzzy'" in run.err
    assert "PromptWarning" not in run.err


def test_a_strength_is_named_or_found_and_not_nothing(run: Run, bank: Path) -> None:
    edit = ("edit", TARGET, "--seed", "3", "--method", "direction", "--bank", bank)
    assert run(*edit, "--alpha", "2", "--auto-strength").code == 2
    assert "--alpha names the strength and --auto-strength finds it" in run.err
    assert run(*edit, "--alpha", "0").code == 2
    assert "nothing would change" in run.err
    assert run("directions", "find", TARGET, "x.safetensors", "--alpha", "0").code == 2
    assert "nothing would change" in run.err
    assert run(*edit, "--threshold", "5").code == 2
    assert "threshold must be at least 0 and below 1, got 5" in run.err


def test_to_rgb_layers_can_be_left_out(run: Run) -> None:
    """By samples they are there; without them only convolutions are moved."""
    rgb = ~Studio.load(run.model, "cpu").generator.layout.conv_columns()
    for name, options in (("with", ()), ("without", ("--no-rgb",))):
        assert run("directions", "find", TARGET, f"{name}.safetensors", "--threshold", "0",
                   *options).code == 0, run.err  # fmt: skip
    steps = [load_edit(f"{name}.safetensors").style_step for name in ("with", "without")]
    assert steps[0] is not None and steps[1] is not None
    assert steps[0][0, rgb].any() and not steps[1][0, rgb].any() and steps[1].any()
    assert run("edit", PROMPT, "--seed", "3", "--no-rgb").code == 2
    assert "--no-rgb belongs to --method direction" in run.err


def test_the_paper_s_run_shows_texts_in_templates(run: Run, bank: Path) -> None:
    found = run("edit", TARGET, "--seed", "3", "--method", "direction", "--preset", "paper",
                "--threshold", "0", "--bank", bank, "--json").json()  # fmt: skip
    config = found["edits"][0]["config"]
    assert (config["templates"], config["rgb"]) == ("imagenet", False)


# --- the official fs3 ---------------------------------------------------------


@pytest.fixture
def fs3(run: Run, bank: Path) -> Path:
    """The same bank in the official layout."""
    layout = Studio.load(run.model, torch.device("cpu")).generator.layout
    np.save("fs3.npy", load_bank(bank).matrix[layout.conv_columns()].numpy())
    return Path("fs3.npy")


def test_an_official_fs3_is_as_good_as_a_bank(run: Run, bank: Path, fs3: Path) -> None:
    edit = ("edit", PROMPT, "--seed", "3", "--method", "direction", "--alpha", "3",
            "--threshold", "0.05")  # fmt: skip
    assert run(*edit, "--bank", fs3, "--out", "a.png", "--save-edit", "a.safetensors").code == 0
    assert run.err.count("warning: fs3.npy does not say which generator and CLIP") == 1
    assert run(*edit, "--bank", bank, "--out", "b.png", "--save-edit", "b.safetensors").code == 0
    assert "does not say" not in run.err
    official, ours = (load_edit(f"{name}.safetensors").style_step for name in "ab")
    assert official is not None and ours is not None and official.any()
    torch.testing.assert_close(official, ours, rtol=0, atol=1e-3)  # ours is kept in half precision
    assert run("directions", "top", TARGET, "--bank", fs3, "--count", "2").code == 0, run.err


def test_an_fs3_that_does_not_fit_is_refused(run: Run, fs3: Path) -> None:
    edit = ("edit", PROMPT, "--seed", "3", "--method", "direction", "--bank", fs3)
    rows = np.load(fs3)
    np.save(fs3, rows[:-1])
    assert run(*edit).code == 2
    assert "rows for this generator" in run.err
    np.save(fs3, np.eye(len(rows), 512))
    assert run(*edit).code == 2
    assert "a CLIP whose vectors have 512 numbers" in run.err and "has 32" in run.err
    fs3.write_bytes(fs3.read_bytes()[:-10])
    assert run(*edit).code == 2
    assert "damaged or incomplete .npy file" in run.err


@pytest.mark.parametrize("way", ["instant", "prompt-gradient"])
def test_a_direction_without_a_bank_measures_and_keeps_nothing(
    run: Run, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new generator is edited at once: the map of 2,000 pictures is not asked for."""

    def forbidden(*_: object) -> None:
        raise AssertionError("the whole latent map was measured")

    monkeypatch.setattr(Studio, "measure_latent_map", forbidden)
    monkeypatch.setattr(Studio, "latent_map", property(forbidden))
    edit = ("edit", TARGET, "--seed", "3", "--method", "direction", "--bank", way)
    assert run(*edit, "--out", "i.png").code == 0, run.err
    assert run("show", "i.png", "--replay").code == 0, run.err


def test_a_bank_and_a_strength_ask_for_no_latent_map(
    run: Run, bank: Path, fs3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 1024 pixels measuring one takes a quarter of an hour, only to name it in a recipe."""
    run.model = Path(shutil.copytree(run.model, "model"))
    (run.model / LATENT_MAP).unlink()

    def forbidden(*_: object) -> None:
        raise AssertionError("the whole latent map was measured")

    monkeypatch.setattr(Studio, "measure_latent_map", forbidden)
    edit = ("edit", PROMPT, "--seed", "3", "--method", "direction", "--alpha", "2")
    for out, file in (("a.png", bank), ("b.png", fs3)):
        assert run(*edit, "--channels", "4", "--bank", file, "--out", out).code == 0, run.err
        assert images.read_recipe(out)["hashes"].keys() == {"generator", "clip"}
        assert run("show", out, "--replay").code == 0, run.err
