# SPDX-License-Identifier: MIT
"""bitmap extents against qemu-nbd with nbdinfo, which runs once where it takes a minute; list."""

import os

import bench as tools
import images
import targets
import timing


def nbdinfo(path):
    """Starts qemu-nbd, asks it for the same extents, and stops it."""
    return ("qemu-nbd and nbdinfo",
            ["nbdinfo", "--json", "--map=qemu:dirty-bitmap:b0", "--",
             "[", "qemu-nbd", "-r", "-f", "qcow2", "-B", "b0", path, "]"])


def extents(bench, title, path, few):
    ours = [bench.qcow2, "bitmap", "extents", "-j", path, "b0"]
    bench.report.title(f"bitmap extents: 8 TiB, granularity 64 KiB, {title}, "
                       f"{tools.mib_printed(ours)} of JSON")
    if few:
        times = timing.side_by_side([ours], bench.runs)[0]
        bench.report.times("qcow2 bitmap extents", times)
        bench.once_each([nbdinfo(path)], times.median, targets.BITMAP_EXTENTS)
    else:
        bench.compare(("qcow2 bitmap extents", ours), [nbdinfo(path)], bench.runs * 2,
                      targets.BITMAP_EXTENTS)
    bench.memory(ours)


def far_apart(bench):
    """As text as well, and on one processor."""
    path = images.sparse_bitmap(bench.qcow2, bench.folder)
    ours = [bench.qcow2, "bitmap", "extents", "-j", path, "b0"]
    bench.report.title("bitmap extents: 8 TiB, granularity 64 KiB, one bit in 128 at random, "
                       f"{tools.mib_printed(ours)} of JSON")
    text = [bench.qcow2, "bitmap", "extents", path, "b0"]
    times = bench.compare(("qcow2 bitmap extents", ours),
                          [("on one CPU", ["taskset", "1"] + ours), ("text", text)],
                          bench.runs * 2)
    bench.once_each([nbdinfo(path)], times.median, targets.BITMAP_EXTENTS)
    bench.report.row("", "", "", "", bench.report.target(
        times.median <= targets.BITMAP_FAR_SECONDS,
        f"at most {targets.BITMAP_FAR_SECONDS * 1000:.0f} ms"))
    bench.memory(ours)
    os.unlink(path)


def run(bench):
    path = bench.images.bitmaps
    extents(bench, "a few changes in each cluster of data", path, False)
    far_apart(bench)
    dense = images.dense_bitmap(bench.qcow2, bench.folder)
    extents(bench, "random bits", dense, True)
    os.unlink(dense)
    bench.report.title("bitmap list: counting 16 bitmaps of 16 MiB")
    ours, reading = timing.side_by_side([[bench.qcow2, "bitmap", "list", path], ["cat", path]],
                                        bench.runs * 2)
    bench.report.times("qcow2 bitmap list", ours)
    bench.report.times("    cat of the image", reading, ours.median, bench.report.target(
        ours.median <= targets.BITMAP_LIST * reading.median,
        f"at most {targets.BITMAP_LIST} times reading"))
