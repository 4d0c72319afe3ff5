"""CLIPs of every public kind -> ``ClipEmbedder``, with the preprocessing that their weights need.

  load_clip("clip/"), load_clip("openai/clip-vit-base-patch32")   a transformers folder, a hub name
  load_clip("ViT-B-32.pt")                                        OpenAI's state dict or archive
  load_clip("open_clip_model.safetensors")                        open_clip's, with its config
What a file is, its keys decide. Single files hold no tokenizer: one beside them is found.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.checkpoints import (
    clip_openai,
    clip_openclip,
    clip_vocabulary,
    folders,
    hub,
    layouts,
    registry,
)
from styleclip.checkpoints.clip_openai import Activation
from styleclip.checkpoints.files import first_line, read_weights
from styleclip.errors import ArgumentError, CheckpointError
from styleclip.prompts import Templates, template_sentences

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from styleclip.clip.embedder import ClipEmbedder


def load_clip(
    path: str | Path,
    tokenizer: str | Path | None = None,
    activation: Activation | None = None,
    templates: Templates | None = None,
) -> ClipEmbedder:
    """A CLIP with a ViT image tower, float32, on the CPU.

    ``path``: a folder that `transformers` saved; a name on the Hugging Face hub, "OWNER/NAME" or
    "hf:OWNER/NAME", from its cache or fetched; OpenAI's ``.pt``; a file of open_clip, or a folder
    with one; a model folder, or the name of a model.

    ``tokenizer`` is a folder with vocab.json and merges.txt, or tokenizer.json, or OpenAI's own
    vocabulary file; without it, single files take their model's or the one in their own folder, and
    where there is none only ``embed_images`` and ``embed_token_ids`` work: texts raise
    ``PromptError``. ``activation`` of single files overrides what is said or assumed: "quick_gelu"
    for networks that began as OpenAI's, "gelu" for others. ``templates``: the sentences that texts
    are put into, each with one ``{}``, or "imagenet"; those of the model, or none, if absent.
    Warns (``CheckpointWarning``) where something had to be assumed. Raises ``CheckpointError``.
    """
    from styleclip.clip.embedder import PLAIN

    sentences = None if templates is None else template_sentences(templates)  # before the reading
    if activation not in (None, "gelu", "quick_gelu"):
        raise ArgumentError(f"activation must be 'gelu' or 'quick_gelu', got {activation!r}")
    location = _locate(path)
    if registry.is_model(path):
        model = registry.read_model(path)
        tokenizer = model.tokenizer if tokenizer is None else tokenizer
        sentences = model.templates if sentences is None else sentences
    embedder = _read(location, tokenizer, activation)
    embedder.templates = sentences or PLAIN
    return embedder


def _read(
    location: Path, tokenizer: str | Path | None, activation: Activation | None
) -> ClipEmbedder:
    """The CLIP of a file or folder, with its tokenizer."""
    from styleclip.clip.embedder import ClipEmbedder

    if location.is_dir():
        found = open_clip_file(location)
        if found is None:
            if tokenizer is not None or activation is not None:
                raise ArgumentError(
                    f"the folder {location} says its tokenizer and activation itself: leave "
                    "tokenizer and activation out"
                )
            _check_folder(location)
            return ClipEmbedder.from_folder(location)
        location = found
    weights = read_weights(location)
    layout = layouts.layout_of(weights)
    if layout == layouts.OPENAI:
        model = clip_openai.build(weights.contents, location, activation or "quick_gelu")
        embedder = ClipEmbedder(model, None)
    elif layout == layouts.OPEN_CLIP:
        state = clip_openclip.unwrap(weights.contents)
        model, settings = clip_openclip.build(state, location, activation)
        embedder = ClipEmbedder(
            model, None, settings.mean, settings.std, interpolation=settings.interpolation
        )
    else:
        raise layouts.refusal(weights, "a CLIP", "OpenAI, open_clip, or a folder of transformers")
    folder = location.parent if tokenizer is None else Path(tokenizer)
    if tokenizer is not None or has_tokenizer(folder):
        embedder.tokenizer = read_tokenizer(folder, model.config.text_config)
    return embedder


def _check_folder(folder: Path) -> None:
    """What transformers would not refuse well: pickles that run code, networks without end."""
    if not (folder / "config.json").is_file():
        return  # said by who reads it
    folders.read_config(folder, folders.CLIP)
    files = folders.weight_files(folder)
    if files:
        folders.check_size(folder, folders.read_shapes(files))


def has_tokenizer(folder: Path) -> bool:
    """Whether a CLIP's tokenizer lies in ``folder``."""
    names = ("vocab.json", "merges.txt")
    return (folder / "tokenizer.json").is_file() or all((folder / n).is_file() for n in names)


def check_tokenizer(path: Path, tokens: int) -> None:
    """Raise ``CheckpointError`` unless it is a vocabulary file for so many tokens, or a folder."""
    if path.is_file():
        clip_vocabulary.read_vocabulary(path, tokens)
    else:
        _check_tokenizer_folder(path)


def read_tokenizer(folder: Path, config: Any) -> CLIPTokenizer:
    """The tokenizer in ``folder``, or of a vocabulary file, if it fits the text tower."""
    from transformers import CLIPTokenizer

    if folder.is_file():
        return clip_vocabulary.read_vocabulary(folder, config.vocab_size)
    _check_tokenizer_folder(folder)
    tokenizer: CLIPTokenizer
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises whatever its many readers raise
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be read: {first_line(error)}"
        ) from error
    if tokenizer.eos_token_id != config.eos_token_id:
        raise CheckpointError(
            f"the tokenizer in {folder} ends texts with token {tokenizer.eos_token_id}, this CLIP "
            f"expects {config.eos_token_id}: they do not belong together; give its own with "
            "tokenizer=FOLDER"
        )
    return tokenizer


def _check_tokenizer_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no tokenizer folder {folder}: check the path")
    if not has_tokenizer(folder):
        raise CheckpointError(
            f"{folder} holds no CLIP tokenizer: it has neither tokenizer.json nor vocab.json and "
            "merges.txt"
        )


def _locate(path: str | Path) -> Path:
    """The file or folder of a CLIP: of a model, of the hub, or ``path`` itself."""
    if registry.is_model(path):
        return registry.read_model(path).file(registry.CLIP)
    name = hub.hub_name(path)
    if name is not None:
        return hub.find_model(name)
    if not Path(path).exists():
        known = registry.known_names()
        raise CheckpointError(
            f"there is no file or folder {path}, and no model of that name ({known}): "
            "check the path, or write hf:OWNER/NAME for a model of the Hugging Face hub"
        )
    return Path(path)


def open_clip_file(folder: Path) -> Path | None:
    """The weights of open_clip in a folder that has none of transformers."""
    names = [f"{name}{ending}" for name in hub.TRANSFORMERS for ending in ("", ".index.json")]
    has_weights = any((folder / name).is_file() for name in names)
    if has_weights and (folder / "config.json").is_file():
        return None
    return next((folder / n for n in clip_openclip.FILES if (folder / n).is_file()), None)
