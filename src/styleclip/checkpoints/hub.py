"""CLIPs, and DINOv2s, by their name on the Hugging Face hub -> a folder here.

  "openai/clip-vit-base-patch32", "hf:OWNER/NAME", "hf:OWNER/NAME@REVISION"
Found in the hub's cache on this machine, or fetched into it by ``huggingface_hub``, which knows
about mirrors (HF_ENDPOINT) and about staying offline (HF_HUB_OFFLINE). Only tensors, a tokenizer
and their settings are fetched; code that a repository may hold is neither fetched nor run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from styleclip.checkpoints import clip_openclip
from styleclip.checkpoints.files import first_line
from styleclip.errors import CheckpointError

PREFIX = "hf:"
PATIENCE = 10.0  # seconds that the hub may take to say what a model has
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
# a name that ends so is a mistyped file, not a model
FILE_ENDINGS = (".pt", ".pth", ".bin", ".safetensors", ".pkl", ".npy", ".ckpt", ".json")
SETTINGS = (
    "config.json", "preprocessor_config.json", "processor_config.json", clip_openclip.CONFIG,
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
    "merges.txt",
)  # fmt: skip
TRANSFORMERS = ("model.safetensors", "pytorch_model.bin")


def hub_name(path: str | Path) -> str | None:
    """OWNER/NAME or OWNER/NAME@REVISION, if ``path`` is a name on the hub; else None.

    What exists here is a path, whatever it looks like. What does not is a name if it says so
    ("hf:" in front), or if it has the form of one, does not end like a file of weights, and its
    first part is no folder here. Raises ``CheckpointError`` for "hf:" with no name behind it.
    """
    text = path.as_posix() if isinstance(path, Path) else path
    if text.startswith(PREFIX):
        name = text.removeprefix(PREFIX)
        if NAME.fullmatch(name):
            return name
        raise CheckpointError(
            f"{text!r} names no model of the hub: write hf:OWNER/NAME, as in "
            "hf:openai/clip-vit-base-patch32"
        )
    if Path(text).exists() or not NAME.fullmatch(text) or text.lower().endswith(FILE_ENDINGS):
        return None
    return None if Path(text).parts[0] in (".", "..") or Path(text).parent.is_dir() else text


def find_model(name: str, kind: str = "CLIP") -> Path:
    """The folder of the model ``name``, fetched if it is not in the cache.

    ``kind`` is what it should be, for messages. Raises ``CheckpointError``.
    """
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    repository, _, wanted = name.partition("@")
    revision = wanted or None
    kept = _kept(repository, revision)
    if kept is not None:
        return kept
    try:
        # unlike other questions, this one is not asked six times where there is no network
        found = huggingface_hub.HfApi().model_info(repository, revision=revision, timeout=PATIENCE)
        files = [file.rfilename for file in found.siblings or ()]
        patterns = [*SETTINGS, *weights_of(files, name, kind)]
        folder = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=patterns
        )
    except CheckpointError:
        raise
    except GatedRepoError as error:
        raise CheckpointError(
            f"the hub gives {name} only to those who accepted its terms: accept them on its page, "
            "log in with 'hf auth login', and try again"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no file or folder {name}, and no model of that name on the Hugging Face "
            "hub: check the spelling"
        ) from error
    except Exception as error:  # no network, no such revision, a full disk: each has its own class
        offline = isinstance(error, OfflineModeIsEnabled)
        reason = "HF_HUB_OFFLINE forbids it" if offline else first_line(error)
        raise CheckpointError(
            f"there is no file or folder {name} and no {kind} of that name in the hub's cache "
            f"here, and it cannot be fetched ({reason}): check the path, or fetch it once with a "
            "network"
        ) from error
    return Path(folder)


def weights_of(files: Sequence[str], name: str = "", kind: str = "CLIP") -> list[str]:
    """Which of a repository's ``files`` to fetch: one set of weights, the safest there is."""
    wanted = [*(TRANSFORMERS if "config.json" in files else ()), *clip_openclip.FILES]
    for weights in wanted:
        index = f"{weights}.index.json"  # of weights cut into pieces
        if index in files:
            stem, _, ending = weights.rpartition(".")
            return [index, f"{stem}-*-of-*.{ending}"]
        if weights in files:
            return [weights]
    raise CheckpointError(
        f"the model {name} of the hub has no weights of a {kind} (a {TRANSFORMERS[0]} with its "
        f"config.json, or of a CLIP an {clip_openclip.FILES[0]}): give another"
    )


def _kept(repository: str, revision: str | None) -> Path | None:
    """The folder in the cache, if it has weights."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                repository, revision=revision, local_files_only=True, allow_patterns=[*SETTINGS]
            )
        )
        weights_of([path.name for path in folder.iterdir() if path.exists()])
    except (LocalEntryNotFoundError, HFValidationError, CheckpointError, OSError):
        return None
    return folder
