"""Hostile files, made here and never committed: what an attacker, or chance, might write.

  corpus(canary) -> {name: bytes}      every one must be refused with one sentence
  inert(canary)  -> {name: bytes}      these may be read, and nothing in them may run
``canary`` is a file that exists as soon as any of them has run.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

# --- a small assembler of pickles ---------------------------------------------


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def call(what: bytes, *args: bytes) -> bytes:
    return what + b"(" + b"".join(args) + b"tR"


def entry(value: bytes, key: str = "a") -> bytes:
    """A whole pickle: a dict with one entry."""
    return b"\x80\x02}" + text(key) + value + b"s."


def nested_file(content: bytes) -> bytes:
    return call(name("torch.storage", "_load_from_bytes"), raw(content))


def torch_bytes(contents: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(contents, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def storage_bytes(values: torch.Tensor) -> bytes:
    """What torch writes into a pickle for a storage."""
    reduced: Any = torch.storage.TypedStorage(  # the only public way to one
        wrap_storage=values.untyped_storage(), dtype=values.dtype, _internal=True
    ).__reduce__()
    content: bytes = reduced[1][0]
    return content


def tensor(offset: bytes, shape: bytes, stride: bytes, content: bytes | None = None) -> bytes:
    """A tensor of three floats, with a description that may lie."""
    stored = nested_file(storage_bytes(torch.arange(3.0)) if content is None else content)
    hooks = call(name("collections", "OrderedDict"))
    return call(
        name("torch._utils", "_rebuild_tensor_v2"), stored, offset, shape, stride, b"\x89", hooks
    )


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as written:
        for key, value in entries.items():
            written.writestr(key, value)
    return buffer.getvalue()


def stored_tensor(key: str = "0", count: int = 3, shape: tuple[int, ...] = (3,)) -> bytes:
    """A tensor of a zip archive: a reference to data/KEY."""
    reference = b"(" + text("storage") + name("torch", "FloatStorage") + text(key) + text("cpu")
    reference += number(count) + b"tQ"
    stride = tuple(int(np.prod(shape[i + 1 :], dtype=object)) for i in range(len(shape)))
    hooks = call(name("collections", "OrderedDict"))
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        reference, number(0), numbers(shape), numbers(stride), b"\x89", hooks,
    )  # fmt: skip


class Calls:
    """An object that pickles as a call of a real function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


# --- what must be refused -----------------------------------------------------


def corpus(canary: Path) -> dict[str, bytes]:
    """All of them by name."""
    return {
        **_calls(canary), **_tricks(canary), **_nested(canary), **_arrays(), **_tensors(),
        **_archives(canary), **bombs(), **_nonsense(), **_other_formats(),
    }  # fmt: skip


def _calls(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w')"
    found = {
        "os.system": call(name("os", "system"), text(touch)),
        "posix.system": call(name("posix", "system"), text(touch)),
        "nt.system": call(name("nt", "system"), text(touch)),
        "subprocess": call(name("subprocess", "check_output"), b"(" + text(touch) + b"l"),
        "eval": call(name("builtins", "eval"), text(code)),
        "exec": call(name("builtins", "exec"), text(code)),
        "eval of Python 2": call(name("__builtin__", "eval"), text(code)),
        "open": call(name("builtins", "open"), text(str(canary)), text("w")),
        "io.open": call(name("io", "open"), text(str(canary)), text("w")),
        "pathlib": call(name("pathlib", "Path.touch"), call(name("pathlib", "Path"), text("x"))),
        "import": call(name("importlib", "import_module"), text("this")),
        "runpy": call(name("runpy", "run_path"), text(str(canary))),
        "pickle.loads": call(name("pickle", "loads"), raw(pickle.dumps(1))),
        "marshal": call(name("types", "FunctionType"), call(name("marshal", "loads"), raw(b"x"))),
        "getattr": call(name("builtins", "getattr"), name("os", "path"), text("system")),
        "attrgetter": call(
            call(name("operator", "attrgetter"), text("system")), name("posix", "error")
        ),
        "methodcaller": call(
            call(name("operator", "methodcaller"), text("system"), text(touch)), name("os", "path")
        ),
        "partial": call(call(name("functools", "partial"), name("os", "system"), text(touch))),
        "a call of a call": call(call(name("some.module", "factory"), text("x")), text(touch)),
        "a call of a text": call(text("os.system"), text(touch)),
        "new": name("os", "system") + b"(" + text(touch) + b"t\x81",
        "new with names": name("os", "system") + b"(" + text(touch) + b"t}\x92",
        "inst": b"(" + text(touch) + b"ios\nsystem\n",
        "obj": b"(" + name("os", "system") + text(touch) + b"o",
        "copyreg": call(
            name("copyreg", "_reconstructor"), name("os", "system"), name("builtins", "object"),
            b"N",
        ),
    }  # fmt: skip
    files = {key: entry(value) for key, value in found.items()}
    for protocol in (2, 3, 4, 5):
        evil = {"a": Calls(exec, code)}
        files[f"exec, protocol {protocol}"] = pickle.dumps(evil, protocol)
    for zipped in (True, False):
        kind = "zip" if zipped else "stream"
        files[f"exec in a torch {kind}"] = torch_bytes({"a": Calls(exec, code)}, zipped)
    return files


def _tricks(canary: Path) -> dict[str, bytes]:
    """Known classes and instructions, used in ways they are not meant for."""
    state = b"}" + text("__class__") + text("os.system") + b"s"
    touch = text(f"touch {canary}")
    found = {
        "state of a name": name("collections", "OrderedDict") + state + b"b",
        "state of a list": b"]" + state + b"b",
        "state of a tensor": tensor(number(0), numbers((3,)), numbers((1,))) + state + b"b",
        "items into a list": b"]" + text("a") + text("b") + b"s",
        "append to a dict": b"}" + text("a") + b"a",
        "items into a name": name("collections", "OrderedDict") + text("a") + text("b") + b"s",
        "OrderedDict of strange pairs": call(
            name("collections", "OrderedDict"), b"]" + name("a.b", "c") + b"a"
        ),
        "OrderedDict with a list for a key": call(name("collections", "OrderedDict"))
        + b"]N" + b"s",
        "reduce without a tuple": name("torch", "Size") + b"]R",
        "subclass of a call": call(
            name("torch._tensor", "_rebuild_from_type_v2"), name("os", "system"),
            name("torch", "Tensor"), b"(" + touch + b"t", b"N",
        ),
        "storage of a class": call(
            name("torch._utils", "_rebuild_tensor_v2"), name("torch", "FloatStorage"), number(0),
            numbers((1,)), numbers((1,)), b"\x89", b"}",
        ),
        "encode to another codec": call(name("_codecs", "encode"), text("x"), text("rot13")),
        "bytearray of a size": call(name("builtins", "bytearray"), number(1 << 40)),
        "set of lists": call(name("builtins", "set"), b"]]a"),
        "Size of a text": call(name("torch", "Size"), text("x")),
        "extension": b"\x82\x01",
        "out of band buffer": b"\x97",
        "reference outside": text("storage") + b"Q",
        "reference by text": b"Pstorage\n",
        "name with a line break": text("os\nx") + text("system") + b"\x93",
        "name from numbers": number(1) + number(2) + b"\x93",
        "persistent object without a description": call(
            name("torch_utils.persistence", "_reconstruct_persistent_obj"), number(1)
        ),
    }  # fmt: skip
    return {key: entry(value) for key, value in found.items()}


def _nested(canary: Path) -> dict[str, bytes]:
    code = f"open({str(canary)!r}, 'w')"
    evil = Calls(exec, code)
    shape, stride = numbers((3,)), numbers((1,))
    inner = {
        "nested exec": torch_bytes(evil, zipped=False),
        "nested exec in a dict": torch_bytes({"a": evil}, zipped=False),
        "nested zip": torch_bytes(torch.arange(3.0)),
        "nested zip of exec": torch_bytes(evil),
        "nested dict": torch_bytes({"a": torch.arange(3.0)}, zipped=False),
        "nested pickle": pickle.dumps(evil),
        "nested nonsense": b"\x80\x02nonsense" * 50,
        "nested in nested": entry(nested_file(entry(nested_file(storage_bytes(torch.ones(3)))))),
        "nested nothing": b"",
        "nested half": storage_bytes(torch.arange(3.0))[:-5],
    }
    return {key: entry(tensor(number(0), shape, stride, content)) for key, content in inner.items()}


def _arrays() -> dict[str, bytes]:
    """numpy: objects, fields, sizes that lie."""

    def dtype(code: str, state: bytes = b"") -> bytes:
        return call(name("numpy", "dtype"), text(code), b"\x89", b"\x88") + state

    little = b"(" + number(3) + text("<") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    fields = b"(" + number(3) + text("<") + b"N" + b"(" + text("x") + b"t}" + number(8)
    fields += number(1) + number(0) + b"tb"

    def array(kind: bytes, shape: tuple[int, ...], content: bytes) -> bytes:
        made = call(
            name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), b"(K\x00t",
            raw(b"b"),
        )  # fmt: skip
        return made + b"(" + number(1) + numbers(shape) + kind + b"\x89" + content + b"tb"

    objects = b"]" + call(name("os", "system"), text("true")) + b"a"
    content = raw(bytes(16))
    found = {
        "numpy objects": array(dtype("O8"), (1,), objects),
        "numpy objects as bytes": array(dtype("O8"), (2,), content),
        "numpy list for bytes": array(dtype("f4", little), (2,), b"]"),
        "numpy fields": array(dtype("V8", fields), (2,), content),
        "numpy fields of floats": array(dtype("f8", fields), (2,), content),
        "numpy dtype of a text": array(dtype("f4,f4"), (2,), content),
        "numpy dtype of a long text": array(dtype("S99999999999"), (2,), content),
        "numpy dtype of an absurd size": array(dtype("f16" * 2), (2,), content),
        "numpy dtype of a name": array(
            call(name("numpy", "dtype"), name("os", "system")), (2,), content
        ),
        "numpy absurd shape": array(dtype("f4", little), (1 << 40, 1 << 40), content),
        "numpy negative shape": array(dtype("f4", little), (-4, -1), content),
        "numpy too long": array(dtype("f4", little), (5,), content),
        "numpy too short": array(dtype("f4", little), (3,), content),
        "numpy without a state": call(
            name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), b"(K\x00t",
            raw(b"b"),
        ),
        "numpy scalar of objects": call(
            name("numpy.core.multiarray", "scalar"), dtype("O8"), objects
        ),
        "numpy scalar too long": call(
            name("numpy.core.multiarray", "scalar"), dtype("f4", little), raw(bytes(400))
        ),
    }  # fmt: skip
    files = {key: entry(value) for key, value in found.items()}
    files["numpy objects as numpy writes them"] = pickle.dumps({"a": np.array([None, "x"], object)})
    return files


def _tensors() -> dict[str, bytes]:
    """Shapes, strides and offsets outside of the storage, which has three floats."""
    described: dict[str, tuple[bytes, bytes, bytes]] = {
        "offset outside": (number(3), numbers((1,)), numbers((1,))),
        "offset far outside": (number(1 << 61), numbers((1,)), numbers((1,))),
        "offset negative": (number(-1), numbers((1,)), numbers((1,))),
        "offset a text": (text("0"), numbers((1,)), numbers((1,))),
        "offset true": (b"\x88", numbers((1,)), numbers((1,))),
        "shape outside": (number(0), numbers((4,)), numbers((1,))),
        "shape absurd": (number(0), numbers((1 << 61, 1 << 61)), numbers((1, 1))),
        "shape negative": (number(0), numbers((-3,)), numbers((1,))),
        "shape twice negative": (number(0), numbers((-1, -3)), numbers((3, 1))),
        "shape a text": (number(0), text("333"), numbers((1,))),
        "shape of 1,000 axes": (number(0), numbers((1,) * 1000), numbers((1,) * 1000)),
        "stride outside": (number(0), numbers((2,)), numbers((3,))),
        "stride negative": (number(2), numbers((3,)), numbers((-1,))),
        "stride missing": (number(0), numbers((3,)), numbers(())),
        "repeated without end": (number(0), numbers((1 << 40,)), numbers((0,))),
        "repeated": (number(0), numbers((4, 3)), numbers((0, 1))),
        "empty and absurd": (number(0), numbers((0, 1 << 61, 1 << 61)), numbers((1, 1, 1))),
    }
    files = {key: entry(tensor(*parts)) for key, parts in described.items()}
    complete = {"byteorder": b"little", "data/0": bytes(12)}

    def zipped(value: bytes, **changed: bytes) -> bytes:
        entries = {"data.pkl": entry(value), **complete, **changed}
        return archive({f"x/{key}": each for key, each in entries.items()})

    files |= {
        "zip: no storage": zipped(stored_tensor("1")),
        "zip: storage too short": zipped(stored_tensor(count=4, shape=(4,))),
        "zip: storage too long": zipped(stored_tensor(count=2, shape=(2,))),
        "zip: storage of another entry": zipped(stored_tensor("../data.pkl")),
        "zip: absurd count": zipped(stored_tensor(count=1 << 60, shape=(1 << 60,))),
        "zip: negative count": zipped(stored_tensor(count=-3)),
        "zip: other byte order": zipped(stored_tensor(), byteorder=b"big"),
    }
    # one storage, many names: memory that the file does not have
    one = stored_tensor(count=1 << 18, shape=(1 << 18,))
    many = b"".join(text(f"k{i}") + one for i in range(200))
    files["zip: many tensors of one storage"] = archive(
        {"x/data.pkl": b"\x80\x02}(" + many + b"u.", "x/data/0": bytes(1 << 20)}
    )
    return files


def _archives(canary: Path) -> dict[str, bytes]:
    good = {"x/data.pkl": entry(stored_tensor()), "x/data/0": bytes(12), "x/byteorder": b"little"}
    outside = {
        "zip: above": "x/../../canary", "zip: absolute": f"/{canary.name}",
        "zip: drive": "C:\\canary",
        "zip: backslashes": "x\\..\\..\\canary", "zip: share": "\\\\server\\canary",
    }  # fmt: skip
    files = {key: archive(good | {path: b"owned"}) for key, path in outside.items()}
    files |= {
        "zip: empty": archive({}),
        "zip: something else": archive({"notes.txt": b"hello"}),
        "zip: two trees": archive(good | {"y/data.pkl": b"\x80\x02}."}),
        "zip: compressed": archive(good, zipfile.ZIP_DEFLATED),
        "zip: bomb of a tensor": archive(
            {"x/data.pkl": entry(stored_tensor(count=1 << 22, shape=(1 << 22,)))}
            | {"x/data/0": bytes(1 << 24)},
            zipfile.ZIP_DEFLATED,
        ),
        "zip: bomb of a tree": archive(
            {"x/data.pkl": b"\x80\x02" + b"]" * (1 << 23)}, zipfile.ZIP_DEFLATED
        ),
    }
    whole = archive(good)
    central = whole.rindex(b"PK\x01\x02x/data/0"[:4], 0, whole.rindex(b"x/data/0"))

    def patched(offset: int, value: bytes) -> bytes:
        return whole[: central + offset] + value + whole[central + offset + len(value) :]

    huge = struct.pack("<I", 0xFFFFFFF0)
    files |= {
        "zip: absurd size": patched(20, huge + huge),
        "zip: absurd size of one kind": patched(24, huge),
        "zip: entry outside": patched(42, struct.pack("<I", len(whole) + 1000)),
        "zip: entry in another": patched(42, struct.pack("<I", 5)),
        "zip: encrypted": patched(8, b"\x01\x00"),
        "zip: other compression": patched(10, b"\x63\x00"),
    }
    # entries that overlap: the same bytes again and again
    overlapping = {"x/data.pkl": b"\x80\x02}(" + b"".join(
        text(f"k{i}") + stored_tensor(str(i), 1 << 18, (1 << 18,)) for i in range(100)
    ) + b"u."}  # fmt: skip
    files["zip: overlapping entries"] = _overlapping(overlapping, bytes(1 << 20), 100)
    files["zip: one name twice"] = _overlapping(good, bytes(12), 1, ["x/data/0"])
    return files


def _overlapping(
    entries: dict[str, bytes], content: bytes, count: int, more: Sequence[str] = ()
) -> bytes:
    """An archive whose data/0 ... data/99 all are the same bytes, and those of ``more`` as well."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for key, value in entries.items():
            written.writestr(key, value)
        if "x/data/0" not in entries:
            written.writestr("x/data/0", content)
        first = written.getinfo("x/data/0")
        for name_of_it in (*(f"x/data/{i}" for i in range(1, count)), *more):
            again = zipfile.ZipInfo(name_of_it)
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.compress_size = again.file_size = len(content)
            written.filelist.append(again)
    return buffer.getvalue()


def bombs() -> dict[str, bytes]:
    """Time and memory out of few bytes."""
    doubled = b"]q\x000" + b"".join(b"](h%ch%ceq%c0" % (i, i, i + 1) for i in range(60)) + b"h\x3c"
    pairs = b"Nq\x000" + b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60)) + b"h\x3c"
    module = name("torch_utils.persistence", "_reconstruct_persistent_obj")

    def network(children: bytes) -> bytes:
        parts = b"".join(text(part) + b"}s" for part in ("_parameters", "_buffers"))
        state = b"}" + parts + text("_modules") + children + b"s"
        return call(module, b"}" + text("state") + state + b"s")

    nets = network(b"}") + b"q\x000"
    for i in range(40):
        get = b"h%c" % i
        nets += network(b"}" + text("a") + get + b"s" + text("b") + get + b"s") + b"q%c0" % (i + 1)
    nets += b"h\x28"
    options = b"}q\x000"
    for i in range(50):
        keys = text("a_kwargs"), text("b_kwargs")
        options += b"}" + b"".join(key + b"h%cs" % i for key in keys) + b"q%c0" % (i + 1)
    parts = b"".join(text(part) + b"}s" for part in ("_parameters", "_buffers", "_modules"))
    described = b"}" + parts + text("init_kwargs") + b"h\x32s"
    options += call(module, b"}" + text("state") + described + b"s")
    # a name that would print as all of those lists
    title = text("class_name") + doubled
    titled = call(module, b"}" + title + b"s" + text("state") + b"}" + parts + b"s")
    # the same long value, again and again: a few bytes each time, and the work of its length
    long_list = b"](" + text("a") + b"N\x86q\x01" + b"h\x01" * 99_999 + b"eq\x000"
    long_text = text("x" * 100_000) + b"q\x000"
    encode = name("_codecs", "encode") + b"h\x00" + text("latin1") + b"\x86R0"
    again = name("collections", "OrderedDict") + b"h\x00\x85R0"
    kwargs = b"}(" + b"".join(text(f"k{i}") + b"N" for i in range(50_000)) + b"uq\x000"
    named = name("a.b", "C") + b")h\x00\x920"
    deep = network(b"}")
    for _ in range(200):
        deep = network(b"}" + text("a") + deep + b"s")
    found = {
        "deep lists": b"]" * 100_000 + b"a" * 99_999,
        "deep tuples": b")" + b"\x85" * 100_000,
        "deep dicts": (b"}" + text("a")) * 50_000 + b"}" + b"s" * 50_000,
        "one list, many dicts": long_list + again * 100_000 + b"N",
        "one text, many bytes": long_text + encode * 100_000 + b"N",
        "many objects of the same arguments": kwargs + named * 100_000 + b"N",
        "doubled lists": doubled,
        "doubled tuples": pairs,
        "doubled tuples for a key": b"}" + pairs + b"Ns",
        "doubled tuples in a set": b"\x8f(" + pairs + b"\x90",
        "doubled networks": nets,
        "doubled options": options,
        "deep networks": deep,
        "a list in itself": b"]q\x00h\x00a",
        "a dict in itself": b"}q\x00" + text("a") + b"h\x00s",
        "a giant integer": b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20),
        "a giant integer as text": b"L" + b"9" * 4000 + b"L\n",
        "a line without an end": b"I" + b"9" * 100_000,
        "bytes of an absurd size": b"\x8e" + struct.pack("<Q", 1 << 60),
        "bytes of a negative size": b"T" + struct.pack("<i", -5),
        "text of an absurd size": b"\x8d" + struct.pack("<Q", 1 << 62),
        "text longer than the file": b"X" + struct.pack("<I", 0xFFFFFFFF),
        "a frame of an absurd size": b"\x95" + struct.pack("<Q", 1 << 60) + b"N",
        "too many instructions": b"]0" * 600_000 + b"N",
        "too many sets": b"\x8f" * 1_100_000,
    }
    files = {key: entry(value) for key, value in found.items()}
    return {**files, "a doubled name of a class": entry(titled, "G_ema")}


def _nonsense() -> dict[str, bytes]:
    found = {
        "nothing on the stack": b"0000000R", "no mark": b"t", "a mark for a value": b"(s",
        "unknown memo": b"h\x07", "unknown instruction": b"\xff", "not text": b"X\x01\0\0\0\xff",
        "no number": b"Ione\n", "no quotes": b"Sabc\n", "wrong number": b"Fone\n",
        "a key without a value": b"(Nd", "negative memo": b"Np-1\n", "a list for a key": b"}]Ns",
    }  # fmt: skip
    files = {key: entry(value) for key, value in found.items()}
    files |= {
        "name of two lines": entry(b"N", "a\nb"),
        "name of a terminal's command": entry(b"N", "\x1b[2J"),
        "name without end": entry(b"N", "a" * 10_000),
        "name of two lines below": entry(b"}" + text("a\nb") + b"Ns", "g_ema"),
        "protocol 9": b"\x80\x09}.", "only a protocol": b"\x80\x02", "no stop": b"\x80\x02}",
        "stop at once": b"\x80\x02.", "a number": b"\x80\x02K\x01.", "a list": b"\x80\x02].",
        "keys that are numbers": b"\x80\x02}K\x01Ns.", "an object": b"\x80\x02)" + b"\x81.",
        "a record": b"\x80\x02" + name("some.module", "Thing") + b")\x81.",
    }  # fmt: skip
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    version, system = pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)
    files |= {
        "stream: no more": magic,
        "stream: other version": magic + pickle.dumps(1002, 2) + system + b"\x80\x02}.",
        "stream: other byte order": magic + version + pickle.dumps({"little_endian": False}, 2),
        "stream: no system": magic + version + pickle.dumps([], 2) + b"\x80\x02}.",
        "stream: storage not used": magic + version + system + b"\x80\x02}." + pickle.dumps(["0"]),
        "stream: no list": magic + version + system + b"\x80\x02}.\x80\x02}.",
        "stream: a network for a version": magic + entry(tensor(number(0), numbers((3,)), b")")),
    }
    return files


def _other_formats() -> dict[str, bytes]:
    """Safetensors and .npy with headers that lie."""

    def safetensors(header: str, content: bytes = bytes(8)) -> bytes:
        return struct.pack("<Q", len(header)) + header.encode() + content

    description = '{"a":{"dtype":"F32","shape":[%s],"data_offsets":[%s]}}'
    files = {
        "safetensors: outside": safetensors(description % ("4", "0,16")),
        "safetensors: absurd": safetensors(description % ("1099511627776", "0,4398046511104")),
        "safetensors: negative": safetensors(description % ("-2", "0,8")),
        "safetensors: overflow": safetensors(description % (f"{1 << 62},8", "0,8")),
        "safetensors: overlap": safetensors(
            '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            '"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        ),
        "safetensors: absurd header": struct.pack("<Q", 1 << 62) + b"{}",
        "safetensors: deep header": safetensors("{" + '"a":[' * 50_000 + "]" * 50_000 + "}"),
        "safetensors: name of two lines": safetensors(
            '{"a\\nb":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
        ),
        "safetensors: no header": safetensors("{nonsense"),
    }
    for key, header in {
        "npy: absurd": "{'descr':'<f4','fortran_order':False,'shape':(1099511627776,)}",
        "npy: negative": "{'descr':'<f4','fortran_order':False,'shape':(-1,)}",
        "npy: objects": "{'descr':'|O','fortran_order':False,'shape':(1,)}",
        "npy: fields": "{'descr':[('x','<f4')],'fortran_order':False,'shape':(2,)}",
        "npy: code": "{'descr':__import__('os').system('true'),'fortran_order':False,'shape':(2,)}",
        "npy: deep": "(" * 9_000,
        "npy: no header": "nonsense",
    }.items():
        encoded = header.encode() + b"\n"
        files[key] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(encoded)) + encoded + bytes(8)
    files["npy: absurd header"] = b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFF0) + b"{"
    return files


# --- what may be read, and does not run ---------------------------------------


def inert(canary: Path) -> dict[str, bytes]:
    """Classes and functions of unknown modules, and source: kept as records or dropped."""
    code = f"open({str(canary)!r}, 'w')"
    module = name("torch_utils.persistence", "_reconstruct_persistent_obj")
    description = {
        "type": "class", "version": 6, "module_src": code, "class_name": "Generator",
        "state": {"_parameters": {}, "_buffers": {}, "_modules": {}},
    }  # fmt: skip
    plain = pickle.dumps(description, 2)[2:-1]
    state = b"}" + text("a") + text("b") + b"sb"
    return {
        "embedded source": entry(call(module, plain), "G_ema"),
        "unknown function": entry(call(name("numpy.f2py.crackfortran", "myeval"), text(code))),
        "unknown class": entry(name("antigravity_tools", "Thing") + b")\x81" + state),
        "torch.hub": entry(call(name("torch.hub", "load"), text("x/y"), text("z"))),
        "state of a dict": entry(
            call(name("collections", "OrderedDict")) + b"}" + text("__reduce__") + text(code)
            + b"sb"
        ),
    }  # fmt: skip


def samples() -> dict[str, bytes]:
    """A small good file of each kind, to be damaged."""
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}
    ordered = OrderedDict(weight=torch.ones(2, 2, dtype=torch.float16))
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    from safetensors.torch import save

    buffer = io.BytesIO()
    np.save(buffer, np.arange(6, dtype=np.float32).reshape(2, 3))
    return {
        "zip": torch_bytes({"g_ema": ordered, "n": 3} | tensors),
        "stream": torch_bytes({"g_ema": ordered, "n": 3} | tensors, zipped=False),
        "module": pickle.dumps({"G_ema": network, "x": np.float32(2)}),
        "arrays": pickle.dumps({"a": [np.arange(5.0), np.ones((2, 2), "f2")], "b": {1, 2}}),
        "safetensors": save(tensors, {"format": "pt"}),
        "npy": buffer.getvalue(),
    }
