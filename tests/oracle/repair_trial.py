# SPDX-License-Identifier: MIT
# Damages images that QEMU made and repairs copies of each: one with "qemu-img check -r all", one with
# "qcow2 repair". What QEMU reads of every disk before and after is compared with what the guest had
# written. Run it by hand for large numbers:
#
#	python3 -B -m tests.oracle.repair_trial random -n 5000
#	python3 -B -m tests.oracle.repair_trial classes -n 200
"""Trials of repair against qemu-img check -r all."""
import argparse
import concurrent.futures
import functools
import glob
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile

from tests.support.programs import RELEASE

SECTOR = 512
DISK = 3 << 20
MUCH = 64 << 20  # what is longer is not compared
# What qemu-img create is told, and a word for it.
KINDS = [
    "cluster_size=4k", "cluster_size=512", "cluster_size=64k", "cluster_size=2M",
    "compat=0.10,cluster_size=4k", "compat=0.10,cluster_size=64k",
    "extended_l2=on,cluster_size=16k", "cluster_size=4k,refcount_bits=1",
    "cluster_size=4k,refcount_bits=2", "cluster_size=4k,refcount_bits=8",
    "cluster_size=1k,refcount_bits=64", "compression_type=zstd,cluster_size=4k",
    "cluster_size=4k,lazy_refcounts=on", "cluster_size=4k,data_file=FILE",
]
CLASSES = ("header", "l1", "l2", "reftable", "refcounts", "snapshots", "directory")
MOST = 1 << 13  # entries of a table of a damaged image that are damaged further
OFFSET = 0x00fffffffffffe00


def qemu(*words):
    try:
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=5, check=False).returncode
    except subprocess.TimeoutExpired:
        return 124


def command():
    return RELEASE


def read(path, most=-1):
    with open(path, "rb") as stream:
        return stream.read(most)


class Base:
    """An image that QEMU made, with what each of its disks holds."""
    longest = DISK  # what is compared of the active disk, whose size may be damaged

    def __init__(self, folder, number, seed):
        self.random = random.Random(seed)
        self.path = os.path.join(folder, f"base-{number}.qcow2")
        kind = KINDS[number % len(KINDS)]
        self.kind = kind
        self.has_data_file = "FILE" in kind
        kind = kind.replace("FILE", self.path + ".data")
        self.check("qemu-img", "create", "-q", "-f", "qcow2", "-o", kind, self.path, str(DISK))
        self.version3 = "compat=0.10" not in kind
        self.write()
        self.snapshots = []
        if not self.has_data_file and "refcount_bits=1," not in kind + ",":
            for name in ("one", "two")[:self.random.randrange(3)]:
                # A packed compressed cluster may have more references than narrow refcounts say.
                if qemu("qemu-img", "snapshot", "-c", name, self.path) == 0:
                    self.snapshots.append(name)
                self.write()
        if self.version3 and self.random.random() < 0.7:
            for name in ("a", "b"):
                self.check("qemu-img", "bitmap", "--add", "-g", "4k", self.path, name)
                self.write()
        self.note()

    def note(self):
        """What the image is before any damage."""
        self.bytes = read(self.path)
        self.truth = disks(self.path, self.snapshots, self.longest)
        assert all(content is not None for content in self.truth)

    @functools.cached_property
    def sectors(self):
        """Where sectors with data are, for each disk."""
        return [[at for at in range(0, len(truth), SECTOR) if truth[at:at + SECTOR].strip(b"\0")]
                for truth in self.truth]

    @functools.cached_property
    def places(self):
        """For each disk and each of its sectors with data: where that is in the file, if anywhere."""
        return [self.places_of(name, sectors)
                for name, sectors in zip([None, *self.snapshots], self.sectors)]

    def places_of(self, name, sectors):
        words = ["--snapshot", name] if name else []
        done = subprocess.run([command(), "map", "-j", *words, self.path], stdout=subprocess.PIPE,
                              check=True)
        known = {}
        for extent in json.loads(done.stdout):
            if "offset" in extent and not self.has_data_file:
                for at in range(0, extent["length"], SECTOR):
                    known[extent["start"] + at] = extent["offset"] + at
        return [known.get(at) for at in sectors]

    def check(self, *words):
        assert qemu(*words) == 0, words

    def write(self):
        """Some writes, so that most of the disk is data."""
        commands = []
        for _ in range(self.random.randrange(2, 6)):
            start = self.random.randrange(0, DISK, 4096)
            length = min(self.random.choice((4096, 65536, 1 << 19, 1 << 20)), DISK - start)
            # No two sectors are alike, so that one that is read in the place of another shows.
            pattern = f"{self.path}.pattern-{len(commands)}"
            with open(pattern, "wb") as stream:
                stream.write(self.random.randbytes(length))
            commands += ["-c", f"write -s {pattern} {start} {length}"]
        if not self.has_data_file and self.random.random() < 0.5:
            cluster = int.from_bytes(read(self.path)[20:24], "big")
            start = self.random.randrange(0, DISK >> cluster) << cluster
            length = min(4 << cluster, DISK - start)
            # It fails where there is data already.
            qemu("qemu-io", "-f", "qcow2", "-c",
                 f"write -c -P {self.random.randrange(1, 256)} {start} {length}", self.path)
        if self.version3 and self.random.random() < 0.5:
            commands += ["-c", f"write -z {self.random.randrange(0, DISK, 65536)} 65536"]
        self.check("qemu-io", "-f", "qcow2", *commands, self.path)
        for pattern in glob.glob(f"{self.path}.pattern-*"):
            os.remove(pattern)

    def number(self, offset, size=8):
        return int.from_bytes(self.bytes[offset:offset + size], "big")


def virtual_size(path):
    with open(path, "rb") as stream:
        return int.from_bytes(stream.read(32)[24:], "big")


def disks(path, snapshots, longest=DISK):
    """What QEMU reads of the active disk and of each snapshot; None: it cannot be opened."""
    raw, contents = path + ".raw", []
    for name in [None, *snapshots]:
        words = [*(["-l", f"snapshot.name={name}"] if name else []), "-f", "qcow2", path]
        if not name and virtual_size(path) > longest:
            words = ["--image-opts", f"driver=raw,size={longest},file.driver=qcow2,"
                     f"file.file.driver=file,file.file.filename={path}"]
        code = qemu("qemu-img", "convert", "--salvage", "-O", "raw", *words, raw)
        # The size of a snapshot's disk may be damaged.
        contents.append(read(raw, MUCH) if code == 0 else None)
        if os.path.exists(raw):
            os.remove(raw)
    return contents


def right(truth, sectors, content):
    """A list that says of each sector with data whether it reads as it was written."""
    if content == truth:
        return [True] * len(sectors)
    if content is None:
        content = b""
    return [content[at:at + SECTOR] == truth[at:at + SECTOR] for at in sectors]


class Refcounts:
    """What the refcounts of an image say."""

    def __init__(self, content):
        def number(offset, size=8):
            return int.from_bytes(content[offset:offset + size], "big")
        self.content, self.number = content, number
        self.cluster = number(20, 4) if number(20, 4) < 22 else 16
        self.width = 1 << min(6, number(96, 4)) if number(4, 4) > 2 else 16
        self.table, self.table_bytes = number(48), number(56, 4) << self.cluster

    def of(self, place):
        index, at = divmod(place >> self.cluster, (8 << self.cluster) // self.width)
        block = self.number(self.table + 8 * index) if 8 * index < self.table_bytes else 0
        if not block:
            return 0
        at *= self.width
        if self.width < 8:
            return self.number(block + at // 8, 1) >> at % 8 & (1 << self.width) - 1
        return self.number(block + at // 8, self.width // 8)


# ---- damages ----

class Damage:
    """A copy of an image, to be damaged."""

    def __init__(self, base, chance):
        self.base, self.random = base, chance
        self.bytes = bytearray(base.bytes)
        self.cluster = 1 << base.number(20, 4)
        self.entry = 16 if base.version3 and base.number(72) & 16 else 8

    def number(self, offset, size=8):
        return int.from_bytes(self.bytes[offset:offset + size], "big")

    def put(self, offset, value, size=8):
        """Earlier damage may have led to an offset that the file does not have."""
        if offset + size <= len(self.bytes):
            self.bytes[offset:offset + size] = value.to_bytes(size, "big")

    def l1_places(self):
        return [self.number(40) + 8 * i for i in range(min(self.number(36, 4), MOST))] or [0]

    def l2_places(self):
        """Where the entries of L2 tables of the active image are."""
        tables = {self.number(at) & OFFSET for at in self.l1_places()}
        return [[table + at for at in range(0, self.cluster, self.entry)]
                for table in sorted(tables) if table]

    def blocks(self):
        table = self.number(48)
        entries = min(self.number(56, 4) * self.cluster // 8, MOST)
        return [b for b in (self.number(table + 8 * i) for i in range(entries)) if b]

    def directory(self):
        """Offset and size of the bitmap directory, or None."""
        at = self.number(100, 4) if self.base.version3 else 72
        while at + 8 <= self.cluster:
            magic, length = self.number(at, 4), self.number(at + 4, 4)
            if magic == 0:
                return None
            if magic == 0x23852875:
                return self.number(at + 24), self.number(at + 16)
            at += 8 + (length + 7) // 8 * 8
        return None

    def garbage(self, offset, size):
        how = self.random.randrange(4)
        if offset + size > len(self.bytes):
            return
        if how == 0:
            self.bytes[offset:offset + size] = bytes(size)
        elif how == 1:
            self.bytes[offset:offset + size] = self.random.randbytes(size)
        elif how == 2:
            self.bytes[offset:offset + size] = b"\xff" * size
        else:
            at = offset + self.random.randrange(size)
            self.bytes[at] ^= 1 << self.random.randrange(8)

    # One word, in some way in which words go wrong.
    def word(self, offset):
        value, bits = self.number(offset), self.random.randrange
        choice = bits(9)
        if choice == 0:
            value = 0
        elif choice == 1:
            value = self.random.getrandbits(64)
        elif choice == 2:
            value ^= 1 << bits(64)
        elif choice == 3:
            value = value & ~OFFSET | bits(0, len(self.bytes), self.cluster)
        elif choice == 4:
            value |= bits(1, self.cluster)
        elif choice == 5:
            value += len(self.bytes)
        elif choice == 6:
            value ^= 1 << 63
        elif choice == 7:
            value |= 1
        else:
            value = value & ~OFFSET | self.number(self.random.choice(self.l1_places())) & OFFSET
        self.put(offset, value & (1 << 64) - 1)

    def random_damage(self):
        """Up to three faults, of any structure."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            getattr(self, "random_" + self.random.choice(
                ("l1", "l2", "l2", "l2", "block", "reftable", "header", "cut", "table",
                 "snapshot", "directory", "bits")))()

    def random_l1(self):
        self.word(self.random.choice(self.l1_places()))

    def random_l2(self):
        tables = self.l2_places()
        if tables:
            table = self.random.choice(tables)
            for _ in range(self.random.choice((1, 1, 2, 8))):
                self.word(self.random.choice(table))

    def random_block(self):
        blocks = self.blocks()
        if blocks:
            block = self.random.choice(blocks)
            at = block + self.random.randrange(min(self.cluster, 512))
            self.garbage(at, self.random.choice((1, 2, 8, 64)))

    def random_reftable(self):
        self.word(self.number(48))

    def random_header(self):
        if self.random.randrange(3):
            at = self.random.choice((40, 48, 64, 8))
            self.word(at)
        else:
            self.garbage(self.random.choice((16, 20, 24, 32, 36, 56, 60, 96, 100)), 4)

    def random_cut(self):
        size = self.random.randrange(len(self.bytes) // 2, len(self.bytes))
        del self.bytes[size:]

    def random_table(self):
        """Garbage over a whole table."""
        offset = self.random.choice([self.number(40), self.number(48), *self.blocks(),
                                     *(t[0] for t in self.l2_places())])
        self.garbage(offset, self.random.choice((64, 512, self.cluster)))

    def random_snapshot(self):
        if self.number(60, 4):
            self.garbage(self.number(64) + self.random.randrange(72), self.random.choice((1, 8)))

    def random_directory(self):
        found = self.directory()
        if found:
            self.garbage(found[0] + self.random.randrange(max(1, found[1])), 1)

    def random_bits(self):
        if self.base.version3:
            self.bytes[79] |= self.random.choice((1, 2, 3))

    # The classes of the table in docs/repair.md.
    def class_header(self):
        self.bytes[0:104] = bytes(104)

    def class_l1(self):
        self.garbage_of(self.number(40), 8 * self.number(36, 4))

    def class_l2(self):
        places = [at for table in self.l2_places() for at in table]
        for at in places:
            if self.random.randrange(10) == 0:
                self.word(at)

    def class_reftable(self):
        self.garbage_of(self.number(48), self.cluster * self.number(56, 4))

    def class_refcounts(self):
        for block in self.blocks():
            self.garbage_of(block, self.cluster)

    def class_snapshots(self):
        for _ in range(3):
            self.random_snapshot()

    def class_directory(self):
        found = self.directory()
        if found:
            for _ in range(3):
                self.garbage(found[0] + self.random.randrange(max(1, found[1])), 1)

    def garbage_of(self, offset, size):
        """Zeros or noise over all of a structure."""
        if offset + size <= len(self.bytes):
            self.bytes[offset:offset + size] = (
                bytes(size) if self.random.randrange(2) else self.random.randbytes(size))

    def suits(self, name):
        if name == "snapshots":
            return bool(self.base.snapshots)
        return name != "directory" or self.directory() is not None


# ---- one trial ----

REPAIR = [["repair", "--all", "--yes"]]
RESCUE = [["rescue", "--apply"], *REPAIR]
# What the guards and the proof say of a plan that they refuse.
REFUSALS = (b"refused: ", b"no step of the repair says so")
FREE_LOST = ["repair", "--all", "--free-lost", "--yes"]


def run_ours(path, words):
    """The exit code of a command of ours; none may crash."""
    done = subprocess.run([command(), *words, path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode in (0, 1, 2, 3, 63), (words, done)
    return done


class Judge:
    """What QEMU says of an image, asked once for the same bytes."""

    def __init__(self, snapshots, longest=DISK):
        self.snapshots, self.longest = snapshots, longest
        self.known = {}

    def __call__(self, path):
        """Whether it is sound, and its disks."""
        content = read(path, MUCH)
        if len(content) == MUCH:
            self.known.pop(content, None)
        if content not in self.known:
            sound = qemu("qemu-img", "check", "-q", "-f", "qcow2", path) == 0
            self.known[content] = sound, disks(path, self.snapshots, self.longest)
        return self.known[content]


def share_of(base, before, after_qemu, after_ours):
    """How many sectors read right before, after qemu-img and after ours."""
    total = kept = theirs = mine = lost = saved = 0
    for truth, sectors, *disk in zip(base.truth, base.sectors, before, after_qemu, after_ours):
        for x, y, z in zip(*(right(truth, sectors, content) for content in disk)):
            kept, theirs, mine = kept + x, theirs + y, mine + z
            lost += not z and (y or x)
            saved += z and not y
        total += len(sectors)
    return {"total": total, "before": kept, "qemu": theirs, "ours": mine, "lost": lost,
            "saved": saved}


def is_lone(base, damaged, offset):
    """
    Whether an entry that led to a cluster became zero, and its neighbours did not: that leaves no
    trace. What is freed then may be any leak.
    """
    entry, at = offset.to_bytes(8, "big")[1:], -1
    while (at := base.bytes.find(entry, at + 1)) >= 0:
        around = damaged[at & ~511:(at | 511) + 1]
        if at % 8 == 1 and damaged[at - 1:at + 7] == bytes(8) and around.strip(b"\0"):
            return True
    return False


def freed_of(base, damaged, repaired, *contents):
    """
    How many sectors that can be read neither before nor after, and that the damage left in the file,
    are in clusters that became free. contents: all disks, before and after.
    """
    counts, freed, clusters = Refcounts(repaired), 0, {}
    for truth, sectors, places, *disk in zip(base.truth, base.sectors, base.places, *contents):
        rights = [right(truth, sectors, content) for content in disk]
        for at, place, *reads in zip(sectors, places, *rights):
            sector = truth[at:at + SECTOR]
            if place is None or any(reads) or damaged[place:place + SECTOR] != sector:
                continue
            cluster = place >> counts.cluster
            if cluster not in clusters:
                clusters[cluster] = (counts.of(place) == 0 and
                                     not is_lone(base, damaged, cluster << counts.cluster))
            freed += clusters[cluster]
    return freed


def repair(path, steps):
    """
    The exit codes of the commands, their undo files, whether a plan of theirs was refused, and the
    image as it is unless somebody insists.
    """
    exits, undos, refused, content = [], [], False, None
    # Leaks that may be lost data stay unless somebody insists.
    for number, words in enumerate([*steps, FREE_LOST]):
        if words is FREE_LOST:
            content = read(path, MUCH)
            if exits[-1] != 3:
                break
        undo_file = f"{path}.undo-{number}"
        done = run_ours(path, [*words, f"--undo-file={undo_file}"])
        exits.append(done.returncode)
        refused |= any(text in done.stderr for text in REFUSALS)
        if os.path.exists(undo_file):
            undos.append(undo_file)
    return exits, undos, refused, content


def undo(path, undos, before):
    """Whether the undo files bring back the bytes before, and whether that took --exact."""
    after = {name: read(name) for name in (path, *undos)}
    # A later undo file proves that no guest wrote to the image in between.
    for undo_file in reversed(undos):
        run_ours(undo_file, ["undo"])
    exact = read(path) != before
    # What a guest may have written since is not believed, unless somebody insists.
    if exact:
        for name, content in after.items():
            with open(name, "wb") as stream:
                stream.write(content)
        for undo_file in reversed(undos):
            run_ours(undo_file, ["undo", "--exact"])
    return {"exact": exact, "undone": read(path) == before}


def trial(base, damage, folder, steps):
    """What becomes of one damaged image. steps: commands of ours, in their order."""
    paths = {who: os.path.join(folder, f"{who}.qcow2") for who in ("qemu", "ours")}
    for path in paths.values():
        with open(path, "wb") as stream:
            stream.write(damage.bytes)
    judge = Judge(base.snapshots, base.longest)
    # All copies of the image name the same data file.
    saved = read(base.path + ".data") if base.has_data_file else None
    was_sound, before = judge(paths["qemu"])
    qemu("qemu-img", "check", "-q", "-r", "all", "-f", "qcow2", paths["qemu"])
    qemu_sound, after_qemu = judge(paths["qemu"])
    exits, undos, refused, content = repair(paths["ours"], steps)
    ours_sound, after_ours = judge(paths["ours"])
    result = {"kind": base.kind, "was-sound": was_sound, "qemu-sound": qemu_sound, "exits": exits,
              "ours-sound": ours_sound, "refused": refused,
              "ours-check": run_ours(paths["ours"], ["check", "-j"]).returncode}
    result.update(undo(paths["ours"], undos, bytes(damage.bytes)))
    if saved is not None:
        assert read(base.path + ".data") == saved
    result.update(share_of(base, before, after_qemu, after_ours))
    # What is still corrupt may have no refcounts yet.
    result["freed"] = 0
    if exits[len(steps) - 1] in (0, 3):
        result["freed"] = freed_of(base, damage.bytes, content, before, after_ours)
    return result


def one(folder, seed, name, bases, steps):
    """A trial by its seed, so that any can be repeated alone."""
    chance = random.Random(seed)
    base = bases[chance.randrange(len(bases))]
    damage = Damage(base, chance)
    while name and not damage.suits(name):
        base = bases[chance.randrange(len(bases))]
        damage = Damage(base, chance)
    if name:
        getattr(damage, "class_" + name)()
    else:
        damage.random_damage()
    if name == "header":
        steps = name_data_file(steps, base)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        result = trial(base, damage, own, steps)
    result.update({"seed": seed, "class": name or "random"})
    return result


def steps_of(name):
    """The commands for a class of damage."""
    return RESCUE if name in ("header", "l1") else REPAIR


def name_data_file(steps, base):
    """The same commands, where the header is lost and with it the name of the data file."""
    if not base.has_data_file:
        return steps
    return [[*words, f"--data-file={base.path}.data"] if words[0] == "rescue" else words
            for words in steps]


def complaints(result):
    """What a repair must not do."""
    said = []
    if result["qemu-sound"] and not result["ours-sound"]:
        said.append("qemu-img makes it sound, repair does not")
    if result["lost"]:
        said.append(f"{result['lost']} sectors are lost that could be read")
    if result["freed"]:
        said.append(f"{result['freed']} sectors that may be found again are given away")
    if result["refused"]:
        said.append("it refuses what it planned itself")
    if not result["undone"]:
        said.append("undo does not bring it back")
    if (result["exits"][-1] == 0) != (result["ours-check"] == 0):
        said.append("the exit code is not that of a check")
    if result["ours-check"] == 0 and not result["ours-sound"]:
        said.append("qemu-img does not call it sound, check does")
    return said


def make_bases(folder, count, seed):
    return [Base(folder, number, seed * 1000 + number) for number in range(count)]


def prepare(*arguments):
    """Keeps in a new process what its trials share."""
    global SHARED
    SHARED = arguments


def at_seed(seed):
    folder, *arguments = SHARED
    return one(folder, seed, *arguments)


def run(shared, seeds, jobs):
    """An iterator of results. shared: arguments of one() but for the seed."""
    with concurrent.futures.ProcessPoolExecutor(
            jobs, multiprocessing.get_context("fork"), prepare, shared) as pool:
        waiting = [pool.submit(at_seed, seed) for seed in seeds]
        for done in concurrent.futures.as_completed(waiting):
            yield done.result()


def summary(results):
    def share(key):
        return 100 * sum(r[key] for r in results) / max(1, sum(r["total"] for r in results))
    return {
        "images": len(results),
        "damaged": sum(not r["was-sound"] for r in results),
        "read before": share("before"), "read after qemu-img": share("qemu"),
        "read after repair": share("ours"),
        "sound after qemu-img": sum(r["qemu-sound"] for r in results),
        "sound after repair": sum(r["ours-sound"] for r in results),
        "qemu-img loses, repair does not": sum(r["saved"] > 0 for r in results),
        "qemu-img fails, repair succeeds": sum(r["ours-sound"] and not r["qemu-sound"]
                                               for r in results),
        "whole": sum(r["ours"] == r["total"] for r in results),
        "undone with --exact alone": sum(r["exact"] for r in results),
        "complaints": sum(bool(complaints(r)) for r in results),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("random", "classes", *CLASSES))
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--bases", type=int, default=28)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-j", type=int, default=2)
    parser.add_argument("--default", action="store_true", help="repair without --all")
    arguments = parser.parse_args()
    names = CLASSES if arguments.what == "classes" else [
        None if arguments.what == "random" else arguments.what]
    folder = tempfile.mkdtemp(prefix="repair-trial-", dir="/dev/shm")
    try:
        bases = make_bases(folder, arguments.bases, arguments.seed)
        for name in names:
            steps = steps_of(name)
            if arguments.default:
                steps = [[word for word in words if word != "--all"] for words in steps]
            results = []
            seeds = range(arguments.first, arguments.first + arguments.n)
            for result in run((folder, name, bases, steps), seeds, arguments.j):
                results.append(result)
                for text in complaints(result):
                    print(f"seed {result['seed']} ({result['kind']}): {text}", json.dumps(result))
                    sys.stdout.flush()
            print(name or "random", json.dumps(summary(results), indent=2))
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
