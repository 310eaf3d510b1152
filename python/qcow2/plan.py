# SPDX-License-Identifier: MIT
"""Plans: what is to be changed, before anything is."""
from typing import Any, Callable, Iterator, List, Optional, Sequence, Union

from ._handle import Exclusive, Failure, Handle, Hearer, Single
from ._native import ffi, lib
from ._text import (Name, bytes_of, c_text, path_text, raw_name, several, text_of,
                    view_of)
from .bitmaps import DirtyExtents
from .errors import ArgumentError, ErrorCode, Qcow2Error, exception, number
from .problems import Problem, kind_pointer
from .verdict import RepairResult, RepairStep, Treatment, Verdict, Write, repair_result, verdict_of

_PHASES = {lib.QCOW2_PHASE_WITHDRAW: "withdraw", lib.QCOW2_PHASE_NEW: "new",
           lib.QCOW2_PHASE_COUNT: "count", lib.QCOW2_PHASE_POINT: "point",
           lib.QCOW2_PHASE_CLEAN: "clean"}
_CHANGES = {"add": lib.QCOW2_EXTENSION_ADD, "replace": lib.QCOW2_EXTENSION_REPLACE,
            "remove": lib.QCOW2_EXTENSION_REMOVE}
_EXTENTS = {"lossless": lib.QCOW2_REPAIR_LOSSLESS, "leaks": lib.QCOW2_REPAIR_LEAKS,
            "all": lib.QCOW2_REPAIR_ALL}


class _Writes(Single, Iterator[Write]):
    """The writes of a plan, read one by one."""

    def __init__(self, plan: Handle) -> None:
        self._plan = plan
        self._next = 0

    def __next__(self) -> Write:
        with self._plan as plan:
            if self._next >= lib.qcow2_plan_count(plan):
                raise StopIteration
            failure = Failure(self._plan.filename)
            out = ffi.new("const struct qcow2_write **")
            failure.check(lib.qcow2_plan_at(plan, self._next, out, failure.err))
            self._next += 1
            write = out[0]
            return Write(_PHASES.get(write.phase, "unknown"), write.offset_bytes,
                         bytes_of(write.old_bytes), bytes_of(write.new_bytes), text_of(write.why))


class Plan(Single):
    """What is to be changed. Each method plans more; nothing is written before the ``with`` ends.

    A plan is used by one call at a time, or ArgumentError is raised. Actions on bitmaps are gathered, and planned together when
    something else follows.
    """

    def __init__(self, source: Handle) -> None:
        out = ffi.new("struct qcow2_plan **")
        self._filename = source.filename
        with source as pointer:
            failure = self._failure()
            failure.check(lib.qcow2_plan_open(pointer, out, failure.err))
            self._handle = Exclusive(out[0], lib.qcow2_plan_close, "the plan", [source],
                                  filename=source.filename)
            self._old_size = lib.qcow2_source_size_bytes(pointer)
        self._editor: Optional[Handle] = None
        self._begun = False
        self._failed = False
        self._verdict: Optional[Verdict] = None
        self._applied = False

    def _failure(self) -> Failure:
        return Failure(self._filename)

    # ---- what all verbs do ----

    def _verb(self, function: str, *arguments: Any) -> None:
        """Calls a function of edit.h, after what was gathered."""
        self._finish_bitmaps()
        with self._handle as plan:
            self._begin(plan)
            failure = self._failure()
            failure.check(getattr(lib, function)(plan, *arguments, failure.err))

    def _begin(self, plan: Any) -> None:
        self._verdict = None
        if not self._begun:
            failure = self._failure()
            failure.check(lib.qcow2_edit_begin(plan, failure.err))
            self._begun = True

    def _action(self, function: str, name: Name, *arguments: Any) -> None:
        """Calls a function of bitmap_edit.h whose first argument is a bitmap's name."""
        view, keep = view_of(raw_name(name))
        self._on_editor(function, view, *arguments)
        del keep

    def _on_editor(self, function: str, *arguments: Any) -> None:
        editor = self._editor or self._open_editor()
        with self._handle, editor as pointer:
            failure = self._failure()
            failure.check(getattr(lib, function)(pointer, *arguments, failure.err))

    def _open_editor(self) -> Handle:
        out = ffi.new("struct qcow2_bitmap_editor **")
        with self._handle as plan:
            self._begin(plan)
            failure = self._failure()
            failure.check(lib.qcow2_bitmap_editor_open(plan, out, failure.err))
            self._editor = Handle(out[0], lib.qcow2_bitmap_editor_close, "the bitmap editor",
                                  [self._handle], filename=self._filename)
        return self._editor

    def _finish_bitmaps(self) -> None:
        if self._failed:
            raise ArgumentError("an action failed halfway: make a new plan", ErrorCode.ARGUMENT,
                                filename=self._filename)
        editor = self._editor
        if editor is None:
            return
        with self._handle, editor as pointer:
            self._editor = None
            failure = self._failure()
            try:
                failure.check(lib.qcow2_bitmap_editor_finish(pointer, failure.err))
            except Qcow2Error:
                self._failed = True
                raise
            finally:
                editor.close()

    # ---- header ----

    def set(self, path: str, value: Union[int, str]) -> None:
        """A number of the image gets another value, whatever that means for it.

        path: as a selector of ``qcow2 dump`` spells it: ``header/size``, ``l2/5/17``, ``refcounts/0/9``,
            ``bitmaps/0/flags``. value: a number, or text as the command takes it (``64k``, ``0x40``, or the
            name of a value).
        """
        self._verb("qcow2_edit_set", c_text(path), c_text(str(value)), ffi.NULL)

    def feature(self, group: str, bit: Union[int, str], on: bool) -> None:
        """Sets or clears a feature bit of the header, without making true what it says.

        group: ``incompatible``, ``compatible`` or ``autoclear``. bit: its number, or its name as
            ``qcow2 explain`` shows it.
        """
        self._verb("qcow2_edit_feature", c_text(group), c_text(str(bit)), on)

    def extension(self, change: str, magic: int, data: bytes = b"") -> None:
        """Adds, replaces or removes a header extension.

        change: ``add``, ``replace`` or ``remove``. magic: its type, 32 bits. data: without the padding.
        """
        if change not in _CHANGES:
            raise ValueError(f"change is one of {', '.join(_CHANGES)}, not {change!r}")
        view, keep = view_of(data)
        self._verb("qcow2_edit_extension", _CHANGES[change], number(magic, "magic", 32), view)
        del keep

    def set_backing(self, name: Optional[Name], format: Optional[str] = None) -> None:
        """The image gets another backing file, or None. The file is not looked at.

        format: ``raw``, ``qcow2``, …; needed with a name.
        """
        view, keep = view_of(raw_name(name or b""))
        self._verb("qcow2_edit_backing", view, c_text(format) if format else ffi.NULL)
        del keep

    def set_data_file(self, name: Name) -> None:
        """The external data file gets another name. Neither file is looked at."""
        view, keep = view_of(raw_name(name))
        self._verb("qcow2_edit_data_file", view)
        del keep

    def set_feature_names(self) -> None:
        """The feature name table is written anew."""
        self._verb("qcow2_edit_feature_names")

    # ---- bitmaps ----

    def add_bitmap(self, name: Name, granularity: int = 0, enabled: bool = True) -> None:
        """Adds a bitmap that is all clean: it says what is true from now on.

        granularity: bytes of the disk that a bit stands for, a power of two from 512; 0: as QEMU.
        """
        self._action("qcow2_bitmap_add", name, number(granularity, "granularity"), enabled)

    def remove_bitmap(self, name: Name) -> None:
        """Removes a bitmap, whatever state it is in."""
        self._action("qcow2_bitmap_remove", name)

    def clear_bitmap(self, name: Name) -> None:
        """Makes a bitmap all clean, as after a backup."""
        self._action("qcow2_bitmap_clear", name)

    def enable_bitmap(self, name: Name, enabled: bool = True) -> None:
        """Says whether programs shall record writes in a bitmap."""
        self._action("qcow2_bitmap_enable", name, enabled)

    def disable_bitmap(self, name: Name) -> None:
        """Programs shall record no writes in a bitmap any more."""
        self.enable_bitmap(name, False)

    def rename_bitmap(self, name: Name, new_name: Name) -> None:
        """Gives a bitmap another name."""
        view, keep = view_of(raw_name(new_name))
        self._action("qcow2_bitmap_rename", name, view)
        del keep

    def merge_bitmap(self, source: Name, into: Name) -> None:
        """Makes dirty in ``into`` all that is dirty in ``source``, another bitmap of the image."""
        view, keep = view_of(raw_name(into))
        self._action("qcow2_bitmap_merge", source, view)
        del keep

    def merge_extents(self, extents: DirtyExtents, into: Name) -> None:
        """Makes dirty in ``into`` all that a stream calls dirty, which may be of another image.

        extents: not read yet; read up to its end, and closed.
        """
        if extents._started:
            raise ValueError("the stream of extents was read from already")
        view, keep = view_of(raw_name(into))
        with extents, extents._turn, extents._handle as pointer:
            self._on_editor("qcow2_bitmap_merge_extents", pointer, view)
        del keep

    def import_bitmap(self, name: Name, bits: bytes) -> None:
        """Replaces the bits of a bitmap: one for each granule, least significant first."""
        view, keep = view_of(bits)
        self._action("qcow2_bitmap_import", name, view)
        del keep

    def import_bitmap_file(self, name: Name, data: bytes) -> None:
        """Replaces or adds a bitmap from what ``qcow2 bitmap export`` wrote, all of it."""
        view, keep = view_of(data)
        self._action("qcow2_bitmap_import_file", name, view)
        del keep

    # ---- repair ----

    def repair_bitmaps(self, drop_bad: bool = False, assume_dirty: Union[bool, Sequence[Name]] = False,
                       tell: Optional[Callable[[Treatment], object]] = None) -> None:
        """Makes every bitmap usable again. Call it before other changes of bitmaps.

        drop_bad: drop those that cannot be mended, or are stale. assume_dirty: make those all dirty,
            or those that are named. tell: called for each thing that is wrong; what it raises ends
            the repair.
        """
        names = [] if isinstance(assume_dirty, bool) else [
            view_of(raw_name(name)) for name in several(assume_dirty, "assume_dirty")]
        views = ffi.new("struct qcow2_bytes[]", [view for view, _ in names])
        hearer = Hearer(tell)
        options = ffi.new("struct qcow2_bitmap_repair_options *", {
            "size": ffi.sizeof("struct qcow2_bitmap_repair_options"), "drop_bad": drop_bad,
            "assume_dirty": bool(assume_dirty), "names": views, "name_count": len(names),
            "tell": lib.binding_treatment, "opaque": hearer.handle})
        self._repairing("qcow2_bitmap_repair", hearer, True, options)

    def repair(self, extent: str = "lossless", only: Sequence[str] = (),
               drop_snapshots: Sequence[str] = (), free_lost: bool = False,
               drop_bad_bitmaps: bool = False, deep: bool = False,
               tell: Optional[Callable[[RepairStep], object]] = None) -> RepairResult:
        """Plans what makes a damaged image sound. It has to be the first thing that is planned.

        extent: ``lossless``: all that costs nothing; ``leaks``: only frees leaks; ``all``: gives up
            as well what nobody can read any more. only: ids of the kinds of problems that are mended,
            and no others. drop_snapshots: IDs, names, or ``#N``. tell: called for each step.
        """
        if extent not in _EXTENTS:
            raise ValueError(f"extent is one of {', '.join(_EXTENTS)}, not {extent!r}")
        kinds = ffi.new("const struct qcow2_problem_kind *[]", [
            kind_pointer(one) for one in several(only, "only")])
        texts = [ffi.new("char[]", c_text(text))
                 for text in several(drop_snapshots, "drop_snapshots")]
        drop = ffi.new("const char *[]", texts)
        hearer = Hearer(tell)
        options = ffi.new("struct qcow2_repair_options *", {
            "size": ffi.sizeof("struct qcow2_repair_options"), "extent": _EXTENTS[extent],
            "only": kinds, "only_count": len(only), "drop_snapshots": drop,
            "drop_count": len(texts), "free_lost": free_lost, "drop_bad_bitmaps": drop_bad_bitmaps,
            "deep": deep, "tell": lib.binding_step, "opaque": hearer.handle})
        out = ffi.new("struct qcow2_repair_result **")
        self._repairing("qcow2_repair", hearer, False, options, out)
        try:
            return repair_result(out[0])
        finally:
            lib.qcow2_repair_result_free(out[0])

    def _repairing(self, function: str, hearer: Hearer, begin: bool, *arguments: Any) -> None:
        self._finish_bitmaps()
        with self._handle as plan:
            if begin:
                self._begin(plan)
            self._begun = True
            self._verdict = None
            failure = self._failure()
            try:
                hearer.check(failure, getattr(lib, function)(plan, *arguments, failure.err))
            except BaseException:
                self._failed = True
                raise

    # ---- what the plan comes to ----

    @property
    def empty(self) -> bool:
        """Whether there is nothing to apply."""
        self._finish_bitmaps()
        with self._handle as plan:
            return bool(lib.qcow2_plan_count(plan) == 0
                        and lib.qcow2_plan_size_bytes(plan) == self._old_size)

    @property
    def new_size(self) -> int:
        """The size that the file will have, in bytes."""
        self._finish_bitmaps()
        with self._handle as plan:
            return int(lib.qcow2_plan_size_bytes(plan))

    @property
    def applied(self) -> bool:
        """Whether it was applied, and changed anything."""
        return self._applied

    def writes(self) -> Iterator[Write]:
        """The writes in the order in which they are made. After a dry run as well."""
        self._finish_bitmaps()
        return _Writes(self._handle)

    @property
    def verdict(self) -> Verdict:
        """Whether the image would be worse than before. Costs two checks of the image."""
        return self._judged()

    def _judged(self) -> Verdict:
        if self._verdict is None:
            self._finish_bitmaps()
            self._verdict = self._judge()
        return self._verdict

    def _judge(self) -> Verdict:
        problems: List[Problem] = []
        hearer = Hearer(problems.append)
        options = ffi.new("struct qcow2_judge_options *", {
            "size": ffi.sizeof("struct qcow2_judge_options"),
            "problem": lib.binding_hear_problem, "opaque": hearer.handle})
        out = ffi.new("struct qcow2_plan_verdict **")
        with self._handle as plan:
            failure = self._failure()
            hearer.check(failure, lib.qcow2_plan_judge(plan, options, out, failure.err))
        try:
            return verdict_of(out[0], tuple(problems))
        finally:
            lib.qcow2_plan_verdict_free(out[0])

    def _apply(self, undo: Optional[bytes], image_path: bytes, command: bytes) -> None:
        texts = [ffi.new("char[]", text) if text is not None else ffi.NULL
                 for text in (undo, image_path, command)]
        about_undo = ffi.new("bool *")
        options = ffi.new("struct qcow2_apply_options *", {
            "size": ffi.sizeof("struct qcow2_apply_options"), "undo_path": texts[0],
            "image_path": texts[1], "command": texts[2], "no_undo_file": about_undo})
        with self._handle as plan:
            failure = self._failure()
            if lib.qcow2_plan_apply(plan, options, failure.err) < 0:
                raise exception(failure.err, path_text(undo) if about_undo[0] and undo is not None
                                else self._filename)
        self._applied = True

    def _spill_beside(self, path: bytes) -> None:
        with self._handle as plan:
            failure = self._failure()
            failure.check(lib.qcow2_plan_spill_beside(plan, path, failure.err))

    def close(self) -> None:
        """Drops what was not applied. Twice is fine."""
        self._handle.close()
