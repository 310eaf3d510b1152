# SPDX-License-Identifier: MIT
# What the tests know of a guest's bytes: the program of docs/hash.md, and disks as QEMU reads them.
"""Disks as bytes."""
import os
import re
import subprocess
import sys

from tests.support.programs import TOP

SECTOR, PIECE = 512, 65536


def hash_program():
    """The program that docs/hash.md shows."""
    with open(os.path.join(TOP, "docs", "hash.md"), encoding="utf-8") as stream:
        return re.search(r"```python\n(.*?)```", stream.read(), re.S)[1]


def tree_hash(path):
    """What that program prints of a raw disk."""
    done = subprocess.run([sys.executable, "-c", hash_program(), path], capture_output=True, check=True)
    return done.stdout.decode().strip()


def converted(path, raw, *options):
    """The disk as qemu-img reads it. A data file is looked for in the current folder."""
    subprocess.run(["qemu-img", "convert", "-O", "raw", *options, path, raw], check=True,
                   cwd=os.path.dirname(path), stdout=subprocess.DEVNULL)
    with open(raw, "rb") as stream:
        return stream.read()


def different(a, b):
    """The ranges of whole sectors in which two disks differ, the shorter one filled up with zeros."""
    size = max(len(a), len(b))
    a, b = a.ljust(size, b"\0"), b.ljust(size, b"\0")
    found = []
    for at in (sector for piece in range(0, size, PIECE) if a[piece:piece + PIECE] != b[piece:piece + PIECE]
               for sector in range(piece, min(piece + PIECE, size), SECTOR)):
        if a[at:at + SECTOR] == b[at:at + SECTOR]:
            continue
        if found and sum(found[-1]) == at:
            found[-1] = (found[-1][0], found[-1][1] + SECTOR)
        else:
            found.append((at, SECTOR))
    return found


def joined(ranges):
    """Ranges of `compare -j` as (start, length), neighbours made one, whatever each disk has there."""
    found = []
    for one in ranges:
        if found and sum(found[-1]) == one["start"]:
            found[-1] = (found[-1][0], found[-1][1] + one["length"])
        else:
            found.append((one["start"], one["length"]))
    return found
