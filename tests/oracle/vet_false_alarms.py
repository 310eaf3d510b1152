# SPDX-License-Identifier: MIT
# Looks for images that vet refuses though qemu-img and qemu-io alone made them: random operations, on
# images of random options. Not a test: it runs as long as it is told.
"""python3 -B -m tests.oracle.vet_false_alarms [SEED [SECONDS]]: prints what is refused, and how it was made."""
import json
import os
import random
import subprocess
import sys
import tempfile
import time

from tests.support.programs import RELEASE

DISK = "disk.qcow2"
SECONDS = 20  # for an operation; some of qemu-img take minutes with clusters of 512 bytes


def options(chance):
    """Those of qemu-img create."""
    made = [f"cluster_size={1 << chance.choice((9, 10, 12, 14, 16, 16, 16, 18, 21))}",
            f"refcount_bits={1 << chance.randrange(7)}"]
    kind = chance.random()
    if kind < 0.2:
        made = [made[1], "extended_l2=on"]
    elif kind < 0.35:
        made = [made[0], "compat=0.10"]
    elif kind < 0.55:
        made.append("lazy_refcounts=on")
    return made + (["preallocation=metadata"] if chance.random() < 0.15 else [])


def write(chance, kib):
    """A line of qemu-io: data, zeros, compressed clusters, or a discard."""
    length = chance.choice((1, 4, 64, 300, 1000))
    at = chance.randrange(max(1, kib - length))
    line = chance.choice((f"write -q -P {chance.randrange(256)}",) * 3 + (
        "write -q -z", "write -q -z -u", "discard -q", "write -q -c"))
    if line.endswith("-c"):
        at, length = at // 2048 * 2048, 2048
    return ["qemu-io", "-f", "qcow2", "-d", chance.choice(("unmap", "ignore")), "-c", f"{line} {at}k {length}k", DISK]


def operation(chance, kib):
    """A command, and the size of the disk after it."""
    snapshot, bitmap = (f"{letter}{chance.randrange(3)}" for letter in "sb")
    size = min(max(1024, chance.choice((kib * 2, kib * 50, kib + 7, kib // 2))), 2 << 30)
    rows = [(35, write(chance, kib), kib),
            (15, ["qemu-img", "snapshot", "-c", snapshot, DISK], kib),
            (8, ["qemu-img", "snapshot", "-d", snapshot, DISK], kib),
            (5, ["qemu-img", "snapshot", "-a", snapshot, DISK], kib),
            (9, ["qemu-img", "bitmap", "--add", "-g", str(1 << chance.randrange(9, 20)), DISK, bitmap], kib),
            (8, ["qemu-img", "bitmap", chance.choice(("--remove", "--clear", "--disable")), DISK, bitmap], kib),
            (2, ["qemu-img", "bitmap", "--merge", "b0", DISK, "b1"], kib),
            (8, ["qemu-img", "resize", "-q", "--shrink", DISK, f"{size}k"], size),
            (4, ["qemu-img", "amend", "-f", "qcow2", "-o", chance.choice((
                "compat=0.10", "compat=1.1", f"refcount_bits={1 << chance.randrange(7)}")), DISK], kib),
            (3, ["qemu-img", "check", "-q", "-r", "all", DISK], kib)]
    weights, *_ = zip(*rows)
    return chance.choices(rows, weights)[0][1:]


def run(words):
    """Its exit code. Many operations are refused, which changes nothing here."""
    try:
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                              timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        return None


def make(seed):
    """The image of a seed; returns how it was made."""
    chance, lines = random.Random(seed), []
    kib = chance.choice((1, 4, 20)) << 10
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options(chance)), DISK, f"{kib}k"]
    for _ in range(chance.randrange(4, 15)):
        code = run(words)
        lines.append(f"{' '.join(words)}: {code}")
        words, kib = operation(chance, kib)
    return lines


def vet(policy):
    """The verdict on the file, and on a pipe."""
    for name in (DISK, "-"):
        with open(DISK, "rb") as stream:
            done = subprocess.run([RELEASE, "vet", "--output=ndjson", f"--policy={policy}", name], stdin=stream,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=60)
        found = json.loads(done.stdout)
        yield name, found["verdict"], sorted({reason["rule"] for reason in found["reasons"]})


def main(seed, seconds):
    begin, end, refused = seed, time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory(prefix="qcow2-vet-") as folder:
        os.chdir(folder)
        while time.monotonic() < end:
            lines = make(seed)
            # QEMU leaves leaks if it fails half way; strict is about them.
            policies = ("upload", "strict") if run(["qemu-img", "check", "-q", DISK]) == 0 else ("upload",)
            for policy in policies:
                for name, verdict, rules in vet(policy):
                    if verdict == "refused":
                        print(f"{seed}: {name} refused by {policy}: {' '.join(rules)}", *lines, sep="\n  ")
                        refused += 1
            seed += 1
        os.chdir("/")
    print(f"{seed - begin} images, {refused} refusals")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1, float(sys.argv[2]) if len(sys.argv) > 2 else 60)
