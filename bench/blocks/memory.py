# SPDX-License-Identifier: MIT
"""The peak memory of info and dump, on images of any size and on hostile ones."""

import images
import targets
import timing

COMMANDS = (["info"], ["dump"], ["dump", "all"])


def peaks(bench, path):
    """Of each command, the larger one of text and JSON."""
    return [max(timing.peak_kib([bench.qcow2, *command[:1], *options, path, *command[1:]],
                                bench.folder, (0, 1, 2)) for options in ([], ["-j"]))
            for command in COMMANDS]


def run(bench):
    named = [("16 bitmaps of 16 MiB", bench.images.bitmaps),
             ("ordinary image", bench.images.ordinary),
             ("80 MiB of tables", bench.images.metadata[0])] + images.hostile(bench.folder)
    rows = sorted(((name, peaks(bench, path)) for name, path in named),
                  key=lambda row: -max(row[1]))
    largest = max(rows[0][1])
    bench.report.title("peak memory (ru_maxrss), the largest of text and JSON", "", "info", "dump",
                       "dump all")
    for name, kib in rows[:8]:
        bench.report.row(name, *(f"{number / 1024:.1f} MiB" for number in kib))
    bench.report.row(f"the largest of {len(rows)} images", f"{largest / 1024:.1f} MiB", "", "",
                     bench.report.target(largest <= targets.MEMORY_KIB,
                                         f"at most {targets.MEMORY_KIB // 1024} MiB"))
