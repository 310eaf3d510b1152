# SPDX-License-Identifier: MIT
"""Every JSON output of the command that a test sees is held to its schema; folders of tests."""
import functools
import gc
import os
import pathlib
import re
import shutil
import tempfile

import pytest

from tests.runner import report
from tests.support import breadth, schemas

schemas.watch()

# The forge keeps millions of small objects, and has no cycles to speak of.
gc.set_threshold(50000, 50, 1000)

# As tests/run has it: what a sanitizer finds ends the program, also where pytest is called by hand.
for name, options in report.SANITIZERS.items():
    os.environ.setdefault(name, options)


MEMORY = "/dev/shm"
MEMORY_BYTES = 4 << 30
# These sync thousands of times, and none of them depends on the disk below a sync: the processes
# that they stop are not the machine. Others stay on a disk: `check` takes what is below /dev for a
# device, and `undo` warns of files in memory.
IN_MEMORY = ("tests/crash/", "tests/oracle/test_bitmap_oracle.py", "tests/oracle/test_edit_oracle.py",
             "tests/oracle/test_undo_matrix.py")


@functools.lru_cache(None)
def memory():
    """A file system in memory with much room, or None."""
    try:
        room = os.statvfs(MEMORY)
        with open("/proc/meminfo", encoding="ascii") as stream:
            free = int(re.search(r"MemAvailable: *(\d+)", stream.read())[1]) * 1024
    except OSError:
        return None
    fits = min(free, room.f_bavail * room.f_frsize) >= MEMORY_BYTES and \
        not room.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK | os.X_OK)
    return MEMORY if fits else None


@pytest.fixture(name="tmp_path")
def fixture_tmp_path(request):
    """What a test leaves behind is not kept: all together it is gigabytes."""
    fast = request.node.nodeid.startswith(IN_MEMORY) and memory()
    if not fast:
        path = request.getfixturevalue("tmp_path")
        yield path
        shutil.rmtree(path, ignore_errors=True)
        return
    with tempfile.TemporaryDirectory(prefix="qcow2-test-", dir=fast) as folder:
        yield pathlib.Path(folder)


def pytest_collection_modifyitems(config, items):
    """What was asked for by name is done whole."""
    if any("::" in argument for argument in config.args):
        return
    left_out = breadth.thinned([item.nodeid for item in items])
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]
