# SPDX-License-Identifier: MIT
"""dump: the largest bitmap directory, the largest tables, and totals of bitmaps."""

import os

import images
import targets
import timing

ANY = (0, 2)  # 2: the image is broken, as it should be
FORMATS = (("text", []), ("JSON", ["-j"]))


def directory(bench):
    path = bench.images.directory
    bench.report.title("dump of 65,535 bitmaps")
    for label, options in FORMATS:
        times = bench.compare((f"qcow2 dump, {label}", [bench.qcow2, "dump", *options, path]),
                              [("cat of the image", ["cat", path])], codes=ANY)
        bench.report.row("", "", "", "", bench.report.target(
            times.median <= targets.DUMP_DIRECTORY_SECONDS,
            f"at most {targets.DUMP_DIRECTORY_SECONDS:.0f} s"))


def tables(bench):
    image, alone = bench.images.metadata
    mib = os.path.getsize(alone) / images.MIB
    bench.report.title(f"bulk tables: {mib:.0f} MiB of L1, L2 and refcounts")
    peers = [("cat of these tables", ["cat", alone]),
             ("qemu-img check", ["qemu-img", "check", image]),
             ("qemu-img map --output=json", ["qemu-img", "map", "--output=json", image])]
    for label, options in FORMATS:
        command = [bench.qcow2, "dump", *options, image, "all"]
        times = bench.compare((f"qcow2 dump all, {label}", command), peers, max(bench.runs - 2, 1))
        printed = timing.output_bytes(command) / images.MIB
        bench.report.row(f"    read {mib / times.median:.0f} MiB/s, "
                         f"printed {printed / times.median:.0f} MiB/s", "", "", "")


def totals(bench):
    path = bench.images.bitmaps
    bench.report.title("totals of 16 bitmaps of 16 MiB (bits set, dirty bytes)")
    for label, options in FORMATS:
        bench.compare((f"qcow2 dump, {label}", [bench.qcow2, "dump", *options, path]),
                      [("cat of the image", ["cat", path]),
                       ("qemu-img info, which loads them", ["qemu-img", "info", path])])


def run(bench):
    directory(bench)
    tables(bench)
    totals(bench)
