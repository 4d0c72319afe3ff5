"""What a file of weights is: one list of the layouts that are known, for loaders and for people.

  layout_of(weights) -> Layout(kind, origin, words, reader)      by metadata or by names of entries
A loader asks whether a file is of one of its layouts, ``styleclip inspect`` which it is, and errors
say so in the same words. The order is from the particular to the general: a mapper of the official
code carries a generator, and open_clip's names are OpenAI's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from styleclip.checkpoints import (
    clip_openai,
    clip_openclip,
    face_encoders,
    styleclip_official,
    stylegan2_nvidia,
    stylegan2_rosinality,
    stylegan2_tensorflow,
)
from styleclip.checkpoints.files import Weights
from styleclip.checkpoints.native import is_native
from styleclip.errors import CheckpointError

Recognises = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Layout:
    """One way in which files hold one kind of thing.

    ``kind`` is that of our own files, ``origin`` whose layout it is, ``words`` go into "X is not a
    ... but {words}", ``reader`` is the function that reads it, None where none does.
    """

    kind: str
    origin: str
    words: str
    reader: str | None
    recognises: Recognises = field(compare=False, repr=False)

    @property
    def hint(self) -> str:
        """For messages: what it is, and what reads it."""
        if self.reader is None:
            return f"{self.words}, which is not readable yet"
        return f"{self.words} ({self.reader} reads it)"


def _holds(*names: str) -> Recognises:
    def recognises(contents: Mapping[str, Any]) -> bool:
        state = stylegan2_nvidia.unwrap(contents)
        return any(name in state for name in names)

    return recognises


def _open_clip(contents: Mapping[str, Any]) -> bool:
    return clip_openclip.recognises(clip_openclip.unwrap(contents))


NVIDIA = Layout(
    "stylegan2", "NVIDIA", "a StyleGAN2 of NVIDIA's PyTorch code", "load_generator",
    stylegan2_nvidia.recognises,
)  # fmt: skip
TENSORFLOW = Layout(
    "stylegan2", "NVIDIA TensorFlow", "a StyleGAN2 of NVIDIA's TensorFlow code", "load_generator",
    stylegan2_tensorflow.recognises,
)  # fmt: skip
ROSINALITY = Layout(
    "stylegan2", "rosinality", "a StyleGAN2 of rosinality's code", "load_generator",
    stylegan2_rosinality.recognises,
)  # fmt: skip
OPENAI = Layout(
    "clip", "OpenAI", "an OpenAI CLIP", "load_clip", clip_openai.recognises,
)  # fmt: skip
OPEN_CLIP = Layout("clip", "open_clip", "a CLIP of open_clip", "load_clip", _open_clip)
TRANSFORMERS = Layout(
    "clip", "transformers", "a transformers CLIP without its folder", "load_clip",
    _holds("vision_model.embeddings.class_embedding"),
)  # fmt: skip
MAPPER = Layout(
    "mapper", "StyleCLIP", "a mapper of the official StyleCLIP code", "load_mapper",
    styleclip_official.recognises,
)  # fmt: skip
PYRAMID = Layout(
    "pyramid-encoder", "e4e or pSp", "e4e or pSp", "load_encoder",
    face_encoders.recognises_encoder,
)  # fmt: skip
ARCFACE = Layout(
    "arcface", "IR-SE50", "ArcFace", "load_identity", face_encoders.recognises_identity
)
STYLEGAN3 = Layout(
    "stylegan3", "NVIDIA", "a StyleGAN3", None, _holds("synthesis.input.freqs")
)  # fmt: skip
FOREIGN = (
    NVIDIA, TENSORFLOW, ROSINALITY, MAPPER, PYRAMID, ARCFACE, OPENAI, OPEN_CLIP, TRANSFORMERS,
    STYLEGAN3,
)  # fmt: skip

# our own files, by what they say they are
NATIVE = {
    kind: Layout(kind, "styleclip", words, reader, lambda contents: False)
    for kind, words, reader in (
        ("stylegan2", "a StyleGAN2", "load_generator"),
        ("encoder", "an encoder", "load_encoder"),
        ("pyramid-encoder", "an encoder (e4e or pSp)", "load_encoder"),
        ("identity", "an identity network", "load_identity"),
        ("arcface", "ArcFace", "load_identity"),
        ("reader", "a reader of attributes", "load_reader"),
        ("latent-map", "a map from CLIP's space to w", "load_latent_map"),
        ("mapper", "a mapper", "load_mapper"),
        ("text-mapper", "a mapper for many prompts", "load_mapper"),
        ("edit", "an edit", "load_edit"),
        ("tuning", "a tuning of a generator", "load_tuning"),
        ("directions", "a bank of global directions", "load_bank"),
        ("scan", "a measurement under way", "load_scan"),
        ("inversions", "inversions of pictures under way", "load_unfinished"),
        ("latent-map-seen", "the measuring of a latent map under way", "load_unfinished"),
    )
}


def layout_of(weights: Weights) -> Layout | None:
    """What the file is; None where no reader of ours knows it."""
    if is_native(weights):
        return NATIVE.get(weights.metadata.get("kind", ""))
    return next((each for each in FOREIGN if each.recognises(weights.contents)), None)


def refusal(weights: Weights, expected: str, known: str) -> CheckpointError:
    """The error of a reader of ``expected`` ("a StyleGAN2") for a file of something else.

    ``known`` says which layouts it reads, for files that nobody knows.
    """
    found = layout_of(weights)
    if found is not None:
        return CheckpointError(f"{weights.path} is not {expected} but {found.hint}")
    keys = ", ".join(list(weights.contents)[:5]) or "none"
    return CheckpointError(
        f"{weights.path} has the keys of no known layout of {expected} ({known}); its first keys: "
        f"{keys}"
    )
