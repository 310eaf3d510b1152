# SPDX-License-Identifier: MIT
"""The snapshots inside an image."""
from dataclasses import dataclass
from typing import Any, Iterator, List, Optional, Union

from ._handle import Failure, Handle, Single, Stream
from ._native import ffi, lib
from ._text import name_of, printable
from .errors import ErrorCode, NotFoundError


@dataclass(frozen=True)
class Snapshot:
    """An entry of the snapshot table, as it stands there."""

    index: int  #: in the table, from 0
    id: str
    name: str  #: see :func:`qcow2.printable`
    disk_size: int  #: bytes
    vm_state_size: int  #: bytes
    date_seconds: int  #: since the Epoch
    date_nanoseconds: int
    vm_clock_nanoseconds: int
    icount: Optional[int]  #: instructions that the guest had run, or None
    l1_table_offset: int  #: bytes
    l1_entries: int
    offset: int  #: of the entry in the file, bytes
    cut: bool  #: the entry passes the end of the file


def _snapshot(found: Any) -> Snapshot:
    head = found.header
    return Snapshot(index=found.index, id=name_of(found.id), name=name_of(found.name),
                    disk_size=found.disk_size_bytes, vm_state_size=found.vm_state_size_bytes,
                    date_seconds=head.date_sec, date_nanoseconds=head.date_nsec,
                    vm_clock_nanoseconds=head.vm_clock_nsec,
                    icount=found.extra.icount if found.has_icount else None,
                    l1_table_offset=head.l1_table_offset, l1_entries=head.l1_size,
                    offset=found.offset_bytes, cut=bool(found.cut))


class _Table(Stream[Snapshot]):
    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[Snapshot]]:
        out = ffi.new("const struct qcow2_snapshot **")
        if failure.check(lib.qcow2_snapshots_next(pointer, out, failure.err)) == 0:
            return None
        return iter([_snapshot(out[0])])


class Snapshots(Single):
    """The snapshots of an image: iterate over them, or find one. Keeps nothing."""

    def __init__(self, image: Handle) -> None:
        self._image = image

    def __iter__(self) -> Iterator[Snapshot]:
        out = ffi.new("struct qcow2_snapshots **")
        with self._image as image:
            failure = Failure(self._image.filename)
            try:
                failure.check(lib.qcow2_snapshots_open(image, out, failure.err))
            except NotFoundError:
                return iter(())
            return _Table(Handle(out[0], lib.qcow2_snapshots_close, "the list of snapshots",
                                 [self._image], filename=self._image.filename))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def find(self, wanted: str) -> Snapshot:
        """Finds a snapshot by its ID, or else by its name. Raises NotFoundError.

        A name that several snapshots have is refused; use their IDs.
        """
        by_name: List[Snapshot] = []
        for snapshot in self:
            if snapshot.id == wanted:
                return snapshot
            if snapshot.name == wanted:
                by_name.append(snapshot)
        if len(by_name) == 1:
            return by_name[0]
        how_many = "several snapshots have" if by_name else "no snapshot has"
        raise NotFoundError(f"{how_many} the ID or the name '{printable(wanted)}'",
                            ErrorCode.NOT_FOUND, filename=self._image.filename)

    def index(self, wanted: "Union[Snapshot, str, int]") -> int:
        """The place in the table of a snapshot that is given in any of these ways.

        Raises NotFoundError; also of a Snapshot that is not there any more, as it was.
        """
        if isinstance(wanted, Snapshot):
            if not any(found == wanted for found in self):
                raise NotFoundError(f"snapshot '{printable(wanted.name)}' is not there, or not as it "
                                    "was when it was asked for", ErrorCode.NOT_FOUND,
                                    filename=self._image.filename)
            return wanted.index
        return wanted if isinstance(wanted, int) else self.find(wanted).index
