"""The CLIP embedder on a tiny random CLIP: preprocessing, texts, gradients, folders, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleclip.clip.embedder import OPENAI_MEAN, OPENAI_STD, ClipEmbedder, resize
from styleclip.errors import ArgumentError, CheckpointError, PromptError
from styleclip.portraits.train_clip import ClipRecipe, new_model, new_tokenizer
from tests.reference import resize as reference

SIZE = 32
RECIPE = ClipRecipe(
    image_size=SIZE, vision_width=32, vision_layers=1, text_width=32, text_layers=1, embedding=16
)
TEXTS = ["a face", "a face with red hair, glasses and a smile", "bald"]


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def new_embedder(**options: Any) -> ClipEmbedder:
    tokenizer = new_tokenizer()
    model = new_model(RECIPE, tokenizer)
    source = torch.Generator().manual_seed(0)
    for parameter in model.parameters():  # a fresh CLIP calls all texts nearly the same
        drawn = torch.randn(parameter.shape, generator=source)
        parameter.data.add_(0.1 * drawn)
    return ClipEmbedder(model, tokenizer, **options)


@pytest.fixture(scope="module")
def embedder() -> ClipEmbedder:
    return new_embedder()


@pytest.fixture(scope="module")
def folder(embedder: ClipEmbedder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip")
    embedder.model.save_pretrained(path)
    embedder.tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder to be spoiled."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def soft_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [H,W,3] of middling contrast, so that no overshoot is clipped by PIL."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 196, (height // 4, width // 4, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(smooth) + rng.integers(-8, 9, (height, width, 3)), 0, 255).astype(
        np.uint8
    )


def as_images(*pictures: np.ndarray) -> Tensor:
    """uint8 [H,W,3] pictures -> [B,3,H,W] in [-1,1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


# --- resize -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "size"), [(24, 24, 7), (10, 17, 6), (8, 8, 20), (9, 20, 12)]
)
def test_resize_is_the_widened_cubic_kernel(height: int, width: int, size: int) -> None:
    images = random(2, 1, height, width)
    slow = np.stack([reference.bicubic(one.numpy(), size) for one in images[:, 0]])
    # float32 against float64
    np.testing.assert_allclose(resize(images, size)[:, 0].numpy(), slow, rtol=0, atol=1e-5)
    slow = np.stack([reference.bilinear(one.numpy(), size) for one in images[:, 0]])
    found = resize(images, size, "bilinear")[:, 0].numpy()
    np.testing.assert_allclose(found, slow, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("before", "size"), [(128, 32), (100, 64), (33, 224), (224, 224)])
def test_resize_is_torchs_own(before: int, size: int) -> None:
    images = random(2, 3, before, before)
    own = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    torch.testing.assert_close(resize(images, size), own, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(128, 128), (64, 96), (300, 200), (20, 20)])
def test_resize_is_pils_within_rounding(height: int, width: int) -> None:
    picture = soft_picture(height, width)
    theirs = reference.pil(picture, SIZE).astype(np.float32)
    ours = resize(torch.from_numpy(picture).permute(2, 0, 1)[None].float(), SIZE)[0]
    # PIL rounds twice, once after each axis: half a level, spread by the second kernel, and half
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() <= 1.2


def test_resize_works_again_after_inference_mode() -> None:
    # the matrices are kept; the first call must not decide what they can be used for
    with torch.inference_mode():
        resize(torch.zeros(1, 3, 46, 46), 23)
    images = random(1, 3, 46, 46).requires_grad_()
    resize(images, 23).sum().backward()
    assert images.grad is not None and float(images.grad.abs().sum()) > 0


# --- images -------------------------------------------------------------------


def seen_pixels(embedder: ClipEmbedder, images: Tensor) -> Tensor:
    """What reaches the network."""
    caught: list[Tensor] = []
    hook = embedder.model.vision_model.register_forward_pre_hook(
        lambda module, args, kwargs: caught.append(kwargs["pixel_values"]), with_kwargs=True
    )
    try:
        embedder.embed_images(images)
    finally:
        hook.remove()
    return caught[0]


def test_images_become_unit_vectors(embedder: ClipEmbedder) -> None:
    vectors = embedder.embed_images(random(3, 3, 50, 50).clamp(-1, 1))
    assert vectors.shape == (3, embedder.width) == (3, 16)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert (vectors[0] - vectors[1]).abs().max() > 0.01


@pytest.mark.parametrize("before", [SIZE, 64, 100])
def test_preprocessing_is_that_of_transformers(embedder: ClipEmbedder, before: int) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    picture = soft_picture(before, before)
    theirs = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    ours = seen_pixels(embedder, as_images(picture))
    # 1.2 levels of 255 (PIL's rounding), divided by the least deviation
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1.2 / 255 / min(OPENAI_STD))


def test_mean_and_deviation_are_those_given() -> None:
    other = new_embedder(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    black = seen_pixels(other, torch.full((1, 3, 40, 40), -1.0))
    for channel, expected in enumerate((-0.2, -0.8, -0.15)):
        torch.testing.assert_close(
            black[0, channel], torch.full((SIZE, SIZE), expected), rtol=0, atol=1e-5
        )


def test_images_are_clamped_as_a_file_would(embedder: ClipEmbedder) -> None:
    images = 2 * random(2, 3, 40, 40)
    found = embedder.embed_images(images)
    assert torch.equal(found, embedder.embed_images(images.clamp(-1, 1)))


def test_each_image_is_embedded_by_itself(embedder: ClipEmbedder) -> None:
    images = random(3, 3, 40, 40)
    singles = torch.cat([embedder.embed_images(one) for one in images.split(1)])
    torch.testing.assert_close(embedder.embed_images(images), singles, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [SIZE, 45])
def test_gradient_in_the_image_is_the_slope(size: int) -> None:
    embedder = new_embedder()
    embedder.model.double()
    embedder.model.set_attn_implementation("sdpa")  # the eager one has a softmax in float32
    images = random(1, 3, size, size).double().tanh().requires_grad_()
    probe = random(embedder.width, seed=3).double()
    (gradient,) = torch.autograd.grad((embedder.embed_images(images) @ probe).sum(), images)
    assert bool((gradient != 0).all())  # every pixel matters
    for seed in range(4):
        along = random(1, 3, size, size, seed=10 + seed).double()
        ahead, behind = (
            float((embedder.embed_images(images.detach() + h * along) @ probe).sum())
            for h in (1e-6, -1e-6)
        )
        slope = (ahead - behind) / 2e-6
        # central differences in float64: 1e-5 of the slope
        assert float((gradient * along).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_weights_need_no_gradient(embedder: ClipEmbedder) -> None:
    assert not any(parameter.requires_grad for parameter in embedder.model.parameters())
    assert not embedder.model.training


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 4, 32, 32), (1, 32, 32, 3)])
def test_other_shapes_are_no_images(embedder: ClipEmbedder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"images must be \[B, 3, H, W\], got"):
        embedder.embed_images(torch.zeros(shape))


# --- texts --------------------------------------------------------------------


@pytest.fixture
def text_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows each call of the text tower had."""
    calls: list[int] = []
    original = ClipEmbedder.embed_token_ids

    def counting(self: ClipEmbedder, token_ids: Tensor) -> Tensor:
        calls.append(len(token_ids))
        return original(self, token_ids)

    monkeypatch.setattr(ClipEmbedder, "embed_token_ids", counting)
    return calls


def test_texts_become_unit_vectors(embedder: ClipEmbedder) -> None:
    vectors = embedder.embed_texts(TEXTS)
    assert vectors.shape == (3, embedder.width)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    assert (vectors[0] - vectors[1]).abs().max() > 0.01
    assert not vectors.requires_grad


def test_texts_are_what_transformers_makes_of_them(embedder: ClipEmbedder) -> None:
    for text, vector in zip(TEXTS, embedder.embed_texts(TEXTS), strict=True):
        ids = torch.tensor([embedder.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            pooled = embedder.model.text_model(input_ids=ids).pooler_output
            expected = embedder.model.text_projection(pooled)[0]
        torch.testing.assert_close(vector, expected / expected.norm(), rtol=0, atol=1e-5)


def test_padding_after_the_end_says_nothing(embedder: ClipEmbedder) -> None:
    ids = embedder.tokenizer("a face with a hat")["input_ids"]
    padded = ids + [embedder.tokenizer.eos_token_id] * 5
    torch.testing.assert_close(
        embedder.embed_token_ids(torch.tensor([padded])),
        embedder.embed_token_ids(torch.tensor([ids])),
        rtol=0,
        atol=1e-5,
    )


def test_repeated_texts_are_embedded_once(text_calls: list[int]) -> None:
    embedder = new_embedder()
    first = embedder.embed_texts(["a face", "a hat", "a face", "a face"])
    assert sum(text_calls) == 2
    assert torch.equal(first[0], first[2]) and torch.equal(first[0], first[3])
    again = embedder.embed_texts(["a hat", "a face", "glasses"])
    assert sum(text_calls) == 3
    assert torch.equal(again[0], first[1]) and torch.equal(again[1], first[0])


def test_texts_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleclip.clip.embedder.MOST_TEXTS", 2)
    embedder = new_embedder()
    assert len(embedder.embed_texts(["a face", "a hat", "glasses"])) == 3
    assert list(embedder._known_texts) == ["a hat", "glasses"]


def test_what_is_returned_is_not_what_is_kept(embedder: ClipEmbedder) -> None:
    embedder.embed_texts(["a beard"]).zero_()
    assert float(embedder.embed_texts(["a beard"]).norm()) == pytest.approx(1)


def test_templates_are_averaged(text_calls: list[int]) -> None:
    templates = ("{}", "a photo of {}", "a portrait of a person with {} and a hat")
    found = new_embedder(templates=templates).embed_texts(["red hair"])
    assert sum(text_calls) == 3
    plain = new_embedder()
    sentences = [
        "red hair",
        "a photo of red hair",
        "a portrait of a person with red hair and a hat",
    ]
    vectors = [plain.embed_texts([sentence])[0] for sentence in sentences]
    mean = (vectors[0] + vectors[1] + vectors[2]) / 3
    torch.testing.assert_close(found[0], mean / mean.norm(), rtol=0, atol=1e-5)
    assert (found[0] - vectors[0]).abs().max() > 1e-3


@pytest.mark.parametrize("templates", [(), ("a photo",), ("{} and {}",), ("{}", "face")])
def test_a_template_has_one_place_for_the_text(templates: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"exactly one \{\}"):
        new_embedder(templates=templates)


def test_braces_in_a_text_are_text(embedder: ClipEmbedder) -> None:
    assert embedder.embed_texts(["a {} face {0} {x}"]).shape == (1, 16)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_refused(embedder: ClipEmbedder, text: str) -> None:
    with pytest.raises(PromptError, match="the text is empty"):
        embedder.embed_texts(["a face", text])


def test_a_text_may_be_as_long_as_the_limit_and_no_longer(embedder: ClipEmbedder) -> None:
    limit = embedder.context_length
    assert limit == 32
    assert embedder.embed_texts(["hair " * (limit - 2)]).shape == (1, 16)
    with pytest.raises(PromptError, match=r"too long: 33 tokens.*at most 32.*shorten it: 'hair"):
        embedder.embed_texts(["hair " * (limit - 1)])


def test_a_template_counts_towards_the_limit() -> None:
    with pytest.raises(PromptError, match="too long: 33 tokens"):
        new_embedder(templates=("{}", "a {}")).embed_texts(["hair " * 30])


def test_without_a_tokenizer_only_token_ids_are_read(embedder: ClipEmbedder) -> None:
    mute = ClipEmbedder(embedder.model, None)
    with pytest.raises(PromptError, match="without a tokenizer"):
        mute.embed_texts(["a face"])
    ids = torch.tensor([embedder.tokenizer("a face")["input_ids"]])
    assert torch.equal(mute.embed_token_ids(ids), embedder.embed_token_ids(ids))
    assert mute.unknown_words("a zeppelin") == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a face with red hair, glasses.", []),
        ("A Face with RED hair", []),
        ("a face with freckles, a zeppelin and glasses", ["freckles", "zeppelin"]),
        ("a face with red hair!", []),
        ("a face with freckles!", ["freckles"]),
        ("a face with \N{TOP HAT} & a \N{UMBRELLA}", ["\N{TOP HAT}", "\N{UMBRELLA}"]),
        ("", []),
    ],
)
def test_unknown_words(embedder: ClipEmbedder, text: str, unknown: list[str]) -> None:
    assert embedder.unknown_words(text) == unknown


def test_a_tokenizer_of_word_pieces_knows_everything(embedder: ClipEmbedder) -> None:
    class Pieces:
        """As OpenAI's: the unknown token is the end token, and never appears."""

        unk_token_id = eos_token_id = 3

    assert ClipEmbedder(embedder.model, Pieces()).unknown_words("zeppelin") == []


# --- folders ------------------------------------------------------------------


def test_a_saved_folder_gives_the_same_vectors(embedder: ClipEmbedder, folder: Path) -> None:
    again = ClipEmbedder.from_folder(folder)
    images = random(2, 3, 40, 40)
    assert again.image_size == SIZE
    torch.testing.assert_close(
        again.embed_images(images), embedder.embed_images(images), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        again.embed_texts(TEXTS), embedder.embed_texts(TEXTS), rtol=0, atol=1e-6
    )
    assert again.unknown_words("a zeppelin with hair") == ["zeppelin"]
    assert not any(parameter.requires_grad for parameter in again.model.parameters())


def test_a_folder_of_half_precision_becomes_float32(embedder: ClipEmbedder, tmp_path: Path) -> None:
    half = new_model(RECIPE, embedder.tokenizer)
    half.load_state_dict(embedder.model.state_dict())
    half.half().save_pretrained(tmp_path)
    embedder.tokenizer.save_pretrained(tmp_path)
    again = ClipEmbedder.from_folder(tmp_path)
    assert {parameter.dtype for parameter in again.model.parameters()} == {torch.float32}


def test_a_folder_takes_templates(embedder: ClipEmbedder, folder: Path) -> None:
    found = ClipEmbedder.from_folder(folder, templates=("a {}",)).embed_texts(["face"])
    torch.testing.assert_close(found, embedder.embed_texts(["a face"]), rtol=0, atol=1e-6)


def test_preprocessing_comes_with_the_folder(copied: Path) -> None:
    assert ClipEmbedder.from_folder(copied).mean.flatten().tolist() == pytest.approx(OPENAI_MEAN)
    values = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (copied / "preprocessor_config.json").write_text(json.dumps(values))
    again = ClipEmbedder.from_folder(copied)
    assert again.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert again.std.flatten().tolist() == pytest.approx([0.2, 0.3, 0.4])


def test_a_folder_without_config_is_no_clip(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CheckpointError, match=r"not a CLIP folder: it has no config\.json"):
            ClipEmbedder.from_folder(path)


def test_a_damaged_folder_is_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot be read as a CLIP folder"):
        ClipEmbedder.from_folder(copied)
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be read as a CLIP folder"):
        ClipEmbedder.from_folder(copied)


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_a_config_of_something_else_is_refused(copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    with pytest.raises(CheckpointError):
        ClipEmbedder.from_folder(copied)


def test_missing_unexpected_and_misshapen_tensors_are_listed(copied: Path) -> None:
    # transformers fills what is missing with random numbers and only logs it
    from safetensors.torch import load_file, save_file

    path = copied / "model.safetensors"
    weights = load_file(path)
    for change, problem in (
        ({"visual_projection.weight": None}, "missing: visual_projection.weight$"),
        ({"more": torch.zeros(1)}, "unexpected: more$"),
        ({"logit_scale": torch.zeros(3)}, r"misshapen: logit_scale \[3\] instead of \[\]$"),
    ):
        changed = {k: tensor for k, tensor in (weights | change).items() if tensor is not None}
        save_file(changed, path, {"format": "pt"})
        with pytest.raises(CheckpointError, match=problem):
            ClipEmbedder.from_folder(copied)
    # older files hold the numbers of the positions as well
    positions = {"text_model.embeddings.position_ids": torch.arange(9)[None]}
    save_file(weights | positions, path, {"format": "pt"})
    ClipEmbedder.from_folder(copied)


def test_a_folder_of_another_model_is_refused(copied: Path) -> None:
    # transformers takes it for a CLIP, warns in its log and fills it with random numbers
    from transformers import BertConfig, BertModel

    sizes = json.loads((copied / "config.json").read_text())
    other = BertModel(
        BertConfig(
            vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
            intermediate_size=8,
        )
    )  # fmt: skip
    other.save_pretrained(copied)
    config = json.loads((copied / "config.json").read_text())
    assert config["model_type"] == "bert"
    small = {name: sizes[name] for name in ("text_config", "vision_config", "projection_dim")}
    (copied / "config.json").write_text(json.dumps(config | small))  # a small CLIP, not ViT-B/32
    with pytest.raises(CheckpointError):
        ClipEmbedder.from_folder(copied)
