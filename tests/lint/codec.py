# SPDX-License-Identifier: MIT
# No mask, shift, offset or limit of the format outside of the lists it is written down in.
"""A part of the check `lint`: entries go through <qcow2/entry.h>, fields through lib/format."""
import glob
import os
import re

from tests.runner import report

# lib/format and the headers of the format expand the lists; undo files are a format of their own.
EXEMPT = ("lib/format/", "lib/base/", "include/qcow2/entry.h", "include/qcow2/format.h",
          "include/qcow2/def/", "lib/undo/")

BITS = re.compile(r"QCOW2_BITS(_IN_PLACE|_RESERVED)?\((\w+), (\d+), (\d+)")
FIELD = re.compile(r"QCOW2_F[A]?\(u(\d+), \w+, (?:\"\w+\", )?(\d+)|QCOW2_FB\((\d+), \w+, (\d+)")
LIMIT = re.compile(r'QCOW2_LIMIT\(\w+, "([^"]+)", (\d+), "([^"]+)", "[^"]+", "([^"]+)", "([^"]+)"\)')
LITERAL = re.compile(r"\b(0x[0-9a-fA-F]+)")
SHIFT = re.compile(r"(<<|>>)\s*\(?\s*6[23]\b")
PLACE = re.compile(r"\b(?:q2_)?(?:load|store)_be\d*\([^,;]*\+\s*\d+\s*[,)]")
AT = re.compile(r"\bQCOW2_ERROR_\w+, [1-9]\d*,|\boffset_bytes\s*[-+]?=\s*[1-9]\d*\b")
SIZE = re.compile(r"#define\s+\w*(?:BYTES|_AT|SIZE)\w*\s+\(?(?:UINT64_C\()?(\d+)\)?\s*$", re.M)


def lists():
    return {os.path.basename(name)[:-4]: report.read(os.path.relpath(name, report.ROOT))
            for name in sorted(glob.glob(report.path("include/qcow2/def/*.def")))}


def mask_of(first, count):
    return ((1 << count) - 1) << first


def masks(texts):
    """Every literal that an entry would be masked with: offsets, reserved bits, low bits."""
    found = {mask_of(62, 2), mask_of(63, 1), mask_of(62, 1)}
    for text in texts.values():
        rows = [(kind, int(first), int(count)) for kind, _, first, count in BITS.findall(text)]
        reserved = sum(mask_of(first, count) for kind, first, count in rows if kind == "_RESERVED")
        if reserved:
            found |= {reserved, mask_of(0, 64) & ~reserved}
        for kind, first, count in rows:
            if kind:
                found |= {mask_of(first, count), mask_of(0, 64) & ~mask_of(first, count)}
    return found


def sizes(texts):
    """The sizes of structures that are written down as plain fields."""
    found = set()
    for text in texts.values():
        ends = [int(bits or 0) // 8 + int(at or 0) + int(size or 0) + int(place or 0)
                for bits, at, size, place in FIELD.findall(text)]
        if ends:
            found.add(max(ends))
    # The header up to its end in versions 2 and 3, and with its last field padded. Sizes that many
    # other things have, too, say nothing.
    return {size for size in found if 16 < size < 512} | {72, 104, 112}


def lines_of(pattern, text, wanted=lambda match: True):
    for match in pattern.finditer(text):
        if wanted(match):
            start = text.rfind("\n", 0, match.start()) + 1
            end = text.find("\n", match.end())
            yield text.count("\n", 0, match.start()) + 1, text[start:end].strip()


def faults(text, forbidden, whole):
    """(line, what is wrong) of a file without comments."""
    for number, line in lines_of(SHIFT, text):
        yield number, f"{line}: shifts by 62 or 63; use <qcow2/entry.h>"
    for number, line in lines_of(LITERAL, text, lambda m: int(m.group(1), 16) in forbidden):
        yield number, f"{line}: a mask of an entry; use QCOW2_ENTRY_MASK or a decoder"
    for number, line in lines_of(PLACE, text):
        yield number, f"{line}: a field at a literal offset; use an encoder or a decoder"
    for number, line in lines_of(AT, text):
        yield number, f"{line}: the place of a field as a number; use offsetof"
    for number, line in lines_of(SIZE, text, lambda m: int(m.group(1)) in whole):
        yield number, f"{line}: the size of a structure; use sizeof or offsetof"


def check_limits(out):
    """docs/format.md has a row for each limit, and no row besides."""
    rows = LIMIT.findall(report.read("include/qcow2/def/limits.def"))
    wanted = [f"| `{name}` | {int(value):,} | {unit} | {who} | {what} |"
              for name, value, unit, who, what in rows]
    shown = [line for line in report.read("docs/format.md").splitlines()
             if re.match(r"\| `[a-z0-9-]+` \| [\d,]+ \|", line)]
    out.case("docs/format.md has the limits of limits.def", "" if rows and wanted == shown
             else "\n".join(sorted(set(wanted) ^ set(shown)) or ["another order, or no limits"]))


def check(out):
    texts = lists()
    forbidden, whole = masks(texts), sizes(texts)
    out.case("the lists give masks and sizes",
             "" if 0x00fffffffffffe00 in forbidden and 0x3f000000000001fe in forbidden
             and {24, 40, 48, 72, 104, 112, 208} <= whole else f"{forbidden} {whole}")
    names = [name for name in report.tracked()
             if name.endswith((".c", ".h")) and name.startswith(("lib/", "cmd/", "plugins/", "include/"))
             and not name.startswith(EXEMPT)]
    wrong = [f"{name}:{number}: {what}" for name in names for number, what in
             faults(report.without_comments(report.read(name)), forbidden, whole)]
    out.case(f"masks and offsets of {len(names)} files", "\n".join(wrong))
    check_limits(out)
