# SPDX-License-Identifier: MIT
"""repair of all refcounts of a large image, against our own check of it and qemu-img check -r."""

import os
import random
import statistics
import struct
import subprocess
import time

import check_images
import targets


def damaged(path, copy, noise):
    """A copy of an image whose refcounts are all zeros, or random."""
    chance = random.Random(check_images.SEED)
    subprocess.run(["cp", "--sparse=always", path, copy], check=True)
    with open(copy, "r+b") as file:
        file.seek(48)
        at, clusters = struct.unpack(">QI", file.read(12))
        file.seek(at)
        table = file.read(clusters * check_images.CLUSTER)
        for (block,) in struct.iter_unpack(">Q", table):
            if block:
                file.seek(block)
                file.write(chance.randbytes(check_images.CLUSTER) if noise
                           else bytes(check_images.CLUSTER))
    return copy


def timed(command):
    begin = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.monotonic() - begin


def on_copies(bench, damage, command):
    """The times of a command that changes the image: each on a copy of its own, at bench.path("r")."""
    times = []
    for _ in range(bench.runs):
        copy = bench.path("repaired.qcow2")
        subprocess.run(["cp", "--sparse=always", damage, copy], check=True)
        os.sync()
        times.append(timed(command + [copy]))
        os.unlink(copy)
    return times


def run(bench):
    """Whole processes: check and repair of the same damage take turns by rounds."""
    bench.report.title("repair: all refcounts of 1 TiB", "median", "best", "/ our check", "")
    sound = check_images.disk(bench.path("sound.qcow2"), check_images.TIB, check_images.in_order)
    undo = bench.path("repair.undo")
    for title, noise in (("all zeros", False), ("random", True)):
        path = damaged(sound, bench.path("damaged.qcow2"), noise)
        ours = [bench.qcow2, "repair", "--yes", "--free-lost"]
        checks = [timed([bench.qcow2, "check", path]) for _ in range(bench.runs)]
        check = statistics.median(checks)
        for label, command in ((title, ["sh", "-c", f'"$@"; rm -f {undo}', "sh", *ours,
                                        f"--undo-file={undo}"]),
                               ("    without undo", ours + ["--no-undo"]),
                               ("    qemu-img check -r all", ["qemu-img", "check", "-r", "all"])):
            times = on_copies(bench, path, command)
            ratio = statistics.median(times) / check
            what = bench.report.target(ratio <= targets.REPAIR_CHECKS,
                                       f"repair {title}: at most {targets.REPAIR_CHECKS} checks") \
                if label == title else ""
            bench.report.row(label, f"{statistics.median(times):.3f} s", f"{min(times):.3f} s",
                             f"{ratio:.2f}", what)
        os.unlink(path)
    os.unlink(sound)
