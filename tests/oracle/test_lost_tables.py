# SPDX-License-Identifier: MIT
# Lost L1 and L2 tables: QEMU made the image, and says whether the guest's disk is back.
"""Tests of `qcow2 rescue` on images that lost tables."""
import json
import os
import random
import subprocess

import pytest

from tests.oracle import lost_trial

CLUSTER = 4096
SPAN = CLUSTER * CLUSTER // 8
OFFSET = 0x00fffffffffffe00


def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          check=False)


def rescue(path, *words):
    return run(os.environ.get("QCOW2", "qcow2"), "rescue", *words, path)


def candidate(path, *words):
    """The first candidate that rescue shows."""
    return json.loads(rescue(path, "-j", *words).stdout)["candidates"][0]


def qemu(*words):
    done = run(*words)
    assert done.returncode == 0, (words, done)


def create(path, size, *options):
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o",
         ",".join((f"cluster_size={CLUSTER}", *options)), path, str(size))


def write(path, *extents):
    """Writes extents, each of bytes of its own."""
    words = []
    for number, (start, length) in enumerate(extents):
        words += ["-c", f"write -P {number % 250 + 1} {start} {length}"]
    qemu("qemu-io", "-f", "qcow2", *words, path)


def content(path, *words):
    raw = path + ".raw"
    qemu("qemu-img", "convert", "-f", "qcow2", "-O", "raw", *words, path, raw)
    with open(raw, "rb") as stream:
        return stream.read()


def number(data, offset, size=8):
    return int.from_bytes(data[offset:offset + size], "big")


def load(path):
    with open(path, "rb") as stream:
        return bytearray(stream.read())


def save(path, data):
    with open(path, "wb") as stream:
        stream.write(data)


def tables(data):
    """The L2 tables by their place in the L1 table."""
    at = number(data, 40)
    return [number(data, at + 8 * i) & OFFSET for i in range(number(data, 36, 4))]


def lose_l1(path):
    data = load(path)
    at, size = number(data, 40), 8 * number(data, 36, 4)
    data[at:at + size] = bytes(size)
    save(path, data)


@pytest.fixture(name="image")
def fixture_image(tmp_path):
    return str(tmp_path / "image.qcow2")


def test_snapshots_tell_places(image):
    """Tables that snapshots share, and copies of those that they have, are put back; undo works."""
    create(image, 5 * SPAN)
    write(image, (3 * SPAN, 65536), (0, 65536), (SPAN + 8192, 65536))
    qemu("qemu-img", "snapshot", "-c", "one", image)
    write(image, (SPAN + 16384, 4096), (3 * SPAN, 4096))
    truth = content(image)
    lose_l1(image)
    before = load(image)
    found = candidate(image)
    assert not found["changes-header"]
    assert [(t["l1-index"], t["planned"]) for t in found["tables"]] == [(0, True), (1, True),
                                                                        (3, True)]
    assert all(t["confidence"] >= 95 and "snapshot #0" in t["text"] for t in found["tables"])
    assert load(image) == before  # nothing is written unless asked for
    done = rescue(image, "--apply", "--undo-file=" + image + ".undo")
    assert done.returncode == 0, done
    assert content(image) == truth
    qemu("qemu-img", "check", "-q", image)
    assert run(os.environ.get("QCOW2", "qcow2"), "undo", image + ".undo").returncode == 0
    assert load(image) == before


def test_rest_of_data_tells_neighbours(image):
    """Data that goes on from one table to the next says that they are neighbours."""
    create(image, 6 * SPAN)
    write(image, (3 * SPAN, 4096), (SPAN - 8192, 16384), (5 * SPAN, 4096))
    truth, data = content(image), load(image)
    at = number(data, 40) + 8
    data[at:at + 8] = bytes(8)
    save(image, data)
    found = candidate(image)["tables"]
    assert [(t["l1-index"], t["planned"]) for t in found] == [(1, True)]
    assert rescue(image, "--apply").returncode == 0
    assert content(image) == truth


def test_guesses_are_shown_and_not_planned(image):
    """What nothing tells is applied only if the confidence that is asked for is as low."""
    create(image, 8 * SPAN)
    write(image, (0, 8192), (SPAN, 8192), (2 * SPAN, 8192))
    truth = content(image)
    lose_l1(image)
    found = candidate(image)["tables"]
    assert [t["planned"] for t in found] == [True, False, False]
    assert all(t["confidence"] < 50 for t in found[1:])
    assert all(t["planned"] for t in candidate(image, "--confidence=20")["tables"])
    assert not any(t["planned"] for t in candidate(image, "--confidence=90")["tables"])
    assert rescue(image, "--apply", "--confidence=20").returncode == 0
    assert content(image) == truth


def test_entries_are_made_anew(image):
    """An L2 table of zeros, whose clusters lie between those of the tables beside."""
    create(image, 3 * SPAN + 8192, "preallocation=metadata")
    write(image, *((at, 65536) for at in range(0, 3 * SPAN, 1 << 19)))
    truth, data = content(image), load(image)
    table = tables(data)[1]
    data[table:table + CLUSTER] = bytes(CLUSTER)
    save(image, data)
    found = candidate(image)["tables"]
    assert [(t["l1-index"], t["clusters"], t["planned"]) for t in found] == [(1, 512, True)]
    assert rescue(image, "--apply").returncode == 0
    assert content(image) == truth
    qemu("qemu-img", "check", "-q", image)


def superblock(number_of_group):
    """A block with a superblock of ext4 of that group; groups are of 4 MiB."""
    block = bytearray(4096)
    at = 0 if number_of_group else 1024
    block[at + 24:at + 28] = (2).to_bytes(4, "little")
    block[at + 32:at + 36] = (1024).to_bytes(4, "little")
    block[at + 56:at + 58] = b"\x53\xef"
    block[at + 90:at + 92] = number_of_group.to_bytes(2, "little")
    return bytes(block)


def test_guest_tells_places_if_asked(image):
    """Copies of a superblock say in which group they are; nobody looks unless asked to."""
    create(image, 8 * SPAN)
    for group in (3, 1, 0):
        save(image + ".block", superblock(group))
        qemu("qemu-io", "-f", "qcow2", "-c", f"write -s {image}.block {group << 22} 4096", image)
    truth = content(image)
    lose_l1(image)
    assert not any(t["confidence"] > 70 for t in candidate(image)["tables"])
    found = [t for t in candidate(image, "--look-inside")["tables"] if t["planned"]]
    assert [t["l1-index"] for t in found] == [0, 2, 6]
    assert all("superblock" in t["text"] and t["confidence"] >= 95 for t in found)
    assert rescue(image, "--apply", "--look-inside").returncode == 0
    assert content(image) == truth


@pytest.mark.parametrize("seed", (1, 3))
def test_trials(tmp_path, seed):
    """Images of several tables whose L1 table is zeroed; lost_trial makes any number of them."""
    result = lost_trial.one(str(tmp_path), seed, "l1", lost_trial.Base(str(tmp_path), seed, seed))
    assert result["ours"] == result["total"], result
    assert result["undone"] and result["ours-sound"], result


def test_garbage_is_no_table(image):
    """Nothing is planned from an L1 table and clusters of noise; nothing crashes."""
    chance = random.Random(17)
    create(image, 4 * SPAN)
    write(image, (0, 1 << 20), (SPAN, 4096))
    data = load(image)
    for table in [*tables(data)[:2], number(data, 40)]:
        data[table:table + CLUSTER] = chance.randbytes(CLUSTER)
    save(image, data)
    assert candidate(image)["tables"] == []


def bitmap(path, *words):
    qemu("qemu-img", "bitmap", *words[:-1], path, words[-1])


def test_bitmaps_tell_places(image):
    """Dirty ranges have entries, and what lies beside them has none: so a table has one place."""
    create(image, 32 * SPAN)
    write(image, (5 * SPAN, 65536))
    bitmap(image, "--add", "-g", "4k", "a")
    write(image, (20 * SPAN - 40960, 2 * SPAN + 4096), (9 * SPAN + 8192, 40960),
          (28 * SPAN + 65536, 16384))
    truth = content(image)
    lose_l1(image)
    found = [t for t in candidate(image)["tables"] if "bitmaps have as dirty" in t["text"]]
    assert [t["l1-index"] for t in found] == [9, 19, 20, 21, 28]
    assert all(t["confidence"] == 90 and t["planned"] for t in found)
    assert rescue(image, "--apply").returncode == 0
    assert content(image)[6 * SPAN:] == truth[6 * SPAN:]  # the first one was not dirty


def test_bitmaps_that_say_nothing(image):
    """All dirty, or begun after the data was written: no place is better than another."""
    create(image, 32 * SPAN)
    write(image, (20 * SPAN, 65536), (9 * SPAN, 40960))
    bitmap(image, "--add", "-g", "4k", "clean")
    lose_l1(image)
    before = load(image)
    assert not any("bitmaps" in t["text"] for t in candidate(image)["tables"])
    save(image, before)
    write(image, (0, 32 * SPAN))
    lose_l1(image)
    assert not any("bitmaps" in t["text"] for t in candidate(image)["tables"])


def test_zeroed_tables_of_snapshots_are_found(image):
    """Zeroed entries of clusters that a snapshot keeps have no copied flag, but a zero flag."""
    create(image, 4 * SPAN)
    bitmap(image, "--add", "-g", "4k", "a")
    write(image, (0, 4096), (SPAN, 2 * SPAN))
    qemu("qemu-img", "snapshot", "-c", "one", image)
    qemu("qemu-io", "-f", "qcow2", "-c", f"write -z {SPAN} {SPAN}", image)
    truth = content(image)
    lose_l1(image)
    assert rescue(image, "--apply").returncode == 0
    assert content(image) == truth


def test_weak_evidence_takes_no_place(image):
    """An old cluster that names a table once does not keep it from its neighbours."""
    create(image, 6 * SPAN)
    write(image, (SPAN, 3 * SPAN))
    data = load(image)
    old = len(data) + CLUSTER - 1 & -CLUSTER
    data += bytes(old - len(data)) + tables(data)[2].to_bytes(8, "big") + bytes(CLUSTER - 8)
    at = number(data, 40)
    data[at + 16:at + 24] = bytes(8)
    save(image, data)
    found = candidate(image)["tables"]
    assert [(t["l1-index"], t["planned"]) for t in found if t["planned"]] == [(2, True)]


def test_counts_of_tables_are_right(image):
    """A table that a snapshot shares is no orphan, so that fewer orphans than places are planned."""
    create(image, 4 * SPAN)
    write(image, (0, 4096), (2 * SPAN, 4096))
    qemu("qemu-img", "snapshot", "-c", "one", image)
    write(image, (SPAN, 4096))
    lose_l1(image)
    texts = [e["text"] for e in candidate(image)["evidence"]]
    assert any(text.endswith("tables that stay without one: 1") for text in texts), texts
