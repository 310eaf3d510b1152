# SPDX-License-Identifier: MIT
# qcow2 hash, from outside: the digest against the program of docs/hash.md, and lists of blocks.
"""qcow2 hash."""
import hashlib
import json
import random

import pytest

from tests.forge import build
from tests.support.guest import hash_program, tree_hash
from tests.support.outside import run, text_of
from tests.support.programs import RELEASE, image

MIB = 1 << 20
DISK = "size 5M\nwrite 0 64k pattern=0x55\nwrite 1M 64k pattern=0\nzero 2M 64k\ncompressed 3M 64k pattern=0x42\n"


def digest(*words):
    return text_of(run("hash", *map(str, words), program=RELEASE)).split()[0]


@pytest.mark.parametrize("size", [0, 1, 512, 700, MIB - 1, MIB, MIB + 1, 255 * MIB, 256 * MIB, 257 * MIB])
def test_program(size, tmp_path):
    """Blocks and nodes that are full, and not full, at each side of their ends."""
    rng = random.Random(size)
    with open(tmp_path / "raw", "wb") as stream:
        for at in (0, 3 * MIB + 5, 254 * MIB, 255 * MIB, 256 * MIB, size - 100):
            if 0 <= at < size:
                stream.seek(at)
                stream.write(rng.randbytes(100))
        stream.truncate(size)
    assert digest("-f", "raw", tmp_path / "raw") == tree_hash(str(tmp_path / "raw"))


def test_the_program_is_short():
    assert len(hash_program().splitlines()) <= 13


def test_however_it_is_stored(tmp_path):
    path, layout = image(DISK)
    expected = digest(path)
    (tmp_path / "raw").write_bytes(layout.guest_bytes(0, 5 * MIB))
    assert digest("-f", "raw", tmp_path / "raw") == expected == tree_hash(str(tmp_path / "raw"))
    build(DISK.replace("write 1M 64k pattern=0", "").replace("zero 2M 64k", "") + "cluster_bits 9\n",
          str(tmp_path / "other"))
    assert digest(tmp_path / "other") == expected
    build(DISK.replace("size 5M", "size 6M"), str(tmp_path / "longer"))
    build(DISK.replace("0x42", "0x43"), str(tmp_path / "changed"))
    assert len({expected, digest(tmp_path / "longer"), digest(tmp_path / "changed")}) == 3


def test_large_disks(tmp_path):
    """Zeros are not hashed one by one; data at the end of them are found."""
    text = "cluster_bits 21\nsize 4000T\n"
    build(text, str(tmp_path / "zeros"))
    build(text + "write 3999T 2M pattern=0\n", str(tmp_path / "stored"))
    build(text + "write 3999T 2M pattern=1\n", str(tmp_path / "data"))
    zeros = digest(tmp_path / "zeros")
    assert digest(tmp_path / "stored") == zeros != digest(tmp_path / "data")
    rows = json.loads(run("hash", "-j", "--block=16M", str(tmp_path / "data")).stdout)
    assert [(row["start"] >> 40, row["zero"]) for row in rows] == [(0, True), (3999, False), (3999, True)]


@pytest.mark.parametrize("block", [512, 4096, 3 * 512, 65536, MIB, 3 * MIB, 16 * MIB])
def test_blocks(block, tmp_path):
    """Each digest is that of the bytes; blocks of zeros are one row, stored or not."""
    path, layout = image(DISK)
    data = layout.guest_bytes(0, 5 * MIB)
    expected = []
    for at in range(0, len(data), block):
        piece = data[at:at + block]
        zero = not any(piece)
        if zero and expected and expected[-1]["zero"]:
            expected[-1]["length"] += len(piece)
        else:
            expected.append({"start": at, "length": len(piece), "zero": zero,
                             "sha256": None if zero else hashlib.sha256(piece).hexdigest()})
    assert json.loads(run("hash", "-j", f"--block={block}", path).stdout) == expected
    (tmp_path / "raw").write_bytes(data)
    human = text_of(run("hash", f"--block={block}", path))
    assert human == text_of(run("hash", f"--block={block}", "-f", "raw", str(tmp_path / "raw")))
    assert human.splitlines()[1:] == [
        f"0x{row['start']:<13x} 0x{row['length']:<11x} {row['sha256'] or 'zeros'}" for row in expected]


def test_what_cannot_be_read(tmp_path):
    """No digest of a disk, but of the blocks that can be read."""
    path = str(tmp_path / "broken")
    build("size 1M\nwrite 0 128k pattern=1\nset l2/0/1 eof + cluster | 1<<63\n", path)
    done = run("hash", path)
    assert (done.returncode, done.stdout) == (1, b"") and b"byte 0x10000 of the disk" in done.stderr
    done = run("hash", "--block=32k", path)
    assert done.returncode == 2 and b"blocks of 65536 bytes cannot be read: byte 0x10000" in done.stderr
    rows = [line.split() for line in done.stdout.decode().splitlines()[1:]]
    good = hashlib.sha256(b"\1" * 32768).hexdigest()
    assert rows == [["0x0", "0x8000", good], ["0x8000", "0x8000", good], ["0x10000", "0x10000", "unreadable"],
                    ["0x20000", "0xe0000", "zeros"]]


def test_very_much_that_cannot_be_read(tmp_path):
    """L1 entries without a meaning: petabytes are one row, and take no time."""
    path = str(tmp_path / "broken")
    build("cluster_bits 21\nsize 4000T\nwrite 0 2M pattern=1\n" +
          "".join(f"set l1/{number} 1<<55\n" for number in range(1, 7000)), path)
    done = run("hash", "--block=64k", path, timeout=20)
    rows = done.stdout.decode().splitlines()
    assert done.returncode == 2 and len(rows) == 1 + 32 + 3, rows[-5:]
    assert rows[-2].split() == ["0x8000000000", f"0x{6999 << 39:x}", "unreadable"]


@pytest.mark.parametrize("value, wrong", [("0", "whole sectors"), ("513", "whole sectors"), ("2G", "--block"),
                                          ("x", "--block")])
def test_wrong_blocks(value, wrong):
    done = run("hash", f"--block={value}", image(DISK)[0])
    assert (done.returncode, done.stdout) == (1, b"") and wrong.encode() in done.stderr, done


def test_snapshots():
    path, layout = image("size 1M\nwrite 0 64k pattern=1\nsnapshot 1 name=one\nwrite 0 64k pattern=2\n")
    assert json.loads(run("hash", "-j", "--block=64k", "--snapshot=one", path).stdout)[0]["sha256"] == \
        hashlib.sha256(layout.guest_bytes(0, 65536, snapshot=0)).hexdigest()
    document = json.loads(run("hash", "-j", path).stdout)
    assert document["size"] == MIB and document["filename"] == path and document["digest"] == digest(path)
