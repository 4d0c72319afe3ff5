"""What stays with an edit, by the judge: with `--preserve` and without, and over the threshold.

  python benchmarks/preserve.py [--pictures 100] [--threads 2] [--json FILE]
For prompts that bring something along in the portraits world, by samples and by the exact bank, on
held-out renders inverted in one pass: success, and of the attribute that is named how many pictures
read as before. The paper's example, grey hair against wrinkles, at fixed strengths over thresholds
too. Ten minutes on two free cores. Needs skia: pip install "styleclip[portraits]".
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__:
    from benchmarks.speed import machine
else:  # run as a script
    from speed import machine  # type: ignore[no-redef]

if TYPE_CHECKING:
    from styleclip.editing.edit import Edit

# prompt, the value that it asks for, what is preserved (a group of the vocabulary), its attribute
CASES = (
    ("a face with grey hair", ("hair_colour", "grey"), "age", "age"),
    ("an old face", ("age", "old"), "hair colour", "hair_colour"),
    ("a face with blue hair", ("hair_colour", "blue"), "hair style", "hair_style"),
    ("a face with blond hair", ("hair_colour", "blond"), "eye colour", "eye_colour"),
    ("a face with a mohawk", ("hair_style", "mohawk"), "hair colour", "hair_colour"),
    ("a face with a beard", ("facial_hair", "beard"), "lipstick", "lipstick"),
)
THRESHOLDS, STRENGTHS = (0.0, 0.05, 0.1, 0.15, 0.2), (4.0, 6.0)  # of the first case
SEED = 3_000_000  # of the first portrait: no training and no table has these


def run(pictures: int, threads: int) -> dict[str, Any]:
    """Every case; returns what ``--json`` writes."""
    import torch
    from PIL import Image

    from styleclip.checkpoints import load_reader
    from styleclip.editing.directions import DirectionConfig
    from styleclip.editing.strength import picked
    from styleclip.errors import PromptError
    from styleclip.images import to_tensor
    from styleclip.portraits.renderer import render
    from styleclip.portraits.training import portrait_of_seed
    from styleclip.studio import Studio

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    studio, reader = Studio.load("portraits"), load_reader("portraits")
    size = studio.generator.resolution
    drawn = [render(portrait_of_seed(SEED + i), size) for i in range(pictures)]
    photos = torch.cat([to_tensor(Image.fromarray(each)) for each in drawn])
    assert studio.encoder is not None
    with torch.no_grad():
        w_plus = torch.cat([studio.encoder(part) for part in photos.split(20)])

    def read(edit: Edit | None = None) -> torch.Tensor:
        parts = torch.arange(pictures).split(20)
        shown = [studio.render(w_plus[i], picked(edit, i) if edit else ()) for i in parts]
        return torch.cat([reader.read(each) for each in shown])

    before = read()

    def judged(edit: Edit, wanted: tuple[str, str], attribute: str) -> dict[str, Any]:
        """Of the pictures that lack what is wanted: how many get it, and how many keep the rest."""
        after = read(edit)
        asked, value = reader.index(*wanted)
        column = reader.names.index(attribute)
        todo = before[:, asked] != value
        hidden = (reader.hidden(before) | reader.hidden(after))[:, column]
        same = (before == after)[:, column]
        return {
            "of": attribute,
            "pictures": int(todo.sum()),
            "success": float((after[todo][:, asked] == value).float().mean()),
            "kept": float(same[todo & ~hidden].float().mean()),
        }

    rows: list[dict[str, Any]] = []
    for bank in ("samples", "exact"):
        relevance = studio.bank if bank == "exact" else None
        for prompt, wanted, group, attribute in CASES:
            for preserve in ((), (group,)):
                row = {"bank": bank, "prompt": prompt, "preserve": list(preserve)}
                try:
                    edit = studio.edit(
                        w_plus, prompt, DirectionConfig(), relevance=relevance, preserve=preserve
                    )
                except PromptError as error:
                    rows.append({**row, "of": attribute, "refused": str(error)})
                    continue
                rows.append({**row, **judged(edit, wanted, attribute)})
        prompt, wanted, _, attribute = CASES[0]
        for alpha, beta in product(STRENGTHS, THRESHOLDS):
            config = DirectionConfig(threshold=beta, strength=alpha)
            edit = studio.edit(w_plus, prompt, config, relevance=relevance)
            row = {"bank": bank, "prompt": prompt, "threshold": beta, "strength": alpha}
            rows.append({**row, **judged(edit, wanted, attribute)})
    return {"threads": threads, "machine": machine(), "seed": SEED, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = run(arguments.pictures, arguments.threads)
    for row in found["rows"]:
        kept = " + ".join(row.get("preserve", [])) or "-"
        if "threshold" in row:
            kept = f"{row['strength']:g}, {row['threshold']:g}"
        told = row.get("refused") or f"success {row['success']:.3f}  {row['of']} {row['kept']:.3f}"
        print(f"{row['bank']:8} {row['prompt']:24} {kept:12} {told}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
