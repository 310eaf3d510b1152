# SPDX-License-Identifier: MIT
# Edits and undos that are stopped after, before and in the middle of each write, change of size and
# sync, or at which the system fails. Afterwards the image is untouched, or wholly changed, or `qcow2
# undo` brings the original back; never anything else. What proves that no guest wrote in between is
# lost with the process, so that bitmaps that were out of use for a while come back in use, and
# unknown autoclear bits stay clear. `undo --exact` brings every byte back.
"""Crash tests of edit and undo."""
import json
import os
import shutil
import signal
import subprocess

import pytest

from tests.forge import build
from tests.support import shims
from tests.support.programs import RELEASE, image, recipe_image

KILLS = ("before", "after", "half")
FAULTS = ("ENOSPC", "EIO", "short", "full")
STEPS_MOST = 60
SCRIPT = """set header/size=0x1234000 header/compatible_features=1
backing set 'somewhere else.qcow2' qcow2
extension add 0x12345678 --data="what is new"
feature autoclear 9 on
set l1/0=0x8000000000000200 refcounts/0/3=1
"""
FULL = """size 16M
cluster_bits 12
extension 0x12345678 "what stands behind"
bitmap a bits=0,1,5
bitmap b granularity=4096 bits=1,9
bitmap c
"""
# A recipe and an edit. All are forced, so that the edits themselves are what counts.
EDITS = {
    "field": ("good-cluster-4k", ("set", "header/size=0x123000")),
    "backing": ("good-backing", ("backing", "set", "x" * 40, "raw")),
    "no backing": ("good-backing", ("backing", "clear")),
    "extension": ("good-extensions-unknown",
                  ("extension", "add", "0x1", "--data=" + "y" * 200)),
    "unknown autoclear": ("good-warn-unknown-autoclear-bit", ("set", "header/size=0x10000")),
    "script": ("good-cluster-4k", None),
    "snapshot": ("good-snapshots", ("set", "snapshots/0/vm_state_size=7", "l1/0=0")),
    "bitmap first": ("good-cluster-4k", ("bitmap", "add", "new")),
    "bitmap one more": ("good-bitmaps", ("bitmap", "add", "new", "--granularity=4k")),
    "bitmap merge": ("good-bitmaps", ("bitmap", "merge", "enabled", "fine", "coarse")),
    "bitmap remove": ("good-bitmaps", ("bitmap", "remove", "serialized", "fine", "ones")),
    "bitmap disable": ("good-bitmaps", ("bitmap", "disable", "enabled")),
    "bitmap clear": ("good-bitmaps", ("bitmap", "clear", "fine")),
    "bitmap repair": ("bad-bitmap-entry-reserved-low", ("bitmap", "repair")),
    # On a device without a free cluster: what the change gives up is used again.
    "bitmap device remove": ("FULL", ("bitmap", "remove", "a")),
    "bitmap device clear": ("FULL", ("bitmap", "clear", "b")),
    "bitmap device merge": ("FULL", ("bitmap", "merge", "b", "a")),
    "bitmap device rename": ("FULL", ("bitmap", "rename", "a", "a longer name")),
    "bitmap dirty": ("good-bitmap-in-use", ("bitmap", "repair", "--assume-dirty")),
    # A table anew with its blocks; a copy, a table and entries; a snapshot that goes.
    "repair reftable": ("bad-reftable-missing", ("repair",)),
    "repair owners": ("bad-data-on-own-l2", ("repair", "--all")),
    "repair snapshots": ("bad-snapshot-l1-beyond-end",
                         ("repair", "--free-lost", "--drop-snapshot=#0")),
}
# One repair shows what a failing system leaves; the others differ in their writes alone.
FAILING = sorted(set(EDITS) - {"repair reftable", "repair snapshots"})
# Images that tests have made themselves, by their paths, and what is done with them.
OWN = {}


@pytest.fixture(name="shim", scope="module")
def fixture_shim(tmp_path_factory):
    return shims.build("crash", tmp_path_factory.mktemp("shim"))


@pytest.fixture(name="device", scope="module")
def fixture_device(tmp_path_factory):
    return shims.build("device", tmp_path_factory.mktemp("shim"))


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def without_doubts(image):
    """An image with all bitmaps in use and no autoclear bit that is not known."""
    image = bytearray(image)
    image[88:95] = bytes(7)
    image[95] &= 3
    at = int.from_bytes(image[100:104], "big")
    while image[at:at + 4] not in (b"\x23\x85\x28\x75", bytes(4)):
        at += 8 + (int.from_bytes(image[at + 4:at + 8], "big") + 7 & ~7)
    if image[at:at + 4] == bytes(4):
        return image
    count = int.from_bytes(image[at + 8:at + 12], "big")
    entry = int.from_bytes(image[at + 24:at + 32], "big")
    for _ in range(count):
        image[entry + 15] |= 1
        name = int.from_bytes(image[entry + 18:entry + 20], "big")
        extra = int.from_bytes(image[entry + 20:entry + 24], "big")
        entry += 24 + extra + name + 7 & ~7
    return image


class Scene:
    """One image, the edit of it, and the ways in which it may be disturbed."""

    def __init__(self, name, folder, shim, device):
        recipe, self.words = EDITS[name] if name in EDITS else ("", OWN[name])
        self.original = read(name if name in OWN else image(FULL)[0] if recipe == "FULL"
                             else recipe_image(recipe)[0])
        self.device = device if recipe == "FULL" else ""
        self.image = str(folder / "image.qcow2")
        self.undo = str(folder / "undo")
        self.log = str(folder / "reached")
        self.script = str(folder / "script")
        self.shim = shim
        with open(self.script, "w", encoding="utf-8") as stream:
            stream.write(SCRIPT)
        self.reset()
        assert self.edit().returncode == 0
        self.changed = read(self.image)
        assert self.changed != self.original
        self.applied = read(self.undo)

    def reset(self):
        with open(self.image, "wb") as stream:
            stream.write(self.original)
        for path in (self.undo, self.log):
            if os.path.exists(path):
                os.remove(path)

    def put_changed(self):
        """The image and the undo file as the edit left them; the same files: their inodes count."""
        for file, content in ((self.image, self.changed), (self.undo, self.applied)):
            with open(file, "r+b" if os.path.exists(file) else "wb") as stream:
                stream.write(content)
                stream.truncate(len(content))
        if os.path.exists(self.log):
            os.remove(self.log)

    def disturbed(self, arguments, step, how):
        """A run that is stopped at a step, and whether it came so far."""
        env = {"CRASH_AT": str(step), "CRASH_HOW": how, "CRASH_LOG": self.log} if step else {}
        libraries = [self.shim] * (step > 0) + [self.device] * bool(self.device)
        env.update(LD_PRELOAD=":".join(libraries), DEVICE=self.image if self.device else "")
        done = subprocess.run([RELEASE, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, check=False,
                              env={**os.environ, **env})
        return done, os.path.exists(self.log)

    def edit_arguments(self):
        words = self.words or (f"--script={self.script}",)
        if words[0] == "repair":
            return ["repair", "--yes", f"--undo-file={self.undo}", *words[1:], self.image]
        if words[0] == "capture":
            return ["capture", "--yes", f"--undo-file={self.undo}", *words[1:], self.image]
        if words[0] == "bitmap":
            return ["bitmap", f"--undo-file={self.undo}", words[1], self.image, *words[2:]]
        return ["edit", "--force", "--yes", f"--undo-file={self.undo}", self.image, *words]

    def edit(self, step=0, how=""):
        return self.disturbed(self.edit_arguments(), step, how)[0]

    def run(self, *arguments):
        return self.disturbed(arguments, 0, "")[0]

    def may_refuse(self, done):
        """Between the last write and the end of a repair, the image is whole: a guest that begins to
        write then would not find it any more. Until then the corrupt bit keeps it from writing."""
        return (self.words and self.words[0] in ("repair", "capture") and read(self.image) == self.changed and
                b"a guest may have written since" in done.stderr)

    def undo_now(self):
        """An undo as people call it, again, and at last one that insists on every byte."""
        for _ in range(2):
            done = self.run("undo", self.undo)
            if self.may_refuse(done):
                break
            assert done.returncode == 0, done
            assert without_doubts(read(self.image)) == without_doubts(self.original)
        done = self.run("undo", "--exact", self.undo)
        assert done.returncode == 0, done
        assert read(self.image) == self.original

    def undo_file_is_whole(self):
        return self.run("undo", "--list", self.undo).returncode == 0

    def believed(self):
        """The bitmaps that may be relied on, with what they say is dirty."""
        done = self.run("bitmap", "list", "-j", self.image)
        rows = json.loads(done.stdout or '{"bitmaps": []}')["bitmaps"]
        return {row["name"]: self.run("bitmap", "extents", "--dirty", self.image, row["name"]).stdout
                for row in rows if row["state"] in ("enabled", "disabled")}


def all_steps(scene, arguments, hows, prepare):
    """Every step of a command, disturbed in every way."""
    for how in hows:
        for step in range(1, STEPS_MOST):
            prepare()
            done, reached = scene.disturbed(arguments, step, how)
            if not reached:
                assert done.returncode == 0 and step > 5
                break
            yield how, step, done
        else:
            assert False, "no end of steps"


def was_killed(done, how):
    """Only writes can be done by half; a sync or a change of size goes on then."""
    assert done.returncode == -signal.SIGKILL or (how == "half" and done.returncode == 0), done
    return done.returncode != 0


@pytest.mark.parametrize("name", sorted(EDITS))
def test_killed_edit(name, tmp_path, shim, device):
    scene = Scene(name, tmp_path, shim, device)
    seen = set()
    for how, _, done in all_steps(scene, scene.edit_arguments(), KILLS, scene.reset):
        now = read(scene.image)
        assert was_killed(done, how) or now == scene.changed
        seen.add("original" if now == scene.original else
                 "changed" if now == scene.changed else "between")
        if os.path.exists(scene.undo) and scene.undo_file_is_whole():
            scene.undo_now()
        else:
            assert now == scene.original
    assert {"original", "changed"} <= seen


@pytest.mark.parametrize("name", sorted(n for n in EDITS if n.startswith("bitmap")))
def test_killed_bitmap_change(name, tmp_path, shim, device):
    """Wherever it ends between two writes, nothing that is used is free, and no bitmap is believed
    that says anything but what it said before or says afterwards; space may be lost."""
    scene = Scene(name, tmp_path, shim, device)
    after = scene.believed()
    scene.reset()
    before, original = scene.run("check", scene.image), scene.believed()
    for _ in all_steps(scene, scene.edit_arguments(), ("before", "after"), scene.reset):
        done = scene.run("check", scene.image)
        assert done.returncode in (0, 3, before.returncode), done
        assert done.stdout.count(b"refcount-low") == 0
        assert scene.believed() in ({}, original, after)
        if scene.device and shutil.which("qemu-img"):
            qemu = subprocess.run(["qemu-img", "check", scene.image], capture_output=True, timeout=60,
                                  check=False)
            assert qemu.returncode in (0, 3), qemu


CORRUPT_AT = 79


@pytest.mark.parametrize("name", sorted(n for n in EDITS if n.startswith("repair")))
def test_killed_repair(name, tmp_path, shim, device):
    """Between the first write and the last one the corrupt bit keeps other programs from writing."""
    scene = Scene(name, tmp_path, shim, device)
    held = 0
    for how, step, _ in all_steps(scene, scene.edit_arguments(), ("before", "after"), scene.reset):
        now = read(scene.image)
        if now[:len(scene.original)] != scene.original and now != scene.changed:
            assert now[CORRUPT_AT] & 2 or scene.run("check", scene.image).returncode == 0, (how, step)
            held += 1
    assert held > 0


def test_killed_repair_of_version_2(tmp_path, shim, device):
    """There is no corrupt bit: at each step nothing that is used is free, so that who writes then
    overwrites nothing. An entry past the end becomes a cluster of zeros in front of a backing file,
    bits are cleared, a leak is freed."""
    path = image("version 2\nsize 1M\nbacking base.raw raw make=64k\nwrite 0 256k\nleak 2\n"
                 "set l2/0/2 eof + 64k | 1<<63\nset l2/0/1 $l2/0/1 | 2\n")[0]
    OWN[path] = ("repair", "--all", "--free-lost")
    scene = Scene(path, tmp_path, shim, device)
    steps = set()
    for how, step, _ in all_steps(scene, scene.edit_arguments(), ("before", "after"), scene.reset):
        done = scene.run("check", scene.image)
        assert b"refcount-low" not in done.stdout, (how, step, done.stdout.decode())
        steps.add(read(scene.image))
    assert scene.run("check", scene.image).returncode == 0 and len(steps) > 3


def test_killed_apply_of_a_capture(tmp_path, shim, device):
    """As a repair: undone, whole or marked as corrupt at each step, of a header, tables and refcounts."""
    path, small = str(tmp_path / "damaged"), tmp_path / "small"
    layout = build("size 1M\nwrite 0 256k\nsnapshot 1\nwrite 64k 64k\n", path)
    assert subprocess.run([RELEASE, "capture", "-q", "-o", small, path], check=False).returncode == 0
    with open(path, "r+b") as stream:
        for where, data in (("l2/0/0", bytes(8)), ("refcounts/0/1", bytes(2)), ("header/size", b"\0"),
                            ("snapshots/0/l1/0", bytes(8))):
            stream.seek(layout.where(where))
            stream.write(data)
        stream.seek(layout.where("header/size") + 5)
        stream.write(b"\x08")
    OWN[path] = ("capture", f"--apply={small}")
    scene = Scene(path, tmp_path, shim, device)
    held, seen = 0, set()
    for how, step, done in all_steps(scene, scene.edit_arguments(), KILLS, scene.reset):
        now = read(scene.image)
        assert was_killed(done, how) or now == scene.changed
        seen.add(now == scene.original or now == scene.changed)
        if now not in (scene.original, scene.changed):
            assert now[CORRUPT_AT] & 2 or scene.run("check", scene.image).returncode == 0, (how, step)
            held += 1
        if os.path.exists(scene.undo) and scene.undo_file_is_whole():
            scene.undo_now()
        else:
            assert now == scene.original
    assert held > 0 and seen == {True, False}


@pytest.mark.parametrize("name", sorted(EDITS))
def test_killed_undo(name, tmp_path, shim, device):
    """An undo that was killed is done again; so is one that was done."""
    scene = Scene(name, tmp_path, shim, device)

    def prepare():
        scene.reset()
        if name.startswith("repair"):  # a time that the change did not leave would be a doubt
            assert scene.edit().returncode == 0
            return
        with open(scene.image, "r+b") as stream:  # the same file: its inode counts
            stream.write(scene.changed)
            stream.truncate(len(scene.changed))
        with open(scene.undo, "wb") as stream:
            stream.write(scene.applied)

    for how, _, done in all_steps(scene, ["undo", scene.undo], KILLS, prepare):
        assert was_killed(done, how) or \
            without_doubts(read(scene.image)) == without_doubts(scene.original)
        scene.undo_now()


@pytest.mark.parametrize("name", FAILING)
def test_failing_system(name, tmp_path, shim, device):
    """What was written is taken back, or the whole change is there."""
    scene = Scene(name, tmp_path, shim, device)
    for how, step, done in all_steps(scene, scene.edit_arguments(), FAULTS, scene.reset):
        now = read(scene.image)
        assert done.returncode in (0, 1), (how, step, done)
        if done.returncode == 0:
            assert now == scene.changed
            continue
        assert done.stderr and done.stdout == b""
        if how in ("ENOSPC", "full"):
            lacks = b"its file system has", b"make room in what stores the device"
            assert lacks[0] in done.stderr or scene.device and lacks[1] in done.stderr, done
        if now != scene.original:
            assert b"changed in part" in done.stderr
            scene.undo_now()
        elif how in ("ENOSPC", "EIO"):
            assert b"the image is as it was" in done.stderr or b"nothing was changed" in done.stderr
            assert not os.path.exists(scene.undo) or not scene.undo_file_is_whole() or \
                scene.undo_now() is None


@pytest.mark.parametrize("name", FAILING)
def test_failing_system_without_undo(name, tmp_path, shim, device):
    scene = Scene(name, tmp_path, shim, device)
    arguments = ["--no-undo" if word.startswith("--undo-file") else word
                 for word in scene.edit_arguments()]
    reached = 0
    for how in ("ENOSPC", "EIO"):
        for step in range(1, STEPS_MOST):
            scene.reset()
            done, there = scene.disturbed(arguments, step, how)
            if not there:
                break
            reached += 1
            assert done.returncode == 1 and read(scene.image) == scene.original
            assert b"the image is as it was" in done.stderr
    assert reached >= 4


def test_failing_undo_says_what_is_left(tmp_path, shim, device):
    scene = Scene("bitmap remove", tmp_path, shim, device)
    said = set()
    for step in range(1, STEPS_MOST):
        for path, content in ((scene.image, scene.changed), (scene.undo, scene.applied)):
            with open(path, "wb") as stream:
                stream.write(content)
        if os.path.exists(scene.log):
            os.remove(scene.log)
        done, there = scene.disturbed(["undo", scene.undo], step, "ENOSPC")
        if not there:
            break
        now = read(scene.image)
        assert done.returncode == 1
        if b"the image is as it was" in done.stderr:
            assert now == scene.changed
        elif b"the image was put back" in done.stderr:
            assert without_doubts(now) == without_doubts(scene.original)
        else:
            assert b"put back in part: undo it again" in done.stderr
        said.add(done.stderr.split(b"; ")[-1].split(b" (")[0].strip())
        scene.undo_now()
    assert len(said) == 3


def tool(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def test_killed_undo_of_a_moved_refcount_table(tmp_path, shim, device):
    """Wherever an undo ends, a guest that writes then takes nothing that is in use."""
    path = str(tmp_path / "full.qcow2")
    assert tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64",
                path, "8M").returncode == 0
    # A table of one cluster counts 2 MiB here; the bitmaps' tables do not fit any more.
    assert tool("qemu-io", "-c", "write -P 1 0 1980k", path).returncode == 0
    assert 0 < 64 * 64 * 512 - os.path.getsize(path) < 8 * 512
    script = tmp_path / "bitmaps"
    script.write_text("".join(f"add -g 512 b{i}\n" for i in range(10)))
    OWN[path] = ("bitmap", "script", str(script))
    scene = Scene(path, tmp_path, shim, device)
    assert scene.original[48:56] != scene.changed[48:56], "the refcount table stays where it is"

    for how, step, _ in all_steps(scene, ["undo", scene.undo], ("before", "after"),
                                  scene.put_changed):
        for words in ((), ("qemu-io", "-c", "write -P 7 4M 256k", scene.image)):
            assert not words or tool(*words).returncode == 0, (how, step)
            done = tool("qemu-img", "check", scene.image)
            assert done.returncode in (0, 3), (how, step, words, done.stdout.decode())
        done = tool("qemu-io", "-r", "-c", "read -P 1 0 1980k", scene.image)
        assert b"failed" not in done.stdout, (how, step, done)


def test_killed_undo_of_refcounts_in_one_byte(tmp_path, shim, device):
    """A byte holds the refcount of a new refcount block, which one phase sets, and those of old
    bitmaps, which the last phase clears. An undo takes back one phase at a time, so that the block
    is counted as long as the refcount table points to it."""
    # The file ends two clusters before the end of what its refcount block counts.
    path = image("size 256M\ncluster_bits 9\nrefcount_order 0\nwrite 0 1948k\n"
                 "bitmap a granularity=512 bits=0,1,5\nbitmap b granularity=4096 bits=1,9\n")[0]
    OWN[path] = ("bitmap", "merge", "b", "a")
    scene = Scene(path, tmp_path, shim, device)
    assert len(scene.original) == 4094 * 512

    for how, step, _ in all_steps(scene, ["undo", scene.undo], ("before", "after"),
                                  scene.put_changed):
        done = scene.run("check", scene.image)
        assert b"refcount-low" not in done.stdout, (how, step, done.stdout.decode())
        scene.undo_now()
