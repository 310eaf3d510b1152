# SPDX-License-Identifier: MIT
"""Disk images in the QCOW2 format, without QEMU: the binding of libqcow2.

    import qcow2

    with qcow2.Image("disk.qcow2") as image:
        print(image.info().virtual_size)
        for extent in image.dirty_extents("nightly", dirty_only=True):
            print(extent.start, extent.length)
        with image.edit(undo="disk.undo") as plan:
            plan.clear_bitmap("nightly")

Offsets and lengths are bytes. Iterators stream: memory depends neither on the size of the disk nor on
what an image claims. The interpreter is free for other threads during calls. Everything that was made
from an image ends with it, in whatever order, and whatever thread closes it.
"""
from ._native import ffi as _ffi
from ._native import lib as _lib
from ._text import printable
from .bitmaps import Bitmap, Bitmaps, BitmapTotals, DirtyExtent, DirtyExtents
from .check import Check, CheckResult
from .disk import (Disk, DiskExtent, DiskExtents, DiskKind, Fault, Gate, Given, Key, Wanted,
                   gate_within)
from .edit import Edit
from .errors import (ArgumentError, BrokenError, ClosedError, ErrorCode, FileMissingError,
                     InUseError, IoError, LimitError, MismatchError, NotFoundError,
                     NotPermittedError, NotQcow2Error, OutOfMemoryError, Qcow2Error,
                     StaleBitmapError, StoppedError, UnsupportedError)
from .image import Image, ImageInfo
from .mapping import Extent, ExtentKind, Mapping
from .measure import Sizes
from .plan import Plan
from .problems import GuestRange, Owner, Problem, ProblemKind, problem_kinds
from .snapshots import Snapshot, Snapshots
from .source import Source
from .undo import Undo, UndoInfo, UndoPiece, UndoResult
from .verdict import (Refusal, RefusedError, RepairResult, RepairStep, Treatment, Verdict, Write)

#: The version of this binding, which is that of the headers that it was built with.
__version__ = ".".join(str(part) for part in (
    _lib.QCOW2_VERSION_MAJOR, _lib.QCOW2_VERSION_MINOR, _lib.QCOW2_VERSION_PATCH))
#: The version of the library that runs.
library_version: str = _ffi.string(_lib.qcow2_version()).decode()

__all__ = [
    "ArgumentError", "Bitmap", "BitmapTotals", "Bitmaps", "BrokenError", "Check", "CheckResult",
    "ClosedError", "DirtyExtent", "DirtyExtents", "Disk", "DiskExtent", "DiskExtents",
    "DiskKind", "Edit", "ErrorCode", "Extent", "ExtentKind", "Fault", "FileMissingError",
    "Gate", "Given", "GuestRange", "Image", "ImageInfo", "InUseError", "IoError", "Key",
    "LimitError", "Mapping", "MismatchError", "NotFoundError", "NotPermittedError",
    "NotQcow2Error", "OutOfMemoryError", "Owner", "Plan", "Problem", "ProblemKind",
    "Qcow2Error", "Refusal", "RefusedError", "RepairResult", "RepairStep", "Sizes", "Snapshot",
    "Snapshots", "Source", "StaleBitmapError", "StoppedError", "Treatment", "Undo", "UndoInfo",
    "UndoPiece", "UndoResult", "UnsupportedError", "Verdict", "Wanted", "Write", "gate_within",
    "library_version", "printable", "problem_kinds",
]
