# SPDX-License-Identifier: MIT
# Bitmaps on a device that has no room: what a change frees is enough for it, or it is refused with the
# numbers; and full file systems. The device is a file that looks like one (device.c); where there are loop devices, a real
# one as well.
"""bitmap, where nothing is free."""
import os
import random
import re
import shutil
import subprocess

import pytest

from tests.support import shims
from tests.support.bitmaps import read, valid
from tests.support.programs import QCOW2, RELEASE, image, run

FULL = """size 16M
cluster_bits 12
bitmap a bits=0,1,5
bitmap b granularity=4096 bits=1,9
bitmap c
"""


@pytest.fixture(name="device", scope="module")
def fixture_device(tmp_path_factory):
    library = shims.build("device", tmp_path_factory.mktemp("shim"))

    def call(path, *words):
        return subprocess.run([RELEASE, *map(str, words)], capture_output=True, timeout=60, check=False,
                              env={**os.environ, "LD_PRELOAD": library, "DEVICE": str(path)})
    return call


@pytest.fixture(name="full")
def fixture_full(tmp_path):
    return shutil.copy(image(FULL)[0], tmp_path / "full.qcow2")


def everything(path):
    """What all bitmaps say, in a form that does not depend on where they are."""
    return [(row["name"], row["state"], row["granularity"],
             run("bitmap", "extents", path, row["name"], program=RELEASE).stdout)
            for row in valid("list", path)["bitmaps"]]


def same_on_a_file(path, device, tmp_path, *words):
    """Does something on the full device, and on a copy that can grow: the same bitmaps come out."""
    before, copy, undo = read(path), shutil.copy(path, tmp_path / "file.qcow2"), tmp_path / "undo"
    expected = run("bitmap", words[0], "--no-undo", copy, *words[1:], program=RELEASE)
    dry = device(path, "bitmap", words[0], "--dry-run", path, *words[1:])
    done = device(path, "bitmap", words[0], f"--undo-file={undo}", path, *words[1:])
    assert dry.returncode == done.returncode and (dry.stderr == done.stderr or not done.returncode)
    if done.returncode:
        assert read(path) == before and not undo.exists()
        return done
    assert expected.returncode == 0 and everything(path) == everything(copy), words
    assert run("check", path, program=RELEASE).returncode == 0
    assert os.path.getsize(path) == len(before)
    if undo.exists():
        after = read(path)
        assert device(path, "undo", "--exact", undo).returncode == 0 and read(path) == before
        with open(path, "r+b") as opened:
            opened.write(after)
        undo.unlink()
    return done


@pytest.mark.parametrize("words", [
    ("clear", "a"), ("clear", "b"), ("clear", "a", "b", "c"), ("remove", "a"), ("remove", "c"),
    ("remove", "a", "b", "c"), ("rename", "a", "longer"), ("enable", "a"), ("disable", "b"), ("merge", "b", "a"),
    ("merge", "a", "b"),
], ids=" ".join)
def test_what_frees_enough(full, device, tmp_path, words):
    assert same_on_a_file(full, device, tmp_path, *words).returncode == 0


@pytest.mark.parametrize("words, needed, found", [
    (("add", "new"), 2, 1),
    (("add", "new", "-g", "1M"), 2, 1),
    (("add", "x", "y", "z"), 4, 1),
    (("merge", "a", "c"), 3, 2),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_what_does_not(full, device, tmp_path, words, needed, found):
    done = same_on_a_file(full, device, tmp_path, *words)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.decode() == (
        f"qcow2 bitmap: {full}: the device is full: {needed} clusters ({needed * 4096} bytes) are needed, "
        f"{found} can be had; removing bitmap 'a' would free 2, or enlarge the device\n")


def test_leaks_are_named(full, device, tmp_path):
    with open(full, "ab") as opened:  # a cluster more, which is counted and which nothing uses
        opened.write(bytes(4096))
    clusters = os.path.getsize(full) // 4096
    assert run("edit", "--force", "--yes", "--no-undo", full, "set",
               f"refcounts/0/{clusters - 1}=1").returncode == 0
    done = same_on_a_file(full, device, tmp_path, "add", "new")
    assert b"1 can be had; 1 leaked ('qcow2 check' shows them), or enlarge the device\n" in done.stderr
    assert run("edit", "--force", "--yes", "--no-undo", full, "set",
               f"refcounts/0/{clusters - 1}=0").returncode == 0
    assert same_on_a_file(full, device, tmp_path, "add", "new").returncode == 0


def test_distrusted_refcounts(full, device, tmp_path):
    """Nothing is used again where references may be uncounted."""
    assert run("edit", "--force", "--no-undo", full, "feature", "incompatible", "dirty",
               "on").returncode == 0
    done = same_on_a_file(full, device, tmp_path, "remove", "a")
    assert done.returncode == 1 and b"refcounts cannot be trusted" in done.stderr, done


@pytest.mark.parametrize("refcount", [1, 2])
def test_what_the_guest_uses_as_well(device, tmp_path, refcount):
    """A cluster that a damaged bitmap shares with the guest is not written over, right count or not."""
    source, layout = image("size 1M\ncluster_bits 12\nwrite 0 8k\nbitmap a bits=0,70 granularity=512\nbitmap b\n")
    path = shutil.copy(source, tmp_path / "full.qcow2")
    guest = layout.value("l2/0/0") & ((1 << 56) - 512)
    index = guest // 4096
    for change in (f"bitmaps/0/table/0={guest}", f"refcounts/0/{index}={refcount}"):
        assert run("edit", "--force", "--yes", "--no-undo", path, "set", change).returncode == 0
    data = read(path)[guest:guest + 4096]
    for words in (("remove", "a"), ("clear", "a"), ("rename", "b", "x")):
        copy = shutil.copy(path, tmp_path / "copy.qcow2")
        done = device(copy, "bitmap", words[0], "--no-undo", copy, *words[1:])
        assert done.returncode in (0, 1)
        assert read(copy)[guest:guest + 4096] == data, words


def test_what_has_to_lie_side_by_side(device, tmp_path):
    """Tables of three clusters, and a directory of six, find room where their like was."""
    text = "size 300M\ncluster_bits 9\nrefcount_order 1\n" + "".join(
        f"bitmap {name * 400} granularity=512{bits}\n"
        for name, bits in (("a", ""), ("b", " bits=9"), ("c", ""), ("d", " bits=70,9000"), ("e", ""), ("f", "")))
    path = shutil.copy(image(text)[0], tmp_path / "full.qcow2")
    for words in (("clear", "a"), ("enable", "b"), ("clear", "f", "c"), ("rename", "e", "e"), ("clear", "b", "d"),
                  ("merge", "a", "c"), ("clear", "a", "b", "c", "d", "f"), ("remove", "c"), ("clear", "d", "f")):
        names = [word * 400 for word in words[1:]]
        if words[0] == "rename":
            names[1] = "E" * 400
        done = same_on_a_file(path, device, tmp_path, words[0], *names)
        assert done.returncode == 0, (words, done)


def random_recipe(numbers):
    lines = [f"size {numbers.choice((1, 3, 16, 64, 300))}M", f"cluster_bits {numbers.choice((9, 10, 12, 16))}",
             f"refcount_order {numbers.randrange(7)}"]
    for name in "abcdefgh"[:numbers.randrange(1, 9)]:
        bits = sorted(numbers.sample(range(15), numbers.randrange(6)))
        lines.append(f"bitmap {name} granularity={numbers.choice((512, 4096, 65536))} "
                     f"flags={numbers.choice(('auto', '0'))}" +
                     (f" bits={','.join(map(str, bits))}" if bits else ""))
    return "\n".join(lines) + "\n"


def random_words(numbers, names):
    verb = numbers.choice(("add", "remove", "clear", "enable", "disable", "rename", "merge", "merge"))
    if verb == "add":
        return (verb, "new", "-g", str(1 << numbers.randrange(9, 20)))
    if verb == "rename":
        return (verb, numbers.choice(names), "n" * numbers.randrange(1, 600))
    if verb == "merge":
        return (verb, numbers.choice(names), numbers.choice(names))
    return (verb, *numbers.sample(names, numbers.randrange(1, len(names) + 1)))


@pytest.mark.parametrize("seed", range(int(os.environ.get("DEVICE_SEEDS", "12"))))
def test_at_random(device, tmp_path, seed):
    """Several changes one after the other on a device with few clusters to spare or none."""
    numbers = random.Random(seed)
    path = shutil.copy(image(random_recipe(numbers))[0], tmp_path / "full.qcow2")
    with open(path, "ab") as opened:
        opened.truncate(os.path.getsize(path) + 512 * numbers.randrange(4))
    for _ in range(6):
        names = [row["name"] for row in valid("list", path)["bitmaps"]]
        if not names:
            break
        words = random_words(numbers, names)
        done = same_on_a_file(path, device, tmp_path, *words)
        if done.returncode:
            assert re.search(rb"the device is full: \d+ clusters .* are needed.*, \d+ can be had; |"
                             rb"there is a bitmap of that name", done.stderr), (words, done)
            assert words[0] not in ("remove", "clear", "enable", "disable"), (words, done)


@pytest.fixture(name="loop")
def fixture_loop(full):
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("not here: no loop devices without root")
    done = subprocess.run(["losetup", "--show", "-f", full], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not here: no loop devices")
    yield done.stdout.decode().strip()
    subprocess.run(["losetup", "-d", done.stdout.decode().strip()], check=True)


def test_on_a_loop_device(loop, tmp_path):
    """All of it on a device that is one."""
    undo = tmp_path / "undo"
    before = read(loop)
    for words in (("clear", "a"), ("remove", "b"), ("rename", "a", "longer")):
        done = run("bitmap", words[0], f"--undo-file={undo}", loop, *words[1:], program=QCOW2)
        assert done.returncode == 0, done
        assert run("check", loop).returncode == 0
        assert run("undo", "--exact", undo).returncode == 0 and read(loop) == before
        undo.unlink()
    done = run("bitmap", "add", f"--undo-file={undo}", loop, "new")
    assert done.returncode == 1 and b"the device is full: 2 clusters" in done.stderr
    assert read(loop) == before


@pytest.fixture(name="small")
def fixture_small(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", folder],
                                           capture_output=True, check=False).returncode:
        pytest.skip("not here: nothing can be mounted")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_on_a_full_file_system(small, tmp_path):
    path = shutil.copy(image("size 8T\nbitmap a bits=5\n")[0], small / "i.qcow2")
    bits = tmp_path / "bits"
    bits.write_bytes(random.Random(5).randbytes(16 << 20))
    before = read(path)
    for undo in (f"--undo-file={tmp_path}/undo", "--no-undo"):
        done = run("bitmap", "import", undo, path, "a", bits)
        assert done.returncode == 1 and done.stdout == b"" and read(path) == before
        assert re.search(rb"No space left on device; the image is as it was; the image would grow by "
                         rb"\d{8} bytes, and its file system has \d+ free: \d{8} are missing",
                         done.stderr), done
