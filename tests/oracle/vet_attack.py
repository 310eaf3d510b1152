# SPDX-License-Identifier: MIT
# Attacks qemu-img with images that "qcow2 vet" accepts: an accepted image must not make it open another
# file, take more than 512 MiB, or more than 10 s of processor time. By hand:
#
#	QCOW2=build/release/cmd/qcow2 python3 -B -m tests.oracle.vet_attack              # the ideas
#	QCOW2=build/release/cmd/qcow2 python3 -B -m tests.oracle.vet_attack -n 2000      # random fields, too
#
# The ideas are those of vet_ideas.py: of each, the largest scale is looked for that vet accepts. With -n,
# fields of forged images get extreme values, and each other's. Files are sparse; what is converted is
# thrown away. --only=NAME chooses ideas.
"""Attacks on qemu-img by images that vet accepts."""
import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

from tests.forge import build, load, recipes
from tests.oracle.vet_ideas import IDEAS

MOST_BYTES = 512 << 20
MOST_SECONDS = 10
# Files that programs open for themselves.
OWN = ("/etc/ld.so", "/lib", "/usr/", "/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/ssl", "/etc/gnutls", "/etc/localtime")


def command():
    return os.environ.get("QCOW2", "qcow2")


# ---- the programs ----

def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (6 * MOST_SECONDS, 6 * MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def measure(words, seconds=90):
    """Runs it. Returns exit code, peak bytes, seconds of processor time, and how much it printed."""
    begin = time.monotonic()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=limit) as child:  # pylint: disable=subprocess-popen-preexec-fn
        printed = 0
        while piece := os.read(child.stdout.fileno(), 1 << 20):
            printed += len(piece)
            if time.monotonic() - begin > seconds:
                child.kill()
                break
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
    return status, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime, printed


def commands(path, size):
    """What services run on an upload."""
    return {
        "info": ["qemu-img", "info", "-f", "qcow2", path],
        "probe": ["qemu-img", "info", "--output=json", path],
        "check": ["qemu-img", "check", path],
        "map": ["qemu-img", "map", "--output=json", path],
        "snapshot": ["qemu-img", "snapshot", "-l", path],
        "measure": ["qemu-img", "measure", "-O", "qcow2", path],
        "convert": ["qemu-img", "convert", "-n", "--target-is-zero", "-f", "qcow2", "--target-image-opts", path,
                    f"driver=null-co,read-zeroes=on,size={size}"],
        "compare": ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, path],
    }


def opened(path):
    """Files, other than the image, that a program opens or connects to."""
    others = set()
    for words in (["info", path], ["check", path], ["map", path]):
        with tempfile.NamedTemporaryFile(mode="r") as log:
            try:
                subprocess.run(["strace", "-f", "--seccomp-bpf", "-o", log.name, "-e",
                                "trace=open,openat,openat2,connect,execve,creat", shutil.which("timeout"), "5",
                                shutil.which("qemu-img"), *words],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False)
            except subprocess.TimeoutExpired:
                pass
            for line in log:
                name = re.search(r'(?:open|openat|openat2|creat|execve)\(.*?"((?:[^"\\]|\\.)*)"', line)
                if "connect(" in line or name and name[1] != path and not name[1].startswith(OWN):
                    others.add(line.split(" ", 1)[1].strip()[:200])
    return others


def vet(path, *options):
    """The verdict, the rules that refuse, and the seconds that it took."""
    begin = time.monotonic()
    done = subprocess.run([command(), "vet", "-j", *options, path], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=120, check=False)
    found = json.loads(done.stdout)
    return found["verdict"], sorted({reason["rule"] for reason in found["reasons"]}), time.monotonic() - begin


def fair_seconds(word, stored):
    """What an image may take that stores so many bytes: the limits of the policy, and half as much again."""
    seconds = 1.5 * MOST_SECONDS + stored * 10e-9
    if word in ("convert", "compare"):
        seconds += stored * 200e-9
    return seconds * (2 if word == "compare" else 1)


def attack(name, path, size, show=1.0):
    """Gives an accepted image to the programs. Returns lines on what they should not have done."""
    found = []
    stored = os.stat(path).st_blocks * 512
    for word, line in commands(path, size).items():
        status, peak, seconds, printed = measure(line)
        text = (f"{name}: {word}: {seconds:.1f} s, {peak >> 20} MiB of memory, {printed >> 10} KiB printed, "
                f"{stored >> 10} KiB stored, status {status}")
        bad = (seconds > fair_seconds(word, stored) or status == 9 or
               peak > MOST_BYTES * (2 if word == "compare" else 1))
        if bad or seconds > show:
            print("  " + text + (" FOUND" if bad else ""), flush=True)
        if bad:
            found.append(text)
    found += [f"{name}: opens {other}" for other in opened(path)]
    return found


class Limit:
    """The largest scale of an idea that vet accepts."""

    def __init__(self, folder, name):
        self.make, self.low, self.high = IDEAS[name]
        self.name = name
        self.path = os.path.join(folder, name + ".qcow2")
        self.size = self.scale = 0
        self.rules, self.slowest = set(), 0.0

    def accepts(self, scale):
        image = self.make(scale)
        image.write(self.path)
        verdict, rules, seconds = vet(self.path)
        self.slowest = max(self.slowest, seconds)
        self.rules.update(rules)
        if verdict == "accepted":
            self.scale, self.size = scale, image.header["size"]
        return verdict == "accepted"

    def find(self, steps):
        """Leaves the image at self.path, unless not even the smallest is accepted."""
        low, high = self.low, self.high
        if not self.accepts(low):
            return False
        if not self.accepts(high):
            for _ in range(steps):
                middle = int((low * high) ** 0.5)
                if middle in (low, high):
                    break
                low, high = (middle, high) if self.accepts(middle) else (low, middle)
        return self.accepts(self.scale)


def attack_limit(folder, name, steps, show):
    """Attacks with the worst of an idea that is accepted."""
    limit_of = Limit(folder, name)
    accepted = limit_of.find(steps)
    print(f"{name}: accepted up to {limit_of.scale} of {limit_of.high}, then {' '.join(sorted(limit_of.rules))}; "
          f"vet took {limit_of.slowest:.2f} s at most", flush=True)
    found = [f"{name}: vet took {limit_of.slowest:.1f} s"] if limit_of.slowest > 4 else []
    if accepted:
        found += attack(f"{name} {limit_of.scale}", limit_of.path, limit_of.size, show)
    os.unlink(limit_of.path)
    return found


# ---- random fields ----

# Images that are small, and have all structures between them.
BASES = [name for name in recipes("good-") if not re.search("hostile|sparse|terabytes|backing|data-file|luks|aes|warn",
                                                            name)]
BATCH = 200


def mutate(data, layout, rng):
    """Gives some fields extreme values, values near their own, or those of others."""
    fields = [field for field in layout.fields.values() if 0 < field.width <= 8 and
              field.offset + field.width <= len(data)]
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        field, other = rng.choice(fields), rng.choice(fields)
        most = (1 << 8 * field.width) - 1
        now = int.from_bytes(data[field.offset:field.offset + field.width], "big")
        value = rng.choice((0, 1, most, most >> 1, 1 << rng.randrange(8 * field.width), now ^ 1 << rng.randrange(64),
                            now + 1, now - 1, now * 2, other.offset,
                            int.from_bytes(data[other.offset:other.offset + other.width], "big"),
                            len(data), now + 65536))
        data[field.offset:field.offset + field.width] = (value & most).to_bytes(field.width, "big")


def make_random(folder, seed, bases):
    rng = random.Random(seed)
    data, layout = bases[rng.randrange(len(bases))]
    data = bytearray(data)
    mutate(data, layout, rng)
    path = os.path.join(folder, f"random-{seed}.qcow2")
    with open(path, "wb") as stream:
        stream.write(data)
    return path


def read_bases(folder):
    found = []
    for name in BASES:
        path = os.path.join(folder, "base.qcow2")
        layout = build(load(name), path)
        if os.path.getsize(path) <= 4 << 20:
            with open(path, "rb") as stream:
                found.append((stream.read(), layout))
        os.unlink(path)
    return found


def attack_random(folder, count, seed):
    """Vets images with random fields, in batches, and attacks with those that are accepted."""
    bases, found, accepted = read_bases(folder), [], 0
    for begin in range(seed, seed + count, BATCH):
        paths = [make_random(folder, i, bases) for i in range(begin, min(begin + BATCH, seed + count))]
        done = subprocess.run([command(), "vet", "--output=ndjson", "--files-from=-"], check=False, timeout=600,
                              input="\n".join(paths).encode(), stdout=subprocess.PIPE)
        for path, line in zip(paths, done.stdout.splitlines()):
            line = json.loads(line)
            if line["verdict"] == "accepted":
                accepted += 1
                found += attack(os.path.basename(path), path, line["virtual-size"])
            os.unlink(path)
    print(f"random fields: {count} images, {accepted} accepted, {len(found)} findings", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=0, help="so many images with random fields, instead of ideas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="ideas whose names match this")
    parser.add_argument("--steps", type=int, default=8, help="how closely the limit is looked for")
    parser.add_argument("--show", type=float, default=1.0, help="show what takes longer")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.n:
            found = attack_random(folder, arguments.n, arguments.seed)
        for name in IDEAS:
            if not arguments.n and re.search(arguments.only, name):
                found += attack_limit(folder, name, arguments.steps, arguments.show)
    print(f"{len(found)} findings", *found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
