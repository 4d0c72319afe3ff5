"""Which device computes: a word, or torch's own name of one, checked before anything is loaded."""

from __future__ import annotations

import torch

from styleclip.errors import ArgumentError


def find_device(name: str | torch.device) -> torch.device:
    """ "auto" takes cuda, else mps, else cpu. Raises ``ArgumentError`` for one that is not here."""
    if isinstance(name, torch.device) and name.type not in ("cpu", "cuda", "mps"):
        return name  # whoever made it knows of it
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.insert(0, "mps")
    if torch.cuda.is_available():
        here.insert(0, "cuda")
    if name == "auto":
        return torch.device(here[0])
    kind, colon, index = str(name).partition(":")
    count = {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": 1}.get(kind, 0)
    if kind not in here or (colon and not (index.isdecimal() and int(index) < count)):
        raise ArgumentError(
            f"there is no device {str(name)!r} on this machine: choose auto or one of "
            f"{', '.join(here)}"
        )
    return torch.device(name)
