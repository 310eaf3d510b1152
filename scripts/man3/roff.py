# SPDX-License-Identifier: MIT
# Text as man(7) wants it. Nothing that a header says can become a request or an escape; a - is the one of
# the keyboard, so that what is shown can be copied.
"""Writes roff."""
import re
import textwrap

ESCAPES = {"\\": "\\(rs", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
WIDTH = 78
# What is emphasised wherever it occurs: (pattern, font).
WORDS = re.compile(
    r"(?P<quoted>`[^`]+`)"
    r"|(?P<function>\bqcow2_\w+(?=\()|\bqcow2_\w+_\*(?=\(\)))"
    r"|(?P<tag>\b(?:struct|enum) qcow2_\w+)"
    r"|(?P<constant>\bQCOW2_\w+)"
    r"|(?P<pointer>(?<![\w*])\*\w+\b(?! \*)|\boptions->\w+)"
    r"|(?P<header>(?<![\w/])<?(?:qcow2/)?[a-z_]+\.h\b>?)")
FONTS = {"quoted": "B", "function": "B", "tag": "I", "constant": "B", "pointer": "I", "header": "I"}


def escape(text):
    """Text in which no character means anything to roff."""
    made = "".join(ESCAPES.get(char, char) for char in text)
    return "".join(char if ord(char) < 128 else f"\\[u{ord(char):04X}]" for char in made)


def font(letter, text):
    return f"\\f{letter}{escape(text)}\\fR"


def marked(text, italic=()):
    """Text with names of functions, types and constants in their fonts; italic: other words that are
    names, as those of parameters."""
    out, at = "", 0
    for match in WORDS.finditer(text):
        out += escape(text[at:match.start()])
        out += font(FONTS[match.lastgroup], match.group().strip("`"))
        at = match.end()
    return out + escape(text[at:])


def guarded(line):
    """A line that begins no request."""
    return "\\&" + line if line.startswith((".", "'")) else line


def filled(text):
    """Marked text as lines. None begins a request, or ends as a sentence, behind which roff would put
    two blanks."""
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [re.sub(r"([.?!][)\"]*)$", r"\1\\&", line) for line in lines[:-1]] + lines[-1:]
    return [guarded(line) for line in lines]


def paragraph(text):
    return [".P", *filled(marked(text))]


def tagged(tag, text):
    """A tag, which is roff already, and marked text of its own."""
    return [".TP", guarded(tag), *filled(text)]


def literal(text, indent=True):
    """Lines as they are; roff already."""
    lines = [guarded(line) or "\\&" for line in text]
    inner = [".nf", *lines, ".fi"]
    return [".P", ".RS 2", *inner, ".RE"] if indent else [".P", *inner]


def inside(lines):
    """The same lines below a tag, where a paragraph is indented as the text of the tag is."""
    text = "\n".join(lines) + "\n"
    text = re.sub(r"^\.P\n\.RS 2\n(\.nf\n(?:.*\n)*?\.fi\n)\.RE\n", r".IP\n\1", text, flags=re.M)
    text = re.sub(r"^\.RS 2$", ".RS", re.sub(r"^\.P$", ".IP", text, flags=re.M), flags=re.M)
    return text[:-1].split("\n") if lines else []


def section(title):
    return [f".SH {title}"]


def subsection(title):
    return [f".SS {title}"]


def clean(lines):
    """Drops what has no effect: a paragraph right behind a heading."""
    out = []
    for line in lines:
        if line == ".P" and out and out[-1].startswith((".SH", ".SS")):
            continue
        out.append(line)
    return "\n".join(out) + "\n"

