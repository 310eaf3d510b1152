# SPDX-License-Identifier: MIT
"""Makes the images that are measured, with qemu-img, qemu-io and the forge of the tests.

Each function writes its images into a folder and checks that they are what they are said to be.
"""

import os
import random
import struct
import subprocess
import sys

FORGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "forge")
sys.path.insert(0, FORGE)

from forgelib import build_named, recipes  # noqa: E402

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
OFFSET = 0x00fffffffffffe00
BITMAPS = 16


def run(*command, commands=None):
    """Runs a command that has to work; commands are lines for its standard input."""
    text = "\n".join(commands) + "\n" if commands else None
    subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def ordinary(folder):
    """A disk of 40 GiB with 64 MiB of data here and there, and a snapshot."""
    path = os.path.join(folder, "ordinary.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "40G")
    run("qemu-io", "-f", "qcow2", path,
        commands=[f"write -P {i + 1} {i * 640 * MIB} 1M" for i in range(64)])
    run("qemu-img", "snapshot", "-c", "before", path)
    return path


def bitmaps(folder):
    """A disk of 8 TiB with 16 bitmaps of 16 MiB, written by QEMU: no cluster of them is zero.

    A cluster of bitmap data stands for 32 GiB of the disk, so something is written in each. The
    writes are zeroes, which dirty a bitmap as much as data and keep the rest of the image small.
    """
    path = os.path.join(folder, "bitmaps.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8T")
    for i in range(BITMAPS):
        run("qemu-img", "bitmap", "--add", "-g", "64k", path, f"b{i}")
    run("qemu-io", "-f", "qcow2", path,
        commands=[f"write -z {i * 32 * GIB + (j * 7919 << 16)} 1M"
                  for i in range(8 * TIB // (32 * GIB)) for j in range(4)])
    data = BITMAPS * (8 * TIB // (64 * KIB) // 8)
    assert os.stat(path).st_blocks * 512 >= data, "QEMU has not stored the bitmaps"
    return path


def dense_bitmap(qcow2, folder):
    """A disk of 8 TiB with a bitmap b0 whose 2^27 bits are random: some 67 million extents."""
    path, bits = os.path.join(folder, "dense.qcow2"), os.path.join(folder, "bits")
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8T")
    with open(bits, "wb") as file:
        file.write(random.Random(1).randbytes(8 * TIB // (64 * KIB) // 8))
    run(qcow2, "bitmap", "import", "--no-undo", "-g", "64k", path, "b0", bits)
    os.unlink(bits)
    return path


def sparse_bitmap(qcow2, folder):
    """A disk of 8 TiB with a bitmap b0 of 2^27 bits, one in 128 of them set: 2.1 million extents."""
    path, bits = os.path.join(folder, "sparse.qcow2"), os.path.join(folder, "bits")
    chance = random.Random(5)
    data = bytearray(8 * TIB // (64 * KIB) // 8)
    for _ in range(len(data) * 8 // 128):
        data[chance.randrange(len(data))] |= 1 << chance.randrange(8)
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8T")
    with open(bits, "wb") as file:
        file.write(data)
    run(qcow2, "bitmap", "import", "--no-undo", "-g", "64k", path, "b0", bits)
    os.unlink(bits)
    return path


def claimed_directory(folder):
    """A bitmap directory that claims 8 GiB of zeros in a hole of the file."""
    path = os.path.join(folder, "claimed.qcow2")
    build_named("bad-hostile-sparse-directory", path)
    with open(path, "r+b") as file:
        at = file.read(64 * KIB).index(struct.pack(">II", 0x23852875, 24)) + 8
        file.seek(at)
        file.write(struct.pack(">IIQQ", (1 << 32) - 1, 0, 8 * GIB, GIB))
        file.truncate(9 * GIB)
    return path


def words(file, offset, count):
    file.seek(offset)
    return struct.unpack(f">{count}Q", file.read(8 * count))


def metadata(folder):
    """A disk of 512 GiB, mapped throughout: (its path, the bytes of its tables as a file).

    That is 64 MiB of L2 tables and 16 MiB of refcount blocks. The file is what cat reads as a peer.
    """
    path = os.path.join(folder, "metadata.qcow2")
    copy = os.path.join(folder, "metadata.tables")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, "512G")
    with open(path, "rb") as image, open(copy, "wb") as tables:
        image.seek(0)
        header = image.read(72)
        cluster = 1 << struct.unpack_from(">I", header, 20)[0]
        l1_size, l1_offset, table_offset, table_clusters = struct.unpack_from(">IQQI", header, 36)
        for offset, count in ((l1_offset, l1_size), (table_offset, table_clusters * cluster // 8)):
            entries = words(image, offset, count)
            tables.write(struct.pack(f">{count}Q", *entries))
            for entry in entries:
                if entry & OFFSET:
                    image.seek(entry & OFFSET)
                    tables.write(image.read(cluster))
    assert os.path.getsize(copy) >= 80 * MIB, "the image is not mapped throughout"
    return path, copy


def directory(folder):
    """The largest bitmap directory that QEMU allows: 65,535 entries."""
    path = os.path.join(folder, "directory.qcow2")
    build_named("bad-hostile-bitmaps-65535", path)
    return path


def hostile(folder):
    """Every image that is made to cost time or memory, as [(recipe's name, path)]."""
    made = []
    for prefix in ("good-hostile", "bad-hostile"):
        for name in recipes(prefix):
            path = os.path.join(folder, name + ".qcow2")
            build_named(name, path)
            made.append((name, path))
    return made
