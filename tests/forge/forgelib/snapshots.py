# SPDX-License-Identifier: MIT
"""Internal snapshots: the copied L1 tables, VM state, the snapshot table."""

import struct

from .values import number, to_bytes

FIELDS = (
    ("l1_table_offset", 0, 8), ("l1_size", 8, 4), ("id_str_size", 12, 2), ("name_size", 14, 2),
    ("date_sec", 16, 4), ("date_nsec", 20, 4), ("vm_clock_nsec", 24, 8), ("vm_state_size", 32, 4),
    ("extra_data_size", 36, 4),
)
EXTRA = (("vm_state_size_large", 40, 8), ("disk_size", 48, 8), ("icount", 56, 8))
NO_ICOUNT = (1 << 64) - 1


class Snapshot:
    def __init__(self, disk, version, name, options):
        """Freeze the disk as it is now and add the VM state behind it."""
        self.id = to_bytes(name)
        self.name = to_bytes(options.get("name", ""))
        self.vmstate = number(options.get("vmstate", "0"))
        self.date = (number(options.get("date", "1600000000")),
                     number(options.get("date_nsec", "0")))
        self.clock = number(options.get("clock", "0"))
        self.size = number(options["size"]) if "size" in options else disk.size
        icount = number(options["icount"]) if "icount" in options else NO_ICOUNT
        extra = struct.pack(">QQQ", self.vmstate, self.size, icount)
        length = number(options.get("extra_size", "24" if version >= 3 else "0"))
        self.extra = extra[:length].ljust(length, b"\0") + to_bytes(options.get("extra", ""))
        self.disk = disk.copy()
        if self.vmstate:
            behind = self.disk.tables_needed() * self.disk.per_table * self.disk.cluster
            self.disk.write(behind, self.vmstate, 0x56)
        self.l1_size = max(len(self.disk.l1), disk.tables_needed(), disk.recipe.l1_size or 0,
                           number(options.get("l1_size", "0")))
        self.l1_offset = 0

    def allocate(self, layout):
        if self.l1_size:
            self.l1_offset = layout.allocate(self.l1_size * 8)
            layout.refer(self.l1_offset, self.l1_size * 8)

    def entry(self):
        body = struct.pack(">QIHHIIQII", self.l1_offset, self.l1_size, len(self.id),
                           len(self.name), *self.date, self.clock, self.vmstate & 0xffffffff,
                           len(self.extra)) + self.extra + self.id + self.name
        return body + bytes(-len(body) % 8)


def allocate(layout, snapshots):
    """Give the L1 tables and the snapshot table their clusters; returns (count, offset)."""
    if not snapshots:
        return 0, 0
    for snapshot in snapshots:
        snapshot.allocate(layout)
    length = sum(len(snapshot.entry()) for snapshot in snapshots)
    offset = layout.allocate(length)
    layout.refer(offset, length)
    return len(snapshots), offset


def write(layout, snapshots, offset):
    """Write the snapshot table and the tables of every snapshot."""
    layout.offsets["snapshot_table"] = offset
    for index, snapshot in enumerate(snapshots):
        path, entry = f"snapshots/{index}", snapshot.entry()
        layout.structure(path, offset, FIELDS, entry)
        layout.structure(path, offset, [f for f in EXTRA if f[1] + 8 <= 40 + len(snapshot.extra)])
        at = 40 + len(snapshot.extra)
        if len(snapshot.extra) > 24:
            layout.text(f"{path}/extra_data_tail", offset + 64, len(snapshot.extra) - 24)
        layout.text(f"{path}/id", offset + at, len(snapshot.id))
        layout.text(f"{path}/name", offset + at + len(snapshot.id), len(snapshot.name))
        layout.alias("snapshots/" + snapshot.id.decode("utf-8", "surrogateescape"), path)
        snapshot.disk.encode(f"{path}/", snapshot.l1_offset, snapshot.l1_size, active=False)
        offset += len(entry)
