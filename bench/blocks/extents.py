# SPDX-License-Identifier: MIT
"""The stream of guest extents against qemu-img map, which asks for one extent at a time."""

import os

import bench as tools
import check_images
import images
import targets


def run(bench):
    scattered = check_images.disk(bench.path("scattered.qcow2"), 64 * images.GIB,
                                  check_images.scattered)
    for title, path, target in (
            ("512 GiB in order, one extent", bench.images.metadata[0], targets.EXTENTS_IN_ORDER),
            ("64 GiB in scattered runs", scattered, targets.EXTENTS_SCATTERED)):
        ours = [tools.mapper(bench.qcow2), path]
        bench.report.title(f"guest extents: {title}, {tools.mib_printed(ours)}")
        bench.compare(("examples/map_image", ours),
                      tools.qemu_img(path, "map", "--output=json")[:1], target=target)
        bench.memory(ours)
    os.unlink(scattered)
