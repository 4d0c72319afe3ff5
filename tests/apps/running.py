"""Run the command line in this process, and see what a user would see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from styleclip.apps.cli import main

PROMPT = "a face -> a face with red hair"


class Run:
    """Run a command with the tiny model; ``code``, ``out`` and ``err`` are the last one's."""

    def __init__(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.model, self.capsys = model, capsys
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *arguments: str | Path, model: bool = True) -> Run:
        words = [str(each) for each in arguments]
        try:
            self.code = main([*words, "--model", str(self.model)] if model else words)
        finally:
            torch.set_flush_denormal(False)  # the command line turns it on for its whole process
        self.out, self.err = self.capsys.readouterr()
        return self

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


def files(folder: str = ".") -> set[str]:
    return {path.name for path in Path(folder).iterdir()}
