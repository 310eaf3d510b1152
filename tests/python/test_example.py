# SPDX-License-Identifier: MIT
# The example of incremental backups, on a disk that QEMU writes: what is restored is what there was.
"""examples/python/incremental.py"""
import json
import os
import pathlib
import subprocess
import sys
from typing import List

from tests.python.common import read
from tests.support import programs

EXAMPLE = os.path.join(programs.TOP, "examples", "python", "incremental.py")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-B", EXAMPLE, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8", check=False)


def write(path: str, *commands: str) -> None:
    words: List[str] = [word for one in commands for word in ("-c", one)]
    subprocess.run(["qemu-io", *words, path], check=True, stdout=subprocess.DEVNULL)


def test_incremental(tmp_path: pathlib.Path) -> None:
    disk, target, wanted = (str(tmp_path / name) for name in ("disk.qcow2", "back.raw", "disk.raw"))
    one, two, three = (str(tmp_path / name) for name in ("one", "two", "three"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    write(disk, "write -P 1 0 1M", "write -P 2 10M 3M")
    assert run("full", disk, one, "--checkpoint=monday").returncode == 0
    write(disk, "write -P 3 512k 64k", "write -z 10M 1M")
    assert run("since", "monday", disk, two, "--checkpoint=tuesday").returncode == 0
    write(disk, "write -P 9 60M 100k")
    done = run("list", disk)
    assert done.stdout.splitlines() == ["monday: 1114112 dirty bytes, saved",
                                        "tuesday: 131072 dirty bytes, saved"]
    # Since an older checkpoint: both bitmaps together.
    assert run("since", "monday", disk, three, "--checkpoint=wednesday").returncode == 0
    with open(three + ".json", encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    assert lines[0]["since"] == ["monday", "tuesday"]
    assert [(line["start"], line["zero"]) for line in lines[1:-1]] == [
        (512 << 10, False), (10 << 20, True), (60 << 20, False)]
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, wanted], check=True)
    assert run("restore", target, one, three).returncode == 0
    assert read(target) == read(wanted)
    os.remove(target)
    assert run("since", "tuesday", disk, str(tmp_path / "four"), "--checkpoint=x").returncode == 0
    assert run("restore", target, one, two, str(tmp_path / "four")).returncode == 0
    assert read(target) == read(wanted)


def test_incremental_refuses(tmp_path: pathlib.Path) -> None:
    disk, backup = str(tmp_path / "disk.qcow2"), str(tmp_path / "backup")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], check=True)
    done = run("since", "monday", disk, backup, "--checkpoint=x")
    assert done.returncode == 1 and "a full backup is needed" in done.stderr
    assert run("full", disk, backup, "--checkpoint=monday").returncode == 0
    with open(backup, "ab") as stream:
        stream.write(b"x")
    subprocess.run(["qemu-io", "-c", "abort", disk], check=False, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    done = run("since", "monday", disk, backup + "2", "--checkpoint=x")
    assert done.returncode == 1 and "may miss writes" in done.stderr, done
