# SPDX-License-Identifier: MIT
# What qcow2 rescue finds again, and what becomes of the plan. tests/oracle has the trials with QEMU.
"""Tests of `qcow2 rescue`: images whose header is lost."""
import json
import os
import pty
import shlex
import subprocess

import pytest

from tests.forge import build
from tests.support.outside import run, text_of
from tests.support.programs import QCOW2, RELEASE

RECIPE = "size 8M\nwrite 64k 300k\nwrite 2M 1M\n"


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def wipe(path, length=512, data=None):
    with open(path, "r+b") as stream:
        stream.write(bytes(length) if data is None else data)


def disk(name):
    """What QEMU reads of an image, which may be a json: name."""
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"rescue-{os.getpid()}.raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", name, path], check=True, timeout=60)
    try:
        return read(path)
    finally:
        os.unlink(path)


def page(*words, code=0):
    return json.loads(text_of(run("rescue", "-j", *words), code=code))


@pytest.fixture(name="lost")
def fixture_lost(tmp_path):
    """An image without a header, and what its guest read."""
    path = str(tmp_path / "lost.qcow2")
    build(RECIPE, path)
    before = disk(path)
    wipe(path)
    return path, before


def test_nothing_is_written_by_default(lost, tmp_path):
    path, _ = lost
    before = read(path)
    text = text_of(run("rescue", path))
    assert "nothing was written" in text and f"next: qcow2 rescue --apply {path}" in text
    found = page(path)
    assert read(path) == before and os.listdir(tmp_path) == ["lost.qcow2"]
    candidate = found["candidates"][0]
    assert found["chosen"] == 1 and not found["applied"] and candidate["confidence"] >= 95
    assert candidate["check"]["corruptions"] == 0 and candidate["header"]["cluster_bits"] == 16
    topics = {evidence["topic"] for evidence in candidate["evidence"]}
    assert {"clusters", "refcounts", "l1", "size", "version", "backing", "check"} <= topics


def test_applied_and_undone(lost, tmp_path):
    path, before = lost
    damaged = read(path)
    text_of(run("rescue", "--apply", f"--undo-file={tmp_path}/undo", "--size=8M", path))
    assert disk(path) == before
    assert text_of(run("check", path))
    text_of(run("undo", str(tmp_path / "undo")))
    assert read(path) == damaged


def test_plan_file(lost, tmp_path):
    path, before = lost
    damaged, plan = read(path), str(tmp_path / "plan")
    text_of(run("rescue", path, "-o", plan, "--size=8M"))
    assert read(path) == damaged
    document = json.loads(read(plan))
    assert document["format"] == "qcow2-rescue-plan" and document["writes"]
    # A file is never written over.
    assert run("rescue", path, "-o", plan).returncode == 1
    text_of(run("rescue", path, f"--plan={plan}", "--apply", "--no-undo"))
    assert disk(path) == before
    # The bytes that the plan replaces are not there any more.
    again = run("rescue", path, f"--plan={plan}", "--apply", "--no-undo")
    assert again.returncode == 1 and b"not the file that the plan was made for" in again.stderr


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", '{"format": "qcow2-rescue-plan"}', '{"format": "other", "writes": []}',
    '{"format": "qcow2-rescue-plan", "size-before": 1, "size-after": 1, "writes": []}',
    '{"format": "qcow2-rescue-plan", "writes": [], "size-before": SIZE, "size-after": SIZE}',
    '{"format": "qcow2-rescue-plan", "size-before": SIZE, "size-after": SIZE, "writes": [{}]}',
    '{"format": "qcow2-rescue-plan", "size-before": SIZE, "size-after": SIZE, "writes": [{"phase": '
    '"new", "offset": 0, "old": "0", "new": "00", "why": ""}]}',
    '{"format": "qcow2-rescue-plan", "size-before": SIZE, "size-after": SIZE, "writes": [{"phase": '
    '"new", "offset": 99999999999999999999, "old": "", "new": "00", "why": ""}]}',
    '{"x": ' + "[" * 100,
])
def test_plan_files_that_are_none(lost, tmp_path, text):
    path, _ = lost
    before = read(path)
    (tmp_path / "plan").write_text(text.replace("SIZE", str(len(before))))
    done = run("rescue", path, f"--plan={tmp_path}/plan", "--apply", "--no-undo")
    assert done.returncode == 1 and done.stdout == b"" and read(path) == before


def plan_of(before, **changed):
    """A plan that changes four bytes of a file; `changed` is what is wrong about it."""
    write = {"phase": "point", "offset": 256, "why": "", "old": before[256:260].hex(),
             "new": "01020304"}
    write.update({key: value for key, value in changed.items() if key in write})
    plan = {"format": "qcow2-rescue-plan", "format-version": 1, "size-before": len(before),
            "size-after": len(before), "writes": [write]}
    plan.update({key: value for key, value in changed.items() if key in plan})
    return json.dumps(plan)


EDITED = [
    {"old": ""}, {"old": "00"}, {"old": "0000000000"}, {"new": ""}, {"offset": 1 << 62},
    {"offset": (1 << 64) - 2}, {"offset": 1 << 40, "old": ""}, {"size-after": 512},
    {"size-after": (1 << 64) - 1}, {"size-before": 512}, {"format-version": 2}, {"phase": "other"},
]


def test_edited_plans(lost, tmp_path):
    """A plan that does not say all that it replaces is for no file."""
    path, _ = lost
    before = read(path)
    whole = plan_of(before)
    apply = ("rescue", path, f"--plan={tmp_path}/plan", "--apply", "--no-undo")
    for text in [plan_of(before, **changed) for changed in EDITED] + [whole + "}", whole[:-1]]:
        (tmp_path / "plan").write_text(text)
        done = run(*apply, program=RELEASE)
        assert (done.returncode, done.stdout, read(path)) == (1, b"", before), (text, done)
    (tmp_path / "plan").write_text(whole)
    assert run(*apply, program=RELEASE).returncode in (0, 1, 2)
    assert read(path)[256:260] == bytes([1, 2, 3, 4])


def test_copy_and_overlay(lost, tmp_path):
    path, before = lost
    damaged = read(path)
    text_of(run("rescue", path, f"--copy={tmp_path}/copy", "--size=8M"))
    assert disk(str(tmp_path / "copy")) == before
    found = page(path, f"--overlay={tmp_path}/over", "--size=8M")
    assert disk(found["overlay-name"]) == before
    subprocess.run(["qemu-img", "check", "-q", f"{tmp_path}/over"], check=True, timeout=60)
    assert read(path) == damaged
    # What is there is not written over.
    for option in ("--copy", "--overlay", "--plan-to"):
        done = run("rescue", path, f"{option}={tmp_path}/copy")
        assert done.returncode == 1 and done.stdout == b""
    assert disk(str(tmp_path / "copy")) == before


@pytest.mark.parametrize("words, says", [
    (["--apply", "--copy=x"], "only one of"), (["--plan=x"], "--plan is for --apply"),
    (["-n", "--apply"], "--dry-run"), (["--no-undo"], "undo files are for --apply"),
    (["--candidate=0"], "count from 1"), (["--candidate=9"], "there is no candidate 9"),
    (["--cluster-size=3k"], "power of two"), (["--version=1"], "2 or 3"),
    (["--refcount-bits=3"], "1, 2, 4"), (["--like=nowhere"], "nowhere"),
])
def test_wrong_lines(lost, words, says):
    done = run("rescue", lost[0], *words)
    assert done.returncode == 1 and done.stdout == b"" and says in done.stderr.decode()


def test_nothing_there(tmp_path):
    for data in (b"", b"x" * 70000, bytes(70000)):
        path = tmp_path / "file"
        path.write_bytes(data)
        done = run("rescue", str(path))
        assert done.returncode == 1 and b"nothing in this file reads as" in done.stderr


def test_sound_images_stay(tmp_path):
    path = str(tmp_path / "sound")
    build(RECIPE, path)
    before = read(path)
    assert "stays as it is" in text_of(run("rescue", "--apply", path))
    assert read(path) == before


def test_a_guests_image_is_not_taken_for_ours(tmp_path):
    """The guest stores a whole image: its tables, snapshots and magic are not those of the file."""
    inner, outer = str(tmp_path / "inner"), str(tmp_path / "outer")
    build("size 4M\nwrite 0 256k\nsnapshot one\nwrite 64k 64k\n", inner)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", outer, "64M"], check=True, timeout=60)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c",
                    f"write -s {inner} 1M {os.path.getsize(inner) // 512 * 512}", outer],
                   check=True, timeout=60, stdout=subprocess.DEVNULL)
    before = disk(outer)
    wipe(outer, 65536)
    found = page("--apply", "--no-undo", "--size=64M", outer)
    assert found["candidates"][0]["header"]["nb_snapshots"] == 0
    assert disk(outer) == before


def test_names_that_are_left(tmp_path):
    """The first sector is gone; the name of the backing file stands behind it."""
    base, path = str(tmp_path / "base.qcow2"), str(tmp_path / "over.qcow2")
    build(RECIPE, base)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2",
                    path], check=True, timeout=60, cwd=tmp_path)
    before = disk(path)
    wipe(path)
    text = text_of(run("rescue", "--apply", "--no-undo", "--look-inside",
                       "--backing-format=qcow2", path))
    assert "backing file 'base.qcow2', whose name is left" in text
    assert disk(path) == before


def test_a_sibling_and_a_partition_table_tell_the_size(tmp_path):
    path, like = str(tmp_path / "lost"), str(tmp_path / "like")
    build("size 9M\nwrite 0 64k\n", path)
    build("size 20M\n", like)
    wipe(path)
    assert page(path, f"--like={like}")["candidates"][0]["header"]["size"] == 20 << 20
    table = b"EFI PART" + bytes(24) + (18431).to_bytes(8, "little")
    build("size 9M\nwrite 0 64k\n", path)
    sector = tmp_path / "sector"
    sector.write_bytes(table.ljust(512, b"\0"))
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"write -s {sector} 512 512", path], check=True,
                   timeout=60, stdout=subprocess.DEVNULL)
    wipe(path)
    assert page(path)["candidates"][0]["header"]["size"] != 9 << 20
    assert page(path, "--look-inside")["candidates"][0]["header"]["size"] == 9 << 20


def test_refcounts_lost_as_well(tmp_path):
    """Header, refcount table and block are gone: the repair counts anew."""
    path = str(tmp_path / "lost.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "8M"], check=True, timeout=60)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 2M", path], check=True,
                   timeout=60, stdout=subprocess.DEVNULL)
    before = disk(path)
    wipe(path, 3 * 65536)
    found = page("--apply", "--no-undo", "--size=8M", path, code=2)
    assert any("count anew" in e["text"] for e in found["candidates"][0]["evidence"])
    text_of(run("repair", "--yes", "--no-undo", path))
    assert disk(path) == before
    subprocess.run(["qemu-img", "check", "-q", path], check=True, timeout=60)


@pytest.mark.parametrize("name", ["good-cluster-4k", "good-snapshot-names", "good-refcount-2bit",
                                  "good-luks1-512", "good-compressed-zstd", "good-v2-snapshots"])
def test_forged_images_come_back(tmp_path, name):
    """
    Their tables lie where QEMU does not put them: an L1 table behind that of refcounts, refcounts of
    2 bits that read as such of 1 bit, zeros of a LUKS header that read as an empty L1 table.
    """
    path = str(tmp_path / "lost")
    with open(os.path.join("tests", "forge", "recipes", f"{name}.recipe"), encoding="utf-8") as stream:
        build(stream.read(), path)
    data = read(path)
    size = int.from_bytes(data[24:32], "big")
    wipe(path, 1 << int.from_bytes(data[20:24], "big"))
    header = page(f"--size={size}", path, code=3 if name == "good-cluster-4k" else 0)
    header = header["candidates"][0]["header"]
    for field, at, width in (("cluster_bits", 20, 4), ("l1_table_offset", 40, 8), ("l1_size", 36, 4),
                             ("crypt_method", 32, 4), ("refcount_table_offset", 48, 8),
                             ("nb_snapshots", 60, 4), ("snapshot_offset", 64, 8)):
        assert header[field] == int.from_bytes(data[at:at + width], "big"), field


def next_commands(*words, code=0):
    """The words of the commands that a page for people recommends."""
    text = text_of(run("rescue", *words), code=code)
    lines = text if isinstance(text, str) else text.decode()
    return [shlex.split(line[len("next: "):]) for line in lines.splitlines()
            if line.startswith("next: ")]


# What was stated has to be stated again, or --apply does something else than was shown.
def test_the_next_command_has_the_options(tmp_path):
    path = str(tmp_path / "it's lost.qcow2")
    build("cluster_bits 12\nsize 8M\nwrite 0 64k\n", path)
    wipe(path)
    words = ["--size=12M", "--backing=it's here.raw", "--backing-format=raw"]
    commands = next_commands(*words, path)
    assert commands == [["qcow2", "rescue", *words, "--apply", path]]
    assert run(*commands[0][1:]).returncode == 0
    said = json.loads(run("info", "-j", path).stdout)
    assert said["virtual-size"] == 12 << 20 and said["backing-filename"] == "it's here.raw"


# That no place is sure is no reason to say that nothing has to be found.
def test_less_sure_places_have_a_command(tmp_path):
    path = str(tmp_path / "a.qcow2")
    build("cluster_bits 12\nsize 16M\nwrite 0 40k\nwrite 2M 100k\nwrite 4M 40k\n"
          "set l1/0 0\nset l1/1 0\nset l1/2 0\n", path)
    commands = next_commands("--confidence=100", path, code=3)
    assert len(commands) == 1 and "--apply" not in commands[0], commands
    again = next_commands(*commands[0][2:])
    assert again == [commands[0][:-1] + ["--apply", path]]
    assert run(*again[0][1:]).returncode == 0
    assert run("check", path).returncode == 0


# A table that shares a place with the header, or with the refcount table, is elsewhere: an entry that
# were put into it would overwrite them.
@pytest.mark.parametrize("place", ["0", "$header/refcount_table_offset"])
def test_an_l1_table_that_is_something_else(tmp_path, place):
    path = str(tmp_path / "disk.qcow2")
    build(RECIPE, path)
    before = disk(path)
    build(RECIPE + f"set header/l1_table_offset {place}\n", path)
    assert "stays as it is" not in text_of(run("rescue", path), code=0).split("\n\n", 1)[0]
    text_of(run("rescue", "--apply", "--no-undo", path), code=0)
    assert run("check", "-q", path).returncode == 0 and disk(path) == before


def on_terminal(answer, *words):
    """Runs a rescue on a terminal, and types the answer. Returns the code and the screen."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([QCOW2, "rescue", *words], stdin=theirs, stdout=theirs, stderr=theirs,
                          env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}) as process:
        os.close(theirs)
        os.write(ours, answer)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:
                break
            shown += piece
        os.close(ours)
        code = process.wait(timeout=60)
    return code, shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("answer", [b"y\n", b"n\n", b"\x04"])
def test_a_person_is_asked(lost, tmp_path, answer):
    """As qcow2 repair asks: the candidates come first; without a yes nothing is written."""
    path, before = lost
    damaged = read(path)
    code, shown = on_terminal(answer, "--apply", path)
    assert shown.index("candidate 1") < shown.index("Change the image? [y/N]")
    assert shown.count("candidate 1") == 1 and "would be made in " in " ".join(shown.split())
    if answer == b"y\n":
        assert code == 0 and "undo with: qcow2 undo " in shown.partition("[y/N]")[2]
        assert disk(path).rstrip(b"\0") == before.rstrip(b"\0")
    else:
        assert code == 1 and "nothing was changed" in shown
        assert read(path) == damaged and os.listdir(tmp_path) == ["lost.qcow2"]


@pytest.mark.parametrize("words", [["--apply", "--yes"], ["--apply", "-j"], ["--apply", "-q"],
                                   ["--copy=COPY"], []])
def test_nobody_is_asked(lost, tmp_path, words):
    path, _ = lost
    words = [word.replace("COPY", str(tmp_path / "copy")) for word in words]
    code, shown = on_terminal(b"", *words, path)
    assert code == 0 and "[y/N]" not in shown


def test_a_whole_header_is_no_guess(tmp_path):
    """Leaks make the header no less sure; the page says what command is for them."""
    path = str(tmp_path / "whole.qcow2")
    build(RECIPE, path)
    with open(path, "ab") as stream:
        stream.write(bytes(65536))
    table = int.from_bytes(read(path)[48:56], "big")
    block = int.from_bytes(read(path)[table:table + 8], "big")
    with open(path, "r+b") as stream:
        stream.seek(block + 2 * ((os.path.getsize(path) >> 16) - 1))
        stream.write(b"\0\1")
    text = text_of(run("rescue", path), code=3)
    first = text.splitlines()[0]
    assert first.startswith("candidate 1 (chosen): the header is whole: version 3, "), text
    assert "1 leak" in text and "possible" not in text and "likely" not in text
    assert text.endswith(f"next: qcow2 repair {path}\n")
