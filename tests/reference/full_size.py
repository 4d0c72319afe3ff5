"""The public files of FFHQ at their full size: names, shapes, types and containers, weights drawn.

  rosinality .pt, NVIDIA .pkl and TensorFlow .pkl, OpenAI's archive, open_clip's two, e4e, pSp,
  IR-SE50, the three mappers, fs3
Names and shapes are written out here by hand, from the facts, and not taken from the readers'
tables; those of the face encoders come from the reference vectors' list. Files of the years before
zip archives are written as torch wrote them then, and tensors say that they lived on a GPU.
"""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
import string
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.reading import nvidia_pickle
from styleclip.generators.stylegan2 import StyleGAN2
from tests.reference.face_encoders import Drawn, listed

RESOLUTION, W, ROWS, MAPPING = 1024, 512, 18, 8
CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
TOKENS, CONTEXT, EMBEDDING = 49_408, 77, 512
LINES = 262_145  # of OpenAI's vocabulary, its version among them
BLUR = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


class Draw:
    """Normal numbers, one tensor after the other from one seed.

    Seeds are far from those of samples: a z drawn as the first layer was would be one of its rows.
    """

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(20_000 + seed)

    def __call__(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        return torch.randn(shape, generator=self.random).mul_(scale).add_(mean)


# --- generators ---------------------------------------------------------------


def write_rosinality(path: Path) -> None:
    """Both generators of the training, its discriminator and the mean w, before zip archives."""
    draw = Draw(1)
    average = rosinality(draw)
    last = OrderedDict((name, tensor.clone()) for name, tensor in average.items())
    contents = {
        "g": last, "d": rosinality_critic(draw), "g_ema": average,
        "latent_avg": draw(W, scale=0.3),
    }  # fmt: skip
    torch.save(contents, path, _use_new_zipfile_serialization=False)


def rosinality(draw: Draw) -> OrderedDict[str, Tensor]:
    """A generator by rosinality's names."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    for layer in range(1, MAPPING + 1):
        state[f"style.{layer}.weight"] = draw(W, W, scale=100.0)  # learns a hundred times slower
        state[f"style.{layer}.bias"] = draw(W)
    state["input.input"] = draw(1, CHANNELS[4], 4, 4)

    def modulated(name: str, outputs: int, inputs: int, side: int) -> None:
        state[f"{name}.conv.weight"] = draw(1, outputs, inputs, side, side)
        state[f"{name}.conv.modulation.weight"] = draw(inputs, W, scale=0.3)
        state[f"{name}.conv.modulation.bias"] = draw(inputs, scale=0.2, mean=1.0)

    def convolution(name: str, outputs: int, inputs: int) -> None:
        modulated(name, outputs, inputs, 3)
        state[f"{name}.noise.weight"] = draw(1, scale=0.1)
        state[f"{name}.activate.bias"] = draw(outputs, scale=0.1)

    def to_rgb(name: str, inputs: int) -> None:
        state[f"{name}.bias"] = draw(1, 3, 1, 1, scale=0.1)
        modulated(name, 3, inputs, 1)

    convolution("conv1", CHANNELS[4], CHANNELS[4])
    to_rgb("to_rgb1", CHANNELS[4])
    for i, (size, width) in enumerate(list(CHANNELS.items())[1:]):
        convolution(f"convs.{2 * i}", width, CHANNELS[size // 2])
        state[f"convs.{2 * i}.conv.blur.kernel"] = BLUR * 4
        convolution(f"convs.{2 * i + 1}", width, width)
        to_rgb(f"to_rgbs.{i}", width)
        state[f"to_rgbs.{i}.upsample.kernel"] = BLUR * 4
    for number, size in enumerate(_sizes_of_noise()):
        state[f"noises.noise_{number}"] = draw(1, 1, size, size)
    return state


def rosinality_critic(draw: Draw) -> OrderedDict[str, Tensor]:
    state: OrderedDict[str, Tensor] = OrderedDict()
    state["convs.0.0.weight"] = draw(CHANNELS[RESOLUTION], 3, 1, 1)
    state["convs.0.1.bias"] = draw(CHANNELS[RESOLUTION])
    for i, size in enumerate([size for size in reversed(CHANNELS) if size > 4], 1):
        inputs, outputs = CHANNELS[size], CHANNELS[size // 2]
        state[f"convs.{i}.conv1.0.weight"] = draw(inputs, inputs, 3, 3)
        state[f"convs.{i}.conv1.1.bias"] = draw(inputs)
        state[f"convs.{i}.conv2.0.kernel"] = BLUR
        state[f"convs.{i}.conv2.1.weight"] = draw(outputs, inputs, 3, 3)
        state[f"convs.{i}.conv2.2.bias"] = draw(outputs)
        state[f"convs.{i}.skip.0.kernel"] = BLUR
        state[f"convs.{i}.skip.1.weight"] = draw(outputs, inputs, 1, 1)
    state["final_conv.0.weight"] = draw(512, 513, 3, 3)
    state["final_conv.1.bias"] = draw(512)
    state["final_linear.0.weight"], state["final_linear.0.bias"] = draw(512, 8192), draw(512)
    state["final_linear.1.weight"], state["final_linear.1.bias"] = draw(1, 512), draw(1)
    return state


def write_nvidia(path: Path) -> None:
    """G, D and G_ema as persistent objects, the last four resolutions in float16, clamped."""
    draw = Draw(2)
    network = nvidia(draw)
    last = {name: tensor.clone() for name, tensor in network.items()}
    networks = {"G": last, "D": nvidia_critic(draw), "G_ema": network}
    path.write_bytes(nvidia_pickle(networks, nvidia_settings()))


def nvidia(draw: Draw) -> dict[str, Tensor]:
    """A generator by NVIDIA's names."""
    state = {"mapping.w_avg": draw(W, scale=0.3)}
    for layer in range(MAPPING):
        state[f"mapping.fc{layer}.weight"] = draw(W, W, scale=100.0)
        state[f"mapping.fc{layer}.bias"] = draw(W)
    state["synthesis.b4.const"] = draw(CHANNELS[4], 4, 4)

    def layer_of(name: str, outputs: int, inputs: int, side: int) -> None:
        state[f"{name}.weight"] = draw(outputs, inputs, side, side)
        state[f"{name}.bias"] = draw(outputs, scale=0.1)
        state[f"{name}.affine.weight"] = draw(inputs, W, scale=0.3)
        state[f"{name}.affine.bias"] = draw(inputs, scale=0.2, mean=1.0)

    for size, width in CHANNELS.items():
        block = f"synthesis.b{size}"
        state[f"{block}.resample_filter"] = BLUR
        for name, inputs in (("conv0", CHANNELS.get(size // 2)), ("conv1", width)):
            if inputs is None:
                continue
            layer_of(f"{block}.{name}", width, inputs, 3)
            state[f"{block}.{name}.noise_strength"] = draw(1, scale=0.1)[0]
            state[f"{block}.{name}.noise_const"] = draw(size, size)
            state[f"{block}.{name}.resample_filter"] = BLUR
        layer_of(f"{block}.torgb", 3, width, 1)
    return state


def nvidia_settings() -> dict[str, Any]:
    """What their modules keep beside tensors, as far as it says what they compute."""
    found: dict[str, Any] = {
        "z_dim": W, "c_dim": 0, "w_dim": W, "img_resolution": RESOLUTION, "img_channels": 3,
        "num_ws": ROWS, "init_args": (), "init_kwargs": {"synthesis_kwargs": {"conv_clamp": 256}},
        "mapping.num_layers": MAPPING, "mapping.w_avg_beta": 0.995, "synthesis.w_dim": W,
        "synthesis.num_ws": ROWS, "synthesis.block_resolutions": list(CHANNELS),
    }  # fmt: skip
    for layer in range(MAPPING):
        found |= {f"mapping.fc{layer}.activation": "lrelu", f"mapping.fc{layer}.bias_gain": 0.01,
                  f"mapping.fc{layer}.weight_gain": 0.01 / W**0.5}  # fmt: skip
    for size in CHANNELS:
        block = f"synthesis.b{size}"
        found |= {
            f"{block}.architecture": "skip",
            f"{block}.use_fp16": size >= 128,
            f"{block}.is_last": size == RESOLUTION,
            f"{block}.torgb.conv_clamp": 256,
        }
        for conv in ("conv0", "conv1")[size == 4 :]:
            found |= {
                f"{block}.{conv}.conv_clamp": 256,
                f"{block}.{conv}.activation": "lrelu",
                f"{block}.{conv}.use_noise": True,
                f"{block}.{conv}.resolution": size,
            }
    return found


def write_tensorflow(path: Path) -> None:
    """Gs alone, the average of the training, as lists of variables of its two components."""
    from tests.checkpoints import test_generators as tensorflow

    network = tensorflow.tensorflow_network(tensorflow.as_tensorflow(nvidia(Draw(9))))
    tensorflow.write_tensorflow(path.parent, network).rename(path)


def nvidia_critic(draw: Draw) -> dict[str, Tensor]:
    state = {}
    state["b1024.fromrgb.weight"] = draw(CHANNELS[RESOLUTION], 3, 1, 1)
    state["b1024.fromrgb.bias"] = draw(CHANNELS[RESOLUTION])
    for size in [size for size in reversed(CHANNELS) if size > 4]:
        inputs, outputs = CHANNELS[size], CHANNELS[size // 2]
        state[f"b{size}.conv0.weight"] = draw(inputs, inputs, 3, 3)
        state[f"b{size}.conv0.bias"] = draw(inputs)
        state[f"b{size}.conv1.weight"] = draw(outputs, inputs, 3, 3)
        state[f"b{size}.conv1.bias"] = draw(outputs)
        state[f"b{size}.skip.weight"] = draw(outputs, inputs, 1, 1)
        state[f"b{size}.resample_filter"] = BLUR
    state["b4.conv.weight"], state["b4.conv.bias"] = draw(512, 513, 3, 3), draw(512)
    state["b4.fc.weight"], state["b4.fc.bias"] = draw(512, 8192), draw(512)
    state["b4.out.weight"], state["b4.out.bias"] = draw(1, 512), draw(1)
    return state


def _sizes_of_noise() -> Iterator[int]:
    """4, then every resolution twice."""
    return itertools.chain([4], *([size, size] for size in CHANNELS if size > 4))


# --- CLIP ---------------------------------------------------------------------


def write_openai(path: Path) -> None:
    """A TorchScript archive; matrices in half precision, embeddings and norms not."""
    from tests.checkpoints.test_public_files import archive_of

    state = clip(Draw(3))
    for name, tensor in state.items():
        if name in ("text_projection", "visual.proj", "visual.conv1.weight") or (
            "resblocks" in name and ".ln_" not in name
        ):
            state[name] = tensor.half()
    sizes = {"input_resolution": 224, "context_length": CONTEXT, "vocab_size": TOKENS}
    state |= {name: torch.tensor(size) for name, size in sizes.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is on its way out of torch
        archive_of(state).save(str(path))


def write_open_clip(path: Path) -> None:
    """LAION's file, of either kind, and the config beside it."""
    state = clip(Draw(4))
    if path.suffix == ".bin":
        torch.save(state, path)
    else:
        save_file(state, path)
    config = {
        "model_cfg": {
            "embed_dim": EMBEDDING,
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
            "text_cfg": {"context_length": CONTEXT, "vocab_size": TOKENS, "width": 512,
                         "heads": 8, "layers": 12},
        },
        "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073],
                           "std": [0.26862954, 0.26130258, 0.27577711]},
    }  # fmt: skip
    path.with_name("open_clip_config.json").write_text(json.dumps(config))


def clip(draw: Draw) -> dict[str, Tensor]:
    """A ViT-B/32 by OpenAI's names."""
    text, vision = 512, 768
    state = {
        "positional_embedding": draw(CONTEXT, text, scale=0.01),
        "text_projection": draw(text, EMBEDDING, scale=text**-0.5),
        "logit_scale": torch.tensor(4.6052),
        "token_embedding.weight": draw(TOKENS, text, scale=0.02),
        "visual.class_embedding": draw(vision, scale=vision**-0.5),
        "visual.positional_embedding": draw(50, vision, scale=vision**-0.5),
        "visual.proj": draw(vision, EMBEDDING, scale=vision**-0.5),
        "visual.conv1.weight": draw(vision, 3, 32, 32, scale=0.02),
    }

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = draw(width, scale=0.1, mean=1.0)
        state[f"{name}.bias"] = draw(width, scale=0.1)

    def linear(name: str, outputs: int, inputs: int, middle: str = ".") -> None:
        state[f"{name}{middle}weight"] = draw(outputs, inputs, scale=inputs**-0.5)
        state[f"{name}{middle}bias"] = draw(outputs, scale=0.01)

    for name, width in (("ln_final", text), ("visual.ln_pre", vision), ("visual.ln_post", vision)):
        norm(name, width)
    for tower, width in (("transformer", text), ("visual.transformer", vision)):
        for number in range(12):
            block = f"{tower}.resblocks.{number}"
            linear(f"{block}.attn", 3 * width, width, ".in_proj_")
            linear(f"{block}.attn.out_proj", width, width)
            norm(f"{block}.ln_1", width)
            linear(f"{block}.mlp.c_fc", 4 * width, width)
            linear(f"{block}.mlp.c_proj", width, 4 * width)
            norm(f"{block}.ln_2", width)
    return state


def write_vocabulary(path: Path) -> None:
    """As many merges as OpenAI's file has: of letters, of pairs, within words and at their ends."""
    pairs = [a + b for a, b in itertools.product(string.ascii_lowercase, repeat=2)]
    ends = ["", "</w>"]
    merges = [f"{a} {b}{end}" for end in ends for a, b in pairs]
    longer = (f"{a} {b}{end}" for a, b in itertools.product(pairs, repeat=2) for end in ends)
    merges += itertools.islice(longer, LINES - 1 - len(merges))
    text = "\n".join(['"bpe_simple_vocab_16e6.txt#version: 0.2', *merges, ""])
    path.write_bytes(gzip.compress(text.encode(), compresslevel=1))


# --- faces, mappers, directions -----------------------------------------------


def write_e4e(path: Path) -> None:
    """Encoder and decoder in one state dict; a mean for every row; the options of its training."""
    draw = Draw(5)
    average = draw(W, scale=0.3).expand(ROWS, W).clone()
    opts = {"encoder_type": "Encoder4Editing", "progressive_steps": [0, 20000, 22000],
            "w_discriminator_lambda": 0.1}  # fmt: skip
    _write_encoder(path, draw, average, opts)


def write_psp(path: Path) -> None:
    """The same entries; the mean is one row's."""
    draw = Draw(10)
    opts = {"encoder_type": "GradualStyleEncoder", "w_norm_lambda": 0.005, "learn_in_w": False}
    _write_encoder(path, draw, draw(W, scale=0.3), opts)


def _write_encoder(path: Path, draw: Draw, average: Tensor, own: dict[str, Any]) -> None:
    state = {f"encoder.{name}": tensor for name, tensor in drawn("encoder", draw).items()}
    state |= {f"decoder.{name}": tensor for name, tensor in rosinality(draw).items()}
    opts = {
        "dataset_type": "ffhq_encode", "output_size": 1024, "stylegan_size": 1024,
        "start_from_latent_avg": True, "device": "cuda:0", "checkpoint_path": None,
        "learning_rate": 0.0001, "train_decoder": False, **own,
    }  # fmt: skip
    with _on_a_gpu():
        torch.save({"state_dict": state, "latent_avg": average, "opts": opts}, path)


def write_identity(path: Path) -> None:
    """IR-SE50, a bare state dict from before zip archives."""
    state = OrderedDict(drawn("identity", Draw(6)))
    draw = Draw(7)
    state["output_layer.4.weight"] = draw(512, scale=0.1, mean=1.0)
    state["output_layer.4.bias"] = draw(512, scale=0.1)
    with _on_a_gpu():
        torch.save(state, path, _use_new_zipfile_serialization=False)


def drawn(which: str, draw: Draw) -> dict[str, Tensor]:
    """All entries of a face encoder, of sizes that keep numbers in bounds through 50 layers."""
    found = {}
    for name, shape in Drawn(listed()[which]).shapes.items():
        part = name.rpartition(".")[2]
        if not shape:
            found[name] = torch.tensor(7)
        elif part == "running_var":
            found[name] = draw(*shape, scale=0.1).abs_().add_(1)
        elif part in ("bias", "running_mean"):
            found[name] = draw(*shape, scale=0.1)
        elif len(shape) == 1:
            found[name] = draw(*shape, scale=0.1, mean=1.0)
        else:
            fan = int(np.prod(shape[1:])) if "styles." not in name or len(shape) == 4 else 1
            found[name] = draw(*shape, scale=fan**-0.5)
    return found


def write_mapper(path: Path) -> None:
    """Three levels and the whole generator, which the training saved with them."""
    levels = ("course_mapping", "medium_mapping", "fine_mapping")
    _write_mapper(path, Draw(8), "LevelsMapper", dict.fromkeys(levels, W))


def write_single_mapper(path: Path) -> None:
    """One network for all rows."""
    _write_mapper(path, Draw(11), "SingleMapper", {"mapping": W})


def write_style_mapper(path: Path) -> None:
    """One for the style of every convolution; each third number is a toRGB's."""
    widths = {"mapper_0": CHANNELS[4]}
    for block, (size, width) in enumerate(list(CHANNELS.items())[1:]):
        widths |= {f"mapper_{3 * block + 2}": CHANNELS[size // 2], f"mapper_{3 * block + 3}": width}
    _write_mapper(path, Draw(12), "WithoutToRGBStyleSpaceMapper", widths)


def _write_mapper(path: Path, draw: Draw, kind: str, widths: dict[str, int]) -> None:
    state = {}
    for network, width in widths.items():
        for layer in range(1, 5):
            name = f"mapper.{network}.mapping.{layer}"
            state[f"{name}.weight"] = draw(width, width, scale=100.0)
            state[f"{name}.bias"] = draw(width)
    state |= {f"decoder.{name}": tensor for name, tensor in rosinality(draw).items()}
    opts = {
        "exp_dir": "../results/purple_hair", "mapper_type": kind,
        "work_in_stylespace": "StyleSpace" in kind,
        "no_coarse_mapper": False, "no_medium_mapper": False, "no_fine_mapper": False,
        "description": "purple hair", "id_lambda": 0.1, "clip_lambda": 1.0, "latent_l2_lambda": 0.8,
        "stylegan_size": 1024, "checkpoint_path": None, "max_steps": 50_000, "optim_name": "ranger",
    }  # fmt: skip
    with _on_a_gpu():
        torch.save({"state_dict": state, "opts": opts}, path)


def write_directions(path: Path, rows: int) -> None:
    """An fs3 of unit vectors, in the type that numpy's means have."""
    random = np.random.default_rng(rows)
    values = random.standard_normal((rows, EMBEDDING))
    np.save(path, values / np.linalg.norm(values, axis=1, keepdims=True))


def write_statistics(path: Path, generator: StyleGAN2, mean: Tensor, std: Tensor) -> None:
    """An S_mean_std: two lists of arrays, by layers."""
    lists = [[each.numpy() for each in generator.layout.split(part)] for part in (mean, std)]
    path.write_bytes(pickle.dumps(lists, protocol=4))


def _on_a_gpu() -> Any:
    """While saving, tensors say that they lived on the first GPU, as those of trainings do."""
    return mock.patch("torch.serialization.location_tag", return_value="cuda:0")
