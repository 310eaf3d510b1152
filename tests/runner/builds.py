# SPDX-License-Identifier: MIT
# The builds that everything is tested on. Each is brought up to date at most once a run.
"""The checks `build-gcc`, `build-clang`, `build-release`, and the builds that others need."""
import glob
import os

from tests.runner import report

# Files and lines are all that the reports of sanitizers show; the rest of what debuggers know takes a
# fifth of the time of a compiler.
LINES = ["-Ddebug=true", "-Dc_args=-g1", "-Doptimization=1", "-Dwerror=true", "-Db_lundef=false",
         "-Ddocs=disabled"]
SANITIZED = LINES + ["-Db_sanitize=address,undefined"]
# The command starts some ten thousand times. At a fixed address it has 200000 relocations less to
# do, each time, and a fifth less to run. Without the shared libraries of the sanitizers it is a quarter
# less once more.
FIXED = ["-Db_pie=false", "-Dc_link_args=-static-libasan -static-libubsan"]
# Telling libFuzzer of every comparison took up to half of the time, and the mutator knows the values.
FUZZED = ["--buildtype=release", "-Ddebug=true", "-Db_ndebug=false", "-Db_lundef=false",
          "-Dfuzz=true", "-Ddocs=disabled", "-Dfuzz_comparisons=false"]
BUILDS = {
    "gcc": ("build/gcc-asan", "gcc", SANITIZED + FIXED + ["-Dtests=true"]),
    "clang-unit": ("build/clang-unit", "clang", SANITIZED + ["-Dtests=true"]),
    "tsan": ("build/tsan", "clang", LINES + ["-Db_sanitize=thread"]),
}
# Only the fuzz targets of these are built, and what they need. The build for threads has the rest by clang.
TARGETS = {
    "clang": ("build/clang-asan", "clang", SANITIZED + ["-Dfuzz=true"]),
    "fuzz": ("build/fuzz-fast", "clang", FUZZED),
    "fuzz-asan": ("build/fuzz-asan", "clang", FUZZED + ["-Db_sanitize=address,undefined"]),
    "coverage": ("build/coverage", "clang", ["-Ddebug=true", "-Doptimization=1", "-Dfuzz=true",
                                             "-Db_lundef=false", "-Ddocs=disabled",
                                             "-Dc_args=-fprofile-instr-generate -fcoverage-mapping",
                                             "-Dc_link_args=-fprofile-instr-generate"]),
}
DONE = {}


def fuzz_targets():
    """The names of all fuzz targets, sorted."""
    return sorted(os.path.basename(source)[:-2]
                  for source in glob.glob(report.path("tests/fuzz/fuzz_*.c")))


def sanitized(name):
    directory, compiler, options = (BUILDS | TARGETS)[name]
    names = [f"tests/{target}" for target in fuzz_targets()] if name in TARGETS else []
    # What Meson compiles and runs to try the compiler must not write profiles into the tree.
    env = {"CC": compiler, "LLVM_PROFILE_FILE": "/dev/null"}
    status, text = report.run(["scripts/configure", directory, *options], env=env)
    if status == 0:
        status, text = report.run(["ninja", "-k", "0", "-C", directory, *names], env=env, timeout=1800)
    return text or "failed" if status else ""


def release():
    status, text = report.run(["make", "--no-print-directory", "build"], timeout=1800)
    return text or "failed" if status else ""


def need(name):
    """Makes a build; returns what went wrong, or nothing."""
    if name not in DONE:
        DONE[name] = release() if name == "release" else sanitized(name)
    return DONE[name]


def check_gcc(out):
    out.case("builds with gcc, ASan, UBSan, -Werror", need("gcc"))


def check_clang(out):
    out.case("builds the fuzz targets with clang, ASan, UBSan, libFuzzer, -Werror", need("clang"))


def check_release(out):
    out.case("builds for release", need("release"))


def check_plain(out):
    """A build directory that does not know all source files says so."""
    same = report.path("build/release/sources.list")
    status, text = report.run(["ninja", "-C", "build/release"])
    out.case("ninja is content with the files that it knows", text if status else "")
    with open(same, encoding="utf-8") as stream:
        known = stream.read()
    try:
        with open(same, "w", encoding="utf-8") as stream:
            stream.write(known.replace("lib/base/error.c\n", ""))
        status, text = report.run(["ninja", "-C", "build/release"])
    finally:
        with open(same, "w", encoding="utf-8") as stream:
            stream.write(known)
    said = f"meson setup --reconfigure {report.path('build/release')}\n" in text
    out.case("ninja alone names a source file that it does not know of",
             "" if status and said else f"exit status {status}\n{text}")
