# SPDX-License-Identifier: MIT
"""The small words of a recipe: numbers with suffixes, quoted strings, hex, ranges, sums.

Strings travel as str with surrogateescape, so that bytes which are not UTF-8
survive; `to_bytes` gives them back.
"""

import ast
import re

from .errors import ForgeError

SUFFIX = {"k": 10, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
SIMPLE = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\", '"': b'"', "e": b"\x1b"}


def number(text):
    """4096, 0x1000, 4k, 1G, 0b101, -1 (as 2^64 - 1 is left to the field's width)."""
    match = re.fullmatch(r"(-?)(0[xX][0-9a-fA-F_]+|0[bB][01_]+|[0-9_]+)([kKMGTPE]?)", text)
    if not match:
        raise ForgeError(f"not a number: {text!r}")
    value = int(match[2], 0) << SUFFIX.get(match[3], 0)
    return -value if match[1] else value


def to_bytes(text):
    """The bytes of a token; hex:… gives those bytes, zeros:N gives N zero bytes."""
    if text.startswith("hex:"):
        try:
            return bytes.fromhex(text[4:])
        except ValueError as err:
            raise ForgeError(f"not hexadecimal: {text!r}") from err
    if text.startswith("zeros:"):
        return bytes(number(text[6:]))
    if re.fullmatch(r"[^*]+\*\d+", text):
        unit, count = text.rsplit("*", 1)
        return unit.encode("utf-8", "surrogateescape") * int(count)
    return text.encode("utf-8", "surrogateescape")


def _quoted(line, pos):
    """Read a quoted string that starts after its opening quote."""
    out = bytearray()
    while True:
        if pos >= len(line):
            raise ForgeError("a quoted string does not end")
        char = line[pos]
        if char == '"':
            return out.decode("utf-8", "surrogateescape"), pos + 1
        if char != "\\":
            out += char.encode("utf-8", "surrogateescape")
            pos += 1
            continue
        kind = line[pos + 1:pos + 2]
        if kind == "x":
            out.append(int(line[pos + 2:pos + 4], 16))
            pos += 4
        elif kind == "u":
            out += chr(int(line[pos + 2:pos + 6], 16)).encode("utf-8")
            pos += 6
        elif kind in SIMPLE:
            out += SIMPLE[kind]
            pos += 2
        else:
            raise ForgeError(f"unknown escape \\{kind}")


def words(line):
    """Split a line into tokens; # starts a comment, "…" may hold anything."""
    if '"' not in line and "#" not in line:
        return line.split()
    tokens, pos = [], 0
    while True:
        while pos < len(line) and line[pos].isspace():
            pos += 1
        if pos >= len(line) or line[pos] == "#":
            return tokens
        token = ""
        while pos < len(line) and not line[pos].isspace():
            if line[pos] == '"':
                part, pos = _quoted(line, pos + 1)
                token += part
            else:
                token += line[pos]
                pos += 1
        tokens.append(token)


def mask(text):
    """Bit numbers: 0-3,7 or none or all or a 0x mask, as a set of 32 bits."""
    if text.startswith("0x"):
        return int(text, 16)
    if text == "all":
        return 0xffffffff
    return 0 if text == "none" else sum(1 << bit for bit in indices(text))


def indices(text):
    """0-3,7 as the numbers 0 1 2 3 7."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(number(first), number(last or first) + 1)


OPERATORS = {
    ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b,
    ast.BitOr: lambda a, b: a | b, ast.BitAnd: lambda a, b: a & b, ast.BitXor: lambda a, b: a ^ b,
    ast.LShift: lambda a, b: a << b, ast.RShift: lambda a, b: a >> b,
}
WORD = re.compile(r"[@$]([A-Za-z_][A-Za-z_0-9./]*)|\b(0[xX][0-9a-fA-F_]+|\d[0-9_]*[kKMGTPE]?)\b"
                  r"|\b([a-z_]+)\b")


def evaluate(text, names):
    """A sum such as `@l2/0 + 512 | 1<<63`.

    `names(kind, word)` answers @PATH (where it is), $PATH (its value now) and bare words.
    """
    def swap(match):
        if match[1]:
            return f"({names(match[0][0], match[1])})"
        return f"({number(match[2])})" if match[2] else f"({names('', match[3])})"

    def walk(node):
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
            value = walk(node.operand)
            return -value if isinstance(node.op, ast.USub) else ~value
        raise ForgeError(f"cannot work out {text!r}")

    try:
        return walk(ast.parse(WORD.sub(swap, text.strip()), mode="eval").body)
    except (SyntaxError, ValueError) as err:
        raise ForgeError(f"cannot work out {text!r}") from err
