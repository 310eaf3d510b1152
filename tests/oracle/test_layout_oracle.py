# SPDX-License-Identifier: MIT
# qcow2 layout against others on images with a history that QEMU made: its end and leaks are those of
# `qemu-img check`, its data is that of `qemu-img map`, the owner of any byte is that of `qcow2 locate
# --host`. The commands that it names give back what it says.
"""layout against qemu-img and qcow2 locate."""
import json
import os
import random
import shutil
import subprocess

import pytest

from tests.forge import recipes
from tests.oracle.test_mapping_oracle import CASES, call, cluster_bits, make
from tests.support.programs import RELEASE, image, recipe_image, run

UNCLAIMED = ("leaked", "free", "hole")
# Which disks refer to a cluster of guest data: the active one (True), snapshots (False).
DISKS = {"data": {True}, "compressed": {True}, "shared": {True, False}, "snapshot-only": {False}}


def layout(path, code=0):
    done = run("layout", "-j", path, program=RELEASE)
    assert done.returncode == code, done
    return json.loads(done.stdout)


def checked(path):
    done = subprocess.run(["qemu-img", "check", "--output=json", path], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    assert done.returncode in (0, 3), done
    return json.loads(done.stdout)


def clusters_of_map(path, size):
    """The host clusters that the map leads to."""
    found = set()
    for entry in json.loads(call("qemu-img", "map", "--output=json", path)):
        if entry["depth"] == 0 and "offset" in entry:
            last = entry["offset"] + entry["length"] - 1
            found.update(range(entry["offset"] // size, last // size + 1))
    return found


def clusters_of(found, *kinds):
    size = found["cluster-size"]
    return {cluster for one in found["runs"] if one["kind"] in kinds
            for cluster in range(one["start"] // size, -(-(one["start"] + one["length"]) // size))}


# Some cluster sizes, and all that is not just another one.
SIZES = ("512", "4096", "65536", "2097152")
CHOSEN = [case for case in CASES if not case.startswith(("clusters", "extended")) or
          case.split()[1] in SIZES]


@pytest.mark.parametrize("case", CHOSEN)
def test_history(case, tmp_path):
    options, clusters, kinds = CASES[case]
    path = str(tmp_path / "image")
    make(path, options, clusters, kinds, random.Random(case))
    found, theirs = layout(path), checked(path)
    assert found["end"] == theirs["image-end-offset"]
    assert found["totals"]["leaked"] == theirs.get("leaks", 0) << cluster_bits(options)
    assert found["totals"]["conflict"] == 0
    if "data-file" in found:
        assert found["totals"]["data"] == found["totals"]["shared"] == 0
        return
    ours = clusters_of(found, "data", "shared")
    mapped = clusters_of_map(path, found["cluster-size"])
    # The map tells no place of subclusters without data, and none of compressed data, which
    # snapshots may share.
    assert mapped <= ours and ("extended" in options or "c" in kinds or mapped == ours)
    agree(path, found, random.Random(case), 8)


def agree(path, found, rng, count):
    """Whatever owns a cluster is what locate says of it."""
    size = found["cluster-size"]
    for one in rng.sample(found["runs"], min(count, len(found["runs"]))):
        start = one["start"] + rng.randrange(-(-one["length"] // size)) * size
        length = min(size, found["file-size"] - start)
        told = json.loads(run("locate", "-j", f"--host={start}+{length}", path,
                              program=RELEASE).stdout)
        pieces = [told, *told["more"]]
        if one["kind"] in UNCLAIMED:
            state = "leaked" if one["kind"] == "leaked" else "free"
            assert {piece["state"] for piece in pieces} == {state}, (one, told)
            continue
        assert {piece["state"] for piece in pieces} == {"used"}, (one, told)
        owners = [owner for piece in pieces for owner in piece["owners"]]
        if start == one["start"]:
            assert one["where"] in {owner["where"] for owner in owners}, (one, told)
        parts = {owner["part"] for owner in owners}
        if one["kind"] in DISKS:
            assert parts <= {"data", "compressed"}, (one, told)
            assert {owner["snapshot"] is None for owner in owners} == DISKS[one["kind"]], (one, told)
        elif one["kind"] != "conflict":
            # What claims bytes far beyond the end of the file is no reference for the check.
            far = {owner["part"] for owner in owners
                   if owner["offset"] + owner["length"] >= found["file-size"] + size}
            assert {"luks" if one["kind"] == "crypto" else one["kind"]} in (parts, parts - far), \
                (one, told)


@pytest.mark.parametrize("name", [n for n in recipes("good-")[::5] + recipes("bad-")[::9]
                                  if "hostile" not in n])
def test_locate(name):
    path = recipe_image(name)[0]
    done = run("layout", "-j", path, program=RELEASE)
    if done.returncode != 1:
        agree(path, json.loads(done.stdout), random.Random(name), 8)


def test_leaks_are_given_back(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    with open(recipe_image("good-default")[0], "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    size = os.path.getsize(path)
    done = subprocess.run([RELEASE, "dump", "-j", path, "refcounts"], stdout=subprocess.PIPE,
                          check=True)
    assert done.stdout
    # Three clusters of old data with a refcount.
    block = json.loads(call(RELEASE, "locate", "-j", "--host=0", path))["refcount-path"][1]["offset"]
    with open(path, "r+b") as file:
        file.seek(block + 2 * (size >> 16))
        file.write(b"\0\1" * 3)
        file.seek(size)
        file.write(b"old!" * (3 << 14))
    found = layout(path)
    assert found["space"]["leaked"]["bytes"] == 3 << 16 == checked(path)["leaks"] << 16
    before = os.stat(path).st_blocks
    os.symlink(RELEASE, tmp_path / "qcow2")
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(found["space"]["leaked"]["command"], shell=True, check=True,
                   stdout=subprocess.DEVNULL, env=env)
    # They are free now, and lie behind the end of the image.
    subprocess.run(layout(path)["space"]["behind"]["command"], shell=True, check=True,
                   stdout=subprocess.DEVNULL, env=env)
    assert os.stat(path).st_blocks <= before - (3 << 16) // 512
    after = layout(path)
    assert after["totals"]["leaked"] == 0 and after["end"] == size


def test_no_changes_while_in_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "disk.qcow2"
    shutil.copyfile(image("size 1M\nwrite 0 64k\nleak 2\nsnapshot 1 name=a\n")[0], path)
    os.truncate(path, os.path.getsize(path) + (1 << 20))
    before = layout(path)["space"]
    assert before["behind"]["command"] and before["leaked"]["command"]
    with subprocess.Popen(["qemu-io", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdin.write(b"length\n")
        other.stdin.flush()
        other.stdout.readline()  # it is open now
        done = run("layout", "-j", path, program=RELEASE)
        text = run("layout", path, program=RELEASE).stdout.decode()
        other.communicate(b"quit\n")
    space = json.loads(done.stdout)["space"]
    assert done.returncode == 0 and b"in use" in done.stderr
    assert space["behind"]["command"] is None and space["leaked"]["command"] is None
    assert space["snapshots"]["command"] == "qcow2 snapshot space disk.qcow2"
    assert "Another program writes to the image. Nothing should be changed now." in text
