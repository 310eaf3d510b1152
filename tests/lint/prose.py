# SPDX-License-Identifier: MIT
# How much of the public headers is prose, and how many words of it there are for each function.
"""The check `prose`."""
import glob
import os
import re

from tests.runner import report

# The models of this field have 73 % and 79 % prose, and 134 words a function.
SHARE_LEAST = 0.61
WORDS_LEAST = 130


def split(text):
    """(comment lines, other lines that are not blank) of C text."""
    prose = code = 0
    inside = False
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped:
            continue
        if inside or stripped.startswith("/*"):
            prose += 1
            inside = "*/" not in stripped
        else:
            code += 1
    return prose, code


def words(comment):
    return len(re.findall(r"[A-Za-z0-9_%*.()/-]*[A-Za-z0-9][A-Za-z0-9_%*.()/-]*", comment))


def comments(text):
    return re.findall(r"/\*(.*?)\*/", text, re.S)


def functions(text):
    """(name, whether a comment describes it) of each exported function. A comment is for all that
    follows it without a blank line."""
    found = []
    for paragraph in re.split(r"\n[ \t]*\n(?=[^*]*?(?:/\*|QCOW2_API))", text):
        first = re.search(r"QCOW2_API[^;]*?\b\w+\(", paragraph)
        described = bool(first and "*/" in paragraph[:first.start()])
        found += [(name, described)
                  for name in re.findall(r"QCOW2_API[^;]*?\b(qcow2_\w+)\(", paragraph)]
    return found


def check(out):
    total = {"prose": 0, "code": 0, "words": 0, "functions": 0}
    for name in sorted(glob.glob(report.path("include/qcow2/*.h"))):
        text = report.read(name)
        prose, code = split(text)
        count, found = sum(words(c) for c in comments(text)), functions(text)
        for key, value in zip(total, (prose, code, count, len(found))):
            total[key] += value
        if out.verbose:
            out.note(f"{os.path.basename(name):16} {100 * prose / (prose + code):3.0f} % prose, "
                     f"{count / len(found) if found else 0:4.0f} words a function")
        for function, described in found:
            out.case(f"{function} is described", "" if described else "no comment is in front")
    share = total["prose"] / (total["prose"] + total["code"])
    mean = total["words"] / total["functions"]
    out.note(f"headers: {100 * share:.0f} % prose, {mean:.0f} words a function")
    out.case("the headers are mostly prose", "" if share >= SHARE_LEAST
             else f"{share:.2f} of their lines are, less than {SHARE_LEAST}")
    out.case("functions are described at length", "" if mean >= WORDS_LEAST
             else f"{mean:.0f} words a function, less than {WORDS_LEAST}")
