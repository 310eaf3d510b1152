# SPDX-License-Identifier: MIT
"""edit, which checks the image twice while its peer checks nothing; and plans of many writes."""

import os
import subprocess

import bench as tools
import targets


def run(bench):
    """Two edits there and back."""
    bench.report.title("edit: naming a backing file twice, and its format")

    def ours(path, *options):
        return ["sh", "-c", " && ".join(
            f"{bench.qcow2} edit {' '.join(options)} {path} backing set {name} raw"
            for name in "ab") + f"; rm -rf $(dirname {path})/.qcow2-undo"]

    for title, path in (("ordinary image", bench.images.ordinary),
                        ("512 GiB, 80 MiB of tables", bench.images.metadata[0])):
        theirs = ["sh", "-c", " && ".join(
            f"qemu-img rebase -u -b {name} -F raw {path}" for name in "ab")]
        bench.compare((title, ours(path)), [("without undo", ours(path, "--no-undo")),
                                            ("qemu-img rebase -u", theirs)])
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
