# SPDX-License-Identifier: MIT
# Attacks qemu-img with images that "qcow2 vet" accepts: an accepted image must not make it open another
# file, take more than 512 MiB, or more than 10 s of processor time. By hand:
#
#	QCOW2=build/release/cmd/qcow2 python3 -B -m tests.oracle.vet_attack              # the ideas
#	QCOW2=build/release/cmd/qcow2 python3 -B -m tests.oracle.vet_attack -n 2000      # random fields, too
#
# Files are sparse; what is converted is thrown away. --keep=FOLDER keeps the images of findings.
"""Attacks on qemu-img by images that vet accepts."""
import argparse
import json
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib

MOST_BYTES = 512 << 20
MOST_SECONDS = 10
COPIED = 1 << 63
# Files that programs open for themselves.
OWN = ("/etc/ld.so", "/lib", "/usr/", "/proc/", "/sys/", "/dev/null", "/etc/ssl", "/etc/gnutls", "/etc/localtime")


def command():
    return os.environ.get("QCOW2", "qcow2")


# ---- images ----

class Sparse:
    """An image put together byte by byte: what is not put is a hole."""

    def __init__(self, cluster_bits=16, size=1 << 30, **fields):
        self.cluster = 1 << cluster_bits
        self.pieces = []
        self.next = self.cluster
        self.length = 0
        self.header = {"version": 3, "backing_offset": 0, "backing_size": 0, "cluster_bits": cluster_bits,
                       "size": size, "crypt": 0, "l1_size": 0, "l1": 0, "reftable": 0, "reftable_clusters": 1,
                       "nb_snapshots": 0, "snapshots": 0, "incompatible": 0, "compatible": 0, "autoclear": 0,
                       "order": 4, "length": 112, **fields}
        self.extensions = b""
        self.refblocks = []

    def take(self, size):
        """Room for so many bytes, from a cluster's start."""
        at = self.next
        self.next += -(-size // self.cluster) * self.cluster
        return at

    def put(self, at, data):
        self.pieces.append((at, data))

    def add(self, data):
        at = self.take(len(data))
        self.put(at, data)
        return at

    def entries(self):
        """How many entries an L2 table has."""
        return self.cluster // (16 if self.header["incompatible"] & 16 else 8)

    def l1_for(self, tables, entries=None):
        """An L1 table that leads to these tables."""
        span = self.entries() * self.cluster
        count = max(entries or 0, -(-self.header["size"] // span), len(tables), 1)
        self.header["l1_size"] = count
        self.header["l1"] = self.take(count * 8)
        self.put(self.header["l1"], b"".join(struct.pack(">Q", table | COPIED if table else 0) for table in tables))

    def refcounts(self):
        """A refcount of 1 for each cluster that was taken, its own ones as well."""
        bits = 1 << self.header["order"]
        per_block = self.cluster * 8 // bits
        blocks = table_clusters = 1
        while True:
            clusters = self.next // self.cluster + blocks + table_clusters
            if blocks * per_block >= clusters and table_clusters * self.cluster >= blocks * 8:
                break
            blocks = -(-clusters // per_block)
            table_clusters = -(-blocks * 8 // self.cluster)
        table = self.take(table_clusters * self.cluster)
        first = self.take(blocks * self.cluster)
        self.header["reftable"], self.header["reftable_clusters"] = table, table_clusters
        self.put(table, b"".join(struct.pack(">Q", first + i * self.cluster) for i in range(blocks)))
        ones = {0: b"\xff", 1: b"\x55", 2: b"\x11"}.get(self.header["order"]) or (b"\1".rjust(bits // 8, b"\0"))
        self.put(first, (ones * (clusters * bits // 8 // len(ones) + 1))[:-(-clusters * bits // 8)])

    def extension(self, magic, data):
        self.extensions += struct.pack(">II", magic, len(data)) + data + bytes(-len(data) % 8)

    def write(self, path):
        h = self.header
        if not h["reftable"]:
            self.refcounts()
        raw = struct.pack(">4sIQIIQIIQQIIQQQQIIB7x", b"QFI\xfb", h["version"], h["backing_offset"],
                          h["backing_size"], h["cluster_bits"], h["size"], h["crypt"], h["l1_size"], h["l1"],
                          h["reftable"], h["reftable_clusters"], h["nb_snapshots"], h["snapshots"],
                          h["incompatible"] | (8 if h.get("compression") else 0), h["compatible"], h["autoclear"],
                          h["order"], h["length"], h.get("compression", 0))
        with open(path, "wb") as stream:
            stream.truncate(max(self.length, self.next))
            for at, data in self.pieces:
                stream.seek(at)
                stream.write(data)
            stream.seek(0)
            stream.write(raw + self.extensions)


IDEAS = {}


def idea(function):
    IDEAS[function.__name__] = function
    return function


@idea
def plain():
    """Nothing wrong: what everything is measured by."""
    image = Sparse()
    image.l1_for([])
    return image


@idea
def sparse_file_512():
    """A file of nearly 2 TiB of holes, clusters of 512 bytes, a bit for each."""
    image = Sparse(9, 1 << 30, order=0)
    image.l1_for([])
    image.length = 1900 << 30
    return image


@idea
def sparse_file_checked():
    """As many clusters as qemu-img check takes."""
    image = Sparse(9, 1 << 30, order=0)
    image.l1_for([])
    image.length = (1 << 40) - 512
    return image


@idea
def sparse_file_64k():
    image = Sparse(16, 1 << 30, order=0)
    image.l1_for([])
    image.length = 15 << 40
    return image


@idea
def leaks_of_a_sparse_file():
    """All refcounts set, by one block that the whole table leads to."""
    image = Sparse(16, 1 << 30, order=0)
    image.l1_for([])
    image.length = 1 << 40
    blocks = 40
    block = image.add(b"\xff" * image.cluster)
    image.header["reftable"] = image.add(struct.pack(f">{blocks}Q", *[block] * blocks))
    return image


@idea
def snapshots_of_faults():
    """A thousand snapshots of one L2 table, of which every entry is wrong."""
    image = Sparse(16, 512 << 20)
    count = image.entries()
    table = image.add(b"".join(struct.pack(">Q", COPIED | (1 << 50) + i * image.cluster) for i in range(count)))
    image.l1_for([table])
    return with_snapshots(image, table, 1000)


def with_snapshots(image, table, count, l1_size=None):
    """Snapshots of one L1 table, which leads to that L2 table."""
    l1_size = l1_size or image.header["l1_size"]
    l1 = image.take(l1_size * 8)
    image.put(l1, struct.pack(">Q", table))
    rows = b""
    for index in range(count):
        name = b"%d" % index
        row = struct.pack(">QIHHIIQII", l1, l1_size, len(name), len(name), 0, 0, 0, 0, 16)
        row += struct.pack(">QQ", 0, image.header["size"]) + name + name
        rows += row + bytes(-len(row) % 8)
    image.header["snapshots"] = image.add(rows)
    image.header["nb_snapshots"] = count
    return image


@idea
def snapshots_of_data():
    image = Sparse(16, 512 << 20)
    count = image.entries()
    data = image.add(b"x" * image.cluster)
    table = image.add(struct.pack(">Q", COPIED | data) * count)
    image.l1_for([table])
    return with_snapshots(image, table, 1000)


@idea
def snapshots_of_compressed():
    image = Sparse(21, 512 << 30)
    count = image.entries()
    data = image.add(b"x" * 512)
    table = image.add(struct.pack(">Q", 1 << 62 | data) * count)
    image.l1_for([table])
    return with_snapshots(image, table, 900)


@idea
def faults_of_many_tables():
    """40 MiB of L2 tables, all of whose entries lead behind the end of the file."""
    image = Sparse(16, 400 << 30)
    count = image.entries()
    raw = b"".join(struct.pack(">Q", COPIED | (1 << 50) + i * image.cluster) for i in range(count))
    image.l1_for([image.add(raw) for _ in range(600)])
    return image


@idea
def misaligned_entries():
    image = Sparse(16, 400 << 30)
    count = image.entries()
    raw = struct.pack(">Q", COPIED | 0x10200) * count
    image.l1_for([image.add(raw) for _ in range(600)])
    return image


@idea
def subclusters():
    """Extended L2 entries of which every other subcluster is zeros."""
    image = Sparse(16, 256 << 30, incompatible=16)
    raw = struct.pack(">QQ", 0, 0x55555555 << 32) * image.entries()
    image.l1_for([image.add(raw) for _ in range(1000)])
    return image


@idea
def small_tables():
    """A million L2 tables of 512 bytes, in holes."""
    image = Sparse(9, 32 << 30)
    count = (32 << 30) // (64 * 512)
    first = image.take(count * 512)
    image.l1_for([first + i * 512 for i in range(count)])
    return image


@idea
def no_tables():
    """The largest disk with clusters of 512 bytes, as qemu-img makes it."""
    image = Sparse(9, 128 << 30)
    image.l1_for([])
    return image


@idea
def empty_tables():
    """Every L1 entry leads to an L2 table of its own in a hole."""
    image = Sparse(16, 30 << 40)
    first = image.take(61440 * image.cluster)
    image.l1_for([first + i * image.cluster for i in range(61440)])
    return image


@idea
def shared_data():
    """Every cluster of the disk is the same one."""
    image = Sparse(16, 15 << 30)
    count = image.entries()
    data = image.add(b"x" * image.cluster)
    raw = struct.pack(">Q", data) * count
    image.l1_for([image.add(raw) for _ in range(30)])
    return image


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


@idea
def shared_compressed():
    image = Sparse(16, 15 << 30)
    at = image.add(deflated(b"x" * image.cluster))
    raw = struct.pack(">Q", 1 << 62 | at) * image.entries()
    image.l1_for([image.add(raw) for _ in range(30)])
    return image


@idea
def shared_compressed_2m():
    """Half a terabyte of one compressed cluster, from one L2 table."""
    image = Sparse(21, 512 << 30)
    packed = deflated(b"x" * image.cluster)
    at = image.add(packed)
    raw = struct.pack(">Q", 1 << 62 | (len(packed) // 512 + 1) << 49 | at) * image.entries()
    image.l1_for([image.add(raw)])
    return image


@idea
def slow_compressed():
    """A cluster of 2 MiB in empty blocks: much to read for nothing."""
    image = Sparse(21, 20 << 30)
    packed = b"\0\0\0\xff\xff" * 700000 + deflated(b"x" * image.cluster)
    at = image.add(packed)
    raw = struct.pack(">Q", 1 << 62 | (len(packed) // 512 + 1) << 49 | at) * 10240
    image.l1_for([image.add(raw)])
    return image


@idea
def refcount_table_of_garbage():
    """8 MiB of refcount table entries that lead nowhere."""
    image = Sparse(16, 1 << 30)
    image.l1_for([])
    image.header["reftable"] = image.add(b"".join(struct.pack(">Q", (1 << 50) + i * 65536) for i in range(1 << 20)))
    image.header["reftable_clusters"] = 128
    return image


@idea
def refcount_table_of_one_block():
    image = Sparse(16, 1 << 30)
    image.l1_for([])
    block = image.add(b"\xff" * image.cluster)
    image.header["reftable"] = image.add(struct.pack(">Q", block) * (1 << 20))
    image.header["reftable_clusters"] = 128
    return image


def with_bitmaps(image, count, granularity, table, entries, flags=0):
    rows = b""
    for index in range(count):
        name = b"%d" % index
        row = struct.pack(">QIIBBHI", table(index), entries, flags, 1, granularity, len(name), 0) + name
        rows += row + bytes(-len(row) % 8)
    at = image.add(rows)
    image.extension(0x23852875, struct.pack(">IIQQ", count, 0, len(rows), at))
    image.header["autoclear"] |= 1
    return image


@idea
def bitmaps_of_small_clusters():
    """Bitmaps that are loaded 512 bytes at a time."""
    image = Sparse(9, 127 << 30)
    image.l1_for([])
    entries = (127 << 30) // 512 // 8 // 512
    data = image.add(b"\xff" * 512)
    tables = [image.add(struct.pack(">Q", data) * entries) for _ in range(15)]
    return with_bitmaps(image, 15, 9, tables.__getitem__, entries)


@idea
def bitmaps_in_use():
    """A thousand bitmaps in use with large tables."""
    image = Sparse(16, 1 << 30)
    image.l1_for([])
    data = image.add(b"\xff" * 65536)
    tables = [image.add(struct.pack(">Q", data) * 8192) for _ in range(100)]
    return with_bitmaps(image, 100, 16, tables.__getitem__, 8192, 1)


@idea
def bitmaps_of_ones():
    image = Sparse(16, 1 << 40)
    image.l1_for([])
    entries = (1 << 40) // 65536 // 8 // 65536
    tables = [image.add(struct.pack(">Q", 1) * entries) for _ in range(200)]
    return with_bitmaps(image, 200, 16, tables.__getitem__, entries)


@idea
def bitmaps_of_512():
    image = Sparse(16, 1 << 40)
    image.l1_for([])
    entries = (1 << 40) // 512 // 8 // 65536
    tables = [image.add(struct.pack(">Q", 1) * entries)]
    return with_bitmaps(image, 1, 9, tables.__getitem__, entries)


@idea
def snapshots_with_large_tables():
    """A thousand snapshots of one L1 table of 32 MiB in a hole."""
    image = Sparse(16, 1 << 30)
    image.l1_for([])
    return with_snapshots(image, 0, 1000, (4 << 20) - 1)


@idea
def fragments():
    """Clusters in reverse order, so that each is an extent, in a sparse file."""
    image = Sparse(9, 1 << 30)
    count = (1 << 30) // 512
    first = image.take(count * 512)
    tables = []
    for begin in range(0, count, 64):
        tables.append(image.add(b"".join(struct.pack(">Q", COPIED | first + (count - 1 - i) * 512)
                                         for i in range(begin, begin + 64))))
    image.l1_for(tables)
    return image


@idea
def zstd_window():
    """A frame that asks for a window of 128 MiB."""
    image = Sparse(21, 64 << 30, compression=1)
    cluster = b"\x28\xb5\x2f\xfd" + bytes([0x00, (27 - 10) << 3]) + struct.pack("<I", (0x20000 << 3 | 2))[:3] + b"x"
    cluster += struct.pack("<I", (0x20000 << 3 | 2))[:3] + b"x"
    for _ in range(13):
        cluster += struct.pack("<I", (0x20000 << 3 | 2))[:3] + b"x"
    cluster += struct.pack("<I", (0x20000 << 3 | 3))[:3] + b"x"
    at = image.add(cluster)
    raw = struct.pack(">Q", 1 << 62 | at) * 2000
    image.l1_for([image.add(raw)])
    return image


# ---- the programs ----

class Found(Exception):
    """What is reported."""


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS + 2, MOST_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def measure(words, seconds=40):
    """Runs it. Returns exit code, peak bytes, seconds of processor time, and how much it printed."""
    begin = time.monotonic()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=limit) as child:  # pylint: disable=subprocess-popen-preexec-fn
        printed, first = 0, b""
        while piece := os.read(child.stdout.fileno(), 1 << 20):
            printed += len(piece)
            first = first or piece[:200]
            if time.monotonic() - begin > seconds:
                child.kill()
                break
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
    return status, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime, printed, first


def commands(path, size):
    """What services run on an upload."""
    return {
        "info": ["qemu-img", "info", "-f", "qcow2", path],
        "probe": ["qemu-img", "info", "--output=json", path],
        "check": ["qemu-img", "check", path],
        "map": ["qemu-img", "map", "--output=json", path],
        "snapshot": ["qemu-img", "snapshot", "-l", path],
        "measure": ["qemu-img", "measure", "-O", "qcow2", path],
        "convert": ["qemu-img", "convert", "-n", "--target-is-zero", "-f", "qcow2", "--target-image-opts", path,
                    f"driver=null-co,read-zeroes=on,size={size}"],
        "compare": ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, path],
    }


def opened(path):
    """Files, other than the image, that a program opens or connects to."""
    others = set()
    for words in (["info", path], ["check", path], ["convert", "-n", "-f", "qcow2", "--target-image-opts", path,
                                                    "driver=null-co,size=1M"]):
        with tempfile.NamedTemporaryFile(mode="r") as log:
            subprocess.run(["strace", "-f", "--seccomp-bpf", "-o", log.name, "-e",
                            "trace=open,openat,openat2,connect,execve,creat", "qemu-img", *words],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
            for line in log:
                name = re.search(r'(?:open|openat|openat2|creat|execve)\(.*?"((?:[^"\\]|\\.)*)"', line)
                if "connect(" in line or name and name[1] != path and not name[1].startswith(OWN):
                    others.add(line.strip()[:200])
    return others


def vet(path, *options):
    """The verdict, and how long and how much memory it took to find it."""
    done = measure([command(), "vet", "-j", *options, path])
    return done


def reasons(path, *options):
    done = subprocess.run([command(), "vet", "-j", *options, path], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=120, check=False)
    found = json.loads(done.stdout)
    return found["verdict"], sorted({reason["rule"] for reason in found["reasons"]})


def attack(name, path, size, always=False):
    """Gives an accepted image to the programs. Returns lines of what was found."""
    begin = time.monotonic()
    verdict, rules = reasons(path)
    spent = time.monotonic() - begin
    blocks = os.stat(path).st_blocks * 512
    found = [f"{name}: vet took {spent:.1f} s"] if spent > 2 else []
    print(f"{name}: {verdict} {' '.join(rules)} ({blocks >> 10} KiB of {os.path.getsize(path) >> 10}), {spent:.3f} s",
          flush=True)
    if verdict != "accepted" and not always:
        return found
    for word, words in commands(path, size).items():
        status, peak, seconds, printed, first = measure(words)
        text = f"{name}: {word}: {seconds:.1f} s, {peak >> 20} MiB, {printed >> 10} KiB printed, status {status}"
        bad = seconds > MOST_SECONDS or peak > MOST_BYTES
        if bad or seconds > 1 or always:
            print("  " + text + (" FOUND" if bad else ""), first[:100] if status else "", flush=True)
        if bad and verdict == "accepted":
            found.append(text)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--always", action="store_true")
    parser.add_argument("--keep")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in IDEAS.items():
            if arguments.only and not re.search(arguments.only, name):
                continue
            path = os.path.join(folder, name + ".qcow2")
            image = make()
            image.write(path)
            found += attack(name, path, image.header["size"], arguments.always)
            if arguments.keep:
                shutil.move(path, arguments.keep)
            else:
                os.unlink(path)
    print(f"{len(found)} findings", *found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
