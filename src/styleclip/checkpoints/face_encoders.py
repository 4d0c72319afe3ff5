"""ArcFace, e4e and pSp in the layout of the public files, and a generator inside the latter two.

  IR-SE50 .pth   {"input_layer.0.weight": ..., "body.0.res_layer.1.weight": ..., "output_layer...."}
  e4e, pSp .pt   {"state_dict": {"encoder.body...": ..., "decoder.conv1...": ...}, "latent_avg": w,
                  "opts": how it was trained}
All architecture follows from shapes but one thing: the entries of e4e and of pSp are the same, and
only ``opts.encoder_type`` says whether rows are offsets from row 0. Evidence: e4e at 1024 pixels
and ArcFace agree with reference outputs (that ArcFace lacks output_layer.4's weight and bias, which
the public file has); everything else was tried only on files that this project wrote.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from styleclip.checkpoints.keymap import Rule
from styleclip.errors import CheckpointError
from styleclip.faces.arcface import ArcFaceConfig
from styleclip.faces.irse import TrunkConfig
from styleclip.inversion.e4e import PyramidConfig

Method = Literal["e4e", "psp"]
METHODS: dict[str, Method] = {"Encoder4Editing": "e4e", "GradualStyleEncoder": "psp"}
COUNTERS = r"(.*\.)?num_batches_tracked"  # of training; frozen normalisation counts nothing
DROPPED: dict[str, Tensor | None] = {COUNTERS: None}
AVERAGE = "latent_avg"
# what asking entries for shapes can raise, where they are missing, no tensors, or of other shapes
UNTOLD = (KeyError, IndexError, AttributeError, TypeError, ValueError, ZeroDivisionError)


def recognises_identity(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of an ArcFace file."""
    return "input_layer.0.weight" in contents


def recognises_encoder(contents: Mapping[str, Any]) -> bool:
    """Whether these are the contents of an e4e or pSp file."""
    return any(str(key).startswith("encoder.") for key in _entries(contents))


def decoder(contents: Mapping[str, Any]) -> dict[str, Any] | None:
    """The generator inside an e4e, pSp or mapper file, as a rosinality file; None without one."""
    state = {
        key.removeprefix("decoder."): value
        for key, value in _entries(contents).items()
        if key.startswith("decoder.")
    }
    if not state:
        return None
    average = contents.get(AVERAGE)
    if isinstance(average, Tensor) and average.ndim == 2:
        average = average[0]  # these files may repeat it for every row
    return {"g_ema": state} | ({} if average is None else {AVERAGE: average})


def of_decoder(names: list[str]) -> list[str]:
    """What to read of such a file for its generator; everything, where there is none."""
    found = [name for name in names if name.removeprefix("module.").startswith("decoder.")]
    return [*found, AVERAGE] if found else names


def of_others(names: list[str]) -> list[str]:
    """What to read for the encoder, or the mapper: of the generator only how many rows it has."""
    return [
        name
        for name in names
        if not name.removeprefix("module.").startswith("decoder.") or ".to_rgbs." in name
    ]


def identity_config(state: Mapping[str, Any], source: str | Path) -> ArcFaceConfig:
    """The architecture, from the shapes of a few entries. Raises ``CheckpointError``."""
    try:
        embedding, inputs = state["output_layer.3.weight"].shape
        trunk = _trunk_config(state, "")
        return ArcFaceConfig(
            resolution=16 * math.isqrt(inputs // trunk.widths[-1]),
            embedding=embedding,
            # either gives it away, so that the loss of one is noticed
            scaled=any(f"output_layer.4.{part}" in state for part in ("weight", "bias")),
            trunk=trunk,
        )
    except UNTOLD as error:
        raise _untold(source, "an ArcFace network", error) from error


def identity_rules(config: ArcFaceConfig) -> list[Rule]:
    """The table of ArcFace: every entry of our network once."""
    last = "output_layer.4"
    table = _trunk_rules(config.trunk, "") + _norm_rules("norm", "output_layer.0")
    table += _pair("embedding", "output_layer.3")
    table += _norm_rules("embedding_norm", last, scaled=config.scaled)
    return table


def unwrap_encoder(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder's entries and the average latent for each row, flat.

    Left out: the generator, and what a training needs to go on (optimizer, discriminator).
    """
    entries = _entries(contents)
    state = {key: value for key, value in entries.items() if not key.startswith("decoder.")}
    average = contents.get(AVERAGE)
    if not _starts_from_average(contents):
        bias = state.get("encoder.styles.0.linear.bias")
        average = bias * 0 if isinstance(bias, Tensor) else None
    if isinstance(average, Tensor):
        rows, heads = _rows(entries), _heads(entries)
        if average.ndim == 1 or (average.ndim == 2 and len(average) == 1):
            average = average.reshape(1, -1).expand(rows, -1)
        elif average.ndim == 2 and len(average) == heads:
            average = average[:rows]  # repeated for every head
    return state | ({} if average is None else {AVERAGE: average})


def encoder_config(
    contents: Mapping[str, Any], source: str | Path, method: Method | None = None
) -> PyramidConfig:
    """The architecture, from shapes and ``opts``; ``method`` where the file does not tell it.

    Raises ``CheckpointError``.
    """
    options, state = _options(contents), _entries(contents)
    method = _method(options, method, source)
    try:
        downs = len(_numbers(state, r"encoder\.styles\.0\.convs\.(\d+)\.weight"))
        return PyramidConfig(
            rows=_rows(state),
            w_dim=state["encoder.styles.0.linear.weight"].shape[0],
            base="first" if method == "e4e" else "own",
            resolution=16 << downs,
            letterboxed=str(options.get("dataset_type", "")).startswith("cars"),
            trunk=_trunk_config(state, "encoder."),
        )
    except UNTOLD as error:
        raise _untold(source, "an e4e or pSp encoder", error) from error


def method_of(contents: Mapping[str, Any], source: str | Path) -> Method | None:
    """What the file says that it is; None if it says nothing. Raises ``CheckpointError``."""
    said = isinstance(_options(contents).get("encoder_type"), str)
    return _method(_options(contents), None, source) if said else None


def encoder_rules(config: PyramidConfig) -> list[Rule]:
    """The table of e4e and pSp: every entry of our network once."""
    table = [*_trunk_rules(config.trunk, "encoder."), Rule("average", AVERAGE)]
    table += _pair("lateral_medium", "encoder.latlayer1")
    table += _pair("lateral_fine", "encoder.latlayer2")
    coarse_steps = (config.resolution // 16).bit_length() - 1
    for row, level in enumerate(config.levels):
        ours, theirs = f"heads.{row}", f"encoder.styles.{row}"
        for step in range(coarse_steps + level):
            # every other one of theirs is an activation
            table += _pair(f"{ours}.downs.{step}", f"{theirs}.convs.{2 * step}")
        # linear layers are stored at unit variance and scaled at run time
        scale = 1 / math.sqrt(config.w_dim)
        table.append(Rule(f"{ours}.linear.weight", f"{theirs}.linear.weight", scale))
        table.append(Rule(f"{ours}.linear.bias", f"{theirs}.linear.bias"))
    return table


def encoder_dropped(contents: Mapping[str, Any]) -> dict[str, Tensor | None]:
    """Entries that are not needed: counters, and heads beyond the rows of the file's generator."""
    state = _entries(contents)
    spare = range(_rows(state), _heads(state))
    return {**DROPPED, **{rf"encoder\.styles\.{row}\..*": None for row in spare}}


def _entries(contents: Mapping[str, Any]) -> dict[str, Any]:
    state = contents.get("state_dict", contents)
    if not isinstance(state, Mapping):
        return {}
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _options(contents: Mapping[str, Any]) -> Mapping[str, Any]:
    """``opts``: a dict, or the attributes of whatever stands for the parser's namespace."""
    opts = contents.get("opts")
    for found in (opts, getattr(opts, "state", None), getattr(opts, "__dict__", None)):
        if isinstance(found, Mapping):
            return found
    return {}


def _method(options: Mapping[str, Any], asked: Method | None, source: str | Path) -> Method:
    name = options.get("encoder_type")
    if not isinstance(name, str):
        if asked is None:
            raise CheckpointError(
                f"{source} does not say whether its rows are offsets from the first (e4e) or each "
                'its own (pSp), and the entries of both are the same: give method="e4e" or "psp"'
            )
        return asked
    if name not in METHODS:
        raise CheckpointError(
            f"{source} is an encoder of type {name[:40]!r}, expected {' or '.join(METHODS)}: "
            "other types are not readable"
        )
    if asked is not None and asked != METHODS[name]:
        raise CheckpointError(f"{source} is an encoder of type {name}, not of {asked}")
    return METHODS[name]


def _starts_from_average(contents: Mapping[str, Any]) -> bool:
    """What the file says; if it says nothing, it does: such codes are nothing without it."""
    return bool(_options(contents).get("start_from_latent_avg", True))


def _rows(entries: Mapping[str, Any]) -> int:
    """Rows of W+: one for each head, but no more than the generator in the file has.

    Encoders of cars (512 pixels, 16 rows) are used with their first 16 heads, should they have 18.
    """
    blocks = len(_numbers(entries, r"decoder\.to_rgbs\.(\d+)\..*"))
    return min(_heads(entries), 2 * blocks + 2) if blocks else _heads(entries)


def _heads(entries: Mapping[str, Any]) -> int:
    return len(_numbers(entries, r"encoder\.styles\.(\d+)\..*"))


def _numbers(state: Iterable[str], pattern: str) -> set[int]:
    return {int(match[1]) for key in state if (match := re.fullmatch(pattern, key))}


def _trunk_config(state: Mapping[str, Any], prefix: str) -> TrunkConfig:
    """Widths and units: a stage begins with a unit that has other outputs than inputs."""
    body = f"{prefix}body"
    widths: list[int] = []
    units: list[int] = []
    for i in range(len(_numbers(state, re.escape(body) + r"\.(\d+)\..*"))):
        outputs, inputs = state[f"{body}.{i}.res_layer.1.weight"].shape[:2]
        if i == 0 or outputs != inputs:
            widths.append(outputs)
            units.append(0)
        units[-1] += 1
    squeezed = state[f"{body}.0.res_layer.5.fc1.weight"].shape[0]
    return TrunkConfig(tuple(widths), tuple(units), widths[0] // squeezed)


def _trunk_rules(config: TrunkConfig, prefix: str) -> list[Rule]:
    stem, number = f"{prefix}input_layer", 0
    table = [
        Rule("trunk.stem.weight", f"{stem}.0.weight"),
        *_norm_rules("trunk.stem_norm", f"{stem}.1"),
        Rule("trunk.stem_slope.weight", f"{stem}.2.weight"),
    ]
    for stage, units in enumerate(config.units):
        for unit in range(units):
            ours, theirs = f"trunk.stages.{stage}.{unit}", f"{prefix}body.{number}"
            table += _unit_rules(ours, f"{theirs}.res_layer")
            if stage > 0 and unit == 0:
                shortcut = f"{theirs}.shortcut_layer"
                table.append(Rule(f"{ours}.shortcut.0.weight", f"{shortcut}.0.weight"))
                table += _norm_rules(f"{ours}.shortcut.1", f"{shortcut}.1")
            number += 1
    return table


def _unit_rules(ours: str, theirs: str) -> list[Rule]:
    return [
        *_norm_rules(f"{ours}.first_norm", f"{theirs}.0"),
        Rule(f"{ours}.first.weight", f"{theirs}.1.weight"),
        Rule(f"{ours}.slope.weight", f"{theirs}.2.weight"),
        Rule(f"{ours}.second.weight", f"{theirs}.3.weight"),
        *_norm_rules(f"{ours}.second_norm", f"{theirs}.4"),
        Rule(f"{ours}.squeeze.weight", f"{theirs}.5.fc1.weight"),
        Rule(f"{ours}.excite.weight", f"{theirs}.5.fc2.weight"),
    ]


def _norm_rules(ours: str, theirs: str, scaled: bool = True) -> list[Rule]:
    table = [
        Rule(f"{ours}.mean", f"{theirs}.running_mean"),
        Rule(f"{ours}.variance", f"{theirs}.running_var"),
    ]
    return table + (_pair(ours, theirs) if scaled else [])


def _pair(ours: str, theirs: str) -> list[Rule]:
    return [Rule(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias")]


def _untold(source: str | Path, what: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{source} has keys of {what} but not enough to tell its architecture ({error}): it is "
        "damaged, incomplete or of another kind"
    )
