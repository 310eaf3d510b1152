# SPDX-License-Identifier: MIT
"""The way back from a change."""
import os
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Sequence

from ._handle import Exclusive, Failure, Single
from ._native import ffi, lib
from ._text import StrPath, bytes_of, c_path, name_of, path_text
from .source import Source

_STATES = {lib.QCOW2_UNDO_APPLYING: "applying", lib.QCOW2_UNDO_APPLIED: "applied",
           lib.QCOW2_UNDO_UNDOING: "undoing", lib.QCOW2_UNDO_UNDONE: "undone"}
_DOUBTS = {lib.QCOW2_UNDO_DOUBT_TIME: "time", lib.QCOW2_UNDO_DOUBT_DEVICE: "device",
           lib.QCOW2_UNDO_DOUBT_DATA_FILE: "data-file",
           lib.QCOW2_UNDO_DOUBT_INTERRUPTED: "interrupted",
           lib.QCOW2_UNDO_DOUBT_ELSEWHERE: "elsewhere"}


@dataclass(frozen=True)
class UndoInfo:
    """What an undo file says of itself."""

    state: str  #: ``applying``, ``applied``, ``undoing`` or ``undone``
    image_path: str  #: of the image, as the change was told
    command: str  #: what was done
    time_seconds: int  #: when, since the Epoch
    old_size: int  #: of the image before the change, bytes
    new_size: int  #: after it
    pieces: int  #: places that are put back
    piece_bytes: int  #: in all of them
    freed_bytes: int  #: of clusters that the change freed, kept as well
    proves_metadata: bool
    is_device: bool


@dataclass(frozen=True)
class UndoPiece:
    """A place that an undo puts back."""

    offset: int  #: in the image file, bytes
    old: bytes  #: what is put back
    new: bytes  #: what the change left


@dataclass(frozen=True)
class UndoResult:
    """What an undo would do, or has done."""

    is_undone: bool  #: nothing has to be done
    is_exact: bool  #: every byte becomes what it was
    doubt: Optional[str]
    """Why nothing proves that the guest wrote nothing since: ``time``, ``device``, ``data-file``,
    ``interrupted`` or ``elsewhere``; None: it is proved."""
    bitmaps_in_use: int  #: bitmaps that come back in use, though they were not
    autoclear_lost: int  #: autoclear bits that were set before and stay clear


class Undo(Single):
    """An undo file. It is used by one call at a time, or ArgumentError is raised."""

    def __init__(self, path: StrPath) -> None:
        out = ffi.new("struct qcow2_undo **")
        failure = Failure(path_text(path))
        failure.check(lib.qcow2_undo_open(c_path(path), out, failure.err))
        self._handle = Exclusive(out[0], lib.qcow2_undo_close, "the undo file",
                                 filename=path_text(path))

    @property
    def info(self) -> UndoInfo:
        """What it says of itself."""
        with self._handle as undo:
            info = lib.qcow2_undo_describe(undo)
            return UndoInfo(_STATES.get(info.state, "unknown"),
                            os.fsdecode(bytes_of(info.image_path)),
                            name_of(info.command), info.time_seconds, info.old_size_bytes,
                            info.new_size_bytes, info.pieces, info.bytes, info.freed_bytes,
                            bool(info.proves_metadata), bool(info.is_device))

    def pieces(self) -> Iterator[UndoPiece]:
        """The places that are put back, in the order of the image; one in memory at a time."""
        for index in range(self.info.pieces):
            yield self._piece(index)

    def _piece(self, index: int) -> UndoPiece:
        out = ffi.new("const struct qcow2_undo_piece **")
        with self._handle as undo:
            failure = Failure(self._handle.filename)
            failure.check(lib.qcow2_undo_at(undo, index, out, failure.err))
            return UndoPiece(out[0].offset_bytes, bytes_of(out[0].old_bytes),
                             bytes_of(out[0].new_bytes))

    def judge(self, image: Optional[StrPath] = None, elsewhere: bool = False, exact: bool = False,
              later: "Sequence[Undo]" = ()) -> UndoResult:
        """Finds out what :meth:`apply` would do, and writes nothing. As :meth:`apply`."""
        with Source.open(self.info.image_path if image is None else image) as source:
            return self._run(lib.qcow2_undo_judge, source, elsewhere, exact, later)

    def apply(self, image: Optional[StrPath] = None, elsewhere: bool = False, exact: bool = False,
              later: "Sequence[Undo]" = ()) -> UndoResult:
        """Puts an image back to what it was before the change.

        image: its path; None: where the undo file says that it is. elsewhere: it need not be the same
            file, but may be a copy, or have moved. exact: put saved bytes back even where they may be
            outdated. later: undo files of later changes of the image, as far as you have them.

        Raises MismatchError if it is another image, or was written to since. An
        :class:`qcow2.Image` of it has to be closed before, and opened again after.
        """
        with Source.open_for_edit(self.info.image_path if image is None else image) as source:
            return self._run(lib.qcow2_undo_apply, source, elsewhere, exact, later)

    def _run(self, function: Any, source: Source, elsewhere: bool, exact: bool,
             later: "Sequence[Undo]") -> UndoResult:
        result = ffi.new("struct qcow2_undo_result *",
                         {"size": ffi.sizeof("struct qcow2_undo_result")})
        entered = []
        try:
            for one in {id(one): one for one in later if one is not self}.values():
                entered.append((one._handle, one._handle.__enter__()))
            others = ffi.new("struct qcow2_undo *[]", [pointer for _, pointer in entered])
            options = ffi.new("struct qcow2_undo_options *", {
                "size": ffi.sizeof("struct qcow2_undo_options"),
                "flags": (lib.QCOW2_UNDO_ELSEWHERE if elsewhere else 0)
                | (lib.QCOW2_UNDO_EXACT if exact else 0),
                "later": others, "later_count": len(entered)})
            with self._handle as undo, source._handle as image:
                failure = Failure(source._handle.filename)
                failure.check(function(undo, image, options, result, failure.err))
        finally:
            for handle, _ in entered:
                handle.__exit__()
        return UndoResult(bool(result.is_undone), bool(result.is_exact),
                          _DOUBTS.get(result.doubt), result.bitmaps_in_use, result.autoclear_lost)

    def close(self) -> None:
        """Closes it; the file stays. Twice is fine."""
        self._handle.close()

    def __enter__(self) -> "Undo":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
