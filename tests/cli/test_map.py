# SPDX-License-Identifier: MIT
# `qcow2 map`: its formats say the same, ranges and snapshots are found, chains are followed or refused,
# and images that lie are bounded. tests/oracle/test_map_oracle.py compares it with qemu-img.
"""The map of a disk."""
import json
import os
import re
import struct
import subprocess

import pytest

from tests.forge import recipes
from tests.support.measure import peak
from tests.support.outside import text_of
from tests.support.programs import QCOW2, RELEASE, TOP, image, recipe_image, run
from tests.support.terminal import show

KIB, MIB = 1 << 10, 1 << 20
RECORD = struct.Struct("<QQQIHH")
NONE = (1 << 64) - 1
LINKS = 40
FLAGS = ("present", "zero", "data", "compressed", "invalid")
MIXED = """# an extent of each kind
size 8M
write 64k 64k
zero 1M 64k
write 2M 64k
compressed 3M 64k
"""


def told(*words, code=0):
    done = run("map", *words)
    assert done.returncode == code, done
    return done


def document(*words, code=0):
    return json.loads(told("-j", *words, code=code).stdout)


def fast(*words):
    return run("map", *words, program=RELEASE)


def record_of(entry, numbers):
    flags = sum(1 << bit for bit, name in enumerate(FLAGS) if entry.get(name))
    return (entry["start"], entry["length"], entry.get("offset", NONE), entry["depth"], flags,
            numbers.get(entry.get("invalid"), 0))


@pytest.fixture(name="numbers", scope="module")
def fixture_numbers():
    """The numbers of problems by their ids."""
    with open(os.path.join(TOP, "include", "qcow2", "def", "problems.def"), encoding="utf-8") as file:
        return {id_.lower().replace("_", "-"): int(number)
                for number, id_ in re.findall(r"^QCOW2_PROBLEM\((\d+), (\w+)", file.read(), re.M)}


# What concerns tables, and all that is good.
ALL = [name for name in recipes() if "hostile" not in name and re.match(
    "good-|bad-(compressed|data|subcluster|l1|l2|guest|snapshot-l1|zero|header-only)", name)]


@pytest.mark.parametrize("name", ALL)
def test_formats_agree(name, numbers):
    """JSON, lines and records are the same extents; they rise, leave no gap, and could not be joined."""
    path = recipe_image(name)[0]
    done = fast("-j", path)
    assert done.returncode in ((0,) if name.startswith("good-") else (0, 1, 2)), done
    if done.returncode == 1:
        assert done.stdout == b"" and done.stderr
        return
    entries = json.loads(done.stdout)
    at = 0
    for entry in entries:
        assert entry["start"] == at and ("invalid" not in entry or done.returncode == 2)
        at += entry["length"]
    for one, two in zip(entries, entries[1:]):
        same = {**one, "start": 0, "length": 0, "offset": 0} == \
               {**two, "start": 0, "length": 0, "offset": 0} and ("offset" in one) == ("offset" in two)
        assert not same or one.get("offset", 0) + one["length"] != two.get("offset", one["length"])
    if at == 0:
        entries = []
    lines = fast("--output=ndjson", path)
    assert [json.loads(line) for line in lines.stdout.splitlines()] == entries
    records = fast("--binary", path)
    assert list(RECORD.iter_unpack(records.stdout)) == [record_of(e, numbers) for e in entries]
    assert done.returncode == lines.returncode == records.returncode
    assert done.stderr == lines.stderr == records.stderr


def test_table():
    path = image(MIXED)[0]
    lines = text_of(told(path)).splitlines()
    assert lines[0].split() == ["Offset", "Length", "State", "Mapped", "to", "File"]
    rows = [re.split(r" {2,}", line) for line in lines[1:lines.index("")]]
    states = [row[2].split("  ")[0] for row in rows]
    assert states == ["unallocated", "data", "unallocated", "zero", "unallocated", "data",
                      "unallocated", "compressed", "unallocated"]
    entries = document(path)
    assert [(int(row[0], 16), int(row[1], 16)) for row in rows] == \
           [(entry["start"], entry["length"]) for entry in entries]
    totals = lines[lines.index("") + 1:]
    assert [re.split(r" {2,}", line)[0] for line in totals] == ["data", "compressed", "zero",
                                                                "unallocated"]
    assert totals[0].split() == ["data", "128", "KiB", "1.6", "%", "in", "2", "extents"]


@pytest.mark.parametrize("size", ((80, 24), (120, 40)))
def test_screen(size, monkeypatch, copy, tmp_path):
    copy(image(MIXED)[0], "disk.qcow2")
    monkeypatch.chdir(tmp_path)
    screen = show([QCOW2, "map", "disk.qcow2"], *size)
    assert screen.code == 0 and not screen.broken


@pytest.mark.parametrize("start,length,expected", (
    ("96k", "32k", [(98304, 32768)]),
    ("0x18000", "0x8000", [(98304, 32768)]),
    ("1000", "1", [(1000, 1)]),
    ("0", "0", [(0, 0)]),
    ("8M", "1", [(8 * MIB, 0)]),
    ("7.5M", "16E", None),
    ("7.5M", str(NONE), [(15 * MIB // 2, MIB // 2)]),
))
def test_range(start, length, expected):
    path = image(MIXED)[0]
    words = (f"--start-offset={start}", f"--max-length={length}", path)
    if expected is None:
        told(*words, code=1)
        return
    assert [(e["start"], e["length"]) for e in document(*words)] == expected
    assert told("-s", start, "-l", length, path, "-j").stdout == told("-j", *words).stdout


SNAPSHOTS = """# the name of the first snapshot is the ID of the second, and names are there twice
size 1M
write 0 64k
snapshot 7 name=8
write 128k 64k
snapshot 8 name=twice
write 256k 64k
snapshot 9 name=twice
write 384k 64k
"""


def test_snapshot():
    path = image(SNAPSHOTS)[0]
    sizes = {wanted: sum(entry["length"] for entry in document(f"--snapshot={wanted}", path)
                         if entry["data"]) // KIB for wanted in ("7", "8", "9", "twice")}
    # An ID wins over a name that comes first; of equal names the first one is meant.
    assert sizes == {"7": 64, "8": 128, "9": 192, "twice": 128}
    done = told("--snapshot=nobody", path, code=1)
    assert done.stdout == b"" and b"no snapshot has the ID or name 'nobody'" in done.stderr
    assert b"there are 8, twice" in done.stderr


def test_size_of_a_snapshot():
    path = recipe_image("good-snapshot-resized")[0]
    rows = json.loads(run("dump", "-j", path, "snapshots").stdout)["snapshots"]
    for row in rows:
        last = document(f"--snapshot={row['id']}", path)[-1]
        assert last["start"] + last["length"] == row.get("extra", row)["disk_size"]


def test_no_snapshots():
    done = told("--snapshot=1", image(MIXED)[0], code=1)
    assert done.stdout == b"" and b"the image has no snapshots" in done.stderr


@pytest.mark.parametrize("words,said", (
    ((), "no image given"),
    (("a", "b"), "one image at a time"),
    (("--output=yaml", "a"), "--output is human, json or ndjson"),
    (("--output=jsn", "a"), "did you mean json?"),
    (("--start-offset=-1", "a"), "--start-offset: "),
    (("--max-length=1kB", "a"), "--max-length: "),
    (("--binary", "-j", "a"), "--binary is a format by itself"),
    (("--binary", "--output=ndjson", "a"), "--binary is a format by itself"),
    (("--chian", "a"), "did you mean --chain?"),
))
def test_usage(words, said):
    done = told(*words, code=1)
    assert done.stdout == b"" and said in done.stderr.decode()


def test_no_records_for_a_terminal():
    screen = show([QCOW2, "map", "--binary", image(MIXED)[0]], 80, 24)
    assert screen.code == 1 and "records are not for a terminal" in screen.text


def test_quiet():
    path = image(MIXED)[0]
    assert told("-q", path).stdout == b""
    for option in ("-j", "--output=ndjson", "--binary"):
        assert told("-q", option, path).stdout == told(option, path).stdout != b""


# ---- chains ----

def qemu_img(*words, cwd):
    subprocess.run(["qemu-img", *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def test_no_other_file(tmp_path):
    """Without --chain nothing is looked for, and what is below is not known to be zeros."""
    qemu_img("create", "-f", "qcow2", "-b", "gone.raw", "-F", "raw", "-u", "top.qcow2", "1M",
             cwd=tmp_path)
    path = str(tmp_path / "top.qcow2")
    assert document(path) == [{"start": 0, "length": MIB, "depth": 0, "present": False,
                               "zero": False, "data": False, "compressed": False}]
    done = told("-j", "--chain", path, code=1)
    assert done.stdout == b"" and b"gone.raw" in done.stderr and b"top.qcow2" in done.stderr


@pytest.mark.parametrize("kind", ("vmdk", "vdi"))
def test_other_formats(tmp_path, kind):
    qemu_img("create", "-f", kind, "base", "1M", cwd=tmp_path)
    qemu_img("create", "-f", "qcow2", "-b", "base", "-F", kind, "top.qcow2", "1M", cwd=tmp_path)
    done = told("--chain", tmp_path / "top.qcow2", code=1)
    assert done.stdout == b"" and f"its format is {kind}".encode() in done.stderr


def test_loop():
    done = told("--chain", "-j", recipe_image("good-hostile-backing-itself")[0], code=1)
    assert done.stdout == b"" and b"loop" in done.stderr


def test_names_are_escaped(tmp_path):
    name = "b\x1b[31m.raw"
    (tmp_path / name).write_bytes(bytes(MIB))
    qemu_img("create", "-f", "qcow2", "-b", name, "-F", "raw", "top.qcow2", "1M", cwd=tmp_path)
    page = told("--chain", tmp_path / "top.qcow2").stdout
    assert b"\x1b" not in page and rb"b\u{1b}[31m.raw" in page
    assert document("--chain", tmp_path / "top.qcow2")[0]["filename"].endswith(name)


def test_long_chain(tmp_path):
    """Each file of a chain costs little memory, and the deepest one is found."""
    (tmp_path / "0").write_bytes(b"x" * MIB)
    qemu_img("create", "-f", "qcow2", "-b", "0", "-F", "raw", "1", "1M", cwd=tmp_path)
    for number in range(2, LINKS + 1):
        qemu_img("create", "-f", "qcow2", "-b", str(number - 1), "-F", "qcow2", "-u", str(number),
                 "1M", cwd=tmp_path)
    code, memory, _ = peak("map", "-j", "--chain", tmp_path / str(LINKS))
    assert code == 0 and memory < 32 * MIB
    entry, = document("--chain", tmp_path / str(LINKS))
    assert entry["depth"] == LINKS and entry["data"] and entry["filename"].endswith("/0")


# ---- bounds ----

HOSTILE = sorted(name for name in recipes() if ("hostile" in name or name.endswith("-max")) and
                 not re.search("bitmap|extension|luks|feature|directory", name))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    path = recipe_image(name)[0]
    stored = os.stat(path).st_blocks * 512
    for format_ in ("human", "json"):
        code, memory, size = peak("map", f"--output={format_}", path)
        assert code in (0, 1, 2) and memory < 16 * MIB, (code, memory)
        assert size <= 300 * (stored + 4 * MIB)


def test_exabytes():
    """An L1 table of 2^32 entries in a hole, and a disk of 2^63 bytes."""
    path = image("# a disk of exabytes\ncluster_bits 21\nsize 1M\nset header/size 0x7ffffffffffffe00\n"
                 "set header/l1_size 0xffffffff\nset header/l1_table_offset 0x10000000000\n"
                 "sparse 0x80000000000\n")[0]
    code, memory, size = peak("map", "-j", path)
    assert (code, size < 1000, memory < 16 * MIB) == (0, True, True)


# ---- failures: test_faults.py has those of the system ----

def test_full_output():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QCOW2, "map", image(MIXED)[0]], stdout=full, stderr=subprocess.PIPE,
                              check=False)
    assert done.returncode == 1 and b"standard output" in done.stderr
