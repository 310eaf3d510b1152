# SPDX-License-Identifier: MIT
"""Text that crosses between Python and the library."""
import os
from typing import Any, Sequence, Tuple, Union

from ._native import ffi, lib

StrPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
# Names in images are bytes. They are shown as str; what is not UTF-8 in them becomes surrogates, as
# in names of files, so that every name can be handed back as it was.
Name = Union[str, bytes]


def name_of(view: Any) -> str:
    """The str that stands for a ``struct qcow2_bytes`` of an image."""
    return bytes_of(view).decode("utf-8", "surrogateescape")


def bytes_of(view: Any) -> bytes:
    """A copy of a ``struct qcow2_bytes``."""
    return bytes(ffi.buffer(view.data, view.size)) if view.size else b""


def raw_name(name: Name) -> bytes:
    """The bytes of a name, as they stand in an image."""
    if isinstance(name, bytes):
        return name
    if not isinstance(name, str):
        raise TypeError(f"a name is str or bytes, not {type(name).__name__}")
    return name.encode("utf-8", "surrogateescape")


def c_text(text: Name) -> bytes:
    """The bytes of a text for C, which would take a null byte for its end."""
    data = raw_name(text)
    if b"\0" in data:
        raise ValueError("embedded null byte")
    return data


def c_path(path: StrPath) -> bytes:
    """Likewise, of a path."""
    return c_text(os.fsencode(path))


def several(names: Sequence[Name], what: str) -> Sequence[Name]:
    """Names, of which one text is none: it would be taken for as many as it has characters."""
    if isinstance(names, (str, bytes)):
        raise TypeError(f"{what} is a list of names, not one name")
    return names


def view_of(data: bytes) -> Tuple[Any, Any]:
    """A ``struct qcow2_bytes`` of bytes, and what has to live as long as it is used."""
    keep = ffi.from_buffer("uint8_t[]", data)
    view = ffi.new("struct qcow2_bytes *", {"data": keep, "size": len(data)})
    return view[0], (keep, view, data)


def text_of(pointer: Any) -> str:
    """The str of a constant text, or of a text in a structure."""
    return ffi.string(pointer).decode("utf-8", "replace")


def path_text(path: StrPath) -> str:
    """How messages call a file."""
    return os.fsdecode(path)


def printable(name: Name) -> str:
    """A name as one line that is safe on a terminal: controls, and what is no text, are escaped.

    No two names give the same line. Use it for every name of an image that people see.
    """
    view, keep = view_of(raw_name(name))
    size = lib.qcow2_text_escape(view, ffi.NULL, 0) + 1
    line = ffi.new("char[]", size)
    lib.qcow2_text_escape(view, line, size)
    del keep
    return ffi.string(line).decode()
