# SPDX-License-Identifier: MIT
"""edit, which judges its plan while its peer checks nothing; and plans of many writes."""

import os
import subprocess

import bench as tools
import targets
import timing


def edits(bench, path, *options):
    """Two edits of ours there and back, by whole processes."""
    return ["sh", "-c", " && ".join(
        f"{bench.qcow2} edit {' '.join(options)} {path} backing set {name} raw"
        for name in "ab") + f"; rm -rf $(dirname {path})/.qcow2-undo"]


def twice(*command):
    """A command that runs twice, as the edits do."""
    return ["sh", "-c", " && ".join([" ".join(command)] * 2)]


def run(bench):
    """Two edits there and back: beside rebase, and beside merely reading the tables."""
    report = bench.report
    report.title("edit: naming a backing file twice, and its format")
    for title, path in (("ordinary image", bench.images.ordinary),
                        ("512 GiB, 80 MiB of tables", bench.images.metadata[0])):
        rebase = ["sh", "-c", " && ".join(
            f"qemu-img rebase -u -b {name} -F raw {path}" for name in "ab")]
        ours, bare, theirs, read, none = timing.side_by_side(
            [edits(bench, path), edits(bench, path, "--no-undo"), rebase,
             twice(tools.reader(), "2", path), twice("true")], bench.runs * 4)
        most = targets.EDIT * (theirs.median + max(0, read.median - none.median))
        report.times(title, ours)
        report.times("    without undo", bare, ours.median, report.target(
            bare.median <= most, f"{targets.EDIT} times rebase and reading"))
        report.times("    qemu-img rebase -u", theirs, ours.median,
                     f"without undo: {bare.median / theirs.median:.1f} times rebase")
        report.times("    reading the tables alone", read, ours.median)
        subprocess.run([bench.qcow2, "edit", "--no-undo", path, "backing", "clear"], check=True,
                       stdout=subprocess.DEVNULL)


def plans(bench):
    """Plans of more and more small writes: all steps against merely writing the same bytes."""
    path, undo = bench.path("plans.qcow2"), bench.path("plans.undo")
    bench.report.title("plans of many small writes in disorder, whole steps", "writes", "plan",
                       "save, apply", "undo", "/ merely writing and syncing them")
    for count in (10 ** 4, 10 ** 5, 10 ** 6):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1G"], check=True)
        command = [tools.planner(), str(count), path]
        done = subprocess.run(command + [undo], stdout=subprocess.PIPE, check=True)
        _, plan, apply, back, alone = (float(word) for word in done.stdout.split())
        ratio = (plan + apply + back) / alone
        bench.report.row(f"{count:,}", tools.shown(plan), tools.shown(apply), tools.shown(back),
                         f"{tools.shown(alone)}, all steps {ratio:.1f} times "
                         + bench.report.target(ratio <= targets.PLANS,
                                               f"{count} writes: at most {targets.PLANS} times"))
        bench.memory(command + [undo + "2"])
        for name in (path, undo, undo + "2"):
            os.unlink(name)
