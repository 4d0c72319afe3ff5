"""Every error that the library raises on purpose.

StyleclipError
 ├── ArgumentError       a value that cannot be used (also a ValueError)
 ├── CheckpointError     a file that cannot be read as what was asked for
 ├── DownloadError       a public file that could not be fetched
 ├── ImageError          a picture that cannot be read or written
 ├── LandmarksError      no face where one is needed, or points that make none
 ├── PromptError         a text that cannot be used
 ├── NonFiniteError      an optimisation left the finite numbers; carries the best result so far
 └── MissingExtraError   an optional package is not installed; names the extra to install
A message says what was expected, what was found and what to do. ``CheckpointWarning`` says what a
file left open and was assumed.
"""

from __future__ import annotations


class StyleclipError(Exception):
    """Base of all errors here; the command line shows its message and exits with 2."""


class ArgumentError(StyleclipError, ValueError):
    """A value of the wrong shape, range or name."""


class CheckpointError(StyleclipError):
    """A file of weights that is damaged, of another kind, or not complete."""


class DownloadError(StyleclipError):
    """A public file that could not be fetched, or is not the one that is known."""


class CheckpointWarning(UserWarning):
    """A file does not say something, so it was assumed; the message says what, and how to tell."""


class ImageError(StyleclipError):
    """A picture file that cannot be read or written."""


class LandmarksError(StyleclipError):
    """A face that is not found, or points of one that cannot be used."""


class PromptError(StyleclipError, ValueError):
    """A text that is empty, too long or otherwise unusable."""


class NonFiniteError(StyleclipError, ArithmeticError):
    """A loss became NaN or infinite. ``best`` is the best result before that, or None."""

    def __init__(self, message: str, best: object = None) -> None:
        super().__init__(message)
        self.best = best


class MissingExtraError(StyleclipError, ImportError):
    """An optional package is missing; the message names the extra that brings it."""
