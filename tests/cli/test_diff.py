# SPDX-License-Identifier: MIT
# qcow2 diff: what qemu-img, qemu-io and our own edits do to an image, by path and nothing else; what
# belongs together, wherever it lies; what cannot be compared.
"""Comparing the structures of two images."""
import json
import os
import re
import shutil
import struct
import subprocess

import pytest

from tests.forge import build, recipes
from tests.support import shims
from tests.support.faults import each_fault
from tests.support.outside import complaint, harmless, text_of
from tests.support.programs import QCOW2, RELEASE, SAMPLE, image, recipe_image, run

MIB = 1 << 20
NOTHING = "no structure differs; guest data is not compared\n"


def diff(one, other, *words, program=QCOW2):
    done = run("diff", "-j", *words, one, other, program=program)
    assert done.returncode in (0, 3), done
    answer = json.loads(done.stdout)
    assert answer["same"] == (done.returncode == 0) == (answer["differences"] == [])
    return answer


def paths(answer):
    return [one["path"] for one in answer["differences"]]


def values(answer):
    """path → the values of both, of single fields."""
    return {one["path"]: tuple(side and side.get("value") for side in (one["a"], one["b"]))
            for one in answer["differences"]}


def twin(path, place):
    copy = os.path.join(place, "twin.qcow2")
    shutil.copyfile(path, copy)
    return copy


def patched(path, place, *patches):
    """A copy with other bytes: (offset, bytes) each."""
    copy = twin(path, place)
    with open(copy, "r+b") as stream:
        for offset, data in patches:
            stream.seek(offset)
            stream.write(data)
    return copy


# ---- what commands do ----

@pytest.fixture(name="base", scope="module")
def fixture_base(tmp_path_factory):
    """An image with data and a snapshot, as QEMU makes it."""
    path = str(tmp_path_factory.mktemp("diff") / "base.qcow2")
    theirs("qemu-img", "create", "-q", "-f", "qcow2", path, "1G")
    theirs("qemu-io", "-c", "write 0 256k", "-c", "write 1M 64k", path)
    theirs("qemu-img", "snapshot", "-c", "s1", path)
    return path


def theirs(*words):
    subprocess.run(words, check=True, timeout=60, stdout=subprocess.DEVNULL)


BITMAP_ADDED = ["header/autoclear_features", "extensions/bitmaps", "bitmaps/b0"]
THEIRS = {
    # command, with the image in place of IMAGE, and what it changes
    "qemu-img resize -q IMAGE 2G": [
        "header/size", "header/l1_size", "header/l1_table_offset", "refcounts/0/3",
        "refcounts/0/12"],
    "qemu-img amend -q -o compat=0.10 IMAGE": [
        "header/version", "header/header_length", "header/compression_type",
        "extensions/feature_names"],
    "qemu-img amend -q -o lazy_refcounts=on IMAGE": ["header/compatible_features"],
    "qemu-img rebase -u -f qcow2 -b /dev/null -F raw IMAGE": [
        "header/backing_file_offset", "header/backing_file_size", "extensions/backing_format",
        "backing_file"],
    "qemu-img snapshot -c s2 IMAGE": [
        "header/nb_snapshots", "header/snapshot_offset", "snapshots/=2", "refcounts/0/4..9",
        "refcounts/0/11", "refcounts/0/12..13"],
    "qemu-img snapshot -d s1 IMAGE": [
        "header/nb_snapshots", "header/snapshot_offset", "l1/0", "l2/0/0..3", "l2/0/16",
        "snapshots/=1", "refcounts/0/4..9", "refcounts/0/10..11"],
    "qemu-img bitmap --add IMAGE b0": [*BITMAP_ADDED, "refcounts/0/12..13"],
    "qemu-io -c discard\\ 0\\ 128k IMAGE": [
        "l1/0", "l2/0/0..1", "refcounts/0/4..6", "refcounts/0/12"],
    "qemu-io -c write\\ 128k\\ 128k IMAGE": [
        "l1/0", "l2/0/2..3", "refcounts/0/4", "refcounts/0/7..8", "refcounts/0/12..14"],
    "qemu-io -c write\\ 600M\\ 64k IMAGE": ["l1/1", "l2/1/1408", "refcounts/0/12..13"],
    "qemu-io -c read\\ 0\\ 1M IMAGE": [],
}


@pytest.mark.parametrize("command", THEIRS)
def test_what_qemu_did(command, base, tmp_path):
    copy = twin(base, tmp_path)
    theirs(*(copy if word == "IMAGE" else word.replace("\0", " ")
             for word in command.replace("\\ ", "\0").split()))
    assert paths(diff(base, copy, program=RELEASE)) == THEIRS[command]


def test_values_of_both(base, tmp_path):
    copy = twin(base, tmp_path)
    theirs("qemu-img", "resize", "-q", copy, "2G")
    assert values(diff(base, copy))["header/size"] == (1 << 30, 1 << 31)
    assert values(diff(copy, base))["header/size"] == (1 << 31, 1 << 30)
    shown = text_of(run("diff", base, copy, program=RELEASE), 3)
    assert "header/size: 1073741824 (1 GiB) → 2147483648 (2 GiB)\n" in shown
    assert "refcounts/0/3: 1 → 0\n" in shown and "guest data" not in shown


def test_one_field_a_line(base, tmp_path):
    """What only one image has: its path, and below it its fields, in lines that can be read."""
    copy = twin(base, tmp_path)
    theirs("qemu-img", "snapshot", "-c", "two words", copy)
    shown = text_of(run("diff", base, copy), 3)
    assert "\n+ snapshots/=2\n    id                             2\n" \
           "    name                           two words\n" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "\n- snapshots/=2\n    id " in text_of(run("diff", copy, base), 3)


def test_bitmaps_of_qemu(base, tmp_path):
    one = twin(base, tmp_path)
    theirs("qemu-img", "bitmap", "--add", one, "b0")
    other = str(tmp_path / "other.qcow2")
    shutil.copyfile(one, other)
    theirs("qemu-img", "bitmap", "--remove", other, "b0")
    assert paths(diff(one, other)) == [*BITMAP_ADDED, "refcounts/0/12..13"]


OURS = {
    "edit set header/l1_size=2": ["header/l1_size"],
    "edit feature compatible lazy-refcounts on": ["header/compatible_features"],
    "bitmap remove a": ["extensions/bitmaps/data/nb_bitmaps",
                        "extensions/bitmaps/data/bitmap_directory_size", "bitmaps/a"],
    "bitmap rename b c": ["bitmaps/b", "bitmaps/c"],
    "bitmap disable b": ["bitmaps/b/flags"],
}


@pytest.mark.parametrize("words", OURS)
def test_what_we_did_and_undid(words, tmp_path):
    """Refcounts and places aside, the paths are what the verb is about; after undo, nothing is."""
    path, _ = image("size 1M\nbitmap a bits=0\nbitmap b bits=1,2 flags=auto\nbitmap d\n")
    copy, undo = twin(path, tmp_path), str(tmp_path / "undo")
    command, *rest = words.split()
    verb, more = ([], rest) if command == "edit" else (rest[:1], rest[1:])
    text_of(run(command, f"--undo-file={undo}", *verb, copy, *more))
    found = [path for path in paths(diff(path, copy)) if not path.startswith("refcounts/") and
             not path.endswith("_offset")]
    assert found == OURS[words]
    text_of(run("undo", undo))
    assert text_of(run("diff", path, copy)) == NOTHING


# ---- what belongs together ----

def test_a_snapshot_in_front_is_removed(tmp_path):
    path, _ = recipe_image("good-snapshots")
    one, other = twin(path, tmp_path), str(tmp_path / "other.qcow2")
    names = json.loads(run("dump", "-j", path, "snapshots").stdout)["snapshots"]
    shutil.copyfile(path, other)
    theirs("qemu-img", "snapshot", "-d", names[0]["name"], other)
    found = [path for path in paths(diff(one, other)) if path.startswith("snapshots/")]
    assert found == [f"snapshots/={names[0]['id']}"]


def test_changed_places(tmp_path):
    """The same bitmaps in another order: that is the difference."""
    one = image("size 1M\nbitmap a bits=0\nbitmap b bits=1\n")[0]
    other = image("size 1M\nbitmap b bits=1\nbitmap a bits=0\n")[0]
    found = values(diff(one, other))
    assert found["bitmaps/a/index"] == (0, 1) and found["bitmaps/b/index"] == (1, 0)
    assert "bitmaps/a/totals/bits-set" not in found


@pytest.mark.parametrize("name,segment", [
    ("7", "=7"), ("a/b", r"a\/b"), ("x..y", "=x..y"), ("sta*r", r"sta\*r"), ("=x", "==x"),
    ("back\\slash", r"back\\slash"), ("ä b", "ä b")])
def test_paths_are_selectors(name, segment, tmp_path):
    path = str(tmp_path / "one.qcow2")
    text_of(run("bitmap", "add", "--no-undo", twin(image("size 1M\nbitmap b\n")[0], tmp_path), name))
    os.rename(tmp_path / "twin.qcow2", path)
    other = twin(path, tmp_path)
    text_of(run("bitmap", "disable", "--no-undo", other, name))
    found = [one for one in diff(path, other)["differences"] if one["path"].endswith("/flags")]
    assert [one["path"] for one in found] == [f"bitmaps/{segment}/flags"]
    shown = json.loads(run("dump", "-j", other, found[0]["path"]).stdout)
    bitmap, = [e for e in shown["extensions"] if "data" in e][0]["data"]["bitmap_directory"]
    assert bitmap["name"] == name and bitmap["flags"] == found[0]["b"]["value"]


def test_ranges(tmp_path):
    """Entries that follow each other are one range, with both first values and the step."""
    path, layout = image("size 1M\nwrite 0 256k\n")
    at = layout.where("l2/0/1")
    moved = patched(path, tmp_path, *((at + 8 * i, struct.pack(">Q", 1 << 63 | (0x100000 +
                                                                             i * 0x10000)))
                                      for i in range(3)))
    one, = diff(path, moved)["differences"]
    assert (one["path"], one["change"], one["first"], one["last"], one["guest"]) == (
        "l2/0/1..3", "moved", 1, 3, 0x10000)
    assert (one["a"]["step"], one["b"]["step"], one["b"]["value"]) == (
        0x10000, 0x10000, 1 << 63 | 0x100000)
    assert one["a"]["offset"] == at and one["a"]["type"] == "data"
    assert text_of(run("diff", path, moved), 3).endswith(
        "→ data 0x100000.. copied (moved)\n")


def test_compressed_clusters_that_moved(tmp_path):
    """Only if the length and the copied bit are the same."""
    path, layout = image("size 1M\ncompressed 0 64k pattern=5\n")
    at = layout.where("l2/0/0")
    with open(path, "rb") as stream:
        entry, = struct.unpack(">Q", stream.read()[at:at + 8])
    for other, change in ((entry + 512, "moved"), (entry + 512 + (1 << 54), "changed"),
                          (entry + (1 << 54), "changed"), (entry + 512 | 1 << 63, "changed")):
        told, = diff(path, patched(path, tmp_path, (at, struct.pack(">Q", other))))["differences"]
        assert (told["path"], told["change"], told["b"]["value"]) == ("l2/0/0", change, other)


def test_headers_without_sense(tmp_path):
    """Whose header it is that does not lead to the tables."""
    path = image("size 1M\nwrite 0 64k\n")[0]
    bad = patched(path, tmp_path, (20, struct.pack(">I", 5)))
    for one, other, whose in ((bad, bad, "both headers make"),
                              (bad, path, "the header of the first image makes"),
                              (path, bad, "the header of the second image makes")):
        assert {gap["reason"] for gap in diff(one, other)["not-compared"]} == {
            f"{whose} no sense, so that no table can be found"}


def test_bits_without_meaning(tmp_path):
    """What reads the same is shown as it is stored."""
    path, layout = image("size 1M\nwrite 0 64k\n")
    at = layout.where("l2/0/5")
    other = patched(path, tmp_path, (at, struct.pack(">Q", 2)))
    assert text_of(run("diff", path, other), 3) == (
        "l2/0/5: unallocated (entry 0x0) → unallocated (entry 0x2)\n")


def test_data_of_bitmaps(tmp_path):
    path, layout = image("size 1M\nbitmap b bits=1\n")
    table = layout.where("bitmaps/b/table/0")
    with open(path, "rb") as stream:
        stream.seek(table)
        data = struct.unpack(">Q", stream.read(8))[0]
    other = patched(path, tmp_path, (data, b"\x04"))
    one, = diff(path, other)["differences"]
    assert (one["path"], one["a"]["bits-set"], one["b"]["bits-set"]) == ("bitmaps/b/data/0", 1, 1)
    assert text_of(run("diff", path, other), 3) == (
        "bitmaps/b/data/0: 1 bits set → 1 bits set, not the same\n")


def test_guest_data_is_not_compared(tmp_path):
    path, layout = image("size 1M\nwrite 0 64k\n")
    with open(path, "rb") as stream:
        stream.seek(layout.where("l2/0/0"))
        data = struct.unpack(">Q", stream.read(8))[0] & ~(1 << 63)
    other = patched(path, tmp_path, (data, b"other"))
    assert text_of(run("diff", path, other)) == NOTHING


# ---- what cannot be compared ----

def test_other_clusters():
    one, other = image("size 1M\ncluster_bits 12\n")[0], image("size 1M\n")[0]
    done = run("diff", one, other)
    assert done.returncode == 3 and b"header/cluster_bits: 12 (4 KiB) " in done.stdout
    assert b"l1, l2, refcount_table, refcounts: not compared: clusters have 4096 bytes and " \
        b"65536 bytes" in done.stderr
    gaps = diff(one, other)["not-compared"]
    assert [gap["path"] for gap in gaps] == ["l1", "l2", "refcount_table", "refcounts"]


def test_other_refcounts():
    one, other = image("size 1M\nrefcount_order 3\n")[0], image("size 1M\n")[0]
    gap, = diff(one, other)["not-compared"]
    assert gap == {"path": "refcounts", "reason": "refcounts have 8 bits and 16 bits"}


@pytest.mark.parametrize("swapped", [False, True])
def test_no_image(swapped, tmp_path):
    """The one that cannot be read is named."""
    other = tmp_path / "other"
    other.write_bytes(b"KDMV" + bytes(1020))
    words = [other, SAMPLE] if swapped else [SAMPLE, other]
    complaint(run("diff", *words), "diff", str(other))
    for missing in ([SAMPLE], [], [SAMPLE, SAMPLE, SAMPLE]):
        done = run("diff", *missing)
        assert done.returncode == 1 and b"--help" in done.stderr and done.stdout == b""


def test_one_image_twice():
    assert text_of(run("diff", SAMPLE, SAMPLE)) == NOTHING
    assert diff(SAMPLE, SAMPLE)["difference-count"] == 0


def test_quiet(base, tmp_path):
    copy = twin(base, tmp_path)
    done = run("diff", "-q", base, copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    other = patched(base, tmp_path, (24, b"\x01"))
    done = run("diff", "-q", base, other)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"", b"")


# Those that take seconds to forge are left to the checks and dumps.
HOSTILE = [name for name in recipes() if "hostile" in name and
           not re.search("6553|262130|snapshots|names-equal|2m$", name)]


def test_hostile_images():
    """An image is the same as itself, and costs little."""
    for name in HOSTILE:
        path, _ = recipe_image(name)
        done = run("diff", path, path, program=RELEASE)
        assert done.returncode == 0, done
        harmless(done.stdout + done.stderr)


def test_names_are_safe(tmp_path):
    """No byte of an image reaches the terminal as it is."""
    one = image("size 1M\n")[0]
    path, _ = recipe_image("good-snapshots")
    for other in (path, recipe_image("good-bitmaps")[0]):
        for words in ([one, other], [other, one]):
            harmless(run("diff", *words).stdout)
    copy = str(tmp_path / "named.qcow2")
    build("size 1M\nbitmap b\n", copy)
    with open(copy, "rb") as stream:
        at = stream.read().rindex(b"b\0\0\0\0\0\0\0")
    bad = patched(copy, tmp_path, (at, b"\x1b"))
    done = run("diff", copy, bad)
    assert done.returncode == 3
    harmless(done.stdout)
    assert b"bitmaps/0" in done.stdout


# ---- failures of the system ----

@pytest.fixture(name="shim", scope="module")
def fixture_shim(tmp_path_factory):
    return shims.build("faults", tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("words", [["-j"], []])
def test_each_failure(shim, words):
    """Whatever call fails, there is one line, and nothing on standard output."""
    arguments = ["diff", *words, image("size 64k\ncluster_bits 9\nbitmap b bits=0\n")[0],
                 image("size 64k\ncluster_bits 9\nwrite 0 1k\nbitmap b bits=1\n")[0]]
    for _, done in each_fault(shim, arguments, "FAIL_ALLOC"):
        assert (done.returncode, done.stdout) == (1, b"") and done.stderr.count(b"\n") == 1, done
        assert b"out of memory" in done.stderr or b"Cannot allocate" in done.stderr
    for _, done in each_fault(shim, arguments, "FAIL_READ"):
        assert (done.returncode, done.stdout) == (1, b"") and b"Input/output" in done.stderr
