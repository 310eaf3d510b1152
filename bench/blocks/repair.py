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

UNDO = "repair.undo"


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
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return time.monotonic() - begin


def on_copies(bench, damage, commands):
    """The median and best times of commands that change the image, each on a fresh copy, in turns."""
    times = [[] for _ in commands]
    for _ in range(bench.runs):
        for taken, command in zip(times, commands):
            copy = bench.path("repaired.qcow2")
            subprocess.run(["cp", "--sparse=always", damage, copy], check=True)
            os.sync()
            taken.append(timed(command + [copy]))
            for made in (copy, bench.path(UNDO)):
                if os.path.exists(made):
                    os.unlink(made)
    return [(statistics.median(taken), min(taken)) for taken in times]


def rows(bench, title, damage):
    """One kind of damage: our check and repair, and that of qemu-img, take turns by rounds."""
    report, ours = bench.report, [bench.qcow2, "repair", "--yes"]
    check, repair, alone = on_copies(
        bench, damage, [[bench.qcow2, "check"], ours + [f"--undo-file={bench.path(UNDO)}"],
                        ours + ["--no-undo"]])
    copy = bench.path("repaired.qcow2")
    subprocess.run(["cp", "--sparse=always", damage, copy], check=True)
    peer = timed(["qemu-img", "check", "-r", "all", copy])
    os.unlink(copy)
    for label, (median, best), *what in (
            (f"check, {title}", check),
            (f"repair, {title}", repair,
             report.target(repair[0] <= targets.REPAIR_CHECKS * check[0],
                           f"repair {title}: at most {targets.REPAIR_CHECKS} checks of it")),
            ("    without undo", alone),
            ("    qemu-img check -r all", (peer, peer),
             report.target(peer >= targets.REPAIR * repair[0],
                           f"repair {title}: {targets.REPAIR} times faster than qemu-img"))):
        report.row(label, f"{median:.3f} s", f"{best:.3f} s", f"{median / check[0]:.2f}", *what)


def run(bench):
    """Whole processes on copies: a repair leaves nothing to repair."""
    bench.report.title("repair: all refcounts of 1 TiB", "", "median", "best", "/ check")
    sound = check_images.disk(bench.path("sound.qcow2"), check_images.TIB, check_images.in_order)
    (once, best), (nothing, least) = on_copies(
        bench, sound, [[bench.qcow2, "check"], [bench.qcow2, "repair", "--yes"]])
    bench.report.row("check, sound", f"{once:.3f} s", f"{best:.3f} s", "1")
    bench.report.row("repair, sound", f"{nothing:.3f} s", f"{least:.3f} s", f"{nothing / once:.2f}",
                     bench.report.target(nothing <= targets.REPAIR_SOUND * once,
                                         f"repair of a sound image: at most "
                                         f"{targets.REPAIR_SOUND} checks"))
    for title, noise in (("all zeros", False), ("random", True)):
        damage = damaged(sound, bench.path("damaged.qcow2"), noise)
        rows(bench, title, damage)
        os.unlink(damage)
    os.unlink(sound)
