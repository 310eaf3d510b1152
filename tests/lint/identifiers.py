# SPDX-License-Identifier: MIT
# Names of the API that comments and documents mention exist: a name that was changed stays behind in
# prose, where no compiler looks.
import re

from tests.runner import report

NAME = re.compile(r"\b(?:qcow2|QCOW2)_\w+")
COMMENT = re.compile(r"/\*.*?\*/", re.S)
# Lists whose rows make names: qcow2/def/problems.def has QCOW2_PROBLEM(7, ID, …), for one.
ROWS = [("QCOW2_PROBLEM", "QCOW2_PROBLEM_"), ("QCOW2_GUARD", "QCOW2_GUARD_"),
        ("QCOW2_LIMIT", "QCOW2_LIMIT_")]
# Made by macros for each structure; placeholders; variables and switches; names of versions.
MADE = re.compile(r"qcow2_\w+_(?:decode|encode|structure)$|qcow2_(?:KIND|NAME)|.*_$|"
                  r"QCOW2_(?:UNDO_DIR|MEMORY_LIMIT|TIME_LIMIT|SANDBOX|SECCOMP|RELEASE|NO_OFD_LOCKS|0)$")


def declared(names):
    """What the code of the public headers, without its comments, names or makes."""
    known = set()
    for name in names:
        code = COMMENT.sub("", report.read(name))
        known |= set(NAME.findall(code))
        for macro, prefix in ROWS:
            known |= {prefix + row for row in re.findall(macro + r"\((?:\d+, )?([A-Z]\w*)", code)}
    return known


def unknown(known, names):
    for name in names:
        text = report.read(name)
        pieces = COMMENT.findall(text) if name.endswith((".c", ".h", ".def")) else [text]
        for word in sorted({w for piece in pieces for w in NAME.findall(piece)}):
            if word not in known and not MADE.match(word):
                yield f"{name}: {word} is not in the public headers"


def check(out):
    files = report.tracked()
    known = declared([f for f in files if f.startswith("include/") and f.endswith((".h", ".def"))])
    prose = [f for f in files if f.endswith((".md", ".scd")) or
             (f.startswith(("include/", "lib/", "cmd/", "plugins/")) and f.endswith((".c", ".h", ".def")))]
    out.case("the headers declare names", "" if len(known) > 500 else f"only {len(known)}")
    out.case("public names in comments and documents exist", "\n".join(unknown(known, prose)))
