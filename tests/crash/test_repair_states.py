# SPDX-License-Identifier: MIT
# A few states of a few repairs; repair_states.py has them all.
"""States after a crash of a repair."""
import pytest

from tests.crash import repair_states
from tests.support import shims
from tests.support.programs import RELEASE, image, recipe_image

# A scene, and how many of its states are tried; None: all.
SOME = {"table missing": 4, "2: snapshots": None, "L1 grows": 4, "snapshot dropped": 4,
        "rescue header": None, "L2 zeroed": 3}


@pytest.fixture(name="shim", scope="module")
def fixture_shim(tmp_path_factory):
    return shims.build("trace", tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("name", sorted(SOME))
def test_states(name, tmp_path, shim):
    scene = repair_states.run(name, str(tmp_path), shim, most=3, sample=SOME[name])
    assert scene.statistics["states"] > 1


GUEST = "size 1M\ncluster_bits 12\nwrite 0 64k\n"
# What repairs find out from the number of corruptions that an image has, or would have.
MARKED = ["bad-snapshot-l1-entry", "bad-data-file-without-bit", GUEST + "set header/cluster_bits 13\n",
          GUEST + "leak 3\npoke @l1 zeros:8\npoke @l2/0 zeros:4096\n"]


@pytest.mark.parametrize("number", range(len(MARKED)))
@pytest.mark.parametrize("words", [(), ("--all",)])
def test_the_corrupt_bit_alone(number, words, tmp_path):
    """A repair that ended behind its first write has set the bit, and nothing else. The next one does
    as if it was not set; it is still there if corruptions are left."""
    recipe, done = MARKED[number], []
    path = (image(recipe) if "\n" in recipe else recipe_image(recipe))[0]
    original = bytearray(repair_states.Scene.read(path))
    for bit in (0, 2):
        original[repair_states.CORRUPT_AT] |= bit
        repair_states.states.put(original, str(tmp_path / "x.qcow2"))
        run = repair_states.tool(RELEASE, "repair", "--yes", "--no-undo", *words,
                                 str(tmp_path / "x.qcow2"))
        content = bytearray(repair_states.Scene.read(str(tmp_path / "x.qcow2")))
        content[repair_states.CORRUPT_AT] &= ~2
        done.append((run.returncode, content))
    assert done[0] == done[1]
