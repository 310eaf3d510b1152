# SPDX-License-Identifier: MIT
"""What plans, repairs and their judgement tell."""
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from ._handle import Hearer, callback
from ._native import ffi, lib
from ._text import name_of, text_of
from .check import CheckResult, result_of
from .errors import ErrorCode, Qcow2Error
from .problems import Problem, ProblemKind, kind_of, problem_kinds

_REMEDIES = {lib.QCOW2_BITMAP_REMEDY_MENDED: "mended", lib.QCOW2_BITMAP_REMEDY_DROPPED: "dropped",
             lib.QCOW2_BITMAP_REMEDY_ALL_DIRTY: "all-dirty", lib.QCOW2_BITMAP_REMEDY_LEFT: "left",
             lib.QCOW2_BITMAP_REMEDY_NEEDED: "needed"}


@dataclass(frozen=True)
class Write:
    """One write of a plan."""

    phase: str  #: all writes of a phase are on the medium before the next phase begins
    offset: int  #: in the image file, bytes
    old: bytes  #: what it replaces; shorter where the file ended
    new: bytes
    why: str


@dataclass(frozen=True)
class Refusal:
    """A guard that refuses a plan: see docs/edit.md for all of them."""

    guard: str  #: its id
    where: str  #: a path, or empty
    text: str  #: what the plan does there, or empty
    refusal: str  #: what would be given up, one sentence
    way_out: str  #: what to do instead


@dataclass(frozen=True)
class Verdict:
    """What the check and the guards say of an image before and after a plan."""

    adds_problems: bool  #: there would be problems that are not there now, or no image any more
    added: Dict[str, int]  #: how many, by the id of their kind
    problems: Tuple[Problem, ...]  #: those that are added, at most five of each kind
    refusals: Tuple[Refusal, ...]
    refusals_total: int
    before: Optional[CheckResult]  #: None: that is no image
    after: Optional[CheckResult]
    not_opened: Optional[str]  #: why after is None

    @property
    def ok(self) -> bool:
        """Whether the plan should be applied."""
        return not self.adds_problems and self.refusals_total == 0


class RefusedError(Qcow2Error):
    """A plan was not applied, as the image would be worse than before. verdict: why."""

    def __init__(self, text: str, verdict: Verdict, filename: Optional[str] = None) -> None:
        super().__init__(text, ErrorCode.NONE, filename=filename)
        self.verdict = verdict

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self.text, self.verdict, self.filename)


@dataclass(frozen=True)
class RepairStep:
    """One thing that a repair does."""

    kind: ProblemKind
    where: str
    count: int  #: how many places it mends
    does: str
    costs: bool  #: something is given up that could be read, or found again by hand
    guest_start: Optional[int]  #: of the part of a disk that is concerned, bytes
    guest_length: Optional[int]  #: bytes
    before: str  #: what its guest reads: ``same``, ``data``, ``zeros``, ``backing``, ``error``, …
    after: str


@dataclass(frozen=True)
class RepairResult:
    """What a repair comes to."""

    before: CheckResult
    after: CheckResult
    steps: int
    costs: int  #: how many of the steps give something up
    added_bytes: int  #: that the file grows by
    freed_clusters: int
    left: Dict[str, str]  #: kinds of problems that are left, by id, and why


@dataclass(frozen=True)
class Treatment:
    """Something that is wrong with bitmaps, and what was done about it."""

    bitmap: Optional[str]  #: its name; None: it is about the directory
    kind: Optional[ProblemKind]
    what: Optional[str]
    remedy: str  #: ``mended``, ``dropped``, ``all-dirty``, ``left`` or ``needed``
    can_be_dirty: bool
    dirty_bytes: int  #: of the disk: that count as dirty now and were not known to be
    cost: str


def _step_of(step: Any) -> RepairStep:
    return RepairStep(kind_of(step.kind), text_of(step.where), step.count, text_of(step.does),
                      bool(step.costs), step.guest_byte if step.has_guest else None,
                      step.guest_length_bytes if step.has_guest else None,
                      text_of(lib.qcow2_reads_name(step.before)),
                      text_of(lib.qcow2_reads_name(step.after)))


@callback("binding_step")
def _step(opaque: Any, step: Any) -> int:
    hearer: Hearer = ffi.from_handle(opaque)
    return hearer.hear(_step_of, step)


def _treatment_of(found: Any) -> Treatment:
    return Treatment(name_of(found.name) if found.has_bitmap else None,
                     kind_of(found.kind) if found.kind else None,
                     text_of(found.what) if found.what else None,
                     _REMEDIES.get(found.remedy, "unknown"), bool(found.can_be_dirty),
                     found.dirty_bytes, text_of(found.cost) if found.cost else "")


@callback("binding_treatment")
def _treatment(opaque: Any, treatment: Any) -> int:
    hearer: Hearer = ffi.from_handle(opaque)
    return hearer.hear(_treatment_of, treatment)


def repair_result(result: Any) -> RepairResult:
    """Copies a ``struct qcow2_repair_result``."""
    left = {text_of(result.left[i].kind.id): text_of(result.left[i].why)
            for i in range(result.left_count)}
    return RepairResult(result_of(result.before), result_of(result.after), result.steps,
                        result.costs, result.added_bytes, result.freed_clusters, left)


def _refusal_of(found: Any) -> Refusal:
    guard = found.guard
    return Refusal(text_of(guard.id), text_of(found.where), text_of(found.text),
                   text_of(guard.refusal), text_of(guard.way_out))


def verdict_of(verdict: Any, problems: Tuple[Problem, ...]) -> Verdict:
    """Copies a ``struct qcow2_plan_verdict``."""
    added = {kind.id: int(lib.qcow2_plan_verdict_added(verdict, kind.number))
             for kind in problem_kinds()}
    return Verdict(
        adds_problems=bool(verdict.adds_problems),
        added={name: count for name, count in added.items() if count}, problems=problems,
        refusals=tuple(_refusal_of(verdict.refusals[i]) for i in range(verdict.refusal_count)),
        refusals_total=verdict.refusals_total,
        before=result_of(verdict.before) if verdict.before else None,
        after=result_of(verdict.after) if verdict.after else None,
        not_opened=text_of(verdict.not_opened.text) if verdict.not_opened else None)


def reason(verdict: Verdict) -> str:
    """Why a plan is refused, in a line."""
    if verdict.not_opened and verdict.adds_problems:
        return f"refused: it would be no image any more: {verdict.not_opened}"
    what: List[str] = []
    if verdict.refusals_total:
        what.append("it would give up what protects the data: "
                    + ", ".join(sorted({refusal.guard for refusal in verdict.refusals})))
    if verdict.adds_problems:
        what.append("the image would have problems that it has not now: "
                    + ", ".join(sorted(verdict.added)))
    return "refused: " + "; and ".join(what)
