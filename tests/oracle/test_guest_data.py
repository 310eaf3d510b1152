# SPDX-License-Identifier: MIT
# The guest's bytes: read, hash and compare against qemu-img convert, qemu-io and qemu-img compare, on
# images that QEMU made at random, with backing files and snapshots, on chains, and on good recipes.
"""read, hash and compare against QEMU."""
import json
import os
import random
import re
import shutil
import subprocess

import pytest

from tests.forge import load, recipes
from tests.oracle.test_mapping_oracle import CASES, call, cluster_bits, go_back, make, snapshot_names
from tests.support.guest import converted, different, joined, tree_hash
from tests.support.programs import RELEASE, recipe_image, run

MIB = 1 << 20
# QEMU takes minutes for these, opens a loop again and again, or reads what is no file.
STRANGE = {"good-hostile-backing-itself", "good-hostile-shared-l2-2m", "good-hostile-shared-l2",
           "good-hostile-backing-device"}
READ_MOST = 8 * MIB
DISK_MOST = 12 * MIB


def ours(*words, code=0):
    done = run(*words, program=RELEASE)
    assert done.returncode == code, done
    return done.stdout


def qemu_io_read(path, start, length):
    """A dump of qemu-io: offset, colon, bytes and text, at most 16 a row."""
    text = call("qemu-io", "-r", "-f", "qcow2", "-c", f"read -v {start} {length}", path)
    rows = re.findall(r"^[0-9a-f]{8,}:((?: [ ]?[0-9a-f]{2})+)  ", text, re.M)
    return bytes.fromhex("".join(rows).replace(" ", ""))


def check_disk(path, expected, raw, rng, *options):
    """Everything that is said of a disk whose bytes are known."""
    assert ours("read", "--chain", *options, path) == expected
    for _ in range(3):
        start = rng.randrange(len(expected) + 1)
        length = rng.randrange(1, 300000)
        assert ours("read", "--chain", f"--guest={start}+{min(length, len(expected) - start) or 1}",
                    *options, path) == expected[start:start + length] if start < len(expected) else True
    assert ours("hash", "--chain", *options, path).split()[0].decode() == tree_hash(raw)
    assert ours("hash", "--chain", "--block=64k", *options, path) == ours("hash", "--block=64k", "-f", "raw", raw)


def check_compare(path, expected, raw, rng):
    """Equal to its copy; and a copy in which some sectors are other ones differs there alone."""
    assert ours("compare", "--chain", "-F", "raw", path, raw) == b"Images are identical.\n"
    other = bytearray(expected)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(0, len(other) // 512) * 512
        length = rng.choice((512, 1024, 65536))
        piece = other[at:at + length]
        other[at:at + length] = rng.choice((bytes(len(piece)), rng.randbytes(len(piece)), piece))
    with open(raw, "wb") as stream:
        stream.write(other)
    ranges = different(expected, other)
    done = run("compare", "-j", "--chain", "-f", "raw", raw, path, program=RELEASE)
    assert joined(json.loads(done.stdout)) == ranges
    theirs = subprocess.run(["qemu-img", "compare", "-f", "raw", raw, path], check=False,
                            cwd=os.path.dirname(path), stdout=subprocess.DEVNULL)
    assert done.returncode == theirs.returncode == (1 if ranges else 0)


def fill_base(path, rng):
    """Something for the overlay to leave as it is."""
    if os.path.exists(path + ".base"):
        size = os.path.getsize(path + ".base")
        with open(path + ".base", "r+b") as stream:
            stream.seek(rng.randrange(size))
            stream.write(rng.randbytes(100000))
            stream.truncate(size)


@pytest.mark.parametrize("name", CASES)
def test_random(tmp_path, name):
    options, clusters, kinds = CASES[name]
    path, raw = str(tmp_path / "image.qcow2"), str(tmp_path / "raw")
    rng = random.Random(f"guest {name}")
    # Snapshots come with growth by clusters, which takes time if these are large.
    kinds = kinds.replace("s", "") if cluster_bits(options) > 16 else kinds
    make(path, options, min(clusters, DISK_MOST >> cluster_bits(options)), kinds, rng)
    fill_base(path, rng)
    expected = converted(path, raw)
    check_disk(path, expected, raw, rng)
    for _ in range(3):
        start, length = rng.randrange(len(expected)), rng.randrange(1, 3000)
        length = min(length, len(expected) - start)
        assert qemu_io_read(path, start, length) == expected[start:start + length]
    check_compare(path, expected, raw, rng)
    for snapshot in snapshot_names(path):
        copy = go_back(path, snapshot[len("snapshot"):])
        check_disk(path, converted(copy, raw), raw, rng, f"--snapshot={snapshot}")
        done = run("compare", "-j", "--chain", f"--snapshot-b={snapshot}", path, path, program=RELEASE)
        with open(raw, "rb") as stream:
            assert joined(json.loads(done.stdout)) == different(expected, stream.read()), snapshot


@pytest.mark.parametrize("name", [n for n in recipes("good-") if n not in STRANGE and not load(n).qemu])
def test_recipe(name, tmp_path):
    path, raw = recipe_image(name)[0], str(tmp_path / "raw")
    info = json.loads(ours("info", "-j", path))
    if info["virtual-size"] > READ_MOST or info.get("encrypted"):
        return  # other tests read large disks in part
    expected = converted(path, raw)
    # QEMU looks for a data file in the current folder, we beside the image: here it is the same.
    assert ours("read", "--chain", path) == expected
    assert ours("hash", "--chain", path).split()[0].decode() == tree_hash(raw)
    assert ours("compare", "--chain", "-F", "raw", path, raw) == b"Images are identical.\n"


def make_chain(folder, rng):
    """Three images on a raw file, each of another size, with other clusters."""
    with open(folder / "base.raw", "wb") as stream:
        stream.write(rng.randbytes(3 * MIB + 12345))
    below, form = "base.raw", "raw"
    for number, (size, cluster) in enumerate((("5M", "64k"), ("2M", "512"), ("7M", "4k"))):
        name = f"{number}.qcow2"
        call("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={cluster}", "-b",
             str(folder / below), "-F", form, str(folder / name), size)
        for _ in range(10):
            start = rng.randrange(2 * MIB) // 512 * 512
            kind = rng.choice(("-P 7", "-z", "-P 9", "-z -u"))
            call("qemu-io", "-f", "qcow2", "-c", f"write {kind} {start} 512", str(folder / name))
        below, form = name, "qcow2"
    return str(folder / below)


def test_chain(tmp_path):
    """Longer and shorter files below each other: behind the end of one are zeros, whatever is below it."""
    rng = random.Random("chain")
    path, raw = make_chain(tmp_path, rng), str(tmp_path / "raw")
    expected = converted(path, raw)
    assert len(expected) == 7 * MIB
    check_disk(path, expected, raw, rng)
    check_compare(path, expected, raw, rng)
    rows = ours("read", "-x", "--chain", path).decode()
    assert {row.rpartition("|")[2].split()[0] for row in rows.splitlines() if "|" in row} == {
        "0", "1", "2", "3", "unallocated"}


def test_sizes(tmp_path):
    """What qemu-img compare says of disks of two sizes."""
    for name, size, tail in (("a", MIB, b""), ("b", 2 * MIB, b""), ("c", 2 * MIB, b"x")):
        with open(tmp_path / name, "wb") as stream:
            stream.write(b"same" * 1000)
            stream.truncate(size - len(tail))
            stream.seek(0, os.SEEK_END)
            stream.write(tail)
    for options in ((), ("-s",)):
        for one in "abc":
            for two in "abc":
                words = ["compare", *options, "-f", "raw", "-F", "raw", str(tmp_path / one), str(tmp_path / two)]
                theirs = subprocess.run(["qemu-img", *words], check=False, stdout=subprocess.DEVNULL)
                assert run(*words).returncode == theirs.returncode, words


def test_failures(tmp_path):
    """Exit codes of qemu-img compare where an image cannot be opened, or not be read."""
    good = recipe_image("good-snapshots")[0]
    bad = shutil.copyfile(recipe_image("bad-data-beyond-end")[0], tmp_path / "bad.qcow2")
    for words in ((good, str(tmp_path / "none")), (str(tmp_path / "none"), good), (good,), ("--nonsense", good, good)):
        theirs = subprocess.run(["qemu-img", "compare", *words], check=False, capture_output=True)
        assert run("compare", *words).returncode == 2
        assert theirs.returncode in (1, 2)  # 1 where the line is wrong
    done = run("compare", bad, good)
    assert done.returncode == 4 and done.stdout == b"" and b"bad.qcow2" in done.stderr, done
