# SPDX-License-Identifier: MIT
# `qcow2 repair` from outside: options, pages, exit codes, undo, and what is asked of a person. What
# the doctors mend, tests/cli/test_repair_*.py test; docs/repair.md has what is promised here.
"""Repairs as people and scripts run them."""
import json
import os
import pty
import re
import shutil
import signal
import subprocess

import pytest

from tests.support import outside
from tests.support.answers import text_is_safe
from tests.support.programs import QCOW2, RELEASE, image, recipe_image

CORRUPT = "size 1M\nwrite 0 64k\ncorrupt\n"
LEAK = "bad-refcount-leak"
MANY = "size 4M\ncluster_bits 12\nwrite 0 1M\n" + "".join(
    f"set l2/0/{i} $l2/0/{i} | 2\n" for i in range(0, 250, 2))


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


@pytest.fixture(name="make")
def fixture_make(tmp_path, monkeypatch):
    """Makes an image "disk" in a folder of its own; returns its bytes."""
    monkeypatch.chdir(tmp_path)

    def make(text, name="disk"):
        source = image(text)[0] if "\n" in text else recipe_image(text)[0]
        shutil.copyfile(source, name)
        return read(name)

    return make


def repair(*words, **more):
    return outside.run("repair", *words, **more)


def document(*words, code=0):
    done = repair("-j", *words)
    assert (done.returncode, done.stderr) == (code, b""), done
    return json.loads(done.stdout)


def test_repair_and_undo(make):
    before = make(CORRUPT)
    page = outside.text_of(repair("--undo-file=undo", "disk"))
    assert page.startswith("disk was marked as corrupt, but nothing else is wrong: 1 corruption\n")
    assert "feature-corrupt (1): clears the corrupt bit\n" in page
    assert page.endswith("disk is now sound\nundo with: qcow2 undo undo\n")
    assert outside.run("check", "disk").returncode == 0
    outside.text_of(outside.run("undo", "undo"))
    assert read("disk") == before


@pytest.mark.parametrize("words", [["--dry-run"], ["-n", "--hex"], ["-nj"], ["-n", "--all"],
                                   ["-njx", "--dump=header"]])
def test_dry_run(make, words):
    """It says the same, with the same exit code, and writes nothing."""
    before = make(CORRUPT)
    done = repair(*words, "disk")
    assert (done.returncode, done.stderr) == (0, b"")
    assert read("disk") == before and os.listdir(".") == ["disk"]
    if "j" in words[0]:
        found = json.loads(done.stdout)
        assert (found["dry-run"], found["applied"], found["undo-file"]) == (True, False, None)
        assert ("writes" in found, "planned" in found) == ("x" in words[0], len(words) > 1)
    else:
        assert b"disk would be sound\n" in done.stdout


def test_nothing_to_do(make):
    before = make("size 1M\n")
    assert outside.text_of(repair("disk")) == "disk is sound: nothing to repair\n"
    found = document("disk")
    assert (found["applied"], found["sound"], found["steps"], found["left"]) == (False, True, [], [])
    assert read("disk") == before and os.listdir(".") == ["disk"]


@pytest.mark.parametrize("text, words, code", [
    (CORRUPT, [], 0), (LEAK, [], 0), (LEAK, ["--leaks"], 0), (CORRUPT, ["--leaks"], 2),
    (CORRUPT, ["--only=refcounts"], 2), (CORRUPT, ["--only=refcounts,feature-corrupt"], 0),
    (CORRUPT, ["--only=refcounts", "--only=header"], 0), (LEAK, ["--only=header"], 3),
    ("bad-subcluster-both", [], 2), ("bad-subcluster-both", ["--all"], 0),
    ("bad-subcluster-both", ["--only=subcluster-both"], 0),
])
def test_exit_codes(make, text, words, code):
    """As those of qemu-img check -r; of a dry run, those that it would have."""
    make(text)
    assert repair("-n", *words, "disk").returncode == code
    found = document("--no-undo", *words, "disk", code=code)
    assert (found["exit-code"], found["sound"]) == (code, code == 0)
    assert outside.run("check", "-q", "disk").returncode == code


def test_no_image(make):
    make(CORRUPT)
    with open("text", "wb") as stream:
        stream.write(b"no image" * 100)
    done = repair("text")
    assert (done.returncode, done.stdout) == (63, b"") and b"not a qcow2 image" in done.stderr
    for words in (["missing"], ["."]):
        done = repair(*words)
        assert (done.returncode, done.stdout) == (1, b"") and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("words, wrong", [
    (["--all", "--leaks", "disk"], "--all and --leaks at once"),
    (["--leaks", "--only=header", "disk"], "--leaks and --only at once"),
    (["--only=header", "-a", "disk"], "--all and --only at once"),
    (["--only=refcout", "disk"], "--only: no problem is called 'refcout': did you mean refcounts?"),
    (["--only=l1-entry-reservd", "disk"],
     "--only: no problem is called 'l1-entry-reservd': did you mean l1-entry-reserved?"),
    (["--only=", "disk"], "--only: no problem is called ''; 'qcow2 check --list' lists them"),
    (["--only=header,\x1b[2J", "disk"],
     "--only: no problem is called '\\u{1b}[2J'; 'qcow2 check --list' lists them"),
    (["--drop-bad-bitmaps", "disk"], "--drop-bad-bitmaps is for --all, or for --only"),
    (["--hex", "disk"], "--hex is for --dry-run"), (["--dump=header", "disk"], "--dump is for --dry-run"),
    (["--threads=0", "disk"], "--threads is a number from 1 to 64, not '0'"),
    (["--no-undo", "--undo-file=x", "disk"], None), ([], "no image given"),
    (["disk", "disk"], "too many operands"),
])
def test_usage(make, words, wrong):
    before = make(CORRUPT)
    done = repair(*words)
    assert (done.returncode, done.stdout) == (1, b"")
    first, last, _ = done.stderr.decode().split("\n")
    assert last == "Try 'qcow2 repair --help'."
    assert wrong is None or first == f"qcow2 repair: {wrong}"
    assert read("disk") == before


@pytest.mark.parametrize("line, same", [
    (["--repair"], []), (["-r", "all"], ["--all"]), (["-rleaks"], ["--leaks"]),
    (["--repair=all"], ["--all"]), (["--repair", "leaks"], ["--leaks"]), (["-jr", "all"], ["-j", "--all"]),
    (["--repair", "--only=header"], ["--only=header"]), (["--repair", "--all"], ["--all"]),
])
def test_check_repair(make, line, same):
    """qcow2 check --repair is qcow2 repair, word for word."""
    make(CORRUPT)
    done, other = outside.run("check", *line, "-n", "disk"), repair(*same, "-n", "disk")
    assert (done.returncode, done.stdout, done.stderr) == \
        (other.returncode, other.stdout, other.stderr)
    assert done.stdout and not done.stderr


def test_check_repair_is_asked_for(make):
    before = make(CORRUPT)
    for words in (["-r", "disk"], ["--repair=some", "disk"], ["-r"]):
        done = outside.run("check", *words)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"qcow2 check: --repair is all or leaks, not '" in done.stderr
    assert outside.run("check", "--", "disk").returncode == 2
    assert read("disk") == before


def test_many_steps(make):
    """A page has the first steps of a kind and counts the others; --ranges shows all."""
    make(MANY)
    page = outside.text_of(repair("-n", "disk"))
    assert "l2-entry-reserved (125): " in page and "… 122 more (--ranges shows them)" in page
    assert len(page.splitlines()) < 24
    assert outside.text_of(repair("-n", "--ranges", "disk")).count("\n    guest 0x") == 125
    found = document("-n", "disk")
    assert found["steps-total"] == 125
    assert (len(found["steps"]), found["steps-omitted"]) == (100, 25)
    found = document("-n", "--ranges", "disk")
    assert (len(found["steps"]), found["steps-omitted"]) == (125, 0)
    assert {step["guest"]["length"] for step in found["steps"]} == {4096}


def test_what_is_left(make):
    """What is left has its reason and the next command, which then does it."""
    make("bad-subcluster-both")
    page = outside.text_of(repair("disk"), code=2)
    assert re.search(r"^left:\nsubcluster-both \(1\): ", page, re.M)
    assert page.endswith("\nnext: qcow2 repair --all disk\n"
                         "      Gives up what nobody can read; it can be undone.\n")
    left, = document("disk", code=2)["left"]
    assert (left["kind"], left["next"]) == ("subcluster-both", "qcow2 repair --all disk")
    page = outside.text_of(repair("--all", "disk"))
    assert "Cost: " in page


def test_leaks_that_may_be_data(make):
    """They stay unless that is said, and what looks for them comes first."""
    before = make("cluster_bits 12\nsize 4M\nwrite 0 64k\nset l1/0 0\n")
    page = outside.text_of(repair("disk"), code=3)
    assert page.index("\nnext: qcow2 rescue disk\n") < page.index("\nnext: qcow2 repair --free-lost disk\n")
    assert read("disk") == before
    assert document("disk", code=3)["left"][-1]["next"] == "qcow2 repair --free-lost disk"
    assert repair("--leaks", "disk").returncode == 3 and read("disk") == before
    assert document("--free-lost", "disk")["freed-clusters"] == 17


def test_a_file_that_is_cut(make):
    make("size 1M\nwrite 0 1M\n")
    os.truncate("disk", os.path.getsize("disk") - (256 << 10))
    assert "the file is cut: 256 KiB missing; " in outside.text_of(repair("-n", "disk")).replace("\n    ", " ")


@pytest.mark.parametrize("name", ["-n", "a b", "it's", "$(touch x)", "\x1b[2J", "a\nb", "b\u00e4r",
                                  b"\xff".decode("utf-8", "surrogateescape")])
def test_names(make, name):
    """Hostile names reach no terminal, and commands can be copied."""
    make("bad-subcluster-both", name)
    for words in ([], ["-j"]):
        done = repair(*words, "-n", "--", name)
        assert done.returncode == 2 and not done.stderr
        text_is_safe(done.stdout)
    line = re.search(rb"^next: qcow2 (.*)$", repair("-n", "--", name).stdout, re.M)[1].decode()
    done = subprocess.run(["sh", "-c", f"{QCOW2} {line}"], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done
    assert outside.run("check", "-q", "--", name).returncode == 0


def on_terminal(answer, *words, meanwhile=None):
    """Runs a repair on a terminal, and types the answer. Returns the code and the screen. What goes
    on meanwhile does so when the question is there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([QCOW2, "repair", *words], stdin=theirs, stdout=theirs, stderr=theirs,
                          env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}) as process:
        os.close(theirs)
        shown = b""
        while meanwhile and b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        if meanwhile:
            meanwhile()
        os.write(ours, answer)
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:
                break
            shown += piece
        os.close(ours)
        code = process.wait(timeout=60)
    return code, shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("answer", [b"y\n", b"n\n", b"\n", b"\x04"])
def test_a_person_is_asked(make, answer):
    """The page comes first; without a yes nothing is written."""
    before = make(CORRUPT)
    code, shown = on_terminal(answer, "disk")
    assert "disk would be sound" in shown and "Repair the image? [y/N]" in shown
    assert shown.index("disk would be sound") < shown.index("Repair the image?")
    if answer == b"y\n":
        assert code == 0 and "undo with: qcow2 undo " in shown.partition("\ndisk is now sound\n")[2]
        assert outside.run("check", "-q", "disk").returncode == 0
    else:
        assert code == 1 and "nothing was changed" in shown
        assert read("disk") == before and os.listdir(".") == ["disk"]


def another_file():
    shutil.copyfile("disk", "copy")
    os.rename("copy", "disk")


@pytest.mark.parametrize("meanwhile", [another_file, lambda: os.rename("disk", "moved"),
                                       lambda: os.truncate("disk", os.path.getsize("disk") + 1)])
def test_another_program_while_a_person_is_asked(make, meanwhile):
    """The plan was for another file, or for what the file was."""
    make(CORRUPT)
    with open("disk", "rb") as held:
        code, shown = on_terminal(b"y\n", "disk", meanwhile=meanwhile)
        assert code == 1 and "planned; nothing was changed" in " ".join(shown.split())
        assert "is now sound" not in shown and held.read(80)[79] & 2


@pytest.mark.parametrize("words", [["--yes"], ["-j"], ["-q"], ["--dry-run"]])
def test_nobody_is_asked(make, words):
    make(CORRUPT)
    code, shown = on_terminal(b"", *words, "disk")
    assert code == 0 and "[y/N]" not in shown
    assert outside.run("check", "-q", "disk").returncode == (2 if words == ["--dry-run"] else 0)


def test_colours(make):
    make(CORRUPT)
    env = {**os.environ, "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    assert b"\x1b[31mfeature-corrupt\x1b[0m" in repair("-n", "--color=always", "disk", env=env).stdout
    assert b"\x1b" not in repair("-n", "disk", env=env).stdout


def test_an_image_in_use(make):
    """Nothing is written to an image that another program has open for writing."""
    before = make(CORRUPT.replace("corrupt\n", "set refcount_of/data/0 0\n"))
    with subprocess.Popen(["qemu-io", "-f", "qcow2", "disk"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as other:
        other.stdin.write(b"read 0 512\n")
        other.stdin.flush()
        other.stdout.readline()
        held = read("disk")
        done = repair("disk")
        assert (done.returncode, done.stdout) == (1, b"") and b"in use" in done.stderr
        assert read("disk") == held
        other.send_signal(signal.SIGKILL)
    assert len(before) == len(held)


def test_a_file_that_may_not_be_written(make):
    before = make(CORRUPT)
    os.chmod("disk", 0o444)
    done = repair("disk")
    assert (done.returncode, done.stdout) == (1, b"") and b"read-only" in done.stderr
    assert read("disk") == before
    assert repair("-n", "disk").returncode == 0
    assert repair("--force", "disk").returncode == 0


def test_undo_places(make, tmp_path):
    make(CORRUPT)
    os.mkdir("keep")
    found = document("--undo-dir=keep", "disk")
    assert os.path.dirname(found["undo-file"]) == "keep" and os.path.exists(found["undo-file"])
    shown = json.loads(outside.run("undo", "--list", "-j", "keep").stdout)
    assert "repair" in json.dumps(shown)
    outside.text_of(outside.run("undo", found["undo-file"], program=RELEASE))
    done = repair("--undo-file=keep/none/undo", "disk")
    assert (done.returncode, done.stdout) == (1, b"")
    assert outside.run("check", "-q", "disk").returncode == 2
    assert sorted(os.listdir(tmp_path)) == ["disk", "keep"]


# Zeros in place of the table are entries to the format: empty ones, with no snapshot in any.
@pytest.mark.parametrize("more", ["", "bitmap b\n"])
def test_a_snapshot_table_of_zeros(make, more):
    make("size 4M\nwrite 0 128k\nsnapshot one\nwrite 0 256k\n"
         "snapshot two\nwrite 0 64k\n" + more)
    header = json.loads(outside.run("dump", "-j", "disk", "header").stdout)["header"]
    with open("disk", "r+b") as stream:
        stream.seek(header["snapshot_offset"])
        stream.write(bytes(128))
    damaged = read("disk")
    assert outside.run("check", "disk").stdout.splitlines()[0].endswith(b"; free no leaks")
    said = document("-y", "disk", code=2)
    assert not said["steps"] and read("disk") == damaged
    assert "snapshots are given up" in said["left"][0]["why"] and "--all" in said["left"][0]["next"]
    said = document("-y", "--all", "--undo-file=undo", "disk", code=3)
    assert said["steps-with-costs"] == 1
    assert outside.run("undo", "undo", "disk").returncode == 0 and read("disk") == damaged
    page = outside.text_of(repair("-y", "--all", "--free-lost", "--no-undo", "disk"))
    assert "0 of the 2 snapshots" in page and "snapshots: changed as said above" in page
    assert outside.run("check", "disk").returncode == 0
