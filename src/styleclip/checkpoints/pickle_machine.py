"""A pickle machine that runs nothing: the bytes of a pickle to a tree of plain values and records.

  Source (bytes of a file) --parse(source, calls, persistent)--> dict, list, str, Record, Blob, ...
A pickle is a program for a small stack machine. This one imports nothing and calls only the few
functions of ``calls``, which are ours; every other class or function stays a ``Record`` of what the
pickle says about it. Long byte strings stay in the file (``Blob``) until somebody reads them, so
that networks nobody asked for take no memory. Every length is compared with what is left of the
file, and the work with the number of its instructions. Facts: pickletools, PEP 307, PEP 3154.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

EAGER = 256  # byte strings up to this length are read at once
MOST_INSTRUCTIONS = 1_000_000  # public checkpoints have far fewer than 100,000
LONGEST_LINE = 4096
LONGEST_INTEGER = 1024  # bytes
LONGEST_NUMBER = 1024  # digits

# A record of these would be as inert as any, but a file of weights that names them is an attack,
# and who meets one should be told. What keeps it from running is that nothing is ever called.
FORBIDDEN = frozenset({
    "os", "posix", "nt", "posixpath", "ntpath", "subprocess", "sys", "shutil", "socket",
    "importlib", "runpy", "operator", "pickle", "_pickle", "pickletools", "marshal", "ctypes",
    "types", "code", "codeop", "pty", "commands", "popen2", "webbrowser", "builtins",
    "__builtin__", "__builtins__", "_io", "io", "tempfile", "signal", "threading", "_thread",
    "multiprocessing", "asyncio", "http", "urllib", "requests", "ftplib", "smtplib",
    "telnetlib", "pdb", "bdb", "trace", "timeit", "cProfile", "profile", "pip", "setuptools",
    "distutils", "site", "sqlite3", "zipimport", "pkgutil", "pydoc", "doctest", "inspect", "gc",
    "atexit", "linecache", "imp", "test", "unittest",
})  # fmt: skip
# what is harmless in the modules above, and met in files of weights
PLAIN = (
    "object", "set", "frozenset", "list", "dict", "tuple", "int", "long", "float", "complex",
    "bool", "str", "unicode", "bytes", "bytearray", "slice", "range", "xrange", "NoneType",
    "Ellipsis", "NotImplemented", "type",
)  # fmt: skip
HARMLESS = frozenset(
    {(module, name) for module in ("builtins", "__builtin__") for name in PLAIN}
    # OrderedDict[str, Tensor]() and options without a class of their own; FunctionType is another
    | {("types", "GenericAlias"), ("types", "SimpleNamespace")}
)

Calls = Mapping[tuple[str, str], Callable[..., Any]]


class MalformedError(ValueError):
    """The bytes are not what they should be: damage, or something this reader does not know."""


class ForbiddenError(MalformedError):
    """The file asks for something that no file of weights needs."""


class UnsuitableError(MalformedError):
    """The file is whole, but of a kind that is not readable here; the message says what to do."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function in a pickle; never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """What a pickle says about an object whose class is not known here: nothing of it has run.

    ``args`` are the arguments of the call that would have made it, ``state`` what it would have
    been given afterwards, ``items`` and ``elements`` what would have been put into it.
    """

    what: Global
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return str(self.what)


class Source:
    """The bytes of a file from ``start`` to ``end``, read in order."""

    def __init__(self, stream: BinaryIO, start: int, end: int) -> None:
        self.stream, self.position, self.end = stream, start, end

    @classmethod
    def of(cls, content: bytes) -> Source:
        return cls(io.BytesIO(content), 0, len(content))

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; ``MalformedError`` where there are fewer."""
        self.need(size)
        self.stream.seek(self.position)
        content = self.stream.read(size)
        if len(content) != size:
            raise MalformedError("it ends too early")
        self.position += size
        return content

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes; returns where they begin."""
        self.need(size)
        start, self.position = self.position, self.position + size
        return start

    def need(self, size: int) -> None:
        if not 0 <= size <= self.end - self.position:
            raise MalformedError("it ends too early")

    def window(self, start: int, size: int) -> Source:
        """A part of the same file."""
        if start < 0 or size < 0 or start + size > self.end:
            raise MalformedError("it ends too early")
        return Source(self.stream, start, start + size)


@dataclass(frozen=True, eq=False)
class Blob:
    """A long byte string, still in its file."""

    source: Source
    start: int
    size: int

    def open(self) -> Source:
        return self.source.window(self.start, self.size)

    def read(self) -> bytes:
        return self.open().read(self.size)


def parse(source: Source, calls: Calls, persistent: Callable[[Any], Any] | None = None) -> Any:
    """The tree that the pickle at ``source`` describes; ``source`` then stands behind the pickle.

    ``calls`` are our functions for the classes and functions that are known, by (module, name).
    ``persistent`` answers references to what lies outside of it. Raises ``MalformedError``; a
    damaged pickle may raise other errors as well (``IndexError``, ``struct.error``, ...).
    """
    machine = _Machine(source, calls, persistent)
    for _ in range(MOST_INSTRUCTIONS):
        code = machine.byte()
        if code == STOP:
            machine.flush()
            return machine.stack.pop()
        instruction = INSTRUCTIONS.get(code)
        if instruction is None:
            raise MalformedError(
                f"byte {machine.at() - 1} is no pickle instruction that is known here"
            )
        instruction(machine)
    raise MalformedError(f"its pickle has more than {MOST_INSTRUCTIONS} instructions")


class _Mark:
    """Where a run of values begins on the stack."""


MARK = _Mark()
STOP = ord(".")
SIZED = (str, bytes, list, tuple, dict, set, frozenset)
AHEAD = 1 << 16


class _Machine:
    """The stack and the memo. A window of bytes is read ahead, which a long blob jumps over."""

    def __init__(
        self, source: Source, calls: Calls, persistent: Callable[[Any], Any] | None
    ) -> None:
        self.source, self.calls, self.persistent = source, calls, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.ahead, self.used = b"", 0
        self.work = MOST_INSTRUCTIONS + 2 * source.end  # what calls may handle, in all

    # --- bytes ---

    def at(self) -> int:
        return self.source.position - len(self.ahead) + self.used

    def flush(self) -> None:
        """Give back what was read ahead."""
        self.source.position = self.at()
        self.ahead, self.used = b"", 0

    def byte(self) -> int:
        if self.used >= len(self.ahead):
            self.refill(1)
        self.used += 1
        return self.ahead[self.used - 1]

    def read(self, size: int) -> bytes:
        if self.used + size > len(self.ahead):
            self.refill(size)
        content = self.ahead[self.used : self.used + size]
        self.used += size
        return content

    def refill(self, size: int) -> None:
        self.flush()
        self.source.need(size)
        self.ahead = self.source.read(min(max(size, AHEAD), self.source.end - self.source.position))

    def number(self, form: str) -> int:
        value: int = struct.unpack("<" + form, self.read(struct.calcsize("<" + form)))[0]
        return value

    def line(self, most: int = LONGEST_LINE) -> bytes:
        """What stands before the next end of line."""
        while (end := self.ahead.find(b"\n", self.used)) < 0:
            seen, left = len(self.ahead) - self.used, self.source.end - self.at()
            if seen >= min(left, most + 1):
                raise MalformedError("it has a line without an end")
            self.refill(min(left, max(AHEAD, 2 * seen)))
        content = self.ahead[self.used : end]
        if len(content) > most:
            raise MalformedError("it has a line of absurd length")
        self.used = end + 1
        return content

    def text(self, form: str) -> str:
        size = self.number(form)
        self.need(size)
        return self.read(size).decode("utf-8", "surrogatepass")

    def need(self, size: int) -> None:
        if not 0 <= size <= self.source.end - self.at():
            raise MalformedError("it ends too early")

    def blob(self, form: str) -> bytes | Blob:
        size = self.number(form)
        self.need(size)
        if size <= EAGER:
            return self.read(size)
        start = self.at()
        if self.used + size <= len(self.ahead):
            self.used += size
        else:
            self.flush()
            self.source.skip(size)
        return Blob(self.source, start, size)

    # --- the stack ---

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise MalformedError("its stack is out of order")
        return value

    def top(self) -> Any:
        value = self.stack[-1]
        if value is MARK:
            raise MalformedError("its stack is out of order")
        return value

    def since_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                values = self.stack[i + 1 :]
                del self.stack[i:]
                return values
        raise MalformedError("its stack is out of order")

    # --- objects ---

    def name(self, module: Any, name: Any) -> Global:
        for part in (module, name):
            if not (isinstance(part, str) and 0 < len(part) <= 200 and part.isprintable()):
                raise MalformedError("it names a class in an unreadable way")
        found = Global(module, name)
        if module.partition(".")[0] in FORBIDDEN and (module, name) not in HARMLESS:
            raise ForbiddenError(f"it names {found}, which no weights need")
        last = name.rpartition(".")[2]
        if last != name and not last[:1].isupper() and not module.startswith("__torch__"):
            raise ForbiddenError(f"it names a method, {found}, which no weights need")
        return found

    def call(self, what: Any, args: Any, kwargs: Mapping[str, Any] | None = None) -> Any:
        if not isinstance(what, Global):
            raise ForbiddenError(f"it calls a {_kind(what)} as if it were a function")
        if not isinstance(args, tuple):
            raise MalformedError("it calls something without arguments")
        if what in (Global("copyreg", "_reconstructor"), Global("copy_reg", "_reconstructor")):
            what, args = args[0], ()
            return self.call(what, args)
        self.work -= sum(len(each) for each in (*args, kwargs) if isinstance(each, SIZED))
        if self.work < 0:
            raise MalformedError("it handles the same long value again and again")
        known = self.calls.get((what.module, what.name))
        if known is None:
            return Record(what, args, items=dict(kwargs or {}))
        if kwargs:
            raise MalformedError(f"it calls {what} with arguments that have names")
        return known(*args)

    def build(self, state: Any) -> None:
        target = self.top()
        if isinstance(target, Record):
            target.state = state
        elif hasattr(target, "build"):
            target.build(state)
        elif not isinstance(target, dict):  # attributes of a dict are dropped
            raise MalformedError(f"it gives attributes to a {_kind(target)}")

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        target = target.items if isinstance(target, Record) else target
        if not isinstance(target, dict):
            raise MalformedError(f"it puts items into a {_kind(target)}")
        if len(values) % 2:
            raise MalformedError("it has a key without a value")
        for i in range(0, len(values), 2):
            target[_key(values[i])] = values[i + 1]

    def append(self, values: list[Any]) -> None:
        target = self.top()
        target = target.elements if isinstance(target, Record) else target
        if not isinstance(target, list):
            raise MalformedError(f"it appends to a {_kind(target)}")
        target.extend(values)

    def add(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise MalformedError(f"it adds to a {_kind(target)}")
        target.update(map(_key, values))

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise MalformedError("it refers to something that is not there")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        if index < 0:
            raise MalformedError("it refers to something that is not there")
        self.memo[index] = self.top()

    def refer(self) -> None:
        identity = self.pop()
        if self.persistent is None:
            raise MalformedError("it refers to data that is not in it")
        self.push(self.persistent(identity))

    def new(self) -> None:
        args = self.pop()
        self.push(self.call(self.pop(), args))

    def new_with_names(self) -> None:
        kwargs, args = self.pop(), self.pop()
        if not isinstance(kwargs, dict):
            raise MalformedError("it calls something without arguments")
        self.push(self.call(self.pop(), args, kwargs))

    def inst(self) -> None:
        what = self.name_from_lines()
        self.push(self.call(what, tuple(self.since_mark())))

    def obj(self) -> None:
        what, *args = self.since_mark()
        self.push(self.call(what, tuple(args)))

    def name_from_lines(self) -> Global:
        module = self.line().decode("utf-8")
        return self.name(module, self.line().decode("utf-8"))

    def name_from_stack(self) -> None:
        name = self.pop()
        self.push(self.name(self.pop(), name))

    def integer(self, size: int) -> None:
        if not 0 <= size <= LONGEST_INTEGER:
            raise MalformedError("it has an integer of absurd length")
        self.push(int.from_bytes(self.read(size), "little", signed=True))

    def integer_line(self) -> None:
        text = self.line()
        self.push({b"00": False, b"01": True}[text] if text in (b"00", b"01") else _whole(text))

    def quoted(self) -> None:
        text = self.line(self.source.end)
        if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
            raise MalformedError("it has a text without quotes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown escapes
            self.push(text[1:-1].decode("unicode_escape"))

    def old_text(self, form: str) -> None:
        size = self.number(form)
        self.need(size)
        self.push(self.read(size).decode("latin-1"))  # of Python 2, bytes as well as text

    def protocol(self) -> None:
        found = self.byte()
        if found > 5:
            raise MalformedError(f"it is a pickle of the unknown protocol {found}")

    def tuple_of(self, size: int) -> None:
        values = [self.pop() for _ in range(size)]
        self.push(tuple(reversed(values)))

    def dict_of(self) -> None:
        values = self.since_mark()
        self.push({})
        self.set_items(values)

    def frame(self) -> None:
        self.need(self.number("Q"))

    def pair(self) -> list[Any]:
        value = self.pop()
        return [self.pop(), value]

    def byte_array(self) -> None:
        self.push(self.blob("Q"))


INSTRUCTIONS: dict[int, Callable[[_Machine], Any]] = {
    ord(code): instruction
    for code, instruction in {
        "\x80": _Machine.protocol,
        "\x95": _Machine.frame,
        # constants
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "I": _Machine.integer_line,
        "J": lambda m: m.push(m.number("i")),
        "K": lambda m: m.push(m.byte()),
        "M": lambda m: m.push(m.number("H")),
        "L": lambda m: m.push(_whole(m.line().removesuffix(b"L"))),
        "\x8a": lambda m: m.integer(m.byte()),
        "\x8b": lambda m: m.integer(m.number("i")),
        "F": lambda m: m.push(float(m.line())),
        "G": lambda m: m.push(struct.unpack(">d", m.read(8))[0]),
        "S": _Machine.quoted,
        "T": lambda m: m.old_text("i"),
        "U": lambda m: m.old_text("B"),
        "V": lambda m: m.push(m.line(m.source.end).decode("raw_unicode_escape")),
        "X": lambda m: m.push(m.text("I")),
        "\x8c": lambda m: m.push(m.text("B")),
        "\x8d": lambda m: m.push(m.text("Q")),
        "B": lambda m: m.push(m.blob("I")),
        "C": lambda m: m.push(m.blob("B")),
        "\x8e": lambda m: m.push(m.blob("Q")),
        "\x96": _Machine.byte_array,
        # containers
        "]": lambda m: m.push([]),
        "}": lambda m: m.push({}),
        ")": lambda m: m.push(()),
        "\x8f": lambda m: m.push(set()),
        "(": lambda m: m.push(MARK),
        "l": lambda m: m.push(m.since_mark()),
        "t": lambda m: m.push(tuple(m.since_mark())),
        "d": _Machine.dict_of,
        "\x85": lambda m: m.tuple_of(1),
        "\x86": lambda m: m.tuple_of(2),
        "\x87": lambda m: m.tuple_of(3),
        "\x91": lambda m: m.push(frozenset(map(_key, m.since_mark()))),
        "a": lambda m: m.append([m.pop()]),
        "e": lambda m: m.append(m.since_mark()),
        "s": lambda m: m.set_items(m.pair()),
        "u": lambda m: m.set_items(m.since_mark()),
        "\x90": lambda m: m.add(m.since_mark()),
        # the stack and the memo
        "0": lambda m: m.stack.pop(),
        "1": _Machine.since_mark,
        "2": lambda m: m.push(m.top()),
        "g": lambda m: m.get(int(m.line())),
        "h": lambda m: m.get(m.byte()),
        "j": lambda m: m.get(m.number("I")),
        "p": lambda m: m.put(int(m.line())),
        "q": lambda m: m.put(m.byte()),
        "r": lambda m: m.put(m.number("I")),
        "\x94": lambda m: m.put(len(m.memo)),
        # objects
        "c": lambda m: m.push(m.name_from_lines()),
        "\x93": _Machine.name_from_stack,
        "R": _Machine.new,
        "\x81": _Machine.new,
        "\x92": _Machine.new_with_names,
        "i": _Machine.inst,
        "o": _Machine.obj,
        "b": lambda m: m.build(m.pop()),
        "Q": _Machine.refer,
    }.items()
}


def _whole(text: bytes) -> int:
    if len(text) > LONGEST_NUMBER:
        raise MalformedError("it has an integer of absurd length")
    return int(text)


def _key(value: Any) -> Any:
    """A key of a dict, unless hashing it may take long (nested tuples, giant integers)."""
    if isinstance(value, tuple) and len(value) <= 8:
        for each in value:
            if isinstance(each, tuple):
                raise MalformedError("it has a nested tuple for a key")
            _key(each)
        return value
    if isinstance(value, (str, bytes, bool, float, type(None), Global)):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return value
    raise MalformedError(f"it has a {_kind(value)} for a key")


def _kind(value: Any) -> str:
    return str(value)[:100] if isinstance(value, (Record, Global)) else type(value).__name__
