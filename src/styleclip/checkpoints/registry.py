"""Models by name: a model is a folder with everything that editing one kind of picture needs.

  model.json              {"name", "description", "neutral", "licence", "parts", ...}
  generator.safetensors   z -> image             clip/                  a transformers folder
  encoder.safetensors     image -> w_plus        reader.safetensors, identity.safetensors (optional)
  latent_map.safetensors  CLIP space -> w (optional; measured when needed, and kept by the commands)
  mapper.safetensors      picture, text -> step (optional)
  directions.safetensors  the relevance of its style channels (optional; by samples without it)
"parts" names files elsewhere, in any layout that a loader reads: {"generator": "network.pkl",
"clip": "../ViT-B-32.pt"}, from the folder on, or by the name of a public file that was fetched.
Without an identity network "identity" in model.json may name another judge: "clip", the folder or
hub name of a DINOv2, or "none". The built-in models are folders inside the package; bundles of
public files and models that users added are known by name as well; any other folder like them is
given by its path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleclip.checkpoints.cache import Cache
from styleclip.checkpoints.public import BUNDLES, FILES, VOCABULARY, Bundle, Licence
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.prompts import template_sentences

PACKAGE = Path(__file__).resolve().parent.parent
BUILT_IN = {"portraits": PACKAGE / "portraits" / "weights"}

DESCRIPTION = "model.json"
GENERATOR = "generator.safetensors"
CLIP = "clip"
TOKENIZER = "tokenizer"
ENCODER = "encoder.safetensors"
LATENT_MAP = "latent_map.safetensors"
DIRECTIONS = "directions.safetensors"
MAPPER = "mapper.safetensors"
READER = "reader.safetensors"
IDENTITY = "identity.safetensors"
PARTS = {
    Path(each).stem: each
    for each in (
        GENERATOR, CLIP, TOKENIZER, ENCODER, LATENT_MAP, DIRECTIONS, MAPPER, READER, IDENTITY
    )
}  # fmt: skip  # their names in model.json
REQUIRED = ("generator", "clip", "tokenizer")  # of a bundle


@dataclass(frozen=True)
class Model:
    """One model. ``neutral`` is the text that describes any picture of it ("a face").

    ``parts`` are the paths that ``model.json`` names, by the part's name without suffix; the others
    are in ``folder`` under their own names.
    """

    folder: Path
    name: str
    description: str
    neutral: str
    licence: str
    extra: dict[str, Any]
    parts: Mapping[str, Path] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """The path of one of its parts; ``CheckpointError`` if the model has no such part."""
        path = self.find(name)
        if path is None:
            raise CheckpointError(f"the model {self.name!r} has no {name} in {self.folder}")
        return path

    def find(self, name: str) -> Path | None:
        """The path of a part, None if the model has none.

        Raises ``CheckpointError`` for one that is named and not there.
        """
        stated = self.parts.get(Path(name).stem)
        if stated is None:
            path = self.folder / name
            return path if path.exists() else None
        if not stated.exists():
            advice = (
                f"styleclip models fetch {stated.name}"
                if stated.name in FILES
                else f"check {DESCRIPTION} in {self.folder}"
            )
            raise CheckpointError(
                f"the model {self.name!r} names {stated} as its {Path(name).stem}, and there is "
                f"no such file: {advice}"
            )
        return stated

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences that its CLIP is shown texts in; none if it states none.

        ``model.json`` lists them under "templates", or says "imagenet". Raises ``CheckpointError``.
        """
        stated = self.extra.get("templates", [])
        try:
            if not isinstance(stated, str | list):
                raise ArgumentError(f"templates are a list of sentences, got {stated!r}")
            return template_sentences(stated)
        except ArgumentError as error:
            raise CheckpointError(f"{self.folder / DESCRIPTION}: {error}") from error

    @property
    def tokenizer(self) -> Path | None:
        """What turns texts into tokens where the CLIP does not say: the model's part, or None.

        For a CLIP in one file, with no tokenizer beside it, it is OpenAI's vocabulary, if that was
        fetched.
        """
        own, clip = self.find(TOKENIZER), self.find(CLIP)
        if own is not None or clip is None or clip.is_dir():
            return own
        fetched = Cache.here().file(VOCABULARY)
        beside = any((clip.parent / name).is_file() for name in ("tokenizer.json", "vocab.json"))
        return fetched if fetched.is_file() and not beside else None


def is_name(name: str | Path) -> bool:
    """Whether a model is known by this name, fetched or not."""
    name = str(name)
    return name in BUILT_IN or name in BUNDLES or name in Cache.here().models()


def is_model(path: str | Path) -> bool:
    """Whether this is the name of a model or a model folder, not a file of weights."""
    return is_name(path) or (Path(path) / DESCRIPTION).is_file()


def resolve_model(name_or_path: str | Path) -> Path:
    """The folder of a known name or of a path; else a ``CheckpointError`` that lists names."""
    name = str(name_or_path)
    if name in BUILT_IN:
        folder = BUILT_IN[name]
        if not (folder / DESCRIPTION).is_file():
            raise CheckpointError(
                f"the weights of {name_or_path!r} are not in this installation ({folder}): "
                "install styleclip again"
            )
        return folder
    if is_name(name):
        return Cache.here().model(name)
    folder = Path(name_or_path)
    if folder.is_dir():
        if not (folder / DESCRIPTION).is_file():
            raise CheckpointError(
                f"{folder} is not a model folder: it has no {DESCRIPTION} "
                f"(and usually {GENERATOR}, {ENCODER}, {CLIP}/)"
            )
        return folder
    raise CheckpointError(
        f"there is no model {name!r}: give one of the known names ({known_names()}), one that "
        "'styleclip models list' shows, or the path of a model folder"
    )


def known_names() -> str:
    """The names of models that are here, for messages."""
    return ", ".join(sorted({*BUILT_IN, *Cache.here().models()}))


def read_model(name_or_path: str | Path) -> Model:
    """The description of a model; unknown entries of ``model.json`` are kept in ``extra``.

    Raises ``CheckpointError``, for a bundle that was not fetched too.
    """
    name = str(name_or_path)
    if name in BUNDLES and name not in BUILT_IN:
        return _fetched(BUNDLES[name])
    folder = resolve_model(name_or_path)
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise CheckpointError(f'{path} must be a JSON object with at least a "name"')
    known = {key: str(values.pop(key, "")) for key in ("name", "description", "neutral", "licence")}
    parts = _parts(path, values.pop("parts", {}))
    return Model(folder, **known, extra=values, parts=parts)


def licences_of(bundle: Bundle) -> list[Licence]:
    """The terms of its files, each once."""
    return list(dict.fromkeys(FILES[name].licence for name in bundle.parts.values()))


def _parts(path: Path, stated: object) -> dict[str, Path]:
    """The paths that a ``model.json`` names. Whoever writes one says where their files are."""
    if not isinstance(stated, dict) or not all(isinstance(each, str) for each in stated.values()):
        raise CheckpointError(f'"parts" in {path} must name files, as in {{"generator": "g.pkl"}}')
    unknown = sorted(set(stated) - set(PARTS))
    if unknown:
        raise CheckpointError(
            f'"parts" in {path} names {", ".join(unknown)}, which no model has: '
            f"the parts are {', '.join(PARTS)}"
        )
    return {part: _located(path.parent, name) for part, name in stated.items()}


def _located(folder: Path, name: str) -> Path:
    path = folder / os.path.expanduser(name)  # which leaves "~nobody" as it is
    return Cache.here().file(name) if name in FILES and not path.exists() else path


def _fetched(bundle: Bundle) -> Model:
    """A bundle whose files are in the cache; those that it can do without may be absent."""
    cache = Cache.here()
    parts = {part: cache.file(name) for part, name in bundle.parts.items()}
    lacking = [parts[part].name for part in REQUIRED if not parts[part].is_file()]
    here = {part: path for part, path in parts.items() if path.is_file()}
    terms = [FILES[path.name].licence for path in here.values()]
    if lacking or not all(cache.accepted(each) for each in terms):
        found = f"{', '.join(lacking)} not in {cache.folder}" if lacking else "no licence accepted"
        hint = f"; for the folder here write ./{bundle.name}" if Path(bundle.name).is_dir() else ""
        raise CheckpointError(
            f"the model {bundle.name!r} has not been fetched yet ({found}): run 'styleclip models "
            f"fetch {bundle.name}'{hint}"
        )
    licence = ", ".join(each.name for each in licences_of(bundle))
    folder = cache.model(bundle.name)
    extra = dict(bundle.extra)
    return Model(folder, bundle.name, bundle.description, bundle.neutral, licence, extra, here)
