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


# What four readers share of a disk: the cache of compressed clusters, and the files of a chain.
BASE = """\
cluster_bits 12
size 8M
write 0 2M
compressed 2M 4M pattern=mixed
"""
OVERLAY = """\
cluster_bits 9
size 9M
backing base.qcow2 qcow2
compressed 1M 64k pattern=mixed
write 3M 1M
zero 5M 64k
"""
PASSPHRASE = "a passphrase"


def forge(out, name, recipe):
    image = report.path("build/results", name)
    os.makedirs(os.path.dirname(image), exist_ok=True)
    status, text = report.run(["/usr/bin/python3", "-B", "tests/forge/forge.py", "-", image],
                              stdin=recipe.encode())
    out.case(f"the forge makes {name} for threads", text if status else "")
    return image


def encrypted(out):
    """An image that qemu-img encrypts, and a file with its passphrase."""
    image, key = report.path("build/results/luks.qcow2"), report.path("build/results/luks.key")
    with open(key, "w", encoding="ascii") as stream:
        stream.write(PASSPHRASE)
    secret = ["--object", f"secret,id=s,data={PASSPHRASE}"]
    for command in (["qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o",
                     "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", image, "8M"],
                    ["qemu-io", *secret, "--image-opts", "-c", "write -P 3 0 6M",
                     f"driver=qcow2,encrypt.key-secret=s,file.filename={image}"]):
        status, text = report.run(command)
        out.case(f"{command[0]} makes an encrypted image for threads", text if status else "")
    return image, key


def races(out, image, *words, codes=(0, 1, 2, 3, 63)):
    status, text = report.run([QCOW2, *words],
                              env={"TSAN_OPTIONS": "exitcode=66 halt_on_error=1"})
    out.case(f"no race in {words[0]} of {os.path.basename(image)}",
             text[-3000:] if status not in codes else "")


def disk_races(out, many):
    """Reading of disks, by as many threads as there are processors."""
    forge(out, "base.qcow2", BASE)
    overlay = forge(out, "overlay.qcow2", OVERLAY)
    luks, key = encrypted(out)
    target = report.path("build/results/disk.raw")
    for image, option, of_first in ((overlay, "--chain", "--chain"),
                                    (luks, f"--key-file={key}", f"--key-file-a={key}")):
        races(out, image, "hash", option, image, codes=(0,))
        races(out, image, "hash", "--block=64K", option, image, codes=(0,))
        races(out, image, "export", "--force", "-o", target, option, image, codes=(0,))
        races(out, image, "compare", of_first, image, target, codes=(0,))
    races(out, many, "export", "--salvage", "--force", "-o", target, many, codes=(0, 2))
    os.unlink(target)


def check(out):
    broken = builds.need("tsan")
    if broken:
        out.bad("builds with ThreadSanitizer", broken)
        return
    many = forge(out, "many.qcow2", MANY)
    disk_races(out, many)
    races(out, many, "dump", "-j", many, "all")
    for image in [many, *sorted(glob.glob(os.path.join(programs.forged(), "*.qcow2")))[::4]]:
        races(out, image, "check", "--deep", "--all", "--threads=4", image)
