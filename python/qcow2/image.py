# SPDX-License-Identifier: MIT
"""Images: what everything else begins with."""
import threading
from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Optional, Sequence, Tuple, Union

from ._handle import Failure, Handle, Single
from ._native import ffi, lib
from ._text import Name, StrPath, bytes_of, name_of, text_of
from .bitmaps import Bitmaps, DirtyExtents, open_dirty_extents
from .check import Check, open_check
from .disk import Disk, Gate, Key, open_disk
from .dump import Value, dump
from .edit import Edit
from .errors import ArgumentError, ErrorCode, Qcow2Error
from .mapping import Mapping, open_mapping
from .measure import Sizes, measure
from .problems import Problem
from .snapshots import Snapshot, Snapshots
from .source import Buffer, Source


@dataclass(frozen=True)
class ImageInfo:
    """What the header and its extensions say. Numbers are as stored, and may be wrong."""

    version: int  #: of the format: 2 or 3
    virtual_size: int  #: bytes
    cluster_size: Optional[int]  #: bytes; None if the header's number is impossible
    refcount_bits: Optional[int]  #: width of a refcount; None if impossible
    file_size: int  #: bytes
    allocated: int  #: bytes of the file that are stored: fewer with holes
    backing_file: Optional[str]  #: as stored; see :func:`qcow2.printable`
    backing_format: Optional[str]
    data_file: Optional[str]  #: name of the external data file; "" if there is one without a name
    data_file_raw: bool  #: it alone reads as the guest's disk
    encryption: Optional[str]  #: ``AES``, ``LUKS``, …
    compression: str  #: ``zlib``, ``zstd`` or ``unknown``
    extended_l2: bool
    lazy_refcounts: bool
    dirty: bool  #: refcounts may be behind: it was not closed
    corrupt: bool  #: some program found it broken
    bitmaps_saved: bool  #: the bitmaps bit: bitmaps are consistent with the image
    snapshot_count: int
    incompatible_features: int  #: all bits
    compatible_features: int
    autoclear_features: int


class Image(Single):
    """A disk image. Use it in a ``with`` block, or close it; closing it closes all that was made of it.

    image: a path, bytes or another buffer, or a :class:`qcow2.Source`. A path is opened as a file, for
        reading; ``Source.from_fd`` and ``Source.from_nbd`` make the other sources. A source that you
        hand in stays open when the image is closed.

    Opening asks for little, so that broken images can be looked at. No other file that an image names
    is opened. Threads may use an image at once, and each iterator as well.

    Raises NotQcow2Error, UnsupportedError (an unknown version), BrokenError (cut within the header),
    IoError, OutOfMemoryError.
    """

    def __init__(self, image: Union[StrPath, Buffer, Source], *, is_path: Optional[bool] = None) -> None:
        """is_path: whether ``image`` is a path; None: bytes are an image, str and os.PathLike a path."""
        if isinstance(image, Source):
            self._source, self._owns = image, False
        elif isinstance(image, (bytearray, memoryview)) or (isinstance(image, bytes) and not is_path):
            self._source, self._owns = Source.from_buffer(image), True
        elif is_path is False:
            raise TypeError(f"an image in memory is bytes, not {type(image).__name__}")
        else:
            self._source, self._owns = Source.open(image), True
        self._path = self._source._path
        self._turn = threading.RLock()
        self._resumes = False
        try:
            self._handle = self._open()
        except BaseException:
            if self._owns:
                self._source.close()
            raise

    @classmethod
    def from_fd(cls, fd: int) -> "Image":
        """Opens the image that a file descriptor leads to; see :meth:`Source.from_fd`."""
        return cls._owning(Source.from_fd(fd))

    @classmethod
    def from_nbd(cls, uri: str, connections: int = 0, deadline: int = 0) -> "Image":
        """Opens the image that an NBD server has; see :meth:`Source.from_nbd`."""
        return cls._owning(Source.from_nbd(uri, connections, deadline))

    @classmethod
    def _owning(cls, source: Source) -> "Image":
        try:
            image = cls(source)
        except BaseException:
            source.close()
            raise
        image._owns = True
        return image

    def _open(self) -> Handle:
        out = ffi.new("struct qcow2_image **")
        with self._source._handle as source:
            filename = self._source._handle.filename
            failure = Failure(filename)
            failure.check(lib.qcow2_image_open(source, out, failure.err))
            return Handle(out[0], lib.qcow2_image_close, "the image", [self._source._handle],
                          filename=filename)

    # ---- what it says ----

    @property
    def filename(self) -> Optional[str]:
        """How messages call it; None for memory."""
        return self._handle.filename

    @property
    def source(self) -> Source:
        """Where its bytes come from."""
        return self._source

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._handle.closed

    def info(self) -> ImageInfo:
        """What the header and its extensions say. Reads nothing more. Raises ClosedError."""
        with self._handle as image:
            return _info(image)

    def dump(self, *selectors: str, headers_only: bool = False,
             most_values: int = 1_000_000) -> Tuple[Dict[str, Value], List[Problem]]:
        """Everything, as dictionaries with the names that the specification gives, and problems.

        selectors: as ``qcow2 dump`` takes them: ``header/size``, ``l2/0..3``, ``**``; none: all but the
            tables that may be huge. headers_only: without tables of bitmaps. most_values: raise
            LimitError rather than keep more in memory.

        Raises NotFoundError (a selector names nothing), ArgumentError, IoError, LimitError. Problems
        are those that a structure has by itself; :meth:`check` finds all.
        """
        return dump(self._handle, selectors, headers_only, most_values)

    def check(self, *, threads: int = 0, memory_limit: int = 0, max_per_kind: int = 0,
              only: Optional[str] = None, deep: bool = False) -> Check:
        """Proves the image sound, or says what is wrong: iterate over the result, or ask for ``result``.

        threads: the most that work at once; 0: one for each processor. memory_limit: bytes; 0: 1 GiB.
        max_per_kind: no more problems of a kind are told; all are counted; 0: no limit. only: id of the
        one kind that is told. deep: inflate every compressed cluster, too.

        Errors come from the iteration: IoError, LimitError, OutOfMemoryError.
        """
        return open_check(self._handle, threads, memory_limit, max_per_kind, only, deep)

    def map(self, start: int = 0, length: Optional[int] = None,
            snapshot: Union[Snapshot, str, int, None] = None) -> Mapping:
        """What this image says of each part of its disk, or of a snapshot's. Streams.

        start, length: the range in bytes; it is cut where the disk ends. snapshot: an ID or a name, a
        Snapshot, or its place in the table. See :meth:`Disk.extents` for what a chain says.
        """
        index = None if snapshot is None else self.snapshots.index(snapshot)
        return open_mapping(self._handle, start, length, index)

    def measure(self) -> Sizes:
        """How large the file could be, with and without snapshots and bitmaps, and can grow.

        Reads all tables, and no guest data. Raises BrokenError, LimitError, IoError, OutOfMemoryError.
        """
        return measure(self._handle)

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots inside the image."""
        return Snapshots(self._handle)

    @property
    def bitmaps(self) -> Bitmaps:
        """The dirty bitmaps inside the image."""
        return Bitmaps(self._handle)

    def dirty_extents(self, *names: Name, combine: str = "union", dirty_only: bool = False,
                      stale: bool = False, lenient: bool = False) -> DirtyExtents:
        """Which parts of the disk a bitmap calls dirty. Streams.

        names: of one bitmap, or of several that are combined. combine: ``union``, ``intersect``, or
        ``subtract``: dirty in the first and in none of the others. dirty_only: leave clean parts out.
        stale: read also a bitmap that was not saved properly and may miss writes; a backup must not.
        lenient: entries that are missing or damaged count as clean; a backup must not.

        Raises NotFoundError, StaleBitmapError, BrokenError, LimitError, IoError.
        """
        return open_dirty_extents(self._handle, names, combine, dirty_only, stale, lenient)

    # ---- the guest's bytes ----

    def disk(self, *, gate: Optional[Gate] = None, key: Optional[Key] = None,
             snapshot: Union[Snapshot, str, int, None] = None, vm_state: bool = False,
             memory_limit: int = 0) -> Disk:
        """The disk as a guest reads it.

        gate: decides about each file that an image names; without one, none is opened. See
        :func:`qcow2.gate_within`. key: gives passphrases of encrypted images. snapshot: as in
        :meth:`map`. vm_state: the state of the machine that the snapshot keeps, as a disk.
        memory_limit: bytes; 0: 64 MiB.

        Raises what ``gate`` and ``key`` raise, and UnsupportedError (another file is needed and there
        is no gate, or an unknown feature), MismatchError (wrong passphrase), NotFoundError, BrokenError,
        LimitError, IoError.
        """
        index = None if snapshot is None else self.snapshots.index(snapshot)
        return open_disk(self._handle, gate, key, index, vm_state, memory_limit)

    def read(self, offset: int, length: int, *, gate: Optional[Gate] = None) -> bytes:
        """Reads bytes of the disk once. Open a :meth:`disk` to read more often."""
        with self.disk(gate=gate) as disk:
            return disk.read(offset, length)

    # ---- changes ----

    def edit(self, *, undo: Union[StrPath, Literal[False], None] = None, dry_run: bool = False,
             force: bool = False) -> Edit:
        """Changes the image: a context manager that gives a :class:`qcow2.Plan`.

            with image.edit(undo="disk.undo") as plan:
                plan.add_bitmap("nightly")

        At the end of the block the plan is judged and applied, or RefusedError is raised and nothing
        is written. If the block raises, nothing is written. A plan that changes nothing writes
        nothing, not even the undo file.

        undo: path of the undo file, which must not exist yet; False: none, and no way back. dry_run:
        plan and judge, write nothing; ``plan.verdict`` and ``plan.writes()`` can be asked after the
        block, too. force: apply whatever the verdict is.

        The image has to come from a path, but for a dry run. Before it is written, all that was made
        of this image is closed (iterators, disks); the image itself is opened again, with a new
        ``source`` that has neither a budget nor a deadline. If it is no image any more (``force``), it
        stays closed. A call that another thread is in goes on meanwhile, and may see both states.

        The image is locked from the beginning of the block to its end. What the change depends on has
        to be read within the block, from an Image that was opened there: before it, a virtual machine
        may have run and written.

        Entering raises InUseError if another program has the image open, MismatchError if its path
        leads to another file than when it was opened; leaving raises IoError, InUseError (it was
        written to meanwhile), RefusedError.
        """
        if not dry_run and self._path is None:
            raise ArgumentError("only an image that was opened by its path can be edited",
                                ErrorCode.ARGUMENT, filename=self.filename)
        if not dry_run and undo is None:
            raise ValueError("give undo=PATH, or undo=False to go without a way back")
        return Edit(self._source, self._path, None if undo is False else undo, dry_run, force, self._suspend,
                    self._resume)

    def _suspend(self) -> None:
        """Ends everything that reads, before the file changes."""
        with self._turn:
            self._resumes = not self._handle.closed
            self._handle.close()
            if self._owns:
                self._source.close()

    def _resume(self) -> None:
        """Opens the changed file; a source of the caller's cannot be, as its size may be another."""
        with self._turn:
            if not self._resumes or self._path is None:
                return
            try:
                self._source = Source._opened(self._path, filename=self._handle.filename)
                self._owns = True
                self._handle = self._open()
            except Qcow2Error:  # the change was made nevertheless, or failed for its own reason
                if self._owns:
                    self._source.close()

    def close(self) -> None:
        """Closes it and all that was made of it, once calls in other threads are over. Twice is fine."""
        with self._turn:
            self._handle.close()
            if self._owns:
                self._source.close()

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed " if self.closed else ""
        return f"<{state}qcow2.Image {self.filename or 'in memory'}>"


def _extension(image: Any, magic: int) -> Optional[str]:
    view = ffi.new("struct qcow2_bytes *")
    return name_of(view) if lib.qcow2_image_find_extension(image, magic, view) else None


def _value_name(names: Any, value: int) -> str:
    found = lib.qcow2_names_find(names, value)
    return text_of(found) if found else "unknown"


def _info(image: Any) -> ImageInfo:
    header = lib.qcow2_image_header(image)
    geometry = lib.qcow2_image_geometry(image)
    source = lib.qcow2_image_source(image)
    incompatible, autoclear = header.incompatible_features, header.autoclear_features
    backing = bytes_of(lib.qcow2_image_backing_name(image))
    data_file = bool(incompatible & lib.QCOW2_INCOMPATIBLE_DATA_FILE)
    name = _extension(image, lib.QCOW2_EXTENSION_DATA_FILE)
    crypt, order = header.crypt_method, header.refcount_order
    return ImageInfo(
        version=header.version, virtual_size=header.size,
        cluster_size=geometry.cluster_size_bytes if geometry else None,
        refcount_bits=1 << order if order <= lib.QCOW2_LIMIT_REFCOUNT_ORDER_MAX else None,
        file_size=lib.qcow2_source_size_bytes(source),
        allocated=lib.qcow2_source_allocated_bytes(source),
        backing_file=backing.decode("utf-8", "surrogateescape") if backing else None,
        backing_format=_extension(image, lib.QCOW2_EXTENSION_BACKING_FORMAT),
        data_file=(name or "") if data_file else None,
        data_file_raw=bool(autoclear & lib.QCOW2_AUTOCLEAR_DATA_FILE_RAW),
        encryption=_value_name(ffi.addressof(lib.qcow2_crypt_methods), crypt) if crypt else None,
        compression=_value_name(ffi.addressof(lib.qcow2_compression_types),
                                header.compression_type),
        extended_l2=bool(incompatible & lib.QCOW2_INCOMPATIBLE_EXTENDED_L2),
        lazy_refcounts=bool(header.compatible_features & lib.QCOW2_COMPATIBLE_LAZY_REFCOUNTS),
        dirty=bool(incompatible & lib.QCOW2_INCOMPATIBLE_DIRTY),
        corrupt=bool(incompatible & lib.QCOW2_INCOMPATIBLE_CORRUPT),
        bitmaps_saved=bool(autoclear & lib.QCOW2_AUTOCLEAR_BITMAPS),
        snapshot_count=header.nb_snapshots, incompatible_features=incompatible,
        compatible_features=header.compatible_features, autoclear_features=autoclear)
