# SPDX-License-Identifier: MIT
"""Exceptions: why a call could not do its work.

An exception is never about a rule that an image breaks while the work goes on; that is a
:class:`qcow2.Problem`, which is data. Each code of the library has a class of its own, and those
that Python has a class for are of that class, too: ``except OSError`` catches :class:`IoError`.
"""
import enum
import errno as system
import operator
from typing import Any, Dict, Optional, Tuple, Type

from ._native import ffi, lib
from ._text import printable


class ErrorCode(enum.IntEnum):
    """Why a call failed. The numbers never change; a later library may have more."""

    NONE = lib.QCOW2_ERROR_NONE
    IO = lib.QCOW2_ERROR_IO
    MEMORY = lib.QCOW2_ERROR_MEMORY
    LIMIT = lib.QCOW2_ERROR_LIMIT
    NOT_QCOW2 = lib.QCOW2_ERROR_NOT_QCOW2
    UNSUPPORTED = lib.QCOW2_ERROR_UNSUPPORTED
    BROKEN = lib.QCOW2_ERROR_BROKEN
    ARGUMENT = lib.QCOW2_ERROR_ARGUMENT
    NOT_FOUND = lib.QCOW2_ERROR_NOT_FOUND
    STOPPED = lib.QCOW2_ERROR_STOPPED
    IN_USE = lib.QCOW2_ERROR_IN_USE
    MISMATCH = lib.QCOW2_ERROR_MISMATCH


class Qcow2Error(Exception):
    """A call could not do its work.

    code: of :class:`ErrorCode`, or a plain number that a newer library made; NONE where the binding
        itself refuses. errno: of the system, or None. offset: in bytes, where in the image file, or
        None. text: one line, safe to print whatever the image holds. filename: of the image or the
        undo file, as it was given, or None. str() has both, and escapes the name.
    """

    code: int
    errno: Optional[int]
    offset: Optional[int]
    text: str
    filename: Optional[str]

    def __init__(self, text: str, code: int = ErrorCode.NONE, errno: Optional[int] = None,
                 offset: Optional[int] = None, filename: Optional[str] = None) -> None:
        super().__init__(text)
        try:
            self.code = ErrorCode(code)
        except ValueError:
            self.code = code
        self.errno = errno
        self.offset = offset
        self.text = text
        self.filename = filename

    def __str__(self) -> str:
        return f"{printable(self.filename)}: {self.text}" if self.filename else self.text

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.text, int(self.code), self.errno, self.offset, self.filename)


class IoError(Qcow2Error, OSError):  # type: ignore[misc]  # errno is None or an int
    """The system refused to open, read or write; see errno."""


class FileMissingError(IoError, FileNotFoundError):  # type: ignore[misc]
    """A file, or a folder on the way to it, is not there."""


class NotPermittedError(IoError, PermissionError):  # type: ignore[misc]
    """The system does not permit it."""


class OutOfMemoryError(Qcow2Error, MemoryError):
    """An allocation failed."""


class LimitError(Qcow2Error):
    """A limit was reached: of memory, of what may be read, of the format or of QEMU."""


class NotQcow2Error(Qcow2Error):
    """Not an image of this format at all."""


class UnsupportedError(Qcow2Error):
    """An image of a kind that the library does not read."""


class BrokenError(Qcow2Error):
    """An image that is too damaged for what was asked."""


class ArgumentError(Qcow2Error, ValueError):
    """An argument makes no sense."""


class NotFoundError(Qcow2Error, LookupError):
    """What was named is not in the image."""


class StoppedError(Qcow2Error):
    """A callback asked to stop."""


class InUseError(Qcow2Error):
    """Another program has the image open, or has changed it."""


class MismatchError(Qcow2Error):
    """Not the image, or not the state of it, that was meant."""


class StaleBitmapError(Qcow2Error):
    """A bitmap that was not saved properly, and so may miss writes, was to be read."""


class ClosedError(ValueError):
    """An image, or something made from it, was used after it was closed."""


_CLASSES: Dict[int, Type[Qcow2Error]] = {
    ErrorCode.IO: IoError, ErrorCode.MEMORY: OutOfMemoryError, ErrorCode.LIMIT: LimitError,
    ErrorCode.NOT_QCOW2: NotQcow2Error, ErrorCode.UNSUPPORTED: UnsupportedError,
    ErrorCode.BROKEN: BrokenError, ErrorCode.ARGUMENT: ArgumentError,
    ErrorCode.NOT_FOUND: NotFoundError, ErrorCode.STOPPED: StoppedError,
    ErrorCode.IN_USE: InUseError, ErrorCode.MISMATCH: MismatchError,
}

# As Python itself has classes for some numbers of the system.
_SYSTEM: Dict[int, Type[Qcow2Error]] = {
    system.ENOENT: FileMissingError, system.EACCES: NotPermittedError,
    system.EPERM: NotPermittedError,
}


def number(value: int, what: str, bits: int = 64) -> int:
    """An argument that the library takes as a number of so many bits, without a sign."""
    found = operator.index(value)
    if not 0 <= found < 1 << bits:
        raise ArgumentError(f"{what} is {found}: not a number from 0 to 2^{bits} - 1",
                            ErrorCode.ARGUMENT)
    return found


def exception(err: Any, filename: Optional[str] = None) -> Qcow2Error:
    """Makes the exception of a ``struct qcow2_error``."""
    offset = None if err.offset_bytes == lib.QCOW2_NO_OFFSET else err.offset_bytes
    text = ffi.string(err.text).decode("utf-8", "replace")
    kind = _CLASSES.get(err.code, Qcow2Error)
    if kind is IoError:
        kind = _SYSTEM.get(err.errnum, IoError)
    return kind(text, err.code, err.errnum or None, offset, filename)


def fill(err: Any, code: int, text: str) -> None:
    """Fills a ``struct qcow2_error`` from a callback."""
    err.code = code
    err.errnum = 0
    err.offset_bytes = lib.QCOW2_NO_OFFSET
    err.text = text.encode("utf-8", "replace")[:255].decode("utf-8", "ignore").encode()
