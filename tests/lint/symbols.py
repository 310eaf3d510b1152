# SPDX-License-Identifier: MIT
# What the built library exports, needs and keeps: only qcow2_ names, only libc, libdeflate,
# libzstd, libnettle and libargon2, and no variable that can change.
"""The check `symbols`."""
import glob
import os
import re

from tests.runner import report

NEEDED = {"libc.so.6", "libdeflate.so.0", "libzstd.so.1", "libnettle.so.8", "libargon2.so.1",
          "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libpthread.so.0"}
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
    out.case(f"prefix of {len(have)} exports",
             "\n".join(n for n in sorted(have) if not n.startswith("qcow2_")))
    out.case("what is declared QCOW2_API is exported", "\n".join(sorted(want - have)))
    out.case("what is exported is declared QCOW2_API", "\n".join(sorted(have - want)))
    out.case("there are exports", "" if len(have) > 50 else f"only {len(have)}")


def check_archive(out, archive):
    status, text = report.run(["nm", "-g", "--defined-only", archive])
    if status != 0:
        out.bad(f"nm {archive}", text)
        return
    found = [line.split()[2] for line in text.splitlines() if len(line.split()) == 3]
    out.case(f"prefix of {len(found)} globals",
             "\n".join(n for n in found if not n.startswith(("qcow2_", "q2_"))))


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
    member, members, wrong = "?", 0, []
    for line in text.splitlines():
        head = re.match(r"(\S+\.o):\s+file format", line)
        if head:
            member = head.group(1)
            members += 1
        found = writable(line)
        if found:
            wrong.append(f"{found[2]} in {member}: {found[1]} bytes in {found[0]}")
    out.case(f"no variable that can change in {members} objects",
             "\n".join(wrong) if members else "no objects")


def check_needs(out, library):
    status, text = report.run(["readelf", "-dW", library])
    if status != 0:
        out.bad(f"readelf {library}", text)
        return
    needs = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
    out.case("needs libc, libdeflate, libzstd, libnettle and libargon2 alone",
             ", ".join(set(needs) - NEEDED) if needs else text)
    soname = re.search(r"\(SONAME\).*\[(.*)\]", text)
    out.case("soname", "" if soname and soname.group(1) == "libqcow2.so.0" else text)
    status, text = report.run(["nm", "-D", "--undefined-only", library])
    imports = {line.split()[-1].split("@")[0] for line in text.splitlines() if line.strip()}
    out.case("prints nothing and never exits",
             ", ".join(sorted(imports & LOUD)) if status == 0 and "malloc" in imports else text)


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
