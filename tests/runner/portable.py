# SPDX-License-Identifier: MIT
# What else the source has to be good for: all compilers that are here, what can be left out, and the
# names that FreeBSD and macOS have. What cannot be tried is said, and counts as nothing.
"""The check `portable`."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import tempfile

from tests.runner import report
from tests.support import luks2

PLACE = report.path("build/portable")
COMPILERS = [*(f"gcc-{n}" for n in (11, 12, 13, 14)), *(f"clang-{n}" for n in range(13, 19))]
BUILD = ["-Ddebug=false", "-Doptimization=1", "-Dwerror=true", "-Ddocs=disabled"]

SYSTEMS = {"FreeBSD": "-DTHEIRS_FREEBSD", "macOS": "-DTHEIRS_MACOS"}
# Headers that both lack, or have with another meaning.
LACKED = ["alloca.h", "byteswap.h", "endian.h", "error.h", "malloc.h", "mntent.h", "sys/epoll.h",
          "sys/eventfd.h", "sys/inotify.h", "sys/prctl.h", "sys/sendfile.h", "sys/signalfd.h", "sys/sysinfo.h",
          "sys/syscall.h", "sys/sysmacros.h", "sys/timerfd.h", "sys/vfs.h"]
HEADER = """#ifdef THEIRS
#error "there is no {0} there"
#else
#include_next <{0}>
#endif
"""


def build(out, label, name, options, compiler=None, targets=()):
    """Configures and builds; returns the directory, or None."""
    place = os.path.join(PLACE, name)
    words = f"ccache {compiler}" if compiler and shutil.which("ccache") else compiler
    env = {"CC": words, "CCACHE_NOHASHDIR": "1", "CCACHE_BASEDIR": report.ROOT} if words else {}
    status, text = report.run(["scripts/configure", place, *BUILD, *options], env=env)
    if status == 0:
        status, text = report.run(["ninja", "-k", "0", "-C", place, *targets], env=env, timeout=1800)
    errors = [line for line in text.splitlines() if "error:" in line]
    out.case(label, "\n".join(errors) or text if status else "")
    return None if status else place


# ---- compilers ----

def check_compilers(out):
    missing = [name for name in COMPILERS if not shutil.which(name)]
    for name in COMPILERS:
        if name not in missing:
            build(out, f"{name} builds all, warnings are errors", name, ["-Dtests=true"], name)
    if missing:
        out.note(f"not tried, as they are not here: {', '.join(missing)}")


# ---- what is left out ----

class Images:
    """An image that QEMU encrypted with LUKS version 1, and the same with a header of version 2."""

    def __init__(self, folder):
        self.first = os.path.join(folder, "first.qcow2")
        self.second = os.path.join(folder, "second.qcow2")
        self.first_key = os.path.join(folder, "first-key")
        self.second_key = os.path.join(folder, "second-key")
        self.error = ""
        try:
            self.make(folder)
        except (AssertionError, OSError) as error:
            self.error = repr(error)

    def make(self, folder):
        place = pathlib.Path(folder)
        pathlib.Path(self.first_key).write_text(luks2.PASSPHRASE, encoding="ascii")
        pathlib.Path(self.second_key).write_text(luks2.NEW, encoding="ascii")
        image, _, _ = luks2.qemu_image(place, ())
        shutil.copyfile(image, self.first)
        with open(image, "rb") as stream:
            luks2.volume_key(place, stream.read())
        shutil.copyfile(image, self.second)
        header = luks2.Header(luks2.new_header(place).read_bytes())
        luks2.put_header(self.second, bytes(header.raw))


def says(out, label, program, words, wanted_status, pattern, env=None):
    """One test case: a command ends with that status and says something like the pattern."""
    status, text = report.run([program, *words], env=env)
    fine = status == wanted_status and re.search(pattern, text)
    out.case(label, "" if fine else f"qcow2 {' '.join(words)}: exit status {status}\n{text[-2000:]}")


def try_always(out, label, program):
    """What works whatever is left out."""
    sample = report.path("examples/sample.qcow2")
    says(out, f"{label}: info", program, ["info", sample], 0, "bitmap")
    says(out, f"{label}: check", program, ["check", sample], 0, "")
    says(out, f"{label}: dump", program, ["dump", sample, "header"], 0, "refcount_table_offset")
    says(out, f"{label}: hash", program, ["hash", sample], 0, "[0-9a-f]{64}")
    says(out, f"{label}: vet", program, ["vet", sample], 0, "accepted")


def try_first(out, label, program, images, left_out):
    words = ["hash", f"--key-file={images.first_key}", images.first]
    if "crypto" in left_out:
        says(out, f"{label}: an encrypted image is refused", program, words, 1, "built without decryption")
    else:
        says(out, f"{label}: an encrypted image is read", program, words, 0, "[0-9a-f]{64}")


def try_second(out, label, program, images, left_out):
    words = ["hash", f"--key-file={images.second_key}", images.second]
    if "crypto" in left_out:
        says(out, f"{label}: LUKS 2 is refused", program, words, 1, "built without decryption")
    elif "argon2" in left_out:
        says(out, f"{label}: a slot that uses Argon2 is refused", program, words, 1, "Argon2")
    else:
        says(out, f"{label}: LUKS 2 is read", program, words, 0, "[0-9a-f]{64}")


def try_build(out, place, images, left_out):
    label, program = f"without {' and '.join(left_out)}", os.path.join(place, "cmd/qcow2")
    try_always(out, label, program)
    if images.error:
        out.bad(f"{label}: encrypted images", images.error)
    else:
        try_first(out, label, program, images, left_out)
        try_second(out, label, program, images, left_out)
    says(out, f"{label}: an image over NBD", program, ["info", "nbd+unix:///?socket=/nowhere"], 1,
         "made without libnbd" if "libnbd" in left_out else "/nowhere|connect|No such file")
    if "seccomp" in left_out:
        says(out, f"{label}: the sandbox says that it has no filter", program,
             ["info", report.path("examples/sample.qcow2")], 1, "no (filter of system calls|Landlock)",
             env={"QCOW2_SANDBOX": "require"})
    plugin = os.path.exists(os.path.join(place, "plugins/nbdkit-qcow2-plugin.so"))
    out.case(f"{label}: the plugin of nbdkit is there or not, as asked",
             "it is there" if plugin and "nbdkit" in left_out else "")


def check_options(out):
    options = ["crypto", "argon2", "libnbd", "nbdkit", "seccomp"]
    with tempfile.TemporaryDirectory() as folder:
        images = Images(folder)
        for left_out in [[name] for name in options] + [options]:
            label = " and ".join(left_out)
            place = build(out, f"builds without {label}", "without-" + "-".join(left_out),
                          [f"-D{name}=disabled" for name in left_out],
                          "gcc" if shutil.which("gcc") else None)
            if place:
                try_build(out, place, images, left_out)


# ---- other systems ----

def lacked_headers(sources):
    """A folder with headers that cannot be included by the source, but by the headers of this system."""
    folder = os.path.join(PLACE, "lacked")
    shutil.rmtree(folder, ignore_errors=True)
    included = {name for source in sources
                for name in re.findall(r"#\s*include <((?:linux|asm)/[^>]+)>", report.read(source))}
    for name in [*LACKED, *included]:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(HEADER.format(name))
    # gcc itself wants it where the system calls itself FreeBSD.
    with open(os.path.join(folder, "sys/_types.h"), "w", encoding="utf-8"):
        pass
    return folder


def check_system(out, system, sources, folder):
    """Looks at each file as a compiler of that system would, as far as names go."""
    flags = ["-std=c17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-pragmas",
             "-Werror=implicit-function-declaration",
             "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", '-DQCOW2_UTILS_VERSION="0"', "-DQCOW2_CRYPTO", "-DQCOW2_ARGON2",
             "-DQCOW2_NBD", SYSTEMS[system], "-isystem", folder, "-include", report.path("tests/shims/systems.h"),
             "-Iinclude"]

    def some(names):
        return report.run(["gcc", *flags, f"-I{names[0].split('/')[0]}", *names])

    batches = [[name for name in sources if name.startswith(room)][i::4] for room in ("lib/", "cmd/") for i in range(4)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(some, batches))
    bad = [text for status, text in done if status]
    out.case(f"{len(sources)} files need nothing that {system} lacks", "\n".join(bad))


def check_shims(out, folder):
    """The headers really take something away: a file that uses what Linux alone has does not compile."""
    probe = os.path.join(PLACE, "probe.c")
    for system, call in (("FreeBSD", "getpid()"), ("macOS", "getpid()"), ("FreeBSD", "fallocate(0, 0, 0, 0)"), ("macOS", "pipe2((int *)0, 0)"),
                         ("macOS", "timer_delete(0)"), ("FreeBSD", "ENODATA"), ("macOS", "F_OFD_SETLK")):
        with open(probe, "w", encoding="utf-8") as stream:
            stream.write(f"int main(void)\n{{\n\treturn (int){call};\n}}\n")
        status, _ = report.run(["gcc", "-fsyntax-only", "-Werror=implicit-function-declaration", "-D_GNU_SOURCE",
                                SYSTEMS[system], "-isystem", folder, "-include",
                                report.path("tests/shims/systems.h"), probe])
        name = call.split("(")[0]
        is_there = status == 0
        out.case(f"{name} is {'' if name == 'getpid' else 'not '}there on {system}",
                 "" if is_there == (name == "getpid") else f"exit status {status}")


def check_systems(out):
    sources = [f for f in report.tracked() if f.endswith(".c") and f.startswith(("lib/", "cmd/"))]
    folder = lacked_headers(sources)
    check_shims(out, folder)
    for system in SYSTEMS:
        check_system(out, system, sources, folder)


def check(out):
    os.makedirs(PLACE, exist_ok=True)
    check_systems(out)
    check_options(out)
    check_compilers(out)
