# SPDX-License-Identifier: MIT
# The guest's bytes: against the command's export, through gates, past damage.
"""Disks, gates, passphrases and faults."""
import os
import pathlib
import subprocess
from typing import List, Optional

import pytest

import qcow2
from tests.python.common import NAMES, SAMPLE, command, recipe

# Those whose disks differ; others differ in what no disk shows.
PLAIN = [name for name in NAMES if name.startswith("good-") and "snapshot" not in name
         and "bitmap" not in name and "header" not in name and "warn" not in name]


@pytest.mark.parametrize("name", PLAIN)
def test_bytes(name: str, tmp_path: pathlib.Path) -> None:
    """What qcow2 read prints."""
    with qcow2.Image(recipe(name)) as image:
        length = min(image.info().virtual_size // 512 * 512, 1 << 20)
        done = command("read", recipe(name), f"--guest=0+{length}")
        try:
            data = image.read(0, length)
        except qcow2.Qcow2Error as error:
            assert done.returncode != 0, error
            return
    assert data == done.stdout


def chain(folder: pathlib.Path, backing: str = "base.qcow2", form: str = "qcow2") -> str:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "base.qcow2"), "1M"],
                   check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", str(folder / "base.qcow2")], check=True,
                   stdout=subprocess.DEVNULL)
    over = folder / "over.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", form, "-b", backing,
                    str(over), "1M"], check=True)
    return str(over)


def test_gates(tmp_path: pathlib.Path) -> None:
    with qcow2.Image(chain(tmp_path)) as image:
        with pytest.raises(qcow2.UnsupportedError):
            image.read(0, 1)  # no gate, no file
        asked: List[qcow2.Wanted] = []

        def gate(wanted: qcow2.Wanted) -> Optional[qcow2.Given]:
            asked.append(wanted)
            return qcow2.Given(qcow2.Source.open(tmp_path / wanted.name), wanted.format)

        with image.disk(gate=gate) as disk:
            assert disk.depth == 2 and disk.size == 1 << 20
            assert disk.read(0, 65536) == b"\x07" * 65536
            assert [(e.start, e.kind, e.depth) for e in disk.extents()] == [
                (0, qcow2.DiskKind.DATA, 1), (65536, qcow2.DiskKind.UNALLOCATED, 1)]
        assert asked == [qcow2.Wanted("backing", 0, "base.qcow2", "qcow2")]
        assert image.read(1, 2, gate=qcow2.gate_within(tmp_path)) == b"\x07\x07"
        with image.disk(gate=lambda wanted: None) as disk:
            with pytest.raises(qcow2.NotFoundError):
                disk.read(0, 1)
        source = qcow2.Source.open(tmp_path / "base.qcow2")
        disk = image.disk(gate=lambda wanted: qcow2.Given(source, "raw"))
        assert disk.read(0, 4) == b"QFI\xfb"
        source.close()
        with pytest.raises(qcow2.ClosedError):
            disk.read(0, 4)


def test_what_gates_raise(tmp_path: pathlib.Path) -> None:
    class Mine(Exception):
        pass

    def gate(_: qcow2.Wanted) -> Optional[qcow2.Given]:
        raise Mine("no")

    with qcow2.Image(chain(tmp_path)) as image:
        with pytest.raises(Mine):
            image.disk(gate=gate)
        with pytest.raises(ValueError, match="vmdk"):
            image.disk(gate=lambda wanted: qcow2.Given(image.source, "vmdk"))
        with pytest.raises(AttributeError):
            image.disk(gate=lambda wanted: 7)  # type: ignore[arg-type,return-value]
        with qcow2.Image(SAMPLE) as other:
            assert other.read(0, 1, gate=gate) == b"\x11"  # nobody asks it


@pytest.mark.parametrize("backing, form, says", [
    ("/etc/passwd", "raw", "is not below"), ("../base.qcow2", "qcow2", "is not below"),
    ("link", "raw", "is not below"), ("nbd://host/x", "raw", "is of a protocol"),
    ("base.qcow2", "vmdk", "has the format 'vmdk'")])
def test_gate_within(tmp_path: pathlib.Path, backing: str, form: str, says: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.symlink("/etc/passwd", folder / "link")
    path = chain(folder)
    with qcow2.Image(path) as image, image.edit(undo=False) as plan:
        plan.set_backing(backing, form)
    with qcow2.Image(path) as image:
        with pytest.raises(qcow2.UnsupportedError, match=says):
            image.disk(gate=qcow2.gate_within(folder))


def test_past_damage() -> None:
    heard: List[qcow2.Fault] = []
    with qcow2.Image(recipe("bad-data-beyond-end")) as image, image.disk() as disk:
        bad = [e for e in disk.extents() if e.kind is qcow2.DiskKind.UNREADABLE or e.offset is not None]
        with pytest.raises(qcow2.BrokenError) as caught:
            disk.read(0, disk.size)
        data = disk.read_past(0, disk.size, heard.append)
        assert len(data) == disk.size and heard and bad
        assert heard[0].error.code == caught.value.code == qcow2.ErrorCode.BROKEN
        assert data[heard[0].start:][:heard[0].length] == bytes(heard[0].length)

        def refuse(fault: qcow2.Fault) -> None:
            raise ZeroDivisionError(fault.start)

        with pytest.raises(ZeroDivisionError):
            disk.read_past(0, disk.size, refuse)
        buffer = bytearray(512)
        with pytest.raises(BufferError):
            disk.readinto(0, bytes(512))
        disk.readinto(heard[0].start + heard[0].length, buffer)


def test_snapshots() -> None:
    with qcow2.Image(SAMPLE) as image:
        with image.disk(snapshot="installed") as disk:
            assert disk.read(65536, 4096) == bytes(4096)
        assert image.read(65536, 4096) == b"\x22" * 4096


def test_passphrases(tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"hello")
    done = command("read", recipe("good-aes"), "--guest=0+64k", f"--key-file={secret}")
    assert done.returncode == 0, done.stderr
    asked: List[int] = []

    def key(depth: int) -> bytes:
        asked.append(depth)
        return secret.read_bytes()

    def lost(depth: int) -> bytes:
        raise KeyError(depth)

    with qcow2.Image(recipe("good-aes")) as image:
        with image.disk(key=key) as disk:
            assert disk.read(0, 65536) == done.stdout
        assert asked == [0]
        with pytest.raises(KeyError):
            image.disk(key=lost)
        with pytest.raises(ValueError, match="8192"):
            image.disk(key=lambda depth: bytes(8193))
        with pytest.raises(qcow2.UnsupportedError):
            image.disk()
