# SPDX-License-Identifier: MIT
# What the tests of the command share: where the programs are, how they are run, and forged images,
# each of which is built once for all tests of one process.
"""Programs, runs and images."""
import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile

from tests.forge import build, load

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEFAULT = os.path.join(TOP, "build", "release", "cmd", "qcow2")
QCOW2 = os.path.abspath(os.environ.get("QCOW2", DEFAULT))
RELEASE = os.path.abspath(os.environ.get("QCOW2_RELEASE", DEFAULT))
SAMPLE = os.path.abspath(os.path.join(TOP, "examples", "sample.qcow2"))
SECONDS = 60


def run(*arguments, program=QCOW2, **more):
    return subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=SECONDS, check=False, **more)


def document(image, *arguments, program=QCOW2):
    """The document of a dump that could be done."""
    done = run("dump", "-j", image, *arguments, program=program)
    assert done.returncode in (0, 2), done.stderr
    return json.loads(done.stdout.decode("utf-8"))


def tool(name):
    """The path of another program: one of the system, or one that scripts/deps unpacked."""
    unpacked = os.path.join(TOP, "build", "deps", "usr")
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", f"{unpacked}/bin", f"{unpacked}/sbin"])
    found = shutil.which(name, path=path)
    assert found, f"{name}: not there; scripts/deps test has it"
    return found


@functools.lru_cache(None)
def folder():
    path = tempfile.mkdtemp(prefix="qcow2-tests-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.lru_cache(None)
def recipe_image(name):
    """Path and layout of a recipe of the collection."""
    path = os.path.join(folder(), name + ".qcow2")
    return path, build(load(name), path)


@functools.lru_cache(None)
def image(text):
    """Path and layout of the image of a recipe given as text."""
    path = os.path.join(folder(), f"image{abs(hash(text))}.qcow2")
    return path, build(text, path)
