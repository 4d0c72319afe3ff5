"""``styleclip faces`` and ``styleclip align``; and what ``edit`` and ``apply`` do to a photograph.

  photo, --landmarks FILE|auto, --face N|all -> Photo: squares of it, as the model takes them
  squares before and after an edit -> the whole photo with the edit in it
Without landmarks, for a model of anything but faces, the square is the centre of the photo.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from styleclip.apps.console import answer, complain
from styleclip.apps.options import Force, Json, Landmarks, ModelName, Out, open_studio
from styleclip.errors import ArgumentError, LandmarksError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.faces import landmarks as points
    from styleclip.faces.alignment import Aligned, Template
    from styleclip.studio import Studio

FINDER = "STYLECLIP_FACE_LANDMARKER"  # environment variable: mediapipe's .task file
FINDER_FILE = ".task"
FFHQ_SIZE = 1024


@dataclass(frozen=True)
class PhotoWish:
    """What the options of a photograph say."""

    landmarks: str | None
    face: str | None
    blend: bool

    def of(self, file: Path) -> PhotoWish:
        """With the file of landmarks that is named as ``file`` is, if a folder of them is given."""
        if self.landmarks is None or not Path(self.landmarks).is_dir():
            return self
        return replace(self, landmarks=str(Path(self.landmarks) / f"{file.stem}.json"))


@dataclass(frozen=True)
class Photo:
    """A photograph, the ``squares`` of it that are edited and the numbers of their faces."""

    picture: Image.Image
    squares: list[Aligned]
    numbers: list[int]
    found: int
    blend: bool

    def with_edits(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> Image.Image:
        """The whole photo, every square [1,3,S,S] of it edited."""
        from styleclip.faces.blending import set_back

        picture = self.picture
        for square, old, new in zip(self.squares, before, after, strict=True):
            picture = set_back(picture, old, new, square.to_photo)
        return picture

    def described(self) -> dict[str, Any]:
        """For --json."""
        squares = [_rounded(each) for each in self.squares]
        return {"faces": self.found, "edited": self.numbers, "squares": squares}


def photo_wish(
    photo: bool, landmarks: str | None, face: str | None, blend: bool
) -> PhotoWish | None:
    """The options of a photograph; None if the picture is none."""
    if photo and landmarks is not None:
        raise ArgumentError("--landmarks says that it is a photograph: leave --photo out")
    if photo or landmarks is not None:
        return PhotoWish(landmarks, face, blend)
    if face is not None:
        raise ArgumentError("--face chooses a face of a photograph: add --landmarks FILE or auto")
    if not blend:
        raise ArgumentError("--no-blend is for photographs: add --photo or --landmarks")
    return None


def open_photo(studio: Studio, picture: Image.Image, wish: PhotoWish) -> Photo:
    """The chosen faces, or the centre, as the model takes them. Raises ``LandmarksError``."""
    template = check_wish(studio, wish)
    if template is None:
        return Photo(picture, [studio.align(picture)], [], 0, wish.blend)
    faces = found_faces(picture, wish.landmarks)
    numbers = chosen_faces(faces, wish.face, template)
    if len(numbers) > 1 and not wish.blend:
        raise ArgumentError(
            f"--no-blend writes one face, and {len(numbers)} are chosen: add --face N"
        )
    squares = [_aligned(studio, picture, faces, number) for number in numbers]
    return Photo(picture, squares, numbers, len(faces), wish.blend)


def check_wish(studio: Studio, wish: PhotoWish) -> Template | None:
    """How the model's faces lie, None if its squares are centres. Raises for what it has not."""
    template = studio.template
    if template is None and wish.landmarks is not None:
        raise ArgumentError(
            f"the model {studio.model.name!r} states no alignment of faces in its model.json: "
            "leave --landmarks out, and the centre of the photo is taken"
        )
    if template is None and wish.face is not None:
        raise ArgumentError(
            f"the model {studio.model.name!r} is of no faces, so there is none to choose: "
            "leave --face out"
        )
    if template is not None:
        where(wish.landmarks)
    return template


def where(landmarks: str | None) -> Path:
    """The file that tells where faces are. Raises ``LandmarksError`` where none is known."""
    return _known_finder() if landmarks in (None, "auto") else Path(str(landmarks))


def found_faces(picture: Image.Image, landmarks: str | None) -> list[points.Landmarks]:
    """The faces of a picture, from left to right. Raises ``LandmarksError`` if there is none."""
    path = where(landmarks)
    faces = faces_by(path, picture)
    if not faces and path.suffix == FINDER_FILE:
        raise LandmarksError(
            "no face was found in the picture: give --landmarks FILE with its points"
        )
    if not faces:
        raise LandmarksError(f"{path} holds no face: it is an empty list")
    return faces


def faces_by(path: Path, picture: Image.Image) -> list[points.Landmarks]:
    """The faces that mediapipe's model file finds, or a JSON file names, from left to right.

    Raises ``LandmarksError`` for a file that is neither, ``MissingExtraError``.
    """
    import numpy as np

    from styleclip.faces.landmarks import MediapipeFinder, read_landmarks

    if path.suffix == FINDER_FILE:
        faces = MediapipeFinder(path).find(np.asarray(picture))
    else:
        faces = read_landmarks(path)
    return sorted(faces, key=lambda face: face.middle.real)


def chosen_faces(
    faces: Sequence[points.Landmarks], face: str | None, template: Template
) -> list[int]:
    """The numbers, from 1, that --face means; the largest if it is absent."""
    if face == "all":
        return list(range(1, len(faces) + 1))
    if face is None:
        number = largest_face(faces, template)
        if len(faces) > 1:
            complain(
                f"{len(faces)} faces are in the picture: face {number}, the largest, is taken "
                "(--face N, counted from the left, or --face all)",
                kind="note",
            )
        return [number]
    if not face.isdecimal():
        raise ArgumentError(f"--face is a number, counted from the left, or all; got {face!r}")
    if not 1 <= int(face) <= len(faces):
        known = "1" if len(faces) == 1 else f"1 to {len(faces)}"
        raise ArgumentError(f"there is no face {face}: the picture has {known}, or give all")
    return [int(face)]


def largest_face(faces: Sequence[points.Landmarks], template: Template) -> int:
    """The number, from 1, of the face whose square is the largest."""
    from styleclip.faces.alignment import square_of

    scales = [square_of(each, template).scale for each in faces]
    return 1 + scales.index(max(scales))


def faces(
    image: Annotated[Path, typer.Argument(help="A photograph.")],
    landmarks: Landmarks = None,
    model: ModelName = "portraits",
    as_json: Json = False,
) -> None:
    """List the faces of a photograph, numbered from the left."""
    from styleclip import images
    from styleclip.faces.alignment import check_inside, square_of

    picture = images.open_picture(image)
    template = open_studio(model, "cpu").template or "ffhq"
    listed, lines = [], []
    for number, face in enumerate(found_faces(picture, landmarks), start=1):
        check_inside(face, picture.size)
        square = square_of(face, template)
        middle, side = square(0.5 + 0.5j), square.scale
        listed.append(
            {
                "face": number,
                "middle": [round(middle.real, 1), round(middle.imag, 1)],
                "side": round(side, 1),
                "degrees": round(square.degrees, 1),
                **face.to_json(),
            }
        )
        lines.append(
            f"face {number}: a square of {side:.0f} pixels around ({middle.real:.0f}, "
            f"{middle.imag:.0f}), turned by {square.degrees:.0f} degrees"
        )
    answer({"image": str(image), "faces": listed}, lines, as_json)


def align(
    image: Annotated[Path, typer.Argument(help="A photograph.")],
    landmarks: Landmarks = None,
    face: Annotated[
        str | None, typer.Option(metavar="N", help="Which face, from the left; or the largest.")
    ] = None,
    out: Out = None,
    ffhq: Annotated[
        bool, typer.Option("--ffhq", help="Align as FFHQ is, whatever the model says.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(min=16, max=4096, help="Pixels each way; the model's (FFHQ: 1024) if absent."),
    ] = None,
    model: ModelName = "portraits",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the face of a photograph upright in a square, as a model takes it."""
    from styleclip import images
    from styleclip.faces.alignment import align as align_face
    from styleclip.faces.alignment import centre

    path = out or Path(f"{image.stem}-face.png")
    images.check_output(path, force)
    picture = images.open_picture(image)
    studio = open_studio(model, "cpu")
    template = "ffhq" if ffhq else studio.template
    if size is None:
        size = FFHQ_SIZE if ffhq else studio.generator.resolution
    if template is None:
        if landmarks or face:
            raise ArgumentError(
                f"the model {model!r} states no alignment of faces: leave --landmarks and --face "
                "out, or add --ffhq"
            )
        square = centre(picture, size)
    else:
        known = found_faces(picture, landmarks)
        numbers = chosen_faces(known, face, template)
        if len(numbers) > 1:
            raise ArgumentError("align writes one face: give its number with --face")
        square = align_face(picture, known[numbers[0] - 1], size, template)
    images.save_image(path, square.image, overwrite=force)
    answer({"out": str(path), "square": _rounded(square)}, [f"wrote {path}"], as_json)


def _known_finder() -> Path:
    """mediapipe's model file: the one that a variable names, or the fetched one."""
    from styleclip.checkpoints.cache import Cache
    from styleclip.checkpoints.public import LANDMARKER

    stated = os.environ.get(FINDER)
    path = Path(stated) if stated else Cache.here().file(LANDMARKER)
    if not stated and not path.is_file():
        raise LandmarksError(
            f"where the face is, is not known: run 'styleclip models fetch {LANDMARKER}' once, and "
            "it is found (pip install 'styleclip[photos]'), or give --landmarks FILE, a JSON file "
            "of points"
        )
    return path


def _aligned(
    studio: Studio, picture: Image.Image, faces: Sequence[points.Landmarks], number: int
) -> Aligned:
    try:
        return studio.align(picture, faces[number - 1])
    except LandmarksError as error:
        if len(faces) == 1:
            raise
        raise LandmarksError(f"face {number} of {len(faces)}: {error}") from error


def _rounded(square: Aligned) -> list[list[float]]:
    """The corners of a square in the photo, clockwise from the face's upper left."""
    return [[round(x, 2), round(y, 2)] for x, y in square.corners]
