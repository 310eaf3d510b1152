# SPDX-License-Identifier: MIT
# What `qcow2 export` is told besides the image: bitmaps of a chain, lists of ranges, manifests, keys. Whatever is
# not whole, or not what it is taken for, is no silent success.
"""export, and what it is given."""
import os
import subprocess

import pytest

from tests.forge import build
from tests.support.exports import K, M, content, exported, read, refused, write
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
