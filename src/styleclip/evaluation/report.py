"""The result as people read it: a Markdown table, an HTML page with a sheet of pictures, JSON.

The sheet shows the first picture that the seed gave to each prompt: drawn at random, not chosen.
"""

from __future__ import annotations

import base64
import html
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip import images as files

Figures = dict[str, Any]
DRAGGED = 8  # rows of the text; all of them stand in the JSON


def schema() -> Figures:
    """The JSON schema of a result."""
    text = (Path(__file__).parent / "schema.json").read_text(encoding="utf-8")
    found: Figures = json.loads(text)
    return found


def write_report(
    result: Figures, sheet: Sequence[tuple[str, list[Tensor]]], titles: Sequence[str], folder: Path
) -> None:
    """Write ``result.json``, ``result.md`` and ``report.html`` into ``folder``."""
    text = as_text(result)
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / "result.md").write_text(text + "\n", encoding="utf-8")
    (folder / "report.html").write_text(as_html(text, sheet, titles), encoding="utf-8")


def as_text(result: Figures) -> str:
    """The figures as Markdown, tables one after the other."""
    settings = result["settings"]
    lines = [
        f"Model {result['name']}, {settings['count']} pictures, seed {settings['seed']}, "
        f"world {settings['world']}; {result['machine']}; commit {result['commit']}",
    ]
    if result["networks"] is not None:
        lines += ["", *_network_lines(result["networks"])]
        lines += ["", _confused(result["networks"]["reader"]["confusion"])]
    for file in dict.fromkeys(row["file"] for row in result["edits"]):
        rows = [row for row in result["edits"] if row["file"] == file]
        lines += ["", f"**Prompts of {file}**", "", *_edit_lines(rows)]
    for row in result["edits"]:
        if row["row"] not in ("nothing", "ceiling"):
            lines += ["", *_prompt_lines(row)]
    for row in result["edits"]:
        if row.get("dragged") and row["row"] not in ("nothing", "ceiling"):
            lines += ["", *_dragged_lines(row)]
    if result.get("left_out"):
        lines += [
            "",
            f"Left out, a network or the truth is missing: {', '.join(result['left_out'])}",
        ]
    if result["unknown_words"]:
        warned = ", ".join(f"{text!r}: {words}" for text, words in result["unknown_words"].items())
        lines += ["", f"Words never trained, and what the user is warned of: {warned}"]
    return "\n".join(lines)


def share(figure: Figures | None) -> str:
    """``86.3% (84.0 to 88.6)``."""
    if figure is None:
        return "–"
    return f"{figure['mean']:.1%} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def _edit_lines(rows: Sequence[Figures]) -> list[str]:
    lines = [
        "| method | edits | success | kept (edit) | worst kept | kept (whole way) | identity "
        "(other, same) | KID reader (inversions) | KID random (inversions) | order | outside / "
        "inside | s an edit, median (p95) | s before | peak memory |",
        "|---" * 14 + "|",
    ]
    for row in rows:
        kept, whole, who = row["kept"], row.get("kept_truth"), row.get("identity")
        cells = [
            row["row"],
            str(row["edits"]),
            share(row["success"]),
            share(kept["mean"]),
            f"{kept['worst']} {kept['worst_share']:.1%}" if kept["worst"] else "–",
            share(whole["mean"]) if whole else "–",
            " ".join(f"{figure['mean']:.2f}" if figure else "–" for figure in who.values())
            if who else "–",
            *(
                f"{row['kid'][space]['edited']:.3f} ({row['kid'][space]['inversions']:.3f})"
                if "kid" in row else "–"
                for space in ("reader", "random")
            ),
            f"{row['order']['mean']:.2f}" if row["order"] else "–",
            " / ".join(_number(row["outside"][part]) for part in ("outside", "inside"))
            if "outside" in row else "–",
            f"{row['seconds']['median']:.2f} ({row['seconds']['p95']:.2f})",
            f"{row['seconds']['preparation']:.1f}",
            f"{row['peak_memory_bytes'] / 2**30:.1f} GiB",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _confused(tables: dict[str, list[list[int]]]) -> str:
    """The reader's confusion matrices in a sentence: what lies off their diagonals."""
    total = sum(sum(map(sum, table)) for table in tables.values())
    wrong = {
        name: sum(n for i, row in enumerate(table) for j, n in enumerate(row) if i != j)
        for name, table in tables.items()
    }
    named = ", ".join(f"{name} {count}" for name, count in wrong.items() if count)
    return (
        f"The judge's confusion matrices on renders: {sum(wrong.values())} of {total} values are "
        f"off the diagonals{f' ({named})' if named else ''}; they stand in result.json."
    )


def _number(figure: Figures | None) -> str:
    return "–" if figure is None else f"{figure['mean']:.4f}"


def _prompt_lines(row: Figures) -> list[str]:
    lines = [
        f"| {row['row']}, {row['file']}: prompt | judged | success | kept |",
        "|---|---|---|---|",
    ]
    for prompt in row["prompts"]:
        success = "–" if prompt["success"] is None else f"{prompt['success']:.0%}"
        kept = "–" if prompt["kept"] is None else f"{prompt['kept']:.1%}"
        lines.append(f"| {prompt['text']} | {prompt['judged']} | {success} | {kept} |")
    return lines


def _dragged_lines(row: Figures) -> list[str]:
    ranked = sorted(row["dragged"], key=lambda each: -abs(each["more_often"]["mean"]))[:DRAGGED]
    title = f"{row['row']}, {row['file']}"
    lines = [
        f"| {title}: asked | most dragged | factor in the world | more often |",
        "|---|---|---|---|",
    ]
    for each in ranked:
        figure = each["more_often"]
        more, low, high = (f"{100 * figure[part]:+.1f}" for part in ("mean", "low", "high"))
        lines.append(
            f"| {each['asked']} | {each['partner']} | {each['factor']:g} | {more} points "
            f"({low} to {high}, {figure['count']} edits) |"
        )
    return lines


def _network_lines(networks: Figures) -> list[str]:
    lines = ["| network | figure | value |", "|---|---|---|"]

    def add(network: str, figure: str, value: str) -> None:
        lines.append(f"| {network} | {figure} | {value} |")

    def right(network: str, figure: str, value: Figures) -> None:
        worst = f"{value['worst']} {value['worst_share']:.1%}"
        add(network, figure, f"mean {value['mean']:.1%}, worst {worst}")

    right("reader", "read correctly on renders", networks["reader"]["on renders"])
    drawn = networks["generator"]
    gap = drawn["shares"]
    add("generator", f"shares of {drawn['samples']} samples, largest gap",
        f"{gap['worst']} {100 * gap['worst_gap']:.1f} points")  # fmt: skip
    gap = drawn["associations"]
    add("generator", "Cramér's V of correlated pairs, largest gap",
        f"{gap['worst']} {gap['worst_gap']:.3f}")  # fmt: skip
    add("generator", "reader's confidence on samples, of that on renders",
        f"{drawn['confidence']['ratio']:.3f}")  # fmt: skip
    add("generator", f"PSNR of {drawn['inversions']} inversions in one pass, median",
        f"{drawn['inversion PSNR (median dB)']:.1f} dB")  # fmt: skip
    for space, pair in drawn["kid"].items():
        add("generator", f"KID, {space} features: samples (two halves of the data)",
            f"{pair['samples']:.4f} ({pair['two halves of the data']:.4f})")  # fmt: skip
    clip = networks["clip"]
    right("CLIP", "zero-shot on renders", clip["zero-shot on renders"])
    right("CLIP", "agreement with the reader on samples",
          clip["agreement with the reader on samples"])  # fmt: skip
    found = clip["retrieval"]
    picture, caption = found["picture from caption R@1"], found["caption from picture R@1"]
    add("CLIP", f"R@1 of {found['pool']} ({found['captions']} captions): picture, caption",
        f"{picture:.0%}, {caption:.0%}")  # fmt: skip
    for how, value in networks["encoder"].items():
        right("encoder", f"unchanged, {how} ({value['PSNR (median dB)']:.1f} dB)",
              value["unchanged"])  # fmt: skip
    if "identity" in networks:
        who = networks["identity"]
        add("identity", f"verification AUC, {who['persons']} unseen persons", f"{who['AUC']:.4f}")
    return lines


def as_html(text: str, sheet: Sequence[tuple[str, list[Tensor]]], titles: Sequence[str]) -> str:
    """One page without any other file: the tables, then the sheet."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in ["prompt", *titles])
    rows = []
    for prompt, tiles in sheet:
        cells = "".join(f'<td><img src="{_data(tile)}" alt=""></td>' for tile in tiles)
        rows.append(f"<tr><td>{html.escape(prompt)}</td>{cells}</tr>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        "<style>body{font:15px system-ui;margin:2em;max-width:110em}table{border-collapse:collapse;"
        "margin:1em 0}td,th{border-bottom:1px solid #ddd;padding:.3em .6em;text-align:left}"
        "img{width:112px;display:block;border-radius:6px}</style>"
        f"<h1>Evaluation</h1>{_tables(text)}"
        "<h2>Drawn at random</h2><p>The first picture that the seed gave to each prompt.</p>"
        f"<table><tr>{head}</tr>{''.join(rows)}</table></html>\n"
    )


def _tables(text: str) -> str:
    """The Markdown that ``as_text`` writes, as HTML: paragraphs and tables, nothing else."""
    parts: list[str] = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if not lines[0].startswith("|"):
            parts.append(f"<p>{html.escape(block).replace('**', '')}</p>")
            continue
        rows = [line.strip("|").split("|") for line in lines if not line.startswith("|---")]
        cells = [
            "".join(f"<t{kind}>{html.escape(cell.strip())}</t{kind}>" for cell in row)
            for kind, row in zip(["h", *"d" * (len(rows) - 1)], rows, strict=True)
        ]
        parts.append("<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>")
    return "".join(parts)


def _data(image: Tensor) -> str:
    return "data:image/png;base64," + base64.b64encode(files.png_bytes(image[None])).decode()


def machine() -> str:
    """What the figures were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{device}, torch {torch.__version__}"
    )


def commit() -> str:
    """The commit of the checkout this code lies in; "unknown" outside one."""
    place = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(place), "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
