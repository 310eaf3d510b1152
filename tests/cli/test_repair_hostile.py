# SPDX-License-Identifier: MIT
# `qcow2 repair` and `qcow2 rescue` on images that are made to do harm: what bounds leave out must
# not be taken for what is not there.
"""Repairs of images that are made to do harm."""
import shutil
import struct

import pytest

from tests.support.programs import RELEASE, image, recipe_image, run

MANY = "size 1M\nrefcount_order 5\nbitmap b0\nrepeat 600 bitmap c{} like=b0\n"


def word(data, at):
    return struct.unpack_from(">Q", data, at)[0]


def last_bitmap_apart(path):
    """999 bitmaps share one large table; the last one gets a table and data of its own."""
    with open(path, "rb") as stream:
        data = bytearray(stream.read())
    clusters, first = 65, len(data) // 512
    table = word(data, 48)
    data += bytes(clusters * 512)
    struct.pack_into(">Q", data, 0x208420 + 998 * 32, first * 512)
    struct.pack_into(">Q", data, first * 512, (first + 64) * 512)
    data[(first + 64) * 512:] = b"\xff" * 512
    for cluster in range(first, first + clusters):
        block = word(data, table + cluster // 128 * 8)
        struct.pack_into(">I", data, block + cluster % 128 * 4, 1)
    with open(path, "wb") as stream:
        stream.write(data)
    return first, first + 64


@pytest.mark.parametrize("options", [["--leaks"], [], ["--only=refcount-high", "--free-lost"]])
def test_uncounted_claims(options, tmp_path):
    """The walk gives up on shared tables at some point, and then knows of no cluster that it leaks."""
    path = shutil.copy(recipe_image("bad-hostile-shared-bitmap-table")[0], str(tmp_path / "disk"))
    clusters = last_bitmap_apart(path)
    done = run("repair", "--yes", "--no-undo", *options, path, program=RELEASE)
    assert done.returncode == 2, done
    assert b"claims more clusters than could be counted" in done.stdout
    with open(path, "rb") as stream:
        data = stream.read()
    for cluster in clusters:
        block = word(data, word(data, 48) + cluster // 128 * 8)
        assert struct.unpack_from(">I", data, block + cluster % 128 * 4)[0] == 1


def test_many_kinds_of_steps(tmp_path):
    """However much a page is flooded, every step is in it, with what it costs and mends."""
    path = shutil.copy(image(MANY)[0], str(tmp_path / "disk"))
    done = run("repair", "--all", "--drop-bad-bitmaps", "--dry-run", path, program=RELEASE)
    assert done.returncode == 0, done
    page = " ".join(done.stdout.decode().split())
    assert "bitmap-table-shared (89): bitmap 'c511' is dropped" in page
    assert "steps of other kinds" not in page
    assert "guest data: read as before; snapshots: as before; bitmaps: mended" in page
