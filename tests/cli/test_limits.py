# SPDX-License-Identifier: MIT
# Every command that reads keeps to its limits: what would pass them is an error, and no half document
# is taken for a whole one.
"""--memory-limit and --time-limit."""
import concurrent.futures
import os
import resource
import subprocess
import time

import pytest

from tests.forge import build
from tests.support import shims
from tests.support.programs import RELEASE, recipe_image
from tests.support.reading import COMMANDS, failures, make_folder

# It has no options but its own.
PLAIN = ("compat", "__complete")


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("limits"))


@pytest.fixture(name="slow", scope="session")
def fixture_slow(tmp_path_factory):
    return shims.build("slow", tmp_path_factory.mktemp("slow"))


def start(folder, line, preload="", **more):
    return subprocess.run([RELEASE, *(line.split() if isinstance(line, str) else line)], cwd=folder,
                          capture_output=True, check=False, timeout=30,
                          env={**os.environ, "LD_PRELOAD": preload, **more})


def empty(folder):
    for name in os.listdir(folder / "new"):
        os.unlink(folder / "new" / name)


@pytest.mark.parametrize("line", [x for x in COMMANDS if not x.startswith("__complete")])
def test_memory(folder, line):
    """With no memory at all there is an error; with some, a whole page or an error."""
    empty(folder)
    free = start(folder, line)
    for limit in ("256M", "1200k", "400k"):
        empty(folder)
        done = start(folder, line, QCOW2_MEMORY_LIMIT=limit)
        if done.returncode in failures(line) and limit != "256M":
            # Pages of other images of the line, or of the chain, may be there, and what there is of a
            # stream, which says of itself that it was cut.
            assert b"memory" in done.stderr
            assert (done.stdout == b"" or "--chain" in line or line.count(".qcow2") == 2 or
                    "--format=stream" in line), done
        elif line != "undo --list ." or limit == "256M":  # which says of each file what is not known
            assert (done.returncode, done.stdout, done.stderr) == (
                free.returncode, free.stdout, free.stderr)
    empty(folder)
    done = start(folder, line, QCOW2_MEMORY_LIMIT="64k")
    assert done.returncode in failures(line) and b"the limit is 64 KiB" in done.stderr, done
    assert done.stdout == b"" or "--chain" in line or "--format=stream" in line
    if not line.startswith(PLAIN):
        again = start(folder, [line.split()[0], "--memory-limit=64k", *line.split()[1:]])
        assert (again.returncode, again.stdout, again.stderr) == (
            done.returncode, done.stdout, done.stderr)
    assert os.listdir(folder / "new") == []


def test_memory_of_a_hostile_image(tmp_path):
    """The limit holds for the whole process; where it is not enough, that is the error."""
    path = recipe_image("good-hostile-snapshots")[0]
    for line in (["check", "--threads=2"], ["snapshot", "space"], ["dump", "-j"]):
        for mib in (4, 8, 64):
            name = tmp_path / "peak"
            done = subprocess.run(["/usr/bin/time", "-f", "%M", "-o", name, RELEASE, *line, path],
                                  capture_output=True, check=False, timeout=30,
                                  env={**os.environ, "QCOW2_MEMORY_LIMIT": f"{mib}M"})
            peak = int(name.read_text(encoding="ascii").split()[-1])
            # the program itself, its libraries and its stack are 4 MiB
            assert peak <= (mib + 4) << 10, (line, mib, peak)
            assert done.returncode == 0 or (done.returncode == 1 and done.stdout == b"" and
                                            b"memory" in done.stderr), done


def test_memory_of_a_check_of_a_plan(tmp_path):
    """A dry run that cannot check its plan says no more than the limit; nor does a document."""
    recipe = "size 10M\nwrite 0 10M\nsnapshot 1 name=one\nbitmap b bits=0-5\n"
    build(recipe, str(tmp_path / "disk"))
    for line in ("repair -n disk", "repair -n -j disk", "diff -j disk disk"):
        ends = set()
        for kib in (*range(400, 1400, 100), 65536):
            done = start(tmp_path, line, QCOW2_MEMORY_LIMIT=f"{kib}k")
            ends.add(done.returncode)
            assert done.returncode == 0 or (done.returncode == 1 and done.stdout == b"" and
                                            b"limit" in done.stderr), (line, kib, done)
        assert ends == {0, 1}, (line, ends)


def test_time(folder, slow):
    """Reads that are too slow are an error soon after the limit, and nothing is printed."""
    def one(line):
        begin = time.monotonic()
        return line, start(folder, line, slow, SLOW_MS="1050", QCOW2_TIME_LIMIT="1"), \
            time.monotonic() - begin

    empty(folder)
    lines = [x for x in COMMANDS if not x.startswith("__complete")]
    with concurrent.futures.ThreadPoolExecutor(len(lines)) as pool:
        for line, done, seconds in pool.map(one, lines):
            assert done.returncode in failures(line) and done.stdout == b"", (line, done)
            assert b"the time limit" in done.stderr, (line, done)
            assert seconds < 10, (line, seconds)
    assert os.listdir(folder / "new") == []


def test_time_of_what_does_not_end(folder, slow):
    """A read that hangs, work without reads, and a pipe that nobody reads, are ended by the timer."""
    line = ["bitmap", "export", "--time-limit=1", "--to=new/bits", "a.qcow2", "nightly"]
    empty(folder)
    for more in ({}, {"CPU": "1"}):
        done = start(folder, line, slow, SLOW_FROM="4", SLOW_MS="20000", **more)
        assert done.returncode == 1
        assert done.stderr == b"qcow2 bitmap: the time limit of 1 s is over\n"
        assert os.listdir(folder / "new") == []
    end, full = os.pipe()
    os.set_blocking(full, False)
    try:
        while os.write(full, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(full, True)
    done = subprocess.run([RELEASE, "dump", "-j", "--time-limit=1", "a.qcow2"], cwd=folder, stdout=full,
                          stderr=subprocess.PIPE, check=False, timeout=20)
    assert done.returncode == 1 and b"the time limit of 1 s is over" in done.stderr
    os.close(end)
    os.close(full)


def test_half_a_document_is_an_error(tmp_path):
    """JSON that streams stops in its middle; no reader takes it for a whole one."""
    path = recipe_image("good-hostile-shared-l2")[0]
    done = start(tmp_path, ["map", "-j", "--time-limit=1", path])
    assert done.returncode == 1 and len(done.stdout) > 1 << 22 and b"the time limit" in done.stderr
    assert not done.stdout.rstrip().endswith(b"]")


def test_a_change_is_cut_off_while_it_is_planned_alone(folder, slow, tmp_path):
    path = tmp_path / "disk"
    path.write_bytes((folder / "base.qcow2").read_bytes())
    before = path.read_bytes()
    done = start(tmp_path, ["edit", "disk", "set", "header/compatible_features=1"], slow,
                 SLOW_MS="1050", QCOW2_TIME_LIMIT="1")
    assert done.returncode == 1 and b"the time limit" in done.stderr and path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["disk"]


@pytest.mark.parametrize("name, words", [("memory", ("x", "-1", "1Z", "1kB")),
                                         ("time", ("x", "-1", "99999999999999"))])
def test_wrong_values(folder, name, words):
    for word in words:
        done = start(folder, ["info", f"--{name}-limit={word}", "a.qcow2"])
        assert done.returncode == 1 and done.stdout == b""
        assert done.stderr.startswith(f"qcow2 info: --{name}-limit: ".encode())
        variable = f"QCOW2_{name.upper()}_LIMIT"
        done = start(folder, ["info", "a.qcow2"], **{variable: word})
        assert done.returncode == 1 and done.stdout == b""
        assert done.stderr.startswith(f"qcow2 info: {variable}: ".encode())
    assert start(folder, ["info", f"--{name}-limit=0", "a.qcow2"]).returncode == 0
    assert start(folder, ["info", "a.qcow2"], **{f"QCOW2_{name.upper()}_LIMIT": ""}).returncode == 0


def test_defaults_are_bounded(folder, slow):
    """The system is told a limit of 4 GiB, unless there is another."""
    for given, limit in ((None, str(4 << 30)), ("0", "unlimited"), ("64M", str(64 << 20))):
        env = {"QCOW2_MEMORY_LIMIT": given} if given else {}
        with subprocess.Popen([RELEASE, "info", "a.qcow2"], cwd=folder, stdout=subprocess.DEVNULL,
                              env={**os.environ, **env, "LD_PRELOAD": slow, "SLOW_MS": "200"}) as run:
            time.sleep(0.1)
            with open(f"/proc/{run.pid}/limits", encoding="ascii") as stream:
                row = next(x for x in stream if x.startswith("Max data size"))
            run.kill()
            assert row.split()[3:5] == [limit, limit]
