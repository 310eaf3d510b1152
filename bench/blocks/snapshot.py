# SPDX-License-Identifier: MIT
"""snapshot space and snapshot diff, which no other tool answers."""

import os

import check_images
import images
import targets
import timing


def space(bench):
    """qemu-img check and our check read the same tables."""
    for title, make in (("share all", check_images.snapshots),
                        ("30 % of the L2 tables rewritten between", check_images.rewritten)):
        path = make(bench.path("space.qcow2"), 64 * images.GIB, 100)
        ours = [bench.qcow2, "snapshot", "space", path]
        bench.report.title(f"snapshot space: 64 GiB, 100 snapshots, {title}")
        times = bench.compare(("qcow2 snapshot space", ours),
                              [("qcow2 check", [bench.qcow2, "check", path])])
        bench.once_each([("qemu-img check", ["qemu-img", "check", path])], times.median,
                        targets.SPACE)
        bench.memory(ours)
        os.unlink(path)


def diff(bench):
    """Against mapping both disks, which is where a script would begin."""
    path = check_images.diverged(bench.path("diff.qcow2"), check_images.TIB, 1000)
    maps = ["sh", "-c", '"$0" map --binary --snapshot=2 "$1" && "$0" map --binary "$1"',
            bench.qcow2, path]
    peer = timing.side_by_side([maps], bench.runs)[0]
    for title, words in (("that share all L2 tables", ["1", "2"]),
                         ("of which one cluster in 1,000 differs", ["2"])):
        bench.report.title(f"snapshot diff: disks of 1 TiB, shuffled, {title}")
        ours = [bench.qcow2, "snapshot", "diff", "-j", path, *words]
        times = timing.side_by_side([ours], bench.runs, (0, 3))[0]
        bench.report.times("qcow2 snapshot diff -j", times)
        bench.report.times("    both maps as records", peer, times.median,
                           *bench.faster(peer.median, times.median, targets.SNAPSHOT_DIFF))
        bench.memory(ours, (0, 3))
    os.unlink(path)
