# SPDX-License-Identifier: MIT
# Makes images with QEMU, wipes their header, lets "qcow2 rescue" bring them back, and compares what
# QEMU reads of every disk with what it read before. Run it by hand for large numbers:
#
#	QCOW2=build/release/cmd/qcow2 python3 -B -m tests.oracle.rescue_trial -n 200
"""Trials of rescue: images whose header is lost."""
import argparse
import concurrent.futures
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

# How the header is lost.
WIPES = ("sector", "cluster", "garbage", "cluster-garbage", "fields")


def run(*words, check=False, **more):
    result = subprocess.run([str(word) for word in words], capture_output=True, timeout=120,
                            check=False, **more)
    if check and result.returncode:
        raise RuntimeError(f"{words}: {result.stderr.decode(errors='replace')}")
    return result


def command():
    return os.environ.get("QCOW2", "qcow2")


class Image:
    """An image that QEMU made, with what was chosen for it."""

    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        self.folder = folder
        self.path = os.path.join(folder, f"image-{seed}.qcow2")
        self.backing = None
        self.snapshots = []
        self.choose()
        self.make()

    def choose(self):
        pick = self.random
        self.cluster_bits = pick.randrange(9, 22)
        self.version = pick.choice((2, 3, 3, 3))
        self.extended = self.version == 3 and self.cluster_bits >= 14 and pick.random() < 0.3
        self.refcount_bits = 16 if self.version == 2 else pick.choice((1, 2, 4, 8, 16, 16, 32, 64))
        self.zstd = self.version == 3 and pick.random() < 0.3
        self.size = pick.randrange(2 << 20, 24 << 20) // 512 * 512
        if pick.random() < 0.5:
            self.size = self.size >> 20 << 20
        self.kinds = {kind for kind in ("snapshots", "compressed", "bitmaps", "backing", "zeros")
                      if pick.random() < 0.35}
        if self.version == 2:
            self.kinds.discard("bitmaps")
        if self.refcount_bits == 1:
            self.kinds.discard("snapshots")
        # Compressed clusters of 512 bytes never get smaller, and share sectors' refcounts.
        if self.refcount_bits < 8:
            self.kinds.discard("compressed")

    def options(self):
        words = [f"cluster_size={1 << self.cluster_bits}",
                 f"compat={'0.10' if self.version == 2 else '1.1'}"]
        if self.version == 3:
            words += [f"refcount_bits={self.refcount_bits}",
                      f"extended_l2={'on' if self.extended else 'off'}",
                      f"compression_type={'zstd' if self.zstd else 'zlib'}"]
        return ",".join(words)

    def make(self):
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", self.options()]
        if "backing" in self.kinds:
            self.backing = f"base-{self.random.randrange(1 << 30):x}.qcow2"
            base = os.path.join(self.folder, self.backing)
            run("qemu-img", "create", "-q", "-f", "qcow2", base, self.size, check=True)
            self.write(base, 2, "write")
            words += ["-b", self.backing, "-F", "qcow2"]
        run(*words, self.path, self.size, check=True)
        self.write(self.path, 6, "write")
        if "compressed" in self.kinds:
            self.write(self.path, 4, "write -c")
        if "snapshots" in self.kinds:
            for number in range(self.random.randrange(1, min(self.refcount_bits + 1, 4))):
                # Refcounts that are narrow may have no room for one more.
                if run("qemu-img", "snapshot", "-c", f"s{number}", self.path).returncode:
                    break
                self.snapshots.append(f"s{number}")
                self.write(self.path, 3, "write")
        if "zeros" in self.kinds:
            self.write(self.path, 2, "write -z")
            self.write(self.path, 1, "discard")
        if "bitmaps" in self.kinds:
            run("qemu-img", "bitmap", "--add", "-g", "65536", self.path, "b0", check=True)
            self.write(self.path, 2, "write")

    def write(self, path, count, verb):
        words = ["qemu-io", "-f", "qcow2"]
        for _ in range(count):
            cluster = 1 << self.cluster_bits if verb == "write -c" else 512
            length = max(self.random.choice((4096, 65536, 1 << 20)) // cluster, 1) * cluster
            if length > self.size:
                continue
            at = self.random.randrange(0, self.size - length + 1) // cluster * cluster
            pattern = "" if verb in ("write -z", "discard") else \
                f"-P {self.random.randrange(1, 255)} "
            words += ["-c", f"{verb} {pattern}{at} {length}"]
        run(*words, path)

    def raw(self, path, name, snapshot=None):
        """What QEMU reads of a disk, or None."""
        target = f"{self.path}.{name}"
        words = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw"]
        if snapshot is not None:
            words += ["-l", f"snapshot.name={snapshot}"]
        if run(*words, path, target).returncode:
            return None
        with open(target, "rb") as stream:
            data = stream.read()
        os.unlink(target)
        return data

    def disks(self, path):
        return [self.raw(path, "now")] + [self.raw(path, "then", s) for s in self.snapshots]

    def loses_name(self, how):
        """Whether the name of the backing file is wiped as well."""
        if how == "fields":
            return False
        with open(self.path, "rb") as stream:
            return how.startswith("cluster") or \
                int.from_bytes(stream.read(16)[8:], "big") < 512

    def wipe(self, how):
        """A copy whose header is lost."""
        path = self.path + ".lost"
        shutil.copyfile(self.path, path)
        cluster = 1 << self.cluster_bits
        length = cluster if how.startswith("cluster") else 512
        with open(path, "r+b") as stream:
            if how == "fields":
                for at in self.random.sample((0, 4, 20, 24, 36, 40, 48, 56), 3):
                    stream.seek(at)
                    stream.write(self.random.randbytes(8 if at in (24, 40, 48) else 4))
            else:
                stream.write(self.random.randbytes(length) if "garbage" in how
                             else bytes(length))
        return path


def same(mine, theirs):
    """Whether two disks read the same, of which the longer one may end with zeros."""
    if mine is None or theirs is None:
        return False
    length = min(len(mine), len(theirs))
    return mine[:length] == theirs[:length] and not any(mine[length:]) and not any(theirs[length:])


def trial(folder, seed, how, *options):
    """One image: what came back, and how."""
    image = Image(folder, seed)
    before = image.disks(image.path)
    lost = image.wipe(how)
    words = list(options)
    if image.backing and image.loses_name(how):
        words += [f"--backing={image.backing}", "--backing-format=qcow2"]
    result = run(command(), "rescue", "--apply", "--no-undo", "-j", *words, lost)
    after = image.disks(lost) if result.returncode != 1 else [None]
    page = json.loads(result.stdout) if result.returncode != 1 else {}
    outcome = {
        "seed": seed, "how": how, "options": image.options(), "kinds": sorted(image.kinds),
        "code": result.returncode, "error": result.stderr.decode(errors="replace").strip(),
        "whole": len(before) == len(after) and all(map(same, before, after)),
        "size": after[0] is not None and len(after[0]) == len(before[0]),
        "clean": run("qemu-img", "check", "-f", "qcow2", lost).returncode == 0,
        "confidence": page.get("candidates", [{}])[0].get("confidence"),
    }
    for name in os.listdir(folder):
        if name.startswith(os.path.basename(image.path)) or name == image.backing:
            os.unlink(os.path.join(folder, name))
    return outcome


def trials(number, first=0, hows=WIPES, options=("--look-inside",), threads=2):
    """Outcomes of so many trials."""
    with tempfile.TemporaryDirectory(prefix="rescue-") as folder, \
            concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda n: trial(folder, n, hows[n % len(hows)], *options),
                             range(first, first + number)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--how", choices=WIPES)
    parser.add_argument("options", nargs="*", help="for qcow2 rescue, behind --")
    arguments = parser.parse_args()
    outcomes = trials(arguments.n, arguments.first,
                      (arguments.how,) if arguments.how else WIPES, arguments.options or ("--look-inside",))
    for how in WIPES:
        mine = [o for o in outcomes if o["how"] == how]
        if mine:
            print(f"{how:16} {len(mine):4}  whole {sum(o['whole'] for o in mine):4}"
                  f"  size {sum(o['size'] for o in mine):4}"
                  f"  clean {sum(o['clean'] for o in mine):4}")
    for outcome in outcomes:
        if not outcome["whole"]:
            print(json.dumps(outcome))
    whole = sum(o["whole"] for o in outcomes)
    print(f"whole: {whole} of {len(outcomes)} ({100 * whole / len(outcomes):.1f} %)")
    return 0 if whole * 100 >= 95 * len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
