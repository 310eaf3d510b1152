# SPDX-License-Identifier: MIT
# qcow2 repair where two things use one cluster, or where too many do: each reads afterwards what it
# read before, the image is sound to us and to QEMU, and the undo file takes all of it back.
"""Owners of clusters, and their copies."""
import json
import os
import random
import shutil
import struct

import pytest

from tests.support.programs import RELEASE, folder, image, recipe_image, run
from tests.support.qemu import create, shell, tool

BASE = ("size 8M\ncluster_bits 12\nwrite 0 64k pattern=mixed\nsnapshot 1 name=one\n"
        "write 0 4k pattern=7\n")
EXTENDED = ("extended_l2\nsize 4M\ncluster_bits 14\nwrite 0 256k pattern=mixed\n"
            "snapshot 1 name=one\nsubclusters 256k alloc=0-3 zero=5-7 pattern=9\n")
MANY = BASE + "compressed 128k 64k pattern=mixed\nsnapshot 2\nwrite 8k 4k pattern=1\n"
# What the image is, the place that stays with its owner, and who gets a copy.
PAIRS = {
    "data, L1": (BASE + "set l2/0/9 @l1 | 1<<63", "l1", ["l2/0/9"]),
    "data, refcount table": (BASE + "set l2/0/9 @refcount_table", "refcount_table", ["l2/0/9"]),
    "data, refcount block": (BASE + "set l2/0/9 @refcounts/0", "refcounts/0", ["l2/0/9"]),
    "data of a snapshot, snapshot table":
        (BASE + "set snapshots/1/l2/0/9 @snapshot_table", "snapshots", ["snapshots/0/l2/0/9"]),
    "data, L1 of a snapshot":
        (BASE + "set l2/0/9 @snapshots/0/l1", "snapshots/0/l1", ["l2/0/9"]),
    "data, its own L2": (BASE + "set l2/0/9 @l2/0", "l2/0", ["l2/0/9"]),
    "data, L2 of a snapshot":
        (BASE + "set l2/0/9 @snapshots/1/l2/0", "snapshots/0/l2/0", ["l2/0/9"]),
    "compressed, header": (BASE + "set l2/0/9 512 | 1<<62", "header", ["l2/0/9"]),
    "compressed, L2": (BASE + "set l2/0/9 @l2/0 + 8 | 1<<62", "l2/0", ["l2/0/9"]),
    "data, compressed": (MANY + "set l2/0/9 @data/33 & ~4095", "snapshots/1/l2/0/32", ["l2/0/9"]),
    "L2, L1": (BASE + "set l1/1 @l1 | 1<<63", "l1", ["l2/1", "l2/1/0", "l2/1/1"]),
    "L1 of a snapshot, L1":
        (BASE + "set snapshots/0/l1_table_offset @l1", "l1", ["snapshots/0/l1"]),
    "L1 of two snapshots":
        (BASE + "snapshot 2\nset snapshots/0/l1_table_offset $snapshots/1/l1_table_offset",
         "snapshots/0/l1", ["snapshots/1/l1"]),
    "three owners":
        (BASE + "snapshot 2\nset snapshots/0/l1_table_offset $snapshots/1/l1_table_offset\n"
         "set l2/0/9 @snapshots/1/l1\nset l2/0/12 @snapshots/1/l1",
         "snapshots/0/l1", ["snapshots/1/l1", "l2/0/9", "l2/0/12"]),
    "zeros, L2": (BASE + "set l2/0/10 @l2/0 | 1<<63 | 1", "l2/0", ["l2/0/10"]),
    "subclusters, L2": (EXTENDED + "set l2/0/16 @l2/0", "l2/0", ["l2/0/16"]),
}
TOO_MANY = {
    "data": "refcount_order 0\nsaturate\n" + BASE,
    "data, compressed": "refcount_order 1\nsaturate\n" + MANY + "snapshot 3\nsnapshot 4\n",
    "compressed": "refcount_order 0\nsaturate\nsize 1M\ncluster_bits 12\n"
                  "compressed 128k 64k pattern=mixed\n",
    "L2 table": "refcount_order 1\nsaturate\nsize 8M\ncluster_bits 12\nwrite 0 64k\n"
                "share_l2 0 1 3\n",
    # The copy of an earlier round is copied again.
    "data that was copied before": "refcount_order 0\nsize 64k\ncluster_bits 9\nwrite 0 512\n"
                                   "write 1024 1024\nset l2/0/0 1<<63 | @l2/0\nset l1/1 $l1/0\n",
}


def disks(path, snapshots):
    """What the guest and each snapshot read, by QEMU; zeros where nothing can be read."""
    texts = []
    for which in [[]] + [["-l", f"snapshot.id={name}"] for name in snapshots]:
        raw = os.path.join(folder(), "owners.raw")
        tool("qemu-img", "convert", "--salvage", "-O", "raw", *which, path, raw)
        with open(raw, "rb") as file:
            texts.append(file.read())
    return texts


def mend(path, *options, snapshots=()):
    """Repairs a copy of an image; returns the document and the path."""
    mine = os.path.join(folder(), "owners.qcow2")
    undo = mine + ".undo"
    shutil.copyfile(path, mine)
    if os.path.exists(undo):
        os.unlink(undo)
    before = disks(mine, snapshots)
    done = run("repair", "--yes", "-j", "--free-lost", f"--undo-file={undo}", *options, mine)
    assert done.returncode == 0, done.stdout
    assert run("check", "-q", mine, program=RELEASE).returncode == 0
    tool("qemu-img", "check", "-q", mine)
    assert disks(mine, snapshots) == before
    undone = shutil.copyfile(mine, mine + ".undone")
    assert run("undo", undo, mine, program=RELEASE).returncode == 0
    with open(mine, "rb") as file, open(path, "rb") as old:
        assert file.read() == old.read()
    return json.loads(done.stdout.decode("utf-8")), undone


def steps(report, kind):
    return [step for step in report["steps"] if step["kind"] == kind]


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs(pair):
    text, keeper, movers = PAIRS[pair]
    path, _ = image(text + "\n")
    report, _ = mend(path, snapshots=[str(i + 1) for i in range(text.count("snapshot 1") +
                                                                 text.count("snapshot 2"))])
    told = steps(report, "cluster-owners")
    assert sorted(step["where"] for step in told) == sorted(movers), told
    for step in told:
        assert "keeps the place" in step["does"], step
        assert "guest" in step
        assert not step["costs"]
    assert f" {keeper} " in told[0]["does"]


def test_ranges_of_both():
    """A step says whose part of the disk moves, and which part belongs to who stays."""
    path, _ = recipe_image("bad-data-on-own-l2")
    report, _ = mend(path)
    (step,) = steps(report, "cluster-owners")
    assert step["guest"] == {"start": 65536, "length": 65536}
    assert "l2/0 (guest 0x0..0xfffff) keeps the place" in step["does"]
    assert step["before"] == step["after"] == "foreign"


@pytest.mark.parametrize("what", TOO_MANY)
def test_more_than_a_refcount_can_say(what):
    path, _ = image(TOO_MANY[what])
    names = [name for name in "1234" if f"snapshot {name}" in TOO_MANY[what]]
    report, _ = mend(path, snapshots=names)
    assert steps(report, "refcount-overflow")


def test_compressed_clusters_on_each_other():
    path, _ = recipe_image("bad-compressed-overlap")
    report, mended = mend(path, "--only=compressed-overlap,refcount-low,refcount-high")
    (step,) = steps(report, "compressed-overlap")
    assert step["where"] == "l2/0/1"
    assert run("check", "-q", "--deep", mended).returncode == 0


def test_bitmaps_stay_suspect():
    """Whoever shares a bitmap's place stays there: it is why the bitmap cannot be believed."""
    path, layout = image("size 1M\ncluster_bits 12\nwrite 0 64k\nbitmap b0 bits=1\n"
                         "set l2/0/9 @bitmaps/0/data/0 | 1<<63\n")
    mine = shutil.copyfile(path, os.path.join(folder(), "owners.qcow2"))
    done = run("repair", "--yes", "-j", "--no-undo", "--all", "--free-lost", mine)
    assert done.returncode == 0, done.stdout
    assert run("check", "-q", mine, program=RELEASE).returncode == 0
    extents = run("bitmap", "extents", mine, "b0").stdout
    assert extents and layout.value("bitmaps/0/table/0")
    assert disks(mine, []) == disks(path, [])


def test_too_much_to_copy():
    """Beyond 1 GiB of copies the refcounts have to become wider."""
    path = create(os.path.join(folder(), "owners-many.qcow2"), 2 << 30, "refcount_bits=1",
                  "preallocation=metadata")
    with open(path, "r+b") as file:
        (table,) = struct.unpack_from(">Q", file.read(64), 40)
        for here, there in ((0, 1), (2, 3)):
            file.seek(table + 8 * here)
            entry = file.read(8)
            file.seek(table + 8 * there)
            file.write(entry)
    done = run("repair", "--dry-run", "-j", path, program=RELEASE)
    (left,) = [left for left in json.loads(done.stdout.decode("utf-8"))["left"]
               if left["kind"] == "refcount-overflow"]
    assert left["count"] == 16386
    assert "refcount_bits" in left["why"]


def used_clusters(data, cluster):
    """Entries of the active L2 tables, and clusters that are in use; for images of a few tables."""
    def word(at):
        return struct.unpack_from(">Q", data, at)[0]

    offset = 0x00fffffffffffe00
    entries, used = [], {word(40), word(48), word(word(48))}
    for i in range(struct.unpack_from(">I", data, 36)[0]):
        table = word(word(40) + 8 * i) & offset
        used.add(table)
        for j in range(cluster // 8 if table else 0):
            if word(table + 8 * j) & offset and not word(table + 8 * j) >> 62:
                used.add(word(table + 8 * j) & offset)
            if word(table + 8 * j) & offset and not word(table + 8 * j) >> 62 & 1:
                used.add(word(table + 8 * j) & offset)
                entries.append(table + 8 * j)
    return entries, sorted(used)


@pytest.mark.parametrize("seed", range(int(os.environ.get("OWNERS_ROUNDS", "2"))))
def test_random_entries(seed):
    """Entries of a disk that QEMU wrote lead to other clusters in use, whatever these are."""
    chance = random.Random(seed)
    cluster = chance.choice((512, 4096))
    bits = chance.choice((2, 16))
    path = os.path.join(folder(), f"owners{seed}.qcow2")
    create(path, 600 * cluster, f"cluster_size={cluster}", f"refcount_bits={bits}")
    for _ in range(2):
        writes = [("-c", f"write -P {chance.randrange(1, 255)} {chance.randrange(590) * cluster} "
                         f"{chance.randrange(1, 9) * cluster}") for _ in range(8)]
        shell("qemu-io", *[word for write in writes for word in write], path, cwd=folder())
        shell("qemu-img", "snapshot", "-c", "one", path, cwd=folder())
    with open(path, "r+b") as file:
        entries, used = used_clusters(file.read(), cluster)
        for at in chance.sample(entries, chance.choice((1, 2, 4))):
            file.seek(at)
            file.write(struct.pack(">Q", chance.choice(used) | chance.choice((0, 1 << 63))))
    mend(path, snapshots=["1", "2"])
