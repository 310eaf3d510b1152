# SPDX-License-Identifier: MIT
"""compare and hash, of two images that are equal, beside qemu-img compare and a digest by way of NBD."""

import os

from blocks import export
import targets

SIZE_BYTES, DATA_BYTES = 10 << 30, 2 << 30


def run(bench):
    raw, one, other = (bench.path("compare." + name) for name in ("source", "one", "other"))
    export.make_raw(raw, SIZE_BYTES, DATA_BYTES, 10 * export.MIB)
    for path in (one, other):
        export.convert(raw, path)
    os.unlink(raw)
    size = f"{SIZE_BYTES >> 30} GiB with {DATA_BYTES >> 30} GiB of data"
    bench.report.title(f"compare: two equal images of {size}")
    command = [bench.qcow2, "compare", one, other]
    bench.compare(("qcow2 compare", command),
                  [("qemu-img compare", ["qemu-img", "compare", one, other]),
                   ("    -U -T none", ["qemu-img", "compare", "-U", "-T", "none", one, other])],
                  target=targets.COMPARE)
    bench.memory(command)
    os.unlink(other)
    bench.report.title(f"hash: {size}")
    command = [bench.qcow2, "hash", one]
    served = f"nbdcopy -- [ qemu-nbd -r -f qcow2 {one} ] - | sha256sum"
    times = bench.compare(("qcow2 hash", command), [])
    bench.once_each([("qemu-nbd, nbdcopy, sha256sum", ["sh", "-c", served])], times.median, targets.HASH)
    bench.memory(command)
    os.unlink(one)
