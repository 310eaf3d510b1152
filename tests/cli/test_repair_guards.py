# SPDX-License-Identifier: MIT
# A repair that its own guards or its own proof refuse mends nothing: these images had such repairs.
"""Repairs that nobody refuses, and that leave nothing to do for a second one."""
import json
import re

import pytest

from tests.forge import build
from tests.support.programs import RELEASE, run

# What is damaged, and the options. <bitmap_directory> is where the sound image has that structure.
DAMAGES = {
    "an L1 table runs over the snapshot table": (
        "cluster_bits 9\nsize 4M\nwrite 0 128k\nsnapshot 1 name=one\nwrite 0 64k\n"
        "snapshot 2 name=two\nset snapshots/1/l1_table_offset <snapshot_table> - 0x300\n", []),
    "an L1 table passes the end of the file": (
        "size 1M\nwrite 0 64k\nsnapshot 1 name=one\nwrite 0 64k\nsnapshot 2 name=two\n"
        "set snapshots/0/l1_size 0x20000001\n", ["--all"]),
    "new clusters, and refcounts that are not to be mended": (
        "size 1M\nwrite 0 128k\nset l2/0/0 <l2/0> | 0x8000000000000000\n"
        "set header/refcount_table_offset 0x6800000000200000\n", ["--only=cluster-owners"]),
    "narrow refcounts that are not to be mended": (
        "size 1M\nrefcount_order 0\nwrite 0 128k\nset l2/0/0 <l2/0> | 0x8000000000000000\n"
        "set refcounts/0/2 0\n", ["--only=cluster-owners"]),
    "a header that is written as a whole, and a new refcount table": (
        "size 1M\nwrite 0 128k\nbitmap b0 bits=0\nset header/backing_file_offset 0x100000000\n"
        "set header/size 0x8000000000100000\n"
        "set header/refcount_table_offset 0x200000010000\n", ["--only=refcounts"]),
    "compressed data begins past the end, in the last cluster": (
        "cluster_bits 12\nsize 1M\nwrite 0 64k\nbitmap b0 bits=0\n"
        "set l2/0/4 <bitmap_directory>\n"
        "set l2/0/3 0x4000000000000000 | <bitmap_directory> + 0xf00\n", []),
    "no geometry, and bitmaps": (
        "size 1M\nwrite 0 64k\nbitmap b0 bits=0\nset header/cluster_bits 0\n"
        "set header/header_length 0\nset header/l1_table_offset 0\nset header/l1_size 0\n"
        "set header/refcount_table_offset 0\nset header/size 0\n", ["--all"]),
    "a backing file's name of which nothing is there": (
        "size 1M\nwrite 0 64k\nset header/backing_file_offset 0xffffffff00000000\n"
        "set header/backing_file_size 0x77777777\n", []),
    "the guest's data are where the list of bitmaps is": (
        "size 1M\nwrite 0 128k\nbitmap '' bits=0\nbitmap b1 bits=0\n"
        "set l2/0/1 <bitmap_directory> | 0x8000000000000000\n", []),
    "the refcount table covers all tables, and the file is cut": (
        "size 1M\nwrite 0 64k\nset header/refcount_table_clusters 0xe33b5115\n"
        "set l1/0 0x8000000000800000\n", ["--all", "--free-lost"]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_no_refusal(name, tmp_path):
    recipe, options = DAMAGES[name]
    path = str(tmp_path / "disk")
    sound = build("".join(line + "\n" for line in recipe.splitlines() if "set " not in line))
    build(re.sub("<(.*?)>", lambda m: hex(sound.offsets[m.group(1)]), recipe), path)
    with open(path, "rb") as stream:
        before = stream.read()
    undo_file = tmp_path / "undo"
    done = run("repair", "--yes", f"--undo-file={undo_file}", *options, path, program=RELEASE)
    assert done.returncode in (0, 2, 3), done.stderr.decode()
    again = run("repair", "--dry-run", "-j", *options, path, program=RELEASE)
    assert json.loads(again.stdout)["steps"] == [] or done.returncode == 3, again.stdout
    if undo_file.exists():
        run("undo", "--exact", undo_file, program=RELEASE)
    with open(path, "rb") as stream:
        assert stream.read() == before
