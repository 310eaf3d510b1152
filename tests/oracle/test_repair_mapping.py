# SPDX-License-Identifier: MIT
# Repairs of L1 and L2 tables: what QEMU reads before and after, in images of both versions, with
# clusters of all sizes, extended entries, a backing file, a data file and snapshots.
"""Repairs of the mapping, with QEMU reading."""
import json
import os
import random
import re
import shutil

import pytest

from tests.forge import build
from tests.support.programs import run
from tests.support.qemu import tool

SECTOR = 512


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def disk(path, snapshot=None):
    """What QEMU reads, a sector each; None where it reads nothing."""
    raw = path + ".raw"
    option = ["-l", f"snapshot.name={snapshot}"] if snapshot else []
    said = tool("qemu-img", "convert", "--salvage", "-f", "qcow2", "-O", "raw", *option, path, raw,
                code=None)
    if not os.path.exists(raw):
        return None
    content = read(raw)
    os.remove(raw)
    sectors = [content[at:at + SECTOR] for at in range(0, len(content), SECTOR)]
    for at in re.findall(r"error while reading (?:block status at )?offset (\d+)", said):
        sectors[int(at) // SECTOR] = None
    return sectors


def repair(path, *words):
    """Repairs the image, has its undo proved, and returns what was said."""
    original, undo = read(path), path + ".undo"
    done = run("repair", "-j", "--ranges", "--yes", f"--undo-file={undo}", *words, path)
    assert done.returncode in (0, 2, 3) and not done.stderr, done
    repaired = read(path)
    if os.path.exists(undo):
        assert run("undo", "--exact", undo).returncode == 0
        assert read(path) == original
        os.remove(undo)
    with open(path, "wb") as stream:
        stream.write(repaired)
    return json.loads(done.stdout)


def forge(folder, text):
    path = os.path.join(str(folder), "a.qcow2")
    build(text, path)
    return path


# ---- one fault each: recipe, option, the steps as (kind, before, after), what is read at a place ----

DATA, ZEROS = "data", "zeros"
V3 = "size 1M\nwrite 0 64k\nwrite 128k 192k\n"
V2 = "version 2\n" + V3
EXTENDED = "extended_l2\n" + V3
BACKED = "backing back.raw raw\n"
CASES = {
    "reserved bits": (V3 + "set l2/0/0 $l2/0/0 | 2\nset l1/0 $l1/0 | 1\n", "",
                      [("l1-entry-reserved", "same", "same"),
                       ("l2-entry-reserved", "same", "same")], 0, DATA),
    "unaligned": (V3 + "set l2/0/0 $l2/0/0 | 512\n", "", [("data-unaligned", "error", "data")], 0,
                  DATA),
    "unaligned zeros": (V3 + "set l2/0/5 513\n", "--only=data-unaligned", [("data-unaligned", "error", "zeros")],
                        320, ZEROS),
    "unaligned, unknown": (V3 + "set l2/0/5 7M+512\n", "--only=data-unaligned",
                           [("data-unaligned", "error", "zeros")], 320, ZEROS),
    "beyond the end, version 2": (V2 + "set l2/0/0 7M\n", "",
                                  [("data-beyond-end", "zeros", "zeros")], 0, ZEROS),
    "beyond the end, backed": (BACKED + V3 + "set l2/0/0 7M\n", "",
                               [("data-beyond-end", "zeros", "zeros")], 0, ZEROS),
    "beyond the end, backed, version 2": (BACKED + V2 + "set l2/0/0 7M\n", "",
                                          [("data-beyond-end", "zeros", "zeros")], 0, ZEROS),
    "beyond the end by a bit": (V3 + "set l2/0/0 $l2/0/0 | 1<<40\n", "",
                                [("data-beyond-end", "zeros", "data")], 0, DATA),
    "a table beyond the end by a bit": (BACKED + V3 + "set l1/0 $l1/0 | 1<<40\n", "",
                                        [("l2-table-beyond-end", "backing", "data")], 0, DATA),
    "the zero flag in version 2": (V2 + "set l2/0/0 $l2/0/0 | 1\n", "",
                                   [("l2-entry-zero-flag", "error", "data")], 0, DATA),
    "the zero flag alone in version 2, backed": (BACKED + V2 + "set l2/0/1 1\n", "--all",
                                                 [("l2-entry-zero-flag", "error", "zeros")],
                                                 64, ZEROS),
    "a table unaligned": (V3 + "set l1/0 $l1/0 | 1024\n", "",
                          [("l2-table-unaligned", "error", "data")], 0, DATA),
    "a table unaligned and unknown, backed": (BACKED + V3 + "set l1/0 512\n", "--all",
                                              [("l2-table-unaligned", "error", "zeros")], 0,
                                              ZEROS),
    "the compressed flag": (V3 + "set l2/0/0 $l2/0/0 | 1<<62\n", "",
                            [("compressed-copied", "error", "data")], 0, DATA),
    "compressed beyond the end by a bit": ("size 1M\ncompressed 0 64k\n"
                                           "set l2/0/0 $l2/0/0 | 1<<50\n", "",
                                           [("compressed-beyond-end", "error", "data")], 0, DATA),
    "a subcluster of both": (EXTENDED + "set l2/0/0/bitmap 0x00000001ffffffff\n", "--all",
                             [("subcluster-both", "error", "data")], 0, DATA),
    "subclusters without a place": (BACKED + EXTENDED + "set l2/0/1/bitmap 2\n", "--all",
                                    [("subcluster-without-offset", "error", "backing"),
                                     ("subcluster-without-offset", "error", "zeros"),
                                     ("subcluster-without-offset", "error", "backing")],
                                    66, ZEROS),
    "an L1 table unaligned": (V3 + "set header/l1_table_offset $header/l1_table_offset + 512\n",
                              "", [("l1-offset-unaligned", "error", "data")], 0, DATA),
    "an L1 table too small": (V3 + "set header/l1_size 0\n", "",
                              [("l1-too-small", "error", "data")], 0, DATA),
    "an L1 table beyond the end": (V3 + "set header/l1_table_offset eof\n", "--all",
                                   [("l1-beyond-end", "zeros", "zeros")], 0, ZEROS),
}


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_mended_as_told(tmp_path, name):
    recipe, option, steps, place, reads = CASES[name]
    (tmp_path / "back.raw").write_bytes(b"\x77" * (1 << 20))
    path = forge(tmp_path, recipe)
    said = repair(path, *([option] if option else ["--yes"]))
    mapping = [step for step in said["steps"] if not step["kind"].startswith(("ref", "copied"))]
    assert [(s["kind"], s["before"], s["after"]) for s in mapping] == steps
    assert said["after"]["corruptions"] == 0, said
    content = disk(path)[place << 10 >> 9]
    assert (content == bytes(SECTOR)) == (reads == ZEROS)
    assert content[:1] != b"\x77"


def test_what_is_not_proved_is_left(tmp_path):
    """At no cost nothing is given up: the reason is said, and the option that would."""
    path = forge(tmp_path, "size 1M\ncompressed 0 64k\nset l2/0/0 1<<62 | eof + 4096\n")
    said = repair(path)
    assert [s for s in said["steps"] if s["kind"].startswith("compressed")] == []
    left = {one["kind"]: one for one in said["left"]}
    assert "--all" in left["compressed-beyond-end"]["why"], left


def test_a_table_that_is_something_else_is_not_written(tmp_path):
    """The L1 table is said to be the header: its entries are not to be mended there."""
    path = forge(tmp_path, V3 + "set header/l1_table_offset 0\n")
    before = read(path)
    for option in ("--yes", "--all"):
        repair(path, option)
        assert read(path)[:32] == before[:32]


def test_neighbours_are_one_step(tmp_path):
    path = forge(tmp_path, "size 1M\nwrite 0 64k\n" +
                 "".join(f"set l2/0/{i} {7 + i}M\n" for i in range(4, 10)))
    steps = [s for s in repair(path)["steps"] if s["kind"] == "data-beyond-end"]
    assert [(s["count"], s["guest"]) for s in steps] == [
        (6, {"start": 4 << 16, "length": 6 << 16})]


def test_shared_tables_are_told_with_their_number(tmp_path):
    path = forge(tmp_path, V3 + "snapshot 1 name=one\nsnapshot 2 name=two\nset l2/0/4 7M\n")
    steps = [s for s in repair(path)["steps"] if s["kind"] == "data-beyond-end"]
    assert len(steps) == 1 and "3 L1 entries share" in steps[0]["does"]


# ---- random bits ----

KINDS = ["cluster_size=4k", "compat=0.10,cluster_size=512", "extended_l2=on,cluster_size=16k",
         "cluster_size=4k,data_file=FILE", "compat=0.10,cluster_size=4k,BACK",
         "extended_l2=on,cluster_size=16k,BACK"]
DISK = 1 << 18
OFFSET = 0x00fffffffffffe00


def number(content, offset, size=8):
    return int.from_bytes(content[offset:offset + size], "big")


def made(folder, kind, chance):
    """An image that QEMU made, with a snapshot if it can have one."""
    path = os.path.join(str(folder), "base.qcow2")
    options, backing = kind.replace("FILE", path + ".data"), []
    if ",BACK" in kind:
        with open(path + ".back", "wb") as stream:
            stream.write(chance.randbytes(DISK))
        options, backing = options.replace(",BACK", ""), ["-b", path + ".back", "-F", "raw"]
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, *backing, path, str(DISK))
    for round_number in range(2):
        pattern = path + ".pattern"
        with open(pattern, "wb") as stream:
            stream.write(chance.randbytes(1 << 16))
        tool("qemu-io", "-f", "qcow2", "-c", f"write -s {pattern} {round_number * 40000} 64k",
             "-c", f"write -P 3 {120000 + round_number * 20000} 16k", path)
        if "FILE" not in kind:
            tool("qemu-io", "-f", "qcow2", "-c", f"write -c {3 << 16} 16k", path,
                 code=None)
            if round_number == 0:
                tool("qemu-img", "snapshot", "-c", "one", path)
    return path


def entries(content):
    """Offsets of the L1 entries of the active disk, and of the words of its L2 tables."""
    cluster = 1 << number(content, 20, 4)
    l1 = [number(content, 40) + 8 * i for i in range(number(content, 36, 4))]
    tables = {number(content, at) & OFFSET for at in l1} - {0}
    return l1, [table + at for table in sorted(tables) for at in range(0, cluster, 8)
                if number(content, table + at)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_costs_what_could_be_read(tmp_path, kind):
    """What QEMU reads reads the same afterwards, or as the guest wrote it."""
    chance = random.Random(kind)
    base = made(tmp_path, kind, chance)
    snapshots = [None] if "FILE" in kind else [None, "one"]
    written = [disk(base, name) for name in snapshots]
    l1, l2 = entries(read(base))
    path = os.path.join(str(tmp_path), "x.qcow2")
    content = bytearray(read(base))
    for at in (chance.choice(l1), *chance.choices(l2, k=2)):
        content[at + chance.randrange(8)] ^= 1 << chance.randrange(8)
    for option in ("--yes", "--all"):
        with open(path, "wb") as stream:
            stream.write(content)
        before = [disk(path, name) for name in snapshots]
        repair(path, option)
        after = [disk(path, name) for name in snapshots]
        for truth, old, new in zip(written, before, after):
            assert all(b in (a, t) for t, a, b in zip(truth, old, new) if a is not None)
