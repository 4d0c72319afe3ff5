"""``styleclip models list | fetch | verify | path | add``: public files and models by name.

Terms are shown before the first file under them is fetched, and accepted once. A fetch that is cut
or stopped goes on where it was; a file is only there under its name when it is whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from styleclip.apps.adding import check_parts, located, write_description, written
from styleclip.apps.console import answer, complain, progress
from styleclip.apps.options import Force, Json
from styleclip.apps.outputs import make_folder
from styleclip.errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from styleclip.checkpoints.cache import Cache
    from styleclip.checkpoints.public import Bundle, Licence, PublicFile

MEGABYTE = 1_000_000

app = typer.Typer(
    help="Models of public files: fetch them, check them, or add your own.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FOLDER",
        help="Where fetched files live; STYLECLIP_HOME says so for every command.",
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME ...", show_default=False, help="Models, or single files."),
]


@app.command(name="list")
def list_models(
    files: Annotated[bool, typer.Option("--files", help="Also list the single files.")] = False,
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """List the models by name, and what of them is here."""
    from styleclip.checkpoints.public import BUNDLES, FILES
    from styleclip.checkpoints.registry import BUILT_IN, read_model

    place = _cache(cache)
    models = [_row(name, "built in", "", read_model(name).description) for name in BUILT_IN]
    models += [_bundle_row(place, each) for each in BUNDLES.values()]
    models += [_added_row(place, name) for name in place.models() if name not in BUNDLES]
    singles = [_file_row(place, each) for each in FILES.values()]
    lines = [f"cache {place.folder}", "", *_table(models)]
    if files:
        lines += ["", *_table(singles)]
    answer({"cache": str(place.folder), "models": models, "files": singles}, lines, as_json)


@app.command()
def fetch(
    names: Names = None,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", "--yes", help="Accept the terms that are shown."),
    ] = False,
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Fetch the files of a model; their licences are shown and must be accepted first."""
    from styleclip.checkpoints.public import BUNDLES

    place = _cache(cache)
    asked = names or []
    wanted = _files_of(asked)
    skipped = [
        each
        for each in wanted
        if each.address is None and each.name not in asked and not place.file(each.name).is_file()
    ]
    wanted = [each for each in wanted if each not in skipped]
    _agree(place, wanted, accept_licence)
    try:
        with progress() as bar:
            rows = [_fetch_one(place, each, bar(f"{each.name} (MB)")) for each in wanted]
    except KeyboardInterrupt:
        complain("what came is kept; the same command goes on from there", kind="note")
        raise
    for each in skipped:
        complain(
            f"{each.name} lies behind a click and is left out ({each.about}); to add it, save "
            f"{each.page} as {place.file(each.name)}",
            kind="note",
        )
    ready = [name for name in asked if name in BUNDLES]
    for name in ready:
        make_folder(place.model(name))  # for what is measured of it
    lines = [f"{row['path']}  {_megabytes(row['size'])}" for row in rows]
    lines += [f"ready: styleclip edit PHOTO PROMPT --model {name}" for name in ready]
    result = {"cache": str(place.folder), "files": rows, "skipped": [e.name for e in skipped]}
    answer({**result, "models": ready}, lines, as_json)


@app.command()
def verify(names: Names = None, cache: CacheFolder = None, as_json: Json = False) -> None:
    """Hash the fetched files again; exit with 1 if one has changed or is missing."""
    from styleclip.checkpoints.public import FILES

    place = _cache(cache)
    chosen = _files_of(names) if names else list(FILES.values())
    if not names:
        chosen = [each for each in chosen if place.file(each.name).is_file()]
    found = [{"name": each.name, "state": place.verify(each)} for each in chosen]
    lines = [f"{row['state']:8} {row['name']}" for row in found]
    answer({"files": found}, lines or [f"nothing was fetched to {place.folder} yet"], as_json)
    if any(row["state"] != "right" for row in found):
        raise typer.Exit(1)


@app.command()
def path(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A model or a file; none for the cache.")
    ] = None,
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Print where a file, the files of a model, or the cache is."""
    from styleclip.checkpoints.public import BUNDLES, FILES
    from styleclip.checkpoints.registry import BUILT_IN

    place = _cache(cache)
    if name is None:
        paths = {"cache": place.folder}
    elif name in BUILT_IN:
        paths = {name: BUILT_IN[name]}
    elif name in BUNDLES or name in FILES:
        paths = {each.name: place.file(each.name) for each in _files_of([name])}
    elif name in place.models():
        paths = {name: place.model(name)}
    else:
        raise _unknown(name)
    shown = {key: str(value) for key, value in paths.items()}
    answer(shown, list(shown.values()), as_json)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What --model will call it.")],
    generator: Annotated[
        str, typer.Option(metavar="FILE", help="A StyleGAN2, in any layout that is read.")
    ],
    clip: Annotated[
        str,
        typer.Option(metavar="FILE", help="A CLIP: a file or folder, or a fetched file's name."),
    ],
    neutral: Annotated[
        str, typer.Option(metavar="TEXT", help="What any picture of it shows, as 'a face'.")
    ],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The CLIP's vocabulary, file or folder; OpenAI's if absent."
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="FILE", help="Picture to latent; optional.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="FILE", help="Whose face it is; optional.")
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Its pictures are faces that lie as FFHQ's do.")
    ] = False,
    description: Annotated[str, typer.Option(metavar="TEXT", help="For 'models list'.")] = "",
    cache: CacheFolder = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Give your own generator a name for --model; its files stay where they are."""
    from styleclip.checkpoints.cache import plain_name
    from styleclip.checkpoints.public import ALIGNED, BUNDLES, VOCABULARY
    from styleclip.checkpoints.registry import BUILT_IN, DESCRIPTION

    place = _cache(cache)
    if plain_name(name) in BUNDLES or name in BUILT_IN:
        raise ArgumentError(f"the name {name!r} is taken by a public model: choose another")
    if not neutral.strip():
        raise ArgumentError("--neutral is empty: say what any picture shows, as in 'a face'")
    target = place.model(name) / DESCRIPTION
    if target.exists() and not force:
        raise ArgumentError(f"there is a model {name!r} already: choose another, or add --force")
    if tokenizer is None and not Path(clip).is_dir():
        tokenizer = VOCABULARY
    stated = {
        "generator": generator,
        "clip": clip,
        "tokenizer": tokenizer,
        "encoder": encoder,
        "identity": identity,
    }
    parts = {part: written(place, each) for part, each in stated.items() if each is not None}
    check_parts({part: located(place, each) for part, each in parts.items()})
    values = {"name": name, "description": description, "neutral": neutral, "parts": parts}
    if faces:
        values["alignment"] = ALIGNED
    write_description(target, values)
    if place.folder != _cache(None).folder:
        complain(f"other commands find it with STYLECLIP_HOME={place.folder}", kind="note")
    line = f"wrote {target}; use it with --model {name}"
    answer({"name": name, "out": str(target), "parts": parts}, [line], as_json)


def _cache(folder: Path | None) -> Cache:
    from styleclip.checkpoints.cache import Cache

    return Cache.here() if folder is None else Cache(folder.expanduser().absolute())


def _files_of(names: Sequence[str]) -> list[PublicFile]:
    """The files of models and files by name, each once. Raises ``ArgumentError``."""
    from styleclip.checkpoints.public import BUNDLES, FILES

    if not names:
        raise ArgumentError(f"name a model, such as {', '.join(BUNDLES)}, or a file of one")
    found: dict[str, PublicFile] = {}
    for name in names:
        if name not in BUNDLES and name not in FILES:
            raise _unknown(name)
        for part in BUNDLES[name].files if name in BUNDLES else [name]:
            found |= {each: FILES[each] for each in (part, *FILES[part].beside)}
    return list(found.values())


def _unknown(name: str) -> ArgumentError:
    return ArgumentError(
        f"there is no public model or file {name!r}: 'styleclip models list --files' lists them"
    )


def _agree(place: Cache, files: Iterable[PublicFile], accepted: bool) -> None:
    """Show the terms that nobody accepted here yet. Raises ``ArgumentError`` without a yes."""
    terms: dict[Licence, list[str]] = {}
    for each in files:
        if not place.accepted(each.licence):
            terms.setdefault(each.licence, []).append(each.name)
    for licence, names in terms.items():
        note = f"; {licence.note}" if licence.note else ""
        complain(f"{', '.join(names)}: {licence.name}, {licence.page}{note}", kind="licence")
    if not terms:
        return
    if not accepted and sys.stdin.isatty():
        accepted = typer.confirm("Do you accept these terms?", err=True)
    if not accepted:
        raise ArgumentError("nothing is fetched before the terms above are accepted: read them, "
                            "and add --accept-licence")  # fmt: skip
    place.accept(terms)


def _fetch_one(place: Cache, file: PublicFile, on_step: Any) -> dict[str, Any]:
    def on_bytes(done: int, total: int | None) -> None:
        on_step(done // MEGABYTE, (done if total is None else total) // MEGABYTE, {})

    def on_wait() -> None:
        complain(f"another process fetches {file.name}; waiting for it", kind="note")

    first = place.known_hash(file) is None
    path = place.fetch(file, on_bytes, on_wait)
    known = place.known_hash(file)
    if first:
        complain(
            f"no page states the SHA-256 of {file.name}: it is {known} now, and checked from now "
            "on", kind="note",
        )  # fmt: skip
    return {"name": file.name, "path": str(path), "size": path.stat().st_size, "sha256": known}


def _bundle_row(place: Cache, bundle: Bundle) -> dict[str, Any]:
    from styleclip.checkpoints.public import FILES
    from styleclip.checkpoints.registry import REQUIRED

    parts = {part: FILES[name] for part, name in bundle.parts.items()}
    here = {part for part, file in parts.items() if place.file(file.name).is_file()}
    state = "not fetched"
    if here:
        state = f"{len(here)} of {len(parts)} files"
    if here >= set(REQUIRED):
        state = "ready" if len(here) == len(parts) else f"ready, {state}"
    sizes = [FILES[name].size for name in bundle.files]
    licences = sorted({file.licence.name for file in parts.values()})
    known = sum(size for size in sizes if size is not None)
    shown = ("over " if None in sizes else "") + _megabytes(known)
    if parts["generator"].size is None:
        shown = ""  # what is known is next to nothing
    row = _row(bundle.name, state, shown, bundle.description)
    return {**row, "neutral": bundle.neutral, "parts": dict(bundle.parts), "licences": licences}


def _added_row(place: Cache, name: str) -> dict[str, Any]:
    from styleclip.checkpoints.registry import read_model

    try:
        return _row(name, "added", "", read_model(place.model(name)).description)
    except CheckpointError as error:
        return _row(name, "damaged", "", str(error))


def _file_row(place: Cache, file: PublicFile) -> dict[str, Any]:
    path = place.file(file.name)
    state = "here" if path.is_file() else "not fetched" if file.address else "behind a click"
    size = path.stat().st_size if path.is_file() else file.size
    return {
        **_row(file.name, state, "" if size is None else _megabytes(size), file.about),
        "bytes": size,
        "kind": file.kind,
        "note": file.note,
        "address": file.address,
        "page": file.page,
        "sha256": place.known_hash(file),
        "licence": file.licence.name,
        "licence_page": file.licence.page,
    }


def _row(name: str, state: str, size: str, description: str) -> dict[str, Any]:
    return {"name": name, "state": state, "size": size, "description": description}


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = [[row["name"], row["state"], row["size"], row["description"]] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return [
        f"{a:{widths[0]}}  {b:{widths[1]}}  {c:{widths[2]}}  {d}".rstrip() for a, b, c, d in cells
    ]


def _megabytes(size: int) -> str:
    return f"{max(1, round(size / MEGABYTE)):,} MB"
