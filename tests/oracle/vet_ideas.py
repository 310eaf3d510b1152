# SPDX-License-Identifier: MIT
# Images that are small and that programs may need long for, each at a scale that can be chosen. What
# is not put into a file is a hole. See vet_attack.py.
"""Ideas to attack qemu-img with."""
import struct
import zlib

COPIED = 1 << 63


class Sparse:
    """An image put together byte by byte: what is not put is a hole."""

    def __init__(self, cluster_bits=16, size=1 << 30, **fields):
        self.cluster = 1 << cluster_bits
        self.pieces = []
        self.next = self.cluster
        self.length = 0
        self.header = {"version": 3, "backing_offset": 0, "backing_size": 0, "cluster_bits": cluster_bits,
                       "size": size, "crypt": 0, "l1_size": 0, "l1": 0, "reftable": 0, "reftable_clusters": 1,
                       "nb_snapshots": 0, "snapshots": 0, "incompatible": 0, "compatible": 0, "autoclear": 0,
                       "order": 4, "length": 112, **fields}
        self.extensions = b""
        self.refblocks = []

    def take(self, size):
        """Room for so many bytes, from a cluster's start."""
        at = self.next
        self.next += -(-size // self.cluster) * self.cluster
        return at

    def put(self, at, data):
        self.pieces.append((at, data))

    def add(self, data):
        at = self.take(len(data))
        self.put(at, data)
        return at

    def entries(self):
        """How many entries an L2 table has."""
        return self.cluster // (16 if self.header["incompatible"] & 16 else 8)

    def l1_for(self, tables, entries=None):
        """An L1 table that leads to these tables."""
        span = self.entries() * self.cluster
        count = max(entries or 0, -(-self.header["size"] // span), len(tables), 1)
        self.header["l1_size"] = count
        self.header["l1"] = self.take(count * 8)
        self.put(self.header["l1"], b"".join(struct.pack(">Q", table | COPIED if table else 0) for table in tables))

    def refcounts(self):
        """A refcount of 1 for each cluster that was taken, its own ones as well."""
        bits = 1 << self.header["order"]
        per_block = self.cluster * 8 // bits
        blocks = table_clusters = 1
        while True:
            clusters = self.next // self.cluster + blocks + table_clusters
            if blocks * per_block >= clusters and table_clusters * self.cluster >= blocks * 8:
                break
            blocks = -(-clusters // per_block)
            table_clusters = -(-blocks * 8 // self.cluster)
        table = self.take(table_clusters * self.cluster)
        first = self.take(blocks * self.cluster)
        self.header["reftable"], self.header["reftable_clusters"] = table, table_clusters
        self.put(table, b"".join(struct.pack(">Q", first + i * self.cluster) for i in range(blocks)))
        ones = {0: b"\xff", 1: b"\x55", 2: b"\x11"}.get(self.header["order"]) or (b"\1".rjust(bits // 8, b"\0"))
        self.put(first, (ones * (clusters * bits // 8 // len(ones) + 1))[:-(-clusters * bits // 8)])

    def refcounts_of_all(self, table):
        """Lets one block of refcounts of 1 count for every part of the file."""
        block = self.add(b"\xff" * self.cluster)
        count = min(-(-self.length // (self.cluster * self.cluster * 8)), 1 << 20)
        self.put(table, words(*[block] * count))

    def extension(self, magic, data):
        self.extensions += struct.pack(">II", magic, len(data)) + data + bytes(-len(data) % 8)

    def write(self, path):
        h = self.header
        if not h["reftable"]:
            self.refcounts()
        raw = struct.pack(">4sIQIIQIIQQIIQQQQIIB7x", b"QFI\xfb", h["version"], h["backing_offset"],
                          h["backing_size"], h["cluster_bits"], h["size"], h["crypt"], h["l1_size"], h["l1"],
                          h["reftable"], h["reftable_clusters"], h["nb_snapshots"], h["snapshots"],
                          h["incompatible"] | (8 if h.get("compression") else 0), h["compatible"], h["autoclear"],
                          h["order"], h["length"], h.get("compression", 0))
        with open(path, "wb") as stream:
            stream.truncate(max(self.length, self.next))
            for at, data in self.pieces:
                stream.seek(at)
                stream.write(data)
            stream.seek(0)
            stream.write(raw + self.extensions)


IDEAS = {}


def idea(low, high):
    """A function that makes an image of a scale between these."""
    def register(function):
        IDEAS[function.__name__] = function, low, high
        return function
    return register


def words(*numbers):
    return struct.pack(f">{len(numbers)}Q", *numbers)


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


def compressed(image, at, size):
    """The L2 entry of a compressed cluster."""
    return 1 << 62 | (at % 512 + size - 1) // 512 << 70 - image.header["cluster_bits"] | at


def of_tables(image, raw, count):
    """Gives the disk so many L2 tables of these bytes."""
    image.header["size"] = count * image.entries() * image.cluster
    image.l1_for([image.add(raw) for _ in range(count)])
    return image


def with_snapshots(image, l1, l1_size, count):
    """Snapshots that share one L1 table."""
    rows = b""
    for index in range(count):
        name = b"%d" % index
        row = struct.pack(">QIHHIIQII", l1, l1_size, len(name), len(name), 0, 0, 0, 0, 16)
        row += words(0, image.header["size"]) + name + name
        rows += row + bytes(-len(row) % 8)
    image.header["snapshots"] = image.add(rows)
    image.header["nb_snapshots"] = count
    return image


def with_snapshots_of(image, raw, count):
    """One L2 table of these bytes, for the disk and for all snapshots."""
    image.header["size"] = image.entries() * image.cluster
    image.l1_for([image.add(raw)])
    table = image.pieces[-2][0]
    return with_snapshots(image, image.add(words(table)), 1, count)


def with_bitmaps(image, count, granularity_bits, raw, flags=0, shared=False):
    """Bitmaps, each with a table of these bytes."""
    tables = [image.add(raw)] * count if shared else [image.add(raw) for _ in range(count)]
    rows = b""
    for index, table in enumerate(tables):
        name = b"%d" % index
        row = struct.pack(">QIIBBHI", table, len(raw) // 8, flags, 1, granularity_bits, len(name), 0) + name
        rows += row + bytes(-len(row) % 8)
    at = image.add(rows)
    image.extension(0x23852875, struct.pack(">IIQQ", count, 0, len(rows), at))
    image.header["autoclear"] |= 1
    return image


def empty(cluster_bits, size, **fields):
    image = Sparse(cluster_bits, size, **fields)
    image.l1_for([])
    return image


# ---- files that are mostly holes ----

@idea(1 << 20, 1 << 34)
def clusters_in_holes(scale):
    """So many clusters of 512 bytes, all of them holes but the first."""
    image = empty(9, 1 << 30, order=0)
    image.refcounts()
    image.length = min(scale * 512, 15 << 40)
    return image


@idea(1 << 20, 1 << 32)
def refcounts_in_holes(scale):
    """The same, with a refcount table that covers the whole file."""
    image = empty(16, 1 << 30, order=0)
    image.length = min(scale * 65536, 15 << 40)
    image.header["reftable"] = image.take(8 << 20)
    image.header["reftable_clusters"] = 128
    image.refcounts_of_all(image.header["reftable"])
    return image


@idea(1, 512)
def leaks(scale):
    """All refcounts set, by one block that so many entries of the table lead to."""
    image = empty(16, 1 << 30, order=0)
    image.length = scale * 524288 * 65536
    if image.length > 15 << 40:
        image.length = 15 << 40
    block = image.add(b"\xff" * image.cluster)
    image.header["reftable"] = image.add(words(*[block] * scale))
    return image


@idea(1 << 10, 1 << 20)
def one_refcount_block(scale):
    """A refcount table that leads to one block so often."""
    image = empty(16, 1 << 30)
    block = image.add(b"\xff" * image.cluster)
    image.header["reftable"] = image.add(words(block) * scale)
    image.header["reftable_clusters"] = -(-scale * 8 // 65536)
    return image


@idea(1 << 10, 1 << 20)
def refcount_blocks_of_nothing(scale):
    """A refcount table whose entries, but the first, lead behind the end."""
    image = empty(16, 1 << 30)
    block = image.add(words(0x0001000100010001) * 8192)
    image.header["reftable"] = image.add(words(block, *[(1 << 50) + i * 65536 for i in range(scale - 1)]))
    image.header["reftable_clusters"] = -(-scale * 8 // 65536)
    return image


# ---- L2 tables ----

@idea(1 << 12, 4 << 20)
def small_tables(scale):
    """L2 tables of 512 bytes, in holes."""
    image = Sparse(9, scale * 64 * 512)
    first = image.take(scale * 512)
    image.l1_for([first + i * 512 for i in range(scale)])
    return image


@idea(1 << 8, 1 << 17)
def empty_tables(scale):
    """L2 tables of 64 KiB, in holes."""
    image = Sparse(16, scale << 29)
    first = image.take(scale * image.cluster)
    image.l1_for([first + i * image.cluster for i in range(scale)])
    return image


@idea(1, 128)
def empty_tables_2m(scale):
    image = Sparse(21, scale << 39)
    first = image.take(scale * image.cluster)
    image.l1_for([first + i * image.cluster for i in range(scale)])
    return image


@idea(1 << 10, 4 << 20)
def no_tables(scale):
    """An L1 table that leads nowhere, as qemu-img makes it for clusters of 512 bytes."""
    return empty(9, scale * 64 * 512)


@idea(1, 2000)
def subclusters(scale):
    """Every other subcluster reads as zeros by its own bit."""
    image = Sparse(16, 1, incompatible=16)
    return of_tables(image, words(0, 0x55555555 << 32) * image.entries(), scale)


@idea(1, 2000)
def zeros_between(scale):
    """Every other cluster reads as zeros."""
    image = Sparse()
    return of_tables(image, words(0, 1) * 4096, scale)


@idea(1 << 12, 1 << 22)
def fragments(scale):
    """Clusters of 512 bytes in reverse order, in holes: each is an extent."""
    scale -= scale % 64
    image = Sparse(9, scale * 512)
    first = image.take(scale * 512)
    image.l1_for([image.add(words(*[COPIED | first + (scale - 1 - i) * 512 for i in range(begin, begin + 64)]))
                  for begin in range(0, scale, 64)])
    return image


# ---- data that is used more than once ----

@idea(1, 1000)
def shared_data(scale):
    """Every cluster of the disk is the same one."""
    image = Sparse()
    data = image.add(b"x" * image.cluster)
    return of_tables(image, words(data) * 8192, scale)


@idea(1, 2000)
def data_in_holes(scale):
    """Clusters in holes that have no refcounts, so that they do not look preallocated."""
    image = Sparse(16, scale << 29)
    tables = [image.add(words(*[COPIED | (scale + i + index * 8192 + 64) * 65536 for i in range(8192)]))
              for index in range(scale)]
    image.l1_for(tables)
    image.refcounts()
    image.length = (scale * 8193 + 128) * 65536
    return image


@idea(1, 1000)
def small_data(scale):
    """Clusters of 512 bytes, all of them the same one."""
    image = Sparse(9)
    data = image.add(b"x" * 512)
    return of_tables(image, words(data) * 64, scale * 64)


@idea(1, 1000)
def shared_compressed(scale):
    image = Sparse()
    packed = deflated(b"x" * image.cluster)
    return of_tables(image, words(compressed(image, image.add(packed), len(packed))) * 8192, scale)


@idea(1, 262144)
def shared_compressed_2m(scale):
    """So many clusters of 2 MiB from one L2 table."""
    image = Sparse(21)
    packed = deflated(b"x" * image.cluster)
    return of_tables(image, words(compressed(image, image.add(packed), len(packed))) * scale, 1)


@idea(1, 262144)
def slow_compressed(scale):
    """A cluster of 2 MiB behind empty blocks: much to read for nothing."""
    image = Sparse(21)
    packed = b"\0\0\0\xff\xff" * 700000 + deflated(b"x" * image.cluster)
    return of_tables(image, words(compressed(image, image.add(packed), len(packed))) * scale, 1)


@idea(1, 1000)
def small_compressed(scale):
    """Clusters of 512 bytes, compressed."""
    image = Sparse(9)
    packed = deflated(b"x" * 512)
    entry = compressed(image, image.add(packed), len(packed))
    return of_tables(image, words(entry) * 64, scale * 64)


@idea(1, 262144)
def zstd_window(scale):
    """A frame that asks for a window of 128 MiB."""
    image = Sparse(21, compression=1)
    block = struct.pack("<I", 0x20000 << 3 | 2)[:3] + b"x"
    packed = b"\x28\xb5\x2f\xfd" + bytes([0, 17 << 3]) + block * 15 + bytes([block[0] | 1]) + block[1:]
    return of_tables(image, words(compressed(image, image.add(packed), len(packed))) * scale, 1)


@idea(1, 262144)
def zstd_frames(scale):
    """A cluster from many frames of a few bytes."""
    image = Sparse(21, compression=1)
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x20, 8]) + struct.pack("<I", 8 << 3 | 3)[:3] + b"x"
    packed = frame * (image.cluster // 8)
    return of_tables(image, words(compressed(image, image.add(packed), len(packed))) * scale, 1)


# ---- faults, on each of which qemu-img check has a line to say ----

@idea(1, 2000)
def data_behind_the_end(scale):
    image = Sparse()
    return of_tables(image, words(*[COPIED | (1 << 50) + i * 65536 for i in range(8192)]), scale)


@idea(1, 2000)
def data_between_clusters(scale):
    image = Sparse()
    return of_tables(image, words(COPIED | 0x10200) * 8192, scale)


@idea(1, 2000)
def data_on_tables(scale):
    """Clusters that are tables, too; with refcounts of one bit each is one too many."""
    image = Sparse(order=0)
    return of_tables(image, words(*[COPIED | 65536 * (1 + i % 3) for i in range(8192)]), scale)


@idea(1, 1000)
def snapshots_of_faults(scale):
    image = Sparse()
    return with_snapshots_of(image, words(*[COPIED | (1 << 50) + i * 65536 for i in range(8192)]), scale)


@idea(1, 1000)
def snapshots_of_data(scale):
    image = Sparse()
    data = image.add(b"x" * image.cluster)
    return with_snapshots_of(image, words(data) * 8192, scale)


@idea(1, 1000)
def snapshots_of_nothing(scale):
    """Snapshots of an L2 table of zeros."""
    image = Sparse(21)
    return with_snapshots_of(image, bytes(1 << 21), scale)


@idea(1, 1000)
def snapshots_of_compressed(scale):
    image = Sparse(21)
    packed = deflated(b"x" * image.cluster)
    return with_snapshots_of(image, words(compressed(image, image.add(packed), len(packed))) * 1000, scale)


@idea(1, 1000)
def snapshots_in_holes(scale):
    """Snapshots of one L1 table of 32 MiB in a hole."""
    image = empty(16, 1 << 30)
    return with_snapshots(image, image.take(32 << 20), 4 << 20, scale)


# ---- bitmaps ----

@idea(1, 1000)
def bitmaps_of_small_clusters(scale):
    """Bitmaps that are loaded 512 bytes at a time."""
    image = empty(9, 1 << 30)
    data = image.add(b"\xff" * 512)
    return with_bitmaps(image, scale, 9, words(data) * 512)


@idea(1, 1000)
def bitmaps_of_ones(scale):
    image = empty(16, 1 << 40)
    return with_bitmaps(image, scale, 16, words(1) * 32)


@idea(1, 1000)
def bitmaps_of_zeros(scale):
    image = empty(16, 1 << 40)
    return with_bitmaps(image, scale, 16, words(0) * 32)


@idea(1, 1000)
def bitmaps_in_use(scale):
    """Bitmaps that are not loaded, with tables larger than they need."""
    image = empty(16, 1 << 30)
    data = image.add(b"\xff" * 65536)
    return with_bitmaps(image, scale, 16, words(data) * 8192, 1)
