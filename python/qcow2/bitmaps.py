# SPDX-License-Identifier: MIT
"""Dirty bitmaps: which there are, and which parts of the disk they call dirty."""
import struct
from dataclasses import dataclass, fields
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence

from ._handle import Failure, Handle, Hearer, Single, Stream, callback
from ._native import ffi, lib
from ._text import Name, name_of, printable, raw_name, view_of
from .errors import ErrorCode, NotFoundError, StaleBitmapError
from .problems import Problem, problem_of

_BATCH = 1024
_LAYOUT = struct.Struct("=QQ?7x")
assert _LAYOUT.size == ffi.sizeof("struct qcow2_dirty_extent")
_OPERATIONS = {"union": lib.QCOW2_DIRTY_EXTENTS_UNION,
               "intersect": lib.QCOW2_DIRTY_EXTENTS_INTERSECT,
               "subtract": lib.QCOW2_DIRTY_EXTENTS_SUBTRACT}
# A bitmap that tracks writes; the specification has no other type.
_DIRTY_TRACKING = 1


class DirtyExtent(NamedTuple):
    """A part of the virtual disk that is dirty or clean throughout. Numbers are bytes."""

    start: int
    length: int  #: never 0
    dirty: bool


@dataclass(frozen=True)
class BitmapTotals:
    """What a bitmap holds."""

    serialized_entries: int  #: of its table: with data in the file
    all_zeroes_entries: int
    all_ones_entries: int
    disk_bytes: int  #: of the file, for its table and its data
    bits: int
    bits_set: int
    dirty_bytes: int  #: of the virtual disk


@dataclass(frozen=True)
class Bitmap:
    """An entry of the bitmap directory, as it stands there."""

    index: int  #: in the directory, from 0
    name: str  #: see :func:`qcow2.printable`; ``os.fsencode`` is not needed to hand it back
    granularity_bits: int
    enabled: bool  #: programs record writes in it (its flag auto)
    in_use: bool  #: it was not saved properly, or a program has it in memory
    type: int  #: 1: it tracks writes
    table_offset: int  #: bytes
    table_entries: int
    extra_data: bytes  #: its first 4096 bytes at most
    flags: int
    saved: bool
    """What it says is true: it is not in use, the image's bitmaps bit is set, and neither its type
    nor its extra data is of a kind that must not be used. A damaged table may still be in the way:
    :meth:`Bitmaps.problems` looks at that."""

    @property
    def granularity(self) -> int:
        """The bytes of the disk that a bit stands for."""
        return 1 << self.granularity_bits


def _bitmap(bitmap: Any, bit_set: bool) -> Bitmap:
    entry = bitmap.entry
    flags = entry.flags
    strange = bitmap.entry.extra_data_size and not flags & lib.QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE
    extra = bytes(ffi.buffer(bitmap.extra_data.data, bitmap.extra_data.size)) \
        if bitmap.extra_data.size else b""
    in_use = bool(flags & lib.QCOW2_BITMAP_IN_USE)
    return Bitmap(index=bitmap.index, name=name_of(bitmap.name),
                  granularity_bits=entry.granularity_bits,
                  enabled=bool(flags & lib.QCOW2_BITMAP_AUTO), in_use=in_use, type=entry.type,
                  table_offset=entry.bitmap_table_offset, table_entries=entry.bitmap_table_size,
                  extra_data=extra, flags=flags,
                  saved=bit_set and not in_use and entry.type == _DIRTY_TRACKING and not strange)


def _bit_is_set(image: Any) -> bool:
    return bool(lib.qcow2_image_header(image).autoclear_features & lib.QCOW2_AUTOCLEAR_BITMAPS)


class _Directory(Stream[Bitmap]):
    """The entries of the directory, one at a time: each is small."""

    def __init__(self, handle: Handle, bit_set: bool) -> None:
        super().__init__(handle)
        self._bit_set = bit_set

    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[Bitmap]]:
        out = ffi.new("const struct qcow2_bitmap **")
        if failure.check(lib.qcow2_bitmaps_next(pointer, out, failure.err)) == 0:
            return None
        return iter([_bitmap(out[0], self._bit_set)])


class Bitmaps(Single):
    """The dirty bitmaps of an image: iterate over them, or ask for one by its name.

    Reads the directory anew each time, and keeps nothing.
    """

    def __init__(self, image: Handle) -> None:
        self._image = image

    def __iter__(self) -> Iterator[Bitmap]:
        out = ffi.new("struct qcow2_bitmaps **")
        with self._image as image:
            failure = Failure(self._image.filename)
            try:
                failure.check(lib.qcow2_bitmaps_open(image, out, failure.err))
            except NotFoundError:
                return iter(())
            handle = Handle(out[0], lib.qcow2_bitmaps_close, "the list of bitmaps", [self._image],
                            filename=self._image.filename)
            return _Directory(handle, _bit_is_set(image))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: Name) -> Bitmap:
        wanted = raw_name(name)
        found = [bitmap for bitmap in self if raw_name(bitmap.name) == wanted]
        if not found:
            raise NotFoundError(f"no bitmap is called '{printable(name)}'", ErrorCode.NOT_FOUND,
                                filename=self._image.filename)
        return found[0]

    def __contains__(self, name: Name) -> bool:
        wanted = raw_name(name)
        return any(raw_name(bitmap.name) == wanted for bitmap in self)

    def names(self) -> List[str]:
        """The names of all bitmaps."""
        return [bitmap.name for bitmap in self]

    def totals(self, name: Name) -> BitmapTotals:
        """Reads a whole bitmap and adds it up, also one that is damaged or stale.

        Raises NotFoundError, BrokenError, LimitError (more is read than the file stores), IoError.
        """
        out = ffi.new("struct qcow2_bitmap_totals *")
        with self._image as image:
            failure = Failure(self._image.filename)
            entry = _find(image, name, failure)
            most = lib.qcow2_source_allocated_bytes(lib.qcow2_image_source(image)) + (1 << 20)
            failure.check(lib.qcow2_bitmap_count(image, entry, most, out, failure.err))
        return BitmapTotals(*(getattr(out, field.name) for field in fields(BitmapTotals)))

    def problems(self, name: Name, most: int = 64) -> List[Problem]:
        """What is wrong with one bitmap: its entry, its table, the bits past its end.

        most: no more problems than that are told. Faster than a check of the image. Of a name that
        two bitmaps have, the problems of all of them.
        """
        found: List[Problem] = []
        wanted = raw_name(name)
        with self._image as image:
            failure = Failure(self._image.filename)
            bitmaps = ffi.new("struct qcow2_bitmaps **")
            health = ffi.new("struct qcow2_bitmap_health **")
            failure.check(lib.qcow2_bitmaps_open(image, bitmaps, failure.err))
            try:
                failure.check(lib.qcow2_bitmap_health_open(image, health, failure.err))
                if not _examine(bitmaps[0], health[0], wanted, most, found, failure):
                    raise NotFoundError(f"no bitmap is called '{printable(name)}'",
                                        ErrorCode.NOT_FOUND, filename=self._image.filename)
            finally:
                lib.qcow2_bitmap_health_close(health[0])
                lib.qcow2_bitmaps_close(bitmaps[0])
        return found


def _examine(bitmaps: Any, health: Any, wanted: bytes, most: int, found: List[Problem],
             failure: Failure) -> bool:
    """Adds the problems of the bitmaps of a name; says whether there is any such bitmap."""
    bitmap = ffi.new("const struct qcow2_bitmap **")
    there = False
    while failure.check(lib.qcow2_bitmaps_next(bitmaps, bitmap, failure.err)):
        here = raw_name(name_of(bitmap[0].name)) == wanted
        there |= here

        def tell(problem: Problem, here: bool = here) -> None:
            if here and len(found) < most:
                found.append(problem)

        hearer = Hearer(tell)
        hearer.check(failure, lib.qcow2_bitmap_health_examine(
            health, bitmap[0], lib.binding_hear_problem, hearer.handle, failure.err))
    return there


@callback("binding_hear_problem")
def _hear_problem(opaque: Any, problem: Any) -> int:
    hearer: Hearer = ffi.from_handle(opaque)
    return hearer.hear(problem_of, problem)


def _find(image: Any, name: Name, failure: Failure) -> Any:
    """The entry of a bitmap in the directory."""
    view, keep = view_of(raw_name(name))
    entry = ffi.new("struct qcow2_bitmap_dir_entry *")
    status = lib.qcow2_bitmap_find(image, view, entry, failure.err)
    if status:
        lib.qcow2_bitmap_error(failure.err, view)
    del keep
    failure.check(status)
    return entry


class DirtyExtents(Stream[DirtyExtent]):
    """The parts of a disk that a bitmap calls dirty, or clean: in order, without gaps.

    Neighbours differ. The end is that of the disk, cut to whole sectors of 512 bytes.
    """

    def __init__(self, handle: Handle, dirty_only: bool) -> None:
        super().__init__(handle)
        self._dirty_only = dirty_only

    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[DirtyExtent]]:
        out = ffi.new("struct qcow2_dirty_extent[]", _BATCH)
        count = ffi.new("size_t *")
        if failure.check(lib.qcow2_dirty_extents_take(pointer, out, _BATCH, count,
                                                      failure.err)) == 0:
            return None
        rows = _LAYOUT.iter_unpack(bytes(ffi.buffer(out, count[0] * _LAYOUT.size)))
        return iter([DirtyExtent(*row) for row in rows if row[2] or not self._dirty_only])

    @property
    def disk_size(self) -> int:
        """Of the disk that the extents cover: the virtual size, cut to whole sectors, in bytes."""
        with self._handle as pointer:
            return int(lib.qcow2_dirty_extents_size_bytes(pointer))

    def __enter__(self) -> "DirtyExtents":
        return self


def _refuse_stale(image: Any, entry: Any, name: Name, filename: Optional[str]) -> None:
    why = None
    if not _bit_is_set(image):
        why = "the image's bitmaps bit is not set: it may miss writes"
    elif entry.flags & lib.QCOW2_BITMAP_IN_USE:
        why = "it is in use: it was not saved properly, and may miss writes"
    elif entry.type != _DIRTY_TRACKING:
        why = "its type is not known"
    elif entry.extra_data_size and not entry.flags & lib.QCOW2_BITMAP_EXTRA_DATA_COMPATIBLE:
        why = "it has extra data of an unknown kind and must not be used"
    if why:
        raise StaleBitmapError(f"bitmap '{printable(name)}': {why}", filename=filename)


def _open_one(image: Any, name: Name, stale: bool, lenient: bool, failure: Failure,
              filename: Optional[str]) -> Any:
    entry = _find(image, name, failure)
    if not stale:
        _refuse_stale(image, entry, name, filename)
    out = ffi.new("struct qcow2_dirty_extents **")
    failure.check(lib.qcow2_dirty_extents_open(
        image, entry, lib.QCOW2_DIRTY_EXTENTS_LENIENT if lenient else 0, out, failure.err))
    return out[0]


def open_dirty_extents(image: Handle, names: Sequence[Name], combine: str, dirty_only: bool,
                       stale: bool, lenient: bool) -> DirtyExtents:
    """See :meth:`qcow2.Image.dirty_extents`."""
    if combine not in _OPERATIONS:
        raise ValueError(f"combine is one of {', '.join(_OPERATIONS)}, not {combine!r}")
    parts: List[Any] = []
    with image as pointer:
        failure = Failure(image.filename)
        try:
            for name in names:
                parts.append(_open_one(pointer, name, stale, lenient, failure, image.filename))
            if len(parts) != 1:
                out = ffi.new("struct qcow2_dirty_extents **")
                given = ffi.new("struct qcow2_dirty_extents *[]", parts)
                count, parts = len(parts), []  # they are the library's from here on
                failure.check(lib.qcow2_dirty_extents_combine(
                    _OPERATIONS[combine], given, count, out, failure.err))
                parts = [out[0]]
            handle = Handle(parts[0], lib.qcow2_dirty_extents_close, "the stream of dirty extents",
                            [image], filename=image.filename)
        except BaseException:
            for part in parts:
                lib.qcow2_dirty_extents_close(part)
            raise
    return DirtyExtents(handle, dirty_only)
