"""A small file of every layout that is read here, for tests that go through all of them."""

from __future__ import annotations

import io
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from styleclip.checkpoints import (
    clip_openclip,
    keymap,
    load_encoder,
    load_generator,
    save_bank,
    save_edit,
    save_generator,
    save_latent_map,
    save_mapper,
    save_network,
    save_scan,
    save_tuning,
    save_unfinished,
)
from styleclip.checkpoints.loaders import ARCFACE_KIND, PYRAMID_KIND
from styleclip.editing.edit import Edit
from styleclip.editing.latent_map import LatentMap
from styleclip.editing.mapper import Mapper, MapperConfig
from styleclip.editing.relevance import Relevance
from styleclip.editing.scan import Scan
from styleclip.editing.text_mapper import TextMapper, TextMapperConfig
from styleclip.faces.identity import IdentityConfig, IdentityNetwork
from styleclip.faces.reader import Reader, ReaderConfig
from styleclip.inversion.encoder import Encoder, EncoderConfig
from styleclip.inversion.tuning import Tuning
from styleclip.networks import SEEN
from styleclip.prompts import PromptPair
from tests.checkpoints import test_clip_openclip as open_clip
from tests.checkpoints.test_clip_openai import write_tokenizer
from tests.checkpoints.test_face_encoders import encoder_file, with_decoder
from tests.checkpoints.test_generators import (
    tensorflow_network,
    tensorflow_variables,
    write_tensorflow,
)
from tests.checkpoints.test_public_files import archive_of
from tests.reference.face_encoders import small_identity
from tests.reference.networks import VECTORS, random_arcface
from tests.reference.public_layouts import write_clip, write_vocabulary

ROSINALITY = VECTORS / "stylegan2-rosinality.pt"
UNFINISHED = ("inversions", SEEN)
PROMPT = PromptPair(target="a face with red hair", neutral="a face")


def copied(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        return Path(shutil.copy(VECTORS / name, folder))

    return write


def saved(contents: Any, folder: Path) -> Path:
    torch.save(contents, folder / "weights.pt")
    return folder / "weights.pt"


def npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def tensorflow(folder: Path) -> Path:
    return write_tensorflow(folder, tensorflow_network(tensorflow_variables("stylegan2-ada")))


def e4e(folder: Path) -> Path:
    return saved(with_decoder(rows=8)[0], folder)


def psp_without_options(folder: Path) -> Path:
    contents = encoder_file("psp")
    return saved({name: contents[name] for name in ("state_dict", "latent_avg")}, folder)


def arcface(folder: Path) -> Path:
    return saved(small_identity(), folder)


def openai(folder: Path) -> Path:
    write_clip(folder / "ViT.pt")
    write_vocabulary(folder / "words.gz")
    return folder / "ViT.pt"


def openai_archive(folder: Path) -> Path:
    state = torch.load(openai(folder), weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scripting is on its way out of torch
        archive_of(state).save(str(folder / "archive.pt"))
    return folder / "archive.pt"


def openclip(folder: Path) -> Path:
    clip = open_clip.new_clip()
    table = clip_openclip.rules(clip.model.config, clip_openclip.TEXT)
    state = keymap.invert(table, clip.model.state_dict())
    write_tokenizer(folder, open_clip.VOCABULARY)
    return open_clip.write(folder, state, open_clip.settings())


def fs3(folder: Path) -> Path:
    count = int(load_generator(ROSINALITY).layout.conv_columns().sum())
    rows = torch.randn(count, 7, generator=torch.Generator().manual_seed(0))
    np.save(folder / "fs3.npy", F.normalize(rows, dim=1).numpy())
    return folder / "fs3.npy"


def statistics(folder: Path) -> Path:
    lists = [[np.ones((1, 4), np.float32), np.ones((1, 3), np.float32)] for _ in range(2)]
    (folder / "S_mean_std").write_bytes(pickle.dumps(lists, 3))
    return folder / "S_mean_std"


def latents(folder: Path) -> Path:
    np.save(folder / "w_plus.npy", np.full((5, 8, 32), 0.5, np.float32))
    return folder / "w_plus.npy"


def latents_of_torch(folder: Path) -> Path:
    return saved(torch.full((5, 8, 32), 0.5), folder)


FOREIGN: dict[str, tuple[Callable[[Path], Path], str, str]] = {  # name: writer, kind, layout
    "rosinality": (copied("stylegan2-rosinality.pt"), "stylegan2", "rosinality"),
    "NVIDIA tensors": (copied("stylegan2-ada.safetensors"), "stylegan2", "NVIDIA"),
    "NVIDIA pickle": (copied("stylegan2-ada-conditional.pkl"), "stylegan2", "NVIDIA"),
    "TensorFlow": (tensorflow, "stylegan2", "NVIDIA TensorFlow"),
    "e4e": (e4e, "pyramid-encoder", "e4e or pSp"),
    "pSp": (psp_without_options, "pyramid-encoder", "e4e or pSp"),
    "ArcFace": (arcface, "arcface", "IR-SE50"),
    "OpenAI": (openai, "clip", "OpenAI"),
    "OpenAI archive": (openai_archive, "clip", "OpenAI"),
    "open_clip": (openclip, "clip", "open_clip"),
    "mapper of levels": (copied("mapper-levels.pt"), "mapper", "StyleCLIP"),
    "single mapper": (copied("mapper-single.pt"), "mapper", "StyleCLIP"),
    "mapper in S": (copied("mapper-stylespace.pt"), "mapper", "StyleCLIP"),
    "fs3": (fs3, "directions", "StyleCLIP"),
}
ARRAYS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "S_mean_std": (statistics, "statistics", "StyleCLIP"),
    "w_plus.npy": (latents, "latents", "array"),
    "latents.pt": (latents_of_torch, "latents", "array"),
}


def write_native(kind: str, folder: Path) -> Path:
    """A file of ours of that kind."""
    path = folder / "ours.safetensors"
    hashes = {"generator": "ab" * 32, "clip": "cd" * 32}
    networks: dict[str, Any] = {
        "encoder": lambda: Encoder(EncoderConfig(32, 8, 32, widths=(8, 8, 8), hidden=16)),
        "identity": lambda: IdentityNetwork(IdentityConfig(32, (8, 8), 8)),
        "reader": lambda: Reader(ReaderConfig((("glasses", ("no", "yes")),), (), 32, (8, 8))),
        ARCFACE_KIND: random_arcface,
        PYRAMID_KIND: lambda: load_encoder(e4e(folder)),
    }
    if kind in networks:
        network = networks[kind]()
        save_network(path, kind, network.config.to_dict(), network.state_dict())
    elif kind == "stylegan2":
        save_generator(path, load_generator(ROSINALITY))
    elif kind == "latent-map":
        save_latent_map(path, LatentMap(torch.eye(4), torch.ones(4), torch.eye(4)), hashes)
    elif kind == "mapper":
        save_mapper(path, Mapper(MapperConfig.single(8)), [PROMPT], hashes, {"steps": 2})
    elif kind == "text-mapper":
        network = TextMapper(TextMapperConfig(8, 6, hidden=8, layers=1))
        save_mapper(path, network, [PROMPT], hashes, {})
    elif kind == "edit":
        save_edit(path, Edit("test", PROMPT, style_step=torch.ones(1, 9)), hashes["generator"])
    elif kind == "tuning":
        tuning = Tuning({"const": torch.ones(2).half()}, torch.ones(1, 3, 3), {}, {"after": 40.0})
        save_tuning(path, tuning, hashes["generator"])
    elif kind == "directions":
        ones = torch.ones(9)
        save_bank(
            path, Relevance(torch.ones(9, 4), ones, ones, ones, ones.long(), {}), *hashes.values()
        )
    elif kind == "scan":
        state = Scan.of(torch.ones(9, 4), torch.ones(9), torch.ones(9, dtype=torch.int64))
        save_scan(path, state, {"seed": 0})
    elif kind in UNFINISHED:
        save_unfinished(path, kind, {"ab": torch.ones(1, 8, 4)}, hashes)
    return path


NATIVE = ("stylegan2", "encoder", "identity", "reader", ARCFACE_KIND, "latent-map", "mapper",
          "text-mapper", "edit", "tuning", "directions", "scan", *UNFINISHED)  # fmt: skip
