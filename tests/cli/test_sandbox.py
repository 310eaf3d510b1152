# SPDX-License-Identifier: MIT
# What an image could do that took a command over: nothing but to read what the command reads.
"""The sandbox: tests/shims/escape.c tries to get out of it at each read."""
import os
import socket
import subprocess
import threading

import pytest

from tests.support import shims
from tests.support.programs import RELEASE
from tests.support.reading import CHAIN, COMMANDS, SEALED, make_folder

# What each part of the sandbox prevents by itself; "s" is a socket with a name, which is not a file
# that Landlock looks at.
FILTER, LANDLOCK = {"NO_LANDLOCK": "1"}, {"NO_FILTER": "1"}


def welcome(server):
    """Takes whoever comes, until the server is closed."""
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


@pytest.fixture(name="cell", scope="module")
def fixture_cell(tmp_path_factory):
    """A folder with images, and what an image would like to reach."""
    folder = tmp_path_factory.mktemp("cell")
    make_folder(folder)
    (folder / "secret").write_text("secret", encoding="utf-8")
    (folder / "run").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (folder / "run").chmod(0o755)
    port, path = socket.socket(), socket.socket(socket.AF_UNIX)
    port.bind(("127.0.0.1", 0))
    path.bind(str(folder / "socket"))
    for server in (port, path):
        server.listen(100)
        threading.Thread(target=welcome, args=(server,), daemon=True).start()
    env = {**os.environ, "LD_PRELOAD": shims.build("escape", folder),
           "ESCAPE_READ": str(folder / "secret"), "ESCAPE_WRITE": str(folder / "written"),
           "ESCAPE_PORT": str(port.getsockname()[1]), "ESCAPE_SOCKET": str(folder / "socket"),
           "ESCAPE_RUN": str(folder / "run")}
    yield folder, env
    for server in (port, path):
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def escape(cell, line, program=RELEASE, **more):
    """The finished run, and what could be done at each read."""
    folder, env = cell
    for name in os.listdir(folder / "new"):
        os.unlink(folder / "new" / name)
    end, report = os.pipe()
    done = subprocess.run([program, *line.split()], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=20, check=False, pass_fds=(report,),
                          env={**env, "ESCAPE_REPORT": str(report), **more})
    os.close(report)
    with os.fdopen(end, encoding="ascii") as stream:
        lines = stream.read().split("\n")[:-1]
    assert lines, done
    return done, lines


def judge(line, lines, allowed=""):
    kind = COMMANDS[line]
    may = set(allowed) | ({"r"} if kind != SEALED else set())
    assert set("".join(lines)) <= may, lines
    if kind == CHAIN:
        assert set(lines[-1]) <= set(allowed), lines


@pytest.mark.parametrize("line", COMMANDS)
def test_nothing_gets_out(cell, line):
    """With all parts of the sandbox, and with each alone; the output is the same as without."""
    free, lines = escape(cell, line, QCOW2_SANDBOX="off")
    assert set(lines[-1]) == set("rwpsxfck") and free.returncode in (0, 2, 3), (free, lines)
    done, lines = escape(cell, line, QCOW2_SANDBOX="require")
    judge(line, lines)
    assert (done.returncode, done.stdout, done.stderr) == (free.returncode, free.stdout, free.stderr)


@pytest.mark.parametrize("line", ["info a.qcow2", "dump a.qcow2", "map --chain a.qcow2",
                                  "undo --list ."])
def test_each_part_alone(cell, line):
    _, lines = escape(cell, line, **LANDLOCK)
    judge(line, lines, "sfc")
    _, lines = escape(cell, line, **FILTER)
    judge(line, lines, "r" if line.startswith("info") else "")


def test_missing_parts(cell):
    """They are told with --verbose, and an error where they are required."""
    for part, said in (({"NO_FILTER": "1"}, "no filter of system calls: Invalid argument"),
                       ({"NO_LANDLOCK": "1"}, "no Landlock: Function not implemented"),
                       ({"NO_PRIVILEGES": "1"}, "no way to give up new privileges")):
        for line in ("info a.qcow2", "dump a.qcow2"):
            done, _ = escape(cell, line, **part)
            assert done.returncode == 0 and done.stderr == b""
            done, _ = escape(cell, line.replace(" ", " -v "), **part)
            assert done.returncode == 0 and said.encode() in done.stderr, done
            folder, env = cell
            done = subprocess.run([RELEASE, *line.split()], cwd=folder, capture_output=True,
                                  check=False, timeout=20,
                                  env={**env, **part, "ESCAPE_REPORT": "-1",
                                       "QCOW2_SANDBOX": "require"})
            assert done.returncode == 1 and done.stdout == b"" and said.encode() in done.stderr


def test_wrong_word(cell):
    folder, _ = cell
    done = subprocess.run([RELEASE, "info", "a.qcow2"], cwd=folder, capture_output=True, check=False,
                          env={**os.environ, "QCOW2_SANDBOX": "maybe"}, timeout=20)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr == b"qcow2 info: QCOW2_SANDBOX is none of off, try and require\n"


def test_a_file_of_the_line_that_is_replaced(cell, tmp_path):
    """Files that are named by other paths, by links, and by descriptors are what they lead to."""
    folder, _ = cell
    os.symlink(folder / "a.qcow2", tmp_path / "link")
    with open(folder / "a.qcow2", "rb") as image:
        for name in (tmp_path / "link", f"/dev/fd/{image.fileno()}", "../cell0/a.qcow2"):
            for command in ("info", "check", "map"):
                done = subprocess.run([RELEASE, command, str(name)], cwd=folder, capture_output=True,
                                      check=False, timeout=20, pass_fds=(image.fileno(),))
                assert done.returncode == 0, done


def test_a_folder_in_place_of_a_file(cell):
    """It is said to be one; what is in it stays out of reach."""
    folder, _ = cell
    for command in ("info", "check"):
        done = subprocess.run([RELEASE, command, "."], cwd=folder, capture_output=True, check=False,
                              timeout=20)
        assert b"a directory, not a regular file" in done.stderr
    _, lines = escape(cell, "info . a.qcow2")
    assert set("".join(lines)) == set()
