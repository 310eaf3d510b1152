# SPDX-License-Identifier: MIT
# qcow2 layout: runs without a gap and totals that add up on every forged image, good or bad; the kinds
# of known places; where space can be gained, with commands that work; screens, names and options.
# tests/oracle/test_layout_oracle.py compares it with qemu-img and with qcow2 locate.
"""What fills the file."""
import errno
import json
import os
import re
import shutil
import struct
import subprocess

import pytest

from tests.forge import recipes
from tests.support import shims
from tests.support.measure import peak
from tests.support.outside import complaint, harmless, text_of
from tests.support.programs import QCOW2, RELEASE, SAMPLE, image, recipe_image, run
from tests.support.terminal import show

KIB, MIB = 1 << 10, 1 << 20
UNCLAIMED = ("leaked", "free", "hole")
KINDS = ("header", "refcount-table", "refcount-block", "l1-table", "l2-table", "data", "compressed",
         "snapshot-only", "shared", "snapshot-table", "bitmap-directory", "bitmap-table",
         "bitmap-data", "crypto", "conflict", *UNCLAIMED)
PLACES = ("free", "leaked", "snapshots", "bitmaps", "zeros", "behind")


def layout(path, *words, program=QCOW2, code=0):
    done = run("layout", "-j", *words, path, program=program)
    assert done.returncode == code, done
    assert (done.stderr == b"") == (code == 0), done
    return json.loads(done.stdout)


def page(path, *words, code=0, **more):
    done = run("layout", *words, path, **more)
    assert done.returncode == code, done
    return text_of(done)


def kind_at(found, offset):
    hit, = [r["kind"] for r in found["runs"] if r["start"] <= offset < r["start"] + r["length"]]
    return hit


def where_at(found, offset):
    return {r["start"]: r["where"] for r in found["runs"]}[offset]


def command(found, place):
    return found["space"][place]["command"]


# ---- every image ----

# There is no structure to be found if the header itself cannot be read.
WITHOUT = ("bad-cluster-bits-", "bad-empty-file", "bad-header-truncated-magic",
           "bad-header-truncated-v", "bad-hostile-random-header",
           "bad-magic", "bad-not-qcow2", "bad-refcount-order-", "bad-three-bytes", "bad-zeros",
           "unsupported-incompatible-", "unsupported-version-")


def adds_up(found, size):
    """Runs are the whole file, in order; totals are what they come to."""
    at, sums, holes = 0, dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for one in found["runs"]:
        assert one["start"] == at and one["length"] > 0, one
        assert (one["where"] is None) == (one["kind"] in UNCLAIMED), one
        assert 0 < one.get("hole-bytes", 1) <= one["length"]
        at += one["length"]
        sums[one["kind"]] += one["length"]
        holes[one["kind"]] += one.get("hole-bytes", 0)
    assert at == size == found["file-size"] == sum(found["totals"].values())
    assert (found["totals"], found["holes"]) == (sums, holes)
    assert list(found["totals"]) == list(KINDS) and tuple(found["space"]) == PLACES
    assert all(one["kind"] != two["kind"] for one, two in zip(found["runs"], found["runs"][1:]))


@pytest.mark.parametrize("name", recipes())
def test_adds_up(name):
    path = recipe_image(name)[0]
    done = run("layout", "-j", path, program=RELEASE)
    if name.startswith(WITHOUT):
        assert (done.returncode, done.stdout) == (1, b"") and done.stderr
        return
    found = json.loads(done.stdout)
    adds_up(found, os.path.getsize(path))
    # It exits with 2 where the check does.
    assert done.returncode == (2 if run("check", path, program=RELEASE).returncode == 2 else 0)
    assert (done.returncode == 2) == (done.stderr != b"")
    assert done.returncode == 2 or found["totals"]["conflict"] == 0


# ---- what is where ----

def test_kinds():
    path, forged = recipe_image("good-snapshots")
    found = layout(path)
    for where, kind in (("l1/0", "l1-table"), ("l2/0/0", "l2-table"),
                        ("refcount_table/0", "refcount-table"), ("refcounts/0/0", "refcount-block"),
                        ("snapshots/0/l1/0", "l1-table"), ("snapshots/0/name", "snapshot-table")):
        assert kind_at(found, forged.where(where)) == kind
    assert found["runs"][0] == {"start": 0, "length": 64 * KIB, "kind": "header", "where": "header"}
    assert found["cluster-size"] == 64 * KIB and found["end"] == found["file-size"]


def test_bitmaps_and_crypto():
    path, forged = recipe_image("good-bitmaps")
    found = layout(path)
    for where, kind in (("bitmaps/0/name", "bitmap-directory"), ("bitmaps/0/table/0", "bitmap-table"),
                        ("bitmaps/3/table/0", "bitmap-table")):
        assert kind_at(found, forged.where(where)) == kind
    assert where_at(found, forged.where("bitmaps/0/table/0")) == "bitmaps/0/table"
    assert found["totals"]["bitmap-data"] > 0
    assert layout(recipe_image("good-luks1")[0])["totals"]["crypto"] == 2 * MIB


SHARED = """# data of the active image alone, of the snapshot alone, of both
size 8M
write 0 64k
write 64k 128k
snapshot 1 name=one
write 64k 64k
write 1M 64k
"""


def test_who_has_data():
    found = layout(image(SHARED)[0])
    assert {kind: found["totals"][kind] for kind in ("data", "shared", "snapshot-only")} == {
        "data": 128 * KIB, "shared": 128 * KIB, "snapshot-only": 64 * KIB}
    # The data that is the snapshot's alone, its L1 and its L2 table.
    assert found["space"]["snapshots"]["bytes"] >= 3 * 64 * KIB


def test_compressed():
    found = layout(recipe_image("good-compressed")[0])
    assert found["totals"]["compressed"] > 0
    assert found["fragmentation"]["compressed-clusters"] > 0


def test_first_byte():
    """Several compressed clusters lie in one host cluster: the owner is that of its first byte."""
    path = image("# compressed in descending order\nsize 1M\ncompressed 128k 64k pattern=5\n"
                 "compressed 64k 64k pattern=5\ncompressed 0 64k pattern=5\n")[0]
    run_of, = [one for one in layout(path)["runs"] if one["kind"] == "compressed"]
    located = json.loads(run("locate", "-j", f"--host={run_of['start']}", path).stdout)
    assert run_of["where"] == "l2/0/2" == located["owners"][0]["where"]


def test_data_file():
    path = recipe_image("good-data-file")[0]
    found = layout(path)
    assert found["totals"]["data"] == 0 and found["data-file"] == "good-df.raw"
    assert "The guest's data is in another file, good-df.raw" in page(path)
    assert layout(recipe_image("good-data-file-nameless")[0])["data-file"] is None
    assert "data-file" not in layout(recipe_image("good-default")[0])


def test_last_cluster():
    path = recipe_image("good-short-last-cluster")[0]
    found = layout(path)
    assert found["file-size"] % found["cluster-size"] and found["end"] >= found["file-size"]
    assert found["space"]["behind"] == {"bytes": 0, "command": None}


# ---- where the space is ----

def grown(copy, more, name="disk.qcow2"):
    path = copy(recipe_image("good-default")[0], name)
    os.truncate(path, os.path.getsize(path) + more)
    return path


@pytest.fixture(name="here")
def fixture_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def copy(path, name="disk.qcow2"):
        shutil.copyfile(path, name)
        return name
    return copy


def test_behind(here):
    path = grown(here, 3 * MIB + 5)
    end = os.path.getsize(recipe_image("good-default")[0])
    found = layout(path)
    assert found["end"] == end
    assert found["space"]["behind"] == {"bytes": 3 * MIB + 5,
                                        "command": f"truncate -s {end} disk.qcow2"}
    assert "\nbehind the end    3.00 MiB  none of it stored\n" + " " * 28 + \
        f"truncate -s {end} disk.qcow2\n" in page(path)
    subprocess.run(command(found, "behind"), shell=True, check=True)
    assert os.path.getsize(path) == end and run("check", path).returncode == 0
    assert layout(path)["space"]["behind"]["bytes"] == 0


def test_free(here):
    """Free clusters with old data: punching gives them back, and harms nothing."""
    path = here(image("size 1M\nwrite 0 64k\nwrite 128k 64k\n")[0])
    found = layout(path)
    size, end = os.path.getsize(path), found["end"]
    with open(path, "r+b") as file:
        table = struct.unpack(">Q", file.read(64)[48:56])[0]
        file.seek(table)
        block = struct.unpack(">Q", file.read(8))[0]
        # Three clusters of old data, then one that is in use again: the end is behind them.
        file.seek(size)
        file.write(b"old!" * (48 * KIB) + bytes(64 * KIB))
        file.seek(block + 2 * (size // (64 * KIB) + 3))
        file.write(struct.pack(">H", 1))
    found = layout(path)
    assert found["end"] == end + 4 * 64 * KIB
    assert found["space"]["free"] == {
        "bytes": 3 * 64 * KIB,
        "command": f"fallocate -p -o {size:#x} -l {3 * 64 * KIB:#x} disk.qcow2"}
    assert found["space"]["leaked"]["bytes"] == 64 * KIB
    assert command(found, "leaked") == "qcow2 repair --leaks disk.qcow2"
    before = os.stat(path).st_blocks
    subprocess.run(command(found, "free"), shell=True, check=True)
    assert os.stat(path).st_blocks == before - 3 * 64 * KIB // 512
    found = layout(path)
    assert found["space"]["free"] == {"bytes": 0, "command": None}
    assert found["totals"]["hole"] == 3 * 64 * KIB and found["totals"]["free"] == 0


def test_users():
    found = layout(recipe_image("good-bitmaps")[0])
    space = found["space"]["bitmaps"]
    assert space["bytes"] >= found["totals"]["bitmap-data"] + found["totals"]["bitmap-table"]
    assert space["command"].startswith("qcow2 bitmap list ")
    path = recipe_image("good-snapshots")[0]
    assert command(layout(path), "snapshots") == f"qcow2 snapshot space {path}"
    assert "3 snapshots" in page(path)


@pytest.mark.parametrize("name", ["good-snapshots", "good-snapshot-vmstate", "good-bitmaps", "sample"])
def test_what_users_free_is_what_space_says(name):
    path = SAMPLE if name == "sample" else recipe_image(name)[0]
    found = layout(path)["space"]
    said = json.loads(run("snapshot", "space", "-j", path).stdout)
    assert found["snapshots"]["bytes"] == said["all-snapshots"]["freed-bytes"]
    if len(said["snapshots"]) == 1:
        assert found["snapshots"]["bytes"] == said["snapshots"][0]["exclusive-bytes"]
    if len(said["bitmaps"]) == 1:
        assert found["bitmaps"]["bytes"] == said["bitmaps"][0]["exclusive-bytes"]


def used(path):
    found = layout(path)
    size = found["cluster-size"]
    return sum(-(-one["length"] // size) * size for one in found["runs"]
               if one["kind"] not in ("free", "hole"))


def test_removing_all_bitmaps_frees_what_it_says(here):
    path = here(SAMPLE)
    before, promised = used(path), layout(path)["space"]["bitmaps"]["bytes"]
    assert run("bitmap", "remove", "--no-undo", path, "nightly", "weekly").returncode == 0
    assert before - used(path) == promised == 20 * KIB


def test_no_comments_behind_commands():
    """Not every shell takes a comment in the line of a command."""
    for name in ("good-snapshots", "good-bitmaps"):
        lines = page(recipe_image(name)[0]).splitlines()
        assert any(re.fullmatch(r" {28}qcow2 .*|    qcow2 .*", line) for line in lines)
        assert not [line for line in lines if "#" in line]


def test_zeros(here):
    path = here(image("size 1M\nwrite 0 128k\n")[0])
    at = json.loads(run("map", "-j", path).stdout)[0]["offset"]
    subprocess.run(["fallocate", "-p", "-o", str(at), "-l", str(64 * KIB), path], check=True)
    found = layout(path)
    assert found["space"]["zeros"] == {"bytes": 64 * KIB, "command": None}
    assert found["holes"]["data"] == 64 * KIB
    assert "zeros in holes" in page(path)


def test_nothing_to_gain():
    assert "Where the space is" not in page(recipe_image("good-empty")[0])


def test_no_commands_for_a_broken_image():
    """Commands could do harm where structures contradict each other."""
    path = recipe_image("bad-data-on-own-l2")[0]
    found = layout(path, code=2)
    assert found["totals"]["conflict"] > 0
    assert all(command(found, place) is None for place in ("free", "behind", "zeros"))
    assert (command(found, "leaked") or "qcow2 check").startswith("qcow2 check")
    done = run("layout", path)
    assert done.returncode == 2 and b"qcow2 check" in done.stderr and b"fallocate" not in done.stdout


def no_changes(done):
    """Nothing is offered that changes the image."""
    text = done.stdout.decode()
    assert done.returncode == 0 and "Nothing should be changed now." in text
    assert not re.search(r"^ +(fallocate|truncate|qemu-img check) ", text, re.M), text
    return text


def test_no_commands_where_data_may_be_lost(here):
    """What nothing refers to may be the guest's data, also behind the end and where the refcount is 0."""
    path = here(image("size 1M\nwrite 0 256k\nset l1/0 0\nset refcount_of/data/0 0\n")[0])
    os.truncate(path, os.path.getsize(path) + MIB)
    found = layout(path)
    assert all(found["space"][place]["bytes"] > 0 and command(found, place) is None
               for place in ("free", "behind"))
    assert command(found, "leaked").startswith("qcow2 check ")
    assert "The guest may have lost data" in no_changes(run("layout", path))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS], ids=errno.errorcode.get)
def test_no_commands_where_locks_do_not_tell(here, tmp_path, number):
    path = here(image("size 1M\nwrite 0 64k\n")[0])
    os.truncate(path, os.path.getsize(path) + MIB)
    assert command(layout(path), "behind").startswith("truncate ")
    env = {**os.environ, "LD_PRELOAD": shims.build("races", tmp_path), "LOCK_ERRNO": str(number)}
    done = run("layout", path, program=RELEASE, env=env)
    assert "Another program may write to the image." in no_changes(done)


@pytest.mark.parametrize("name", ["a b.qcow2", "-x.qcow2", "it's.qcow2", "a:b.qcow2", "\033[31m.qcow2"])
def test_names(here, name):
    """Commands can be pasted, and nothing reaches the terminal."""
    path = "./" + grown(here, MIB, name) if name.startswith("-") else grown(here, MIB, name)
    done = run("layout", path)
    assert harmless(done.stdout) and done.returncode == 0
    subprocess.run(command(layout(path), "behind"), shell=True, check=True)
    assert layout(path)["space"]["behind"]["bytes"] == 0


def test_long_name(here):
    """A command that does not fit the terminal stands in a line of its own."""
    path = grown(here, MIB, "n" * 200 + ".qcow2")
    lines = page(path).splitlines()
    assert f"    {command(layout(path), 'behind')}" in lines


# ---- sizes ----

def test_measure():
    path = recipe_image("good-snapshots")[0]
    found = layout(path)["measure"]
    assert 0 < found["smallest"] <= found["with-all"] <= found["largest"]
    assert [kept["where"] for kept in found["kept"]] == [f"snapshots/{i}" for i in range(3)]
    assert max(kept["size"] for kept in found["kept"]) <= found["with-all"]
    text = page(path)
    assert "smallest size" in text and "largest size" in text and "\ncommit " not in text
    assert "commit-growth" not in found
    path = recipe_image("good-backing")[0]
    assert "\ncommit " in page(path) and layout(path)["measure"]["commit-growth"] > 0


def test_smallest_is_smallest(here, tmp_path):
    """No larger than the file, if it is compressed; and zeros are left out of a copy."""
    plain, packed = here(image("size 4M\nwrite 0 2M\n")[0]), str(tmp_path / "packed.qcow2")
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", plain, packed], check=True)
    assert re.search(r"\nsmallest size +384 KiB  compressed; 2\.\d+ MiB by 'qemu-img convert'\n",
                     page(packed))
    subprocess.run(["fallocate", "-p", "-o", "1M", "-l", "512K", plain], check=True)
    assert "by 'qemu-img convert', less the zeros\n" in page(plain)


def test_fragmentation():
    found = layout(image("size 1M\nwrite 0 64k\nwrite 128k 64k\nwrite 64k 64k\n")[0])["fragmentation"]
    assert (found["data-bytes"], found["runs"]) == (192 * KIB, 3) and found["seeks"] == 2


# ---- pages and options ----

@pytest.mark.parametrize("size", ((80, 24), (120, 40), (40, 24)))
def test_screen(here, size):
    path = here(image(SHARED)[0])
    screen = show([QCOW2, "layout", path], *size)
    assert screen.code == 0 and not screen.broken


def test_width():
    path = recipe_image("good-snapshots")[0]
    for width in (40, 80, 200):
        assert all(len(line) <= width or line.startswith("    ")
                   for line in page(path, f"--width={width}").splitlines()[1:])


@pytest.mark.parametrize("words,said", (
    ((), "no image given"),
    (("a", "b"), "one image at a time, not also 'b'"),
    (("--output=yaml", "a"), "--output is "),
    (("--output=jsno", "a"), "did you mean json?"),
    (("--width=39", "a"), "--width: from 40 to 10000, not '39'"),
    (("--width=10001", "a"), "--width: from 40 to 10000"),
    (("--width=x", "a"), "--width: "),
    (("--widht=80", "a"), "did you mean --width?"),
))
def test_usage(words, said):
    done = run("layout", *words)
    assert (done.returncode, done.stdout) == (1, b"") and said in done.stderr.decode()


def test_no_image(tmp_path):
    reason, _ = complaint(run("layout", tmp_path / "none"), "layout", tmp_path / "none")
    assert "No such file" in reason


def test_quiet():
    path = recipe_image("good-default")[0]
    assert page(path, "-q") == ""
    assert layout(path, "-q") == layout(path)


# ---- hostile images ----

# Those that aim at tables, and one of many bitmaps.
HOSTILE = [n for n in recipes() if "hostile" in n and not re.search(
    "extension|feature|backing|names|name-|bitmaps-65535", n)]


@pytest.mark.parametrize("name", HOSTILE)
def test_bounded(name):
    code, bytes_, _ = peak("layout", "-j", recipe_image(name)[0])
    assert code in (0, 1, 2) and bytes_ <= 64 * MIB


def test_repeated_refcount_block(tmp_path):
    """A table that leads to one block all the time makes no more runs than can be told quickly."""
    path, cluster = tmp_path / "repeated", 65536
    with open(path, "wb") as file:  # refcounts of a bit: every other cluster is leaked
        file.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, 1 << 30, 0, 1,
                               3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 0, 104))
        file.seek(cluster)
        file.write(struct.pack(">Q", 2 * cluster) * (cluster // 8))
        file.write(b"\x55" * cluster)
        file.truncate(1 << 43)
    for words in (["layout", "--output=svg"], ["snapshot", "space"], ["measure"]):
        code, bytes_, _ = peak(*words, path)
        assert code in (0, 2) and bytes_ <= 64 * MIB
    head = run("layout", path, program=RELEASE).stdout
    leaked = int(re.search(rb"^leaked .* (\d+) bytes", head, re.M)[1])
    assert leaked == ((3 << 18) - 2) * cluster  # by the block once, and 2 times more


def test_many_runs(tmp_path):
    """More runs than are held at once, each of a cluster: they end where the file does."""
    path, clusters = tmp_path / "many", 550_000  # of data, each with a hole behind it
    tables, l1, first = clusters // 64 + 1, 1, 1 + (clusters // 64 + 1) // 64 + 1
    data = first + tables
    with open(path, "wb") as file:
        file.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 9, clusters * 512, 0,
                               tables, l1 * 512, 0, 0, 0, 0, 0, 0, 0, 4, 104))
        file.seek(l1 * 512)
        file.write(struct.pack(f">{tables}Q", *range(first * 512, data * 512, 512)))
        file.seek(first * 512)
        file.write(struct.pack(f">{clusters}Q", *range(data * 512, (data + 2 * clusters) * 512, 1024)))
        size = (data + 2 * clusters) * 512
        file.truncate(size)
    done = run("layout", "-j", path, program=RELEASE)
    runs = done.stdout[done.stdout.index(b'"runs": ['):].splitlines()[1:-2]
    assert done.returncode == 2 and len(runs) == 4 + 2 * clusters - 1
    last = json.loads(runs[-1])
    assert last["start"] + last["length"] == size
    assert json.loads(runs[-2].rstrip(b","))["where"] == f"l2/{(clusters - 1) // 64}/{(clusters - 1) % 64}"
