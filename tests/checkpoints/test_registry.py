"""Models by name or folder, and their parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from styleclip.checkpoints import (
    load_clip,
    load_generator,
    read_model,
    registry,
    resolve_model,
    save_generator,
)
from styleclip.checkpoints.cache import Cache
from styleclip.errors import CheckpointError, PromptError
from styleclip.generators.stylegan2 import StyleGAN2Config
from tests.reference.networks import random_generator
from tests.reference.public_layouts import write_clip, write_vocabulary

DESCRIPTION = {
    "name": "tiny",
    "description": "squares",
    "neutral": "a square",
    "licence": "MIT",
    "resolution": 8,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(DESCRIPTION))
    config = StyleGAN2Config(8, (3, 2), w_dim=4, z_dim=4, mapping_layers=1)
    save_generator(folder / "generator.safetensors", random_generator(config))
    return folder


def test_a_folder_is_a_model(folder: Path) -> None:
    model = read_model(folder)
    assert resolve_model(str(folder)) == folder == model.folder
    assert (model.name, model.description) == ("tiny", "squares")
    assert (model.neutral, model.licence) == ("a square", "MIT")
    assert model.extra == {"resolution": 8}
    assert model.file(registry.GENERATOR) == folder / "generator.safetensors"


def test_a_name_is_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "tiny", folder)
    assert resolve_model("tiny") == folder
    assert load_generator("tiny").resolution == 8
    assert load_generator(folder).resolution == 8
    assert load_generator(folder / "generator.safetensors").resolution == 8


def test_the_built_in_model_lies_inside_the_package() -> None:
    import styleclip

    package = Path(styleclip.__file__).parent
    assert registry.BUILT_IN["portraits"] == package / "portraits" / "weights"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model 'portrait'.*\(portraits\)"):
        resolve_model("portrait")
    with pytest.raises(CheckpointError, match=r"no file portrait, .*\(portraits\)"):
        load_generator("portrait")


def test_a_folder_without_description_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a model folder: it has no model\.json"):
        resolve_model(tmp_path)
    with pytest.raises(CheckpointError, match="is a folder: give the file of weights inside it"):
        load_generator(tmp_path)


def test_a_missing_part_is_named(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'tiny' has no encoder\.safetensors in"):
        read_model(folder).file(registry.ENCODER)


def test_missing_built_in_weights_are_an_installation_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "gone", tmp_path / "gone")
    with pytest.raises(CheckpointError, match="not in this installation"):
        resolve_model("gone")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 3}', "[" * 100_000])
def test_an_unreadable_description_is_refused(text: str, folder: Path) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.json"):
        read_model(folder)


# --- parts elsewhere ----------------------------------------------------------


def named(folder: Path, parts: object) -> Path:
    """``folder`` with a description that names its parts."""
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps({**DESCRIPTION, "parts": parts}))
    return folder


def test_parts_are_found_from_the_folder_on(folder: Path, tmp_path: Path) -> None:
    (folder / "generator.safetensors").rename(tmp_path / "network.st")
    mine = named(tmp_path / "mine", {"generator": "../network.st", "encoder": str(tmp_path / "e")})
    model = read_model(mine)
    assert model.file(registry.GENERATOR) == mine / "../network.st"
    assert model.extra == {"resolution": 8}
    assert load_generator(mine).resolution == 8
    assert model.find(registry.LATENT_MAP) is None
    (mine / registry.LATENT_MAP).touch()  # what it does not name has its own name
    assert model.find(registry.LATENT_MAP) == mine / registry.LATENT_MAP
    with pytest.raises(CheckpointError, match=r"names .* as its encoder, .*: check model\.json"):
        model.find(registry.ENCODER)


def test_a_part_may_be_a_public_file(tmp_path: Path) -> None:
    mine = named(tmp_path / "mine", {"clip": "ViT-B-32.pt"})
    fetched = Cache.here().file("ViT-B-32.pt")
    with pytest.raises(CheckpointError, match=r"styleclip models fetch ViT-B-32\.pt"):
        read_model(mine).file(registry.CLIP)
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    assert read_model(mine).file(registry.CLIP) == fetched
    (mine / "ViT-B-32.pt").touch()  # its own first
    assert read_model(mine).file(registry.CLIP) == mine / "ViT-B-32.pt"


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["a"], "must name files"),
        ({"generator": 3}, "must name files"),
        ({"generator": "a", "hat": "b"}, "names hat, which no model has"),
    ],
)
def test_parts_that_are_none(tmp_path: Path, parts: object, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        read_model(named(tmp_path / "mine", parts))


def test_a_clip_in_one_file_has_a_vocabulary(tmp_path: Path) -> None:
    """Its own, or OpenAI's if that was fetched."""
    write_clip(tmp_path / "clip.pt")
    write_vocabulary(tmp_path / "words.gz")
    mine = named(tmp_path / "mine", {"clip": "../clip.pt"})
    with pytest.raises(PromptError, match=r"styleclip models fetch bpe_simple_vocab"):
        load_clip(mine).embed_texts(["face"])
    fetched = Cache.here().file("bpe_simple_vocab_16e6.txt.gz")
    fetched.parent.mkdir(parents=True)
    write_vocabulary(fetched)
    expected = load_clip(mine).embed_texts(["face"])
    (tmp_path / "vocab.json").touch()  # beside the CLIP is another, for its reader to find
    assert read_model(mine).tokenizer is None
    (tmp_path / "vocab.json").unlink()
    fetched.unlink()
    own = named(tmp_path / "own", {"clip": "../clip.pt", "tokenizer": "../words.gz"})
    assert torch.equal(load_clip(own).embed_texts(["face"]), expected)


# --- names --------------------------------------------------------------------


def test_a_bundle_is_fetched_first() -> None:
    assert registry.is_name("ffhq") and not registry.is_name("ffhq.pkl")
    with pytest.raises(
        CheckpointError, match=r"not been fetched yet .*'styleclip models fetch ffhq'"
    ):
        read_model("ffhq")
    with pytest.raises(CheckpointError, match="'styleclip models fetch car'"):
        load_generator("car")


def test_a_folder_of_a_bundles_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come first; the sentence says how the folder is meant."""
    folder.rename(folder.with_name("ffhq"))
    monkeypatch.chdir(folder.parent)
    with pytest.raises(CheckpointError, match=r"for the folder here write \./ffhq"):
        read_model("ffhq")
    assert read_model("./ffhq").name == "tiny"


def test_what_was_fetched_is_a_model() -> None:
    cache, bundle = Cache.here(), registry.BUNDLES["ffhq"]
    cache.file("a").parent.mkdir(parents=True)
    for part in registry.REQUIRED:
        cache.file(bundle.parts[part]).touch()
    with pytest.raises(CheckpointError, match="no licence accepted"):
        read_model("ffhq")
    cache.accept(registry.licences_of(bundle))
    model = read_model("ffhq")
    assert (model.name, model.neutral) == ("ffhq", "a face")
    assert "Nvidia Source Code License-NC" in model.licence
    assert model.extra == {"alignment": {"kind": "ffhq"}}
    assert model.file(registry.GENERATOR) == cache.file("stylegan2-ffhq-config-f.pt")
    assert model.tokenizer == cache.file("bpe_simple_vocab_16e6.txt.gz")
    assert model.find(registry.ENCODER) is None  # it can do without
    cache.file("e4e_ffhq_encode.pt").touch()
    assert read_model("ffhq").file(registry.ENCODER) == cache.file("e4e_ffhq_encode.pt")


def test_an_added_model_has_a_name(folder: Path) -> None:
    home = Cache.here().model("mine")
    home.parent.mkdir(parents=True)
    folder.rename(home)
    assert registry.is_name("mine") and registry.known_names() == "mine, portraits"
    assert load_generator("mine").resolution == 8
    with pytest.raises(CheckpointError, match=r"known names \(mine, portraits\)"):
        read_model("yours")
