# SPDX-License-Identifier: MIT
"""The blocks of measurements, by the names that bench/run takes, in the order in which they run.

Each is a function of one bench.Bench. README.md says what each measures.
"""

from blocks import (bitmap, check, compare, diff, dump, edit, export, extents, info, layout, locate,
                    map_disk, measure, memory, repair, snapshot, start, vet)

BLOCKS = {
    "start": start.run,
    "info": info.run,
    "dump": dump.run,
    "check": check.run,
    "snapshot-space": snapshot.space,
    "snapshot-diff": snapshot.diff,
    "edit": edit.run,
    "repair": repair.run,
    "plans": edit.plans,
    "bitmap": bitmap.run,
    "extents": extents.run,
    "map": map_disk.run,
    "layout": layout.run,
    "measure": measure.run,
    "export": export.run,
    "compare": compare.run,
    "vet": vet.run,
    "diff": diff.run,
    "locate": locate.run,
    "memory": memory.run,
    "growth": check.growth,
    "cold": check.cold,
}
# Only if they are named: they take long, and much room.
BY_NAME = {"cold", "growth"}
