"""Seconds and memory of reading a generator out of a training checkpoint of full size.

  python benchmarks/reading.py [--repeats 3] [--json FILE] [--check]
Config F at 1024 pixels, random weights, as rosinality's .pt (with generator, discriminator and both
optimisers beside the average network) and as NVIDIA's .pkl (G, D and G_ema); about 1.2 GB in a
temporary folder and a minute. Every figure is measured in a process of its own, with the file in
the cache. ``--check`` fails if a bar is missed: twice the seconds of reading the file's bytes plus
2 s, and 1.3 times the generator's size above what the imports take.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    from benchmarks.speed import machine
except ImportError:  # run as a script
    from speed import machine  # type: ignore[no-redef]

LAYOUTS = ("rosinality", "nvidia")
SLOWER, GRACE = 2.0, 2.0  # times the seconds of the bytes, and seconds on top
MEMORY_BAR = 1.3  # times the generator's size


@dataclass(frozen=True)
class Settings:
    """The full size; tests take a smaller one."""

    resolution: int = 1024
    repeats: int = 3


def run(settings: Settings, folder: Path) -> dict[str, Any]:
    """Write and measure both layouts in fresh processes; returns what ``--json`` writes."""
    rows = []
    for layout in LAYOUTS:
        file = folder / layout
        in_a_process("write", layout, file, settings)
        bytes_alone = in_a_process("bytes", layout, file, settings)
        ours = [in_a_process("load", layout, file, settings) for _ in range(settings.repeats)]
        seconds = min(each["seconds"] for each in ours)
        grown = max(each["grown_mb"] for each in ours)
        size = ours[0]["network_mb"]
        wanted = SLOWER * bytes_alone["seconds"] + GRACE
        rows += [
            {"name": f"{layout}, seconds", "file_mb": file.stat().st_size / 1e6, "value": seconds,
             "of": bytes_alone["seconds"], "ratio": seconds / bytes_alone["seconds"],
             "most": wanted},
            {"name": f"{layout}, megabytes", "file_mb": file.stat().st_size / 1e6, "value": grown,
             "of": size, "ratio": grown / size, "most": MEMORY_BAR * size},
        ]  # fmt: skip
        file.unlink()
    return {"settings": asdict(settings), "machine": machine(), "rows": rows}


def in_a_process(task: str, layout: str, file: Path, settings: Settings) -> dict[str, float]:
    """``measure`` in a fresh interpreter, so that peaks of memory are its own."""
    arguments = ["--measure", task, layout, str(file), json.dumps(asdict(settings))]
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(task: str, layout: str, file: Path, settings: Settings) -> dict[str, float]:
    """One figure: "write" the file, read its "bytes", or "load" the generator in it."""
    if task == "write":
        write(layout, file, settings)
        return {}
    read_bytes(file)  # into the cache
    if task == "bytes":
        started = time.perf_counter()
        read_bytes(file)
        return {"seconds": time.perf_counter() - started}
    from styleclip.checkpoints import load_generator

    before = peak_mb()
    started = time.perf_counter()
    generator = load_generator(file)
    seconds = time.perf_counter() - started
    grown = peak_mb() - before
    tensors = generator.state_dict().values()
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6
    return {"seconds": seconds, "grown_mb": grown, "network_mb": size}


def read_bytes(file: Path) -> None:
    """All bytes of a file, a megabyte at a time."""
    part = bytearray(1 << 20)
    with file.open("rb", buffering=0) as stream:
        while stream.readinto(part):
            pass


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, on macOS bytes
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


# --- the files ----------------------------------------------------------------


def write(layout: str, file: Path, settings: Settings) -> None:
    """A training checkpoint in the names, types and containers of the public ones."""
    import torch

    from styleclip.checkpoints import keymap, stylegan2_nvidia, stylegan2_rosinality
    from styleclip.generators.stylegan2 import StyleGAN2, StyleGAN2Config

    torch.manual_seed(0)
    config = StyleGAN2Config.config_f(settings.resolution)
    module = stylegan2_rosinality if layout == "rosinality" else stylegan2_nvidia
    network = keymap.invert(module.rules(config), StyleGAN2(config).state_dict())
    other = {f"layers.{i}.weight": torch.randn(tensor.shape)
             for i, tensor in enumerate(network.values())}  # fmt: skip
    if layout == "nvidia":
        file.write_bytes(nvidia_pickle({"G": network, "D": other, "G_ema": network}, {}))
        return
    average = network.pop("latent_avg")
    moments = {i: {"step": torch.tensor(7.0), "exp_avg": torch.zeros_like(tensor),
                   "exp_avg_sq": torch.ones_like(tensor)}
               for i, tensor in enumerate(other.values())}  # fmt: skip
    optimiser = {"state": moments, "param_groups": [{"lr": 0.002, "params": list(moments)}]}
    copy = {key: tensor.clone() for key, tensor in network.items()}
    torch.save(
        {"g": copy, "d": other, "g_ema": network, "g_optim": optimiser, "d_optim": optimiser,
         "latent_avg": average, "ada_aug_p": 0.0},
        file,
    )  # fmt: skip


def nvidia_pickle(
    networks: dict[str, dict[str, Any]], settings: dict[str, Any], protocol: int = 4
) -> bytes:
    """A pickle of NVIDIA's persistent objects, from flat {dotted name: tensor} of each network.

    ``settings`` are attributes of the modules, by dotted name, the same in each network.
    """
    with nvidia_names():
        contents: dict[str, Any] = {
            name: nvidia_module(tensors, settings) for name, tensors in networks.items()
        }
        contents |= {"training_set_kwargs": {"path": "x.zip"}, "augment_pipe": None}
        return pickle.dumps(contents, protocol)


def nvidia_module(tensors: dict[str, Any], settings: dict[str, Any], name: str = "") -> Any:
    """The module whose parameters, buffers, attributes and children are called so."""
    import torch

    own = {key: value for key, value in tensors.items() if "." not in key}
    children = list(dict.fromkeys(key.split(".")[0] for key in tensors if "." in key))
    buffers = {key for key in own if key in ("w_avg", "resample_filter", "noise_const")}
    buffers |= {key for key, value in own.items() if not _can_learn(value)}
    state: dict[str, Any] = {key: value for key, value in settings.items() if "." not in key}
    state |= {
        "training": False,
        "_parameters": {
            key: torch.nn.Parameter(value) for key, value in own.items() if key not in buffers
        },
        "_buffers": {key: value for key, value in own.items() if key in buffers},
        "_non_persistent_buffers_set": set(),
        "_modules": {
            child: nvidia_module(_below(tensors, child), _below(settings, child), child)
            for child in children
        },
    }
    return _Persistent(
        {"type": "class", "version": 6, "module_src": "# none", "class_name": name, "state": state}
    )


def _can_learn(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _below(entries: dict[str, Any], name: str) -> dict[str, Any]:
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in entries.items() if k.startswith(start)}


class _Persistent:
    """Pickles as a call of a function that does not exist here."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description

    def __reduce__(self) -> tuple[Any, ...]:
        function = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
        return function, (self.description,)


@contextmanager
def nvidia_names() -> Iterator[None]:
    """While pickling, the name of NVIDIA's function can be found."""

    def _reconstruct_persistent_obj(description: Any) -> None:
        raise NotImplementedError

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    package, module = ModuleType("torch_utils"), ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    package.persistence = module  # type: ignore[attr-defined]
    sys.modules |= {"torch_utils": package, "torch_utils.persistence": module}
    try:
        yield
    finally:
        del sys.modules["torch_utils"], sys.modules["torch_utils.persistence"]


# --- the report ---------------------------------------------------------------


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'':24}{'file MB':>9}{'ours':>9}{'of':>9}{'ratio':>9}{'at most':>9}"]
    for row in result["rows"]:
        figures = f"{row['file_mb']:9.0f}{row['value']:9.2f}{row['of']:9.2f}{row['ratio']:7.2f} x"
        end = "" if reached(row) else "   missed"
        lines.append(f"{row['name']:24}{figures}{row['most']:9.2f}{end}")
    return "\n".join(lines)


def reached(row: dict[str, Any]) -> bool:
    return bool(row["value"] <= row["most"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="fail if a bar is missed")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        task, layout, file, settings = arguments.measure
        print(json.dumps(measure(task, layout, Path(file), Settings(**json.loads(settings)))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = run(Settings(arguments.resolution, arguments.repeats), Path(folder))
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    return int(arguments.check and not all(map(reached, result["rows"])))


if __name__ == "__main__":
    sys.exit(main())
