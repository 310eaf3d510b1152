# SPDX-License-Identifier: MIT
# Small changes of C source: a comparison, an operator, a constant, a condition or a statement becomes
# another one. The layout puts blanks around binary operators and one statement on a line, so that
# patterns are enough to find them.
"""Mutants of C files."""
import random
import re
from collections import namedtuple

from tests.runner import report

Mutant = namedtuple("Mutant", "file line what before after")

SWAPS = [(" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > "), (" == ", " != "),
         (" != ", " == "), (" && ", " || "), (" || ", " && "), (" + ", " - "), (" - ", " + "),
         (" << ", " >> "), (" >> ", " << "), (" & ", " | "), (" | ", " & "), (" * ", " + "),
         (" / ", " * "), (" % ", " / "), (" += ", " -= "), (" -= ", " += "), (" |= ", " &= "),
         (" &= ", " |= "), ("return true;", "return false;"), ("return false;", "return true;"),
         ("++", "--")]
NUMBER = re.compile(r"(?<![\w.\"'])(0x[0-9a-fA-F]+|\d+)(?=(?:[uU]?[lL]{0,2})\b)")
CONDITION = re.compile(r"^(\t+(?:\} else )?(?:if|while) )(\(.+\))( \{)?$")
# A call or an assignment that fills its line. Without it the program must do something else.
STATEMENT = re.compile(r"^\t+(?!return|goto|free|assert|q2_assert|struct|const|static|enum|u?int\w*_t |"
                       r"bool |size_t |char |unsigned |int )[\w\->.\[\]*]+(?: [|&+\-]?= .*|\(.*\));$")
JUMP = re.compile(r"^\t+(?:continue|break);$")


def balanced(text):
    """Whether the outer parentheses of a condition are one pair."""
    depth = 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return at == len(text) - 1
    return False


def of_line(line, code):
    """(what, the line changed) for each change of a line; `code` is the line without comments."""
    for old, new in SWAPS:
        at = code.find(old)
        while at >= 0:
            yield f"{old.strip()} becomes {new.strip()}", line[:at] + new + line[at + len(old):]
            at = code.find(old, at + 1)
    for match in NUMBER.finditer(code):
        if code[:match.start()].endswith("return -"):
            continue  # any number below zero says the same
        value = str(int(match[1], 0) + 1)
        yield f"{match[1]} becomes {value}", line[:match.start()] + value + line[match.end(1):]
    match = CONDITION.match(code)
    if match and balanced(match[2]):
        yield "negated", f"{match[1]}(!{match[2]}){match[3] or ''}"
    if STATEMENT.match(code) or JUMP.match(code):
        yield "left out", re.match(r"\t*", line)[0] + ";"


def of_file(name):
    text = report.read(name)
    lines = text.split("\n")
    inside = False
    for number, code in enumerate(report.without_comments(text).split("\n")):
        if code == "{":
            inside = True
        elif code.startswith("}"):
            inside = False
        elif inside and not re.match(r"\s*(#|case |static_assert|assert|default:)", code):
            for what, after in of_line(lines[number], code):
                yield Mutant(name, number + 1, what, lines[number], after)


def sample(files, count, seed):
    """`count` mutants of the files, the same for the same seed, spread over lines evenly."""
    rng = random.Random(seed)
    by_line = {}
    for name in files:
        for mutant in of_file(name):
            by_line.setdefault((name, mutant.line), []).append(mutant)
    places = sorted(by_line)
    rng.shuffle(places)
    return [rng.choice(by_line[place]) for place in places[:count]], sum(map(len, by_line.values()))


def applied(mutant, text):
    """The text of the file with the mutant in it."""
    lines = text.split("\n")
    assert lines[mutant.line - 1] == mutant.before
    lines[mutant.line - 1] = mutant.after
    return "\n".join(lines)
