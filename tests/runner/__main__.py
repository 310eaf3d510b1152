# SPDX-License-Identifier: MIT
# Runs the named checks (without an argument all but those on demand) and sums up their cases: what
# they look at is the source (lint) or what was built (tests). The last line is "N passed, N failed";
# the exit status is 0 only if nothing failed and nothing was empty.
"""tests/run [-v] [--list] [CHECK…]"""
import sys
import time

from tests.lint import abi, arrows, documents, headers, house, man, prose, symbols
from tests.runner import (builds, cross, demo, fuzz, install, mutation, package, portable, programs,
                          python, threads)
from tests.runner.report import Report

LINT, TESTS, DEMAND = "lint", "tests", "tests, on demand"
# name: (kind, what it shows, the function, the builds it needs first)
CHECKS = {
    "lint": (LINT, "layout, shell scripts, SPDX lines, sizes", house.check, ()),
    "arrows": (LINT, "who includes and calls whom", arrows.check, ("release",)),
    "documents": (LINT, "generated parts, links, names of files, width", documents.check, ()),
    "headers": (LINT, "public headers compile alone, as C17 and C++17", headers.check, ()),
    "prose": (LINT, "how much of the public headers is prose", prose.check, ()),
    "abi": (LINT, "symbols, numbers and layouts that programs rely on", abi.check, ("release",)),
    "symbols": (LINT, "what the library exports, needs and keeps", symbols.check, ("release",)),
    "man": (LINT, "pages against --help", man.check, ("release",)),
    "build-gcc": (TESTS, "gcc, all warnings are errors", builds.check_gcc, ()),
    "build-clang": (TESTS, "the fuzz targets by clang, all warnings are errors", builds.check_clang, ()),
    "build-release": (TESTS, "the build that users get", builds.check_release, ()),
    "build-plain": (TESTS, "meson and ninja alone notice a new source file", builds.check_plain,
                    ("release",)),
    "install": (TESTS, "a staged install and the examples on it", install.check, ("release",)),
    "demo": (TESTS, "what make demo shows and suggests", demo.check, ("release",)),
    "unit": (TESTS, "C tests under ASan and UBSan, by gcc", programs.check_unit, ("gcc",)),
    "threads": (TESTS, "four threads under ThreadSanitizer", threads.check, ("clang",)),
    "cli": (TESTS, "the command from outside: pytest", programs.check_cli, ("gcc", "release")),
    "python": (TESTS, "the binding to Python: wheel, types, tests against the command", python.check,
               ("release",)),
    "fuzz": (TESTS, "fuzz targets: seeds, then FUZZ_SECONDS each", fuzz.check, ("clang",)),
    "unit-clang": (DEMAND, "C tests under ASan and UBSan, by clang", programs.check_unit_clang,
                   ("clang-unit",)),
    "breadth": (DEMAND, "all cases of cli, which takes a part of those that are alike",
                programs.check_breadth, ("gcc", "release")),
    "smoke": (DEMAND, "some tests of each command: pytest", programs.check_smoke, ("gcc",)),
    "cross": (DEMAND, "32 bit, big endian, musl, no locks: what can be built", cross.check, ()),
    "portable": (DEMAND, "all compilers that are here, what can be left out, the names of other systems",
                 portable.check, ()),
    "package": (DEMAND, "packages of Debian: built twice, lintian, installed, tried, removed",
                package.check, ()),
    "release": (DEMAND, "the tarball of a release, twice the same, builds", package.check_release, ()),
    "fuzz-long": (DEMAND, "FUZZ_SECONDS for each fuzz target, most of it without sanitizers",
                  fuzz.check_long, ("fuzz", "fuzz-asan")),
    "fuzz-coverage": (DEMAND, "lines that the inputs of the fuzz targets reach, by file and room",
                      fuzz.check_coverage, ("coverage",)),
    "mutation": (DEMAND, "how many changes of the source the tests notice", mutation.check, ()),
}
# What one name stands for.
GROUPS = {
    "all": [name for name, row in CHECKS.items() if row[0] != DEMAND],
    "quick": ["lint", "arrows", "build-gcc", "unit", "smoke"],
}


def run_check(name, verbose):
    kind, title, function, needs = CHECKS[name]
    print(f"== {name}: {title}", flush=True)
    out = Report(name, verbose)
    out.kind = LINT if kind == LINT else TESTS
    start = time.monotonic()
    broken = [text for text in (builds.need(build) for build in needs) if text]
    if broken:
        out.bad(f"{name} has something to run", "\n".join(broken))
    else:
        try:
            function(out)
        except Exception as error:  # a check that dies must not take the others along
            out.bad(f"{name} ran to its end", repr(error))
    if out.passed + out.failed == 0:
        out.bad(f"{name} has cases", "it ran none")
    seconds = time.monotonic() - start
    print(f"-- {name}: {out.passed} passed, {out.failed} failed ({seconds:.1f} s)", flush=True)
    return out


def show_list():
    for name, (kind, title, _, _) in CHECKS.items():
        print(f"{name:14} {title}{' (on demand)' if kind == DEMAND else ''}")
    for name, members in GROUPS.items():
        print(f"{name:14} {', '.join(members)}")


def summary(results):
    """Lint and tests apart, and together in the last line; returns how many cases failed."""
    failed = sum(r.failed for r in results)
    if failed:
        print("failed:", ", ".join(f"{r.name} ({r.failed})" for r in results if r.failed))
    for kind in (LINT, TESTS):
        of_kind = [r for r in results if r.kind == kind]
        print(f"{kind}: {sum(r.passed for r in of_kind)} passed, "
              f"{sum(r.failed for r in of_kind)} failed")
    print(f"{sum(r.passed for r in results)} passed, {failed} failed", flush=True)
    return failed


def main(arguments):
    verbose = "-v" in arguments
    names = [a for a in arguments if a != "-v"]
    if "--list" in names:
        show_list()
        return 0
    unknown = [n for n in names if n not in CHECKS and n not in GROUPS]
    if unknown:
        print(f"tests/run: no check '{unknown[0]}' (there are: {', '.join([*CHECKS, *GROUPS])})",
              file=sys.stderr)
        return 1
    wanted = [one for name in names or ["all"] for one in GROUPS.get(name, [name])]
    return 1 if summary([run_check(name, verbose) for name in wanted]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
