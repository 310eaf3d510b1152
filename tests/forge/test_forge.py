# SPDX-License-Identifier: MIT
"""Tests of the forge itself, with qemu-img and arithmetic done by hand as judges.

Good images must pass `qemu-img check` without errors or leaks and read back
what the recipe wrote, over every cluster size, refcount width and entry format.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys

import pytest

from tests import forge
from tests.forge.forgelib import compress
from tests.forge.forgelib.values import words

HERE = os.path.dirname(os.path.abspath(__file__))

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not here")
GOOD = [name for name in forge.recipes("good-") if forge.load(name).qemu is None]


def run(*args, **more):
    return subprocess.run(args, capture_output=True, timeout=60, check=False, **more)


def check(path):
    """qemu-img check finds nothing; returns its JSON."""
    done = run("qemu-img", "check", "--output=json", path, cwd=path.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert not any(answer.get(key) for key in ("corruptions", "leaks", "check-errors"))
    return answer


def read_back(path, *snapshot):
    """The guest's bytes as qemu-img converts them (it seeks data files from where it stands)."""
    raw = str(path) + ".raw"
    done = run("qemu-img", "convert", *snapshot, "-O", "raw", path, raw,
               cwd=path.parent)
    assert done.returncode == 0, done.stderr
    with open(raw, "rb") as file:
        data = file.read()
    os.unlink(raw)
    return data


# every size, width and format

@needs_qemu
@pytest.mark.parametrize("bits,order,extended,version", sorted(set(forge.sweep())))
def test_sweep(tmp_path, bits, order, extended, version):
    path = tmp_path / "sweep.qcow2"
    layout = forge.build(forge.everything(bits, order, extended, version), str(path))
    check(path)
    info = json.loads(run("qemu-img", "info", "--output=json", path).stdout)
    data = info["format-specific"]["data"]
    assert info["cluster-size"] == 1 << bits
    assert data["compat"] == ("1.1" if version == 3 else "0.10")
    if version == 3:
        assert data["refcount-bits"] == 1 << order
        assert data["extended-l2"] == extended
        assert [b["name"] for b in data["bitmaps"]] == ["b0", "b1"]
    assert ("snapshots" in info) == (order != 0)
    if bits <= 16:
        assert read_back(path) == layout.guest_bytes()


def random_disk(seed):
    """A disk with a random history of writes, snapshots and holes."""
    dice = random.Random(seed)
    bits = dice.choice([9, 10, 12, 14, 16, 17])
    size, extended = 1 << bits, bits >= 14 and dice.random() < 0.5
    method = dice.choice(["deflate", "zstd"])
    lines = ["# random", f"cluster_bits {bits}", f"size {size * 400}",
             f"refcount_order {dice.randrange(3, 7)}", "extended_l2" if extended else "",
             dice.choice(["", "refcounts_first"]),
             dice.choice(["", f"backing random-base.raw raw make={size * 100}"])]
    for turn in range(25):
        at, length = dice.randrange(380) * size, dice.randrange(1, 5) * size
        alloc, zero = dice.getrandbits(32), dice.getrandbits(32)
        pattern = "mixed" if bits > 10 else 3
        lines.append(dice.choice([
            f"write {at} {length}", f"write {at} {length}", f"zero {at} {length}",
            f"zero {at} {length} allocated", f"unmap {at} {length}", "gap 2",
            f"compressed {at} {length} {method} pattern={dice.choice([pattern, 5])}",
            f"snapshot {turn} name=s{turn} vmstate={dice.randrange(3) * 700}" if turn < 20 else "",
            f"subclusters {at} alloc={alloc:#x} zero={zero & ~alloc:#x}" if extended else ""]))
    return "\n".join(lines)


@needs_qemu
@pytest.mark.parametrize("seed", range(24))
def test_random_disks(tmp_path, seed):
    path = tmp_path / "random.qcow2"
    layout = forge.build(random_disk(seed), str(path))
    check(path)
    assert read_back(path) == layout.guest_bytes()


# the collection

@needs_qemu
@pytest.mark.parametrize("name", GOOD)
def test_good_recipe_satisfies_qemu(tmp_path, name):
    path = tmp_path / (name + ".qcow2")
    layout = forge.build_named(name, str(path))
    check(path)
    size = layout.value("header/size")
    if size <= 16 << 20 and not size % 512:
        assert read_back(path) == layout.guest_bytes()[:size]


@needs_qemu
def test_snapshots_read_back(tmp_path):
    path = tmp_path / "snapshots.qcow2"
    layout = forge.build_named("good-snapshots", str(path))
    for index in range(3):
        data = read_back(path, "-l", f"snapshot.id={index + 1}")
        assert data == layout.guest_bytes(snapshot=index)


@needs_qemu
@pytest.mark.parametrize("name", ["good-data-file", "good-data-file-raw"])
def test_data_file_is_made(tmp_path, name):
    layout = forge.build_named(name, str(tmp_path / "x.qcow2"))
    raw = (tmp_path / layout.recipe.data_file["name"].decode()).read_bytes()
    assert raw[:65536] == layout.guest_bytes(0, 65536)
    if layout.recipe.data_file["raw"]:
        assert raw == layout.guest_bytes()


@needs_qemu
def test_luks1_header_is_one_that_qemu_shows(tmp_path):
    path = tmp_path / "luks.qcow2"
    layout = forge.build_named("good-luks1", str(path))
    done = run("qemu-img", "info", "--output=json", path)
    luks = json.loads(done.stdout)["format-specific"]["data"]["encrypt"]
    assert luks["cipher-alg"] == "aes-256" and luks["cipher-mode"] == "xts"
    assert [slot["active"] for slot in luks["slots"]] == [True, True] + [False] * 6
    # 8 sectors of header, then 504 (500 rounded up to 8) of key material a slot
    assert [slot["key-offset"] for slot in luks["slots"]] == [(8 + 504 * i) * 512 for i in range(8)]
    assert luks["payload-offset"] == 4040 * 512 == layout.value("extensions/crypto/length")


@needs_qemu
def test_bitmap_bits_reach_qemu(tmp_path):
    path = tmp_path / "bits.qcow2"
    layout = forge.build("# bits\nsize 1M\nbitmap b0 granularity=64k bits=0,3,10", str(path))
    # bits 0, 3 and 10 are the bytes 09 04, least significant bit first
    assert layout.store.read(layout.offsets["bitmaps/0/data/0"], 3) == b"\x09\x04\x00"
    node = f"driver=qcow2,file.driver=file,file.filename={path}"
    done = run("qemu-img", "map", "--output=json", "--image-opts", node)
    assert done.returncode == 0, done.stderr
    # QEMU loads the bitmap and stores it again where a second one can be compared
    assert run("qemu-img", "bitmap", "--add", "-g", "64k", path, "copy").returncode == 0
    done = run("qemu-img", "bitmap", "--merge", "b0", path, "copy")
    assert done.returncode == 0, done.stderr
    check(path)
    data = path.read_bytes()
    assert data.count(b"\x09\x04" + bytes(65534)) == 2


# a wrong count also contradicts the copied flag of its cluster: one corruption more
@needs_qemu
@pytest.mark.parametrize("name,leaks,corruptions", [
    ("bad-refcount-leak", 5, 0), ("bad-refcount-too-large", 1, 1), ("bad-refcount-too-small", 0, 2),
    ("bad-copied-missing", 0, 1), ("bad-copied-surplus", 0, 2),
    ("bad-refcount-bit-order", None, 1)])
def test_broken_refcounts_are_what_qemu_finds(tmp_path, name, leaks, corruptions):
    path = tmp_path / "bad.qcow2"
    forge.build_named(name, str(path))
    answer = json.loads(run("qemu-img", "check", "--output=json", path).stdout)
    if leaks is not None:
        assert answer.get("leaks", 0) == leaks
        assert answer.get("corruptions", 0) == corruptions
    else:
        assert answer.get("corruptions", 0) >= corruptions


# by hand, without any other program

HEADER_BY_HAND = (
    "514649fb 00000003 0000000000000000 00000000 00000010 0000000000100000 00000000 00000001"
    "0000000000010000 0000000000030000 00000001 00000000 0000000000000000"
    "0000000000000000 0000000000000000 0000000000000000 00000004 00000070 00 00000000000000"
    "00000000 00000000")


def test_header_bytes():
    fields = bytes.fromhex(HEADER_BY_HAND)
    layout = forge.build("# L1, one refcount block, the refcount table\nsize 1M\n")
    assert layout.store.read(0, len(fields)) == fields


@pytest.mark.parametrize("order,expected", [
    # the counts 1 1 3 0 1 of the first five clusters; below 8 bits the lowest bits come first
    (1, "3501"), (2, "110301"), (3, "0101030001"), (4, "00010001000300000001"),
    (5, "0000000100000001000000030000000000000001"), (6, "0000000000000001" * 2),
])
def test_refcount_widths_by_hand(order, expected):
    layout = forge.build(f"# counts\ncluster_bits 12\nsize 64k\nrefcount_order {order}\n")
    for cluster, count in enumerate((1, 1, 3, 0, 1)):
        layout.put(layout.place(f"refcounts/0/{cluster}"), count)
    raw = layout.store.read(layout.offsets["refcounts/0"], len(expected) // 2)
    assert raw.hex() == expected


def test_refcount_of_one_bit_is_least_significant_first():
    layout = forge.build("# bits\ncluster_bits 12\nsize 64k\nrefcount_order 0\nwrite 0 4k\n")
    # header, L1, L2, data, block, table: six clusters
    assert layout.store.read(layout.offsets["refcounts/0"], 2) == b"\x3f\x00"


def test_compressed_descriptor_by_hand():
    layout = forge.build("# one\nsize 1M\nwrite 0 64k\ncompressed 64k 64k pattern=mixed\n"
                         "compressed 128k 64k pattern=1\n")
    first, second = layout.value("l2/0/1"), layout.value("l2/0/2")
    assert first >> 62 == second >> 62 == 1
    start = first & (1 << 54) - 1
    sectors = first >> 54 & 0xff
    assert start == 0x40000
    packed = len(compress.deflate(layout.guest_bytes(65536, 65536)))
    assert sectors == (packed - 1) // 512
    assert second & (1 << 54) - 1 == start + packed


def test_offsets_and_values():
    layout = forge.build('# offsets\nsize 4M\nbitmap b0 flags=auto bits=1\nbitmap "b 1" table=ones\n'
                         "snapshot s1 name=one vmstate=77\nset bitmaps/1/flags 0x8\n")
    start = layout.offsets["bitmap_directory"]
    assert layout.offsets["bitmaps/0"] == start
    assert layout.offsets["bitmaps/1"] == start + 32
    assert layout.where("bitmaps/b 1/flags") == start + 32 + 12
    assert layout.value("bitmaps/b 1/flags") == 8
    assert layout.value("bitmaps/b0/name") == b"b0"
    assert layout.value("bitmaps/b0/table/0") == layout.offsets["bitmaps/0/data/0"]
    assert layout.value("bitmaps/1/table/0") == 1
    assert layout.value("extensions/bitmaps/nb_bitmaps") == 2
    assert layout.value("extensions/bitmaps/bitmap_directory_size") == 64
    assert layout.value("snapshots/s1/vm_state_size_large") == 77
    assert layout.fields["header/cluster_bits"].offset == 20


def test_extended_entry_by_hand():
    layout = forge.build("# xl2\nsize 1M\nextended_l2\nsubclusters 64k alloc=0-3,31 zero=4\n")
    assert layout.value("l2/0/1/bitmap") == 0x0000001080_00000f
    assert layout.where("l2/0/1/bitmap") == layout.where("l2/0/1") + 8 == \
        layout.offsets["l2/0"] + 24


def test_file_and_holes(tmp_path):
    path = tmp_path / "sparse.qcow2"
    layout = forge.build_named("good-hostile-sparse-terabytes", str(path))
    assert path.stat().st_size == layout.store.size > 8191 << 30
    assert path.stat().st_blocks * 512 < 4 << 20


@pytest.mark.parametrize("text,message", [
    ("# x\nwritee 0 1", "nobody knows"), ("# x\nsize many", "not a number"),
    ("# x\nset header/nothing 1", "nothing is called"), ("# x\nset l1/9 1", "has 1 entries"),
    ("# x\nset header/version 1<<40", "does not fit"), ("# x\nset header/size a + b", "not a number"),
    ("# x\nbitmap b0 table=maybe", "zeroes, ones"), ("# x\nsubclusters 0 alloc=1", "extended_l2"),
    ('# x\nbitmap "b', "does not end"), ("# x\nrefcount_order 0\nwrite 0 64k\nsnapshot 1",
                                         "largest count"),
    ("# x\nset header/size [1, 2]", "cannot work out"),
])
def test_wrong_recipes_say_what_is_wrong(text, message):
    with pytest.raises(forge.ForgeError, match=message):
        forge.build(text)


def test_words():
    assert words(r'bitmap "a b\x1b\u202e" k="v w" # not this') == ["bitmap", "a b\x1b\u202e", "k=v w"]
    assert words(r'"\xff"')[0].encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize("data", [b"a", b"ab" * 300, bytes(1 << 20)],
                         ids=["byte", "short", "run"])
def test_handmade_zstd(data):
    if not shutil.which("zstd"):
        pytest.skip("zstd is not here")
    done = run("zstd", "-dc", input=compress.zstd(data, min(3, len(data))))
    assert done.stdout == data, done.stderr


# the collection as a whole

QUICK = [name for name in forge.recipes() if "hostile" not in name]


def test_every_recipe_begins_with_a_sentence():
    for name in forge.recipes():
        with open(os.path.join(os.path.join(HERE, "recipes"), name + ".recipe"), encoding="utf-8") as file:
            first = file.readline()
        assert re.fullmatch(r"# [A-Z0-9].*[.]\n", first), (name, first)
        assert name.split("-")[0] in ("good", "bad", "unsupported")


@pytest.mark.parametrize("kind", ["bad-", "unsupported-", "good-"])
def test_builds_are_repeatable_and_breakages_break(kind):
    for name in [n for n in QUICK if n.startswith(kind)]:
        recipe = forge.load(name)
        broken = forge.build(recipe)
        assert image(broken) == image(forge.build(forge.load(name))), name
        if recipe.breakages:
            recipe.breakages = []
            assert image(broken) != image(forge.build(recipe)), name


def test_readme_lists_every_recipe():
    with open(os.path.join(HERE, "README.md"), encoding="utf-8") as file:
        listed = re.findall(r"^- `((?:good|bad|unsupported)-[a-z0-9-]+)`: (.*)$", file.read(), re.M)
    assert listed == [(name, forge.load(name).sentence) for name in forge.recipes()]


PROBLEMS = os.path.join(HERE, "..", "..", "include", "qcow2", "def", "problems.def")


def test_every_problem_has_a_recipe_and_every_claim_a_problem():
    with open(PROBLEMS, encoding="utf-8") as file:
        rows = dict(re.findall(r'^QCOW2_PROBLEM\(\d+, \w+, "([a-z0-9-]+)", (\w+)', file.read(), re.M))
    shown = {name: forge.load(name).shows + forge.load(name).finds for name in forge.recipes()}
    assert {word for words_ in shown.values() for word in words_} == set(rows)
    for name, ids in shown.items():
        if name.startswith("good-"):
            assert not [word for word in ids if rows[word] == "CORRUPTION"], name


def image(layout):
    return layout.store.size, {n: bytes(p) for n, p in layout.store.pages.items() if any(p)}


def test_command_line(tmp_path):
    script = os.path.join(HERE, "forge.py")
    out = tmp_path / "o.qcow2"
    assert run(sys.executable, script, "good-default", str(out)).returncode == 0
    assert out.read_bytes()[:4] == b"QFI\xfb"
    listed = run(sys.executable, script, "--list").stdout.decode()
    assert len(listed.splitlines()) == len(forge.recipes())
    assert b"header/magic 0x514649fa" in run(sys.executable, script, "--map", "bad-magic").stdout
    wrong = run(sys.executable, script, "no-such-recipe", str(out))
    assert wrong.returncode == 1 and wrong.stderr
