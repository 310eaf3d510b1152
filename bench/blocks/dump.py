# SPDX-License-Identifier: MIT
"""dump: the largest bitmap directories, the largest tables, and totals of bitmaps."""

import os

import check_shapes
import images
import targets
import timing

ANY = (0, 2)  # 2: the image is broken, as it should be
FORMATS = (("text", []), ("JSON", ["-j"]))


def within(bench, times, seconds):
    """A row that says whether a target in seconds is met."""
    bench.report.row("", "", "", "", bench.report.target(times.median <= seconds,
                                                         f"at most {seconds:.1f} s"))


def directory(bench):
    names = check_shapes.named_bitmaps(bench.path("names.qcow2"))
    for title, path, seconds in (
            ("65,535 bitmaps", bench.images.directory, targets.DUMP_DIRECTORY_SECONDS),
            ("65,535 bitmaps with names of 1,000 bytes", names, targets.DUMP_NAMES_SECONDS)):
        bench.report.title(f"dump of {title}")
        for label, options in FORMATS:
            ours = (f"qcow2 dump, {label}", [bench.qcow2, "dump", *options, path])
            peers = [("cat of the image", ["cat", path])] if path != names else []
            within(bench, bench.compare(ours, peers, codes=ANY), seconds)
    os.unlink(names)


def claimed(bench):
    path = images.claimed_directory(bench.folder)
    bench.report.title("a bitmap directory that claims 8 GiB")
    for words in (["compat", path, "dump-header"], ["dump", path]):
        times = bench.compare((f"qcow2 {words[0]}", [bench.qcow2, *words]), [], codes=ANY)
        if words[0] == "compat":
            within(bench, times, targets.COMPAT_CLAIMED_SECONDS)
    os.unlink(path)


def tables(bench):
    image, alone = bench.images.metadata
    mib = os.path.getsize(alone) / images.MIB
    bench.report.title(f"bulk tables: {mib:.0f} MiB of L1, L2 and refcounts")
    peers = [("cat of these tables", ["cat", alone]),
             ("on one CPU", None),
             ("qemu-img check", ["qemu-img", "check", image]),
             ("qemu-img map --output=json", ["qemu-img", "map", "--output=json", image])]
    for label, options in FORMATS:
        command = [bench.qcow2, "dump", *options, image, "all"]
        peers[1] = ("on one CPU", ["taskset", "1"] + command)
        times = bench.compare((f"qcow2 dump all, {label}", command), peers, max(bench.runs - 2, 1))
        within(bench, times, targets.DUMP_TABLES_SECONDS)
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
    claimed(bench)
    tables(bench)
    totals(bench)
