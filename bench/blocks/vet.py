# SPDX-License-Identifier: MIT
"""Vetting of many small images, beside merely reading them, and of one beside qemu-img info."""
import os
import shutil
import subprocess
import sys

import images
import targets
import timing

COUNT = 5000
# What reading alone costs, in one process: the bytes that other formats are told by, and no more.
READ = """
import os, sys
for name in open(sys.argv[1]).read().split():
    fd = os.open(name, os.O_RDONLY)
    os.pread(fd, 69632, 0)
    os.close(fd)
"""
OSLO = ["/usr/bin/python3", "-m", "oslo_utils.imageutils", "-v", "-i"]


def has_oslo():
    """Whether oslo.utils has its command: not before version 7.2."""
    return subprocess.run(["/usr/bin/python3", "-c", "import oslo_utils.imageutils.cli"],
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def many(bench):
    """A list of small images that qemu-img made."""
    folder, names = bench.path("vet"), []
    os.makedirs(folder, exist_ok=True)
    first = os.path.join(folder, "0.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", first, "1G"], check=True)
    for index in range(COUNT):
        path = os.path.join(folder, f"{index}.qcow2")
        if index:
            shutil.copyfile(first, path)
        names.append(path)
    with open(bench.path("vet.list"), "w", encoding="utf-8") as stream:
        stream.write("\n".join(names) + "\n")
    return bench.path("vet.list"), first


def run(bench):
    report, qcow2 = bench.report, bench.qcow2
    listed, one = many(bench)
    report.title(f"vet, {COUNT} small images by one process on one core")
    ours, bare = timing.side_by_side(
        [[qcow2, "vet", "--jobs=1", "--output=ndjson", f"--files-from={listed}"],
         [sys.executable, "-S", "-E", "-c", READ, listed]], bench.runs * 2)
    report.times("qcow2 vet --jobs=1", ours)
    report.times("    open, pread, close, by Python", bare, ours.median)
    rate, most = COUNT / ours.median, targets.VET_READINGS
    report.row("    images a second", f"{rate:,.0f}", "", "",
               report.target(rate >= targets.VET_A_SECOND or ours.median <= most * bare.median,
                             f"{targets.VET_A_SECOND:,}, or {most} times of reading"))
    bench.memory([qcow2, "vet", "--jobs=1", "--output=ndjson", f"--files-from={listed}"])
    report.title("vet, as whole processes")
    peers = [("qemu-img info", ["qemu-img", "info", one])]
    if has_oslo():
        peers.append(("oslo.utils", [*OSLO, one]))
    bench.compare(("qcow2 vet: an empty image", [qcow2, "vet", one]), peers, bench.runs * 20, targets.VET)
    bench.compare(("qcow2 vet --policy=strict: 80 MiB of tables",
                   [qcow2, "vet", "--policy=strict", bench.images.metadata[0]]),
                  [("qemu-img check", ["qemu-img", "check", bench.images.metadata[0]])], bench.runs,
                  codes=(0, 2))
    size = os.path.getsize(bench.images.ordinary) / images.MIB
    seconds = timing.once(["sh", "-c", f"'{qcow2}' vet - < '{bench.images.ordinary}' || true"])
    report.row(f"qcow2 vet -: {size:.0f} MiB from standard input", f"{seconds * 1000:.1f} ms", "", "")
