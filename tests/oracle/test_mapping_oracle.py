# SPDX-License-Identifier: MIT
# Guest extents, as examples/map_image.c prints them, against the maps of qemu-img and qemu-io: on
# images that QEMU made by random writes, discards, zero writes and compressed writes, for the active
# image and for each snapshot. QEMU cannot map a snapshot, so that a copy goes back to it first.
"""mapping against qemu-img map."""
import json
import os
import random
import re
import shutil
import subprocess

import pytest

from tests.support.programs import QCOW2, TOP, folder

KIB, MIB = 1 << 10, 1 << 20
EXTENT = re.compile(r"0x([0-9a-f]+) +(\d+) ([a-z-]+)(?: at 0x([0-9a-f]+)(?:, at most (\d+) bytes)?)?")
# A line of `qemu-io -c map`.
RUN = re.compile(r"\(0x([0-9a-f]+)\) bytes +(not allocated|allocated) at offset .*\(0x([0-9a-f]+)\)")

# options of qemu-img create, the disk in clusters, and what may be done to the image
CASES = {
    **{f"clusters {1 << bits}": (f"-o cluster_size={1 << bits}", min(300, 1 << (28 - bits)), "wdzcs")
       for bits in range(9, 22)},
    "version 2": ("-o compat=0.10", 100, "wdcs"),
    "version 2 small": ("-o compat=0.10,cluster_size=512", 1000, "wdcs"),
    **{f"extended {1 << bits}": (f"-o extended_l2=on,cluster_size={1 << bits}",
                                 min(200, 1 << (27 - bits)), "wdzcsw")
       for bits in range(14, 22)},
    "data file": ("-o data_file={}.raw", 100, "wdz"),
    "data file extended": ("-o data_file={}.raw,extended_l2=on,cluster_size=16k", 100, "wdz"),
    "data file raw": ("-o data_file={}.raw,data_file_raw=on,cluster_size=4k", 100, "wdz"),
    "data file raw extended": ("-o data_file={}.raw,data_file_raw=on,extended_l2=on", 50, "wdz"),
    "preallocated": ("-o preallocation=metadata,cluster_size=1k", 500, "wdzs"),
    "preallocated extended": ("-o preallocation=metadata,extended_l2=on,cluster_size=16k", 50, "wdzs"),
    "zstd": ("-o compression_type=zstd,cluster_size=8k", 200, "wcs"),
    "lazy": ("-o lazy_refcounts=on,cluster_size=2k", 300, "wdzs"),
}
SEEDS = range(2)


def cluster_bits(options):
    size = re.search(r"cluster_size=(\d+)(k?)", options)
    return (int(size.group(1)) * (KIB if size.group(2) else 1) if size else 64 * KIB).bit_length() - 1


@pytest.fixture(scope="session", name="program")
def build_program():
    """The example, linked with the library that the command under test was built with."""
    program = os.path.join(folder(), "map_image")
    archive = os.path.join(os.path.dirname(os.path.dirname(QCOW2)), "lib", "libqcow2.a")
    sanitized = "asan" in archive
    compiler = "clang" if "clang" in archive else "gcc"
    subprocess.run([compiler, "-std=c17", *(["-fsanitize=address,undefined"] if sanitized else []),
                    "-I" + os.path.join(TOP, "include"),
                    os.path.join(TOP, "examples", "map_image.c"), archive, "-ldeflate", "-lzstd", "-lnettle", "-largon2",
                    "-pthread", "-o", program], check=True)
    return program


def call(*command, text=None):
    done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


# ---- making images ----

def random_command(choice, rng, cluster, size):
    """A command of qemu-io that changes a random part of the disk."""
    grain = rng.choice((512, cluster, max(cluster // 32, 512)))
    length = min(rng.randrange(1, 6) * max(grain, cluster // 8), 4 * MIB)
    start = rng.randrange(0, size - 1) // grain * grain
    length = max(min(length, size - start) // 512 * 512, 512)
    if choice == "c":
        start = start // cluster * cluster
        return f"write -c -P {rng.randrange(256)} {start} {min(cluster, size - start)}"
    if choice == "d":
        return f"discard {start} {length}"
    if choice == "z":
        return f"write -z {rng.choice(('', '-u'))} {start} {length}"
    return f"write -P {rng.randrange(256)} {start} {length}"


def change(path, rng, kinds, cluster, size):
    commands = [random_command(rng.choice(kinds), rng, cluster, size)
                for _ in range(rng.randrange(1, 40))]
    # QEMU 7.2 refuses some of them, such as compressed writes to the smallest clusters.
    subprocess.run(["qemu-io", "-f", "qcow2", "-d", "unmap", path], check=False, text=True,
                   input="\n".join(commands) + "\n", stdout=subprocess.DEVNULL)


def make(path, options, clusters, kinds, rng):
    """An image with a history: changes, snapshots, another size."""
    options = options.replace("{}", path)
    cluster = 1 << cluster_bits(options)
    size = cluster * clusters - rng.choice((0, 512, 1024)) * (cluster > 4096)
    create = ["qemu-img", "create", "-q", "-f", "qcow2", *options.split()]
    backed = "data_file_raw" not in options and "prealloc" not in options
    if backed and rng.random() < 0.5:
        call("qemu-img", "create", "-q", "-f", "raw", path + ".base", str(size // 3 // 512 * 512))
        create += ["-b", path + ".base", "-F", "raw"]
    call(*create, path, str(size))
    for turn in range(3):
        change(path, rng, kinds.replace("s", ""), cluster, size)
        if "s" in kinds and rng.random() < 0.7:
            call("qemu-img", "snapshot", "-c", f"snapshot{turn}", path)
        if "s" in kinds and "0.10" not in options and rng.random() < 0.3:
            size += cluster * rng.randrange(1, 200)
            call("qemu-img", "resize", "-q", path, str(size))
    return size


# ---- maps ----

def join(extents):
    """(start, length, state, offset) with neighbours that say the same made one."""
    joined = []
    for start, length, state, offset in extents:
        assert start == (joined[-1][0] + joined[-1][1] if joined else 0), "a gap"
        last = joined[-1] if joined else None
        if last and last[2] == state and \
           (offset is None if last[3] is None else offset == last[3] + last[1]):
            joined[-1] = (last[0], last[1] + length, state, last[3])
        else:
            joined.append((start, length, state, offset))
    return joined


def our_map(program, path, *snapshot):
    """The extents as they are printed, which are joined already but for compressed ones."""
    extents = []
    for line in call(program, path, *snapshot).splitlines():
        found = EXTENT.fullmatch(line)
        assert found, line
        start, length, kind, host, limit = found.groups()
        # An unallocated subcluster may have a place, of which QEMU says nothing.
        assert kind == "unallocated" or \
            (host is not None) == (kind in ("data", "zero-allocated", "compressed")), line
        assert (limit is not None) == (kind == "compressed"), line
        extents.append((int(start, 16), int(length), kind,
                        int(host, 16) if host and kind != "compressed" else None))
    assert [e for e in extents if e[2] != "compressed"] == \
           [e for e in join(extents) if e[2] != "compressed"], "extents that could be joined"
    return join([(start, length, kind, None if kind == "unallocated" else host)
                 for start, length, kind, host in extents])


def state_of(entry):
    if entry["depth"] > 0 or not entry["present"]:
        return "unallocated"
    if entry["data"]:
        return "data" if "offset" in entry else "compressed"
    return "zero-allocated" if "offset" in entry else "zero"


def their_map(path):
    entries = json.loads(call("qemu-img", "map", "--output=json", path))
    return join([(e["start"], e["length"], state_of(e),
                  e.get("offset") if state_of(e) in ("data", "zero-allocated") else None)
                 for e in entries])


def allocated(extents):
    """What qemu-io calls allocated, as [(start, length, bool)]."""
    return [e[:3] for e in join([(start, length, state != "unallocated", None)
                                 for start, length, state, _ in extents])]


def their_allocated(path):
    runs = [(int(start, 16), int(length, 16), word == "allocated")
            for length, word, start in RUN.findall(call("qemu-io", "-f", "qcow2", "-c", "map", path))]
    return [e[:3] for e in join([(*run, None) for run in runs])]


def go_back(path, index):
    """A copy of an image whose active image is that snapshot."""
    copy = path + ".copy"
    shutil.copyfile(path, copy)
    call("qemu-img", "snapshot", "-a", f"snapshot{index}", copy)
    return copy


def snapshot_names(path):
    info = json.loads(call("qemu-img", "info", "--output=json", path))
    return [s["name"] for s in info.get("snapshots", [])]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_map(program, tmp_path, name, seed):
    options, clusters, kinds = CASES[name]
    path = str(tmp_path / "image.qcow2")
    rng = random.Random(f"{name} {seed}")
    size = make(path, options, clusters, kinds, rng)
    ours = our_map(program, path)
    assert ours[-1][0] + ours[-1][1] == size
    assert ours == their_map(path)
    assert allocated(ours) == their_allocated(path)
    for index, snapshot in enumerate(snapshot_names(path)):
        copy = go_back(path, snapshot[len("snapshot"):])
        assert our_map(program, path, str(index)) == their_map(copy), snapshot


def test_compressed_descriptors(program, tmp_path):
    """Where compressed clusters lie is what dump says of their entries."""
    path = str(tmp_path / "image.qcow2")
    call("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "1M")
    call("qemu-io", "-f", "qcow2", path,
         text="".join(f"write -c -P {i} {i * 4096} 4k\n" for i in range(40)))
    dump = json.loads(call(QCOW2, "dump", "-j", path, "l2"))
    rows = [row for table in dump["l2"] for row in table["entries"] if row["type"] == "compressed"]
    found = [EXTENT.fullmatch(line).groups() for line in call(program, path).splitlines()]
    found = [(int(start, 16), int(length), int(host, 16), int(limit))
             for start, length, kind, host, limit in found if kind == "compressed"]
    assert len(found) == 40
    assert found == [(row["guest"], 4096, row["offset"],
                      row["sectors"] * 512 - row["offset"] % 512) for row in rows]


def test_every_state_occurs(program, tmp_path):
    """The random images have what they are for: each kind, and each state on both sides."""
    seen = set()
    for name in ("clusters 65536", "extended 16384", "data file"):
        options, clusters, kinds = CASES[name]
        path = str(tmp_path / (name.replace(" ", "") + ".qcow2"))
        for seed in SEEDS:
            make(path, options, clusters, kinds, random.Random(f"{name} {seed}"))
            seen |= {state for _, _, state, _ in our_map(program, path)}
    assert seen == {"unallocated", "zero", "zero-allocated", "data", "compressed"}
