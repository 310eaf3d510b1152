# SPDX-License-Identifier: MIT
# The documents: what is generated agrees with its source, Markdown fits a page, and the files that
# documents and comments name are there.
"""The check `documents`."""
import os
import re
import sys

from tests.lint import identifiers, keys
from tests.runner import report

COLUMNS = 120
# The list of recipes in the forge's README: one recipe a line, as its test reads it.
NAMED = re.compile(r"(?<![\w./*-])((?:[\w.-]+/)*[A-Za-z][\w-]*\.(?:c|h|def|md|scd))(?![\w(*]|\.\w|->)")
# Stand for any file of a kind, or for one of the reader's.
NO_FILES = {"example.c", "def/NAME.def", "def/NAME_entry.def"}
LONG = re.compile(r"- `(?:good|bad|unsupported)-")


def check_generated(out):
    status, text = report.run([sys.executable, "-B", report.path("scripts/generate"), "--check"])
    out.case("generated parts of documents", text or "failed" if status else "")


def check_width(out):
    names = [name for name in report.tracked() if name.endswith(".md")]
    long = [f"{name}:{number}: {len(line)} columns" for name in names
            for number, line in enumerate(report.read(name).splitlines(), 1)
            if len(line) > COLUMNS and not LONG.match(line)]
    out.case(f"width of {len(names)} documents", "\n".join(long))


def check_links(out):
    """Links between documents lead to files, and docs/README.md to every document beside it."""
    lost, linked = [], set()
    for name in report.tracked():
        if not name.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", report.read(name)):
            path = os.path.normpath(os.path.join(os.path.dirname(name), target))
            if name == "docs/README.md":
                linked.add(path)
            if not os.path.exists(report.path(path)):
                lost.append(f"{name}: {target}")
    out.case("links between documents", "\n".join(lost))
    beside = {name for name in report.tracked() if name.startswith("docs/")} - {"docs/README.md"}
    out.case("docs/README.md lists all documents", "\n".join(sorted(beside - linked)))


def check_names(out):
    """A file that a comment or a document names is there, by its path or a part of its end."""
    tracked = report.tracked()
    ends = {"/".join(name.split("/")[i:]) for name in tracked for i in range(name.count("/") + 1)}
    lost = []
    for name in tracked:
        if not name.endswith((".c", ".h", ".def", ".md", ".scd")):
            continue
        text = report.read(name)
        # What is included is the compiler's to find, and text in quotes is no name of ours.
        text = re.sub(r"^[ \t]*#include <[^>]*>", "", text, flags=re.M)
        if name.endswith((".c", ".h")):
            text = re.sub(r'"(?:\\.|[^"\\\n])*"', "", text)
        for match in NAMED.finditer(text):
            beside = os.path.normpath(os.path.join(os.path.dirname(name), match.group(1)))
            if match.group(1) not in ends | NO_FILES and beside not in tracked:
                number = text.count("\n", 0, match.start()) + 1
                lost.append(f"{name}:{number}: {match.group(1)}")
    out.case("files that comments and documents name", "\n".join(lost))


def check(out):
    check_generated(out)
    check_width(out)
    check_links(out)
    check_names(out)
    identifiers.check(out)
    keys.check(out)
