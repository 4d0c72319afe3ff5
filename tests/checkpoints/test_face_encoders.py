"""Files of ArcFace, e4e and pSp: what they compute, maps both ways, and what is refused."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from styleclip.checkpoints import (
    face_encoders,
    keymap,
    load_encoder,
    load_generator,
    load_identity,
    save_network,
    tensors_hash,
)
from styleclip.checkpoints.loaders import ARCFACE_KIND, PYRAMID_KIND
from styleclip.errors import CheckpointError
from styleclip.faces.arcface import ArcFace, ArcFaceConfig
from styleclip.faces.irse import TrunkConfig
from styleclip.inversion.e4e import PyramidConfig, PyramidEncoder
from tests.reference import face_encoders as reference
from tests.reference.face_encoders import SMALL_EMBEDDING, SMALL_W
from tests.reference.networks import VECTORS, expected

# the vectors were computed in float32 by other code: 1e-4 is what the project promises of them
CLOSE = {"rtol": 0.0, "atol": 1e-4}
TRUNK = TrunkConfig(widths=(4, 6, 8, 10), squeeze=2)
TYPES = {"e4e": "Encoder4Editing", "psp": "GradualStyleEncoder"}


def average(rows: int | None = None) -> Tensor:
    shape = (SMALL_W,) if rows is None else (rows, SMALL_W)
    return torch.randn(shape, generator=torch.Generator().manual_seed(6))


def encoder_file(method: str = "e4e", **changes: Any) -> dict[str, Any]:
    """The contents of a file of theirs."""
    opts = {"encoder_type": TYPES[method], "start_from_latent_avg": True, "lr": 0.0001}
    state = reference.small_encoder()
    return {"state_dict": state, "latent_avg": average(), "opts": opts, **changes}


def saved(contents: Any, folder: Path) -> Path:
    torch.save(contents, folder / "weights.pt")
    return folder / "weights.pt"


def pictures(count: int = 2, size: int = 64) -> Tensor:
    random = torch.Generator().manual_seed(8)
    return torch.rand(count, 3, size, size, generator=random) * 2 - 1


# --- what they compute --------------------------------------------------------


@pytest.mark.slow
@torch.no_grad()
def test_the_public_arcface_agrees_with_the_vectors(tmp_path: Path) -> None:
    shapes = reference.listed()["identity"]
    network = load_identity(saved(dict(reference.Drawn(shapes)), tmp_path))
    assert isinstance(network, ArcFace)
    assert network.config == replace(ArcFaceConfig(), scaled=False)
    vectors = network.embed(reference.listed_images("identity"))
    torch.testing.assert_close(vectors, expected("face-encoders")["identity"], **CLOSE)


@pytest.mark.slow
@torch.no_grad()
def test_the_public_e4e_agrees_with_the_vectors() -> None:
    # its 267 million weights are held once: drawn one by one, never written to a file
    shapes = reference.listed()["encoder"]
    empty = {f"encoder.{name}": torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config = face_encoders.encoder_config({"state_dict": empty}, "vectors", "e4e")
    assert config == PyramidConfig(rows=18)
    with torch.device("meta"):
        network = PyramidEncoder(config)
    table = [
        rule for rule in face_encoders.encoder_rules(config) if rule.theirs != face_encoders.AVERAGE
    ]
    ours = {key: tensor for key, tensor in network.state_dict().items() if key != "average"}
    drawn = reference.Drawn(shapes, "encoder.")
    converted = keymap.convert(
        drawn, table, ours, source="vectors", dropped=face_encoders.DROPPED
    ) | {"average": torch.zeros(18, 512)}
    keymap.fill(network, converted, "vectors")
    offsets = network.offsets(reference.listed_images("encoder"))
    torch.testing.assert_close(offsets, expected("face-encoders")["encoder_offsets"], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("scaled", [True, False])
def test_arcface_is_what_the_literal_network_computes(scaled: bool, tmp_path: Path) -> None:
    state = reference.small_identity(scaled)
    network = load_identity(saved(state, tmp_path))
    assert isinstance(network, ArcFace)
    assert network.config == ArcFaceConfig(32, SMALL_EMBEDDING, scaled, TRUNK)
    crops = pictures(size=32)
    torch.testing.assert_close(network.embed(crops), reference.identity(state, crops), **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("method", ["e4e", "psp"])
@pytest.mark.parametrize(("rows", "resolution"), [(8, 64), (6, 32), (18, 256)])
def test_encoders_are_what_the_literal_network_computes(
    method: str, rows: int, resolution: int, tmp_path: Path
) -> None:
    state = reference.small_encoder(rows, resolution)
    network = load_encoder(saved(encoder_file(method, state_dict=state), tmp_path))
    assert isinstance(network, PyramidEncoder)
    base = {"e4e": "first", "psp": "own"}[method]
    assert network.config == PyramidConfig(rows, SMALL_W, base, resolution, trunk=TRUNK)
    images = pictures(size=resolution)
    w_plus = reference.encoder(state, images, method) + average()
    assert w_plus.shape == (2, rows, SMALL_W)
    torch.testing.assert_close(network(images), w_plus, **CLOSE)


def test_loaded_networks_are_ready_to_use(tmp_path: Path) -> None:
    halves = {k: t.half() if t.is_floating_point() else t for k, t in small_identity().items()}
    for network in (
        load_identity(saved(halves, tmp_path)),
        load_encoder(saved(encoder_file(), tmp_path)),
    ):
        assert not network.training
        for key, tensor in network.state_dict(keep_vars=True).items():
            assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu"), key
            assert not tensor.requires_grad, key


# --- complete both ways -------------------------------------------------------


def small_identity() -> dict[str, Tensor]:
    return reference.small_identity()


def converted_identity(state: dict[str, Any]) -> tuple[ArcFaceConfig, dict[str, Tensor]]:
    config = face_encoders.identity_config(state, "file")
    with torch.device("meta"):
        ours = ArcFace(config).state_dict()
    table = face_encoders.identity_rules(config)
    return config, keymap.convert(state, table, ours, source="file", dropped=face_encoders.DROPPED)


def test_the_map_of_arcface_goes_back_to_every_foreign_tensor() -> None:
    state = small_identity()
    config, ours = converted_identity(state)
    back = keymap.invert(face_encoders.identity_rules(config), ours)
    assert set(state) - set(back) == {key for key in state if key.endswith("num_batches_tracked")}
    assert all(torch.equal(tensor, state[key]) for key, tensor in back.items())


@pytest.mark.parametrize("method", ["e4e", "psp"])
def test_the_map_of_encoders_goes_back_and_loads_again(method: str, tmp_path: Path) -> None:
    network = load_encoder(saved(encoder_file(method), tmp_path))
    assert isinstance(network, PyramidEncoder)
    back = keymap.invert(face_encoders.encoder_rules(network.config), network.state_dict())
    assert torch.equal(back.pop("latent_avg"), average().expand(8, -1))
    state = encoder_file()["state_dict"]
    assert set(state) - set(back) == {key for key in state if key.endswith("num_batches_tracked")}
    for key, tensor in back.items():
        torch.testing.assert_close(tensor, state[key], rtol=1e-6, atol=1e-7, msg=key)
    again = load_encoder(saved(encoder_file(method, state_dict=back), tmp_path))
    assert again.config == network.config
    for key, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[key], rtol=1e-6, atol=1e-7)


# --- variants that are accepted -----------------------------------------------


def hash_of(contents: dict[str, Any], folder: Path, **options: Any) -> str:
    return tensors_hash(load_encoder(saved(contents, folder), **options).state_dict())


def test_the_average_comes_once_or_for_every_row(tmp_path: Path) -> None:
    usual = hash_of(encoder_file(), tmp_path)
    for shape in ((1, SMALL_W), (8, SMALL_W)):
        repeated = average().expand(shape).clone()
        assert hash_of(encoder_file(latent_avg=repeated), tmp_path) == usual
    of_rows = encoder_file(latent_avg=average(8))
    network = load_encoder(saved(of_rows, tmp_path))
    assert torch.equal(network.state_dict()["average"], average(8))


def test_codes_may_start_from_zero(tmp_path: Path) -> None:
    opts = {"encoder_type": TYPES["psp"], "start_from_latent_avg": False}
    contents = encoder_file("psp", opts=opts)
    for _ in range(2):  # with an average latent that is not to be used, and without
        network = load_encoder(saved(contents, tmp_path))
        assert not network.state_dict()["average"].any()
        contents.pop("latent_avg", None)


def test_without_opts_the_method_must_be_given(tmp_path: Path) -> None:
    contents = encoder_file()
    usual = hash_of(contents, tmp_path)
    del contents["opts"]
    assert hash_of(contents, tmp_path, method="e4e") == usual
    psp = load_encoder(saved(contents, tmp_path), method="psp")
    assert isinstance(psp, PyramidEncoder) and psp.config.base == "own"
    with pytest.raises(CheckpointError, match='give method="e4e" or "psp"'):
        load_encoder(saved(contents, tmp_path))
    with pytest.raises(CheckpointError, match="of type Encoder4Editing, not of psp"):
        load_encoder(saved(encoder_file(), tmp_path), method="psp")


@pytest.mark.parametrize("kind", [dict, argparse.Namespace, SimpleNamespace])
def test_opts_in_a_file_may_be_of_any_kind(kind: Any, tmp_path: Path) -> None:
    opts = kind(encoder_type="GradualStyleEncoder", dataset_type="cars_encode")
    network = load_encoder(saved(encoder_file(opts=opts), tmp_path))
    assert isinstance(network, PyramidEncoder)
    assert (network.config.base, network.config.letterboxed) == ("own", True)


def test_opts_may_be_the_parsers_namespace_or_what_stands_for_it() -> None:
    opts = {"encoder_type": "GradualStyleEncoder", "dataset_type": "cars_encode"}
    usual = face_encoders.encoder_config(encoder_file(opts=opts), "file")
    assert (usual.base, usual.letterboxed) == ("own", True)
    for stand_in in (argparse.Namespace(**opts), SimpleNamespace(state=opts)):
        assert face_encoders.encoder_config(encoder_file(opts=stand_in), "file") == usual


def test_a_data_parallel_wrapper_and_a_trainings_state_do_not_matter(tmp_path: Path) -> None:
    contents = encoder_file()
    usual = hash_of(contents, tmp_path)
    contents["state_dict"] = {f"module.{k}": t for k, t in contents["state_dict"].items()}
    contents |= {"optimizer": {"lr": 1}, "global_step": 3, "discriminator_state_dict": {}}
    assert hash_of(contents, tmp_path) == usual


def with_decoder(rows: int) -> tuple[dict[str, Any], Tensor]:
    """A file whose generator is the vectors' of 32 pixels, which has 8 rows; its mean w."""
    generator = torch.load(VECTORS / "stylegan2-rosinality.pt", weights_only=True)
    state = reference.small_encoder(rows)
    state |= {f"decoder.{key}": tensor for key, tensor in generator["g_ema"].items()}
    return encoder_file(state_dict=state), generator["latent_avg"]


def test_the_generator_in_the_file_is_read_too(tmp_path: Path) -> None:
    contents, mean = with_decoder(rows=8)
    assert hash_of(contents, tmp_path) == hash_of(encoder_file(), tmp_path)
    usual = load_generator(VECTORS / "stylegan2-rosinality.pt")
    for repeated in (mean, mean.expand(8, -1).clone()):
        contents["latent_avg"] = repeated
        generator = load_generator(saved(contents, tmp_path))
        assert generator.config == usual.config
        assert tensors_hash(generator.state_dict()) == tensors_hash(usual.state_dict())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("nested", [True, False])
def test_of_such_a_file_the_generator_is_read_alone(
    prefix: str, nested: bool, tmp_path: Path
) -> None:
    """A byte that is wrong in a tensor of the encoder is never met, and the reverse."""
    contents, mean = with_decoder(rows=8)
    state = {f"{prefix}{key}": tensor for key, tensor in contents.pop("state_dict").items()}
    contents |= {"state_dict": state} if nested else state

    def with_wrong_byte(key: str, average: Tensor) -> Path:
        path = saved(contents | {"latent_avg": average}, tmp_path)
        content = path.read_bytes()
        place = content.index(state[prefix + key].numpy().tobytes())
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        return path

    path = with_wrong_byte("encoder.body.3.res_layer.1.weight", mean)
    usual = load_generator(VECTORS / "stylegan2-rosinality.pt")
    assert tensors_hash(load_generator(path).state_dict()) == tensors_hash(usual.state_dict())
    with pytest.raises(CheckpointError, match="CRC"):
        load_encoder(path)
    path = with_wrong_byte("decoder.convs.1.conv.weight", average())  # as wide as its rows
    if nested:
        load_encoder(path)
    with pytest.raises(CheckpointError, match="CRC"):
        load_generator(path)


def test_the_generator_in_a_mappers_file_is_read_too(tmp_path: Path) -> None:
    contents, mean = with_decoder(rows=8)
    state = {k: t for k, t in contents["state_dict"].items() if k.startswith("decoder.")}
    state["mapper.mapping.mapping.1.weight"] = torch.zeros(SMALL_W, SMALL_W)
    path = saved({"state_dict": state, "latent_avg": mean, "opts": {}}, tmp_path)
    usual = load_generator(VECTORS / "stylegan2-rosinality.pt")
    assert tensors_hash(load_generator(path).state_dict()) == tensors_hash(usual.state_dict())


def test_heads_beyond_the_generators_rows_are_left_out(tmp_path: Path) -> None:
    usual = hash_of(encoder_file(), tmp_path)
    contents, _ = with_decoder(rows=10)
    assert hash_of(contents, tmp_path) == usual
    contents["latent_avg"] = average(10)  # no row like another
    network = load_encoder(saved(contents, tmp_path))
    assert torch.equal(network.state_dict()["average"], average(10)[:8])


# --- native files -------------------------------------------------------------


def test_both_come_back_from_native_files(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for kind, network, load in (
        (ARCFACE_KIND, load_identity(saved(small_identity(), tmp_path)), load_identity),
        (PYRAMID_KIND, load_encoder(saved(encoder_file("psp"), tmp_path)), load_encoder),
    ):
        save_network(path, kind, network.config.to_dict(), network.state_dict())
        again = load(path)
        assert type(again) is type(network)
        assert again.config == network.config
        assert torch.equal(again(pictures()), network(pictures()))
        assert not again.training


def test_a_native_file_with_an_unusable_config_is_refused(tmp_path: Path) -> None:
    path, network = tmp_path / "x", load_identity(saved(small_identity(), tmp_path))
    config = network.config.to_dict()
    for change, message in (
        ({"resolution": 20}, "multiple of 16, got 20"),
        ({"trunk": {}}, "unusable config: 'widths'"),
        ({"nonsense": 1}, "unusable config"),
    ):
        save_network(path, ARCFACE_KIND, {**config, **change}, network.state_dict())
        with pytest.raises(CheckpointError, match=message):
            load_identity(path)


# --- what is refused ----------------------------------------------------------


def test_entries_of_arcface_are_all_needed_and_no_other() -> None:
    state = small_identity()
    needed = [key for key in state if not key.endswith("num_batches_tracked")]
    for gone in needed[::5]:  # 5 divides none of the patterns in which entries repeat
        rest = {key: tensor for key, tensor in state.items() if key != gone}
        with pytest.raises(CheckpointError, match=gone.replace(".", r"\.")):
            converted_identity(rest)
    with pytest.raises(CheckpointError, match=r"unexpected: body\.0\.more, extra$"):
        converted_identity(state | {"body.0.more": torch.zeros(1), "extra": torch.zeros(2)})


ARCFACE_KEYS = ("body.3.res_layer.4.running_var", "body.23.res_layer.5.fc2.weight",
                "output_layer.4.bias")  # fmt: skip
ENCODER_KEYS = ("encoder.latlayer1.weight", "encoder.styles.7.convs.2.bias",
                "encoder.body.21.shortcut_layer.1.running_mean")  # fmt: skip


def test_a_damaged_arcface_is_refused(tmp_path: Path) -> None:
    whole = small_identity()
    without = {key: tensor for key, tensor in whole.items() if key not in ARCFACE_KEYS}
    with pytest.raises(CheckpointError, match="missing: ") as error:
        load_identity(saved(without, tmp_path))
    assert all(key in str(error.value) for key in ARCFACE_KEYS)
    with pytest.raises(CheckpointError, match=r"unexpected: extra\.weight$"):
        load_identity(saved(whole | {"extra.weight": torch.zeros(2)}, tmp_path))
    with pytest.raises(CheckpointError, match="misshapen: ") as error:
        load_identity(saved(whole | dict.fromkeys(ARCFACE_KEYS, torch.zeros(7, 5)), tmp_path))
    assert all(f"{key} [7, 5] instead of " in str(error.value) for key in ARCFACE_KEYS)


@pytest.mark.parametrize("method", ["e4e", "psp"])
def test_a_damaged_encoder_is_refused(method: str, tmp_path: Path) -> None:
    whole = reference.small_encoder()

    def load(state: dict[str, Any], **changes: Any) -> None:
        load_encoder(saved(encoder_file(method, state_dict=state, **changes), tmp_path))

    with pytest.raises(CheckpointError, match="missing: ") as error:
        load({key: tensor for key, tensor in whole.items() if key not in ENCODER_KEYS})
    assert all(key in str(error.value) for key in ENCODER_KEYS)
    with pytest.raises(CheckpointError, match=r"unexpected: encoder\.extra, other$"):
        load(whole | {"encoder.extra": torch.zeros(2), "other": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="misshapen: ") as error:
        load(whole | dict.fromkeys(ENCODER_KEYS, torch.zeros(7, 5)))
    assert all(f"{key} [7, 5] instead of " in str(error.value) for key in ENCODER_KEYS)
    with pytest.raises(CheckpointError, match=r"latent_avg \[5, 32\] instead of \[8, 32\]"):
        load(whole, latent_avg=torch.zeros(5, SMALL_W))
    with pytest.raises(CheckpointError, match=r"latent_avg \[\] instead of \[8, 32\]"):
        load(whole, latent_avg=torch.zeros(()))


def test_a_head_that_is_gone_is_missing_even_from_the_middle(tmp_path: Path) -> None:
    state = {k: t for k, t in reference.small_encoder().items() if ".styles.5." not in k}
    with pytest.raises(CheckpointError, match=r"missing: encoder\.styles\.5.* unexpected: "):
        load_encoder(saved(encoder_file(state_dict=state), tmp_path))


def test_an_encoder_that_starts_from_an_average_needs_it(tmp_path: Path) -> None:
    contents = encoder_file()
    del contents["latent_avg"]
    with pytest.raises(CheckpointError, match=r"missing: latent_avg$"):
        load_encoder(saved(contents, tmp_path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("body.0.res_layer.1.weight", torch.zeros(3)),
        ("body.9.res_layer.1.weight", "text"),
        ("body.9.res_layer.1.weight", torch.zeros(9, 9, 3, 3)),
        ("body.0.res_layer.5.fc1.weight", torch.zeros(0, 4, 1, 1)),
        ("input_layer.0.weight", torch.zeros(4, 6, 3, 3)),
    ],
)
def test_telling_entries_of_another_kind_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_identity(saved(small_identity() | {key: value}, tmp_path))
    state = reference.small_encoder() | {f"encoder.{key}": value}
    with pytest.raises(CheckpointError):
        load_encoder(saved(encoder_file(state_dict=state), tmp_path))


def test_other_types_of_encoders_and_other_files_are_refused(tmp_path: Path) -> None:
    opts = {"encoder_type": "BackboneEncoderUsingLastLayerIntoW"}
    with pytest.raises(CheckpointError, match=r"LastLayerIntoW', expected Encoder4Editing or"):
        load_encoder(saved(encoder_file(opts=opts), tmp_path))
    path = saved(small_identity(), tmp_path)
    with pytest.raises(CheckpointError, match=r"not an encoder but ArcFace \(load_identity"):
        load_encoder(path)
    with pytest.raises(CheckpointError, match=r"not a StyleGAN2 but ArcFace \(load_identity"):
        load_generator(path)
    path = saved(with_decoder(rows=8)[0], tmp_path)
    with pytest.raises(CheckpointError, match=r"not an identity network but e4e or pSp \("):
        load_identity(path)
    path = saved(encoder_file(), tmp_path)
    with pytest.raises(CheckpointError, match=r"not a StyleGAN2 but e4e or pSp \(load_encoder"):
        load_generator(path)
