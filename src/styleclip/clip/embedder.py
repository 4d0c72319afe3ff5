"""Texts and images to unit vectors of one space (CLIP, Radford et al. 2021, arXiv 2103.00020).

  embed_images: [B,3,H,W] in [-1,1] -> [B,E]      embed_texts: N strings -> [N,E]
Both return vectors of length 1, so a product of the two is a cosine. The preprocessing that belongs
to the weights (antialiased resize, mean, std) is inside, on tensors, differentiable in the
image. The networks are `transformers` ones; nothing of CLIP is written again here.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from styleclip.errors import ArgumentError, CheckpointError, PromptError
from styleclip.prompts import Templates, template_sentences

if TYPE_CHECKING:
    from transformers import CLIPModel

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
Interpolation = Literal["bicubic", "bilinear"]
BILINEAR, BICUBIC = 2, 3  # as PIL and the files of transformers count them
RESAMPLING: dict[int, Interpolation] = {BILINEAR: "bilinear", BICUBIC: "bicubic"}
MOST_TEXTS = 1 << 14  # that are remembered; of the large CLIPs 4 kB each
PLAIN = ("{}",)  # the template that leaves a text as it is


class Embedder(Protocol):
    """What the methods need: two ways into one space. Five lines make a fake for tests."""

    image_size: int

    def embed_images(self, images: Tensor) -> Tensor: ...
    def embed_pixels(self, pixels: Tensor) -> Tensor: ...
    def embed_texts(self, texts: Sequence[str]) -> Tensor: ...


class ClipEmbedder:
    """A CLIP with its tokenizer and preprocessing.

    ``tokenizer`` is any callable of `transformers`' tokenizers; without one only
    ``embed_token_ids`` works. ``templates`` are sentences with one ``{}``, or "imagenet"; a text is
    embedded in each of them, and the normalised mean is its vector (section 3.1.4 of the paper).
    Every text is embedded once and kept, the newest MOST_TEXTS of them.
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: Any | None,
        mean: Sequence[float] = OPENAI_MEAN,
        std: Sequence[float] = OPENAI_STD,
        templates: Templates = PLAIN,
        interpolation: Interpolation = "bicubic",
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.mean = torch.tensor(mean).view(1, 3, 1, 1)
        self.std = torch.tensor(std).view(1, 3, 1, 1)
        self.interpolation: Interpolation = interpolation
        self.templates = template_sentences(templates)
        if not self.templates:
            raise ArgumentError(
                "templates need a sentence with exactly one {}; '{}' leaves a text as it is"
            )
        vision: Any = model.config.vision_config
        self.image_size = int(vision.image_size)  # pixels, each way
        self._known_texts: dict[str, Tensor] = {}

    @classmethod
    def from_folder(cls, folder: str | Path, templates: Templates = PLAIN) -> Self:
        """A folder as `transformers` saves it: config, weights, tokenizer, preprocessing."""
        from transformers import AutoTokenizer, CLIPModel

        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} is not a CLIP folder: it has no config.json; pass a folder saved by "
                "transformers (save_pretrained)"
            )
        try:
            with silenced():
                loaded: Any = CLIPModel.from_pretrained(
                    folder, local_files_only=True, dtype=torch.float32, output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are reported, and judged below
                )  # fmt: skip
                model, report = loaded
                # asked, transformers would offer to run code that the folder may hold
                tokenizer = AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
            mean, std, interpolation = _preprocessing(folder)
        except Exception as error:  # transformers raises whatever its many readers raise
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"{folder} cannot be read as a CLIP folder: {reason}") from error
        _check_report(report, folder)
        return cls(model, tokenizer, mean, std, templates, interpolation)

    @property
    def width(self) -> int:
        """E, the length of an embedding."""
        return int(self.model.config.projection_dim)

    @property
    def context_length(self) -> int:
        """The most tokens a text may have, the two that mark its ends included."""
        return int(self.model.config.text_config.max_position_embeddings)

    def to(self, device: torch.device | str) -> Self:
        """Move networks and constants; known texts move when they are next asked for."""
        self.model.to(device)
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        return self

    def embed_images(self, images: Tensor) -> Tensor:
        """Images [B,3,H,W], nominally in [-1,1] (clamped, as a picture file would), -> [B,E]."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ArgumentError(f"images must be [B, 3, H, W], got {list(images.shape)}")
        unit = (images.clamp(-1, 1) + 1) / 2
        small = resize(unit, self.image_size, self.interpolation)
        return self.embed_pixels((small - self.mean) / self.std)

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels that are preprocessed already [B,3,size,size] -> [B,E]."""
        features = self.model.get_image_features(pixel_values=pixels)
        return F.normalize(_vectors(features), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """N texts -> [N,E]. Raises ``PromptError`` for an empty or too long text."""
        device = self.mean.device
        for text in dict.fromkeys(texts):
            if text not in self._known_texts:
                sentences = [template.replace("{}", text) for template in self.templates]
                vectors = self.embed_token_ids(self._tokenize(text, sentences).to(device))
                self._known_texts[text] = F.normalize(vectors.mean(dim=0), dim=-1)
        found = torch.stack([self._known_texts[text].to(device) for text in texts])
        while len(self._known_texts) > MOST_TEXTS:  # the oldest go first
            del self._known_texts[next(iter(self._known_texts))]
        return found

    @torch.no_grad()
    def embed_token_ids(self, token_ids: Tensor) -> Tensor:
        """Token ids [N,T], padded after the end token, -> [N,E]."""
        features = self.model.get_text_features(input_ids=token_ids)
        return F.normalize(_vectors(features), dim=-1)

    def unknown_words(self, text: str) -> list[str]:
        """The words and symbols of ``text`` that the tokenizer cannot read (none for OpenAI's)."""
        unknown = getattr(self.tokenizer, "unk_token_id", None)
        end = getattr(self.tokenizer, "eos_token_id", None)
        if self.tokenizer is None or unknown is None or unknown == end:
            return []
        words = re.findall(r"[\w'-]+", text)
        words += [letter for letter in text if unicodedata.category(letter) == "So"]  # an emoji
        encoded = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
        return [word for word, ids in zip(words, encoded, strict=True) if unknown in ids]

    def _tokenize(self, text: str, sentences: list[str]) -> Tensor:
        if not text.strip():
            raise PromptError("the text is empty: say what the picture should show")
        if self.tokenizer is None:
            raise PromptError(
                "this CLIP came without a tokenizer: load it with tokenizer=FOLDER, or fetch "
                "OpenAI's vocabulary once (styleclip models fetch bpe_simple_vocab_16e6.txt.gz)"
            )
        rows = self.tokenizer(sentences, verbose=False)["input_ids"]  # the length is ours to judge
        longest = max(map(len, rows))
        if longest > self.context_length:
            raise PromptError(
                f"the text is too long: {longest} tokens, and this CLIP reads at most "
                f"{self.context_length} (two of them mark its ends); shorten it: {text[:60]!r}…"
            )
        end = self.model.config.text_config.eos_token_id
        return torch.tensor([row + [end] * (longest - len(row)) for row in rows])


def _check_report(report: Mapping[str, Any], folder: Path) -> None:
    """Raise ``CheckpointError`` unless the folder's tensors are a CLIP's, all and no others."""
    # transformers fills what is missing with random numbers, leaves out what is too much, and logs
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    misshapen = sorted(
        f"{name} {list(found)} instead of {list(wanted)}"
        for name, found, wanted in report["mismatched_keys"]
    )
    listed = (("missing", missing), ("misshapen", misshapen), ("unexpected", unexpected))
    problems = "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in listed if names)
    if problems:
        raise CheckpointError(
            f"{folder} does not have a CLIP's tensors, so it is another kind of model, or was "
            f"copied only in part; {problems}"
        )


def _preprocessing(folder: Path) -> tuple[Sequence[float], Sequence[float], Interpolation]:
    """Mean, std and way of resizing that the folder states, OpenAI's where it states none."""
    stated: dict[str, Any] = {}
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            stated = found.get("image_processor", found)  # newer ones nest it
            break
    resample = stated.get("resample", BICUBIC)
    if resample not in RESAMPLING:
        raise ValueError(f"it resizes pictures in way {resample}, known are {RESAMPLING}")
    mean, std = pixel_statistics(
        stated.get("image_mean", OPENAI_MEAN), stated.get("image_std", OPENAI_STD)
    )
    return mean, std, RESAMPLING[resample]


def pixel_statistics(
    mean: Iterable[Any], std: Iterable[Any]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the pixels as a file states them: three numbers each, or ``ValueError``."""
    found = tuple(float(number) for number in mean), tuple(float(number) for number in std)
    if any(len(each) != 3 or not all(map(math.isfinite, each)) for each in found):
        raise ValueError(f"mean {found[0]} and std {found[1]} are not three numbers each")
    if min(found[1]) <= 0:
        raise ValueError(f"the std {found[1]} of its pixels is not positive")
    return found


def resize(images: Tensor, size: int, interpolation: Interpolation = "bicubic") -> Tensor:
    """Antialiased resize of [B,C,H,W] to [B,C,size,size], as two matrix products.

    The matrices are what torch's own resize makes of the unit vectors; products run, and have
    gradients, on every device.
    """
    height, width = images.shape[2:]
    if (height, width) == (size, size):
        return images
    down = _resize_matrix(height, size, interpolation).to(images)  # [size,H]
    across = _resize_matrix(width, size, interpolation).to(images)
    return down @ images @ across.t()


@lru_cache(maxsize=16)
def _resize_matrix(before: int, after: int, interpolation: Interpolation) -> Tensor:
    with torch.inference_mode(False):  # kept for later calls, which may need gradients
        rows = F.interpolate(
            torch.eye(before)[None, None], (before, after), mode=interpolation, antialias=True
        )
        return rows[0, 0].t().contiguous()


@contextmanager
def silenced() -> Iterator[None]:
    """Loading logs and draws a progress bar on its own; what matters of it is an error of ours."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _vectors(features: Any) -> Tensor:
    """transformers 5 returns an object, 4 a tensor."""
    vectors: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return vectors
