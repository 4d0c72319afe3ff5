"""How long a model's channels take to measure, and how well the quick ways agree with the exact.

  python benchmarks/relevance.py [--model portraits] [--threads 2] [--clock wall] [--work FOLDER]
Exact with all images, exact with sequential stopping, by gradient, by samples, by few of them
(instant), and by gradient for one prompt: seconds, mean cosine of rows to the exact ones, and over
the model's vocabulary the rank correlation of R and the overlap of the 50 strongest channels. Half
an hour on two free cores; with ``--work`` the long scan goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

if __package__:
    from benchmarks.speed import machine
else:  # run as a script
    from speed import machine  # type: ignore[no-redef]

TOP = 50
Clock = Callable[[], float]


def run(
    model: str, threads: int, work: Path | None, images: int, prompts: int, clock: Clock
) -> dict[str, Any]:
    """Everything; returns what ``--json`` writes."""
    import torch

    from styleclip.editing.latent_map import LatentMapConfig, measure_latent_map
    from styleclip.editing.relevance import (
        PromptRelevanceConfig,
        RelevanceConfig,
        measure_relevance,
        prompt_relevance,
        relevance_of_map,
    )
    from styleclip.losses import text_direction
    from styleclip.studio import Studio

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    studio = Studio.load(model)
    generator, embedder = studio.generator, studio.embedder
    texts = [text for group in studio.vocabulary.values() for text in group]
    texts = texts[:: max(1, len(texts) // prompts)][:prompts]
    target = embedder.embed_texts(texts)
    directions = text_direction(target, embedder.embed_texts([studio.model.neutral])[0])

    exact = RelevanceConfig(images=images, cosine=None, group=min(10, images))
    started = clock()
    whole, spent = resumed(generator, embedder, exact, work, clock)
    seconds = {"exact, all images": spent + clock() - started}
    found = {"exact, all images": whole}
    for name, config in (
        ("exact, stopping", replace(exact, cosine=RelevanceConfig().cosine)),
        ("gradient", replace(exact, method="gradient")),
    ):
        started = clock()
        found[name] = measure_relevance(generator, embedder, config)
        seconds[name] = clock() - started
    columns = whole.matrix.norm(dim=1) > 0
    wanted = (whole.matrix @ directions.t())[columns]  # [S,P]
    rows = []
    for name, relevance in found.items():
        response = (relevance.matrix @ directions.t())[columns]
        cosine = (relevance.matrix * whole.matrix).sum(dim=1)[columns]
        taken = relevance.images[columns].double().mean()
        rows.append(
            {"name": name, "seconds": seconds[name], "images": float(taken),
             "mean row cosine": float(cosine.mean()), **agreement(response, wanted)}
        )  # fmt: skip
    for name, samples in (("by samples", LatentMapConfig()), ("instant", LatentMapConfig.quick())):
        started = clock()
        latent_map = measure_latent_map(generator, embedder, samples)
        relevance = relevance_of_map(generator, latent_map, whole.mean, whole.std, exact)
        rows.append(
            {"name": name, "seconds": clock() - started,
             "images": float(samples.samples), "mean row cosine": None,
             **agreement((relevance.matrix @ directions.t())[columns], wanted)}
        )  # fmt: skip
    started = clock()
    alone = [
        prompt_relevance(generator, embedder, direction).matrix @ direction
        for direction in directions
    ]
    rows.append(
        {"name": "gradient, a prompt", "seconds": (clock() - started) / len(alone),
         "images": float(PromptRelevanceConfig().images), "mean row cosine": None,
         **agreement(torch.stack(alone, dim=1)[columns], wanted)}
    )  # fmt: skip
    return {
        "model": studio.model.name, "channels": int(columns.sum()), "prompts": len(texts),
        "config": asdict(exact), "threads": threads,
        "clock": "cpu" if clock is time.process_time else "wall", "machine": machine(),
        "rows": rows,
    }  # fmt: skip


def resumed(
    generator: Any, embedder: Any, config: Any, work: Path | None, clock: Clock
) -> tuple[Any, float]:
    """The exact answer, and the seconds that earlier runs have spent on it."""
    from styleclip.checkpoints import load_scan, tensors_hash
    from styleclip.checkpoints.banks import scan_keeper
    from styleclip.editing.relevance import measure_relevance

    if work is None:
        return measure_relevance(generator, embedder, config), 0.0
    work.mkdir(parents=True, exist_ok=True)
    settings = {
        **asdict(config),
        "generator": tensors_hash(generator.state_dict()),
        "clip": tensors_hash(embedder.model.state_dict()),
    }
    path, spent = work / "exact.scan", work / "exact.seconds"
    earlier = float(spent.read_text()) if spent.exists() else 0.0
    started = clock()
    save = scan_keeper(path, settings)

    def keep(scan: Any) -> None:
        save(scan)
        spent.write_text(str(earlier + clock() - started))

    scan = load_scan(path, settings)
    return measure_relevance(generator, embedder, config, None, scan, keep), earlier


def agreement(response: Any, wanted: Any) -> dict[str, float]:
    """R [S,P] beside the exact one: rank correlation and overlap of the strongest, over prompts."""
    import torch

    ranks, overlaps = [], []
    for ours, theirs in zip(response.t(), wanted.t(), strict=True):
        pair = torch.stack([ours.argsort().argsort(), theirs.argsort().argsort()]).double()
        ranks.append(float(torch.corrcoef(pair)[0, 1]))
        best = (
            set(each.abs().topk(min(TOP, len(each))).indices.tolist()) for each in (ours, theirs)
        )
        overlaps.append(len(set.intersection(*best)) / min(TOP, len(ours)))
    count = len(ranks)
    return {"rank correlation of R": sum(ranks) / count, f"overlap of {TOP}": sum(overlaps) / count}


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    names = ("mean row cosine", "rank correlation of R", f"overlap of {TOP}")
    lines = [f"{'':20}{'seconds':>9}{'images':>8}" + "".join(f"{name:>23}" for name in names)]
    for row in result["rows"]:
        figures = "".join(f"{'-':>23}" if row[n] is None else f"{row[n]:23.3f}" for n in names)
        lines.append(f"{row['name']:20}{row['seconds']:9.1f}{row['images']:8.1f}{figures}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="portraits")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--work", type=Path, help="keep the long scan in this folder")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    result = run(
        arguments.model, arguments.threads, arguments.work, arguments.images, arguments.prompts,
        time.process_time if arguments.clock == "cpu" else time.perf_counter,
    )  # fmt: skip
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
