#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# The guest's bytes, as examples/read_disk.c reads them, against qemu-img convert: on chains of images of
# random options, changed at random by qemu-io.
"""tests/oracle/guest_random.py READ_DISK [FIRST-SEED [COUNT [SECONDS]]]: prints the seeds that differ."""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

KIB, MIB = 1 << 10, 1 << 20
LAYERS_MOST = 4


def call(folder, *command, text=None, check=True):
    done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, cwd=folder)
    assert done.returncode == 0 or not check, f"{command}: {done.stdout}"
    return done.returncode == 0


class Layer:
    """One file of a chain: its options, and how it is changed. Its names are relative."""

    def __init__(self, rng, folder, depth):
        self.folder = folder
        self.name = f"layer{depth}"
        self.size = rng.randrange(1, 9) * 64 * KIB - rng.choice((0, 0, 512, 1024, 4096))
        self.bits = rng.choice((9, 10, 12, 13, 14, 15, 16, 16, 16, 17, 18, 21))
        self.raw = False
        self.snapshots = []  # the size of each
        self.options = {}
        self.kinds = "wwzd"

    def choose(self, rng, is_base):
        self.raw = is_base and rng.random() < 0.4
        if self.raw:
            return
        self.size = max(self.size, rng.choice((0, 40, 300)) << self.bits >> 1 & ~511) % (12 * MIB)
        self.size = max(self.size, 64 * KIB)
        options = self.options = {"cluster_size": 1 << self.bits}
        if rng.random() < 0.2:
            options["compat"] = "0.10"
            self.kinds = "wwdc"
            return
        options["refcount_bits"] = rng.choice((1, 2, 4, 8, 16, 16, 32, 64))
        options["lazy_refcounts"] = rng.choice(("on", "off"))
        if rng.random() < 0.4:
            self.bits = options["cluster_size"] = max(self.bits, 14)
            options["cluster_size"] = 1 << self.bits
            options["extended_l2"] = "on"
        if rng.random() < 0.2:
            options["data_file"] = self.name + ".data"
            options["data_file_raw"] = rng.choice(("on", "off")) if is_base else "off"
            options["refcount_bits"] = 16
            return
        options["compression_type"] = rng.choice(("zlib", "zstd"))
        self.kinds = "wwzdcc"

    def create(self, below):
        if self.raw:
            call(self.folder, "qemu-img", "create", "-q", "-f", "raw", self.name, str(self.size))
            return
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        backing = ["-b", below.name, "-F", "raw" if below.raw else "qcow2"] if below else []
        call(self.folder, "qemu-img", "create", "-q", "-f", "qcow2", "-o", options, *backing, self.name,
             str(self.size))

    def command(self, rng):
        cluster, size = 1 << self.bits, self.size
        kind = rng.choice(self.kinds)
        grain = rng.choice((512, cluster, max(cluster // 32, 512)))
        start = rng.randrange(size) // grain * grain
        length = min(rng.randrange(1, 6) * max(grain, cluster // 8), size - start)
        if kind == "c":
            start = start // cluster * cluster
            return f"write -c -P {rng.randrange(256)} {start} {min(cluster, size - start)}"
        if kind == "d":
            return f"discard {start} {length}"
        if kind == "z":
            return f"write -z {rng.choice(('', '-u'))} {start} {length}"
        return f"write -P {rng.randrange(256)} {start} {length}"

    def change(self, rng):
        commands = [self.command(rng) for _ in range(rng.randrange(1, 30))]
        # QEMU refuses some of them, such as compressed writes of parts of a cluster.
        call(self.folder, "qemu-io", "-t", "unsafe", "-f", "raw" if self.raw else "qcow2", "-d", "unmap", self.name,
             text="\n".join(commands) + "\n", check=False)

    def live(self, rng):
        """Changes, snapshots, another size."""
        for _ in range(rng.randrange(1, 3)):
            self.change(rng)
            if self.raw or "data_file" in self.options:
                continue
            # Narrow refcounts and sizes that are no clusters are more than QEMU can do now and then.
            name = f"s{len(self.snapshots)}"
            if rng.random() < 0.4 and call(self.folder, "qemu-img", "snapshot", "-c", name,
                                           self.name, check=False):
                self.snapshots.append(self.size)
            if rng.random() < 0.2:
                size = self.size + rng.randrange(1, 200) * 512
                if call(self.folder, "qemu-img", "resize", "-q", self.name, str(size), check=False):
                    self.size = size


def read(program, layer, *arguments, status=0):
    done = subprocess.run([program, layer.name, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, cwd=layer.folder)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == status, f"{layer.name}: exit status {done.returncode}: {said}"
    return said if status else done.stdout


def convert(layer, *options):
    """The bytes of the disk, or where QEMU cannot read what it has made itself, as it happens."""
    done = subprocess.run(["qemu-img", "convert", "-t", "unsafe", "-f", "qcow2", "-O", "raw", *options,
                           layer.name, "out"], stderr=subprocess.PIPE, text=True, check=False,
                          cwd=layer.folder)
    if done.returncode:
        at = re.search(r"error while reading at byte (\d+)", done.stderr)
        assert at, done.stderr
        return int(at[1])
    with open(os.path.join(layer.folder, "out"), "rb") as stream:
        return stream.read()


def differ(mine, theirs):
    """Where the first difference is, or nothing."""
    if mine == theirs:
        return ""
    at = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), min(len(mine), len(theirs)))
    return f"differ at {at:#x} ({len(mine)} and {len(theirs)} bytes)"


def compare(program, rng, layer):
    wanted = convert(layer)
    if isinstance(wanted, int):
        said = read(program, layer, status=2)
        return "" if f"byte {wanted:#x} of" in said else f"QEMU fails at {wanted:#x}, not {said}"
    wrong = differ(read(program, layer), wanted)
    for _ in range(3):
        at = rng.randrange(len(wanted))
        length = rng.randrange(1, min(300000, len(wanted) - at) + 1)
        wrong = wrong or differ(read(program, layer, at, length), wanted[at:at + length])
    # QEMU shows a snapshot in the size of the active disk.
    for index, size in enumerate(layer.snapshots):
        wanted = convert(layer, "-l", f"snapshot.name=s{index}")
        if isinstance(wanted, int):
            continue
        wanted = wanted[:size & ~511]
        wrong = wrong or differ(read(program, layer, 0, len(wanted), index), wanted)
    return wrong


def trial(program, seed, folder):
    """Makes a chain, and compares every image of it. Returns what differs, or nothing."""
    rng = random.Random(seed)
    below = None
    wrong = ""
    for depth in range(rng.randrange(1, LAYERS_MOST + 1)):
        layer = Layer(rng, folder, depth)
        layer.choose(rng, below is None)
        layer.create(below)
        layer.live(rng)
        if not layer.raw and not wrong:
            wrong = compare(program, rng, layer)
        below = layer
    return wrong


def run(program, seeds, seconds):
    """(how many seeds were tried, those that differ)"""
    end = time.monotonic() + seconds
    wrong, count = [], 0
    for seed in seeds:
        if time.monotonic() > end:
            break
        folder = tempfile.mkdtemp()
        try:
            said = trial(program, seed, folder)
        except AssertionError as error:
            said = str(error)
        finally:
            shutil.rmtree(folder)
        count += 1
        if said:
            wrong.append(f"seed {seed}: {said}")
            print(wrong[-1], flush=True)
    return count, wrong


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    first, number, limit = (int(text) for text in sys.argv[2:] + ["0", "100", "1000000"][len(sys.argv) - 2:])
    tried, differing = run(os.path.abspath(sys.argv[1]), range(first, first + number), limit)
    print(f"{tried} chains, {len(differing)} differ")
    sys.exit(1 if differing else 0)
