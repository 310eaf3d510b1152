# SPDX-License-Identifier: MIT
# The command under ThreadSanitizer: four threads over images with enough tables for all of them, and
# output of more than 4 MiB, which as many threads make as there are processors.
"""The check `threads`."""
import glob
import os

from tests.runner import builds, programs, report

QCOW2 = report.path("build/tsan/cmd/qcow2")
# Many small clusters, everything that is counted, and some of everything that can be wrong.
MANY = """\
cluster_bits 9
size 16M
write 0 8M
snapshot 1 name=one
write 1M 2M
compressed 9M 1M pattern=mixed
zero 11M 1M
alias 12M 64k 0
leak 100
set refcount_of/data/2048 0
set l2/40/3 $l2/40/3 & ~(1<<63)
set l2/7/7 $l2/7/7 | 2
set l2/9/9 @l2/9
"""


def races(out, image, *words):
    status, text = report.run([QCOW2, *words],
                              env={"TSAN_OPTIONS": "exitcode=66 halt_on_error=1"})
    out.case(f"no race in {words[0]} of {os.path.basename(image)}",
             text[-3000:] if status not in (0, 1, 2, 3, 63) else "")


def check(out):
    broken = builds.need("tsan")
    if broken:
        out.bad("builds with ThreadSanitizer", broken)
        return
    many = report.path("build/results/many.qcow2")
    os.makedirs(os.path.dirname(many), exist_ok=True)
    status, text = report.run(["/usr/bin/python3", "-B", "tests/forge/forge.py", "-", many],
                              stdin=MANY.encode())
    out.case("the forge makes an image for threads", text if status else "")
    races(out, many, "dump", "-j", many, "all")
    for image in [many, *sorted(glob.glob(os.path.join(programs.forged(), "*.qcow2")))[::4]]:
        races(out, image, "check", "--deep", "--all", "--threads=4", image)
