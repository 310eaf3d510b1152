# SPDX-License-Identifier: MIT
"""locate, which no program of QEMU answers: --guest against qemu-img map and a script, --host
against our check, which reads the same tables."""

import os
import sys

import check_images
import images
import targets
import timing

# What a script has to do: all extents, then the one that has the byte.
PICK = ("import json, sys; byte = int(sys.argv[1]); print(next(e for e in json.load(sys.stdin)"
        " if e['start'] <= byte < e['start'] + e['length']))")
BYTE = 600 * images.GIB


def run(bench):
    for title, path, slow in check_images.terabytes(bench.folder):
        bench.report.title(f"locate: {title}")
        guest = timing.side_by_side([[bench.qcow2, "locate", f"--guest={BYTE}", path]],
                                    bench.runs * 4)[0]
        bench.report.times("qcow2 locate --guest", guest, None, bench.report.target(
            guest.median <= targets.LOCATE_GUEST_SECONDS,
            f"at most {targets.LOCATE_GUEST_SECONDS * 1000:.0f} ms"))
        if not slow:
            script = f"qemu-img map --output=json {path} | {sys.executable} -c \"{PICK}\" {BYTE}"
            bench.once_each([("qemu-img map and a script", ["sh", "-c", script])], guest.median)
        ours = [bench.qcow2, "locate", f"--host={BYTE}", path]
        host, check = timing.side_by_side([ours, [bench.qcow2, "check", path]], bench.runs * 2)
        bench.report.times("qcow2 locate --host", host)
        bench.report.times("    qcow2 check", check, host.median, bench.report.target(
            host.median <= targets.LOCATE_HOST_CHECKS * check.median,
            f"at most {targets.LOCATE_HOST_CHECKS} times a check"))
        bench.memory(ours)
        os.unlink(path)
