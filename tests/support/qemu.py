# SPDX-License-Identifier: MIT
# QEMU's tools, and images that they make.
"""qemu-img, qemu-io, qemu-nbd and nbdinfo."""
import json
import os
import shutil
import subprocess
import time

CREATE = {
    "default": "64M",
    "zero": "0",
    "one sector": "512",
    "odd": "1000001",
    "large": "8T",
    "v2": "-o compat=0.10 64M",
    "lazy": "-o lazy_refcounts=on 64M",
    "zstd": "-o compression_type=zstd 64M",
    "extended": "-o extended_l2=on 64M",
    "extended 16k": "-o extended_l2=on,cluster_size=16k 64M",
    "preallocated": "-o preallocation=metadata 64M",
    "data file": "-o data_file=data.raw 64M",
    "data file raw": "-o data_file=data.raw,data_file_raw=on 64M",
    "data file raw extended": "-o data_file=data.raw,data_file_raw=on,extended_l2=on 64M",
    "data file raw extended 16k": "-o data_file=data.raw,data_file_raw=on,extended_l2=on,"
                                  "cluster_size=16k 10M",
    "luks": "--object secret,id=s,data=pw -o encrypt.format=luks,encrypt.key-secret=s,"
            "encrypt.iter-time=10 64M",
    "luks sha512": "--object secret,id=s,data=pw -o encrypt.format=luks,encrypt.key-secret=s,"
                   "encrypt.iter-time=10,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,"
                   "encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256,"
                   "encrypt.hash-alg=sha512 64M",
    "backing": "-u -b base.qcow2 -F qcow2 64M",
    "backing raw": "-u -b base.raw -F raw 64M",
    "backing elsewhere": "-u -b sub/dir/base.qcow2 -F qcow2 64M",
    "backing absolute": "-u -b /nowhere/base.qcow2 -F qcow2 64M",
    "backing protocol": "-u -b nbd://127.0.0.1:1/x -F raw 64M",
    "backing utf-8": "-u -b b\u00e4cker.qcow2 -F qcow2 64M",
    **{f"clusters {1 << bits}": f"-o cluster_size={1 << bits} 64M" for bits in range(9, 22)},
    **{f"refcounts {1 << order}": f"-o refcount_bits={1 << order} 64M" for order in range(7)},
}
# On top of an image of 64 MiB: what qemu-img and qemu-io do to it.
CHANGED = {
    "snapshots": [["qemu-img", "snapshot", "-c", "one", "{}"],
                  ["qemu-io", "-c", "write 0 1M", "{}"],
                  ["qemu-img", "snapshot", "-c", "zw\u00f6lf", "{}"]],
    "bitmaps": [["qemu-img", "bitmap", "--add", "{}", "b0"],
                ["qemu-img", "bitmap", "--add", "--disable", "-g", "1M", "{}", "b1"],
                ["qemu-img", "bitmap", "--add", "-g", "512", "{}", "b2"]],
    "resized": [["qemu-img", "resize", "-q", "{}", "100M"]],
    "data": [["qemu-io", "-c", "write -P 7 3M 5M", "{}"]],
    "compressed": [["qemu-io", "-c", "write -c -P 7 3M 64k", "{}"]],
    "amended": [["qemu-img", "amend", "-o", "compat=0.10", "{}"]],
}


def shell(*command, cwd):
    """Once more if qemu-img could not time its key derivation: on a coarse clock it may measure 0."""
    for _ in range(20):
        done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              check=False)
        if b"Unable to get accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done


def tool(*words, code=0):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          check=False)
    assert code is None or done.returncode == code, done
    return done.stdout.decode(errors="replace")


def create(path, size, *options):
    words = ["-o", ",".join(options)] if options else []
    tool("qemu-img", "create", "-q", "-f", "qcow2", *words, path, str(size))
    return path


def nbd_extents(path, name, folder):
    """What a real qemu-nbd, on a socket of its own, tells nbdinfo of a copy of the image."""
    copy, socket = str(folder / "nbd.qcow2"), str(folder / "nbd.socket")
    shutil.copyfile(path, copy)
    server = subprocess.Popen(["qemu-nbd", "-f", "qcow2", "-t", "-k", socket, "-B", name, copy],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for _ in range(1000):
            if os.path.exists(socket) or server.poll() is not None:
                break
            time.sleep(0.01)
        assert server.poll() is None, server.stdout.read()
        # The socket is there a moment before anybody listens.
        for _ in range(100):
            told = tool("nbdinfo", "--json", f"--map=qemu:dirty-bitmap:{name}",
                        f"nbd+unix:///?socket={socket}", code=None)
            if "Connection refused" not in told:
                break
            time.sleep(0.05)
        told = json.loads(told)
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(timeout=60)
        server.stdout.close()
        if os.path.exists(socket):
            os.remove(socket)
    joined = []
    for piece in told:
        dirty = piece["type"] & 1 == 1
        if joined and joined[-1][2] == dirty:
            joined[-1] = (joined[-1][0], joined[-1][1] + piece["length"], dirty)
        else:
            joined.append((piece["offset"], piece["length"], dirty))
    return joined
