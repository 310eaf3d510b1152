# SPDX-License-Identifier: MIT
# `qcow2 snapshot diff`: which disks it compares, what its formats say, its exit codes, and images that
# are broken or hostile. tests/oracle/test_snapshot_diff_oracle.py compares it with the tables and the data.
"""Differences of mappings."""
import json
import re
import time

import pytest

from tests.forge import recipes
from tests.support.measure import peak
from tests.support.programs import QCOW2, RELEASE, image, recipe_image, run
from tests.support.terminal import show

KIB, MIB = 1 << 10, 1 << 20
MIXED = """# two snapshots and an active disk
size 8M
write 0 512k
snapshot 1 name=old
write 64k 64k pattern=0x61
zero 128k 64k
zero 1M 64k
compressed 3M 64k
snapshot 2 name=new
write 4M 64k
"""
# The same disk as its second snapshot, written in another order.
OTHER = """# another image
size 8M
write 320k 192k
write 0 64k
write 64k 64k pattern=0x61
write 192k 128k
zero 128k 64k
zero 1M 64k
compressed 3M 64k
"""
UNALLOCATED = {"depth": 0, "present": False, "zero": True, "data": False, "compressed": False}
ZERO = {**UNALLOCATED, "present": True}
DATA = {**ZERO, "zero": False, "data": True}


def page(*words, code=3):
    """The lines of the table."""
    return told(*words, code=code).stdout.decode().splitlines()


def told(*words, code=3, **more):
    done = run("snapshot", "diff", *words, **more)
    assert done.returncode == code, done
    return done


def document(*words, code=3, **more):
    return json.loads(told("-j", *words, code=code, **more).stdout)


def ranges(differences):
    return [(one["start"] // KIB, one["length"] // KIB) for one in differences]


OLD_NEW = [(64, 64), (128, 64), (1024, 64), (3072, 64)]
NEW_ACTIVE = [(4096, 64)]


def test_which_disks():
    path = image(MIXED)[0]
    for words, wanted in ((("old", "new"), OLD_NEW), (("1", "2"), OLD_NEW), (("new",), NEW_ACTIVE),
                          (("old",), OLD_NEW + NEW_ACTIVE), (("new", "active"), NEW_ACTIVE),
                          (("active", "2"), NEW_ACTIVE)):
        assert ranges(document(path, *words)) == wanted, words
    for words in (("old", "old"), ("1", "old"), ("active", "active"), ("active",)):
        assert document(path, *words, code=0) == []


def test_sides():
    path, layout = image(MIXED)
    by_start = {one["start"] // KIB: one for one in document(path, "old", "active")}
    assert by_start[1024] == {"start": MIB, "length": 64 * KIB, "reads-same": True, "a": UNALLOCATED,
                              "b": ZERO}
    data = by_start[64]
    assert data["a"].pop("offset") != data["b"].pop("offset")
    assert data["a"] == data["b"] == DATA and data["reads-same"] is False
    packed = by_start[3072]["b"]
    assert packed == {**DATA, "compressed": True, "offset": packed["offset"],
                      "compressed-length": packed["compressed-length"]}
    assert 0 < packed["compressed-length"] <= 64 * KIB
    assert by_start[4096]["b"] == {**DATA, "offset": layout.where("l2/0/64") and
                                   by_start[4096]["b"]["offset"]}
    # The other way round, the sides are the other way round.
    turned = document(path, "active", "old")
    assert [{**one, "a": one["b"], "b": one["a"]} for one in turned] == document(path, "old")


def test_sides_are_extents_of_map():
    path = image(MIXED)[0]
    maps = {}
    for side, words in (("a", ("--snapshot=old",)), ("b", ())):
        maps[side] = json.loads(run("map", "-j", *words, path).stdout)
    for one in document(path, "old"):
        for side, entries in maps.items():
            entry = next(entry for entry in entries
                         if entry["start"] <= one["start"] < entry["start"] + entry["length"])
            same = dict(one[side])
            if same["compressed"]:
                del same["offset"], same["compressed-length"]
            into = one["start"] - entry["start"]
            assert same == {**{key: entry[key] for key in entry if key not in ("start", "length")},
                            **({"offset": entry["offset"] + into} if "offset" in entry else {})}


def test_lines():
    path = image(MIXED)[0]
    lines = told("--output=ndjson", path, "old").stdout.splitlines()
    assert [json.loads(line) for line in lines] == document(path, "old")
    assert told("--output=ndjson", path, "old", "old", code=0).stdout == b""


def test_table():
    path = image(MIXED)[0]
    lines = page(path, "old")
    assert lines[:3] == ["A: snapshot 1 'old'", "B: active disk", ""]
    assert lines[3].split() == ["Offset", "Length", "A", "B"]
    rows = [re.split(r" +", line) for line in lines[4:lines.index("", 4)]]
    assert [(int(row[0], 16) // KIB, int(row[1], 16) // KIB) for row in rows] == OLD_NEW + NEW_ACTIVE
    assert rows[2][2:] == ["unallocated", "zero"] and rows[3][2:4] == ["unallocated", "compressed"]
    assert lines[-1] == "5 ranges, 320 KiB differ; 64 KiB of that reads the same."
    assert page(path, "new")[-1] == "1 range, 64 KiB differs."
    same = page(path, "old", "1", code=0)
    assert same == ["A: snapshot 1 'old'", "B: snapshot 1 'old'", "", "No range differs."]
    assert told("-q", path, "old").stdout == b""


@pytest.mark.parametrize("size", ((80, 24), (120, 40)))
def test_screen(size, monkeypatch, copy, tmp_path):
    copy(image(MIXED)[0], "disk.qcow2")
    copy(image(OTHER)[0], "other.qcow2")
    monkeypatch.chdir(tmp_path)
    for words in (("disk.qcow2", "old"), ("disk.qcow2", "other.qcow2")):
        screen = show([QCOW2, "snapshot", "diff", *words], *size)
        assert screen.code == 3 and not screen.broken


# ---- two images ----

def test_two_images():
    path, other = image(MIXED)[0], image(OTHER)[0]
    assert told("--with", other, path).stdout == told(path, other).stdout
    lines = page(path, other)
    assert lines[0] == f"A: active disk of {path}" and lines[1] == f"B: active disk of {other}"
    assert "written in place" in " ".join(lines[-2:])
    # Places differ, but what is there does not.
    assert document(path, other, code=3)
    assert ranges(document("--ignore-offsets", path, other)) == [(4096, 64)]
    assert document("--ignore-offsets", "--with", other, path, "new", code=0) == []
    assert ranges(document("--ignore-offsets", f"--with={path}", other, "active", "old")) == \
        [(128, 64), (1024, 64), (3072, 64)]
    assert document(path, path, code=0) == []
    assert "No range differs." in "\n".join(page(path, path, code=0))


def test_snapshot_has_the_first_word(copy, tmp_path, monkeypatch):
    """A snapshot goes before a file of its name, and before the word for the active disk."""
    text = MIXED.replace("name=old", "name=active").replace("name=new", "name=file")
    copy(image(text)[0], "disk.qcow2")
    copy(image(OTHER)[0], "file")
    copy(image(OTHER)[0], "other")
    monkeypatch.chdir(tmp_path)
    assert ranges(document("disk.qcow2", "active")) == OLD_NEW + NEW_ACTIVE
    assert ranges(document("disk.qcow2", "file")) == NEW_ACTIVE
    assert document("disk.qcow2", "./file") == document("disk.qcow2", "other")


def test_cluster_sizes():
    """Images of different clusters: pieces of the larger ones are compared."""
    small = image("# small\ncluster_bits 9\nsize 1M\nwrite 64k 512\nwrite 1k 512\n")[0]
    large = image("# large\nsize 1M\nwrite 64k 64k\nwrite 0 64k\n")[0]
    found = document("--ignore-offsets", small, large)
    assert [(one["start"], one["length"]) for one in found] == \
        [(0, 1024), (1536, 65536 - 1536), (65536 + 512, 65536 - 512)]
    assert sum(one["length"] for one in document(small, large)) == 128 * KIB


def test_sizes():
    """Where one disk has ended, all differs."""
    path = recipe_image("good-snapshot-resized")[0]
    found = document(path, "smaller")
    assert found[-1]["a"] is None and found[-1]["start"] + found[-1]["length"] == 4 * MIB
    assert sum(one["length"] for one in found if one["a"] is None) == 2 * MIB
    found = document(path, "larger")
    assert found[-1] == {"start": 4 * MIB, "length": 1020 * MIB, "reads-same": False,
                         "a": UNALLOCATED, "b": None}
    assert "past the end" in "\n".join(page(path, "larger"))


def test_odd_size():
    small, large = (image(f"# odd\nsize {size}\nwrite 0 1\n")[0] for size in (1000, 1001))
    assert document("--ignore-offsets", small, large) == [
        {"start": 1000, "length": 1, "reads-same": False, "a": None,
         "b": {**DATA, "offset": document(small, large)[-1]["b"]["offset"]}}]


def test_backing_file():
    """With a backing file nobody knows what reads where the image says nothing."""
    text = "# backed\nsize 1M\nbacking below format=raw\nsnapshot 1 name=s\nzero 64k 64k\n"
    found = document(image(text)[0], "s")
    assert [(one["reads-same"], one["a"]["zero"], one["b"]["zero"]) for one in found] == \
        [(False, False, True)]


def test_encrypted():
    """An offset may be all that differs."""
    path = image("# aes\ncrypt_method 1\nsize 1M\nwrite 0 64k\nsnapshot 1 name=s\nwrite 0 64k\n")[0]
    one = document(path, "s")[0]
    assert one["a"].pop("offset") != one["b"].pop("offset") and one["a"] == one["b"] == DATA


# ---- ranges ----

def test_ranges():
    path = image(MIXED)[0]
    whole = document(path, "old")
    assert document("--start-offset=0", "--max-length=15E", path, "old") == whole
    assert ranges(document("-s", "100k", "-l", "1M", path, "old")) == [(100, 28), (128, 64), (1024, 64)]
    cut = document("-s100k", "-l4k", path, "old")[0]
    assert cut["a"]["offset"] == whole[0]["a"]["offset"] + 36 * KIB
    assert document("-l0", path, "old", code=0) == document("-s8M", path, "old", code=0) == []
    assert document("-s512k", "-l512k", path, "old", code=0) == []


# ---- errors ----

@pytest.mark.parametrize("words,text", (
    (("nope",), "no snapshot has the ID or name 'nope'; there are old, new"),
    (("old", "nope"), "no snapshot has the ID or name 'nope'"),
    ((), "diff takes a snapshot, or another image"),
    (("old", "new", "active"), "diff takes IMAGE [SNAPSHOT|IMAGE] [SNAPSHOT]"),
    (("--start-offset=x", "old"), "--start-offset"),
    (("--output=xml", "old"), "human, json or ndjson"),
    (("--with=/nonexistent",), "/nonexistent: "),
    (("--with=/dev/null",), "/dev/null: "),
    (("/dev/null",), "/dev/null: "),
))
def test_refused(words, text):
    done = told(image(MIXED)[0], *words, code=1)
    assert done.stdout == b"" and text in done.stderr.decode()


def test_other_actions_do_not_take_its_options():
    done = run("snapshot", "list", "--with=x", image(MIXED)[0])
    assert done.returncode == 1 and b"list does not take --with" in done.stderr


def test_broken():
    """Entries that cannot be read are told, and end in another exit code."""
    path = recipe_image("bad-guest-ranges-of-snapshots")[0]
    done = told("-j", path, "smaller", "larger", code=2)
    found = [one for one in json.loads(done.stdout)
             if any(one[side] and "invalid" in one[side] for side in "ab")]
    assert found and b"bytes cannot be compared, first at 0x" in done.stderr
    assert {one["b"].get("invalid", one["a"] and one["a"].get("invalid")) for one in found} <= \
        {"data-beyond-end", "l2-table-beyond-end"}
    total = sum(one["length"] for one in found)
    assert f"{total} bytes cannot be compared, first at {found[0]['start']:#x} ".encode() in done.stderr
    assert "data-beyond-end" in "\n".join(page(path, "smaller", code=2))
    # What both disks have in common is alike, broken or not.
    assert document(path, "smaller", "smaller", code=0) == []


# In all that is bad, each snapshot: no crash, and codes and outputs that fit.
@pytest.mark.parametrize("name", [name for name in recipes() if re.match(
    "bad-(snapshot|guest-ranges|hostile-(sparse-snap|loop|counts)|copied|data-file-snap)", name)])
def test_recipes(name):
    path = recipe_image(name)[0]
    for words in (("1",), ("1", "2"), (path,)):
        done = run("snapshot", "diff", "-j", path, *words)
        assert done.returncode in (0, 1, 2, 3), done
        if done.returncode == 1:
            assert done.stdout == b"" and done.stderr
        else:
            assert bool(json.loads(done.stdout)) == (done.returncode != 0)


# ---- cost ----

def test_memory_is_flat():
    """Terabytes of a sparse disk, and more output than is kept back."""
    code, most, _ = peak("snapshot", "diff", "-j", recipe_image("good-sparse-terabytes")[0], image(MIXED)[0])
    assert code == 3 and most < 16 * MIB
    code, most, size = peak("snapshot", "diff", "-j", "-l200G", recipe_image("good-hostile-shared-l2")[0],
                            image(MIXED)[0])
    assert code == 3 and most < 16 * MIB < size


def test_hostile_shared_tables():
    """Many L1 entries lead to one table: bounded, whatever it is compared with."""
    path = recipe_image("good-hostile-shared-l2")[0]
    start = time.monotonic()
    done = run("snapshot", "diff", path, path, program=RELEASE)
    assert done.returncode == 1 and b"too often" in done.stderr and time.monotonic() - start < 10
