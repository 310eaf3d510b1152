# SPDX-License-Identifier: MIT
# When the system fails: each allocation, each read and each write of a run over an image is made to
# fail once. The command says what failed and prints no half page; what is harmless changes nothing.
"""The n-th allocation, read or write fails."""
import os
import subprocess

import pytest

from helpers import RELEASE, recipe_image

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = ("good-bitmaps", "good-snapshots", "good-luks1", "good-extensions-unknown",
           "good-extended-l2-compressed", "good-data-file", "good-v2-snapshots",
           "good-bitmap-extra-data", "good-feature-names-full", "bad-bitmap-table-unaligned",
           "bad-hostile-random-header", "bad-snapshots-truncated-name")
RUNS = (("dump",), ("dump", "-j"), ("info",), ("info", "--output=json"), ("info", "--chain"),
        ("compat", "dump-header"), ("compat", "-j", "dump-header"),
        ("check", "--threads=1", "--deep"), ("check", "-j", "--threads=2"),
        ("check", "--all", "--threads=1"))
BULK = ("l1", "refcount_table/0..9", "refcounts/0/0..9")
CALLS_MOST = 400


@pytest.fixture(name="shim", scope="module")
def fixture_shim(tmp_path_factory):
    library = str(tmp_path_factory.mktemp("shim") / "shim.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-O1", "-o", library,
                    os.path.join(HERE, "shim.c"), "-ldl"], check=True)
    return library


def fault(shim, arguments, **env):
    """The finished run, and whether the call that had to fail was reached."""
    end, report = os.pipe()
    done = subprocess.run([RELEASE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, check=False, pass_fds=(report,),
                          env={**os.environ, **env, "FAIL_REPORT": str(report),
                               "LD_PRELOAD": shim})
    os.close(report)
    there = os.read(end, 1) == b"!"
    os.close(end)
    return done, there


def arguments_of(run, image):
    if run[0] == "compat":
        return [*run[:-1], image, run[-1]]
    return [*run, image, *(BULK if run == ("dump", "-j") and "good" in image else ())]


def each_fault(shim, arguments, call, how=""):
    """All runs in which one call fails, first to last."""
    for n in range(1, CALLS_MOST):
        done, there = fault(shim, arguments, FAIL_HOW=how, **{call: str(n)})
        if not there:
            assert n > 1, f"{call} is never called"
            return
        yield n, done
    assert False, "no end of calls"


def assert_said(done, *words):
    """It failed, printed nothing, and said why."""
    assert done.returncode == 1 and done.stdout == b"", done
    assert any(word in done.stderr for word in words), done.stderr
    # compat has its warnings about the image before
    assert done.stderr.count(b"\n") == 1 or b"compat" in done.stderr, done.stderr


def same(done, undisturbed):
    return (done.returncode, done.stdout, done.stderr) == (
        undisturbed.returncode, undisturbed.stdout, undisturbed.stderr)


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
@pytest.mark.parametrize("name", RECIPES)
def test_memory_and_reads(shim, name, run):
    arguments = arguments_of(run, recipe_image(name)[0])
    undisturbed, _ = fault(shim, arguments)
    assert undisturbed.returncode in (0, 2, 3)
    for _, done in each_fault(shim, arguments, "FAIL_ALLOC"):
        # libc allocates to look for a time zone, and writes the date without if it cannot
        # a thread that cannot be made is done without
        harmless = b" UTC" in undisturbed.stdout or "--threads=2" in run
        if not (harmless and same(done, undisturbed)):
            assert_said(done, b"out of memory", b"Cannot allocate memory")
    for _, done in each_fault(shim, arguments, "FAIL_READ"):
        assert_said(done, b"Input/output error (at offset 0x", b"Input/output error")
    for how in ("short", "interrupted"):
        for _, done in each_fault(shim, arguments, "FAIL_READ", how):
            assert same(done, undisturbed), done


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_file_that_shrinks(shim, run):
    """A read that finds the end where there should be bytes."""
    for _, done in each_fault(shim, arguments_of(run, recipe_image("good-bitmaps")[0]),
                              "FAIL_READ", "end"):
        assert_said(done, b"")


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_writes(shim, run):
    arguments = arguments_of(run, recipe_image("good-bitmaps")[0])
    undisturbed, _ = fault(shim, arguments)
    for _, done in each_fault(shim, arguments, "FAIL_WRITE"):
        assert done.returncode == 1
        assert b"No space left on device" in done.stderr
    for how in ("short", "interrupted"):
        for _, done in each_fault(shim, arguments, "FAIL_WRITE", how):
            assert same(done, undisturbed), done
