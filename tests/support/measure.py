# SPDX-License-Identifier: MIT
# How much memory a run takes at most.
"""Peak memory of the command."""
import subprocess
import sys

from tests.support.programs import RELEASE

SECONDS = 20

# A process starts with the peak of the one that it was forked from, and pytest is large: this small
# one starts the command instead, and says on standard error how it went.
MEASURE = """
import os, resource, subprocess, sys
try:
    code = subprocess.run(sys.argv[2:], stderr=subprocess.DEVNULL,
                          timeout=int(sys.argv[1])).returncode
except subprocess.TimeoutExpired:
    code = 124
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def peak(*arguments):
    """Runs the command, counts its output, and returns exit code, peak memory, output bytes."""
    command = [sys.executable, "-S", "-E", "-c", MEASURE, str(SECONDS), RELEASE,
               *map(str, arguments)]
    size = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        while piece := child.stdout.read1(1 << 20):
            size += len(piece)
        code, kib = child.stderr.read().split()
    return int(code), int(kib) * 1024, size
