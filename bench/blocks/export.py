# SPDX-License-Identifier: MIT
"""export: a sparse disk, compressed ones, and an increment, beside qemu-img convert and nbdcopy."""

import base64
import os
import subprocess

import targets
import timing

MIB = 1 << 20
# Nine of ten parts of the sparse disk are holes.
SPARSE_BYTES, DATA_BYTES = 40 << 30, 4 << 30
COMPRESSED_BYTES = 512 * MIB
ENCRYPTED_BYTES = 1 << 30


def quietly(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def literals(size):
    """Bytes of which a compressor makes three quarters: it finds no strings that repeat."""
    piece = base64.b64encode(os.urandom(12 * MIB))
    return (piece * (size // len(piece) + 1))[:size]


def system_files(size, root="/usr"):
    """What the disk of a system has: the programs, libraries and texts of this one, one after the other."""
    content = bytearray()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if len(content) < size and os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as stream:
                    content += stream.read(size - len(content))
    return (bytes(content) * (size // len(content) + 1))[:size]


def make_raw(path, size, data, step):
    """A raw disk with pieces of data at every `step` bytes."""
    pieces = size // step
    with open(path, "wb") as stream:
        stream.truncate(size)
        content = literals(data // pieces)
        for number in range(pieces):
            stream.seek(number * step)
            stream.write(number.to_bytes(8, "big") + content[8:])


def convert(raw, path, *options):
    quietly("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-W", *options, raw, path)


def nbdcopy(path, target):
    """qemu-nbd serves the disk to nbdcopy, and ends with it."""
    return ["nbdcopy", "--", "[", "qemu-nbd", "-r", "-f", "qcow2", path, "]", target]


def qemu_img(*to):
    """qemu-img as it is, and as it is fastest: (label, command)."""
    return [("    " + " ".join(more) if more else "qemu-img convert",
             ["qemu-img", "convert", *more, *to])
            for more in ([], ["-m", "16", "-W"], ["-m", "16", "-W", "-T", "none"])]


def peers(path, target):
    return qemu_img("-f", "qcow2", "-O", "raw", path, target) + \
        [("qemu-nbd + nbdcopy", nbdcopy(path, target))]


def remover(*paths):
    """What removes the targets, before each run: a file system writes what is replaced, and waits for it."""
    def remove():
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)
    return remove


def full(bench, title, path, target=None):
    """Nobody waits for the medium; each writes a file of its own."""
    out = bench.path("export.raw")
    bench.report.title(f"export: {title}")
    command = [bench.qcow2, "export", "--force", "--no-sync", path, "--to=" + out]
    afresh = remover(out, out + ".qemu")
    bench.compare(("qcow2 export --no-sync", command), peers(path, out + ".qemu"), target=target, before=afresh)
    synced = timing.side_by_side([[bench.qcow2, "export", "--force", path, "--to=" + out],
                                  ["sh", "-c", f"qemu-img convert -f qcow2 -O raw {path} {out}.qemu && "
                                               f"sync {out}.qemu"]], bench.runs, before=afresh)
    bench.report.times("qcow2 export", synced[0])
    bench.report.times("    qemu-img convert, sync", synced[1], synced[0].median)
    bench.memory(command)
    quietly("cmp", out, out + ".qemu")
    os.unlink(out + ".qemu")
    return out


def encrypted(bench):
    """LUKS as QEMU makes it, AES-256 in XTS mode. Few iterations: the data are measured, not the key."""
    raw, path, out = (bench.path("export." + name) for name in ("source", "luks", "raw"))
    key = bench.path("export.key")
    with open(key, "w", encoding="ascii") as stream:
        stream.write("secret")
    make_raw(raw, ENCRYPTED_BYTES, ENCRYPTED_BYTES, MIB)
    secret = ["--object", f"secret,id=s,file={key}"]
    convert(raw, path, *secret, "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10")
    bench.report.title(f"export: {ENCRYPTED_BYTES >> 30} GiB, encrypted with LUKS")
    ours = [bench.qcow2, "export", "--force", "--no-sync", "--key-file=" + key, path, "--to=" + out]
    bench.compare(("qcow2 export --no-sync", ours),
                  qemu_img(*secret, "--image-opts", "-O", "raw",
                           f"driver=qcow2,encrypt.key-secret=s,file.filename={path}", out + ".qemu"),
                  before=remover(out, out + ".qemu"))
    bench.memory(ours)
    quietly("cmp", out, raw)
    remover(raw, path, out, out + ".qemu", key)()


def increment(bench, path, base):
    """No tool of QEMU copies only what is dirty: nbdcopy copies all."""
    target = bench.path("export.nbd")
    quietly("qemu-img", "bitmap", "--add", path, "b")
    dirty = DATA_BYTES // 100 >> 16
    step = SPARSE_BYTES // dirty & ~0xffff
    quietly("qemu-io", "-f", "qcow2", *(word for number in range(dirty) for word in (
        "-c", f"write -P {number % 255 + 1} {number * step} 64k")), path)
    bench.report.title(f"export --bitmap: {dirty / 16:.0f} MiB are dirty, 1 % of the data")
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
    for words, content, target in (("files of a system", system_files(COMPRESSED_BYTES), targets.EXPORT),
                                   ("literals", literals(COMPRESSED_BYTES), {})):
        with open(raw, "wb") as stream:
            stream.write(content)
        for kind in ("zlib", "zstd"):
            convert(raw, path, "-c", "-o", f"compression_type={kind}")
            title = f"{COMPRESSED_BYTES // MIB} MiB of {words}, all compressed with {kind}"
            os.unlink(full(bench, title, path, target.get(kind)))
            os.unlink(path)
    os.unlink(raw)
    encrypted(bench)
    make_raw(raw, SPARSE_BYTES, DATA_BYTES, 10 * MIB)
    convert(raw, path)
    os.unlink(raw)
    base = full(bench, f"{SPARSE_BYTES >> 30} GiB with {DATA_BYTES >> 30} GiB of data", path)
    increment(bench, path, base)
    os.unlink(base)
    os.unlink(path)
