"""Foreign StyleGAN2 weights: what they compute, complete maps both ways, and what is refused."""

from __future__ import annotations

import argparse
import copyreg
import pickle
import re
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.reading import nvidia_module, nvidia_names, nvidia_pickle
from styleclip.checkpoints import (
    keymap,
    load_generator,
    read_weights,
    stylegan2_nvidia,
    stylegan2_rosinality,
    stylegan2_tensorflow,
)
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
    "stylegan2-ada, pickle": ("stylegan2-ada.pkl", {}, stylegan2_nvidia),
    "stylegan2-ada-conditional, pickle": (
        "stylegan2-ada-conditional.pkl", {}, stylegan2_nvidia,  # the clamp is in there
    ),
}  # fmt: skip


def vectors_of(name: str) -> dict[str, Tensor]:
    """What the original computes from that file."""
    return expected(name.removesuffix(", pickle"))


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
    return load_file(VECTORS / f"{name.removesuffix(', pickle')}.safetensors")


def write(name: str, tensors: dict[str, Any], folder: Path) -> Path:
    """The foreign state dict as a file of its layout."""
    path = folder / "weights"
    if name == "stylegan2-rosinality":
        average = tensors.pop("latent_avg", None)
        contents = {"g_ema": tensors} | ({} if average is None else {"latent_avg": average})
        torch.save(contents, path)
    elif name.endswith(", pickle"):
        clamps = {f"synthesis.b{4 << i}.conv1.conv_clamp": 2 for i in range(4)}
        settings = clamps if "conditional" in name else {}
        networks = {"G": {"none": torch.zeros(1)}, "D": {}, "G_ema": tensors}
        path.write_bytes(nvidia_pickle(networks, settings))
    else:
        save_file(tensors, path)
    return path


# --- what they compute --------------------------------------------------------


@torch.no_grad()
def test_vectors_are_reproduced(name: str) -> None:
    generator, vectors = load(name), vectors_of(name)
    w = generator.mapping(vectors["z"], vectors.get("c"))
    torch.testing.assert_close(w, vectors["w"], **CLOSE)

    def image(w_plus: Tensor, **options: Any) -> Tensor:
        return generator.synthesis(generator.affine(w_plus), **options)

    torch.testing.assert_close(image(generator.truncate(w)), vectors["image"], **CLOSE)
    near = image(generator.truncate(w, psi=0.7))
    torch.testing.assert_close(near, vectors["image_psi07"], **CLOSE)
    torch.testing.assert_close(image(vectors["w_plus"]), vectors["image_w_plus"], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in FILES if "ada" in name])
def test_nvidia_truncation_style_and_missing_noise(name: str) -> None:
    generator, vectors = load(name), vectors_of(name)
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


def as_the_last_network(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    return {"g": state, "latent_avg": average}


def as_data_parallel_alone(state: dict[str, Tensor]) -> Any:
    return {f"module.{k}": v for k, v in state.items()}


def as_half_of_a_pipeline(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    return {"g_ema": state, "latent_avg": average, "args": argparse.Namespace(size=32)}


def as_options_without_a_parser(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    return {"g_ema": state, "latent_avg": average, "args": SimpleNamespace(size=32)}


def as_typed_dict(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    typed = OrderedDict[str, Tensor]()
    typed.update(state)
    return {"g_ema": typed, "latent_avg": average}


def as_ordered_dict(state: dict[str, Tensor]) -> Any:
    average = state.pop("latent_avg")
    return {"g_ema": OrderedDict(state), "latent_avg": average}


@pytest.mark.parametrize(
    "wrap",
    [
        as_bare_state_dict, as_data_parallel, as_training_checkpoint, as_ordered_dict,
        as_the_last_network, as_data_parallel_alone, as_half_of_a_pipeline,
        as_options_without_a_parser, as_typed_dict,
    ],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False])
def test_rosinality_files_come_in_several_wrappings(
    wrap: Callable[[dict[str, Tensor]], Any], zipped: bool, tmp_path: Path
) -> None:
    contents = wrap(foreign("stylegan2-rosinality"))
    torch.save(contents, tmp_path / "weights", _use_new_zipfile_serialization=zipped)
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


def test_a_mean_w_that_is_no_tensor_is_not_made_up(tmp_path: Path) -> None:
    state = foreign("stylegan2-rosinality")
    sparse = state["latent_avg"].to_sparse()
    torch.save({"g_ema": state, "latent_avg": sparse}, tmp_path / "weights")
    with pytest.raises(CheckpointError, match="latent_avg is a Record, not a tensor"):
        load_generator(tmp_path / "weights")


def test_nvidia_files_may_come_from_a_data_parallel_wrapper(tmp_path: Path) -> None:
    state = {f"module.{key}": t for key, t in foreign("stylegan2-ada").items()}
    generator = load_generator(write("stylegan2-ada", state, tmp_path))
    same = load("stylegan2-ada").state_dict()
    assert all(torch.equal(t, same[key]) for key, t in generator.state_dict().items())


# --- NVIDIA's pickles ----------------------------------------------------------


def clamps(value: Any, layers: tuple[str, ...] = ("conv0", "conv1", "torgb")) -> dict[str, Any]:
    return {f"synthesis.b{4 << i}.{each}.conv_clamp": value for i in range(4) for each in layers}


def save_pickle(folder: Path, settings: dict[str, Any], **options: Any) -> Path:
    networks = {"G": {}, "D": {}, "G_ema": foreign("stylegan2-ada")}
    (folder / "weights").write_bytes(nvidia_pickle(networks, settings, **options))
    return folder / "weights"


def test_the_vector_pickles_hold_what_their_safetensors_hold() -> None:
    for name in ("stylegan2-ada", "stylegan2-ada-conditional"):
        weights = read_weights(VECTORS / f"{name}.pkl")
        theirs = foreign(name)
        assert set(weights.contents["G_ema"]) == set(theirs)
        assert all(torch.equal(weights.contents["G_ema"][key], theirs[key]) for key in theirs)
        assert set(weights.contents) == {"G", "D", "G_ema", "training_set_kwargs", "augment_pipe"}


@pytest.mark.parametrize(("value", "clamp"), [(256, 256.0), (2.5, 2.5), (None, None)])
def test_the_clamp_of_a_pickle_is_its_layers(value: Any, clamp: Any, tmp_path: Path) -> None:
    # as the StyleGAN2 of stylegan3, whose arguments may leave out what its layers have
    file = save_pickle(tmp_path, clamps(value))
    assert load_generator(file).config.clamp == clamp
    assert load_generator(file, clamp=7.0).config.clamp == 7.0


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    generator = load_generator(save_pickle(tmp_path, {}, protocol=protocol))
    same = load("stylegan2-ada").state_dict()
    assert all(torch.equal(t, same[key]) for key, t in generator.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"synthesis.b8.architecture": "resnet"}, "architecture = 'resnet', and only 'skip'"),
        ({"synthesis.b8.conv1.activation": "relu"}, "activation = 'relu', and only 'lrelu'"),
        ({"mapping.fc1.bias_gain": 1}, "bias_gain = 1, and only 0.01"),
        (clamps(256, ("conv1",)) | clamps(None, ("conv0",)), "several conv_clamp"),
        (clamps("much"), "conv_clamp = 'much', expected a positive number"),
        (clamps(-1), "conv_clamp = -1, expected a positive number"),
        (clamps(float("nan")), "conv_clamp"),
        (clamps(True), "conv_clamp = True, expected a positive number"),
    ],
)
def test_networks_of_other_settings_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_generator(save_pickle(tmp_path, settings))


def test_usual_settings_are_read(tmp_path: Path) -> None:
    settings = {
        "synthesis.b8.architecture": "skip", "synthesis.b8.conv1.activation": "lrelu",
        "mapping.fc1.activation": "lrelu", "mapping.fc1.bias_gain": 0.01,
    }  # fmt: skip
    load_generator(save_pickle(tmp_path, settings))


def test_a_pickle_of_the_network_alone(tmp_path: Path) -> None:
    with nvidia_names():
        network = nvidia_module(foreign("stylegan2-ada"), clamps(3))
        (tmp_path / "alone").write_bytes(pickle.dumps(network))
    generator = load_generator(tmp_path / "alone")
    same = load("stylegan2-ada").state_dict()
    assert all(torch.equal(t, same[key]) for key, t in generator.state_dict().items())
    assert generator.config.clamp == 3.0


def test_a_stylegan3_is_named_for_what_it_is(tmp_path: Path) -> None:
    network = {"synthesis.input.freqs": torch.zeros(3), "mapping.w_avg": torch.zeros(4)}
    (tmp_path / "weights").write_bytes(nvidia_pickle({"G": {}, "D": {}, "G_ema": network}, {}))
    with pytest.raises(CheckpointError, match="StyleGAN3, which is not readable yet"):
        load_generator(tmp_path / "weights")


# --- NVIDIA's TensorFlow pickles ------------------------------------------------


def tensorflow_variables(name: str = "stylegan2-ada") -> dict[str, Any]:
    """The vector network in TensorFlow's names and axes."""
    return as_tensorflow(foreign(name))


def as_tensorflow(state: dict[str, Tensor]) -> dict[str, Any]:
    """NVIDIA's PyTorch names and axes in TensorFlow's: written here by hand, from the facts."""
    found: dict[str, Any] = {"lod": np.float32(0).reshape(())}
    for key, tensor in state.items():
        value = tensor.numpy()
        layer, _, part = key.rpartition(".")
        if part == "resample_filter":
            continue
        if key == "mapping.w_avg":
            found["dlatent_avg"] = value
        elif key == "synthesis.b4.const":
            found["synthesis/4x4/Const/const"] = value[None]
        elif layer.startswith("mapping."):
            their = layer.removeprefix("mapping.").replace("fc", "Dense")
            their = their.replace("embed", "LabelEmbed")
            found[f"mapping/{their}/{part}"] = value.T if part == "weight" else value
        else:
            found |= _tensorflow_layer(layer, part, value)
    return found


def _tensorflow_layer(layer: str, part: str, value: Any) -> dict[str, Any]:
    _, block, *names = layer.split(".")
    size, kind = int(block[1:]), names[0]
    their = {"conv0": "Conv0_up", "conv1": "Conv1" if size > 4 else "Conv", "torgb": "ToRGB"}[kind]
    if part == "noise_const":
        number = 2 * (size.bit_length() - 1) - (5 if kind == "conv0" else 4)
        return {f"synthesis/noise{number}": value[None, None]}
    if names[1:] == ["affine"]:
        changed = value.T if part == "weight" else value - 1
        return {f"synthesis/{size}x{size}/{their}/mod_{part}": changed}
    if part == "weight":
        value = value.transpose(2, 3, 1, 0)
        value = value[::-1, ::-1] if kind == "conv0" else value
    return {f"synthesis/{size}x{size}/{their}/{part}": value}


def tensorflow_network(variables: dict[str, Any], version: int = 4, **arguments: Any) -> Any:
    """A network that pickles as NVIDIA's TensorFlow code has it, with its two components."""
    state: dict[str, Any] = {
        "version": version, "name": "G", "static_kwargs": arguments, "components": {},
        "build_module_src": "# none", "build_func_name": "G_main", "variables": [],
    }  # fmt: skip
    for part in ("mapping", "synthesis"):
        own = [
            (key.removeprefix(f"{part}/"), value)
            for key, value in variables.items() if key.startswith(f"{part}/")
        ]  # fmt: skip
        state["components"][part] = TensorflowNetwork({**state, "components": {}, "variables": own})
    state["variables"] = [(key, value) for key, value in variables.items() if "/" not in key]
    return TensorflowNetwork(state)


class TensorflowNetwork:
    """Pickles as an object of a class that does not exist here."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (sys.modules["dnnlib.tflib.network"].Network,), self.state


def write_tensorflow(folder: Path, *networks: Any) -> Path:
    """A pickle of one network, or of the usual three."""
    names = ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    modules = {name: ModuleType(name) for name in names}
    module: Any = modules["dnnlib.tflib.network"]
    module.Network = type("Network", (TensorflowNetwork,), {"__module__": module.__name__})
    sys.modules |= modules
    try:
        for each in networks:
            each.__class__ = module.Network
            for part in each.state["components"].values():
                part.__class__ = module.Network
        content = pickle.dumps(networks[0] if len(networks) == 1 else networks)
    finally:
        for name in names:
            del sys.modules[name]
    (folder / "weights").write_bytes(content)
    return folder / "weights"


@torch.no_grad()
@pytest.mark.parametrize("name", ["stylegan2-ada", "stylegan2-ada-conditional"])
@pytest.mark.parametrize("alone", [True, False])
def test_tensorflow_variables_give_the_same_network(name: str, alone: bool, tmp_path: Path) -> None:
    clamp = FILES[name][1].get("clamp")
    network = tensorflow_network(tensorflow_variables(name), conv_clamp=clamp)
    others = [tensorflow_network({"lod": np.zeros(())}) for _ in range(2)]
    file = write_tensorflow(tmp_path, network) if alone else write_tensorflow(
        tmp_path, *others, network
    )  # fmt: skip
    generator, vectors = load_generator(file), expected(name)
    w = generator.mapping(vectors["z"], vectors.get("c"))
    image = generator.synthesis(generator.affine(generator.truncate(w)))
    torch.testing.assert_close(image, vectors["image"], **CLOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dlatent_avg": None}, None),  # the mean w is then computed
        ({"synthesis/8x8/Conv1/bias": None}, r"missing: synthesis\.b8\.conv1\.bias$"),
        ({"synthesis/8x8/Skip/weight": np.zeros(3)}, r"unexpected: synthesis/8x8/Skip/weight$"),
        ({"mapping/Dense1/weight": np.zeros((7, 5))}, r"mapping\.fc1\.weight \[5, 7\] instead of"),
        ({"mapping/Dense1/weight": np.zeros(7)}, r"of the unusual shape \[7\]"),
        ({"mapping/Dense1/weight": "text"}, "missing: mapping"),
        ({"mapping/Dense1/weight": np.zeros((7, 5), np.int32)}, "not an array of numbers"),
        ({"synthesis/ToRGB_lod0/weight": np.zeros(3)}, "grows progressively"),
        ({"synthesis/4x4/Const/const": None}, "of the first StyleGAN"),
    ],
)
def test_other_tensorflow_variables(
    change: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    variables = {k: v for k, v in (tensorflow_variables() | change).items() if v is not None}
    file = write_tensorflow(tmp_path, tensorflow_network(variables))
    if message is None:
        load_generator(file)
    else:
        with pytest.raises(CheckpointError, match=message):
            load_generator(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": 3}, "older than StyleGAN2"),
        ({"architecture": "resnet"}, "architecture = 'resnet', and only 'skip'"),
        ({"mapping_lrmul": 1.0}, "mapping_lrmul = 1.0, and only 0.01"),
        ({"conv_clamp": -2}, "conv_clamp = -2, expected a positive number"),
    ],
)
def test_other_tensorflow_networks(arguments: Any, message: str, tmp_path: Path) -> None:
    network = tensorflow_network(tensorflow_variables(), **arguments)
    with pytest.raises(CheckpointError, match=message):
        load_generator(write_tensorflow(tmp_path, network))


def test_every_tensorflow_name_is_turned_into_one_of_pytorch() -> None:
    contents = {"Gs": tensorflow_variables()}
    theirs = stylegan2_tensorflow.as_pytorch(contents, "file")
    original = {k: v for k, v in foreign("stylegan2-ada").items() if "resample_filter" not in k}
    assert set(theirs) == set(original)
    for key, tensor in original.items():  # 1 is taken from a bias and added again
        torch.testing.assert_close(theirs[key], tensor, rtol=0.0, atol=1e-6, msg=key)


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
REQUIRED |= {f"{name}, pickle": keys for name, keys in REQUIRED.items() if "ada" in name}


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
    with pytest.raises(
        CheckpointError, match=r"unexpected: (extra\.weight, more|more, extra\.weight)$"
    ):
        load_generator(write(name, state, tmp_path))


def test_every_misshapen_tensor_is_listed(name: str, tmp_path: Path) -> None:
    state = foreign(name)
    for key in REQUIRED[name]:
        state[key] = torch.zeros(7, 5)
    with pytest.raises(CheckpointError, match="misshapen: ") as error:
        load_generator(write(name, state, tmp_path))
    assert all(f"{key} [7, 5] instead of " in str(error.value) for key in REQUIRED[name])


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_type_are_listed(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    state = foreign(name)
    key = REQUIRED[name][0]
    state[key] = torch.zeros(state[key].shape, dtype=dtype)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=f"misshapen: {key} of {kind} instead of float32$"):
        load_generator(write(name, state, tmp_path))


def _entries(name: str) -> list[str]:
    """One entry of each kind: other layers have the same names and rules."""
    return [key for key in foreign(name) if "16" not in key and not re.search(r"[3-6]\.", key)]


VALUES = st.one_of(
    st.builds(
        lambda shape, dtype: torch.zeros(shape, dtype=dtype),
        st.lists(st.integers(0, 5), max_size=5),
        st.sampled_from([torch.float32, torch.float16, torch.float8_e5m2, torch.int8, torch.bool]),
    ),
    st.none(), st.integers(), st.text(max_size=3), st.just({}), st.just([torch.zeros(2)]),
    st.just(np.zeros(3)), st.just("gone"),
)  # fmt: skip


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.parametrize("name", ["stylegan2-rosinality", "stylegan2-ada-conditional, pickle"])
def test_entries_of_any_kind_are_refused(name: str, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever replaces an entry, the answer is one sentence."""
    state: dict[str, Any] = dict(foreign(name))
    for key in data.draw(st.lists(st.sampled_from(_entries(name)), min_size=1, max_size=3)):
        value = data.draw(VALUES)
        if isinstance(value, str) and value == "gone":
            state.pop(key, None)
        else:
            state[key] = value
    file = write(name, state, tmp_path)
    try:
        generator = load_generator(file)
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017  # both outcomes are right
    else:  # what files may lack, or what is dropped
        assert generator.config == load(name).config


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
    with pytest.raises(CheckpointError, match=r"no known layout of a StyleGAN2 .* keys: a, b"):
        load_generator(tmp_path / "other")
    torch.save({}, tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="first keys: none"):
        load_generator(tmp_path / "nothing")


@pytest.mark.slow
def test_loading_needs_no_arithmetic_of_the_meta_device() -> None:
    """The first such operation imports 800 modules of torch: 75 MB and two seconds."""
    file = VECTORS / "stylegan2-ada.pkl"
    code = (
        "import sys; from styleclip.checkpoints import load_generator; before = set(sys.modules); "
        f"load_generator({str(file)!r}); print(len(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert int(done.stdout) < 50


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
    ours = sorted(empty_generator(config, Path("x")).state_dict())
    for module in (stylegan2_nvidia, stylegan2_rosinality):
        rules = module.rules(config)
        assert sorted(name for rule in rules for name in rule.names) == ours
        assert len({rule.theirs for rule in rules}) == len(rules)
