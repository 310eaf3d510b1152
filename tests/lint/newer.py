# SPDX-License-Identifier: MIT
# A program that was built before a new kind of problem, and before structures grew, keeps working:
# it is compiled with the headers as they are, and runs with a library that has more.
"""Part of the check `abi`: an old program with a newer library."""
import os
import re
import shutil

from tests.runner import report

TREE = report.path("build/abi-newer")
LIBS = ["-ldeflate", "-lzstd", "-lnettle", "-largon2", "-pthread"]
STRICT = ["-std=c17", "-Wall", "-Wextra", "-Werror"]
ROW = ('QCOW2_PROBLEM(9999, NEWER, "newer-kind", LEAK, NONE, LEAVE, "Header padding", '
       '"Something that is not known yet.", "None.")\n')
# Each gets a member more at its end.
GROWN = {"check.h": ["qcow2_check_options", "qcow2_check_result"],
         "problem.h": ["qcow2_problem_kind", "qcow2_owner", "qcow2_problem"],
         "walk.h": ["qcow2_node", "qcow2_value", "qcow2_visitor"]}


def edit(name, pattern, text):
    path = os.path.join(TREE, name)
    with open(path, encoding="utf-8") as stream:
        old = stream.read()
    new, count = re.subn(pattern, text, old, count=1, flags=re.M | re.S)
    if count != 1:
        raise RuntimeError(f"{name}: nothing to change: {pattern}")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(new)


def make_tree():
    """A copy of the library with a new kind, which it reports, and with larger structures."""
    shutil.rmtree(TREE, ignore_errors=True)
    for folder in ("include", "lib"):
        shutil.copytree(report.path(folder), os.path.join(TREE, folder))
    # In front: no row's place may matter.
    edit("include/qcow2/def/problems.def", r"^(QCOW2_PROBLEM\(1,)", ROW + r"\1")
    edit("lib/rules/header.c", r"QCOW2_PROBLEM_HEADER_PADDING", "QCOW2_PROBLEM_NEWER")
    for header, names in GROWN.items():
        for name in names:
            edit(f"include/qcow2/{header}", rf"(^struct {name} \{{.*?)^\}};",
                 r"\1\tuint64_t newer[4];\n};")


def build_library():
    sources = [os.path.join(where, name) for where, _, names in os.walk(os.path.join(TREE, "lib"))
               for name in names if name.endswith(".c")]
    jobs = "\n".join(sources)
    compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
    script = (f"xargs -P2 -I{{}} sh -c '{compiler} -std=c17 -g0 -O0 -fPIC -fvisibility=hidden "
              f"-D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Ilib -c {{}} -o {{}}.o'")
    status, text = report.run(["sh", "-c", script], stdin=jobs.encode(), cwd=TREE)
    if status:
        return text
    objects = [source + ".o" for source in sources]
    status, text = report.run(["gcc", "-shared", "-Wl,-soname,libqcow2.so.0",
                               f"-Wl,--version-script={report.path('lib/libqcow2.map')}", *objects,
                               *LIBS, "-o", os.path.join(TREE, "libqcow2.so.0")], cwd=TREE)
    return text or "failed" if status else ""


def check(out):
    library = report.path("build/release/lib")
    program = os.path.join(TREE, "old_program")
    make_tree()
    why = build_library()
    out.case("a library with one more kind builds", why)
    if why:
        return
    status, text = report.run(["gcc", *STRICT, report.path("tests/lint/old_program.c"), "-I",
                               report.path("include"), "-L", library, "-lqcow2", "-o", program])
    out.case("a program builds with the headers as they are", text or "failed" if status else "")
    if status:
        return
    image = report.path("examples/sample.qcow2")
    for title, folder, kind in (("its own library", library, "header-padding"),
                                ("a newer library", TREE, "newer-kind")):
        status, text = report.run([program, image], env={"LD_LIBRARY_PATH": folder})
        out.case(f"it runs with {title}",
                 "" if status == 0 and f"found {kind} 1\n" in text else f"status {status}\n{text}")
    shutil.rmtree(TREE, ignore_errors=True)
