# SPDX-License-Identifier: MIT
"""info, as whole processes."""

import targets


def run(bench):
    qcow2 = bench.qcow2
    bench.report.title("info, as whole processes")
    for title, path, target, count in (
            ("ordinary image", bench.images.ordinary, targets.INFO_ORDINARY, 20),
            ("16 bitmaps of 16 MiB", bench.images.bitmaps, targets.INFO_BITMAPS, 2)):
        bench.compare((f"qcow2 info: {title}", [qcow2, "info", path]),
                      [("qemu-img info", ["qemu-img", "info", path]),
                       ("true, the cost of any process", ["true"])], bench.runs * count, target)
        bench.compare((f"qcow2 info -j: {title}", [qcow2, "info", "-j", path]),
                      [("qemu-img info --output=json", ["qemu-img", "info", "--output=json", path])],
                      bench.runs * count, target)
