# SPDX-License-Identifier: MIT
# qcow2 snapshot from outside: what list, show and space say of forged images, whose clusters the
# forge knows; broken tables are told as far as they go; hostile ones cost little.
"""Listing snapshots, showing one, and what each takes."""
import json
import os
import shlex
import subprocess

import pytest

from tests.forge import recipes
from tests.support.faults import each_fault
from tests.support.measure import SECONDS, peak
from tests.support.outside import complaint, harmless, on_terminal
from tests.support.programs import QCOW2, RELEASE, image, recipe_image, run
from tests.support.terminal import show as screen

KIB, MIB = 1 << 10, 1 << 20
NAMES = ["plain", "it's", "two words", "-d", "", "ü", "a\\b", "$(reboot)", "\x1b[2J", "a\nb", "!!"]


def ask(path, action, *words, code=0, program=QCOW2):
    done = run("snapshot", action, "-j", path, *words, program=program)
    assert (done.returncode, done.stderr) == (code, b""), done
    return json.loads(done.stdout)


def page(path, action, *words, code=0, **more):
    done = run("snapshot", action, path, *words, **more)
    assert (done.returncode, done.stderr) == (code, b""), done
    return harmless(done.stdout)


# ---- list ----

def test_list():
    path, layout = recipe_image("good-snapshots")
    said = ask(path, "list")
    assert (said["filename"], said["virtual-size"], said["cluster-size"]) == (path, 8 * MIB, 64 * KIB)
    assert [(one["id"], one["name"]) for one in said["snapshots"]] == [
        ("1", "first"), ("2", "second"), ("3", "third")]
    first = said["snapshots"][0]
    assert (first["date-sec"], first["date-nsec"]) == (1500000000, 123456789)
    assert (first["vm-clock-sec"], first["vm-clock-nsec"], first["disk-size"]) == (3600, 0, 8 * MIB)
    assert "icount" not in first and first["problem"] is None and not first["cut"]
    for name, value in first["entry"].items():
        if "_" in name or name == "icount":
            assert value == layout.value(f"snapshots/0/{name}"), name
    assert first["entry"]["offset"] == layout.offsets["snapshots/0"]
    assert first["entry"]["entry-size"] == 72
    assert said["problems"] == []


def test_list_for_people():
    path, _ = recipe_image("good-snapshot-vmstate")
    lines = page(path, "list", env={**os.environ, "TZ": "Asia/Kolkata"}).splitlines()
    assert [word for word in lines[0].split("  ") if word] == [
        "id", "date", " VM size", "VM clock", "icount", "name"] or lines[0].split() == [
        "id", "date", "VM", "size", "VM", "clock", "icount", "name"]
    assert lines[1].split() == ["1", "2020-09-13", "17:56:40", "195", "KiB", "00:00:00.000", "0",
                                "running"]
    assert lines[2].split() == ["2", "2020-09-13", "17:56:40", "64", "KiB", "00:00:00.000",
                                "123456789012345", "counted"]
    assert lines[3].split()[-2:] == ["00:00:00.000", "stopped"]


@pytest.mark.parametrize("seconds, date", [(0, "1970-01-01 00:00:00"),
                                           ((1 << 31) - 1, "2038-01-19 03:14:07"),
                                           ((1 << 32) - 1, "2106-02-07 06:28:15")])
def test_dates(seconds, date):
    path, _ = image(f"size 1M\nsnapshot 1 name=one date={seconds} clock={(1 << 64) - 1}\n")
    utc = {**os.environ, "TZ": "UTC"}
    assert date in page(path, "list", env=utc)
    assert f"{date}.000000000 +0000\n" in page(path, "show", "one", env=utc)
    assert ask(path, "list")["snapshots"][0]["vm-clock-sec"] == 18446744073


@pytest.mark.parametrize("text", ["size 1M\n", "size 0\n", "version 2\nsize 1M\n"])
def test_without_any(text):
    path, _ = image(text)
    assert page(path, "list") == "no snapshots\n"
    assert ask(path, "list")["snapshots"] == []
    assert run("snapshot", "list", "--output=ndjson", path).stdout == b""
    assert "no snapshots\n" in page(path, "space")
    said = ask(path, "space")
    assert said["snapshots"] == [] and said["all-snapshots"] == {"freed-bytes": 0}
    done = run("snapshot", "show", path, "x")
    assert complaint(done, "snapshot", path)[0] == \
        "no snapshot has the ID or name 'x'; the image has no snapshots"


def test_names():
    """Ends of names can be seen, and a name that is cut says so."""
    path, _ = image('size 1M\nsnapshot 1 name="  "\nsnapshot 2 name="x "\nsnapshot 3\n'
                    'snapshot 4 name=a*2000\nsnapshot "" name=b\nsnapshot "" name=c\n')
    lines = page(path, "list").splitlines()
    assert lines[1].endswith('  "  "') and lines[2].endswith('  "x "') and lines[3].endswith('  ""')
    assert lines[4].endswith("  " + 1024 * "a" + "…") and lines[5].startswith('""  ')
    assert lines[-1] == 'snapshot "": snapshot-id-duplicate: Two snapshots have the same ID.'
    assert ask(path, "list")["snapshots"][3]["name"] == 2000 * "a"


def test_lines():
    path, _ = recipe_image("good-snapshots")
    done = run("snapshot", "list", "--output=ndjson", path)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ask(path, "list")["snapshots"]
    for action in ("show", "space"):
        done = run("snapshot", action, "--output=ndjson", path, "1")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"has no output as ndjson" in done.stderr


# ---- show ----

def test_show():
    path, _ = recipe_image("good-snapshots")
    said = ask(path, "show", "second")
    assert said == ask(path, "show", "2")
    listed = ask(path, "list")["snapshots"][1]
    assert {key: said[key] for key in listed} == listed
    assert said["disk"] == {"unallocated": 8 * MIB - 512 * KIB, "zero": 64 * KIB,
                            "zero-allocated": 0, "data": 448 * KIB, "compressed": 0, "invalid": 0}
    assert said["problems"] == [] and said["clusters-checked"]
    text = page(path, "show", "2")
    assert "L1 table    1 entry at 0x" in text and text.endswith("no problems\n")


def test_show_problems():
    path, _ = recipe_image("bad-snapshot-l1-entry")
    said = ask(path, "show", "one", code=2)
    assert [problem["id"] for problem in said["problems"]] == ["l2-table-beyond-end"]
    assert said["damage"]["lost-bytes"] == MIB and said["disk"]["invalid"] == MIB
    text = page(path, "show", "one", code=2)
    assert "Problems:\n" in text and "l2-table-beyond-end" in text and "lost" in text
    # The list reads no L1 table.
    assert ask(path, "list")["problems"] == []


def test_show_only_its_own_problems():
    path, _ = image("size 1M\nwrite 0 64k\nsnapshot 1 name=one\nsnapshot 2 name=two\n"
                    "set snapshots/1/l1/0 1\n")
    assert ask(path, "show", "one")["problems"] == []
    assert {p["where"] for p in ask(path, "show", "two", code=2)["problems"]} == {"snapshots/1/l1/0"}


def test_which_one():
    """An ID before a name, as qemu-img; a name that several have is said to."""
    path, _ = image("size 1M\nsnapshot 1 name=2\nsnapshot 2 name=x\nsnapshot 3 name=x\n")
    assert ask(path, "show", "2")["index"] == 1
    done = run("snapshot", "show", "-j", path, "x")
    assert (done.returncode, json.loads(done.stdout)["index"]) == (0, 1)
    assert done.stderr == \
        b"qcow2 snapshot: 2 snapshots have that name: this is the first, ID 2\n"
    assert run("snapshot", "show", "-q", path, "x").stderr == b""
    twins, _ = recipe_image("good-warn-snapshot-id-duplicate")
    twin = ask(twins, "list")["snapshots"][0]["id"]
    assert run("snapshot", "show", twins, twin).stderr == \
        b"qcow2 snapshot: 2 snapshots have that ID: this is the first\n"
    done = run("snapshot", "show", path, "nosuch")
    assert complaint(done, "snapshot", path)[0] == \
        "no snapshot has the ID or name 'nosuch'; there are 2, x, x"


# ---- space ----

def sizes(who):
    return who["referenced-bytes"] // (64 * KIB), who["exclusive-bytes"] // (64 * KIB)


def test_space():
    """Clusters by hand: an L1 table, an L2 table and data each; what a snapshot shares is not its own."""
    path, _ = image("size 8M\nwrite 0 512k\nsnapshot 1 name=first\n"
                    "write 64k 64k pattern=0x61\nzero 128k 64k\nsnapshot 2 name=second\n"
                    "write 4M 64k\nsnapshot 3 name=third\n")
    said = ask(path, "space")
    # first: 8 clusters of data, two of which were replaced, its L2 table and L1 table
    assert [sizes(one) for one in said["snapshots"]] == [(10, 4), (9, 2), (10, 1)]
    assert [sizes(said["active"])] == [(10, 1)]
    assert said["all-snapshots"]["freed-bytes"] == (4 + 2 + 1 + 1) * 64 * KIB  # and the table
    assert said["conflict-bytes"] == 0 and said["bitmaps"] == []
    assert "chosen" not in said


def test_space_of_one():
    """Who deletes the only snapshot frees the snapshot table, too."""
    path, _ = image("size 1M\nwrite 0 128k\nsnapshot 1 name=one\n")
    said = ask(path, "space")["snapshots"][0]
    assert sizes(said) == (5, 2)  # its L1 table and the snapshot table; the L2 table is shared
    assert said["vm-state-bytes"] == 0


def test_space_of_vm_state():
    path, _ = recipe_image("good-snapshot-vmstate")
    said = {one["name"]: one for one in ask(path, "space")["snapshots"]}
    assert said["running"]["vm-state-size"] == 200000
    assert said["running"]["vm-state-bytes"] == 256 * KIB
    assert said["stopped"]["vm-state-bytes"] == 0
    # four clusters of state, the L2 table that maps them, the L1 table
    assert sizes(said["running"])[1] >= 6


def test_space_of_bitmaps():
    path, _ = image("size 4M\ncluster_bits 12\nbitmap a granularity=512 bits=0\n"
                    "bitmap b granularity=64k bits=3\nsnapshot 1 name=s\n")
    said = ask(path, "space")["bitmaps"]
    assert [(one["name"], one["exclusive-bytes"]) for one in said] == [("a", 8 * KIB), ("b", 8 * KIB)]
    assert all(one["exclusive-bytes"] == one["referenced-bytes"] for one in said)


def test_space_together():
    path, _ = recipe_image("good-snapshots")
    said = ask(path, "space", "third", "1", "3")
    assert said["chosen"]["snapshots"] == [0, 2]
    assert said["chosen"]["freed-bytes"] >= sum(
        said["snapshots"][i]["exclusive-bytes"] for i in (0, 2))
    everything = ask(path, "space", "1", "2", "3")
    assert everything["chosen"]["freed-bytes"] == everything["all-snapshots"]["freed-bytes"]
    text = page(path, "space", "third", "1")
    said = ask(path, "space", "third", "1")["chosen"]
    assert f"({said['freed-bytes']} bytes):" in text and "Deleting these 2 together frees" in text
    assert max(len(line) for line in text.splitlines() if "qemu-img snapshot" not in line) <= 80
    assert f"    qemu-img snapshot -d third {path}\n" in text and "second" not in text


def words_of(command):
    """The words that a shell makes of a command."""
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {command}"], stdout=subprocess.PIPE,
                          check=True)
    return done.stdout.decode().split("\0")[:-1]


def test_commands(tmp_path):
    path = str(tmp_path / "it's $HOME.qcow2")
    text = "".join(f'snapshot {i + 100} name="' +
                   "".join(f"\\x{byte:02x}" for byte in name.encode()) + '"\n'
                   for i, name in enumerate(NAMES))
    os.link(image("size 1M\n" + text)[0], path)
    said = ask(path, "space")["snapshots"]
    assert [one["name"] for one in said] == NAMES
    for one, name in zip(said, NAMES):
        assert words_of(one["delete-command"]) == ["qemu-img", "snapshot", "-d", name, path]
        assert shlex.split(one["delete-command"])
        text = page(path, "space", one["id"])
        assert f"    {one['delete-command']}\n" in text


def test_no_command():
    """A name that leads qemu-img to another snapshot gives no command."""
    path, _ = image("size 1M\nsnapshot 1 name=x\nsnapshot 2 name=x\nsnapshot 3 name=4\n"
                    "snapshot 4 name=\"y\\0z\"\nsnapshot 5 name=y\n")
    said = [one["delete-command"] is not None for one in ask(path, "space")["snapshots"]]
    assert said == [True, False, False, True, False]
    assert "ID 2: qemu-img cannot tell it by its name" in page(path, "space", "2")


# ---- broken and hostile images ----

def test_cut_table():
    path, _ = recipe_image("bad-snapshots-truncated")
    for action in ("list", "space"):
        said = ask(path, action, code=2)
        assert said["snapshots"][0]["name"] == "one"
        assert {"index": 1, "id": "snapshots-beyond-end"} in said["problems"]
    assert "snapshots-beyond-end" in page(path, "list", code=2)


def test_no_table():
    path, _ = recipe_image("bad-snapshots-offset-max")
    for action in ("list", "space"):
        said = ask(path, action, code=2)
        assert said["snapshots"] == [] and said["snapshots-omitted"] == 1
        assert said["problems"] == [{"index": None, "id": "snapshots-beyond-end"}]
        assert "the snapshot table lies beyond the end of the file" in page(path, action, code=2)


@pytest.mark.parametrize("name", [name for name in recipes()
                                  if "snapshot" in name and "hostile" not in name and
                                  name != "bad-snapshots-count-max"])
def test_every_recipe(name):
    path, _ = recipe_image(name)
    for action in ("list", "space"):
        for words in (["-j"], []):
            done = run("snapshot", action, *words, path, program=RELEASE)
            assert done.returncode in (0, 2), done
            harmless(done.stdout)
    for index, one in enumerate(ask(path, "list", code=run("snapshot", "list", path).returncode)
                                ["snapshots"][:5]):
        if "\0" in one["id"] + one["name"] or "id-hex" in one or one["id"] == "":
            continue
        done = run("snapshot", "show", "-j", path, one["id"])
        assert done.returncode in (0, 2), done
        assert json.loads(done.stdout)["index"] <= index


@pytest.mark.parametrize("name", ["bad-bitmap-entry-extra-max", "bad-hostile-bitmap-counts",
                                  "bad-snapshot-extra-max"])
def test_lengths_beyond_the_end(name):
    """An entry that claims gigabytes frees no more than the file has."""
    path, _ = recipe_image(name)
    said = ask(path, "space", code=run("snapshot", "space", path).returncode)
    rows = said["snapshots"] + said["bitmaps"]
    assert rows and all(one["exclusive-bytes"] <= one["referenced-bytes"] <= os.path.getsize(path)
                        for one in rows)


@pytest.mark.parametrize("name", ["bad-hostile-sparse-snapshots", "good-hostile-snapshots",
                                  "bad-snapshots-count-max", "bad-hostile-counts",
                                  "good-hostile-shared-l2"])
@pytest.mark.parametrize("action", ["list", "space"])
def test_bounded(name, action):
    code, memory, _ = peak("snapshot", action, "-j", recipe_image(name)[0])
    assert code in (0, 2) and memory < 160 * MIB, (SECONDS, memory)


def test_terminal(tmp_path):
    """Nothing passes 80 columns but commands."""
    path, _ = image("size 4M\nwrite 0 64k\nsnapshot 1 name=" + "long" * 30 + "\nsnapshot 2 name=b\n")
    os.link(path, tmp_path / "a.qcow2")
    for words in (["list"], ["space"]):
        seen = screen([RELEASE, "snapshot", words[0], "a.qcow2"], 80, 24, cwd=tmp_path)
        assert seen.code == 0, seen.lines
        assert all(line.startswith("    qemu-img snapshot -d ") for line in seen.broken)
    code, text = on_terminal("snapshot", "show", str(tmp_path / "a.qcow2"), "1")
    assert code == 0 and b"long" in text


@pytest.mark.parametrize("words", [["list"], ["show"], ["space"]])
def test_faults(words, shim):
    path, _ = image("size 1M\nwrite 0 64k\nsnapshot 1 name=one\nbitmap b bits=0\n")
    arguments = ["snapshot", "-j", *words, path, *(["one"] if words != ["list"] else [])]
    for _, done in each_fault(shim, arguments, "FAIL_ALLOC"):
        assert (done.returncode, done.stdout) == (1, b"") and done.stderr.count(b"\n") == 1, done
        assert b"out of memory" in done.stderr or b"Cannot allocate" in done.stderr
    for _, done in each_fault(shim, arguments, "FAIL_READ"):
        assert (done.returncode, done.stdout) == (1, b"") and b"Input/output" in done.stderr


@pytest.mark.parametrize("line, why", [
    ([], "no action given"), (["list"], "no image given"), (["lst", "x"], "did you mean list?"),
    (["show", "x"], "show takes IMAGE SNAPSHOT"), (["list", "x", "y"], "list takes IMAGE"),
    (["list", "--output=yaml", "x"], "--output is human, json or ndjson, not 'yaml'")])
def test_usage(line, why):
    done = run("snapshot", *line)
    assert (done.returncode, done.stdout) == (1, b"") and why in done.stderr.decode()


def test_no_image(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(4096))
    for action in ("list", "space"):
        complaint(run("snapshot", action, "raw", cwd=tmp_path), "snapshot", "raw")
        complaint(run("snapshot", action, "none", cwd=tmp_path), "snapshot", "none")
