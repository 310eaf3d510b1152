# SPDX-License-Identifier: MIT
# What cffi has to know of the library: the public headers, run through the preprocessor and made
# shorter. Nothing of them is written down a second time, so nothing can drift.
"""Turns C headers into declarations that cffi reads."""
import os
import re
import subprocess
import tempfile
from typing import List

# Headers of C itself: cffi knows these types by itself, so the preprocessor finds empty files.
EMPTY = ("stdbool.h", "stddef.h", "stdint.h", "inttypes.h", "string.h")
# Macros of those headers, and attributes, that stand in the text nevertheless.
KNOWN = ("-D__attribute__(x)=", "-DUINT64_C(x)=x", "-DUINT32_C(x)=x",
         "-DUINT64_MAX=0xffffffffffffffff", "-DUINT32_MAX=0xffffffff")
NAME = re.compile(r"^#define (QCOW2_[A-Z0-9_]+) +(.+)$", re.M)
# The value of a macro that is a number once all macros in it are replaced.
NUMBER = re.compile(r"^[-0-9a-fA-FxXuUlL()<>|+ ]*[0-9][-0-9a-fA-FxXuUlL()<>|+ ]*$")
FUNCTION_BODY = re.compile(r"^static inline [^;{]*\{", re.M)


def preprocess(compiler: List[str], include: List[str], text: str, *more: str) -> str:
    """The text as the preprocessor leaves it, without what the headers of C itself say."""
    with tempfile.TemporaryDirectory() as empty:
        for name in EMPTY:
            with open(os.path.join(empty, name), "w", encoding="ascii"):
                pass
        command = [*compiler, "-E", "-P", "-nostdinc", "-I", empty, *KNOWN, *more]
        for folder in include:
            command += ["-I", folder]
        return subprocess.run([*command, "-x", "c", "-"], input=text, check=True,
                              stdout=subprocess.PIPE, encoding="utf-8").stdout


def without_inline(text: str) -> str:
    """Leaves out functions that have a body: they are for C."""
    found = FUNCTION_BODY.search(text)
    while found:
        depth, end = 1, found.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[:found.start()] + text[end:]
        found = FUNCTION_BODY.search(text, found.start())
    return text


def _open_ended(match: "re.Match[str]") -> str:
    """
    A structure or an enumeration that may have more than is written here. The compiler fills in
    sizes, places and values, so that the padding of each machine is right.
    """
    kind, name, body = match.group(1, 2, 3)
    if kind == "enum":
        names = re.findall(r"(?:^|,)\s*(\w+)\s*(?:=[^,]*)?", body)
        return f"enum {name} {{ {', '.join(names)}, ... }}"
    return f"struct {name} {{{body.rstrip()} ...; }}"


def constants(compiler: List[str], include: List[str], text: str) -> List[str]:
    """The names of the macros that are numbers."""
    names = [name for name, _ in NAME.findall(
        preprocess(compiler, include, text, "-dM"))]
    # The preprocessor leaves what stands between quotes alone.
    lines = "".join(f'\n"{name}" {name}' for name in names)
    values = dict(re.findall(r'^"(\w+)" (.+)$', preprocess(compiler, include, text + lines), re.M))
    return sorted(name for name in names if NUMBER.match(values.get(name, "")))


def declarations(compiler: List[str], include: List[str], text: str) -> str:
    """All that the headers which `text` includes declare, as cffi wants it."""
    found = without_inline(preprocess(compiler, include, text))
    found = re.sub(r"\b(struct|enum) (\w+) *\{([^{}]*)\}", _open_ended, found)
    lines = [f"#define {name} ..." for name in constants(compiler, include, text)]
    return "\n".join([found, *lines]) + "\n"
