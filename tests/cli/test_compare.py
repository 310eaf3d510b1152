# SPDX-License-Identifier: MIT
# qcow2 compare, from outside: ranges, exit codes, and what is not read.
"""qcow2 compare."""
import json
import os
import re
import subprocess

import pytest

from tests.forge import build
from tests.support.guest import different, joined
from tests.support.outside import run, text_of
from tests.support.programs import RELEASE, image, recipe_image

MIB = 1 << 20
DISK = "size 4M\nwrite 0 256k pattern=mixed\nwrite 1M 64k pattern=7\nzero 2M 64k\ncompressed 3M 64k pattern=8\n"
CHANGED = DISK + "write 64k 512 pattern=9\nwrite 3M 64k pattern=8\nwrite 2560k 64k pattern=0\nwrite 4095k 1k pattern=1\n"


def compare(*words, code=0):
    done = run("compare", *map(str, words))
    assert done.returncode == code, done
    return done.stdout.decode()


@pytest.fixture(name="pair", scope="module")
def fixture_pair():
    (a, first), (b, second) = image(DISK), image(CHANGED)
    return a, b, different(first.guest_bytes(0, 4 * MIB), second.guest_bytes(0, 4 * MIB))


def test_equal(pair):
    a, _, _ = pair
    assert compare(a, a) == "Images are identical.\n"
    assert compare("-j", a, a) == "[]\n" and compare("-q", a, a) == ""


def test_ranges(pair):
    a, b, ranges = pair
    assert ranges
    found = json.loads(compare("-j", a, b, code=1))
    assert joined(found) == ranges
    assert all(not one["reads-same"] for one in found)
    assert found[-1]["a"] == "unallocated" and found[-1]["b"] == "data"
    text = compare(a, b, code=1)
    rows = [tuple(int(x, 16) for x in m) for m in re.findall(r"^0x([0-9a-f]+) +0x([0-9a-f]+) ", text, re.M)]
    assert rows == [(one["start"], one["length"]) for one in found]
    assert f"first at 0x{ranges[0][0]:x}." in text
    assert compare("-q", a, b, code=1) == ""


def test_many_ranges(tmp_path):
    """The table is cut, the JSON is not."""
    with open(tmp_path / "a", "wb") as a, open(tmp_path / "b", "wb") as b:
        for number in range(5000):
            a.write(bytes([1]) * 512)
            b.write(bytes([1 + number % 2]) * 512)
    words = ("-f", "raw", "-F", "raw", tmp_path / "a", tmp_path / "b")
    assert len(json.loads(compare("-j", *words, code=1))) == 2500
    text = compare(*words, code=1)
    assert "and 2480 more (-v shows all)" in text and "in 2500 ranges" in text
    assert compare("-v", *words, code=1).count("\n0x") == 2500


def test_sizes(tmp_path):
    build(DISK.replace("4M", "6M"), str(tmp_path / "longer"))
    a = image(DISK)[0]
    text = compare(a, tmp_path / "longer")
    assert text == ("Images are identical.\n"
                    "Sizes differ: A has 4 MiB, B has 6 MiB; what the shorter one lacks counts as zeros.\n")
    found = json.loads(compare("-j", "-s", a, tmp_path / "longer", code=1))
    assert found == [{"start": 4 * MIB, "length": 2 * MIB, "reads-same": True, "a": "none", "b": "unallocated"}]
    build(DISK.replace("4M", "6M") + "write 5M 64k pattern=1\n", str(tmp_path / "more"))
    found = json.loads(compare("-j", tmp_path / "more", a, code=1))
    assert found == [{"start": 5 * MIB, "length": 65536, "reads-same": False, "a": "data", "b": "none"}]


def test_strict(tmp_path):
    """What is zeros in one and unallocated in the other reads the same; stored zeros do, too."""
    build("size 1M\nwrite 0 128k pattern=1\n", str(tmp_path / "a"))
    build("size 1M\nwrite 0 128k pattern=1\nzero 256k 64k\nwrite 512k 64k pattern=0\n", str(tmp_path / "b"))
    assert compare(tmp_path / "a", tmp_path / "b") == "Images are identical.\n"
    assert compare("-s", tmp_path / "a", tmp_path / "a") == "Images are identical.\n"
    found = json.loads(compare("-j", "--strict", tmp_path / "a", tmp_path / "b", code=1))
    assert found == [
        {"start": 262144, "length": 65536, "reads-same": True, "a": "unallocated", "b": "zero"},
        {"start": 524288, "length": 65536, "reads-same": True, "a": "unallocated", "b": "data"}]


def test_snapshots():
    path, layout = image("size 1M\nwrite 0 512k pattern=1\nsnapshot 1 name=one\nwrite 64k 64k pattern=2\n"
                         "snapshot 2 name=two\nwrite 128k 64k pattern=1\nwrite 0 64k pattern=3\n")
    disks = {"one": 0, "two": 1, None: None}
    for a in disks:
        for b in disks:
            words = [f"--snapshot-{side}={name}" for side, name in (("a", a), ("b", b)) if name]
            expected = different(layout.guest_bytes(0, MIB, snapshot=disks[a]),
                                 layout.guest_bytes(0, MIB, snapshot=disks[b]))
            assert joined(json.loads(compare("-j", *words, path, path, code=1 if expected else 0))) == expected


def test_broken_data_at_one_place(tmp_path, monkeypatch):
    """Nobody knows whether two disks read the same where neither can be read."""
    monkeypatch.chdir(tmp_path)
    text = ("size 1M\nwrite 0 64k pattern=1\ncompressed 64k 64k pattern=mixed\n"
            "snapshot 1 name=one\nwrite 512k 64k pattern=2\n")
    layout = build(text, "a")
    place = layout.value("l2/0/1") & ((1 << 50) - 1)
    with open("a", "r+b") as stream:
        stream.seek(place)
        stream.write(b"\xff" * 64)
    build(text, "b")
    os.link("a", "same")
    for other in ("b", "same"):
        assert run("compare", "--snapshot-b=one", "a", other).returncode == 4
    assert run("compare", "b", "b").returncode == 0


def test_overlays_of_one_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build("size 1M\nwrite 0 1M pattern=mixed\n", "base")
    build("size 1M\nbacking base qcow2\nwrite 0 64k pattern=1\n", "a")
    build("size 1M\nbacking base qcow2\nwrite 64k 64k pattern=1\ncluster_bits 12\n", "b")
    found = json.loads(compare("-j", "--chain", "a", "b", code=1))
    assert joined(found) == [(0, 131072)]
    assert compare("--chain", "a", "a") == "Images are identical.\n"
    assert run("compare", "a", "b").returncode == 2


def test_failures(tmp_path):
    """No failure is 1, which says that the disks differ."""
    good, bad = recipe_image("good-snapshots")[0], recipe_image("bad-data-beyond-end")[0]
    for words in ((), (good,), (good, good, good), ("--nonsense", good, good), (good, tmp_path / "none"),
                  ("--format-b=raw", "--snapshot-b=1", good, good), ("-f", "vdi", good, good),
                  ("--memory-limit=64k", good, good), ("--memory-limit=x", good, good)):
        done = run("compare", *map(str, words), program=RELEASE)
        assert (done.returncode, done.stdout) == (2, b"") and done.stderr, (words, done)
    for words in ((good, bad), (bad, good)):
        done = run("compare", *words)
        assert (done.returncode, done.stdout) == (4, b""), done
        assert os.path.basename(bad).encode() in done.stderr
    text = text_of(run("compare", "--help"))
    assert "Exit codes, as qemu-img compare: 0 identical, 1 different" in text


def test_output_into_the_image(tmp_path):
    build(DISK, str(tmp_path / "a"))
    with open(tmp_path / "a", "r+b") as stream:
        done = run("compare", str(tmp_path / "a"), str(tmp_path / "a"), stdout=stream)
    assert done.returncode == 2 and b"standard output goes into the image itself" in done.stderr


def test_one_place_that_reads_differently(tmp_path):
    """Equal places are equal bytes only of what is neither compressed nor encrypted."""
    build("size 1M\ncompressed 0 64k pattern=mixed\nsnapshot 1 name=s\n"
          "compressed 64k 64k pattern=mixed\nunmap 64k 64k\nset l2/0/0 $l2/0/0 & ~(0xff<<54)\n",
          str(tmp_path / "cut"))
    assert run("hash", "cut", cwd=tmp_path).returncode == 1
    assert run("compare", "--snapshot-b=s", "cut", "cut", cwd=tmp_path).returncode == 4
    secret = "secret,id=s,data=right"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "--object", secret, "-o",
                    "encrypt.format=aes,encrypt.key-secret=s", "aes", "1M"], cwd=tmp_path, check=True)
    subprocess.run(["qemu-io", "--object", secret, "--image-opts",
                    "driver=qcow2,file.filename=aes,encrypt.key-secret=s", "-c", "write 0 64k"],
                   cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    for name in ("right", "wrong"):
        (tmp_path / name).write_text(name)
    same = ["--key-file-a=right", "aes", "aes"]
    assert run("compare", "--key-file-b=right", *same, cwd=tmp_path).returncode == 0
    assert run("compare", "--key-file-b=wrong", *same, cwd=tmp_path).returncode == 1
