"""Files of every layout in ours: the same outputs, and nothing half-written or overwritten."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from styleclip.checkpoints import (
    load_bank,
    load_clip,
    load_encoder,
    load_generator,
    load_identity,
    load_mapper,
    registry,
    save_generator,
)
from styleclip.checkpoints.cache import Cache
from styleclip.checkpoints.conversion import ConvertConfig, convert
from styleclip.checkpoints.inspection import inspect
from styleclip.clip.embedder import ClipEmbedder
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2
from tests.checkpoints import samples
from tests.checkpoints import test_clip_openclip as open_clip
from tests.checkpoints.test_face_encoders import pictures, with_decoder
from tests.reference.networks import VECTORS

CLIP = registry.BUILT_IN["portraits"] / "clip"
SAME = {"rtol": 0.0, "atol": 1e-6}  # what the project promises of a converted file
HALF = {"rtol": 0.02, "atol": 0.05}  # float16 weights

pytestmark = pytest.mark.filterwarnings("ignore::styleclip.errors.CheckpointWarning")


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def of_generator(generator: StyleGAN2) -> list[Tensor]:
    """A picture and what leads to it."""
    config = generator.config
    labels = torch.eye(config.c_dim)[:2] if config.c_dim else None
    w_plus = generator.truncate(generator.mapping(random(2, config.z_dim), labels), 0.7)
    style = generator.affine(w_plus)
    return [w_plus, style, generator.synthesis(style)]


@torch.no_grad()
def of_clip(clip: ClipEmbedder) -> list[Tensor]:
    end = clip.model.config.text_config.eos_token_id
    tokens = torch.tensor([[end - 1, 5, 7, end, end], [end - 1, 1, 2, 3, end]])
    pixels = random(2, 3, 40, 40).clamp(-1, 1)
    return [clip.embed_images(pixels), clip.embed_token_ids(tokens), clip.embed_texts(["a face"])]


@torch.no_grad()
def outputs(name: str, path: Path, config: ConvertConfig) -> list[Tensor]:
    """What the file computes, from what its loader makes of it."""
    kind = samples.FOREIGN[name][1]
    if kind == "stylegan2":
        return of_generator(load_generator(path, config.clamp))
    if kind == "clip":
        return of_clip(load_clip(path, config.tokenizer if path.is_file() else None))
    if kind == "pyramid-encoder":
        method = config.method if path.suffix == ".pt" else None
        return [load_encoder(path, method)(pictures())]
    if kind == "arcface":
        return [load_identity(path).embed(pictures(size=32))]
    if kind == "mapper":
        network: Any = load_mapper(path).network
        if network.config.space == "w_plus":
            return [network(random(2, 10, network.config.groups[0].width))]
        return [network(random(2, network.config.groups[-1].stop + 8))]
    assert config.generator is not None
    bank = load_bank(path, load_generator(config.generator))
    return [bank.matrix, bank.mean, bank.std]


def options(name: str, folder: Path) -> ConvertConfig:
    """What the file does not say by itself."""
    return {
        "NVIDIA tensors": ConvertConfig(clamp=2.0),
        "pSp": ConvertConfig(method="psp"),
        "OpenAI": ConvertConfig(tokenizer=folder / "words.gz"),
        "OpenAI archive": ConvertConfig(tokenizer=folder / "words.gz"),
        "fs3": ConvertConfig(generator=samples.ROSINALITY),
    }.get(name, ConvertConfig())


def target_of(name: str, folder: Path) -> Path:
    return folder / ("ours" if samples.FOREIGN[name][1] == "clip" else "ours.safetensors")


@pytest.mark.parametrize("name", samples.FOREIGN)
def test_a_converted_file_computes_the_same(name: str, tmp_path: Path) -> None:
    path = samples.FOREIGN[name][0](tmp_path)
    config, target = options(name, tmp_path), target_of(name, tmp_path)
    found = convert(path, target, config)
    assert found.path == target and found.missing == [] and found.layout.kind == inspect(
        path).layout.kind  # fmt: skip
    assert found.layout.origin == ("transformers" if target.is_dir() else "styleclip")
    before, after = outputs(name, path, config), outputs(name, target, config)
    for ours, theirs in zip(after, before, strict=True):
        torch.testing.assert_close(ours, theirs, **SAME)
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob("*.old"))
    with pytest.raises(ArgumentError, match="there is nothing to convert"):
        convert(target, tmp_path / f"again{target.suffix}")
    half = tmp_path / f"half{target.suffix}"
    smaller = convert(path, half, replace(config, half=True))
    assert smaller.size < 0.75 * found.size and "float16" in smaller.precision
    if name in HALVES_AGREE:
        for ours, theirs in zip(outputs(name, half, config), before, strict=True):
            torch.testing.assert_close(ours, theirs, **HALF)


# others are of random weights at scales that no trained network has
HALVES_AGREE = ("e4e", "pSp", "ArcFace", "single mapper", "fs3")


def test_the_generator_inside_an_encoders_file(tmp_path: Path) -> None:
    contents, mean = with_decoder(rows=8)
    path = samples.saved(contents | {"latent_avg": mean}, tmp_path)
    target = tmp_path / "g.safetensors"
    found = convert(path, target, ConvertConfig(part="generator"))
    assert found.layout.kind == "stylegan2"
    pairs = zip(of_generator(load_generator(target)), of_generator(load_generator(path)),
                strict=True)  # fmt: skip
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, **SAME)
    with pytest.raises(ArgumentError, match="holds no generator beside ArcFace"):
        convert(samples.arcface(tmp_path), target, ConvertConfig(part="generator"), True)


@pytest.mark.parametrize("kind", samples.NATIVE)
def test_ours_is_refused_and_halved_where_it_may_be(kind: str, tmp_path: Path) -> None:
    path = samples.write_native(kind, tmp_path)
    target = tmp_path / "half.safetensors"
    with pytest.raises(ArgumentError, match="in the format that is used here: there is nothing"):
        convert(path, target)
    if kind in ("latent-map", "edit", "tuning", "directions", "scan", *samples.UNFINISHED):
        with pytest.raises(ArgumentError, match="whose numbers are needed as they are"):
            convert(path, target, ConvertConfig(half=True))
        assert not target.exists()
    else:
        found = convert(path, target, ConvertConfig(half=True))
        assert found.layout.kind == kind and set(found.precision) <= {"float16", "int64"}
        assert found.parameters == inspect(path).parameters


def test_how_a_clip_resizes_is_kept(tmp_path: Path) -> None:
    path = samples.openclip(tmp_path)
    config = open_clip.settings()
    config["preprocess_cfg"]["interpolation"] = "bilinear"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    convert(path, tmp_path / "ours")
    before, after = load_clip(path), load_clip(tmp_path / "ours")
    assert before.interpolation == after.interpolation == "bilinear"
    images = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(after.embed_images(images), before.embed_images(images), **SAME)
    stated = json.loads((tmp_path / "ours" / "preprocessor_config.json").read_text())
    other = json.dumps({**stated, "resample": 1})  # by Lanczos' kernel
    (tmp_path / "ours" / "preprocessor_config.json").write_text(other)
    with pytest.raises(CheckpointError, match="it resizes pictures in way 1"):
        load_clip(tmp_path / "ours")


def test_a_clip_of_ours_is_halved(tmp_path: Path) -> None:
    before = tmp_path / "before"
    clip = load_clip(CLIP)
    clip.model.save_pretrained(before)
    clip.tokenizer.save_pretrained(before)
    with pytest.raises(ArgumentError, match="nothing to convert"):
        convert(before, tmp_path / "after")
    found = convert(before, tmp_path / "after", ConvertConfig(half=True))
    assert set(found.precision) == {"float16"} and found.size < 0.6 * inspect(before).size
    torch.testing.assert_close(of_clip(load_clip(tmp_path / "after")), of_clip(clip), **HALF)


@pytest.mark.parametrize("name", samples.ARRAYS)
def test_arrays_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    path = samples.ARRAYS[name][0](tmp_path)
    with pytest.raises(ArgumentError, match="which is read as it is"):
        convert(path, tmp_path / "ours.safetensors")


def test_what_nothing_reads_is_not_read_as_it_is(tmp_path: Path) -> None:
    torch.save({"synthesis.input.freqs": torch.zeros(8, 2)}, tmp_path / "stylegan3.pt")
    with pytest.raises(CheckpointError, match="is a StyleGAN3, which is not readable yet"):
        convert(tmp_path / "stylegan3.pt", tmp_path / "ours.safetensors")


# --- targets ------------------------------------------------------------------


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    target = tmp_path / "ours.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(ArgumentError, match="exists: choose another name, or add --force"):
        convert(samples.ROSINALITY, target)
    assert target.read_bytes() == b"precious"
    convert(samples.ROSINALITY, target, overwrite=True)
    assert inspect(target).layout.kind == "stylegan2"


def test_the_folder_of_a_clip_is_replaced_and_no_other(tmp_path: Path) -> None:
    path, target = samples.openclip(tmp_path), tmp_path / "ours"
    convert(path, target)
    (target / "left.txt").write_text("x")
    with pytest.raises(ArgumentError, match="exists"):
        convert(path, target)
    convert(path, target, overwrite=True)
    assert not (target / "left.txt").exists() and load_clip(target).width == 24
    other = tmp_path / "home"
    other.mkdir()
    (other / "letter.txt").write_text("x")
    with pytest.raises(ArgumentError, match="a folder of something else"):
        convert(path, other, overwrite=True)
    assert (other / "letter.txt").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere/ours.safetensors", "there is no folder .*nowhere"),
        ("ours.pt", "must end with .safetensors"),
        ("weights.pt", "is what is converted"),
    ],
)
def test_targets_that_cannot_be(target: str, message: str, tmp_path: Path) -> None:
    path = samples.arcface(tmp_path)
    with pytest.raises(ArgumentError, match=message):
        convert(path, tmp_path / target, overwrite=True)
    with pytest.raises(ArgumentError, match="a CLIP is written as a folder"):
        convert(samples.openclip(tmp_path), tmp_path / "ours.safetensors")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from styleclip.checkpoints import conversion

    def full(folder: Path, clip: Any) -> None:
        (folder / "half").write_text("half")
        raise OSError("No space left on device")

    path = samples.openclip(tmp_path)
    before = {each.name for each in tmp_path.iterdir()}
    monkeypatch.setattr(conversion, "_save_clip", full)
    with pytest.raises(CheckpointError, match=r"cannot be written .No space left"):
        convert(path, tmp_path / "ours")
    assert {each.name for each in tmp_path.iterdir()} == before


def test_numbers_that_float16_does_not_have(tmp_path: Path) -> None:
    generator = load_generator(samples.ROSINALITY)
    generator.const.data[0, 0, 0] = 1e5
    save_generator(tmp_path / "large.safetensors", generator)
    target = tmp_path / "half.safetensors"
    with pytest.raises(CheckpointError, match="const has numbers that are too large for float16"):
        convert(tmp_path / "large.safetensors", target, ConvertConfig(half=True))
    assert not target.exists()


# --- what the file does not say -----------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pSp", 'give method="e4e" or "psp"'),
        ("OpenAI", "give its folder or OpenAI's vocabulary with --tokenizer"),
        ("fs3", "give that with --generator"),
    ],
)
def test_what_is_needed_is_asked_for(name: str, message: str, tmp_path: Path) -> None:
    path, target = samples.FOREIGN[name][0](tmp_path), target_of(name, tmp_path)
    with pytest.raises((ArgumentError, CheckpointError), match=message):
        convert(path, target)
    assert not target.exists()


def test_the_fetched_vocabulary_is_found(tmp_path: Path) -> None:
    path = samples.openai(tmp_path)
    place = Cache.here().file("bpe_simple_vocab_16e6.txt.gz")
    place.parent.mkdir(parents=True)
    shutil.copyfile(tmp_path / "words.gz", place)
    convert(path, tmp_path / "ours")
    texts = load_clip(tmp_path / "ours").embed_texts(["a face"])
    torch.testing.assert_close(
        texts, load_clip(path, tmp_path / "words.gz").embed_texts(["a face"]), **SAME
    )


def test_a_damaged_file_is_not_converted(tmp_path: Path) -> None:
    content = (VECTORS / "stylegan2-ada.pkl").read_bytes()
    (tmp_path / "cut.pkl").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        convert(tmp_path / "cut.pkl", tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()
