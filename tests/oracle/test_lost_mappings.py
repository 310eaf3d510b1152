# SPDX-License-Identifier: MIT
# Images that QEMU made, whose L1 and L2 tables are then zeroed, overwritten or led astray: check has
# to say that leaks may be the guest's data, and which leaked clusters are L2 tables; exit codes stay
# those of qemu-img. Other leaks have to stay leaks.
"""Lost mappings."""
import json
import random
import shutil
import struct
import subprocess

import pytest

from tests.support.programs import run
from tests.support.qemu import create, tool

OFFSET = 0x00fffffffffffe00
LAYOUTS = {
    "4k": ["cluster_size=4k"],
    "64k": [],
    "512": ["cluster_size=512"],
    "extended": ["extended_l2=on", "cluster_size=16k"],
    "version 2": ["compat=0.10", "cluster_size=4k"],
    "one bit": ["refcount_bits=1", "cluster_size=4k"],
    "wide": ["refcount_bits=64", "cluster_size=4k"],
}


class Image:
    """An image file, its tables, and what is done to them."""
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as stream:
            self.bytes = bytearray(stream.read())
        self.cluster = 1 << self.number(20, 4)
        self.l1 = (self.number(40), self.number(36, 4))

    def number(self, offset, size=8):
        return int.from_bytes(self.bytes[offset:offset + size], "big")

    def l2_tables(self):
        start, count = self.l1
        entries = [self.number(start + 8 * i) & OFFSET for i in range(count)]
        return [(i, entry) for i, entry in enumerate(entries) if entry]

    def snapshots(self):
        """(offset, entries) of the L1 tables of snapshots"""
        at, tables = self.number(64), []
        for _ in range(self.number(60, 4)):
            tables.append((self.number(at), self.number(at + 8, 4)))
            sizes = self.number(at + 36, 4) + self.number(at + 12, 2) + self.number(at + 14, 2)
            at += (40 + sizes + 7) // 8 * 8
        return tables

    def put(self, offset, new):
        self.bytes[offset:offset + len(new)] = new

    def leak(self, content):
        """Appends a cluster with a refcount of 16 bits; None: a hole."""
        at = (len(self.bytes) + self.cluster - 1) // self.cluster * self.cluster
        self.bytes += bytes(at + self.cluster - len(self.bytes))
        self.put(at, (content or b"")[:self.cluster])
        block = self.number(self.number(48)) & OFFSET
        self.put(block + at // self.cluster * 2, b"\0\1")
        self.write()
        if content is None:
            with open(self.path, "r+b") as stream:
                stream.truncate(at)
                stream.truncate(at + self.cluster)

    def write(self):
        with open(self.path, "wb") as stream:
            stream.write(self.bytes)


def report(path, *options):
    """The document, once qemu-img has said the same in its exit code."""
    done = run("check", "-j", path, *options)
    theirs = subprocess.run(["qemu-img", "check", "-f", "qcow2", path], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, check=False)
    assert done.returncode == theirs.returncode, (done, theirs)
    return json.loads(done.stdout)


def lost(path, *options):
    return report(path, *options)["lost-mappings"]


@pytest.fixture(name="made", scope="module", params=LAYOUTS)
def fixture_made(request, tmp_path_factory):
    path = create(str(tmp_path_factory.mktemp("made") / "made"), "64M", *LAYOUTS[request.param])
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 100k", "-c", "write -P 9 10M 300k",
         "-c", "write -P 3 40M 64k", path)
    assert not lost(path)["leaks-may-be-data"]
    return path


@pytest.fixture(name="copy")
def fixture_copy(made, tmp_path):
    return Image(shutil.copyfile(made, tmp_path / "copy"))


def test_l1_zero(copy):
    start, count = copy.l1
    tables = sorted(entry for _, entry in copy.l2_tables())
    copy.put(start, bytes(8 * count))
    copy.write()
    shown = lost(copy.path)
    assert shown["leaks-may-be-data"] and shown["all-leaks-read"]
    assert shown["orphaned-l2-tables"] == tables and shown["empty-l1-tables"] == [start]
    assert shown["leaked-clusters"] == shown["leaks-with-content"] > len(tables)


@pytest.mark.parametrize("entry", [0, 1 << 63 | 1 << 45, 1 << 63 | 0x200])
def test_l1_entry(copy, entry):
    """It is cleared, leads past the end, or to another place."""
    index, table = copy.l2_tables()[-1]
    copy.put(copy.l1[0] + 8 * index, struct.pack(">Q", entry))
    copy.write()
    shown = json.loads(run("check", "-j", copy.path).stdout)["lost-mappings"]
    assert shown["leaks-may-be-data"] and table in shown["orphaned-l2-tables"]


@pytest.mark.parametrize("garbage", [False, True])
def test_l2(copy, garbage):
    """There is no candidate, but an empty table, or a broken one."""
    table = copy.l2_tables()[-1][1]
    copy.put(table, random.Random(1).randbytes(copy.cluster) if garbage else bytes(copy.cluster))
    copy.write()
    shown = json.loads(run("check", "-j", copy.path).stdout)["lost-mappings"]
    assert shown["leaks-may-be-data"] and shown["orphaned-l2-tables"] == []
    assert shown["empty-l2-tables"] == ([] if garbage else [table])


def test_l1_garbage(copy):
    start, count = copy.l1
    tables = sorted(entry for _, entry in copy.l2_tables())
    copy.put(start, random.Random(2).randbytes(8 * count))
    copy.write()
    shown = json.loads(run("check", "-j", copy.path).stdout)["lost-mappings"]
    assert shown["leaks-may-be-data"] and set(tables) <= set(shown["orphaned-l2-tables"])


def test_compressed(tmp_path):
    raw, path = tmp_path / "raw", str(tmp_path / "compressed")
    raw.write_bytes(b"".join(bytes([i % 251]) * 3000 + b"qcow2" * 300 for i in range(1000)))
    tool("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", str(raw),
         path)
    image = Image(path)
    tables = sorted(entry for _, entry in image.l2_tables())
    image.put(image.l1[0], bytes(8 * image.l1[1]))
    image.write()
    assert lost(path)["orphaned-l2-tables"] == tables


@pytest.fixture(name="snapshots")
def fixture_snapshots(tmp_path):
    path = create(str(tmp_path / "snapshots"), "64M", "cluster_size=4k")
    for name in ("one", "two"):
        tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 300k", "-c", "write -P 6 20M 300k", path)
        tool("qemu-img", "snapshot", "-c", name, path)
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 4 100k 100k", path)
    assert not lost(path)["leaks-may-be-data"]
    return Image(path)


@pytest.mark.parametrize("index", [0, 1])
def test_l1_of_snapshot(snapshots, index):
    start, count = snapshots.snapshots()[index]
    snapshots.put(start, bytes(8 * count))
    snapshots.write()
    shown = lost(snapshots.path)
    assert shown["leaks-may-be-data"] and shown["empty-l1-tables"] == [start]


def test_l1_whose_clusters_a_snapshot_shares(tmp_path):
    """Nothing leaks as a whole: there are too many references, and an L1 table is empty."""
    path = create(str(tmp_path / "shared"), "64M", "cluster_size=4k")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 300k", path)
    tool("qemu-img", "snapshot", "-c", "one", path)
    image = Image(path)
    image.put(image.l1[0], bytes(8 * image.l1[1]))
    image.write()
    shown = lost(path)
    assert shown["leaks-may-be-data"] and shown["leaked-clusters"] == 0


def test_snapshot_table_forgotten(snapshots):
    """The header says that there are none; their L1 tables are not taken for L2 tables."""
    tables = {start for start, _ in snapshots.snapshots()}
    snapshots.put(60, bytes(4))
    snapshots.write()
    assert not tables & set(lost(snapshots.path)["orphaned-l2-tables"])


def test_freed(tmp_path):
    """Once leaks were freed without a discard, only a deep check finds what is left."""
    path = create(str(tmp_path / "freed"), "64M", "cluster_size=4k")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 100k", "-c", "write -P 6 20M 100k", path)
    image = Image(path)
    tables = sorted(entry for _, entry in image.l2_tables())
    image.put(image.l1[0], bytes(8 * image.l1[1]))
    image.write()
    for problem in report(path, "--all")["problems"]:
        if problem["id"] == "refcount-high":
            image.put(problem["offset"], bytes(2))
    image.write()
    assert lost(path)["freed-l2-tables"] == []
    assert lost(path, "--deep")["freed-l2-tables"] == tables


CONTENTS = {
    "hole": None,
    "zeros": bytes(1 << 16),
    "random": random.Random(3).randbytes(1 << 16),
    "text": b"The quick brown fox jumps over the lazy dog.\n" * 1600,
    "one number": struct.pack(">Q", 1 << 63 | 0x50000) * 8192,
    "small numbers": b"".join(struct.pack(">Q", i) for i in range(8192)),
    "the header": b"QFI\xfb\0\0\0\3" + bytes(16) + struct.pack(">I", 16),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_leak_beside_an_intact_mapping(content, tmp_path):
    path = create(str(tmp_path / "leak"), "64M")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 1M", "-c", "write -P 6 20M 1M", path)
    image = Image(path)
    image.leak(CONTENTS[content])
    for options in ((), ("--deep",)):
        shown = lost(path, *options)
        assert shown["leaked-clusters"] == 1 and not shown["leaks-may-be-data"]
        assert shown["leaks-with-content"] == (content not in ("hole", "zeros"))
        assert shown["orphaned-l2-tables"] == [] and shown["empty-l1-tables"] == []


@pytest.mark.parametrize("content", ["hole", "zeros"])
def test_leak_in_a_fresh_image(content, tmp_path):
    path = create(str(tmp_path / "fresh"), "64M")
    Image(path).leak(CONTENTS[content])
    assert not lost(path)["leaks-may-be-data"]


@pytest.mark.parametrize("broken", ["bit", "directory"])
def test_leaked_bitmaps(broken, tmp_path):
    """Tables of bitmaps read as L2 tables without copied flags."""
    path = create(str(tmp_path / "bitmaps"), "4G", "cluster_size=4k")
    tool("qemu-img", "bitmap", "--add", "-g", "512", path, "b0")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 1M", "-c", "write -P 6 20M 1M", path)
    image = Image(path)
    at = image.bytes.index(struct.pack(">II", 0x23852875, 24)) + 8
    if broken == "bit":
        image.put(88, bytes(8))
    else:
        image.put(image.number(at + 16), bytes(image.number(at + 8)))
    image.write()
    shown = json.loads(run("check", "-j", path).stdout)["lost-mappings"]
    assert shown["leaked-clusters"] > 2 and not shown["leaks-may-be-data"]


def test_on_the_page(tmp_path):
    path = create(str(tmp_path / "page"), "64M")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 1M", path)
    image = Image(path)
    image.put(image.l1[0], bytes(8 * image.l1[1]))
    image.write()
    done = run("check", path)
    assert done.returncode == 3
    assert b"leaked clusters: 17, 17 with content, 1 reads as an L2 table" in done.stdout


def zeroed(path, first, size):
    """The image once bytes of its first L2 table read as zeros; where they are in the file."""
    image = Image(path)
    at = image.l2_tables()[0][1] + first
    image.put(at, bytes(size))
    image.write()
    return at


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "512"])
@pytest.mark.parametrize("first, size", [(0, 512), (512, 512), (1024, 1536)])
def test_part_of_l2(layout, first, size, tmp_path):
    """A disk has lost sectors of a table: what they mapped leaks behind or before what is left."""
    path = create(str(tmp_path / "part"), "64M", *LAYOUTS[layout])
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 30M", path)
    at = zeroed(path, first, size)
    shown = report(path)
    assert shown["verdict"] == "lost-mappings"
    assert shown["lost-mappings"]["empty-l2-entries"] == [at]
    width = 16 if layout == "extended" else 8
    cluster = Image(path).cluster
    hole, = [p for p in shown["problems"] if p["id"] == "l2-entries-empty"]
    last = min((first + size) // width, (64 << 20) // cluster) - 1
    assert hole["where"] == f"l2/0/{first // width}..{last}"
    assert hole["guest"]["start"] == first // width * cluster
