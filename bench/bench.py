# SPDX-License-Identifier: MIT
"""One run of the measurements: the program, the images that blocks share, and what was found."""

import functools
import os
import subprocess
import sys

import images
import timing

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
BUILD = os.path.join(TOP, "build")
RELEASE = os.path.join(BUILD, "release", "cmd", "qcow2")
LIBRARIES = ["-ldeflate", "-lzstd", "-lnettle", "-largon2", "-pthread"]


class Report:
    """Prints the tables, and remembers which targets were missed."""

    def __init__(self):
        self.missed = []

    def title(self, text, *columns):
        print(f"\n{text}")
        self.row(*columns or ("", "median", "best", "/ ours"))

    def row(self, *cells):
        widths = (44, 11, 11, 9)
        print("  " + "  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                               for i, (cell, width) in enumerate(zip(cells, widths)))
              + ("  " + cells[4] if len(cells) > 4 else ""))
        sys.stdout.flush()

    def times(self, label, times, ours=None, *note):
        """A row for one command. ours: the median that it is compared with."""
        self.row(label, shown(times.median), shown(times.best),
                 ratio(times.median, ours) if ours else "", *note)

    def target(self, met, what):
        """What to print beside a figure that has a target."""
        if not met:
            self.missed.append(what)
        return f"{'ok' if met else 'MISSED'}: {what}"


def shown(seconds):
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def ratio(theirs, ours):
    times = theirs / ours
    return f"{times:.1f} x" if times >= 0.95 else f"1/{1 / times:.1f} x"


class Images:
    """The images that several blocks measure, each made when it is first asked for."""

    def __init__(self, folder):
        self.folder = folder

    @functools.cached_property
    def ordinary(self):
        return images.ordinary(self.folder)

    @functools.cached_property
    def bitmaps(self):
        return images.bitmaps(self.folder)

    @functools.cached_property
    def metadata(self):
        """The image, and a file with nothing but its tables."""
        return images.metadata(self.folder)

    @functools.cached_property
    def directory(self):
        return images.directory(self.folder)


class Bench:
    """What a block needs to measure and to tell."""

    def __init__(self, qcow2, folder, runs):
        self.qcow2, self.folder, self.runs = qcow2, folder, runs
        self.images = Images(folder)
        self.report = Report()

    def path(self, name):
        return os.path.join(self.folder, name)

    def compare(self, ours, peers, runs=None, target=None, codes=(0,), before=None):
        """Rows for one command of ours and its peers, each (label, command), which take turns.

        target is how many times faster than the first peer ours has to be. before: called before each run.
        """
        times = timing.side_by_side([command for _, command in [ours] + peers],
                                    runs or self.runs, codes, before)
        self.report.times(ours[0], times[0])
        for i, ((label, _), theirs) in enumerate(zip(peers, times[1:])):
            self.report.times("    " + label, theirs, times[0].median,
                              *self.faster(theirs.median, times[0].median,
                                           target if i == 0 else None))
        return times[0]

    def once_each(self, peers, ours, target=None):
        """Rows for peers that run once, as they take long. ours: the median of ours."""
        for i, (label, command) in enumerate(peers):
            try:
                seconds = timing.once(command)
            except timing.Failed:
                self.report.row("    " + label, "not here", "", "")
                continue
            self.report.row("    " + label, shown(seconds), "", ratio(seconds, ours),
                            *self.faster(seconds, ours, target if i == 0 else None))

    def faster(self, theirs, ours, target):
        """The note on how many times faster ours has to be; nothing without a target."""
        return [self.report.target(theirs >= target * ours, f"at least {target} times")] \
            if target else []

    def memory(self, command, codes=(0,), peer=None):
        """A row with the peak memory of a command."""
        peak = timing.peak_kib(command, self.folder, codes) / 1024
        theirs = f"qemu-img {timing.peak_kib(peer, self.folder) / 1024:.1f} MiB" if peer else ""
        self.report.row("    peak memory", f"{peak:.1f} MiB", "", "", theirs)


def mib_printed(command):
    return f"{timing.output_bytes(command) / images.MIB:.1f} MiB"


def qemu_img(path, *words):
    """qemu-img as it is, and in the ways in which it is faster: (label, command) of each."""
    name = " ".join(("qemu-img",) + words)
    command = ["qemu-img", *words]
    uring = f"driver=qcow2,file.driver=file,file.aio=io_uring,file.filename={path}"
    cached = f"driver=qcow2,l2-cache-entry-size=64k,l2-cache-size=256M,file.filename={path}"
    return [(name, command + [path]),
            ("    on one CPU", ["taskset", "1"] + command + [path]),
            ("    with io_uring", command + ["--image-opts", uring]),
            ("    with all tables cached", command + ["--image-opts", cached])]


# ---- programs that are built to be measured ----

def build(name, source, *more):
    program = os.path.join(BUILD, name)
    subprocess.run(["cc", "-std=gnu17", "-O2", "-I", os.path.join(TOP, "include"), "-o", program,
                    os.path.join(TOP, source), *more], check=True)
    return program


@functools.lru_cache
def reader():
    """Merely reads what a check has to read: READER THREADS IMAGE."""
    return build("read_metadata", "bench/read_metadata.c", "-pthread")


@functools.lru_cache
def planner():
    """Makes, applies and undoes plans of many writes, with the release library."""
    return build("plan_writes", "bench/plan_writes.c",
                 os.path.join(BUILD, "release", "lib", "libqcow2.a"), *LIBRARIES)


@functools.lru_cache
def mapper(qcow2):
    """The example that prints guest extents, with the library of the command that is measured."""
    archive = os.path.join(os.path.dirname(os.path.dirname(qcow2)), "lib", "libqcow2.a")
    return build("map_image", "examples/map_image.c", archive, *LIBRARIES)
