# SPDX-License-Identifier: MIT
# What the built library exports, needs and keeps: only qcow2_ names, only libc, libdeflate and
# libzstd, and no variable that can change.
"""The check `symbols`."""
import glob
import os
import re

from . import report

NEEDED = {"libc.so.6", "libdeflate.so.0", "libzstd.so.1", "ld-linux-x86-64.so.2",
          "ld-linux-aarch64.so.1", "libpthread.so.0"}
# Imports through which a library would print or end the process. assert() needs __assert_fail.
LOUD = {"printf", "fprintf", "vprintf", "vfprintf", "puts", "putchar", "perror", "stdout", "stderr",
        "exit", "_exit", "abort", "system", "__printf_chk", "__fprintf_chk", "__vfprintf_chk"}


# What QCOW2_API is to the compiler.
EXPORTED = r"__attribute__\(\(visibility\(\"default\"\)\)\)"


def declared():
    """Names of the functions and tables that the public headers mark QCOW2_API."""
    names = set()
    for name in glob.glob(report.path("include/qcow2/*.h")):
        # Preprocessed, since some declarations come from lists.
        status, text = report.run(["cc", "-E", "-P", "-I", report.path("include"), "-include",
                                   report.path("include/qcow2/base.h"), "-x", "c", name])
        if status != 0:
            raise RuntimeError(text)
        for match in re.finditer(EXPORTED + r"[^;(]*?\b(\w+)\s*(?:\[[^\]]*\]\s*)?[;(]", text):
            names.add(match.group(1))
    return names


def exported(library):
    status, text = report.run(["nm", "-D", "--defined-only", library])
    if status != 0:
        raise RuntimeError(text)
    # An absolute symbol is the name of a version.
    return {line.split()[-1].split("@")[0] for line in text.splitlines()
            if line.strip() and line.split()[-2] != "A"}


def check_exports(out, library):
    have, want = exported(library), declared()
    for name in sorted(have):
        out.case(f"exported {name}", "" if name.startswith("qcow2_") else "no qcow2_ prefix")
    for name in sorted(want | have):
        why = ""
        if name not in have:
            why = "declared QCOW2_API, but the library does not have it"
        elif name not in want:
            why = "exported, but no public header declares it"
        out.case(f"declared {name}", why)


def check_archive(out, archive):
    status, text = report.run(["nm", "-g", "--defined-only", archive])
    if status != 0:
        out.bad(f"nm {archive}", text)
        return
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 3:
            out.case(f"global {parts[2]}",
                     "" if parts[2].startswith(("qcow2_", "q2_")) else "no prefix of ours")


def writable(line):
    """(section, size, name) of an `objdump -t` line that describes a variable which can change."""
    match = re.match(r"[0-9a-f]+ (.{7}) (\S+)\t([0-9a-f]+) (?:\.hidden )?(.*)$", line)
    if not match or match.group(1)[6] != "O":
        return None
    section, size = match.group(2), int(match.group(3), 16)
    if section == "*COM*" or re.match(r"\.(data|bss|tdata|tbss)(\.|$)", section):
        if not section.startswith(".data.rel.ro") and size:
            return section, size, match.group(4)
    return None


def check_variables(out, archive):
    status, text = report.run(["objdump", "-t", archive])
    if status != 0:
        out.bad(f"objdump {archive}", text)
        return
    member = "?"
    for line in text.splitlines():
        head = re.match(r"(\S+\.o):\s+file format", line)
        if head:
            member = head.group(1)
            out.ok(f"object {member}")
        found = writable(line)
        if found:
            out.bad(f"variable {found[2]} in {member}", f"{found[1]} bytes in {found[0]}")


def check_needs(out, library):
    status, text = report.run(["readelf", "-dW", library])
    if status != 0:
        out.bad(f"readelf {library}", text)
        return
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", text):
        out.case(f"needs {name}", "" if name in NEEDED else "not libc, libdeflate or libzstd")
    soname = re.search(r"\(SONAME\).*\[(.*)\]", text)
    out.case("soname", "" if soname and soname.group(1) == "libqcow2.so.0" else text)
    status, text = report.run(["nm", "-D", "--undefined-only", library])
    loud = sorted({line.split()[-1].split("@")[0] for line in text.splitlines()} & LOUD)
    out.case("prints nothing and never exits", ", ".join(loud))


def check(out):
    library = report.path("build/release/lib/libqcow2.so")
    archive = report.path("build/release/lib/libqcow2.a")
    if not os.path.exists(library):
        out.bad("library", f"{library} is not there")
        return
    check_exports(out, library)
    check_archive(out, archive)
    check_variables(out, archive)
    check_needs(out, library)
