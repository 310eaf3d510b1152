# SPDX-License-Identifier: MIT
# Random scripts of every verb of `qcow2 edit` and `qcow2 bitmap`, without --force, on forged images,
# good and bad, and on those that QEMU made. What is accepted must leave everything as it was but for
# what was asked for: QEMU's verdict and ours, every byte of the disk and of its snapshots, every
# extension, name, snapshot and bitmap. GUARD_ROUNDS and GUARD_SEED choose how many, and which.
"""Nothing is lost by accident."""
import hashlib
import json
import os
import random
import re
import shutil
import subprocess

import pytest

from tests.forge import ForgeError, build, build_named, recipes
from tests.support.breadth import rounds
from tests.support.broken import mutated
from tests.support.programs import QCOW2
from tests.support.scripts import Line, bitmap_script, edit_script, repair_options
from tests.support.witness import (BACKING_FORMAT, BITMAPS, CORRUPT, CRYPTO, DATA_FILE, DIRTY,
                                   FEATURE_NAMES, HAS_DATA_FILE, Image)

ROUNDS = rounds("GUARD_ROUNDS", 96, 320)
SEED = int(os.environ.get("GUARD_SEED", "1"))
SHARES = 8
FILE_MOST, DISK_MOST = 4 << 20, 16 << 20
SMALL = [name for name in recipes() if "hostile" not in name and not name.startswith("unsupported")]
PLAIN = "cluster_bits 12\nsize 1M\nwrite 0 100k pattern=mixed\n"
BITMAPS_OF = "bitmap b0 flags=auto bits=0-5\nbitmap b1 bits=3\n"
TEXTS = (
    PLAIN + BITMAPS_OF + "feature_names\nextension 0x77 \"some data\"\n",
    PLAIN + "backing base.raw raw\nfeature_names\nheader_length 120\nheader_tail 0102\n",
    PLAIN + "snapshot 1 name=one\nwrite 0 8k\nsnapshot 2 name=two\nwrite 8k 8k\n" + BITMAPS_OF,
    PLAIN + BITMAPS_OF + "dirty\nlazy_refcounts\nset refcount_of/data/0 0\nset refcount_of/data/3 0\n",
    PLAIN + "corrupt\nset refcount_of/l1 0\n",
    PLAIN + "corrupt\n" + BITMAPS_OF,
    PLAIN + "bitmap b0 flags=auto,in_use bits=1\nbitmap b1 bits=2\n",
    PLAIN + BITMAPS_OF + "set header/autoclear_features 0\n",
    PLAIN + BITMAPS_OF + "set refcount_of/data/1 2\nset refcount_of/data/2 3\n",
    PLAIN + "alias 200k 8k 0\nset refcount_of/data/0 1\n" + BITMAPS_OF,
    "cluster_bits 12\nsize 64k\ndata_file data.raw\nwrite 0 64k\nbitmap b0 bits=1\n",
    "cluster_bits 12\nsize 64k\ndata_file data.raw raw\nwrite 0 64k\n",
    "cluster_bits 16\nextended_l2\nsize 4M\nwrite 0 100k\nbitmap b0 bits=1\n",
    "version 2\ncluster_bits 12\nsize 1M\nwrite 0 64k\nsnapshot 1 name=x\nbacking base.raw raw\n",
    "cluster_bits 9\nsize 256k\nwrite 0 30k\ncompressed 64k 16k pattern=mixed\n" + BITMAPS_OF,
    "cluster_bits 12\nrefcount_order 0\nsize 1M\nwrite 0 64k\nleak 2\n",
)


def quiet(*words, **kwargs):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          check=False, **kwargs)


# ---- images ----

def by_qemu(rng, path):
    folder = os.path.dirname(path)
    options = rng.choice(("", "cluster_size=4k", "cluster_size=4k,lazy_refcounts=on",
                          "cluster_size=16k,extended_l2=on", "compat=0.10", "refcount_bits=1",
                          "data_file=data.raw,data_file_raw=on"))
    words = ["-o", options] if options else []
    if rng.random() < 0.3 and "data_file" not in options:
        words += ["-b", os.path.join(folder, "base.raw"), "-F", "raw"]
    # The data file is made where the program runs, and looked for beside the image.
    quiet("qemu-img", "create", "-q", "-f", "qcow2", *words, path, "1M", cwd=folder)
    if "0.10" not in options and rng.random() < 0.7:
        for name in ("b0", "b1"):
            quiet("qemu-img", "bitmap", "--add", "-g", "4k", path, name)
    quiet("qemu-io", "-c", "write -P 5 0 100k", "-c", "write -P 6 300k 64k", path)
    if rng.random() < 0.4 and "data_file" not in options and "bits=1" not in options:
        quiet("qemu-img", "snapshot", "-c", "one", path)
        quiet("qemu-io", "-c", "write -P 7 0 8k", path)
    return f"qemu-img {options}"


def make(rng, path):
    """An image at path; how it was made."""
    folder = os.path.dirname(path)
    for name, size in (("base.raw", 1 << 20), ("data.raw", 1 << 20), ("other.raw", 1 << 20)):
        with open(os.path.join(folder, name), "wb") as opened:
            opened.write(name.encode()[:1] * size)
    kind = rng.random()
    if kind < 0.45:
        text = rng.choice(TEXTS)
        build(text, path)
        return text
    if kind < 0.65:
        name = rng.choice(SMALL)
        build_named(name, path)
        return name
    if kind < 0.85:
        number = rng.randrange(1 << 30)
        return f"mutated {number}: {mutated(number, path)}"
    return by_qemu(rng, path)


def is_small(path):
    """What can be read whole again and again."""
    status = os.stat(path)
    with open(path, "rb") as opened:
        opened.seek(24)
        disk = int.from_bytes(opened.read(8), "big")
    return status.st_size <= FILE_MOST and disk <= DISK_MOST


# ---- what there is ----

def guest_bytes(path, snapshot=None):
    """What QEMU reads, or None."""
    words = ["-l", f"snapshot.id={snapshot}"] if snapshot else []
    raw = path + ".raw"
    try:
        done = quiet("qemu-img", "convert", "-f", "qcow2", "-O", "raw", *words, path, raw,
                     stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            return None
        with open(raw, "rb") as opened:
            return opened.read()
    except subprocess.TimeoutExpired:
        return None
    finally:
        if os.path.exists(raw):
            os.remove(raw)


class State:
    """All that can be told of an image."""

    def __init__(self, path):
        self.path, self.has = path, Image(path)
        shown = quiet(QCOW2, "check", "-j", path)
        assert shown.returncode in (0, 1, 2, 3, 63), shown
        self.ours = json.loads(shown.stdout) if shown.stdout else None
        shown = quiet("qemu-img", "check", "-f", "qcow2", "--output=json", path)
        self.qemu = json.loads(shown.stdout) if shown.stdout and shown.returncode >= 0 else None
        self.large = self.has.is_image and self.has.size > DISK_MOST
        self.guest = None if self.large else guest_bytes(path)
        self.snapshots = [(name, guest_bytes(path, name[0].decode("latin-1")))
                          for name in self.has.snapshots[:2] if re.fullmatch(rb"\w+", name[0])] \
            if self.has.is_image and not self.large else []

    def count(self, key, whose="ours"):
        found = getattr(self, whose)
        return (found or {}).get(key) or 0


def asked(lines, kind):
    """Everything of a kind that lines ask for."""
    return {ask[1] for line in lines for ask in line.asks if isinstance(ask, tuple) and
            ask[0] == kind}


def asks(lines, what):
    return any(what in line.asks for line in lines)


# ---- what must hold ----

def is_elsewhere(lines):
    """Whether other files, or a key, are asked for, which may not be there."""
    return asks(lines, "key") or asks(lines, "backing") or asks(lines, "data file") or \
        {BACKING_FORMAT, DATA_FILE} & asked(lines, "extension")


def check_verdicts(old, new, lines):
    """Neither QEMU nor we find more than before; and cleared bits had no reason."""
    if old.ours and not old.has.incompatible & ~0x1f:
        assert new.ours is not None, "no image any more"
        assert new.count("corruptions") <= old.count("corruptions"), "our corruptions"
        # What a table names that is not believed may be the only copy of something, and stays.
        assert asks(lines, "repair") or new.count("leaks") <= old.count("leaks"), "our leaks"
    if old.qemu and not old.qemu["check-errors"] and not is_elsewhere(lines):
        assert new.qemu is not None, "QEMU refuses it now"
        if not old.count("corruptions", "qemu"):
            assert not new.count("corruptions", "qemu"), "QEMU's corruptions"
        if not old.count("leaks", "qemu") and not old.count("corruptions", "qemu"):
            assert not new.count("leaks", "qemu"), "QEMU's leaks"
    if not old.has.is_image:
        return
    cleared = old.has.incompatible & ~new.has.incompatible
    if cleared & DIRTY:
        assert not new.count("corruptions", "qemu") and not new.count("leaks"), "dirty was cleared"
    if old.has.incompatible & CORRUPT:
        left = new.count("corruptions") - (1 if new.has.incompatible & CORRUPT else 0)
        assert left == 0, "a corrupt image was changed and is not consistent"


def check_disk(old, new, lines):
    if is_elsewhere(lines) or new.large:
        return
    if old.guest is not None:
        # A busy machine may let one call of qemu-img fail.
        new.guest = new.guest if new.guest is not None else guest_bytes(new.path)
        assert new.guest is not None, "QEMU cannot read it any more"
    if old.guest is not None and not asks(lines, "guest"):
        before, after = bytearray(old.guest), bytearray(new.guest)
        if asks(lines, "size"):
            shorter = min(len(before), len(after))
            del before[shorter:], after[shorter:]
        for cluster in asked(lines, "cluster"):
            start = cluster * old.has.cluster
            before[start:start + old.has.cluster] = after[start:start + old.has.cluster]
        assert before == after, "the guest's bytes"
    if len(new.has.snapshots) >= len(old.has.snapshots):
        for (name, before), (other, after) in zip(old.snapshots, new.snapshots):
            assert name == other
            if before is None:
                continue
            assert after is not None, f"snapshot {name} cannot be read"
            # QEMU shows them as large as the disk is now.
            shorter = min(len(before), len(after)) if asks(lines, "size") else len(before)
            assert before[:shorter] == after[:shorter], f"bytes of snapshot {name}"


def check_names(old, new, lines):
    kinds = asked(lines, "extension")
    if old.area_sane:
        left = list(new.extensions)
        for kind, data in old.extensions:
            if kind in kinds or kind in (BACKING_FORMAT, DATA_FILE, BITMAPS):
                continue
            found = next((e for e in left if e[0] == kind and
                          (e[1] == data or kind in (CRYPTO, FEATURE_NAMES))), None)
            assert found, f"extension {kind:#x}"
            left.remove(found)
    if not asks(lines, "backing"):
        if old.backing_sane:
            assert new.backing == old.backing, "backing file"
        if old.backing_format and old.backing and BACKING_FORMAT not in kinds:
            assert new.backing_format == old.backing_format, "backing format"
    if old.data_file and not asks(lines, "data file") and DATA_FILE not in kinds:
        assert new.data_file == old.data_file, "data file"
    for name in set(old.snapshots):
        assert new.snapshots.count(name) >= old.snapshots.count(name), f"snapshot {name}"


def is_covered(before, after):
    """Whether all that was dirty still is, where a bit stands for another part of the disk."""
    bits, count, old = before
    for bit in (i for i in range(count) if bits >> i & 1):
        first, last = bit << old >> after[2], (bit + 1 << old) - 1 >> after[2]
        for other in range(first, min(last + 1, after[1])):
            if not after[0] >> other & 1:
                return False
    return True


def check_bitmaps(old, new, lines):
    """Each is still there; one that may be believed holds at least what it held."""
    gone, changed = asked(lines, "gone"), asked(lines, "bits") | asked(lines, "merged")
    made = asked(lines, "made") | {ask[2] for line in lines for ask in line.asks
                                   if isinstance(ask, tuple) and ask[0] == "renamed"}
    if BITMAPS in asked(lines, "extension"):
        return
    for name in set(old.names()) - gone if not asks(lines, "repair") else ():
        assert new.names().count(name) >= old.names().count(name), f"bitmap {name}"
    before = old.trusted()
    # What could be read of a bitmap that was damaged is not known here.
    damaged = {name for name, flags, _, bits in old.bitmaps
               if old.autoclear & 1 and not flags & 1 and bits is None}
    for name, (bits, count, granularity) in new.trusted().items():
        if name in made or name in changed:
            continue
        if name not in before:
            if name in old.names() and name not in damaged:
                assert bits == (1 << count) - 1, f"bitmap {name} is believed"
            continue
        if asks(lines, "repair") and granularity != before[name][2]:
            assert is_covered(before[name], (bits, count, granularity)), f"dirty bytes of {name}"
            continue
        assert granularity == before[name][2] or bits == (1 << count) - 1, f"granularity of {name}"
        if asks(lines, "size"):
            continue
        assert bits & before[name][0] == before[name][0], f"dirty bits of {name}"
        assert bits == before[name][0] or bits == (1 << count) - 1, f"bits of {name}"


def check_all(old, new, lines):
    check_verdicts(old, new, lines)
    if not old.has.is_image:
        return
    check_disk(old, new, lines)
    check_names(old.has, new.has, lines)
    check_bitmaps(old.has, new.has, lines)


def check_writes(path, state, rng):
    """What QEMU then writes does not hit anything else."""
    has, guest = state.has, state.guest
    if not state.qemu or guest is None or len(guest) < 1 << 16 or state.qemu["check-errors"] or \
            has.incompatible & (CORRUPT | HAS_DATA_FILE):
        return
    # Counts that are behind are what the dirty bit is for; QEMU counts anew.
    kinds = {p["id"] for p in state.ours["problems"] if p["severity"] == "corruption"}
    if kinds - ({"refcount-low", "copied-set"} if has.incompatible & DIRTY else set()):
        return
    at = rng.randrange(len(guest) - 8192) & ~511
    folder = os.path.dirname(path)
    copy = os.path.join(folder, "written.qcow2")
    shutil.copyfile(path, copy)
    done = quiet("qemu-io", "-f", "qcow2", "-c", f"write -P 0x5a {at} 8k", copy,
                 stdin=subprocess.DEVNULL)
    if b"wrote 8192" in done.stdout:
        expected = bytearray(guest)
        expected[at:at + 8192] = b"\x5a" * 8192
        assert guest_bytes(copy) == expected, f"a write at {at} changes more"
    os.remove(copy)


# ---- the game ----

def digest(path):
    """Of a file, or only its size if that is large: over holes that count as taken, files grow."""
    if os.path.getsize(path) > 8 * FILE_MOST:
        return os.path.getsize(path)
    with open(path, "rb") as opened:
        return hashlib.sha256(opened.read()).digest()


def run_script(path, command, lines):
    script = "\n".join(line.text for line in lines).encode()
    before = digest(path)
    words = {"edit": ["edit", "--script=-", path], "script": ["bitmap", "script", path, "-"],
             "repair": ["bitmap", "repair", *lines[0].text.split()[1:], path]}[command]
    done = quiet(QCOW2, *words, "--no-undo", input=script)
    assert 0 <= done.returncode <= 4, done
    after = digest(path)
    # 4: a repair has done what it could, and bitmaps remain that no backup can rely on.
    assert done.returncode != 4 or command == "repair", done
    if done.returncode not in (0, 4):
        assert before == after, f"refused, but changed: {done.stderr}"
    return before != after


def turn(rng, path, state):
    """One script; the new state (None: too large to go on), and whether it was accepted."""
    roll = rng.random()
    if roll < 0.1:
        command, lines = "repair", [Line(" ".join(["repair"] + repair_options(rng)), "repair")]
    elif roll < 0.7:
        command, lines = "edit", edit_script(rng, state.has, (state.ours or {}).get("problems", []))
    else:
        command, lines = "script", bitmap_script(rng, state.has, os.path.dirname(path))
    text = f"{command}: " + "; ".join(line.text for line in lines)
    saved = path + ".before"
    shutil.copyfile(path, saved)
    try:
        if not run_script(path, command, lines):
            return state, False
        if os.path.getsize(path) > 8 * FILE_MOST:
            return None, True
        new = State(path)
        check_all(state, new, lines)
        if rng.random() < 0.25:
            check_writes(path, new, rng)
    except AssertionError as wrong:
        raise AssertionError(f"{text}\n{wrong}\nbefore: {saved}") from wrong
    return new, True


def play(seed, rounds, folder):
    """So many scripts; how many were accepted."""
    rng = random.Random(seed)
    path, accepted, done, number = os.path.join(folder, "a.qcow2"), 0, 0, 0
    while done < rounds:
        number += 1
        for name in os.listdir(folder):
            os.remove(os.path.join(folder, name))
        try:
            how = make(rng, path)
        except ForgeError:
            continue
        if not os.path.exists(path) or not is_small(path):
            continue
        state = State(path)
        if not state.has.is_image:
            continue
        for _ in range(12):
            done += 1
            try:
                state, changed = turn(rng, path, state)
            except AssertionError as wrong:
                raise AssertionError(f"seed {seed}, image {number}: {how}\n{wrong}") from wrong
            accepted += changed
            if not state or state.large or not state.has.is_image:
                break
    return accepted


@pytest.mark.parametrize("share", range(SHARES))
def test_scripts(share, tmp_path):
    accepted = play(f"{SEED}/{share}", ROUNDS // SHARES, str(tmp_path))
    assert accepted > 0
