# SPDX-License-Identifier: MIT
# The command line of `qcow2 export`, what it writes and what it leaves alone. Whether the bytes are
# those of the guest, tests/oracle/test_export_oracle.py asks QEMU for all kinds of images.
"""export, from outside."""
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

from tests.forge import build
from tests.support import shims
from tests.support.exports import K, M, content, exported, load, manifest, read, refused, write
from tests.support.measure import peak
from tests.support.programs import QCOW2, RELEASE, SAMPLE, recipe_image, run

DISK = """size 8M
write 1M 64k pattern=0x11
write 3M 192k pattern=0x22
write 5M 64k pattern=0
bitmap nightly granularity=65536 bits=16,48,49,112 flags=auto
bitmap weekly granularity=65536 bits=1,16 flags=auto
bitmap used granularity=65536 bits=1 flags=in_use
"""


@pytest.fixture(name="disk")
def fixture_disk(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    build(DISK, path)
    return path


@pytest.mark.parametrize("words, message", [
    ([SAMPLE], "--to=FILE says where the disk goes"),
    (["-o", "", SAMPLE], "--to: a file needs a name"),
    (["-o", "x"], "no image given"),
    (["-o", "x", SAMPLE, "other"], "one image at a time, not also 'other'"),
    (["-o", "x", "--format=stream", SAMPLE], "--format=stream is for --to=-"),
    (["-o", "x", "--format=qcow2", SAMPLE], "--format is raw or stream, not 'qcow2'"),
    (["-o", "-", "-b", "a", SAMPLE], "parts of a disk need an existing file, or --to=- with --format=stream"),
    (["-o", "-", "-j", SAMPLE], "standard output has the disk: --json and --to=- at once"),
    (["-o", "x", "-b", "a", "--ranges=x", SAMPLE], "either --bitmap or --ranges"),
    (["-o", "x", "-b", "a", "-l", "1", SAMPLE], "bitmaps are of the active disk: --bitmap and --snapshot at once"),
    (["-o", "x", "--sparse", "--preallocate", SAMPLE], "either --sparse or --preallocate"),
    (["-o", "x", "--ranges=x", "--preallocate", SAMPLE], "--preallocate is for a new file"),
    (["-o", "x", "--manifest=-", SAMPLE], "--manifest needs a file"),
    (["--verify", "x"], "--verify needs manifests and the file that was exported"),
    (["--verify", "-o", "x", "x", "y"], "--verify exports nothing"),
])
def test_wrong_lines(words, message):
    done = run("export", *words)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.decode().splitlines()[0] == f"qcow2 export: {message}"


# ---- a new file ----

def test_a_new_file_is_sparse_and_said(disk, tmp_path):
    target = tmp_path / "disk.raw"
    done = run("export", disk, "-o", target)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"256 KiB of data and 7.75 MiB of zeros exported, of a disk of 8 MiB\n"
    assert read(target) == content(disk)
    assert os.stat(target).st_blocks * 512 == 256 * K
    assert run("export", "-q", "-f", disk, "-o", target).stdout == b""
    assert sorted(os.listdir(tmp_path)) == ["disk.qcow2", "disk.raw"]


def test_zeros_are_found_in_units_of_4k(tmp_path):
    path, target = str(tmp_path / "a"), str(tmp_path / "a.raw")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "4M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 0 0 2M", "-c", "write -P 7 64k 4k", "-c", "write -P 9 1061k 512",
                    "-c", "write -P 1 2047k 2k", path], check=True, stdout=subprocess.DEVNULL)
    exported(path, "-o", target)
    assert read(target) == content(path) and os.stat(target).st_blocks * 512 == 16 * K


def test_existing_files_stay_without_force(disk, tmp_path):
    target = write(tmp_path / "target", b"precious")
    refused(disk, "-o", target, says="target: it exists already: --force replaces it")
    assert read(target) == b"precious"
    link = tmp_path / "link"
    link.symlink_to("target")
    exported(disk, "-f", "-o", link)
    assert link.is_symlink() and read(target) == content(disk)
    for name in ("/dev/null", "/dev/zero", str(tmp_path)):
        refused(disk, "-f", "-o", name, says="no file and no block device")
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    refused(disk, "-f", "-o", fifo, says="no file and no block device")
    refused(disk, "-o", str(tmp_path / "no" / "folder"), says="No such file or directory")


def test_the_target_is_never_a_file_of_the_disk(disk, tmp_path):
    overlay, link, none = str(tmp_path / "overlay"), str(tmp_path / "link"), write(tmp_path / "none", b"[]")
    build("size 8M\nbacking disk.qcow2 qcow2\n", overlay)
    os.link(disk, link)
    before = read(disk)
    for words in ([disk, "-f", "-o", disk], [disk, "-f", "-o", link], [disk, "-b", "nightly", "-o", link],
                  [overlay, "--chain", "-f", "-o", link], [overlay, "--chain", "--ranges", none, "-o", disk]):
        refused(*words, says="it is a file of the disk that is exported")
    with open(disk, "r+b") as stream:
        done = subprocess.run([QCOW2, "export", overlay, "--chain", "-o", "-"], stdout=stream, check=False,
                              stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"it is a file of the disk that is exported" in done.stderr
    assert read(disk) == before and not [name for name in os.listdir(tmp_path) if ".part-" in name]


def test_nothing_is_written_to_what_a_machine_uses(disk, tmp_path):
    target = write(tmp_path / "target", bytes(8 * M))
    with subprocess.Popen(["qemu-io", "-f", "raw", target], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        user.stdin.write(b"length\n")
        user.stdin.flush()
        assert b"8 MiB" in user.stdout.readline()
        refused(disk, "-f", "-o", target, says="in use")
        refused(disk, "-b", "nightly", "-o", target, says="in use")
        user.communicate(b"quit\n")
    assert read(target) == bytes(8 * M)


def test_preallocated(disk, tmp_path):
    exported(disk, "-o", tmp_path / "a", "--preallocate", "--no-sync")
    assert os.stat(tmp_path / "a").st_blocks * 512 >= 8 * M and read(tmp_path / "a") == content(disk)


def test_snapshots_and_chains(tmp_path):
    base, top = str(tmp_path / "base"), str(tmp_path / "top")
    build("size 2M\nwrite 0 64k pattern=1\nsnapshot 1 name=one\nwrite 0 64k pattern=2\nwrite 1M 64k pattern=3\n", base)
    build("size 4M\nbacking base qcow2\nwrite 64k 64k pattern=4\n", top)
    exported(base, "-o", tmp_path / "a", "--snapshot=one")
    assert read(tmp_path / "a") == content(base, "-l", "snapshot.name=one")
    exported(top, "-o", tmp_path / "b", "--chain")
    assert read(tmp_path / "b") == content(top)
    refused(top, "-o", tmp_path / "c", says="add --chain")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "base", "top"]


# ---- what fails leaves nothing ----

def test_a_damaged_disk_leaves_nothing(tmp_path):
    path = shutil.copy(recipe_image("bad-data-beyond-end")[0], tmp_path / "a")
    refused(path, "-o", tmp_path / "b", "--manifest", tmp_path / "c", says="0x")
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_leaves_nothing(disk, tmp_path):
    """Files can only grow to 4 MiB here; and a device without room, at each write."""
    def bound():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 * M, 4 * M))
    done = run("export", disk, "-o", tmp_path / "a", preexec_fn=bound)
    assert done.returncode == 1 and b"a: no file can have the 8388608 bytes of the disk here: File too large" \
        in done.stderr, done
    assert os.listdir(tmp_path) == ["disk.qcow2"]


@pytest.fixture(name="crash", scope="module")
def fixture_crash(tmp_path_factory):
    """Stops at the n-th change of a file, on one processor, so that it is always the same one."""
    library = shims.build("crash", tmp_path_factory.mktemp("shim"))

    def call(folder, number, how, *words):
        log = folder / "log"
        done = subprocess.run(["taskset", "-c", str(min(os.sched_getaffinity(0))), RELEASE, "export", *map(str, words)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60,
                              env={**os.environ, "LD_PRELOAD": library, "CRASH_AT": str(number), "CRASH_HOW": how,
                                   "CRASH_LOG": str(log), "QCOW2_SANDBOX": "off"})
        reached = log.exists()
        log.unlink(missing_ok=True)
        return done, reached
    return call


def each_stop(crash, folder, how, *words):
    for number in range(1, 60):
        done, reached = crash(folder, number, how, *words)
        if not reached:
            assert number > 4
            return
        yield done
    assert False, "no end of changes"


@pytest.mark.parametrize("how", ["ENOSPC", "EIO", "full", "short", "before", "after", "half"])
def test_a_new_file_is_whole_or_not_there(disk, tmp_path, crash, how):
    whole, target = content(disk), tmp_path / "a.raw"
    for done in each_stop(crash, tmp_path, how, disk, "-o", target, "--manifest", tmp_path / "m"):
        assert not target.exists() or read(target) == whole
        left = {name for name in os.listdir(tmp_path) if name != "disk.qcow2"}
        if done.returncode == 1:
            assert left <= {"a.raw", "m"} and done.stdout == b"", (done, left)
            assert b"No space left" in done.stderr or b"Input/output error" in done.stderr
        elif done.returncode == 0:
            assert left == {"a.raw", "m"} and target.exists()
        else:
            assert done.returncode == -signal.SIGKILL
        if "m" in left and target.exists():
            assert run("export", "--verify", tmp_path / "m", target).returncode == 0
        for name in left:
            os.unlink(tmp_path / name)


def endless(path):
    """An image of 512 GiB, all of it the same cluster of zeros: nothing is written, but all is read."""
    build("cluster_bits 21\nsize 512G\nwrite 0 2M pattern=0\n", path)
    with open(path, "r+b") as stream:
        stream.seek(40)
        stream.seek(int.from_bytes(stream.read(8), "big"))
        table = int.from_bytes(stream.read(8), "big") & (1 << 56) - 512
        stream.seek(table)
        entry = (int.from_bytes(stream.read(8), "big") & (1 << 56) - 512).to_bytes(8, "big")
        stream.seek(table)
        stream.write(entry * (2 * M // 8))
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_leave_nothing(tmp_path, number):
    path = endless(str(tmp_path / "a"))
    with subprocess.Popen([RELEASE, "export", path, "-o", str(tmp_path / "b")]) as child:
        for _ in range(1000):
            if len(os.listdir(tmp_path)) > 1:
                break
            time.sleep(0.01)
        # The file is there before it is caught that somebody ends the command.
        time.sleep(0.05)
        child.send_signal(number)
        assert child.wait(timeout=60) in (-number, 128 + number)
    assert os.listdir(tmp_path) == ["a"]


def test_time_limit_leaves_nothing(tmp_path):
    path = endless(str(tmp_path / "a"))
    done = run("export", path, "-o", tmp_path / "b", "--time-limit=1", program=RELEASE)
    assert done.returncode == 1 and b"the time limit of 1 s is over" in done.stderr, done
    assert os.listdir(tmp_path) == ["a"]


# ---- standard output ----

def test_a_pipe_gets_all_bytes(disk):
    done = run("export", disk, "-o", "-")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout == content(disk)
    assert run("export", "-q", disk, "-o", "-").stdout == done.stdout


def test_a_pipe_that_is_closed(disk):
    for how in ("raw", "stream"):
        done = subprocess.run(f"{QCOW2} export {disk} -o - --format={how} | head -c 10", shell=True, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        assert len(done.stdout) == 10
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QCOW2, "export", disk, "-o", "-"], stdout=full, stderr=subprocess.PIPE, check=False,
                              timeout=60)
    assert done.returncode == 1 and b"standard output: No space left on device" in done.stderr


def test_the_stream(disk, tmp_path):
    stream = run("export", disk, "-o", "-", "--format=stream").stdout
    assert len(stream) < M and load(stream) == content(disk)
    part = run("export", disk, "-o", "-", "--format=stream", "-b", "nightly").stdout
    assert load(part, content(disk)) == content(disk)
    empty = run("export", disk, "-o", "-", "--format=stream", "--ranges", write(tmp_path / "l", b"[]")).stdout
    assert len(empty) == 48 and load(empty, b"x" * 8 * M) == b"x" * 8 * M


def test_a_stream_that_is_cut_or_changed(disk):
    stream = run("export", disk, "-o", "-", "--format=stream", "-b", "nightly").stdout
    rng = random.Random(1)
    places = [*range(0, 48, 3), *range(len(stream) - 48, len(stream), 5), *rng.sample(range(len(stream)), 5)]
    for place in places:
        with pytest.raises(Exception):
            load(stream[:place])
        with pytest.raises(Exception):
            load(stream[:place] + bytes([stream[place] ^ 1 << rng.randrange(8)]) + stream[place + 1:])
    with pytest.raises(Exception):
        load(stream + b"x")


def test_no_terminal_gets_a_disk(disk):
    main, other = os.openpty()
    done = subprocess.run([QCOW2, "export", disk, "-o", "-"], stdout=other, stderr=subprocess.PIPE, check=False,
                          timeout=60)
    os.close(main)
    os.close(other)
    assert done.returncode == 1 and b"a disk is not for a terminal" in done.stderr


# ---- a part, in place ----

DIRTY = [(1 * M, 64 * K), (3 * M, 128 * K), (7 * M, 64 * K)]


def test_bitmaps_in_place(disk, tmp_path):
    """Only what is dirty is written, zeros, too."""
    old = b"\xee" * (8 * M)
    target, want, now = write(tmp_path / "t", old), bytearray(old), content(disk)
    for start, length in DIRTY:
        want[start:start + length] = now[start:start + length]
    assert exported(disk, "-b", "nightly", "-o", target) == {
        "virtual-size": 8 * M, "exported": 256 * K, "data": 192 * K, "zero": 64 * K, "unreadable": []}
    assert read(target) == want
    want[64 * K:128 * K] = bytes(64 * K)
    exported(disk, "-b", "nightly", "-b", "weekly", "-o", target)
    assert read(target) == want


def test_disabled_bitmaps_are_told(disk, tmp_path):
    """They are as sound as they were, and nobody records what is written now."""
    target = write(tmp_path / "t", bytes(8 * M))
    assert run("bitmap", "disable", disk, "nightly").returncode == 0
    done = run("export", disk, "-b", "nightly", "-o", target)
    assert done.returncode == 0 and read(target)[1 * M:1 * M + 64 * K] == b"\x11" * 64 * K
    assert done.stderr.decode() == (f"qcow2 export: {disk}: bitmap 'nightly': disabled: what was written since then "
                                    "is not in it\n")
    assert run("export", "-q", disk, "-b", "nightly", "-o", target).stderr == b""
    # Those of before are disabled where a backup keeps one for each of its points in time.
    assert run("export", disk, "-b", "nightly", "-b", "weekly", "-o", target).stderr == b""


def test_targets_of_another_size(disk, tmp_path):
    for size, grows in ((0, True), (5 * M + 512, True), (8 * M, True), (8 * M + 1, False)):
        target = write(tmp_path / "t", b"\xee" * size)
        if not grows:
            assert "it has 8388609 bytes, and the disk has only 8388608" in refused(
                disk, "-b", "nightly", "-o", target, says="it is no export of this disk")
            assert read(target) == b"\xee" * size
            continue
        exported(disk, "-b", "nightly", "-o", target)
        want, now = bytearray(b"\xee" * size + content(disk)[size:]), content(disk)
        for start, length in DIRTY:
            want[start:start + length] = now[start:start + length]
        assert read(target) == want
    refused(disk, "-b", "nightly", "-o", tmp_path / "new", says="a full export, which is made without --bitmap")


@pytest.mark.parametrize("name, says", [
    ("used", "bitmap 'used': in use: it was not saved, and may lack writes; make a full export, and "
             "'qcow2 bitmap repair --assume-dirty' for the next ones"),
    ("none", "bitmap 'none': there is no bitmap of that name; there are nightly, weekly, used"),
])
def test_bitmaps_that_cannot_be_used(disk, tmp_path, name, says):
    target = write(tmp_path / "t", bytes(8 * M))
    refused(disk, "-b", name, "-o", target, "--manifest", tmp_path / "m", says=says)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("recipe, name, says", [
    ("good-bitmap-autoclear-cleared", None,
     "inconsistent: a program that knows no bitmaps changed the image; make a full export, and "
     "'qcow2 bitmap repair --assume-dirty' for the next ones\n"),
    ("bad-bitmap-entry-reserved-low", None, "bitmap-entry-reserved"),
    ("bad-bitmap-table-unaligned", None, "bitmap-table-"),
])
def test_damaged_bitmaps(tmp_path, recipe, name, says):
    path = recipe_image(recipe)[0]
    names = [row["name"] for row in json.loads(run("bitmap", "list", "-j", path).stdout)["bitmaps"]]
    target = write(tmp_path / "t", b"")
    said = [run("export", path, "-b", name, "-o", target).stderr.decode() for name in names]
    assert names and any(says in line for line in said), said
    assert read(target) == b""


def test_raw_disks_have_no_bitmaps(tmp_path):
    raw, target = write(tmp_path / "raw", b"x" * 4096), write(tmp_path / "t", bytes(4096))
    refused(raw, "-b", "a", "-o", target, says="a raw file has no bitmaps")
    exported(raw, "-f", "-o", target)
    assert read(target) == read(raw)


LISTS = ["3145728 196608 dirty\n0 1048576 clean\n\n# a remark\n1M 64k\n",
         '[{"start": 3145728, "length": 196608, "dirty": true}, {"start": 0, "length": 512, "dirty": false},\n'
         '{"length": 65536, "start": 1048576, "more": {"a": ["]", 1, null]}}]',
         '{"start": 3145728, "length": 131072, "dirty": true}\n{"start": 1048576, "length": 65536}\n'
         '{"start": 3200000, "length": 142336}\n']


@pytest.mark.parametrize("text", LISTS)
def test_lists_of_ranges(disk, tmp_path, text):
    listed, target = write(tmp_path / "l", text.encode()), write(tmp_path / "t", b"\xee" * (8 * M))
    want, now = bytearray(read(target)), content(disk)
    for start, length in ((1 * M, 64 * K), (3 * M, 192 * K)):
        want[start:start + length] = now[start:start + length]
    exported(disk, "--ranges", listed, "-o", target)
    assert read(target) == want
    with open(listed, "rb") as stream:
        done = run("export", disk, "--ranges=-", "-o", write(tmp_path / "u", b"\xee" * (8 * M)), stdin=stream)
    assert done.returncode == 0 and read(tmp_path / "u") == want


def test_what_bitmap_extents_prints_is_a_list(disk, tmp_path):
    for kind in ("human", "json", "ndjson"):
        listed = write(tmp_path / "l", run("bitmap", "extents", f"--output={kind}", disk, "nightly").stdout)
        one, other = (write(tmp_path / name, b"\xee" * (8 * M)) for name in "ab")
        exported(disk, "--ranges", listed, "-o", one)
        exported(disk, "-b", "nightly", "-o", other)
        assert read(one) == read(other)


@pytest.mark.parametrize("text, says", [
    ("0\n", "line 1: a start and a length are needed"), ("\n0 x\n", "line 2: "), ("0 1 wet\n", "line 1: behind"),
    ("-1 5\n", "line 1: "), ("99999999999999999999 1\n", "line 1: "),
    ("[{}]", 'range 1: not an object with "start" and "length"'), ("[1]", "range 1: "), ("[", "range 1: "),
    ('[{"start": 0, "length": 1}] x', "something follows"), ('{"start": 0, "length": -1}', "range 1: "),
    ('[{"start": 0, "length": 18446744073709551616}]', "range 1: "),
])
def test_lists_that_make_no_sense(disk, tmp_path, text, says):
    target = write(tmp_path / "t", bytes(8 * M))
    refused(disk, "--ranges", write(tmp_path / "l", text.encode()), "-o", target, says=says)


def test_ranges_of_any_size_and_past_the_end(disk, tmp_path):
    listed, target = write(tmp_path / "l", b"8388600 100\n3145729 3\n18446744073709551615 18446744073709551615\n"), \
        write(tmp_path / "t", b"\xee" * (8 * M))
    assert exported(disk, "--ranges", listed, "-o", target)["exported"] == 11
    data = read(target)
    assert data[3145728:3145733] == b"\xee\x22\x22\x22\xee" and data[8388599:] == b"\xee" + bytes(8)


# ---- manifests ----

def test_a_manifest_and_its_proof(disk, tmp_path):
    target, first = tmp_path / "t", tmp_path / "m"
    exported(disk, "-o", target, "--manifest", first)
    document = manifest(first)
    assert document["state"] == "complete" and document["virtual-size"] == 8 * M
    assert sum(row["length"] for row in document["ranges"]) == 8 * M
    done = run("export", "--verify", first, target)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"8 MiB as exported\n", b"")
    with open(target, "r+b") as stream:
        stream.seek(3 * M + 5)
        stream.write(b"!")
        stream.seek(7 * M)
        stream.write(b"!")
    done = run("export", "--verify", first, target)
    assert done.returncode == 2 and b"it is not what was exported" in done.stderr
    assert done.stdout == (b"3145728 196608 differs\n7340032 1048576 differs\n"
                           b"6.81 MiB as exported, 1.19 MiB different\n")
    told = json.loads(run("export", "--verify", "-j", first, target).stdout)
    assert told["differences"] == [{"start": 3 * M, "length": 192 * K}, {"start": 7 * M, "length": M}]
    os.truncate(target, 8 * M - 1)
    refused("--verify", first, target, says="it has 8388607 bytes, and the exported disk has 8388608")


def test_a_chain_of_manifests(disk, tmp_path):
    target, first, second = str(tmp_path / "t"), tmp_path / "1", tmp_path / "2"
    exported(disk, "-o", target, "--manifest", first)
    subprocess.run(["qemu-io", "-c", "write -P 9 3M 64k", "-c", "write -z 1M 64k", "-c", "write -P 5 7M 64k", disk],
                   check=True, stdout=subprocess.DEVNULL)
    exported(disk, "-b", "nightly", "-o", target, "--manifest", second)
    assert read(target) == content(disk) and len(manifest(second)["bitmaps"]) == 1
    assert run("export", "--verify", second, target).returncode == 0
    assert run("export", "--verify", first, target).returncode == 2
    told = json.loads(run("export", "--verify", "-j", first, second, target).stdout)
    assert told == {"proven": 8 * M - 64 * K, "unproven": 64 * K, "different": 0, "differences": [], "unreadable": []}
    refused("--verify", second, first, target, says="it is of a full export, which comes first")


def test_manifests_are_replaced_with_force_only(disk, tmp_path):
    first = str(tmp_path / "m")
    exported(disk, "-o", tmp_path / "t", "--manifest", first)
    refused(disk, "-o", tmp_path / "u", "--manifest", first, says="m: it exists already: --force replaces it")
    assert sorted(os.listdir(tmp_path)) == ["disk.qcow2", "m", "t"]
    exported(disk, "-f", "-o", tmp_path / "t", "--manifest", first)
    refused(disk, "-b", "weekly", "-o", tmp_path / "t", "--manifest", first, says="it exists already")
    assert run("export", "--verify", first, tmp_path / "t").returncode == 0


@pytest.mark.parametrize("change", ["cut", "state", "version", "digest", "order", "large", "junk"])
def test_manifests_that_make_no_sense(disk, tmp_path, change):
    first, target = tmp_path / "m", tmp_path / "t"
    exported(disk, "-o", target, "--manifest", first)
    document, text = manifest(first), read(first)
    row = next(row for row in document["ranges"] if "sha256" in row)
    if change == "digest":
        row["sha256"] = row["sha256"][:-2]
    elif change == "order":
        document["ranges"].reverse()
    elif change == "large":
        document["virtual-size"] = 4 * M
    elif change == "version":
        document["format-version"] = 2
    elif change == "state":
        document["state"] = "in progress"
    text = {"cut": text[:-3], "junk": text + b"x"}.get(change, json.dumps(document).encode())
    write(first, text)
    refused("--verify", first, target, says={"version": "a version that is not known", "state": "in progress"}.get(
        change, "no manifest, as 'qcow2 export --manifest' writes them"))


# ---- crashes in between ----

@pytest.mark.parametrize("how", ["before", "after", "half", "EIO", "full"])
def test_an_increment_that_is_repeated(disk, tmp_path, crash, how):
    """Wherever it ends, the manifest says so, and the same line again makes the same target."""
    old = b"\xee" * (8 * M)
    want = read(write(tmp_path / "want", old))
    exported(disk, "-b", "nightly", "-o", tmp_path / "want")
    want, target, record = read(tmp_path / "want"), str(tmp_path / "t"), tmp_path / "m"
    words = (disk, "-b", "nightly", "-o", target, "--manifest", record)
    write(target, old)
    for done in each_stop(crash, tmp_path, how, *words):
        if done.returncode == 0:
            assert read(target) == want
        elif read(target) != old:
            assert manifest(record)["state"] == "in progress" or read(target) == want
            if manifest(record)["state"] != "complete":
                refused("--verify", record, target, says="the export is in progress, or was cut off: repeat it")
        if record.exists() and manifest(record)["state"] == "complete":
            assert read(target) == want
            record.unlink()
        assert run("export", *words).returncode == 0
        assert read(target) == want and manifest(record)["state"] == "complete"
        assert run("export", "--verify", record, target).returncode == 0
        record.unlink()
        write(target, old)


# ---- what cannot be read ----

def test_salvage(tmp_path):
    path, target = str(tmp_path / "a"), tmp_path / "b"
    build("size 4M\nwrite 0 256k pattern=7\nset l2/0/1 0x8000000100000000\nset l2/0/3 0x8000000000050200\n", path)
    done = run("export", "-j", path, "-o", target, "--salvage", "--manifest", tmp_path / "m")
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert [(row["start"], row["length"]) for row in told["unreadable"]] == [(64 * K, 64 * K), (192 * K, 64 * K)]
    assert all(row["depth"] == 0 and row["reason"] for row in told["unreadable"])
    want = bytearray(b"\7" * 256 * K + bytes(4 * M - 256 * K))
    want[64 * K:128 * K] = want[192 * K:256 * K] = bytes(64 * K)
    assert read(target) == want and manifest(tmp_path / "m")["unreadable"] == told["unreadable"]
    assert done.stderr.count(b"65536 bytes at 0x") == 2 and b"of the disk are zeros instead" in done.stderr
    refused(path, "-o", tmp_path / "c", says="0x")
    piped = run("export", path, "-o", "-", "--salvage")
    assert piped.returncode == 2 and piped.stdout == want


def test_salvage_without_the_base(tmp_path):
    path, target = str(tmp_path / "a"), tmp_path / "b"
    build("size 4G\nbacking gone.qcow2 qcow2\nwrite 1M 64k pattern=7\n", path)
    refused(path, "-o", target, says="add --chain")
    refused(path, "--chain", "-o", target, says="gone.qcow2")
    for words in ([], ["--chain"]):
        told = exported(path, "-f", "-o", target, "--salvage", *words, code=2)
        assert [(row["start"], row["length"]) for row in told["unreadable"]] == \
            [(0, M), (M + 64 * K, 4096 * M - M - 64 * K)]
    with open(target, "rb") as stream:
        assert stream.read(M) == bytes(M) and stream.read(64 * K) == b"\7" * 64 * K


def test_tables_that_cannot_be_read(disk, tmp_path, shim):
    """A read fails once: with --salvage it is read again, or its ranges are told; all else is there."""
    from tests.support.faults import each_fault
    target = tmp_path / "t"
    for _, done in each_fault(shim, ["export", "-j", disk, "-f", "-o", str(target), "--salvage"], "FAIL_READ"):
        # What is read once more can be read then.
        assert done.returncode in (0, 1, 2), done
        if done.returncode != 1:
            told, want = json.loads(done.stdout), bytearray(content(disk))
            for row in told["unreadable"]:
                want[row["start"]:row["start"] + row["length"]] = bytes(row["length"])
            assert read(target) == want


@pytest.mark.parametrize("words", [["-o", "{}"], ["-b", "nightly", "-o", "{}", "--manifest={}.m"],
                                   ["-o", "-", "--format=stream"]], ids=" ".join)
def test_faults(disk, tmp_path, shim, words):
    """Each allocation and each read that fails is an error, and a new file is not there then."""
    from tests.support.faults import each_fault, fault
    target = str(tmp_path / "t")
    words = ["export", disk, "--force", *[word.format(target) for word in words]]
    if "-b" in words:
        write(target, bytes(8 * M))
    good, _ = fault(shim, words)
    assert good.returncode == 0, good
    for call in ("FAIL_ALLOC", "FAIL_READ"):
        for _, done in each_fault(shim, words, call):
            # a thread that cannot be made is done without
            assert done.returncode == 1 or (done.returncode == 0 and call == "FAIL_ALLOC" and
                                            done.stdout == good.stdout), done
            assert done.returncode == 0 or done.stderr.count(b"\n") == 1, done
            if "-b" not in words:
                assert not [name for name in os.listdir(tmp_path) if ".part-" in name]


# ---- hostile images ----

def test_memory_is_bounded(tmp_path):
    """A disk of terabytes, all of it compressed clusters that come to 2 MiB each."""
    path = recipe_image("good-hostile-sparse-terabytes")[0]
    code, memory, _ = peak("export", path, "-o", "-", "--format=stream")
    assert code in (0, 1, 2) and memory < 160 * M
    bomb = str(tmp_path / "bomb")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", f"{bomb}.raw", "256M"],
                   check=True)
    subprocess.run(["qemu-io", "-c", "write -P 5 0 256M", f"{bomb}.raw"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "cluster_size=2M", f"{bomb}.raw", bomb], check=True)
    os.unlink(f"{bomb}.raw")
    code, memory, size = peak("export", bomb, "-o", "-")
    assert code == 0 and size == 256 * M and memory < 160 * M
