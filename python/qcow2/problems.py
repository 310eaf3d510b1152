# SPDX-License-Identifier: MIT
"""Problems: rules of the format that an image breaks, as data."""
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional, Tuple

from ._native import ffi, lib
from ._text import Name, c_text, text_of


@dataclass(frozen=True)
class ProblemKind:
    """A kind of problem. Its number and its id never change, so both can be stored."""

    number: int
    id: str  #: lower-case words with hyphens: ``refcount-low``
    severity: str  #: ``warning``, ``leak`` or ``corruption``
    damage: str  #: to the guest's data: ``none``, ``at-risk``, ``unreadable`` or ``lost``
    text: str  #: what is wrong, one sentence
    consequence: str  #: what that does to the guest
    section: str  #: of the specification, or ``QEMU``
    repairable: bool  #: a command mends it, and nothing is lost


@dataclass(frozen=True)
class GuestRange:
    """A part of a virtual disk."""

    start: int  #: bytes
    length: int  #: bytes, at least 1
    snapshot: Optional[str]  #: whose disk it is, escaped; None: the active one
    count: int  #: how many such ranges there are, of which this is the first


@dataclass(frozen=True)
class Owner:
    """Something that uses a host cluster."""

    where: str  #: its path, as a selector spells it
    snapshot: Optional[str]  #: escaped name of the snapshot that it belongs to
    bitmap: Optional[str]  #: escaped name of the bitmap that it belongs to
    guest: Optional[GuestRange]


@dataclass(frozen=True)
class Problem:
    """One problem that was found. All texts are safe to print."""

    kind: ProblemKind
    where: str  #: path of what is wrong, as a selector spells it
    offset: Optional[int]  #: in bytes, where in the file the bytes at fault are
    found: "int | str | None"  #: the value at fault
    expected: Optional[int]  #: what it should be: see expectation
    expectation: str  #: ``nothing``, ``value``, ``at-most``, ``at-least`` or ``multiple-of``
    guest: Optional[GuestRange]  #: the part of a disk that is concerned
    cluster_offset: Optional[int]  #: in bytes, where the host cluster that is concerned starts
    owners: Tuple[Owner, ...]  #: who uses that cluster; the first of them
    references: int  #: how many owners there are in all


_EXPECTATIONS = {lib.QCOW2_EXPECT_NOTHING: "nothing", lib.QCOW2_EXPECT_VALUE: "value",
                 lib.QCOW2_EXPECT_AT_MOST: "at-most", lib.QCOW2_EXPECT_AT_LEAST: "at-least",
                 lib.QCOW2_EXPECT_MULTIPLE_OF: "multiple-of"}
_KINDS: Dict[int, ProblemKind] = {}


def kind_of(pointer: Any) -> ProblemKind:
    """The kind that a pointer of the library stands for; each is made once."""
    kind = _KINDS.get(pointer.number)
    if kind is None:
        kind = _KINDS[pointer.number] = ProblemKind(
            number=pointer.number, id=text_of(pointer.id),
            severity=text_of(lib.qcow2_severity_name(pointer.severity)),
            damage=text_of(lib.qcow2_damage_name(pointer.damage)), text=text_of(pointer.text),
            consequence=text_of(pointer.consequence), section=text_of(pointer.section),
            repairable=bool(pointer.repairable))
    return kind


def problem_kinds() -> Iterator[ProblemKind]:
    """All kinds that this library knows, in the order in which they are listed to people."""
    kind = lib.qcow2_problem_kind_next(ffi.NULL)
    while kind:
        yield kind_of(kind)
        kind = lib.qcow2_problem_kind_next(kind)


def kind_pointer(name: Name) -> Any:
    """Finds a kind by its id. Raises ValueError if there is none."""
    kind = lib.qcow2_problem_kind_find(c_text(name))
    if not kind:
        raise ValueError(f"no kind of problem has the id {name!r}")
    return kind


def kind_id(number: int) -> Optional[str]:
    """The id of a kind by its number; None for 0."""
    return text_of(lib.qcow2_problem_kind_get(number).id) if number else None


def _owner(owner: Any) -> Owner:
    part = text_of(owner.part_of_name)
    in_snapshot = owner.part_of == lib.QCOW2_PART_OF_SNAPSHOT
    in_bitmap = owner.part_of == lib.QCOW2_PART_OF_BITMAP
    guest = GuestRange(owner.guest_byte, owner.guest_length_bytes, part if in_snapshot else None,
                       owner.guest_count) if owner.has_guest else None
    return Owner(text_of(owner.where), part if in_snapshot else None, part if in_bitmap else None,
                 guest)


def _guest(problem: Any) -> Optional[GuestRange]:
    if not problem.has_guest:
        return None
    of_snapshot = problem.guest_of == lib.QCOW2_PART_OF_SNAPSHOT
    return GuestRange(problem.guest_byte, problem.guest_length_bytes,
                      text_of(problem.guest_of_name) if of_snapshot else None, problem.guest_count)


def problem_of(problem: Any) -> Problem:
    """Copies a ``struct qcow2_problem``."""
    found: "int | str | None" = problem.found if problem.has_found else None
    nothing = problem.expectation == lib.QCOW2_EXPECT_NOTHING
    none = problem.offset_bytes == lib.QCOW2_NO_OFFSET
    return Problem(
        kind=kind_of(problem.kind), where=text_of(problem.where),
        offset=None if none else problem.offset_bytes, found=text_of(problem.found_text) or found,
        expected=None if nothing else problem.expected,
        expectation=_EXPECTATIONS.get(problem.expectation, "nothing"), guest=_guest(problem),
        cluster_offset=problem.cluster_offset_bytes if problem.has_cluster else None,
        owners=tuple(_owner(problem.owners[i]) for i in range(problem.owner_count)),
        references=problem.owners_total)
