# SPDX-License-Identifier: MIT
"""The refcount table and its blocks, which also count themselves."""

from .errors import ForgeError, NeedReserve


class Refcounts:
    def __init__(self, layout, recipe):
        self.layout = layout
        self.bits = 1 << recipe.refcount_order
        self.per_block = layout.cluster_size * 8 // self.bits
        self.minimum = recipe.refcount_table_clusters or 1
        self.saturate = recipe.saturate
        self.blocks = {}
        self.table = self.clusters = 0
        self.reserve = None

    def keep(self, clusters):
        """Set clusters aside here, for images whose refcounts come first."""
        self.reserve = [self.layout.allocate(self.layout.cluster_size) for _ in range(clusters)]

    def _take(self, clusters):
        size = self.layout.cluster_size
        if self.reserve is None:
            return self.layout.allocate(clusters * size)
        if len(self.reserve) < clusters:
            raise NeedReserve(clusters)
        got, self.reserve = self.reserve[:clusters], self.reserve[clusters:]
        return got[0]

    def settle(self):
        """Allocate blocks and table until they cover everything, themselves included."""
        layout, size = self.layout, self.layout.cluster_size
        while True:
            needed = {cluster // self.per_block for cluster in layout.references}
            missing = sorted(needed - self.blocks.keys())
            for index in missing:
                self.blocks[index] = self._take(1)
                layout.refer(self.blocks[index], size)
            clusters = max(-(-(max(self.blocks) + 1) * 8 // size), self.minimum)
            if clusters > self.clusters:
                layout.refer(self.table, self.clusters * size, -1)
                self.table, self.clusters = self._take(clusters), clusters
                layout.refer(self.table, clusters * size)
            elif not missing:
                return

    def write(self):
        layout, largest = self.layout, (1 << self.bits) - 1
        table = bytearray(self.clusters * layout.cluster_size)
        blocks = {index: bytearray(layout.cluster_size) for index in self.blocks}
        for cluster, count in layout.references.items():
            if count > largest:
                if not self.saturate:
                    raise ForgeError(f"cluster {cluster} has {count} users, the largest count is "
                                     f"{largest}; use a larger refcount_order or saturate")
                count = largest
            index, slot = divmod(cluster, self.per_block)
            self._store(blocks[index], slot, count)
        for index, offset in self.blocks.items():
            table[index * 8:index * 8 + 8] = offset.to_bytes(8, "big")
            layout.store.write(offset, bytes(blocks[index]))
            layout.table(f"refcounts/{index}", offset, self.per_block, bits=self.bits)
        layout.store.write(self.table, bytes(table))
        layout.table("refcount_table", self.table, len(table) // 8)

    def _store(self, block, slot, count):
        """Sub-byte counts start at the least significant bit, the others are big-endian."""
        if self.bits < 8:
            per_byte = 8 // self.bits
            block[slot // per_byte] |= count << slot % per_byte * self.bits
        else:
            width = self.bits // 8
            block[slot * width:slot * width + width] = count.to_bytes(width, "big")
