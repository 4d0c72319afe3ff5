"""The square of a dropped picture that a model takes: the face in it, upright, or the centre.

  picture -> (square [1,3,R,R], what was done, in a sentence)
The conditions are those of `styleclip edit --photo`: for a model of faces mediapipe has to be
there, and its model file. Else, or where they see no face, it is the centre, which is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from styleclip.apps.console import complain
from styleclip.apps.photos import faces_by, largest_face, where
from styleclip.errors import LandmarksError, MissingExtraError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from styleclip.faces.landmarks import Landmarks
    from styleclip.studio import Studio

NO_FINDER = (
    "faces are not looked for here (that takes the extra 'photos' and, once, 'styleclip models "
    "fetch face_landmarker.task')"
)


def square_of(studio: Studio, picture: Image.Image) -> tuple[Tensor, str]:
    """What ``studio`` edits of a picture, and how it was chosen; "" if it is all of the picture."""
    whole = picture.width == picture.height
    reason, template = "", studio.template
    if template is not None:
        known, reason = _faces(picture)
        try:
            if known:
                number = largest_face(known, template)
                square = studio.align(picture, known[number - 1]).image.to(studio.device)
                which = "The face" if len(known) == 1 else f"The largest of {len(known)} faces"
                return square, f"{which} was cut out upright."
        except LandmarksError as error:  # too small, or half outside
            reason = str(error)
    if whole and reason in ("", NO_FINDER):  # it may well be the square of a face
        return studio.square(picture), ""
    because = f", for {reason}" if reason else ""
    return studio.square(picture), f"The centre square of the picture was taken{because}."


def _faces(picture: Image.Image) -> tuple[list[Landmarks], str]:
    """The faces of a picture, or why there are none."""
    try:
        finder = where(None)
    except LandmarksError:
        return [], NO_FINDER
    try:
        found = faces_by(finder, picture)
    except MissingExtraError:
        return [], NO_FINDER
    except LandmarksError as error:  # it names a file of the server
        complain(str(error))
        return [], "the finder of faces does not work here, and the server's log says why"
    return found, "" if found else "no face was found in it"
