# SPDX-License-Identifier: MIT
# Damages the snapshot table of an image that QEMU made, byte by byte at random, and repairs it: QEMU
# opens the image again, snapshots whose entries were whole read as before, and undo brings back every
# byte. Dropping is compared with what QEMU's own deletion leaves.
"""Repairs of snapshot tables."""
import hashlib
import json
import os
import random
import shutil
import subprocess

import pytest

from tests.support.programs import RELEASE, SECONDS, image, run

COUNT = 8
CLUSTER = 4096


def qemu(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
                          check=False)


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory):
    """An image with snapshots that share and do not share clusters, and what each reads."""
    path = str(tmp_path_factory.mktemp("snapshots") / "made.qcow2")
    assert qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", path,
                "1M").returncode == 0
    for i in range(COUNT):
        assert qemu("qemu-io", "-c", f"write -P {i + 1} {i * 16}k 64k", path).returncode == 0
        assert qemu("qemu-img", "snapshot", "-c", f"state {i} of the disk", path).returncode == 0
    return path, [digest(path, f"state {i} of the disk") for i in range(COUNT)]


def digest(path, name=None):
    raw = path + ".raw"
    words = ["-l", "snapshot.name=" + name] if name else []
    done = qemu("qemu-img", "convert", "-f", "qcow2", *words, "-O", "raw", path, raw)
    if done.returncode:
        return None
    with open(raw, "rb") as stream:
        content = hashlib.sha256(stream.read()).digest()
    os.remove(raw)
    return content




def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def poke(path, at, data):
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(data)


def repaired(path, *options):
    """Repairs, and hands back what the undo file is."""
    undo = path + ".undo"
    if os.path.exists(undo):
        os.remove(undo)
    done = run("repair", "--yes", "--undo-file", undo, *options, path, program=RELEASE)
    assert done.returncode in (0, 2, 3), done
    return undo, done


def undone(path, undo, before):
    if os.path.exists(undo):
        done = run("undo", undo, path, program=RELEASE)
        assert done.returncode == 0, done
    assert read(path) == before


@pytest.mark.parametrize("seed", list(range(8)) + [8, 18, 49, 59])
def test_damage(made, tmp_path, seed):
    source, wanted = made
    random.seed(seed)
    path = shutil.copy(source, str(tmp_path / "a.qcow2"))
    starts = starts_of(source)
    hit = random.randrange(COUNT)
    size = (starts[1] - starts[0]) if hit + 1 == COUNT else starts[hit + 1] - starts[hit]
    at = random.randrange(size - 8)
    poke(path, starts[hit] + at, random.randbytes(random.choice((1, 2, 4, 8))))
    before = read(path)
    undo, _ = repaired(path)
    assert qemu("qemu-img", "info", path).returncode == 0
    for i in range(COUNT):
        if i != hit:
            assert digest(path, f"state {i} of the disk") == wanted[i], (hit, at, i)
    assert digest(path) == digest(source)
    undone(path, undo, before)
    undo, done = repaired(path, "--all")
    assert qemu("qemu-img", "check", path).returncode in (0, 3), (hit, at, done)
    undone(path, undo, before)


def starts_of(path):
    raw = read(path)
    at = int.from_bytes(raw[64:72], "big")
    starts = []
    for _ in range(int.from_bytes(raw[60:64], "big")):
        starts.append(at)
        size = (40 + int.from_bytes(raw[at + 36:at + 40], "big")
                + int.from_bytes(raw[at + 12:at + 14], "big")
                + int.from_bytes(raw[at + 14:at + 16], "big"))
        at += (size + 7) // 8 * 8
    return starts


@pytest.mark.parametrize("words", [["3"], ["state 2 of the disk", "#4"], ["#0", "1", "2"],
                                   [f"#{i}" for i in range(COUNT)]])
def test_drop(made, tmp_path, words):
    source, wanted = made
    path = shutil.copy(source, str(tmp_path / "a.qcow2"))
    before = read(path)
    undo, done = repaired(path, *[f"--drop-snapshot={word}" for word in words])
    assert done.returncode == 0, done
    assert qemu("qemu-img", "check", path).returncode == 0
    gone = {int(w[1:]) if w[0] == "#" else 2 if w[0] == "s" else int(w) - 1 for w in words}
    for i in range(COUNT):
        assert digest(path, f"state {i} of the disk") == (None if i in gone else wanted[i])
    assert digest(path) == digest(source)
    undone(path, undo, before)


def test_drop_frees_what_qemu_frees(made, tmp_path):
    source, _ = made
    ours = shutil.copy(source, str(tmp_path / "a.qcow2"))
    qemus = shutil.copy(source, str(tmp_path / "b.qcow2"))
    repaired(ours, "--drop-snapshot=1")
    assert qemu("qemu-img", "snapshot", "-d", "state 0 of the disk", qemus).returncode == 0
    for path in (ours, qemus):
        assert run("check", path, program=RELEASE).returncode == 0


@pytest.mark.parametrize("name, word", [("nope", "no snapshot has"), ("#9", "no snapshot has"),
                                        ("twice", "more than one")])
def test_unknown_names(name, word):
    path, _ = image("size 1M\nwrite 0 64k\nsnapshot 1 name=twice\nsnapshot 2 name=twice\n")
    before = read(path)
    done = run("repair", "--yes", "--no-undo", f"--drop-snapshot={name}", path)
    assert done.returncode == 1 and not done.stdout
    assert word in done.stderr.decode() and "#1 (ID 2, 'twice')" in done.stderr.decode()
    assert read(path) == before


@pytest.mark.parametrize("count", [1, 0xc970d1cf])
def test_table_at_the_header(tmp_path, count):
    """The header is no snapshot table: the table is lost, and what it reads as are no snapshots."""
    path = str(tmp_path / "a.qcow2")
    assert qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path,
                "3M").returncode == 0
    assert qemu("qemu-io", "-c", "write -P 5 0 1M", path).returncode == 0
    assert qemu("qemu-img", "bitmap", "--add", path, "a").returncode == 0
    wanted = digest(path)
    poke(path, 60, count.to_bytes(4, "big") + bytes(8))
    # A repair of bitmaps changes the header, and with it what would be entries of the table.
    poke(path, 512, bytes(512))
    before = read(path)
    undo, _ = repaired(path)
    # A copy of the header would look like a table, and hide that there is none.
    assert read(path)[60:72] == before[60:72]
    undone(path, undo, before)
    undo, done = repaired(path, "--all")
    assert done.returncode == 0, done
    assert qemu("qemu-img", "check", path).returncode == 0
    assert digest(path) == wanted
    undone(path, undo, before)


def test_growth_beneath_cut_data(made, tmp_path):
    """The file grows for a new table where an entry leads: zeros are read there before and after."""
    path = shutil.copy(made[0], str(tmp_path / "a.qcow2"))
    raw = read(path)
    table = int.from_bytes(raw[64:72], "big")
    l2 = int.from_bytes(raw[int.from_bytes(raw[40:48], "big"):][:8], "big") & (1 << 56) - 512
    poke(path, 64, (table + 8).to_bytes(8, "big"))
    end = len(raw) + -len(raw) % CLUSTER
    poke(path, l2 + 8 * 200, (1 << 63 | end).to_bytes(8, "big"))
    before = read(path)
    undo, done = repaired(path)
    # What the entry led to before is a leak now, and may be wanted.
    assert done.returncode == 3 and b"leaked clusters may be lost data" in done.stdout
    assert qemu("qemu-img", "check", path).returncode == 3
    assert qemu("qemu-io", "-c", f"read -P 0 {200 * CLUSTER} {CLUSTER}", path).returncode == 0
    for i, wanted in enumerate(made[1]):
        assert digest(path, f"state {i} of the disk") == wanted
    undone(path, undo, before)


def test_leaks_spared_after_a_width_that_is_none(made, tmp_path):
    """The first round cannot count, and the others leave leaks that may be lost data."""
    path = shutil.copy(made[0], str(tmp_path / "a.qcow2"))
    l1 = int.from_bytes(read(path)[40:48], "big")
    poke(path, 96, (12).to_bytes(4, "big"))
    poke(path, l1, bytes(8))
    before = read(path)
    undo, done = repaired(path, "--all")
    assert done.returncode == 3, done
    assert b"leaked clusters may be lost data" in done.stdout
    undone(path, undo, before)


@pytest.fixture(name="small", scope="module")
def fixture_small(tmp_path_factory):
    """An image of small clusters, whose L1 tables have many entries, with two snapshots."""
    path = str(tmp_path_factory.mktemp("small") / "made.qcow2")
    assert qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path,
                "3M").returncode == 0
    for i, name in enumerate(("one", "two")):
        assert qemu("qemu-io", "-c", f"write -P {i + 1} {i}M 1M", path).returncode == 0
        assert qemu("qemu-img", "snapshot", "-c", name, path).returncode == 0
        assert qemu("qemu-img", "bitmap", "--add", path, name).returncode == 0
    return path


@pytest.mark.parametrize("entry, hit", [
    ({0: bytes(8)}, 1),                                # its L1 table would be the header
    ({0: bytes(12)}, 1),                               # it has none, and its disk needs one
    # No L1 table, of a number of entries that no program reads, and a state that none wrote.
    ({4: b"\xff" * 8, 40: (0x22 << 32).to_bytes(8, "big")}, 1),
    # It takes in the next one, and is what remains of it without an ID.
    ({14: b"\0\xb6", 53: b"\xdc\x9d_fx\xe3&\xa6yR\xbcL\xbc\xfe"}, 0)])
def test_entry(small, tmp_path, entry, hit):
    """One entry is nonsense: its snapshot may be lost with --all, no other one, and all is sound."""
    path = shutil.copy(small, str(tmp_path / "a.qcow2"))
    for at, data in entry.items():
        poke(path, starts_of(small)[hit] + at, data)
    before = read(path)
    undo, _ = repaired(path)
    undone(path, undo, before)
    undo, done = repaired(path, "--all", "--free-lost")
    assert done.returncode == 0, done
    assert qemu("qemu-img", "check", path).returncode == 0
    other = ("two", "one")[hit]
    assert digest(path, other) == digest(small, other)
    assert digest(path) == digest(small)
    undone(path, undo, before)
