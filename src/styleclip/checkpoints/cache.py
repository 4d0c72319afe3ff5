"""The folder of fetched files: what is there, what is known of it, which terms are accepted.

  files/NAME            a public file       files/NAME.json   its hash when it first arrived
  models/NAME/          a model by name     licences/NAME     terms that were accepted
It is STYLECLIP_HOME, or the platform's folder for such things. STYLECLIP_OFFLINE=1 fetches nothing;
STYLECLIP_MIRROR=URL is asked in place of https://, for URL/host/path.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from styleclip.checkpoints.downloads import (
    Arrived,
    OnBytes,
    Patience,
    Wanted,
    alone,
    download,
    examine,
    on_disk,
)
from styleclip.checkpoints.public import Licence, PublicFile
from styleclip.errors import ArgumentError, CheckpointError, DownloadError

HOME, OFFLINE, MIRROR = "STYLECLIP_HOME", "STYLECLIP_OFFLINE", "STYLECLIP_MIRROR"
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # a name, never a path

State = Literal["right", "changed", "absent"]


@dataclass(frozen=True)
class Cache:
    """One such folder; it is made when something is first put there."""

    folder: Path

    @classmethod
    def here(cls) -> Self:
        """The cache of whoever runs this."""
        stated = os.environ.get(HOME)
        return cls(Path(stated).expanduser().absolute() if stated else _platform_folder())

    def file(self, name: str) -> Path:
        """Where the public file of that name is, or would be. Raises ``ArgumentError``."""
        return self.folder / "files" / plain_name(name)

    def model(self, name: str) -> Path:
        """The folder of the model of that name, whether it is there. Raises ``ArgumentError``."""
        return self.folder / "models" / plain_name(name)

    def models(self) -> list[str]:
        """The names of the models that users added."""
        found = (path.parent.name for path in self.folder.glob("models/*/model.json"))
        return sorted(name for name in found if PLAIN.fullmatch(name))

    def fetch(
        self,
        file: PublicFile,
        on_bytes: OnBytes | None = None,
        on_wait: Callable[[], None] | None = None,
        patience: Patience = Patience(),
    ) -> Path:
        """The file, downloaded if it is not here; a download that was cut goes on.

        One that a person put there is taken as it is, if its hash is the known one. Raises
        ``DownloadError``.
        """
        path = self.file(file.name)
        with alone(path, on_wait):
            if path.is_file():
                self._take(file, path)
                return path
            if file.address is None:
                raise DownloadError(
                    f"{file.name} lies behind a click: open {file.page} in a browser, save the "
                    f"file as {path}, and run the same command again"
                )
            if os.environ.get(OFFLINE, "0") not in ("", "0"):
                raise DownloadError(
                    f"{file.name} is not in {path.parent}, and {OFFLINE} is set: unset it, or copy "
                    "the file there"
                )
            wanted = Wanted(
                file.address, self.known_hash(file), file.size, os.environ.get(MIRROR) or None
            )
            self._remember(file.name, download(wanted, path, on_bytes, patience))
        return path

    def known_hash(self, file: PublicFile) -> str | None:
        """Its SHA-256 as its page states it, or as it was when it first arrived."""
        if file.sha256 is not None:
            return file.sha256
        recorded = self._recorded(file.name).get("sha256")
        return None if recorded is None else str(recorded)

    def verify(self, file: PublicFile) -> State:
        """Hash the file again; what had no known hash is remembered from now on."""
        path = self.file(file.name)
        if not path.is_file():
            return "absent"
        with alone(path):
            known = self.known_hash(file)
            found = examine(path)
            if known is not None and found.sha256 != known:
                return "changed"
            self._remember(file.name, found)
        return "right"

    def accepted(self, licence: Licence) -> bool:
        """Whether the terms were accepted here."""
        return self._licence(licence).is_file()

    def accept(self, licences: Iterable[Licence]) -> None:
        """Remember that these terms were shown and accepted."""
        for each in licences:
            path = self._licence(each)
            with on_disk(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{each.name}\n{each.page}\n", "utf-8")

    def _take(self, file: PublicFile, path: Path) -> None:
        """A file that is here. If nobody recorded it, its hash must be the known one, or is now."""
        size = path.stat().st_size
        recorded, known = self._recorded(file.name), self.known_hash(file)
        if known is not None and (recorded.get("sha256"), recorded.get("size")) == (known, size):
            return
        found = examine(path)
        if known is not None and found.sha256 != known:
            raise DownloadError(
                f"{path} is not the file that is known: expected SHA-256 {known}, found "
                f"{found.sha256}; delete it and fetch it again"
            )
        self._remember(file.name, found)

    def _record(self, name: str) -> Path:
        path = self.file(name)
        return path.with_name(path.name + ".json")

    def _recorded(self, name: str) -> dict[str, Any]:
        record = self._record(name)
        if not record.is_file():
            return {}
        try:
            values = json.loads(record.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{record} is damaged: delete it, and fetch again") from error
        return values if isinstance(values, dict) else {}

    def _remember(self, name: str, arrived: Arrived) -> None:
        record = self._record(name)
        text = json.dumps({"sha256": arrived.sha256, "size": arrived.size})
        temporary = record.with_name(record.name + ".part")
        with on_disk(record):
            temporary.write_text(text, "utf-8")
            os.replace(temporary, record)

    def _licence(self, licence: Licence) -> Path:
        return self.folder / "licences" / re.sub(r"[^A-Za-z0-9.]+", "-", licence.name).strip("-")


def plain_name(name: str) -> str:
    """The name, if it is one and not a way out of a folder. Raises ``ArgumentError``."""
    if not PLAIN.fullmatch(name):
        raise ArgumentError(
            f"{name!r} is not a name: letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit"
        )
    return name


def _platform_folder() -> Path:
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "styleclip"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "styleclip"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "styleclip"
