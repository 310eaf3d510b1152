# SPDX-License-Identifier: MIT
# The plugin of nbdkit, asked by real clients, against qemu-nbd and qemu-img on the same image.
"""nbdkit qcow2."""
import concurrent.futures
import errno
import json
import os
import random
import re
import shutil
import subprocess

import nbd
import pytest

from tests.forge import build, load, recipes
from tests.support.nbdkit import (ALLOCATION, HOLE, PLUGIN, ZERO, client, everything, extents, ours, qemus, refusal,
                               server)
from tests.support.programs import TOP, recipe_image
from tests.support.qemu import create, tool

SIZE = 8 << 20
MIXED = ["write -P 1 0 300k", "write -P 2 1M 64k", "write -z 1100k 64k", "write -P 3 3000k 700k", "write -z 3200k 128k",
         "discard 3328k 64k", "write -P 4 8191k 1k"]
PACKED = ["write -P 5 0 1M", "write -c -P 6 2M 64k", "write -c -P 7 2112k 64k", "write -P 8 5M 4k"]
# What qemu-img and qemu-io make an image of. Those of a chain have files of these names below them.
KINDS = {
    "mixed": ([], MIXED),
    "512": (["cluster_size=512"], MIXED),
    "2M": (["cluster_size=2M"], MIXED),
    "version 2": (["compat=0.10"], [line for line in MIXED if "-z" not in line]),
    "extended": (["extended_l2=on"], MIXED),
    "deflate": ([], PACKED),
    "zstd": (["compression_type=zstd"], PACKED),
    "zstd extended": (["compression_type=zstd", "extended_l2=on"], PACKED),
    "preallocated": (["preallocation=metadata"], MIXED),
    "data file": (["data_file=data.raw"], MIXED),
    "raw data file": (["data_file=data.raw", "data_file_raw=on"], MIXED),
    "empty": ([], []),
}


def write(path, lines):
    tool("qemu-io", "-f", "qcow2", *(word for line in lines for word in ("-c", line)), str(path))


@pytest.fixture(name="folder")
def fixture_folder(tmp_path, monkeypatch):
    """Where relative names lead from, for the tools as well."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(kind, path="a.qcow2", size=SIZE):
    options, lines = KINDS[kind]
    create(path, size, *options)
    if lines:
        write(path, lines)
    return path


def chain():
    """A short raw file, an image that is longer, and one that is longer still."""
    with open("base.raw", "wb") as stream:
        stream.write(bytes(range(256)) * 4096 + bytes(1 << 20) + b"end!" * 1024)
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "middle.qcow2", "5M")
    write("middle.qcow2", ["write -P 9 512k 64k", "write -z 640k 64k", "write -c -P 10 4M 64k"])
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", "a.qcow2", str(SIZE))
    write("a.qcow2", ["write -P 11 64k 64k", "write -z 512k 4k", "write -P 12 7M 64k"])
    return "a.qcow2"


def joined(told, bits):
    """Extents by some of their bits."""
    found = []
    for start, end, kind in told:
        if found and found[-1][2] == kind & bits:
            found[-1] = (found[-1][0], end, kind & bits)
        else:
            found.append((start, end, kind & bits))
    return found


def compare(arguments, words, seed=1):
    """Size, extents, all bytes and reads at odd places are those of qemu-nbd."""
    with ours(*arguments) as (mine, _), qemus(*words) as (theirs, _):
        with client(mine, ALLOCATION) as a, client(theirs, ALLOCATION) as b:
            assert a.get_size() == b.get_size()
            assert a.is_read_only() and a.can_multi_conn() and a.can_cache()
            data = everything(b)
            assert everything(a) == data
            told = extents(a)
            assert joined(told, HOLE) == joined(extents(b), HOLE)
            # QEMU looks for holes of the file in some images only, and in others byte for byte.
            zeros = [(start, end) for start, end, kind in joined(told, ZERO) if kind]
            assert all(data[start:end] == bytes(end - start) for start, end in zeros)
            assert all(any(start <= s and e <= end for start, end in zeros)
                       for s, e, kind in joined(extents(b), ZERO) if kind)
            dice = random.Random(seed)
            for _ in range(60):
                at = dice.randrange(len(data))
                size = min(dice.choice([1, 511, 4097, 70001, 1 << 20]), len(data) - at)
                assert a.pread(size, at) == data[at:at + size], (at, size)
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_same_as_qemu_nbd(folder, kind):
    path = make(kind)
    more = ["chain=yes"] if "data" in kind else []
    assert len(compare([path, *more], ["-f", "qcow2", path])) == SIZE
    assert (folder / path).exists()


def test_chain(folder):
    data = compare([chain(), "chain=yes"], ["-f", "qcow2", "a.qcow2"])
    assert data[1 << 16] == 11 and data[(512 << 10) + 4096] == 9 and data[4 << 20] == 10
    # A name without a stated format is taken for what it is, and found beside the image.
    build(f"size {SIZE}\nbacking middle.qcow2\n", str(folder / "top.qcow2"))
    os.chdir("/")
    with ours(folder / "top.qcow2", "chain=yes") as (socket, _), client(socket) as handle:
        assert handle.pread(4096, 4 << 20) == bytes([10]) * 4096


def test_raw(folder):
    (folder / "a.raw").write_bytes(b"QFI\xfb" + bytes(65532) + b"x" * 1000)
    with ours("a.raw", "format=raw") as (socket, _), client(socket) as handle:
        assert everything(handle) == b"QFI\xfb" + bytes(65532) + b"x" * 1000 + bytes(24)


def test_clients(folder):
    """The tools that people have: nbdcopy, nbdinfo, qemu-img and qemu-io."""
    path = make("deflate")
    tool("qemu-img", "convert", "-O", "raw", path, "expected.raw")
    with ours(path) as (mine, _), qemus("-f", "qcow2", path) as (theirs, _):
        uri = f"nbd+unix:///?socket={mine}"
        tool("nbdcopy", uri, "copied.raw")
        assert (folder / "copied.raw").read_bytes() == (folder / "expected.raw").read_bytes()
        assert tool("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, uri) == "Images are identical.\n"
        tool("qemu-io", "-r", "-f", "raw", "-c", "read -P 6 2049k 1k", uri)
        told = [json.loads(tool("nbdinfo", "--json", "--map", f"nbd+unix:///?socket={socket}"))
                for socket in (mine, theirs)]
        assert sum(piece["length"] for piece in told[0]) == SIZE
        assert {piece["type"] for piece in told[0]} == {piece["type"] for piece in told[1]} == {0, 3}
        assert json.loads(tool("nbdinfo", "--json", uri))["exports"][0]["block_size_preferred"] == 1 << 16


def test_file_of_the_guest(folder):
    """A client that reads the guest's file system, as guestfish does."""
    (folder / "root").mkdir()
    (folder / "root" / "hello").write_text("from the guest\n" * 9999)
    tool("mke2fs", "-q", "-t", "ext4", "-d", "root", "fs.raw", "4M")
    tool("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "fs.raw", "a.qcow2")
    words = ["nbdkit", "-f", "-r", "-U", "@", "--filter=ext2", PLUGIN, "a.qcow2", "ext2file=/hello"]
    with server(words) as (socket, _), client(socket) as handle:
        assert handle.pread(15, 15 * 9998) == b"from the guest\n"


def test_parallel(folder):
    """Several connections, each with several requests at a time; the server stays within its memory."""
    path = make("zstd", size=SIZE)
    tool("qemu-img", "convert", "-O", "raw", path, "expected.raw")
    data = (folder / "expected.raw").read_bytes()

    def read(socket, seed):
        dice = random.Random(seed)
        with client(socket, ALLOCATION) as handle:
            for _ in range(20):
                places = [dice.randrange(SIZE - 200000) for _ in range(8)]
                buffers = [nbd.Buffer(100001) for _ in places]
                cookies = {handle.aio_pread(buffer, at) for buffer, at in zip(buffers, places)}
                handle.block_status(SIZE, 0, lambda *_: 0)
                while cookies := {c for c in cookies if not handle.aio_command_completed(c)}:
                    handle.poll(1000)
                for buffer, at in zip(buffers, places):
                    assert buffer.to_bytearray() == data[at:at + 100001]

    with ours(path, "memory=1M") as (socket, process), concurrent.futures.ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(read, socket, seed) for seed in range(6)]:
            done.result()
        with open(f"/proc/{process.pid}/status", encoding="ascii") as stream:
            most = int(re.search(r"VmHWM:\s*(\d+)", stream.read())[1])
    assert most < 48 << 10


def test_snapshots(folder):
    path = make("mixed")
    tool("qemu-img", "snapshot", "-c", "zwölf", path)
    write(path, ["write -P 20 0 2M"])
    tool("qemu-img", "snapshot", "-c", "second", path)
    write(path, ["write -P 21 1M 4M"])
    for word in ("1", "zwölf", "second"):
        name = {"1": "zwölf"}.get(word, word)
        tool("qemu-img", "convert", "-l", f"snapshot.name={name}", "-O", "raw", path, "expected.raw")
        with ours(path, f"snapshot={word}") as (socket, _), client(socket, ALLOCATION) as handle:
            assert everything(handle) == (folder / "expected.raw").read_bytes()
            assert extents(handle)[-1][1] == SIZE
    assert "no snapshot has the ID or name 'third'" in refusal(path, "snapshot=third")
    assert "bitmaps are about the active disk" in refusal(path, "snapshot=1", "bitmap=x")


# ---- bitmaps ----

def with_bitmaps():
    """Two bitmaps, and writes that only the older one has seen, or both."""
    path = make("mixed")
    tool("qemu-img", "convert", "-O", "qcow2", path, "full.qcow2")
    tool("qemu-img", "bitmap", "--add", path, "old,er")
    write(path, ["write -P 30 2M 100k", "write -z 3M 64k"])
    tool("qemu-img", "bitmap", "--add", "-g", "4k", path, "newer")
    write(path, ["write -P 31 6M 5k"])
    return path


def dirty_of_qemu(path, name):
    with qemus("-f", "qcow2", "-B", name, path) as (socket, _):
        with client(socket, f"qemu:dirty-bitmap:{name}") as handle:
            return [(start, end) for start, end, kind in extents(handle, f"qemu:dirty-bitmap:{name}") if kind & 1]


def dirty_of_ours(path, words):
    """The dirty ranges, joined whether they are zeros or not; clean ones are never zeros."""
    found = []
    with ours(path, f"bitmap={words}") as (socket, _), client(socket, ALLOCATION) as handle:
        for start, end, kind in extents(handle):
            assert kind in (0, ZERO, HOLE)
            if kind == HOLE:
                continue
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
            assert (handle.pread(end - start, start) == bytes(end - start)) >= (kind == ZERO)
        assert handle.pread(4, 0) == b"\1\1\1\1"
    return found


def test_bitmaps(folder):
    path = with_bitmaps()
    older, newer = dirty_of_qemu(path, "old,er"), dirty_of_qemu(path, "newer")
    assert len(older) == 3 and newer == [(6 << 20, (6 << 20) + 8192)]
    assert dirty_of_ours(path, "old,,er") == older
    assert dirty_of_ours(path, "newer") == newer
    assert dirty_of_ours(path, "newer,old,,er") == older
    with ours(path, "bitmap=newer", "bitmap=old,,er") as (socket, _), client(socket, ALLOCATION) as handle:
        assert (3 << 20, (3 << 20) + 65536, ZERO) in extents(handle)


def test_incremental_by_qemu_img(folder):
    """qemu-img leaves to the backing file what is a hole: just the dirty ranges are copied."""
    path = with_bitmaps()
    with ours(path, "bitmap=old,,er") as (socket, _):
        tool("qemu-img", "convert", "-f", "raw", f"nbd+unix:///?socket={socket}", "-O", "qcow2", "-B", "full.qcow2",
             "-F", "qcow2", "inc.qcow2")
    assert tool("qemu-img", "compare", path, "inc.qcow2") == "Images are identical.\n"
    own = [piece for piece in json.loads(tool("qemu-img", "map", "--output=json", "inc.qcow2")) if piece["depth"] == 0]
    assert sum(piece["length"] for piece in own) == (128 + 64 + 64) << 10


@pytest.mark.parametrize("recipe, name, why", [
    ("good-bitmap-in-use", "stale", "not saved properly"),
    ("good-bitmap-autoclear-cleared", None, "not saved properly"),
    ("bad-bitmap-table-beyond-end", None, "cannot be relied on"),
    ("bad-bitmap-name-duplicate", None, "several bitmaps have this name"),
    ("good-default", "b0", "the image has no such bitmap"),
    ("good-bitmaps", "nix", "the image has no such bitmap"),
    ("bad-hostile-sparse-directory", "nix", "")])
def test_bitmaps_that_may_miss_writes(recipe, name, why):
    path, layout = recipe_image(recipe)
    if name is None:
        name = layout.value("bitmaps/0/name").decode()
    assert f"bitmap '{name}'" in (told := refusal(path, f"bitmap={name}")) and why in told


def test_too_many_dirty_ranges(folder):
    path = str(folder / "a.qcow2")
    build("size 64M\nbitmap a granularity=512 bits=" + ",".join(map(str, range(0, 33000, 2))) + "\n", path)
    assert "a larger memory= takes more" in refusal(path, "bitmap=a", "memory=1M")
    with ours(path, "bitmap=a", "memory=16M") as (socket, _), client(socket, ALLOCATION) as handle:
        assert len(extents(handle)) == 33000


# ---- what is refused ----

def test_files_that_are_not_asked_for(folder):
    chain()
    assert "a.qcow2: part of the disk is in another file, its backing file: chain=yes" in refusal("a.qcow2")
    make("data file", "data.qcow2")
    assert "in another file, its data file: chain=yes" in refusal("data.qcow2")
    os.unlink("base.raw")
    assert "base.raw: cannot open: No such file" in refusal("a.qcow2", "chain=yes")
    for name, why in (("nbd://127.0.0.1:1/x", "'nbd://127.0.0.1:1/x' is not a local file"),
                      ('json:{"file.filename":"/etc/passwd"}', "is not a local file"),
                      ("/dev/null", "/dev/null: "), (".", "."), ("a.qcow2", "a loop")):
        quoted = name.replace('"', '\\"')
        build(f'size 1M\nbacking "{quoted}" raw\n', "a.qcow2")
        assert why in refusal("a.qcow2", "chain=yes")
    tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "data.qcow2", "-F", "vmdk", "a.qcow2", "1M")
    assert "data.qcow2: its format is vmdk: only qcow2 and raw" in refusal("a.qcow2", "chain=yes")


@pytest.mark.parametrize("options", ["encrypt.format=luks,encrypt.iter-time=10",
                                     "encrypt.format=luks,encrypt.iter-time=10,extended_l2=on,cluster_size=16k",
                                     "encrypt.format=aes"], ids=["luks", "luks extended", "aes"])
def test_encrypted(folder, options):
    """With the passphrase both ways, against qemu-nbd; without it or with another there is no server."""
    passphrase = "a passphrase"
    (folder / "key").write_text(passphrase)
    secret = ["--object", f"secret,id=s,data={passphrase}"]
    opened = "driver=qcow2,encrypt.key-secret=s,file.filename=a.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o", f"encrypt.key-secret=s,{options}", "a.qcow2",
         str(SIZE))
    tool("qemu-io", *secret, "--image-opts", *(word for line in MIXED for word in ("-c", line)), opened)
    for given in ("key-file=key", f"password={passphrase}"):
        compare(["a.qcow2", given], [*secret, "--image-opts", opened])
    assert "encrypted" in refusal("a.qcow2")
    if "luks" in options:
        (folder / "wrong").write_text("another")
        assert "passphrase" in refusal("a.qcow2", "key-file=wrong")


def test_passphrases_of_a_chain(folder):
    """The first one is for the image, the next for the file below it; an error names the file."""
    below = ()
    for name in ("base", "top"):
        secret = ["--object", f"secret,id=s,data=of the {name}"]
        (folder / name).write_text(f"of the {name}")
        tool("qemu-img", "create", "-q", "-f", "qcow2", *secret, *below, "-o",
             "encrypt.format=aes,encrypt.key-secret=s", f"{name}.qcow2", "64k")
        if name == "base":
            tool("qemu-io", *secret, "--image-opts", "-c", "write -P 7 0 64k",
                 "driver=qcow2,encrypt.key-secret=s,file.filename=base.qcow2")
        below = ("-u", "-b", "base.qcow2", "-F", "qcow2")
    for given in (("key-file=top", "key-file=base"), ("password=of the top", "key-file=base"),
                  ("key-file=top", "password=+base", "key-file=top"), ("key-file=base",), ("key-file=top",)):
        with ours("top.qcow2", "chain=yes", *given) as (socket, _), client(socket) as handle:
            assert (handle.pread(65536, 0) == b"\7" * 65536) == (given != ("key-file=top",)), given
    shutil.copy(recipe_image("good-luks1")[0], "base.qcow2")
    assert "base.qcow2: the passphrase opens no key slot" in refusal("top.qcow2", "chain=yes", "key-file=top")


def test_longest_chain(folder):
    """The library counts the files; links make one file many."""
    for i in range(257):
        build(f"size 64k\ncluster_bits 9\nbacking {i + 1:03} qcow2\n", str(folder / f"{i:03}"))
    assert "256 files" in refusal("000", "chain=yes")


def test_parameters(folder):
    path = make("mixed")
    for words, why in (([], "file=FILE is missing"), ([path, "nix=1"], "there is no parameter 'nix'"),
                       ([path, "format=vmdk"], "only qcow2 and raw"), ([path, "memory=1k"], "less than 1M"),
                       ([path, "memory=x"], "x"), ([path, "chain=perhaps"], "perhaps"),
                       ([path, "format=raw", "chain=yes"], "a raw disk has no"), ([path, "key-file=nix"], "nix: "),
                       ([path, f"key-file={path}"], "longer than 8192 bytes"), (["/"], "directory"),
                       (["/dev/zero"], "/dev/zero"), (["nix.qcow2"], "nix.qcow2: cannot open")):
        assert why in refusal(*words), words
    with qemus("-f", "qcow2", path):
        with ours(path):
            pass
    with server(["qemu-nbd", "-t", "-k", "@", "-f", "qcow2", path]):
        assert "another program has it open for writing" in refusal(path)
    assert "encrypted" in refusal(recipe_image("good-luks1")[0])


def test_help_and_page():
    """The page has the parameters of the help text, and the other way round."""
    done = subprocess.run(["nbdkit", PLUGIN, "--help"], stdout=subprocess.PIPE, check=True)
    helped = set(re.findall(r"^\[?([a-z-]+)=", done.stdout.decode(), re.M))
    with open(os.path.join(TOP, "man", "nbdkit-qcow2-plugin.1.scd"), encoding="utf-8") as stream:
        paged = set(re.findall(r"^\*([a-z-]+)\*=", stream.read(), re.M))
    assert helped == paged and len(helped) == 8


# ---- damage ----

@pytest.mark.parametrize("recipe", ["bad-data-beyond-end", "bad-compressed-garbage", "bad-compressed-short",
                                    "bad-l2-table-unaligned", "bad-l2-table-beyond-end", "bad-data-unaligned",
                                    "bad-subcluster-both"])
def test_damage(folder, recipe):
    """What cannot be read is an error of its range alone, and never a hole."""
    path, _ = recipe_image(recipe)
    bad, good = [], 0
    with open("log", "wb") as log, ours(path, log=log) as (socket, _), client(socket, ALLOCATION) as handle:
        told = extents(handle)
        for at in range(0, handle.get_size(), 512):
            try:
                data = handle.pread(512, at)
                good += 1
            except nbd.Error as error:
                assert error.errnum == errno.EIO
                bad.append(at)
                continue
            kind = next(kind for start, end, kind in told if start <= at < end)
            assert kind == 0 or data == bytes(512)
        for at in bad:
            assert next(kind for start, end, kind in told if start <= at < end) == 0
    assert bad and (good or "l2-table" in recipe)
    assert re.search(rf"error: {re.escape(path)}: .*0x", (folder / "log").read_text())


# Made in a moment, unlike others of this kind.
HOSTILE = [name for name in recipes("bad-") + recipes("good-hostile-") if re.search(
    "bad-(l1|cluster-bits|refcount-order|size|compressed|hostile-(sparse|loop|random|counts|shared))|"
    "good-hostile-(shared-l2$|sparse|feature)", name)]


@pytest.mark.parametrize("part", range(4))
def test_hostile(part):
    """Whatever an image holds: the server does not end, and each request gets an answer."""
    answered = 0
    for name in HOSTILE[part::4]:
        path, _ = recipe_image(name)
        try:
            with ours(path) as (socket, process), client(socket, ALLOCATION) as handle:
                size = handle.get_size()
                for at in {0, size // 3, size - min(size, 1 << 20)} if size else []:
                    handle.block_status(min(size - at, (1 << 32) - 1), at, lambda *_: 0)
                    try:
                        handle.pread(min(size - at, 1 << 20), at)
                    except nbd.Error as error:
                        assert error.errnum == errno.EIO
                    answered += 1
                assert process.poll() is None
        except AssertionError:
            assert re.search("nbdkit: error: .*qcow2: .", refusal(path)), name
    assert answered > 5 and load(HOSTILE[part])
