# SPDX-License-Identifier: MIT
# Layout rules: clang-format, shellcheck, SPDX lines, sizes of files and functions, masks.
"""The check `lint`."""
import os
import re
import shutil

from . import codec, report

FILE_LINES = 500
FUNCTION_LINES = 100
SOURCE_ENDINGS = (".c", ".h", ".def", ".py", ".sh", ".scd", ".build", ".yml")
SOURCE_NAMES = ("Makefile", "meson_options.txt", ".clang-format", ".editorconfig", ".gitignore")


def is_source(name):
    base = os.path.basename(name)
    if base.endswith(SOURCE_ENDINGS) or base in SOURCE_NAMES:
        return True
    return report.first_line(name).startswith("#!")


def check_format(out, files):
    tool = shutil.which("clang-format") or shutil.which("clang-format-14")
    if not tool:
        out.bad("clang-format", "not installed")
        return
    for name in files:
        status, text = report.run([tool, "--dry-run", "-Werror", "--style=file", name])
        out.case(f"clang-format {name}", text or "failed" if status else "")


def check_shell(out, files):
    for name in report.shell_files(files):
        status, text = report.run(["shellcheck", name])
        out.case(f"shellcheck {name}", text or "failed" if status else "")


def check_spdx(out, files):
    for name in files:
        if not is_source(name):
            continue
        head = "\n".join(report.read(name).splitlines()[:2])
        out.case(f"spdx {name}",
                 "" if "SPDX-License-Identifier: MIT" in head else "no SPDX line in the first two")


def functions(text):
    """(name, first line, lines) of each function: our layout puts its braces in column 0."""
    start = None
    title = "?"
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"[A-Za-z_].*\(", line) and not line.startswith("#"):
            title = re.search(r"(\w+)\s*\(", line).group(1)
        if line == "{":
            start = number
        elif line.startswith("}") and start is not None:
            yield title, start, number - start - 1
            start = None


def check_sizes(out, files):
    for name in files:
        text = report.read(name)
        lines = text.count("\n")
        if name.endswith(".c"):
            out.case(f"file size {name}",
                     f"{lines} lines, more than {FILE_LINES}" if lines > FILE_LINES else "")
        long = [f"{name}:{start}: {title} has {size} lines, more than {FUNCTION_LINES}"
                for title, start, size in functions(report.without_comments(text))
                if size > FUNCTION_LINES]
        out.case(f"function size {name}", "\n".join(long))


def check(out):
    files = report.tracked()
    c_files = [f for f in files if f.endswith((".c", ".h"))]
    check_format(out, c_files)
    check_shell(out, files)
    check_spdx(out, files)
    check_sizes(out, c_files)
    codec.check(out)
