# SPDX-License-Identifier: MIT
"""export: a sparse disk, compressed ones, and an increment, beside qemu-img convert and nbdcopy."""

import base64
import os
import subprocess

import targets
import timing

MIB = 1 << 20
# Eight of ten parts of the sparse disk are holes.
SPARSE_BYTES, DATA_BYTES = 10 << 30, 1 << 30
COMPRESSED_BYTES = 512 * MIB


def quietly(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def text_of(size):
    """Bytes of which a compressor makes three quarters."""
    piece = base64.b64encode(os.urandom(12 * MIB))
    return (piece * (size // len(piece) + 1))[:size]


def make_raw(path, size, data, step):
    """A raw disk with pieces of data at every `step` bytes."""
    pieces = size // step
    with open(path, "wb") as stream:
        stream.truncate(size)
        content = text_of(data // pieces)
        for number in range(pieces):
            stream.seek(number * step)
            stream.write(number.to_bytes(8, "big") + content[8:])


def convert(raw, path, *options):
    quietly("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-W", *options, raw, path)


def nbdcopy(path, target):
    """qemu-nbd serves the disk to nbdcopy, and ends with it."""
    return ["nbdcopy", "--", "[", "qemu-nbd", "-r", "-f", "qcow2", path, "]", target]


def peers(path, target):
    """qemu-img as it is, as it is fastest, and nbdcopy: (label, command)."""
    to = ["-f", "qcow2", "-O", "raw", path, target]
    return [("qemu-img convert", ["qemu-img", "convert", *to]),
            ("    -m 16 -W", ["qemu-img", "convert", "-m", "16", "-W", *to]),
            ("    -m 16 -W -T none", ["qemu-img", "convert", "-m", "16", "-W", "-T", "none", *to]),
            ("qemu-nbd + nbdcopy", nbdcopy(path, target))]


def full(bench, title, path, target=None):
    """Nobody waits for the medium; each writes a file of its own."""
    out = bench.path("export.raw")
    bench.report.title(f"export: {title}")
    command = [bench.qcow2, "export", "--force", "--no-sync", path, "--to=" + out]
    bench.compare(("qcow2 export --no-sync", command), peers(path, out + ".qemu"), target=target)
    bench.memory(command)
    synced = timing.side_by_side([[bench.qcow2, "export", "--force", path, "--to=" + out],
                                  ["sh", "-c", f"qemu-img convert -f qcow2 -O raw {path} {out}.qemu && "
                                               f"sync {out}.qemu"]], bench.runs)
    bench.report.times("qcow2 export", synced[0])
    bench.report.times("    qemu-img convert, sync", synced[1], synced[0].median)
    quietly("cmp", out, out + ".qemu")
    os.unlink(out + ".qemu")
    return out


def increment(bench, path, base):
    """One percent of the data is dirty. No tool of QEMU copies only that: nbdcopy copies all."""
    target = bench.path("export.nbd")
    quietly("qemu-img", "bitmap", "--add", path, "b")
    step = SPARSE_BYTES // 160
    for number in range(160):
        quietly("qemu-io", "-f", "qcow2", "-c", f"write -P {number % 255 + 1} {number * step + 4 * MIB} 64k", path)
    bench.report.title("export --bitmap: 10 MiB are dirty")
    ours = [bench.qcow2, "export", path, "--bitmap=b", "--to=" + base]
    bench.compare(("qcow2 export --bitmap --no-sync", ours + ["--no-sync"]),
                  [("qemu-nbd + nbdcopy, all of the disk", nbdcopy(path, target)),
                   ("qemu-nbd + nbdinfo, its map alone",
                    ["nbdinfo", "--map=qemu:dirty-bitmap:b", "--", "[", "qemu-nbd", "-r", "-f", "qcow2", "-B", "b",
                     path, "]"])])
    bench.compare(("qcow2 export --bitmap", ours), [])
    os.unlink(target)


def run(bench):
    raw, path = bench.path("export.source"), bench.path("export.qcow2")
    make_raw(raw, COMPRESSED_BYTES, COMPRESSED_BYTES, MIB)
    for kind in ("zlib", "zstd"):
        convert(raw, path, "-c", "-o", f"compression_type={kind}")
        os.unlink(full(bench, f"{COMPRESSED_BYTES // MIB} MiB, all compressed with {kind}", path, targets.EXPORT))
        os.unlink(path)
    os.unlink(raw)
    make_raw(raw, SPARSE_BYTES, DATA_BYTES, 10 * MIB)
    convert(raw, path)
    os.unlink(raw)
    base = full(bench, f"{SPARSE_BYTES >> 30} GiB with {DATA_BYTES >> 30} GiB of data", path)
    increment(bench, path, base)
    os.unlink(base)
    os.unlink(path)
