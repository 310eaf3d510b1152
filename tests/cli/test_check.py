# SPDX-License-Identifier: MIT
# `qcow2 check` on every forged image: exit codes, the problems that recipes promise, documents that
# follow docs/check.schema.json, pages that are safe to look at, and the same report from any number
# of threads.
"""check, from outside."""
import json
import os
import re
import resource
import subprocess

import jsonschema
import pytest

from tests.forge import build, load, recipes
from tests.support.answers import NO_IMAGE, listed_problems, sane, text_is_safe
from tests.support.programs import QCOW2, RELEASE, SAMPLE, TOP, image, recipe_image, run
from tests.support.terminal import columns_of, show

with open(os.path.join(TOP, "docs", "check.schema.json"), encoding="utf-8") as stream:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(stream))
# Rules of LUKS version 2 that only its own tools know.
NOT_FOUND = {"bad-luks2-hdr-size-max", "unsupported-luks2"}
# Too slow under the sanitizers.
SLOW = {"bad-hostile-bitmaps-65535", "bad-hostile-bitmaps-65536", "good-hostile-shared-l2-2m"}
# How the first line goes on behind the name, by the verdict in JSON.
VERDICTS = {
    "sound": "is sound",
    "leaks": "is intact, but wastes space: ",
    "not-closed": "was not closed (dirty bit), the next writer counts anew: ",
    "marked-corrupt": "is marked as corrupt, but nothing else is ",
    "lost-mappings": "may have lost guest data: ",
    "corrupt": "is corrupt: ",
}


def text_columns(line):
    return sum(map(columns_of, line))


def report(path, *options, program=QCOW2):
    """The document of a check that could be done."""
    done = run("check", "-j", path, *options, program=program)
    assert done.returncode in (0, 2, 3), done
    return json.loads(done.stdout.decode("utf-8"))


def ids(shown):
    return {problem["id"] for problem in shown["problems"]}


def code_of(shown):
    return 2 if shown.get("corruptions") else 3 if shown.get("leaks") else 0


@pytest.mark.parametrize("name", recipes())
def test_recipes(name):
    path, layout = recipe_image(name)
    program = RELEASE if name in SLOW else QCOW2
    done = run("check", "-j", "--deep", path, program=program)
    if done.returncode in (1, 63):
        sane(done)
        assert name in NO_IMAGE and not layout.recipe.finds
        with open(path, "rb") as stream:  # version 1 is another format
            magic, version = stream.read(4), stream.read(4)
        assert (done.returncode == 1) == (magic == b"QFI\xfb" and version != b"\0\0\0\1")
        return
    assert name not in NO_IMAGE
    assert done.returncode in (0, 2, 3) and done.stderr == b"", done
    shown = json.loads(done.stdout.decode("utf-8"))
    VALIDATOR.validate(shown)
    assert done.returncode == code_of(shown)
    assert set(layout.recipe.shows) | set(layout.recipe.finds) <= ids(shown)
    if name.startswith("good-") and "refcount-high" in layout.recipe.finds:
        assert done.returncode == 3  # QEMU ignores the bitmaps, and their clusters are lost
    else:
        assert (done.returncode == 0) == (name.startswith("good-") or name in NOT_FOUND)
    counts = [sum(p["severity"] == severity for p in shown["problems"]) for severity in
              ("corruption", "leak", "warning")]
    totals = [shown.get(key, 0) for key in ("corruptions", "leaks", "warnings")]
    if "problems-omitted" in shown:
        assert sum(counts) + sum(shown["problems-omitted"].values()) == sum(totals)
    else:
        assert counts == totals


@pytest.mark.parametrize("name", recipes())
def test_page(name):
    """The page has the exit code of the document, its verdict first, and nothing unsafe."""
    path, _ = recipe_image(name)
    done = run("check", path, program=RELEASE)
    text_is_safe(done.stdout)
    assert done.returncode == run("check", "-j", path, program=RELEASE).returncode
    assert (done.returncode in (1, 63)) == (name in NO_IMAGE)
    if name in NO_IMAGE:
        sane(done)
        return
    lines = done.stdout.decode("utf-8").splitlines()
    verdict = lines[0].removeprefix(f"{path} ")
    assert verdict.startswith(VERDICTS[report(path, program=RELEASE)["verdict"]]), verdict
    # A word that is longer than a line is not broken.
    assert all(text_columns(line) <= 80 for line in lines if path not in line and " " in line.strip())
    # A sound image with a data file has one line more, and no end that repeats.
    most = 8 + ("guest data: not touched; the data file: not read" in lines)
    assert len(lines) < most or lines.count(lines[0]) == 2


@pytest.mark.parametrize("name", [n for n in recipes("bad-") if n not in SLOW])
def test_threads(name):
    """One, two and four threads say the same, byte for byte, all problems included."""
    path, _ = recipe_image(name)
    runs = [run("check", "-j", *more, f"--threads={n}", path, program=RELEASE)
            for more in ((), ("--all",)) for n in (1, 2, 4)]
    assert len({(done.returncode, done.stdout, done.stderr) for done in runs[:3]}) == 1
    assert len({(done.returncode, done.stdout, done.stderr) for done in runs[3:]}) == 1


# Their structures are not where the forge put them, as what leads there is broken.
LED_ASTRAY = {"bad-bitmap-directory-offset-zero", "bad-crypto-offset-zero", "bad-crypto-unaligned"}


def test_fields_are_where_the_forge_put_them():
    """A problem of a field is at its offset; what was found there is what the file says there."""
    places, values = set(), set()
    for name in set(recipes()) - NO_IMAGE - LED_ASTRAY:
        if "hostile" in name:
            continue
        path, layout = recipe_image(name)
        with open(path, "rb") as stream:
            for problem in report(path, program=RELEASE)["problems"]:
                # The forge calls the data of an extension the extension.
                where = problem["where"].replace("/data/", "/").replace("key-slots", "key_slots")
                field = layout.fields.get(where)
                if not field or problem["where"].endswith("/length"):
                    continue
                assert problem["offset"] == field.offset, (name, problem)
                places.add(problem["id"])
                if field.text:
                    continue
                stream.seek(field.offset)
                stored = int.from_bytes(stream.read(field.width), "big")
                assert problem["found"] == stored, (name, problem)
                values.add(problem["id"])
    assert len(places) > 60 and len(values) > 45


def test_luks_key_slots():
    """Key material is as long as the stripes of the key: 64 bytes in 4000 stripes are 500 sectors."""
    slot = "set luks/key_slots/1/key_material_offset $luks/key_slots/0/key_material_offset"
    for sectors in (499, 500):
        path, _ = image(f"size 1M\nluks1\n{slot} + {sectors}\n")
        assert ids(report(path)) == ({"luks-key-slot"} if sectors < 500 else set())
    path, _ = image("size 1M\nluks1\nset luks/key_slots/0/active 5\n")
    (problem,) = [p for p in report(path)["problems"] if p["id"] == "luks-key-slot"]
    assert (problem["found"], problem["expected"]) == (5, 0xdead)
    path, layout = image("size 1M\nluks1\nset luks/key_slots/3/key_material_offset 3600\n")
    (problem,) = [p for p in report(path)["problems"] if p["where"].startswith("luks/key-slots/3")]
    assert problem["where"] == "luks/key-slots/3/key_material_offset"
    assert problem["found"] == 3600
    assert problem["offset"] == layout.fields["luks/key_slots/3/key_material_offset"].offset


def test_table_beyond_the_disk_that_a_snapshot_shares():
    """That the active image maps clusters past its size counts, whoever else has the table."""
    path, _ = image("size 4M\ncluster_bits 12\nwrite 2M 64k\nsnapshot 1 name=one\n"
                    "set header/size 1M\n")
    assert ids(report(path)) == {"l2-entry-beyond-size"}


def test_l1_table_between_the_words_of_another_one():
    """It hides no entry of the other one, which leads to what would else be leaked."""
    text = ("cluster_bits 9\nsize 64k\nwrite 0 4k\nsnapshot 1\nwrite 0 4k pattern=9\n"
            "snapshot 2\nwrite 8k 4k\n")
    path, layout = image(text + "set snapshots/2/l1_table_offset 22\n"
                                "set snapshots/2/l1_size 25856\n")
    leaks = [problem for problem in report(path, "--all")["problems"]
             if problem["id"] == "refcount-high"]
    mine = {layout.offsets["snapshots/0/l2/0"], 0x400}
    assert leaks and not [leak for leak in leaks if leak["cluster-offset"] in mine], leaks


def test_refcount_table_cut_within_an_entry():
    """What is cut off an entry is zeros, for who counts its block as for who reads it."""
    path, _ = image("cluster_bits 9\nsize 32k\nrefcounts_first\ntruncate @refcount_table + 7\n")
    shown = report(path, "--all")
    assert "refcount-low" not in ids(shown), shown


def many(count):
    """A recipe of an image with many L2 tables, so that several threads have something to do."""
    return ("cluster_bits 9\nsize 16M\nwrite 0 8M\nsnapshot 1 name=one\nwrite 1M 2M\n"
            f"compressed 9M 64k\nzero 10M 1M\nalias 12M 64k 0\nleak {count}\n"
            "set refcount_of/data/2048 0\nset l2/40/3 $l2/40/3 & ~(1<<63)\n"
            "set l2/7/7 $l2/7/7 | 2\nset l2/9/9 @l2/9\n")


def test_threads_with_much_to_do():
    path, _ = image(many(100))
    runs = {run("check", "-j", "--all", f"--threads={n}", path).stdout for n in (1, 2, 3, 4, 16)}
    assert len(runs) == 1
    shown = json.loads(runs.pop())
    assert {"refcount-low", "refcount-high", "copied-set", "copied-clear", "cluster-owners",
            "l2-entry-reserved"} <= ids(shown)
    assert shown["leaks"] >= 100


def test_owners():
    """Both owners are named, with the guest's range."""
    path, layout = recipe_image("bad-data-on-own-l2")
    shown = report(path)
    (problem,) = shown["problems"]
    assert problem["id"] == "cluster-owners"
    assert problem["cluster-offset"] == layout.offsets["l2/0"]
    assert problem["offset"] == layout.where(problem["where"])
    assert problem["references"] == problem["found"] == 2
    assert problem["owners"] == [
        {"where": "l2/0", "guest": {"start": 0, "length": 1 << 20}},
        {"where": "l2/0/1", "guest": {"start": 65536, "length": 65536}}]


# What each part of the metadata is called when something else is laid over it.
OWNERS = {
    "header": ("header", "0"),
    "l1": ("l1", "@l1"),
    "refcount_table": ("refcount_table", "@refcount_table"),
    "refcounts/0": ("refcounts/0", "@refcounts/0"),
    "snapshots": ("snapshots", "@snapshot_table"),
    "snapshots/0/l1": ("snapshots/0/l1", "@snapshots/0/l1"),
    "bitmaps": ("bitmaps", "@bitmap_directory"),
    "bitmaps/0/table": ("bitmaps/0/table", "@bitmaps/0/table"),
    "bitmaps/0/table/0": ("bitmaps/0/table/0", "@bitmaps/0/data/0"),
    "l2": ("l2/0", "@l2/0"),
}


@pytest.mark.parametrize("part", OWNERS)
def test_owner_of_each_part(part):
    name, place = OWNERS[part]
    # Offset 0 is no cluster of an entry; compressed data may begin behind it.
    entry = f"({place}) | 1<<63" if part != "header" else "512 | 1<<62"
    path, layout = image("size 1M\ncluster_bits 12\nwrite 0 64k\nsnapshot 1 name=one\nwrite 0 4k\n"
                         f"bitmap b0 bits=1\nset l2/0/9 {entry}\n")
    at = layout.value("l2/0/9") & 0x00fffffffffff000
    found = [p for p in report(path)["problems"] if p["id"] == "cluster-owners"]
    assert [p["cluster-offset"] for p in found] == [at]
    assert name in [o["where"] for o in found[0]["owners"]]
    assert "l2/0/9" in [o["where"] for o in found[0]["owners"]]


def test_deep():
    """Without --deep nothing is inflated; the place and the guest's range are told."""
    path, layout = recipe_image("bad-compressed-garbage")
    assert report(path)["problems"] == []
    (problem,) = report(path, "--deep")["problems"]
    assert problem["id"] == "compressed-inflate" and problem["where"] == "l2/0/0"
    assert problem["offset"] == layout.offsets["data/0"]
    assert problem["guest"] == {"start": 0, "length": 65536}
    for codec in ("deflate", "zstd"):
        path, _ = image(f"cluster_bits 12\nsize 4M\ncompressed 0 2M {codec} pattern=mixed\n"
                        f"snapshot 1 name=one\nwrite 0 4k\ncompressed 2M 1M {codec}\n")
        assert report(path, "--deep")["problems"] == []
    path, _ = image("cluster_bits 12\nsize 4M\ncompressed 0 64k zstd frames=3 pattern=mixed\n")
    assert report(path, "--deep")["problems"] == []


def test_overlap():
    path, layout = recipe_image("bad-compressed-overlap")
    (problem,) = [p for p in report(path, "--deep")["problems"] if p["id"] == "compressed-overlap"]
    assert problem["where"] == "l2/0/1"
    assert problem["offset"] == layout.offsets["data/0"] + 64


def test_names_of_owners():
    """Snapshots and bitmaps are named, and what is in names does no harm."""
    path, layout = image("cluster_bits 12\nsize 1M\nwrite 0 64k\nsnapshot 1 name=\"one \\e[2J\"\n"
                         "write 0 64k\nbitmap nightly bits=1\n"
                         "set l2/0/20 @bitmaps/0/data/0 | 1<<63\nset l2/0/21 @snapshots/0/l1 | 1<<63\n"
                         "set l2/0/22 @snapshots/0/l2/0 | 1<<63\n")
    owners = {o["where"]: o for p in report(path)["problems"] if p["id"] == "cluster-owners"
              for o in p["owners"]}
    assert owners["bitmaps/0/table/0"] == {"where": "bitmaps/0/table/0", "bitmap": "nightly"}
    assert owners["snapshots/0/l1"]["snapshot"] == "one \\u{1b}[2J"
    assert owners["snapshots/0/l2/0"]["snapshot"] == "one \\u{1b}[2J"
    assert set(owners["l2/0/20"]) == {"where", "guest"}
    page = run("check", path).stdout.decode("utf-8")
    assert 'used by bitmaps/0/table/0 (bitmap "nightly")\n' in page
    assert 'used by snapshots/0/l1 (snapshot "one \\u{1b}[2J"), guest 0x0..0xfffff\n' in page
    assert layout


def limited_memory():
    resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))


@pytest.mark.parametrize("more, size", [
    ("set l2/0/1 1<<50 | 1<<63\nset refcount_table/0 $refcount_table/0\n", 0),
    ("sparse 1<<43\n", 1 << 43),  # 2^34 clusters, more than QEMU checks
    ("sparse 1<<43\nset l2/0/1 (1<<42) | 1<<63\nset l2/0/2 (1<<42)+4096 | 1<<63\n", 1 << 43),
    ("sparse 1<<43\nset l1/1 (1<<42) | 1<<63\nset header/l1_size 0x7fffffff\n", 1 << 43),
    ("sparse 1<<43\nset refcount_table/1 1<<41\nset header/refcount_table_clusters 0xffffffff\n",
     1 << 43),
])
def test_absurd_offsets_cost_nothing(more, size):
    """What lies far away takes no memory, and what is a hole is not read."""
    path, _ = image(f"cluster_bits 9\nsize 64k\nwrite 0 4k\n{more}")
    assert os.path.getsize(path) >= size
    done = subprocess.run([RELEASE, "check", "-j", path], stdout=subprocess.PIPE, timeout=20,
                          preexec_fn=limited_memory, check=False)
    assert done.returncode in (0, 2, 3), done
    assert json.loads(done.stdout)["clusters-checked"]


def test_large_clusters_are_within_the_limit():
    """Clusters of 1 GiB, which QEMU does not know: what is read at once counts, too."""
    path, _ = image("cluster_bits 9\nsize 1k\nset header/cluster_bits 30\nsparse 8G\n"
                    "set header/l1_table_offset 1<<30\nset header/refcount_table_offset 1<<31\n")
    for options in ((), ("--deep",)):
        done = subprocess.run([RELEASE, "check", *options, path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, check=False)
        assert done.returncode == 1 and b"memory limit of 1073741824 bytes" in done.stderr


def test_references_in_all():
    """Of more users than are named, the page says how many there are."""
    path, _ = image("size 1M\nwrite 0 64k\nalias 64k 448k 0\nset refcount_of/data/0 9\n")
    assert "        8 references in all\n" in run("check", path).stdout.decode("utf-8")


def test_limits_of_the_page():
    path, _ = image(many(299))
    page = run("check", path).stdout.decode("utf-8")
    assert "leak refcount-high (300): " in page and "    … 295 more (--all shows them)\n" in page
    page = run("check", "--all", path).stdout.decode("utf-8")
    assert "more (--all" not in page and page.count("refcounts/") >= 300
    shown = report(path)
    assert shown["problems-omitted"] == {"refcount-high": 200}
    assert "problems-omitted" not in report(path, "--all")
    assert [p["where"] for p in report(path, "--all")["problems"] if p["severity"] == "leak"][:100] \
        == [p["where"] for p in shown["problems"] if p["severity"] == "leak"]


def test_page_in_full():
    path, _ = recipe_image("bad-refcount-too-small")
    page = run("check", path).stdout.decode("utf-8")
    assert page == f"""\
{path} is corrupt: 2 corruptions
guest data: 64 KiB (65536 B) at risk
    at risk     0x0..0xffff

corruption refcount-low (1): A cluster is referenced more often than its
        refcount says.
    The cluster may be given away while it is in use: the next writes can
    destroy what it holds. Repairable.
    0x40004 refcounts/0/2, cluster at 0x20000: found 0 (0x0), expected 1
        used by l2/0/0, guest 0x0..0xffff

corruption copied-set (1): The copied flag is set for a cluster whose refcount
        is not one.
    The guest writes in place to a cluster that others share, or that counts as
    free. Repairable.
    0x40004 refcounts/0/2, cluster at 0x20000: found 0 (0x0)
        used by l2/0/0, guest 0x0..0xffff

virtual disk       16 clusters of 64 KiB
allocated          1 (6.25 %)
fragmented         0 (0.00 % of those)
compressed         0 (0.00 % of those)
end of the image   0x60000 (384 KiB)

{path} is corrupt: 2 corruptions
guest data: 64 KiB (65536 B) at risk

next: qcow2 repair {path}
      Mends refcount-low, copied-set (2 problems). Nothing is lost.
next: qcow2 check {path}
"""


@pytest.mark.parametrize("order", range(7))
def test_place_of_a_refcount(order):
    """The offset is that of the refcount, or of its first byte: that is what must be changed."""
    path, layout = image(f"size 1M\nrefcount_order {order}\nwrite 0 128k\nset refcount_of/data/1 0\n")
    problem = [p for p in report(path)["problems"] if p["id"] == "refcount-low"][0]
    index = int(problem["where"].split("/")[-1])
    assert problem["cluster-offset"] == index << 16 == layout.offsets["data/1"]
    assert problem["offset"] == layout.offsets["refcounts/0"] + index * (1 << order) // 8


@pytest.mark.parametrize("change, place", [
    ("set refcount_table/0 0", "refcount_table/0"),         # no block
    ("set refcount_table/0 1<<50", "refcount_table/0"),     # a block beyond the end
    ("set header/refcount_table_offset 1<<50", None),       # no table
    ("set header/refcount_table_clusters 0", None),         # a table without entries
])
def test_place_of_no_refcount(change, place):
    """Without a refcount, the place is what should lead to it, as far as there is such a place."""
    path, layout = image(f"size 1M\nwrite 0 64k\n{change}\n")
    low = [p for p in report(path)["problems"] if p["id"] == "refcount-low"]
    assert low and all(p["where"].startswith("refcounts/0/") for p in low)
    assert {p["offset"] for p in low} == {place and layout.where(place)}
    assert layout.offsets["data/0"] in {p["cluster-offset"] for p in low}


def test_sound_page():
    page = run("check", SAMPLE).stdout.decode("utf-8")
    assert page.startswith(f"{SAMPLE} is sound") and "\nallocated " in page


def test_unknown_features_stop_the_check():
    path, _ = image("size 1M\nincompatible 0x8000000000000000\nwrite 0 64k\n")
    shown = report(path)
    assert not shown["clusters-checked"] and ids(shown) == {"feature-incompatible-unknown"}
    assert "The header does not allow to check the clusters.\n" in \
        run("check", path).stdout.decode("utf-8")


def test_list():
    page = run("check", "--list").stdout.decode("utf-8")
    assert {line.split()[0] for line in page.splitlines() if line[0] != " "} == listed_problems()
    rows = json.loads(run("check", "--list", "-j").stdout)
    assert {row["id"] for row in rows} == listed_problems()
    for row in rows:
        assert re.search(r"[.]$", row["text"]) and re.search(r"[.]$", row["consequence"])
        assert row["severity"] in ("corruption", "leak", "warning")
    assert [row["id"] for row in rows if row["severity"] == "leak"] == ["refcount-high"]


@pytest.mark.parametrize("arguments, words", [
    ((), "no image given"),
    (("--list", "a"), "too many operands"),
    (("--threads=0", "a"), "--threads is a number from 1 to 64, not '0'"),
    (("--threads=65", "a"), "--threads: '65' is too large: 64 is the most"),
    (("--threads=2x", "a"), "--threads: '2x' is no number: write it as 4096, 64k, 1.5G or 0x1000"),
    (("--threads=-1", "a"), "--threads: '-1' is no number: write it as 4096, 64k, 1.5G or 0x1000"),
    (("--output=xml", "a"), "--output is human or json, not 'xml'"),
    (("--repair=a", "a"), "--repair is all or leaks, not 'a'"),
])
def test_usage(arguments, words):
    done = run("check", *arguments)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.decode() == f"qcow2 check: {words}\nTry 'qcow2 check --help'.\n"


def test_progress():
    """-p is heard of after a second only; an image that takes less shows none."""
    assert run("check", "-p", SAMPLE).stderr == b""


DIRTY = ("size 1M\ndirty\nlazy_refcounts\nwrite 0 128k\nset refcount_of/data/0 0\n"
         "set refcount_of/data/1 0\n")
ZEROED = "size 1M\nbitmap a bits=1\nbitmap b bits=2\npoke @bitmap_directory zeros:64\n"


def verdict_of(text):
    """(verdict in JSON, exit code, the page) of the image of a recipe."""
    path, _ = image(text)
    page = run("check", path)
    return report(path)["verdict"], page.returncode, page.stdout.decode("utf-8")


@pytest.mark.parametrize("more, verdict, code", [
    ("", "not-closed", 2),
    ("set l2/0/0 $l2/0/0 & ~(1<<63)\n", "not-closed", 2),
    ("corrupt\n", "corrupt", 2),                     # the next writer may not write
    ("set l2/0/3 @l2/0 | 1<<63\n", "corrupt", 2),   # two users: no count can mend it
    ("set l2/0/3 1<<50\n", "corrupt", 2),
])
def test_dirty(more, verdict, code):
    """Only refcounts and copied flags may be behind; anything else is corrupt, dirty or not."""
    found = verdict_of(DIRTY + more)
    assert found[:2] == (verdict, code)
    assert ("the next writer counts" in found[2]) == (verdict != "corrupt")
    assert ("can destroy what it holds" in "".join(found[2].split("\n   "))) == \
        (verdict == "corrupt")
    assert ("guest data: not touched\n" in found[2]) == (verdict != "corrupt")


@pytest.mark.parametrize("more, repairable", [("", True), ("poke @l1 zeros:8\n", False)])
def test_leaks_that_may_be_data(more, repairable):
    """Programs are not told that what may be the guest's data can be freed."""
    path, _ = image("size 1M\ncluster_bits 12\nwrite 0 128k\nleak 1\n" + more)
    shown = report(path)
    assert shown["verdict"] == ("leaks" if repairable else "lost-mappings")
    for problem in shown["problems"]:
        if problem["id"] == "refcount-high":
            assert problem["repairable"] == repairable
            assert ("do not free it before" in problem["consequence"]) != repairable
    said = " ".join(run("check", path).stdout.decode("utf-8").split())
    assert ("None for the guest" in said, "; free no leaks" in said) == \
        (False, not repairable)


def test_data_file_is_not_vouched_for():
    """check never opens the data file, and says so, whether or not the image is sound."""
    path = image("size 1M\ndata_file data.raw\nwrite 0 64k\n")[0]
    lines = run("check", path).stdout.decode().split("\n")
    assert lines[0].endswith(" is sound")
    assert lines[1] == "guest data: not touched; the data file: not read"


def test_dirty_with_leaks_or_sound():
    base = "size 1M\ndirty\nlazy_refcounts\nwrite 0 128k\n"
    assert verdict_of(base + "leak 3\n")[:2] == ("not-closed", 3)
    verdict, code, page = verdict_of(base)
    assert (verdict, code) == ("sound", 0)
    assert "is sound, but was not closed (dirty bit), the next writer counts anew" in page.split("\n")[0]


def test_not_dirty():
    """The same refcounts without the bit are corrupt."""
    assert verdict_of(DIRTY.replace("dirty\n", ""))[0] == "corrupt"


@pytest.mark.parametrize("more, words", [
    ("", "nothing else is wrong: 1 corruption"),
    ("leak 2\n", "nothing else is corrupt: 1 corruption, 2 leaks"),
])
def test_marked(more, words):
    verdict, code, page = verdict_of("size 1M\ncorrupt\nwrite 0 64k\n" + more)
    assert (verdict, code) == ("marked-corrupt", 2)
    assert page.split("\n")[0].endswith(f" is marked as corrupt, but {words}")
    assert "guest data: not touched\n" in page
    assert verdict_of("size 1M\ncorrupt\nwrite 0 64k\nset refcount_of/l1 0\n")[0] == "corrupt"


def test_one_cause():
    """What follows from zeros in the bitmap directory is one cause, unless more is asked for."""
    path, layout = image(ZEROED)
    at, pages = layout.offsets["bitmap_directory"], {}
    for option in ("--all", "-v", None):
        pages[option] = run("check", *([option] if option else []), path).stdout.decode("utf-8")
        assert f"\nCause: the bitmap directory at {at:#x} reads as zeros (64 bytes).\n" in \
            pages[option]
        assert pages[option].count("guest data: not touched; only bitmaps are damaged\n") == 2
    assert "\ncorruption bitmap-type (2): " in pages["-v"] and "(2): " in pages["--all"]
    assert "\ncorruption" not in pages[None] and "bitmap-type (2)" in pages[None]
    assert "\nleak refcount-high (4): " in pages[None]
    assert report(path)["causes"] == [{
        "where": "bitmaps", "offset": at, "length": 64,
        "text": "the bitmap directory reads as zeros",
        "problems": [p for p in pages[None].split("shows it): ")[1].split("\n\n")[0].split()
                     if p[0] == "b"]}]


@pytest.mark.parametrize("place, more, what, where", [
    ("@snapshot_table", "zeros:80", "the snapshot table", "snapshots"),
    ("@refcount_table", "zeros:4096", "the refcount table", "refcount_table"),
    ("@refcounts/0", "zeros:4096", "the first refcount block", "refcounts/0"),
])
def test_other_causes(place, more, what, where):
    path, layout = image("size 1M\ncluster_bits 12\nwrite 0 8k\nsnapshot 1 name=a\n"
                         f"snapshot 2 name=b\nwrite 0 4k\npoke {place} {more}\n")
    cause, = report(path)["causes"]
    assert (cause["where"], cause["text"]) == (where, f"{what} reads as zeros")
    assert cause["offset"] == layout.offsets[place[1:]]
    assert f"Cause: {what} at {cause['offset']:#x} reads" in run("check", path).stdout.decode()


def test_several():
    """A report for each image; the exit code of the worst one; a sum at the end."""
    sound, leaks = image("size 1M\n")[0], image("size 1M\nleak 2\n")[0]
    bad, raw = image(DIRTY)[0], recipe_image("bad-zeros")[0]
    for files, code, last in (
            ((sound, sound), 0, "2 images: 2 sound"),
            ((sound, raw), 63, "2 images: 1 sound, 1 not qcow2"),
            ((raw, leaks, sound), 3, "3 images: 1 sound, 1 intact, but wasting space, 1 not qcow2"),
            ((bad, leaks, raw), 2,
             "3 images: 1 intact, but wasting space, 1 not closed, 1 not qcow2"),
            ((sound, "/nowhere", bad), 1, "3 images: 1 sound, 1 not closed, 1 not checked")):
        done = run("check", *files)
        page = done.stdout.decode("utf-8")
        assert done.returncode == code and page.split("\n")[-2:] == [last, ""]
        shown = [f for f in files if f not in (raw, "/nowhere")]
        at = [page.index(f"{f} ") for f in shown]
        assert at == sorted(at)
        both = run("check", "-j", *files)
        assert both.returncode == code and both.stderr == done.stderr
        assert [d["filename"] for d in json.loads(both.stdout)] == shown
        for document in json.loads(both.stdout):
            VALIDATOR.validate(document)
        quiet = run("check", "-q", *files)
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (code, b"", done.stderr)


CHAINS = {
    # what the second file is: (what is said of it, exit code, its verdict in JSON, words of the sum)
    "backing base qcow2": ("base is corrupt: 2 corruptions", 2, "corrupt", "1 sound, 1 corrupt"),
    "backing base": ("base is corrupt: 2 corruptions", 2, "corrupt", "1 sound, 1 corrupt"),
    "backing file:base qcow2": ("base is corrupt: 2 corruptions", 2, "corrupt",
                                "1 sound, 1 corrupt"),
    "backing raw.img raw": ("raw.img is raw: nothing to check", 0, "not-checked", "1 sound, 1 raw"),
    "backing raw.img": ("raw.img is raw (probed, as top does not state its format): nothing to",
                        0, "not-checked", "1 sound, 1 raw"),
    "backing disk.vmdk vmdk": ("disk.vmdk is vmdk: not checked", 63, "not-checked",
                               "1 sound, 1 not qcow2"),
}


@pytest.mark.parametrize("backing", CHAINS)
def test_chain(backing, tmp_path):
    """Each layer has its report; what is no qcow2 image is named."""
    words, code, verdict, total = CHAINS[backing]
    build(f"size 1M\n{backing}\nwrite 0 64k\n", str(tmp_path / "top"))
    build("size 1M\nwrite 0 64k\nset refcount_of/data/0 0\n", str(tmp_path / "base"))
    (tmp_path / "raw.img").write_bytes(bytes(1 << 20))
    (tmp_path / "disk.vmdk").write_bytes(b"KDMV" + bytes(1 << 16))
    done = run("check", "--chain", "top", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, b"")
    page = done.stdout.decode("utf-8")
    assert page.startswith("top is sound\n") and f"\n\n{words}" in page
    assert page.endswith(f"\n\n2 images: {total}\n")
    document = json.loads(run("check", "--chain", "-j", "top", cwd=tmp_path).stdout)
    VALIDATOR.validate(document)
    assert [d["verdict"] for d in document] == ["sound", verdict]
    assert run("check", "top", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("backing, words", [
    ("top qcow2", "the chain of backing files is a loop"),
    ("nowhere qcow2", "nowhere: named as the backing file of top: cannot open"),
    ("nbd://host/disk raw", "not a local file"),
    ("raw.img qcow2", "raw.img: named as the backing file of top: not a qcow2 image"),
])
def test_broken_chain(backing, words, tmp_path):
    """What could be checked is shown, and why the chain ends."""
    build(f"size 1M\nbacking {backing}\n", str(tmp_path / "top"))
    (tmp_path / "raw.img").write_bytes(bytes(1 << 20))
    done = run("check", "--chain", "top", cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr.decode("utf-8")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.startswith(b"top is sound\n")
    assert done.stdout.endswith(b"\n\n1 image: 1 sound; 1 chain of backing files was not followed "
                                b"to its end\n")
    document = json.loads(run("check", "--chain", "-j", "top", cwd=tmp_path).stdout)
    assert [d["filename"] for d in document] == ["top"]


def test_none_of_several():
    """If no image could be checked, standard output is empty."""
    raw = recipe_image("bad-zeros")[0]
    for options in ((), ("-j",)):
        for files, code in (((raw, raw), 63), ((raw, "/nowhere"), 1), ((raw,), 63), (("/",), 1)):
            done = run("check", *options, *files)
            assert (done.returncode, done.stdout) == (code, b"") and done.stderr


def test_quiet():
    for text, code in (("size 1M\n", 0), ("size 1M\nleak 2\n", 3), (DIRTY, 2)):
        for options in (("-q",), ("--quiet",), ("-qv",)):
            done = run("check", *options, image(text)[0])
            assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")
        # A document is asked for.
        assert run("check", "-qj", image(text)[0]).stdout == run("check", "-j", image(text)[0]).stdout


def test_verbose():
    """More problems of a kind, and the section of the specification."""
    path, _ = image(many(299))
    page = run("check", "-v", path).stdout.decode("utf-8")
    assert "    … 200 more (--all shows them)\n" in page
    assert "Section: Host cluster management." in " ".join(page.split())


@pytest.mark.parametrize("columns", [48, 80, 81, 120, 300])
def test_width(columns):
    """The width of the terminal is used, and no line passes it but commands, which are copied."""
    screen = show([RELEASE, "check", "--all", os.path.basename(image(many(9))[0])], columns=columns,
                  cwd=os.path.dirname(image(many(9))[0]))
    assert all(line.startswith("next: ") for line in screen.broken) and screen.code == 2
    assert max(map(text_columns, screen.lines)) > min(columns, 100) - 12
    listed = show([RELEASE, "check", "--list"], columns=max(columns, 80))
    assert listed.broken == []
    text = listed.lines[0].index("The cluster size")
    assert all(line[:text].strip() == "" or line[text - 1] == " " for line in listed.lines)


def test_every_problem_row_is_found():
    promised = {p for name in recipes() for p in load(name).shows + load(name).finds}
    assert promised == listed_problems()
