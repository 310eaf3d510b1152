# SPDX-License-Identifier: MIT
# Trials of repair with heavy damage: many faults at once, noise in tables, pointers into each other's
# tables, tables that are shared. Here nothing is compared with the guest's data: a repair has to be
# one that its own guards and its own proof let pass, that finds nothing more to do when it is asked
# again, that can be undone, and whose result QEMU calls sound if it does itself. By hand:
#
#	python3 -B -m tests.oracle.heavy_trial -n 5000
#
# --keep=FOLDER keeps the images that there are complaints about.
"""Trials of repair with heavy damage."""
import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile

from tests.oracle.repair_trial import MOST, OFFSET, Damage, command, make_bases, qemu, read

OPTIONS = [["--all"], ["--all"], ["--all"], [], [], ["--all", "--drop-bad-bitmaps"],
           ["--all", "--free-lost"], ["--only=mapping"], ["--only=refcounts"],
           ["--only=snapshots"], ["--only=bitmaps"], ["--only=header"],
           ["--only=cluster-owners"], ["--only=mapping,snapshots"], ["--leaks"],
           ["--all", "--drop-snapshot=#0"]]
# What is no fault of the repair: it says why it does nothing at all.
FAIR = (b"incompatible features", b"larger than any program", b"no snapshot has",
        b"more than one snapshot", b"qcow2 rescue")
SECONDS = 120


class Heavy(Damage):
    """A copy of an image, to be damaged all over."""

    def snapshots(self):
        """Where the entries of the snapshot table are, as far as they can be told."""
        at, places = self.number(64), []
        for _ in range(min(self.number(60, 4), 4)):
            places.append(at)
            size = 40 + self.number(at + 36, 4) + self.number(at + 12, 2) + self.number(at + 14, 2)
            at += (size + 7) // 8 * 8
        return [place for place in places if place + 40 <= len(self.bytes)]

    def structures(self):
        """Offsets of all structures."""
        found = [0, self.number(40), self.number(48), self.number(64), *self.blocks()]
        found += [self.number(at) for at in self.snapshots()]
        found += [table[0] for table in self.l2_places()]
        directory = self.directory()
        if directory:
            found += [directory[0], self.number(directory[0])]
        return [at for at in found if at < len(self.bytes)]

    def pointers(self):
        """Where the words are that lead to something."""
        found = [40, 48, 64, self.number(48), *self.l1_places(), *self.snapshots()]
        found += [self.number(at) & OFFSET for at in self.snapshots()]
        directory = self.directory()
        if directory:
            found += [directory[0], self.number(directory[0])]
        for table in self.l2_places()[:8]:
            found += table[:min(len(table), MOST)]
        return found

    def heavy_damage(self):
        """Many faults, of any structure."""
        for _ in range(self.random.choice((2, 3, 4, 6, 9))):
            getattr(self, self.random.choice((
                "random_damage", "noise", "noise", "point", "point", "share", "swap", "fields",
                "count", "repeat")))()

    def noise(self):
        """Random bytes in some structure."""
        at = self.random.choice(self.structures()) + 8 * self.random.randrange(16)
        size = self.random.choice((1, 4, 8, 8, 16, 64))
        if 8 <= at and at + size <= len(self.bytes):
            self.bytes[at:at + size] = self.random.randbytes(size)

    def point(self):
        """A pointer leads to another structure, or into it."""
        at = self.random.choice(self.pointers())
        to = self.random.choice(self.structures())
        to += self.random.choice((0, 0, 0, 512, self.cluster, 8))
        self.put(at, self.number(at) & ~OFFSET | to)

    def share(self):
        """Two pointers are the same."""
        pointers = self.pointers()
        self.put(self.random.choice(pointers), self.number(self.random.choice(pointers)))

    def swap(self):
        """Two pieces of structures change places."""
        one, other = (self.random.choice(self.structures()) for _ in range(2))
        size = self.random.choice((8, 16, 64, 512))
        if min(one, other) >= 8 and max(one, other) + size <= len(self.bytes):
            self.bytes[one:one + size], self.bytes[other:other + size] = (
                self.bytes[other:other + size], self.bytes[one:one + size])

    def fields(self):
        """A field of the header, of a snapshot or of the bitmaps' extension."""
        places = [8, 16, 20, 24, 32, 36, 56, 60, 72, 76, 80, 88, 92, 96, 100]
        places += [at + field for at in self.snapshots() for field in (0, 8, 12, 16, 32, 36, 48)]
        places += [at for at in range(104, 144, 4)]
        at = self.random.choice(places)
        value = self.random.choice((0, 1, 2, 1 << 31, 0xffffffff, self.random.getrandbits(32),
                                    self.number(at, 4) ^ 1 << self.random.randrange(32)))
        self.put(at, value & 0xffffffff, 4)

    def count(self):
        """Refcounts of a part of a block."""
        blocks = self.blocks()
        if blocks:
            at = self.random.choice(blocks) + self.random.randrange(min(self.cluster, 512))
            self.garbage(at, self.random.choice((2, 8, 64)))

    def repeat(self):
        """One word fills a part of a structure."""
        at = self.random.choice(self.structures()) + 8 * self.random.randrange(8)
        word = self.number(self.random.choice(self.pointers())).to_bytes(8, "big")
        for place in range(at, at + 8 * self.random.choice((2, 4, 16)), 8):
            if 8 <= place and place + 8 <= len(self.bytes):
                self.bytes[place:place + 8] = word


def run(*words):
    return subprocess.run([command(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)


def judge_failure(done):
    """What is wrong with a repair that did not end well; None: nothing is."""
    if done.returncode not in (0, 1, 2, 3, 63):
        return "crash: %d" % done.returncode
    if done.returncode != 1:
        return None
    text = done.stderr.decode("utf-8", "replace")
    if any(word.decode() in text for word in FAIR):
        return None
    return "it fails: " + " ".join(text.split())[:300]


# Leaks that may be lost data stay as long as mappings are damaged: a second run does not know.
LEAKS = ("refcount-high", "refcount-beyond-end", "copied-clear", "copied-set")


def planned_again(path, options, code):
    """What a second run of the same repair would still do. code: how the first one ended."""
    done = run("repair", "--dry-run", "-j", *options, path)
    if done.returncode not in (0, 2, 3):
        return "second run fails: " + " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
    plan = json.loads(done.stdout)
    kinds = {step["kind"] for step in plan["steps"]}
    # Refcounts past the end of a file that is cut say how long it was.
    if kinds == {"refcount-beyond-end"} or (code == 3 and kinds <= set(LEAKS)):
        return None
    if plan["steps-total"] == 0:
        return None
    return "a second run still does: " + "; ".join(
        f"{s['kind']} at {s['where']}: {s['does']}" for s in plan["steps"][:3])


def has_its_names(base, content):
    """Whether QEMU finds the data file, if there is one, whose name may be damaged."""
    return not base.has_data_file or (base.path + ".data").encode() in content[:4096]


def complaints(path, options, before, base=None):
    """What is wrong with a repair of an image."""
    undo_file = path + ".undo"
    try:
        done = run("repair", "--yes", f"--undo-file={undo_file}", *options, path)
    except subprocess.TimeoutExpired:
        return ["it takes too long"]
    failure = judge_failure(done)
    if failure:
        return [failure] + (["it changed the image all the same"] if read(path) != before else [])
    if done.returncode in (1, 63):
        return []
    said = []
    if (done.returncode == 0 and (base is None or has_its_names(base, before)) and
            qemu("qemu-img", "check", "-q", "-f", "qcow2", path) not in (0, 3, 124)):
        said.append("qemu-img does not call it sound")
    # What named a snapshot names another one the next time.
    if not any("drop-snapshot" in word for word in options):
        said += [text for text in (planned_again(path, options, done.returncode),) if text]
    if os.path.exists(undo_file):
        run("undo", "--exact", undo_file)
        if read(path) != before:
            said.append("undo does not bring it back")
    elif read(path) != before:
        said.append("it changed the image without an undo file")
    return said


def one(folder, chance, bases):
    """A trial; chance: random numbers from its seed."""
    base = chance.choice(bases)
    damage = Heavy(base, chance)
    damage.heavy_damage()
    damage.bytes[0:8] = base.bytes[0:8]
    options = chance.choice(OPTIONS)
    saved = read(base.path + ".data") if base.has_data_file else None
    with tempfile.TemporaryDirectory(dir=folder) as own:
        path = os.path.join(own, "image.qcow2")
        with open(path, "wb") as stream:
            stream.write(damage.bytes)
        said = complaints(path, options, bytes(damage.bytes), base)
    if saved is not None:
        assert read(base.path + ".data") == saved
    return {"kind": base.kind, "options": options, "said": said}, bytes(damage.bytes)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="heavy-trial-", dir="/dev/shm")
    bad = 0
    try:
        bases = make_bases(folder, 28, 1)
        for seed in range(arguments.first, arguments.first + arguments.n):
            result, image = one(folder, random.Random(seed), bases)
            if not result["said"]:
                continue
            bad += 1
            print(f"seed {seed}", json.dumps(result), flush=True)
            if arguments.keep:
                with open(os.path.join(arguments.keep, str(seed)), "wb") as stream:
                    stream.write(image)
    finally:
        shutil.rmtree(folder)
    print(f"{arguments.n} images, {bad} with complaints")


if __name__ == "__main__":
    main()
