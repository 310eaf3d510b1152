# SPDX-License-Identifier: MIT
"""Persistent bitmaps: data clusters, tables, the directory.

A recipe may ask for anything that has a place in the structures; only the
defaults (table size, offsets, sizes) are worked out to be right.
"""

import struct
from collections import Counter

from .errors import ForgeError
from .values import indices, number, to_bytes

FIELDS = (
    ("bitmap_table_offset", 0, 8), ("bitmap_table_size", 8, 4), ("flags", 12, 4),
    ("type", 16, 1), ("granularity_bits", 17, 1), ("name_size", 18, 2),
    ("extra_data_size", 20, 4),
)
FLAGS = {"in_use": 1, "auto": 2, "extra_data_compatible": 4}


def flags(text):
    """auto,in_use or a number."""
    if text in ("", "none"):
        return 0
    return sum(FLAGS[word] if word in FLAGS else number(word) for word in text.split(","))


def granularity_bits(options):
    if "granularity_bits" in options:
        return number(options["granularity_bits"])
    size = number(options.get("granularity", "64k"))
    if size <= 0 or size & size - 1:
        raise ForgeError("granularity is a power of two")
    return size.bit_length() - 1


def table_entries(size, bits, cluster):
    """How many clusters of bitmap data cover the disk."""
    count = -(-size // (1 << bits))
    return -(-(-(-count // 8)) // cluster)


class Bitmap:
    def __init__(self, layout, recipe, name, options):
        self.layout, self.name = layout, name
        self.bits = granularity_bits(options)
        self.flags = flags(options.get("flags", ""))
        self.type = number(options.get("type", "1"))
        self.extra = to_bytes(options.get("extra", ""))
        self.like = options.get("like")
        self.entries = self._tokens(options.get("table"))
        if self.entries is None:
            self.entries = ["zeroes"] * table_entries(recipe.size, self.bits, layout.cluster_size)
        self.set_bits = sorted(set(indices(options["bits"]))) if "bits" in options else []
        for bit in self.set_bits:
            slot = bit // (layout.cluster_size * 8)
            if slot >= len(self.entries):
                raise ForgeError(f"bitmap {name}: bit {bit} is past its table")
            if not isinstance(self.entries[slot], bytearray):
                self.entries[slot] = bytearray(layout.cluster_size)
            inside = bit % (layout.cluster_size * 8)
            self.entries[slot][inside // 8] |= 1 << inside % 8
        self.offset = 0
        self.data = {}                # table index: offset of its data
        self.uses = {}                # offset: how many entries lead there

    @staticmethod
    def _tokens(text):
        """zeroes,ones*3,data:FF00,same as words and bytearrays (same: the data before)."""
        if text is None:
            return None
        out = []
        for token in filter(None, text.split(",")):
            word, _, times = token.partition("*")
            if word not in ("zeroes", "ones", "same") and not word.startswith("data"):
                raise ForgeError(f"a bitmap table entry is zeroes, ones, data[:HEX] or same, "
                                 f"not {word}")
            for _ in range(number(times or "1")):
                out.append(bytearray.fromhex(word[5:]) if word.startswith("data") else word)
        return out

    def allocate(self, others):
        """Give the data and the table their clusters; or take over those of another."""
        layout = self.layout
        if self.like is not None:
            twin = others[self.like]
            self.entries, self.offset = twin.entries, twin.offset
            self.data, self.uses = twin.data, twin.uses
        else:
            for slot, item in enumerate(self.entries):
                if isinstance(item, bytearray):
                    self.data[slot] = layout.allocate(layout.cluster_size)
                    layout.store.write(self.data[slot], bytes(item))
                elif item == "same":
                    self.data[slot] = self.data[slot - 1]
            self.offset = layout.allocate(max(8, len(self.entries) * 8))
            layout.store.write(self.offset, self._words())
            self.uses = Counter(self.data.values())
        layout.refer(self.offset, len(self.entries) * 8 or 1)
        for offset, times in self.uses.items():
            layout.refer(offset, layout.cluster_size, times)

    def _words(self):
        words = []
        for slot, item in enumerate(self.entries):
            words.append(self.data[slot] if slot in self.data else item == "ones")
        return struct.pack(f">{len(words)}Q", *words)

    def entry(self):
        head = struct.pack(">QIIBBHI", self.offset, len(self.entries), self.flags, self.type,
                           self.bits, len(self.name), len(self.extra))
        body = head + self.extra + self.name
        return body + bytes(-len(body) % 8)


def write(layout, recipe):
    """Write all bitmaps; returns (count, directory offset, size) or None."""
    if not recipe.bitmaps:
        return None
    made, directory, starts = {}, bytearray(), []
    for name, options in recipe.bitmaps:
        bitmap = Bitmap(layout, recipe, to_bytes(name), options)
        bitmap.allocate(made)
        made[name] = bitmap
        starts.append((bitmap, name, len(directory)))
        directory += bitmap.entry()
    offset = layout.allocate(len(directory))
    layout.refer(offset, len(directory))
    layout.structure("bitmap_directory", offset, data=bytes(directory))
    for index, (bitmap, name, start) in enumerate(starts):
        _register(layout, index, bitmap, name, offset + start)
    return len(starts), offset, len(directory)


def _register(layout, index, bitmap, name, at):
    path = f"bitmaps/{index}"
    layout.structure(path, at, FIELDS)
    layout.alias(f"bitmaps/{name}", path)
    if bitmap.extra:
        layout.text(f"{path}/extra_data", at + 24, len(bitmap.extra))
    tail = 24 + len(bitmap.extra) + len(bitmap.name)
    layout.text(f"{path}/name", at + 24 + len(bitmap.extra), len(bitmap.name))
    layout.text(f"{path}/padding", at + tail, -tail % 8)
    layout.table(f"{path}/table", bitmap.offset, len(bitmap.entries))
    if bitmap.like is not None:
        return                        # its data has names already
    for slot, offset in bitmap.data.items():
        layout.offsets[f"{path}/data/{slot}"] = offset
        layout.table(f"{path}/data/{slot}", offset, layout.cluster_size, bits=8)
