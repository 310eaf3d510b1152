# SPDX-License-Identifier: MIT
"""What each part of a virtual disk is, and where the image keeps it."""
import enum
import struct
from typing import Any, Iterator, List, NamedTuple, Optional

from ._handle import Failure, Handle, Stream
from ._native import ffi, lib
from .errors import number
from .problems import kind_id

_BATCH = 512
_LAYOUT = struct.Struct("=QQQQii")
assert _LAYOUT.size == ffi.sizeof("struct binding_extent")


class ExtentKind(enum.Enum):
    """What the image says of a part of its disk."""

    UNALLOCATED = "unallocated"  #: nothing: the guest reads the backing file, or zeros
    ZERO = "zero"  #: zeros, without a place in the file
    ZERO_ALLOCATED = "zero-allocated"  #: zeros, and a cluster is kept for it
    DATA = "data"
    COMPRESSED = "compressed"
    INVALID = "invalid"  #: an entry makes no sense: see problem

    @property
    def zero(self) -> bool:
        """Whether the image says that it reads as zeros."""
        return self in (ExtentKind.ZERO, ExtentKind.ZERO_ALLOCATED)


class Extent(NamedTuple):
    """A part of the virtual disk that is alike throughout. All numbers are bytes."""

    start: int  #: in the virtual disk
    length: int  #: never 0
    kind: ExtentKind
    offset: Optional[int]  #: of its bytes in the image, or in the data file if there is one
    host_length: int  #: how many bytes from offset on belong to it; 0 without offset
    problem: Optional[str]  #: of kind INVALID: the id of the rule that is broken

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.length


_KINDS: List[Optional[ExtentKind]] = []


def _kind(number: int) -> ExtentKind:
    while len(_KINDS) <= number:
        name = lib.qcow2_l2_kind_name(len(_KINDS))
        _KINDS.append(ExtentKind(ffi.string(name).decode()) if name else None)
    kind = _KINDS[number]
    assert kind is not None
    return kind


class Mapping(Stream[Extent]):
    """The extents of a range of a virtual disk: in rising order, without gaps, as long as can be."""

    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[Extent]]:
        out = ffi.new("struct binding_extent[]", _BATCH)
        count = ffi.new("size_t *")
        if failure.check(lib.binding_mapping_take(pointer, out, _BATCH, count, failure.err)) == 0:
            return None
        rows = bytes(ffi.buffer(out, count[0] * _LAYOUT.size))
        return iter([
            Extent(start, length, _kind(kind), None if host == lib.QCOW2_NO_OFFSET else host,
                   host_length, kind_id(problem))
            for start, length, host, host_length, kind, problem in _LAYOUT.iter_unpack(rows)])

    @property
    def disk_size(self) -> int:
        """Of the disk that the extents are about, in bytes."""
        with self._handle as pointer:
            return int(lib.qcow2_mapping_size_bytes(pointer))

    def __enter__(self) -> "Mapping":
        return self


def open_mapping(image: Handle, start: int, length: Optional[int],
                 snapshot: Optional[int]) -> Mapping:
    """See :meth:`qcow2.Image.map`."""
    out = ffi.new("struct qcow2_mapping **")
    where = ffi.new("struct qcow2_guest *", {"byte": number(start, "start")})
    most = 2 ** 64 - 1 if length is None else number(length, "length")
    with image as pointer:
        failure = Failure(image.filename)
        if snapshot is None:
            failure.check(lib.qcow2_mapping_open(pointer, out, failure.err))
        else:
            failure.check(lib.qcow2_mapping_open_snapshot(pointer, number(snapshot, "snapshot"), out,
                                                          failure.err))
        handle = Handle(out[0], lib.qcow2_mapping_close, "the mapping", [image],
                        filename=image.filename)
    with handle as mapping:
        lib.qcow2_mapping_seek(mapping, where[0], most)
    return Mapping(handle)
