# SPDX-License-Identifier: MIT
"""measure, which reads more than qemu-img measure does: what is kept, and by whom."""

import os

import bench as tools
import check_images
import targets
import timing


def run(bench):
    for title, path, slow in check_images.terabytes(bench.folder):
        bench.report.title(f"measure: {title}")
        ours = [bench.qcow2, "measure", "-j", path]
        times = timing.side_by_side([ours], bench.runs)[0]
        bench.report.times("qcow2 measure -j", times)
        peers = tools.qemu_img(path, "measure", "--output=json", "-O", "qcow2")
        bench.once_each(peers[:1] if slow else peers, times.median, targets.MEASURE)
        bench.memory(ours)
        os.unlink(path)
