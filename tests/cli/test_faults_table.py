# SPDX-License-Identifier: MIT
# Every command line that reads, and every way in which the system can fail it. A failure is exit code
# 1, a message and no page; a page that is there is whole and the same as ever. `FAULTS=all` tries each
# call instead of a few of them.
"""The table of faults."""
import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

from tests.support import shims
from tests.support.programs import RELEASE
from tests.support.reading import COMMANDS, JSON, failures, make_folder

# The calls that are made to fail: the first ones, where files are opened, and some of the others.
SOME = (1, 2, 3, 4, 6, 9, 14, 22, 35, 60, 100, 170, 300)
CALLS = range(1, 2000) if os.environ.get("FAULTS") == "all" else SOME
# What goes on to other images shows those that it can.
SEVERAL = [x for x in COMMANDS if "--chain" in x or x.startswith(("info -j", "check -j", "vet -j", "vet --files"))]
# It answers with nothing, for a shell that cannot show more.
SILENT = [x for x in COMMANDS if x.startswith("__complete")]
# It says of each file what it could not find out.
EACH = ["undo --list ."]
# A dry run shows the plan also if it would be refused, as it cannot be checked.
DRY = [x for x in COMMANDS if " -n " in x]
# It is made for disks that cannot be read, and goes on with what it finds elsewhere.
RESCUE = [x for x in COMMANDS if x.startswith("rescue")]


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("faults"))


@pytest.fixture(name="slow", scope="session")
def fixture_slow(tmp_path_factory):
    return shims.build("slow", tmp_path_factory.mktemp("slow"))


def start(folder, line, shim="", keep=(), stdout=subprocess.PIPE, **more):
    for name in os.listdir(folder / "new"):
        os.unlink(folder / "new" / name)
    return subprocess.run([RELEASE, *line.split()], cwd=folder, stdout=stdout, stderr=subprocess.PIPE,
                          check=False, timeout=60, pass_fds=keep,
                          env={**os.environ, "LD_PRELOAD": shim, **more})


def fault(folder, line, shim, **more):
    """The finished run, and whether the call that had to fail was reached."""
    end, report = os.pipe()
    keep = (report, *([int(more["FAIL_FILE"])] if "FAIL_FILE" in more else []))
    done = start(folder, line, shim, keep, FAIL_REPORT=str(report), **more)
    os.close(report)
    with os.fdopen(end, "rb") as stream:
        return done, stream.read(1) == b"!"


def judge(folder, line, done, free):
    """Nothing is half done: the whole page with its code, or an error."""
    assert 0 <= done.returncode <= 63, done
    if done.returncode in failures(line):
        assert done.stderr, done
        # a stream says by its last record that it is whole
        assert done.stdout == b"" or line in SEVERAL or "--format=stream" in line or (
            line in DRY and b"the planned image cannot be checked" in done.stderr), done
        # what was written is whole, if only the page about it was lost
        assert os.listdir(folder / "new") == [] or b"standard output" in done.stderr, done
    elif line not in EACH + SILENT:
        assert done.returncode == free.returncode and (done.stdout == free.stdout or line in SEVERAL), done
    if JSON[line] and done.stdout:
        json.loads(done.stdout)


def each(folder, line, shim, call, how="", **more):
    """Runs with one call after the other failing, until there are no more."""
    for n in CALLS:
        done, there = fault(folder, line, shim, FAIL_HOW=how, **{call: str(n)}, **more)
        if not there:
            assert n > 1 or line in SILENT, f"{call} is never called"
            return
        yield done


@pytest.mark.parametrize("line", COMMANDS)
def test_memory_and_reads(folder, shim, line):
    free = start(folder, line)
    for done in each(folder, line, shim, "FAIL_ALLOC"):
        judge(folder, line, done, free)
    for how in ("", "end"):
        for done in each(folder, line, shim, "FAIL_READ", how):
            assert 0 <= done.returncode <= 63
            if line not in RESCUE:
                judge(folder, line, done, free)
    for how, which in (("short", "all"), ("interrupted", "2")):
        done, _ = fault(folder, line, shim, FAIL_HOW=how, FAIL_READ=which)
        assert (done.returncode, done.stdout, done.stderr) == (
            free.returncode, free.stdout, free.stderr), done


@contextlib.contextmanager
def opened(path):
    """A descriptor by which the file can be made shorter and longer; it is put back."""
    with open(path, "r+b") as stream:
        before = stream.read()
        try:
            yield stream.fileno()
        finally:
            stream.seek(0)
            stream.write(before)
            stream.truncate()


@pytest.mark.parametrize("line", [x for x in COMMANDS if "a.qcow2" in x])
def test_a_file_that_changes(folder, shim, line):
    """It is cut, or grows, before one of the reads. What was read until then may be told, as a whole."""
    size = os.path.getsize(folder / "a.qcow2")
    for which in (1, 3, 8, 20):
        for to in (0, size // 2, size + (1 << 20)):
            with opened(folder / "a.qcow2") as file:
                done, _ = fault(folder, line, shim, FAIL_READ=str(which), FAIL_HOW="resize",
                                FAIL_FILE=str(file), FAIL_SIZE=str(to))
            assert 0 <= done.returncode <= 63, done
            assert done.returncode not in failures(line) or done.stderr, done
            if JSON[line] and done.stdout:
                json.loads(done.stdout)


@pytest.mark.parametrize("line", [x for x in COMMANDS if x not in SILENT and "--to=" not in x])
def test_output(folder, shim, line):
    """Full, failing, closed, or a pipe whose reader has gone."""
    free = start(folder, line)
    for done in each(folder, line, shim, "FAIL_WRITE"):
        assert done.returncode in failures(line) and b"No space left on device" in done.stderr, done
    for how in ("short", "interrupted"):
        done, _ = fault(folder, line, shim, FAIL_HOW=how, FAIL_WRITE="1")
        assert (done.returncode, done.stdout) == (free.returncode, free.stdout)
    with open("/dev/full", "wb") as full:
        done = start(folder, line, stdout=full)
    assert done.returncode in failures(line) and b"No space left on device" in done.stderr, done
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', RELEASE, *line.split()], cwd=folder,
                          capture_output=True, check=False, timeout=60)
    assert done.returncode in failures(line) and done.stderr, done
    end, pipe = os.pipe()
    os.close(end)
    done = start(folder, line, stdout=pipe)
    os.close(pipe)
    assert done.returncode == -signal.SIGPIPE or (done.returncode in failures(line) and done.stderr), done


def test_signals(folder, slow):
    """A signal ends each command, whatever it does, and it leaves no page behind."""
    lines = [x for x in COMMANDS if x not in SILENT]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        running = [subprocess.Popen([RELEASE, *line.split()], cwd=folder, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE,
                                    env={**os.environ, "LD_PRELOAD": slow, "SLOW_MS": "20000",
                                         "SLOW_FROM": "2"}) for line in lines[number % 3::3]]
        time.sleep(1)
        for one in running:
            one.send_signal(number)
        for one in running:
            shown, _ = one.communicate(timeout=20)
            # One that removes a half file first says to a shell what a signal would.
            assert one.returncode in (-number, 128 + number) and shown == b"", one.args
