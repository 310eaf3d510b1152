# SPDX-License-Identifier: MIT
# qcow2 snapshot against QEMU's tools. What list says is what qemu-img snapshot -l and qemu-img info
# say. What space promises is what qemu-img frees: snapshots and bitmaps of random images are
# deleted, and the clusters that have a refcount are counted before and after. SNAPSHOT_ROUNDS is the
# number of random images.
"""qcow2 snapshot against qemu-img snapshot."""
import itertools
import json
import os
import random
import re
import shutil
import struct
import subprocess

import pytest

from tests.forge import recipes
from tests.support.programs import RELEASE, recipe_image, run
from tests.support.qemu import create, tool

ROUNDS = int(os.environ.get("SNAPSHOT_ROUNDS", "6"))
FORGED = ["good-snapshots", "good-snapshot-vmstate", "good-snapshot-resized", "good-v2-snapshots",
          "good-snapshot-extra-16", "good-snapshot-names",
          "good-warn-snapshot-name-escape", "good-warn-snapshot-id-duplicate"]


def ask(path, action, *words, code=0):
    done = run("snapshot", action, "-j", path, *words, program=RELEASE)
    assert (done.returncode, done.stderr) == (code, b""), done
    return json.loads(done.stdout)


# ---- the list ----

def test_every_recipe_is_there():
    assert set(FORGED) <= set(recipes())


@pytest.mark.parametrize("name", FORGED)
def test_list_as_qemu(name):
    path, _ = recipe_image(name)
    env = {**os.environ, "TZ": "Asia/Kolkata"}
    theirs = json.loads(tool("qemu-img", "info", "--output=json", path))["snapshots"]
    ours = ask(path, "list")["snapshots"]
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        # QEMU ends texts at a NUL, and writes bytes that are not UTF-8 in its own way.
        if "\0" not in mine["name"] + mine["id"] and "name-hex" not in mine:
            assert {key: mine.get(key) for key in other} == other
        assert ("icount" in mine) == ("icount" in other)
    told = subprocess.run(["qemu-img", "snapshot", "-l", path], stdout=subprocess.PIPE, env=env,
                          check=True).stdout.decode(errors="replace")
    page = run("snapshot", "list", path, program=RELEASE, env=env).stdout.decode()
    date = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) +.*?(\d\d+:\d\d:\d\d\.\d{3})")
    clocks = [re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) +(\d\d+:\d\d:\d\d\.\d{3})", line)
              for line in told.splitlines()]
    assert [m.groups() for m in date.finditer(page)] == [m.groups() for m in clocks if m]


# ---- what is freed ----

def allocated(path):
    """Bytes of the clusters that have a refcount, read from the refcount blocks."""
    with open(path, "rb") as file:
        head = file.read(112)
        version, bits = struct.unpack_from(">I", head, 4)[0], struct.unpack_from(">I", head, 20)[0]
        table, clusters = struct.unpack_from(">QI", head, 48)
        order = struct.unpack_from(">I", head, 96)[0] if version >= 3 else 4
        file.seek(table)
        entries = file.read(clusters << bits)
        count = 0
        for (at,) in struct.iter_unpack(">Q", entries):
            if at == 0:
                continue
            file.seek(at)
            block = file.read(1 << bits)
            if order >= 3:
                size = 1 << (order - 3)
                count += sum(any(block[i:i + size]) for i in range(0, len(block), size))
            else:
                width = 1 << order
                count += sum(byte >> shift & ((1 << width) - 1) != 0
                             for byte in block for shift in range(0, 8, width))
    return count << bits


def freed_by(path, command):
    before = allocated(path)
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd=os.path.dirname(path), check=False)
    assert done.returncode == 0, (command, done)
    return before - allocated(path)


def answers(path):
    """What space says, with its own sums checked."""
    said = ask(path, "space")
    for who in [said["active"], *said["snapshots"], *said["bitmaps"]]:
        assert 0 <= who["exclusive-bytes"] <= who["referenced-bytes"], said
        assert who["referenced-bytes"] % said["cluster-size"] == 0
    return said


def delete_each(path, copy):
    """Each snapshot alone, on a copy."""
    for index, snapshot in enumerate(answers(path)["snapshots"]):
        shutil.copyfile(path, copy)
        said = answers(copy)["snapshots"][index]
        assert {**said, "delete-command": None} == {**snapshot, "delete-command": None}
        if said["delete-command"] is not None:
            assert freed_by(copy, said["delete-command"]) == said["exclusive-bytes"], said


def delete_all(path, rng):
    """One after another, each as it is by then; together, what was said before."""
    said, before = answers(path), allocated(path)
    while True:
        snapshots = [one for one in answers(path)["snapshots"] if one["delete-command"]]
        if not snapshots:
            break
        one = rng.choice(snapshots)
        assert freed_by(path, one["delete-command"]) == one["exclusive-bytes"], one
    if not answers(path)["snapshots"]:
        assert before - allocated(path) == said["all-snapshots"]["freed-bytes"]


def delete_some(path, copy, rng):
    """Some together."""
    snapshots = answers(path)["snapshots"]
    if not snapshots:
        return
    some = rng.sample(snapshots, rng.randint(1, len(snapshots)))
    said = ask(path, "space", *[one["id"] for one in some])["chosen"]
    assert said["snapshots"] == sorted(one["index"] for one in some)
    shutil.copyfile(path, copy)
    before = allocated(copy)
    for one in some:
        tool("qemu-img", "snapshot", "-d", one["name"], copy)
    assert before - allocated(copy) == said["freed-bytes"]


@pytest.mark.parametrize("name", FORGED)
def test_forged(name, tmp_path):
    path, copy = str(tmp_path / "a.qcow2"), str(tmp_path / "b.qcow2")
    shutil.copyfile(recipe_image(name)[0], path)
    delete_each(path, copy)
    delete_all(path, random.Random(name))


def test_every_order(tmp_path):
    """Three snapshots that share clusters with each other, deleted in all orders."""
    path, copy = str(tmp_path / "a.qcow2"), str(tmp_path / "b.qcow2")
    create(path, 1 << 20, "cluster_size=4096")
    for i in range(3):
        tool("qemu-io", "-c", f"write -P {i} {i * 65536} 192k", "-c", "write -c 900k 4k",
             "-c", "discard 128k 8k", path, code=None)
        tool("qemu-img", "snapshot", "-c", str(i), path)
    tool("qemu-io", "-c", "write -P 9 100k 8k", path)
    tool("qemu-img", "check", "-q", "-r", "leaks", path)
    for order in itertools.permutations(range(3)):
        shutil.copyfile(path, copy)
        for which in order:
            said = {one["name"]: one["exclusive-bytes"] for one in answers(copy)["snapshots"]}
            assert freed_by(copy, f"qemu-img snapshot -d {which} b.qcow2") == said[str(which)]


# ---- random images ----

def options_of(rng):
    v2 = rng.random() < 0.25
    extended = not v2 and rng.random() < 0.3
    bits = rng.choice([14, 16, 17]) if extended else rng.choice([9, 10, 12, 16, 16, 18])
    found = [f"cluster_size={1 << bits}", "compat=" + ("0.10" if v2 else "1.1")]
    if extended:
        found.append("extended_l2=on")
    if not v2:
        found.append(f"refcount_bits={rng.choice([2, 4, 8, 16, 16, 32, 64])}")
    return found, 1 << bits


def change(rng, cluster, size, compress):
    """Commands of qemu-io: writes, zeros, discards, compressed clusters."""
    words = []
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(max(1, size // cluster)) * cluster
        length = min(rng.randint(1, 40) * cluster, size - at)
        kind = rng.choice(["write", "write", "write", "discard", "zero", "zero -u", "small"] +
                          (["compressed"] * 2 if compress else []))
        pattern = rng.randint(1, 255)
        if length < cluster:
            continue
        if kind == "write":
            words.append(f"write -P {pattern} {at} {length}")
        elif kind == "discard":
            words.append(f"discard {at} {length}")
        elif kind == "zero":
            words.append(f"write -z {at} {length}")
        elif kind == "zero -u":
            words.append(f"write -z -u {at} {length}")
        elif kind == "small":
            words.append(f"write -P {pattern} {at + cluster // 2} {max(512, cluster // 4)}")
        else:
            words.append(f"write -c -P {pattern} {at} {cluster}")
    return [word for command in words for word in ("-c", command)]


def qemu_io(path, commands):
    """A cluster that is there already cannot be compressed: then the others are written alone."""
    if commands:
        tool("qemu-io", *commands, path, code=None)


def make(rng, path):
    """A random image, its snapshots and bitmaps."""
    words, cluster = options_of(rng)
    size = rng.choice([64, 300, 700]) * cluster
    base = path + ".base"
    create(base if (packed := rng.random() < 0.3) else path, size, *words)
    if packed:
        qemu_io(base, change(rng, cluster, size, False))
        tool("qemu-img", "convert", "-c", "-O", "qcow2", "-o", ",".join(words), base, path)
        os.remove(base)
    if "compat=1.1" in words and rng.random() < 0.6:
        for i in range(rng.randint(1, 2)):
            tool("qemu-img", "bitmap", "--add", "-g", "4k", path, f"bitmap {i}")
    for i in range(rng.randint(1, 5)):
        qemu_io(path, change(rng, cluster, size, True))
        # Refcounts of 2 and 4 bits may be full.
        tool("qemu-img", "snapshot", "-c", f"snapshot {i} it's", path, code=None)
        if rng.random() < 0.3 and "compat=1.1" in words:
            size = max(8 * cluster, size + rng.choice([10, 200, -50]) * cluster)
            tool("qemu-img", "resize", "-q", "--shrink", path, str(size))
    if rng.random() < 0.8:
        qemu_io(path, change(rng, cluster, size, True))
    # What fails half-way, as a snapshot whose refcounts are full, leaves leaks.
    tool("qemu-img", "check", "-q", "-r", "leaks", path)


def make_sound(rng, path):
    """One of 200 images of QEMU 7.2 has a compressed cluster in the cluster of other data."""
    make(rng, path)
    while run("check", path, program=RELEASE).returncode != 0:
        make(rng, path)


def remove_bitmaps(path, copy):
    for bitmap in answers(path)["bitmaps"]:
        shutil.copyfile(path, copy)
        before = allocated(copy)
        tool("qemu-img", "bitmap", "--remove", copy, bitmap["name"])
        assert before - allocated(copy) == bitmap["exclusive-bytes"], bitmap


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_random(seed, tmp_path):
    path, copy = str(tmp_path / "a.qcow2"), str(tmp_path / "b.qcow2")
    rng = random.Random(f"snapshot {seed}")
    make_sound(rng, path)
    delete_each(path, copy)
    delete_some(path, copy, rng)
    remove_bitmaps(path, copy)
    delete_all(path, rng)
    tool("qemu-img", "check", path)
