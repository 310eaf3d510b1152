# SPDX-License-Identifier: MIT
# The demo shows what it promises, and every command that it suggests works.
"""The check `demo`."""
import re

from tests.runner import report


def check(out):
    status, text = report.run(["scripts/demo"])
    out.case("the demo ends well", f"exit status {status}\n{text}" if status else "")
    for word in ("magic", "Bitmaps", "nightly", "weekly", "installed"):
        out.case(f"the demo shows {word}", "" if re.search(word, text, re.I) else text)
    commands = re.findall(r"^  (build/release/cmd/qcow2 .*)$", text, re.M)
    out.case("the demo suggests commands", "" if len(commands) > 3 else text)
    for command in commands:
        status, text = report.run(["sh", "-c", command])
        out.case(command, f"exit status {status}\n{text}" if status or not text else "")
