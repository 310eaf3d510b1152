# SPDX-License-Identifier: MIT
# What `qcow2 export` is told besides the image: bitmaps of a chain, lists of ranges, manifests, keys. Whatever is
# not whole, or not what it is taken for, is no silent success.
"""export, and what it is given."""
import json
import os
import subprocess

import pytest

from tests.forge import build
from tests.support import schemas
from tests.support.exports import K, M, content, exported, manifest, read, refused, write
from tests.support.faults import each_fault, fault
from tests.support.programs import QCOW2, run


def qemu(*words, cwd):
    subprocess.run([str(w) for w in words], cwd=cwd, check=True, capture_output=True, timeout=60)


@pytest.fixture(name="chain")
def fixture_chain(tmp_path):
    """old (no bitmap) <- base <- top, each of which the guest wrote to since the bitmap was added."""
    folder, below = tmp_path / "chain", None
    folder.mkdir()
    for at, name in enumerate(("old", "base", "top")):
        qemu("qemu-img", "create", "-q", "-f", "qcow2", *(["-b", below, "-F", "qcow2"] if below else []), name, "8M",
             cwd=folder)
        if name != "old":
            qemu("qemu-img", "bitmap", "--add", name, "b0", cwd=folder)
        qemu("qemu-io", "-c", f"write -P {at + 1} {at * 2}M 1M", name, cwd=folder)
        below = name
    return folder


# ---- the bitmaps of a chain ----

def test_the_bitmaps_of_a_chain_are_one(chain, tmp_path):
    target = write(tmp_path / "t", content(chain / "old"))
    assert exported("--chain", "-b", "b0", chain / "top", "-o", target)["data"] == 2 * M
    assert read(target) == content(chain / "top")


def test_an_image_of_the_chain_without_the_bitmap(chain, tmp_path):
    target = write(tmp_path / "t", bytes(8 * M))
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", "top", "-F", "qcow2", "more", cwd=chain)
    refused("--chain", "-b", "b0", chain / "more", "-o", target, says="more: bitmap 'b0': there is no bitmap")
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", "more", "-F", "qcow2", "last", cwd=chain)
    qemu("qemu-img", "bitmap", "--add", "last", "b0", cwd=chain)
    refused("--chain", "-b", "b0", chain / "last", "-o", target,
            says="top: it has the bitmap, and a file above it has none")
    assert read(target) == bytes(8 * M)


def test_a_bitmap_below_of_another_size(chain, tmp_path):
    target = write(tmp_path / "t", bytes(8 * M))
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-b", "top", "-F", "qcow2", "more", "9M", cwd=chain)
    qemu("qemu-img", "bitmap", "--add", "more", "b0", cwd=chain)
    refused("--chain", "-b", "b0", chain / "more", "-o", target, says="its disk is of another size")


def test_a_file_of_the_chain_is_missing(chain, tmp_path):
    target = write(tmp_path / "t", bytes(8 * M))
    os.unlink(chain / "base")
    refused("--chain", "--salvage", "-b", "b0", chain / "top", "-o", target, says="a file below it is missing")


# ---- lists of ranges ----

@pytest.fixture(name="disk")
def fixture_disk(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    build("size 8M\nwrite 1M 64k pattern=0x11\nwrite 3M 192k pattern=0x22\nbitmap b0 granularity=65536 bits=48\n"
          "bitmap b1 granularity=65536 bits=50\n", path)
    return path


@pytest.mark.parametrize("text, says", [
    ("", "the list is empty"), (" \n\n", "the list is empty"), ("0 65536\n524288 655", "line 2: the list was cut off"),
    ("# none", "line 1: the list was cut off"), ('[{"start": 0, "length": 65536},\n', "range 2: "),
    ('[{"start": 0, "length": 65536}', "range 2: "), ('{"start": 0, "length": 65536}\n{"start": 0, "len', "range 2: "),
])
def test_lists_that_are_cut(disk, tmp_path, text, says):
    target = write(tmp_path / "t", b"\xee" * (8 * M))
    refused(disk, "--ranges", write(tmp_path / "l", text.encode()), "-o", target, says=says)
    assert read(target) == b"\xee" * (8 * M)


@pytest.mark.parametrize("text", ["[]", " [ ]\n", "# none\n", "0 65536 clean\n"])
def test_lists_without_ranges(disk, tmp_path, text):
    target = write(tmp_path / "t", b"\xee" * (8 * M))
    assert exported(disk, "--ranges", write(tmp_path / "l", text.encode()), "-o", target)["exported"] == 0


# ---- what the image and the target are ----

def test_a_torn_header_is_no_raw_disk_without_a_word(disk, tmp_path):
    with open(disk, "r+b") as stream:
        stream.write(bytes(4))
    done = run("export", disk, "-o", tmp_path / "t")
    assert done.returncode == 0 and f"{disk}: read as a raw disk" in done.stderr.decode()
    assert run("export", disk, "-f", "-o", tmp_path / "t", "--image-format=raw").stderr == b""
    refused(disk, "-f", "-o", tmp_path / "t", "--image-format=qcow2", says="disk.qcow2: ")
    refused("--verify", "--image-format=raw", "x", "y", says="--verify exports nothing")


def test_an_image_is_no_target_for_parts(disk, tmp_path):
    victim = str(tmp_path / "victim")
    build("size 8M\n", victim)
    before = read(victim)
    refused(disk, "-b", "b0", "-o", victim, says="victim: it is a qcow2 image, and no raw export of this disk")
    assert read(victim) == before
    exported(disk, "-b", "b0", "-f", "-o", victim)
    assert len(read(victim)) == 8 * M
    # An image may be on the disk itself.
    qemu("qemu-io", "-c", f"write -s {disk} 0 512", disk, cwd=tmp_path)
    target = tmp_path / "t"
    exported(disk, "-o", target)
    exported(disk, "-b", "b0", "-o", target)
    assert read(target) == content(disk)


@pytest.mark.parametrize("option", ["--key-file", "--ranges"])
def test_a_pipe_that_nobody_writes_to(disk, tmp_path, option):
    os.mkfifo(tmp_path / "pipe")
    target = write(tmp_path / "t", bytes(8 * M))
    refused(disk, "-f", f"{option}={tmp_path / 'pipe'}", "-o", target, says="pipe: nothing comes out of this pipe")
    refused("--verify", tmp_path / "pipe", target, says="pipe: nothing comes out of this pipe")
    exported(disk, "-f", "-o", target, "--manifest", tmp_path / "m")
    refused("--verify", tmp_path / "m", tmp_path / "pipe", says="pipe: ")


def test_a_pipe_with_a_list(disk, tmp_path):
    """A shell's <(…): it is waited for."""
    ours, theirs = os.pipe()
    with subprocess.Popen(["sh", "-c", "sleep 0.2; echo 3145728 65536"], stdout=theirs):
        os.close(theirs)
        target = write(tmp_path / "t", bytes(8 * M))
        done = subprocess.run([QCOW2, "export", disk, f"--ranges=/dev/fd/{ours}", "-o", target], pass_fds=[ours],
                              check=True, capture_output=True, timeout=60)
    os.close(ours)
    assert b"64 KiB of data" in done.stdout and read(target)[3 * M:3 * M + 64 * K] == b"\x22" * (64 * K)


# ---- manifests ----

def verified(*words, code):
    done = run("export", "-j", "--verify", *words)
    assert done.returncode == code, done
    document = json.loads(done.stdout)
    wrong = schemas.validator("export", "verified")(document, "")
    assert not wrong, wrong
    return document, done.stderr.decode()


@pytest.mark.parametrize("change", ["none", "first", "last", "middle"])
def test_a_manifest_of_a_part_is_not_one_of_all(disk, tmp_path, change):
    first, target = tmp_path / "m", tmp_path / "t"
    exported(disk, "-o", target, "--manifest", first)
    document = manifest(first)
    rows = document["ranges"]
    document["ranges"] = {"none": [], "first": rows[1:], "last": rows[:-1], "middle": rows[:1] + rows[2:]}[change]
    assert len(rows) > 2
    write(first, json.dumps(document).encode())
    refused("--verify", first, target, says="a manifest of all of a disk, but its ranges are only a part of it")


def test_what_is_not_compared_is_said(disk, tmp_path):
    target = tmp_path / "t"
    exported(disk, "-o", target, "--manifest", tmp_path / "1")
    exported(disk, "-b", "b0", "-o", target, "--manifest", tmp_path / "2")
    exported(disk, "-b", "b1", "-o", target, "--manifest", tmp_path / "3")
    assert verified(tmp_path / "1", target, code=0)[1] == ""
    found, said = verified(tmp_path / "1", tmp_path / "2", tmp_path / "3", target, code=0)
    assert found["proven"] + found["unproven"] == 8 * M and 0 < found["unproven"] < M
    assert "not all of it was compared" in said
    found, said = verified(tmp_path / "2", target, code=0)
    assert (found["proven"], found["unproven"]) == (64 * K, 8 * M - 64 * K) and "not all of it was compared" in said
    refused("--verify", tmp_path / "2", tmp_path / "1", target, says="1: it is of a full export, which comes first")


def test_what_could_not_be_read_is_said(tmp_path):
    disk, target = str(tmp_path / "disk"), tmp_path / "t"
    build("size 8M\nbacking lost qcow2\nwrite 0 1M pattern=1\nwrite 2M 6M pattern=2\n", disk)
    exported(disk, "--salvage", "-o", target, "--manifest", tmp_path / "1", code=2)
    found, said = verified(tmp_path / "1", target, code=2)
    assert found["unreadable"] == [{"start": M, "length": M}] and found["different"] == 0
    assert "some of it could not be read when it was exported" in said
    assert b"1048576 1048576 unreadable\n" in run("export", "--verify", tmp_path / "1", target).stdout
    # A later export has a part of it.
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "lost", "8M", cwd=tmp_path)
    listed = write(tmp_path / "l", b"1M 256k\n1536k 256k\n")
    exported(disk, "--chain", "--ranges", listed, "-o", target, "--manifest", tmp_path / "2")
    found, _ = verified(tmp_path / "1", tmp_path / "2", target, code=2)
    assert found["unreadable"] == [{"start": M + 256 * K, "length": 256 * K}, {"start": M + 768 * K, "length": 256 * K}]
    exported(disk, "--chain", "--ranges", write(listed, b"1M 1M\n"), "-o", target, "--manifest", tmp_path / "3")
    assert verified(tmp_path / "1", tmp_path / "2", tmp_path / "3", target, code=0)[0]["unreadable"] == []


# ---- faults ----

@pytest.mark.parametrize("what", ["chain", "verify"])
def test_faults(chain, tmp_path, shim, what):
    """Each allocation and each read that fails is an error, and is told."""
    target = write(tmp_path / "t", content(chain / "old"))
    words = ["export", "--chain", "-b", "b0", str(chain / "top"), "-o", target]
    if what == "verify":
        os.unlink(chain / "old")
        exported("--chain", "--salvage", "-f", chain / "top", "-o", target, "--manifest", tmp_path / "m", code=2)
        words = ["export", "--verify", str(tmp_path / "m"), target]
    good, _ = fault(shim, words)
    assert good.returncode == (2 if what == "verify" else 0), good
    for call in ("FAIL_ALLOC", "FAIL_READ"):
        for _, done in each_fault(shim, words, call):
            assert done.returncode == 1 or (call == "FAIL_ALLOC" and done.stdout == good.stdout), done
            assert done.returncode != 1 or done.stderr.count(b"\n") == 1 or b"standard output" in done.stderr, done
