# SPDX-License-Identifier: MIT
"""Changes an image through one door: plan, look, judge, apply with an undo file."""
import os
from typing import Callable, Optional

from ._handle import Failure, Handle, Single
from ._native import ffi, lib
from ._text import StrPath, c_path
from .errors import ArgumentError, ClosedError, ErrorCode, MismatchError, Qcow2Error
from .plan import Plan
from .source import Source
from .verdict import RefusedError, Verdict, reason


def _known(source: Handle) -> bool:
    """Whether all incompatible features of an image are known; of no image, nothing is unknown."""
    out = ffi.new("struct qcow2_image **")
    with source as pointer:
        failure = Failure()
        if lib.qcow2_image_open(pointer, out, failure.err) != 0:
            return True
        try:
            bits = lib.qcow2_image_header(out[0]).incompatible_features
            return not bits & ~lib.QCOW2_INCOMPATIBLE_KNOWN & (2 ** 64 - 1)
        finally:
            lib.qcow2_image_close(out[0])


class Edit(Single):
    """A context manager that gives a :class:`Plan`, and applies it at its end. See Image.edit()."""

    def __init__(self, source: Source, path: Optional[bytes], undo: Optional[StrPath],
                 dry_run: bool, force: bool, about_to_write: Callable[[], None],
                 written: Callable[[], None]) -> None:
        self._source = source
        self._path = path
        self._undo = c_path(undo) if undo is not None else None
        self._dry_run = dry_run
        self._force = force
        self._about_to_write = about_to_write
        self._written = written
        self._plan: Optional[Plan] = None
        self._own: Optional[Source] = None

    def __enter__(self) -> Plan:
        if self._plan is not None:
            raise ClosedError("an edit is entered once")
        source = self._source
        if not self._dry_run:
            assert self._path is not None
            source = self._own = Source._opened(self._path, True, self._source._handle.filename)
        try:
            if source._file != self._source._file:
                raise MismatchError("another file has its name now: open that one to edit it",
                                    ErrorCode.MISMATCH, filename=source._handle.filename)
            if not self._force and not _known(source._handle):
                raise ArgumentError("it has incompatible features that are not known here: what an "
                                    "edit would do to them, nobody knows", ErrorCode.ARGUMENT,
                                    filename=source._handle.filename)
            self._plan = Plan(source._handle)
            beside = self._undo or self._path
            if beside is not None:
                self._plan._spill_beside(beside)
        except BaseException:
            self._close()
            raise
        return self._plan

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._plan is not None
        if kind is not None:
            self._close()
            return
        try:
            self._plan._finish_bitmaps()
            if self._dry_run:
                self._plan._judged()
                return
            if not self._plan.empty:
                self._finish()
        except BaseException:
            self._close()
            raise
        if not self._dry_run:
            self._close()

    def _finish(self) -> None:
        """Judges and applies."""
        assert self._plan is not None and self._path is not None
        verdict: Optional[Verdict] = None
        try:
            verdict = self._plan.verdict
        except Qcow2Error:
            if not self._force:
                raise
        if verdict is not None and not verdict.ok and not self._force:
            raise RefusedError(reason(verdict), verdict, self._plan._filename)
        self._about_to_write()
        try:
            self._plan._apply(self._undo, os.path.realpath(self._path), b"edited from Python")
        finally:
            self._close()
            self._written()

    def _close(self) -> None:
        if self._plan is not None:
            self._plan.close()
        if self._own is not None:
            self._own.close()
