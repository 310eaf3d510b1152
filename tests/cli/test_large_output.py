# SPDX-License-Identifier: MIT
# Output beyond what is kept back, which several threads make: dump of large tables, and extents of
# bitmaps. What it says, that it is the same on one processor, and how it ends if nobody wants it.
"""Output that streams."""
import os
import random
import struct
import subprocess

import pytest

from tests.support.measure import peak
from tests.support.programs import RELEASE, image, run

KEPT = 4 << 20
GRANULE = 65536
COPIED = 1 << 63


def on_one_processor(*words):
    processor = str(min(os.sched_getaffinity(0)))
    return subprocess.run(["taskset", "-c", processor, RELEASE, *map(str, words)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)


def shown(*words, code=0):
    """The output of the release build on all processors, and of any on one."""
    done = run(*words, program=RELEASE)
    assert done.returncode == code, done.stderr
    assert run(*words).stdout == done.stdout
    assert on_one_processor(*words).stdout == done.stdout
    return done.stdout.decode()


# ---- extents ----

def extents_of(bits, count):
    """[(start, length, dirty)], found bit by bit."""
    starts = [at for at in range(count) if at == 0 or bits[at] != bits[at - 1]]
    return [(a * GRANULE, (b - a) * GRANULE, bits[a])
            for a, b in zip(starts, starts[1:] + [count])]


@pytest.fixture(name="sparse", scope="module")
def fixture_sparse(tmp_path_factory):
    """A bitmap of a disk of 256 GiB: half of it far apart, an eighth dense, the rest clean."""
    folder = tmp_path_factory.mktemp("large")
    path, count = folder / "bits.qcow2", (256 << 30) // GRANULE
    chance = random.Random(19)
    bits = bytearray(count)
    for at in range(count // 2):
        bits[at] = chance.random() < 1 / 64
    for at in range(count // 2, count // 8 * 5):
        bits[at] = chance.random() < 0.5
    raw = bytearray(count // 8)
    for at in range(count):
        raw[at // 8] |= bits[at] << at % 8
    (folder / "raw").write_bytes(raw)
    path.write_bytes(open(image("size 256G\n")[0], "rb").read())
    assert run("bitmap", "import", "--no-undo", path, "a", folder / "raw").returncode == 0
    return path, extents_of(bits, count)


WORDS = ("false", "true")


def test_extents(sparse):
    path, extents = sparse
    text = shown("bitmap", "extents", path, "a")
    assert text == "".join(f"{start} {length} {('clean', 'dirty')[dirty]}\n"
                           for start, length, dirty in extents)
    objects = [f'{{"start": {start}, "length": {length}, "dirty": {WORDS[dirty]}}}'
               for start, length, dirty in extents]
    assert shown("bitmap", "extents", "-j", path, "a") == "[\n  " + ",\n  ".join(objects) + "\n]\n"
    lines = shown("bitmap", "extents", "--output=ndjson", path, "a")
    assert lines == "\n".join(objects) + "\n" and len(lines) > KEPT


@pytest.mark.parametrize("which", [0, 1])
def test_some_extents(sparse, which):
    path, extents = sparse
    option = ("--clean", "--dirty")[which]
    objects = [f'{{"start": {start}, "length": {length}, "dirty": {WORDS[dirty]}}}'
               for start, length, dirty in extents if dirty == which]
    assert (shown("bitmap", "extents", "-j", option, path, "a") ==
            "[\n  " + ",\n  ".join(objects) + "\n]\n")


# ---- tables ----

def any_entry(chance):
    kind = chance.randrange(8)
    if kind < 3:
        return 0
    if kind < 6:
        return COPIED | chance.randrange(1, 1 << 30) << 16
    if kind == 6:
        return 1 << 62 | chance.randrange(1 << 61)
    return chance.randrange(1 << 64)


def random_tables(path, extended):
    """All structures in place, L2 tables and refcounts of random entries, in runs."""
    chance, cluster, tables = random.Random(extended), 65536, 14
    data = bytearray(24 * cluster)
    struct.pack_into(">4sIQIIQIIQQIIQQQQII", data, 0, b"QFI\xfb", 3, 0, 0, 16, 64 << 30, 0, tables,
                     cluster, 2 * cluster, 1, 0, 0, 16 * extended, 0, 0, 4, 104)
    struct.pack_into(f">{tables}Q", data, cluster,
                     *[COPIED | (8 + i) * cluster for i in range(tables)])
    struct.pack_into(">3Q", data, 2 * cluster, *[(3 + i) * cluster for i in range(3)])
    for at in range(3 * cluster, 24 * cluster, 8):
        if at < 6 * cluster:
            words = struct.pack(">4H", *(chance.choice((0, 1, 1, 7)) for _ in range(4)))
        else:
            words = struct.pack(">Q", any_entry(chance))
        if chance.random() < 0.5 and at % cluster:
            words = bytes(data[at - 8:at])
        data[at:at + 8] = words
    path.write_bytes(data)
    return path


@pytest.fixture(name="tables", scope="module", params=[0, 1])
def fixture_tables(request, tmp_path_factory):
    return random_tables(tmp_path_factory.mktemp("tables") / "tables.qcow2", request.param)


@pytest.mark.parametrize("options", [[], ["-j"]])
def test_tables(tables, options):
    """Rows that are told many at a time look as those that are told one by one."""
    for whole, each in (("l2", "l2/*/0..9999"), ("refcounts", "refcounts/*/0..99999"),
                        ("l1", "l1/0..99"), ("refcount_table", "refcount_table/0..9999")):
        text = shown("dump", *options, tables, whole, code=2)
        assert text == run("dump", *options, tables, each, program=RELEASE).stdout.decode()
        assert len(text) > KEPT or whole != "l2"


# ---- ends ----

def calls(sparse, tables):
    return (("bitmap", "extents", "-j", sparse[0], "a"), ("dump", "-j", tables, "all"),
            ("dump", tables, "all"))


def test_nobody_reads_on(sparse, tables):
    for words in calls(sparse, tables):
        with subprocess.Popen([RELEASE, *map(str, words)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as child:
            assert len(child.stdout.read(100000)) == 100000
            child.stdout.close()
            assert child.wait(timeout=20) != 0


def test_full_device(sparse, tables):
    for words in calls(sparse, tables):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([RELEASE, *map(str, words)], stdout=full, timeout=20,
                                  stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1 and b"No space left" in done.stderr


def test_memory(sparse, tables):
    for words in calls(sparse, tables):
        code, memory, size = peak(*words)
        assert code in (0, 2) and memory <= 40 << 20
        small = run(*words, "--memory-limit=24M", program=RELEASE)
        assert small.returncode == code and len(small.stdout) == size
