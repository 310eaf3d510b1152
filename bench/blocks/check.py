# SPDX-License-Identifier: MIT
"""check against qemu-img and against reading alone; the slow peer runs once on each image."""

import os

import bench as tools
import check_images
import targets
import timing


def one(bench, title, path, times_reading, faster):
    qcow2, threads = bench.qcow2, str(os.cpu_count())
    bench.report.title(f"check: {title}")
    times = timing.side_by_side(
        [[qcow2, "check", path], [qcow2, "check", "--threads=1", path],
         [tools.reader(), threads, path], [tools.reader(), "1", path]], bench.runs * 2)
    ours = times[0].median
    for label, kept in zip((f"qcow2 check, {threads} threads", "    1 thread",
                            f"    reading alone, {threads} threads",
                            "    reading alone, 1 thread"), times):
        bench.report.times(label, kept, ours)
    bench.report.row("", "", "", "", bench.report.target(
        ours <= times_reading * times[2].median,
        f"{title}: at most {times_reading} times reading"))
    if faster:
        bench.once_each(tools.qemu_img(path, "check"), ours, targets.CHECK)
    bench.memory([qcow2, "check", path], peer=["qemu-img", "check", path] if faster else None)


def run(bench):
    for title, path, times_reading, faster in check_images.all_images(bench.folder):
        one(bench, title, path, times_reading, faster)
        os.unlink(path)


def growth(bench):
    """How the cost of a check grows with the disk."""
    bench.report.title("check: disks that are full and in order")
    for title, path in check_images.growth(bench.folder):
        ours, reading = timing.side_by_side([[bench.qcow2, "check", path],
                                             [tools.reader(), str(os.cpu_count()), path]],
                                            bench.runs)
        bench.report.times(title, ours)
        bench.report.times("    reading alone", reading, ours.median)
        bench.memory([bench.qcow2, "check", path])
        os.unlink(path)
