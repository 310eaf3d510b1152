# SPDX-License-Identifier: MIT
# What the preprocessor makes of the lists in include/qcow2/def: rows become members, with the
# documentation of the row as their comment. It knows as much of C as the lists need.
"""Expands the lists that a header includes."""
import os
import re

INCLUDE = re.compile(r"#include <qcow2/(def/\w+\.def)>$")
DEFINE = re.compile(r"#define (\w+)(?:\(([^)]*)\))?\s*(.*)$", re.S)
CALL = re.compile(r"\b(QCOW2_\w+)\(")
STRING = r'"(?:[^"\\]|\\.)*"'
# The column of a row that says what it is about.
TEXTS = ("meaning", "text", "advice")


def read(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def logical_lines(text):
    """The lines of C, with those that a backslash continues as one."""
    return text.replace("\\\n", "\n\\").split("\n")


def join_continued(text):
    return re.sub(r"[ \t]*\\\n[ \t]*", " ", text)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def arguments(text, start):
    """(the arguments of a call whose parenthesis opens before start, the place behind it)."""
    found, depth, begin, at = [], 0, start, start
    while True:
        string = re.compile(STRING).match(text, at)
        if string:
            at = string.end()
            continue
        char = text[at]
        if char == ")" and depth == 0:
            found.append(text[begin:at].strip())
            return found, at + 1
        if char == "," and depth == 0:
            found.append(text[begin:at].strip())
            begin = at + 1
        depth += (char == "(") - (char == ")")
        at += 1


def unquote(text):
    """The text of string literals that stand side by side; None if it is something else."""
    parts = re.findall(STRING, text)
    if not parts or re.sub(STRING, "", text).strip():
        return None
    return "".join(re.sub(r"\\(.)", r"\1", part[1:-1]) for part in parts)


def substitute(body, values):
    body = re.sub(r"\b(\w+)\b", lambda m: values.get(m.group(1), m.group(1)), body)
    return re.sub(r"\s*##\s*", "", body)


def row(macros, name, given):
    """What a row of a list becomes, with what it says of itself in a comment behind."""
    parameters, body = macros[name]
    values = dict(zip(parameters, given))
    made = substitute(body, values)
    made = re.sub(r"\bQCOW2_TYPE_\w+\b",
                  lambda m: macros.get(m.group(), ((), m.group()))[1], made)
    said = next((unquote(values[key]) for key in TEXTS if key in values), None)
    ended = re.sub(r"([;{}])\s*(?=\S)", r"\1\n", made)
    return re.sub(r"\}\s*;", "};", ended) + (f" /* {said} */" if said else "")


def rows(macros, folder, path):
    """The lines that a list becomes under the macros that a header has defined."""
    text = join_continued(without_comments(read(os.path.join(folder, path))))
    skipping, waiting, lines = False, "", []
    for line in text.split("\n"):
        if line.startswith("#"):
            condition = re.match(r"#ifdef (\w+)", line)
            include = INCLUDE.match(line)
            if condition:
                skipping = condition.group(1) not in macros
            elif line.startswith("#endif"):
                skipping = False
            elif include and not skipping:
                lines += rows(macros, folder, include.group(1))
            continue
        waiting += line + "\n"
        if skipping:
            waiting = ""
        if waiting.count("(") == waiting.count(")") or line.rstrip().endswith(('")', '");')):
            call = CALL.search(waiting)
            if call and call.group(1) in macros:
                given, _ = arguments(waiting, call.end())
                lines.append(row(macros, call.group(1), given))
            waiting = ""
    return lines


def expand(path):
    """The text of a header, with the lists that it includes written out."""
    folder = os.path.dirname(path)
    macros, lines = {}, []
    for line in join_continued(read(path)).split("\n"):
        define, include = DEFINE.match(line), INCLUDE.match(line)
        if define:
            parameters = [p.strip() for p in (define.group(2) or "").split(",")]
            macros[define.group(1)] = (parameters, define.group(3))
        elif line.startswith("#undef "):
            macros.pop(line.split()[1], None)
        if include:
            lines += "\n".join(rows(macros, folder, include.group(1))).replace("\n;", ";").split("\n")
        else:
            lines.append(line)
    return "\n".join(lines)
