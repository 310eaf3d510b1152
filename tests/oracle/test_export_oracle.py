# SPDX-License-Identifier: MIT
# What `qcow2 export` writes, against qemu-img convert: every sound image of the forge, images that
# qemu-img makes, compressed ones, snapshots, chains; and with bitmaps against what qemu-nbd says.
"""export, against QEMU."""
import glob
import json
import os
import random
import subprocess

import pytest

from tests.forge import build
from tests.support.exports import K, M, content, exported, load as load_stream, read, write
from tests.support.programs import RELEASE, TOP, recipe_image, run
from tests.support.qemu import nbd_extents, tool

GOOD = sorted(os.path.basename(path)[:-len(".recipe")]
              for path in glob.glob(os.path.join(TOP, "tests", "forge", "recipes", "good-*.recipe"))
              if "hostile" not in path)
# What would be too much for a test, and what QEMU or a passphrase is missing for.
LARGE = 32 << 20
KINDS = {
    "zlib": ["-c"], "zstd": ["-c", "-o", "compression_type=zstd"], "small": ["-o", "cluster_size=512"],
    "large": ["-o", "cluster_size=2M"], "extended": ["-o", "extended_l2=on,cluster_size=64k"],
    "extended zlib": ["-c", "-o", "extended_l2=on"], "zlib 2M": ["-c", "-o", "cluster_size=2M"],
    "v2": ["-o", "compat=0.10"], "refcounts": ["-o", "refcount_bits=1"],
}


def random_disk(path, size, seed):
    """Data, zeros in data and holes of all sizes."""
    rng = random.Random(seed)
    with open(path, "wb") as stream:
        stream.truncate(size)
        at = 0
        while at < size:
            length = min(size - at, rng.choice((512, 4 * K, 8 * K, 60 * K, 64 * K, 300 * K)) * rng.randrange(1, 4))
            kind = rng.randrange(4)
            stream.seek(at)
            if kind == 1:
                stream.write(bytes(length))
            elif kind == 2:
                stream.write(rng.randbytes(length))
            elif kind == 3:
                stream.write(bytes([rng.randrange(256)]) * length)
            at += length
    return str(path)


def same(path, folder, *words, convert=()):
    """All ways to export give what qemu-img reads."""
    target = str(folder / "target.raw")
    want = content(path, *convert)
    exported(path, "-f", "-o", target, *words)
    assert read(target) == want
    assert run("export", path, "-o", "-", *words, program=RELEASE).stdout == want
    assert load_stream(run("export", path, "-o", "-", "--format=stream", *words, program=RELEASE).stdout) == want
    os.unlink(target)


@pytest.mark.parametrize("name", GOOD)
def test_the_images_of_the_forge(name, tmp_path):
    path, raw = recipe_image(name)[0], str(tmp_path / "raw")
    told = subprocess.run(["qemu-img", "measure", "--output=json", "-O", "raw", path], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    size = json.loads(told.stdout)["fully-allocated"] if told.returncode == 0 else LARGE
    if size >= LARGE or subprocess.run(["qemu-img", "convert", "-O", "raw", path, raw],
                                       stderr=subprocess.PIPE, check=False, timeout=120).returncode:
        # What takes too much space, and what QEMU cannot read: ours says what it is, or reads it.
        # Some are petabytes of the same data, which go on as long as somebody reads.
        with subprocess.Popen([RELEASE, "export", path, "-o", "-", "--format=stream"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as child:
            begun = child.stdout.read(LARGE)
            child.stdout.close()
            said = child.stderr.read()
        assert len(begun) == LARGE or child.returncode == 0 or (child.returncode == 1 and said), (begun[:40], said)
        return
    want = read(raw)
    os.unlink(raw)
    done = run("export", "--chain", path, "-o", raw, program=RELEASE)
    assert done.returncode == 0, done
    assert read(raw) == want


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_qemu(kind, tmp_path):
    raw, path = random_disk(tmp_path / "raw", 5 * M + 512, kind), str(tmp_path / "a")
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *KINDS[kind], raw, path)
    same(path, tmp_path)


def test_snapshots(tmp_path):
    raw, path = random_disk(tmp_path / "raw", 5 * M, 1), str(tmp_path / "a")
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, path)
    tool("qemu-img", "snapshot", "-c", "one", path)
    tool("qemu-io", "-c", "write -P 7 1000k 900k", "-c", "discard 2M 1M", path)
    tool("qemu-img", "snapshot", "-c", "two", path)
    tool("qemu-io", "-c", "write -z 0 3M", path)
    for name in ("one", "two"):
        same(path, tmp_path, "--snapshot", name, convert=("-l", f"snapshot.name={name}"))
    same(path, tmp_path)


@pytest.mark.parametrize("base", ["raw", "qcow2"])
@pytest.mark.parametrize("sizes", [(3 * M, 5 * M, 5 * M), (6 * M, 4 * M, 5 * M + 1024)])
def test_chains(base, sizes, tmp_path):
    raw = random_disk(tmp_path / "raw", sizes[0], 2)
    below, form = str(tmp_path / "base"), base
    tool("qemu-img", "convert", "-f", "raw", "-O", base, raw, below)
    for number, size in enumerate(sizes[1:]):
        path = str(tmp_path / f"over{number}")
        options = ["-o", "extended_l2=on"] if number else []
        tool("qemu-img", "create", "-q", "-f", "qcow2", *options, "-b", below, "-F", form, path, str(size))
        tool("qemu-io", "-c", f"write -P {number + 1} {number * 300 + 100}k 200k", "-c", f"write -z {2 + number}M 100k", path)
        below, form = path, "qcow2"
    same(below, tmp_path, "--chain")


def test_data_files(tmp_path):
    for number, options in enumerate(("", ",data_file_raw=on")):
        path = str(tmp_path / f"a{number}")
        tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={path}.data{options}", path, "4M")
        tool("qemu-io", "-c", "write -P 3 1M 100k", "-c", "write -P 4 3M 1M", "-c", "write -z 3500k 64k", path)
        same(path, tmp_path, "--chain")
        assert run("export", path, "-o", str(tmp_path / "t"), program=RELEASE).returncode == 1


def test_bitmaps(tmp_path):
    """The dirty ranges are those of qemu-nbd, and the increment makes the export of before that of now."""
    path, target = str(tmp_path / "a"), str(tmp_path / "t")
    tool("qemu-img", "create", "-q", "-f", "qcow2", path, "16M")
    tool("qemu-io", "-c", "write -P 1 0 9M", path)
    rng = random.Random(3)
    exported(path, "-o", target)
    for number in range(4):
        name = f"b{number}"
        tool("qemu-img", "bitmap", "--add", "-g", str(rng.choice((512, 4 * K, 64 * K, M))), path, name)
        words = []
        for _ in range(12):
            at, length = rng.randrange(31 * K) * 512, rng.randrange(1, 300) * 512
            words += ["-c", f"{rng.choice(('write -P 9', 'write -z', 'discard'))} {at} {min(length, 16 * M - at)}"]
        tool("qemu-io", *words, path)
        dirty = [(start, length) for start, length, is_dirty in nbd_extents(path, name, tmp_path) if is_dirty]
        probe = write(tmp_path / "probe", b"\xa5" * (16 * M))
        exported(path, "-b", name, "-o", probe)
        now, got = content(path), bytearray(b"\xa5" * (16 * M))
        for start, length in dirty:
            got[start:start + length] = now[start:start + length]
        assert read(probe) == got
        exported(path, "-b", name, "-o", target)
        assert read(target) == now


def test_the_increment_of_nbdcopy(tmp_path):
    """What qemu-nbd serves of the disk at the places that it calls dirty is what the export wrote."""
    path = str(tmp_path / "a")
    build("size 4M\nwrite 0 256k pattern=5\nbitmap b granularity=65536 bits=0,2,40\n", path)
    target, socket = write(tmp_path / "t", bytes(4 * M)), str(tmp_path / "s")
    exported(path, "-b", "b", "-o", target)
    with subprocess.Popen(["qemu-nbd", "-r", "-f", "qcow2", "-k", socket, "-B", "b", path]) as server:
        done = None
        for _ in range(200):
            done = subprocess.run(["nbdcopy", f"nbd+unix:///?socket={socket}", str(tmp_path / "n")], check=False,
                                  stderr=subprocess.PIPE, timeout=60)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done
        server.wait(timeout=60)
    now, want = read(tmp_path / "n"), bytearray(4 * M)
    for start, length, is_dirty in nbd_extents(path, "b", tmp_path):
        if is_dirty:
            want[start:start + length] = now[start:start + length]
    assert read(target) == want
