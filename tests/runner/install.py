# SPDX-License-Identifier: MIT
# A staged install holds what it should, and a program that knows only pkg-config can use it.
"""The check `install`."""
import filecmp
import glob
import os
import re
import shutil

from tests.runner import report

STAGE = report.path("build/stage")
VERSION = report.run([report.path("scripts/version")])[1].strip()
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
                    "share/bash-completion/completions/qcow2", "share/zsh/site-functions/_qcow2",
                    "share/fish/vendor_completions.d/qcow2.fish"]:
        out.case(f"installs {pattern}", "" if staged(top, pattern) else "not there")
    for page in glob.glob(report.path("man/*.scd")):
        base = os.path.basename(page)[:-4]
        where = f"share/man/man{base.split('.')[-1]}/{base}"
        out.case(f"installs {where}", "" if staged(top, where) else "not there")
    for name in report.tracked():
        if name.startswith("include/") and not name.endswith(".build"):
            out.case(f"installs {name}", "" if staged(top, name) else "not there")
    for name in report.tracked():
        if not ("/" not in name and name.endswith((".md", "LICENSE")) or
                name.startswith(("docs/", "examples/"))):
            continue
        where = staged(top, f"share/doc/qcow2-utils/{name}")
        same = where and filecmp.cmp(where, report.path(name), shallow=False)
        out.case(f"installs {name} as a document", "" if same else f"{where} is something else")
    for name in glob.glob(report.path("docs/*.schema.json")):
        where = f"share/qcow2-utils/schemas/{os.path.basename(name)}"
        out.case(f"installs {where}", "" if staged(top, where) else "not there")
    link = staged(top, "lib/**/libqcow2.so.0")
    out.case("versioned soname", "" if link and os.readlink(link) == f"libqcow2.so.{VERSION}"
             else f"{link} does not lead to libqcow2.so.{VERSION}")


def pkg_config(env, *arguments):
    status, text = report.run(["pkg-config", *arguments, "libqcow2"], env=env)
    if status != 0:
        raise RuntimeError(text)
    return text.split()


# What the examples are given besides a copy of examples/sample.qcow2, and what they must print
# about it; the README of the examples says how it was made.
ARGUMENTS = {"read_disk": ["0", "512"], "dirty_extents": ["weekly"], "add_bitmap": ["daily", "UNDO"]}
EXPECTED = {
    "read_disk": [r"\A\x11{512}\Z"],
    "map_image": [r"^0x0000000000 +8192 data at 0x5000$", r"^0x0000002000 +57344 unallocated$",
                  r"^0x0000102000 +15720448 unallocated$"],
    "show_usage": [r"^header +4096$", r"^bitmap-data +\d+$",
                   r"^snapshot 0: \d+ of \d+ bytes are its own$"],
    "list_bitmaps": [r"^nightly\b.*\b65536\b.*\bauto\b", r"^weekly\b.*\b4096\b"],
    "show_header": [r"magic\b.*0x514649fb", r"\bsize\b.*\b(16777216|0x1000000)\b",
                    r"cluster_bits\b.*\b(12|0xc)\b", r"nb_snapshots\b.*\b(1|0x1)\b"],
    "dirty_extents": [r"\A1048576 8192\n\Z"],
    "check_image": [r"\A0 corruptions, 0 leaks, 0 warnings\n\Z"],
    "add_bitmap": [r"\A\d+ writes; undo with \S+\n\Z"],
}


def check_example(out, env, source, flags, how, library_path):
    name = os.path.basename(source)[:-2]
    program = os.path.join(STAGE, f"{name}-{how}")
    image, undo = program + ".qcow2", program + ".undo"
    shutil.copy(report.path("examples/sample.qcow2"), image)
    status, text = report.run(["gcc", *STRICT, source, *flags, "-o", program], env=env)
    out.case(f"{name} builds, {how}", text or "failed" if status else "")
    if status:
        return
    run_env = {"LD_LIBRARY_PATH": library_path} if how == "shared" else {}
    arguments = [undo if word == "UNDO" else word for word in ARGUMENTS.get(name, [])]
    status, text = report.run([program, image, *arguments], env=run_env)
    out.case(f"{name} runs, {how}", f"exit status {status}\n{text}" if status else "")
    for pattern in EXPECTED.get(name, []):
        found = re.search(pattern, text, re.M)
        out.case(f"{name} prints {pattern}, {how}", "" if found else text or "nothing")
    out.case(f"{name} has something to print, {how}", "" if name in EXPECTED else "not known here")
    status, text = report.run([program, "/nonexistent", *arguments], env=run_env)
    out.case(f"{name} refuses a missing file, {how}", "" if status == 1 and text else text)
    check_example_more(out, name, how, program, image, undo, run_env)


def check_example_more(out, name, how, program, image, undo, env):
    """What an example did, and what it does about a damaged image."""
    command = report.path("build/release/cmd/qcow2")
    if name == "add_bitmap":
        status, text = report.run([command, "bitmap", "list", image])
        out.case(f"{name} has added it, {how}", "" if "daily" in text else text)
        status, text = report.run([program, image, "daily", undo + ".2"], env=env)
        out.case(f"{name} refuses a second of that name, {how}",
                 "" if status == 1 and "already" in text else text)
        status, text = report.run([command, "undo", undo])
        same = report.run(["cmp", image, report.path("examples/sample.qcow2")])
        out.case(f"{name} can be undone, {how}", text if status else same[1])
    if name in ("check_image", "dirty_extents"):
        with open(image, "r+b") as stream:
            stream.seek(95)  # autoclear_features: the bitmaps bit
            stream.write(b"\0")
            stream.seek(72)  # incompatible_features: an unknown bit
            stream.write(b"\x40" if name == "check_image" else b"\0")
        status, text = report.run([program, image, *ARGUMENTS.get(name, [])], env=env)
        what, code = (("corruption feature-incompatible-unknown at header", 2)
                      if name == "check_image" else ("not saved properly", 1))
        out.case(f"{name} says what is wrong, {how}",
                 "" if status == code and what in text else f"{status}: {text}")


def check_cplusplus(out, env, flags):
    headers = sorted(os.path.basename(h) for h in glob.glob(report.path("include/qcow2/*.h")))
    lines = [f"#include <qcow2/{h}>" for h in headers]
    lines.append("int main() { return qcow2_problem_kind_find(qcow2_version()) != nullptr; }")
    status, text = report.run(["g++", "-std=c++17", "-Wall", "-Werror", "-x", "c++", "-",
                               "-x", "none", *flags, "-o", os.path.join(STAGE, "cplusplus")],
                              env=env, stdin="\n".join(lines).encode())
    out.case("a C++ program links", text or "failed" if status else "")


def check_config(out, env):
    """What a program's builder needs besides: the archives that ours needs, and nothing that we only
    took a header of."""
    out.case("pkg-config version", "" if pkg_config(env, "--modversion") == [VERSION] else "wrong")
    needs = {word for word in pkg_config(env, "--print-requires-private") if word[0].isalpha()}
    out.case("pkg-config needs libdeflate, libzstd, nettle and libargon2 alone",
             ", ".join(needs ^ {"libdeflate", "libzstd", "nettle", "libargon2"}))
    out.case("pkg-config finds it valid", " ".join(pkg_config(env, "--validate")))
    flags = pkg_config(env, "--libs")
    out.case("a program links the library alone",
             "" if [f for f in flags if f.startswith("-l")] == ["-lqcow2"] else " ".join(flags))


def check_section3(out, top):
    """Every public name has a page where man looks for it."""
    status, text = report.run(["python3", "-B", report.path("scripts/man3"), "--list"])
    lost = [name for name in text.split() if not staged(top, f"share/man/man3/{name}")]
    out.case(f"installs {len(text.split())} pages of section 3", "\n".join(lost) if not status else text)
    status, text = report.run(["man", "-M", os.path.join(top, "share/man"), "qcow2_plan_apply"],
                              env={"MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
    out.case("man finds what is a link in what is installed",
             "" if status == 0 and "int qcow2_plan_apply(" in text else text)


def check_completions(out, top):
    """Each shell takes the script for what it is."""
    for name, command, said in (
            ("bash-completion/completions/qcow2", ["bash", "-c", '. "$1"; complete -p qcow2', "sh"],
             "complete -F _qcow2 qcow2"),
            ("zsh/site-functions/_qcow2", ["head", "-n", "1"], "#compdef qcow2"),
            ("fish/vendor_completions.d/qcow2.fish", ["fish", "-c", 'source $argv[1]; complete -c qcow2'],
             "complete")):
        status, text = report.run([*command, os.path.join(top, "share", name)])
        out.case(f"{name} completes qcow2", "" if status == 0 and said in text else f"{status}: {text}")


def check_command(out, top):
    status, text = report.run([os.path.join(top, "bin/qcow2"), "--version"])
    out.case("the installed command says its version",
             "" if status == 0 and VERSION in text else f"{status}: {text}")


def check_plugin(out, top):
    """nbdkit loads the plugin from where it was installed, and it serves an image."""
    plugin = staged(top, "lib/**/nbdkit/plugins/nbdkit-qcow2-plugin.so")
    out.case("installs the plugin of nbdkit", "" if plugin else "not there")
    if not plugin:
        return
    status, text = report.run(["nbdkit", plugin, "--dump-plugin"])
    out.case("nbdkit loads the installed plugin",
             "" if status == 0 and f"libqcow2_version={VERSION}" in text else f"{status}: {text}")
    status, text = report.run(["nbdkit", "-U", "-", plugin, report.path("examples/sample.qcow2"),
                               "--run", 'nbdinfo --size "$uri"'])
    out.case("the installed plugin serves an image",
             "" if status == 0 and text.strip() == "16777216" else f"{status}: {text}")


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
    check_config(out, env)
    check_section3(out, top)
    check_completions(out, top)
    shared = pkg_config(env, "--cflags", "--libs")
    static = [f if f != "-lqcow2" else "-l:libqcow2.a"
              for f in pkg_config(env, "--cflags", "--libs", "--static")]
    sources = sorted(glob.glob(report.path("examples/*.c")))
    out.case("there are examples", "" if len(sources) >= 7 else f"there are {len(sources)}")
    for source in sources:
        check_example(out, env, source, shared, "shared", library_path)
        check_example(out, env, source, static, "static", library_path)
    check_cplusplus(out, env, shared)
    check_command(out, top)
    check_plugin(out, top)
