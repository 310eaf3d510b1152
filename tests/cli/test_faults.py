# SPDX-License-Identifier: MIT
# When the system fails: each allocation, each read and each write of a run over an image is made to
# fail once. The command says what failed and prints no half page; what is harmless changes nothing.
"""The n-th allocation, read or write fails."""

import pytest

from tests.support.faults import each_fault, fault
from tests.support.programs import image, recipe_image

RECIPES = ("good-bitmaps", "good-snapshots", "good-luks1", "good-extensions-unknown",
           "good-extended-l2-compressed", "good-data-file", "good-v2-snapshots",
           "good-bitmap-extra-data", "good-feature-names-full", "bad-bitmap-table-unaligned",
           "bad-hostile-random-header", "bad-snapshots-truncated-name", "bad-l2-table-orphaned",
           "bad-guest-ranges-512-byte-clusters")
RUNS = (("dump",), ("dump", "-j"), ("info",), ("info", "--output=json"), ("info", "--chain"),
        ("compat", "dump-header"), ("compat", "-j", "dump-header"),
        ("check", "--threads=1", "--deep"), ("check", "-j", "--threads=2"),
        ("check", "--all", "--threads=1"), ("check", "--ranges", "--threads=1"), ("map", "--chain"),
        ("map", "-j"), ("vet", "--policy=chain"))
BULK = ("l1", "refcount_table/0..9", "refcounts/0/0..9")


def arguments_of(run, image):
    if run[0] == "compat":
        return [*run[:-1], image, run[-1]]
    return [*run, image, *(BULK if run == ("dump", "-j") and "good" in image else ())]


def assert_said(done, *words):
    """It failed, printed nothing, and said why."""
    assert done.returncode == 1 and done.stdout == b"", done
    assert any(word in done.stderr for word in words), done.stderr
    # compat has its warnings about the image before
    assert done.stderr.count(b"\n") == 1 or b"compat" in done.stderr, done.stderr


def is_bounded(done, undisturbed):
    """Without memory for ranges of damaged data, the check joins them, and says so."""
    return done.returncode == undisturbed.returncode != 0 and done.stderr == b"" and (
        b"data: at most " in done.stdout or b'"exact": false' in done.stdout)


def same(done, undisturbed):
    return (done.returncode, done.stdout, done.stderr) == (
        undisturbed.returncode, undisturbed.stdout, undisturbed.stderr)


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
@pytest.mark.parametrize("name", RECIPES)
def test_memory_and_reads(shim, name, run):
    arguments = arguments_of(run, recipe_image(name)[0])
    undisturbed, _ = fault(shim, arguments)
    if run[0] == "map" and name == "bad-hostile-random-header":
        return  # there is no disk to be mapped
    assert undisturbed.returncode in (0, 2, 3)
    for _, done in each_fault(shim, arguments, "FAIL_ALLOC"):
        # libc allocates to look for a time zone, and writes the date without if it cannot
        # a thread that cannot be made is done without
        harmless = b" UTC" in undisturbed.stdout or "--threads=2" in run or "--chain" in run
        if not (harmless and same(done, undisturbed) or is_bounded(done, undisturbed)):
            assert_said(done, b"out of memory", b"Cannot allocate memory")
    for _, done in each_fault(shim, arguments, "FAIL_READ"):
        # map shows what it found before a fault, then tries again, and these reads fail only once;
        # chains are followed once for the sandbox, and then again
        if (run[0] == "map" or "--chain" in run) and same(done, undisturbed):
            continue
        assert_said(done, b"Input/output error (at offset 0x", b"Input/output error")
    for how in ("short", "interrupted"):
        for _, done in each_fault(shim, arguments, "FAIL_READ", how):
            assert same(done, undisturbed), done


def test_reads_for_leaks(shim):
    """Leaks that hold data: the check asks the snapshots whether a mapping may be lost."""
    path, _ = image("cluster_bits 9\nsize 64K\nwrite 0 4K\nsnapshot one\nset l2/0/1 0\n"
                    "set snapshots/0/l1/0 0\n")
    undisturbed, _ = fault(shim, ["check", "--threads=1", path])
    assert undisturbed.returncode in (2, 3) and b"leak" in undisturbed.stdout
    for _, done in each_fault(shim, ["check", "--threads=1", path], "FAIL_READ"):
        assert_said(done, b"Input/output error")


def test_reads_of_a_planned_image(shim):
    """--force skips the check of a planned image, but reads no bytes that cannot be read."""
    path = recipe_image("good-snapshots")[0]
    said = [done.stderr for _, done in each_fault(
        shim, ["edit", "-n", path, "set", "header/compatible_features=1"], "FAIL_READ")]
    assert sum(b"the planned image cannot be checked" in text for text in said) > 1
    assert not any(b"Input/output error" in text and b"--force" in text for text in said)


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_file_that_shrinks(shim, run):
    """A read that finds the end where there should be bytes."""
    for _, done in each_fault(shim, arguments_of(run, recipe_image("good-bitmaps")[0]),
                              "FAIL_READ", "end"):
        if run == ("info", "--chain") and done.returncode == 0:
            continue  # as above
        assert_said(done, b"the file became shorter (at offset 0x")


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
