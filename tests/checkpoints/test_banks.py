"""Banks of directions in files: what is kept, what is refused, a scan that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from styleclip.checkpoints import load_bank, load_scan, save_bank, save_network, save_scan
from styleclip.editing.relevance import Relevance
from styleclip.editing.scan import Scan
from styleclip.errors import CheckpointError


def relevance() -> Relevance:
    random = torch.Generator().manual_seed(0)
    matrix = F.normalize(torch.randn(9, 5, generator=random), dim=1)
    mean, std, effect = torch.randn(3, 9, generator=random).abs()
    return Relevance(matrix, mean, std, effect, torch.arange(9), {"method": "exact", "sigma": 5.0})


def test_a_bank_comes_back(tmp_path: Path) -> None:
    path, bank = tmp_path / "bank.safetensors", relevance()
    save_bank(path, bank, "generator", "clip")
    found = load_bank(path)
    torch.testing.assert_close(found.matrix, bank.matrix, rtol=0, atol=1e-3)
    for name in ("mean", "std", "effect", "images"):
        assert torch.equal(getattr(found, name), getattr(bank, name))
    assert found.config == bank.config
    assert (found.generator_hash, found.clip_hash) == ("generator", "clip")


def test_a_scan_comes_back_bit_by_bit(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    scan = Scan.of(
        torch.randn(9, 5, generator=random, dtype=torch.float64),
        torch.randn(9, generator=random, dtype=torch.float64),
        torch.arange(9),
    )
    scan.along, scan.slopes = torch.arange(9.0).double(), torch.randn(3, 9, 2).half()
    scan.basis = torch.randn(2, 5, generator=random)
    path = tmp_path / "scan.safetensors"
    assert load_scan(path, {"a": 1}) is None
    save_scan(path, scan, {"a": 1})
    found = load_scan(path, {"a": 1})
    assert found is not None
    for name, tensor in vars(scan).items():
        assert torch.equal(getattr(found, name), tensor), name
    with pytest.raises(CheckpointError, match="other settings"):
        load_scan(path, {"a": 2})


def test_what_is_no_bank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_network(path, "encoder", {}, {"weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="of kind 'encoder', expected 'directions'"):
        load_bank(path)
    save_network(path, "directions", {}, {"matrix": torch.zeros(2, 2)})
    with pytest.raises(CheckpointError, match="measure it again"):
        load_bank(path)
    bank = relevance()
    save_bank(path, bank, "g", "c")
    bank.mean[0] = torch.nan
    save_bank(path, bank, "g", "c")
    with pytest.raises(CheckpointError, match="not finite"):
        load_bank(path)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_bank(tmp_path / "no" / "folder" / "x", relevance(), "g", "c")
