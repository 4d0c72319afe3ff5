"""Models by name: a model is a folder with everything that editing one kind of picture needs.

  model.json              {"name", "description", "neutral", "licence", ...}
  generator.safetensors   z -> image             clip/                  a transformers folder
  encoder.safetensors     image -> w_plus        reader.safetensors, identity.safetensors (optional)
  latent_map.safetensors  CLIP space -> w (optional; measured when needed, and kept by the commands)
  mapper.safetensors      picture, text -> step (optional)
  directions.safetensors  the relevance of its style channels (optional; by samples without it)
Without an identity.safetensors "identity" in model.json may name another judge: "clip", the folder
or hub name of a DINOv2, or "none". The built-in models are folders inside the package; any other
folder like them is given by its path.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleclip.errors import CheckpointError

PACKAGE = Path(__file__).resolve().parent.parent
BUILT_IN = {"portraits": PACKAGE / "portraits" / "weights"}

DESCRIPTION = "model.json"
GENERATOR = "generator.safetensors"
CLIP = "clip"
ENCODER = "encoder.safetensors"
LATENT_MAP = "latent_map.safetensors"
DIRECTIONS = "directions.safetensors"
MAPPER = "mapper.safetensors"
READER = "reader.safetensors"
IDENTITY = "identity.safetensors"


@dataclass(frozen=True)
class Model:
    """One model folder. ``neutral`` is the text that describes any picture of it ("a face")."""

    folder: Path
    name: str
    description: str
    neutral: str
    licence: str
    extra: dict[str, Any]

    def file(self, name: str) -> Path:
        """The path of one of its parts; ``CheckpointError`` if the model has no such part."""
        path = self.folder / name
        if not path.exists():
            raise CheckpointError(f"the model {self.name!r} has no {name} in {self.folder}")
        return path


def resolve_model(name_or_path: str | Path) -> Path:
    """The folder of a built-in name or of a path; else a ``CheckpointError`` that lists names."""
    if str(name_or_path) in BUILT_IN:
        folder = BUILT_IN[str(name_or_path)]
        if not (folder / DESCRIPTION).is_file():
            raise CheckpointError(
                f"the weights of {name_or_path!r} are not in this installation ({folder}): "
                "install styleclip again"
            )
        return folder
    folder = Path(name_or_path)
    if folder.is_dir():
        if not (folder / DESCRIPTION).is_file():
            raise CheckpointError(
                f"{folder} is not a model folder: it has no {DESCRIPTION} "
                f"(and usually {GENERATOR}, {ENCODER}, {CLIP}/)"
            )
        return folder
    known = ", ".join(sorted(BUILT_IN))
    raise CheckpointError(
        f"there is no model {str(name_or_path)!r}: give one of the known names ({known}) "
        "or the path of a model folder"
    )


def read_model(name_or_path: str | Path) -> Model:
    """The description of a model; unknown entries of ``model.json`` are kept in ``extra``."""
    folder = resolve_model(name_or_path)
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise CheckpointError(f'{path} must be a JSON object with at least a "name"')
    known = {key: str(values.pop(key, "")) for key in ("name", "description", "neutral", "licence")}
    return Model(folder, **known, extra=values)
