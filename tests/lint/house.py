# SPDX-License-Identifier: MIT
# Layout rules: clang-format, shellcheck, SPDX lines, sizes of files and functions, masks.
"""The check `lint`."""
import os
import shutil

from tests.lint import codec, metrics
from tests.runner import report

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
    status, text = report.run([tool, "--dry-run", "-Werror", "--style=file", *files])
    out.case(f"layout of {len(files)} files", text or "failed" if status else "")


def check_shell(out, files):
    scripts = report.shell_files(files)
    status, text = report.run(["shellcheck", *scripts])
    out.case(f"shellcheck of {len(scripts)} scripts", text or "failed" if status else "")


def check_spdx(out, files):
    sources = [name for name in files if is_source(name)]
    wrong = [name for name in sources
             if "SPDX-License-Identifier: MIT" not in "\n".join(report.read(name).splitlines()[:2])]
    out.case(f"SPDX line in {len(sources)} files", "\n".join(wrong))


def check_sizes(out, files):
    long_files, long_functions = [], []
    for name in files:
        text = report.read(name)
        lines = text.count("\n")
        if name.endswith(".c") and lines > FILE_LINES:
            long_files.append(f"{name}: {lines} lines, more than {FILE_LINES}")
        long_functions += [f"{name}:{start}: {title} has {size} lines, more than {FUNCTION_LINES}"
                           for title, start, size
                           in metrics.functions(report.without_comments(text))
                           if size > FUNCTION_LINES]
    out.case("sizes of files", "\n".join(long_files))
    out.case("sizes of functions", "\n".join(long_functions))


def check(out):
    files = report.tracked()
    c_files = [f for f in files if f.endswith((".c", ".h"))]
    check_format(out, c_files)
    check_shell(out, files)
    check_spdx(out, files)
    check_sizes(out, c_files)
    codec.check(out)
    for line in metrics.lines():
        out.note(line)
