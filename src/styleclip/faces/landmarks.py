"""Where the eyes and the mouth of a face are: all that alignment needs to know of it.

  image uint8 [H,W,3] -Finder.find-> [Landmarks];   a JSON file -read_landmarks-> [Landmarks]
Four points in pixels (x to the right, y down, whole numbers at the middle of a pixel, as dlib and
OpenCV count). Every set of points that people have comes down to them: the 68 of dlib, the 478 of
mediapipe's face mesh, the 5 of MTCNN and RetinaFace, or the four by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from styleclip.errors import LandmarksError, MissingExtraError

Point = tuple[float, float]

# Number of points -> which of them make the left eye, the right eye (their mean) and the two
# corners of the mouth; left and right as they lie in an upright picture.
LAYOUTS: dict[int, tuple[tuple[int, ...], tuple[int, ...], int, int]] = {
    # eyes, nose, corners of the mouth (MTCNN, RetinaFace)
    5: ((0,), (1,), 3, 4),
    # dlib's six points round each eye, and the outer corners of the lips
    68: (tuple(range(36, 42)), tuple(range(42, 48)), 48, 54),
    # mediapipe's face mesh, without and with irises: the six that lie where dlib's six do
    468: ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380), 61, 291),
    478: ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380), 61, 291),
}
NAMES = ("left_eye", "right_eye", "mouth_left", "mouth_right")
FARTHEST = 1e7  # pixels from the corner; no picture is so wide
FLATTEST = 0.01  # area of eyes x mouth over their squared lengths; a face in profile has 0.1 to 0.2
MOST_BYTES = 50_000_000  # of a file of landmarks: a hundred faces of 478 points take 2
MODEL_PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"


@dataclass(frozen=True)
class Landmarks:
    """One face. Left and right may be the face's own or the picture's: the order is put right.

    Raises ``LandmarksError`` for points that are not numbers, or on one line.
    """

    left_eye: Point
    right_eye: Point
    mouth_left: Point
    mouth_right: Point

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for point in self.points for number in point):
            raise LandmarksError(f"the landmarks are not all numbers: {_shown(self)}")
        if any(abs(number) > FARTHEST for point in self.points for number in point):
            raise LandmarksError(
                f"the landmarks lie outside of any picture ({_shown(self)}): they are counted in "
                "pixels from its upper left corner"
            )
        eyes = complex(*self.right_eye) - complex(*self.left_eye)
        lips = complex(*self.mouth_right) - complex(*self.mouth_left)
        down = self.mouth - self.eyes
        area = (eyes.conjugate() * down).imag  # positive where left is left
        if abs(area) <= FLATTEST * (abs(eyes) ** 2 + abs(down) ** 2):
            raise LandmarksError(
                f"the eyes and the mouth of a face lie in one place or on one line ({_shown(self)})"
                ": no upright face can be made of them; mark them again"
            )
        if area < 0:
            self._swap("left_eye", "right_eye")
            eyes = -eyes
        if (eyes.conjugate() * lips).real < 0:
            self._swap("mouth_left", "mouth_right")

    def _swap(self, a: str, b: str) -> None:
        one, other = getattr(self, a), getattr(self, b)
        object.__setattr__(self, a, other)
        object.__setattr__(self, b, one)

    @property
    def points(self) -> tuple[Point, Point, Point, Point]:
        return self.left_eye, self.right_eye, self.mouth_left, self.mouth_right

    @property
    def eyes(self) -> complex:
        """The point between the eyes, as x + iy."""
        return (complex(*self.left_eye) + complex(*self.right_eye)) / 2

    @property
    def mouth(self) -> complex:
        """The middle of the mouth, as x + iy."""
        return (complex(*self.mouth_left) + complex(*self.mouth_right)) / 2

    @property
    def middle(self) -> complex:
        """The middle of the face, as x + iy."""
        return (self.eyes + self.mouth) / 2

    def to_json(self) -> dict[str, list[float]]:
        """The points by name, as ``parse_landmarks`` reads them."""
        return {name: list(point) for name, point in asdict(self).items()}


class Finder(Protocol):
    """What finds faces in a picture."""

    def find(self, image: np.ndarray) -> list[Landmarks]:
        """The faces of a picture uint8 [H,W,3], RGB; none is an empty list."""


def from_points(points: Sequence[Sequence[float]]) -> Landmarks:
    """The landmarks in 5, 68, 468 or 478 points [N][2] in the order of their layout.

    Further coordinates of a point (mediapipe's depth) are left out. Raises ``LandmarksError``.
    """
    if len(points) not in LAYOUTS:
        known = ", ".join(map(str, LAYOUTS))
        raise LandmarksError(
            f"expected a face of {known} points, or its eyes and mouth by name, got {len(points)} "
            "points"
        )
    left, right, mouth_left, mouth_right = LAYOUTS[len(points)]
    corners = _point(points[mouth_left]), _point(points[mouth_right])
    return Landmarks(_mean(points, left), _mean(points, right), *corners)


def read_landmarks(path: str | Path) -> list[Landmarks]:
    """The faces in a JSON file (see ``parse_landmarks``). Raises ``LandmarksError``."""
    path = Path(path)
    try:
        with path.open("rb") as stream:  # which may be a pipe, and say nothing of its size
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise LandmarksError(f"{path} is too large to be a file of landmarks: check the name")
        values = json.loads(content.decode("utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LandmarksError(
            f"the landmarks {path} cannot be read: {reason}; check the name"
        ) from error
    except (ValueError, RecursionError) as error:
        raise LandmarksError(
            f"{path} is not a file of landmarks: expected JSON, a list of faces"
        ) from error
    try:
        faces = parse_landmarks(values)
    except LandmarksError as error:
        raise LandmarksError(f"{path}: {error}") from error
    if any(all(0 <= number <= 1 for point in face.points for number in point) for face in faces):
        raise LandmarksError(
            f"{path} holds fractions of a picture, expected pixels: multiply x by its width and y "
            "by its height"
        )
    return faces


def parse_landmarks(values: object) -> list[Landmarks]:
    """JSON values -> faces: a list of faces, alone or as {"faces": [...]}; or one face.

    A face is a list of 5, 68, 468 or 478 points [x, y] in pixels, the same as {"points": [...]}, or
    {"left_eye": [x, y], "right_eye": ..., "mouth_left": ..., "mouth_right": ...}. Raises
    ``LandmarksError`` that names the face at fault.
    """
    if isinstance(values, Mapping) and "faces" in values:
        values = values["faces"]
    if isinstance(values, Mapping) or _is_point_list(values):
        values = [values]
    if not isinstance(values, list):
        raise LandmarksError(f"expected a list of faces, got {type(values).__name__}")
    faces = []
    for number, each in enumerate(values, start=1):
        try:
            faces.append(_parse_face(each))
        except LandmarksError as error:
            if len(values) == 1:
                raise
            raise LandmarksError(f"face {number} of {len(values)}: {error}") from error
    return faces


@dataclass(frozen=True)
class MediapipeFinder:
    """Faces by mediapipe's Face Landmarker; ``model`` is its .task file, which Google gives out."""

    model: Path
    most: int = 20  # faces
    confidence: float = 0.5  # mediapipe's own default

    def find(self, image: np.ndarray) -> list[Landmarks]:
        """Raises ``LandmarksError`` for a file that is no model, ``MissingExtraError``."""
        if not self.model.is_file():
            raise LandmarksError(
                f"there is no file {self.model}: give mediapipe's face_landmarker.task, from "
                f"{MODEL_PAGE}"
            )
        mediapipe = _load_mediapipe()
        vision = mediapipe.tasks.vision
        options = vision.FaceLandmarkerOptions(
            base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(self.model)),
            num_faces=self.most,
            min_face_detection_confidence=self.confidence,
        )
        try:
            with vision.FaceLandmarker.create_from_options(options) as landmarker:
                picture = mediapipe.Image(
                    image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
                )
                result = landmarker.detect(picture)
        except (RuntimeError, ValueError) as error:
            raise LandmarksError(
                f"mediapipe cannot use {self.model} ({_first_line(error)}): give its "
                f"face_landmarker.task, from {MODEL_PAGE}"
            ) from error
        height, width = image.shape[:2]
        return from_mediapipe(result.face_landmarks, width, height)


def from_mediapipe(faces: Sequence[Sequence[Any]], width: int, height: int) -> list[Landmarks]:
    """mediapipe's result, 0 to 1 across the picture, as landmarks in pixels.

    A face of which mediapipe sees no area (from the side, far off) is left out.
    """
    found = []
    for face in faces:
        # a fraction of the width is a distance from the picture's edge, half a pixel before 0
        points = [(each.x * width - 0.5, each.y * height - 0.5) for each in face]
        try:
            found.append(from_points(points))
        except LandmarksError:
            continue
    return found


def _load_mediapipe() -> ModuleType:
    try:
        import mediapipe
    except ImportError as error:
        raise MissingExtraError(
            "finding faces needs mediapipe, which is not installed: run "
            "pip install 'styleclip[photos]', or give the landmarks as a JSON file"
        ) from error
    module: ModuleType = mediapipe
    return module


def _parse_face(face: object) -> Landmarks:
    if isinstance(face, Mapping) and "points" in face:
        face = face["points"]
    if isinstance(face, Mapping):
        missing = [name for name in NAMES if name not in face]
        if missing:
            raise LandmarksError(f"it has no {missing[0]}: give {', '.join(NAMES)}, or 68 points")
        return Landmarks(*(_point(face[name]) for name in NAMES))
    if not _is_point_list(face):
        raise LandmarksError('expected a list of points [x, y], or {"left_eye": [x, y], ...}')
    assert isinstance(face, list)
    return from_points(face)


def _is_point_list(values: object) -> bool:
    """Whether these are points rather than faces."""
    return isinstance(values, list) and bool(values) and all(_is_point(each) for each in values)


def _is_point(values: object) -> bool:
    return (
        isinstance(values, list)
        and len(values) in (2, 3)
        and all(isinstance(n, int | float) and not isinstance(n, bool) for n in values)
    )


def _point(values: Any) -> Point:
    try:
        x, y = (float(number) for number in list(values)[:2])
    except (TypeError, ValueError, OverflowError) as error:
        raise LandmarksError(f"expected a point [x, y], got {str(values)[:60]}") from error
    return x, y


def _mean(points: Sequence[Sequence[float]], indices: Sequence[int]) -> Point:
    chosen = [_point(points[i]) for i in indices]
    return sum(x for x, _ in chosen) / len(chosen), sum(y for _, y in chosen) / len(chosen)


def _shown(face: Landmarks) -> str:
    return ", ".join(f"({x:g}, {y:g})" for x, y in face.points)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
