# SPDX-License-Identifier: MIT
# `qcow2 repair` and `qcow2 rescue` on images that are made to do harm: what bounds leave out must
# not be taken for what is not there.
"""Repairs of images that are made to do harm."""
import json
import shutil
import struct

import pytest

from tests.support.programs import RELEASE, image, recipe_image, run

MANY = "size 1M\nrefcount_order 5\nbitmap b0\nrepeat 600 bitmap c{} like=b0\n"


def word(data, at):
    return struct.unpack_from(">Q", data, at)[0]


def last_bitmap_apart(path):
    """999 bitmaps share one large table; the last one gets a table and data of its own."""
    with open(path, "rb") as stream:
        data = bytearray(stream.read())
    clusters, first = 65, len(data) // 512
    table = word(data, 48)
    data += bytes(clusters * 512)
    struct.pack_into(">Q", data, 0x208420 + 998 * 32, first * 512)
    struct.pack_into(">Q", data, first * 512, (first + 64) * 512)
    data[(first + 64) * 512:] = b"\xff" * 512
    for cluster in range(first, first + clusters):
        block = word(data, table + cluster // 128 * 8)
        struct.pack_into(">I", data, block + cluster % 128 * 4, 1)
    with open(path, "wb") as stream:
        stream.write(data)
    return first, first + 64


@pytest.mark.parametrize("options", [["--leaks"], [], ["--only=refcount-high", "--free-lost"]])
def test_uncounted_claims(options, tmp_path):
    """The walk gives up on shared tables at some point, and then knows of no cluster that it leaks."""
    path = shutil.copy(recipe_image("bad-hostile-shared-bitmap-table")[0], str(tmp_path / "disk"))
    clusters = last_bitmap_apart(path)
    done = run("repair", "--yes", "--no-undo", *options, path, program=RELEASE)
    assert done.returncode == 2, done
    assert b"claims more clusters than could be counted" in done.stdout
    with open(path, "rb") as stream:
        data = stream.read()
    for cluster in clusters:
        block = word(data, word(data, 48) + cluster // 128 * 8)
        assert struct.unpack_from(">I", data, block + cluster % 128 * 4)[0] == 1


def test_many_kinds_of_steps(tmp_path):
    """However much a page is flooded, every step is in it, with what it costs and mends."""
    path = shutil.copy(image(MANY)[0], str(tmp_path / "disk"))
    done = run("repair", "--all", "--drop-bad-bitmaps", "--dry-run", path, program=RELEASE)
    assert done.returncode == 0, done
    page = " ".join(done.stdout.decode().split())
    assert "bitmap-table-shared (89): bitmap 'c511' is dropped" in page
    assert "steps of other kinds" not in page
    assert "guest data: read as before; snapshots: as before; bitmaps: changed as said above" in page


def test_index_after_drop(tmp_path):
    """What is mended after a snapshot was dropped names the others as they were before."""
    text = "size 4M\nwrite 0 128k\n" + "".join(
        f"snapshot {n} name=s{n}\nwrite 0 {n * 64}k\n" for n in (1, 2, 3, 4))
    text += "".join(f"set snapshots/{n}/l1/0 $snapshots/{n}/l1/0 | 1\n" for n in (1, 3))
    path = shutil.copy(image(text)[0], str(tmp_path / "disk"))
    done = run("repair", "--no-undo", "-j", "--drop-snapshot=#2", "--drop-snapshot=1", path,
               program=RELEASE)
    assert done.returncode == 0, done
    found = {(step["guest"]["snapshot"], step["guest"]["snapshot-index"])
             for step in json.loads(done.stdout)["steps"] if "guest" in step}
    assert found == {("s2", 1), ("s4", 3)}


@pytest.mark.parametrize("field", ["refcount_order 9", "cluster_bits 40"])
@pytest.mark.parametrize("options", [["--only=header"], ["--all"]])
def test_nothing_was_counted_before(field, options, tmp_path):
    """A header that has no geometry is mended; the refcounts that may not be mended stay."""
    text = f"size 4M\nwrite 0 128k\nset l2/0/1 0\nset l1/0 0\nset refcounts/0/9 3\nset header/{field}\n"
    path = shutil.copy(image(text)[0], str(tmp_path / "disk"))
    with open(path, "rb") as stream:
        before = stream.read()
    done = run("repair", "--no-undo", "--yes", *options, path, program=RELEASE)
    assert done.returncode == 3 and b"refcount-high" in done.stdout, done
    with open(path, "rb") as stream:
        after = stream.read()
    block = word(after, word(after, 48))
    assert after[block:block + 16] == before[block:block + 16]


@pytest.mark.parametrize("place", ["0x20000000000", "0x20000001000", "0x200"])
def test_lost_l1_and_others(place, tmp_path):
    """An L1 table that nobody can read, before or after, keeps no other thing from being mended."""
    text = "size 1M\nwrite 0 128k\nsnapshot 1 name=a\nbitmap b0 bits=1\n" \
           f"set header/l1_table_offset {place}\nset bitmaps/0/flags 0x100\n"
    path = shutil.copy(image(text)[0], str(tmp_path / "disk"))
    done = run("repair", "--no-undo", "--yes", "--only=bitmaps", path, program=RELEASE)
    assert done.returncode == 2 and b"bitmap-flags-reserved (1)" in done.stdout, done


def test_unaligned_l1_of_a_disk_that_is_too_large(tmp_path):
    """No table of terabytes is looked for room for: the place and the size of the table are left."""
    text = ("cluster_bits 9\nsize 64k\nwrite 0 32k\nset header/size 0xee000000008000\n"
            "set header/l1_table_offset @l1 + 48\n")
    path = shutil.copy(image(text)[0], str(tmp_path / "disk"))
    done = run("repair", "--dry-run", "-j", path, program=RELEASE)
    left = {row["kind"]: row["why"] for row in json.loads(done.stdout.decode("utf-8"))["left"]}
    for kind in ("l1-offset-unaligned", "l1-too-small"):
        assert left[kind] == "the table would be over 32 MiB: is the disk that large?", left


def test_freed_data_is_told(tmp_path):
    """Leaks that hold data are freed as a killed writer leaves them, but not in silence."""
    text = "size 8M\nwrite 0 1M\nset l2/0/3 0\nset l2/0/4 0\n"
    path = shutil.copy(image(text)[0], str(tmp_path / "disk"))
    for options, more in (["--dry-run"], ": keep the undo file until nothing is missed"), \
                         (["--no-undo"], ""):
        done = run("repair", *options, path, program=RELEASE)
        page = " ".join(done.stdout.decode().split())
        assert f"; 2 clusters freed, 2 with data that no table maps{more} " in page, done


def test_leaks_of_lost_bitmaps(tmp_path):
    """What may belong to a bitmap that nobody finds is freed when it is given up, not before."""
    text = "size 4M\nbitmap b0 bits=1,9\nset bitmaps/0/bitmap_table_offset 0x200\n"
    source, layout = image(text)
    path = shutil.copy(source, str(tmp_path / "disk"))
    for options, freed in ([], 0), (["--all"], 2), (["--leaks"], 2), (["--free-lost"], 2):
        copy = shutil.copy(path, str(tmp_path / "copy"))
        run("repair", "--yes", "--no-undo", *options, copy, program=RELEASE)
        with open(copy, "rb") as stream:
            data = stream.read()
        block = word(data, word(data, 48))
        counts = [struct.unpack_from(">H", data, block + (layout.offsets[name] >> 16) * 2)[0]
                  for name in ("bitmaps/0/table", "bitmaps/0/data/0")]
        assert counts.count(0) == freed, (options, counts)
