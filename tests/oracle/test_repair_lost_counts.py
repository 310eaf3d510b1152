# SPDX-License-Identifier: MIT
# Refcounts that are lost together with a part of a mapping. No cluster that may hold lost data of the
# guest becomes free, and what is lost can be found again; where no mapping is lost, all is sound.
"""repair of lost refcounts next to lost mappings."""
import json
import os
import shutil
import struct
import subprocess

import pytest

from tests.support.programs import run

DATA = 1 << 20
KINDS = ["compat=1.1", "compat=0.10", "refcount_bits=1", "refcount_bits=2", "refcount_bits=4",
         "refcount_bits=8", "refcount_bits=32", "refcount_bits=64", "cluster_size=512",
         "extended_l2=on"]


def tool(*words):
    subprocess.run(list(map(str, words)), stdout=subprocess.DEVNULL, check=True, timeout=60)


@pytest.fixture(scope="module", name="made")
def images(tmp_path_factory):
    """Images by their options, each made once: 1 MiB of data and 7 MiB that were never written."""
    folder, known = tmp_path_factory.mktemp("lost-counts"), {}

    def make(options, *writes):
        path = folder / f"{len(known)}.qcow2"
        if (options, writes) not in known:
            tool("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                 options.replace("FILE", f"{path}.data"), path, 8 << 20)
            commands = [word for text in ("write -P 7 0 1M", *writes) for word in ("-c", text)]
            tool("qemu-io", "-f", "qcow2", *commands, path)
            known[options, writes] = path
        return known[options, writes]
    return make


class Image:
    """A copy of an image, to be damaged."""

    def __init__(self, path, copy):
        shutil.copy(path, copy)
        self.path = copy
        with open(copy, "rb") as stream:
            head = stream.read(104)
        self.cluster = 1 << int.from_bytes(head[20:24], "big")
        self.l1, self.table = struct.unpack(">QQ", head[40:56])
        self.l1_bytes = 8 * int.from_bytes(head[36:40], "big")
        self.width = 1 << int.from_bytes(head[96:100], "big") if head[7] > 2 else 16
        self.table_bytes = int.from_bytes(head[56:60], "big") * self.cluster

    def number(self, at):
        with open(self.path, "rb") as stream:
            stream.seek(at)
            return int.from_bytes(stream.read(8), "big")

    def put(self, at, data):
        with open(self.path, "r+b") as stream:
            stream.seek(at)
            stream.write(data)

    def lose_counts(self, how):
        blocks = [self.number(at) for at in range(self.table, self.table + self.table_bytes, 8)]
        if how == "pointer":
            self.put(48, bytes(8))
        elif how == "table":
            self.put(self.table, bytes(self.table_bytes))
        for index, at in enumerate(block for block in blocks if block):
            if how == "blocks":
                self.put(at, bytes(self.cluster))
            elif how == "unaligned":
                self.put(self.table + 8 * index, (at + 512 if self.cluster > 512 else
                                                  at + 256).to_bytes(8, "big"))
            elif how == "beyond":
                self.put(self.table + 8 * index, (1 << 40).to_bytes(8, "big"))
            elif how == "elsewhere":
                self.put(self.table + 8 * index, self.l1.to_bytes(8, "big"))

    def free_bytes(self):
        """Of what the guest wrote, how much is in no cluster that counts as used."""
        size, pattern = os.path.getsize(self.path), bytes([7]) * 512
        table, used = self.number(48), 0
        with open(self.path, "rb") as stream:
            data = stream.read()
        for cluster in range(size // self.cluster):
            index, at = divmod(cluster, self.cluster * 8 // self.width)
            block = int.from_bytes(data[table + 8 * index:][:8], "big")
            if self.width < 8:
                count = data[block + at * self.width // 8] >> at * self.width % 8
                count &= (1 << self.width) - 1
            else:
                step = self.width // 8
                count = int.from_bytes(data[block + at * step:][:step], "big")
            start = cluster * self.cluster
            if block and count and data[start:start + 512] == pattern:
                used += min(self.cluster, DATA)
        return DATA - used

    def repair(self, *words):
        done = run("repair", "-j", "--no-undo", *words, self.path)
        return done.returncode, json.loads(done.stdout)


HOW = ("pointer", "table", "blocks", "unaligned", "beyond", "elsewhere")


def cases():
    """Every kind of image, and every loss for the first one."""
    return [(kind, HOW[(number + i) % len(HOW)]) for number, kind in enumerate(KINDS)
            for i in range(len(HOW) if number == 0 else 1)]


@pytest.mark.parametrize("kind, how", cases())
def test_what_a_lost_l1_entry_mapped_stays_in_use(made, tmp_path, kind, how):
    image = Image(made(kind), tmp_path / "a.qcow2")
    image.put(image.l1, bytes(image.l1_bytes))
    image.lose_counts(how)
    code, document = image.repair()
    assert code == 3 and image.free_bytes() == 0
    assert "lost data of the guest" in json.dumps(document["left"])
    assert image.repair()[0] == 3 and image.free_bytes() == 0
    if kind == "cluster_size=512":
        return  # nothing tells the places of many small tables
    # What was lost is found again.
    assert run("rescue", "--apply", "--no-undo", image.path).returncode in (0, 3)
    tool("qemu-io", "-f", "qcow2", "-r", "-c", f"read -P 7 0 {DATA}", image.path)


@pytest.mark.parametrize("kind, how", cases()[:10])
def test_lost_refcounts_alone_leave_a_sound_image(made, tmp_path, kind, how):
    image = Image(made(kind), tmp_path / "a.qcow2")
    image.lose_counts(how)
    assert image.repair()[0] == 0 and image.free_bytes() == 0
    tool("qemu-img", "check", "-q", image.path)
    empty = Image(made(kind), tmp_path / "b.qcow2")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", kind, empty.path, 8 << 20)
    empty = Image(empty.path, tmp_path / "c.qcow2")
    empty.lose_counts(how)
    assert empty.repair()[0] == 0
    tool("qemu-img", "check", "-q", empty.path)


def test_free_lost_frees_them(made, tmp_path):
    image = Image(made(KINDS[0]), tmp_path / "a.qcow2")
    image.put(image.l1, bytes(image.l1_bytes))
    image.lose_counts("unaligned")
    assert image.repair("--free-lost")[0] == 0 and image.free_bytes() == DATA


@pytest.mark.parametrize("words", [["--all"], ["--only=refcounts"]])
def test_other_extents_spare_them_as_well(made, tmp_path, words):
    image = Image(made(KINDS[0]), tmp_path / "a.qcow2")
    image.put(image.l1, bytes(image.l1_bytes))
    image.lose_counts("table")
    assert image.repair(*words)[0] == 3 and image.free_bytes() == 0


def test_given_up_entries_spare_what_nothing_counts(made, tmp_path):
    """The L1 entry is nonsense, and --all gives it up."""
    image = Image(made(KINDS[0]), tmp_path / "a.qcow2")
    image.put(image.l1, (0x123456789abcd << 9).to_bytes(8, "big"))
    image.lose_counts("blocks")
    assert image.repair("--all")[0] == 3 and image.free_bytes() == 0


@pytest.mark.parametrize("how", ["table", "beyond"])
def test_lost_l2_entries_spare_what_they_led_to(made, tmp_path, how):
    image = Image(made("cluster_size=4k"), tmp_path / "a.qcow2")
    l2 = image.number(image.l1) & 0x00fffffffffffe00
    image.put(l2 + 512, bytes(512))
    image.lose_counts(how)
    assert image.repair()[0] == 3 and image.free_bytes() == 0


def test_lost_table_of_a_snapshot(made, tmp_path):
    image = Image(made(KINDS[0]), tmp_path / "a.qcow2")
    tool("qemu-img", "snapshot", "-c", "one", image.path)
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 8 0 1M", image.path)
    image = Image(image.path, tmp_path / "b.qcow2")
    snapshot_l1 = image.number(image.number(64))
    image.put(snapshot_l1, bytes(8))
    image.lose_counts("pointer")
    assert image.repair()[0] == 3 and image.free_bytes() == 0
