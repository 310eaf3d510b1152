# SPDX-License-Identifier: MIT
# Dirty bitmaps against the real qemu-img, qemu-io, qemu-nbd and nbdinfo: what we read is what QEMU
# exports, what we change is what QEMU finds, and what QEMU refuses opens again once it is repaired.
"""bitmap against QEMU's tools."""
import json
import os
import random
import shutil
import struct
import subprocess

import pytest

from tests.support.programs import QCOW2, RELEASE, document, recipe_image, run
from tests.support.qemu import create, nbd_extents, tool

K, M, G = 1 << 10, 1 << 20, 1 << 30
ACTIONS = 12


def info(path):
    """The bitmaps that QEMU sees: {name: (granularity, flags)}."""
    done = subprocess.run(["qemu-img", "info", "--output=json", path], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True)
    shown = json.loads(done.stdout)
    return {b["name"]: (b["granularity"], sorted(b["flags"]))
            for b in shown["format-specific"]["data"].get("bitmaps", [])}


def bitmap(path, action, *words, code=0, program=QCOW2):
    done = run("bitmap", action, path, *words, program=program)
    assert done.returncode == code, done
    return done


def changed(path, action, *words):
    done = run("bitmap", action, "--no-undo", path, *words)
    assert done.returncode == 0, done
    tool("qemu-img", "check", path)
    return done


def extents(path, name, *options):
    """By the release build: of thousands of runs, those of tests/cli/test_bitmap.py are under ASan."""
    done = bitmap(path, "extents", name, "-j", *options, program=RELEASE)
    return [(e["start"], e["length"], e["dirty"]) for e in json.loads(done.stdout)]


def write(path, size, number, seed):
    """Random writes, in one qemu-io."""
    numbers = random.Random(seed)
    words = []
    for _ in range(number):
        at = numbers.randrange(0, size // 512) * 512
        length = min(numbers.choice((512, 4096, 70 * K, 300 * K)), size - at)
        words += ["-c", f"write -z {at} {length}"]
    tool("qemu-io", *words, path)


# ---- reading ----

# Each granularity and each cluster size; QEMU's clusters end at 2 MiB.
PAIRS = [(bits, 9 + (bits * 5) % 13) for bits in range(9, 32)]
PAIRS += [(16, cluster) for cluster in range(9, 22)]


@pytest.mark.parametrize("granularity_bits, cluster_bits", PAIRS)
def test_extents_are_qemus(tmp_path, granularity_bits, cluster_bits):
    size = 24 * M + 512 * (granularity_bits + 1)
    path = create(str(tmp_path / "a.qcow2"), size, f"cluster_size={1 << cluster_bits}")
    tool("qemu-img", "bitmap", "--add", "-g", str(1 << granularity_bits), path, "theirs")
    changed(path, "add", "ours", "-g", str(1 << granularity_bits))
    assert info(path) == {n: (1 << granularity_bits, ["auto"]) for n in ("theirs", "ours")}
    write(path, size, 9, granularity_bits)
    tool("qemu-img", "check", path)
    expected = nbd_extents(path, "theirs", tmp_path)
    assert extents(path, "theirs") == expected
    assert extents(path, "ours") == expected
    assert sum(e[1] for e in expected) == size
    assert bitmap(path, "compare", "ours", "theirs").stdout.startswith(b"equal: ")
    # What export writes, import takes, and QEMU sees it.
    bits = str(tmp_path / "bits")
    bitmap(path, "export", "ours", "--to", bits)
    changed(path, "import", "copy", bits)
    assert nbd_extents(path, "copy", tmp_path) == expected


def test_combinations_are_qemus_merges(tmp_path):
    path = create(str(tmp_path / "a.qcow2"), 64 * M)
    for number, granularity in enumerate((4 * K, 64 * K, 512 * K)):
        tool("qemu-img", "bitmap", "--add", "-g", str(granularity), path, f"b{number}")
        write(path, 64 * M, 20, number)
        tool("qemu-img", "bitmap", "--disable", path, f"b{number}")
    tool("qemu-img", "bitmap", "--add", "-g", "4k", "--disable", "--merge", "b0", "--merge", "b1",
         "--merge", "b2", path, "all")
    union = extents(path, "b0", "b1", "b2", "--union")
    assert union == extents(path, "all") == nbd_extents(path, "all", tmp_path)
    sets = [{at for start, length, dirty in extents(path, f"b{i}") if dirty
             for at in range(start, start + length, 512)} for i in range(3)]
    for option, wanted in (("--union", sets[0] | sets[1] | sets[2]),
                           ("--intersect", sets[0] & sets[1] & sets[2]),
                           ("--subtract", sets[0] - sets[1] - sets[2])):
        told = {at for start, length, dirty in extents(path, "b0", "b1", "b2", option) if dirty
                for at in range(start, start + length, 512)}
        assert told == wanted, option


# ---- changing ----

def both(ours, theirs, action, *words):
    """The same action by qcow2 and by qemu-img, each on its own copy."""
    theirs_words = {
        "add": lambda g, n: ["--add", "-g", g, theirs, n],
        "disabled": lambda g, n: ["--add", "--disable", "-g", g, theirs, n],
        "remove": lambda n: ["--remove", theirs, n],
        "clear": lambda n: ["--clear", theirs, n],
        "enable": lambda n: ["--enable", theirs, n],
        "disable": lambda n: ["--disable", theirs, n],
        "merge": lambda s, n: ["--merge", s, theirs, n],
    }[action](*words)
    if action in ("add", "disabled"):
        more = ["--disabled"] if action == "disabled" else []
        changed(ours, "add", "-g", words[0], words[1], *more)
    else:
        changed(ours, action, *words)
    tool("qemu-img", "bitmap", *theirs_words)


OPTIONS = [("cluster_size=64k",), ("cluster_size=512", "refcount_bits=64"),
           ("cluster_size=512", "refcount_bits=1"), ("cluster_size=1k", "refcount_bits=2"),
           ("cluster_size=4k", "refcount_bits=4"), ("cluster_size=2M", "refcount_bits=8"),
           ("cluster_size=512", "refcount_bits=32"), ("extended_l2=on",),
           ("lazy_refcounts=on", "cluster_size=8k"), ("preallocation=metadata",)]


@pytest.mark.parametrize("options", OPTIONS, ids="-".join)
def test_actions_are_qemus(tmp_path, options):
    numbers = random.Random(repr(options))
    size = 32 * M + 4096
    ours = create(str(tmp_path / "ours.qcow2"), size, *options)
    write(ours, size, 10, 5)
    theirs = shutil.copyfile(ours, str(tmp_path / "theirs.qcow2"))
    count, names = 0, []
    for _ in range(ACTIONS):
        action = numbers.choice(("add", "disabled", "remove", "clear", "enable", "disable",
                                 "merge", "merge")) if len(names) > 2 else "add"
        if action in ("add", "disabled"):
            count += 1
            both(ours, theirs, action, numbers.choice(("512", "4k", "64k", "1M")), f"b{count}")
        elif action == "merge":
            both(ours, theirs, action, *numbers.sample(names, 2))
        else:
            both(ours, theirs, action, numbers.choice(names))
        for path in (ours, theirs):
            write(path, size, 3, len(names) + count)
        found = info(ours)
        assert found == info(theirs)
        names = sorted(found)
        for name in names:
            assert extents(ours, name) == extents(theirs, name), name
    for name in names:
        assert extents(ours, name) == nbd_extents(ours, name, tmp_path)


@pytest.mark.parametrize("cluster_size", (512, 1 * K, 4 * K, 8 * K, 64 * K, 1 * M, 2 * M))
def test_default_granularity(tmp_path, cluster_size):
    path = create(str(tmp_path / "a.qcow2"), 16 * M, f"cluster_size={cluster_size}")
    tool("qemu-img", "bitmap", "--add", path, "theirs")
    changed(path, "add", "ours")
    assert info(path)["ours"] == info(path)["theirs"]


@pytest.mark.parametrize("width", (1, 2, 4, 8, 16, 32, 64))
def test_growing_refcounts(tmp_path, width):
    """Bitmaps for which new refcount blocks, and a larger refcount table, are needed."""
    path = create(str(tmp_path / "a.qcow2"), 1 * G, "cluster_size=512", f"refcount_bits={width}")
    before = document(path)["header"]["refcount_table_clusters"]
    noise = random.Random(width).randbytes(1 * G // 512 // 8)
    bits = tmp_path / "bits"
    bits.write_bytes(noise)
    for name in ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"][:9 if width == 64 else 2]:
        changed(path, "import", name, str(bits), "-g", "512")
        assert bitmap(path, "export", "--raw", name).stdout == noise
    if width == 64:
        assert document(path)["header"]["refcount_table_clusters"] > before
    assert tool("qemu-img", "check", path).startswith("No errors were found")
    for name in sorted(info(path)):
        changed(path, "remove", name)
    assert info(path) == {}


def test_merge_from_another_image(tmp_path):
    source = create(str(tmp_path / "s.qcow2"), 64 * M)
    target = create(str(tmp_path / "t.qcow2"), 64 * M)
    tool("qemu-img", "bitmap", "--add", "-g", "4k", source, "a")
    write(source, 64 * M, 30, 1)
    tool("qemu-img", "bitmap", "--add", "-g", "128k", target, "a")
    theirs = shutil.copyfile(target, str(tmp_path / "theirs.qcow2"))
    tool("qemu-img", "bitmap", "--merge", "a", "-b", source, "-F", "qcow2", theirs, "a")
    changed(target, "merge", "a", "a", "--from", source)
    assert extents(target, "a") == extents(theirs, "a") == nbd_extents(target, "a", tmp_path)
    assert bitmap(target, "compare", "a", "a", "--from", source, code=3).stdout


def test_merge_from_an_image_in_use(tmp_path):
    """Bits that a writer may still set are not taken for all; QEMU refuses them, too."""
    source = create(str(tmp_path / "s.qcow2"), 4 * M)
    target = create(str(tmp_path / "t.qcow2"), 4 * M)
    for path in (source, target):
        tool("qemu-img", "bitmap", "--add", path, "a")
    holder = subprocess.Popen(["qemu-io", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdin.write(b"length\n")
    holder.stdin.flush()
    holder.stdout.readline()
    merge = ["merge", "--no-undo", "--from", source, target, "a", "a"]
    theirs = tool("qemu-img", "bitmap", "--merge", "a", "-b", source, "-F", "qcow2", target, "a",
                  code=1)
    assert "lock" in theirs
    done = run("bitmap", *merge)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert f"{source}: in use: another program".encode() in done.stderr
    forced = run("bitmap", "--force", *merge)
    assert forced.returncode == 0 and b"results may be inconsistent" in forced.stderr
    shown = run("bitmap", "compare", "--force", "--from", source, target, "a", "a")
    assert shown.returncode == 0 and f"{source}: in use: another".encode() in shown.stderr
    holder.communicate()
    assert run("bitmap", *merge).stderr == b""
    assert run("bitmap", "merge", "--no-undo", "--from", target, target, "a", "a").stderr == b""


def test_script_is_one_plan(tmp_path):
    path = create(str(tmp_path / "a.qcow2"), 64 * M)
    script = tmp_path / "script"
    script.write_text("# several\nadd --granularity=4k a 'b c'\nadd --disabled d\nremove a\n"
                      "merge 'b c' d\nrename d e\n")
    changed(path, "script", str(script))
    assert info(path) == {"b c": (4 * K, ["auto"]), "e": (64 * K, [])}


def test_data_file(tmp_path):
    path = create(str(tmp_path / "a.qcow2"), 64 * M, f"data_file={tmp_path}/a.raw")
    changed(path, "add", "a")
    write(path, 64 * M, 5, 3)
    assert extents(path, "a") == nbd_extents(path, "a", tmp_path)
    changed(path, "remove", "a")


def test_crashed_qemu(tmp_path):
    """A writer that was killed: in use, and usable again once it is assumed dirty."""
    path = create(str(tmp_path / "a.qcow2"), 64 * M)
    for name in ("a", "b"):
        tool("qemu-img", "bitmap", "--add", path, name)
    holder = subprocess.Popen(["qemu-io", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdin.write(b"write 1M 1M\n")
    holder.stdin.flush()
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    assert info(path)["a"][1] == ["auto", "in-use"]
    assert b"in use" in bitmap(path, "list").stdout
    assert b"is in use" in bitmap(path, "extents", "a", code=1).stderr
    changed(path, "repair", "--assume-dirty", "a")
    assert info(path) == {"a": (64 * K, ["auto"]), "b": (64 * K, ["auto", "in-use"])}
    assert nbd_extents(path, "a", tmp_path) == [(0, 64 * M, True)] == extents(path, "a")
    changed(path, "remove", "b")


# ---- damage ----

def no_errors(path):
    """No corruption; space that damaged pointers lost may stay lost."""
    done = subprocess.run(["qemu-img", "check", path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode in (0, 3), done


class Patient:
    """A sound image with three bitmaps, the middle one of which gets damaged."""

    def __init__(self, folder):
        self.path = create(str(folder / "p.qcow2"), 40 * M + 512)
        for number, granularity in enumerate(("4k", "512", "64k")):
            tool("qemu-img", "bitmap", "--add", "-g", granularity, self.path, f"b{number}")
            write(self.path, 40 * M, 6, number)
        self.truth = {name: extents(self.path, name) for name in ("b0", "b1", "b2")}

    def set(self, *words):
        done = run("edit", "--force", "--no-undo", "--yes", self.path, "set", *words)
        assert done.returncode == 0, done

    def field(self, name, value):
        self.set(f"bitmaps/1/{name}={value}")

    def patch(self, offset, data):
        with open(self.path, "r+b") as stream:
            stream.seek(offset)
            stream.write(data)

    def directory(self):
        """Where the extension's data and the directory are."""
        with open(self.path, "rb") as stream:
            head = stream.read(64 * K)
        at = head.index(struct.pack(">II", 0x23852875, 24))
        count, _, size, offset = struct.unpack_from(">IIQQ", head, at + 8)
        return at, count, size, offset

    def entry(self):
        """Where the middle entry is: bitmaps have names of two bytes, so 32 bytes each."""
        return self.directory()[3] + 32

    def table(self):
        with open(self.path, "rb") as stream:
            stream.seek(self.entry())
            return struct.unpack(">Q", stream.read(8))[0]

    def word(self, offset):
        with open(self.path, "rb") as stream:
            stream.seek(offset)
            return struct.unpack(">Q", stream.read(8))[0]


def damage_tail(p):
    data = p.word(p.table() + 8) & 0x00fffffffffffe00 or p.word(p.table())
    p.patch((data & 0x00fffffffffffe00) + 64 * K - 1, b"\x80")


def rewrite(p, entry_of):
    """The middle entry anew, of another length; the entry behind it moves."""
    at, _, size, offset = p.directory()
    with open(p.path, "rb") as stream:
        stream.seek(offset)
        raw = stream.read(size)
    entry = entry_of(raw[32:64])
    p.patch(offset, raw[:32] + entry + raw[64:] + bytes(32))
    p.patch(at + 16, struct.pack(">Q", size - 32 + len(entry)))


def damage_extra(p, flags):
    rewrite(p, lambda e: e[:12] + struct.pack(">I", flags) + e[16:20] + struct.pack(">I", 8)
            + b"EXTRAEXT" + e[24:])


# What is damaged: how, whether QEMU refuses the image, and what a repair does without options:
# "mended" (nothing lost but precision), or "decide" (--drop-bad or --assume-dirty are needed).
DAMAGES = {
    "entry reserved low": (lambda p: p.patch(p.table() + 7, b"\x02"), True, "mended"),
    "entry reserved high": (lambda p: p.patch(p.table(), b"\x80"), True, "mended"),
    "offset with all ones": (lambda p: p.patch(p.table(), struct.pack(
        ">Q", p.word(p.table()) | 0x70001)), True, "mended"),
    "data unaligned": (lambda p: p.patch(p.table(), struct.pack(">Q", 0x50200)), True, "mended"),
    "data beyond end": (lambda p: p.patch(p.table(), struct.pack(">Q", 1 << 40)), False, "mended"),
    "flags reserved": (lambda p: p.field("flags", 0x12), True, "mended"),
    "extra data compatible": (lambda p: damage_extra(p, 6), True, "mended"),
    "extra data unknown": (lambda p: damage_extra(p, 2), True, "decide"),
    "flag without extra data": (lambda p: p.field("flags", 6), True, "mended"),
    "duplicate name": (lambda p: p.patch(p.entry() + 24, b"b0"), True, "mended"),
    "name empty": (lambda p: rewrite(p, lambda e: e[:18] + bytes(6)), False, "mended"),
    "name with NUL": (lambda p: p.patch(p.entry() + 25, b"\0"), False, "mended"),
    "padding": (lambda p: p.patch(p.entry() + 31, b"x"), False, "mended"),
    "directory size long": (lambda p: p.patch(p.directory()[0] + 16, struct.pack(">Q", 160)),
                            True, "mended"),
    "directory size short": (lambda p: p.patch(p.directory()[0] + 16, struct.pack(">Q", 64)),
                             True, "mended"),
    "count more": (lambda p: p.patch(p.directory()[0] + 8, struct.pack(">I", 4)), True, "mended"),
    "count less": (lambda p: p.patch(p.directory()[0] + 8, struct.pack(">I", 2)), True, "mended"),
    "count zero": (lambda p: p.patch(p.directory()[0] + 8, struct.pack(">I", 0)), True, "mended"),
    "reserved field": (lambda p: p.patch(p.directory()[0] + 12, b"\1"), True, "mended"),
    "directory nowhere": (lambda p: p.patch(p.directory()[0] + 24, bytes(8)), True, "all"),
    "directory unaligned": (lambda p: p.patch(p.directory()[0] + 24, struct.pack(">Q", 0x30200)),
                            True, "all"),
    "directory beyond end": (lambda p: p.patch(p.directory()[0] + 24, struct.pack(">Q", 1 << 40)),
                             True, "all"),
    "tail": (damage_tail, False, "mended"),
    "data on the L1 table": (lambda p: p.patch(p.table(), struct.pack(">Q", p.word(40))),
                             None, "mended"),
    "entry zeros": (lambda p: p.patch(p.entry(), bytes(32)), True, "drop"),
    "table too short": (lambda p: p.patch(p.entry() + 8, struct.pack(">I", 1)), None, None),
    "table too long": (lambda p: p.patch(p.entry() + 8, struct.pack(">I", 9)), True, "mended"),
    "table empty": (lambda p: p.patch(p.entry() + 8, bytes(4)), True, "mended"),
    "table over limits": (lambda p: p.patch(p.entry() + 8, struct.pack(">I", 9000)), True, None),
    "table nowhere": (lambda p: p.patch(p.entry(), bytes(8)), True, "decide"),
    "table unaligned": (lambda p: p.patch(p.entry(), struct.pack(">Q", 0x50200)), True, "decide"),
    "table beyond end": (lambda p: p.patch(p.entry(), struct.pack(">Q", 1 << 40)), False, "decide"),
    "type": (lambda p: p.patch(p.entry() + 16, b"\2"), True, "drop"),
    "granularity 8": (lambda p: p.patch(p.entry() + 17, b"\x08"), True, None),
    "granularity 32": (lambda p: p.patch(p.entry() + 17, b"\x20"), True, None),
    "granularity 64": (lambda p: p.patch(p.entry() + 17, b"\x40"), True, "decide"),
}


def is_superset(larger, smaller):
    """Whether all that is dirty in one list of extents is dirty in the other."""
    dirty = [(s, s + n) for s, n, d in larger if d]
    return all(any(a <= s and s + n <= b for a, b in dirty) for s, n, d in smaller if d)


def repaired(path, *options):
    """A repair, which is undone and done again."""
    with open(path, "rb") as stream:
        before = stream.read()
    undo = path + ".undo"
    done = run("bitmap", "repair", f"--undo-file={undo}", path, *options)
    assert done.returncode == 0, done
    with open(path, "rb") as stream:
        after = stream.read()
    if after == before:
        assert done.stdout.endswith(b"Nothing to change.\n")
        return done.stdout.decode()
    assert run("undo", undo).returncode == 0
    with open(path, "rb") as stream:
        assert stream.read() == before
    with open(path, "wb") as stream:
        stream.write(after)
    os.remove(undo)
    return done.stdout.decode()


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(tmp_path, name):
    damage, refused, remedy = DAMAGES[name]
    patient = Patient(tmp_path)
    damage(patient)
    probe = shutil.copyfile(patient.path, str(tmp_path / "probe.qcow2"))
    opened = subprocess.run(["qemu-img", "bitmap", "--add", "--disable", probe, "probe"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if refused is not None:
        assert (opened.returncode != 0) == refused, opened
    assert run("bitmap", "list", patient.path).returncode in (0, 1, 2)
    options = []
    if remedy in ("decide", "drop", "all"):
        done = run("bitmap", "repair", patient.path)
        assert done.returncode == 1 and b"to be decided" in done.stderr, done
        options = ["--drop-bad"]
        if remedy == "decide":
            dirty = shutil.copyfile(patient.path, str(tmp_path / "dirty.qcow2"))
            repaired(dirty, "--assume-dirty")
            assert (0, 40 * M + 512, True) in extents(dirty, "b1")
            assert sorted(info(dirty)) == ["b0", "b1", "b2"]
            no_errors(dirty)
    elif remedy is None:
        options = ["--drop-bad"]
    text = repaired(patient.path, *options)
    assert ("mended" in text) == (remedy == "mended") or remedy is None, text
    names = info(patient.path)
    kept = () if remedy == "all" else ("b0", "b2")
    for other in kept:
        # Of two that have one name, nobody knows which has it by right.
        now = "b0-0" if (name, other) == ("duplicate name", "b0") else other
        assert extents(patient.path, now) == patient.truth[other], other
    if remedy == "mended":
        middle = {"duplicate name": "b0-1", "name empty": "bitmap-1",
                  "name with NUL": "b-1"}.get(name, "b1")
        assert is_superset(extents(patient.path, middle), patient.truth["b1"])
        assert extents(patient.path, middle) == nbd_extents(patient.path, middle, tmp_path)
    assert len(names) >= len(kept)
    assert run("bitmap", "repair", patient.path).stdout == b"Nothing to change.\n"
    # QEMU opens it for writing again, and finds nothing wrong.
    tool("qemu-img", "bitmap", "--add", patient.path, "new")
    no_errors(patient.path)
    assert run("check", patient.path).returncode in (0, 3)


RECIPES = ["bad-bitmap-flags-all", "bad-bitmap-name-duplicate", "bad-bitmap-name-empty",
           "bad-bitmap-directory-size-long", "bad-bitmap-directory-size-zero",
           "bad-bitmap-directory-size-max", "bad-bitmap-table-shared", "bad-bitmap-type-255",
           "bad-bitmap-granularity-255", "bad-bitmaps-bit-without-extension",
           "bad-bitmaps-count-max", "bad-bitmap-entry-extra-max", "bad-bitmap-entry-name-cut",
           "bad-extension-bitmaps-length", "bad-extension-bitmaps-length-32",
           "bad-extension-duplicate-bitmaps", "good-bitmap-granularity-limits",
           "good-bitmap-extra-data", "good-bitmap-extra-data-unknown", "good-bitmap-names",
           "good-bitmap-autoclear-cleared", "good-bitmap-in-use-stale-size",
           "good-bitmap-ones-tail", "bad-bitmap-data-tail-same-byte",
           "bad-bitmap-data-tail-last-byte", "bad-bitmap-table-offset-max"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_forged(tmp_path, recipe):
    """Whatever is wrong with the bitmaps, QEMU opens what was repaired."""
    path = shutil.copyfile(recipe_image(recipe)[0], str(tmp_path / "a.qcow2"))
    repaired(path, "--drop-bad")
    tool("qemu-img", "bitmap", "--add", path, "new name")
    no_errors(path)
    # What it loads as all ones, QEMU stores with bits past the end.
    if recipe != "good-bitmap-ones-tail":
        assert run("check", path).returncode in (0, 3)


def test_inconsistent(tmp_path):
    """Without the bitmaps bit all are stale; they come back all dirty."""
    path = Patient(tmp_path).path
    done = run("edit", "--force", "--no-undo", path, "feature", "autoclear", "bitmaps", "off")
    assert done.returncode == 0, done
    assert info(path) == {}
    assert b"inconsistent" in bitmap(path, "list").stdout
    assert b"bitmaps bit is not set" in run("bitmap", "add", path, "x").stderr
    assert b"left as it is" in bitmap(path, "repair", code=4).stdout
    dropped = shutil.copyfile(path, str(tmp_path / "dropped.qcow2"))
    repaired(path, "--assume-dirty", "b0", "b2")
    assert {n: flags for n, (_, flags) in info(path).items()} == {
        "b0": ["auto"], "b1": ["auto", "in-use"], "b2": ["auto"]}
    assert nbd_extents(path, "b0", tmp_path) == [(0, 40 * M + 512, True)]
    tool("qemu-img", "check", path)
    repaired(dropped, "--drop-bad")
    assert b"no bitmaps" in bitmap(dropped, "list").stdout


def test_directory_all_zeros(tmp_path):
    """How many bitmaps there were is not known: none is said to be kept."""
    patient = Patient(tmp_path)
    patient.patch(patient.directory()[3], bytes(96))
    done = run("bitmap", "repair", patient.path)
    said = done.stderr.decode()
    # One cause, the way out and no other, and that the disk is not concerned.
    assert done.returncode == 1 and said.count("the bitmaps: ") == 1 and "bitmap 0" not in said
    assert "The bitmap directory is all zeros." in said and "nothing is lost" not in said
    assert "(--drop-bad)" in said and "--assume-dirty" not in said
    assert "the disk itself is sound" in said
    assert "dropped: nothing is known of what it was" in repaired(patient.path, "--drop-bad")
    assert info(patient.path) == {}
    no_errors(patient.path)


@pytest.mark.parametrize("flags", (0, 1))
@pytest.mark.parametrize("action", (("repair",), ("add", "new")), ids=lambda words: words[0])
def test_directory_in_a_guest_cluster(tmp_path, action, flags):
    """Where the directory's cluster is the guest's, too, not a byte of the guest's is written, and
    what the directory says is not believed."""
    path = create(str(tmp_path / "a.qcow2"), 64 * M)
    tool("qemu-io", "-c", "write -P 7 0 64k", path)
    tool("qemu-img", "bitmap", "--add", path, "b0")
    tool("qemu-img", "bitmap", "--add", path, "b1")
    patient = Patient.__new__(Patient)
    patient.path = path
    at, _, _, directory = patient.directory()
    l2 = patient.word(patient.word(40)) & 0x00fffffffffffe00
    patient.patch(l2 + 8, struct.pack(">Q", directory | 1 << 63))
    patient.patch(directory + 4 * K, b"\x55" * (60 * K))
    patient.patch(79, bytes((flags,)))
    if action[0] == "repair":
        patient.field("flags", 0x12)
    words = action
    if action[0] == "repair":
        refused = run("bitmap", "repair", "--no-undo", path)
        assert refused.returncode == 1 and refused.stderr.count(b"to be decided") == 2, refused
        words = ("repair", "--assume-dirty")
    assert run("bitmap", words[0], "--no-undo", "--force", path, *words[1:]).returncode == 0
    assert patient.directory()[3] != directory
    tool("qemu-io", "-r", "-c", "read -P 0x55 68k 60k", path)
    assert sorted(info(path)) == ["b0", "b1", "new"][:2 + (action[0] == "add")]


def test_inconsistent_dropped_without_leaks(tmp_path):
    path = Patient(tmp_path).path
    run("edit", "--force", "--no-undo", path, "feature", "autoclear", "bitmaps", "off")
    repaired(path, "--drop-bad")
    tool("qemu-img", "check", path)


@pytest.mark.parametrize("size", (256 * M + 100, 64 * K + 511, 513, 1023))
def test_size_that_is_no_sector(tmp_path, size):
    """QEMU's disks are whole sectors: what is made here is as long as it expects."""
    path = create(str(tmp_path / "a.qcow2"), size // 512 * 512)
    with open(path, "r+b") as stream:
        stream.seek(24)
        stream.write(struct.pack(">Q", size))
    whole = size // 512 * 512
    for name, granularity in (("fine", "512"), ("coarse", "64k")):
        changed(path, "add", "-g", granularity, name)
    assert sorted(info(path)) == ["coarse", "fine"]
    tool("qemu-io", "-c", f"write {whole - 512} 512", path)
    for name in ("fine", "coarse"):
        assert extents(path, name) == nbd_extents(path, name, tmp_path)
    changed(path, "merge", "coarse", "fine")
    assert extents(path, "fine") == nbd_extents(path, "fine", tmp_path)
    assert bitmap(path, "repair").stdout == b"Nothing to change.\n"
    assert run("check", path).returncode == 0
