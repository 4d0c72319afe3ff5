"""Foreign StyleGAN2 weights: what they compute, complete maps both ways, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from styleclip.checkpoints import keymap, load_generator, stylegan2_nvidia, stylegan2_rosinality
from styleclip.errors import CheckpointError
from styleclip.generators.stylegan2 import StyleGAN2
from tests.reference.networks import VECTORS, expected

# the vectors were computed in float32 by other code: 1e-4 is what the project promises of them
CLOSE = {"rtol": 0.0, "atol": 1e-4}
FILES: dict[str, tuple[str, dict[str, Any], ModuleType]] = {
    "stylegan2-rosinality": ("stylegan2-rosinality.pt", {}, stylegan2_rosinality),
    "stylegan2-ada": ("stylegan2-ada.safetensors", {}, stylegan2_nvidia),
    "stylegan2-ada-conditional": (
        "stylegan2-ada-conditional.safetensors", {"clamp": 2.0}, stylegan2_nvidia,
    ),
}  # fmt: skip


def load(name: str) -> StyleGAN2:
    file, options, _ = FILES[name]
    return load_generator(VECTORS / file, **options)


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def foreign(name: str) -> dict[str, Tensor]:
    """The flat foreign state dict of a vector file."""
    if name == "stylegan2-rosinality":
        contents = torch.load(VECTORS / f"{name}.pt", weights_only=True)
        return {**contents["g_ema"], "latent_avg": contents["latent_avg"]}
    return load_file(VECTORS / f"{name}.safetensors")


def write(name: str, tensors: dict[str, Any], folder: Path) -> Path:
    """The foreign state dict as a file of its layout."""
    path = folder / "weights"
    if name == "stylegan2-rosinality":
        average = tensors.pop("latent_avg", None)
        contents = {"g_ema": tensors} | ({} if average is None else {"latent_avg": average})
        torch.save(contents, path)
    else:
        save_file(tensors, path)
    return path


# --- what they compute --------------------------------------------------------


@torch.no_grad()
def test_vectors_are_reproduced(name: str) -> None:
    generator, vectors = load(name), expected(name)
    w = generator.mapping(vectors["z"], vectors.get("c"))
    torch.testing.assert_close(w, vectors["w"], **CLOSE)

    def image(w_plus: Tensor, **options: Any) -> Tensor:
        return generator.synthesis(generator.affine(w_plus), **options)

    torch.testing.assert_close(image(generator.truncate(w)), vectors["image"], **CLOSE)
    near = image(generator.truncate(w, psi=0.7))
    torch.testing.assert_close(near, vectors["image_psi07"], **CLOSE)
    torch.testing.assert_close(image(vectors["w_plus"]), vectors["image_w_plus"], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", ["stylegan2-ada", "stylegan2-ada-conditional"])
def test_nvidia_truncation_style_and_missing_noise(name: str) -> None:
    generator, vectors = load(name), expected(name)
    w = vectors["w"]
    for options, key in (({"psi": 0.7}, "w_psi07"), ({"psi": 0.5, "cutoff": 4}, "w_psi05_cutoff4")):
        torch.testing.assert_close(generator.truncate(w, **options), vectors[key], **CLOSE)
    style = generator.affine(generator.truncate(w))
    torch.testing.assert_close(style, vectors["style"], **CLOSE)
    no_noise = generator.synthesis(style, noise="none")
    torch.testing.assert_close(no_noise, vectors["image_no_noise"], **CLOSE)


@torch.no_grad()
def test_rosinality_style_and_edited_style() -> None:
    generator, vectors = load("stylegan2-rosinality"), expected("stylegan2-rosinality")
    torch.testing.assert_close(generator.affine(vectors["w_plus"]), vectors["style"], **CLOSE)
    edited = generator.synthesis(vectors["style_edited"])
    torch.testing.assert_close(edited, vectors["image_style_edited"], **CLOSE)


def test_loaded_generators_are_ready_to_use(name: str) -> None:
    generator = load(name)
    assert not generator.training
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    for key, tensor in generator.state_dict().items():
        assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu"), key


def test_the_clamp_comes_from_argument_or_metadata(tmp_path: Path) -> None:
    name = "stylegan2-ada-conditional"
    assert load(name).config.clamp == 2.0
    assert load_generator(VECTORS / f"{name}.safetensors").config.clamp is None
    for text, clamp in (("2", 2.0), ("256.0", 256.0), ("null", None)):
        save_file(foreign(name), tmp_path / "weights", {"conv_clamp": text})
        assert load_generator(tmp_path / "weights").config.clamp == clamp
    save_file(foreign(name), tmp_path / "weights", {"conv_clamp": "much"})
    with pytest.raises(CheckpointError, match="conv_clamp = 'much', expected a number"):
        load_generator(tmp_path / "weights")


def test_without_the_clamp_the_picture_differs() -> None:
    name = "stylegan2-ada-conditional"
    vectors = expected(name)
    free = load_generator(VECTORS / f"{name}.safetensors")
    image = free.synthesis(free.affine(vectors["w_plus"]))
    assert (image - vectors["image_w_plus"]).abs().max() > 0.01


def test_rosinality_convolutions_are_scaled_to_what_the_network_uses() -> None:
    # demodulation hides a wrong scale from the pictures
    ours, theirs = load("stylegan2-rosinality").state_dict(), foreign("stylegan2-rosinality")
    scaled = theirs["convs.4.conv.weight"][0] / (9 * 40) ** 0.5
    torch.testing.assert_close(ours["blocks.3.up.weight"], scaled, rtol=1e-6, atol=0.0)


# --- complete both ways -------------------------------------------------------


def test_the_map_goes_back_to_every_foreign_tensor(name: str) -> None:
    module = FILES[name][2]
    generator, original = load(name), foreign(name)
    back = keymap.invert(module.rules(generator.config), generator.state_dict())
    dropped = {key for key in original if "kernel" in key or "resample_filter" in key}
    assert dropped
    assert set(back) == set(original) - dropped
    for key, tensor in back.items():
        # one multiplication and one division by the same number apart
        torch.testing.assert_close(tensor, original[key], rtol=1e-6, atol=1e-7, msg=key)


def test_what_goes_back_loads_again(name: str, tmp_path: Path) -> None:
    generator = load(name)
    back = keymap.invert(FILES[name][2].rules(generator.config), generator.state_dict())
    again = load_generator(write(name, back, tmp_path), **FILES[name][1])
    assert again.config == generator.config
    for key, tensor in generator.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], tensor, rtol=1e-6, atol=1e-7)


def test_half_precision_becomes_float32(name: str, tmp_path: Path) -> None:
    halves = {key: tensor.half() for key, tensor in foreign(name).items()}
    generator = load_generator(write(name, halves, tmp_path))
    assert {t.dtype for t in generator.state_dict().values()} == {torch.float32}


# --- variants that are accepted -----------------------------------------------


def as_bare_state_dict(state: dict[str, Tensor]) -> Any:
    return state


def as_data_parallel(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    return {"g_ema": {f"module.{k}": v for k, v in state.items()}, "latent_avg": average}


def as_training_checkpoint(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    return {"g": {}, "d": {}, "g_ema": state, "latent_avg": average[None], "ada_aug_p": 0.1}


def as_ordered_dict(state: dict[str, Tensor]) -> Any:
    from collections import OrderedDict

    average = state.pop("latent_avg")
    return {"g_ema": OrderedDict(state), "latent_avg": average}


@pytest.mark.parametrize(
    "wrap", [as_bare_state_dict, as_data_parallel, as_training_checkpoint, as_ordered_dict]
)
def test_rosinality_files_come_in_several_wrappings(
    wrap: Callable[[dict[str, Tensor]], Any], tmp_path: Path
) -> None:
    torch.save(wrap(foreign("stylegan2-rosinality")), tmp_path / "weights")
    generator = load_generator(tmp_path / "weights")
    same = load("stylegan2-rosinality").state_dict()
    assert all(torch.equal(t, same[key]) for key, t in generator.state_dict().items())


def test_without_noise_images_the_same_ones_are_drawn_each_time(name: str, tmp_path: Path) -> None:
    state = {key: t for key, t in foreign(name).items() if "noises." not in key}
    state = {key: t for key, t in state.items() if "noise_const" not in key}
    first = load_generator(write(name, dict(state), tmp_path))
    second = load_generator(write(name, dict(state), tmp_path))
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key
    noise = first.state_dict()["blocks.3.conv.noise_const"]
    assert noise.std().item() == pytest.approx(1.0, abs=0.1)  # 1,024 normal draws
    assert not torch.equal(noise, load(name).state_dict()["blocks.3.conv.noise_const"])


def test_without_a_mean_w_it_is_computed(tmp_path: Path) -> None:
    state = foreign("stylegan2-rosinality")
    del state["latent_avg"]
    torch.save(state, tmp_path / "weights")
    generator = load_generator(tmp_path / "weights")
    z = torch.randn(10_000, generator.z_dim, generator=torch.Generator().manual_seed(5))
    w = generator.mapping(z)
    # two independent means of 10,000 agree to six standard errors
    assert ((generator.w_average - w.mean(0)).abs() < 6 * w.std(0) * 0.0142).all()
    assert torch.equal(
        generator.w_average, load_generator(tmp_path / "weights").w_average
    )  # always the same


def test_nvidia_files_may_come_from_a_data_parallel_wrapper(tmp_path: Path) -> None:
    state = {f"module.{key}": t for key, t in foreign("stylegan2-ada").items()}
    generator = load_generator(write("stylegan2-ada", state, tmp_path))
    same = load("stylegan2-ada").state_dict()
    assert all(torch.equal(t, same[key]) for key, t in generator.state_dict().items())


# --- what is refused ----------------------------------------------------------

REQUIRED = {
    "stylegan2-rosinality": [
        "convs.3.activate.bias", "conv1.noise.weight", "to_rgbs.1.bias", "style.8.bias",
        "to_rgb1.conv.modulation.weight",
    ],
    "stylegan2-ada": [
        "synthesis.b16.conv0.bias", "synthesis.b4.conv1.noise_strength", "mapping.fc3.bias",
        "synthesis.b8.torgb.affine.weight",
    ],
    "stylegan2-ada-conditional": ["mapping.embed.bias", "synthesis.b32.torgb.bias"],
}  # fmt: skip


def test_every_missing_key_is_listed(name: str, tmp_path: Path) -> None:
    state = foreign(name)
    for key in REQUIRED[name]:
        del state[key]
    with pytest.raises(CheckpointError, match="missing: ") as error:
        load_generator(write(name, state, tmp_path))
    assert all(key in str(error.value) for key in REQUIRED[name])
    assert "unexpected" not in str(error.value)


def test_every_unexpected_key_is_listed(name: str, tmp_path: Path) -> None:
    state = foreign(name) | {"extra.weight": torch.zeros(2), "more": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"unexpected: extra\.weight, more$"):
        load_generator(write(name, state, tmp_path))


def test_every_misshapen_tensor_is_listed(name: str, tmp_path: Path) -> None:
    state = foreign(name)
    for key in REQUIRED[name]:
        state[key] = torch.zeros(7, 5)
    with pytest.raises(CheckpointError, match="misshapen: ") as error:
        load_generator(write(name, state, tmp_path))
    assert all(f"{key} [7, 5] instead of " in str(error.value) for key in REQUIRED[name])


def test_a_long_list_of_keys_is_cut(tmp_path: Path) -> None:
    state = foreign("stylegan2-ada") | {f"extra{i}": torch.zeros(1) for i in range(30)}
    with pytest.raises(CheckpointError, match="extra19 and 18 more"):
        load_generator(write("stylegan2-ada", state, tmp_path))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("stylegan2-rosinality", "convs.0.conv.blur.kernel"),
        ("stylegan2-rosinality", "to_rgbs.1.upsample.kernel"),
        ("stylegan2-ada", "synthesis.b8.conv0.resample_filter"),
    ],
)
def test_another_low_pass_filter_is_refused(name: str, key: str, tmp_path: Path) -> None:
    state = foreign(name)
    state[key] = torch.ones(4, 4)
    with pytest.raises(CheckpointError, match=f"{key} .its values are not the usual ones"):
        load_generator(write(name, state, tmp_path))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("stylegan2-rosinality", "style.1.weight"),
        ("stylegan2-rosinality", "convs.2.conv.weight"),
        ("stylegan2-ada", "mapping.fc7.weight"),
        ("stylegan2-ada", "synthesis.b8.conv1.weight"),
    ],
)
def test_a_file_without_the_telling_entries_is_refused(name: str, key: str, tmp_path: Path) -> None:
    state = foreign(name)
    del state[key]
    with pytest.raises(CheckpointError):
        load_generator(write(name, state, tmp_path))


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a StyleGAN2 but an OpenAI CLIP"):
        load_generator(VECTORS / "clip-openai-vit.pt")
    torch.save({"synthesis.input.freqs": torch.zeros(1)}, tmp_path / "three")
    with pytest.raises(CheckpointError, match="StyleGAN3, which is not readable yet"):
        load_generator(tmp_path / "three")
    torch.save({"a": torch.zeros(1), "b": {"c": 1}}, tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"no known StyleGAN2 layout .* first keys: a, b"):
        load_generator(tmp_path / "other")
    torch.save({}, tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="first keys: none"):
        load_generator(tmp_path / "nothing")


def test_grey_generators_are_refused(tmp_path: Path) -> None:
    state = foreign("stylegan2-ada")
    state["synthesis.b32.torgb.weight"] = state["synthesis.b32.torgb.weight"][:1].clone()
    with pytest.raises(CheckpointError, match=r"b32.torgb.weight \[1, 24, 1, 1\] instead of"):
        load_generator(write("stylegan2-ada", state, tmp_path))


@pytest.mark.parametrize(
    ("name", "key"),
    [("stylegan2-rosinality", "input.input"), ("stylegan2-ada", "synthesis.b4.const")],
)
def test_generators_that_are_not_square_are_refused(name: str, key: str, tmp_path: Path) -> None:
    state = foreign(name)
    state[key] = torch.cat([state[key]] * 2, dim=-2)  # as forks for people standing have it
    size = load(name).resolution
    message = f"draws pictures of {2 * size} x {size} pixels .*8 x 4.: only square"
    with pytest.raises(CheckpointError, match=message):
        load_generator(write(name, state, tmp_path))


@pytest.mark.parametrize("size", [64, 1024])
def test_maps_cover_larger_networks(size: int) -> None:
    from styleclip.checkpoints.loaders import empty_generator
    from styleclip.generators.stylegan2 import StyleGAN2Config

    config = StyleGAN2Config.config_f(size)
    ours = sorted(empty_generator(config).state_dict())
    for module in (stylegan2_nvidia, stylegan2_rosinality):
        rules = module.rules(config)
        assert sorted(name for rule in rules for name in rule.names) == ours
        assert len({rule.theirs for rule in rules}) == len(rules)
