# SPDX-License-Identifier: MIT
# Every way to call the command that only reads, and a folder with the images that these lines name.
"""Command lines that read."""
import shutil
import subprocess

from tests.support.programs import RELEASE, SAMPLE

# What is open to a command once it reads (tests/cli/test_sandbox.py): SEALED nothing; CHAIN other
# files, for reading, until all of the chain are open; READS other files, for reading; NEW the same,
# and a new file.
SEALED, CHAIN, READS, NEW = "sealed", "chain", "reads", "new"
COMMANDS = {
    "info a.qcow2": SEALED,
    "info -j a.qcow2 b.qcow2": SEALED,
    "info --chain a.qcow2": CHAIN,
    "dump a.qcow2": SEALED,
    "dump -j a.qcow2 all": SEALED,
    "diff a.qcow2 b.qcow2": SEALED,
    "locate --guest=0 a.qcow2": SEALED,
    "locate -j --host=0 a.qcow2": SEALED,
    "check a.qcow2": SEALED,
    "check -j --deep --threads=2 a.qcow2 b.qcow2": SEALED,
    "check --chain a.qcow2": CHAIN,
    "map a.qcow2": SEALED,
    "map -j a.qcow2": SEALED,
    "map --binary a.qcow2": SEALED,
    "map --chain a.qcow2": CHAIN,
    "layout a.qcow2": SEALED,
    "layout --output=svg a.qcow2": SEALED,
    "measure a.qcow2": SEALED,
    "measure -j --chain a.qcow2": CHAIN,
    "read --guest=0+64k b.qcow2": SEALED,
    "read --hex --snapshot=1 b.qcow2": SEALED,
    "read --chain --guest=0+64k a.qcow2": CHAIN,
    "export --to=new/raw --manifest=new/list b.qcow2": SEALED,
    "export --to=- --format=stream b.qcow2": SEALED,
    "export --chain --to=new/raw a.qcow2": CHAIN,
    "capture --to=new/small a.qcow2": SEALED,
    "capture -j --redact --with-compressed --to=new/small b.qcow2": SEALED,
    "capture -j --no-leaks --to=new/small base.qcow2": SEALED,
    "capture -n --apply=small b.qcow2": READS,
    "hash b.qcow2": SEALED,
    "hash -j --block=64k b.qcow2": SEALED,
    "hash -j --chain a.qcow2": CHAIN,
    "compare b.qcow2 base.qcow2": SEALED,
    "compare -j --chain a.qcow2 b.qcow2": CHAIN,
    "snapshot list -j a.qcow2": SEALED,
    "snapshot show a.qcow2 1": SEALED,
    "snapshot space a.qcow2": SEALED,
    "snapshot diff a.qcow2 1": SEALED,
    "snapshot diff -j --with=b.qcow2 a.qcow2": SEALED,
    "bitmap list a.qcow2": SEALED,
    "bitmap list -j --chain a.qcow2": CHAIN,
    "bitmap extents -j a.qcow2 nightly": SEALED,
    "bitmap export a.qcow2 nightly": SEALED,
    "bitmap export --to=new/bits a.qcow2 nightly": NEW,
    "bitmap compare a.qcow2 nightly weekly": SEALED,
    "bitmap compare --from=b.qcow2 a.qcow2 nightly weekly": SEALED,
    "compat a.qcow2 dump-header": SEALED,
    "compat -j a.qcow2 dump-header": SEALED,
    "__complete bash bitmap extents a.qcow2 n": SEALED,
    "edit -n a.qcow2 set header/compatible_features=1": READS,
    "bitmap add -n -j a.qcow2 other": READS,
    "bitmap repair -n a.qcow2": READS,
    "repair -n -j a.qcow2": READS,
    "rescue a.qcow2": READS,
    "rescue --plan-to=new/plan a.qcow2": NEW,
    "rescue --overlay=new/overlay a.qcow2": NEW,
    "undo --list .": READS,
    "vet --policy=chain a.qcow2": SEALED,
    "vet -j --deep a.qcow2 b.qcow2": SEALED,
    "vet --policy=strict a.qcow2": SEALED,
    "vet --files-from=list": READS,
}
# compat prints two documents, as qcow2.py does.
JSON = {line: "-j" in line.split() and not line.startswith("compat") for line in COMMANDS}


def failures(line):
    """The exit codes of a command that failed: those of qemu-img compare keep 1 for an answer."""
    return (2, 3, 4) if line.startswith("compare") else (1,)


def make_folder(folder):
    """a.qcow2 with snapshot and bitmaps over base.qcow2, b.qcow2 with an undo file; `new` is empty."""
    (folder / "new").mkdir()
    (folder / "list").write_text("a.qcow2\nb.qcow2\n", encoding="ascii")
    for name in ("a.qcow2", "b.qcow2", "base.qcow2"):
        shutil.copyfile(SAMPLE, folder / name)
    for line in ("edit --no-undo a.qcow2 backing set base.qcow2 qcow2", "bitmap add b.qcow2 third",
                 "capture --to=small b.qcow2"):
        subprocess.run([RELEASE, *line.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder
