# SPDX-License-Identifier: MIT
"""diff of an image and a copy with a few other entries, against reading the tables of both."""

import os

import bench as tools
import check_images
import targets
import timing


def run(bench):
    path = check_images.disk(bench.path("diff.qcow2"), check_images.TIB, check_images.shuffled)
    other = check_images.other_entries(path, bench.path("other.qcow2"))
    ours = [bench.qcow2, "diff", path, other]
    bench.report.title("diff: 1 TiB shuffled, and a copy with 1000 other L2 entries")
    times = timing.side_by_side([ours, [tools.reader(), "1", path], [tools.reader(), "1", other]],
                                bench.runs * 2, (0, 3))
    reading = times[1].median + times[2].median
    bench.report.times("qcow2 diff", times[0])
    bench.report.row("    reading both", tools.shown(reading), "",
                     tools.ratio(reading, times[0].median), bench.report.target(
                         times[0].median <= targets.DIFF_READINGS * reading,
                         f"at most {targets.DIFF_READINGS} times reading"))
    bench.once_each([("qcow2 dump of one of them", [bench.qcow2, "dump", path, "l2", "refcounts"])],
                    times[0].median)
    bench.memory(ours, (3,))
    for name in (path, other):
        os.unlink(name)
