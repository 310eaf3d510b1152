# SPDX-License-Identifier: MIT
# The binding to Python as its users get it: a source archive, the wheel that is made from it, and a
# virtual environment into which that is installed. Its tests run there, against the built command.
"""The check `python`."""
import concurrent.futures
import glob
import hashlib
import os
import re
import shutil

from tests.runner import install, programs, report

PLACE = report.path("build/python")
# A copy, so that nothing is left beside the sources.
TREE, DIST, VENV = (os.path.join(PLACE, name) for name in ("tree", "dist", "venv"))
MYPY = report.path("build/mypy")
PYTHON = os.path.join(VENV, "bin", "python")
LIBRARY = report.path("build/release/lib")
TYPED = ["python/qcow2", "python/native", "tests/python", "examples/python/incremental.py"]
# What cffi uses of it, all of which Doc/data/stable_abi.dat of CPython 3.9 lists.
STABLE = {"PyArg_UnpackTuple", "PyBool_FromLong", "PyErr_Occurred", "PyEval_RestoreThread",
          "PyEval_SaveThread", "PyImport_ImportModule", "PyLong_FromLong",
          "PyLong_FromUnsignedLong", "PyLong_FromVoidPtr", "PyObject_CallMethod", "PyObject_Free",
          "PyObject_Malloc", "_Py_Dealloc", "_Py_NoneStruct"}
# What the sources of the wheel are, besides what the release build brings.
INPUTS = ("python/", "include/", "tests/runner/python.py")


def inputs():
    """The files of which the wheel is made."""
    return [name for name in report.tracked() if name.startswith(INPUTS)]


def stamp():
    digest = hashlib.sha256()
    for name in inputs():
        digest.update(name.encode() + b"\0" + report.read(name).encode() + b"\0")
    return digest.hexdigest()


def strict(out):
    """What is written in C compiles without a warning; of what cffi makes, that is not asked."""
    sources = sorted(glob.glob(report.path("python/native/*.c")))
    status, text = report.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
                               "-Wshadow", "-Wstrict-prototypes", "-Werror", "-fsyntax-only",
                               "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64",
                               "-I", report.path("include"), *sources])
    out.case(f"{len(sources)} files in C compile without a warning",
             text or "failed" if status or not sources else "")


def archive():
    """Builds the source archive, and the wheel from that; returns what went wrong, or nothing."""
    for name in inputs():
        target = os.path.join(TREE, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(report.path(name), target)
    env = {"PKG_CONFIG_PATH": report.path("build/release/meson-uninstalled"),
           "CPPFLAGS": "-I" + report.path("include"),
           "CC": "ccache gcc" if shutil.which("ccache") else "gcc"}
    status, text = report.run(["/usr/bin/python3", "-m", "build", "--no-isolation", "--outdir", DIST,
                               os.path.join(TREE, "python")], env=env)
    return text or "failed" if status else ""


def environment():
    """Installs the wheel into a virtual environment, which has cffi from the system."""
    status, text = report.run(["/usr/bin/python3", "-m", "venv", "--system-site-packages",
                               "--without-pip", VENV])
    if status == 0:
        status, text = report.run(["/usr/bin/python3", "-m", "pip", "--python", PYTHON, "install", "-q",
                                   "--no-index", "--no-deps", *glob.glob(os.path.join(DIST, "*.whl"))])
    return text or "failed" if status else ""


def make():
    """Makes all of that, if anything has changed since; returns what went wrong, or nothing."""
    file, now = os.path.join(PLACE, "stamp"), stamp()
    if os.path.exists(file) and report.read(file) == now:
        return ""
    shutil.rmtree(PLACE, ignore_errors=True)
    os.makedirs(PLACE)
    wrong = archive() or environment()
    if not wrong:
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(now)
    return wrong


def check_files(out):
    found = sorted(os.path.basename(name) for name in glob.glob(os.path.join(DIST, "*")))
    version = install.VERSION
    out.case("one wheel for every Python 3.9 and later, and a source archive",
             "" if len(found) == 2 and found[0].startswith(f"qcow2-{version}-cp39-abi3-")
             and found[1] == f"qcow2-{version}.tar.gz" else f"{found}")
    status, text = report.run([PYTHON, "-c", "import qcow2; print(qcow2.__file__, qcow2.__version__,"
                               " qcow2.library_version)"], env={"LD_LIBRARY_PATH": LIBRARY}, cwd="/")
    out.case("the installed package says its version",
             "" if status == 0 and text.split()[1:] == [version, version]
             and text.startswith(VENV) else text)


def check_stable(out):
    """The extension module needs nothing of CPython that is not in its stable ABI."""
    file = glob.glob(os.path.join(VENV, "lib", "*", "site-packages", "qcow2", "_native.abi3.so"))
    status, text = report.run(["nm", "-D", "--undefined-only", *file])
    used = set(re.findall(r" U (_?Py\w+)", text))
    out.case("the extension module keeps to the stable ABI",
             "" if status == 0 and file and used and used <= STABLE
             else f"{text if status else sorted(used - STABLE)}")


def types():
    status, text = report.run(["/usr/bin/mypy", "--config-file=tests/python/mypy.ini",
                               f"--cache-dir={MYPY}", *TYPED])
    return text or "failed" if status else ""


def check(out):
    strict(out)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        typed = pool.submit(types)
        wrong = make()
        out.case("types of package, tests and example", typed.result())
    out.case("archive, wheel and installation, without a network", wrong)
    if wrong:
        return
    check_files(out)
    check_stable(out)
    programs.run_pytest(out, "python", "build/release/cmd/qcow2", ["tests/python"],
                        program=report.path("build/release/cmd/qcow2"), python=PYTHON,
                        more={"LD_LIBRARY_PATH": LIBRARY})
