# SPDX-License-Identifier: MIT
# What the problems of an image do to the guest's data: the ranges that `qcow2 check` tells, against
# what was broken, for the active disk and snapshots; and how much of a cut file is missing.
"""Damage, from outside."""
import json
import os
import resource
import shutil
import struct

import pytest

from tests.support.programs import QCOW2, RELEASE, image, recipe_image, run

K, M, G = 1 << 10, 1 << 20, 1 << 30
SUMS = ("lost", "unreadable", "at-risk")


def report(path, *options, program=QCOW2):
    done = run("check", "-j", path, *options, program=program)
    assert done.returncode in (0, 2, 3), done
    return json.loads(done.stdout)


def ranges_of(damage, snapshot=None):
    return [(r["start"], r["start"] + r["length"], r["damage"]) for r in damage["ranges"]
            if r.get("snapshot") == snapshot]


def assert_damage(text, active, snapshots=()):
    """The ranges (start, end, damage) of the active disk, and (name, ranges) of snapshots."""
    path, _ = image(text)
    damage = report(path)["guest-damage"]
    assert damage["exact"] and "ranges-omitted" not in damage
    assert ranges_of(damage) == active
    for what in SUMS:
        assert damage[what + "-bytes"] == sum(b - a for a, b, d in active if d == what)
    assert [s["name"] for s in damage["snapshots"]] == [name for name, _ in snapshots]
    for total, (name, ranges) in zip(damage["snapshots"], snapshots):
        assert ranges_of(damage, name) == ranges
        for what in SUMS:
            assert total[what + "-bytes"] == sum(b - a for a, b, d in ranges if d == what)


@pytest.mark.parametrize("text, active", [
    ("size 1M\nwrite 0 64k\n", []),
    # an L2 table stands for all that it maps; the disk may end before
    ("size 700M\nwrite 0 64k\nwrite 512M 64k\nset refcount_of/l2/1 0\n",
     [(512 * M, 700 * M, "at-risk")]),
    # neighbours make one range
    ("size 1M\nwrite 0 640k\nset refcount_of/data/2 0\nset refcount_of/data/3 0\n"
     "set refcount_of/data/5 0\n",
     [(128 * K, 256 * K, "at-risk"), (320 * K, 384 * K, "at-risk")]),
    # each byte counts for the worst
    ("size 1M\nwrite 0 640k\nset refcount_of/l2/0 0\nset l2/0/3 1<<63|1<<50\nset l2/0/4 2\n",
     [(0, 192 * K, "at-risk"), (192 * K, 256 * K, "lost"), (256 * K, 320 * K, "unreadable"),
      (320 * K, M, "at-risk")]),
    # an L1 entry, and all of its table
    ("size 2G\nwrite 0 64k\nwrite 600M 64k\nset l1/1 1<<63|1<<50\n",
     [(512 * M, G, "lost")]),
    ("size 2G\nwrite 0 64k\nset refcount_of/l1 0\n", [(0, 2 * G, "at-risk")]),
    # the last cluster reaches past the end of the disk
    ("size 100k\nwrite 0 100k\nset l2/0/1 1<<63|1<<50\n", [(64 * K, 100 * K, "lost")]),
    # refcounts of an image that was not closed may lag behind
    ("size 1M\ndirty\nlazy_refcounts\nwrite 0 64k\nset refcount_of/data/0 0\n", []),
    ("size 1M\nset header/incompatible_features 1<<40\nwrite 0 64k\n", [(0, M, "unreadable")]),
    # compressed clusters share the clusters of the file that they touch
    ("size 1M\ncompressed 0\ncompressed 64k\nwrite 128k 64k\nset refcount_of/data/0 0\n",
     [(0, 128 * K, "at-risk")]),
    ("extended_l2\nsize 1M\nwrite 0 64k\nset l2/0/0/bitmap 1<<32|1\n", [(0, 64 * K, "unreadable")]),
])
def test_active(text, active):
    assert_damage(text, active)


@pytest.mark.parametrize("text, active, snapshots", [
    # a table and a cluster that both disks have
    ("size 1M\nwrite 0 256k\nsnapshot 1 name=s\nset refcount_of/data/1 1\n",
     [(64 * K, 128 * K, "at-risk")], [("s", [(64 * K, 128 * K, "at-risk")])]),
    # what only the snapshot has; what only the active disk has
    ("size 1M\nwrite 0 256k\nsnapshot 1 name=s\nwrite 64k 64k\nset refcounts/0/4 0\n",
     [], [("s", [(64 * K, 128 * K, "at-risk")])]),
    ("size 2G\nwrite 0 64k\nsnapshot 1\nwrite 600M 64k\nset l1/1 1<<63|1<<50\n",
     [(512 * M, G, "lost")], []),
    # the snapshot's disk is smaller than the active one
    ("size 1M\nwrite 0 64k\nsnapshot 1 name=s size=100k\nset refcount_of/l2/0 1\n",
     [(0, M, "at-risk")], [("s", [(0, 100 * K, "at-risk")])]),
    # keys are everybody's
    ("size 1M\nwrite 0 64k\nsnapshot 1 name=s\nset header/crypt_method 3\n",
     [(0, M, "unreadable")], [("s", [(0, M, "unreadable")])]),
])
def test_snapshots(text, active, snapshots):
    assert_damage(text, active, snapshots)


def test_many_ranges():
    """The first ranges are shown, --ranges shows all; the sums are those of all in any case."""
    text = "size 40M\nwrite 0 40M\nrepeat 150 set refcount_of/data/{*2} 0\n"
    path, _ = image(text)
    wanted = [(i * 128 * K, i * 128 * K + 64 * K, "at-risk") for i in range(150)]
    for threads in ("1", "3"):
        damage = report(path, "--threads", threads)["guest-damage"]
        assert ranges_of(damage) == wanted[:100] and damage["ranges-omitted"] == 50
        assert damage["at-risk-bytes"] == 150 * 64 * K
    damage = report(path, "--ranges")["guest-damage"]
    assert ranges_of(damage) == wanted and "ranges-omitted" not in damage
    page = run("check", path).stdout.decode()
    assert "\nguest data: 9.38 MiB (9830400 B) at risk\n    at risk     0x0..0xffff\n" in page
    assert page.count("    at risk  ") == 5 and "    … 145 more (--ranges shows them)\n" in page
    page = run("check", "--ranges", path).stdout.decode()
    assert page.count("    at risk  ") == 150 and "--ranges" not in page


def test_page_without_damage():
    path, _ = image("size 1M\nwrite 0 64k\nleak 2\n")
    page = run("check", "--ranges", path).stdout.decode()
    assert "guest data: not touched\n" in page
    assert "the file is cut" not in page and "leaked clusters:" not in page
    damage = report(path)["guest-damage"]
    assert damage == {"lost-bytes": 0, "unreadable-bytes": 0, "at-risk-bytes": 0, "exact": True,
                      "ranges": [], "snapshots": []}


def cut(source, folder, size):
    path = str(folder / "cut.qcow2")
    shutil.copyfile(source, path)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("text", [
    "size 4M\nwrite 0 4M\n",
    "cluster_bits 9\nsize 1M\nwrite 0 1M\n",
    "version 2\nsize 4M\nwrite 0 2M\nwrite 3M 64k\n",
    "refcount_order 6\nsize 4M\nwrite 0 4M\n",
])
def test_cut(text, tmp_path):
    """Wherever a file is cut, the size that would make it whole is that of before."""
    path, layout = image(text)
    whole = os.path.getsize(path)
    least = layout.offsets["data/2"]
    for size in sorted({least, (least + whole) // 2, whole - 512, whole - (1 << 16)}):
        if size >= whole or size < least:
            continue
        shown = report(cut(path, tmp_path, size))
        assert (shown["file-whole-size"], shown["file-missing-bytes"]) == (whole, whole - size)


def test_cut_on_the_page(tmp_path):
    path, _ = image("size 4M\nwrite 0 4M\n")
    whole = os.path.getsize(path)
    page = run("check", cut(path, tmp_path, whole - (1 << 20))).stdout.decode()
    assert f"\nthe file is cut: 1 MiB ({1 << 20} B) missing, whole at " in page
    assert f"({whole} B)\n" in page


@pytest.mark.parametrize("change", [
    "set l2/0/1 1<<63|1<<50",      # one bit
    "set l2/0/1 1<<63|1<<40",
    "set l1/0 1<<63|1<<45",
    "set refcount_table/0 1<<50",
    "set header/l1_table_offset 1<<50",
    "set header/refcount_table_offset 1<<50",
])
def test_flipped_bits_cut_nothing(change):
    path, _ = image(f"size 4M\nwrite 0 4M\n{change}\n")
    assert "file-whole-size" not in report(path)


def test_header_is_no_l1_table():
    """Numbers of the header, read as L1 entries, lead anywhere."""
    path, _ = image("size 4G\nwrite 0 1M\nset header/l1_table_offset 0\n")
    assert "file-whole-size" not in report(path)


def test_bitmap_directory_is_cut_off():
    """It is what QEMU writes last. Bitmaps are not to be dropped before the file is whole."""
    path, layout = image("size 4M\nbitmap one\n"
                         "set extensions/bitmaps/bitmap_directory_offset eof\n")
    end = os.path.getsize(path)
    assert "file-whole-size" not in report(path), "no refcount says that it was there"
    with open(path, "r+b") as file:
        file.seek(layout.offsets["refcounts/0"] + (end >> 16) * 2 + 1)
        file.write(b"\1")
    shown = report(path)
    length = layout.value("extensions/bitmaps/bitmap_directory_size")
    assert (shown["file-whole-size"], shown["file-missing-bytes"]) == (end + length, length)
    assert shown["next"][0]["does"].startswith("Get the whole file again")


@pytest.mark.parametrize("name", ["bad-hostile-counts", "bad-hostile-loop-tables",
                                  "bad-hostile-sparse-reftable"])
def test_hostile(name):
    """Whatever an image claims, the report is made in time."""
    path, _ = recipe_image(name)
    damage = report(path, "--ranges", program=RELEASE)["guest-damage"]
    assert sum(damage[what + "-bytes"] for what in SUMS) > 0


SPARSE_BITS = 21


def sparse_image(path, clusters, refcounts, size=1 << 30, snapshots=(0, 0), bits=SPARSE_BITS):
    """An image of large clusters: header, refcount table and block, L1 table, and what is given."""
    cluster = 1 << bits
    with open(path, "wb") as out:
        out.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, bits, size, 0, 1,
                              3 * cluster, cluster, 1, *snapshots, 0, 0, 0, 4, 104))
        out.seek(cluster)
        out.write(struct.pack(">Q", 2 * cluster))
        out.seek(2 * cluster)
        out.write(struct.pack(f">{len(refcounts)}H", *refcounts))
        for number, content in clusters.items():
            out.seek(number * cluster)
            out.write(content)
        out.truncate(len(refcounts) * cluster)
    return str(path)


def cpu_seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*arguments, program=RELEASE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def test_many_small_disks_share_a_table(tmp_path):
    """Pieces of a table that lie past the end of each disk are not gone through."""
    count, unaligned = 6000, struct.pack(">2Q", 1 << 20 | 512, 0)
    table = b"".join(struct.pack(">QIHHIIQIIQQ", 3 << SPARSE_BITS, 1, 1, 5, 0, 0, 0, 0, 16, 0, 512) +
                     b"1%05d\0\0" % i for i in range(count))
    path = sparse_image(tmp_path / "image", {
        3: struct.pack(">Q", 4 << SPARSE_BITS), 4: unaligned * (1 << 17), 5: table},
        [1, 1, 1, count + 1, count + 1, 1], size=512, snapshots=(count, 5 << SPARSE_BITS))
    done, seconds = cpu_seconds("check", "-j", path)
    damage = json.loads(done.stdout)["guest-damage"]
    assert len(damage["snapshots"]) == count and damage["exact"] and damage["unreadable-bytes"] == 512
    assert seconds < 5


def test_sparse_orphans(tmp_path):
    """Of a leaked table, the holes are not read."""
    count = 4000
    path = sparse_image(tmp_path / "image", {4: b"x"} | {
        5 + i: struct.pack(">Q", 1 << 63 | 4 << SPARSE_BITS) for i in range(count)},
        [1] * (count + 5))
    done, seconds = cpu_seconds("check", "-j", path)
    lost = json.loads(done.stdout)["lost-mappings"]
    assert lost["leaked-clusters"] == count + 1 and lost["leaks-may-be-data"]
    assert seconds < 5


def test_leaks_that_were_not_read(tmp_path):
    """Of very many leaks, only some are read: nobody says that nothing is lost by freeing them."""
    count, bits, first = 16400, 16, 6
    at = [struct.pack(">Q", 1 << 63 | i << bits) for i in range(first + count)]
    path = sparse_image(tmp_path / "image", {
        3: at[4], 4: at[5], 5: b"mapped", first + count: b"".join(at[first:first + 8000])
    } | {first + i: b"data" for i in range(count)}, [1] * (first + count + 1),
        size=1 << 28, bits=bits)
    page = run("check", path).stdout.decode()
    assert f"\nleaked clusters: {count + 1}, not all read (--deep reads them)\n" in page
    assert "not touched" not in page and "Nothing is lost" not in page
    assert page.index("next: qcow2 check --deep") < page.index("next: qcow2 repair ")
    assert report(path)["lost-mappings"]["leaks-may-be-data"] is False
    page = run("check", "--deep", path).stdout.decode()
    assert " may have lost guest data" in page and "not all read" not in page


def test_compressed_data_is_not_vouched_for():
    path, _ = image("size 1M\ncompressed 0\nset header/compatible_features 1<<20\n")
    line = "\nguest data: not touched"
    assert line + "; compressed data: not read (--deep)\n" in run("check", path).stdout.decode()
    assert line + "\n" in run("check", "--deep", path).stdout.decode()


def test_dirty_images_map_nothing_twice():
    """No writer that was killed leaves that: what leaks then may be the data of one of the two."""
    text = "size 1M\ndirty\nlazy_refcounts\nwrite 0 128k\nset l2/0/1 @data/0|1<<63\n"
    path, _ = image(text)
    shown = report(path)
    assert shown["verdict"] == "corrupt" and shown["lost-mappings"]["leaks-may-be-data"]
    assert ranges_of(shown["guest-damage"]) == [(0, 128 * K, "at-risk")]
    page = run("check", path).stdout.decode()
    assert "not touched" not in page and "Do not run 'qemu-img check -r'" in page


SMALL = "cluster_bits 12\nsize 2M\n"


def zeros(*entries):
    return "".join(f"set l2/0/{i} 0\n" for i in entries)


def test_leaks_with_data_in_an_intact_image():
    """They are freed at a cost."""
    path, _ = image(SMALL + "write 0 512k\n" + zeros(*range(10, 74)))
    page = " ".join(run("check", path).stdout.decode().split())
    shown = report(path)
    assert shown["verdict"] == "leaks"
    assert page.count("guest data: not touched; 64 leaked clusters hold data that no table maps") == 2
    assert "in 64 of them" in page and "Nothing is lost" not in page
    assert "What the leaked clusters hold is lost." in page
    free = shown["next"][0]
    assert free["command"] == f"qcow2 repair {path}"
    assert free["cost"] == "What the leaked clusters hold."


def test_what_counts_anew_frees_leaks_with_data():
    path, _ = image(SMALL + "write 0 512k\nset refcount_of/data/9 0\n" + zeros(*range(10, 74)))
    free = report(path)["next"][0]
    assert free["command"] == f"qcow2 repair {path}"
    assert free["cost"] == "What the leaked clusters hold."
    assert "Nothing is lost" not in run("check", path).stdout.decode()


@pytest.mark.parametrize("text, first, last", [
    # both neighbours, the one behind, the one in front
    (SMALL + "write 0 2M\n" + zeros(*range(64, 128)), 64, 127),
    (SMALL + "write 0 2M\n" + zeros(*range(64)), 0, 63),
    (SMALL + "write 0 2M\n" + zeros(*range(448, 512)), 448, 511),
    # the disk ends inside of the last sector
    ("cluster_bits 12\nsize 300k\nwrite 0 300k\n" + zeros(*range(64, 75)), 64, 74),
    # the clusters of neighbours lie elsewhere
    (SMALL + "write 512k 512k\nwrite 0 512k\n" + zeros(*range(64, 128)), 64, 127),
    # half of the entries mapped nothing
    (SMALL + "write 0 256k\nwrite 384k 256k\n" + zeros(*range(96, 128)), 64, 127),
    # what is zero is more than a sector
    (SMALL + "write 0 512k\nwrite 600k 64k\n" + zeros(*range(64, 128)), 64, 127),
    # wide entries
    ("extended_l2\ncluster_bits 14\nsize 2M\nwrite 0 2M\n" + zeros(*range(32, 64))
     + "".join(f"set l2/0/{i}/bitmap 0\n" for i in range(32, 64)), 32, 63),
])
def test_a_hole_in_an_l2_table(text, first, last):
    path, layout = image(text)
    shown = report(path, "--all")
    found, = [p for p in shown["problems"] if p["id"] == "l2-entries-empty"]
    width, cluster = (16, 1 << 14) if "extended" in text else (8, 1 << 12)
    at = layout.offsets["l2/0"] + first * width
    assert shown["verdict"] == "lost-mappings"
    assert found["where"] == f"l2/0/{first}..{last}" and found["offset"] == at
    assert found["guest"] == {"start": first * cluster, "length": (last + 1 - first) * cluster}
    assert shown["lost-mappings"]["empty-l2-entries"] == [at]
    assert "1 hole in an L2 table fits them" in " ".join(run("check", path).stdout.decode().split())


SCATTERED = "".join(f"write {i * 37 % 256 * 4}k 4k\n" for i in range(256))


@pytest.mark.parametrize("text", [
    SMALL + "write 0 2M\n" + zeros(*range(60, 124)),  # no sector
    SMALL + "write 0 2M\n" + zeros(*range(64, 128, 2)),
    SMALL + "write 0 512k\n" + zeros(*range(96, 128)),  # a writer was killed
    SMALL + "write 512k 512k\nwrite 0 384k\n" + zeros(*range(64, 96)),
    SMALL + SCATTERED + zeros(*range(64, 128)),  # the clusters lie here and there
    SMALL + "write 0 256k\ncompressed 256k 256k\nwrite 512k 512k\n" + zeros(*range(64, 128)),
    # sparse, and the leaks are others
    SMALL + "write 0 256k\nwrite 512k 256k\nwrite 1M 256k\n" + zeros(*range(270, 310)),
    "cluster_bits 12\nsize 4M\nwrite 0 256k\nwrite 512k 256k\nwrite 2M 300k\n"
    + "".join(f"set l2/1/{i} 0\n" for i in range(10, 75)),
])
def test_holes_that_leaks_do_not_fit(text):
    shown = report(image(text)[0], "--all")
    assert shown["verdict"] == "leaks" and shown["lost-mappings"]["empty-l2-entries"] == []
    assert shown["lost-mappings"]["leaks-with-content"] > 0


def test_leaks_of_zeros_fit_no_hole():
    path, layout = image(SMALL + "write 0 2M\n" + zeros(*range(64, 128)))
    with open(path, "r+b") as file:
        for i in range(64, 128):
            file.seek(layout.offsets[f"data/{i}"])
            file.write(bytes(1 << 12))
    assert report(path)["verdict"] == "leaks"


def test_a_hole_that_a_snapshot_shares():
    """The table is told once."""
    path, _ = image(SMALL + "write 0 2M\nsnapshot one\n" + zeros(*range(64, 128)))
    shown = report(path, "--all")
    found, = [p for p in shown["problems"] if p["id"] == "l2-entries-empty"]
    assert found["guest"]["l1-entries"] == 2 and shown["verdict"] == "lost-mappings"


def test_empty_tables_and_leaks_of_zeros():
    """Where the end of a file reads as zeros, there is nothing to save; but it was not so before."""
    path, layout = image("size 1M\ncluster_bits 12\nwrite 0 256k\n"
                         + "".join(f"set l2/0/{i} 0\n" for i in range(64)))
    with open(path, "r+b") as file:
        for i in range(64):
            file.seek(layout.offsets[f"data/{i}"])
            file.write(bytes(1 << 12))
    page = run("check", path).stdout.decode()
    assert report(path)["verdict"] == "leaks" and "not touched" not in page
    assert page.count("guest data: 1 L2 table is empty, while refcounts are too high") == 2
