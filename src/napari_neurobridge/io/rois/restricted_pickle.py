"""Reading NumPy's ``.npy`` files of objects without running anything that they name.

``np.load(allow_pickle=True)`` calls whatever function a file asks for. Here the file can ask for
arrays, numbers, text and containers, and for nothing else.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
import tokenize
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.roi_set import check_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SIMPLE_TYPE = re.compile(r"[<>|=]?(\?|[biufc]\d{1,2}|[SU]\d{1,6}|O\d?|b1)")


class RefusedError(Exception):
    """A file asks for something that is not allowed."""


class _Ignored:
    """Stands for an object that is not read, where a file may hold such."""

    def __init__(self, *_: object) -> None:
        pass


def _array(kind: object, shape: object, _code: object) -> npt.NDArray[Any]:
    # NumPy asks for an empty array, which the state then fills.
    if kind is not _array_kind or shape != (0,):
        raise RefusedError("an array of another kind")
    return np.zeros((0,), dtype=np.int8)


def _array_kind() -> None:
    raise RefusedError("an array made in another way")


def _dtype(code: object, _align: object = False, _copy: object = True) -> np.dtype[Any]:
    if not isinstance(code, str) or not _SIMPLE_TYPE.fullmatch(code):
        raise RefusedError(f"the type {str(code)[:40]!r}")
    return np.dtype(code, copy=True)  # a copy, since the state changes it


def _scalar(kind: object, raw: object) -> object:
    if not isinstance(kind, np.dtype) or kind.hasobject or not isinstance(raw, bytes):
        raise RefusedError("a number of another kind")
    return np.frombuffer(raw, dtype=kind, count=1)[0]


def _encoded(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedError("text in another encoding")
    return text.encode("latin1")  # how Python 2's protocols hold bytes


def _no_bytes() -> bytes:
    return b""


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _array_kind,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _no_bytes,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ALLOWED[_module, "_reconstruct"] = _array
    _ALLOWED[_module, "scalar"] = _scalar

_OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK DUP GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET
    GLOBAL STACK_GLOBAL REDUCE BUILD NEWOBJ NEWOBJ_EX
"""
"""Stack and memo; numbers, text and bytes; containers; functions of `_ALLOWED` and their use."""


# The one in Python: the one in C makes room for as many objects as a file says it will number.
class _NumpyUnpickler(pickle._Unpickler):
    """Reads what `_ALLOWED` and `_OPCODES` allow.

    Parameters
    ----------
    data : bytes
    ignore_others : bool
        Put a placeholder for any other object, rather than refuse the file.
    """

    stack: list[Any]

    def __init__(self, data: bytes, *, ignore_others: bool) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._ignore_others = ignore_others

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if self._ignore_others:
            return _Ignored
        raise RefusedError(f"the object {module}.{name}"[:80])

    def _reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        with self._refusals():
            self.stack.append(_called(function, arguments))

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Put a placeholder for what is refused, where others may be ignored."""
        try:
            yield
        except RefusedError:
            if not self._ignore_others:
                raise
            self.stack.append(_Ignored())

    def _new(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self._put_ignored(kind, arguments)

    def _new_with_keywords(self) -> None:
        self.stack.pop()
        self._new()

    def _put_ignored(self, kind: object, _arguments: object) -> None:
        if kind is not _Ignored:
            raise RefusedError("an object made in another way")
        self.stack.append(_Ignored())

    def _build(self) -> None:
        state, made = self.stack.pop(), self.stack.pop()
        with self._refusals():
            _complete(made, state)
            self.stack.append(made)

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
        for name in _OPCODES.split()
    } | {
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _new,
        pickle.NEWOBJ_EX[0]: _new_with_keywords,
        pickle.BUILD[0]: _build,
    }


def _called(function: object, arguments: object) -> object:
    if function is _Ignored:
        return _Ignored()
    if function not in _ALLOWED.values() or not isinstance(arguments, tuple):
        raise RefusedError("a call of something else")
    return function(*arguments)  # type: ignore[operator]


def _complete(made: object, state: object) -> None:
    """Give an array its content, or a simple type its byte order, as NumPy stores them.

    Both are checked first, since NumPy itself believes what it reads.
    """
    match made, state:
        case np.ndarray(), (1, tuple(shape), np.dtype() as kind, int(), bytes() | list() as held):
            n_items = math.prod(int(n) for n in shape)
            length = len(held) if kind.hasobject else len(held) / max(kind.itemsize, 1)
            if isinstance(held, list) is kind.hasobject and length == n_items:
                made.__setstate__(state)  # type: ignore[arg-type]
                return
        case np.dtype(), (3 | 4, "<" | ">" | "|" | "=", None, None, None, size, int(), int()):
            if size in (-1, made.itemsize):
                made.__setstate__(state)  # type: ignore[attr-defined]
                return
        case _Ignored(), _:
            return
    raise RefusedError("a damaged array, or one of a kind that is not simple")


_DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    SyntaxError,  # of the header, which is a line of Python
    tokenize.TokenError,
)
"""What damaged files raise while they are read."""


def read_npy(path: Path, *, objects: bool = False, ignore_others: bool = False) -> npt.NDArray[Any]:
    """Read a ``.npy`` file; nothing in it is run.

    Parameters
    ----------
    path : Path
    objects : bool
        Whether it may hold lists, dicts, text and arrays rather than numbers.
    ignore_others : bool
        Leave out objects of other kinds, rather than refuse the file.

    Returns
    -------
    ndarray

    Raises
    ------
    InputError
        If it cannot be read, is damaged, or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    check_size(path)
    stream = io.BytesIO(path.read_bytes())
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _fortran, kind = read_header(stream)
        if not kind.hasobject:
            if math.prod(shape) * kind.itemsize > len(stream.getbuffer()):
                raise ValueError("less than it promises")
            stream.seek(0)
            return np.asarray(np.load(stream, allow_pickle=False))
        if not objects:
            raise RefusedError("objects, where numbers are expected")
        found = _NumpyUnpickler(stream.read(), ignore_others=ignore_others).load()
    except RefusedError as error:
        raise InputError(f"{path} holds {error}, and is not read.") from error
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged, or no NumPy file.") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"{path} holds no array.")
    return found
