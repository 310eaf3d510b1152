# SPDX-License-Identifier: MIT
# The JSON of `qcow2 map` against that of `qemu-img map`, entry for entry: on every good recipe, on
# images that QEMU made at random (active image and snapshots), on chains, and on preallocated images,
# where QEMU looks for holes below data. QEMU 7.2 prints no "compressed". It cannot map a snapshot, so
# that a copy goes back to it first.
"""map against qemu-img map."""
import json
import os
import random
import shutil
import struct
import subprocess

import pytest

from tests.forge import load, recipes
from tests.oracle.test_mapping_oracle import CASES, call, change, go_back, make, snapshot_names
from tests.support.programs import QCOW2, RELEASE, recipe_image

KIB, MIB = 1 << 10, 1 << 20
RECORD = struct.Struct("<QQQIHH")
# QEMU takes minutes for these, or opens a loop again and again.
SLOW = {"good-hostile-backing-itself", "good-hostile-shared-l2-2m", "good-hostile-shared-l2"}
# A character device is a raw file for QEMU, and nothing for us.
OTHER = {"good-hostile-backing-device"}
GOOD = [name for name in recipes("good-") if name not in SLOW | OTHER and not load(name).qemu]


def theirs(path, *options):
    return json.loads(call("qemu-img", "map", "--output=json", *options, path))


def run(*words, program=QCOW2):
    done = subprocess.run([program, "map", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_locate(path):
    return call(QCOW2, "locate", "-j", "--guest=0", path)


def ours(path, *options, program=QCOW2):
    """The entries of our map without what QEMU 7.2 does not print."""
    entries = json.loads(run("-j", *options, path, program=program))
    for entry in entries:
        assert ("filename" in entry) == ("offset" in entry and "--chain" in options)
        assert not entry.pop("compressed") or (entry["data"] and "offset" not in entry)
        entry.pop("filename", None)
    return entries


def alone(entries):
    """What is left of a chain's map if nothing is known of the files below."""
    joined = []
    for entry in entries:
        if entry["depth"] > 0 or not entry["present"]:
            entry = {"start": entry["start"], "length": entry["length"]}
        if joined and len(entry) == 2 and len(joined[-1]) == 2:
            joined[-1]["length"] += entry["length"]
        else:
            joined.append(entry)
    return joined


def unlocated(entries):
    """The entries without the places of subclusters that hold nothing."""
    return [{key: value for key, value in entry.items() if key != "offset" or entry["present"]}
            for entry in entries]


@pytest.mark.parametrize("name", GOOD)
def test_recipe(name):
    path = recipe_image(name)[0]
    # A data file is looked for in the current folder.
    done = subprocess.run(["qemu-img", "map", "--output=json", path], stdout=subprocess.PIPE,
                          cwd=os.path.dirname(path), check=True)
    expected = json.loads(done.stdout)
    assert ours(path, "--chain", program=RELEASE) == expected
    mine = ours(path, program=RELEASE)
    assert {entry["depth"] for entry in mine} == {0}
    assert alone(unlocated(mine)) == alone(unlocated(expected))


@pytest.mark.parametrize("name", CASES)
def test_random(tmp_path, name):
    options, clusters, kinds = CASES[name]
    path = str(tmp_path / "image.qcow2")
    make(path, options, clusters, kinds, random.Random(f"map {name}"))
    assert ours(path, "--chain") == theirs(path)
    for snapshot in snapshot_names(path):
        copy = go_back(path, snapshot[len("snapshot"):])
        # The copy has no holes, and then nor may the image.
        dense = shutil.copyfile(path, path + ".dense")
        assert ours(dense, "--chain", f"--snapshot={snapshot}") == theirs(copy), snapshot


@pytest.mark.parametrize("options", ("", "-o extended_l2=on", "-o cluster_size=4k",
                                     "-o data_file={}.raw"))
@pytest.mark.parametrize("how", ("metadata", "falloc", "full"))
def test_preallocated(tmp_path, how, options):
    """Clusters that nobody has written lie in holes of the file, and are known to be zeros."""
    path = str(tmp_path / "image.qcow2")
    options = options.replace("{}", path).split()
    call("qemu-img", "create", "-q", "-f", "qcow2", *options, path, "8M")
    if not options or "data_file" not in options[-1]:
        call("qemu-img", "create", "-q", "-f", "qcow2", *options, "-o", f"preallocation={how}", path,
             "8M")
    call("qemu-io", "-f", "qcow2", path,
         text="write 1M 64k\nwrite 3M 200k\nwrite 3333k 4k\nwrite -z 5M 100k\n")
    expected = theirs(path)
    assert ours(path, "--chain") == expected
    assert ours(path) == expected
    if how == "metadata" and "data_file" not in str(options) and "extended" not in str(options):
        assert any(entry["zero"] and entry["data"] for entry in expected)


def make_chain(folder, rng):
    """A raw file, and images on it of other sizes, each with writes of its own."""
    base = str(folder / "base.raw")
    with open(base, "wb") as stream:
        for _ in range(6):
            stream.seek(rng.randrange(0, 2 * MIB))
            stream.write(bytes([rng.randrange(1, 256)]) * rng.randrange(1, 200 * KIB))
        stream.truncate(rng.randrange(MIB, 3 * MIB))
    below, kind = base, "raw"
    for turn in range(4):
        path = str(folder / f"image{turn}.qcow2")
        bits = rng.choice((9, 12, 16, 16, 21))
        size = rng.randrange(1, 4 * MIB) // 512 * 512 + 512
        extended = ["-o", "extended_l2=on"] if bits == 16 and rng.random() < 0.5 else []
        call("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", kind, *extended, "-o",
             f"cluster_size={1 << bits}", path, str(size))
        change(path, rng, "wdzc", 1 << bits, size)
        below, kind = path, "qcow2"
    return path


@pytest.mark.parametrize("seed", range(8))
def test_chain(tmp_path, seed):
    """Files of a chain that are shorter or longer than what lies on them."""
    rng = random.Random(f"chain {seed}")
    path = make_chain(tmp_path, rng)
    entries = theirs(path)
    assert ours(path, "--chain") == entries
    assert alone(unlocated(ours(path))) == alone(unlocated(entries))
    size = entries[-1]["start"] + entries[-1]["length"]
    for _ in range(6):
        start, length = rng.randrange(0, size), rng.randrange(1, size)
        options = (f"--start-offset={start}", f"--max-length={length}")
        assert ours(path, "--chain", *options) == theirs(path, *options), options
    with_names = json.loads(run("-j", "--chain", path))
    files = [entry for entry in with_names if "filename" in entry]
    assert all(os.path.exists(entry["filename"]) for entry in files)


@pytest.mark.parametrize("extended", (False, True))
def test_zeros_at_the_start_of_a_data_file(tmp_path, extended):
    """Zeros over the first cluster: QEMU sees a place for them only with extended entries."""
    path = str(tmp_path / "image.qcow2")
    more = ["-o", "extended_l2=on"] if extended else []
    call("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={path}.raw", *more, path, "1M")
    call("qemu-io", "-f", "qcow2", path, text="write 0 128k\nwrite -z 0 192k\n")
    expected = theirs(path)
    assert ours(path, "--chain") == expected and ours(path) == expected
    assert ("offset" in expected[0]) == extended
    found = json.loads(run_locate(path))
    assert (found["kind"], found["host"]) == (("zero-allocated", 0) if extended else ("zero", None))


def test_beyond_the_end(tmp_path):
    """qemu-img has an extent without length for a range without bytes."""
    path = str(tmp_path / "image.qcow2")
    call("qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
    for start in ("1M", "10G"):
        assert ours(path, f"--start-offset={start}") == theirs(path, f"--start-offset={start}")
    assert run("--output=ndjson", "--start-offset=1M", path) == b""
    assert run("--binary", "--start-offset=1M", path) == b""
