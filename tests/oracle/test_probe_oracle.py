# SPDX-License-Identifier: MIT
# What a file of another kind is called: images that qemu-img makes in every format that it writes,
# files that the usual programs compress, and names that are no files.
"""Files of other formats, against the programs that made them."""
import json
import shutil
import subprocess

import pytest

from tests.support.programs import run

READERS = [["info"], ["dump"], ["check"], ["bitmap", "list"]]
# Options of qemu-img create, the name that we give, and the format that qemu-img finds.
IMAGES = {
    "qcow": ("-f qcow", "a qcow image", "qcow"),
    "vmdk": ("-f vmdk", "a vmdk image", "vmdk"),
    "vmdk-stream": ("-f vmdk -o subformat=streamOptimized", "a vmdk image", "vmdk"),
    "vmdk-flat": ("-f vmdk -o subformat=monolithicFlat", "a vmdk image", "vmdk"),
    "vdi": ("-f vdi", "a vdi image", "vdi"),
    "vhdx": ("-f vhdx", "a vhdx image", "vhdx"),
    "vhd": ("-f vpc", "a vhd image", "vpc"),
    "vhd-fixed": ("-f vpc -o subformat=fixed", "a vhd image of fixed size", "raw"),
    "qed": ("-f qed", "a qed image", "qed"),
    "parallels": ("-f parallels", "a parallels image", "parallels"),
    "luks": ("-f luks --object secret,id=s,data=x -o key-secret=s,iter-time=10", "a LUKS volume",
             "luks"),
    "raw": ("-f raw", "a raw image", "raw"),
}


def told(path, *words):
    """What a command says of a file that is no qcow2 image."""
    done = run(*words, path)
    line = done.stderr.decode()
    assert done.returncode in ((1, 63) if words[0] == "check" else (1,)), done
    assert done.stdout == b"" and line.count("\n") == 1 and str(path) in line, done
    return line


def create(options, path):
    """Makes an image; on a busy machine, qemu-img cannot time the key of a LUKS volume at once."""
    for _ in range(20):
        done = subprocess.run(["qemu-img", "create", "-q", *options.split(), str(path), "4M"],
                              stderr=subprocess.PIPE, check=False)
        if b"accurate CPU usage" not in done.stderr:
            break
    assert done.returncode == 0, done


@pytest.mark.parametrize("name", sorted(IMAGES))
def test_images(name, tmp_path):
    options, words, found = IMAGES[name]
    path = tmp_path / "image"
    create(options, path)
    line = told(path, "info")
    assert f"not a qcow2 image but {words}" in line or words in line
    assert ("qemu-img convert" in line) == (name not in ("luks", "raw"))
    theirs = subprocess.run(["qemu-img", "info", "--output=json", str(path)], check=True,
                            stdout=subprocess.PIPE).stdout
    assert json.loads(theirs)["format"] == found


@pytest.mark.parametrize("program, words", [
    ("gzip", "a gzip file: unpack it first (gunzip)"), ("xz", "an xz file: unpack it first (unxz)"),
    ("zstd", "a zstd file: unpack it first (unzstd)"),
    ("bzip2", "a bzip2 file: unpack it first (bunzip2)"),
    ("lz4", "an lz4 file: unpack it first (unlz4)")])
def test_compressed(program, words, tmp_path):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (tmp_path / "i.qcow2").write_bytes(b"QFI\xfb" + bytes(10000))
    packed = subprocess.run([program, "-c", str(tmp_path / "i.qcow2")], check=True,
                            stdout=subprocess.PIPE).stdout
    path = tmp_path / "packed"
    path.write_bytes(packed)
    for reader in READERS:
        assert words in told(path, *reader), reader


def test_an_archive(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    subprocess.run(["tar", "cf", "a.tar", "a"], cwd=tmp_path, check=True)
    assert "a tar archive: unpack it first (tar xf)" in told(tmp_path / "a.tar", "info")


@pytest.mark.parametrize("name, advice", [
    ("nbd+unix:x", "nbdcopy"), ("nbd:unix:/x", "nbdcopy"), ("https://example.org/a", "download"),
    ("ssh://host/a", "scp"), ('json:{"driver": "qcow2"}', "path"), ("file:x", "path"),
    ("json:" + "x" * 5000, "path")], ids=range(7))
def test_names_that_are_no_files(name, advice, tmp_path):
    for reader in READERS:
        done = run(*reader, name, cwd=tmp_path)
        line = done.stderr.decode()
        assert (done.returncode, done.stdout, line.count("\n")) == (1, b"", 1)
        assert "only files are read, not " + name.split(":")[0] + ": names" in line and advice in line


def test_a_file_may_be_called_so(tmp_path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "i", "1M"], cwd=tmp_path, check=True)
    (tmp_path / "i").rename(tmp_path / "nbd:x")
    assert run("info", "nbd:x", cwd=tmp_path).returncode == 0
