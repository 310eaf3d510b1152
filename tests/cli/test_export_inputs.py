# SPDX-License-Identifier: MIT
# What `qcow2 export` is told besides the image: bitmaps of a chain, lists of ranges, manifests, keys. Whatever is
# not whole, or not what it is taken for, is no silent success.
"""export, and what it is given."""
import os
import subprocess

import pytest

from tests.support.exports import K, M, content, exported, read, refused, write
from tests.support.programs import run


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
