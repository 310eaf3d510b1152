# SPDX-License-Identifier: MIT
# A repair does about bitmaps what "bitmap repair" does, which has tests of its own: here both are
# compared, and that what needs a decision does not hold up the rest. A bit that may have been dirty
# must not come out clean because the repair has made its cluster look sound.
"""Bitmaps, as a part of a repair."""
import json
import shutil

import pytest

from tests.forge import recipes
from tests.support.programs import RELEASE, document, image, recipe_image, run

# Bitmaps of these are found again once the header is mended.
HEADER = {"bad-extension-bitmaps-length"}
NAMES = sorted(name for name in recipes() if "bitmap" in name and "hostile" not in name)

TWO = "size 4M\nbitmap a bits=3\nbitmap b bits=2,5\n"


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def listed(path):
    return run("bitmap", "list", path, program=RELEASE).stdout.decode()


@pytest.mark.parametrize("name", NAMES[::3])
def test_same_as_bitmap_repair(name, tmp_path):
    ours = shutil.copy(recipe_image(name)[0], str(tmp_path / "a.qcow2"))
    other = shutil.copy(ours, str(tmp_path / "b.qcow2"))
    before = read(ours)
    done = run("repair", "--yes", "--undo-file", ours + ".undo", ours, program=RELEASE)
    alone = run("bitmap", "--no-undo", "repair", other, program=RELEASE)
    assert done.returncode in (0, 2, 3) and alone.returncode in (0, 1, 4), (done, alone)
    if alone.returncode != 1 and name not in HEADER:
        assert listed(ours) == listed(other)
    if read(ours) != before:
        assert run("undo", ours + ".undo", ours, program=RELEASE).returncode == 0
    assert read(ours) == before
    shutil.copy(ours, other)
    done = run("repair", "--all", "--yes", "--no-undo", ours, program=RELEASE)
    assert done.returncode in (0, 3), done
    alone = run("bitmap", "--no-undo", "--assume-dirty", "--drop-bad", "repair", other,
                program=RELEASE)
    assert alone.returncode == 0, alone
    if name not in HEADER:
        assert listed(ours) == listed(other)


def test_decisions_do_not_hold_up_the_rest(tmp_path):
    path = shutil.copy(image(TWO + "set bitmaps/0/type 9\nset refcounts/0/1 5\n")[0],
                       str(tmp_path / "a.qcow2"))
    done = run("repair", "--yes", "--no-undo", path)
    assert done.returncode == 2 and b"bitmap-type" in done.stdout, done
    assert b"refcount-high" not in run("check", path).stdout
    assert run("repair", "--all", "--yes", "--no-undo", path).returncode == 0
    assert " b\n" in listed(path) and " a\n" not in listed(path)


@pytest.mark.parametrize("wrong", ["0", "2"])
@pytest.mark.parametrize("more", ["", "set bitmaps/0/type 9\n"])
def test_no_bit_comes_out_clean(wrong, more, tmp_path):
    """A cluster that was not counted as one bitmap's may have had another user."""
    path = shutil.copy(image(TWO + more)[0], str(tmp_path / "a.qcow2"))
    table = run("dump", path, "bitmaps/1/table/0", program=RELEASE).stdout.decode()
    cluster = int(next(word for word in table.split() if word.startswith("0x") and len(word) > 5
                       and int(word, 16) % 65536 == 0 and int(word, 16)), 16) // 65536
    done = run("edit", "--force", "--no-undo", path, "set", f"refcounts/0/{cluster}={wrong}")
    assert done.returncode == 0, done
    for options in ([], [], ["--all"]):
        run("repair", "--yes", "--no-undo", *options, path)
    extents = run("bitmap", "extents", "--dirty", path, "b", program=RELEASE).stdout
    assert extents == b"0 4194304 dirty\n", extents


# Tables of bitmaps read much as L2 tables do: what leaks with the directory is not taken for the
# guest's data, and it is not given up before the bitmaps are.
def test_leaks_of_a_lost_directory(tmp_path):
    path = shutil.copy(image("size 64M\nwrite 0 64K\nbitmap a bits=3\nbitmap b bits=2,5\n")[0],
                       str(tmp_path / "a.qcow2"))
    header = document(path, "extensions")["extensions"][0]["data"]
    with open(path, "r+b") as stream:
        stream.seek(header["bitmap_directory_offset"])
        stream.write(bytes(header["bitmap_directory_size"]))
    damaged = read(path)
    leaks = json.loads(run("check", "-j", path).stdout)["leaks"]
    done = run("repair", "--yes", "--no-undo", path)
    assert done.returncode == 2 and leaks == 4 and read(path) == damaged, done
    assert b"bitmaps that are" in done.stdout
    assert run("repair", "--leaks", "--dry-run", path).stdout.count(b"refcount-high (4)") == 1
    done = run("repair", "--all", "--yes", "--undo-file", path + ".undo", path)
    assert done.returncode == 0 and b"lost data" not in done.stdout, done
    assert run("check", path).returncode == 0
    assert run("undo", path + ".undo", path).returncode == 0 and read(path) == damaged
