# SPDX-License-Identifier: MIT
"""Where everything is: the cluster allocator and the register of named places.

A Layout is what `build` returns.  `offsets` names every structure, `fields`
every field of the small structures; entries of the bulk tables are found by
arithmetic through `place`.  Values are always read back from the bytes, so
they are those of the finished, possibly broken, image.
"""

import re
from collections import namedtuple

from .errors import ForgeError
from .store import Store

Table = namedtuple("Table", "offset bits stride count")


class Place:
    """A run of bits in the file: `bits` wide, from bit `shift` of the byte at `offset`."""

    __slots__ = ("layout", "offset", "bits", "shift", "text")

    def __init__(self, layout, offset, bits, shift=0, text=False):
        self.layout, self.offset, self.bits = layout, offset, bits
        self.shift, self.text = shift, text

    @property
    def value(self):
        return self.layout.peek(self)

    @property
    def width(self):
        """Whole bytes that the place covers."""
        return max(1, self.bits // 8) if self.bits else 0


class Layout:
    def __init__(self, cluster_bits):
        self.cluster_bits = cluster_bits
        self.cluster_size = 1 << cluster_bits
        self.store = Store()
        self.offsets = {}
        self.fields = {}
        self.tables = {}
        self.references = {}
        self.next_cluster = 0
        self.aliases = {}
        self.recipe = None
        self.guest = None
        self.snapshots = []
        self.data_file = None

    # clusters

    def allocate(self, length, at=None):
        """Room for `length` bytes in whole clusters; returns its offset, counts nothing."""
        clusters = -(-length // self.cluster_size)
        if at is not None:
            if at % self.cluster_size:
                raise ForgeError(f"{at:#x} is not at a cluster boundary")
            self.store.size = max(self.store.size, at + clusters * self.cluster_size)
            return at
        offset = self.next_cluster << self.cluster_bits
        self.next_cluster += clusters
        self.store.size = max(self.store.size, self.next_cluster << self.cluster_bits)
        return offset

    def refer(self, offset, length, times=1):
        """Count one more user (or several) of every cluster that holds these bytes."""
        if length <= 0:
            return
        first = offset >> self.cluster_bits
        last = (offset + length - 1) >> self.cluster_bits
        for cluster in range(first, last + 1):
            count = self.references.get(cluster, 0) + times
            if count:
                self.references[cluster] = count
            else:
                self.references.pop(cluster, None)

    def refcount(self, offset):
        return self.references.get(offset >> self.cluster_bits, 0)

    # names

    def structure(self, path, offset, fields=None, data=None):
        """Name a structure, its (name, offset, width) fields, and write its bytes."""
        self.offsets[path] = offset
        for name, start, width in fields or ():
            self.fields[f"{path}/{name}"] = Place(self, offset + start, width * 8)
        if data is not None:
            self.store.write(offset, data)

    def text(self, path, offset, length):
        """Name a run of bytes that is no number."""
        self.fields[path] = Place(self, offset, length * 8, text=True)

    def table(self, path, offset, count, bits=64, stride=None):
        """Name an array of equal entries."""
        self.offsets[path] = offset
        self.tables[path] = Table(offset, bits, stride or bits, count)

    def alias(self, path, target):
        """Let a structure also be found by a name of its own (the first one wins)."""
        self.aliases.setdefault(path, target)

    def resolve(self, path):
        """The path with names such as bitmaps/b0 or extensions/bitmaps made numbers."""
        head = re.match(r"([a-z_]+/[^/]+)(.*)", path, re.S)
        if head and head[1] in self.aliases and head[1] not in self.offsets:
            return self.aliases[head[1]] + head[2]
        return path

    def place(self, path):
        """Find a field or a table entry by its path."""
        path = self.resolve(path)
        if path in self.fields:
            return self.fields[path]
        match = re.fullmatch(r"refcount_of/(.+)", path)
        if match:
            at = int(match[1], 0) if match[1][0].isdigit() else self.where(match[1])
            cluster = at >> self.cluster_bits
            per_block = self.cluster_size * 8 >> self.recipe.refcount_order
            path = f"refcounts/{cluster // per_block}/{cluster % per_block}"
        base, _, last = path.rpartition("/")
        second = last == "bitmap" and self.recipe.extended_l2
        if second:
            base, _, last = base.rpartition("/")
        table = self.tables.get(base)
        if table is None or not last.isdigit():
            raise ForgeError(f"nothing is called {path}")
        if int(last) >= table.count:
            raise ForgeError(f"{base} has {table.count} entries, not {last}")
        bit = int(last) * table.stride
        if table.bits < 8:
            return Place(self, table.offset + bit // 8, table.bits, bit % 8)
        return Place(self, table.offset + bit // 8 + (8 if second else 0), table.bits)

    def where(self, path):
        """Host offset of a structure, a field or a table entry."""
        path = self.resolve(path)
        return self.offsets[path] if path in self.offsets else self.place(path).offset

    # values

    def peek(self, place):
        if place.text:
            return self.store.read(place.offset, place.bits // 8)
        if place.bits < 8:
            byte = self.store.read(place.offset, 1)[0]
            return byte >> place.shift & (1 << place.bits) - 1
        return int.from_bytes(self.store.read(place.offset, place.bits // 8), "big")

    def put(self, place, value):
        """Write a number (or, for a text, bytes of any length) into a place."""
        if isinstance(value, bytes):
            self.store.write(place.offset, value)
            return
        if place.text:
            raise ForgeError("this field holds bytes: give a \"string\" or hex:…")
        if not -(1 << place.bits - 1) <= value < 1 << place.bits:
            raise ForgeError(f"{value:#x} does not fit {place.bits} bits")
        value &= (1 << place.bits) - 1
        if place.bits < 8:
            byte = self.store.read(place.offset, 1)[0]
            byte &= ~(((1 << place.bits) - 1) << place.shift)
            self.store.write(place.offset, bytes([byte | value << place.shift]))
        else:
            self.store.write(place.offset, value.to_bytes(place.bits // 8, "big"))

    def value(self, path):
        """The number (or bytes) at a path, as the finished image has it."""
        return self.place(path).value

    def guest_bytes(self, offset=0, length=None, snapshot=None):
        """What a guest reads: the oracle for read-back tests (unbroken images only)."""
        disk = self.guest if snapshot is None else self.snapshots[snapshot]
        size = disk.size if length is None else length
        return disk.read(offset, size)
