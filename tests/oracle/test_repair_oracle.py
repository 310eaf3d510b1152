# SPDX-License-Identifier: MIT
# A bit that may have been dirty never comes out clean: images whose bitmaps have known bits are
# damaged, alone and in several places at once, and repaired in every way. What a repair leaves to
# be relied on must hold all that was written; QEMU is the witness.
"""bitmap repair against the truth."""
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess

import pytest

from tests.support.breadth import rounds
from tests.support.programs import run
from tests.support.qemu import create, nbd_extents, tool

K, M = 1 << 10, 1 << 20
# Many rounds, by hand: REPAIR_ROUNDS=1500 REPAIR_SEED=7; what fails is kept in /tmp then.
ROUNDS = rounds("REPAIR_ROUNDS", 24, 60)
SEED = int(os.environ.get("REPAIR_SEED", "0"))
WAYS = ([], ["--drop-bad"], ["--assume-dirty"], ["--assume-dirty", "--drop-bad"], "named")
OFFSET = 0x00fffffffffffe00
TABLE, SIZE, FLAGS, TYPE, GRANULARITY, NAME_SIZE, EXTRA = 0, 8, 12, 16, 17, 18, 20


class Image:
    """An image as bytes, and where its structures are."""

    def __init__(self, path):
        with open(path, "rb") as stream:
            self.raw = bytearray(stream.read())
        self.cluster = 1 << self.u32(20)
        self.raw += bytes(-len(self.raw) % self.cluster)
        self.bitmaps = {}  # name: where its entry is
        at = self.raw.find(struct.pack(">II", 0x23852875, 24), 0, self.cluster)
        if at < 0:
            return
        self.extension = at + 8
        self.count, _, self.size, self.directory = struct.unpack_from(">IIQQ", self.raw, at + 8)
        at = self.directory
        for _ in range(self.count):
            name_size, extra = struct.unpack_from(">HI", self.raw, at + NAME_SIZE)
            name = bytes(self.raw[at + 24 + extra:at + 24 + extra + name_size])
            self.bitmaps[name.decode(errors="replace")] = at
            at += 24 + extra + name_size + 7 & ~7

    def u32(self, at):
        return struct.unpack_from(">I", self.raw, at)[0]

    def u64(self, at):
        return struct.unpack_from(">Q", self.raw, at)[0]

    def put(self, form, at, value):
        struct.pack_into(">" + form, self.raw, at, value)

    def table(self, name):
        return self.u64(self.bitmaps[name] + TABLE)

    def entries(self, name):
        """Where the entries of its table are."""
        return [self.table(name) + 8 * i for i in range(self.u32(self.bitmaps[name] + SIZE))]

    def owned(self, name):
        """The clusters of a bitmap."""
        return [self.table(name)] + [self.u64(at) & OFFSET for at in self.entries(name)
                                     if self.u64(at) & OFFSET]

    def refcount(self, cluster):
        """Where a refcount of 16 bits is."""
        index = cluster // self.cluster
        block = self.u64(self.u64(48) + 8 * (index // (self.cluster // 2)))
        return block + 2 * (index % (self.cluster // 2)) if block else None

    def places(self):
        """Clusters of everything that is no bitmap's, and free ones."""
        l1, l1_size, reftable = self.u64(40), self.u32(36), self.u64(48)
        found = {0, l1, reftable, self.u64(reftable), self.directory}
        if self.u32(60):
            found |= {self.u64(64), self.u64(self.u64(64))}
        for l2 in (self.u64(l1 + 8 * i) & OFFSET for i in range(l1_size)):
            if not l2:
                continue
            found.add(l2)
            for entry in (self.u64(l2 + 8 * i) for i in range(self.cluster // 8)):
                if entry >> 62 & 1:
                    found.add((entry & (1 << 70 - self.u32(20)) - 1) & -self.cluster)
                elif entry & OFFSET:
                    found.add(entry & OFFSET)
        free = [at for at in range(0, len(self.raw), self.cluster)
                if self.refcount(at) is None or self.raw[self.refcount(at):][:2] == bytes(2)]
        return sorted(found), free

    def save(self, path):
        with open(path, "wb") as stream:
            stream.write(self.raw)


def write_at(path, ranges, pattern):
    tool("qemu-io", *[word for at, size in ranges
                      for word in ("-c", f"write -P {pattern} {at} {size}")], path)


# Cluster size, size of the disk, granularities.
SHAPES = [(512, 4 * M, (512, 512)), (512, 4 * M + 512, (512, 4 * K, 64 * K, 512)),
          (4 * K, 24 * M, (512, 64 * K, 4 * K)), (64 * K, 40 * M + 512, (4 * K, 512, 64 * K)),
          (1 * K, 8 * M, (512, 1 * K, 1 * K)), (512, 6 * M, (1 * K, 2 * K, 512, 512))]


def make(path, shape):
    """The image of a shape; what was written while each bitmap recorded it: the truth."""
    cluster, size, granularities = SHAPES[shape]
    numbers = random.Random(shape)
    plain = path + ".raw"
    create(path, size, f"cluster_size={cluster}")
    write_at(path, [(0, 64 * K), (size // 1024 * 512, 64 * K)], 1)
    # Compressed clusters, and a snapshot.
    with open(plain, "wb") as stream:
        stream.write(b"text " * (16 * K))
    tool("qemu-io", "-c", f"write -c -P 9 {size // 2048 * 1024 + 128 * K} {64 * K}", path)
    tool("qemu-img", "snapshot", "-c", "s", path)
    os.remove(plain)
    truth = {}
    # What was there before is free now: an old directory, old tables, old bits.
    for name in ("old", "older"):
        tool("qemu-img", "bitmap", "--add", "-g", str(granularities[0]), path, name)
    write_at(path, [(M, 40 * K)], 2)
    for name in ("old", "older"):
        tool("qemu-img", "bitmap", "--remove", path, name)
    for number, granularity in enumerate(granularities):
        name = f"b{number}"
        tool("qemu-img", "bitmap", "--add", "-g", str(granularity), path, name)
        truth[name] = []
        ranges = [(numbers.randrange(0, size // 512 - 64) * 512, numbers.choice((512, 20 * K)))
                  for _ in range(3)] + [(size - 1024, 512)] * (number % 2)
        write_at(path, ranges, number + 3)
        for known in truth.values():
            known += ranges
    return truth


@pytest.fixture(scope="module", name="bases")
def made(tmp_path_factory):
    """The images, made once, with their truths."""
    folder = tmp_path_factory.mktemp("bases")
    found = []
    for shape in range(len(SHAPES)):
        path = str(folder / f"{shape}.qcow2")
        truth = make(path, shape)
        tool("qemu-img", "check", path)
        found.append((path, truth, contents(path)))
    return found


def contents(path):
    """What the guest reads."""
    raw = path + ".contents"
    tool("qemu-img", "convert", "-O", "raw", path, raw)
    with open(raw, "rb") as stream:
        digest = hashlib.sha256(stream.read()).hexdigest()
    os.remove(raw)
    return digest


def is_covered(extents, ranges):
    """Whether all of the ranges is dirty; extents: (start, length, dirty)."""
    dirty = [(s, s + n) for s, n, d in extents if d]
    return all(any(a <= s and s + n <= b for a, b in dirty) for s, n in ranges)


def our_extents(path, name):
    done = run("bitmap", "extents", path, name, "-j")
    assert done.returncode == 0, done
    return [(e["start"], e["length"], e["dirty"]) for e in json.loads(done.stdout)]


def trusted(path):
    """The bitmaps that QEMU takes for good."""
    done = subprocess.run(["qemu-img", "info", "--output=json", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done
    shown = json.loads(done.stdout)["format-specific"]["data"].get("bitmaps", [])
    return [b["name"] for b in shown if "in-use" not in b["flags"]]


def is_sound(path, ours):
    """No corruption, as QEMU and, if wanted, we see it; space may be lost."""
    done = subprocess.run(["qemu-img", "check", path], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode in (0, 3), done
    done = run("check", path)
    assert not ours or done.returncode in (0, 3), done


def repair(path, known, way, nbd=None):
    """Repairs a copy, and looks at what comes of it. Returns the exit code."""
    truth, guest = known
    copy = path + ".copy"
    shutil.copyfile(path, copy)
    options = ["--assume-dirty", "b0"] if way == "named" else way
    done = run("bitmap", "repair", "--no-undo", copy, *options)
    assert done.returncode in (0, 1, 4), done
    if done.returncode == 1:
        with open(path, "rb") as one, open(copy, "rb") as other:
            assert one.read() == other.read()
        return 1
    is_sound(copy, done.returncode == 0 or relied_on(copy))
    for name in trusted(copy):
        # Others are new names: nobody looks for them.
        if name not in truth:
            continue
        assert is_covered(our_extents(copy, name), truth[name]), (name, way, done.stdout)
        if nbd:
            assert is_covered(nbd_extents(copy, name, nbd), truth[name]), (name, way)
    # Once more there is nothing to do.
    again = run("bitmap", "repair", copy, "-n")
    if way == "named" or done.returncode == 0:
        assert again.returncode == (4 if stale(copy) else 0), again
    else:
        assert again.returncode == 4, again
    assert again.stdout.endswith(b" warnings\n"), again
    assert b"Nothing to change." in again.stdout, again
    assert contents(copy) == guest
    return done.returncode


def relied_on(path):
    """Whether the header vouches for the bitmaps; else nothing that they say matters."""
    with open(path, "rb") as stream:
        return stream.read(96)[95] & 1 == 1


def stale(path):
    done = run("bitmap", "list", path, "-j")
    return any(b["state"] in ("in use", "inconsistent") for b in json.loads(done.stdout)["bitmaps"])


# ---- where entries and tables must not lead ----

def own_data(image, name):
    return [at for at in image.entries(name) if image.u64(at) & OFFSET]


def compressed_cluster(image):
    """The host cluster of a compressed cluster of the guest's."""
    for i in range(image.u32(36)):
        l2 = image.u64(image.u64(40) + 8 * i) & OFFSET
        for j in range(image.cluster // 8 if l2 else 0):
            entry = image.u64(l2 + 8 * j)
            if entry >> 62 & 1:
                return (entry & (1 << 70 - image.u32(20)) - 1) & -image.cluster
    return None


TARGETS = {
    "header": lambda i: 0,
    "L1": lambda i: i.u64(40),
    "L2": lambda i: i.u64(i.u64(40)) & OFFSET,
    "guest": lambda i: i.u64(i.u64(i.u64(40)) & OFFSET) & OFFSET,
    "refcount table": lambda i: i.u64(48),
    "refcount block": lambda i: i.u64(i.u64(48)),
    "snapshots": lambda i: i.u64(64),
    "snapshot's L1": lambda i: i.u64(i.u64(64)),
    "compressed": compressed_cluster,
    "directory": lambda i: i.directory,
    "other's table": lambda i: i.table("b0"),
    "other's data": lambda i: i.u64(own_data(i, "b0")[0]) & OFFSET,
    "own table": lambda i: i.table("b1"),
    "own data": lambda i: i.u64(own_data(i, "b1")[0]) & OFFSET,
    "free": lambda i: i.places()[1][0],
    "not aligned": lambda i: i.table("b1") + 512 if i.cluster > 512 else i.table("b1") + 8 << 1,
    "past the end": lambda i: 1 << 40,
}


# What else is wrong with the same bitmap, or with the extension.
HIDING = {
    "alone": lambda i: None,
    "reserved bit": lambda i: i.put("Q", i.entries("b1")[0], i.u64(i.entries("b1")[0]) | 2),
    "count": lambda i: i.put("I", i.extension, 1),
    "count and flags": lambda i: (i.put("I", i.extension, 1),
                                  i.put("I", i.bitmaps["b1"] + FLAGS, 0x12)),
    "in use": lambda i: i.put("I", i.bitmaps["b1"] + FLAGS, 3),
    "table size": lambda i: i.put("I", i.bitmaps["b1"] + SIZE,
                                  i.u32(i.bitmaps["b1"] + SIZE) + 1),
    "bit clear": lambda i: i.put("B", 95, 0),
}


def mislead(image, what, target):
    """Damages bitmap b1; false if that would be no damage."""
    to = TARGETS[target](image)
    if what == "table":
        at = image.bitmaps["b1"] + TABLE
    else:
        # The first of them is for what hides it.
        at = next(e for e in own_data(image, "b1")[1:] if image.u64(e) != to)
    if image.u64(at) == to:
        return False
    image.put("Q", at, to)
    return True


# Zeros say that all is clean, and of a table in data of its own nothing shows but a leak.
MISLED = [(what, target) for what in ("entry", "table") for target in TARGETS
          if (what, target) not in (("entry", "header"), ("table", "own data"), ("table", "own table"))]


@pytest.mark.parametrize("what, target", MISLED)
def test_misled(tmp_path, bases, what, target):
    """An entry, or the pointer to the table, leads to somebody else's cluster."""
    base, *known = bases[0]
    numbers = random.Random(what + target)
    hidings = ["alone"] + numbers.sample(list(HIDING)[1:], 1 if ROUNDS <= 60 else len(HIDING) - 1)
    for hiding in hidings:
        image = Image(base)
        HIDING[hiding](image)
        if not mislead(image, what, target):
            assert hiding != "alone"
            continue
        path = str(tmp_path / "a.qcow2")
        image.save(path)
        plain = repair(path, known, [])
        # One of the ways works, whatever it is.
        assert repair(path, known, ["--drop-bad"]) in (0, 4)
        if hiding == "alone":
            assert repair(path, known, ["--assume-dirty"]) == 0
            # A table that is somebody else's is a decision, one entry is not.
            assert plain == (what == "table" or "table" in target and "refcount" not in target)
            if ROUNDS > 60:
                repair(path, known, "named")


# ---- at random ----

class Faults:
    """Faults of one round. Some hide where something was: then nothing may be led there."""

    def __init__(self, image, numbers):
        self.image, self.numbers, self.said = image, numbers, []
        self.taken, self.free = image.places()
        self.name = numbers.choice(sorted(image.bitmaps))
        # As it was before: later faults do not follow earlier ones.
        self.entries = {name: image.entries(name) for name in image.bitmaps}
        self.owned = {name: image.owned(name) for name in image.bitmaps}
        self.unknown = set()  # bitmaps of which the damage tells nothing

    def entry(self):
        return self.numbers.choice(self.entries[self.name])

    def stray(self, own):
        """A place that is no cluster of a bitmap's, or one of another one's if own."""
        numbers, image = self.numbers, self.image
        if own:
            return numbers.choice(self.owned[numbers.choice(
                [name for name in sorted(image.bitmaps) if name != self.name])])
        return numbers.choice((numbers.choice(self.taken), numbers.choice(self.free or self.taken),
                               image.cluster * numbers.randrange(1, 1 << 30),
                               numbers.choice(self.taken) + 512 * numbers.randrange(1, 8)))

    def lead(self, at, own):
        to = self.stray(own)
        # Zeros say that all is clean, and nobody can tell that they are wrong.
        if to != 0 and to != self.image.u64(at):
            self.image.put("Q", at, to)

    # -- faults that hide nothing --

    def reserved(self):
        at = self.entry()
        self.image.put("Q", at, self.image.u64(at) |
                       1 << self.numbers.choice((1, 2, 8, 56, 57, 63)))

    def flags(self):
        self.image.put("I", self.image.bitmaps[self.name] + FLAGS,
                       self.numbers.getrandbits(32) & ~7 | self.numbers.choice((0, 1, 2, 3)))

    def count(self):
        self.image.put("I", self.image.extension, self.numbers.choice(
            (0, 1, self.image.count - 1, self.image.count + 1, self.numbers.getrandbits(32))))

    def reserved32(self):
        self.image.put("I", self.image.extension + 4, self.numbers.getrandbits(32))

    def in_use(self):
        self.image.put("I", self.image.bitmaps[self.name] + FLAGS, 3)

    def bit(self):
        self.image.put("B", 95, 0)

    def refcount(self):
        at = self.image.refcount(self.numbers.choice(self.owned[self.name]))
        self.image.put("H", at, self.numbers.choice((0, 2, 3)))

    def padding(self):
        at = self.image.bitmaps[self.name]
        self.image.put("B", at + 31, self.numbers.randrange(1, 256))

    def tail(self):
        """Bits past the end, if the last entry has data."""
        last = self.image.u64(self.entries[self.name][-1]) & OFFSET
        if last in self.owned[self.name]:
            at = last + self.image.cluster - 1
            self.image.put("B", at, self.image.raw[at] | 1 << self.numbers.randrange(8))

    # -- faults that hide where something was --

    def table_size(self):
        self.image.put("I", self.image.bitmaps[self.name] + SIZE, self.numbers.choice(
            (0, 1, 2, 3, 1 << 16, self.numbers.getrandbits(32))))

    def granularity(self):
        at = self.image.bitmaps[self.name]
        value = self.numbers.choice((self.numbers.randrange(64), self.numbers.randrange(256)))
        needed = -(-self.image.u64(24) // 512 * 512 // (1 << min(value, 63)) // 8
                   // self.image.cluster)
        # Where the table would be just as long, nothing shows that it is wrong.
        if value < 64 and needed == self.image.u32(at + SIZE):
            self.unknown.add(self.name)
        self.image.put("B", at + GRANULARITY, value)

    def kind(self):
        self.image.put("B", self.image.bitmaps[self.name] + TYPE, self.numbers.randrange(256))

    def name_size(self):
        self.image.put("H", self.image.bitmaps[self.name] + NAME_SIZE, self.numbers.choice(
            (0, 1, 3, 8, 10, 34, 42, self.numbers.getrandbits(16))))

    def extra(self):
        self.image.put("I", self.image.bitmaps[self.name] + EXTRA, self.numbers.choice(
            (1, 8, 32, 64, self.numbers.getrandbits(32))))

    def hole(self):
        at = self.image.bitmaps[self.name]
        self.image.raw[at:at + 32] = bytes(32)

    def size(self):
        self.image.put("Q", self.image.extension + 8, self.numbers.choice(
            (0, 8, 32, 33, 64, 96, 128, 160, 4096, self.numbers.getrandbits(64))))

    def directory(self):
        self.lead(self.image.extension + 16, self.numbers.random() < 0.3)

    def noise(self):
        """Some bytes of an entry of the directory, but for its name."""
        at = self.image.bitmaps[self.name]
        for _ in range(self.numbers.randrange(1, 5)):
            where = self.numbers.choice([i for i in range(24) if i not in range(12, 16)])
            if where == GRANULARITY:
                self.granularity()
            elif where >= 16:
                self.image.put("B", at + where, self.numbers.randrange(256))
            else:
                self.image.put("B", at + where, self.numbers.randrange(256))

    def renamed(self):
        """It has another's name now."""
        at = self.image.bitmaps[self.name] + 24
        self.image.raw[at:at + 2] = self.numbers.choice(sorted(self.image.bitmaps)).encode()

    def stray_entry(self):
        self.lead(self.entry(), False)

    def stray_table(self):
        self.lead(self.image.bitmaps[self.name] + TABLE, False)


HIDE_NOTHING = ("reserved", "flags", "count", "reserved32", "in_use", "bit", "refcount", "padding",
                "tail")
HIDE = ("table_size", "granularity", "kind", "name_size", "extra", "hole", "size", "directory",
        "noise", "stray_entry", "stray_table")


def damage(image, numbers):
    """One to three faults; what they were, and the bitmaps of which they tell nothing."""
    faults = Faults(image, numbers)
    words = []
    # What leads to a bitmap's cluster shows only while this bitmap can be found itself.
    pool = HIDE_NOTHING if numbers.random() < 0.4 else HIDE_NOTHING + HIDE
    for _ in range(numbers.randrange(1, 4)):
        faults.name = numbers.choice(sorted(image.bitmaps))
        words.append(numbers.choice(pool))
        getattr(faults, words[-1])()
    if pool is HIDE_NOTHING:
        faults.name = numbers.choice(sorted(image.bitmaps))
        what = numbers.choice(("entry", "table", "renamed", "nothing"))
        words.append(what)
        if what == "renamed":
            faults.renamed()
        elif what != "nothing":
            faults.lead(faults.entry() if what == "entry"
                        else image.bitmaps[faults.name] + TABLE, True)
    return words, faults.unknown


def one_round(number, bases, folder):
    numbers = random.Random(f"{SEED} {number}")
    base, truth, guest = bases[number % len(bases)]
    image = Image(base)
    words, unknown = damage(image, numbers)
    path = str(folder / "a.qcow2")
    image.save(path)
    known = {name: ranges for name, ranges in truth.items() if name not in unknown}, guest
    way = WAYS[number // len(bases) % len(WAYS)]
    try:
        code = repair(path, known, way, folder if number % 10 == 0 else None)
        if code == 1:
            assert way != ["--assume-dirty", "--drop-bad"]
            assert repair(path, known, ["--drop-bad"]) in (0, 4)
    except AssertionError as error:
        kept = f"/tmp/repair-{SEED}-{number}.qcow2"
        if ROUNDS > 60:
            shutil.copyfile(path, kept)
        raise AssertionError(f"round {number} of seed {SEED}: {words} {way}: {error}") from error
    return code


def test_random(tmp_path, bases):
    codes = [one_round(number, bases, tmp_path) for number in range(ROUNDS)]
    # All ends occur: repaired, refused, stale.
    assert {0, 1, 4} <= set(codes)
