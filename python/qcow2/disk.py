# SPDX-License-Identifier: MIT
"""The bytes that a guest reads from its disk, over an image and the files below it.

Files that an image names are opened by nobody but a *gate*: a function of yours that is asked about
each of them. Without one, an image that needs another file cannot be read.
"""
import enum
import os
import struct
import threading
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Set

from ._handle import Failure, Handle, Hearer, Single, Stream, callback
from ._native import ffi, lib
from ._text import StrPath, name_of, path_text, printable
from .errors import (ArgumentError, ErrorCode, Qcow2Error, UnsupportedError, exception, fill,
                     number)
from .problems import kind_id
from .source import Source

_BATCH = 512
_LAYOUT = struct.Struct("=QQQiiI???x")
assert _LAYOUT.size == ffi.sizeof("struct binding_disk_extent")


@dataclass(frozen=True)
class Wanted:
    """A file that an image names, as a gate is asked about it."""

    role: str  #: ``backing``, or ``data-file``: it holds all clusters of the guest
    depth: int  #: of the file that names it: 0 is the image, 1 its backing file, …
    name: str  #: as stored; it may be relative, of a protocol of QEMU, or anything
    format: str  #: of a backing file: as the image states it, or empty


@dataclass(frozen=True)
class Given:
    """A gate's answer: read this."""

    source: Source  #: which the disk leaves open
    format: str  #: ``qcow2`` or ``raw``; a data file is always raw


# Gives a file, or None if it is not there: then reads that need it fail. What it raises refuses the
# disk, and is raised by the call that opens it.
Gate = Callable[[Wanted], Optional[Given]]
# Gives the passphrase of an encrypted image. depth: 0 is the image of the disk.
Key = Callable[[int], bytes]


@dataclass(frozen=True)
class Fault:
    """A part of the disk that cannot be read."""

    start: int  #: bytes
    length: int  #: bytes, never 0
    depth: int  #: of the file at fault
    problem: Optional[str]  #: id of the rule that an entry breaks
    error: Qcow2Error  #: as a read raises it


class DiskKind(enum.Enum):
    """What a guest reads."""

    UNALLOCATED = "unallocated"  #: zeros, as no file says anything
    ZERO = "zero"  #: zeros, as a file says so
    DATA = "data"
    UNREADABLE = "unreadable"


class DiskExtent(NamedTuple):
    """A part of the disk that is alike throughout. Numbers are bytes."""

    start: int
    length: int
    kind: DiskKind
    depth: int  #: of the file that says so
    offset: Optional[int]  #: of its bytes in that file, if they are there
    compressed: bool
    encrypted: bool
    problem: Optional[str]


class DiskExtents(Stream[DiskExtent]):
    """The extents of a disk over all files of its chain: in rising order, without gaps."""

    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[DiskExtent]]:
        out = ffi.new("struct binding_disk_extent[]", _BATCH)
        count = ffi.new("size_t *")
        if failure.check(lib.binding_disk_take(pointer, out, _BATCH, count, failure.err)) == 0:
            return None
        rows = bytes(ffi.buffer(out, count[0] * _LAYOUT.size))
        return iter([
            DiskExtent(start, length, _KINDS[kind], depth, host if placed else None, compressed,
                       encrypted, kind_id(problem))
            for start, length, host, kind, problem, depth, compressed, encrypted, placed
            in _LAYOUT.iter_unpack(rows)])


_KINDS = {getattr(lib, f"QCOW2_DISK_{kind.name}"): kind for kind in DiskKind}


class Disk(Single):
    """A disk as a guest reads it. Threads may read it at once; it never writes."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._telling: Set[int] = set()  # threads whose read_past() tells of faults

    @property
    def size(self) -> int:
        """In bytes, whole sectors of 512."""
        with self._handle as disk:
            return int(lib.qcow2_disk_size_bytes(disk))

    @property
    def depth(self) -> int:
        """How many files the chain has; 1 for an image that stands alone."""
        with self._handle as disk:
            return int(lib.qcow2_disk_depth(disk))

    def read(self, offset: int, length: int) -> bytes:
        """Reads bytes of the disk; the range, in bytes, lies inside it.

        Raises ArgumentError (past the end), BrokenError (the image is damaged there), NotFoundError (a
        file is missing), IoError, LimitError, OutOfMemoryError.
        """
        data = self._room(offset, length)
        self.readinto(offset, data)
        return bytes(data)

    def _room(self, offset: int, length: int) -> bytearray:
        """Memory for a range, once that is known to lie inside the disk."""
        if number(offset, "offset") + number(length, "length") > self.size:
            raise self._refusal(f"the range passes the end of the disk, which has {self.size} bytes")
        return bytearray(length)

    def _refusal(self, text: str) -> ArgumentError:
        return ArgumentError(text, ErrorCode.ARGUMENT, filename=self._handle.filename)

    def _start(self, offset: int) -> Any:
        """Where a read starts; it would wait for itself if a fault of this thread is being told."""
        if threading.get_ident() in self._telling:
            raise self._refusal("this disk cannot be read while it tells of a fault")
        return ffi.new("struct qcow2_guest *", {"byte": number(offset, "offset")})[0]

    def readinto(self, offset: int, buffer: Any) -> None:
        """As :meth:`read`, into a buffer of yours, all of which is filled."""
        view = ffi.from_buffer("uint8_t[]", buffer, require_writable=True)
        start = self._start(offset)
        with self._handle as disk:
            failure = Failure(self._handle.filename)
            failure.check(lib.qcow2_disk_read(disk, start, view, len(view), failure.err))

    def read_past(self, offset: int, length: int, fault: Callable[[Fault], object]) -> bytes:
        """Reads past what cannot be read: zeros stand there, and ``fault`` is told of each part.

        fault: called from within the call, in rising order. It must not read this disk. What it raises
            ends the call.
        """
        start, data = self._start(offset), self._room(offset, length)
        view = ffi.from_buffer("uint8_t[]", data)
        hearer, thread = Hearer(fault), threading.get_ident()
        with self._handle as disk:
            failure = Failure(self._handle.filename)
            self._telling.add(thread)
            try:
                status = lib.qcow2_disk_read_past(disk, start, view, length, lib.binding_fault,
                                                  hearer.handle, failure.err)
            finally:
                self._telling.discard(thread)
            hearer.check(failure, status)
        ffi.release(view)
        return bytes(data)

    def extents(self, start: int = 0, length: Optional[int] = None) -> DiskExtents:
        """What each part of the disk is, over all files. Streams.

        start, length: the range in bytes; None: up to the end.
        """
        out = ffi.new("struct qcow2_disk_extents **")
        where = ffi.new("struct qcow2_guest *", {"byte": number(start, "start")})
        most = 2 ** 64 - 1 if length is None else number(length, "length")
        with self._handle as disk:
            failure = Failure(self._handle.filename)
            failure.check(lib.qcow2_disk_extents_open(disk, out, failure.err))
            handle = Handle(out[0], lib.qcow2_disk_extents_close, "the stream of extents",
                            [self._handle], filename=self._handle.filename)
        with handle as extents:
            lib.qcow2_disk_extents_seek(extents, where[0], most)
        return DiskExtents(handle)

    def close(self) -> None:
        """Closes it. What the gate gave stays open. Twice is fine."""
        self._handle.close()

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Asked:
    """What the callbacks of one ``qcow2_disk_open`` share."""

    def __init__(self, gate: Optional[Gate], key: Optional[Key]) -> None:
        self.gate = gate
        self.key = key
        self.handle = ffi.new_handle(self)
        self.failed: Optional[BaseException] = None
        self.sources: List[Handle] = []

    def answer(self, wanted: Any, source: Any) -> int:
        """Asks the gate, and keeps what it gives."""
        assert self.gate is not None
        backing = wanted.role == lib.QCOW2_DISK_BACKING
        given = self.gate(Wanted("backing" if backing else "data-file", wanted.depth,
                                 name_of(wanted.name), name_of(wanted.format)))
        if given is None:
            return int(lib.QCOW2_DISK_MISSING)
        if given.format not in ("qcow2", "raw"):
            raise ValueError(f"a gate gives files of the format qcow2 or raw, not {given.format!r}")
        handle = given.source._handle
        source[0] = handle.__enter__()  # left by open_disk()
        self.sources.append(handle)
        return int(lib.QCOW2_DISK_GIVEN_QCOW2 if given.format == "qcow2"
                   else lib.QCOW2_DISK_GIVEN_RAW)

    def passphrase(self, depth: int, key: Any, key_bytes: Any) -> int:
        """Asks for a passphrase."""
        assert self.key is not None
        found = self.key(depth)
        if len(found) > lib.QCOW2_DISK_KEY_BYTES:
            raise ValueError(f"a passphrase has at most {lib.QCOW2_DISK_KEY_BYTES} bytes")
        ffi.memmove(key, found, len(found))
        key_bytes[0] = len(found)
        return 0

    def stop(self, error: BaseException, err: Any) -> int:
        """Keeps what a callback raised."""
        self.failed = error
        fill(err, lib.QCOW2_ERROR_STOPPED, "the caller refused")
        return int(lib.QCOW2_DISK_REFUSED)


@callback("binding_gate")
def _gate(opaque: Any, wanted: Any, source: Any, err: Any) -> int:
    asked: _Asked = ffi.from_handle(opaque)
    try:
        return asked.answer(wanted, source)
    except BaseException as error:  # pylint: disable=broad-except
        return asked.stop(error, err)


@callback("binding_key")
def _key(opaque: Any, _image: Any, depth: int, key: Any, key_bytes: Any, err: Any) -> int:
    asked: _Asked = ffi.from_handle(opaque)
    try:
        return asked.passphrase(depth, key, key_bytes)
    except BaseException as error:  # pylint: disable=broad-except
        return asked.stop(error, err)


def _fault_of(fault: Any) -> Fault:
    return Fault(fault.start.byte, fault.length_bytes, fault.depth, kind_id(fault.problem),
                 exception(fault.error))


@callback("binding_fault")
def _fault(opaque: Any, fault: Any) -> int:
    hearer: Hearer = ffi.from_handle(opaque)
    return hearer.hear(_fault_of, fault)


def open_disk(image: Handle, gate: Optional[Gate], key: Optional[Key], snapshot: Optional[int],
              vm_state: bool, memory_limit: int) -> Disk:
    """See :meth:`qcow2.Image.disk`."""
    asked = _Asked(gate, key)
    options = ffi.new("struct qcow2_disk_options *", {
        "size": ffi.sizeof("struct qcow2_disk_options"),
        "gate": lib.binding_gate if gate else ffi.NULL, "key": lib.binding_key if key else ffi.NULL,
        "opaque": asked.handle, "has_snapshot": snapshot is not None, "vm_state": vm_state,
        "snapshot_index": number(snapshot or 0, "snapshot"),
        "memory_limit_bytes": number(memory_limit, "memory_limit")})
    out = ffi.new("struct qcow2_disk **")
    try:
        with image as pointer:
            failure = Failure(image.filename)
            status = lib.qcow2_disk_open(pointer, options, out, failure.err)
            if asked.failed is not None:
                try:
                    raise asked.failed
                finally:
                    asked.failed = None
            failure.check(status)
            return Disk(Handle(out[0], lib.qcow2_disk_close, "the disk", [image, *asked.sources],
                               keep=asked, filename=image.filename))
    finally:
        for handle in asked.sources:
            handle.__exit__()


def gate_within(folder: StrPath) -> Gate:
    """A gate that opens files below a folder, and nothing else.

    Names are relative to the folder of the file that names them, which for the image is ``folder``.
    A name that leads elsewhere, also by a symbolic link, a name of a protocol, and a backing file
    whose format is not stated as qcow2 or raw, are refused with UnsupportedError.
    """
    top = os.path.realpath(os.fsencode(folder))
    folders: List[bytes] = [top]

    def gate(wanted: Wanted) -> Optional[Given]:
        path = os.path.realpath(_below(top, folders[wanted.depth], wanted))
        if not path.startswith(os.path.join(top, b"")):
            raise _refusal(wanted, f"is not below {printable(path_text(top))}")
        if wanted.role == "backing":
            del folders[wanted.depth + 1:]
            folders.append(os.path.dirname(path))
        if not os.path.exists(path):
            return None
        form = "raw" if wanted.role == "data-file" else wanted.format
        return Given(Source.open(path), form)

    return gate


def _below(top: bytes, folder: bytes, wanted: Wanted) -> bytes:
    name = wanted.name.encode("utf-8", "surrogateescape")
    if b"\0" in name or not name:
        raise _refusal(wanted, "is no name of a file")
    if b":" in name.split(b"/")[0]:
        raise _refusal(wanted, "is of a protocol")
    if wanted.role == "backing" and wanted.format not in ("qcow2", "raw"):
        raise _refusal(wanted, f"has the format '{printable(wanted.format)}', not qcow2 or raw"
                       if wanted.format else "has no format stated")
    return os.path.join(folder or top, name)


def _refusal(wanted: Wanted, why: str) -> UnsupportedError:
    what = "backing file" if wanted.role == "backing" else "data file"
    return UnsupportedError(f"the {what} '{printable(wanted.name)}' {why}", ErrorCode.UNSUPPORTED)
