# SPDX-License-Identifier: MIT
# Describes the public headers as a compiler sees them: layouts from debugging information, which
# binutils can print, and declarations from the preprocessor.
"""Layouts and declarations of the public headers."""
import functools
import glob
import os
import re
import tempfile

from tests.runner import report

DIE = re.compile(r"^ <([0-9a-f]+)><([0-9a-f]+)>: Abbrev Number: \d+ \((DW_TAG_\w+)\)")
ATTRIBUTE = re.compile(r"^\s+<[0-9a-f]+>\s+(DW_AT_\w+)\s*:\s*(.*)$")
# "(data1) 8", "(strp) (offset: 0x1a): name", "(indirect string, offset: 0x1a): name"
FORM = re.compile(r"^(\((?:indirect [^)]*|offset: [^)]*)\): |\([a-z]+_?[a-z0-9]*\)\s+)+")
EXPORTED = '__attribute__((visibility("default")))'


class Die:
    """An entry of the debugging information."""

    def __init__(self, depth, tag):
        self.depth, self.tag = depth, tag
        self.attributes, self.children = {}, []

    def value(self, name):
        """An attribute without the form that it is stored in; None if it is not there."""
        value = self.attributes.get("DW_AT_" + name)
        return None if value is None else FORM.sub("", value).strip()

    def text(self, name):
        return self.value(name) or ""

    def number(self, name, default=0):
        value = self.value(name)
        return default if value is None else int(value.split()[0], 0)

    def target(self):
        """The place of the entry of its type."""
        found = re.search(r"<0x([0-9a-f]+)>", self.value("type") or "")
        return int(found.group(1), 16) if found else None


@functools.lru_cache(maxsize=None)
def source():
    headers = sorted(os.path.basename(h) for h in glob.glob(report.path("include/qcow2/*.h")))
    return "".join(f"#include <qcow2/{header}>\n" for header in headers).encode()


@functools.lru_cache(maxsize=None)
def declarations():
    """{name: declaration} of everything that is exported, in one line each."""
    status, text = report.run(["gcc", "-std=c17", "-E", "-P", "-I", report.path("include"), "-"],
                              stdin=source())
    if status:
        raise RuntimeError(text)
    found = {}
    for part in text.split(EXPORTED)[1:]:
        line = re.sub(r"\s+", " ", part.split(";")[0].split(" = ")[0]).strip()
        found[re.search(r"(\w+)\s*(?:\(|\[|$)", line).group(1)] = line
    return found


def functions():
    return {name: line for name, line in declarations().items() if "(" in line}


def variables():
    return {name: line for name, line in declarations().items() if "(" not in line}


def entries():
    """Every entry of the debugging information, by its place."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "headers.o")
        status, text = report.run(["gcc", "-std=c17", "-g", "-gdwarf-4", "-c", "-x", "c",
                                   "-fno-eliminate-unused-debug-types", "-I",
                                   report.path("include"), "-", "-o", output], stdin=source())
        if status == 0:
            status, text = report.run(["readelf", "-W", "--debug-dump=info", output])
    if status:
        raise RuntimeError(text)
    found, stack = {}, []
    for line in text.splitlines():
        head = DIE.match(line)
        if head:
            die = Die(int(head.group(1), 16), head.group(3))
            found[int(head.group(2), 16)] = die
            stack = stack[:die.depth]
            if stack:
                stack[-1].children.append(die)
            stack.append(die)
        attribute = ATTRIBUTE.match(line)
        if attribute and stack:
            stack[-1].attributes[attribute.group(1)] = attribute.group(2)
    return found


def spell(dies, place):
    """A type as C spells it."""
    if place is None:
        return "void"
    die = dies[place]
    inner = functools.partial(spell, dies)
    if die.tag == "DW_TAG_pointer_type":
        to = inner(die.target())
        return to.replace(" (", " (*", 1) if re.search(r" \(\**\)\(", to) else to + " *"
    if die.tag == "DW_TAG_const_type":
        to = inner(die.target())
        return to + " const" if to.endswith("*") else "const " + to
    if die.tag == "DW_TAG_array_type":
        sizes = "".join(f"[{c.number('upper_bound', -1) + 1}]" for c in die.children
                        if c.tag == "DW_TAG_subrange_type")
        return inner(die.target()) + sizes
    if die.tag == "DW_TAG_subroutine_type":
        arguments = ", ".join(inner(c.target()) for c in die.children
                              if c.tag == "DW_TAG_formal_parameter")
        return f"{inner(die.target())} ()({arguments or 'void'})"
    word = {"DW_TAG_structure_type": "struct ", "DW_TAG_union_type": "union ",
            "DW_TAG_enumeration_type": "enum "}.get(die.tag, "")
    return word + die.text("name")


def describe():
    """The lines of the record, in the order of their names."""
    dies, lines = entries(), {}
    for die in dies.values():
        name = die.text("name")
        if not name.startswith("qcow2_") or "DW_AT_declaration" in die.attributes:
            continue
        if die.tag == "DW_TAG_structure_type":
            lines[f"struct {name} {die.number('byte_size')}"] = [
                f"    {c.number('data_member_location')} {c.text('name')} "
                f"{spell(dies, c.target())}" for c in die.children if c.tag == "DW_TAG_member"]
        elif die.tag == "DW_TAG_enumeration_type":
            lines[f"enum {name}"] = [f"    {c.number('const_value')} {c.text('name')}"
                                     for c in die.children if c.tag == "DW_TAG_enumerator"]
        elif die.tag == "DW_TAG_typedef":
            lines[f"typedef {name} {spell(dies, die.target())}"] = []
    for name, line in declarations().items():
        lines[f"{'function' if '(' in line else 'variable'} {name} {line}"] = []
    return [line for heading in sorted(lines) for line in [heading, *lines[heading]]]
