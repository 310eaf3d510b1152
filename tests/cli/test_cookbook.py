# SPDX-License-Identifier: MIT
# docs/cookbook.md: the images are made as it says, and each command prints what is below it, in its order.
"""The cookbook against the command."""
import os
import re
import subprocess

from tests.support.exports import read
from tests.support.programs import RELEASE, TOP

DOCUMENT = read(os.path.join(TOP, "docs", "cookbook.md")).decode()
# Of undo files. Sizes on the disk are nowhere in the document: file systems differ.
MINUTE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?= )")
# Exit codes other than 0 that commands tell their answer by.
ANSWERS = {"qcow2 check broken": 2, "qcow2 diff": 3, "qcow2 export --salvage": 2, "qcow2 compare disk.qcow2 before": 1,
           "qcow2 snapshot diff": 3, "qcow2 report --redact broken": 2, "qcow2 vet stranger": 2}


def shown():
    """(command, what it prints) of each "$ " line in the document."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", DOCUMENT, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, said = part.partition("\n")
            found.append((command, said))
    return found


def bash(command, place):
    return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", command], cwd=place, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False, env={
                              **os.environ, "PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}",
                              "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"})


def test_the_document(tmp_path):
    place = tmp_path / "images"
    for folder in (place, tmp_path / "bin"):
        folder.mkdir()
    (tmp_path / "bin" / "qcow2").symlink_to(RELEASE)
    (place / "tests").symlink_to(os.path.join(TOP, "tests"))
    scene, = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.M | re.S)
    made = bash(scene, place)
    assert (made.returncode, made.stdout) == (0, b"")
    for command, said in shown():
        done = bash(command, place)
        assert done.returncode == next((code for start, code in ANSWERS.items() if command.startswith(start)), 0), \
            (command, done)
        printed = MINUTE.sub("DATE", done.stdout.decode().replace(str(place), "/images"))
        at = 0
        for piece in MINUTE.sub("DATE", said).split("…\n"):
            start = printed.find(piece, at)
            assert start >= 0 and (start == 0 or at > 0), (command, printed)
            at = start + len(piece)
        assert said.endswith("…\n") or at == len(printed), (command, printed)


def test_it_has_thirty_tasks():
    """Numbered from 1, each of at most two commands."""
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", DOCUMENT, re.M)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 30
    assert f"\n{len(numbers)} tasks, " in DOCUMENT
    assert max(len(re.findall(r"^\$ ", task, re.M)) for task in DOCUMENT.split("\n### ")[1:]) <= 2
