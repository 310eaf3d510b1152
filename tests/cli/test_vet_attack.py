# SPDX-License-Identifier: MIT
# What qemu-img takes minutes for, in a few KiB. The images are those of tests/oracle/vet_attack.py, which
# finds out how much of each qemu-img bears: here each is refused where it gets too much, and accepted
# where it is small.
"""Images that attack who opens them."""
import json
import os
import subprocess

import pytest

from tests.forge import recipes
from tests.oracle.vet_ideas import IDEAS
from tests.support.programs import QCOW2, RELEASE, recipe_image, run

# Rules that refuse an idea at a scale: one of them has to. The lowest scale of each is accepted.
REFUSED = {
    "clusters_in_holes": (1 << 32, {"check-time", "map-time"}),
    "leaks": (40, {"check-time"}),
    "small_tables": (1 << 18, {"map-time"}),
    "empty_tables": (61440, {"check-time", "map-time"}),
    "subclusters": (200, {"map-time", "convert-time"}),
    "zeros_between": (500, {"map-time", "convert-time"}),
    "shared_data": (30, {"convert-time"}),
    "shared_compressed": (30, {"convert-time"}),
    "shared_compressed_2m": (8192, {"convert-time"}),
    "slow_compressed": (8192, {"convert-time"}),
    "small_data": (900, {"convert-time"}),
    "small_compressed": (100, {"convert-time"}),
    "zstd_window": (8192, {"convert-time"}),
    "data_behind_the_end": (100, {"convert-time"}),
    "data_between_clusters": (60, {"convert-time"}),
    "snapshots_of_faults": (1000, {"check-time"}),
    "snapshots_of_data": (1000, {"check-time"}),
    "snapshots_in_holes": (1000, {"check-time"}),
    "bitmaps_of_small_clusters": (1000, {"open-time"}),
    "bitmaps_of_ones": (1000, {"open-memory"}),
}


def verdicts(paths, *options):
    done = run("vet", "--output=ndjson", "--files-from=-", *options, input="\0".join(map(str, paths)).encode() + b"\0")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["filename"] for line in found] == list(map(str, paths))
    return [(line["verdict"], {reason["rule"] for reason in line["reasons"]}) for line in found]


@pytest.mark.parametrize("name", REFUSED)
def test_what_keeps_qemu_busy_is_refused(name, tmp_path):
    make, low, _ = IDEAS[name]
    scale, rules = REFUSED[name]
    paths = [tmp_path / "small", tmp_path / "large"]
    make(low).write(paths[0])
    make(scale).write(paths[1])
    (small, _), (large, found) = verdicts(paths)
    assert (small, large) == ("accepted", "refused") and rules & found, found


def piped(path, policy):
    with open(path, "rb") as stream:
        done = subprocess.run([RELEASE, "vet", "--output=ndjson", f"--policy={policy}", "-"], input=stream.read(),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    line = json.loads(done.stdout)
    return line["verdict"], {reason["rule"] for reason in line["reasons"]}


STEP = 1 if os.environ.get("VET_RECIPES") == "all" else 9
# What only the file tells: where it is.
NAMED = {"backing-kind"}


def test_a_pipe_and_a_file_agree():
    """One recipe in nine; VET_RECIPES=all goes through all."""
    paths = [path for path in (recipe_image(name)[0] for name in recipes("")[::STEP]) if os.path.getsize(path) < 8 << 20]
    assert len(paths) > 30
    for path, (verdict, rules) in zip(paths, verdicts(paths, "--policy=chain")):
        through, found = piped(path, "chain")
        assert found <= rules, path
        if rules - NAMED:
            assert through == "refused", (path, rules)
        else:
            assert through == "could not look" or through == "accepted" and not found, (path, verdict)


def test_hostile_names_in_lists(tmp_path):
    names = [b"\xff\xfe", b"../" * 1000 + b"x", b"x" * 5000, b"-", b"--help", b"\x1b[2J", b"/dev/fd/77", b"//dev/null",
             b"/dev/stdin/", b" ", b"a\nSAFETY_CHECK_PASSED=True"]
    done = subprocess.run([QCOW2, "vet", "--output=ndjson", "--files-from=/dev/stdin"], cwd=tmp_path, check=False,
                          input=b"\0".join(names) + b"\0", stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and len(lines) == len(names)
    assert all(line["verdict"] != "accepted" for line in lines)
    assert b"\x1b" not in done.stderr and len(done.stderr.splitlines()) == len([
        line for line in lines if line["verdict"] == "could not look"])
