"""OpenAI's byte-pair vocabulary, the one file from which a CLIP's tokenizer is built.

  256 characters for bytes, the same with </w>, one token for each merge, two that mark ends
The file lists merges in the order of their rank under a line with its version, more of them than
CLIP was trained with. Which character stands for which byte is GPT-2's convention (Radford et al.
2019): printable bytes stand for themselves, the others for the characters from 256 on.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleclip.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LARGEST = 16 << 20  # bytes of the text; OpenAI's has 3.2 million
PRINTABLE = (range(ord("!"), ord("~") + 1), range(0xA1, 0xAD), range(0xAE, 0x100))


def read_vocabulary(path: Path, size: int) -> CLIPTokenizer:
    """The tokenizer of a CLIP with ``size`` tokens. Raises ``CheckpointError``."""
    from transformers import CLIPTokenizer

    letters = byte_letters()
    merges = _merges(path)
    wanted = size - 2 * len(letters) - 2
    if not 0 <= wanted <= len(merges):
        raise CheckpointError(
            f"{path} has {len(merges)} merges, and a CLIP of {size} tokens needs {wanted}: "
            "they do not belong together"
        )
    merges = merges[:wanted]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [first + second for first, second in merges] + [START, END]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) != size:
        raise CheckpointError(f"{path} lists a token twice: it is not OpenAI's vocabulary")
    pairs: Any = merges  # tuples, whatever its annotation says
    return CLIPTokenizer(vocab=vocabulary, merges=pairs)


def byte_letters() -> list[str]:
    """The characters that stand for the 256 bytes, printable ones first."""
    printable = [byte for part in PRINTABLE for byte in part]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _merges(path: Path) -> list[tuple[str, str]]:
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(LARGEST + 1)
        lines = content.decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CheckpointError(
            f"{path} is not OpenAI's vocabulary, a gzip file of text ({error}): fetch it again"
        ) from error
    if len(content) > LARGEST:
        raise CheckpointError(f"{path} unpacks to more than {LARGEST:,} bytes: it is no vocabulary")
    pairs = [tuple(line.split()) for line in lines[1:] if line.strip()]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    if "#version" not in lines[0] or len(merges) != len(pairs):
        raise CheckpointError(f"{path} does not list pairs under a version: it is no vocabulary")
    return merges
