# SPDX-License-Identifier: MIT
# The tour in the README is what the command prints: every line of it, in order.
"""README against the command."""
import os
import re
import subprocess

import pytest

from tests.support.programs import QCOW2, TOP

# What the file takes on disk depends on the file system.
HERE_ONLY = re.compile(r"^(on disk  |.* bytes\), ).*$", re.M)


def commands():
    """(command, what the README says that it prints) for each "$ " line in a code block."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as stream:
        readme = stream.read()
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", readme, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


TOUR = commands()


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory):
    """A folder where the README's commands can be run as they are."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("docs", "examples", "tests"):
        (place / name).symlink_to(os.path.join(TOP, name))
    (place / "bin").mkdir()
    (place / "bin" / "qcow2").symlink_to(QCOW2)
    return place


def run(command, place):
    path = f"{place}/bin:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", command], cwd=place, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False,
                          env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.stderr == b""
    return done


@pytest.mark.parametrize("number", range(len(TOUR)))
def test_tour(number, place):
    command, said = TOUR[number]
    if command.startswith("qcow2") and command.endswith(("broken.qcow2", "disk.qcow2")):
        run(next(c for c, _ in reversed(TOUR[:number]) if "forge.py" in c), place)
    done = run(command, place)
    printed = HERE_ONLY.sub("on disk", done.stdout.decode()) if "forge" not in command else ""
    at = 0
    for piece in HERE_ONLY.sub("on disk", said).split("…\n"):
        start = printed.find(piece, at)
        assert start >= 0 and (start == 0 or at > 0), piece
        at = start + len(piece)
    assert said.endswith("…\n") or at == len(printed)
    assert done.returncode == (2 if "Problems:" in said or " is corrupt:" in said else 0)


def test_there_is_a_tour():
    assert len(TOUR) >= 8
    assert {command.split()[1] for command, _ in TOUR if command.startswith("qcow2")} == {
        "dump", "check", "repair", "bitmap", "explain", "layout", "locate"}
    assert any("qcow2 edit" in command for command, _ in TOUR)


def test_the_library_example_compiles(tmp_path):
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as stream:
        program, = re.findall(r"^```c\n(.*?)^```$", stream.read(), re.M | re.S)
    (tmp_path / "example.c").write_text(program, encoding="utf-8")
    subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                    "-I", os.path.join(TOP, "include"), str(tmp_path / "example.c")], check=True)


def test_it_is_short():
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as stream:
        assert len(stream.read().split()) < 1500
