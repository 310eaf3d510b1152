# SPDX-License-Identifier: MIT
# Builds for other machines, as far as the tools are here: 32 bit, big endian, musl, and a system
# without locks of open files. Their libraries are fetched by apt-get into build/cross and unpacked
# there; nothing is installed. What cannot be tried is said, and counts as nothing.
"""The check `cross`."""
import concurrent.futures
import glob
import os
import re
import shutil

from tests.runner import programs, report

PLACE = report.path("build/cross")
LIBRARIES = ["libdeflate-dev", "libdeflate0", "libzstd-dev", "libzstd1", "libxxhash-dev",
             "nettle-dev", "libnettle8", "libargon2-dev", "libargon2-1", "libinih-dev", "libinih1",
             "libnbd-dev", "libcmocka-dev", "libcmocka0"]
OPTIONS = ["-Ddebug=true", "-Doptimization=1", "-Dwerror=true", "-Dtests=true", "-Ddocs=disabled"]
# Debian's name: compiler and folder of the machine, emulator, what Meson calls it
MACHINES = {
    "i386": ("i686-linux-gnu", "i386-linux-gnu", "qemu-i386-static", "x86", "little"),
    "armhf": ("arm-linux-gnueabihf", "arm-linux-gnueabihf", "qemu-arm-static", "arm", "little"),
    "s390x": ("s390x-linux-gnu", "s390x-linux-gnu", "qemu-s390x-static", "s390x", "big"),
}
# Tests of the command that need no library of this machine in front of it. Hostile images take too
# long under an emulator, which does not keep to limits of memory either.
TESTS = ["-k", "not hostile", "--deselect", "tests/cli/test_compare.py::test_failures",
         "tests/cli/test_read.py", "tests/cli/test_hash.py", "tests/cli/test_compare.py",
         "tests/oracle/test_luks2_oracle.py", "tests/cli/test_check.py::test_recipes",
         "tests/cli/test_dump_text.py", "tests/cli/test_dump_json.py",
         "tests/cli/test_compat.py::test_golden", "tests/cli/test_selectors.py",
         "tests/cli/test_bitmap_file.py::test_round_trip", "tests/cli/test_bitmap.py::test_actions",
         "tests/cli/test_bitmap.py::test_extents", "tests/cli/test_edit.py::test_set_header_fields",
         "tests/cli/test_undo_freed.py", "tests/cli/test_dates.py"]


def fetch(name, packages_wanted):
    """Unpacks packages into a folder of that name; returns what went wrong, or nothing."""
    root = os.path.join(PLACE, name, "root")
    if os.path.isdir(root):
        return ""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return "no apt-get"
    lists, packages = os.path.join(PLACE, name, "lists"), os.path.join(PLACE, name, "packages")
    os.makedirs(os.path.join(lists, "partial"), exist_ok=True)
    os.makedirs(packages, exist_ok=True)
    options = ["-q", "-o", f"Dir::State::Lists={lists}", "-o", "Dir::Cache::pkgcache=",
               "-o", "Dir::Cache::srcpkgcache="]
    if name in MACHINES:
        options += ["-o", f"APT::Architectures::={name}"]
    report.run(["apt-get", *options, "update"], timeout=300)
    status, text = report.run(["apt-get", *options, "download", *packages_wanted], cwd=packages,
                              timeout=300)
    if status:
        return "the libraries could not be fetched: " + text.strip().splitlines()[-1]
    for package in glob.glob(os.path.join(packages, "*.deb")):
        status, text = report.run(["dpkg-deb", "-x", package, root + ".new"])
        if status:
            return text
    os.rename(root + ".new", root)
    return ""


def machine_file(name):
    """Writes Meson's description of a machine; returns its path."""
    compiler, triplet, _, cpu, endian = MACHINES[name]
    root = os.path.join(PLACE, name, "root")
    path = os.path.join(PLACE, name, "machine.ini")
    include, lib = f"{root}/usr/include", f"{root}/usr/lib/{triplet}"
    words = [shutil.which("ccache"), f"{compiler}-gcc"] if shutil.which("ccache") else [f"{compiler}-gcc"]
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"""[binaries]
c = {words}
ar = '{compiler}-ar'
strip = '{compiler}-strip'
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '{lib}/pkgconfig'
sys_root = '{root}'
needs_exe_wrapper = true
[built-in options]
c_args = ['-Wno-psabi', '-isystem', '{include}', '-isystem', '{include}/{triplet}']
c_link_args = ['-L{lib}', '-Wl,-rpath-link,{lib}']
[host_machine]
system = 'linux'
cpu_family = '{cpu}'
cpu = '{cpu}'
endian = '{endian}'
""")
    return path


def runner(name):
    """Words before a program of another machine: its own loader if this processor knows the machine
    as well (an emulator of i386 stops at 64-bit atomics of threads), or an emulator."""
    compiler, triplet, emulator, _, _ = MACHINES[name]
    libraries = f"{PLACE}/{name}/root/usr/lib/{triplet}"
    for loader in glob.glob(f"/usr/{compiler}/lib/ld-linux.so.2"):
        if report.run([loader, "--version"])[0] == 0:
            return f'{loader} --library-path /usr/{compiler}/lib:{libraries} --argv0 "$0"'
    if shutil.which(emulator):
        return f'{emulator} -0 "$0" -L /usr/{compiler} -E LD_LIBRARY_PATH={libraries}'
    return ""


def wrapper(name, program):
    """A script beside a program that runs it."""
    path = program + ".sh"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f'#!/bin/sh\nexec {runner(name)} {program} "$@"\n')
    os.chmod(path, 0o755)
    return path


def run_tests(out, label, build, wrap):
    """The unit tests and TESTS with what is in a build directory."""
    names = [os.path.basename(s)[:-2] for s in sorted(glob.glob(report.path("tests/unit/test_*.c")))]
    for name in names:
        file = os.path.join(PLACE, f"{label}-{name}.xml")
        if os.path.exists(file):
            os.unlink(file)
        status, text = report.run([wrap(os.path.join(build, "tests", name))],
                                  env={"CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": file})
        programs.unit_result(out, label, name, file, status, text)
    command = wrap(os.path.join(build, "cmd/qcow2"))
    programs.run_pytest(out, f"cross-{label}", command, TESTS, program=command)


def make(out, label, build, *options):
    """Configures and builds; whether that went well."""
    status, text = report.run(["scripts/configure", build, *OPTIONS, *options])
    if status == 0:
        status, text = report.run(["ninja", "-k", "0", "-C", build], timeout=1800)
    errors = [line for line in text.splitlines() if "error:" in line]
    out.case(label, "\n".join(errors) or text if status else "")
    return status == 0


def check_machine(out, name):
    compiler, _, emulator, _, _ = MACHINES[name]
    if not shutil.which(f"{compiler}-gcc") or not runner(name):
        out.note(f"{name}: not tried: {compiler}-gcc or {emulator} is missing")
        return
    wrong = fetch(name, [f"{library}:{name}" for library in LIBRARIES])
    if wrong:
        out.note(f"{name}: not tried: {wrong}")
        return
    build = os.path.join(PLACE, name, "build")
    if make(out, f"{name} builds, warnings are errors", build, "--cross-file", machine_file(name)):
        run_tests(out, name, build, lambda program: wrapper(name, program))


def check_without_locks(out):
    """Without locks of open files the command works, and says that nobody is kept out."""
    build = os.path.join(PLACE, "no-locks")
    if not make(out, "builds without locks of open files", build, "-Dc_args=-DQCOW2_NO_OFD_LOCKS"):
        return
    command = os.path.join(build, "cmd/qcow2")
    image = os.path.join(PLACE, "no-locks.qcow2")
    shutil.copyfile(report.path("examples/sample.qcow2"), image)
    status, text = report.run([command, "bitmap", "--no-undo", "add", image, "new"])
    out.case("without locks a change says that nobody is kept out",
             "" if status == 0 and "no locks here" in text else f"{status}: {text}")
    status, text = report.run([command, "check", image])
    out.case("without locks a check works", "" if status == 0 else f"{status}: {text}")


def musl_compiler(place):
    """A command that compiles for musl, or None: the system's, or one made of Debian's package."""
    if shutil.which("musl-gcc"):
        return ["musl-gcc"]
    wrong = fetch("musl", ["musl-dev", "musl-tools"])
    root = os.path.join(PLACE, "musl", "root")
    found = glob.glob(f"{root}/usr/lib/*-linux-musl/musl-gcc.specs")
    if wrong or not found:
        return None
    with open(found[0], encoding="utf-8") as stream:
        specs = re.sub(r"/usr/(lib|include)/(\S+-linux-musl)", root + r"/usr/\1/\2", stream.read())
    with open(os.path.join(place, "specs"), "w", encoding="utf-8") as stream:
        stream.write(specs)
    return ["gcc", "-specs", os.path.join(place, "specs")]


def musl_headers(place):
    """A folder with what musl has not: the kernel's headers, and those of the libraries."""
    folder = os.path.join(place, "include")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    wanted = ["linux", "asm-generic", "asm", "libdeflate.h", "zstd.h", "zstd_errors.h", "xxhash.h", "ini.h",
              "xxh3.h", "nettle"]
    for name in wanted:
        for found in glob.glob(f"/usr/include/{name}") + glob.glob(f"/usr/include/*/{name}"):
            if not os.path.lexists(os.path.join(folder, name)):
                os.symlink(found, os.path.join(folder, name))
    return folder


def check_musl(out):
    """Compiles all with musl and links the command with the archives of this system's libraries."""
    place = os.path.join(PLACE, "musl")
    os.makedirs(os.path.join(place, "objects"), exist_ok=True)
    compiler = musl_compiler(place)
    if not compiler:
        out.note("musl: not tried: no musl-gcc, and none that could be fetched")
        return
    flags = ["-std=c17", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
             "-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64", '-DQCOW2_UTILS_VERSION="0"', "-DQCOW2_CRYPTO", "-isystem",
             musl_headers(place), "-Iinclude"]

    def one(name):
        target = os.path.join(place, "objects", name.replace("/", "_") + ".o")
        room = "-Ilib" if name.startswith("lib/") else "-Icmd"
        return target, *report.run([*compiler, *flags, room, "-c", name, "-o", target])

    sources = [f for f in report.tracked() if f.endswith(".c") and f.startswith(("lib/", "cmd/"))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(one, sources))
    out.case(f"{len(sources)} files compile with musl",
             "\n".join(text for _, status, text in done if status))
    command = os.path.join(place, "qcow2")
    archives = [a for name in ("deflate", "zstd", "nettle", "inih") for a in glob.glob(f"/usr/lib/*/lib{name}.a")[:1]]
    status, text = report.run([*compiler, "-static", "-o", command, *(row[0] for row in done),
                               *archives])
    out.case("the command links with musl", text if status else "")
    if status == 0:
        programs.run_pytest(out, "cross-musl", command, TESTS, program=command)


def check(out):
    os.makedirs(PLACE, exist_ok=True)
    check_without_locks(out)
    check_musl(out)
    for name in MACHINES:
        check_machine(out, name)
