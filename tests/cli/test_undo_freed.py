# SPDX-License-Identifier: MIT
# What a change frees is kept, content and all, for every width of refcounts; an undo takes it back
# only where it is as it was.
"""undo of changes that free clusters."""
import os
import struct

import pytest

from tests.support.programs import image, run

CLUSTER = 65536


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def overwrite(path, offset, data):
    """Puts bytes at a place; the size and all else stay."""
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


@pytest.fixture(name="scene", params=range(7))
def fixture_scene(request, tmp_path):
    """An image with a data cluster, after an edit that has freed it and dropped its mapping."""
    path, undo = str(tmp_path / "a.qcow2"), str(tmp_path / "undo")
    data = read(image(f"refcount_order {request.param}\nwrite 0 64k pattern=0x5a\n")[0])
    with open(path, "wb") as stream:
        stream.write(data)
    entry = struct.unpack(">Q", data[l2_of(data):][:8])[0] & 0x00fffffffffffe00
    done = run("edit", "--force", "--yes", f"--undo-file={undo}", path, "set", "l2/0/0=0",
               f"refcounts/0/{entry // CLUSTER}=0")
    assert done.returncode == 0, done
    assert entry and data[entry:entry + CLUSTER] == b"\x5a" * CLUSTER
    return path, undo, data, entry


def l2_of(data):
    l1 = struct.unpack(">Q", data[40:48])[0]
    return struct.unpack(">Q", data[l1:l1 + 8])[0] & 0x00fffffffffffe00


def test_comes_back(scene):
    path, undo, before, _ = scene
    # Two places of a byte or so, and the cluster with them.
    assert os.path.getsize(undo) > CLUSTER
    done = run("undo", undo)
    assert done.returncode == 0 and read(path) == before, done


@pytest.mark.parametrize("at", (0, 1, CLUSTER - 1))
def test_used_meanwhile(scene, at):
    """Somebody has had the cluster, and has given it back."""
    path, undo, before, entry = scene
    overwrite(path, entry + at, b"\0")
    now = read(path)
    for options in ((), ("--exact",)):
        done = run("undo", *options, undo)
        assert done.returncode == 1 and b"clusters that the change freed" in done.stderr, done
        assert read(path) == now
    overwrite(path, entry + at, b"\x5a")
    assert run("undo", undo).returncode == 0 and read(path) == before


def test_counted_meanwhile(scene):
    """It is somebody's now: the metadata are other ones."""
    path, undo, _, entry = scene
    done = run("edit", "--force", "--yes", "--no-undo", path, "set",
               f"refcounts/0/{entry // CLUSTER}=1")
    assert done.returncode == 0, done
    now = read(path)
    done = run("undo", undo)
    assert done.returncode == 1 and b"written to since" in done.stderr, done
    assert read(path) == now


def test_exact_after_a_program_cleared_a_bit(tmp_path):
    """An autoclear bit that nobody here knows is clear again after an exact undo: undo it again."""
    path, undo = str(tmp_path / "a.qcow2"), str(tmp_path / "undo")
    before = read(image("autoclear 32\nwrite 0 64k\n")[0])
    with open(path, "wb") as stream:
        stream.write(before)
    done = run("edit", "--yes", f"--undo-file={undo}", path, "feature", "autoclear", "5", "off")
    assert done.returncode == 0, done
    for _ in range(2):
        done = run("undo", "--exact", undo)
        assert done.returncode == 0 and read(path) == before, done
        overwrite(path, 95, b"\0")
