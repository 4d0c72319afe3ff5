"""The options that several commands take, with the words of their help; and the model they ask for.

Typer reads them from the annotations of a command: ``def sample(seed: Seed = 0, ...)``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from styleclip.apps.console import pick_device
from styleclip.errors import ArgumentError

if TYPE_CHECKING:
    from styleclip.editing.strength import StrengthConfig
    from styleclip.studio import Studio

LARGEST_SEED = 2**63 - 1

Out = Annotated[
    Path | None, typer.Option(help="The PNG to write; named after the input if absent.")
]
OutOrFolder = Annotated[
    Path | None,
    typer.Option(
        help="The PNG to write, or with several edits or pictures the folder for them (made if it "
        "is missing); named after the input if absent."
    ),
]
ModelName = Annotated[
    str,
    typer.Option(
        "--model", help="A model by name (see 'styleclip models list'), or a model folder."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Truncation = Annotated[
    float, typer.Option(min=0, max=2, help="Variety of sampled pictures; 0 is the mean picture.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Which picture is sampled.")
]
SeedInsteadOfFile = Annotated[
    int | None,
    typer.Option(
        min=0, max=LARGEST_SEED, metavar="N", help="Edit the picture of a seed, not a file."
    ),
]
Strength = Annotated[
    list[float] | None,
    typer.Option(
        min=-20,
        max=20,
        metavar="NUMBER",
        show_default="1",
        help="1 is the edit as found, 0 none, -1 its opposite. Give it once for all edits, or once "
        "for each, in their order.",
    ),
]
Stack = Annotated[bool, typer.Option("--stack", help="Apply the edits together, as one picture.")]
Refine = Annotated[
    int | None,
    typer.Option(
        min=0, max=100_000, metavar="N", help="Steps of refinement after the encoder; 0 for none."
    ),
]
Reinvert = Annotated[
    bool,
    typer.Option(
        "--reinvert", help="Invert the picture even if it carries the latent it was made from."
    ),
]
Tune = Annotated[
    bool,
    typer.Option(
        "--tune", help="Tune a copy of the generator to the picture, so that it is redrawn closely."
    ),
]
SaveTuning = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --tune: also write the tuning, for --tuning."),
]
TuningFile = Annotated[
    Path | None,
    typer.Option(
        "--tuning", metavar="FILE", help="The tuning of a picture, which --save-tuning wrote."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
NoRecipe = Annotated[
    bool, typer.Option("--no-recipe", help="Leave the recipe (and with it the latent) out.")
]
StripFlag = Annotated[
    bool, typer.Option("--strip", help="Also write before and after side by side, as one picture.")
]
Gif = Annotated[
    bool, typer.Option("--gif", help="Also write the sweep from no strength to this one.")
]
Mp4 = Annotated[
    bool, typer.Option("--mp4", help="Also write that sweep as a film (extra 'video').")
]
Heat = Annotated[
    bool,
    typer.Option("--heat", help="Also write where each picture changed, as colours over it."),
]
SaveEdit = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Also write the edit, a .safetensors file for 'apply'."),
]
Photo = Annotated[
    bool,
    typer.Option(
        "--photo",
        help="The picture is a photograph: edit the face in it, or its centre square if the model "
        "is not of faces, and write the whole photo with the edit in it.",
    ),
]
Landmarks = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|FOLDER|auto",
        help="Where the faces are (means --photo): a JSON file of points, a folder of such files "
        "named as the pictures are, or the model file face_landmarker.task of mediapipe, which "
        "finds them; auto takes the fetched one, or the one named in STYLECLIP_FACE_LANDMARKER.",
    ),
]
Face = Annotated[
    str | None,
    typer.Option(
        metavar="N|all", help="Which face of a photo, counted from the left; the largest if absent."
    ),
]
Blend = Annotated[
    bool,
    typer.Option(
        "--blend/--no-blend", help="Of a photo: write all of it, or only the edited square."
    ),
]
Preserve = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Of a direction: what must stay, separated by commas, as in 'hair colour, glasses'.",
    ),
]
Rgb = Annotated[
    bool,
    typer.Option(
        " /--no-rgb",
        help="Of a direction: leave the toRGB layers as they are, as the paper does; by samples "
        "colours change there.",
    ),
]
AutoStrength = Annotated[
    bool,
    typer.Option(
        "--auto-strength",
        help="The smallest strength that shows the change by CLIP's measure, for each picture; "
        "what optimisation does by default, and directions without --alpha.",
    ),
]
IdentityFloor = Annotated[
    float | None,
    typer.Option(
        min=-1,
        max=1,
        metavar="COSINE",
        help="With an automatic strength: stop before the face is less like itself than this.",
    ),
]
IdentityBy = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="clip|none|PATH",
        help="What tells that it is still the same: the model's identity network if absent, the "
        "CLIP's image tower, or a DINOv2 (a folder or hub name).",
    ),
]


def open_studio(model: str, device: str, identity: str | None = None) -> Studio:
    """The model; its networks are loaded when they are first used."""
    from styleclip.studio import Studio

    return Studio.load(model, pick_device(device), identity)


def with_tuning(
    studio: Studio, seed: int | None, tune: bool, save: Path | None, file: Path | None, force: bool
) -> Studio:
    """The studio, tuned if a file says how; what cannot be wanted together is refused."""
    from styleclip.apps.outputs import check_edit_file

    if tune and seed is not None:
        raise ArgumentError("a seed's picture is the generator's own: --tune needs a picture file")
    if tune and file is not None:
        raise ArgumentError("--tuning is a tuning that was made already: leave --tune out")
    if save is not None:
        if not tune:
            raise ArgumentError("--save-tuning writes what --tune finds: add --tune")
        check_edit_file(save, force)
    return studio if file is None else studio.tuned(studio.load_tuning(file))


def bytes_of(text: str, option: str) -> int:
    """ "2GB", "500 MB", "1.5GiB" -> bytes. Raises ``ArgumentError``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", text.strip().lower())
    if found is None:
        raise ArgumentError(f"{option} takes a size such as 2GB or 500MB, got {text!r}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " kmgt".index(found[2] or " "))


def strength_config(
    wanted: bool, identity_floor: float | None, already: bool
) -> StrengthConfig | None:
    """How strengths are chosen, if they are (``already``: the method does by itself)."""
    from styleclip.editing.strength import StrengthConfig

    if identity_floor is not None and not (wanted or already):
        raise ArgumentError("--identity-floor limits an automatic strength: add --auto-strength")
    if identity_floor is None and not wanted:
        return None
    return StrengthConfig(identity_floor=identity_floor)
