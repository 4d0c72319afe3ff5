"""open_clip's files in transformers' network: both layouts, what their config says, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from styleclip.checkpoints import clip_openclip, keymap, load_clip
from styleclip.checkpoints.inspection import inspect
from styleclip.checkpoints.public import FILES, LAION_SETTINGS
from styleclip.clip.embedder import OPENAI_MEAN, OPENAI_STD, ClipEmbedder
from styleclip.errors import ArgumentError, CheckpointError, CheckpointWarning
from tests.checkpoints.test_clip_openai import write_tokenizer

EXACT = {"rtol": 0.0, "atol": 1e-6}  # float32, the same network twice
VOCABULARY = 100


def new_clip(act: str = "gelu") -> ClipEmbedder:
    """A tiny CLIP of transformers, random in every tensor; vision heads 20 wide, like none."""
    from transformers import CLIPConfig, CLIPModel

    end = VOCABULARY - 1
    text = {
        "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 3, "hidden_act": act, "vocab_size": VOCABULARY,
        "max_position_embeddings": 9, "bos_token_id": end - 1, "eos_token_id": end,
        "pad_token_id": end,
    }  # fmt: skip
    vision = {
        "hidden_size": 40, "intermediate_size": 100, "num_hidden_layers": 3,
        "num_attention_heads": 2, "hidden_act": act, "patch_size": 8, "image_size": 32,
    }  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=random))
    return ClipEmbedder(model, None)


def settings(**model: Any) -> dict[str, Any]:
    """What lies beside the weights of ``new_clip``, as open_clip writes it."""
    return {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 32, "layers": 3, "width": 40, "head_width": 20,
                           "patch_size": 8, "mlp_ratio": 2.5},
            "text_cfg": {"context_length": 9, "vocab_size": 100, "width": 48, "heads": 3,
                         "layers": 2},
            **model,
        },
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.5],
                           "interpolation": "bicubic", "resize_mode": "squash"},
    }  # fmt: skip


def write(folder: Path, state: dict[str, Tensor], config: dict[str, Any] | None) -> Path:
    path = folder / "open_clip_model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    if config is not None:
        (folder / clip_openclip.CONFIG).write_text(json.dumps(config))
    return path


@pytest.fixture(scope="module")
def original() -> ClipEmbedder:
    return new_clip()


@pytest.fixture(scope="module")
def state(original: ClipEmbedder) -> dict[str, Tensor]:
    """The newer layout, its text tower apart."""
    table = clip_openclip.rules(original.model.config, clip_openclip.TEXT)
    return keymap.invert(table, original.model.state_dict())


def check_equal(found: ClipEmbedder, wanted: ClipEmbedder) -> None:
    random = torch.Generator().manual_seed(1)
    pixels = torch.randn(3, 3, 32, 32, generator=random)
    ids = torch.tensor([[98, 5, 7, 99, 99], [98, 1, 2, 3, 99]])
    torch.testing.assert_close(found.embed_pixels(pixels), wanted.embed_pixels(pixels), **EXACT)
    torch.testing.assert_close(found.embed_token_ids(ids), wanted.embed_token_ids(ids), **EXACT)
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    assert not any(each.is_meta for each in [*found.model.buffers(), *found.model.parameters()])


def test_the_newer_layout_with_its_config(
    original: ClipEmbedder, state: dict[str, Tensor], tmp_path: Path
) -> None:
    found = load_clip(write(tmp_path, state, settings(custom_text=True)))
    check_equal(found, original)
    assert found.model.config.vision_config.num_attention_heads == 2
    assert found.model.config.text_config.hidden_act == "gelu"
    assert found.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert found.std.flatten().tolist() == pytest.approx([0.2, 0.3, 0.5])
    # the folder is as good as the file
    check_equal(load_clip(tmp_path), original)


def test_pictures_are_resized_as_the_config_says(state: dict[str, Tensor], tmp_path: Path) -> None:
    images = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(2)) * 2 - 1
    for said, meant in (("bicubic", "bicubic"), ("random", "bicubic"), ("bilinear", "bilinear")):
        config = settings()
        config["preprocess_cfg"] |= {"interpolation": said, "size": [32, 32], "mode": "RGB"}
        found = load_clip(write(tmp_path, state, config))
        assert found.interpolation == meant
        unit = F.interpolate((images + 1) / 2, (32, 32), mode=meant, antialias=True)
        wanted = found.embed_pixels((unit - found.mean) / found.std)
        torch.testing.assert_close(found.embed_images(images), wanted, **EXACT)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"interpolation": "lanczos"}, "interpolation = 'lanczos', which is not known here"),
        ({"resize_mode": "stretch"}, "resize_mode = 'stretch'.*known: shortest, longest, squash"),
        ({"mode": "L"}, "mode = 'L'"),
        ({"size": [32, 64]}, r"pictures of \[32, 64\] pixels for a tower of 32"),
        ({"size": 384}, "pictures of 384 pixels for a tower of 32"),
        ({"interpolation": ["bicubic"]}, "is not known here"),
    ],
)
def test_a_way_of_resizing_that_is_not_known_is_refused(
    changed: dict[str, Any], sentence: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    config = settings()
    config["preprocess_cfg"] |= changed
    with pytest.raises(CheckpointError, match=sentence):
        load_clip(write(tmp_path, state, config))


def test_a_fetched_config_has_the_name_of_its_weights(
    original: ClipEmbedder, state: dict[str, Tensor], tmp_path: Path
) -> None:
    """Where several files lie side by side, each has its own; the usual name is any one's."""
    usual = write(tmp_path, state, settings(quick_gelu=True))
    weights = usual.rename(tmp_path / "ViT-B-16-laion2b-s34b-b88k.bin")
    (tmp_path / LAION_SETTINGS).write_text(json.dumps(settings()))
    check_equal(load_clip(weights), original)
    assert FILES[weights.name].beside == (LAION_SETTINGS,) and LAION_SETTINGS in FILES
    figures = inspect(weights).figures
    assert figures["activation"] == "gelu"


def test_it_may_be_the_clip_of_a_model_folder(
    original: ClipEmbedder, state: dict[str, Tensor], tmp_path: Path
) -> None:
    (tmp_path / "clip").mkdir()
    write(tmp_path / "clip", state, settings())
    (tmp_path / "model.json").write_text('{"name": "tiny"}')
    check_equal(load_clip(tmp_path), original)


def test_the_older_layout_out_of_a_training(original: ClipEmbedder, tmp_path: Path) -> None:
    table = clip_openclip.rules(original.model.config)
    older = keymap.invert(table, original.model.state_dict())
    assert "token_embedding.weight" in older
    wrapped = {f"module.{name}": tensor for name, tensor in older.items()}
    torch.save({"epoch": 32, "name": "x", "state_dict": wrapped}, tmp_path / "epoch_32.pt")
    (tmp_path / clip_openclip.CONFIG).write_text(json.dumps(settings()))
    check_equal(load_clip(tmp_path / "epoch_32.pt"), original)


def test_the_activation_is_the_config_s_or_the_caller_s(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    quick = new_clip("quick_gelu")
    path = write(tmp_path, state, settings(quick_gelu=True))
    check_equal(load_clip(path), quick)
    with pytest.raises(AssertionError):  # the two do differ here
        check_equal(load_clip(path, activation="gelu"), quick)
    write(tmp_path, state, settings())
    check_equal(load_clip(path, activation="quick_gelu"), quick)
    with pytest.raises(ArgumentError, match="'gelu' or 'quick_gelu'"):
        load_clip(path, activation="relu")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(
    dtype: torch.dtype, state: dict[str, Tensor], tmp_path: Path
) -> None:
    halves = {name: tensor.to(dtype) for name, tensor in state.items()}
    found = load_clip(write(tmp_path, halves, settings()))
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}
    table = clip_openclip.rules(found.model.config, clip_openclip.TEXT)
    for name, tensor in keymap.invert(table, found.model.state_dict()).items():
        assert torch.equal(tensor, halves[name].float()), name


def test_the_map_goes_back_to_every_foreign_tensor(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    extra = {"text.attn_mask": torch.zeros(9, 9), "logit_bias": torch.zeros(())}
    found = load_clip(write(tmp_path, state | extra, settings()))
    table = clip_openclip.rules(found.model.config, clip_openclip.TEXT)
    back = keymap.invert(table, found.model.state_dict())
    assert set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


# --- what is not said ---------------------------------------------------------


def published(vision: int, text: int, embedding: int, patch: int) -> dict[str, Tensor]:
    """A state dict of these widths, one layer deep, without memory."""

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    state = {
        "text_projection": empty(text, embedding),
        "token_embedding.weight": empty(49408, text),
        "positional_embedding": empty(77, text),
        "visual.conv1.weight": empty(vision, 3, patch, patch),
        "visual.positional_embedding": empty((224 // patch) ** 2 + 1, vision),
    }
    for name, width in (("transformer", text), ("visual.transformer", vision)):
        state[f"{name}.resblocks.0.ln_1.weight"] = empty(width)
        state[f"{name}.resblocks.0.mlp.c_fc.weight"] = empty(4 * width, width)
    return state


@pytest.mark.parametrize(
    ("vision", "text", "embedding", "patch", "heads", "text_heads"),
    [
        (768, 512, 512, 32, 12, 8),  # B/32
        (768, 512, 512, 16, 12, 8),  # B/16
        (1024, 768, 768, 14, 16, 12),  # L/14
        (1280, 1024, 1024, 14, 16, 16),  # H/14
        (1408, 1024, 1024, 14, 16, 16),  # g/14
        (1664, 1280, 1280, 14, 16, 20),  # bigG/14
    ],
)
def test_without_a_config_the_published_widths_say_the_heads(
    vision: int, text: int, embedding: int, patch: int, heads: int, text_heads: int, tmp_path: Path
) -> None:
    state = published(vision, text, embedding, patch)
    with pytest.warns(CheckpointWarning, match="exact GELU and OpenAI's mean and std"):
        assumed = clip_openclip.read_settings(tmp_path / "x.bin")
    assert (tuple(assumed.mean), tuple(assumed.std)) == (OPENAI_MEAN, OPENAI_STD)
    config = clip_openclip.infer_config(state, "x.bin", assumed)
    assert config.vision_config.num_attention_heads == heads
    assert config.text_config.num_attention_heads == text_heads
    assert config.vision_config.image_size == 224
    assert config.vision_config.hidden_act == config.text_config.hidden_act == "gelu"


def test_with_an_activation_nothing_is_left_to_say(tmp_path: Path) -> None:
    # a warning would be an error
    assumed = clip_openclip.read_settings(tmp_path / "x.bin", "quick_gelu")
    config = clip_openclip.infer_config(published(768, 512, 512, 32), "x.bin", assumed)
    assert config.text_config.hidden_act == "quick_gelu"


def test_heads_of_an_unpublished_width_are_not_guessed(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = write(tmp_path, state, None)
    with pytest.raises(CheckpointError, match=r"text tower of width 48.*open_clip_config\.json"):
        load_clip(path, activation="gelu")


def test_a_tokenizer_beside_the_file_is_found(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = write(tmp_path, state, settings())
    assert load_clip(path).tokenizer is None
    write_tokenizer(tmp_path, VOCABULARY)
    found = load_clip(path)
    ids = torch.tensor([[98, 0, 27, 99]])  # start, letters, end
    torch.testing.assert_close(found.embed_texts(["ab"]), found.embed_token_ids(ids), **EXACT)
    write_tokenizer(tmp_path, VOCABULARY + 1)
    with pytest.raises(CheckpointError, match=r"token 100.*expects 99.*tokenizer=FOLDER"):
        load_clip(path)


# --- what is refused ----------------------------------------------------------


def test_missing_unexpected_and_misshapen_keys_are_listed(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    changed = state | {"more": torch.zeros(1), "text.ln_final.bias": torch.zeros(3)}
    del changed["visual.transformer.resblocks.1.attn.in_proj_bias"]
    with pytest.raises(CheckpointError) as error:
        load_clip(write(tmp_path, changed, settings()))
    for part in (
        "missing: visual.transformer.resblocks.1.attn.in_proj_bias;",
        "unexpected: more;",
        "misshapen: text.ln_final.bias [3] instead of [48]",
    ):
        assert part in str(error.value)


def test_any_change_to_an_entry_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / clip_openclip.CONFIG).write_text(json.dumps(settings()))
    for key in [*list(state)[:8], *list(state)[8::9]]:
        tensor = state[key]
        for wrong in (
            None, 3, [tensor], tensor[None], torch.zeros([size + 1 for size in tensor.shape] or 1),
            torch.zeros([0] * tensor.ndim or 0), torch.zeros([2 * s for s in tensor.shape] or 2),
        ):  # fmt: skip
            with pytest.raises(CheckpointError) as error:
                clip_openclip.build(state | {key: wrong}, tmp_path / "x.bin")
            assert "\n" not in str(error.value), key


@pytest.mark.parametrize(
    ("key", "tower"),
    [
        ("visual.trunk.blocks.0.norm1.weight", "a timm image tower"),
        ("visual.attn_pool.query", "attention pooling"),
        ("text_decoder.ln_final.bias", "CoCa"),
        ("text.transformer.embeddings.LayerNorm.bias", "another library"),
        ("visual.layer1.0.conv1.weight", "ResNet image tower"),
    ],
)
def test_other_towers_are_named(
    key: str, tower: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = write(tmp_path, state | {key: torch.zeros(1)}, settings())
    with pytest.raises(CheckpointError, match=rf"{tower}.*take a"):
        load_clip(path)


def test_a_config_of_another_network_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = settings()
    wrong["model_cfg"]["vision_cfg"]["width"] = 768
    with pytest.raises(CheckpointError, match="vision width 768, the weights have 40"):
        load_clip(write(tmp_path, state, wrong))
    with pytest.raises(CheckpointError, match="embed_dim 512, the weights have 24"):
        load_clip(write(tmp_path, state, settings(embed_dim=512)))
    wrong = settings()
    wrong["model_cfg"]["text_cfg"]["heads"] = 7
    with pytest.raises(CheckpointError, match="width 48, which cannot have the 7 heads"):
        load_clip(write(tmp_path, state, wrong))


def test_a_tower_that_works_otherwise_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = settings()
    wrong["model_cfg"]["text_cfg"] |= {"no_causal_mask": True}
    with pytest.raises(CheckpointError, match="no_causal_mask = True in text_cfg"):
        load_clip(write(tmp_path, state, wrong))
    with pytest.raises(CheckpointError, match="multimodal_cfg"):
        load_clip(write(tmp_path, state, settings(multimodal_cfg={"width": 3})))
    fine = settings()
    fine["model_cfg"]["vision_cfg"] |= {"pool_type": "tok", "no_ln_pre": False}
    load_clip(write(tmp_path, state, fine))


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"model_cfg": {"embed_dim": 24, "vision_cfg": 1, "text_cfg": {}}}',
        json.dumps(settings() | {"preprocess_cfg": {"mean": [1]}}),
        json.dumps(settings() | {"preprocess_cfg": {"std": [0.0, 1.0, 1.0]}}),
        json.dumps(settings() | {"preprocess_cfg": {"std": "grey"}}),
        json.dumps(settings() | {"preprocess_cfg": {"std": [math.nan, 1.0, 1.0]}}),
        json.dumps(settings() | {"preprocess_cfg": {"mean": [math.inf, 0.0, 0.0]}}),
        json.dumps({"model_cfg": settings()["model_cfg"] | {"embed_dim": math.inf}}),
        "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_config_is_refused(text: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = write(tmp_path, state, None)
    (tmp_path / clip_openclip.CONFIG).write_text(text)
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json does not describe a CLIP"):
        load_clip(path)


@pytest.mark.parametrize(
    ("tower", "name", "value", "sentence"),
    [
        ("vision_cfg", "image_size", 999, "vision image_size 999"),
        ("text_cfg", "context_length", 99, "text context_length 99"),
        ("text_cfg", "vocab_size", 3, "text vocab_size 3"),
        ("vision_cfg", "head_width", 9000, "heads of width 9000"),
        ("vision_cfg", "head_width", 7, "heads of width 7"),
    ],
)
def test_sizes_that_contradict_the_weights_are_refused(
    tower: str, name: str, value: int, sentence: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    config = settings()
    config["model_cfg"][tower][name] = value
    with pytest.raises(CheckpointError, match=sentence):
        load_clip(write(tmp_path, state, config))
