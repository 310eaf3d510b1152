# SPDX-License-Identifier: MIT
# docs/compared.md says what other tools do: the lines that it shows are run again.
"""docs/compared.md against qemu-img and the command."""
import os
import re
import subprocess

import pytest

from tests.forge import build, load
from tests.support.programs import QCOW2, TOP

IMAGES = {"own.qcow2": "bad-data-on-own-l2", "stale.qcow2": "good-bitmap-in-use"}


def document():
    with open(os.path.join(TOP, "docs/compared.md"), encoding="utf-8") as stream:
        return stream.read()


def lines():
    """(command, what it prints) of each "$ " line."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", document(), re.M | re.S):
        found += [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return found


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory):
    place = tmp_path_factory.mktemp("compared")
    for name, recipe in IMAGES.items():
        build(load(recipe), str(place / name))
    (place / "bin").mkdir()
    (place / "bin" / "qcow2").symlink_to(QCOW2)
    return place


def test_lines(place):
    """All of them in order, as each may stand on the one before."""
    assert len(lines()) >= 4
    for command, said in lines():
        done = subprocess.run(["bash", "-c", command], cwd=place, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False,
                              env={**os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}"})
        printed = done.stdout.decode()
        assert printed.startswith(said.removesuffix("…\n")), (command, printed)
        assert said.endswith("…\n") or printed == said


def test_every_command_that_is_named_is_there():
    named = set(re.findall(r"`qcow2 ([a-z]+)", document()))
    listed = subprocess.run([QCOW2, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    assert named and named <= set(re.findall(r"^  ([a-z]+) ", listed, re.M))
    said = subprocess.run(["qemu-img", "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    known = set(re.findall(r"^  ([a-z]+) \[", said, re.M))
    assert set(re.findall(r"`qemu-img ([a-z]+)", document())) <= known
