# SPDX-License-Identifier: MIT
# What an undo of a repair needs, as docs/repair.md says: nothing if no guest has run, whatever has read
# the image meanwhile; --exact where a guest may have written to what would not be read from any more.
"""Undo of repairs, after QEMU."""
import shutil
import subprocess

import pytest

from tests.support.programs import RELEASE, recipe_image, run

EXACT = b"with --exact, if no guest has written to the data file since\n"


def qemu(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0 and b"failed" not in done.stdout, done
    return done


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


class Scene:
    def __init__(self, folder):
        self.image, self.undo = str(folder / "a.qcow2"), str(folder / "undo")
        self.data_file = str(folder / "data.raw")

    def create(self, *options):
        qemu("qemu-img", "create", "-q", "-f", "qcow2", *options, self.image, "1M")
        qemu("qemu-io", "-c", "write -P 5 0 64k", self.image)

    def l2(self):
        image = read(self.image)
        l1 = int.from_bytes(image[40:48], "big")
        return int.from_bytes(image[l1:l1 + 8], "big") & 0x00fffffffffffe00

    def put(self, offset, data):
        with open(self.image, "r+b") as stream:
            stream.seek(offset)
            stream.write(data)

    def ours(self, *words):
        return run(*words, program=RELEASE)

    def repair(self, *words):
        done = self.ours("repair", "--yes", *words, f"--undo-file={self.undo}", self.image)
        assert done.returncode == 0, done
        return done.stdout

    def goes_back(self, before, *words):
        done = self.ours("undo", *words, self.undo)
        assert done.returncode == 0 and read(self.image) == before, done

    def is_refused(self, why):
        now = read(self.image)
        done = self.ours("undo", self.undo)
        assert done.returncode == 1 and why in done.stderr, done
        assert b"--exact" in done.stderr and read(self.image) == now


@pytest.fixture(name="scene")
def fixture_scene(tmp_path):
    return Scene(tmp_path)


def test_reading_is_no_doubt(scene):
    """An entry that leads past the end becomes zeros; QEMU looks at all of it."""
    shutil.copy(recipe_image("bad-data-beyond-end")[0], scene.image)
    before = read(scene.image)
    scene.repair("--all", "--free-lost")
    qemu("qemu-img", "check", scene.image)
    qemu("qemu-img", "convert", "-O", "raw", scene.image, scene.image + ".raw")
    qemu("qemu-io", "-r", "-c", "read 0 4k", scene.image)
    scene.goes_back(before)


def test_rescue_and_repair_go_back_in_reverse_order(scene):
    """Nobody could read the image before; the later undo accounts for the time of the image."""
    scene.create()
    scene.put(scene.l2() + 7, b"\x02")
    scene.put(0, bytes(112))
    before, first = read(scene.image), scene.undo + "-rescue"
    done = scene.ours("rescue", "--apply", f"--undo-file={first}", scene.image)
    assert done.returncode in (0, 2, 3), done
    damaged = read(scene.image)
    scene.repair("--all", "--free-lost")
    qemu("qemu-img", "check", scene.image)
    qemu("qemu-img", "convert", "-O", "raw", scene.image, scene.image + ".raw")
    scene.goes_back(damaged)
    scene.undo = first
    scene.goes_back(before)


def test_a_guest_after_a_rescue(scene):
    """What it wrote in place would not be read from any more: the header would be gone again."""
    scene.create()
    scene.put(0, bytes(112))
    before = read(scene.image)
    scene.ours("rescue", "--apply", f"--undo-file={scene.undo}", scene.image)
    qemu("qemu-io", "-c", "write -P 9 0 64k", scene.image)
    scene.is_refused(b"nothing proves that it was left alone")
    qemu("qemu-io", "-r", "-c", "read -P 9 0 64k", scene.image)
    assert read(scene.image) != before


def test_a_reserved_bit_is_not_read(scene):
    scene.create("-o", f"data_file={scene.data_file}")
    scene.put(scene.l2() + 7, b"\x02")
    before = read(scene.image)
    assert EXACT in scene.repair()
    qemu("qemu-io", "-c", "write -P 9 0 64k", scene.image)
    scene.goes_back(before)
    qemu("qemu-io", "-r", "-c", "read -P 9 0 64k", scene.image)


def test_an_offset_of_a_data_file(scene):
    """Where the data of a guest are in the data file, the image says nothing of its writes."""
    scene.create("-o", f"data_file={scene.data_file},data_file_raw=on")
    qemu("qemu-io", "-c", "write -P 6 64k 64k", scene.image)
    scene.put(scene.l2() + 8, (1 << 63 | 0x50000).to_bytes(8, "big"))
    before = read(scene.image)
    assert EXACT in scene.repair("--all")
    scene.is_refused(b"data file")
    scene.goes_back(before, "--exact")


def test_offset_0_of_a_data_file_is_a_place(scene):
    """The copied flag tells it from none, so that a guest's write to it must stay visible."""
    scene.create("-o", f"data_file={scene.data_file}")
    scene.put(scene.l2(), bytes(8))
    before = read(scene.image)
    done = scene.ours("edit", "--force", "--yes", f"--undo-file={scene.undo}", scene.image, "set",
                      "l2/0/0=0x8000000000000000")
    assert done.returncode == 0, done
    qemu("qemu-io", "-c", "write -P 9 0 64k", scene.image)
    scene.is_refused(b"data file")
    qemu("qemu-io", "-r", "-c", "read -P 9 0 64k", scene.image)
    scene.goes_back(before, "--exact")
