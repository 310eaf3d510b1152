# SPDX-License-Identifier: MIT
"""layout against QEMU and against our own check; QEMU runs once."""

import os

import bench as tools
import check_images
import targets
import timing


def peers(path):
    """What QEMU needs to say as much: a check for the clusters, a map for the runs."""
    checks = tools.qemu_img(path, "check")
    maps = tools.qemu_img(path, "map", "--output=json")
    return [("qemu-img check, then map" if i == 0 else check[0],
             ["sh", "-c", f"{' '.join(check[1])} && {' '.join(disk[1])}"])
            for i, (check, disk) in enumerate(zip(checks, maps))]


def run(bench):
    for title, path, _, has_peers in check_images.all_images(bench.folder):
        json = [bench.qcow2, "layout", "-j", path]
        bench.report.title(f"layout: {title}, {tools.mib_printed(json)} of JSON")
        page, data, check = timing.side_by_side(
            [[bench.qcow2, "layout", path], json, [bench.qcow2, "check", path]], bench.runs)
        bench.report.times("qcow2 layout", page)
        bench.report.times("qcow2 layout -j", data, page.median)
        bench.report.times("    qcow2 check", check, page.median, bench.report.target(
            page.median <= targets.LAYOUT_CHECKS * check.median,
            f"{title}: at most {targets.LAYOUT_CHECKS} times our check"))
        if has_peers:
            bench.once_each(peers(path), page.median, targets.LAYOUT)
        bench.memory(json)
        os.unlink(path)
