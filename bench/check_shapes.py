# SPDX-License-Identifier: MIT
"""More images on which `qcow2 check` is measured: small clusters, compressed ones, many bitmaps."""

import array
import os
import random
import struct

import check_images
import targets
from check_images import COPIED, GIB, SEED, TIB, big_endian, ceil

COMPRESSED = 1 << 62


class Writer:
    """A file of clusters of any size, which are handed out from its start on."""

    def __init__(self, path, cluster_bits):
        self.file = open(path, "wb")
        self.bits, self.cluster = cluster_bits, 1 << cluster_bits
        self.next = 1

    def take(self, count):
        first = self.next
        self.next += count
        return first

    def put(self, cluster, data, skip=0):
        self.file.seek((cluster << self.bits) + skip)
        self.file.write(data)

    def finish(self, size, l1, l1_size, counts, *, features=(0, 0, 0), extensions=b""):
        """Refcounts of 16 bits, which are 1 where counts, {cluster: refcount}, does not say more."""
        per_block, blocks = self.cluster // 2, 0
        while True:
            table_clusters = ceil(blocks * 8, self.cluster) or 1
            needed = ceil(self.next + table_clusters + blocks, per_block)
            if needed <= blocks:
                break
            blocks = needed
        table, first = self.take(table_clusters), self.take(blocks)
        self.refcounts(first, counts)
        self.put(table, big_endian(range(first << self.bits, (first + blocks) << self.bits,
                                         self.cluster)))
        header = struct.pack(
            ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, self.bits, size, 0, l1_size,
            l1 << self.bits, table << self.bits, table_clusters, 0, 0, *features, 4, 104)
        self.put(0, header + extensions)
        self.file.truncate(self.next << self.bits)
        self.file.close()

    def refcounts(self, first, counts):
        step = 1 << 22
        for begin in range(0, self.next, step):
            part = array.array("H", [1]) * min(step, self.next - begin)
            for cluster in counts:
                if begin <= cluster < begin + len(part):
                    part[cluster - begin] = counts[cluster]
            self.put(first, big_endian(part, "H"), begin * 2)


def small_clusters(path, size=64 * GIB):
    """A full disk, in order, in clusters of 512 bytes."""
    image = Writer(path, 9)
    guests = size >> 9
    tables = ceil(guests, 64)
    l1 = image.take(ceil(tables * 8, 512))
    first = image.take(tables)
    data = image.take(guests)
    image.put(l1, big_endian(range(COPIED | first << 9, COPIED | (first + tables) << 9, 512)))
    step = 1 << 20
    for begin in range(0, guests, step):
        end = min(begin + step, guests)
        image.put(first, big_endian(range(COPIED | (data + begin) << 9, COPIED | (data + end) << 9,
                                          512)), begin * 8)
    image.finish(size, l1, tables, {})
    return path


def half_compressed(path, size=64 * GIB):
    """Of each 32 guest clusters 16 are compressed, to 2 to 40 KiB, one right behind the other."""
    image, chance = Writer(path, 16), random.Random(SEED)
    guests = size >> 16
    tables = ceil(guests, 8192)
    l1, first = image.take(1), image.take(tables)
    plain = image.take(guests // 2)
    at = image.next << 16
    entries, counts = [], {}
    for guest in range(guests):
        if guest // 16 % 2 == 0:
            entries.append(COPIED | (plain + guest // 32 * 16 + guest % 16) << 16)
            continue
        length = chance.randrange(2048, 40960)
        sectors = (at + length - 1) // 512 - at // 512
        entries.append(COMPRESSED | sectors << 54 | at)
        # the refcount of a cluster is the number of compressed clusters that touch it
        for cluster in range(at >> 16, (((at // 512 + sectors + 1) * 512 - 1) >> 16) + 1):
            counts[cluster] = counts.get(cluster, 0) + 1
        at += length
    image.next = max(counts) + 1
    image.put(first, big_endian(entries))
    image.put(l1, big_endian(range(COPIED | first << 16, COPIED | (first + tables) << 16, 65536)))
    image.finish(size, l1, tables, counts)
    return path


def some_subclusters(path, size=TIB):
    """A full disk with extended L2 entries, of which one in four has half of its subclusters."""
    image = Writer(path, 16)
    guests = size >> 16
    tables = ceil(guests, 4096)
    l1 = image.take(ceil(tables * 8, 65536))
    first, data = image.take(tables), image.take(guests)
    for number in range(tables):
        entries = []
        for guest in range(number * 4096, (number + 1) * 4096):
            entries += (COPIED | (data + guest) << 16, 0xffff if guest % 4 == 0 else 0xffffffff)
        image.put(first + number, big_endian(entries))
    image.put(l1, big_endian(range(COPIED | first << 16, COPIED | (first + tables) << 16, 65536)))
    image.finish(size, l1, tables, {}, features=(16, 0, 0))
    return path


def named_bitmaps(path, count=65535, size=GIB):
    """An empty disk with bitmaps that have names of 1,000 bytes, and a table each."""
    image = Writer(path, 16)
    l1 = image.take(1)
    rows = bytearray()
    tables = image.take(count)
    for number in range(count):
        name = b"%07d-" % number + b"n" * 992
        rows += struct.pack(">QIIBBHI", (tables + number) << 16, 1, 2, 1, 16, len(name), 0) + name
        image.put(tables + number, b"\0" * 8)
    directory = image.take(ceil(len(rows), 65536))
    image.put(directory, rows)
    extension = struct.pack(">IIIIQQ", 0x23852875, 24, count, 0, len(rows), directory << 16)
    image.finish(size, l1, ceil(size >> 16, 8192), {}, features=(0, 0, 1), extensions=extension)
    return path


def all_images(folder):
    """Makes one after another: (title, path, how many times the time of reading a check may take,
    how many times faster than qemu-img check it has to be).

    None: qemu-img takes minutes. 0: it is fast, too.
    """
    for title, path, slow in check_images.terabytes(folder):
        yield title, path, targets.CHECK_READINGS[title], None if slow else targets.CHECK
    for title, make, faster in (
            ("1 TiB, extended L2, one entry in four with subclusters", some_subclusters,
             targets.CHECK),
            ("64 GiB, 100 snapshots that share all",
             lambda path: check_images.snapshots(path, 64 * GIB, 100), targets.CHECK),
            ("64 GiB, 100 snapshots, tables rewritten between",
             lambda path: check_images.rewritten(path, 64 * GIB, 100), targets.CHECK),
            ("64 GiB, half compressed", half_compressed, 0),
            ("64 GiB in clusters of 512 bytes", small_clusters, None),
            ("65,535 bitmaps with names of 1,000 bytes", named_bitmaps, None)):
        yield (title, make(os.path.join(folder, "shape.qcow2")), targets.CHECK_READINGS[title],
               faster)
