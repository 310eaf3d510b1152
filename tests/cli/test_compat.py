# SPDX-License-Identifier: MIT
# `qcow2 compat` as a command: the outputs of QEMU's qcow2.py 7.2 for real images, byte for byte,
# the command line's habits, and what is said of files that are no image.
"""Golden outputs and the command line of compat."""
import glob
import json
import os
import shutil
import subprocess

import pytest

from tests.support.programs import QCOW2, TOP

GOLDEN = os.path.join(TOP, "tests", "golden", "compat")
COMMANDS = ["dump-header", "dump-header-exts", "set-header", "add-header-ext",
            "add-header-ext-stdio", "del-header-ext", "set-feature-bit"]
ARGUMENTS = {"layouts": {"header.txt": (), "header.json": ("-j",),
                         "header-v7.txt": ("--layout=v7",)}}


def run(*arguments, cwd=GOLDEN, program=(QCOW2, "compat"), **more):
    return subprocess.run([*program, *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False, **more)


def clean(done):
    """What a command printed that had nothing to say on stderr."""
    assert done.returncode == 0 and done.stderr == b"", done
    return done.stdout.decode()


def golden_files():
    return sorted(os.path.basename(p) for p in glob.glob(os.path.join(GOLDEN, "*.header*")))


def expected(file):
    with open(os.path.join(GOLDEN, file), encoding="utf-8") as stream:
        return stream.read()


@pytest.fixture(name="qcow2_py")
def fixture_qcow2_py(tmp_path):
    """The command under the name of QEMU's script."""
    link = tmp_path / "qcow2.py"
    link.symlink_to(QCOW2)
    return str(link)


def test_there_are_golden_files():
    assert len(golden_files()) >= 18


@pytest.mark.parametrize("file", golden_files())
def test_golden(file):
    name, layout = file.split(".", 1)
    arguments = ARGUMENTS["layouts"][layout]
    assert clean(run(*arguments, f"{name}.qcow2", "dump-header")) == expected(file)


@pytest.mark.parametrize("file", [f for f in golden_files() if "-v7" not in f])
def test_golden_as_qcow2_py(file, qcow2_py):
    name, layout = file.split(".", 1)
    arguments = ARGUMENTS["layouts"][layout]
    done = run(f"{name}.qcow2", "dump-header", *arguments, program=(qcow2_py,))
    assert clean(done) == expected(file)


@pytest.mark.parametrize("file", golden_files())
def test_golden_extensions(file):
    """dump-header-exts prints what follows the empty line after the header."""
    name, layout = file.split(".", 1)
    arguments = ARGUMENTS["layouts"][layout]
    text = expected(file).split("\n\n", 1)[1]
    assert clean(run(*arguments, f"{name}.qcow2", "dump-header-exts")) == text


def test_json_is_two_documents():
    text = clean(run("bm-multi.qcow2", "-j", "dump-header"))
    header, end = json.JSONDecoder().raw_decode(text)
    extensions = json.loads(text[end:])
    assert header["version"] == 3
    assert extensions[0]["data"]["bitmap_directory"][0]["name"] == "wide"


@pytest.mark.parametrize("arguments", [("-j", "hl104.qcow2", "dump-header"),
                                       ("hl104.qcow2", "-j", "dump-header"),
                                       ("hl104.qcow2", "dump-header", "-j"),
                                       ("--layout=qemu", "hl104.qcow2", "dump-header", "-j"),
                                       ("--layout", "qemu", "-j", "hl104.qcow2", "dump-header"),
                                       ("-j", "--", "hl104.qcow2", "dump-header")])
def test_j_anywhere(arguments):
    assert clean(run(*arguments)) == expected("hl104.header.json")


def check_usage(text, program):
    lines = text.splitlines()
    assert lines[0] == f"Usage: {program} <file> <cmd> [<arg>, ...] [<key>, ...]"
    assert lines[1:3] == ["", "Supported commands:"]
    assert [line[:27] for line in lines[3:10]] == [f"    {name:<20} - " for name in COMMANDS]
    assert lines[10:12] == ["", "Supported keys:"]
    assert lines[12].startswith(f"    {'-j':<20} - ") and len(lines) == 13


@pytest.mark.parametrize("arguments", [(), ("bm-multi.qcow2",), ("-j",), ("-j", "bm-multi.qcow2"),
                                       ("not there",)])
def test_too_few_arguments(arguments, qcow2_py):
    for program, name in (((QCOW2, "compat"), "qcow2 compat"), ((qcow2_py,), qcow2_py)):
        done = run(*arguments, program=program)
        assert done.returncode == 1 and done.stderr == b""
        check_usage(done.stdout.decode(), name)


@pytest.mark.parametrize("arguments", [("dump-header", "more"), ("dump-header-exts", "1", "2"),
                                       ("set-header", "size"), ("add-header-ext", "1"),
                                       ("add-header-ext-stdio",), ("del-header-ext",),
                                       ("set-feature-bit", "incompatible", "1", "1"),
                                       ("dump-header", "-j", "-j")])
def test_wrong_number_of_arguments(arguments, qcow2_py):
    check_usage(clean(run("hl104.qcow2", *arguments)), "qcow2 compat")
    check_usage(clean(run("hl104.qcow2", *arguments, program=(qcow2_py,))), qcow2_py)


@pytest.mark.parametrize("command", ["dump", "", "dump-header-ext", "info", "<x>"])
def test_unknown_command(command):
    assert clean(run("hl104.qcow2", command)) == f"Unknown command '{command}'\n"
    assert clean(run("hl104.qcow2", command, "with", "arguments")) == f"Unknown command '{command}'\n"
    # qcow2.py opens the file first, but looks into it only for a command that it knows.
    assert clean(run("README.md", command)) == f"Unknown command '{command}'\n"
    refused(run("not there", command), "not there")


def test_unknown_command_is_escaped():
    assert clean(run("hl104.qcow2", "a\x1b[1mb")) == "Unknown command 'a\\u{1b}[1mb'\n"


def refused(done, *words):
    assert done.returncode == 1 and done.stdout == b"", done
    text = done.stderr.decode()
    assert text.endswith("\n") and text.startswith("qcow2"), text
    for word in words:
        assert word in text
    return text


@pytest.mark.parametrize("content,word", [
    (b"", "empty"), (b"x", ""), (b"#!/bin/sh\n" * 99, ""), (b"QFI\xfb", ""),
    (b"QFI\xfb\0\0\0\1" + bytes(200), "version"), (b"QFI\xfb\0\0\0\4" + bytes(200), "version"),
    (b"QFI\xfb\0\0\0\3" + bytes(95), ""), (b"QFI\xfb\0\0\0\2" + bytes(63), ""),
    (bytes(65536), "")], ids=["empty", "short", "script", "magic", "version-1", "version-4", "cut-3", "cut-2", "zeros"])
def test_no_image(tmp_path, content, word):
    (tmp_path / "file").write_bytes(content)
    for command in ("dump-header", "dump-header-exts"):
        text = refused(run("file", command, cwd=tmp_path), "file", word)
        assert text.count("\n") == 1
        refused(run("file", "-j", command, cwd=tmp_path))


def test_unreadable(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name in ("absent", ".", "fifo", "/dev/null"):
        assert refused(run(name, "dump-header", cwd=tmp_path), name).count("\n") == 1


def test_options():
    helped = clean(run("--help"))
    assert "--layout" in helped and "-j" in helped
    for arguments in (("--layout=v8", "hl104.qcow2", "dump-header"),
                      ("--nonsense", "hl104.qcow2", "dump-header"),
                      ("--layout",), ("--layout=v7", "-j", "hl104.qcow2", "dump-header")):
        refused(run(*arguments), "--help")


def test_the_image_is_not_written(tmp_path):
    """Unlike qcow2.py, which opens it for writing even to show it."""
    image = tmp_path / "image.qcow2"
    shutil.copy(os.path.join(GOLDEN, "bm-inuse.qcow2"), image)
    image.chmod(0o400)
    log = tmp_path / "log"
    before = image.read_bytes(), image.stat().st_mtime_ns
    assert clean(run(image, "dump-header")) == expected("bm-inuse.header.txt")
    assert (image.read_bytes(), image.stat().st_mtime_ns) == before
    if not shutil.which("strace"):
        pytest.skip("not here: no strace")
    done = run(image, "dump-header", program=("strace", "-f", "-o", str(log), "-e",
                                              "trace=open,openat", QCOW2, "compat"),
               env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # which cannot be traced
    if b"ptrace" in done.stderr:
        pytest.skip("not here: nothing may be traced")
    lines = [line for line in log.read_text().splitlines() if "image.qcow2" in line]
    assert lines and all("O_RDONLY" in line for line in lines)


def test_full_disk():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QCOW2, "compat", "hl104.qcow2", "dump-header"], cwd=GOLDEN,
                              stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1 and done.stderr != b""
