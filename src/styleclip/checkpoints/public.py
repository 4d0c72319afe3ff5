"""The public files that people bring or fetch: where they are, whose they are, how to know them.

Every address and hash was read on the page beside it; what no page states is None, and is recorded
when a file first arrives. A file without an address lies behind a click, and its page is what a
person opens. Many are not ours to hand on: nothing of them is in this package. A bundle is a model
whose parts are such files; it needs a generator, a CLIP and its vocabulary, the rest adds to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["generator", "clip", "clip settings", "tokenizer", "encoder", "identity",
               "landmarks"]  # fmt: skip


@dataclass(frozen=True)
class Licence:
    """Terms as their owner names them, and the page that states them."""

    name: str
    page: str
    note: str = ""


@dataclass(frozen=True)
class PublicFile:
    """One file. ``name`` is what it is called in the cache; ``size`` is in bytes."""

    name: str
    kind: Kind
    address: str | None  # https; None: only a person can fetch it, from ``page``
    page: str  # where address and hash were read
    licence: Licence
    sha256: str | None = None
    size: int | None = None
    about: str = ""
    note: str = ""  # how sure its source is
    beside: tuple[str, ...] = ()  # names of files that come with it


@dataclass(frozen=True)
class Bundle:
    """A model of public files: which file is which part, and the text of any of its pictures.

    ``more`` are files that are no part of it, and come with it: what finds faces in photographs.
    """

    name: str
    description: str
    neutral: str
    parts: Mapping[str, str] = field(default_factory=dict)  # part -> name of a file
    extra: Mapping[str, Any] = field(default_factory=dict)  # what else a model.json would say
    more: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files that are fetched."""
        return (*self.parts.values(), *self.more)


NVIDIA = Licence(
    "Nvidia Source Code License",
    "https://github.com/NVlabs/stylegan3/blob/main/LICENSE.txt",
    "research and evaluation only, not for commercial use",
)
NVIDIA_NC = Licence(
    "Nvidia Source Code License-NC",
    "https://nvlabs.github.io/stylegan2/license.html",
    "research and evaluation only, not for commercial use; converted from NVIDIA's own files",
)
OPENAI = Licence("MIT (OpenAI CLIP)", "https://github.com/openai/CLIP/blob/main/LICENSE")
LAION = Licence("MIT (LAION)", "https://huggingface.co/laion/CLIP-ViT-B-16-laion2B-s34B-b88K")
E4E = Licence(
    "MIT (encoder4editing)",
    "https://github.com/omertov/encoder4editing",
    "holds a generator under the Nvidia Source Code License-NC as well",
)
IR_SE50 = Licence(
    "MIT (InsightFace_Pytorch)",
    "https://github.com/TreB1eN/InsightFace_Pytorch/blob/master/LICENSE",
    "trained on faces of the web: the terms of its training data are not stated",
)

MEDIAPIPE = Licence(
    "Apache 2.0 (MediaPipe)", "https://github.com/google-ai-edge/mediapipe/blob/master/LICENSE"
)

STYLEGAN3_README = "https://github.com/NVlabs/stylegan3/blob/main/README.md"
CLIP_SOURCE = "https://github.com/openai/CLIP/blob/main/clip/clip.py"  # the hash is in the address
E4E_README = "https://github.com/omertov/encoder4editing/blob/main/README.md"
CONVERTED = (
    "https://huggingface.co/aaronb/StyleGAN2/commit/5fde0cdb3664b04e8126dc6b0cab010e7813c18b"
)

ALIGNED = {"kind": "ffhq"}  # its pictures are faces that lie as FFHQ's do
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"  # of OpenAI's CLIPs, and LAION's
LANDMARKER = "face_landmarker.task"  # finds the faces of a photograph, with mediapipe
LAION_B_16 = "https://huggingface.co/laion/CLIP-ViT-B-16-laion2B-s34B-b88K"
LAION_SETTINGS = "ViT-B-16-laion2b-s34b-b88k.open_clip_config.json"  # as its reader looks for it


def _nvidia(name: str, about: str) -> PublicFile:
    address = (
        f"https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files/{name}"
    )
    return PublicFile(name, "generator", address, STYLEGAN3_README, NVIDIA, about=about)


def _converted(name: str, sha256: str, size: int, about: str) -> PublicFile:
    commit = CONVERTED.rpartition("/")[2]
    address = f"https://huggingface.co/aaronb/StyleGAN2/resolve/{commit}/{name}"
    return PublicFile(name, "generator", address, CONVERTED, NVIDIA_NC, sha256, size, about)


def _openai(name: str, sha256: str, about: str) -> PublicFile:
    address = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}"
    return PublicFile(name, "clip", address, CLIP_SOURCE, OPENAI, sha256, about=about)


def _on_drive(name: str, identifier: str, about: str) -> PublicFile:
    page = f"https://drive.google.com/file/d/{identifier}/view"
    return PublicFile(
        name, "encoder", None, page, E4E, about=about, note=f"linked from {E4E_README}"
    )


_ALL = [
    PublicFile(
        "stylegan2-ffhq-config-f.pt",
        "generator",
        "https://huggingface.co/akhaliq/OneshotCLIP-stylegan2-ffhq/resolve/"
        "024390a9508cb2d124dfaa8ec1caee3ad1a9da59/stylegan2-ffhq-config-f.pt",
        "https://huggingface.co/akhaliq/OneshotCLIP-stylegan2-ffhq/commit/"
        "024390a9508cb2d124dfaa8ec1caee3ad1a9da59",
        NVIDIA_NC,
        "bae494ef77e32a9cd1792a81a3c167692a0e64f6bcd8b06592ff42917e2ed46e",
        381462551,
        "FFHQ at 1024 pixels, rosinality's layout",
        "a copy of what e4e and StyleCLIP link to on Google Drive; a second one has the same hash",
    ),
    _nvidia("stylegan2-ffhq-1024x1024.pkl", "FFHQ at 1024 pixels"),
    _nvidia("stylegan2-ffhq-512x512.pkl", "FFHQ at 512 pixels"),
    _nvidia("stylegan2-ffhq-256x256.pkl", "FFHQ at 256 pixels"),
    _nvidia("stylegan2-metfaces-1024x1024.pkl", "MetFaces at 1024 pixels"),
    _nvidia("stylegan2-afhqv2-512x512.pkl", "AFHQ v2 at 512 pixels: cats, dogs and wild animals"),
    _nvidia("stylegan2-afhqcat-512x512.pkl", "AFHQ cats at 512 pixels"),
    _nvidia("stylegan2-afhqdog-512x512.pkl", "AFHQ dogs at 512 pixels"),
    _nvidia("stylegan2-afhqwild-512x512.pkl", "AFHQ wild animals at 512 pixels"),
    _converted(
        "stylegan2-car-config-f.pt",
        "c69f161fd576801027cbaa8b09142b5dd9f508034b2d0f4a2a0cdcbc1d587c9c",
        123949595,
        "LSUN cars at 512 pixels (trained on pictures of 512 by 384), rosinality's layout",
    ),
    _converted(
        "stylegan2-church-config-f.pt",
        "596f59f0ab72d3d5e821846dbf53fff0406c0103ff4fa46ae0a2508d80b3a2d0",
        120878283,
        "LSUN churches at 256 pixels, rosinality's layout",
    ),
    _converted(
        "stylegan2-horse-config-f.pt",
        "894bc6a08a6bbe4c22bf91195dd4fdd4ee7f6859e06ce3517e7b3bfa9a8b2565",
        120878283,
        "LSUN horses at 256 pixels, rosinality's layout",
    ),
    _converted(
        "stylegan2-cat-config-f.pt",
        "ff1036877c8964ba7c9e84316e67ea26bea64bbfcf6bd6c645f45589d248727f",
        120878283,
        "LSUN cats at 256 pixels, rosinality's layout",
    ),
    _openai(
        "ViT-B-32.pt",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "CLIP ViT-B/32, the paper's",
    ),
    _openai(
        "ViT-B-16.pt",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        "CLIP ViT-B/16",
    ),
    _openai(
        "ViT-L-14.pt",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        "CLIP ViT-L/14",
    ),
    PublicFile(
        "ViT-B-16-laion2b-s34b-b88k.bin",
        "clip",
        f"{LAION_B_16}/resolve/main/open_clip_pytorch_model.bin",
        f"{LAION_B_16}/blob/refs%2Fpr%2F4/open_clip_pytorch_model.bin",
        LAION,
        "1f16b1274ca25493b1f36225efe81d05f66a3f33c487acd1a07c5ba87920de6f",
        about="CLIP ViT-B/16 of LAION-2B, open_clip's layout",
        beside=(LAION_SETTINGS,),
    ),
    PublicFile(
        LAION_SETTINGS,
        "clip settings",
        f"{LAION_B_16}/resolve/main/open_clip_config.json",
        LAION_B_16,
        LAION,
        about="how that CLIP wants its pictures, and what it is made of",
    ),
    PublicFile(
        VOCABULARY,
        "tokenizer",
        "https://raw.githubusercontent.com/openai/CLIP/"
        "d05afc436d78f1c48dc0dbf8e5980a9d471f35f6/clip/bpe_simple_vocab_16e6.txt.gz",
        "https://github.com/openai/CLIP/blob/d05afc436d78f1c48dc0dbf8e5980a9d471f35f6/clip/"
        "bpe_simple_vocab_16e6.txt.gz",
        OPENAI,
        "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
        1356917,
        "the vocabulary of CLIP's texts",
    ),
    PublicFile(
        "e4e_ffhq_encode.pt",
        "encoder",
        "https://huggingface.co/wmpscc/StyleGene/resolve/"
        "e301280ac9a63ba7ebb4be3311128bb6c9cb9ae2/e4e_ffhq_encode.pt",
        "https://huggingface.co/wmpscc/StyleGene/commit/e301280ac9a63ba7ebb4be3311128bb6c9cb9ae2",
        E4E,
        "2ace1d9a8c05c10a399bcd500b8dda118f759ff1aac89dbdab7435f2136a0999",
        1201649680,
        "e4e encoder of FFHQ",
        "a copy of what its authors link to on Google Drive; a second one has the same hash",
    ),
    _on_drive("e4e_cars_encode.pt", "17faPqBce2m1AQeLCLHUVXaDfxMRU2QcV", "e4e encoder of cars"),
    _on_drive("e4e_horse_encode.pt", "1TkLLnuX86B_BMo2ocYD0kX9kWh53rUVX", "e4e encoder of horses"),
    _on_drive(
        "e4e_church_encode.pt", "1-L0ZdnQLwtdy6-A_Ccgq5uNJGTqE7qBa", "e4e encoder of churches"
    ),
    PublicFile(
        "model_ir_se50.pth",
        "identity",
        "https://huggingface.co/lithiumice/ArcFace_PyTorch/resolve/"
        "086811ee76897fdfd94335ea4ff40ae074136022/InsightFace_Pytorch%2Bmodel_ir_se50.pth",
        "https://huggingface.co/lithiumice/ArcFace_PyTorch/commit/"
        "086811ee76897fdfd94335ea4ff40ae074136022",
        IR_SE50,
        "a035c768259b98ab1ce0e646312f48b9e1e218197a0f80ac6765e88f8b6ddf28",
        175367323,
        "whose face it is (ArcFace, IR-SE50)",
        "a copy of what its author links to on OneDrive; a second one has the same hash",
    ),
    PublicFile(
        LANDMARKER,
        "landmarks",
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
        "face_landmarker.task",
        "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker",
        MEDIAPIPE,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        3758596,
        "where the eyes and the mouth of a face are (mediapipe's Face Landmarker)",
        "its page states no hash: this one, and the size, stand in several public projects",
    ),
]
FILES = {each.name: each for each in _ALL}


def _bundle(
    name: str, description: str, neutral: str, generator: str, faces: bool = False, **parts: str
) -> Bundle:
    clip = {"clip": "ViT-B-32.pt", "tokenizer": VOCABULARY}
    extra = {"alignment": ALIGNED} if faces else {}
    more = (LANDMARKER,) if faces else ()
    files = {"generator": generator, **clip, **parts}
    return Bundle(name, description, neutral, files, extra, more)


BUNDLES = {
    each.name: each
    for each in (
        _bundle(
            "ffhq", "photographs of faces, 1024 pixels", "a face", "stylegan2-ffhq-config-f.pt",
            faces=True, encoder="e4e_ffhq_encode.pt", identity="model_ir_se50.pth",
        ),
        _bundle(
            "ffhq-512", "photographs of faces, 512 pixels", "a face", "stylegan2-ffhq-512x512.pkl",
            faces=True, identity="model_ir_se50.pth",
        ),
        _bundle(
            "ffhq-256", "photographs of faces, 256 pixels", "a face", "stylegan2-ffhq-256x256.pkl",
            faces=True, identity="model_ir_se50.pth",
        ),
        _bundle(
            "metfaces", "faces in art, 1024 pixels", "a painted face",
            "stylegan2-metfaces-1024x1024.pkl", faces=True,
        ),
        _bundle(
            "afhq", "animal faces, 512 pixels", "an animal", "stylegan2-afhqv2-512x512.pkl"
        ),
        _bundle("afhq-cat", "faces of cats, 512 pixels", "a cat", "stylegan2-afhqcat-512x512.pkl"),
        _bundle("afhq-dog", "faces of dogs, 512 pixels", "a dog", "stylegan2-afhqdog-512x512.pkl"),
        _bundle(
            "afhq-wild", "faces of wild animals, 512 pixels", "a wild animal",
            "stylegan2-afhqwild-512x512.pkl",
        ),
        _bundle(
            "car", "cars, 512 pixels", "a car", "stylegan2-car-config-f.pt",
            encoder="e4e_cars_encode.pt",
        ),
        _bundle(
            "church", "churches, 256 pixels", "a church", "stylegan2-church-config-f.pt",
            encoder="e4e_church_encode.pt",
        ),
        _bundle(
            "horse", "horses, 256 pixels", "a horse", "stylegan2-horse-config-f.pt",
            encoder="e4e_horse_encode.pt",
        ),
        _bundle("cat", "cats, 256 pixels", "a cat", "stylegan2-cat-config-f.pt"),
    )
}  # fmt: skip
