# SPDX-License-Identifier: MIT
# Guards: what says that something is wrong, or that something is there, is not given up by accident,
# whatever verb would do it; a plan that mends and clears passes; and each guard is in the documents.
"""What plans may not give up."""
import json
import os
import re
import shutil
import struct
import subprocess

import pytest

from tests.support.programs import QCOW2, TOP, document, image, run

PLAIN = "cluster_bits 12\nsize 1M\nwrite 0 8k\n"
BITMAPS = PLAIN + "bitmap b0 flags=auto bits=0-3\nbitmap b1 flags=0 bits=1\n"
OVERLAY = PLAIN + "backing base.raw raw make=1M\nfeature_names\nextension 0x12345678 \"some data\"\n"
SNAPSHOTS = PLAIN + "snapshot 1 name=one\nwrite 0 4k\nsnapshot 2 name=two\n"
DATA_FILE = "cluster_bits 12\nsize 64k\ndata_file data.raw\nwrite 0 64k\n"


@pytest.fixture(name="copy")
def fixture_copy(tmp_path):
    """Builds an image where it may be changed."""
    def make(text, *breakages):
        target = str(tmp_path / "a.qcow2")
        shutil.copyfile(image(text + "".join(f"{line}\n" for line in breakages))[0], target)
        return target
    return make


def read(path):
    with open(path, "rb") as opened:
        return opened.read()


def edit(path, *lines, force=False):
    """One plan of several lines, as JSON."""
    words = ["edit", "--no-undo", "-j", "-y"] + ["--force"] * force + ["--script=-", path]
    return subprocess.run([QCOW2, *words], input="\n".join(lines).encode(), timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def guards_of(path, *lines):
    """The guards that refuse it, and nothing was changed."""
    before = read(path)
    done = edit(path, *lines)
    assert done.returncode == 1 and done.stdout == b"", done
    assert read(path) == before
    dry = subprocess.run([QCOW2, "edit", "-nj", "--script=-", path], stdout=subprocess.PIPE,
                         input="\n".join(lines).encode(), stderr=subprocess.PIPE, check=False)
    verdict = json.loads(dry.stdout)["verdict"]
    said = " ".join(done.stderr.decode().split())  # its lines fit a terminal
    wrapped = [line for line in done.stderr.decode().splitlines() if line.startswith(" " * 6)]
    assert bool(wrapped) == bool(verdict["refusals"]) and all(len(line) < 80 for line in wrapped)
    for refusal in verdict["refusals"]:
        assert refusal["guard"] in said and refusal["way-out"] in said
    return {refusal["guard"] for refusal in verdict["refusals"]}


def passes(path, *lines):
    done = edit(path, *lines)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counts(path, low=0):
    return [(p["where"], p["expected"]) for p in json.loads(run("check", "-j", path).stdout)["problems"]
            if p["id"] in ("refcount-low", "refcount-high")][low:]


# ---- what snapshots and compressed clusters read as ----

def offsets_of_snapshots(path):
    return [s["l1_table_offset"] for s in document(path, "snapshots")["snapshots"]]


def test_snapshot_with_another_disk(copy):
    """It is found, but it would read as another disk."""
    path = copy(SNAPSHOTS)
    one, two = offsets_of_snapshots(path)
    assert guards_of(path, "set snapshots/0/disk_size=64k") == {"lost-snapshot"}
    assert guards_of(path, f"set snapshots/0/l1_table_offset={two}",
                     f"set snapshots/1/l1_table_offset={one}") == {"lost-snapshot"}
    passes(path, "set snapshots/0/date_sec=7")
    assert edit(path, "set snapshots/0/disk_size=64k", force=True).returncode == 0


def test_snapshot_that_could_not_be_read(copy):
    path = copy(SNAPSHOTS)
    one = offsets_of_snapshots(path)[0]
    assert edit(path, f"set snapshots/0/l1_table_offset={one + 0x123}", force=True).returncode == 0
    passes(path, f"set snapshots/0/l1_table_offset={one}")


def test_compressed_cluster_that_does_not_inflate(copy):
    """The descriptor covers the same host clusters; only inflating shows that it is garbage."""
    path = copy("cluster_bits 12\nsize 1M\ncompressed 64k 8k pattern=mixed\n")
    entry = int(run("dump", "--json", path, "l2/0/16").stdout.decode()
                .split('"entry":')[1].split(",")[0].strip(' "\n}'), 0)
    refused = edit(path, f"set l2/0/16={entry + 3}")
    assert refused.returncode == 1 and b"compressed-inflate" in refused.stderr
    assert edit(path, f"set l2/0/16={entry + 3}", force=True).returncode == 0
    passes(path, "set header/size=2M")  # what was broken before is no problem of this plan
    passes(path, f"set l2/0/16={entry}")
    assert run("check", "--deep", path).returncode == 0


def test_geometry_that_is_mended(copy):
    """What else a plan does that mends cluster_bits is compared with the image mended by that."""
    path = copy(PLAIN)
    assert edit(path, "set header/cluster_bits=60", force=True).returncode == 0
    assert "refcount" in guards_of(path, "set header/cluster_bits=12", "set refcounts/0/4=0")
    passes(path, "set header/cluster_bits=12")
    assert run("check", path).returncode == 0


def test_file_that_becomes_an_image(tmp_path):
    """A file that no right field makes an image is not compared: anything is a beginning."""
    path = str(tmp_path / "short")
    with open(path, "wb") as stream:
        stream.write(b"QFI\xfb" + bytes(40))
    script = "set header/version=2\nset header/cluster_bits=16\nset header/snapshots_offset=0\n"
    done = subprocess.run([QCOW2, "edit", "-nj", "--script=-", path], input=script.encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict["before"] is None and verdict["after"]["corruptions"] > 0
    assert verdict["adds-problems"] is False and done.returncode == 0, done


# ---- dirty and corrupt ----

CLEAR_DIRTY = ("feature incompatible dirty off", "set header/incompatible_features=0",
               "feature incompatible 0 off", "set header/version=2")
LAZY = PLAIN + "lazy_refcounts\ndirty\n"


def behind(copy, *more):
    """Lazy refcounts, and a writer that was killed: counts are behind."""
    layout = image(LAZY)[1]
    return copy(LAZY, *(f"set refcount_of/data/{i} 0" for i in range(2)), *more), layout


@pytest.mark.parametrize("line", CLEAR_DIRTY)
def test_dirty(copy, line):
    path = behind(copy)[0]
    assert "dirty" in guards_of(path, line)
    assert edit(path, line, force=True).returncode == 0


def test_dirty_mended(copy):
    """Counts and bit in one plan, in any order; half of the counts is not enough."""
    path = behind(copy)[0]
    mend = [f"set {where}={count}" for where, count in counts(path)]
    assert len(mend) == 2
    assert guards_of(path, mend[0], CLEAR_DIRTY[0]) == {"dirty"}
    passes(path, CLEAR_DIRTY[0], *mend)
    assert document(path)["header"]["incompatible_features"] == 0
    assert run("check", path).returncode == 0


def test_dirty_with_leaks(copy):
    """A count that is too high was excused as well."""
    path = copy(PLAIN, "leak 1", "lazy_refcounts", "dirty")
    assert guards_of(path, CLEAR_DIRTY[0]) == {"dirty"}


def test_dirty_without_reason(copy):
    passes(copy(LAZY), CLEAR_DIRTY[0])


def test_dirty_and_no_image(copy):
    """A magic number that comes back is no cover for a bit that goes."""
    path = behind(copy, "corrupt")[0]
    assert edit(path, "set header/magic=0 header/version=9", force=True).returncode == 0
    back = "set header/magic=0x514649fb header/version=3"
    assert guards_of(path, back, "set header/incompatible_features=0") == {"dirty", "corrupt"}
    passes(path, back)
    assert document(path)["header"]["incompatible_features"] == 3


def test_dirty_images_are_edited(copy):
    """What touches the header alone passes; what takes clusters takes none that may be used."""
    path = behind(copy)[0]
    passes(path, "feature compatible lazy-refcounts off", "backing set base.raw raw")
    size = os.path.getsize(path)
    done = run("bitmap", "add", "--no-undo", "-j", path, "b0")
    assert done.returncode == 0, done.stderr
    new = [w["offset"] for w in json.loads(done.stdout)["writes"] if w["why"].startswith("bitmap")]
    assert new and all(offset >= size // 4096 * 4096 for offset in new)


def test_tables_of_dirty_images(copy):
    """What loses its last pointer does not leak where it counts as free: it would just be gone."""
    path, layout = behind(copy)
    data = layout.where("data/0")
    for lines in (["set l2/0/0=0"], ["set l1/0=0"], [f"set l2/0/9={1 << 63 | data}", "set l2/0/0=0"]):
        assert "dirty-image" in guards_of(path, *lines)
    # Nobody has to guess once the counts are right.
    mend = [f"set {where}={count}" for where, count in counts(path)]
    mend = [line for line in mend if not line.startswith(f"set refcounts/0/{data // 4096}=")]
    passes(path, "set l2/0/0=0", *mend, CLEAR_DIRTY[0])
    assert run("check", path).returncode == 0


CLEAR_CORRUPT = "feature incompatible corrupt off"


def test_corrupt_bit_alone(copy):
    path = copy(PLAIN, "corrupt")
    for line in ("feature-names rebuild", "set header/compatible_features=1", "backing set x raw",
                 "extension add 0x77 --data=x", "set l2/0/9=1"):
        assert "corrupt-image" in guards_of(path, line)
    assert run("bitmap", "add", "--no-undo", path, "b0").returncode == 1
    passes(path, CLEAR_CORRUPT)
    assert run("check", path).returncode == 0


def test_corrupt_bit_with_its_reason(copy):
    """The L1 table counts as free: exactly that is to be mended."""
    path = copy(PLAIN, "corrupt", "set refcount_of/l1 0")
    assert guards_of(path, CLEAR_CORRUPT) == {"corrupt"}
    assert guards_of(path, "feature-names rebuild") == {"corrupt-image"}
    (where, count), = counts(path)
    passes(path, f"set {where}={count}", CLEAR_CORRUPT)
    assert run("check", path).returncode == 0
    path = copy(PLAIN, "corrupt", "set refcount_of/l1 0")
    passes(path, f"set {where}={count}")
    passes(path, CLEAR_CORRUPT)


def test_dirty_and_corrupt(copy):
    """One after the other."""
    path = copy(LAZY, "corrupt")
    passes(path, CLEAR_CORRUPT)
    passes(path, CLEAR_DIRTY[0])


def test_corrupt_image_and_bitmaps(copy):
    path = copy(BITMAPS, "corrupt")
    for words in (("add", "new"), ("remove", "b0"), ("clear", "b0"), ("enable", "b1"),
                  ("rename", "b0", "new"), ("merge", "b0", "b1")):
        done = run("bitmap", words[0], "--no-undo", path, *words[1:])
        assert done.returncode == 1 and b"corrupt-image" in done.stderr, words
        assert b"feature incompatible corrupt off" in done.stderr


def test_unknown_features(copy):
    path = copy(PLAIN, "incompatible 0x20000")
    done = edit(path, "set header/compatible_features=1")
    assert done.returncode == 1 and b"not known here" in done.stderr


# ---- how data are read, refcounts, flags ----

@pytest.mark.parametrize("text, line", [
    (PLAIN, "set header/crypt_method=1"),
    (PLAIN + "compressed 64k 4k\n",
     "set header/compression_type=1\nfeature incompatible compression-type on"),
    (PLAIN.replace("12", "14"), "feature incompatible extended-L2-entries on"),
    (DATA_FILE, "feature incompatible external-data-file off"),
])
def test_encoding(copy, text, line):
    assert "encoding" in guards_of(copy(text), *line.split("\n"))


def test_repair_of_twins(copy):
    """The one in use goes; the other one, under a new name, is not taken for it."""
    path = copy(PLAIN + "bitmap twin flags=in_use,auto bits=0\nbitmap twin flags=auto bits=1\n")
    done = run("bitmap", "repair", "--no-undo", "--drop-bad", path)
    assert done.returncode == 0, done.stderr
    found = json.loads(run("bitmap", "list", "-j", path).stdout)["bitmaps"]
    assert [(one["name"], one["state"]) for one in found] == [("twin-1", "enabled")]


@pytest.mark.parametrize("line", ["set luks/key_bytes=32", "set luks/mk_digest_iter=1",
                                  "set luks/payload_offset=4041",
                                  "set luks/key-slots/0/iterations=7"])
def test_keys(copy, line):
    """Another LUKS header makes noise of the data; a damaged one may be mended."""
    assert guards_of(copy(PLAIN + "luks1 slots=2\n"), line) >= {"encoding"}
    path = copy(PLAIN + "luks1 slots=2\n", "set luks/version 7")
    passes(path, "set luks/version=1")
    assert guards_of(path, line) >= {"encoding"}


def test_encoding_of_nothing(copy):
    passes(copy("cluster_bits 14\nsize 1M\n"), "feature incompatible extended-L2-entries on")


def test_refcounts_and_copied(copy):
    path = copy(PLAIN)
    assert "refcount" in guards_of(path, "set refcounts/0/1=0")
    entry = document(path, "l2/0/0/entry")
    value = entry["l2"][0]["entries"][0]["entry"]
    assert guards_of(path, f"set l2/0/0={value & ~(1 << 63)}") == {"copied"}
    path = copy(PLAIN, "set refcount_of/l1 0")
    assert "refcount" in guards_of(path, "set refcounts/0/0=0")
    passes(path, "set header/compatible_features=1")


def test_raw_data_file(copy):
    raw = "feature autoclear raw-external-data on"
    assert guards_of(copy(DATA_FILE, "zero 4k 4k"), raw) == {"raw-data-file"}
    assert "raw-data-file" in guards_of(copy(DATA_FILE.replace("64k\n", "60k\n", 2).replace(
        "size 60k", "size 64k")), raw)
    path = copy(DATA_FILE)
    passes(path, raw)
    passes(path, raw.replace("on", "off"))


def test_shared_cluster(copy):
    """A guest cluster on a refcount block: each change of a count changes the disk."""
    path = copy(PLAIN, "set l2/0/0 @refcounts/0 | 1<<63")
    done = run("bitmap", "add", "--no-undo", path, "b0")
    assert done.returncode == 1 and b"shared-cluster" in done.stderr
    passes(path, "set header/compatible_features=1")


def test_shared_table(copy):
    """Before the guest writes, a snapshot and the disk have one L2 table."""
    text = PLAIN + "snapshot 1 name=one\n"
    path, layout = copy(text), image(text)[1]
    for entry in (9, 0):
        value = layout.value(f"l2/0/{entry}") | 1
        assert guards_of(path, f"set l2/0/{entry}={value}") == {"shared-table"}
    path = copy(text + "write 0 4k\n")
    passes(path, "set l2/0/9=1")
    path = copy(text, "set l2/0/0 $l2/0/0 | 1<<63")
    passes(path, f"set l2/0/0={layout.value('l2/0/0') & ~(1 << 63)}")
    share = "cluster_bits 9\nsize 256k\nwrite 0 4k\nshare_l2 0 1 2\n"
    assert "shared-table" in guards_of(copy(share), "set l2/0/9=1")


def test_tables_in_the_header(copy):
    path = copy(SNAPSHOTS, "set header/snapshots_offset 0")
    done = edit(path, "set snapshots/0/vm_clock_nsec=5")
    assert done.returncode == 1 and b"inside the header" in done.stderr, done


@pytest.mark.parametrize("breakage, path", [
    ("set refcount_table/0 1<<50", "refcounts/0/5=1"), ("set l1/0 1<<50", "l2/0/0=1"),
    ("set header/snapshots_offset 1<<50", "snapshots/0/date_sec=1"),
])
def test_tables_behind_the_end(copy, breakage, path):
    """Nothing is set there, which would make a file of petabytes."""
    image_ = copy(SNAPSHOTS, breakage)
    size = os.path.getsize(image_)
    assert edit(image_, f"set {path}", force=True).returncode == 1
    assert os.path.getsize(image_) == size


# ---- bitmaps ----

def test_bitmaps_bit(copy):
    path = copy(BITMAPS)
    for line in ("feature autoclear bitmaps off", "set header/autoclear_features=0"):
        assert "bitmaps-bit-cleared" in guards_of(path, line)
    path = copy(BITMAPS, "set header/autoclear_features 0")
    for line in ("feature autoclear bitmaps on", "set header/autoclear_features=1"):
        assert guards_of(path, line) == {"bitmaps-bit"}
    # All dirty is never wrong; in use is not believed.
    path = copy(PLAIN + "bitmap b0 table=ones\nbitmap b1 flags=in_use bits=1\n",
                "set header/autoclear_features 0")
    passes(path, "feature autoclear bitmaps on")


def test_repair_passes(copy):
    for option in ("--assume-dirty", "--drop-bad"):
        path = copy(BITMAPS, "set header/autoclear_features 0")
        done = run("bitmap", "repair", "--no-undo", option, path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flags, guard", [(0, "bitmap-in-use"), (2, "bitmap-in-use"),
                                          (3, "bitmap-auto")])
def test_in_use(copy, flags, guard):
    path = copy(PLAIN + "bitmap b0 flags=in_use bits=0\n")
    assert guards_of(path, f"set bitmaps/0/flags={flags}") == {guard}
    path = copy(PLAIN + "bitmap b0 flags=in_use table=ones\n")
    passes(path, f"set bitmaps/0/flags={flags}")


def test_in_use_and_all_dirty(copy):
    """All ones in place of the data, whose cluster nothing uses then."""
    text = PLAIN + "bitmap b0 flags=in_use bits=0\n"
    path, layout = copy(text), image(text)[1]
    lines = ("set bitmaps/0/flags=0", "set bitmaps/0/table/0=1")
    assert guards_of(path, *lines) == set()  # but it would leak
    passes(path, *lines, f"set refcounts/0/{layout.value('bitmaps/0/table/0') // 4096}=0")
    path = copy(text)
    done = run("bitmap", "repair", "--no-undo", "--assume-dirty", path)
    assert done.returncode == 0, done.stderr


def test_granularity(copy):
    path = copy(BITMAPS)
    assert guards_of(path, "set bitmaps/0/granularity_bits=17") == {"bitmap-granularity"}
    done = subprocess.run([QCOW2, "bitmap", "script", "--no-undo", path, "-"], check=False,
                          input=b"remove b0\nadd -g 128k b0\n", stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr


def test_tables_change_hands(copy):
    """Two bitmaps with each other's bits: every entry is right, and nothing is lost but what they say."""
    path = copy(PLAIN + "bitmap b0 bits=0\nbitmap b1 bits=3\n")
    tables = [document(path, f"bitmaps/{i}")["extensions"][0]["data"]["bitmap_directory"][0]
              ["bitmap_table_offset"] for i in (0, 1)]
    assert guards_of(path, f"set bitmaps/0/bitmap_table_offset={tables[1]}",
                     f"set bitmaps/1/bitmap_table_offset={tables[0]}") == {"bitmap-table"}
    for words in (("merge", "b0", "b1"), ("clear", "b1"), ("rename", "b0", "other")):
        done = run("bitmap", words[0], "--no-undo", path, *words[1:])
        assert done.returncode == 0, (words, done.stderr)


def test_first_of_two_goes(copy):
    """What is wrong with the second moves up, and is not new; nor under another name."""
    path = copy(PLAIN + "bitmap b0 bits=0\nbitmap b1 flags=in_use bits=0\nbitmap b2\n")
    for words in (("remove", "b0"), ("rename", "b1", "other"), ("remove", "b2"),
                  ("remove", "other")):
        done = run("bitmap", words[0], "--no-undo", path, *words[1:])
        assert done.returncode == 0, done.stderr


def test_extension_of_old(copy, tmp_path):
    """An extension that was taken away comes back with bitmaps that missed all since."""
    path = copy(BITMAPS)
    layout = image(BITMAPS)[1]
    data = tmp_path / "extension"
    at = layout.where("extensions/bitmaps/nb_bitmaps")
    data.write_bytes(read(path)[at:at + 24])
    assert edit(path, "extension remove 0x23852875", force=True).returncode == 0
    assert guards_of(path, f"extension add 0x23852875 --file={data}",
                     "feature autoclear bitmaps on") == {"bitmaps-bit"}


# ---- what gets lost ----

@pytest.mark.parametrize("line, guards", [
    ("set header/version=2", {"lost-extension", "backing-format"}),
    ("set header/backing_file_offset=0", {"backing-file"}),
    ("set header/backing_file_size=3", {"backing-file"}),
    ("set extensions/0/magic=0x99", {"backing-format"}),
    ("set extensions/1/magic=0x99", {"lost-extension"}),
    ("set extensions/2/length=3", {"lost-extension"}),
    ("extension remove 0xe2792aca", {"backing-format"}),
])
def test_names_and_extensions(copy, line, guards):
    path = copy(OVERLAY)
    assert guards_of(path, line) >= guards
    assert edit(path, line, force=True).returncode == 0


@pytest.mark.parametrize("line", [
    "extension remove 0x12345678", "extension replace 0x12345678 --data=x",
    "extension remove 0x6803f857", "backing clear", "backing set other.raw qcow2",
    "extension replace 0xe2792aca --data=qcow2", "feature-names rebuild",
])
def test_verbs_mean_it(copy, line):
    passes(copy(OVERLAY), line)


@pytest.mark.parametrize("text", [OVERLAY, PLAIN])
@pytest.mark.parametrize("line, guard", [
    ("extension remove 0xe2792aca", "backing-format"),
    ("extension replace 0xe2792aca --data=", "backing-format"),
    ("set header/backing_file_size=2", "backing-file"),
])
def test_another_line_unmakes_it(copy, text, line, guard):
    """What 'backing set' means is the name and the format that it gives."""
    assert guards_of(copy(text), "backing set new.raw raw", line) == {guard}
    passes(copy(text), "backing set other.qcow2 qcow2", "backing set new.raw raw")
    passes(copy(text), "backing set new.raw raw", "backing clear")


@pytest.mark.parametrize("length", [104, 120, 128, 512])
def test_header_length(copy, length):
    """Extensions and the backing file's name move along, and back."""
    path = copy(OVERLAY)
    before, old = read(path), document(path)
    passes(path, f"set header/header_length={length}")
    new = document(path)
    assert new["header"]["header_length"] == length
    assert [(e["magic"], e["length"]) for e in new["extensions"]] == \
        [(e["magic"], e["length"]) for e in old["extensions"]]
    assert new["backing_file"]["name"] == "base.raw"
    assert run("check", path).returncode == 0
    passes(path, "set header/header_length=112")
    assert read(path) == before


@pytest.mark.parametrize("length", [96, 100, 108, 4096, 4064, 8192, 0xfffffff8])
def test_header_length_that_loses(copy, length):
    path = copy(OVERLAY)
    before = read(path)
    assert edit(path, f"set header/header_length={length}").returncode == 1
    assert read(path) == before


def test_header_length_brings_back(copy):
    """Where no extension is found, none is written over."""
    path = copy(OVERLAY)
    before = read(path)
    broken = bytearray(before)
    broken[100:104] = struct.pack(">I", 104)
    with open(path, "wb") as opened:
        opened.write(broken)
    assert document(path).get("extensions", []) == []
    passes(path, "set header/header_length=112")
    assert read(path) == before


def test_unknown_header_bytes(copy):
    path = copy(OVERLAY, "header_length 120", "header_tail 0102030405060708")
    assert guards_of(path, "set header/header_length=112") == {"lost-header-bytes"}
    passes(path, "set header/header_length=136")
    assert bytes(range(1, 9)) in read(path)[:128]


@pytest.mark.parametrize("line, lost", [
    ("set header/nb_snapshots=0", 2), ("set header/nb_snapshots=1", 1),
    ("set header/snapshot_offset=0", 2), ("set snapshots/0/id_str_size=0", 1),
    ("set snapshots/1/name_size=2", 1),
])
def test_snapshots(copy, line, lost):
    path = copy(SNAPSHOTS)
    assert "lost-snapshot" in guards_of(path, line)
    done = edit(path, line)
    assert done.stderr.count(b"lost-snapshot at") == lost


@pytest.mark.parametrize("line", [
    "set extensions/0/data/nb_bitmaps=1", "set bitmaps/0/name_size=1",
    "set bitmaps/0/extra_data_size=8", "set extensions/0/data/bitmap_directory_size=32",
    "set extensions/0/magic=0x99",
])
def test_bitmaps_lost(copy, line):
    assert "lost-bitmap" in guards_of(copy(BITMAPS), line)


def test_data_file(copy):
    path = copy(DATA_FILE)
    assert "data-file" in guards_of(path, "set extensions/0/length=3")
    assert "data-file" in guards_of(path, "feature incompatible external-data-file off")
    passes(path, "data-file set other.raw")


# ---- problems that hide others ----

def test_leak_hides_nothing(copy):
    """A cluster that leaks already loses its last pointer."""
    path = copy(PLAIN)
    line = "set l2/0/0=0"
    assert edit(path, line).returncode == 1
    layout = image(PLAIN)[1]
    path = copy(PLAIN, "set refcount_of/data/0 2")
    done = edit(path, line)
    assert done.returncode == 1 and b"refcount-high" in done.stderr, (layout, done)
    # Nor does it help to lower the count along with it, which leaves as much of a leak.
    cluster = layout.where("data/0") // 4096
    done = edit(path, line, f"set refcounts/0/{cluster}=1")
    assert done.returncode == 1 and b"refcount-high" in done.stderr


def test_low_count_that_goes_hides_no_leak(copy):
    """Where a table counts too little, the pointer to it goes, and all the data that it leads to."""
    path = copy(PLAIN, "set refcount_of/l2/0 0")
    done = edit(path, "set l1/0=0")
    assert done.returncode == 1 and b"refcount-high" in done.stderr, done
    path = copy(PLAIN, "set refcount_of/data/0 0")
    cluster = image(PLAIN)[1].where("data/0") // 4096
    done = edit(path, f"set refcounts/0/{cluster}=7")
    assert done.returncode == 1 and b"refcount-high" in done.stderr, done


def test_less_wrong_is_not_new(copy):
    layout = image(PLAIN)[1]
    cluster = layout.where("data/0") // 4096
    path = copy(PLAIN, "set refcount_of/data/0 9")
    passes(path, f"set refcounts/0/{cluster}=5")
    assert edit(path, f"set refcounts/0/{cluster}=6").returncode == 1
    path = copy(PLAIN, "alias 64k 4k 0", "alias 128k 4k 0", "set refcount_of/data/0 0")
    passes(path, f"set refcounts/0/{cluster}=2")
    assert "refcount" in guards_of(path, f"set refcounts/0/{cluster}=1")


# ---- the documents ----

def rows():
    """The rows of the list: id, section, what, says, unless, refusal, way out."""
    with open(os.path.join(TOP, "include/qcow2/def/guards.def"), encoding="utf-8") as stream:
        text = stream.read()
    found = [re.findall(r'"((?:[^"\\]|\\.)*)"', row)
             for row in re.findall(r"^QCOW2_GUARD\((\d.*)\)$", text, re.M)]
    assert found and all(len(row) == 7 for row in found)
    return found


def test_ids():
    ids = [row[0] for row in rows()]
    assert len(set(ids)) == len(ids)
    for row in rows():
        assert all(cell.isascii() for cell in row) and row[5].endswith(".")
        assert not row[6].endswith(".")


# ---- compat has none ----

@pytest.mark.parametrize("words", [("set-header", "header_length", "104"),
                                   ("set-header", "incompatible_features", "0"),
                                   ("set-header", "nb_snapshots", "0"),
                                   ("set-feature-bit", "incompatible", "1")])
def test_compat(copy, words):
    path = copy(SNAPSHOTS, "dirty", "set refcount_of/l1 0", "feature_names")
    assert run("compat", path, *words).returncode == 0
    assert read(path) != read(image(SNAPSHOTS)[0])


def test_flags_of_an_entry_that_leads_past_the_end():
    """The entry is told with its flags, but only its place is at fault: that may not get worse."""
    path, layout = image("size 1M\nwrite 0 64k\nset l2/0/0 eof + 64k | 1<<63\n")
    entry = layout.value("l2/0/0") & ~(1 << 63)
    for value, code in ((entry, 0), (entry + 65536, 1), (entry | 1 << 63, 0)):
        done = subprocess.run([QCOW2, "edit", "-n", path, "set", f"l2/0/0={value:#x}"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert done.returncode == code, done
