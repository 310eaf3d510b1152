# SPDX-License-Identifier: MIT
# Edits against the real qemu-img and qemu-io: what is edited is an image that they open and find
# sound and that says what was asked; whoever has the image open keeps the other one out.
"""edit against QEMU's tools."""
import json
import os
import subprocess

import pytest

from tests.support.programs import QCOW2, run


def qemu_img(*words):
    done = subprocess.run(["qemu-img", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    assert done.returncode == 0, done
    return done.stdout


def info(path):
    return json.loads(qemu_img("info", "--output=json", path))


@pytest.fixture(name="path")
def fixture_path(tmp_path):
    path = str(tmp_path / "a.qcow2")
    qemu_img("create", "-q", "-f", "qcow2", path, "64M")
    qemu_img("bitmap", "--add", path, "b0")
    subprocess.run(["qemu-io", "-c", "write -P 5 1M 1M", path], stdout=subprocess.DEVNULL,
                   check=True)
    qemu_img("snapshot", "-c", "before", path)
    return path


def edited(path, *words):
    done = run("edit", "--no-undo", path, *words)
    assert done.returncode == 0, done
    qemu_img("check", path)
    assert [b["name"] for b in info(path)["format-specific"]["data"]["bitmaps"]] == ["b0"]
    subprocess.run(["qemu-io", "-c", "read -P 5 1M 1M", path], stdout=subprocess.DEVNULL,
                   check=True)
    return info(path)


def test_backing(path, tmp_path):
    qemu_img("create", "-q", "-f", "qcow2", str(tmp_path / "base.qcow2"), "64M")
    shown = edited(path, "backing", "set", "base.qcow2", "qcow2")
    assert shown["backing-filename"] == "base.qcow2"
    assert shown["backing-filename-format"] == "qcow2"
    assert shown["full-backing-filename"] == str(tmp_path / "base.qcow2")
    assert "backing-filename" not in edited(path, "backing", "clear")


def test_features(path):
    shown = edited(path, "feature", "compatible", "lazy-refcounts", "on")
    assert shown["format-specific"]["data"]["lazy-refcounts"] is True
    done = run("edit", "--no-undo", "--force", path, "feature", "incompatible", "9", "on")
    assert done.returncode == 0
    refused = subprocess.run(["qemu-img", "info", path], stderr=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, check=False)
    assert b"Unsupported qcow2 feature(s): Unknown incompatible feature" in refused.stderr


def test_extensions(path):
    """QEMU keeps what it does not know; so what we add is there after it has written."""
    edited(path, "extension", "add", "0x12345678", "--data=ours")
    subprocess.run(["qemu-io", "-c", "write 5M 64k", path], stdout=subprocess.DEVNULL, check=True)
    qemu_img("bitmap", "--add", path, "b1")
    dump = json.loads(run("dump", "-j", path, "extensions").stdout)
    assert 0x12345678 in [e["magic"] for e in dump["extensions"]]
    done = run("edit", "--no-undo", path, "feature-names", "rebuild")
    assert done.returncode == 0
    qemu_img("check", path)


def test_size(path):
    shown = edited(path, "set", "header/l1_size=1", "header/compatible_features=0")
    assert shown["virtual-size"] == 64 << 20


class Holder:
    """A qemu-io that has an image open until it is told to quit."""

    def __init__(self, *words):
        self.process = subprocess.Popen(["qemu-io", *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.process.stdin.write(b"length\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def test_held_by_qemu(path):
    """Written by QEMU: refused. Readers say so and go on."""
    undo = f"{path}.undo"
    assert run("edit", f"--undo-file={undo}", path, "set", "header/compatible_features=1"
               ).returncode == 0
    with Holder(path):
        done = run("edit", path, "set", "header/compatible_features=0")
        assert done.returncode == 1
        assert b"in use: another program has it open for writing" in done.stderr
        assert b"in use" in run("undo", undo).stderr
        compat = run("compat", path, "set-header", "compatible_features", "0")
        assert compat.returncode == 1 and b"in use" in compat.stderr
        for words in (("info",), ("dump",), ("check",), ("info", "--output=json")):
            read = run(*words, path)
            assert b"results may be inconsistent" in read.stderr and read.stdout, words
        dry = run("edit", "--dry-run", path, "set", "header/compatible_features=0")
        assert b"results may be inconsistent" in dry.stderr
    assert run("info", path).stderr == b""
    assert run("edit", "--no-undo", path, "set", "header/compatible_features=0").returncode == 0


def test_read_by_qemu(path):
    """A reader that lets others write is no hindrance; one that does not is."""
    with Holder("-r", "-U", path):
        assert run("edit", "--no-undo", path, "set", "header/compatible_features=1"
                   ).returncode == 0
        assert run("info", path).stderr == b""
    with Holder("-r", path):
        done = run("edit", path, "set", "header/compatible_features=0")
        assert done.returncode == 1 and b"lets nobody write" in done.stderr


def test_held_by_us(path):
    """While we wait for an answer, QEMU cannot write, and we warn ourselves."""
    leader, terminal = os.openpty()
    ours = subprocess.Popen([QCOW2, "edit", "--no-undo", "--force", path, "set", "l2/0/9=1"],
                            stdin=terminal, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = b""
    while b"Go on?" not in said:
        said += os.read(ours.stderr.fileno(), 4096)
    theirs = subprocess.run(["qemu-io", "-c", "write 0 512", path], stderr=subprocess.PIPE,
                            stdout=subprocess.DEVNULL, check=False)
    assert theirs.returncode != 0 and b'Failed to get "write" lock' in theirs.stderr
    assert b"in use" in run("edit", path, "set", "header/size=1").stderr
    assert b"results may be inconsistent" in run("info", path).stderr
    os.write(leader, b"y\n")
    assert ours.wait(timeout=60) == 0
    ours.stderr.close()
    os.close(leader)
    os.close(terminal)
    subprocess.run(["qemu-io", "-c", "write 0 512", path], stdout=subprocess.DEVNULL, check=True)
