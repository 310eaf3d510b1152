# SPDX-License-Identifier: MIT
# Repairs and rescues of every kind that die at any write, with the sectors since the last sync on the
# medium in any combination. In each state QEMU must read what it read before, or the corrupt bit must
# keep programs from writing; an undo must bring every byte back; another repair must finish. By hand,
# for all states:
#
#	python3 -B -m tests.crash.repair_states [NAME...]
"""Crash states of repairs."""
import os
import subprocess
import sys
import tempfile

from tests.crash import states
from tests.support import shims
from tests.support.programs import RELEASE, image, recipe_image

SECTOR = 512
CORRUPT_AT = 79
GUEST = "size 1M\ncluster_bits 12\nwrite 0 64k\nwrite 512k 32k\n"
SNAPSHOTS = ("size 1M\ncluster_bits 12\nwrite 0 64k\nsnapshot 1 name=one\nwrite 16k 16k pattern=7\n"
             "snapshot 2 name=two\nwrite 128k 8k\n")
# A recipe, what is run, the snapshots of the image.
SCENES = {
    "refcounts in place": (GUEST + "set refcount_of/l2/0 5\nset refcount_of/l1 0\n", ("repair",)),
    "refcounts of one bit": (GUEST + "refcount_order 0\nset refcount_of/l2/0 0\n", ("repair",)),
    "leaks": (GUEST + "leak 5\n", ("repair", "--leaks")),
    "copied flags": (GUEST + "set l2/0/1 $l2/0/1 & ~(1<<63)\nset l1/0 $l1/0 & ~(1<<63)\n",
                     ("repair",)),
    "block beyond end": (GUEST + "set refcount_table/0 eof + 16M\n", ("repair",)),
    "table missing": (GUEST + "set header/refcount_table_offset 0\n", ("repair",)),
    "table unaligned": (GUEST + "set header/refcount_table_offset $header/refcount_table_offset + 512\n",
                        ("repair",)),
    "table of small clusters": ("size 4M\ncluster_bits 9\nrefcount_order 6\nwrite 0 1M\n"
                                "set header/refcount_table_clusters 0\n", ("repair",)),
    "overflow": ("bad-refcount-overflow", ("repair",)),
    "owners": (GUEST + "set l2/0/1 $l2/0/0\n", ("repair",)),
    "owner of a table": ("bad-data-on-own-l2", ("repair", "--all")),
    "owner of refcounts": ("bad-data-on-refcount-table", ("repair", "--all")),
    "snapshot table": (SNAPSHOTS + "set header/snapshots_offset $header/snapshots_offset + 512\n",
                       ("repair", "--all"), ("one", "two")),
    "snapshot extra": ("bad-snapshot-extra-none", ("repair", "--all")),
    "snapshot L1": (SNAPSHOTS + "set snapshots/0/l1_table_offset eof\n", ("repair", "--all"),
                    ("one", "two")),
    "snapshot dropped": (SNAPSHOTS, ("repair", "--drop-snapshot=one"), ("one", "two")),
    "snapshots dropped": (SNAPSHOTS + "set snapshots/1/l1_table_offset eof\n",
                          ("repair", "--free-lost", "--drop-snapshot=one", "--drop-snapshot=two"),
                          ("one", "two")),
    "bitmaps": ("bad-bitmap-entry-reserved-low", ("repair", "--all")),
    "bitmaps dropped": ("bad-bitmap-table-beyond-end", ("repair", "--all", "--drop-bad-bitmaps")),
    "bitmaps dirty": ("good-bitmap-in-use", ("repair", "--all")),
    "bitmap directory": ("bad-bitmap-directory-beyond-end", ("repair", "--all")),
    "extensions": ("bad-extension-duplicate-feature-names", ("repair", "--all")),
    "extension lengths": ("bad-extension-overrun", ("repair", "--all")),
    "header short": (GUEST + "set header/header_length 96\n", ("repair", "--all")),
    "header width": (GUEST + "set header/refcount_order 3\n", ("repair", "--all")),
    "header cluster bits": (GUEST + "set header/cluster_bits 13\n", ("repair", "--all")),
    "L1 unaligned": (GUEST + "set header/l1_table_offset $header/l1_table_offset + 8\n",
                     ("repair",)),
    "L1 too small": ("size 16M\ncluster_bits 12\nwrite 0 64k\nwrite 4M 64k\nwrite 15M 4k\n"
                     "set header/l1_size 3\n", ("repair", "--all")),
    "L1 grows": ("size 64M\ncluster_bits 9\nwrite 0 64k\nset header/l1_size 1\n",
                 ("repair", "--all")),
    "L1 beyond end": ("bad-l1-across-end", ("repair", "--all")),
    "L1 entry bits": (GUEST + "set l1/0 $l1/0 | 1<<60\n", ("repair",)),
    "L2 zeroed": (GUEST + "set l2/0/3 $l2/0/3 | 512\nset l2/0/5 $l2/0/5 | 1<<60\n",
                  ("repair", "--all", "--free-lost")),
    "L2 beyond end": (GUEST + "set l2/0/3 eof + 64k\nset l2/0/20 eof + 16M\n", ("repair", "--all")),
    "L2 table beyond end": (GUEST + "set l1/0 eof + 64k | 1<<63\n", ("repair", "--all")),
    "L2 freed": (GUEST + "set l1/0 $l1/0 + 512\n", ("repair", "--all", "--free-lost")),
    "subclusters": ("bad-subcluster-both", ("repair", "--all")),
    "compressed": ("bad-compressed-overlap", ("repair", "--deep")),
    "compressed beyond end": ("bad-compressed-beyond-end", ("repair", "--all")),
    "2: refcounts": ("version 2\n" + GUEST + "set refcount_of/l2/0 5\nset refcount_of/l1 0\n",
                     ("repair",)),
    "2: table missing": ("version 2\n" + GUEST + "set header/refcount_table_offset 0\n",
                         ("repair",)),
    "2: owners": ("version 2\n" + GUEST + "set l2/0/1 $l2/0/0\n", ("repair",)),
    "2: L1 too small": ("version 2\nsize 16M\ncluster_bits 12\nwrite 0 64k\nwrite 4M 64k\n"
                        "write 15M 4k\nset header/l1_size 3\n", ("repair", "--all")),
    "2: L1 grows": ("version 2\nsize 64M\ncluster_bits 9\nwrite 0 64k\nset header/l1_size 1\n",
                    ("repair", "--all")),
    "2: snapshots": ("version 2\n" + SNAPSHOTS + "set snapshots/0/l1_table_offset eof\n",
                     ("repair", "--all", "--free-lost", "--drop-snapshot=one"), ("one", "two")),
    "2: L2": ("version 2\n" + GUEST + "set l2/0/3 $l2/0/3 | 512\nset l2/0/20 eof + 16M\n",
              ("repair", "--all", "--free-lost")),
    "2: zero flag": ("bad-l2-zero-flag-v2", ("repair", "--all")),
    "data file": ("bad-data-file-copied-clear", ("repair", "--all")),
    "data file offset": ("bad-data-file-offset", ("repair", "--all")),
    "data file raw": ("bad-data-file-raw-unmapped", ("repair", "--all")),
    "rescue header": (GUEST + "poke 0 zeros:104\n", ("rescue", "--apply", "--size=1M")),
    "rescue header cluster": (GUEST + "poke 0 zeros:4096\n", ("rescue", "--apply", "--size=1M")),
    "rescue L1": ("size 16M\ncluster_bits 12\nwrite 0 64k\nwrite 4M 64k\nwrite 15M 4k\n"
                  "poke @l1 zeros:64\n", ("rescue", "--apply", "--confidence=1")),
    "rescue L2": (GUEST + "poke @l2/0 zeros:512\n", ("rescue", "--apply", "--confidence=1")),
}
# Where a guest reads a table that the repair mends: [start, end) in bytes.
TABLES = {"owner of a table": (65536, 131072), "owner of refcounts": (0, 131072)}


class Complaint(Exception):
    pass


def demand(truth, *words):
    if not truth:
        raise Complaint(" ".join(map(str, words)))


def tool(*words, **more):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=60, **more)


class Scene:
    def __init__(self, name, folder, shim):
        recipe, self.words, *snapshots = SCENES[name]
        self.name, self.shim = name, shim
        source = (image(recipe) if "\n" in recipe else recipe_image(recipe))[0]
        self.original = self.read(source)
        self.disks = [None, *(snapshots[0] if snapshots else ())]
        # The data file keeps its name.
        self.folder = folder
        self.image = os.path.join(folder, "image.qcow2")
        self.undo = os.path.join(folder, "undo")
        self.known, self.statistics = {}, {"states": 0, "marked": 0, "marked reads otherwise": 0,
                                           "refused": 0, "different": 0, "leaks": 0}
        trace = os.path.join(folder, "trace")
        states.put(self.original, self.image)
        self.before = self.reads()
        done = self.run(*self.arguments(), env={**os.environ, "LD_PRELOAD": shim, "TRACE": trace})
        demand(done.returncode in (0, 2, 3), name, done)
        self.code = done.returncode
        self.changed = self.read(self.image)
        demand(self.changed != self.original, name, "nothing changes", done.stdout.decode())
        self.after = self.reads()
        self.trace = states.Trace(trace)

    @staticmethod
    def read(path):
        with open(path, "rb") as stream:
            return stream.read()

    def run(self, *words, **more):
        return tool(RELEASE, *words, **more)

    def arguments(self, undo=True):
        words = list(self.words)
        words += [f"--undo-file={self.undo}"] if undo else ["--no-undo"]
        words += ["--yes"] if words[0] == "repair" else []
        return words + [self.image]

    def reads(self):
        """What QEMU reads of each disk; None where it does not open the image."""
        raw, found = os.path.join(self.folder, "raw"), []
        for disk in self.disks:
            words = ["-l", f"snapshot.name={disk}"] if disk else []
            done = tool("qemu-img", "convert", "--salvage", "-f", "qcow2", "-O", "raw", *words,
                        self.image, raw)
            found.append(self.read(raw) if done.returncode == 0 else None)
            if os.path.exists(raw):
                os.remove(raw)
        return found

    def differs(self):
        """The first sector that reads neither as before nor as afterwards, or None."""
        first, end = TABLES.get(self.name, (0, 0))
        for disk, now, before, after in zip(self.disks, self.reads(), self.before, self.after):
            if now in (before, after) or before is None:
                continue
            if now is None:
                return disk, "does not open"
            for at in range(0, max(len(now), len(before)), SECTOR):
                piece = now[at:at + SECTOR]
                if not first <= at < end and \
                        piece not in (before[at:at + SECTOR], (after or b"")[at:at + SECTOR]):
                    return disk, at
        return None

    def judge(self, state):
        content, undo = state[self.image], state[self.undo]
        content = bytes(content)
        key = (content, None if undo is None else bytes(undo))
        if key in self.known:
            return
        self.known[key] = True
        self.statistics["states"] += 1
        states.put(content, self.image)
        states.put(undo, self.undo)
        self.judge_reads(content)
        self.judge_undo(content)
        if content != self.original:
            self.judge_again(content)

    def judge_reads(self, content):
        if content == self.original:
            return
        self.statistics["different"] += 1
        marked = content[7] == 3 and content[CORRUPT_AT] & 2
        differs = self.differs()
        if marked:
            self.statistics["marked"] += 1
            if differs:
                self.statistics["marked reads otherwise"] += 1
        else:
            demand(not differs, self.name, "reads otherwise, without a mark", differs)

    def judge_undo(self, content):
        listed = os.path.exists(self.undo) and self.run("undo", "--list", self.undo).returncode == 0
        if not listed:
            demand(content == self.original, self.name, "no undo file, and the image is changed")
            return
        done = self.run("undo", self.undo)
        if done.returncode != 0:
            self.statistics["refused"] += 1
            demand(content[:4] == b"QFI\xfb", self.name, "undo of what no program opens", done)
            demand(b"--exact" in done.stderr or
                   content == self.changed, self.name, "undo", done)
            demand(self.read(self.image) == content, self.name, "a refused undo changed something")
        done = self.run("undo", "--exact", self.undo)
        demand(done.returncode == 0, self.name, "undo --exact", done)
        demand(self.read(self.image) == self.original, self.name, "undo --exact is not exact")

    def judge_again(self, content):
        """What was new leaks, so that it may take --free-lost where none was needed."""
        states.put(content, self.image)
        words = self.arguments(False)
        done = self.run(*words)
        if done.returncode == 1 and self.words[0] == "rescue":
            words = ["repair", "--yes", "--no-undo", "--all", self.image]
            done = self.run(*words)
        while done.returncode == 1 and b"no snapshot has" in done.stderr:
            words.pop(next(i for i, word in enumerate(words) if "--drop" in word))
            done = self.run(*words)
        differs = self.differs()
        demand(not differs, self.name, "after another repair, reads otherwise", differs)
        if done.returncode == 3 and self.code != 3:
            self.statistics["leaks"] += 1
            if self.words[0] == "repair":
                words = ["repair", "--all", "--yes", "--no-undo", self.image]
            done = self.run(*words, "--free-lost")
        demand(done.returncode in (0, self.code), self.name, "again", done)


def run(name, folder, shim, seed=0, most=24, sample=None):
    scene = Scene(name, folder, shim)
    files = {scene.image: scene.original, scene.undo: None}
    chance = states.chance(seed)
    found = list(states.states(scene.trace, files, chance, most))
    demand(bytes(found[-1][scene.image]) == scene.changed, name, "the trace is not whole")
    if sample and len(found) > sample:
        found = chance.sample(found, sample)
    for state in found:
        try:
            scene.judge(state)
        except Complaint:
            if os.environ.get("KEEP"):
                states.put(state[scene.image], os.environ["KEEP"] + ".qcow2")
                states.put(state[scene.undo], os.environ["KEEP"] + ".undo")
            raise
    return scene


def main(names):
    bad = 0
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        shim = shims.build("trace", folder)
        for name in names or SCENES:
            inner = os.path.join(folder, name.replace(" ", "-").replace(":", ""))
            os.mkdir(inner)
            try:
                scene = run(name, inner, shim)
                print(f"{name}: code {scene.code}, {scene.statistics}", flush=True)
            except Complaint as complaint:
                bad += 1
                print(f"COMPLAINT {complaint}".replace(folder, ""), flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
