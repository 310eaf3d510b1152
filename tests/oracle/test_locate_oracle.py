# SPDX-License-Identifier: MIT
# qcow2 locate on forged good images of every kind: what it says of the guest's side is what
# qemu-img map says, and the file's side leads back to where it came from, for random bytes of the
# disk, of its snapshots and of the file.
"""locate against qemu-img map, and both of its sides against each other."""
import json
import os
import random
import subprocess

import pytest

from tests.forge import load, recipes
from tests.support.programs import RELEASE, recipe_image, run

GOOD = sorted(n for n in recipes() if n.startswith("good-") and "hostile" not in n and
              "size-zero" not in n)
BYTES = 3


def locate(path, *words):
    done = run("locate", "-j", *words, path, program=RELEASE)
    assert (done.returncode, done.stderr) == (0, b""), done
    return json.loads(done.stdout)


def parts(answer):
    return [answer, *answer.get("more", ())]


def their_map(path):
    """What qemu-img says, or None where it needs a key or another file."""
    done = subprocess.run(["qemu-img", "map", "--output=json", os.path.basename(path)],
                          cwd=os.path.dirname(path), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None


def kind_of(entry):
    if entry["depth"] > 0 or not entry["present"]:
        return "unallocated"  # or what a backing file says
    if entry["data"]:
        return "data" if "offset" in entry else "compressed"
    return "zero-allocated" if "offset" in entry else "zero"


def at_byte(entries, byte, key):
    return next(e for e in entries if e[key] <= byte < e[key] + e["length"])


@pytest.mark.parametrize("name", GOOD)
def test_as_qemu_maps(name):
    """Each part of ours lies in one of theirs, and each of theirs in ours."""
    path, _ = recipe_image(name)
    theirs = their_map(path) if load(name).qemu is None else None
    ours = parts(locate(path, "--guest=0+15E"))
    if theirs is None:
        # It needs a key or another file, or refuses: at least nothing of the disk is left out.
        at = [part["guest"] for part in ours]
        assert at == [sum(part["length"] for part in ours[:i]) for i in range(len(ours))]
        return
    starts = {part["guest"] for part in ours} | {entry["start"] for entry in theirs}
    for byte in starts:
        if byte >= theirs[-1]["start"] + theirs[-1]["length"]:
            continue  # QEMU cuts disks to whole sectors
        mine, other = at_byte(ours, byte, "guest"), at_byte(theirs, byte, "start")
        assert mine["kind"] == kind_of(other), (byte, mine, other)
        if mine["kind"] in ("data", "zero-allocated"):
            assert mine["host"] + byte - mine["guest"] == other["offset"] + byte - other["start"]


def leads_back(path, place, snapshot):
    """The file's side names the guest's bytes, by the same L2 entry."""
    found = locate(path, f"--host={place['host']}")
    owners = [owner for owner in found["owners"] if owner["where"] == place["path"][-1]["where"]]
    assert len(owners) == 1, (place, found)
    owner, byte = owners[0], place["guest"]
    assert owner["guest"]["start"] <= byte < owner["guest"]["start"] + owner["guest"]["length"]
    assert owner["snapshot"] == snapshot and found["refcount"] == place["refcount"]
    assert owner["part"] == ("compressed" if place["kind"] == "compressed" else "data")
    if place["kind"] != "compressed":
        assert owner["guest-offset"] == byte
    # Good images count each reference.
    assert found["state"] == "used" and found["refcount"] >= 1


@pytest.mark.parametrize("name", GOOD)
def test_the_way_back(name):
    path, layout = recipe_image(name)
    rng = random.Random(name)
    placed = [part for part in parts(locate(path, "--guest=0+15E"))
              if part["host"] is not None and "data-file" not in part]
    for part in rng.sample(placed, min(len(placed), BYTES)):
        byte = part["guest"] + rng.randrange(part["length"])
        place = locate(path, f"--guest={byte}", "--all-snapshots")
        if place["kind"] != "compressed":
            assert place["host"] == part["host"] + byte - part["guest"]
        leads_back(path, place, None)
        for inner in place["snapshots"]:
            if inner["host"] is not None:
                leads_back(path, inner, inner["snapshot"])
    assert layout


@pytest.mark.parametrize("name", GOOD)
def test_the_way_there(name):
    """From random bytes of the file: each owner with a place on a disk has the byte there."""
    path, _ = recipe_image(name)
    size = os.path.getsize(path)
    rng = random.Random(name)
    for _ in range(BYTES):
        byte = rng.randrange(size)
        found = locate(path, f"--host={byte}")
        assert found["state"] != "beyond-end"
        assert (found["state"] == "used") == bool(found["owners"])
        for owner in found["owners"][:3]:
            if "guest-offset" not in owner or "snapshot-id-hex" in owner:
                continue
            of = [f"--snapshot={owner['snapshot-id']}"] if owner["snapshot"] is not None else []
            place = locate(path, f"--guest={owner['guest-offset']}", *of)
            assert place["host"] == byte and place["path"][-1]["where"] == owner["where"]
