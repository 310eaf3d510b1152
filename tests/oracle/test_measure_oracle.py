# SPDX-License-Identifier: MIT
# The sizes of `qcow2 measure` against those of `qemu-img measure`, and against the files that qemu-img
# really makes: copies, full disks, images whose snapshots are deleted, bases that take in an overlay.
"""measure against QEMU's tools."""
import json
import os
import random
import shutil
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.programs import RELEASE, recipe_image
from tests.support.programs import run as run_program
from tests.support.qemu import create, tool

K, M, G, T = 1 << 10, 1 << 20, 1 << 30, 1 << 40
# QEMU takes minutes for these, or opens a loop again and again.
SLOW = {"good-hostile-backing-itself", "good-hostile-shared-l2-2m", "good-hostile-shared-l2"}
# A character device is a raw file for QEMU, and nothing for us.
OTHER = {"good-hostile-backing-device"}
GOOD = [name for name in recipes("good-") if name not in SLOW | OTHER and not load(name).qemu]
OPTIONS = [(), ("-o", "cluster_size=512"), ("-o", "cluster_size=2M,extended_l2=on,refcount_bits=1"),
           ("-o", "compat=0.10,cluster_size=4k"), ("-O", "raw")]


def theirs(*words, cwd=None):
    """What qemu-img says; None if it fails."""
    format_words = [] if "-O" in words else ["-O", "qcow2"]
    done = subprocess.run(["qemu-img", "measure", "--output=json", *format_words, *words], cwd=cwd,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def ours(*words):
    done = run_program("measure", "-j", *words, program=RELEASE)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def equal(expected, told):
    return all(told.get(key) == expected.get(key) for key in ("required", "fully-allocated",
                                                              "bitmaps"))


# ---- qemu-img measure ----

def options_of(numbers):
    bits, version = numbers.randrange(9, 22), numbers.choice(("0.10", "1.1"))
    words = [f"cluster_size={1 << bits}", f"compat={version}"]
    if version != "0.10":
        words.append(f"refcount_bits={1 << numbers.randrange(7)}")
    if bits >= 14 and numbers.random() < 0.5:
        words.append("extended_l2=on")
    if numbers.random() < 0.4:
        words.append("preallocation=" + numbers.choice(("off", "metadata", "falloc", "full")))
    return words


@pytest.mark.parametrize("seed", range(30))
def test_new_images(seed):
    numbers = random.Random(seed)
    words = options_of(numbers)
    size = numbers.choice((numbers.randrange(1 << numbers.randrange(1, 52)), seed, 64 * T))
    line = ("--size", str(size), "-o", ",".join(words))
    expected = theirs(*line)
    if expected is None:
        # The L1 table would be too large.
        assert run_program("measure", *line, program=RELEASE).returncode == 1
    else:
        assert equal(expected, ours(*line)), line


@pytest.mark.parametrize("cipher, bytes_of_header", [
    # What QEMU prints for these beyond what it prints without encryption; here it needs no secret.
    ("aes-256", 2 * M), ("aes-128", M + 64 * K), ("aes-256,encrypt.cipher-mode=cbc", M + 64 * K),
    ("aes-192,encrypt.cipher-mode=cbc", 13 * 64 * K)])
def test_encryption_header(cipher, bytes_of_header):
    plain = ours("--size=1G")
    line = f"encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg={cipher}"
    told = ours("--size=1G", "-o", line)
    for key in ("required", "fully-allocated", "smallest"):
        assert told[key] - plain[key] == bytes_of_header


@pytest.mark.parametrize("name", GOOD)
def test_recipe(name):
    path = recipe_image(name)[0]
    words = OPTIONS[GOOD.index(name) % len(OPTIONS)]
    # A data file is looked for in the current folder.
    expected = theirs(*words, path, cwd=os.path.dirname(path))
    assert expected is not None, name
    assert equal(expected, ours("--chain", *words, path)), words


def fill(path, size, grain, seed, number=9):
    """Random writes of whole grains, none of which is zero. One qemu-io."""
    numbers = random.Random(seed)
    words = []
    for _ in range(number):
        at = numbers.randrange(0, size // grain) * grain
        length = min(numbers.choice((1, 3, 40)) * grain, size - at)
        words += ["-c", f"write -P {numbers.randrange(1, 256)} {at} {length}"]
    tool("qemu-io", *words, path)
    return path


@pytest.mark.parametrize("bits", (9, 14, 21))
def test_chain_snapshots_and_bitmaps(tmp_path, bits):
    base = create(str(tmp_path / "base"), 16 * M, f"cluster_size={1 << bits}")
    fill(base, 16 * M, 4 * K, bits)
    path = str(tmp_path / "top")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={1 << 30 - bits}",
         "-b", base, "-F", "qcow2", path, "20M")
    fill(path, 20 * M, 4 * K, bits + 1)
    tool("qemu-img", "bitmap", "--add", "-g", "64k", path, "one")
    tool("qemu-img", "snapshot", "-c", "s", path)
    tool("qemu-io", "-c", "write -z 0 3M", "-c", "write -P 9 7M 1M", path)
    for words in ((), ("-o", "cluster_size=1k"), ("-l", "s"), ("-o", "compat=0.10")):
        assert equal(theirs(*words, path), ours("--chain", *words, path)), words
    # Without the chain it is what the image has for itself.
    alone = ours(path)
    tool("qemu-img", "rebase", "-u", "-b", "", path)
    assert equal(theirs(path), alone)


def test_sparse_and_preallocated(tmp_path):
    path = create(str(tmp_path / "a"), 64 * T)
    tool("qemu-io", "-c", "write -P 1 63T 1M", "-c", "write -z 1T 1G", path)
    assert equal(theirs(path), ours(path))
    for mode in ("metadata", "falloc"):
        path = create(str(tmp_path / mode), 8 * M, f"preallocation={mode}")
        tool("qemu-io", "-c", "write -P 1 1M 64k", path)
        assert equal(theirs(path), ours(path))


# ---- files that are made ----

def clusters(path, bits):
    return os.path.getsize(path) + (1 << bits) - 1 >> bits


@pytest.mark.parametrize("bits, width, more", [
    (9, 16, ""), (9, 1, ""), (9, 64, ""), (10, 32, ""), (12, 16, ""), (14, 2, ",extended_l2=on"),
    (16, 16, ""), (16, 64, ",extended_l2=on"), (21, 8, "")])
def test_the_smallest_file_is_a_copy(tmp_path, bits, width, more):
    """A copy is the smallest file, unless the refcount table has to grow (docs/measure.md)."""
    size = 6 * M + 512 * bits
    options = f"cluster_size={1 << bits},refcount_bits={width}{more}"
    source, copy = str(tmp_path / "source"), str(tmp_path / "copy")
    create(source, size, "cluster_size=64k")
    fill(source, size, 64 * K, bits, 5)
    tool("qemu-img", "convert", "-O", "qcow2", "-o", options, source, copy)
    smallest = ours("-o", options, source)["smallest"] >> bits
    in_block = (8 << bits) // width
    grows = smallest > in_block << bits - 3
    real = clusters(copy, bits)
    assert smallest <= real <= smallest + (2 * in_block if grows else 0)
    # The copy says the same of itself.
    told = ours(copy)["image"]
    assert told["smallest"] == told["with-all"] == smallest << bits


@pytest.mark.parametrize("bits, width, more", [(9, 16, ""), (9, 64, ""), (9, 2, ""), (12, 16, ""),
                                               (16, 16, ",extended_l2=on")])
def test_a_full_disk(tmp_path, bits, width, more):
    """What qemu-io writes from end to end, with a snapshot that keeps half of it."""
    size = 1 * M if width == 64 else 3 * M
    path = create(str(tmp_path / "a"), size, f"cluster_size={1 << bits},refcount_bits={width}{more}")
    tool("qemu-io", "-c", f"write -P 1 0 {size // 2}", path)
    before = ours(path)["image"]
    tool("qemu-img", "snapshot", "-c", "s", path)
    with_snapshot = ours(path)["image"]
    in_block = (8 << bits) // width
    kept = str(tmp_path / "kept")
    shutil.copyfile(path, kept)
    tool("qemu-img", "snapshot", "-d", "s", path)
    for image, told in ((path, before), (kept, with_snapshot)):
        tool("qemu-io", "-c", f"write -P 2 0 {size}", image)
        grows = told["largest"] >> bits > in_block << bits - 3
        real, largest = clusters(image, bits), told["largest"] >> bits
        # The clusters that the snapshot table took before, and those of a refcount table.
        assert largest - 2 <= real <= largest + 2 + (2 * in_block if grows else 0)
        assert ours(image)["image"]["with-all"] <= told["largest"]
    assert before["largest"] == before["fully-allocated"]


def test_snapshots_of_other_sizes(tmp_path):
    """A copy of a snapshot's disk is as large as the active one: qemu-img cuts it or fills it up."""
    base, path = str(tmp_path / "base"), str(tmp_path / "a")
    create(base, 8 * M, "cluster_size=64k")
    tool("qemu-io", "-c", "write -P 1 1M 4M", base)
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path, str(2 * M))
    tool("qemu-img", "snapshot", "-c", "small", path)
    tool("qemu-img", "resize", "-q", path, str(6 * M))
    tool("qemu-io", "-c", "write -P 1 5M 1M", path)
    tool("qemu-img", "snapshot", "-c", "large", path)
    for size in (6 * M, 2 * M):
        for number, name in ((1, "small"), (2, "large")):
            told = ours("--chain", "-l", name, path)
            assert equal(theirs("-l", f"snapshot.id={number}", path), told)
            assert told["virtual-size"] == size
        tool("qemu-img", "snapshot", "-a", "small", path)
    copy = str(tmp_path / "copy")
    tool("qemu-img", "convert", "-O", "qcow2", "-l", "large", path, copy)
    assert clusters(copy, 16) << 16 == ours("--chain", "-l", "large", path)["smallest"]


@pytest.mark.parametrize("before", [
    ["write -c -P 1 0 64k", "write -c -P 1 128k 64k"],
    ["write -P 1 0 2M", *(f"discard {at}k 64k" for at in range(0, 2048, 128))],
    ["write -P 1 0 2M", "discard 0 2M", "write -P 1 64k 64k"]], ids=["compressed", "gaps", "front"])
@pytest.mark.parametrize("others", ["", "snapshot", "bitmap"])
def test_no_file_is_larger(before, others, tmp_path):
    """QEMU does not use every free cluster again, least of all for one large write."""
    path = create(str(tmp_path / "a"), 4 * M, "cluster_size=64k")
    if others == "bitmap":
        tool("qemu-img", "bitmap", "--add", "-g", "512", path, "b0")
    tool("qemu-io", "-d", "unmap", *(word for one in before for word in ("-c", one)), path)
    if others == "snapshot":
        tool("qemu-img", "snapshot", "-c", "s", path)
        tool("qemu-img", "snapshot", "-c", "gone", path)
        tool("qemu-img", "snapshot", "-d", "gone", path)
    told = ours(path)["image"]
    tool("qemu-io", "-c", "write -P 2 0 4M", path)
    real = clusters(path, 16) << 16
    assert real <= told["largest"] <= real + told["file-size"]


def test_what_is_kept_is_what_stays(tmp_path):
    """Deletes snapshots and bitmaps with qemu-img and measures what is left."""
    path = create(str(tmp_path / "a"), 8 * M, "cluster_size=4k")
    for number in range(3):
        fill(path, 8 * M, 4 * K, number, 5)
        tool("qemu-img", "snapshot", "-c", f"s{number}", path)
    tool("qemu-img", "bitmap", "--add", "-g", "4k", path, "b0")
    fill(path, 8 * M, 4 * K, 9)
    told = ours(path)["image"]
    assert [s["name"] for s in told["snapshots"]] == [f"s{n}" for n in range(3)]

    def left(*names):
        copy = str(tmp_path / "copy")
        shutil.copyfile(path, copy)
        for name in names:
            tool("qemu-img", *(("bitmap", "--remove", copy, name) if name[0] == "b" else
                               ("snapshot", "-d", name, copy)))
        return ours(copy)["image"]["with-all"]

    snapshots, bitmaps = [f"s{n}" for n in range(3)], ["b0"]
    assert told["with-all"] == left()
    assert told["with-snapshots"] == left(*bitmaps)
    assert told["with-bitmaps"] == left(*snapshots)
    for entry in told["snapshots"] + told["bitmaps"]:
        assert entry["kept"] == left(*(n for n in snapshots + bitmaps if n != entry["name"]))


def test_compressed_clusters_side_by_side(tmp_path):
    raw, path = str(tmp_path / "raw"), str(tmp_path / "a")
    numbers = random.Random(1)
    with open(raw, "wb") as file:
        for _ in range(40):
            file.write(numbers.randbytes(numbers.randrange(1, 50000)).ljust(64 * K, b"x"))
    tool("qemu-img", "convert", "-c", "-O", "qcow2", raw, path)
    told = ours(path)["image"]
    assert told["smallest-compressed"] == clusters(path, 16) << 16
    tool("qemu-img", "convert", "-O", "qcow2", path, raw)
    assert told["smallest"] == os.path.getsize(raw)


# ---- commits ----

@pytest.mark.parametrize("seed", range(10))
def test_commit(tmp_path, seed):
    """The base fits the size that was told before, and the size is near."""
    numbers = random.Random(seed)
    bits, top_bits = numbers.choice((9, 12, 16, 18)), numbers.choice((9, 12, 16, 18))
    size = numbers.choice((1, 3)) * (M if bits == 9 else 4 * M)
    compat = "compat=0.10" if seed % 3 == 0 else f"refcount_bits={2 << numbers.randrange(6)}"
    base = create(str(tmp_path / "base"), size, f"cluster_size={1 << bits}", compat)
    fill(base, size, 4 * K, seed)
    if seed % 4 == 1:
        tool("qemu-img", "snapshot", "-c", "s", base)
    if seed % 5 == 2 and compat != "compat=0.10":
        tool("qemu-img", "bitmap", "--add", "-g", "64k", base, "b")
    path = str(tmp_path / "top")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={1 << top_bits}", "-b",
         base, "-F", "qcow2", path, str(numbers.choice((size, size + 4 * M))))
    fill(path, size, 512, seed + 100, 20)
    tool("qemu-io", "-c", "write -z 512k 512k", path)
    told = ours("--chain", path)["commit"]
    assert told["file-size"] == os.path.getsize(base)
    tool("qemu-img", "commit", "-q", path)
    real, most = clusters(base, bits), told["largest"] >> bits
    assert real <= most
    near = 4 + (told["largest"] - told["file-size"] >> bits) // 2
    assert seed % 4 == 1 or seed % 3 == 0 or bits == 9 or most - real <= near


def test_commit_into_a_raw_base(tmp_path):
    base, path = str(tmp_path / "base"), str(tmp_path / "top")
    tool("qemu-img", "create", "-q", "-f", "raw", base, "1M")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", path, "3M")
    tool("qemu-io", "-c", "write -P 1 2M 4k", path)
    assert ours("--chain", path)["commit"]["largest"] == 3 * M
    tool("qemu-img", "commit", "-q", path)
    assert os.path.getsize(base) == 3 * M
