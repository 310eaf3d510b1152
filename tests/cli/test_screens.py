# SPDX-License-Identifier: MIT
# The pages that people look at most, as terminals of 80x24 and 120x40 show them, against reviewed
# files in tests/golden/screens. After a change that is meant:
#
#     /usr/bin/python3 -B -m tests.cli.test_screens --update [NAME…]
#
# writes the files anew, with the program that QCOW2_RELEASE names; `git diff` shows what to review.
"""Screens, from outside."""
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests.forge import build
from tests.support.programs import RELEASE, TOP
from tests.support.terminal import show

GOLDEN = os.path.join(TOP, "tests", "golden", "screens")
SIZES = ((80, 24), (120, 40))

DISK = "size 4M\ncluster_bits 12\nwrite 0 128k\nwrite 1M 64k\nwrite 3M 32k\n"
RECIPES = {
    "sound": DISK,
    "leaks": DISK + "leak 12\n",
    "owners": DISK + "snapshot 1 name=monday\nwrite 0 4k\nbitmap nightly bits=0-5\n"
              "set l2/0/9 @l2/0 | 1<<63\nset l2/0/10 @bitmaps/0/data/0 | 1<<63\n"
              "set l2/0/11 @snapshots/0/l1 | 1<<63\n",
    "refcounts": DISK + "set refcount_of/data/0 0\nset refcount_of/l2/1 0\nset refcount_of/l1 0\n",
    "lost-l1": DISK + "poke @l1 zeros:64\n",
    "lost-l2": DISK + "poke @l2/0 zeros:4096\n",
    "dirty": "size 4M\ndirty\nlazy_refcounts\nwrite 0 256k\nset refcount_of/data/0 0\n"
             "set refcount_of/data/1 0\nset refcount_of/data/2 0\nset refcount_of/data/3 0\n",
    "marked": DISK + "corrupt\n",
    "directory": DISK + "bitmap nightly bits=0-5\nbitmap weekly bits=1\n"
                 "poke @bitmap_directory zeros:64\n",
    "zero-end": "size 1M\nwrite 0 128k\nset l2/0/5 eof | 1\nset refcount_of/data/0 1\n",
    "cut": DISK + "truncate eof - 65536\n",
    "overlay": "size 1M\nbacking raw.img\nwrite 0 64k\n",
    "names": "size 1M\nwrite 0 64k\nbitmap \"日本語の長い名前のビットマップ 日本語の長い名前のビットマップ\" "
             "bits=0\nset l2/0/3 @bitmaps/0/data/0 | 1<<63\nbitmap \"\\e[2J\" bits=1\n",
}
# Images that are shown, not checked.
READ = {
    "extended": "size 1G\nextended_l2\ncluster_bits 14\nwrite 16k 64k\nwrite 900M 4k\n"
                "snapshot 1 name=\"before the upgrade\"\nset l2/0/2 @l1 | 1<<60\n",
    "owned": DISK + "snapshot 1 name=monday\nwrite 0 64k\nbitmap nightly bits=0-5\nleak 12\n",
    "bitmaps": "size 4M\nwrite 0 64k\nbitmap nightly flags=auto bits=0-5\nbitmap weekly\n"
               "bitmap stale flags=in_use bits=1\nbitmap broken type=7\n"
               "bitmap \"a long name that needs more columns than there are\"\n",
}
# What is on the command line, behind the program's name, for each screen.
SCREENS = {f"check-{name}": ["check", f"{name}.qcow2"] for name in RECIPES if name != "overlay"} | {
    **{f"repair-{name}": ["repair", "--dry-run", f"{name}.qcow2"]
       for name in ("sound", "owners", "lost-l2", "cut", "directory")},
    "repair-help": ["repair", "--help"],
    "check-several": ["check", "sound.qcow2", "leaks.qcow2", "raw.img", "marked.qcow2"],
    "check-verbose": ["check", "-v", "directory.qcow2"],
    "check-list": ["check", "--list"],
    "explain-field": ["explain", "compression_type"],
    "check-help": ["check", "--help"],
    "check-chain": ["check", "--chain", "overlay.qcow2"],
    "dump": ["dump", "extended.qcow2", "--offsets", "--hex"],
    "dump-l2": ["dump", "extended.qcow2", "l1", "l2", "refcounts"],
    "dump-nothing": ["dump", "extended.qcow2", "header/version", "bitmaps", "luks"],
    "bitmap-list": ["bitmap", "list", "bitmaps.qcow2"],
    "info": ["info", "owners.qcow2"],
    "info-broken": ["info", "directory.qcow2"],
    "info-chain": ["info", "--chain", "overlay.qcow2"],
    "dump-header": ["dump", "owners.qcow2"],
    "dump-names": ["dump", "names.qcow2", "l2", "bitmaps"],
    "explain": ["explain", "refcount-low"],
    "diff": ["diff", "owners.qcow2", "directory.qcow2"],
    "locate-guest": ["locate", "--guest=16k+4k", "--all-snapshots", "extended.qcow2"],
    "locate-host": ["locate", "--host=0x3000", "owners.qcow2"],
    "locate-range": ["locate", "--host=0+32k", "owners.qcow2"],
    "layout": ["layout", "owned.qcow2"],
    "snapshot-space": ["snapshot", "space", "owners.qcow2"],
    "measure": ["measure", "owners.qcow2"],
    "measure-chain": ["measure", "--chain", "overlay.qcow2"],
    "measure-new": ["measure", "--size=1T", "-o", "cluster_size=128k,refcount_bits=1"],
    "snapshot-help": ["snapshot", "--help"],
    "help": ["--help"],
    "bitmap-help": ["bitmap", "--help"],
}
# What a file takes on the disk depends on the file system.
HERE_ONLY = re.compile(r"^(on disk +|owned.qcow2: .*bytes\), ).*$")


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory):
    place = tmp_path_factory.mktemp("screens")
    make(place)
    return place


def make(place):
    """The images of all screens, in a folder of their own."""
    for name, text in (RECIPES | READ).items():
        build(text, os.path.join(place, f"{name}.qcow2"))
    with open(os.path.join(place, "raw.img"), "wb") as stream:
        stream.write(bytes(4096))


def shown(screen, words):
    """A screen as its file has it: the command, what has scrolled away, a rule, what is left."""
    screen.lines = [HERE_ONLY.sub(r"\1…", line) for line in screen.lines]
    lines = ["$ qcow2 " + " ".join(words)] + screen.scrolled()
    if screen.scrolled():
        lines.append(f"~~~~ what a terminal of {screen.columns}x{screen.rows} shows ~~~~")
    return "\n".join(lines + screen.visible() + [f"~~~~ exit code {screen.code} ~~~~", ""])


def golden(name, size):
    return os.path.join(GOLDEN, f"{name}.{size[0]}x{size[1]}.txt")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_screen(name, size, place):
    screen = show([RELEASE, *SCREENS[name]], *size, cwd=place)
    # Messages are one line each, for logs and scripts; commands, so that they can be copied.
    assert all(line.startswith(("qcow2 ", "next: ")) for line in screen.broken)
    with open(golden(name, size), encoding="utf-8") as stream:
        wanted = stream.read()
    found = shown(screen, SCREENS[name])
    assert found == wanted, "".join(difflib.unified_diff(
        wanted.splitlines(True), found.splitlines(True), "reviewed", "now"))


def test_there_is_no_other_file():
    assert set(os.listdir(GOLDEN)) == {os.path.basename(golden(name, size))
                                       for name in SCREENS for size in SIZES}


@pytest.mark.skipif(not shutil.which("tmux"), reason="there is no tmux")
def test_a_real_terminal(place):
    """tmux shows the same as the terminal of these tests."""
    screen = show([RELEASE, *SCREENS["check-names"]], cwd=place)
    socket = os.path.join(place, "tmux")
    script = os.path.join(place, "run")
    with open(script, "w", encoding="utf-8") as stream:
        stream.write(f"'{RELEASE}' check names.qcow2; tmux -S '{socket}' wait-for -S done; cat\n")
    tmux = ["tmux", "-u", "-S", socket, "-f", "/dev/null"]
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([*tmux, "new-session", "-d", "-x", "80", "-y", "24", "sh", script], cwd=place,
                   env=env, check=True, timeout=30)
    try:
        subprocess.run([*tmux, "wait-for", "done"], env=env, check=True, timeout=30)
        text = subprocess.run([*tmux, "capture-pane", "-p"], env=env, check=True, timeout=30,
                              stdout=subprocess.PIPE).stdout.decode("utf-8")
    finally:
        subprocess.run([*tmux, "kill-server"], env=env, check=False, timeout=30)
    seen = [line.rstrip() for line in text.rstrip("\n").split("\n")]
    assert seen == [line.rstrip() for line in screen.visible()]


def update(names):
    with tempfile.TemporaryDirectory(prefix="qcow2-screens-") as place:
        make(place)
        for name in names or SCREENS:
            for size in SIZES:
                screen = show([RELEASE, *SCREENS[name]], *size, cwd=place)
                with open(golden(name, size), "w", encoding="utf-8") as stream:
                    stream.write(shown(screen, SCREENS[name]))


if __name__ == "__main__":
    if sys.argv[1:2] != ["--update"]:
        sys.exit("usage: python3 -B -m tests.cli.test_screens --update [NAME…]")
    update(sys.argv[2:])
