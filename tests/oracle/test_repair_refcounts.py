# SPDX-License-Identifier: MIT
# Refcounts of every width, wrong in every way that a random seed finds, and what a repair leaves as
# it is. QEMU makes the images, says whether they are sound again, and reads them.
"""repair of refcounts and copied flags."""
import json
import os
import random
import shutil
import struct
import subprocess

import pytest

from tests.support.programs import recipe_image, run

SIZE = 8 << 20
WIDTHS = (1, 2, 4, 8, 16, 32, 64)
KINDS = ("zeros", "noise", "bits", "entry", "table")
# All widths, and all kinds twice; by hand, REPAIR_SEEDS=N takes more.
SEEDS = int(os.environ.get("REPAIR_SEEDS", "10"))
# What makes refcounts and flags fit where blocks and table stay where they are.
COUNTS = "refcount-low,refcount-high,refcount-beyond-end,copied-set,copied-clear,compressed-copied"


def tool(*words, codes=(0,)):
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, timeout=60)
    assert codes is None or done.returncode in codes, (words, done.stdout)
    return done.returncode


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def make(folder, rng, seed):
    """An image that QEMU wrote: any width and cluster size, with what else an image may have."""
    width, cluster = WIDTHS[seed % 7], rng.choice([512, 4096, 65536, 2 << 20])
    options = [f"cluster_size={cluster}"]
    old = width == 16 and rng.random() < 0.5
    options.append("compat=0.10" if old else f"refcount_bits={width}")
    extended = not old and cluster >= 65536 and rng.random() < 0.4
    apart = not old and not extended and seed % 10 == 5
    options += ["extended_l2=on"] * extended + [f"data_file={folder}/data.raw"] * apart
    path = folder / "good.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options), path, SIZE)
    writes = []
    for _ in range(rng.randrange(1, 10)):
        at = rng.randrange(0, SIZE, 65536)
        size = min(rng.choice([512, 65536, 262144]), SIZE - at)
        writes += ["-c", f"write -P {rng.randrange(1, 255)} {at} {size}"]
    if not apart:
        step = max(cluster, 65536)
        writes += ["-c", f"write -c -P 9 {rng.randrange(0, SIZE, step)} {step}"]
    tool("qemu-io", "-f", "qcow2", *writes, path, codes=None)
    for number in range(rng.randrange(3) if width > 1 and not apart else 0):
        tool("qemu-img", "snapshot", "-c", f"s{number}", path, codes=None)
        tool("qemu-io", "-f", "qcow2", "-c",
             f"write -P {number + 1} {rng.randrange(0, SIZE - 65536, 65536)} 65536", path,
             codes=None)
    tool("qemu-img", "check", "-q", "-r", "leaks", path, codes=None)
    return path


class Refcounts:
    """Where an image has its refcounts."""

    def __init__(self, path):
        self.file = open(path, "r+b")  # closed by hurt()
        head = self.file.read(104)
        self.table, clusters = struct.unpack(">QI", head[48:60])
        self.cluster = 1 << struct.unpack(">I", head[20:24])[0]
        order = struct.unpack(">I", head[96:100])[0] if head[7] > 2 else 4
        self.file.seek(self.table)
        words = struct.unpack(f">{clusters * self.cluster // 8}Q",
                              self.file.read(clusters * self.cluster))
        self.blocks = [(i, word) for i, word in enumerate(words) if word]
        self.end = -(-os.path.getsize(path) // self.cluster)
        self.used = min(self.cluster, -(-self.end * (1 << order) // 8) + 4)
        self.clusters = clusters

    def put(self, at, data):
        self.file.seek(at)
        self.file.write(data)


def hurt(path, rng, kind):
    counts = Refcounts(path)
    with counts.file as file:
        for _, at in counts.blocks:
            file.seek(at)
            data = bytearray(file.read(counts.cluster).ljust(counts.cluster, b"\0"))
            if kind == "zeros":
                data = bytearray(counts.cluster)
            elif kind == "noise":
                data[:counts.used] = rng.randbytes(counts.used)
            elif kind == "bits":
                for _ in range(rng.randrange(1, 5)):
                    data[rng.randrange(counts.used)] ^= 1 << rng.randrange(8)
            counts.put(at, data)
        if kind == "entry":
            index, at = rng.choice(counts.blocks)
            counts.put(counts.table + 8 * index, struct.pack(">Q", rng.choice(
                [0, at + 512, at | 1, (counts.end + 5) * counts.cluster, 1 << 50, counts.table])))
        if kind == "table":
            counts.put(48, struct.pack(">QI", *rng.choice(
                [(0, counts.clusters), (counts.table, 0), (1 << 40, counts.clusters),
                 (counts.table + 512, counts.clusters)])))


def counted_alike(path):
    """What is wrong is counted 64 clusters at a step, or one by one where all of it is told."""
    told = json.loads(run("check", "--all", "-j", path).stdout)
    before = json.loads(run("repair", "--dry-run", "-j", path).stdout)["before"]
    for name in ("corruptions", "leaks"):
        assert before[name] == told.get(name, 0), (name, before)
    damage = before["guest-damage"]
    for name in ("lost-bytes", "unreadable-bytes", "at-risk-bytes"):
        assert damage[name] == told["guest-damage"][name], (name, before)
    return told


def repaired_alone(folder, path):
    """The bytes after a repair that looks at each refcount, as it may not mend everything."""
    copy = folder / "alone.qcow2"
    shutil.copyfile(path, copy)
    assert run("repair", "--yes", "--no-undo", "--free-lost", f"--only={COUNTS}",
               copy).returncode == 0
    return read(copy)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random(tmp_path, seed):
    """Whatever the refcounts were: sound for both programs, no byte lost, and a way back."""
    rng = random.Random(seed)
    good = make(tmp_path, rng, seed)
    path, undo = tmp_path / "bad.qcow2", tmp_path / "undo"
    shutil.copyfile(good, path)
    kind = KINDS[seed % len(KINDS)]
    hurt(path, rng, kind)
    before = read(path)
    sound = counted_alike(path)
    alone = repaired_alone(tmp_path, path) if kind in ("zeros", "noise", "bits") else None
    done = run("repair", "--yes", "--free-lost", f"--undo-file={undo}", path)
    assert done.returncode == 0, done
    after = json.loads(run("check", "-j", path).stdout)
    assert not after.get("corruptions") and not after.get("leaks"), (sound, after)
    tool("qemu-img", "check", "-q", path)
    tool("qemu-img", "compare", "-q", "-U", "-f", "qcow2", "-F", "qcow2", good, path)
    assert alone in (None, read(path))
    if undo.exists():
        assert run("undo", undo).returncode == 0
        assert read(path) == before


def repaired(folder, name, *words, code=0):
    path = folder / "a.qcow2"
    shutil.copyfile(recipe_image(name)[0], path)
    done = run("repair", "--yes", "--no-undo", *words, path)
    assert done.returncode == code, done
    return path


@pytest.mark.parametrize("name,words,left", [
    ("bad-refcount-leak", ("--only=refcount-low",), 3),
    ("bad-refcount-leak", ("--leaks",), 0),
    ("bad-refcount-too-small", ("--leaks",), 2),
    ("bad-copied-surplus", ("--only=refcount-low",), 2),
    ("bad-copied-surplus", ("--only=copied-set",), 0),
    ("bad-copied-missing", ("--only=copied-clear",), 0),
    ("bad-reftable-missing", ("--leaks",), 2),
    ("bad-refblock-unaligned", ("--only=refcount-low",), 2),
    ("bad-refblock-unaligned", ("--only=refcount-low,refblock-unaligned,copied-set",), 0),
])
def test_rights(tmp_path, name, words, left):
    """What was not asked for stays as it was, and only that."""
    path = repaired(tmp_path, name, *words, code=left)
    assert run("check", path).returncode == left
    if left == 0:
        tool("qemu-img", "check", "-q", path)


def test_low_counts_need_the_copied_flag_cleared(tmp_path):
    """Where a refcount rises over 1, a copied flag would let a guest overwrite a snapshot."""
    path = tmp_path / "a.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", path, SIZE)
    tool("qemu-io", "-c", "write 0 64k", path)
    tool("qemu-img", "snapshot", "-c", "s", path)
    layout = Refcounts(path)
    with layout.file as file:
        file.seek(layout.blocks[0][1])
        data = file.read(layout.end * 2)
        layout.put(layout.blocks[0][1], data.replace(b"\0\2", b"\0\1"))
    assert run("check", path).returncode == 2
    assert run("repair", "--yes", "--no-undo", "--only=refcount-low", path).returncode == 0
    tool("qemu-img", "check", "-q", path)


def test_new_space_is_nobodys(tmp_path):
    """Entries that lead past the end and are left must not lead to what is written there."""
    path = tmp_path / "a.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", path, SIZE)
    tool("qemu-io", "-c", "write -P 5 0 256k", path)
    end = os.path.getsize(path)
    os.truncate(path, end - 65536)
    with open(path, "r+b") as file:
        file.seek(48)
        file.write(bytes(8))
    run("repair", "--yes", "--no-undo", "--only=reftable-missing,refcount-low", path)
    tool("qemu-io", "-r", "-c", "read -P 0 192k 64k", path)
