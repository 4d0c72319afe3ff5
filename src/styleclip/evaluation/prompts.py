"""Files of prompts whose truth is known: what each text asks for, in the reader's words.

  {"neutral": "a face", "prompts": [{"text": "a face with red hair",
                                     "targets": {"hair_colour": "red"}}, ...]}
`neutral` may also stand beside one text. "methods": ["mapper", ...] keeps a file for those; other
keys are kept for people and ignored here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from styleclip.errors import ArgumentError
from styleclip.prompts import PromptPair


@dataclass(frozen=True)
class JudgedPrompt:
    """A prompt and the attribute values that a picture must show after it."""

    prompt: PromptPair
    targets: Mapping[str, str]


@dataclass(frozen=True)
class PromptFile:
    """``methods``: the only ones that are asked; empty for all that do not train for a prompt."""

    name: str
    prompts: tuple[JudgedPrompt, ...]
    methods: tuple[str, ...] = ()


def read_prompt_file(path: str | Path) -> PromptFile:
    """Read a file of prompts. Raises ``ArgumentError`` that says what is wrong with it."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["prompts"]
        neutral = content.get("neutral", "a face")
        prompts = tuple(
            JudgedPrompt(
                PromptPair(target=str(row["text"]), neutral=str(row.get("neutral", neutral))),
                {str(name): str(value) for name, value in row["targets"].items()},
            )
            for row in rows
        )
        methods = tuple(str(name) for name in content.get("methods", ()))
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"{path} is not a file of prompts ({type(error).__name__}: {error}); it should read "
            '{"neutral": "a face", "prompts": [{"text": ..., "targets": {attribute: value}}]}'
        ) from error
    if any(not isinstance(row["text"], str) or not row["text"].strip() for row in rows):
        raise ArgumentError(f"{path} has a prompt without a text: every one needs words")
    if not prompts or any(not each.targets for each in prompts):
        raise ArgumentError(f"{path} needs at least one prompt, and each at least one target")
    return PromptFile(path.stem, prompts, methods)


def read_prompt_list(path: str | Path) -> list[str]:
    """The prompts of a text file, one in a line; empty lines and lines of # are left out."""
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ArgumentError(f"{path} cannot be read: {reason}; check the path") from error
    found = [line.strip() for line in lines]
    found = [line for line in found if line and not line.startswith("#")]
    if not found:
        raise ArgumentError(f"{path} has no prompts: write one in each line")
    return found


def assign_pictures(pictures: int, prompts: int, seed: int) -> list[list[int]]:
    """Which pictures each prompt gets: every picture two prompts, every prompt as many pictures."""
    import torch

    order = torch.randperm(pictures, generator=torch.Generator().manual_seed(seed)).tolist()
    shifts = sorted({0, prompts // 2})  # one prompt alone: once
    return [
        [picture for shift in shifts for i, picture in enumerate(order)
         if (i + shift) % prompts == prompt]
        for prompt in range(prompts)
    ]  # fmt: skip
