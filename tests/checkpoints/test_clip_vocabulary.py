"""OpenAI's vocabulary file to a tokenizer."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from styleclip.checkpoints import load_clip
from styleclip.checkpoints.clip_vocabulary import LARGEST, byte_letters, read_vocabulary
from styleclip.errors import CheckpointError
from tests.reference.public_layouts import MERGES, TOKENS, write_clip, write_vocabulary


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_vocabulary(tmp_path / "vocabulary.txt.gz")
    return tmp_path / "vocabulary.txt.gz"


def test_letters_for_bytes() -> None:
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert letters[0] == "!" and letters[ord("A") - ord("!")] == "A"
    assert letters[188] == chr(256)  # of byte 0, the first that cannot be printed


def test_words_become_tokens(path: Path) -> None:
    tokenizer = read_vocabulary(path, TOKENS)
    first = 2 * 256  # of the tokens that merges make
    start, end = TOKENS - 2, TOKENS - 1
    last = {letter: 256 + i for i, letter in enumerate(byte_letters())}
    assert tokenizer("Face  RED")["input_ids"] == [start, first + 2, first + 4, end]
    assert tokenizer("a ha")["input_ids"] == [
        start, last["a"], byte_letters().index("h"), last["a"], end
    ]  # fmt: skip  # "h a" is no pair where the a ends a word
    assert tokenizer("é")["input_ids"] == [start, byte_letters().index("Ã"), last["©"], end]
    assert tokenizer.eos_token_id == end


def test_a_clip_with_its_vocabulary(path: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.pt")
    embedder = load_clip(tmp_path / "clip.pt", path)
    face = torch.tensor([[TOKENS - 2, 2 * 256 + 2, TOKENS - 1]])
    torch.testing.assert_close(embedder.embed_texts(["face"]), embedder.embed_token_ids(face))


@pytest.mark.parametrize("size", [TOKENS + 3, 2 * 256 + 1])
def test_a_vocabulary_of_another_clip(path: Path, size: int) -> None:
    with pytest.raises(CheckpointError, match=rf"a CLIP of {size} tokens needs .* belong together"):
        read_vocabulary(path, size)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "does not list pairs", id="empty"),
        pytest.param(b"plain text", "not OpenAI's vocabulary, a gzip file", id="plain text"),
        pytest.param(
            gzip.compress(b"#version\na b\n")[:-9],
            "not OpenAI's vocabulary, a gzip file",
            id="cut short",
        ),
        pytest.param(
            gzip.compress(b"#version\n\xff\xfe\n"),
            "not OpenAI's vocabulary, a gzip file",
            id="not UTF-8",
        ),
        pytest.param(gzip.compress(b"#version\na b c\n"), "does not list pairs", id="threes"),
        pytest.param(gzip.compress(b"a b\nc d\n"), "does not list pairs", id="no version"),
        pytest.param(
            gzip.compress(b"#version\n" + bytes(LARGEST)), "unpacks to more than", id="a bomb"
        ),
        pytest.param(
            gzip.compress(b"#version\n" + b"f a\n" * len(MERGES)), "lists a token twice", id="twice"
        ),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "v.gz").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        read_vocabulary(tmp_path / "v.gz", TOKENS)
