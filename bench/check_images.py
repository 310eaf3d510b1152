# SPDX-License-Identifier: MIT
"""Makes the large images on which `qcow2 check` is measured: metadata only, the data are holes.

All are sound; bench/run lets `qemu-img check` say so where it gets done before long.
"""

import array
import os
import random
import struct
import sys

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
TIB, GIB = 1 << 40, 1 << 30
COPIED = 1 << 63
SEED = 7919  # the same images in every run


def big_endian(values, code="Q"):
    words = array.array(code, values)
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes()


def ceil(value, divisor):
    return -(-value // divisor)


class Image:
    """Clusters are handed out from the start of the file on; each is counted once."""

    def __init__(self, path, size, extended=False):
        self.file = open(path, "wb")
        self.size = size
        self.extended = extended
        self.guests = ceil(size, CLUSTER)
        self.per_table = CLUSTER // (16 if extended else 8)
        self.next = 1  # the header's

    def take(self, count):
        first = self.next
        self.next += count
        return first

    def put(self, cluster, data):
        self.file.seek(cluster * CLUSTER)
        self.file.write(data)

    def tables(self, hosts, flag, first):
        """Writes L2 tables for the host clusters of all guest clusters (0: none); their entries."""
        for number in range(ceil(self.guests, self.per_table)):
            part = hosts[number * self.per_table:(number + 1) * self.per_table]
            entries = [host << CLUSTER_BITS | flag if host else 0 for host in part]
            if self.extended:
                both = [0] * (2 * len(entries))
                both[::2] = entries
                both[1::2] = [0xffffffff if entry else 0 for entry in entries]
                entries = both
            self.put(first + number, big_endian(entries))
        return [(first + number) << CLUSTER_BITS | flag
                for number in range(ceil(self.guests, self.per_table))]

    def finish(self, l1, l1_size, counts, snapshots=(0, 0)):
        """counts: {first cluster: (clusters, refcount)} of those that are not used just once."""
        per_block = CLUSTER // 2
        table_clusters = ceil((self.next // per_block + 4) * 8, CLUSTER)
        reftable = self.take(table_clusters)
        blocks = 0
        while blocks < ceil(self.next + blocks, per_block):
            blocks += 1
        first = self.take(blocks)
        refcounts = array.array("H", [1]) * self.next
        for start, (clusters, count) in counts.items():
            refcounts[start:start + clusters] = array.array("H", [count]) * clusters
        self.put(first, big_endian(refcounts, "H"))
        self.put(reftable, big_endian([(first + i) << CLUSTER_BITS for i in range(blocks)]))
        self.put(0, struct.pack(
            ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, CLUSTER_BITS, self.size, 0, l1_size,
            l1 << CLUSTER_BITS, reftable << CLUSTER_BITS, table_clusters, snapshots[0],
            snapshots[1] << CLUSTER_BITS, 16 if self.extended else 0, 0, 0, 4, 104))
        self.file.truncate(self.next * CLUSTER)
        self.file.close()


def disk(path, size, hosts_from, extended=False):
    """An image whose guest clusters are where hosts_from(number of the first free cluster) says."""
    image = Image(path, size, extended)
    tables = ceil(image.guests, image.per_table)
    l1 = image.take(ceil(tables * 8, CLUSTER))
    first = image.take(tables)
    hosts, used = hosts_from(image, image.next)
    image.take(used)
    image.put(l1, big_endian(image.tables(hosts, COPIED, first)))
    image.finish(l1, tables, {})
    return path


def in_order(image, first):
    return range(first, first + image.guests), image.guests


def shuffled(image, first):
    hosts = list(range(first, first + image.guests))
    random.Random(SEED).shuffle(hosts)
    return hosts, image.guests


def scattered(image, first):
    """Half of the disk, in runs of 1 to 64 clusters whose order in the file is random."""
    rng = random.Random(SEED)
    runs, at = [], 0
    while at < image.guests:
        length = min(rng.randint(1, 64), image.guests - at)
        runs.append((at, length))
        at += length
    chosen = [run for run in runs if rng.random() < 0.5]
    rng.shuffle(chosen)
    hosts, used = [0] * image.guests, 0
    for at, length in chosen:
        hosts[at:at + length] = range(first + used, first + used + length)
        used += length
    return hosts, used


def snapshot_rows(l1s, tables, size):
    """The entries of snapshots 1, 2, ... with their L1 tables at these clusters."""
    rows = b""
    for i, l1 in enumerate(l1s):
        name = b"%d" % (i + 1)
        row = struct.pack(">QIHHIIQII", l1 << CLUSTER_BITS, tables, len(name), len(name), 0, 0, 0, 0,
                          16) + struct.pack(">QQ", 0, size) + name + name
        rows += row + bytes(-len(row) % 8)
    return rows


def diverged(path, size, every):
    """A shuffled disk with two snapshots that are the same, since which one cluster in `every` was written."""
    image = Image(path, size)
    tables = ceil(image.guests, image.per_table)
    l1_clusters = ceil(tables * 8, CLUSTER)
    l1 = image.take(3 * l1_clusters)
    old, new = image.take(tables), image.take(tables)
    hosts, used = shuffled(image, image.next)
    data = image.take(used)
    then = big_endian(image.tables(hosts, 0, old))
    counts = {data: (used, 3), old: (tables, 2)}
    for guest in range(0, image.guests, every):
        counts[hosts[guest]] = (1, 2)
        hosts[guest] = image.take(1) | COPIED >> CLUSTER_BITS  # as nobody else has it
    now = image.tables(hosts, 0, new)
    for i, table in enumerate([big_endian([entry | COPIED for entry in now]), then, then]):
        image.put(l1 + i * l1_clusters, table)
    rows = snapshot_rows([l1 + l1_clusters, l1 + 2 * l1_clusters], tables, size)
    table = image.take(1)
    image.put(table, rows)
    image.finish(l1, tables, counts, (2, table))
    return path


def snapshots(path, size, count):
    """A full disk and snapshots that all share its L2 tables and data."""
    image = Image(path, size)
    tables = ceil(image.guests, image.per_table)
    l1 = image.take(count + 1)
    first = image.take(tables)
    data = image.take(image.guests)
    entries = image.tables(range(data, data + image.guests), 0, first)
    for i in range(count + 1):
        image.put(l1 + i, big_endian(entries))
    rows = snapshot_rows(range(l1 + 1, l1 + 1 + count), tables, size)
    table = image.take(ceil(len(rows), CLUSTER))
    image.put(table, rows)
    image.finish(l1, tables, {first: (tables, count + 1), data: (image.guests, count + 1)},
                 (count, table))
    return path


def growth(folder):
    """Makes disks that are full and in order, one after another: (title, path).

    With its metadata, a full disk of 16 TiB would not fit ext4's largest file.
    """
    for title, size in (("1 GiB", GIB), ("16 GiB", 16 * GIB), ("256 GiB", 256 * GIB),
                        ("1 TiB", TIB), ("4 TiB", 4 * TIB), ("15 TiB", 15 * TIB)):
        yield title, disk(os.path.join(folder, "growth.qcow2"), size, in_order)


def all_images(folder):
    """Makes one after another: (title, path, how many times the time of reading a check may take,
    whether qemu-img gets done with it before long)."""
    for title, name, factor, peer, make in (
            ("1 TiB in order", "order", 4, True, lambda p: disk(p, TIB, in_order)),
            ("1 TiB half full, scattered runs", "scattered", 6, True,
             lambda p: disk(p, TIB, scattered)),
            ("1 TiB shuffled", "shuffled", 6, False, lambda p: disk(p, TIB, shuffled)),
            ("1 TiB, extended L2", "extended", 4, True,
             lambda p: disk(p, TIB, in_order, extended=True)),
            ("64 GiB, 100 snapshots that share all", "snapshots", 4, True,
             lambda p: snapshots(p, 64 * GIB, 100))):
        yield title, make(os.path.join(folder, name + ".qcow2")), factor, peer
