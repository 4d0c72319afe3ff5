"""The preprocessing of global directions: ours beside a word-for-word version of the official loop.

  python benchmarks/scan.py [--threads 2] [--channels 6] [--json FILE] [--check]
What a picture costs: config F at 1024 pixels and a CLIP of ViT-B/32's size, random weights. The
official loop renders one picture at a time, at full size, through PIL. Ours renders in batches, as
large as CLIP needs, shares what lies before a layer, and takes the slopes of all pictures as a
guide (counted in); it is timed in channels spread over the layers. How many pictures a channel
needs, and whether ours finds the rows of a scan at full size of all pictures without the official
drift, is asked of a trained model: in a network of random weights the last layers are no fine
detail, so a smaller picture is another picture there. Both sides are projected to the same
channels, those that a picture of CLIP's size has.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
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
    channels: int = 6  # that stand for all in what a picture costs
    rounds: int = 3  # in each of which every channel is timed both ways, one after the other
    batch: int = 20  # pictures at once
    model: str = "portraits"  # a trained one
    rows: int = 48  # channels of it whose rows are compared
    cosine: float = 0.98  # at which a channel is done, as with `styleclip directions measure`


def run(question: Question, settings: Settings) -> dict[str, Any]:
    """Everything; returns what ``--json`` writes."""
    import torch

    from styleclip.clip.embedder import ClipEmbedder
    from styleclip.editing.relevance import style_statistics

    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    generator = random_generator(settings)
    embedder = ClipEmbedder(random_clip(settings), tokenizer=None)
    mean, std = style_statistics(generator, 2000)
    style = generator.affine(
        generator.truncate(generator.sample_w(question.batch // 2, torch.Generator()), 0.7)
    ).detach()
    size = settings.early_resolution
    seen = generator.layout.columns(lambda layer: layer.kind == "conv" and layer.resolution <= size)
    columns = spread(seen.nonzero().flatten(), question.channels)
    loop = OfficialLoop(generator, embedder, style, mean, std, settings)
    batches = OurBatches(generator, embedder, style, mean, std, settings, question.batch)
    rounds = seconds_of_rounds((loop.seconds, batches.seconds), columns.tolist(), question.rounds)
    literal, ours = (statistics.median(way) for way in zip(*rounds, strict=True))
    slope = seconds_of_slopes(generator, embedder, style, settings)
    images, cosines = rows_of_a_trained_model(question)
    channels = int(seen.sum())
    hours = {
        "official loop": 2 * OFFICIAL_IMAGES * channels * literal / 3600,
        "ours": (2 * images * channels * ours + OFFICIAL_IMAGES * slope) / 3600,
    }
    figures = [
        {"name": "pictures a second", "ratio": literal / ours, "wanted": RATE_BAR},
        {"name": "hours of the whole scan", "ratio": hours["official loop"] / hours["ours"],
         "wanted": RATIO_BAR},
        {"name": "mean row cosine", "ratio": sum(cosines) / len(cosines), "wanted": COSINE_BAR},
    ]  # fmt: skip
    return {
        "question": asdict(question), "settings": asdict(settings), "machine": machine(),
        "channels": channels, "seconds a picture": {"official loop": literal, "ours": ours},
        "pictures a second of each round": [theirs / own for theirs, own in rounds],
        "seconds of a picture's slopes": slope,
        "images a channel": images, "lowest row cosine": min(cosines), "hours": hours,
        "figures": figures,
    }  # fmt: skip


def rows_of_a_trained_model(question: Question) -> tuple[float, list[float]]:
    """Pictures that a channel needs, and the cosines of its row to that of the whole scan."""
    import torch
    import torch.nn.functional as F

    from styleclip.editing.latent_map import enough_resolution
    from styleclip.editing.relevance import (
        RelevanceConfig,
        _pictures,
        style_statistics,
    )
    from styleclip.editing.scan import (
        Guide,
        Scan,
        embedding_basis,
        in_common,
        known,
        pushed_apart,
        row_means,
    )
    from styleclip.editing.slopes import embedding_slopes
    from styleclip.studio import Studio

    torch.set_flush_denormal(True)
    studio = Studio.load(question.model)
    generator, embedder = studio.generator, studio.embedder
    config = RelevanceConfig(images=question.images, cosine=question.cosine)
    mean, std = style_statistics(generator, config.samples, config.seed, config.truncation)
    styles = _pictures(generator, config)
    size = enough_resolution(generator, embedder)
    seen = generator.layout.columns(lambda layer: layer.kind == "conv" and layer.resolution <= size)
    columns = spread(seen.nonzero().flatten(), question.rows)
    basis = embedding_basis(generator, embedder, styles, config, size)
    slopes = torch.cat([
        F.normalize(
            embedding_slopes(generator, embedder, part, basis, size)[:, :, columns], dim=0
        ).permute(1, 2, 0)
        for part in styles.split(config.group)
    ])  # fmt: skip
    counts, cosines = [], []
    for number, column in enumerate(columns):
        layer = layer_of(generator.layout, int(column))
        guide = Guide.of(basis, slopes[:, number : number + 1], config.group)
        whole, scan = torch.zeros(1), Scan.begin(1, basis.shape[1])
        for group in torch.arange(len(styles)).split(config.group):
            with torch.no_grad():
                prefix = generator.prefix(styles[group], layer)
                turned, at_full_size = (
                    in_common(
                        pushed_apart(generator, embedder, styles[group], prefix, column[None],
                                     mean, std, config, resolution)
                    )[0]
                    for resolution in (size, generator.resolution)
                )  # fmt: skip
            whole = whole + at_full_size.sum(dim=1)
            if not bool(known(scan, question.cosine, len(styles), guide)):
                scan.change += turned.sum(dim=1)
                scan.along += guide.along(turned, group, torch.zeros(1).long())
                scan.images += len(group)
        counts.append(int(scan.images))
        cosines.append(float(F.cosine_similarity(row_means(scan, guide)[0], whole)))
    return sum(counts) / len(counts), cosines


def seconds_of_rounds(
    ways: Sequence[Callable[[int], float]], columns: Sequence[int], rounds: int
) -> list[list[float]]:
    """[rounds][ways]: mean seconds of a picture over the columns. A noisy minute meets all ways."""
    for way in ways:
        way(columns[0])  # warms up
    found = []
    for _ in range(rounds):
        seconds = [[way(column) for way in ways] for column in columns]
        found.append([statistics.mean(way) for way in zip(*seconds, strict=True)])
    return found


@dataclass(frozen=True)
class OurBatches:
    """Pictures from the layer of the column on, many at once, as large as CLIP needs."""

    generator: Any
    embedder: Any
    style: Any
    mean: Any
    std: Any
    settings: Settings
    batch: int

    def seconds(self, column: int) -> float:
        """Seconds for one picture, with its part of the prefix that a layer's channels share."""
        import torch

        from styleclip.editing.relevance import RelevanceConfig
        from styleclip.editing.scan import pushed_apart

        torch.set_flush_denormal(True)
        clock = clock_of(self.settings)
        layer = layer_of(self.generator.layout, column)
        started = clock()
        with torch.no_grad():
            prefix = self.generator.prefix(self.style, layer)
        shared = (clock() - started) / layer.channels
        started = clock()
        with torch.no_grad():
            pushed_apart(
                self.generator, self.embedder, self.style, prefix, torch.tensor([column]),
                self.mean, self.std, RelevanceConfig(batch=self.batch),
                self.settings.early_resolution,
            )  # fmt: skip
        return (clock() - started + shared) / (2 * len(self.style))


class OfficialLoop:
    """One picture: moved, rendered at full size, turned into a PIL image, resized, embedded."""

    def __init__(
        self, generator: Any, embedder: Any, style: Any, mean: Any, std: Any, settings: Settings
    ) -> None:
        self.literal = LiteralStyleGAN2(copy.deepcopy(generator))
        self.embedder = embedder
        self.style, self.mean, self.std = style, mean, std
        self.settings = settings

    def seconds(self, column: int) -> float:
        """Seconds for one picture."""
        import numpy as np
        import torch
        from PIL import Image

        torch.set_flush_denormal(False)
        clock = clock_of(self.settings)
        moved = self.style[:1].clone()
        moved[:, column] = self.mean[column] + 5 * self.std[column]
        started = clock()
        with torch.no_grad():
            image = self.literal.synthesis(moved)
            pixels = ((image[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).byte().numpy()
            size = self.settings.clip_size, self.settings.clip_size
            picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
            small = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
            self.embedder.embed_images(small.float() / 127.5 - 1)
        return clock() - started


def clock_of(settings: Settings) -> Callable[[], float]:
    """Of this process's work, or of the wall."""
    return time.process_time if settings.clock == "cpu" else time.perf_counter


def seconds_of_slopes(generator: Any, embedder: Any, style: Any, settings: Settings) -> float:
    """Seconds for the slopes of all channels in one picture, one backward pass a component."""
    import torch

    from styleclip.editing.relevance import RelevanceConfig
    from styleclip.editing.slopes import embedding_slopes

    clock = clock_of(settings)
    width = embedder.embed_pixels(torch.zeros(1, 3, *[settings.clip_size] * 2)).shape[1]
    basis = torch.eye(width)[: RelevanceConfig().components]
    started = clock()
    embedding_slopes(generator, embedder, style[:1], basis, settings.early_resolution)
    return clock() - started


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
    literal, ours = "official loop", "ours"
    lines = [
        f"{literal}: {seconds[literal]:.2f} s a picture, {hours[literal]:.0f} h for "
        f"{result['channels']} channels",
        f"{ours}: {seconds[ours]:.2f} s a picture, {hours[ours]:.1f} h, "
        f"{result['images a channel']:.0f} images a channel",
    ]
    for row in result["figures"]:
        missed = "" if row["ratio"] >= row["wanted"] else "   missed"
        lines.append(f"{row['name']:26}{row['ratio']:8.2f}   wanted {row['wanted']:g}{missed}")
    rates = result["pictures a second of each round"]
    lines.append(f"pictures a second, round by round: {', '.join(f'{rate:.2f}' for rate in rates)}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--channels", type=int, default=Question.channels)
    parser.add_argument("--rows", type=int, default=Question.rows)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    arguments = parser.parse_args()
    question = Question(channels=arguments.channels, rows=arguments.rows)
    result = run(question, Settings(threads=arguments.threads, clock=arguments.clock))
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    missed = any(row["ratio"] < row["wanted"] for row in result["figures"])
    return 1 if arguments.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
