# SPDX-License-Identifier: MIT
"""The guest's disk: what is mapped where, as L1 and L2 tables.

A Disk is a list of L2 tables.  A snapshot is a copy of that list that shares
the tables; a later write clones what is shared, so host clusters are counted
once for each L1 table that reaches them, as the format wants.
"""

from . import compress
from .errors import ForgeError

COPIED = 1 << 63
COMPRESSED = 1 << 62
ZERO = 1
ALL = 0xffffffff


class Entry:
    """One guest cluster: its descriptor, its bytes and what it holds on the host."""

    def __init__(self, word, content, **more):
        self.word = word              # descriptor without the copied flag
        self.content = content        # what the guest reads; None: falls through
        self.host = more.get("host")  # (offset, length) of refcounted bytes
        self.alloc = more.get("alloc", 0)
        self.zero = more.get("zero", 0)
        self.compressed = bool(word & COMPRESSED)
        self.frozen = False
        self.offset = more.get("offset")  # offset of a standard cluster


class L2:
    def __init__(self, offset, entries=None):
        self.offset = offset
        self.entries = dict(entries or {})
        self.frozen = False


class Disk:
    """The active disk, or the state that a snapshot keeps."""

    def __init__(self, layout, recipe):
        self.layout, self.recipe = layout, recipe
        self.size = recipe.size
        self.cluster = layout.cluster_size
        self.extended = recipe.extended_l2
        self.per_table = self.cluster // (16 if self.extended else 8)
        self.l1 = []
        self.packed = None            # next free byte for compressed data
        self.backing = None

    def tables_needed(self, size=None):
        size = self.size if size is None else size
        return -(-size // (self.cluster * self.per_table))

    # finding

    def _table(self, index):
        """The L2 table of an L1 index, made or cloned so that it may be changed."""
        while len(self.l1) <= index:
            self.l1.append(None)
        table = self.l1[index]
        if table is None or table.frozen:
            fresh = L2(self.layout.allocate(self.cluster), table.entries if table else None)
            self.l1 = [fresh if old is table and old is not None else old for old in self.l1]
            self.l1[index] = table = fresh
        return table

    def get(self, guest_cluster):
        index, slot = divmod(guest_cluster, self.per_table)
        table = self.l1[index] if index < len(self.l1) else None
        return table.entries.get(slot) if table else None

    def put(self, guest_cluster, entry):
        index, slot = divmod(guest_cluster, self.per_table)
        self._table(index).entries[slot] = entry

    def fill(self, guest_cluster):
        """What the guest reads where nothing is mapped."""
        start = guest_cluster * self.cluster
        if self.backing is None:
            return bytes(self.cluster)
        return self.backing[start:start + self.cluster].ljust(self.cluster, b"\0")

    def content(self, guest_cluster):
        entry = self.get(guest_cluster)
        return entry.content if entry and entry.content is not None else self.fill(guest_cluster)

    def read(self, offset, length):
        out = bytearray()
        while len(out) < length:
            cluster, start = divmod(offset + len(out), self.cluster)
            out += self.content(cluster)[start:start + length - len(out)]
        return bytes(out)

    # changing

    def _clusters(self, offset, length):
        first, last = offset // self.cluster, (offset + length - 1) // self.cluster
        return range(first, last + 1)

    def write(self, offset, length, pattern=None, at=None):
        """Standard clusters with data; the rest of a partly written one is zeros."""
        for guest in self._clusters(offset, length):
            lo = max(offset, guest * self.cluster) - guest * self.cluster
            hi = min(offset + length, (guest + 1) * self.cluster) - guest * self.cluster
            old = self.get(guest)
            data = bytearray(old.content if old and old.content is not None
                             else bytes(self.cluster))
            data[lo:hi] = payload(pattern, guest, self.cluster)[lo:hi]
            self.place(guest, bytes(data), at)
            at = None if at is None else at + self.cluster

    def _home(self, guest, at=None):
        """A host cluster for a guest cluster: (offset, refcounted range)."""
        if self.recipe.data_file:
            return guest * self.cluster, None
        old = self.get(guest)
        if at is None and old and old.host and not old.frozen and not old.compressed:
            return old.offset, old.host
        offset = self.layout.allocate(self.cluster, at)
        return offset, (offset, self.cluster)

    def _name(self, guest, offset):
        if not self.recipe.data_file:
            self.layout.offsets[f"data/{guest}"] = offset

    def place(self, guest, data, at=None):
        offset, host = self._home(guest, at)
        target = self.layout.data_file if self.recipe.data_file else self.layout.store
        target.write(offset, data)
        self._name(guest, offset)
        self.put(guest, Entry(offset, data, host=host, alloc=ALL, offset=offset))

    def zero(self, offset, length, allocated=False):
        for guest in self._clusters(offset, length):
            host, home = None, 0
            if allocated:
                home, host = self._home(guest)
            flag = 0 if self.extended else ZERO
            self.put(guest, Entry(home | flag, bytes(self.cluster), host=host, zero=ALL,
                                  offset=home if allocated else None))

    def subclusters(self, offset, alloc, zero, pattern=None):
        """One extended entry with the given bits; host cluster only if it needs one."""
        if not self.extended:
            raise ForgeError("subclusters need extended_l2")
        guest, step = offset // self.cluster, self.cluster // 32
        base, fresh = self.fill(guest), payload(pattern, guest, self.cluster)
        seen, stored = bytearray(base), bytearray(self.cluster)
        for index in range(32):
            span = slice(index * step, (index + 1) * step)
            if zero >> index & 1:
                seen[span] = bytes(step)
            if alloc >> index & 1:
                seen[span] = stored[span] = fresh[span]
        home, host = self._home(guest) if alloc else (0, None)
        if alloc:
            store = self.layout.data_file if self.recipe.data_file else self.layout.store
            store.write(home, bytes(stored))
            self._name(guest, home)
        self.put(guest, Entry(home, bytes(seen), host=host, alloc=alloc, zero=zero,
                              offset=home if alloc else None))

    def unmap(self, offset, length):
        for guest in self._clusters(offset, length):
            index, slot = divmod(guest, self.per_table)
            self._table(index).entries.pop(slot, None)

    def compressed(self, offset, length, method, pattern=None, frames=1):
        for guest in self._clusters(offset, length):
            data = payload(pattern, guest, self.cluster)
            blob = compress.zstd(data, frames) if method == "zstd" else compress.deflate(data)
            start = self._pack(len(blob))
            self.layout.store.write(start, blob)
            self._name(guest, start)
            sectors = (start + len(blob) - 1 >> 9) - (start >> 9)
            shift = 62 - (self.layout.cluster_bits - 8)
            if sectors >= 1 << self.layout.cluster_bits - 8:
                raise ForgeError("the compressed cluster is too long for its descriptor")
            held = (sectors + 1) * 512 - start % 512
            self.put(guest, Entry(COMPRESSED | sectors << shift | start, data,
                                  host=(start, held)))

    def _pack(self, length):
        """Room for compressed bytes, right behind the last if the clusters are neighbours."""
        layout, size = self.layout, self.cluster
        start = self.packed
        end = layout.next_cluster * size
        if start is not None and start % size and -(-start // size) * size == end:
            if start + length > end:
                layout.allocate(start + length - end)
        elif start is None or not start % size or start % size + length > size:
            start = layout.allocate(length)
        self.packed = start + length
        return start

    def alias(self, offset, length, source):
        """Map guest clusters onto the host cluster of another guest cluster."""
        entry = self.get(source // self.cluster)
        if entry is None:
            raise ForgeError(f"nothing is mapped at {source:#x}")
        entry.frozen = True
        for guest in self._clusters(offset, length):
            self.put(guest, entry)

    def share_l2(self, source, first, last):
        """Let L1 entries first..last point to the L2 table of another."""
        table = self._table(source)
        while len(self.l1) <= last:
            self.l1.append(None)
        for index in range(first, last + 1):
            self.l1[index] = table

    def copy(self):
        """The state as a snapshot keeps it; from now on both share."""
        other = Disk(self.layout, self.recipe)
        other.l1, other.size, other.backing = list(self.l1), self.size, self.backing
        for table in filter(None, self.l1):
            table.frozen = True
            for entry in table.entries.values():
                entry.frozen = True
        return other

    # bytes

    def count(self):
        """Refer to all tables and clusters that this L1 reaches, with multiplicity."""
        times = {}
        for table in self.l1:
            if table:
                times[table] = times.get(table, 0) + 1
        for table, n in times.items():
            self.layout.refer(table.offset, self.cluster, n)
            hosts = {}
            for entry in table.entries.values():
                if entry.host:
                    hosts[entry.host] = hosts.get(entry.host, 0) + n
            for (offset, length), uses in hosts.items():
                self.layout.refer(offset, length, uses)

    def encode(self, prefix, l1_offset, l1_size, active):
        """Write the L1 table and its L2 tables and name them."""
        layout = self.layout
        words = bytearray(l1_size * 8)
        written = set()
        for index, table in enumerate(self.l1[:l1_size]):
            if table is None:
                continue
            flag = COPIED if active and layout.refcount(table.offset) == 1 else 0
            words[index * 8:index * 8 + 8] = (table.offset | flag).to_bytes(8, "big")
            layout.table(f"{prefix}l2/{index}", table.offset, self.per_table,
                         stride=128 if self.extended else 64)
            if table.offset not in written:
                written.add(table.offset)
                self._encode_l2(table, active)
        layout.table(f"{prefix}l1", l1_offset, l1_size)
        layout.store.write(l1_offset, bytes(words))

    def _encode_l2(self, table, active):
        step = 16 if self.extended else 8
        out = bytearray(self.cluster)
        for slot, entry in table.entries.items():
            word = entry.word
            if active and entry.offset is not None:
                external = bool(self.recipe.data_file)
                if external or self.layout.refcount(entry.offset) == 1:
                    word |= COPIED
            out[slot * step:slot * step + 8] = word.to_bytes(8, "big")
            if self.extended:
                second = entry.zero << 32 | entry.alloc
                out[slot * step + 8:slot * step + 16] = second.to_bytes(8, "big")
        self.layout.store.write(table.offset, bytes(out))


def payload(pattern, guest, size):
    """A cluster of data: one byte repeated, or `mixed` for bytes that hardly compress."""
    if pattern == "mixed":
        state, out = guest * 2654435761 + 12345 & 0xffffffff, bytearray()
        while len(out) < size:
            state = state * 1664525 + 1013904223 & 0xffffffff
            out += (state >> 8).to_bytes(3, "little")
        return bytes(out[:size])
    value = guest * 7 % 255 + 1 if pattern is None else pattern
    return bytes([value]) * size
