"""``inspect`` and ``convert`` as users run them, and as the page documents them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from styleclip.checkpoints import file_hash, load_generator, tensors_hash
from tests.apps.running import Run, files
from tests.checkpoints import samples
from tests.pages import WEIGHTS, blocks_for, commands


def weights(run: Run, *arguments: str | Path) -> Run:
    return run(*arguments, model=False)


@pytest.mark.parametrize("name", samples.FOREIGN)
def test_inspect_says_what_it_is(name: str, run: Run, place: Path) -> None:
    write, kind, origin = samples.FOREIGN[name]
    path = write(place)
    found = weights(run, "inspect", path, "--json").json()
    assert (found["kind"], found["layout"]) == (kind, origin)
    assert found["file"] == str(path) and found["sha256"] == file_hash(path)
    assert found["size"] == path.stat().st_size and sum(found["precision"].values()) > 0
    assert found["reader"].startswith("load_") and isinstance(found["missing"], list)
    text = weights(run, "inspect", path).out
    assert text.startswith(f"{path} is ") and f"({found['reader']} reads it)" in text
    for line in (kind, origin, found["sha256"], f"{found['size']:,} bytes", *found["missing"]):
        assert f"  {line}" in text
    assert run.err == ""


def test_what_is_damaged_or_foreign_is_one_sentence(run: Run, place: Path) -> None:
    (place / "cut.pt").write_bytes(samples.ROSINALITY.read_bytes()[:5000])
    (place / "page.pt").write_text("<!doctype html>")
    for name in ("cut.pt", "page.pt", "nowhere.pt"):
        assert weights(run, "inspect", name).code == 2
        assert run.out == "" and len(run.err.splitlines()) == 1 and name in run.err
        assert weights(run, "convert", name, "ours.safetensors").code == 2
        assert len(run.err.splitlines()) == 1 and "ours.safetensors" not in files()


def test_convert(run: Run, place: Path) -> None:
    out = Path("ours.safetensors")
    found = weights(run, "convert", samples.ROSINALITY, out, "--json").json()
    assert (found["source"], found["file"]) == (str(samples.ROSINALITY), str(out))
    assert (found["layout"], found["sha256"]) == ("styleclip", file_hash(out))
    ours, theirs = load_generator(out), load_generator(samples.ROSINALITY)
    assert tensors_hash(ours.state_dict()) == tensors_hash(theirs.state_dict())
    assert weights(run, "convert", samples.ROSINALITY, out).code == 2
    assert "add --force" in run.err
    assert weights(run, "convert", samples.ROSINALITY, out, "--force", "--half").code == 0
    assert out.stat().st_size < 0.6 * found["size"] and run.out.startswith(f"wrote {out}\n")
    assert weights(run, "convert", out, "again.safetensors").code == 2
    assert "nothing to convert" in run.err


def test_options_that_a_file_needs(run: Run, place: Path) -> None:
    path = samples.psp_without_options(place)
    assert weights(run, "convert", path, "a.safetensors").code == 2 and '"psp"' in run.err
    assert weights(run, "convert", path, "a.safetensors", "--method", "psp").code == 0, run.err
    fs3 = samples.fs3(place)
    assert weights(run, "convert", fs3, "bank.safetensors").code == 2 and "--generator" in run.err
    weights(run, "convert", fs3, "bank.safetensors", "--generator", samples.ROSINALITY)
    assert run.code == 0 and "does not say which generator" in run.err


def test_the_documented_commands_run(run: Run, place: Path) -> None:
    """Every one under the heading, on small files of the names that the page uses."""
    (place / "a").mkdir()
    shutil.copyfile(samples.ROSINALITY.with_name("stylegan2-ada.pkl"), "network.pkl")
    shutil.copyfile(samples.openai(place / "a"), "ViT-B-32.pt")
    shutil.copyfile(place / "a" / "words.gz", "bpe_simple_vocab_16e6.txt.gz")
    contents, mean = samples.with_decoder(rows=8)
    samples.saved(contents | {"latent_avg": mean}, place).rename("e4e_ffhq_encode.pt")
    samples.fs3(place)
    shutil.copyfile(samples.ROSINALITY, "stylegan2-ffhq-config-f.pt")
    blocks = blocks_for("docs/real-weights.md", WEIGHTS)
    run_these = [each for block in blocks for each in commands(block)]
    assert {each[0] for each in run_these} == {"inspect", "convert"} and len(run_these) >= 5
    for words in run_these:
        assert weights(run, *words).code == 0, (words, run.err)
