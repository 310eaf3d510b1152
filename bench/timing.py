# SPDX-License-Identifier: MIT
"""Runs commands as whole processes: how long they take, side by side, and how much memory.

Nothing here knows what is measured. Output goes to /dev/null unless it is counted.
"""

import os
import statistics
import subprocess
import time


class Failed(Exception):
    """A command that ought to have worked did not, so that its time would mean nothing."""


def once(command, codes=(0,)):
    """Seconds from starting a process until it has ended."""
    with open(os.devnull, "wb") as null:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=null, stderr=null)
        code = process.wait()
        seconds = time.perf_counter() - began
    if code not in codes:
        raise Failed(f"exit code {code}: {' '.join(command)}")
    return seconds


class Times:
    """The seconds of one command's runs."""

    def __init__(self):
        self.seconds = []

    @property
    def best(self):
        return min(self.seconds)

    @property
    def median(self):
        return statistics.median(self.seconds)


def side_by_side(commands, runs, codes=(0,), before=None):
    """Runs the commands in turn, A B A B …, so that noise hits all alike; one Times for each.

    One round before that warms the caches and is not counted. before: called before each run.
    """
    times = [Times() for _ in commands]
    for turn in range(runs + 1):
        for kept, command in zip(times, commands):
            if before:
                before()
            seconds = once(command, codes)
            if turn > 0:
                kept.seconds.append(seconds)
    return times


def output_bytes(command, codes=(0,)):
    """How much a command prints."""
    total = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, bufsize=0) as process:
        while True:
            piece = process.stdout.read(1 << 20)
            if not piece:
                break
            total += len(piece)
    if process.returncode not in codes:
        raise Failed(f"exit code {process.returncode}: {' '.join(command)}")
    return total


def peak_kib(command, scratch, codes=(0,)):
    """The largest resident size of a command, in KiB, as its ru_maxrss.

    GNU time starts it: a process inherits the mark of the program that it was before exec, and
    that of Python would hide what is measured.
    """
    report = os.path.join(scratch, "peak")
    code = subprocess.call(["/usr/bin/time", "-q", "-f", "%M", "-o", report] + command,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    if code not in codes:
        raise Failed(f"exit code {code}: {' '.join(command)}")
    with open(report, encoding="ascii") as file:
        return int(file.read().split()[-1])
