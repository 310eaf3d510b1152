# SPDX-License-Identifier: MIT
# qcow2 locate against what the forge knows of its images: where each field is, which entries lead
# to a guest offset, who owns a cluster. Hostile images cost little.
"""Locating bytes of the guest and of the file."""
import json
import os
import random
import re
import struct

import pytest

from tests.forge import recipes
from tests.support.faults import each_fault
from tests.support.measure import SECONDS, peak
from tests.support.outside import complaint, harmless, text_of
from tests.support.outside import run as ask
from tests.support.programs import QCOW2, RELEASE, SAMPLE, image, recipe_image, run

KIB, MIB = 1 << 10, 1 << 20
COPIED = 1 << 63


def locate(path, *words, program=QCOW2):
    done = run("locate", "-j", *words, path, program=program)
    assert (done.returncode, done.stderr) == (0, b""), done
    return json.loads(done.stdout)


def host(path, offset, *words, **more):
    return locate(path, f"--host={offset}", *words, **more)


def guest(path, offset, *words, **more):
    return locate(path, f"--guest={offset}", *words, **more)


def wheres(answer):
    return [owner["where"] for owner in answer["owners"]]


# ---- from the guest ----

def test_the_path():
    path, layout = recipe_image("good-snapshots")
    found = guest(path, 0x12345)
    l1_at, l2_at = layout.where("l1/0"), layout.where("l2/0/1")
    data = found["host"] - 0x2345
    assert {key: found[key] for key in ("guest", "length", "kind", "refcount")} == {
        "guest": 0x12345, "length": 1, "kind": "data", "refcount": 3}
    assert [(step["where"], step["offset"], step["entry"]) for step in found["path"]] == [
        ("l1/0", l1_at, l2_at - 8), ("l2/0/1", l2_at, data)]
    assert found["path"][0]["l2-table"] == l2_at - 8 and found["path"][1]["cluster"] == data
    table, count = found["refcount-path"]
    assert table["where"] == "refcount_table/0"
    assert table["offset"] == layout.where("refcount_table/0")
    assert count == {"where": f"refcounts/0/{data >> 16}", "entry": 3, "entry-hex": "0x3",
                     "offset": layout.where(f"refcounts/0/{data >> 16}")}
    assert "snapshot" not in found and "more" not in found


@pytest.mark.parametrize("written", ["0x12345", "74565", "0X012345", "0b10010001101000101"])
def test_spellings(written):
    assert guest(recipe_image("good-snapshots")[0], written)["guest"] == 0x12345


def test_sectors_and_sizes():
    path, _ = recipe_image("good-snapshots")
    for words in ("64k+64k", "128s+128s", "0x10000+0x10000", "65536+0x80s", "64KiB+131072B",
                  "0x80S+64K"):
        found = guest(path, words)
        assert found["guest"] == 64 * KIB and found["length"] in (64 * KIB, 128 * KIB)
        assert host(path, words)["host"] == 64 * KIB


def test_a_range_goes_on():
    path, _ = recipe_image("good-snapshots")
    found = guest(path, "0+15E")
    parts = [found, *found["more"]]
    at = 0
    for part in parts:
        assert part["guest"] == at and part["length"] > 0
        at += part["length"]
    assert at == 8 * MIB  # the end of the disk
    assert {part["kind"] for part in parts} == {"data", "zero", "unallocated"}


@pytest.mark.parametrize("name, offset, kind", [
    ("good-compressed", 0, "compressed"), ("good-extended-l2", 0, "data"),
    ("good-data-file", 0, "data"), ("good-v2", 0, "data"), ("good-luks1", 0, "data")])
def test_kinds(name, offset, kind):
    path, layout = recipe_image(name)
    found = guest(path, offset)
    assert found["kind"] == kind and found["path"][-1]["where"] == "l2/0/0"
    assert found["path"][-1]["offset"] == layout.where("l2/0/0")
    if kind == "compressed":
        assert found["host-length"] > 0 and found["path"][-1]["compressed"]
        assert found["path"][-1]["data"] == found["host"]
    if name == "good-data-file":
        assert found["data-file"] is True and found["refcount"] is None
    if name == "good-extended-l2":
        assert found["path"][-1]["subclusters-hex"] == "0xffffffff"


def test_subclusters():
    path, _ = image("extended_l2\nsize 1M\nsubclusters 0 alloc=0 zero=1\n")
    for index, kind in ((0, "data"), (1, "zero-allocated"), (2, "unallocated"), (31, "unallocated")):
        found = guest(path, index * 2048 + 5)
        assert found["kind"] == kind and found["path"][1]["subcluster"] == index
        # The cluster has a place, from which the file's side leads back.
        back, = host(path, found["host"])["owners"]
        assert back["guest-offset"] == index * 2048 + 5 and back["where"] == "l2/0/0"


def test_nothing_there():
    path, _ = image("size 4T\n")
    found = guest(path, "3T")
    assert found["kind"] == "unallocated" and found["host"] is None and found["refcount"] is None
    assert [step["where"] for step in found["path"]] == ["l1/6144"]
    assert found["path"][0]["entry"] == 0 and found["path"][0]["l2-table"] is None
    whole = guest(path, "0+4T")
    assert whole["length"] == 4 << 40 and whole["more"] == []


def test_past_the_end():
    path, _ = recipe_image("good-snapshots")
    reason, _ = complaint(run("locate", "--guest=1G", path), "locate", path)
    assert reason == "guest offset 0x40000000 is past the end of the disk, which has 0x800000 " \
                     "(8388608) bytes"
    assert guest(path, "8388607+64k")["length"] == 1


def test_snapshots():
    path, _ = recipe_image("good-snapshots")
    found = guest(path, 0x10000, "--all-snapshots")
    assert [s["snapshot"] for s in found["snapshots"]] == ["first", "second", "third"]
    for index, inner in enumerate(found["snapshots"]):
        assert inner["path"][1]["where"] == f"snapshots/{index}/l2/0/1"
        for word in (inner["snapshot"], inner["snapshot-id"]):
            assert guest(path, 0x10000, f"--snapshot={word}") == inner
    assert len({inner["host"] for inner in found["snapshots"]}) == 2
    text = text_of(run("locate", "--guest=0x10000", "--all-snapshots", path))
    assert " in snapshot 1 'first': " in text and "snapshot 0" not in text  # by ID, as everywhere
    reason, _ = complaint(run("locate", "--guest=0", "--snapshot=x", path), "locate", path)
    assert reason == "no snapshot has the ID or name 'x'; there are first, second, third"


def test_the_state_of_a_machine():
    """It lies past the end of a snapshot's disk; the file's side leads there and back."""
    path, _ = recipe_image("good-snapshot-vmstate")
    size = os.path.getsize(path)
    found = []
    whole = host(path, f"0+{size}")
    for piece in [whole, *whole["more"]]:
        for owner in piece["owners"]:
            if owner["part"] == "data" and owner["snapshot"]:
                back = guest(path, owner["guest"]["start"], f"--snapshot={owner['snapshot-id']}")
                assert back["host"] == owner["offset"]
                found.append(back.get("past-end", False))
    assert True in found


def test_a_smaller_disk():
    path, _ = recipe_image("good-snapshot-resized")
    sizes = [s["disk_size"] for s in json.loads(
        run("dump", "-j", path, "snapshots", program=RELEASE).stdout)["snapshots"]]
    active = json.loads(run("dump", "-j", path, "header/size",
                            program=RELEASE).stdout)["header"]["size"]
    found = guest(path, active - 1, "--all-snapshots")
    for size, inner in zip(sizes, found["snapshots"]):
        if size < active:
            assert inner["kind"] in ("past-end", "unallocated", "data")
    text = run("locate", f"--guest={active - 1}", "--all-snapshots", path).stdout.decode()
    assert text.count("guest 0x") == 1 + len(sizes)


# ---- from the file ----

def test_states():
    path, _ = recipe_image("bad-refcount-leak")
    whole = host(path, "0+1G")
    states = [piece["state"] for piece in [whole, *whole["more"]]]
    assert set(states) == {"used", "leaked", "beyond-end"} and states[-1] == "beyond-end"
    for piece in [whole, *whole["more"]]:
        if piece["state"] == "leaked":
            assert piece["refcount"] > 0 and piece["owners"] == []
            assert host(path, piece["host"] + 1)["state"] == "leaked"
    path, _ = image("size 1M\nwrite 0 64k\nsparse 64M\n")
    assert host(path, 32 * MIB) == {
        "host": 32 * MIB, "length": 1, "state": "free", "owners": [], "refcount": 0,
        "refcount-path": host(path, 32 * MIB)["refcount-path"]}
    assert host(path, 1 << 62)["state"] == host(path, 64 * MIB)["state"] == "beyond-end"


def test_ends_in_a_cluster():
    """A file that ends in a cluster: what is behind is past the end, and has the owner all the same."""
    path, _ = recipe_image("good-short-last-cluster")
    size = os.path.getsize(path)
    assert size % (64 * KIB) != 0
    last, behind = host(path, size - 1), host(path, size)
    assert (last["state"], behind["state"]) == ("used", "beyond-end")
    both = host(path, f"{size - 1}+2")
    assert [both["length"], *(piece["length"] for piece in both["more"])] == [1, 1]


NAMED = re.compile(r"(header|snapshots/\d+|bitmaps/\d+)/(\w+)")


@pytest.mark.parametrize("name", ["good-snapshots", "good-bitmaps", "good-luks1", "good-backing",
                                  "good-header-120", "good-v2-snapshots"])
def test_fields(name):
    """Each byte of a field leads to the field and its value."""
    path, layout = recipe_image(name)
    rng = random.Random(name)
    fields = [(where.replace("/snapshots_offset", "/snapshot_offset"), field)
              for where, field in layout.fields.items()
              if NAMED.fullmatch(where) and field.width and not where.endswith(("/padding", "/tail"))]
    for where, field in rng.sample(fields, min(len(fields), 12)):
        found = host(path, field.offset + rng.randrange(field.width))
        inner, = [owner["field"] for owner in found["owners"] if "field" in owner]
        assert (inner["where"], inner["offset"]) == (where, field.offset), found
        if isinstance(field.value, int):
            assert (inner["value"], inner["length"]) == (field.value, field.width)


@pytest.mark.parametrize("row, owner, name", [
    ("l1/0", "l1", "good-snapshots"), ("l2/0/17", "l2/0", "good-snapshots"),
    ("refcounts/0/5", "refcounts/0", "good-snapshots"),
    ("refcount_table/3", "refcount_table", "good-snapshots"),
    ("refcounts/0/6", "refcounts/0", "good-refcount-64bit"),
    ("bitmaps/0/table/0", "bitmaps/0/table", "good-bitmaps"),
    ("l2/0/3", "l2/0", "good-extended-l2")])
def test_rows(row, owner, name):
    path, layout = recipe_image(name)
    found = host(path, layout.where(row))
    first = found["owners"][0]
    assert (first["where"], first["field"]["where"]) == (owner, row)
    assert first["field"]["offset"] == layout.where(row)
    if row.startswith("l2/"):
        size = layout.cluster_size
        assert first["guest"] == {"start": int(row.split("/")[2]) * size, "length": size}


def test_refcounts_below_a_byte():
    path, layout = recipe_image("good-refcount-1bit")
    at = layout.where("refcounts/0/0")
    assert host(path, at + 1)["owners"][0]["field"]["where"] == "refcounts/0/8"


def test_subcluster_words():
    path, layout = recipe_image("good-extended-l2")
    field = host(path, layout.where("l2/0/1") + 12)["owners"][0]["field"]
    assert field["where"] == "l2/0/1/allocated" and field["length"] == 4


def test_extensions_and_names():
    path, layout = recipe_image("good-bitmaps")
    field = host(path, 112)["owners"][0]["field"]
    assert field["where"] == "extensions/0/magic" and field["text"] == "0x23852875 (Bitmaps)"
    assert host(path, 120)["owners"][0]["field"]["where"] == "extensions/0/data/nb_bitmaps"
    found = host(path, layout.fields["bitmaps/0/name"].offset + 3)
    assert found["owners"][0]["field"]["value"] == "enabled"
    path, _ = recipe_image("good-backing")
    at = struct.unpack(">Q", open(path, "rb").read()[8:16])[0]
    assert host(path, at)["owners"][0]["field"]["where"].startswith("backing_file")


def test_shared_tables():
    """Data that snapshots share are told for each of them."""
    path, _ = recipe_image("good-snapshots")
    found = host(path, guest(path, 0)["host"])
    assert found["refcount"] == len(found["owners"]) == 4
    assert wheres(found) == ["l2/0/0", "snapshots/0/l2/0/0", "snapshots/1/l2/0/0",
                             "snapshots/2/l2/0/0"]
    assert [owner["snapshot"] for owner in found["owners"]] == [None, "first", "second", "third"]
    assert all(owner["guest"] == {"start": 0, "length": 64 * KIB} for owner in found["owners"])
    only = host(path, guest(path, 0)["host"], "--snapshot=second")
    assert wheres(only) == ["snapshots/1/l2/0/0"] and only["state"] == "used"


def test_a_table_of_many_entries():
    path, layout = recipe_image("good-hostile-shared-l2")
    count = layout.value("header/l1_size")
    table = guest(path, 0)["path"][0]["l2-table"]
    found = host(path, table, program=RELEASE)
    assert len(found["owners"]) == min(count, 131072) and found["refcount"] == count
    assert wheres(found)[:3] == ["l2/0", "l2/1", "l2/2"]
    starts = [owner["guest"]["start"] for owner in found["owners"]]
    per_table = layout.cluster_size // 8 * layout.cluster_size
    assert starts == [index * per_table for index in range(len(starts))]
    assert sum("field" in owner for owner in found["owners"]) == 64
    text = run("locate", f"--host={table}", path, program=RELEASE).stdout.decode()
    assert f"  and {count - 64} more (--output=json shows them)\n" in text


def test_compressed_sectors():
    path, _ = recipe_image("good-compressed")
    first, second = guest(path, 0), guest(path, 64 * KIB)
    assert second["host"] < first["host"] + first["host-length"]  # the same sector
    shared = host(path, second["host"])
    assert wheres(shared)[:2] == ["l2/0/0", "l2/0/1"]
    assert all(owner["part"] == "compressed" and "guest-offset" not in owner
               for owner in shared["owners"])
    assert host(path, first["host"])["owners"][0]["guest"] == {"start": 0, "length": 64 * KIB}


def test_bytes_that_nobody_claims():
    path, layout = recipe_image("good-default")
    found = host(path, layout.where("l1/0") + 0x8000)
    assert found["unclaimed"] is True and found["state"] == "used" and wheres(found) == ["l1"]
    assert "guest" not in found["owners"][0] and "field" not in found["owners"][0]
    text = run("locate", f"--host={layout.where('l1/0') + 0x8000}", path).stdout.decode()
    assert "used, but nothing claims it; its cluster holds\n  l1 " in text


def test_luks():
    path, _ = recipe_image("good-luks1")
    found = host(path, "0x100d4")
    assert wheres(found) == ["luks"]
    assert found["owners"][0]["field"]["where"] == "luks/key-slots/0/iterations"
    assert "field" not in host(path, "0x11000")["owners"][0]  # key material


def leaves(value, path=()):
    """Path, value and offset of each field of a dump with offsets."""
    if isinstance(value, list):
        for i, element in enumerate(value):
            index = element.get("index", i) if isinstance(element, dict) else i
            yield from leaves(element, path + (str(index),))
        return
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key.endswith(".offset") and key != "offset.offset" and path[:1] != ("problems",):
            yield path + (key[:-7],), value[key[:-7]], inner
        else:
            yield from leaves(inner, path + (key,))


def selector(path):
    """A path in a dump as locate names it: rows of tables stand for themselves."""
    words = "/".join(path[:-1] if path[-1] in ("entry", "refcount") else path)
    words = re.sub("^extensions/[0-9]+/data/bitmap_directory/", "bitmaps/", words)
    words = re.sub("(^bitmaps/[0-9]+)/bitmap_table/", r"\1/table/", words)
    return re.sub("((^|/)(l2|refcounts)/[0-9]+)/entries/", r"\1/", words)


# One of each family of recipes.
FIELDS = sorted({"-".join(n.split("-")[:3]): n for n in recipes() if n.startswith("good-") and
                 "hostile" not in n}.values())


@pytest.mark.parametrize("name", FIELDS)
def test_dumped_fields(name):
    """A byte of a field leads to the field that the dump shows there, with the value of the dump."""
    path, layout = recipe_image(name)
    rng = random.Random(name)
    shown = json.loads(run("dump", "-j", "--offsets", path, program=RELEASE).stdout)
    found = {}
    for leaf in leaves(shown):
        found.setdefault(re.sub("[0-9]+", "#", selector(leaf[0])), []).append(leaf)
    # Nothing claims bitmaps whose autoclear bit is clear.
    kinds = [kind for kind in found if not kind.startswith("bitmaps/") or
             layout.value("header/autoclear_features") & 1]
    for kind in rng.sample(kinds, min(len(kinds), 5)):
        where, value, offset = rng.choice(found[kind])
        owners = host(path, offset, program=RELEASE)["owners"]
        named = {owner["field"]["where"]: owner["field"] for owner in owners if "field" in owner}
        if value != "" or selector(where) in named:  # an empty text may have no bytes
            assert named[selector(where)]["value"] == value, (where, offset)


# ---- broken images ----

# Those that take the forge long, and aim at what is not asked here, are left out.
HOSTILE = sorted(n for n in recipes() if ("hostile" in n and "extensions" not in n and
                                          "bitmaps-" not in n) or n.endswith("-max"))


def test_corruption():
    path, layout = recipe_image("bad-data-on-own-l2")
    found = host(path, layout.where("l2/0/3"))
    assert {(owner["where"], owner["part"]) for owner in found["owners"]} == {
        ("l2/0", "l2-table"), ("l2/0/1", "data")}


@pytest.mark.parametrize("name, problem", [
    ("bad-l2-table-beyond-end", "l2-table-beyond-end"), ("bad-l2-table-unaligned", "l2-table-unaligned"),
    ("bad-data-beyond-end", "data-beyond-end"), ("bad-data-unaligned", "data-unaligned"),
    ("bad-compressed-beyond-end", "compressed-beyond-end"), ("bad-subcluster-both", "subcluster-both")])
def test_entries_that_cannot_be_followed(name, problem):
    path, _ = recipe_image(name)
    found = guest(path, "0+15E")
    parts = [part for part in [found, *found["more"]] if part["kind"] == "invalid"]
    assert parts and {part["problem"] for part in parts} == {problem}
    for part in parts:
        assert part["host"] is None and part["refcount"] is None and part["path"]


def test_owners_beyond_the_end():
    path, layout = recipe_image("bad-data-beyond-end")
    for index in range(16):
        entry = layout.value(f"l2/0/{index}") & 0x00fffffffffffe00
        if entry >= os.path.getsize(path):
            found = host(path, entry)
            assert found["state"] == "beyond-end" and wheres(found) == [f"l2/0/{index}"]
            break
    else:
        raise AssertionError("no entry leads past the end")


def test_refcounts_that_cannot_be_read():
    for name in ("bad-refblock-beyond-end", "bad-refblock-unaligned", "bad-reftable-beyond-end"):
        path, _ = recipe_image(name)
        found = host(path, 0)
        assert found["state"] == "used" and found["refcount"] is None, name
        text = run("locate", "--host=0", path).stdout.decode()
        assert re.search("\n  refcount +not known", text)
    found = host(recipe_image("bad-refblock-missing")[0], 0)
    assert found["refcount"] == 0 and len(found["refcount-path"]) == 1


def test_a_header_without_sense():
    path, _ = recipe_image("bad-cluster-bits-63")
    for word in ("--guest=0", "--host=112", "--host=0+113"):
        complaint(run("locate", word, path), "locate", path)
    for name in ("bad-cluster-bits-63", "unsupported-incompatible-63"):
        found = host(recipe_image(name)[0], "20+84")
        assert found["owners"][0]["field"]["where"] == "header/cluster_bits"
        assert found["refcount"] is None and found["more"] == []


@pytest.mark.parametrize("name", sorted(n for n in recipes() if n.startswith(("bad-", "unsupported-")) and
                                  n not in HOSTILE and "hostile" not in n))
def test_every_broken_image(name):
    """An answer or one line of an error, never more."""
    path, _ = recipe_image(name)
    size = max(os.path.getsize(path), 1)
    rng = random.Random(name)
    for words in ([f"--host={rng.randrange(size)}"], ["--guest=0", "--all-snapshots"]):
        done = run("locate", *words, path, program=RELEASE)
        assert done.returncode in (0, 1) and bool(done.stdout) == (done.returncode == 0), done
        assert bool(done.stderr) == (done.returncode == 1)
        harmless(done.stdout + done.stderr)


# ---- hostile images ----

@pytest.mark.parametrize("name", HOSTILE)
def test_bounds(name):
    path, _ = recipe_image(name)
    lines = [["--host=0+1G"], ["--guest=0+15E", "--all-snapshots"]]
    for words in lines + [["--host=0"], ["--guest=0", "--all-snapshots"]] * ("hostile" in name):
        code, memory, size = peak("locate", "-j", *words, path)
        assert code in (0, 1), f"{words}: {code} (124 is {SECONDS} seconds)"
        assert memory <= 256 * MIB and size <= 256 * MIB, (words, memory, size)


@pytest.fixture(name="heap", scope="module")
def fixture_heap(tmp_path_factory):
    """64 MiB of L2 tables all of whose entries lead to one cluster, and 4,096 snapshots share them."""
    path = str(tmp_path_factory.mktemp("hostile") / "heap")
    cluster, tables, snapshots = 64 * KIB, 1024, 4096
    l2, data, l1, names = cluster * 16, cluster * 15, cluster * 2, cluster * 4
    with open(path, "wb") as stream:
        stream.write(struct.pack(">IIQIIQIIQQIIQQQQII", 0x514649fb, 3, 0, 0, 16,
                                 tables * cluster * 8192, 0, tables, l1, cluster, 1, snapshots,
                                 names, 0, 0, 0, 4, 104))
        stream.seek(l1)
        stream.write(struct.pack(f">{tables}Q", *(l2 + i * cluster for i in range(tables))))
        stream.seek(names)
        for index in range(snapshots):
            stream.write(struct.pack(">QIHHIIQII", l1, tables, 4, 4, 0, 0, 0, 0, 16) + bytes(16) +
                         struct.pack(">4s4s", b"%04x" % index, b"%04x" % index))
        stream.seek(l2)
        entries = struct.pack(">Q", data) * 8192
        for _ in range(tables):
            stream.write(entries)
    return path, data


def test_everything_on_one_cluster(heap):
    """33,562,624 references a snapshot, 8,388,608 entries: 131,072 owners are told, all counted."""
    path, data = heap
    code, memory, size = peak("locate", "-j", f"--host={data}", path)
    assert code == 0 and memory <= 256 * MIB and size <= 64 * MIB
    found = host(path, data, program=RELEASE)
    assert len(found["owners"]) == 131072
    assert found["owners-omitted"] + 131072 == 1024 * 8192 * 4097
    done = run("locate", f"--host={data}", path, program=RELEASE).stdout.decode()
    assert done.count("\n") == 67


@pytest.fixture(name="stairs", scope="module")
def fixture_stairs(tmp_path_factory):
    """8,192 L2 tables of 2 MiB, each 512 bytes behind the one before: 6 MiB that mean 16 GiB."""
    path = str(tmp_path_factory.mktemp("hostile") / "stairs")
    cluster, tables = 2 * MIB, 8192
    l1, l2 = cluster, cluster * 4
    with open(path, "wb") as stream:
        stream.write(struct.pack(">IIQIIQIIQQIIQQQQII", 0x514649fb, 3, 0, 0, 21,
                                 tables * cluster * (cluster // 8), 0, tables, l1, cluster * 2, 1, 0,
                                 0, 0, 0, 0, 4, 104))
        stream.seek(l1)
        stream.write(struct.pack(f">{tables}Q", *(l2 + i * 512 for i in range(tables))))
        stream.seek(cluster * 2)
        stream.write(struct.pack(">Q", cluster * 3))
        stream.seek(l2)
        stream.write(struct.pack(">Q", COPIED | l2) * ((tables * 512 + cluster) // 8))
    return path, l2


def test_tables_on_each_other(stairs):
    """What tables repeat of others is followed for so many bytes; then it is left out."""
    path, l2 = stairs
    for words, expected in ((["locate", f"--host={l2}"], 0), (["check"], 2)):
        code, memory, _ = peak(*words, path)
        assert code == expected and memory <= 256 * MIB, words


def test_ranges_of_many_parts():
    """They stop, and say where they go on."""
    path, layout = recipe_image("good-hostile-shared-l2-2m")
    text = run("locate", "--guest=0+1E", path, program=RELEASE).stdout.decode()
    rest, = re.findall(r"^and more: (--guest=(0x[0-9a-f]+)\+(\d+)) has the rest of the range$", text,
                       re.M)
    assert text.count("\nguest 0x") == 65536  # beside the first one
    assert int(rest[1], 16) + int(rest[2]) == layout.value("header/size")
    more = run("locate", rest[0].split("+")[0] + "+1", path, program=RELEASE).stdout.decode()
    assert more.startswith(f"guest {rest[1]} (")


def test_ranges_that_are_too_long():
    path, _ = recipe_image("good-sparse-terabytes")
    done = run("locate", "--host=0+4T", path)
    reason, _ = complaint(done, "locate", path)
    assert re.fullmatch(r"the range has \d+ clusters of the file; at most 1048576 are located at "
                        r"once", reason)


@pytest.mark.parametrize("words", [["--host=0"], ["--guest=0+1M", "--all-snapshots"]], ids=" ".join)
def test_faults(shim, words):
    """Each allocation and each read fails once: it is said, and nothing is printed."""
    path, _ = recipe_image("good-snapshots")
    if words == ["--host=0"]:
        words = [f"--host={guest(path, 0)['host']}"]
    arguments = ["locate", "-j", *words, path]
    for _, done in each_fault(shim, arguments, "FAIL_ALLOC"):
        assert (done.returncode, done.stdout) == (1, b"") and done.stderr.count(b"\n") == 1, done
        assert b"out of memory" in done.stderr or b"Cannot allocate" in done.stderr
    for _, done in each_fault(shim, arguments, "FAIL_READ"):
        assert (done.returncode, done.stdout) == (1, b"") and b"Input/output" in done.stderr


# ---- lines that make no sense ----

@pytest.mark.parametrize("words, wrong", [
    ([], "what to locate? Give --guest=OFFSET or --host=OFFSET"),
    (["--guest=0", "--host=0"], "give one of both: --guest=OFFSET or --host=OFFSET"),
    (["--guest=x"], "--guest: 'x' is no number"), (["--guest="], "--guest: "),
    (["--host=5+"], "--host: "), (["--host=+5"], "--host: "), (["--host=s"], "--host: "),
    (["--host=1+0"], "--host: the length is 0: give at least one byte"),
    (["--host=16E"], "--host: "), (["--host=0x8000000000000000s"], "--host: "),
    (["--host=0xffffffffffffffff+2"], "--host: the range ends past 2^64"),
    (["--host=1+2+3"], "--host: "), (["--guest=-1"], "--guest: "),
    (["--guest=" + "1" * 100], "--guest: the number is too long"),
    (["--guest=0", "--snapshot=a", "--all-snapshots"],
     "--snapshot and --all-snapshots exclude each other"),
    (["--guest=0", "other"], "one image at a time, not also '")])
def test_usage(words, wrong):
    done = ask("locate", *words, SAMPLE)
    assert (done.returncode, done.stdout) == (1, b"")
    first, second, _ = done.stderr.decode().split("\n")
    assert first.startswith("qcow2 locate: " + wrong), first
    assert second == "Try 'qcow2 locate --help'."


def test_names_are_escaped():
    path, _ = recipe_image("good-warn-snapshot-name-escape")
    done = run("locate", "--guest=0", "--all-snapshots", path)
    harmless(done.stdout)
    path, _ = recipe_image("good-warn-snapshot-name-not-utf8")
    found = guest(path, 0, "--all-snapshots")
    assert any("snapshot-hex" in inner for inner in found["snapshots"])


def test_the_last_byte_of_numbers():
    path, _ = recipe_image("good-default")
    assert host(path, "0xffffffffffffffff")["state"] == "beyond-end"
    found = host(path, "0xfffffffffffffffe+2")
    assert found["length"] == 2 and found["more"] == []
