# SPDX-License-Identifier: MIT
# The documents: what is generated agrees with its source, and Markdown fits a page.
"""The check `documents`."""
import re
import sys

from tests.runner import report

COLUMNS = 120
# The list of recipes in the forge's README: one recipe a line, as its test reads it.
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


def check(out):
    check_generated(out)
    check_width(out)
