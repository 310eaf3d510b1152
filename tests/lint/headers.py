# SPDX-License-Identifier: MIT
# Each public header compiles alone, twice in a row, as C17 and as C++17, without feature macros.
"""The check `headers`."""
import glob
import os

from tests.runner import report

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror",
            "-fsyntax-only"]
COMPILERS = [
    ("C17, gcc", ["gcc", "-std=c17", "-x", "c"]),
    ("C17, clang", ["clang", "-std=c17", "-x", "c"]),
    ("C++17, g++", ["g++", "-std=c++17", "-x", "c++"]),
    ("C++17, clang", ["clang++", "-std=c++17", "-x", "c++"]),
]


def check(out):
    names = sorted(os.path.basename(h) for h in glob.glob(report.path("include/qcow2/*.h")))
    for label, compiler in COMPILERS:
        wrong = []
        for name in names:
            program = f"#include <qcow2/{name}>\n#include <qcow2/{name}>\n".encode()
            status, text = report.run(compiler + WARNINGS + ["-I", report.path("include"), "-"],
                                      stdin=program)
            if status:
                wrong.append(f"{name}: {text or 'failed'}")
        out.case(f"{len(names)} headers as {label}", "\n".join(wrong))
