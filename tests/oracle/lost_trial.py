# SPDX-License-Identifier: MIT
# Takes L1 tables, or L2 tables, away from images that QEMU made, and finds them again with "qcow2 rescue".
# What QEMU reads of every disk is compared with what the guest had written: before, after "qemu-img
# check -r all", and after rescue and repair. Run it by hand for large numbers:
#
#	QCOW2=build/release/cmd/qcow2 python3 -B -m tests.oracle.lost_trial -n 200
"""Trials of finding lost tables."""
import argparse
import collections
import json
import os
import random
import shutil
import tempfile

from tests.oracle import repair_trial

WAYS = ("convert", "convert-compressed", "preallocation", "rising", "random")
STEPS = [["rescue", "--apply"], ["repair", "--all", "--yes"]]
LOSSES = ("l1", "l1-entries", "l2", "l2-sectors")


class Base(repair_trial.Base):
    """An image that QEMU made, of several L2 tables, written in one of the ways of WAYS."""
    longest = repair_trial.MUCH

    def __init__(self, folder, number, seed):
        way = WAYS[number % len(WAYS)]
        if way == "random":
            super().__init__(folder, number // len(WAYS), seed)
            self.kind = "random, " + self.kind
            return
        self.random = random.Random(seed)
        self.path = os.path.join(folder, f"base-{number}.qcow2")
        self.kind, self.has_data_file, self.version3, self.snapshots = way, False, True, []
        self.cluster = self.random.choice((2048, 4096, 4096, 8192))
        span = self.cluster * self.cluster // 8
        self.size = span * self.random.choice((1, 2, 3)) + self.random.randrange(512, span, 512)
        self.extents = self.choose()
        self.make(way)
        if way == "rising" and self.random.random() < 0.5:
            self.check("qemu-img", "snapshot", "-c", "one", self.path)
            self.snapshots.append("one")
            self.fill(self.extents[::3])
        self.note()

    def choose(self):
        """Extents with data, rising: about 40, of up to 64 KiB, and the first cluster."""
        starts = sorted(self.random.randrange(0, self.size, 4096) for _ in range(40))
        extents = [(0, min(4096, self.size))]
        for start, following in zip(starts, [*starts[1:], self.size]):
            length = min(self.random.randrange(512, 65537), following - start)
            if length and start:
                extents.append((start, length))
        return extents

    def raw(self):
        """A file with the data of the extents."""
        path = self.path + ".raw"
        with open(path, "wb") as stream:
            stream.truncate(self.size)
            for start, length in self.extents:
                stream.seek(start)
                stream.write(self.random.randbytes(length))
        return path

    def make(self, way):
        options = f"cluster_size={self.cluster}"
        if way == "preallocation":
            options += ",preallocation=metadata"
        if way.startswith("convert"):
            raw = self.raw()
            self.check("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", options,
                       *(["-c"] if "compressed" in way else []), raw, self.path)
            os.remove(raw)
            return
        self.check("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, self.path,
                   str(self.size))
        self.fill(self.extents)

    def fill(self, extents):
        """Writes extents one after the other."""
        commands, pattern = [], self.path + ".pattern"
        with open(pattern, "wb") as stream:
            stream.write(self.random.randbytes(1 << 17))
        for start, length in extents:
            commands += ["-c", f"write -s {pattern} {start} {length}"]
        self.check("qemu-io", "-f", "qcow2", *commands, self.path)
        os.remove(pattern)


class Damage(repair_trial.Damage):
    """A copy of an image that loses tables."""

    def live(self):
        return [at for at in self.l1_places() if self.number(at) & repair_trial.OFFSET]

    def some(self, things):
        """One in ten, but one at least."""
        return self.random.sample(things, max(1, len(things) // 10)) if things else []

    def lose(self, loss):
        tables = [self.number(at) & repair_trial.OFFSET for at in self.live()]
        if loss == "l1":
            at = self.number(40)
            self.bytes[at:at + 8 * self.number(36, 4)] = bytes(8 * self.number(36, 4))
        elif loss == "l1-entries":
            for at in self.some(self.live()):
                self.put(at, 0)
        elif loss == "l2":
            for table in self.some(tables):
                self.bytes[table:table + self.cluster] = bytes(self.cluster)
        else:
            for sector in self.some([table + at for table in tables
                                     for at in range(0, self.cluster, 512)
                                     if self.bytes[table + at:table + at + 512].strip(b"\0")]):
                self.bytes[sector:sector + 512] = bytes(512)


def one(folder, seed, loss, base):
    """A trial by its seed, so that any can be repeated alone."""
    damage = Damage(base, random.Random(seed))
    damage.lose(loss)
    # Undo files of the loss before would stand in the way.
    with tempfile.TemporaryDirectory(dir=folder) as own:
        result = repair_trial.trial(base, damage, own, STEPS)
    assert 1 not in result["exits"], result
    result.update({"seed": seed, "loss": loss, "tables": len(damage.live())})
    return result


def run(folder, seeds, losses):
    for seed in seeds:
        base = Base(folder, seed, seed)
        for loss in losses:
            yield one(folder, seed, loss, base)
        for name in os.listdir(folder):
            os.remove(os.path.join(folder, name))


def kind(result):
    """Images with many small tables that were written to and fro are a kind of their own."""
    if not result["kind"].startswith("random"):
        return result["kind"]
    small = "cluster_size=512" in result["kind"] or "cluster_size=1k" in result["kind"]
    return "random, many tables" if small else "random, few tables"


def table(results):
    """Rows of Markdown: what was lost, how it was written, and what could be read."""
    rows = collections.defaultdict(list)
    for result in results:
        rows[result["loss"], "all"].append(result)
        rows[result["loss"], kind(result)].append(result)
    lines = ["| lost | written | images | read before | qemu-img check -r all | rescue and repair "
             "| back whole |", "|---|---|---|---|---|---|---|"]
    for (loss, way), those in rows.items():
        total = sum(r["total"] for r in those)
        shares = [f"{100 * sum(r[key] for r in those) / max(1, total):.1f} %"
                  for key in ("before", "qemu", "ours")]
        whole = sum(r["ours"] == r["total"] for r in those)
        lines.append(f"| {loss} | {way} | {len(those)} | {' | '.join(shares)} | "
                     f"{100 * whole / len(those):.1f} % |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("losses", nargs="*", default=LOSSES)
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("-v", action="store_true", help="show images that do not come back whole")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="lost-trial-", dir="/dev/shm")
    try:
        results = []
        for result in run(folder, range(arguments.first, arguments.first + arguments.n),
                          arguments.losses):
            results.append(result)
            if arguments.v and result["ours"] < result["total"]:
                print(json.dumps(result))
        print(table(results))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
