# SPDX-License-Identifier: MIT
# Runs in which one call of the system fails; tests/shims/faults.c makes it fail.
"""The n-th allocation, read or write fails."""
import os
import subprocess

from tests.support.programs import RELEASE

CALLS_MOST = 400


def fault(shim, arguments, files=(), **env):
    """The finished run, and whether the call that had to fail was reached. files: descriptors for the shim."""
    end, report = os.pipe()
    done = subprocess.run([RELEASE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, check=False, pass_fds=(report, *files),
                          env={**os.environ, **env, "FAIL_REPORT": str(report),
                               "LD_PRELOAD": shim})
    os.close(report)
    there = os.read(end, 1) == b"!"
    os.close(end)
    return done, there


def each_fault(shim, arguments, call, how=""):
    """All runs in which one call fails, first to last."""
    for n in range(1, CALLS_MOST):
        done, there = fault(shim, arguments, FAIL_HOW=how, **{call: str(n)})
        if not there:
            assert n > 1, f"{call} is never called"
            return
        yield n, done
    assert False, "no end of calls"
