"""Seconds and memory of our StyleGAN2 and of an optimisation step, against a word-for-word version.

  python benchmarks/speed.py [--threads 2] [--repeats 3] [--clock wall] [--json FILE] [--check]
Config F at 1024 pixels and a CLIP of ViT-B/32's size, random weights, one picture. Every row is
measured in a process of its own, the slow version (``literal.py``) in the same run. Three to ten
minutes on two free cores; where others use them, ``--threads 1 --clock cpu`` counts this work's
seconds alone. ``--check`` fails if a bar is missed: a full synthesis 1.7 times faster,
one through 256 pixels 5.5 times, a step 7 times, in at most 45 % of the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

# row: (what it times in the slow version, in ours, the ratio that is wanted)
ROWS = {
    "synthesis": ("synthesis", "synthesis", 1.7),
    "synthesis, early stop": ("synthesis", "early", 5.5),
    "optimisation step": ("step", "step", 7.0),
}
MEMORY_BAR = 0.45  # of the slow version's peak, in an optimisation step


@dataclass(frozen=True)
class Settings:
    """The full size; tests take a smaller one."""

    resolution: int = 1024
    early_resolution: int = 256
    clip_size: int = 224
    clip_layers: int = 12
    clip_width: int = 768
    clip_patch: int = 32
    threads: int = 2
    repeats: int = 3
    clock: str = "wall"  # or "cpu": seconds of work, waiting for a core not counted


def run(settings: Settings) -> dict[str, Any]:
    """Measure everything, each in a fresh process; returns what ``--json`` writes."""
    measured = {
        f"{side} {task}": in_a_process(side, task, settings)
        for side, tasks in (("literal", ("synthesis", "step")), ("ours", OURS))
        for task in tasks
    }
    rows = []
    for name, (slow, fast, wanted) in ROWS.items():
        literal, ours = measured[f"literal {slow}"], measured[f"ours {fast}"]
        seconds = {"literal": literal["seconds"], "ours": ours["seconds"]}
        ratio = literal["seconds"] / ours["seconds"]
        rows.append({"name": name, "unit": "s", **seconds, "ratio": ratio, "wanted": wanted})
    literal, ours = (measured[f"{side} step"]["peak_gb"] for side in ("literal", "ours"))
    memory = {"name": "memory of a step", "unit": "GB", "literal": literal, "ours": ours}
    rows.append(memory | {"ratio": ours / literal, "wanted": MEMORY_BAR})
    return {"settings": asdict(settings), "machine": machine(), "rows": rows}


OURS = ("synthesis", "early", "step")


def in_a_process(side: str, task: str, settings: Settings) -> dict[str, float]:
    """``measure`` in a fresh interpreter, so that peaks of memory are its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(settings.threads)}
    command = [sys.executable, __file__, "--measure", side, task, json.dumps(asdict(settings))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(side: str, task: str, settings: Settings) -> dict[str, float]:
    """The best of the repeats after one that warms up, and the peak of resident memory."""
    import torch

    torch.set_num_threads(settings.threads)
    torch.set_flush_denormal(side == "ours")  # as the command line does; the original does not
    torch.manual_seed(0)
    prepared = prepare_literal if side == "literal" else prepare_ours
    work = prepared(task, settings)
    clock = time.process_time if settings.clock == "cpu" else time.perf_counter
    seconds = []
    for _ in range(settings.repeats + 1):
        started = clock()
        work()
        seconds.append(clock() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, on macOS bytes
    peak_gb = peak / (1e9 if sys.platform == "darwin" else 1e6)
    return {"seconds": min(seconds[1:]), "peak_gb": peak_gb}


def prepare_ours(task: str, settings: Settings) -> Callable[[], None]:
    """One picture with the library, as its optimiser does it."""
    import torch

    from styleclip.clip.embedder import ClipEmbedder

    generator = random_generator(settings)
    w_plus = start(generator)
    if task != "step":
        size = settings.resolution if task == "synthesis" else settings.early_resolution

        @torch.no_grad()
        def render() -> None:
            generator.synthesis(generator.affine(w_plus), resolution=size)

        return render
    embedder = ClipEmbedder(random_clip(settings), tokenizer=None)
    target = unit_vector(embedder.width)
    latents = w_plus.clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=0.1)

    def step() -> None:
        adam.zero_grad()
        style = generator.affine(latents)
        image = generator.synthesis(style, resolution=settings.early_resolution)
        distance = 1 - embedder.embed_images(image) @ target
        (distance.sum() + 0.008 * (latents - w_plus).square().sum()).backward()
        adam.step()

    return step


def prepare_literal(task: str, settings: Settings) -> Callable[[], None]:
    """One picture word for word, as the original scripts do it."""
    import torch
    import torch.nn.functional as F

    try:
        from benchmarks.literal import LiteralStyleGAN2, clip_pixels
    except ImportError:  # run as a script
        from literal import LiteralStyleGAN2, clip_pixels  # type: ignore[no-redef]

    generator = random_generator(settings)
    w_plus = start(generator)
    literal = LiteralStyleGAN2(generator)
    if task != "step":

        @torch.no_grad()
        def render() -> None:
            literal.synthesis(literal.affine(w_plus))

        return render
    clip = random_clip(settings).requires_grad_(True)
    target = unit_vector(clip.config.projection_dim)
    latents = w_plus.clone().requires_grad_()
    adam = torch.optim.Adam([latents], lr=0.1)

    def step() -> None:
        adam.zero_grad()
        image = literal.synthesis(literal.affine(latents))
        pixels = clip_pixels(image, settings.clip_size)
        features = clip.get_image_features(pixel_values=pixels).pooler_output
        distance = 1 - F.normalize(features, dim=-1) @ target
        (distance.sum() + 0.008 * (latents - w_plus).square().sum()).backward()
        adam.step()

    return step


def random_generator(settings: Settings) -> Any:
    """Config F with random weights and noise that shows."""
    from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config

    generator = StyleGAN2(StyleGAN2Config.config_f(settings.resolution))
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.1)
    return generator.eval().requires_grad_(False)


def random_clip(settings: Settings) -> Any:
    """A CLIP with random weights: ViT-B/32's image tower, and next to no text tower."""
    from transformers import CLIPConfig, CLIPModel

    width, layers = settings.clip_width, settings.clip_layers
    vision = {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
        "num_attention_heads": width // 64, "image_size": settings.clip_size,
        "patch_size": settings.clip_patch,
    }  # fmt: skip
    text = {"num_hidden_layers": 1, "vocab_size": 64, "eos_token_id": 63, "bos_token_id": 62}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).eval()


def start(generator: Any) -> Any:
    import torch

    with torch.no_grad():
        return generator.truncate(generator.mapping(torch.randn(1, generator.z_dim)), psi=0.7)


def unit_vector(width: int) -> Any:
    import torch

    vector = torch.randn(width)
    return vector / vector.norm()


def machine() -> dict[str, str]:
    """What the figures were measured on and with, and how busy it was."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    packages = {name: version(name) for name in ("torch", "transformers")}
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "system": platform.platform(),
        "python": platform.python_version(),
        **packages,
    }


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'':24}{'literal':>10}{'ours':>10}{'ratio':>9}{'wanted':>9}"]
    for row in result["rows"]:
        form = "{:.0%}".format if row["unit"] == "GB" else "{:.1f} x".format
        figures = f"{row['literal']:8.2f} {row['unit']:2}{row['ours']:7.2f} {row['unit']:2}"
        lines.append(
            f"{row['name']:23}{figures}{form(row['ratio']):>9}{form(row['wanted']):>9}"
            + ("" if reached(row) else "   missed")
        )
    return "\n".join(lines)


def reached(row: dict[str, Any]) -> bool:
    less = row["unit"] == "GB"
    return bool(row["ratio"] <= row["wanted"] if less else row["ratio"] >= row["wanted"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        side, task, settings = arguments.measure
        print(json.dumps(measure(side, task, Settings(**json.loads(settings)))))
        return 0
    result = run(
        Settings(
            resolution=arguments.resolution,
            early_resolution=min(256, arguments.resolution),
            threads=arguments.threads,
            repeats=arguments.repeats,
            clock=arguments.clock,
        )
    )
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(arguments.check and not all(map(reached, result["rows"])))


if __name__ == "__main__":
    sys.exit(main())
