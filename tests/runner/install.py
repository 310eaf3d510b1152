# SPDX-License-Identifier: MIT
# A staged install holds what it should, and a program that knows only pkg-config can use it.
"""The check `install`."""
import glob
import os
import re
import shutil

from tests.runner import report

STAGE = report.path("build/stage")
VERSION = re.search(r"version: '([^']+)'", report.read("meson.build"))[1]
STRICT = ["-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def prefix():
    """The prefix that build/release was configured for."""
    status, text = report.run(["meson", "introspect", "--buildoptions",
                               report.path("build/release")])
    found = re.search(r'"name": "prefix", "value": "([^"]*)"', text)
    return found.group(1) if status == 0 and found else "/usr/local"


def staged(top, pattern):
    found = glob.glob(os.path.join(top, pattern), recursive=True)
    return found[0] if found else None


def check_files(out, top):
    for pattern in ["bin/qcow2", "lib/**/libqcow2.so", "lib/**/libqcow2.so.0",
                    f"lib/**/libqcow2.so.{VERSION}", "lib/**/libqcow2.a",
                    "lib/**/pkgconfig/libqcow2.pc", "share/man/man1/qcow2.1",
                    "share/man/man5/qcow2-format.5", "share/man/man3/libqcow2.3",
                    "share/bash-completion/completions/qcow2"]:
        out.case(f"installs {pattern}", "" if staged(top, pattern) else "not there")
    for page in glob.glob(report.path("man/*.scd")):
        base = os.path.basename(page)[:-4]
        where = f"share/man/man{base.split('.')[-1]}/{base}"
        out.case(f"installs {where}", "" if staged(top, where) else "not there")
    for name in report.tracked():
        if name.startswith("include/") and not name.endswith(".build"):
            out.case(f"installs {name}", "" if staged(top, name) else "not there")
    for name in report.tracked():
        if "/" not in name and name.endswith((".md", "LICENSE")) or name.startswith("examples/"):
            where = f"share/doc/qcow2-utils/{name}"
        elif name.startswith("docs/"):
            where = f"share/doc/qcow2-utils/{name[len('docs/'):]}"
        else:
            continue
        out.case(f"installs {where}", "" if staged(top, where) else "not there")
    link = staged(top, "lib/**/libqcow2.so.0")
    out.case("versioned soname", "" if link and os.readlink(link) == f"libqcow2.so.{VERSION}"
             else f"{link} does not lead to libqcow2.so.{VERSION}")


def pkg_config(env, *arguments):
    status, text = report.run(["pkg-config", *arguments, "libqcow2"], env=env)
    if status != 0:
        raise RuntimeError(text)
    return text.split()


# What each example must print about examples/sample.qcow2, whose README says how it was made.
EXPECTED = {
    "map_image": [r"(?m)^0x0000000000 +8192 data at 0x5000$", r"(?m)^0x0000002000 +57344 unallocated$",
                  r"(?m)^0x0000102000 +15720448 unallocated$"],
    "list_bitmaps": [r"nightly\b.*\b65536\b.*\bauto\b", r"weekly\b.*\b4096\b"],
    "show_header": [r"magic\b.*0x514649fb", r"\bsize\b.*\b(16777216|0x1000000)\b",
                    r"cluster_bits\b.*\b(12|0xc)\b", r"nb_snapshots\b.*\b(1|0x1)\b"],
}


def check_example(out, env, source, flags, how, library_path):
    name = os.path.basename(source)[:-2]
    program = os.path.join(STAGE, f"{name}-{how}")
    status, text = report.run(["gcc", *STRICT, source, *flags, "-o", program], env=env)
    out.case(f"{name} builds, {how}", text or "failed" if status else "")
    if status:
        return
    run_env = {"LD_LIBRARY_PATH": library_path} if how == "shared" else {}
    status, text = report.run([program, report.path("examples/sample.qcow2")], env=run_env)
    out.case(f"{name} runs, {how}", f"exit status {status}\n{text}" if status else "")
    for pattern in EXPECTED.get(name, []):
        found = re.search(pattern, text)
        out.case(f"{name} prints {pattern}, {how}", "" if found else text or "nothing")
    status, text = report.run([program, "/nonexistent"], env=run_env)
    out.case(f"{name} refuses a missing file, {how}", "" if status == 1 and text else text)


def check_cplusplus(out, env, flags):
    headers = sorted(os.path.basename(h) for h in glob.glob(report.path("include/qcow2/*.h")))
    lines = [f"#include <qcow2/{h}>" for h in headers]
    lines.append("int main() { return qcow2_problem_find(qcow2_version()) != nullptr; }")
    status, text = report.run(["g++", "-std=c++17", "-Wall", "-Werror", "-x", "c++", "-",
                               "-x", "none", *flags, "-o", os.path.join(STAGE, "cplusplus")],
                              env=env, stdin="\n".join(lines).encode())
    out.case("a C++ program links", text or "failed" if status else "")


def check_command(out, top):
    status, text = report.run([os.path.join(top, "bin/qcow2"), "--version"])
    out.case("the installed command says its version",
             "" if status == 0 and VERSION in text else f"{status}: {text}")


def check(out):
    shutil.rmtree(STAGE, ignore_errors=True)
    status, text = report.run(["meson", "install", "--no-rebuild", "-C",
                               report.path("build/release")], env={"DESTDIR": STAGE})
    out.case("make install with DESTDIR", text if status else "")
    if status:
        return
    top = STAGE + prefix()
    check_files(out, top)
    config = staged(top, "lib/**/pkgconfig/libqcow2.pc")
    if not config:
        return
    library_path = os.path.dirname(os.path.dirname(config))
    env = {"PKG_CONFIG_PATH": os.path.dirname(config), "PKG_CONFIG_SYSROOT_DIR": STAGE}
    out.case("pkg-config version", "" if pkg_config(env, "--modversion") == [VERSION] else "wrong")
    shared = pkg_config(env, "--cflags", "--libs")
    static = [f if f != "-lqcow2" else "-l:libqcow2.a"
              for f in pkg_config(env, "--cflags", "--libs", "--static")]
    sources = sorted(glob.glob(report.path("examples/*.c")))
    out.case("there are examples", "" if len(sources) >= 2 else f"there are {len(sources)}")
    for source in sources:
        check_example(out, env, source, shared, "shared", library_path)
        check_example(out, env, source, static, "static", library_path)
    check_cplusplus(out, env, shared)
    check_command(out, top)
