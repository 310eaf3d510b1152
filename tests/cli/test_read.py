# SPDX-License-Identifier: MIT
# qcow2 read, from outside: ranges, hex dumps, which files are opened, and what cannot be read.
"""qcow2 read."""
import os
import re

import pytest

from tests.forge import build
from tests.support.outside import on_terminal, run, text_of
from tests.support.programs import RELEASE, SAMPLE, image, recipe_image

DISK = "size 1M\nwrite 0 64k pattern=0x41\nwrite 128k 64k pattern=mixed\nzero 256k 64k\ncompressed 384k 64k pattern=0x42\n"


def read(*words, code=0):
    done = run("read", *map(str, words))
    assert done.returncode == code, done
    return done.stdout


def test_ranges():
    path, layout = image(DISK)
    whole = layout.guest_bytes(0, 1 << 20)
    assert read(path) == whole
    for text, start, length in (("0+1", 0, 1), ("64k+64k", 65536, 65536), ("0x1ffff+3", 0x1ffff, 3),
                                ("256s+1s", 131072, 512), ("1023k", 1023 << 10, 1024), ("1M", 1 << 20, 0)):
        assert read(f"--guest={text}", path) == whole[start:start + length], text
    assert read("--guest=128k+5", "--guest=0+2", "--guest=128k+5", path) == whole[131072:131077] + \
        whole[:2] + whole[131072:131077]
    assert read("-q", "--guest=0+2", path) == whole[:2] and read("-q", "-x", path) == b""


@pytest.mark.parametrize("text, wrong", [
    ("1M+1", "the range 0x100000+0x1 passes the end of the disk, at 0x100000"),
    ("2M", "the range 0x200000+0x0 passes the end of the disk"),
    ("0+2M", "passes the end"), ("16E-1+1", "--guest: "), ("x", "--guest: "), ("0+0", "the length is 0")])
def test_wrong_ranges(text, wrong):
    done = run("read", f"--guest={text}", image(DISK)[0])
    assert (done.returncode, done.stdout) == (1, b"") and wrong.encode() in done.stderr, done


def rows_of(text):
    """{offset: (bytes, layer)} of a dump in which nothing is folded."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(0x[0-9a-f]{8,})((?:  ?(?:[0-9a-f]{2}|  |--)){16})  \|(.{16})\|  (.+)", line)
        if match:
            found[int(match[1], 16)] = (match[2].split(), match[3], match[4])
    return found


def test_hex():
    path, layout = image(DISK)
    text = text_of(run("read", "-x", "--guest=128k+512", path))
    rows = rows_of(text)
    assert len(rows) == 32 and text.endswith("\n0x00020200\n")
    for at, (digits, shown, layer) in rows.items():
        data = layout.guest_bytes(at, 16)
        assert bytes.fromhex("".join(digits)) == data and layer == "0 data"
        assert shown == "".join(chr(b) if 0x20 <= b < 0x7f else "." for b in data)
    whole = text_of(run("read", "--hex", path))
    assert {at: layer for at, (_, _, layer) in rows_of(whole).items() if at % 65536 == 0} == {
        0: "0 data", 0x10000: "unallocated", 0x20000: "0 data", 0x30000: "unallocated", 0x40000: "0 zero",
        0x50000: "unallocated", 0x60000: "0 compressed", 0x70000: "unallocated"}
    assert "*\n*" not in whole


def test_hex_of_parts_of_rows():
    path, layout = image(DISK)
    for start, length in ((0x1fffd, 6), (0x20005, 3), (0x2000f, 2), (0x20001, 40)):
        rows = rows_of(text_of(run("read", "-x", f"--guest={start}+{length}", path)))
        got = b"".join(bytes.fromhex("".join(row[0])) for _, row in sorted(rows.items()))
        assert got == layout.guest_bytes(start, length)
        assert min(rows) == start // 16 * 16


def test_hex_of_zeros_costs_nothing(tmp_path):
    build("cluster_bits 21\nsize 2000T\nwrite 1000T 2M\n", str(tmp_path / "large"))
    text = text_of(run("read", "-x", str(tmp_path / "large"), timeout=10))
    assert text.count("\n") < 12 and text.endswith(f"\n0x{2000 << 40:x}\n")


def test_terminal():
    code, text = on_terminal("read", image(DISK)[0])
    assert code == 1 and text == b""
    code, text = on_terminal("read", "--hex", "--guest=0+16", image(DISK)[0])
    assert code == 0 and b"AAAAAAAAAAAAAAAA" in text


def test_snapshots_and_vm_state():
    path, layout = image("size 1M\nwrite 0 64k pattern=1\nsnapshot 1 name=one vmstate=100000\n"
                         "write 0 64k pattern=2\nsnapshot 2 name=1\nwrite 0 64k pattern=3\n")
    assert read(path) == layout.guest_bytes(0, 1 << 20)
    for name, index in (("1", 0), ("one", 0), ("2", 1)):
        assert read(f"--snapshot={name}", path) == layout.guest_bytes(0, 1 << 20, snapshot=index)
    assert read("--snapshot=1", "--vm-state", path) == b"\x56" * 100000
    assert read("--snapshot=2", "--vm-state", path) == b""
    assert b"--vm-state needs --snapshot" in run("read", "--vm-state", path).stderr
    assert b"no snapshot has the ID or name 'three'" in run("read", "--snapshot=three", path).stderr


@pytest.fixture(name="chain")
def fixture_chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.raw").write_bytes(b"base" * 65536)
    build("size 1M\nbacking base.raw raw\nwrite 64k 64k pattern=1\n", "middle")
    build("size 1M\nbacking middle qcow2\nwrite 128k 64k pattern=2\n", "top")
    return tmp_path


def test_chain(chain):
    expected = b"base" * 16384 + b"\1" * 65536 + b"\2" * 65536 + b"base" * 16384
    assert read("--chain", "top") == expected.ljust(1 << 20, b"\0")
    text = text_of(run("read", "-x", "--chain", "top"))
    assert text.endswith("\n0x00100000\n\n0  top\n1  middle\n2  base.raw\n")
    assert sorted({layer for _, _, layer in rows_of(text).values()}) == ["0 data", "1 data", "2 data", "unallocated"]
    done = run("read", "top")
    assert (done.returncode, done.stdout) == (1, b"") and b"add --chain" in done.stderr and b"top: " in done.stderr
    os.remove(chain / "base.raw")
    done = run("read", "--chain", "top")
    assert (done.returncode, done.stdout) == (1, b""), done
    assert b"base.raw: named as the backing file of middle: " in done.stderr


def test_salvage(chain):
    whole = (b"\0" * 131072 + b"\2" * 65536).ljust(1 << 20, b"\0")
    done = run("read", "--salvage", "top")
    assert (done.returncode, done.stdout) == (2, whole)
    assert b"top: 983040 bytes in 2 ranges could not be read, and are zeros" in done.stderr
    os.remove(chain / "base.raw")
    done = run("read", "--salvage", "--chain", "top")
    assert done.returncode == 2 and b"base.raw: named as" in done.stderr
    assert done.stdout == (b"\0" * 65536 + b"\1" * 65536 + b"\2" * 65536).ljust(1 << 20, b"\0")
    done = run("read", "--salvage", "--chain", "-x", "top")
    layers = {layer for _, _, layer in rows_of(done.stdout.decode()).values()}
    assert done.returncode == 2 and layers == {"0 data", "1 data", "2 unreadable"}


@pytest.mark.parametrize("base, why", [
    ("set header/incompatible_features 1<<40", "unknown incompatible features"), ("set header/cluster_bits 40", "is insane"),
    ("crypt_method 1", "it is encrypted: --key-file names"), ("crypt_method 7", "encryption method 7 is not known"),
    ("set header/magic 0", "not a qcow2 image")])
def test_salvage_without_a_file_below(base, why, tmp_path, monkeypatch):
    """A file that is there, but cannot be opened, is as good as missing."""
    monkeypatch.chdir(tmp_path)
    build(f"size 1M\nwrite 0 64k pattern=1\n{base}\n", "base")
    build("size 1M\nbacking base qcow2\nwrite 64k 64k pattern=2\n", "top")
    done = run("read", "--chain", "top")
    assert (done.returncode, done.stdout) == (1, b"") and done.stderr.startswith(b"qcow2 read: base: "), done
    done = run("read", "--chain", "--salvage", "top")
    assert (done.returncode, done.stdout) == (2, (bytes(65536) + b"\2" * 65536).ljust(1 << 20, b"\0"))
    assert done.stderr.startswith(b"qcow2 read: base: ") and why.encode() in done.stderr.split(b"\n")[0]
    assert b"in file 1 of the chain, which is missing" in done.stderr


def test_salvage_of_broken_entries(tmp_path):
    """What an entry without a meaning maps is zeros, and nothing else is."""
    path = str(tmp_path / "broken")
    build(DISK + "write 512k 64k pattern=3\nset l2/0/8 eof + cluster | 1<<63\n", path)
    done = run("read", path)
    assert (done.returncode, done.stdout) == (1, b"") and b"byte 0x80000 of the disk" in done.stderr
    done = run("read", "--salvage", path)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 2
    assert b"0x80000+0x10000 is zeros here" in done.stderr
    assert done.stdout == read("--guest=0+512k", path) + bytes(512 << 10)
    assert read("--guest=0+512k", path) and read("--guest=576k", path) == bytes(448 << 10)
    text = run("read", "-x", "--salvage", path).stdout.decode()
    assert rows_of(text)[0x80000] == (["--"] * 16, "-" * 16, "0 unreadable")


def test_formats(tmp_path):
    """A raw file is read as one; one that looks like an image has to be called raw."""
    (tmp_path / "raw").write_bytes(b"raw" * 1000)
    assert read(tmp_path / "raw") == (b"raw" * 1000).ljust(3072, b"\0")
    with open(SAMPLE, "rb") as stream:
        whole = stream.read()
    assert read("-f", "raw", SAMPLE) == whole.ljust((len(whole) + 511) // 512 * 512, b"\0")
    assert run("read", "-f", "qcow2", str(tmp_path / "raw")).returncode == 1
    (tmp_path / "disk.vdi").write_bytes(b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") +
                                        bytes.fromhex("7f10dabe") + bytes(1000))
    done = run("read", str(tmp_path / "disk.vdi"))
    assert done.returncode == 1 and b"its format seems to be vdi" in done.stderr, done
    assert b"a raw file has no snapshots" in run("read", "--snapshot=1", str(tmp_path / "raw")).stderr


def test_data_file(tmp_path):
    """It is beside the image, and not opened unless asked for."""
    path = str(tmp_path / "image")
    layout = build("size 1M\ndata_file disk.data\nwrite 64k 64k pattern=7\n", path)
    done = run("read", path)
    assert done.returncode == 1 and b"its data file: add --chain" in done.stderr
    assert read("--chain", path) == layout.guest_bytes(0, 1 << 20)
    assert run("read", "-x", "--chain", path).stdout.endswith(b"disk.data (data file)\n")
    os.remove(tmp_path / "disk.data")
    done = run("read", "--chain", path)
    assert done.returncode == 1 and b"disk.data" in done.stderr
    assert run("read", "--chain", "--salvage", path).returncode == 2


def test_loops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build("size 1M\nbacking itself qcow2\n", "itself")
    build("size 1M\nbacking b qcow2\n", "a")
    build("size 1M\nbacking a qcow2\n", "b")
    for name in ("itself", "a"):
        done = run("read", "--chain", name)
        assert (done.returncode, done.stdout) == (1, b"") and b"is a loop" in done.stderr, done
    done = run("read", "--chain", "--salvage", "a")
    assert (done.returncode, done.stdout) == (2, bytes(1 << 20))


def test_deep_chains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build("size 64k\nwrite 0 64k pattern=9\n", "0")
    for number in range(1, 258):
        build(f"size 64k\ncluster_bits 9\nbacking {number - 1} qcow2\n", str(number))
    assert run("read", "--chain", "255", program=RELEASE).stdout == b"\x09" * 65536
    done = run("read", "--chain", "257", program=RELEASE)
    assert done.returncode == 1 and b"256" in done.stderr, done


def test_keys():
    path = recipe_image("good-luks1")[0]
    done = run("read", path)
    assert (done.returncode, done.stdout) == (1, b""), done
    done = run("read", "--key-file=/nonexistent", path)
    assert done.returncode == 1 and b"--key-file: /nonexistent: No such file" in done.stderr
    done = run("read", "--key-file=-", path, input=b"x" * 8193)
    assert done.returncode == 1 and b"over 8192 bytes" in done.stderr


def test_memory(tmp_path):
    """What does not fit the limit is an error, and no part of the disk."""
    build("cluster_bits 21\nsize 16M\nrepeat 8 compressed {*2}M 2M pattern=3\n", str(tmp_path / "disk"))
    whole = run("read", str(tmp_path / "disk"), program=RELEASE).stdout
    assert whole == b"\3" * (16 << 20)
    for limit in ("1M", "4M", "16M", "64M"):
        done = run("read", f"--memory-limit={limit}", str(tmp_path / "disk"), program=RELEASE)
        assert (done.returncode, done.stdout) == (0, whole) or (
            done.returncode == 1 and b"memory" in done.stderr and whole.startswith(done.stdout)), done.stderr


# What nobody can know is no zeros: the L1 table ends before the disk does.
@pytest.mark.parametrize("recipe, snapshot", [
    ("cluster_bits 12\nsize 16M\nwrite 0 4k\nwrite 8M 4k\nset header/l1_size 4\n", []),
    ("cluster_bits 12\nsize 16M\nwrite 0 4k\nwrite 8M 4k\nsnapshot 1 name=s\n"
     "set snapshots/0/l1_size 4\n", ["--snapshot=s"])])
def test_l1_too_small(recipe, snapshot, tmp_path):
    build(recipe, str(tmp_path / "short"))
    text = run("read", *snapshot, "--guest=0+4k", "short", cwd=tmp_path)
    assert text.returncode == 0 and len(text.stdout) == 4096
    for command in (["read", "--guest=8M+8"], ["hash"], ["export", "--to=raw"]):
        done = run(*command, *snapshot, "short", cwd=tmp_path)
        assert done.returncode == 1, command
        assert b"L1 table is too small" in done.stderr and b"at offset" not in done.stderr
        assert not (tmp_path / "raw").exists()
    done = run("export", *snapshot, "--salvage", "--to=raw", "short", cwd=tmp_path)
    assert done.returncode == 2 and b"8388608 bytes at 0x800000" in done.stderr
    side = ["--snapshot-a=s", "--snapshot-b=s"] if snapshot else []
    assert run("compare", *side, "short", "short", cwd=tmp_path).returncode == 4
