# SPDX-License-Identifier: MIT
"""How large the file of an image could be, and how large it can grow."""
from dataclasses import dataclass, fields
from typing import Optional

from ._handle import Failure, Handle
from ._native import ffi, lib


@dataclass(frozen=True)
class Sizes:
    """Sizes of an image's file, in bytes; None: larger than any file can be, of a broken image.

    docs/measure.md explains them. All but ``largest`` count neither leaks nor free clusters.
    """

    smallest: Optional[int]  #: the active disk alone, compressed clusters inflated
    smallest_compressed: Optional[int]  #: likewise, but they stay compressed
    with_snapshots: Optional[int]  #: as it is, with all snapshots, without bitmaps
    with_bitmaps: Optional[int]
    with_all: Optional[int]
    fully_allocated: Optional[int]  #: the active disk alone, every cluster of it written
    largest: Optional[int]  #: as it is, and grown until every cluster of the active disk is written
    commit_growth: Optional[int]  #: by how much a backing file grows at most if this is committed


def measure(image: Handle) -> Sizes:
    """See :meth:`qcow2.Image.measure`."""
    out = ffi.new("struct qcow2_measure_image *",
                  {"size": ffi.sizeof("struct qcow2_measure_image")})
    with image as pointer:
        failure = Failure(image.filename)
        failure.check(lib.qcow2_measure_file(pointer, ffi.NULL, out, failure.err))
    found = (getattr(out, field.name + "_bytes") for field in fields(Sizes))
    return Sizes(*(None if size == lib.QCOW2_MEASURE_TOO_LARGE else size for size in found))
