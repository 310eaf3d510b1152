# SPDX-License-Identifier: MIT
# `qcow2 snapshot diff` against two oracles. A reader of L1 and L2 tables, written here from the
# specification, compares raw entries: on every good recipe with snapshots, and on images that QEMU made
# at random. And on the latter, what a guest reads: bytes that differ lie in ranges that are told.
"""snapshot diff against the tables and against the data."""
import json
import os
import random
import struct
import subprocess

import pytest

from tests.forge import load, recipes
from tests.oracle.test_mapping_oracle import CASES, call, change, cluster_bits, make
from tests.support.programs import QCOW2, RELEASE, recipe_image

OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63
# The most steps of a disk that are compared one by one.
STEPS_MOST = 1 << 18
# Each kind of table, small and large clusters. SEEDS=0-9 in the environment takes other images.
CHOSEN = ["clusters 512", "clusters 4096", "clusters 65536", "version 2 small", "extended 16384",
          "extended 65536", "preallocated extended", "zstd"]
SEEDS = range(int(os.environ.get("SEEDS", "1")))


def run(*words, program=QCOW2):
    """The differences that are told; the exit code has to fit."""
    done = subprocess.run([program, "snapshot", "diff", "-j", *map(str, words)], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = json.loads(done.stdout) if done.returncode in (0, 2, 3) else None
    assert told is not None and done.returncode in ((2, 3) if told else (0,)), done
    return told


# ---- the tables ----

class Tables:
    """The entries of an image, read with the offsets of the specification."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        self.bits, self.size = struct.unpack(">IQ", self.get(20, 12))
        self.l1_size, self.l1 = struct.unpack(">IQ", self.get(36, 12))
        count, at = struct.unpack(">IQ", self.get(60, 12))
        version = struct.unpack(">I", self.get(4, 4))[0]
        features = struct.unpack(">Q", self.get(72, 8))[0] if version > 2 else 0
        self.extended, self.data_file = bool(features & 16), bool(features & 4)
        self.backed = self.get(8, 8) != bytes(8)
        self.disks = {None: (self.l1, self.l1_size, self.size)}
        for _ in range(count):
            l1, l1_size, id_size, name_size = struct.unpack(">QIHH", self.get(at, 16))
            extra = struct.unpack(">I", self.get(at + 36, 4))[0]
            size = struct.unpack(">Q", self.get(at + 48, 8))[0] if extra >= 16 else self.size
            name = self.get(at + 40 + extra, id_size)
            self.disks.setdefault(os.fsdecode(name), (l1, l1_size, size))
            at += (40 + extra + id_size + name_size + 7) // 8 * 8

    def get(self, at, length):
        return self.bytes[at:at + length].ljust(length, b"\0")

    @property
    def step(self):
        return (1 << self.bits) // (32 if self.extended else 1)

    def entry(self, disk, cluster):
        width = 16 if self.extended else 8
        per_table = (1 << self.bits) // width
        l1, l1_size, _ = self.disks[disk]
        index = cluster // per_table
        table = struct.unpack(">Q", self.get(l1 + 8 * index, 8))[0] & OFFSET if index < l1_size else 0
        if table == 0:
            return 0, 0
        words = self.get(table + cluster % per_table * width, width)
        return struct.unpack(">QQ", words.ljust(16, b"\0"))

    def state(self, disk, at):
        """(kind, offset, place) of a step, place being the same where the mapping is."""
        if at >= self.disks[disk][2]:
            return "ended", None, None
        cluster, into = divmod(at, 1 << self.bits)
        entry, words = self.entry(disk, cluster)
        if entry & 1 << 62:
            x = 62 - (self.bits - 8)
            return "compressed", entry & ((1 << x) - 1), entry & ~COPIED
        place = entry & OFFSET or (None if not self.data_file or not entry & COPIED else 0)
        if not self.extended:
            kind = "zero" if entry & 1 else "unallocated" if place is None else "data"
        else:
            bit = into // self.step
            kind = "zero" if words >> 32 + bit & 1 else "data" if words >> bit & 1 else "unallocated"
        return kind, place if place is None else place + into, place


def side(tables, state):
    """What the JSON says of a step."""
    kind, offset, _ = state
    if kind == "ended":
        return None
    return {"present": kind != "unallocated",
            "zero": kind == "zero" or (kind == "unallocated" and not tables.backed),
            "data": kind in ("data", "compressed"), "compressed": kind == "compressed",
            **({} if offset is None else {"offset": offset})}


def goes_on(old, new, step):
    if old[0] != new[0] or old[0] == "compressed":
        return False
    return new[1] == (None if old[1] is None else old[1] + step)


def expected(tables, first, second):
    """Where two disks differ by their entries, each step by itself and then joined."""
    found, last = [], None
    size = max(tables.disks[first][2], tables.disks[second][2])
    for at in range(0, size, tables.step):
        states = tables.state(first, at), tables.state(second, at)
        length = min([tables.step] + [tables.disks[one][2] - at for one in (first, second)
                                      if tables.disks[one][2] > at])
        for start, length in ((at, length), (at + length, min(tables.step, size - at) - length)):
            states = tables.state(first, start), tables.state(second, start)
            same = states[0][0] == states[1][0] and states[0][1:] == states[1][1:]
            if length == 0 or same or states == ("ended", "ended"):
                continue
            step = start - last[0] if last else 0
            inside = last and start // (1 << tables.bits) == last[0] // (1 << tables.bits)
            if last and found[-1]["start"] + found[-1]["length"] == start and all(
                    goes_on(old, new, step) or (inside and old == new and old[0] == "compressed")
                    for old, new in zip(last[1], states)):
                found[-1]["length"] += length
            else:
                found.append({"start": start, "length": length, "a": side(tables, states[0]),
                              "b": side(tables, states[1])})
            last = start, states
    return found


def plain(told):
    """What is told without what entries do not say."""
    kept = ("present", "zero", "data", "compressed", "offset")
    return [{"start": one["start"], "length": one["length"],
             **{name: one[name] and {key: one[name][key] for key in kept if key in one[name]}
                for name in "ab"}} for one in told]


def pairs(tables):
    """Neighbours in time, and each snapshot with the active disk; a few of them."""
    names = [name for name in tables.disks if name is not None]
    return (list(zip(names, names[1:])) + [(name, None) for name in names])[:6]


def compare_tables(path, program=QCOW2):
    tables = Tables(path)
    for first, second in pairs(tables):
        size = max(tables.disks[first][2], tables.disks[second][2])
        if size // tables.step > STEPS_MOST:
            continue
        told = run(path, first, *([second] if second else []), program=program)
        assert plain(told) == expected(tables, first, second)


@pytest.mark.parametrize("name", [name for name in recipes("good-") if "hostile" not in name
                                  and "\nsnapshot " in "\n" + load(name).text])
def test_recipe(name):
    compare_tables(recipe_image(name)[0], RELEASE)


# ---- the data ----

def read(path, name, raw):
    option = ["-l", f"snapshot.id={name}"] if name else []
    call("qemu-img", "convert", *option, "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        return file.read()


def changed(old, new):
    """The sectors in which two disks differ."""
    end = max(len(old), len(new))
    if old == new:
        return
    for at in range(0, end, 512):
        if old[at:at + 512] != new[at:at + 512]:
            yield at


def compare_data(told, old, new):
    """Each byte that differs is in a range that is told, and none that reads the same differs."""
    marks = bytearray(max(len(old), len(new)) // 512 + 1)
    for one in told:
        first, end = one["start"] // 512, -(-(one["start"] + one["length"]) // 512)
        marks[first:end] = (b"\1" if not one["reads-same"] else b"\2") * (end - first)
    for at in changed(old, new):
        assert marks[at // 512] == 1, f"{at:#x}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CHOSEN)
def test_made_by_qemu(case, seed, tmp_path):
    options, clusters, kinds = CASES[case]
    rng = random.Random(f"{case} {seed}")
    path = str(tmp_path / "disk.qcow2")
    size = make(path, options, min(clusters, 150), kinds, rng)
    call("qemu-img", "snapshot", "-c", "last", path)
    change(path, rng, kinds.replace("s", ""), 1 << cluster_bits(options), size)
    compare_tables(path)
    tables = Tables(path)
    disks = {name: read(path, name, str(tmp_path / "raw")) for name in tables.disks}
    for first, second in pairs(tables):
        told = run(path, first, *([second] if second else []))
        compare_data(told, disks[first], disks[second])


def test_copy_of_an_image(tmp_path):
    """A copy that went its own way: what it allocated is told, wherever its blocks are."""
    path, copy = str(tmp_path / "disk.qcow2"), str(tmp_path / "copy.qcow2")
    rng = random.Random(16)
    make(path, "-o cluster_size=4k", 200, "wd", rng)
    with open(path, "rb") as old, open(copy, "wb") as new:
        new.write(old.read())
    assert run(path, copy) == []
    before = Tables(path)
    change(copy, rng, "wdz", 4096, before.size)
    after = Tables(copy)
    told = run(path, copy)
    starts = {at for one in told for at in range(one["start"], one["start"] + one["length"], 4096)}
    wanted = {at for at in range(0, before.size, 4096)
              if before.state(None, at) != after.state(None, at)}
    assert starts == wanted and wanted
