# SPDX-License-Identifier: MIT
# Each kind of change, then what may happen to an image before somebody thinks better of it, then
# undo. docs/edit.md has the same tables; what is expected here is what stands there.
"""undo after the real qemu-io and qemu-img have worked with the image."""
import errno
import functools
import json
import os
import re
import subprocess
import tempfile

import pytest

from tests.support import shims
from tests.support.programs import QCOW2, RELEASE, TOP, document, run

M = 1 << 20
SIZE = 32 * M
PIECE = 64 * 1024
CONTENTS = ("write -P 1 0 6M", "write -P 1 20M 1M", "discard 20M 1M")
IMAGE, LATER = object(), object()  # stand for the path of the image, and of a later undo file
OTHER = (QCOW2, "edit", "--data=y", "--undo-file", LATER, IMAGE, "extension", "add", "0x55")
EDIT = os.path.join(TOP, "docs", "edit.md")

# What the tables of docs/edit.md say.
EXACT = "exact"      # every byte is what it was
SAFE = "safe"        # as before, but that bitmaps that come back do so in use
REFUSED = "refused"  # nothing is written

# A name, the command line before the image, behind it, and what the image must have.
CHANGES = {
    "edit backing set": (("edit",), ("backing", "set", "base.raw", "raw"), ()),
    "edit extension add": (("edit", "--data=x"), ("extension", "add", "0x12345678"), ()),
    "edit feature lazy-refcounts on": (("edit",),
                                       ("feature", "compatible", "lazy-refcounts", "on"), ()),
    "edit feature-names rebuild": (("edit",), ("feature-names", "rebuild"), ("no names",)),
    "edit set header/size, larger": (("edit",), ("set", "header/size=48M"), ()),
    "edit of an image with an unknown autoclear bit": (("edit", "--data=x"),
                                                       ("extension", "add", "0x12345678"),
                                                       ("autoclear",)),
    "bitmap add, the first": (("bitmap", "add"), ("new",), ()),
    "bitmap add, one more": (("bitmap", "add"), ("new",), ("b0",)),
    "bitmap remove, the last": (("bitmap", "remove"), ("b0",), ("b0",)),
    "bitmap remove, one of two": (("bitmap", "remove"), ("b0",), ("b0", "b1")),
    "bitmap clear": (("bitmap", "clear"), ("b0",), ("b0", "b1")),
    "bitmap disable": (("bitmap", "disable"), ("b0",), ("b0",)),
    "bitmap enable": (("bitmap", "enable"), ("off",), ("off",)),
    "bitmap rename": (("bitmap", "rename"), ("b0", "c0"), ("b0",)),
    "bitmap merge": (("bitmap", "merge"), ("b0", "b1"), ("b0", "b1")),
    "bitmap repair --assume-dirty": (("bitmap", "repair", "--assume-dirty"), ("b0",), ("b0",)),
}
# What happens in between, and how.
EVENTS = {
    "nothing": (),
    "writes in place": (("qemu-io", "-c", "write -P 7 1M 64k", "-c", "write -P 7 3M 4k", IMAGE),),
    "allocating writes": (("qemu-io", "-c", "write -P 7 20M 1M", IMAGE),),
    "allocating writes, discarded": (
        ("qemu-io", "-d", "unmap", "-c", "write -P 7 20M 1M", "-c", "discard 20M 1M",
         IMAGE),),
    "a snapshot": (("qemu-img", "snapshot", "-c", "s0", IMAGE),),
    "a resize": (("qemu-img", "resize", "-q", "-f", "qcow2", IMAGE, "+16M"),),
    "qemu-img check -r all": (("qemu-img", "check", "-q", "-r", "all", IMAGE),),
    "another change": (OTHER,),
    "another change, undone": (OTHER, (QCOW2, "undo", LATER)),
}


def tool(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done
    return done.stdout.decode(errors="replace")


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def disk(path):
    """What the guest sees: its pieces that are not all zeros, so that its size may change."""
    raw, found = path + ".raw", {}
    tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw)
    with open(raw, "rb") as stream:
        for start, end in sparse_data(stream):
            for at in range(start - start % PIECE, end, PIECE):
                found[at] = os.pread(stream.fileno(), PIECE, at).rstrip(b"\0")
    os.remove(raw)
    return {at: piece for at, piece in found.items() if piece}


def sparse_data(stream):
    """Where a file has data: holes are zeros."""
    end = 0
    while True:
        try:
            start = os.lseek(stream.fileno(), end, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO, error
            return
        end = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
        yield start, end


def patch(path, offset, value):
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(value)


@functools.lru_cache(None)
def made(wanted):
    """The bytes of an image with contents, and with what else is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.qcow2")
        make_first(path, wanted)
        return read(path)


def make(path, wanted):
    """Writes such an image, and a file that it can name as its base."""
    with open(path, "wb") as stream:
        stream.write(made(wanted))
    with open(os.path.join(os.path.dirname(path), "base.raw"), "wb") as stream:
        stream.truncate(M)


def make_first(path, wanted):
    tool("qemu-img", "create", "-q", "-f", "qcow2", path, str(SIZE))
    tool("qemu-io", "-d", "unmap", *(word for c in CONTENTS for word in ("-c", c)), path)
    for name in wanted:
        if name in ("b0", "b1", "off"):
            tool("qemu-img", "bitmap", "--add", "-g", "64k", path, name)
    if "b0" in wanted:
        tool("qemu-io", "-c", "write -P 2 2M 128k", path)
    if "b1" in wanted:
        tool("qemu-io", "-c", "write -P 2 5M 64k", path)
    if "off" in wanted:
        tool("qemu-img", "bitmap", "--disable", path, "off")
    if "no names" in wanted:
        assert run("edit", "--no-undo", path, "extension", "remove", "0x6803f857").returncode == 0
    if "autoclear" in wanted:
        patch(path, 94, b"\x02")


def bitmaps(path):
    done = run("bitmap", "list", "-j", path, program=RELEASE)
    assert done.returncode == 0, done
    return {b["name"]: b for b in json.loads(done.stdout)["bitmaps"]}


def dirty(path, name):
    done = run("bitmap", "extents", "--dirty", "--force", path, name, program=RELEASE)
    assert done.returncode == 0, done
    return {granule for line in done.stdout.decode().splitlines()
            for start, length in [map(int, line.split()[:2])]
            for granule in range(start // 65536, (start + length + 65535) // 65536)}


def outcome_of(path, before, undo, later):
    """What an undo did; whatever that is, nothing that is lost may look as if it were not."""
    now, seen = read(path), disk(path)
    done = run("undo", undo)
    assert done.returncode in (0, 1), done
    assert disk(path) == seen, "the guest's data are other ones"
    if done.returncode == 1:
        assert b"written to since" in done.stderr and read(path) == now
        assert later.encode() in done.stderr
        return REFUSED
    tool("qemu-img", "check", path)
    assert run("check", path, program=RELEASE).returncode == 0
    if read(path) == before:
        return EXACT
    return SAFE


def assert_safe(path, before):
    """But for bitmaps that are in use, and autoclear bits that nobody knows, all is as before."""
    now = bytearray(read(path))
    assert len(now) == len(before)
    pieces = [at for at in range(0, len(now), PIECE) if now[at:at + PIECE] != before[at:at + PIECE]]
    other = [at for start in pieces for at in range(start, min(start + PIECE, len(now)))
             if now[at] != before[at]]
    flags = {entry["flags.offset"] + 3 for extension in
             (document(path, "--offsets", "bitmaps")["extensions"] if bitmaps(path) else ())
             for entry in extension["data"]["bitmap_directory"]}
    guest = [at for at in other if at not in flags and at not in range(88, 95)]
    for at in flags & set(other):
        assert now[at] == before[at] | 1
    return guest


def expected():
    """The tables of docs/edit.md: {(change, event): outcome}."""
    found = {}
    for table in read(EDIT).decode().split("\n\n"):
        if not table.startswith("| change |"):
            continue
        heads, _, *rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
                           for line in table.splitlines()]
        found.update({(row[0], event): cell for row in rows
                      for event, cell in zip(heads[1:], row[1:])})
    return found


TABLE = expected()


def test_the_table_is_whole():
    assert set(TABLE) == {(change, event) for change in CHANGES for event in EVENTS}
    assert set(TABLE.values()) == {EXACT, SAFE, REFUSED}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("change", CHANGES)
def test_undo_after(change, event, tmp_path):
    path, undo, later = (str(tmp_path / name) for name in ("a.qcow2", "undo", "later"))
    front, back, wanted = CHANGES[change]
    make(path, wanted)
    before, trusted = read(path), {n: dirty(path, n) for n in bitmaps(path)}
    done = run(front[0], *front[1:], f"--undo-file={undo}", path, *back)
    assert done.returncode == 0, done
    for words in EVENTS[event]:
        tool(*({IMAGE: path, LATER: later}.get(word, word) for word in words))
    outcome = outcome_of(path, before, undo, later if event == "another change" else "")
    assert outcome == TABLE[change, event]
    if outcome == SAFE:
        written = assert_safe(path, before)
        assert event != "nothing" and (written == [] or event == "writes in place")
    for name, bitmap in bitmaps(path).items() if outcome != REFUSED else ():
        # What is still trusted is what it was; what guests wrote meanwhile is in none of them.
        if bitmap["state"] != "in use":
            assert outcome == EXACT or event == "allocating writes, discarded"
            assert dirty(path, name) == trusted[name]


# What a guest writes in place after these would be out of its sight after an undo: how the image is
# made, what is written first, the change, and what is written then. Entry 0 and 1 of L2 table 0 are
# set by their values as they were found, in the other order.
OUT_OF_SIGHT = {
    "a larger disk, in its last cluster": (
        ("1049088",), "write -P 1 1M 512", ("set", "header/size=1081344"), "write -P 9 1028k 4k"),
    "a larger disk without another cluster, sub-clusters": (
        ("-o", "extended_l2=on", "1049088"), "write -P 1 1M 512",
        ("set", "header/size=1081344"), "write -P 9 1M 512"),
    "other clusters": (
        ("16M",), "write -P 1 0 128k", ("set", "l2/0/0={1}", "l2/0/1={0}"), "write -P 9 0 64k"),
    "other clusters, extended": (
        ("-o", "extended_l2=on", "16M"), "write -P 1 0 128k",
        ("set", "l2/0/0={1}", "l2/0/1={0}"), "write -P 9 0 64k"),
    "another data file": (
        ("-o", "data_file=d1.raw", "16M"), "write -P 1 0 1M", ("data-file", "set", "d2.raw"),
        "write -P 9 64k 64k"),
}


@pytest.mark.parametrize("name", OUT_OF_SIGHT)
def test_nothing_goes_out_of_sight(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, first, words, then = OUT_OF_SIGHT[name]
    tool("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", *options)
    tool("qemu-io", "-c", first, "a.qcow2")
    with open("d2.raw", "wb") as stream:
        stream.write(read("d1.raw") if os.path.exists("d1.raw") else b"")
    done = run("dump", "a.qcow2", "l2/0/0..1")
    entries = re.findall(r"^\d\s+(0x[0-9a-f]+)", done.stdout.decode(), re.M) + ["0", "0"]
    before = read("a.qcow2")
    done = run("edit", "--yes", "--undo-file=u", "a.qcow2", *(w.format(*entries) for w in words))
    assert done.returncode == 0, done
    changed = read("a.qcow2")
    # Nobody has written: exact. Nothing shows that of another file.
    insisting = ("--exact",) if "data file" in name else ()
    assert run("undo", *insisting, "u").returncode == 0 and read("a.qcow2") == before
    os.remove("u")
    done = run("edit", "--yes", "--undo-file=u", "a.qcow2", *(w.format(*entries) for w in words))
    assert done.returncode == 0 and read("a.qcow2") == changed
    tool("qemu-io", "-c", then, "a.qcow2")
    now = read("a.qcow2")
    done = run("undo", "u")
    assert done.returncode == 1 and b"--exact" in done.stderr, done
    assert read("a.qcow2") == now
    assert run("undo", "--exact", "u").returncode == 0


def test_undo_after_an_undo_with_doubts(tmp_path):
    """What an undo leaves in use is no reason to refuse that of the change before."""
    path, first, second = (str(tmp_path / name) for name in ("a.qcow2", "u1", "u2"))
    make(path, ())
    before = read(path)
    assert run("bitmap", "add", f"--undo-file={first}", path, "new").returncode == 0
    assert run("bitmap", "disable", f"--undo-file={second}", path, "new").returncode == 0
    os.utime(path)
    assert b"not exact" in run("undo", second).stdout
    assert bitmaps(path)["new"]["state"] == "in use"
    done = run("undo", first)
    assert done.returncode == 0 and read(path) == before, done


def test_a_smaller_disk_that_cuts_nothing_off(tmp_path):
    """Its new end is in the middle of a cluster, but that is not mapped."""
    path, undo = str(tmp_path / "a.qcow2"), str(tmp_path / "undo")
    tool("qemu-img", "create", "-q", "-f", "qcow2", path, "1049088")
    tool("qemu-io", "-c", "write -P 1 0 64k", path)
    before = read(path)
    assert run("edit", f"--undo-file={undo}", path, "set", "header/size=1081344").returncode == 0
    os.utime(path)
    assert run("undo", undo).returncode == 0 and read(path) == before


KILLED = {"remove": ("b0",), "clear": ("b0",), "add": ("new",), "merge": ("b0", "b1")}


@pytest.mark.parametrize("action", KILLED)
def test_a_guest_after_a_killed_undo(action, tmp_path):
    """Whoever starts a guest before the undo is repeated may lose bitmaps, but no data."""
    path, undo, log = (str(tmp_path / n) for n in ("a.qcow2", "u", "log"))
    shim = shims.build("crash", tmp_path)
    make(path, ("b0", "b1"))
    assert run("bitmap", action, f"--undo-file={undo}", path, *KILLED[action]).returncode == 0
    files = {name: read(name) for name in (path, undo)}
    step = 0
    while True:
        step += 1
        for name, content in files.items():
            with open(name, "wb") as stream:
                stream.write(content)
        env = {"LD_PRELOAD": shim, "CRASH_AT": str(step), "CRASH_HOW": "after", "CRASH_LOG": log}
        run("undo", undo, program=RELEASE, env={**os.environ, **env})
        if not os.path.exists(log):
            break
        os.remove(log)
        tool("qemu-io", "-c", "write -P 7 24M 4M", path)
        done = subprocess.run(["qemu-img", "check", "-q", path], capture_output=True, check=False)
        assert done.returncode in (0, 3), (step, done)
        tool("qemu-io", "-c", "read -P 7 24M 4M", "-c", "read -P 1 0 1M", path)
    assert step > 6
