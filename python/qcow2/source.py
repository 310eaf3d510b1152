# SPDX-License-Identifier: MIT
"""Where the bytes of images come from."""
import os
from typing import Any, Optional, Tuple, Union

from ._handle import Failure, Handle, Single
from ._native import ffi, lib
from ._text import StrPath, c_path, c_text, path_text
from .errors import number

Buffer = Union[bytes, bytearray, memoryview]


def _absolute(path: bytes) -> bytes:
    """The path as it is now: another folder may be the current one when it is opened again."""
    try:
        return os.path.join(os.getcwdb(), path)
    except OSError:  # the current folder was removed
        return path


def _identity(path: bytes) -> Optional[Tuple[int, int]]:
    """Which file a path leads to."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


class Source(Single):
    """A file, a block device, a descriptor, memory or an NBD server, open for reading.

    It is used to open an :class:`qcow2.Image` and to answer a gate. Threads may share it. Closing it
    closes all that was made from it.
    """

    def __init__(self, handle: Handle, path: Optional[bytes] = None) -> None:
        self._handle = handle
        self._path = path
        self._file = None if path is None else _identity(path)

    @classmethod
    def open(cls, path: StrPath) -> "Source":
        """Opens a regular file or a block device. Nothing that it names is opened, no lock is taken.

        Raises IoError, NotQcow2Error (a directory, FIFO or character device), OutOfMemoryError.
        """
        return cls._opened(c_path(path))

    @classmethod
    def open_for_edit(cls, path: StrPath) -> "Source":
        """Opens a file or a device that :class:`qcow2.Undo` may change, with QEMU's locks.

        Raises InUseError if another program has it open, else as :meth:`open`.
        """
        return cls._opened(c_path(path), for_edit=True)

    @classmethod
    def _opened(cls, path: bytes, for_edit: bool = False, filename: Optional[str] = None) -> "Source":
        """filename: how messages call it, if not by its path."""
        name, full = path_text(path) if filename is None else filename, _absolute(path)
        if for_edit:
            return cls._made("qcow2_source_open_for_edit", name, path, 0, path=full)
        return cls._made("qcow2_source_open", name, path, path=full)

    @classmethod
    def from_fd(cls, fd: int) -> "Source":
        """Reads through a file descriptor, which is duplicated; close yours whenever you like.

        The file is not opened again, so a descriptor that was handed over is enough. Its position
        moves when holes are looked for, as position is shared with yours: do not rely on it.
        """
        return cls._made("binding_source_from_fd", f"descriptor {fd}", fd)

    @classmethod
    def from_buffer(cls, data: Buffer) -> "Source":
        """Reads memory, which must not change; it is kept, not copied."""
        view = ffi.from_buffer("uint8_t[]", data)
        return cls._made("qcow2_source_from_memory", None, view, len(view), keep=view)

    @classmethod
    def from_nbd(cls, uri: str, connections: int = 0, deadline: int = 0) -> "Source":
        """Connects to an NBD server. Never call it with a name that stands in an image.

        uri: ``nbd://HOST[:PORT]/[EXPORT]`` or ``nbd+unix:///[EXPORT]?socket=PATH``.
        connections: the most that are made; 0: as many as are of use, up to 4.
        deadline: when to give up, in nanoseconds of ``time.monotonic_ns()``; 0: never.
        """
        options = ffi.new("struct qcow2_nbd_options *",
                          {"size": ffi.sizeof("struct qcow2_nbd_options"),
                           "deadline_ns": number(deadline, "deadline"),
                           "connections": number(connections, "connections", 32)})
        return cls._made("qcow2_source_open_nbd", uri, c_text(uri), options)

    @classmethod
    def _made(cls, function: str, filename: Optional[str], *arguments: Any, keep: object = None,
              path: Optional[bytes] = None) -> "Source":
        failure = Failure(filename)
        out = ffi.new("struct qcow2_source **")
        failure.check(getattr(lib, function)(*arguments, out, failure.err))
        return cls(Handle(out[0], lib.qcow2_source_close, "the source", keep=keep,
                          filename=filename), path)

    @property
    def size(self) -> int:
        """The size in bytes, as it was when the source was opened."""
        with self._handle as pointer:
            return int(lib.qcow2_source_size_bytes(pointer))

    @property
    def allocated(self) -> int:
        """The bytes that are stored: fewer than the size if the file has holes."""
        with self._handle as pointer:
            return int(lib.qcow2_source_allocated_bytes(pointer))

    @property
    def in_use(self) -> Optional[bool]:
        """Whether another program has the file open for writing, as QEMU's locks tell; None: unknown."""
        with self._handle as pointer:
            found = lib.qcow2_source_in_use(pointer)
        return {lib.QCOW2_IN_USE_NO: False, lib.QCOW2_IN_USE_YES: True}.get(found)

    def set_budget(self, budget: Optional[int]) -> None:
        """Limits how many bytes may be read from now on; then LimitError. None: no limit."""
        with self._handle as pointer:
            lib.qcow2_source_set_budget(pointer, 2 ** 64 - 1 if budget is None
                                        else number(budget, "budget"))

    def set_deadline(self, deadline: Optional[int]) -> None:
        """After this time reads raise IoError with the errno ETIMEDOUT. None: never.

        deadline: nanoseconds of ``time.monotonic_ns()``.
        """
        with self._handle as pointer:
            lib.qcow2_source_set_deadline(pointer, number(deadline or 0, "deadline"))

    def close(self) -> None:
        """Closes it, and all that was made from it. Twice is fine."""
        self._handle.close()

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
