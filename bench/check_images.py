# SPDX-License-Identifier: MIT
"""Makes the large images on which `qcow2 check` is measured: metadata only, the data are holes.

All are sound; bench/run lets `qemu-img check` say so where it gets done before long.
"""

import array
import os
import random
import struct
import subprocess
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


def other_entries(path, copy, count=1000):
    """A copy of an image of disk() in which so many L2 entries have lost their copied flag."""
    chance = random.Random(SEED)
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    with open(copy, "r+b") as file:
        file.seek(40)
        l1_at = struct.unpack(">Q", file.read(8))[0]
        file.seek(l1_at)
        first = struct.unpack(">Q", file.read(8))[0] & ~COPIED
        for entry in chance.sample(range(TIB // CLUSTER), count):
            file.seek(first + 8 * entry)
            old = struct.unpack(">Q", file.read(8))[0]
            file.seek(first + 8 * entry)
            file.write(struct.pack(">Q", old & ~COPIED))
    return copy


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


def diverged(path, size, every):
    """A shuffled disk and two snapshots that are alike; since then one cluster in `every` was written."""
    image = Image(path, size)
    tables = ceil(image.guests, image.per_table)
    l1 = image.take(3)
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
        image.put(l1 + i, table)
    table = image.take(1)
    image.put(table, snapshot_rows(size, l1 + 1, tables, 2))
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
    rows = snapshot_rows(size, l1 + 1, tables, count)
    table = image.take(ceil(len(rows), CLUSTER))
    image.put(table, rows)
    image.finish(l1, tables, {first: (tables, count + 1), data: (image.guests, count + 1)},
                 (count, table))
    return path


class History:
    """A full disk whose L2 tables are written anew between snapshots."""

    def __init__(self, image):
        self.image, self.rng = image, random.Random(SEED)
        self.counts = array.array("H", [0]) * (1 << 23)  # of host clusters
        self.hosts, self.born, self.tables, self.table_born = [], [], [], []

    def begin(self):
        """All data and tables are of state 0."""
        data = self.image.take(self.image.guests)
        self.hosts = list(range(data, data + self.image.guests))
        self.born = [0] * self.image.guests
        count = ceil(self.image.guests, self.image.per_table)
        self.tables = [self.image.take(1) for _ in range(count)]
        self.table_born = [0] * count

    def write(self, number, now, last):
        """A table as it is from state `now` on; what only the last state has is copied."""
        part = range(number * self.image.per_table, (number + 1) * self.image.per_table)
        self.image.put(self.tables[number], big_endian(
            [self.hosts[i] << CLUSTER_BITS | (COPIED if last and self.born[i] == now else 0)
             for i in part]))

    def rewrite(self, now, last):
        """State `now` begins: 30 % of the tables have a tenth of their clusters elsewhere."""
        count, per_table = len(self.tables), self.image.per_table
        for number in self.rng.sample(range(count), count * 3 // 10):
            self.counts[self.tables[number]] = now - self.table_born[number]
            self.tables[number], self.table_born[number] = self.image.take(1), now
            for i in range(self.rng.randrange(10), per_table, 10):
                guest = number * per_table + i
                self.counts[self.hosts[guest]] = now - self.born[guest]
                self.hosts[guest], self.born[guest] = self.image.take(1), now
            self.write(number, now, last)

    def end(self, states):
        for clusters, born in ((self.hosts, self.born), (self.tables, self.table_born)):
            for cluster, since in zip(clusters, born):
                self.counts[cluster] = states - since

    def l1(self, now, last):
        return big_endian([table << CLUSTER_BITS | (COPIED if last and since == now else 0)
                           for table, since in zip(self.tables, self.table_born)])


def snapshot_rows(size, l1_at, l1_size, count):
    """The snapshot table: the L1 tables follow each other, a cluster each."""
    rows = b""
    for i in range(count):
        name = b"%d" % (i + 1)
        row = struct.pack(">QIHHIIQII", (l1_at + i) << CLUSTER_BITS, l1_size, len(name),
                          len(name), 0, 0, 0, 0, 16) + struct.pack(">QQ", 0, size) + name + name
        rows += row + bytes(-len(row) % 8)
    return rows


def rewritten(path, size, count):
    """A full disk and snapshots, between which 30 % of its L2 tables were written anew, with a tenth
    of their clusters moved."""
    image = Image(path, size)
    history = History(image)
    l1 = image.take(count + 1)  # the active one first
    history.begin()
    for number in range(len(history.tables)):
        history.write(number, 0, False)
    for now in range(count + 1):
        last = now == count
        if now > 0:
            history.rewrite(now, last)
        image.put(l1 if last else l1 + 1 + now, history.l1(now, last))
    history.end(count + 1)
    rows = snapshot_rows(size, l1 + 1, len(history.tables), count)
    table = image.take(ceil(len(rows), CLUSTER))
    image.put(table, rows)
    counts = {i: (1, n) for i, n in enumerate(history.counts[:image.next]) if n > 1}
    image.finish(l1, len(history.tables), counts, (count, table))
    return path


def growth(folder):
    """Makes disks that are full and in order, one after another: (title, path).

    With its metadata, a full disk of 16 TiB would not fit ext4's largest file.
    """
    for title, size in (("1 GiB", GIB), ("16 GiB", 16 * GIB), ("256 GiB", 256 * GIB),
                        ("1 TiB", TIB), ("4 TiB", 4 * TIB), ("15 TiB", 15 * TIB)):
        yield title, disk(os.path.join(folder, "growth.qcow2"), size, in_order)


def terabytes(folder):
    """Makes disks of 1 TiB, one after another: (title, path, whether qemu-img is slow with it)."""
    for title, hosts_from, slow in (("1 TiB in order", in_order, False),
                                    ("1 TiB half full, scattered runs", scattered, False),
                                    ("1 TiB shuffled", shuffled, True)):
        yield title, disk(os.path.join(folder, "terabyte.qcow2"), TIB, hosts_from), slow
