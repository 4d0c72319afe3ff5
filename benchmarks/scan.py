"""The preprocessing of global directions: ours beside a word-for-word version of the official loop.

  python benchmarks/scan.py [--threads 2] [--images 100] [--channels 4] [--json FILE] [--check]
Config F at 1024 pixels and a CLIP of ViT-B/32's size, random weights. The official loop renders
each channel of each image twice, one picture at a time, at full size, through PIL. Ours renders in
batches, as large as CLIP needs, shares what lies before a layer, and stops once a direction is
known. Both are timed on a few channels spread over the layers and projected to all channels and
100 images; the time counts only if ours finds the same rows, so those are compared with the rows of
a scan at full size, without the official drift, on the same images.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __package__:
    from benchmarks.literal import LiteralStyleGAN2
    from benchmarks.speed import Settings, machine, random_clip, random_generator
else:  # run as a script
    from literal import LiteralStyleGAN2  # type: ignore[no-redef]
    from speed import Settings, machine, random_clip, random_generator  # type: ignore[no-redef]

RATIO_BAR, RATE_BAR, COSINE_BAR = 15.0, 7.0, 0.95
OFFICIAL_IMAGES = 100


@dataclass(frozen=True)
class Question:
    images: int = OFFICIAL_IMAGES  # each channel is moved in, at most
    channels: int = 4  # that stand for all
    literal_pictures: int = 4  # that the official loop is timed on
    group: int = 10
    batch: int = 20
    cosine: float = 0.98


def run(question: Question, settings: Settings) -> dict[str, Any]:
    """Everything; returns what ``--json`` writes."""
    import torch
    import torch.nn.functional as F

    from styleclip.clip.embedder import ClipEmbedder
    from styleclip.editing.relevance import (
        RelevanceConfig,
        Scan,
        _pictures,
        _pushed_apart,
        known,
        style_statistics,
    )

    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    generator = random_generator(settings)
    embedder = ClipEmbedder(random_clip(settings), tokenizer=None)
    config = RelevanceConfig(
        images=question.images, group=question.group, batch=question.batch, samples=2000,
        cosine=question.cosine,
    )  # fmt: skip
    mean, std = style_statistics(generator, config.samples)
    styles = _pictures(generator, config)
    size = settings.early_resolution
    layout = generator.layout
    conv = layout.columns(lambda layer: layer.kind == "conv")
    seen = layout.columns(lambda layer: layer.kind == "conv" and layer.resolution <= size)
    columns = spread(seen.nonzero().flatten(), question.channels)

    # the official loop, picture by picture
    literal = seconds_of_the_official_loop(
        generator, embedder, styles, mean, std, columns, question, settings
    )

    # ours, to the stop; and beside it all images at full size
    torch.set_flush_denormal(True)
    rows, whole_rows, counts, seconds = [], [], [], 0.0
    for column in columns:
        layer = layer_of(layout, int(column))
        scan = Scan(torch.zeros(1, embedder.width).double(), torch.zeros(1).double(),
                    torch.zeros(1, dtype=torch.int64))  # fmt: skip
        whole = torch.zeros(1, embedder.width).double()
        for group in torch.arange(len(styles)).split(question.group):
            started = time.perf_counter()
            with torch.no_grad():
                prefix = generator.prefix(styles[group], layer)
            shared = time.perf_counter() - started
            place = (styles[group], prefix, column[None], mean, std, config)
            if not bool(known(scan, question.cosine, len(styles))):
                started = time.perf_counter()
                with torch.no_grad():
                    apart = _pushed_apart(generator, embedder, *place, size)
                scan.change += F.normalize(apart, dim=2).double().sum(dim=1)
                scan.images += len(group)
                seconds += time.perf_counter() - started + shared / layer.channels
            with torch.no_grad():
                apart = _pushed_apart(generator, embedder, *place, settings.resolution)
            whole += F.normalize(apart, dim=2).double().sum(dim=1)
        rows.append(F.normalize(scan.change, dim=1)[0])
        whole_rows.append(F.normalize(whole, dim=1)[0])
        counts.append(int(scan.images))
    cosines = [float(a @ b) for a, b in zip(rows, whole_rows, strict=True)]

    # projected to every channel
    ours = seconds / (2 * sum(counts))
    images = sum(counts) / len(counts)
    hours = {
        "official loop": 2 * OFFICIAL_IMAGES * int(conv.sum()) * literal / 3600,
        "ours": 2 * images * int(seen.sum()) * ours / 3600,
    }
    figures = [
        {"name": "pictures a second", "ratio": literal / ours, "wanted": RATE_BAR},
        {"name": "hours of the whole scan", "ratio": hours["official loop"] / hours["ours"],
         "wanted": RATIO_BAR},
        {"name": "mean row cosine", "ratio": sum(cosines) / len(cosines), "wanted": COSINE_BAR},
    ]  # fmt: skip
    return {
        "question": asdict(question), "settings": asdict(settings), "machine": machine(),
        "seconds a picture": {"official loop": literal, "ours": ours},
        "images a channel": counts, "cosines": cosines, "hours": hours, "figures": figures,
    }  # fmt: skip


def seconds_of_the_official_loop(
    generator: Any, embedder: Any, styles: Any, mean: Any, std: Any, columns: Any,
    question: Question, settings: Settings,
) -> float:  # fmt: skip
    """Seconds for one picture: moved, rendered, turned into a PIL image, resized, embedded."""
    import numpy as np
    import torch
    from PIL import Image

    literal = LiteralStyleGAN2(copy.deepcopy(generator))
    torch.set_flush_denormal(False)
    seconds = []
    for i in range(question.literal_pictures + 1):  # the first one warms up
        column = columns[i % len(columns)]
        style = styles[i % len(styles)][None].clone()
        style[:, column] = mean[column] + 5 * std[column] * (-1) ** i
        started = time.perf_counter()
        with torch.no_grad():
            image = literal.synthesis(style)
            pixels = ((image[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().numpy()
            picture = Image.fromarray(pixels).resize((settings.clip_size,) * 2, Image.BICUBIC)
            small = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
            embedder.embed_images(small.float() / 127.5 - 1)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def layer_of(layout: Any, column: int) -> Any:
    """The layer that a column of the style belongs to."""
    for layer in layout:
        if column < layer.channels:
            return layer
        column -= layer.channels
    raise IndexError(column)


def spread(columns: Any, count: int) -> Any:
    """``count`` of the columns, evenly."""
    import torch

    return columns[torch.linspace(0, len(columns) - 1, count).round().long()]


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    hours, seconds = result["hours"], result["seconds a picture"]
    counts = result["images a channel"]
    literal, ours = "official loop", "ours"
    lines = [
        f"{literal}: {seconds[literal]:.2f} s a picture, {hours[literal]:.0f} h for all channels",
        f"{ours}: {seconds[ours]:.2f} s a picture, {hours[ours]:.1f} h for all channels, "
        f"{sum(counts) / len(counts):.0f} images each",
    ]
    for row in result["figures"]:
        missed = "" if row["ratio"] >= row["wanted"] else "   missed"
        lines.append(f"{row['name']:26}{row['ratio']:8.2f}   wanted {row['wanted']:g}{missed}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=OFFICIAL_IMAGES)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    arguments = parser.parse_args()
    question = Question(images=arguments.images, channels=arguments.channels)
    result = run(question, Settings(threads=arguments.threads))
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    missed = any(row["ratio"] < row["wanted"] for row in result["figures"])
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
