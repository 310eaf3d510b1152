# SPDX-License-Identifier: MIT
"""check against qemu-img and against reading alone; the slow peer runs once on each image."""

import functools
import os

import bench as tools
import check_images
import check_shapes
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
    if faster is not None:
        bench.once_each(tools.qemu_img(path, "check"), ours, faster)
    bench.memory([qcow2, "check", path],
                 peer=["qemu-img", "check", path] if faster is not None else None)


def run(bench):
    for title, path, times_reading, faster in check_shapes.all_images(bench.folder):
        one(bench, title, path, times_reading, faster)
        os.unlink(path)


COLD = ("1 TiB in order", "64 GiB, 100 snapshots, tables rewritten between",
        "65,535 bitmaps with names of 1,000 bytes")


def drop(path):
    """Forgets what the system has in memory of a file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold(bench):
    """Images that have to come from the disk: the programs take turns, each after the file was
    dropped."""
    for title, path, _, _ in check_shapes.all_images(bench.folder):
        if title in COLD:
            bench.report.title(f"cold: {title}")
            rows = [("qcow2 check", [bench.qcow2, "check", path])]
            rows += [(f"    reading alone, {n} threads", [tools.reader(), str(n), path])
                     for n in (os.cpu_count(), 8)]
            rows += [(f"    qcow2 {words}", [bench.qcow2, *words.split(), path])
                     for words in ("info", "map --binary", "bitmap list")]
            times = timing.side_by_side([command for _, command in rows], bench.runs,
                                        before=functools.partial(drop, path))
            for (label, _), kept in zip(rows, times):
                bench.report.times(label, kept, times[0].median)
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
