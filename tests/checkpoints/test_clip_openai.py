"""OpenAI's CLIP weights in transformers' network: the vectors, both ways, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.checkpoints import clip_openai, keymap, load_clip
from styleclip.errors import CheckpointError, PromptError
from tests.reference.networks import VECTORS, expected

FILE = VECTORS / "clip-openai-vit.pt"
CLOSE = {"rtol": 0.0, "atol": 1e-4}  # float32 vectors of other code


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    contents: dict[str, Tensor] = torch.load(FILE, weights_only=True)
    return contents


@pytest.fixture(scope="module")
def embedder() -> Any:
    return load_clip(FILE)


@torch.no_grad()
def test_vectors_are_reproduced(embedder: Any) -> None:
    vectors = expected("clip-openai-vit")
    pixels, ids = vectors["pixel_values"], vectors["token_ids"]
    outputs = embedder.model(input_ids=ids, pixel_values=pixels)
    torch.testing.assert_close(outputs.logits_per_image, vectors["logits_per_image"], **CLOSE)
    images = embedder.model.get_image_features(pixel_values=pixels).pooler_output
    texts = embedder.model.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(images, vectors["image_features"], **CLOSE)
    torch.testing.assert_close(texts, vectors["text_features"], **CLOSE)
    unit = F.normalize(vectors["text_features"], dim=1)
    torch.testing.assert_close(embedder.embed_token_ids(ids), unit, **CLOSE)
    unit = F.normalize(vectors["image_features"], dim=1)
    torch.testing.assert_close(embedder.embed_pixels(pixels), unit, **CLOSE)


def test_the_architecture_follows_from_the_shapes(embedder: Any) -> None:
    sizes = json.loads((VECTORS / "clip-openai-vit.json").read_text())
    text, vision = embedder.model.config.text_config, embedder.model.config.vision_config
    assert embedder.width == sizes["embed_dim"]
    assert embedder.image_size == sizes["image_resolution"]
    assert embedder.context_length == sizes["context_length"]
    assert text.eos_token_id == sizes["vocab_size"] - 1 == text.vocab_size - 1
    assert (text.hidden_size, text.num_hidden_layers) == (64, 2)
    assert text.num_attention_heads == sizes["transformer_heads"]
    assert (vision.patch_size, vision.num_hidden_layers) == (sizes["vision_patch_size"], 2)
    assert text.hidden_act == vision.hidden_act == "quick_gelu"


def test_the_other_vector_file_is_read() -> None:
    embedder = load_clip(VECTORS / "optimization-clip.pt")
    assert (embedder.image_size, embedder.width) == (224, 32)


def test_text_padded_with_zeros_is_read_at_its_end_token(embedder: Any) -> None:
    ids = expected("clip-openai-vit")["token_ids"]
    end = embedder.model.config.text_config.eos_token_id
    length = int((ids == end).float().argmax(dim=1).max()) + 1
    assert length < ids.shape[1]  # OpenAI pads to the full context
    # float32; the padding comes after the token that is read, and attention looks back only
    torch.testing.assert_close(
        embedder.embed_token_ids(ids[:, :length]), embedder.embed_token_ids(ids),
        rtol=0.0, atol=1e-6,
    )  # fmt: skip


def test_without_a_tokenizer_texts_are_refused(embedder: Any) -> None:
    with pytest.raises(PromptError, match="came without a tokenizer"):
        embedder.embed_texts(["a face"])


def test_loaded_clips_are_ready_to_use(embedder: Any) -> None:
    assert not embedder.model.training
    for name, parameter in embedder.model.named_parameters():
        assert not parameter.requires_grad, name
        assert parameter.dtype == torch.float32, name


def test_the_map_goes_back_to_every_foreign_tensor(embedder: Any, state: dict[str, Tensor]) -> None:
    rules = clip_openai.rules(embedder.model.config)
    back = keymap.invert(rules, embedder.model.state_dict())
    assert set(state) - set(back) == {"input_resolution", "context_length", "vocab_size"}
    assert set(back) <= set(state)
    for key, tensor in back.items():
        assert torch.equal(tensor, state[key]), key


def test_half_precision_becomes_float32(state: dict[str, Tensor], tmp_path: Path) -> None:
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    torch.save(halves, tmp_path / "half.pt")
    embedder = load_clip(tmp_path / "half.pt")
    assert {p.dtype for p in embedder.model.parameters()} == {torch.float32}
    vectors = expected("clip-openai-vit")
    unit = F.normalize(vectors["image_features"], dim=1)
    found = embedder.embed_pixels(vectors["pixel_values"])
    torch.testing.assert_close(found, unit, rtol=0.0, atol=5e-3)  # float16 weights


def test_a_transformers_folder_without_tokenizer_is_refused(embedder: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_clip(tmp_path)


# --- tokenizer ----------------------------------------------------------------


def write_tokenizer(folder: Path, size: int) -> Path:
    """A vocabulary of ``size`` tokens in OpenAI's files, all of them letters and the two ends."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    letters = [chr(ord("a") + i) for i in range(26)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [f"<unused{i}>" for i in range(size - len(tokens) - 2)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder


def test_a_tokenizer_folder_makes_texts_work(tmp_path: Path) -> None:
    embedder = load_clip(FILE, tokenizer=write_tokenizer(tmp_path, 512))
    vectors = embedder.embed_texts(["ab", "c"])
    ids = torch.tensor([[510, 0, 27, 511], [510, 28, 511, 511]])  # start, letters, end
    torch.testing.assert_close(vectors, embedder.embed_token_ids(ids), rtol=0.0, atol=1e-6)


def test_the_tokenizer_of_another_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="token 255, this CLIP expects 511"):
        load_clip(FILE, tokenizer=write_tokenizer(tmp_path, 256))


def test_a_transformers_folder_is_read_alone_and_inside_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    original = load_clip(FILE, tokenizer=write_tokenizer(folder, 512))
    original.model.save_pretrained(folder)
    (tmp_path / "model.json").write_text('{"name": "tiny"}')
    expected_texts = original.embed_texts(["ab", "c"])
    for path in (folder, tmp_path):
        again = load_clip(path)
        found = again.embed_texts(["ab", "c"])
        torch.testing.assert_close(found, expected_texts, rtol=0.0, atol=1e-6)  # float32
        assert not any(parameter.requires_grad for parameter in again.model.parameters())


def test_a_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer folder"):
        load_clip(FILE, tokenizer=tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no CLIP tokenizer"):
        load_clip(FILE, tokenizer=tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer in .* cannot be read"):
        load_clip(FILE, tokenizer=tmp_path)


# --- what is refused ----------------------------------------------------------


def test_missing_unexpected_and_misshapen_keys_are_listed(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    changed = dict(state) | {"more": torch.zeros(1), "ln_final.bias": torch.zeros(3)}
    del changed["visual.transformer.resblocks.1.attn.in_proj_bias"]
    torch.save(changed, tmp_path / "x")
    with pytest.raises(CheckpointError) as error:
        load_clip(tmp_path / "x")
    for part in (
        "missing: visual.transformer.resblocks.1.attn.in_proj_bias;",
        "unexpected: more;",
        "misshapen: ln_final.bias [3] instead of [64]",
    ):
        assert part in str(error.value)


def test_resnet_towers_are_not_readable(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(dict(state) | {"visual.layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"ResNet image tower.*take a ViT"):
        load_clip(tmp_path / "x")


def test_an_incomplete_file_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({k: v for k, v in state.items() if k != "positional_embedding"}, tmp_path / "x")
    with pytest.raises(CheckpointError, match="not enough to tell its architecture"):
        load_clip(tmp_path / "x")


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("visual.conv1.weight", (64, 3, 0, 0)),  # no patch
        ("visual.conv1.weight", (200, 3, 8, 8)),  # three heads do not divide it
        ("visual.conv1.weight", (0, 3, 8, 8)),
        ("visual.positional_embedding", (0, 64)),
        ("token_embedding.weight", (0, 64)),
        ("token_embedding.weight", (512, 0)),
        ("text_projection", (64, 0)),
        ("positional_embedding", (0, 64)),
        ("transformer.resblocks.0.mlp.c_fc.weight", (0, 64)),
    ],
)
def test_sizes_that_no_clip_has_are_refused(
    key: str, shape: tuple[int, ...], state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(state | {key: torch.zeros(shape)}, tmp_path / "x")
    with pytest.raises(CheckpointError):
        load_clip(tmp_path / "x")


def test_a_generator_is_not_a_clip() -> None:
    with pytest.raises(CheckpointError, match="is not a CLIP but a StyleGAN2 of rosinality"):
        load_clip(VECTORS / "stylegan2-rosinality.pt")
