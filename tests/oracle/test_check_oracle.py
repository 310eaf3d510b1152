# SPDX-License-Identifier: MIT
# `qcow2 check` against the real `qemu-img check`: the same verdict and numbers on what QEMU calls
# sound, never a milder verdict on what it does not, and what docs/check.md says of both, problem by
# problem. scripts/generate writes that table.
"""check against qemu-img."""
import json
import os
import re
import struct
import subprocess

import pytest

from tests.forge import image_of_each_problem, load, recipes
from tests.support.breadth import rounds
from tests.support.broken import mutated
from tests.support.programs import QCOW2, RELEASE, TOP, folder, recipe_image, run
from tests.support.qemu import CHANGED, CREATE, shell

NUMBERS = ("image-end-offset", "total-clusters", "check-errors", "corruptions", "leaks",
           "allocated-clusters", "fragmented-clusters", "compressed-clusters")
SOUND = [n for n in recipes("good-") if not load(n).qemu and "hostile" not in n]
BROKEN = [n for n in recipes("bad-") if "hostile" not in n]
# QEMU takes the L1 table of this snapshot away before it counts; see docs/check.md.
TAKEN_AWAY = {"good-warn-snapshot-l1-too-large"}
ROUNDS = rounds("CHECK_ROUNDS", 50, 150)


def qemu(path):
    """(what it did in a word, its document or None)"""
    try:
        done = subprocess.run(["qemu-img", "check", "-f", "qcow2", "--output=json", path],
                              cwd=os.path.dirname(path), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "hangs", None
    if done.returncode < 0:
        return "crashes", None
    if b"encrypt.key-secret" in done.stderr:
        return "wants the passphrase", None
    if not done.stdout:
        return "refuses the image", None
    shown = json.loads(done.stdout)
    if shown["check-errors"]:
        return "check errors", shown
    return {0: "silent", 2: "corruption", 3: "leak"}[done.returncode], shown


def ours(path, program=QCOW2):
    done = run("check", "-j", path, program=program)
    assert done.returncode in (0, 2, 3), done
    return done.returncode, json.loads(done.stdout)


def same_numbers(path):
    word, theirs = qemu(path)
    code, shown = ours(path)
    assert {0: "silent", 2: "corruption", 3: "leak"}[code] == word
    assert {k: shown.get(k) for k in NUMBERS} == {k: theirs.get(k) for k in NUMBERS}


@pytest.mark.parametrize("name", SOUND)
def test_sound(name):
    path, _ = recipe_image(name)
    if qemu(path)[1] is None:
        pytest.fail("qemu-img does not open it: the recipe has to say so")
    if name not in TAKEN_AWAY:
        same_numbers(path)


@pytest.mark.parametrize("how", [h for h in CREATE if "luks" not in h])
def test_created(how):
    path = os.path.join(folder(), "created.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", path, *CREATE[how].split(), cwd=folder())
    if "backing" not in how:
        same_numbers(path)
    assert ours(path)[0] == 0


@pytest.mark.parametrize("how", CHANGED)
def test_changed(how):
    path = os.path.join(folder(), "changed.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", path, "64M", cwd=folder())
    for command in CHANGED[how]:
        shell(*(word.format(path) for word in command), cwd=folder())
    same_numbers(path)


@pytest.mark.parametrize("name", BROKEN)
def test_never_milder(name):
    """What QEMU calls corrupt we call corrupt; what it calls a leak is at least one."""
    path, _ = recipe_image(name)
    word, _ = qemu(path)
    if run("check", "-j", path, program=RELEASE).returncode in (1, 63):
        # A header that ends too early is no image for us; QEMU reads zeros behind it.
        assert word == "refuses the image" or "header-truncated" in name
        return
    code, _ = ours(path)
    if word in ("corruption", "check errors"):
        assert code == 2
    if word == "leak":
        assert code in (2, 3)


def at_least_as_bad(path):
    word, theirs = qemu(path)
    code, shown = ours(path)
    if word in ("corruption", "check errors"):
        assert code == 2, shown
    elif word == "leak":
        assert code in (2, 3), shown
    elif theirs is not None:
        # What QEMU does not mind in a file that is cut; see docs/check.md.
        besides = {p["id"] for p in shown["problems"]} & {"l1-beyond-end", "l2-entry-offset-zero"}
        assert {k: shown.get(k) for k in NUMBERS if k != "corruptions" or not besides} == \
            {k: theirs.get(k) for k in NUMBERS if k != "corruptions" or not besides}


@pytest.mark.parametrize("size, create", [(0x30000, "100G"), (0x40000, "100G"),
                                          (0x40000, "-o extended_l2=on 100G")])
def test_cut_inside_an_entry(size, create, tmp_path):
    """A file that ends inside an L1 or an L2 entry: the rest of the entry reads as zeros."""
    path = str(tmp_path / "cut.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", *create.split()[:-1], path,
          create.split()[-1], cwd=folder())
    shell("qemu-io", "-c", "write 0 1M", path, cwd=folder())
    for more in (23, 16, 12, 9, 8, 7, 6, 5, 4, 1, 0):
        os.truncate(path, size + more)
        at_least_as_bad(path)


def test_compressed_past_the_end(tmp_path):
    """Of each cluster, the largest number of sectors that its entry can say."""
    path, raw = str(tmp_path / "c.qcow2"), tmp_path / "raw"
    raw.write_bytes(b"".join(bytes([i]) * 5000 + os.urandom(3000) for i in range(64)))
    shell("qemu-img", "convert", "-c", "-O", "qcow2", str(raw), path, cwd=folder())
    with open(path, "r+b") as stream:
        stream.seek(40)
        stream.seek(struct.unpack(">Q", stream.read(8))[0])
        table = struct.unpack(">Q", stream.read(8))[0] & 0xfffffffffffe00
        for i in range(8):
            stream.seek(table + 8 * i)
            entry = stream.read(8)
            stream.seek(table + 8 * i)
            stream.write(struct.pack(">Q", struct.unpack(">Q", entry)[0] | 0xff << 54))
            stream.flush()
            at_least_as_bad(path)
            stream.seek(table + 8 * i)
            stream.write(entry)


@pytest.mark.parametrize("more", ["", ",extended_l2=on", ",extended_l2=on,cluster_size=128k"])
def test_trimmed_raw_data_file(more, tmp_path):
    """QEMU leaves clusters that read as zeros, and writes zeros to the data file."""
    path = str(tmp_path / "raw.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", "-o",
          f"data_file={tmp_path}/data.raw,data_file_raw=on{more}", path, "2M", cwd=folder())
    same_numbers(path)
    shell("qemu-io", "-c", "write -P 7 0 1M", "-c", "discard 0 64k", "-c", "write -z 64k 64k",
          "-c", "write -z -u 128k 64k", "-c", "write -P 3 1300k 4k", "-c", "write -z 1400k 6k",
          "-c", "discard 300k 9k", path, cwd=folder())
    same_numbers(path)
    shell("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, f"{tmp_path}/data.raw",
          cwd=folder())


def test_stale_bitmaps(tmp_path):
    """A bitmap that a crash left in use is stale; one that its bit does not vouch for is ignored."""
    path = str(tmp_path / "stale.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", path, "64M", cwd=folder())
    shell("qemu-img", "bitmap", "--add", "-g", "65536", path, "b0", cwd=folder())
    shell("qemu-io", "-c", "write 32M 16M", path, cwd=folder())
    with open(path, "rb") as stream:
        before = stream.read()
    subprocess.run(["qemu-io", "-c", "truncate 32M", "-c", "write 0 64k", "-c", "flush", "-c",
                    "abort", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   check=False)
    same_numbers(path)
    for size in (32 << 20, 1 << 29, 64 << 20):
        with open(path, "wb") as stream:
            stream.write(before[:24] + struct.pack(">Q", size) + before[32:88] + bytes(8) +
                         before[96:])
        at_least_as_bad(path)
        assert ours(path)[0] == 3


# What a bitmaps extension may say that nobody may believe: offsets in it, and bytes.
EXTENSIONS = {"count 0": (0, ">I", 0), "count": (0, ">I", 0x7fffffff), "reserved": (4, ">I", 5),
              "size 0": (8, ">Q", 0), "size": (8, ">Q", 1 << 62), "offset 0": (16, ">Q", 0),
              "offset odd": (16, ">Q", 0x50001), "offset far": (16, ">Q", 0x10000000),
              "offset most": (16, ">Q", (1 << 64) - 65536), "on the L1 table": (16, ">Q", 0x30000)}


@pytest.mark.parametrize("what", EXTENSIONS)
@pytest.mark.parametrize("bits", [0, 1 << 5])
def test_bitmaps_that_nobody_may_use(what, bits, tmp_path):
    """Their bit is clear: one warning, and their clusters are leaks; with the bit, all is judged."""
    path = str(tmp_path / "i.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", path, "64M", cwd=folder())
    shell("qemu-io", "-c", "write 0 1M", path, cwd=folder())
    shell("qemu-img", "bitmap", "--add", path, "b0", cwd=folder())
    shell("qemu-io", "-c", "write 3M 1M", path, cwd=folder())
    with open(path, "r+b") as stream:
        extension = stream.read(4096).index(struct.pack(">II", 0x23852875, 24)) + 8
        at, form, value = EXTENSIONS[what]
        stream.seek(extension + at)
        stream.write(struct.pack(form, value))
    assert ours(path)[0] == 2
    with open(path, "r+b") as stream:
        stream.seek(88)
        stream.write(struct.pack(">Q", bits))
    same_numbers(path)
    code, shown = ours(path)
    assert code == 3
    assert {p["id"] for p in shown["problems"] if p["severity"] != "leak"} - \
        {"feature-autoclear-unknown"} == {"bitmaps-inconsistent"}, shown


@pytest.mark.parametrize("size", [1, 511, 513, 65535, 65537, 196609])
def test_sizes_between_sectors(size, tmp_path):
    path = str(tmp_path / "odd.qcow2")
    shell("qemu-img", "create", "-q", "-f", "qcow2", path, "10M", cwd=folder())
    with open(path, "r+b") as stream:
        stream.seek(24)
        stream.write(struct.pack(">Q", size))
    same_numbers(path)


def line(problem, name):
    return f"| `{problem}` | `{name}` | {qemu(recipe_image(name)[0])[0]} |"


def test_table():
    """docs/check.md says of each problem what qemu-img says of an image that has it."""
    with open(os.path.join(TOP, "docs", "check.md"), encoding="utf-8") as stream:
        table = re.findall(r"^\| `[a-z0-9-]+` \| `(?:good|bad|unsupported)-.*$", stream.read(), re.M)
    assert table == [line(problem, name) for problem, name in image_of_each_problem().items()]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_mutated(number, tmp_path):
    """No image that QEMU calls corrupt is called sound."""
    path = str(tmp_path / "mutated.qcow2")
    what = mutated(number, path)
    done = run("check", "-j", path, program=RELEASE if number % 4 else QCOW2)
    assert done.returncode in (0, 1, 2, 3) and b"Sanitizer" not in done.stderr, (what, done)
    word, theirs = qemu(path)
    if theirs is None:
        return
    assert done.returncode != 1, what
    if word == "corruption":
        assert done.returncode == 2, what
    if word == "leak":
        assert done.returncode in (2, 3), what
