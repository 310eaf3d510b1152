# SPDX-License-Identifier: MIT
# Runs the test programs: cmocka executables and pytest; counts what they counted.
"""The checks `unit`, `unit-clang`, `cli`, `breadth` and `smoke`."""
import concurrent.futures
import glob
import hashlib
import os
import shutil
import xml.etree.ElementTree as tree

from tests.runner import report

RESULTS = report.path("build/results")
SMALL_BYTES = 256 * 1024
# What `make check` runs of the tests in Python: a minute's worth that reaches every command and every
# room of the library.
SMOKE = [
    "tests/cli/test_bitmap_repair.py",
    "tests/cli/test_check.py::test_recipes",
    "tests/cli/test_check.py::test_threads_with_much_to_do",
    "tests/cli/test_compat.py",
    "tests/cli/test_completion.py",
    "tests/cli/test_completion_shells.py",
    "tests/cli/test_dump_json.py",
    "tests/cli/test_dump_text.py",
    "tests/cli/test_guards.py",
    "tests/cli/test_help.py",
    "tests/cli/test_info.py",
    "tests/cli/test_main.py::test_help",
    "tests/cli/test_readme.py",
    "tests/cli/test_selectors.py",
    "tests/cli/test_undo_freed.py",
    *(f"tests/cli/test_bitmap.py::test_{name}" for name in (
        "list", "states", "extents", "export_and_import", "actions", "compare", "script",
        "merge_coarsens_and_refines", "damaged_table", "dry_run", "every_granule_changes")),
    *(f"tests/cli/test_edit.py::test_{name}" for name in (
        "set_header_fields", "set_elsewhere", "set_refcounts", "features", "extensions", "backing",
        "feature_names", "script", "undo_in_reverse", "dry_run")),
    *(f"tests/cli/test_explain.py::test_{name}" for name in (
        "places", "bits", "values")),
]



# A case that this machine cannot run says so; it is shown, and counts as nothing. Another one that
# is skipped has failed.
NOT_HERE = "not here: "


def parse(out, file, prefix):
    """Adds the cases of a JUnit file. Returns how many it held."""
    try:
        cases = list(tree.parse(file).iter("testcase"))
    except (OSError, tree.ParseError) as error:
        out.bad(f"{prefix} reports", repr(error))
        return 0
    for case in cases:
        name = f"{prefix}{case.get('classname') or ''} {case.get('name')}"
        left_out = [e.get("message") for e in case.findall("skipped")
                    if (e.get("message") or "").startswith(NOT_HERE)]
        if left_out:
            print(f"  left out {name}: {left_out[0]}", flush=True)
            continue
        wrong = [e for kind in ("failure", "error", "skipped") for e in case.findall(kind)]
        out.case(name, "\n".join(f"{e.tag}: {e.get('message') or ''}\n{e.text or ''}"
                                 for e in wrong))
    return len(cases)


def unit_program(build, name):
    """Runs one C program; returns (its report, exit status, output)."""
    file = os.path.join(RESULTS, f"{build}-{name}.xml")
    if os.path.exists(file):
        os.unlink(file)
    env = dict(report.SANITIZERS, CMOCKA_MESSAGE_OUTPUT="XML", CMOCKA_XML_FILE=file)
    return file, *report.run([report.path("build", build, "tests", name)], env=env)


def unit_result(out, build, name, file, status, text):
    failed = out.failed
    if not os.path.exists(file):
        out.bad(f"{build} {name}", f"exit status {status}, no report\n{text}")
        return
    if parse(out, file, f"{build} {name}") == 0:
        out.bad(f"{build} {name}", f"ran no test\n{text}")
    elif status != 0 and out.failed == failed:
        out.bad(f"{build} {name} ends well", f"exit status {status}\n{text}")


def unit_build(out, build):
    os.makedirs(RESULTS, exist_ok=True)
    names = [os.path.basename(s)[:-2] for s in sorted(glob.glob(report.path("tests/unit/test_*.c")))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda name: unit_program(build, name), names)
        for name, result in zip(names, results):
            unit_result(out, build, name, *result)


def check_unit(out):
    unit_build(out, "gcc-asan")


def check_unit_clang(out):
    unit_build(out, "clang-unit")


def run_pytest(out, name, release, words, program=report.path("build/gcc-asan/cmd/qcow2"),
               python="/usr/bin/python3", more=None):
    """
    Runs pytest and adds its cases; `release` is the program for what takes long, `more` is added to the
    environment.
    """
    os.makedirs(RESULTS, exist_ok=True)
    file = os.path.join(RESULTS, f"{name}.xml")
    if os.path.exists(file):
        os.unlink(file)
    env = dict(report.SANITIZERS, PYTHONDONTWRITEBYTECODE="1",
               QCOW2=program, QCOW2_RELEASE=report.path(release), **(more or {}))
    # As many at a time as there are cores, where xdist is there to do that.
    _, spread = report.run(["/usr/bin/python3", "-c", "import xdist"])
    status, text = report.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                               *([] if spread else ["-n", "auto"]),
                               f"--junitxml={file}", *words], env=env, timeout=3600)
    failed = out.failed
    parse(out, file, f"{name} " if name.startswith("cross") else "")
    if status != 0 and out.failed == failed:
        out.bad("pytest ends well", f"exit status {status}\n{text}")


def check_cli(out, name="cli", more=None):
    # The long ones first, so that no core waits for the last one.
    folders = [f for f in ("tests/crash", "tests/oracle", "tests/forge", "tests/cli", "tests/golden")
               if glob.glob(report.path(f, "**", "test_*.py"), recursive=True)]
    run_pytest(out, name, "build/release/cmd/qcow2", folders, more=more)


def check_breadth(out):
    check_cli(out, "breadth", {"BREADTH": "all"})


def check_smoke(out):
    """SMOKE names the tests; none of them may be gone."""
    status, text = report.run(["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-p",
                               "no:cacheprovider", "--collect-only", *SMOKE])
    gone = [line for line in text.splitlines() if "not found" in line]
    out.case("all tests of SMOKE are there", "\n".join(gone) or text if status else "")
    run_pytest(out, "smoke", "build/gcc-asan/cmd/qcow2", SMOKE)


def forge_stamp():
    """Changes whenever a recipe or the forge does."""
    digest = hashlib.sha256()
    for name in report.tracked():
        if name.startswith("tests/forge/"):
            digest.update(name.encode() + b"\0" + report.read(name).encode() + b"\0")
    return digest.hexdigest()


def forged():
    """The small ones of the forged images."""
    folder = report.path("build/forged")
    stamp = folder + ".stamp"
    now = forge_stamp()
    if not os.path.exists(stamp) or report.read(stamp) != now:
        shutil.rmtree(folder, ignore_errors=True)
        status, text = report.run(["/usr/bin/python3", "-B", "tests/forge/forge.py", "--all", folder])
        if status != 0:
            raise RuntimeError(text)
        with open(stamp, "w", encoding="utf-8") as stream:
            stream.write(now)
    for name in glob.glob(os.path.join(folder, "*")):
        if os.path.getsize(name) > SMALL_BYTES:
            os.unlink(name)
    return folder
