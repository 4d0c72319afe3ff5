"""A model of a generator and a CLIP alone: everything works, and what is done is said."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from styleclip import images
from styleclip.checkpoints import load_clip, load_generator, load_latent_map, save_network
from styleclip.clip.embedder import ClipEmbedder
from styleclip.editing.latent_map import LatentMapConfig, measure_latent_map
from styleclip.editing.optimization import OptimizationConfig
from styleclip.editing.strength import StrengthConfig
from styleclip.errors import CheckpointError
from styleclip.faces.identity import IdentityConfig, IdentityNetwork
from styleclip.faces.image_encoder import ClipIdentity, DinoIdentity
from styleclip.studio import Studio
from tests.apps.running import PROMPT, Run, files
from tests.reference.networks import save_dino

FEW = LatentMapConfig(samples=40, chunk=10)
MEASURED = "brings no map from CLIP to its latents"


@pytest.fixture
def bare(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model without its encoder."""
    folder = tmp_path / "bare"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("encoder*", "latent_map*"))
    return folder


@pytest.fixture
def run_bare(run: Run, bare: Path) -> Run:
    run.model = bare
    return run


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "styleclip.networks.measure_latent_map", partial(measure_latent_map, config=FEW)
    )


def test_three_methods_without_an_encoder(run_bare: Run, bare: Path, picture: Path) -> None:
    words = ["--refine", "3", "--out"]
    run_bare("edit", picture, PROMPT, "--steps", "1", *words, "a.png")
    assert run_bare.code == 0, run_bare.err
    assert MEASURED in run_bare.err and f"kept in {bare / 'latent_map.safetensors'}" in run_bare.err
    assert load_latent_map(bare).matrix.shape[1] == 16
    run_bare("edit", picture, PROMPT, "--method", "direction", *words, "b.png")
    assert run_bare.code == 0 and MEASURED not in run_bare.err
    prompts = ["a face with red hair", "--steps", "2", "--latents", "4"]
    assert run_bare("mapper", "train", "m.safetensors", *prompts).code == 0, run_bare.err
    run_bare("edit", picture, PROMPT, "--method", "mapper", "--mapper", "m.safetensors",
             *words, "c.png")  # fmt: skip
    assert run_bare.code == 0, run_bare.err
    for name in ("a.png", "b.png", "c.png"):
        assert run_bare("show", name, "--replay").code == 0, run_bare.err


def test_a_measurement_that_was_stopped_goes_on(
    run_bare: Run, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    embed = ClipEmbedder.embed_images

    def dies_after(pictures: int) -> None:
        def counted(self: ClipEmbedder, images: Tensor) -> Tensor:
            if len(images) == 10:
                if len(seen) == pictures:
                    raise KeyboardInterrupt
                seen.append(10)
            return embed(self, images)

        monkeypatch.setattr(ClipEmbedder, "embed_images", counted)

    edit = ("edit", "--seed", "1", PROMPT, "--steps", "1", "--force", "--out", "a.png")
    dies_after(2)
    assert run_bare(*edit).code == 130, (run_bare.err, seen)
    assert "latent_map.safetensors.partial" in files(str(bare))
    dies_after(-1)
    assert run_bare(*edit).code == 0, run_bare.err
    assert len(seen) == 4  # of forty samples none twice
    assert "latent_map.safetensors.partial" not in files(str(bare))
    at_once = measure_latent_map(load_generator(bare), load_clip(bare), FEW)
    assert torch.equal(load_latent_map(bare).matrix, at_once.matrix)


def test_a_folder_that_cannot_be_written(run_bare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CheckpointError("it cannot be written")

    monkeypatch.setattr("styleclip.networks.save_latent_map", refuse)
    run_bare("edit", "--seed", "1", PROMPT, "--steps", "1", "--out", "a.png")
    assert run_bare.code == 0
    assert "measured every time, for it cannot be written" in run_bare.err


def test_what_is_wrong_is_found_before_measuring(run_bare: Run, bare: Path, place: Path) -> None:
    Path("a.png").write_text("mine")
    before = files(str(bare))
    for method in ("optimize", "direction"):
        run_bare("edit", "--seed", "1", PROMPT, "--method", method, "--out", "a.png")
        assert run_bare.code == 2 and "exists already" in run_bare.err
    assert files(str(bare)) == before


def test_a_map_of_other_weights_is_refused(bare: Path) -> None:
    studio = Studio.load(bare)
    studio.measure_latent_map()
    studio.keep_latent_map()
    assert Studio.load(bare).latent_map.matrix.shape == studio.latent_map.matrix.shape
    hashes = {**studio.hashes("generator", "clip"), "generator": "f" * 64}
    save_network(bare / "latent_map.safetensors", "latent-map", hashes, vars(studio.latent_map))
    with pytest.raises(CheckpointError, match=r"another generator: .*delete it, and it is m"):
        Studio.load(bare).latent_map  # noqa: B018


# Identity


def describe(folder: Path, **values: str) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_tells_identities(bare: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'tiny' has no identity network: choose 'clip'"):
        Studio.load(bare).identity  # noqa: B018
    describe(bare, identity="clip")
    studio = Studio.load(bare)
    image = studio.render(studio.sample(1))
    assert isinstance(studio.identity, ClipIdentity)
    assert torch.equal(studio.identity(image), studio.embedder.embed_images(image))
    save_dino(bare / "dino")
    describe(bare, identity="dino")  # in the model's folder
    assert isinstance(Studio.load(bare).identity, DinoIdentity)
    assert isinstance(Studio.load(bare, identity=bare / "dino").identity, DinoIdentity)
    with pytest.raises(CheckpointError, match="choose 'clip'"):
        Studio.load(bare, identity="none").identity  # noqa: B018
    own = IdentityNetwork(IdentityConfig(32, (8, 16), embedding=4))
    save_network(bare / "identity.safetensors", "identity", own.config.to_dict(), own.state_dict())
    assert isinstance(Studio.load(bare).identity, IdentityNetwork)  # before what model.json says
    assert isinstance(Studio.load(bare, identity="clip").identity, ClipIdentity)
    file = bare / "identity.safetensors"
    assert isinstance(Studio.load(bare, identity=file).identity, IdentityNetwork)


def test_identity_in_losses_and_floors(bare: Path) -> None:
    studio = Studio.load(bare, identity="clip")
    studio.measure_latent_map()
    w_plus = studio.sample(1)
    config = OptimizationConfig(steps=2, identity_weight=0.5)
    edit = studio.edit(w_plus, PROMPT, config)
    assert edit.w_plus_step is not None and edit.config["identity_weight"] == 0.5
    still = studio.edit(w_plus, PROMPT, OptimizationConfig(steps=2),
                        fit=StrengthConfig(identity_floor=1.0))  # fmt: skip
    assert max(still.config["strengths"]) == pytest.approx(0, abs=0.05)


def test_identity_on_the_command_line(run_bare: Run, bare: Path, tmp_path: Path) -> None:
    words = ["edit", "--seed", "1", PROMPT, "--steps", "1", "--identity-floor", "0.9", "--out"]
    assert run_bare(*words, "a.png").code == 2
    assert "choose 'clip'" in run_bare.err and files() == {"bare"}
    assert run_bare(*words, "a.png", "--identity", "clip").code == 0, run_bare.err
    save_dino(tmp_path / "dino")
    assert run_bare(*words, "b.png", "--identity", tmp_path / "dino").code == 0, run_bare.err
    train = ["mapper", "train", "m.safetensors", "a sad face", "--steps", "1", "--latents", "4",
             "--preset", "paper", "--levels", "coarse,medium"]  # fmt: skip
    assert run_bare(*train).code == 2 and "choose 'clip'" in run_bare.err
    assert run_bare(*train, "--identity", "none").code == 0, run_bare.err
    assert run_bare(*train, "--identity", "clip", "--force").code == 0, run_bare.err
    assert images.read_recipe("a.png")["edits"]
