# SPDX-License-Identifier: MIT
# What `qcow2 export` may write to: files that grow, devices, and names that others need.
"""The targets of export, from outside."""
import os
import shutil
import subprocess
import time

import pytest

from tests.forge import build
from tests.support import shims
from tests.support.exports import K, M, content, manifest, read, refused, write
from tests.support.programs import QCOW2, RELEASE, run

GROWN = """size 9M
write 1M 64k pattern=0x11
write 3M 192k pattern=0x22
write 5M 1M pattern=0x33
write 7M 64k pattern=0x44
bitmap nightly granularity=65536 bits=16
"""


@pytest.fixture(name="grown")
def fixture_grown(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    build(GROWN, path)
    return path


# ---- files that grow ----

@pytest.fixture(name="crash", scope="module")
def fixture_crash(tmp_path_factory):
    """Stops at the n-th change of a file. Whether it came so far."""
    library = shims.build("crash", tmp_path_factory.mktemp("shim"))

    def call(folder, number, how, *words):
        log = folder / "log"
        subprocess.run([RELEASE, "export", "-q", *map(str, words)], stderr=subprocess.DEVNULL, check=False, timeout=60,
                       env={**os.environ, "LD_PRELOAD": library, "CRASH_AT": str(number), "CRASH_HOW": how,
                            "CRASH_LOG": str(log), "QCOW2_SANDBOX": "off"})
        reached = log.exists()
        log.unlink(missing_ok=True)
        return reached
    return call


@pytest.mark.parametrize("how", ["before", "after", "half", "EIO"])
def test_a_file_that_grows_is_right_as_far_as_it_goes(grown, tmp_path, crash, how):
    """Its size says how much of the tail is there: so the repetition leaves nothing out."""
    want, target, number, sizes = content(grown), str(tmp_path / "t"), 1, set()
    words = (grown, "-b", "nightly", "-o", target)
    write(target, want[:2 * M + 512])
    while crash(tmp_path, number, how, *words):
        found = read(target)
        sizes.add(len(found))
        assert found[2 * M:] == want[2 * M:len(found)]
        assert run("export", *words).returncode == 0 and read(target) == want
        write(target, want[:2 * M + 512])
        number += 1
    assert number > 5 and len(sizes) > 3
    assert os.stat(target).st_size == 9 * M and os.stat(target).st_blocks * 512 < 4 * M and read(target) == want


@pytest.mark.parametrize("how", ["before", "half", "EIO"])
def test_the_manifest_of_a_repetition_has_all_of_the_tail(grown, tmp_path, crash, how):
    """What the export wrote that was cut off, too, which has no manifest that tells it."""
    want, target, record, number = content(grown), str(tmp_path / "t"), tmp_path / "m", 1
    words = (grown, "-b", "nightly", "-o", target, "--manifest", record)
    write(target, want[:2 * M + 512])
    while crash(tmp_path, number, how, *words):
        crash(tmp_path, 8, how, *words)
        if not record.exists() or manifest(record)["state"] != "complete":
            assert run("export", *words).returncode == 0
        assert read(target) == want and run("export", "--verify", record, target).returncode == 0
        rows = [(row["start"], row["start"] + row["length"]) for row in manifest(record)["ranges"]]
        assert rows[0] == (M, M + 64 * K) and rows[1][0] == 2 * M + 512 and rows[-1][1] == 9 * M
        assert all(before[1] == row[0] for before, row in zip(rows[1:], rows[2:]))
        record.unlink()
        write(target, want[:2 * M + 512])
        number += 1
    assert number > 5


# ---- names that others need ----

def parts(folder):
    return [name for name in os.listdir(folder) if ".part-" in name]


def test_a_manifest_replaces_manifests_only(tmp_path, monkeypatch):
    """Neither the image, nor what it needs, nor the export itself, however they are called."""
    base, top = str(tmp_path / "base"), str(tmp_path / "top")
    build("size 1M\nwrite 0 64k pattern=1\n", base)
    build("size 1M\nbacking base qcow2\nwrite 64k 64k pattern=4\n", top)
    old, ranges = write(tmp_path / "old", bytes(M)), write(tmp_path / "ranges", b"0 65536\n")
    empty = write(tmp_path / "empty", b"")
    for name in (base, top, old, ranges, empty):
        before = read(name)
        for words in (["-f", "-o", tmp_path / "new"], ["-f", "-o", old], [f"--ranges={ranges}", "-f", "-o", old]):
            refused(top, "--chain", *words, f"--manifest={name}", says="it exists already, and is no manifest")
        assert read(name) == before
    monkeypatch.chdir(tmp_path)
    for words in (["-o", "new"], ["-f", "-o", "./new"]):
        refused(top, "--chain", *words, f"--manifest={tmp_path}/new", says="the disk goes there")
    assert read(old) == bytes(M) and not (tmp_path / "new").exists() and not parts(tmp_path)


@pytest.mark.parametrize("name", ["base", "file:base"])
def test_salvage_leaves_what_was_not_opened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    base = write("base", b"\x05" * M)
    build(f"size 1M\nbacking {name} raw\nwrite 64k 64k pattern=4\n", "top")
    build("size 1M\nbacking top qcow2\n", "upper")
    build("size 1M\ndata_file base absent\n", "outside")
    write("ranges", b"0 131072\n")
    for words in (["top"], ["outside"], ["upper", "--chain"]):
        for more in (["-f"], ["--ranges=ranges"]):
            refused("--salvage", *words, *more, "-o", base, says="it is a file of the disk that is exported")
    with open(base, "r+b") as stream:
        done = subprocess.run([QCOW2, "export", "--salvage", "top", "-o", "-"], stdout=stream, check=False,
                              stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"it is a file of the disk that is exported" in done.stderr
    assert read(base) == b"\x05" * M and not parts(".")


@pytest.mark.parametrize("which", ["stdout", "stderr"])
def test_no_report_is_written_into_the_disk(grown, tmp_path, which):
    target, ranges = write(tmp_path / "t", b"\xee" * (9 * M)), write(tmp_path / "ranges", b"0 65536\n")
    for words in (["--ranges", ranges], ["-b", "nightly"], ["-f"]):
        with open(target, "r+b") as stream:
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, which: stream}
            done = subprocess.run([QCOW2, "export", grown, "-o", target, *words], check=False, timeout=60, **streams)
        assert done.returncode == 1
        if which == "stdout":
            assert b"t: standard output or standard error leads there, too" in done.stderr
        assert read(target) == b"\xee" * (9 * M)


# ---- files that are replaced ----

@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_a_replaced_file_keeps_its_permissions(grown, tmp_path, mode):
    target, record = str(tmp_path / "t"), str(tmp_path / "m")
    assert run("export", "-q", grown, "-o", target, "--manifest", record).returncode == 0
    owner = (12345, 23456) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    for name in (target, record):
        os.chown(name, *owner)
        os.chmod(name, mode)
    link = tmp_path / "link"
    link.symlink_to("t")
    assert run("export", "-q", "-f", grown, "-o", link, "--manifest", record).returncode == 0
    for name in (target, record):
        found = os.stat(name)
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (mode, *owner)
    assert read(target) == content(grown)


def test_nobody_else_uses_what_export_has_locked(tmp_path):
    base, top = write(tmp_path / "base", bytes(M)), str(tmp_path / "top")
    build("size 1M\nbacking base raw\n", top)
    ranges = write(tmp_path / "ranges", b"0 65536\n")
    assert "in use" not in refused(top, "--chain", "--ranges", ranges, "-o", base,
                                   says="it is a file of the disk that is exported")


# ---- devices ----

def test_a_part_of_a_device_needs_force(grown, tmp_path):
    """As nobody can see whether the disk has grown since."""
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("not here: only root sets loop devices up")
    ranges, plain = write(tmp_path / "ranges", b"1048576 65536\n"), write(tmp_path / "plain", b"\xee" * (10 * M))
    made = subprocess.run(["losetup", "--find", "--show", plain], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    if made.returncode != 0:
        pytest.skip("not here: no loop device can be set up")
    device = made.stdout.decode().strip()
    try:
        for words in (["-b", "nightly"], ["--ranges", ranges]):
            refused(grown, *words, "-o", device, says="if that has grown since, a full export is needed; --force says")
        assert read(device) == b"\xee" * (10 * M)
        assert run("export", grown, "-f", "-b", "nightly", "-o", device).returncode == 0
        assert read(device) == b"\xee" * M + b"\x11" * (64 * K) + b"\xee" * (9 * M - 64 * K)
        assert run("export", grown, "-f", "-o", device).returncode == 0
        assert read(device) == content(grown) + b"\xee" * M
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_came_since(grown, tmp_path, there):
    """Nobody has looked at it, and so it is not replaced, whatever --force allowed."""
    target, shim = tmp_path / "out" / "t", shims.build("slow", tmp_path)
    target.parent.mkdir()
    if there:
        write(target, b"old")
    with subprocess.Popen([RELEASE, "export", "--force", grown, "-o", target], stderr=subprocess.PIPE,
                          env={**os.environ, "LD_PRELOAD": shim, "SLOW_MS": "500", "QCOW2_SANDBOX": "off"}) as process:
        for _ in range(3000):
            if any(".part-" in name for name in os.listdir(target.parent)) or process.poll() is not None:
                break
            time.sleep(0.01)
        write(tmp_path / "new", b"somebody else's")
        os.rename(tmp_path / "new", target)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and b"File exists" in said
    assert read(target) == b"somebody else's" and os.listdir(target.parent) == ["t"]
