# SPDX-License-Identifier: MIT
# docs/backup.md: each shown command is run, in its order, and prints what the document says.
"""The worked incremental backup."""
import os
import re
import signal
import subprocess

from tests.support import shims
from tests.support.exports import read
from tests.support.programs import RELEASE, TOP

DOCUMENT = os.path.join(TOP, "docs", "backup.md")


def shown():
    """(command, what it prints) of each "$ " line in the document."""
    found = []
    for block in re.findall(r"^```\n(.*?)^```$", read(DOCUMENT).decode(), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, said = part.partition("\n")
            found.append((command, said))
    return found


def environment(folder):
    (folder / "bin").mkdir()
    (folder / "bin" / "qcow2").symlink_to(RELEASE)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def crash(folder, command, env):
    """In place of a kill at some time: one in the middle of the second write of the target."""
    words = command.split(" qcow2 ", 1)[1].split()
    done = subprocess.run(["qcow2", *words], cwd=folder / "work", env={
        **env, "LD_PRELOAD": shims.build("crash", folder), "CRASH_AT": "3", "CRASH_HOW": "half", "QCOW2_SANDBOX": "off"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_document(tmp_path):
    env, commands = environment(tmp_path), shown()
    (tmp_path / "work").mkdir()
    assert len(commands) >= 25 and sum(command.startswith("timeout") for command, _ in commands) == 1
    for command, said in commands:
        if command.startswith("timeout"):
            before = read(tmp_path / "work" / "backup.raw")
            crash(tmp_path, command, env)
            assert read(tmp_path / "work" / "backup.raw") != before
            continue
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path / "work", env=env, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert done.stdout.decode() == said, command
        assert done.returncode == (1 if said.startswith("qcow2 export:") and said.count("\n") == 1 else 0), \
            (command, done)
