# SPDX-License-Identifier: MIT
# Headers with one wrong field, of images with bitmaps: a repair never refuses its own plan, and
# nobody reads less than before.
"""Repairs of single fields of headers."""
import shutil
import subprocess

import pytest

from tests.support.programs import RELEASE, SECONDS, run

BACKING_OFFSET, L1_OFFSET = 8, 40


def qemu(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
                          check=False)


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory):
    """An image with data and two bitmaps, of whose entries the first has a reserved flag."""
    path = str(tmp_path_factory.mktemp("header") / "made.qcow2")
    assert qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path,
                "3M").returncode == 0
    assert qemu("qemu-io", "-c", "write -P 5 0 2M", path).returncode == 0
    for name in ("a", "b"):
        assert qemu("qemu-img", "bitmap", "--add", path, name).returncode == 0
    return path


@pytest.mark.parametrize("field, value, reserved_flag, codes", [
    # The extensions seem to end where a name of no bytes seems to begin.
    (BACKING_OFFSET, 1, False, (0, 0)), (BACKING_OFFSET, 0x80, False, (0, 0)),
    # No L1 table, and a bitmap that makes the file grow: what could not be read still cannot.
    (L1_OFFSET, 0x25ca73fd1662d65a, True, (2, 2))])
def test_field(made, tmp_path, field, value, reserved_flag, codes):
    path, undo = shutil.copy(made, str(tmp_path / "a.qcow2")), str(tmp_path / "undo")
    data = bytearray(read(path))
    if reserved_flag:
        directory = int.from_bytes(data[data.find(b"\x23\x85\x28\x75\0\0\0\x18") + 24:][:8], "big")
        data[directory + 12] |= 0x40
    data[field:field + 8] = value.to_bytes(8, "big")
    for options, code in zip(([], ["--all"]), codes):
        with open(path, "wb") as stream:
            stream.write(data)
        done = run("repair", "--yes", f"--undo-file={undo}", *options, path, program=RELEASE)
        assert done.returncode in (code, 3), done
        if code != 2:
            assert qemu("qemu-img", "check", path).returncode in (0, 3)
            # Programs that saw no bitmaps did not record in them.
            assert not read(path)[95] & 1 or options
            assert qemu("qemu-io", "-r", "-c", "read -P 5 0 2M", path).returncode == 0
        else:
            assert b"qcow2 rescue" in done.stdout
        if read(path) != data:
            run("undo", undo, program=RELEASE)
            (tmp_path / "undo").unlink()
        assert read(path) == data
