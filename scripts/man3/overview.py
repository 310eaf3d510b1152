# SPDX-License-Identifier: MIT
# libqcow2(3): what qcow2.h says of all, the conventions of base.h, and a list of all pages by topic.
"""Makes the page of the library."""
import roff
from prose import blocks
from render import constant_lines, render_blocks, type_lines

# Headers that this page describes, instead of pages of their own.
OWN = ("qcow2.h", "base.h")
TITLE = "read, check and change QCOW2 disk images"
TOPICS = "The parts, by what they are for:"


def links(headers):
    """Names of types that base.h declares."""
    return [item.name for item in headers["base.h"].items if item.kind in ("struct", "enum")]


def topics(header):
    """[(topic, names of headers)] of the list in qcow2.h, and the blocks of its comment without it."""
    found, rest = [], []
    listed = False
    for block in blocks(header.comment):
        if block.kind == "list" and listed:
            found += [(topic, [name.strip() for name in names.split(",")])
                      for topic, names in block.rows]
        elif block.kind == "paragraph" and block.text.endswith(TOPICS):
            listed = True
            block.text = block.text[:-len(TOPICS)].strip()
            rest.append(block)
        else:
            rest.append(block)
    return found, rest


def topic_lines(found, pages):
    out = roff.section("TOPICS")
    left = {page.header.name for page in pages} - {name for _, names in found for name in names}
    for topic, names in found + ([("Others", sorted(left))] if left else []):
        listed = [page for name in names for page in pages if page.header.name == name]
        out += roff.subsection(roff.escape(topic)) + [".PD 0"]
        for page in listed:
            out += roff.tagged(roff.font("B", page.name()) + "(3)", roff.marked(page.title))
        out.append(".PD")
    return out


def lines(headers, pages):
    found, rest = topics(headers["qcow2.h"])
    base = headers["base.h"]
    at = next(number for number, block in enumerate(rest) if block.kind == "code")
    text, code = rest[:at - 1], rest[at - 1:]
    out = roff.section("SYNOPSIS")
    out += roff.literal([roff.font("B", "#include <qcow2/qcow2.h>"), "\\&",
                         roff.escape("cc … $(pkg-config --cflags --libs libqcow2)")], indent=False)
    out += roff.section("DESCRIPTION") + render_blocks(text)
    out += topic_lines(found, pages)
    out += roff.section("CONVENTIONS") + render_blocks(blocks(base.comment))
    types = [item for item in base.items if item.kind in ("struct", "enum")]
    macros = [item for item in base.items if item.kind == "macro"]
    out += roff.section("TYPES") + [line for item in types for line in type_lines(item)]
    out += roff.section("CONSTANTS") + constant_lines(macros)
    if code:
        out += roff.section("EXAMPLES") + render_blocks(code)
    return out + roff.section('"SEE ALSO"') + roff.filled(
        ", ".join(roff.font("B", name) + f"({number})" for name, number in
                  (("qcow2", 1), ("qcow2-format", 5))))
