# SPDX-License-Identifier: MIT
# Changes the source of what judges images at random places, one at a time, in a copy of the tree;
# builds; runs the unit tests and some of those in Python; counts which changes no test notices.
# Whatever survives may still be noticed by make test.
#   MUTANTS            how many (default 40)
#   MUTATION_SEED      which (default 1)
#   MUTATION_SECONDS   an end to it (default 1500)
#   MUTATION_FILES     patterns of files (default: ROOMS)
"""The check `mutation`."""
import fnmatch
import glob
import hashlib
import importlib
import inspect
import os
import resource
import shutil
import time

from tests.mutation import mutants
from tests.runner import report

ROOMS = "lib/format/*.c lib/rules/*.c lib/claims/*.c lib/check/*.c"
TREE = report.path("build/mutation/tree")
BUILD = os.path.join(TREE, "build")
OPTIONS = ["-Ddebug=true", "-Doptimization=1", "-Dtests=true", "-Ddocs=disabled"]
# Tests in Python that are called here, so that images are forged once for all mutants: those that
# take nothing, or parameters alone.
MODULES = ["test_check", "test_bitmap", "test_recipes", "test_dump_json", "test_selectors",
           "test_info", "test_explain", "test_dump_bounds"]
NOT_THESE = {"test_page", "test_text", "test_threads", "test_info", "test_hostile_recipes",
             "test_specials", "test_largest_tables", "test_pipe_that_nobody_reads",
             "test_every_problem_row_is_found", "test_every_problem_can_be_shown",
             "test_hostile_lists"}
MEMORY_MOST = 6 << 30
OBJECTS = {}  # file: the digest of what it compiles to without a mutant


def limited():
    """A mutant may allocate without end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MOST, MEMORY_MOST))


def copy_tree():
    """Brings the copy up to date; files that did not change keep their times."""
    names = [n for n in report.tracked() if not n.startswith(("build/", "tests/fuzz/corpus"))]
    for folder, _, files in os.walk(TREE):
        for file in files:
            name = os.path.relpath(os.path.join(folder, file), TREE)
            if not name.startswith("build" + os.sep) and name not in names:
                os.unlink(os.path.join(TREE, name))
    for name in names:
        source, target = report.path(name), os.path.join(TREE, name)
        if not os.path.exists(target) or report.read(source) != report.read(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)


def ninja(*targets):
    return report.run(["ninja", "-C", BUILD, *targets], timeout=600)


def build_copy():
    copy_tree()
    compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
    status, text = report.run([os.path.join(TREE, "scripts/configure"), BUILD, *OPTIONS],
                              env={"CC": compiler}, cwd=TREE)
    if status == 0:
        status, text = ninja()
    if status:
        raise RuntimeError(text)


def object_of(file):
    """A digest of what a file compiles to, to know changes that change nothing."""
    room = file.split("/", 1)[1].replace("/", "_")
    path, = glob.glob(os.path.join(BUILD, "lib", "libqcow2.so.*.p", room + ".o"))
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).digest()


def calls_of(function):
    """The keyword arguments of each call that pytest would make; none if it needs a fixture."""
    values = [{}]
    for mark in getattr(function, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = mark.args[0].replace(" ", "").split(",")
        rows = [row if len(names) > 1 else (row,) for row in mark.args[1]]
        values = [{**done, **dict(zip(names, row))} for done in values for row in rows]
    needed = set(inspect.signature(function).parameters)
    return values if all(set(value) == needed for value in values) else []


def load_calls():
    """(name, function, arguments) of all calls; the tests look for the program when imported."""
    os.environ["QCOW2"] = os.environ["QCOW2_RELEASE"] = os.path.join(BUILD, "cmd/qcow2")
    found = []
    for module in MODULES:
        for name, function in vars(importlib.import_module(f"tests.cli.{module}")).items():
            if name.startswith("test_") and name not in NOT_THESE:
                found += [(f"{module}.{name}", function, values) for values in calls_of(function)
                          if "hostile" not in str(values)]
    return found


class Judge:
    """Runs tests until one fails; those that failed last come first the next time."""

    def __init__(self):
        folder = os.path.join(TREE, "tests/unit")
        self.units = sorted(n[:-2] for n in os.listdir(folder)
                            if n.startswith("test_") and n.endswith(".c"))
        self.calls = load_calls()

    def unit(self):
        for name in list(self.units):
            status, _ = report.run([os.path.join(BUILD, "tests", name)], cwd=TREE, timeout=60,
                                   preexec_fn=limited)
            if status:
                self.units.remove(name)
                self.units.insert(0, name)
                return name
        return ""

    def python(self):
        for call in list(self.calls):
            name, function, values = call
            try:
                function(**values)
            except Exception:  # whatever it is, the test has noticed
                self.calls.remove(call)
                self.calls.insert(0, call)
                return f"{name} {' '.join(map(str, values.values()))}"
        return ""


def try_mutant(mutant, judge):
    """(verdict, by whom): "noticed", "survived", "same" code, or "broken" code."""
    path = os.path.join(TREE, mutant.file)
    original = report.read(path)
    before = OBJECTS.setdefault(mutant.file, object_of(mutant.file))
    try:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(mutants.applied(mutant, original))
        status, _ = ninja("cmd/qcow2", *(f"tests/{name}" for name in judge.units))
        if status:
            return "broken", ""
        if object_of(mutant.file) == before:
            return "same", ""
        by = judge.unit() or judge.python()
        return ("noticed", by) if by else ("survived", "")
    finally:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(original)


def show(mutant):
    return (f"{mutant.file}:{mutant.line}: {mutant.what}\n      {mutant.before.strip()}"
            f"\n      {mutant.after.strip()}")


def check(out):
    count, seed = int(os.environ.get("MUTANTS", "40")), int(os.environ.get("MUTATION_SEED", "1"))
    end = time.monotonic() + int(os.environ.get("MUTATION_SECONDS", "1500"))
    patterns = os.environ.get("MUTATION_FILES", ROOMS).split()
    files = [f for f in report.tracked() if any(fnmatch.fnmatch(f, p) for p in patterns)]
    chosen, total = mutants.sample(files, count, seed)
    build_copy()
    judge = Judge()
    by = judge.unit() or judge.python()
    out.case("the tests pass on the source as it is", by)
    if by:
        return
    verdicts = {"noticed": 0, "survived": 0, "same": 0, "broken": 0}
    for mutant in chosen:
        if time.monotonic() > end:
            break
        verdict, by = try_mutant(mutant, judge)
        verdicts[verdict] += 1
        if out.verbose or verdict == "survived":
            out.note(f"{verdict} {by} {show(mutant)}")
    tried = verdicts["noticed"] + verdicts["survived"]
    out.note(f"{total} mutants of {len(files)} files, {sum(verdicts.values())} tried: {verdicts}")
    out.case(f"{verdicts['noticed']} of {tried} mutants are noticed, "
             f"{100 * verdicts['noticed'] // max(1, tried)} %", "" if tried else "none was tried")
