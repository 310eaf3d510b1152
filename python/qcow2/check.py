# SPDX-License-Identifier: MIT
"""Proves an image sound, or says exactly what is wrong."""
import threading
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional

from ._handle import Failure, Handle, Stream
from ._native import ffi, lib
from .errors import ClosedError, number
from .problems import Problem, kind_pointer, problem_kinds, problem_of

_BATCH = 64
# What a writer with lazy refcounts leaves behind if it is killed.
_MAY_LAG = {"refcount-low", "copied-set", "copied-clear", "refblock-beyond-end"}


@dataclass(frozen=True)
class CheckResult:
    """What a check found, whether or not its problems were looked at."""

    corruptions: int  #: problems that break the specification
    leaks: int  #: problems that lose space, but no data
    warnings: int
    counts: Dict[str, int]  #: problems of each kind that there are any of, by its id
    clusters_checked: bool  #: False if the header does not allow to look at clusters at all
    image_end_offset: int  #: bytes: the end of the last host cluster in use
    total_clusters: int  #: of the virtual disk
    allocated_clusters: int
    fragmented_clusters: int
    compressed_clusters: int
    lost_bytes: int  #: of the active disk: what the guest wrote there is not there
    unreadable_bytes: int  #: of the active disk
    at_risk_bytes: int  #: of the active disk: something else may overwrite it
    damage_ranges: int  #: of all disks
    damage_exact: bool  #: False if the numbers of bytes are upper bounds
    leaks_may_be_data: bool  #: look at leaks before they are freed
    leaked_clusters: int
    leaks_all_read: bool
    missing_bytes: int  #: of a file that is too short
    verdict: str
    """In a word, as ``qcow2 check`` puts it: ``sound``, ``leaks``, ``not-closed``,
    ``marked-corrupt``, ``lost-mappings`` or ``corrupt``."""

    @property
    def sound(self) -> bool:
        """Whether there is neither a corruption nor a leak."""
        return self.corruptions == 0 and self.leaks == 0


def _lags(result: Any, counts: Dict[str, int]) -> bool:
    """Whether all that is wrong is what a crash with lazy refcounts leaves, and says so."""
    corrupt = {kind.id for kind in problem_kinds() if kind.severity == "corruption"}
    return bool("feature-dirty" in counts and result.damage_ranges == 0
                and not (corrupt & counts.keys()) - _MAY_LAG
                and result.corruptions + result.leaks > 0)


def _verdict(result: Any, counts: Dict[str, int]) -> str:
    marked = counts.get("feature-corrupt", 0)
    lags = _lags(result, counts)
    if result.corruptions > marked and not lags:
        return "corrupt"
    if result.leaks_may_be_data:
        return "lost-mappings"
    if marked:
        return "marked-corrupt"
    if lags:
        return "not-closed"
    return "leaks" if result.leaks else "sound"


def result_of(result: Any) -> CheckResult:
    """Copies a ``struct qcow2_check_result``."""
    found = {kind.id: int(lib.qcow2_check_result_count(result, kind.number))
             for kind in problem_kinds()}
    counts = {name: count for name, count in found.items() if count}
    return CheckResult(
        corruptions=result.corruptions, leaks=result.leaks, warnings=result.warnings, counts=counts,
        clusters_checked=bool(result.clusters_checked),
        image_end_offset=result.image_end_offset_bytes, total_clusters=result.total_clusters,
        allocated_clusters=result.allocated_clusters,
        fragmented_clusters=result.fragmented_clusters,
        compressed_clusters=result.compressed_clusters, lost_bytes=result.lost_bytes,
        unreadable_bytes=result.unreadable_bytes, at_risk_bytes=result.at_risk_bytes,
        damage_ranges=result.damage_ranges, damage_exact=bool(result.damage_exact),
        leaks_may_be_data=bool(result.leaks_may_be_data), leaked_clusters=result.leaked_clusters,
        leaks_all_read=bool(result.leaks_all_read), missing_bytes=result.file_missing_bytes,
        verdict=_verdict(result, counts))


class Check(Stream[Problem]):
    """A check of an image: an iterator over its problems, and what they come to.

    Nothing is read before it is asked for something. Then a check begins in a thread of the library,
    which waits when 512 problems are not taken yet: memory is bounded however many there are. Problems
    come in an order that depends on the image alone. An iteration that is not finished, or was
    interrupted, can be left: ``result`` counts the rest.
    """

    def __init__(self, image: Handle, options: Any) -> None:
        super().__init__(image)
        self._image = image
        self._options = options
        self._begun = False
        self._stopped = False
        self._result: Optional[CheckResult] = None
        self._result_turn = threading.RLock()

    def __next__(self) -> Problem:
        with self._result_turn:
            if not self._begun and not self._ended:
                self._begin(False)
        return super().__next__()

    def _begin(self, count_only: bool) -> None:
        if self._stopped:
            raise ClosedError("the check is closed")
        self._options.count_only = count_only
        with self._image as image:
            failure = Failure(self._image.filename)
            check = lib.binding_check_open(image, self._options, failure.err)
            failure.check(0 if check else -1)
            self._handle = Handle(check, lib.binding_check_close, "the check", [self._image],
                                  filename=self._image.filename)
        self._begun = True

    def _take(self, pointer: Any, failure: Failure) -> Optional[Iterator[Problem]]:
        out = ffi.new("struct qcow2_problem *[]", _BATCH)
        count = ffi.new("size_t *")
        if failure.check(lib.binding_check_take(pointer, out, _BATCH, count, failure.err)) == 0:
            if self._result is None:
                self._result = result_of(lib.binding_check_result(pointer))
            return None
        try:
            return iter([problem_of(out[i]) for i in range(count[0])])
        finally:
            for i in range(count[0]):
                lib.qcow2_problem_free(out[i])

    @property
    def result(self) -> CheckResult:
        """What the check found; waits for its end. Problems that were not taken yet are dropped.

        Ctrl-C is heard meanwhile; ask again, and it goes on.
        """
        with self._result_turn:
            if self._result is None and not self._begun:
                self._begin(True)
            with self._turn:
                if self._result is None:
                    self._count_rest()
            assert self._result is not None
            return self._result

    def _count_rest(self) -> None:
        """Hears no more, and goes on to the end."""
        with self._handle as pointer:
            lib.binding_check_count_only(pointer)
            while self._take(pointer, Failure(self._handle.filename)) is not None:
                pass
        self._ready, self._ended = iter(()), True
        self._handle.close()

    def close(self) -> None:
        """Stops the check, if it runs. Twice is fine; the image stays open."""
        self._ready = iter(())
        self._stopped = True
        if self._begun:
            self._handle.close()

    def __enter__(self) -> "Check":
        return self


def open_check(image: Handle, threads: int, memory_limit: int, max_per_kind: int,
               only: Optional[str], deep: bool) -> Check:
    """See :meth:`qcow2.Image.check`."""
    how = ffi.new("struct binding_check_how *", {
        "threads": number(threads, "threads", 32),
        "memory_limit_bytes": number(memory_limit, "memory_limit"),
        "max_per_kind": number(max_per_kind, "max_per_kind"),
        "only": ffi.NULL if only is None else kind_pointer(only), "deep": deep, "damage": True,
        "lost_mappings": True})
    with image:  # is it open?
        return Check(image, how)
