"""Public files of FFHQ at full size: inspected, converted, and used by ``styleclip edit``.

Their weights are drawn, so nothing is said of how the pictures look. Each file is written when it
is first needed and deleted after its last test; no two of the large networks are held at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from styleclip import images
from styleclip.checkpoints import (
    load_clip,
    load_edit,
    load_encoder,
    load_generator,
    load_identity,
    load_mapper,
    tensors_hash,
)
from styleclip.checkpoints.public import FILES, VOCABULARY
from styleclip.editing.relevance import style_statistics
from tests.apps.running import PROMPT, Run
from tests.reference import full_size

pytestmark = pytest.mark.slow

GENERATOR, PICKLE, CLIP = "stylegan2-ffhq-config-f.pt", "ffhq.pkl", "ViT-B-32.pt"
ENCODER, IDENTITY, MAPPER = "e4e_ffhq_encode.pt", "model_ir_se50.pth", "mapper.pt"
LAION, LAION_BIN = "laion/open_clip_model.safetensors", "laion-bin/open_clip_pytorch_model.bin"
TENSORFLOW, PSP = "tensorflow/stylegan2-ffhq-config-f.pkl", "psp_ffhq_encode.pt"
SINGLE, STYLE = "single-mapper.pt", "style-mapper.pt"
WRITERS: dict[str, Callable[[Path], Any]] = {
    GENERATOR: full_size.write_rosinality,
    PICKLE: full_size.write_nvidia,
    TENSORFLOW: full_size.write_tensorflow,
    CLIP: full_size.write_openai,
    LAION: full_size.write_open_clip,
    LAION_BIN: full_size.write_open_clip,
    VOCABULARY: full_size.write_vocabulary,
    ENCODER: full_size.write_e4e,
    PSP: full_size.write_psp,
    IDENTITY: full_size.write_identity,
    MAPPER: full_size.write_mapper,
    SINGLE: full_size.write_single_mapper,
    STYLE: full_size.write_style_mapper,
}
FFHQ = {"resolution": 1024, "w_rows": 18, "w_dim": 512, "style_columns": 9088}
VIT_B_32 = {"resolution": 224, "patch": 32, "embedding": 512, "tokens": 49_408, "context": 77}
FACTS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    GENERATOR: ("stylegan2", "rosinality", 33_166_748, {**FFHQ, "clamp": None}),
    PICKLE: ("stylegan2", "NVIDIA", 33_166_748, {**FFHQ, "clamp": 256.0}),
    TENSORFLOW: ("stylegan2", "NVIDIA TensorFlow", 33_166_748, {**FFHQ, "clamp": None}),
    CLIP: ("clip", "OpenAI", 151_277_313, {**VIT_B_32, "activation": "quick_gelu"}),
    LAION: ("clip", "open_clip", 151_277_313, {**VIT_B_32, "activation": "gelu"}),
    LAION_BIN: ("clip", "open_clip", 151_277_313, {**VIT_B_32, "activation": "gelu"}),
    ENCODER: ("pyramid-encoder", "e4e or pSp", 267_170_240,
              {"method": "e4e", "resolution": 256, "w_rows": 18, "w_dim": 512}),
    PSP: ("pyramid-encoder", "e4e or pSp", 267_170_240,
          {"method": "psp", "resolution": 256, "w_rows": 18, "w_dim": 512}),
    IDENTITY: ("arcface", "IR-SE50", 43_824_064, {"resolution": 112, "embedding": 512}),
    MAPPER: ("mapper", "StyleCLIP", 3_151_872,
             {"space": "w_plus", "groups": ["coarse", "medium", "fine"]}),
    SINGLE: ("mapper", "StyleCLIP", 1_050_624, {"space": "w_plus", "groups": ["all"]}),
    STYLE: ("mapper", "StyleCLIP", 11_202_176,  # a network for each layer that is no toRGB
            {"space": "style", "groups": [f"mapper_{i}" for i in range(25) if i % 3 != 1]}),
}  # fmt: skip


class Public:
    """A folder of the files, which are written when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            WRITERS[name](path)
        return path


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Public]:
    folder = tmp_path_factory.mktemp("public")
    yield Public(folder)
    shutil.rmtree(folder)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], place: Path) -> Iterator[Run]:
    """Every command loads what it needs anew; what it writes does not stay on the disk."""
    yield Run(Path("none"), capsys)
    shutil.rmtree(place)


@torch.no_grad()
def outputs(name: str, path: Path, tokenizer: Path | None = None) -> tuple[list[Tensor], str]:
    """What a network computes, and the hash of its tensors; it is let go."""
    random = torch.Generator().manual_seed(1)
    picture = torch.rand(1, 3, 256, 256, generator=random) * 2 - 1
    if name in (GENERATOR, PICKLE, TENSORFLOW):
        generator = load_generator(path)
        w_plus = generator.truncate(generator.sample_w(1, random), 0.7)
        style = generator.affine(w_plus)
        pixels = generator.synthesis(style, resolution=64)  # the rest of it, the edits draw
        return [w_plus, style, pixels], tensors_hash(generator.state_dict())
    if name in (CLIP, LAION, LAION_BIN):
        clip = load_clip(path, tokenizer)
        texts = clip.embed_texts(["a face", "a face with red hair"])
        return [clip.embed_images(picture), texts], tensors_hash(clip.model.state_dict())
    if name in (MAPPER, SINGLE, STYLE):
        network: Any = load_mapper(path).network
        shape = (1, 9088) if name == STYLE else (1, 18, 512)
        step = network(torch.randn(shape, generator=random))
        return [step], tensors_hash(network.state_dict())
    load: Any = load_identity if name == IDENTITY else load_encoder
    network = load(path)
    found = network.embed(picture[..., :112, :112]) if name == IDENTITY else network(picture)
    return [found], tensors_hash(network.state_dict())


@pytest.mark.parametrize("name", FACTS)
def test_a_file_is_inspected_and_converted(name: str, run: Run, public: Public) -> None:
    path = public(name)
    kind, origin, parameters, figures = FACTS[name]
    seen = run("inspect", path, "--json", model=False).json()
    assert (seen["kind"], seen["layout"], seen["parameters"]) == (kind, origin, parameters)
    assert {key: seen["figures"][key] for key in figures} == figures
    if name in FILES and FILES[name].size is not None:
        assert seen["size"] == pytest.approx(FILES[name].size, rel=1e-3)  # tables of contents
    words = ["--tokenizer", public(VOCABULARY)] if kind == "clip" else []
    target = "ours" if kind == "clip" else "ours.safetensors"
    ours = run("convert", path, target, *words, "--json", model=False).json()
    assert ours["parameters"] == parameters and ours["missing"] == []
    before, before_hash = outputs(name, path, words[1] if words else None)  # type: ignore[arg-type]
    after, after_hash = outputs(name, Path(target))
    assert after_hash == before_hash
    for mine, theirs in zip(after, before, strict=True):
        assert mine.isfinite().all() and mine.std() > 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)  # the same float32 weights


def add(run: Run, public: Public, **parts: str) -> None:
    """The files under one name, as ``styleclip models add`` puts them together."""
    words = [word for part, name in parts.items() for word in (f"--{part}", public(name))]
    words += ["--tokenizer", public(VOCABULARY), "--neutral", "a face", "--faces"]
    assert run("models", "add", "full", *words, model=False).code == 0, run.err
    run.model = Path("full")


def test_a_picture_is_edited_by_other_mappers(run: Run, public: Public) -> None:
    """Of one network and of S, from the latent that pSp finds."""
    add(run, public, generator=TENSORFLOW, clip=LAION_BIN, encoder=PSP)
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save("me.png")
    edit = ("edit", "me.png", PROMPT, "--refine", "0", "--method", "mapper", "--force")
    for mapper in (SINGLE, STYLE):
        words = ("--mapper", public(mapper), "--out", "a.png", "--save-edit", "a.safetensors")
        assert run(*edit, *words).code == 0, run.err
        assert images.open_picture("a.png").size == (1024, 1024)
        found = load_edit("a.safetensors")
        if mapper == SINGLE:
            assert found.w_plus_step is not None and bool(found.w_plus_step.any(dim=2).all())
        else:
            assert found.style_step is not None and found.style_step.shape == (1, 9088)
            assert bool(found.style_step.any())


def test_a_picture_is_edited(run: Run, public: Public) -> None:
    """By optimisation and by an official mapper, from the latent that e4e finds."""
    add(run, public, generator=GENERATOR, clip=CLIP, encoder=ENCODER, identity=IDENTITY)
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save("me.png")
    edit = ("edit", "me.png", PROMPT, "--refine", "0")
    optimize = ("--method", "optimize", "--space", "w_plus", "--steps", "2")
    mapper = ("--method", "mapper", "--mapper", public(MAPPER))
    for name, method in (("a", optimize), ("b", mapper)):
        files = ("--out", f"{name}.png", "--save-edit", f"{name}.safetensors")
        assert run(*edit, *method, *files).code == 0, run.err
        assert images.open_picture(f"{name}.png").size == (1024, 1024)
        step = load_edit(f"{name}.safetensors").w_plus_step
        assert step is not None and step.shape == (1, 18, 512)
        assert bool(step.any(dim=2)[:, :14].all())  # CLIP looks at 256 pixels, which 14 rows draw
    assert run("show", "a.png", "--replay", "--json").json()["largest_difference"] == 0


@pytest.mark.parametrize(
    ("generator", "clip", "rows", "last"),
    [(GENERATOR, CLIP, 5_376, 128), (PICKLE, LAION, 6_048, 1024)],
)
def test_a_seed_is_edited_by_an_official_direction(
    generator: str, clip: str, rows: int, last: int, run: Run, public: Public
) -> None:
    add(run, public, generator=generator, clip=clip)
    network = load_generator("full")
    layout = network.layout
    mean, std = style_statistics(network, 500, seed=1)  # other samples than those it is held to
    full_size.write_statistics(Path("S_mean_std"), network, mean, std)
    del network
    full_size.write_directions(Path("fs3.npy"), rows)
    seen = run("inspect", "fs3.npy", "--json", model=False).json()
    assert (seen["kind"], seen["figures"]) == ("directions", {"channels": rows, "embedding": 512})
    words = ("--generator", public(generator), "--json")
    ours = run("convert", "fs3.npy", "bank.safetensors", *words, model=False).json()
    assert (ours["kind"], ours["layout"]) == ("directions", "styleclip")
    assert run("edit", PROMPT, "--seed", "1", "--method", "direction", "--bank", "fs3.npy",
               "--alpha", "3", "--threshold", "0.08", "--out", "a.png",
               "--save-edit", "a.safetensors").code == 0, run.err  # fmt: skip
    assert run.err.count("does not say which generator and CLIP") == 1
    assert images.open_picture("a.png").size == (1024, 1024)
    step = load_edit("a.safetensors").style_step
    assert step is not None and step.shape == (1, 9088)
    layers = zip(layout, layout.split(step), strict=True)
    moved = {layer.resolution for layer, part in layers if part.any()}
    assert 4 in moved and max(moved) <= last
    # the converted one finds the same direction
    assert run("directions", "find", PROMPT, "b.safetensors", "--bank", "bank.safetensors",
               "--alpha", "3", "--threshold", "0.08").code == 0, run.err  # fmt: skip
    again = load_edit("b.safetensors").style_step
    assert again is not None
    torch.testing.assert_close(again, step, rtol=0, atol=1e-5)  # float32 both ways
