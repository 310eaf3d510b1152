# SPDX-License-Identifier: MIT
# A few of the chains of guest_random.py, which tries any number of them by hand.
"""The guest's bytes of random chains against qemu-img convert."""
import os
import subprocess

import pytest

from tests.oracle import guest_random
from tests.support.programs import QCOW2, TOP, folder


@pytest.fixture(scope="session", name="program")
def build_program():
    """The example, linked with the library that the command under test was built with."""
    program = os.path.join(folder(), "read_disk")
    archive = os.path.join(os.path.dirname(os.path.dirname(QCOW2)), "lib", "libqcow2.a")
    sanitized = "asan" in archive
    compiler = "clang" if "clang" in archive else "gcc"
    subprocess.run([compiler, "-std=c17", *(["-fsanitize=address,undefined"] if sanitized else []),
                    "-I" + os.path.join(TOP, "include"),
                    os.path.join(TOP, "examples", "read_disk.c"), archive, "-ldeflate", "-lzstd", "-lnettle", "-largon2",
                    "-pthread", "-o", program], check=True)
    return program


@pytest.mark.parametrize("seed", range(8))
def test_random_chains(program, seed):
    count, wrong = guest_random.run(program, [seed], 60)
    assert count == 1 and not wrong, wrong
