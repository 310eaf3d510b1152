# SPDX-License-Identifier: MIT
# The builds that everything is tested on. Each is brought up to date at most once a run.
"""The checks `build-gcc`, `build-clang`, `build-release`, and the builds that others need."""
from . import report

SANITIZED = ["--buildtype=debug", "-Doptimization=1", "-Db_sanitize=address,undefined",
             "-Db_lundef=false", "-Dwerror=true", "-Dtests=true", "-Ddocs=false"]
BUILDS = {
    "gcc": ("build/gcc-asan", "gcc", SANITIZED),
    "clang": ("build/clang-asan", "clang", SANITIZED + ["-Dfuzz=true"]),
    "tsan": ("build/tsan", "clang", ["--buildtype=debug", "-Doptimization=1", "-Dwerror=true",
                                     "-Db_sanitize=thread", "-Db_lundef=false", "-Ddocs=false"]),
}
DONE = {}


def sanitized(name):
    directory, compiler, options = BUILDS[name]
    env = {"CC": compiler}
    status, text = report.run(["scripts/configure", directory, *options], env=env)
    if status == 0:
        status, text = report.run(["ninja", "-k", "0", "-C", directory], env=env, timeout=1800)
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
    out.case("builds with clang, ASan, UBSan, libFuzzer, -Werror", need("clang"))


def check_release(out):
    out.case("builds for release", need("release"))
