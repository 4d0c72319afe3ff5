"""Recipes on random pictures: a run that was killed is the run that was not; and their parts."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from styleclip.faces.identity import IdentityConfig
from styleclip.faces.reader import Reader
from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from styleclip.portraits import train_generator as recipe_of_generator
from styleclip.portraits import training
from styleclip.portraits.attributes import ATTRIBUTES, Portrait, sample_portrait, visible
from styleclip.portraits.captions import LONGEST, VOCABULARY, Caption, sample_caption
from styleclip.portraits.train_clip import (
    CONTEXT,
    ClipRecipe,
    contrastive_loss,
    head_loss,
    match_matrix,
    new_tokenizer,
    tokenize,
    train_clip,
)
from styleclip.portraits.train_encoder import EncoderRecipe, train_encoder
from styleclip.portraits.train_generator import (
    GeneratorRecipe,
    MappingRecipe,
    Velocity,
    flow,
    new_networks,
    train_mapping,
    train_reconstruction,
)
from styleclip.portraits.train_identity import (
    LOOKS,
    IdentityRecipe,
    pair_loss,
    person_of_seed,
    train_identity,
)
from styleclip.portraits.train_reader import ReaderRecipe, reader_config, train_reader
from styleclip.portraits.train_sharpen import SharpenRecipe, train_sharpen
from styleclip.portraits.training import (
    OnStep,
    Renders,
    Run,
    portrait_of_seed,
    ramped_rate,
    step_generator,
    stored_renders,
    update_average,
)

GENERATOR = GeneratorRecipe(
    config=StyleGAN2Config(128, (4, 4, 4, 3, 2, 2), w_dim=8, z_dim=8, mapping_layers=2),
    steps=4,
    full_from=0.5,
    batch=2,
)
MAPPING = MappingRecipe(
    flow_steps=3, flow_batch=8, pairs=20, mapping_steps=3, mapping_batch=8
)  # fmt: skip
SHARPEN = SharpenRecipe(
    steps=4, batch=2, critic_widths=(4, 8), critic_alone=1, penalty_every=2
)  # fmt: skip
CLIP = ClipRecipe(
    image_size=32, steps=4, batch=8, redraw_from=0.5, embedding=16, vision_width=32,
    vision_layers=1, text_width=32, text_layers=1,
)  # fmt: skip


class Killed(BaseException):
    """As abrupt as a signal: no recipe may catch it."""


def silent(step: int, steps: int, figures: Mapping[str, float]) -> None:
    pass


def portraits(count: int, seed: int = 0) -> list[Portrait]:
    rng = np.random.default_rng(seed)
    return [sample_portrait(rng) for _ in range(count)]


def noise(size: int, count: int = 12) -> Renders:
    """Pictures of nothing, of people who do exist."""
    random = torch.Generator().manual_seed(4)
    images = torch.randint(256, (count, 3, size, size), generator=random, dtype=torch.uint8)
    return Renders(images, portraits(count))


# --- killed and resumed -------------------------------------------------------
# Each takes a folder and a reporter, starts or resumes, and returns all that was trained.


def tensors(*modules: nn.Module) -> dict[str, Tensor]:
    return {
        f"{i}.{name}": tensor.clone()
        for i, module in enumerate(modules)
        for name, tensor in module.state_dict().items()
    }


def reconstruction(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    return tensors(*train_reconstruction(noise(128), GENERATOR, folder / "g.pt", on_step))


def mapping(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    generator, _ = new_networks(GENERATOR)
    w = torch.randn(30, 8, generator=torch.Generator().manual_seed(5))
    return tensors(train_mapping(generator, w, MAPPING, folder / "mapping.pt", on_step))


def sharpening(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    networks = new_networks(GENERATOR)
    path = folder / "sharpen.pt"
    return tensors(*train_sharpen(*networks, noise(128), SHARPEN, path, on_step))


def encoder(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    generator, start = new_networks(GENERATOR)
    recipe = EncoderRecipe(steps=4, batch=4)
    return tensors(
        train_encoder(generator, start, noise(128), recipe, folder / "encoder.pt", on_step)
    )


def clip(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    def redraw(images: Tensor, random: torch.Generator) -> Tensor:
        return (images + 0.1 * torch.randn(images.shape, generator=random)).clamp(-1, 1)

    return tensors(train_clip(noise(32), CLIP, folder / "clip.pt", on_step, redraw).model)


def identity(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    config = IdentityConfig(32, widths=(8, 8), embedding=4)
    recipe = IdentityRecipe(config=config, steps=4, batch=4)
    looks = noise(64, 5 * LOOKS)
    return tensors(train_identity(looks, recipe, folder / "identity.pt", on_step))


def reader(folder: Path, on_step: OnStep) -> dict[str, Tensor]:
    recipe = ReaderRecipe(steps=4, batch=6)
    return tensors(train_reader(noise(64), recipe, folder / "reader.pt", on_step))


TRAININGS: dict[str, tuple[Callable[[Path, OnStep], dict[str, Tensor]], tuple[int, ...], int]] = {
    # training, the steps during which it is killed, one after the other, and all its steps
    "reconstruction": (reconstruction, (3,), 4),
    "mapping, killed in the flow": (mapping, (2,), 6),
    "mapping, killed after it": (mapping, (5,), 6),
    "sharpening": (sharpening, (3,), 4),
    "encoder": (encoder, (3,), 4),
    "clip": (clip, (2, 4), 4),
    "identity": (identity, (3,), 4),
    "reader": (reader, (3,), 4),
}


def use_small_velocity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        recipe_of_generator, "Velocity", lambda width: Velocity(width, hidden=64, layers=2)
    )


@pytest.mark.parametrize("name", TRAININGS)
def test_a_killed_and_resumed_run_is_the_one_that_was_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_velocity(monkeypatch)
    train, kills, steps = TRAININGS[name]
    losses: dict[int, Mapping[str, float]] = {}
    done = 0

    def record(step: int, steps: int, figures: Mapping[str, float]) -> None:
        nonlocal done
        done += 1
        losses[done] = figures

    torch.manual_seed(1)
    whole = train(tmp_path / "whole", record)
    assert done == steps
    assert all(math.isfinite(value) for figures in losses.values() for value in figures.values())

    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)  # save after every step
    resumed_at = 0
    for kill in kills:
        done = resumed_at

        def record_and_die(step: int, steps: int, figures: Mapping[str, float], kill=kill) -> None:
            nonlocal done
            done += 1
            assert figures == losses[done]
            if done == kill:
                raise Killed  # before this step is saved

        torch.manual_seed(kill)  # the global state must not matter
        with pytest.raises(Killed):
            train(tmp_path / "parts", record_and_die)
        resumed_at = kill - 1

    torch.manual_seed(99)
    seen: list[Mapping[str, float]] = []
    resumed = train(tmp_path / "parts", lambda step, steps, figures: seen.append(figures))
    assert seen == [losses[i] for i in range(resumed_at + 1, steps + 1)]  # nothing done twice
    assert resumed.keys() == whole.keys()
    for key, tensor in whole.items():
        assert torch.equal(resumed[key], tensor), key

    # a finished run only loads
    again = train(tmp_path / "parts", lambda *arguments: pytest.fail("a step was done again"))
    assert all(torch.equal(again[key], tensor) for key, tensor in whole.items())


def test_training_changes_what_it_trains_and_nothing_else(tmp_path: Path) -> None:
    before = tensors(*new_networks(GENERATOR))
    state = torch.get_rng_state()
    after = reconstruction(tmp_path, silent)
    assert torch.equal(state, torch.get_rng_state())
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert {"0.const", "0.blocks.4.rgb.weight", "0.blocks.5.rgb.weight", "1.to_w.weight"} <= changed
    assert not any("mapping_layers" in key or "noise" in key for key in changed)


def test_the_last_block_rests_while_half_the_resolution_is_trained(tmp_path: Path) -> None:
    before = tensors(*new_networks(GENERATOR))
    half = replace(GENERATOR, full_from=1.0, steps=2)
    after = tensors(*train_reconstruction(noise(128), half, tmp_path / "g.pt", silent))
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert "0.blocks.4.rgb.weight" in changed
    assert not any(key.startswith("0.blocks.5") for key in changed)


def test_sharpening_changes_all_but_the_mapping(tmp_path: Path) -> None:
    generator, start = new_networks(GENERATOR)
    before = tensors(generator, start)
    path = tmp_path / "sharpen.pt"
    after = tensors(*train_sharpen(generator, start, noise(128), SHARPEN, path, silent))
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert {"0.const", "0.blocks.5.rgb.weight", "0.blocks.1.conv.weight"} <= changed
    assert {"1.to_w.weight", "1.trunk.0.weight"} <= changed
    assert not any("mapping" in key or "w_average" in key or "noise" in key for key in changed)
    # the networks that came are others
    assert all(torch.equal(tensor, before[name])
               for name, tensor in tensors(generator, start).items())  # fmt: skip


def test_the_encoder_can_be_trained_after_the_sharpening(tmp_path: Path) -> None:
    path = tmp_path / "sharpen.pt"
    short = replace(SHARPEN, steps=1)
    sharpened, start = train_sharpen(*new_networks(GENERATOR), noise(128), short, path, silent)
    before = tensors(start)
    recipe = EncoderRecipe(steps=2, batch=4)
    trained = train_encoder(
        sharpened, start, noise(128), recipe, tmp_path / "encoder.pt", silent
    )  # fmt: skip
    assert any(not torch.equal(tensor, before[key]) for key, tensor in tensors(trained).items())


# --- checkpoints --------------------------------------------------------------


def new_run(path: Path) -> Run:
    module = nn.Linear(2, 2)
    return Run(path, {"net": module}, {"adam": torch.optim.Adam(module.parameters())})


def one_step_of(run: Run) -> Callable[[int], dict[str, float]]:
    def one_step(step: int) -> dict[str, float]:
        optimizer, module = run.optimizers["adam"], run.modules["net"]
        optimizer.zero_grad()
        module(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        return {"step": float(step)}

    return one_step


def test_a_kill_while_saving_leaves_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run(tmp_path / "deep" / "run.pt")
    run.train(2, one_step_of(run), silent)
    before = run.path.read_bytes()

    def dies(state: Any, path: Path) -> None:
        Path(path).write_bytes(b"half a check")
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(training.torch, "save", dies)
        with pytest.raises(Killed):
            run.train(3, one_step_of(run), silent)
    assert run.path.read_bytes() == before

    again = new_run(run.path)
    steps: list[int] = []
    again.train(4, one_step_of(again), lambda step, steps_, figures: steps.append(step))
    assert steps == [3, 4]
    assert [file.name for file in run.path.parent.iterdir()] == ["run.pt"]


def test_a_checkpoint_is_saved_when_it_is_time_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    clock = iter(range(0, 10_000, 50))  # every look at the clock is 50 s later
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(Run, "save", lambda self: saved.append(self.step))
    run = new_run(tmp_path / "run.pt")
    run.train(10, one_step_of(run), silent)
    # each step looks once, and once more after saving: over 120 s pass by every third step
    assert saved == [3, 6, 9, 10]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_finishes_its_step_and_saves_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    steps: list[int] = []

    def stop(step: int, steps_: int, figures: Mapping[str, float]) -> None:
        steps.append(step)
        if step == 2:
            os.kill(os.getpid(), number)

    with torch.random.fork_rng():
        torch.manual_seed(1)
        run = new_run(tmp_path / "run.pt")
        torch.manual_seed(1)
        whole = new_run(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run.train(5, one_step_of(run), stop)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert training.steps_done(run.path) == 2

    again = new_run(run.path)
    again.train(5, one_step_of(again), lambda step, steps_, figures: steps.append(step))
    assert steps == [1, 2, 3, 4, 5]  # nothing lost, nothing done twice
    whole.train(5, one_step_of(whole), silent)
    assert torch.equal(again.modules["net"].weight, whole.modules["net"].weight)


def test_a_bug_in_a_step_restores_the_handlers(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run = new_run(tmp_path / "run.pt")
    with pytest.raises(ZeroDivisionError):
        run.train(5, lambda step: {"loss": 1 / step}, silent)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not run.path.exists()


def test_a_run_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run.pt")
    thread = threading.Thread(target=run.train, args=(2, one_step_of(run), silent))
    thread.start()
    thread.join()
    assert training.steps_done(run.path) == 2


def test_optimizer_state_is_restored(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run.pt")
    run.train(3, one_step_of(run), silent)
    again = new_run(run.path)
    again.restore()
    assert again.step == 3
    ours, theirs = (r.optimizers["adam"].state_dict()["state"] for r in (again, run))
    assert torch.equal(ours[0]["exp_avg"], theirs[0]["exp_avg"]) and ours[0]["step"] == 3


def test_steps_have_randomness_of_their_own() -> None:
    def draw(seed: int, step: int) -> float:
        return float(torch.rand((), generator=step_generator(seed, step)))

    assert draw(1, 5) == draw(1, 5)
    assert len({draw(seed, step) for seed in (1, 2, 3) for step in range(50)}) == 150


def test_rates_rise_hold_and_fall() -> None:
    rates = [ramped_rate(0.5, step, 1000, warm=100, tail=0.3) for step in range(1000)]
    assert rates[0] == pytest.approx(0.005) and rates[49] == pytest.approx(0.25)
    assert rates[100:700] == pytest.approx([0.5] * 600)
    assert rates[850] == pytest.approx(0.25)  # half of the cosine
    assert all(a > b for a, b in pairwise(rates[700:]))
    assert 0 < rates[999] < 1e-4


def test_averages_move_by_their_decay() -> None:
    mean, module = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    mean.weight.data.fill_(1.0)
    module.weight.data.fill_(3.0)
    module.running_mean.fill_(10.0)
    module.num_batches_tracked.fill_(7)
    update_average(mean, module, decay=0.75)
    assert mean.weight.tolist() == [1.5, 1.5] and mean.running_mean.tolist() == [2.5, 2.5]
    assert mean.num_batches_tracked == 7
    update_average(mean, module, decay=0.0)
    assert mean.weight.tolist() == [3.0, 3.0]


def test_stored_pictures_become_batches() -> None:
    renders = noise(8)
    batch = renders.batch(torch.tensor([3, 3, 0]))
    assert batch.shape == (3, 3, 8, 8) and torch.equal(batch[0], batch[1])
    levels = (batch + 1) * 127.5
    torch.testing.assert_close(levels[2], renders.images[0].float(), rtol=0, atol=1e-4)


def test_smaller_batches_are_means_of_blocks_of_pixels() -> None:
    renders = noise(8)
    index = torch.tensor([1, 5])
    whole, small = renders.batch(index), renders.batch(index, 2)
    assert small.shape == (2, 3, 2, 2)
    for i in range(2):
        for j in range(2):
            block = whole[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            torch.testing.assert_close(small[:, :, i, j], block.mean(dim=(2, 3)))
    for size in (8, 16):  # never enlarged
        assert torch.equal(renders.batch(index, size), whole)


def test_drawing_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[int]] = []
    done: list[tuple[int, int]] = []
    killed = False

    def draw(job: training.Job) -> np.ndarray:
        nonlocal killed
        seeds, size, _ = job
        if drawn and not killed:
            killed = True
            raise Killed
        drawn.append(list(seeds))
        return np.stack([np.full((3, size, size), seed, np.uint8) for seed in seeds])

    monkeypatch.setattr(training, "CHUNK", 2)
    monkeypatch.setattr(training, "_draw", draw)
    monkeypatch.setattr(training.os, "cpu_count", lambda: 1)  # in this process
    with pytest.raises(Killed):
        stored_renders(tmp_path, 7, 5, 4, silent)
    (partial,) = tmp_path.iterdir()
    # the first picture of the second chunk arrived as well, its second did not
    pixels = np.load(partial, mmap_mode="r+")
    assert pixels[:2].tolist() == np.stack([np.full((3, 4, 4), n) for n in (7, 8)]).tolist()
    pixels[2] = 77
    pixels.flush()

    def report(step: int, steps: int, figures: Mapping[str, float]) -> None:
        done.append((step, steps))

    renders = stored_renders(tmp_path, 7, 5, 4, report)
    assert drawn == [[7, 8], [9, 10], [11]]
    assert done == [(4, 5), (5, 5)]
    assert renders.images[:, 0, 0, 0].tolist() == [7, 8, 9, 10, 11]
    assert renders.portraits == [portrait_of_seed(seed) for seed in range(7, 12)]
    assert len(list(tmp_path.iterdir())) == 1 and not partial.exists()

    stored_renders(tmp_path, 7, 5, 4, report)  # all there: nothing is drawn
    assert len(drawn) == 3


@pytest.mark.slow
def test_drawing_on_two_cores_is_drawing_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skia")
    from styleclip.portraits.renderer import render

    monkeypatch.setattr(training, "CHUNK", 2)
    monkeypatch.setattr(training.os, "cpu_count", lambda: 2)
    renders = stored_renders(tmp_path, 3, 5, 32, silent, person_of_seed, "persons")
    for image, seed in zip(renders.images, range(3, 8), strict=True):
        expected = render(person_of_seed(seed), 32).transpose(2, 0, 1)
        np.testing.assert_array_equal(image.numpy(), expected)


def test_a_seed_is_a_portrait() -> None:
    assert portrait_of_seed(5) == portrait_of_seed(5)
    assert len({portrait_of_seed(seed) for seed in range(100)}) == 100


def test_looks_of_a_person_share_the_traits_and_nothing_else() -> None:
    looks = [person_of_seed(seed) for seed in range(10 * LOOKS)]
    assert len({look.identity for look in looks}) == 10
    assert all(looks[i].identity == looks[i // LOOKS * LOOKS].identity for i in range(len(looks)))
    assert len({look.nuisance for look in looks}) == len(looks)
    assert len({look.values for look in looks}) > 30


# --- captions and their truth -------------------------------------------------


def real_captions(people: list[Portrait], seed: int = 3) -> list[Caption]:
    rng = np.random.default_rng(seed)
    return [sample_caption(portrait, rng) for portrait in people]


def test_match_matrix_is_truth_as_far_as_it_shows() -> None:
    people = portraits(150, seed=7)
    captions = real_captions(people)
    matrix = match_matrix(people, captions)
    unseen = 0
    for i, portrait in enumerate(people):
        shown = dict(zip([a.name for a in ATTRIBUTES], visible(portrait), strict=True))
        for j, caption in enumerate(captions):
            seen = all(shown[name] for name in caption.states)
            unseen += caption.holds(portrait) and not seen
            assert matrix[i, j] == float(caption.holds(portrait) and seen), (portrait, caption)
    assert bool((matrix.diag() == 1).all())
    assert unseen > 10  # true, but hidden: the case that holds() alone would get wrong
    assert 0.05 < float(matrix.mean()) < 0.6


def test_hidden_values_of_the_reader_are_the_worlds() -> None:
    people = portraits(300, seed=8)
    found = Reader(reader_config()).hidden(torch.tensor([portrait.values for portrait in people]))
    expected = torch.tensor([[not seen for seen in visible(portrait)] for portrait in people])
    assert torch.equal(found, expected) and bool(expected.any())


def literal_contrast(similarity: list[list[float]], matches: list[list[float]]) -> float:
    """Mean over images of -log of the share of its true texts, and the same of texts; halved."""

    def one_way(rows: list[list[float]], truths: list[list[float]]) -> float:
        total = 0.0
        for row, truth in zip(rows, truths, strict=True):
            everything = math.log(sum(math.exp(value) for value in row))
            count = sum(truth)
            for value, true in zip(row, truth, strict=True):
                if true:
                    total += (everything - value) / count
        return total / len(rows)

    columns = [list(column) for column in zip(*similarity, strict=True)]
    truths = [list(column) for column in zip(*matches, strict=True)]
    return (one_way(similarity, matches) + one_way(columns, truths)) / 2


def test_contrastive_loss_is_the_literal_one() -> None:
    random = torch.Generator().manual_seed(1)
    similarity = 3 * torch.randn(6, 6, generator=random, dtype=torch.float64)
    matches = (torch.rand(6, 6, generator=random) < 0.4).double()
    matches.fill_diagonal_(1)
    for truth in (matches, torch.eye(6, dtype=torch.float64)):
        expected = literal_contrast(similarity.tolist(), truth.tolist())
        assert float(contrastive_loss(similarity, truth)) == pytest.approx(expected)


def test_contrastive_loss_of_one_true_pair_each_is_clips() -> None:
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(2))
    index = torch.arange(5)
    cross_entropy = nn.functional.cross_entropy
    expected = (cross_entropy(similarity, index) + cross_entropy(similarity.t(), index)) / 2
    torch.testing.assert_close(contrastive_loss(similarity, torch.eye(5)), expected)


def test_pair_loss_is_the_literal_one() -> None:
    random = torch.Generator().manual_seed(4)
    similarity = 3 * torch.randn(5, 5, generator=random, dtype=torch.float64)
    expected = literal_contrast(similarity.tolist(), torch.eye(5).tolist())
    assert float(pair_loss(similarity)) == pytest.approx(expected)


def test_contrastive_loss_without_a_true_pair_is_finite() -> None:
    similarity = torch.zeros(2, 2, requires_grad=True)
    loss = contrastive_loss(similarity, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    loss.backward()
    assert bool(torch.isfinite(loss)) and bool(torch.isfinite(similarity.grad).all())


def test_head_loss_counts_what_shows() -> None:
    people = portraits(40, seed=9)
    random = torch.Generator().manual_seed(3)
    width = sum(len(attribute.values) for attribute in ATTRIBUTES)
    logits = torch.randn(40, width, generator=random, dtype=torch.float64)
    losses, shares, first = [], [], 0
    for i, attribute in enumerate(ATTRIBUTES):
        own, right = [], []
        for row, portrait in zip(logits.tolist(), people, strict=True):
            if visible(portrait)[i]:
                part = row[first : first + len(attribute.values)]
                everything = math.log(sum(math.exp(value) for value in part))
                own.append(everything - part[portrait.values[i]])
                right.append(part[portrait.values[i]] == max(part))
        losses.append(sum(own) / len(own))
        shares.append(sum(right) / len(right))
        first += len(attribute.values)
    loss, share = head_loss(logits, people)
    assert float(loss) == pytest.approx(sum(losses) / len(losses))
    assert share == pytest.approx(sum(shares) / len(shares))


def test_head_loss_is_finite_where_an_attribute_shows_nowhere() -> None:
    bald = [portrait.replaced(hair_style="bald") for portrait in portraits(4)]
    logits = torch.zeros(4, sum(len(a.values) for a in ATTRIBUTES), requires_grad=True)
    loss, share = head_loss(logits, bald)
    loss.backward()
    assert bool(torch.isfinite(loss)) and math.isfinite(share)
    assert bool(torch.isfinite(logits.grad).all())


def test_the_reader_reads_its_own_logits() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Reader(reader_config()).eval()
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    logits, values = network(images), network.read(images)
    first = 0
    for i, attribute in enumerate(ATTRIBUTES):
        part = logits[:, first : first + len(attribute.values)]
        assert values[:, i].tolist() == [row.index(max(row)) for row in part.tolist()]
        first += len(attribute.values)
    assert first == logits.shape[1]
    assert network(torch.zeros(1, 3, 128, 128)).shape == logits[:1].shape  # others are resized


# --- tokenizer ----------------------------------------------------------------


def test_captions_survive_the_tokenizer() -> None:
    tokenizer = new_tokenizer()
    for caption in real_captions(portraits(300, seed=5)):
        ids = tokenizer(caption.text)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
        assert tokenizer.unk_token_id not in ids and len(ids) <= CONTEXT
        words = tokenizer.convert_ids_to_tokens(ids[1:-1])
        assert " ".join(words).replace(" ,", ",") == caption.text


def test_the_longest_caption_and_an_unknown_word_fit() -> None:
    words = ["hair"] * LONGEST
    (row,) = new_tokenizer()([" ".join([*words, "unknown"])])["input_ids"]
    assert len(row) < CONTEXT


def test_every_word_has_a_token_of_its_own() -> None:
    tokenizer = new_tokenizer()
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in VOCABULARY]
    assert all(len(row) == 1 for row in ids)
    assert len({row[0] for row in ids}) == len(VOCABULARY)
    # the end is the last of the vocabulary, where transformers' CLIP looks for it
    assert tokenizer.eos_token_id == len(tokenizer) - 1


def test_unknown_words_are_one_token_and_case_is_none() -> None:
    tokenizer = new_tokenizer()
    ids = tokenizer("A Face with freckles", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "face", "with", "<unk>"]


def test_training_captions_are_padded_with_ends_and_sometimes_hold_an_unknown_word() -> None:
    tokenizer = new_tokenizer()
    texts = [caption.text for caption in real_captions(portraits(400, seed=6))]
    table = tokenize(tokenizer, texts, np.random.default_rng(1))
    assert table.shape == (400, CONTEXT)
    slipped = 0
    for text, row in zip(texts, table.tolist(), strict=True):
        plain = tokenizer(text)["input_ids"]
        held = [i for i in row if i != tokenizer.unk_token_id]
        slipped += len(held) != CONTEXT
        assert row[0] == tokenizer.bos_token_id
        assert held[: len(plain)] == plain
        assert set(held[len(plain) :]) <= {tokenizer.eos_token_id}
    assert 0.07 < slipped / 400 < 0.19  # one of eight


# --- flow and mapping ---------------------------------------------------------


def test_the_flow_integrates_its_velocity() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    drift = torch.tensor([1.0, -2.0, 0.5])
    torch.testing.assert_close(flow(lambda at, t: drift.expand_as(at), x), x + drift)
    # x' = t x: x(1) = e^(1/2) x(0); and x' = -x
    for velocity, factor in ((lambda at, t: t * at, 0.5), (lambda at, t: -at, -1.0)):
        torch.testing.assert_close(
            flow(velocity, x, steps=24), math.exp(factor) * x, rtol=1e-3, atol=0
        )


def test_the_velocity_depends_on_time() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        velocity = Velocity(3, hidden=16, layers=1)
    x = torch.ones(1, 3)
    early, late = (velocity(x, torch.full((1, 1), t)) for t in (0.1, 0.9))
    assert (early - late).abs().max() > 1e-3


def test_mapping_learns_a_toy_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # w lies on one of two planes: its first column is -1 or 3, the others vary
    random = torch.Generator().manual_seed(2)
    sides = torch.where(torch.rand(2000, generator=random) < 0.5, -1.0, 3.0)
    noises = torch.randn(2000, 2, generator=random)
    w = torch.stack([sides, noises[:, 0], 0.5 * noises[:, 1]], dim=1)
    generator = StyleGAN2(
        StyleGAN2Config(8, (2, 2), w_dim=3, z_dim=3, mapping_layers=4, mapping_width=128)
    )
    use_small_velocity(monkeypatch)
    recipe = MappingRecipe(
        flow_steps=300, flow_batch=256, flow_rate=4e-3, pairs=2000,
        mapping_steps=400, mapping_batch=256, mapping_rate=1e-2,
    )  # fmt: skip
    z = torch.randn(1000, 3, generator=random)
    trained = train_mapping(generator, w, recipe, tmp_path / "mapping.pt", silent)
    samples = trained.mapping(z).detach()

    def off(column: Tensor) -> float:
        """Mean distance to the nearer plane, in units of the spread."""
        return float(((column - 1).abs() - 2).abs().mean() / 2)

    gaussian = 1 + 2 * torch.randn(1000, generator=random)
    assert off(w[:, 0]) < 0.01 and off(gaussian) > 0.4
    assert off(samples[:, 0]) < 0.25
    assert 0.4 < float((samples[:, 0] > 1).float().mean()) < 0.6
    torch.testing.assert_close(samples.mean(dim=0), w.mean(dim=0), rtol=0, atol=0.2)
    torch.testing.assert_close(samples.std(dim=0), w.std(dim=0), rtol=0.2, atol=0)
    torch.testing.assert_close(trained.w_average, samples.mean(dim=0), rtol=0, atol=0.2)
