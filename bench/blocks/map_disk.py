# SPDX-License-Identifier: MIT
"""map against qemu-img map, which runs once where it takes long. (map is a word of Python.)"""

import os

import bench as tools
import check_images
import targets
import timing


def run(bench):
    for title, path, slow in check_images.terabytes(bench.folder):
        ours = [bench.qcow2, "map", "-j", path]
        peers = tools.qemu_img(path, "map", "--output=json")
        bench.report.title(f"map: {title}, {tools.mib_printed(ours)} of JSON")
        if slow:
            times = timing.side_by_side([ours], bench.runs)[0]
            bench.report.times("qcow2 map -j", times)
            bench.once_each(peers, times.median, targets.MAP)
        else:
            bench.compare(("qcow2 map -j", ours), peers, target=targets.MAP)
        records = timing.side_by_side([[bench.qcow2, "map", "--binary", path]], bench.runs)[0]
        bench.report.times("qcow2 map --binary", records)
        bench.memory(ours)
        os.unlink(path)
