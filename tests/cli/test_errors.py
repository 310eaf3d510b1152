# SPDX-License-Identifier: MIT
# What cannot be read, or not be printed: every cause has its own clear line on stderr, leaves
# stdout empty, and ends with the exit code that the pages promise.
"""Errors of the commands that read images."""
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time

import pytest

from tests.forge import build, build_named
from tests.support.outside import READERS, ask, complaint, documents, harmless, run, text_of
from tests.support.programs import QCOW2, SAMPLE

EACH = pytest.mark.parametrize("reader", sorted(READERS))
UNKNOWN = "not a qcow2 image: no magic number QFI\\xfb; a raw image, or a file of an unknown kind"
CONVERT = "convert it with 'qemu-img convert -O qcow2'"
SHORT = "truncated: the file ends inside the header, after {} bytes"


def magic(version):
    return b"QFI\xfb" + struct.pack(">I", version) + bytes(504)


# What a file holds: the reason and the offset that must be told.
CONTENTS = {
    "vmdk": (b"KDMV" + bytes(600), "not a qcow2 image but a vmdk image: " + CONVERT, None),
    "gzip": (b"\x1f\x8b\x08" + bytes(60),
             "not a qcow2 image but a gzip file: unpack it first (gunzip)", None),
    "text": (b"# a text\n", UNKNOWN, 0),
    "zeros": (bytes(65536), "not a qcow2 image but a file that starts with zeros: a raw image, or an "
                            "image whose header is lost", 0),
    "magic backwards": (b"\xfbIFQ" + bytes(600), UNKNOWN, 0),
    "empty": (b"", "the file is empty", 0),
    "version 1": (magic(1), "not a qcow2 image but a qcow image (version 1, an older format): " +
                  CONVERT, None),
    "version 0": (magic(0), "version 0 is not supported: versions 2 and 3 are", 4),
    "version 4": (magic(4), "version 4 is not supported: versions 2 and 3 are", 4),
    "version 2^31": (magic(2 ** 31), "version 2147483648 is not supported: versions 2 and 3 are",
                     4),
    "version max": (magic(2 ** 32 - 1),
                    "version 4294967295 is not supported: versions 2 and 3 are", 4),
    "magic only": (magic(3)[:4], SHORT.format(4), 4),
    "half a version": (magic(3)[:6], SHORT.format(6), 6),
    "v2 short": (magic(2)[:71], SHORT.format(71), 71),
    "v3 short": (magic(3)[:103], SHORT.format(103), 103),
}


@EACH
@pytest.mark.parametrize("content", sorted(CONTENTS))
def test_contents(reader, content, tmp_path):
    data, reason, offset = CONTENTS[content]
    (tmp_path / "image").write_bytes(data)
    assert complaint(ask(reader, "image", cwd=tmp_path), reader, "image") == (reason, offset)


@pytest.mark.parametrize("version, size", [(3, 104), (2, 72)])
def test_every_length_of_a_header(version, size, tmp_path):
    """A header that is cut says where the file ends; a whole one is shown, with what is missing."""
    path = tmp_path / "image"
    build(f"version {version}\nsize 1M\n", str(path))
    data = path.read_bytes()
    for length in range(1, size):
        path.write_bytes(data[:length])
        for reader in ("dump -j", "info"):
            told = complaint(ask(reader, "image", cwd=tmp_path), reader, "image")
            assert told == ((UNKNOWN, 0) if length < 4 else
                            (SHORT.format(length), length))
    path.write_bytes(data[:size])
    document = documents(text_of(ask("dump -j", "image", cwd=tmp_path), 2))[0]
    assert document["header"]["size"] == 1 << 20
    assert any(p["severity"] == "corruption" for p in document["problems"])
    text_of(ask("info", "image", cwd=tmp_path), 2)


def make_directory(path):
    path.mkdir()


def make_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def make_loop(path):
    path.symlink_to("other")
    (path.parent / "other").symlink_to(path.name)


# What a name leads to: how it is made, and the reason that must be told. None has an offset.
PLACES = {
    "missing": (lambda path: None, "cannot open: No such file or directory"),
    "dangling": (lambda path: path.symlink_to("nowhere"), "cannot open: No such file or directory"),
    "directory": (make_directory, "a directory, not a regular file or block device"),
    "FIFO": (os.mkfifo, "a FIFO, not a regular file or block device"),
    "socket": (make_socket, "a socket, not a regular file or block device"),
    "null": (lambda path: path.symlink_to("/dev/null"),
             "a character device, not a regular file or block device"),
    "zero": (lambda path: path.symlink_to("/dev/zero"),
             "a character device, not a regular file or block device"),
    "loop": (make_loop, "cannot open: Too many levels of symbolic links"),
    "itself": (lambda path: path.symlink_to(path.name),
               "cannot open: Too many levels of symbolic links"),
}


@EACH
@pytest.mark.parametrize("place", sorted(PLACES))
def test_places(reader, place, tmp_path):
    make, reason = PLACES[place]
    make(tmp_path / "image")
    done = ask(reader, "image", cwd=tmp_path, timeout=20)
    assert complaint(done, reader, "image") == (reason, None)


@EACH
def test_paths(reader, tmp_path):
    """Names that lead nowhere, for reasons of their own."""
    (tmp_path / "file").write_bytes(b"")
    for name, shown, reason in (
            ("file/image", "file/image", "cannot open: Not a directory"),
            ("n" * 300, "n" * 300, "cannot open: File name too long"),
            ("", "''", "the path is empty: No such file or directory")):
        done = ask(reader, name, cwd=tmp_path)
        assert complaint(done, reader, shown) == (reason, None)
    done = ask(reader, "d/" * 3000, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == b"" and done.stderr.count(b"\n") == 1
    assert done.stderr.endswith(b": cannot open: File name too long\n")


def test_a_cause_has_a_line_of_its_own():
    """Only versions and lengths, which the line says, share their words."""
    reasons = {r for _, r, _ in CONTENTS.values()} | {r for _, r in PLACES.values()}
    assert len(reasons) == 14 + 6


def test_fifo_with_a_writer(tmp_path):
    """An image that comes through a FIFO is refused, and neither end hangs."""
    fifo = tmp_path / "image"
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", f"exec cat '{SAMPLE}' >'{fifo}'"],
                          stderr=subprocess.DEVNULL) as writer:
        reason, _ = complaint(ask("dump", "image", cwd=tmp_path, timeout=20), "dump", "image")
        os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))  # wakes the writer if nobody did
        try:
            writer.wait(10)
        finally:
            writer.kill()
    assert reason.startswith("a FIFO")


@pytest.fixture(name="as_nobody")
def fixture_as_nobody():
    """A folder that all can reach, with the program, and how to run as somebody without rights."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copy(QCOW2, os.path.join(folder, "qcow2"))
        os.chmod(os.path.join(folder, "qcow2"), 0o755)
        who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        yield folder, {"cwd": folder, "env": {**os.environ, "HOME": folder}, **who,
                       "executable": os.path.join(folder, "qcow2")}


def test_no_permission(as_nobody):
    folder, how = as_nobody
    shutil.copy(SAMPLE, os.path.join(folder, "image"))
    os.chmod(os.path.join(folder, "image"), 0o444)
    os.mkdir(os.path.join(folder, "closed"), 0o700)
    shutil.copy(SAMPLE, os.path.join(folder, "closed", "image"))
    if "user" not in how:
        os.chmod(os.path.join(folder, "closed"), 0)
    for reader in READERS:
        text_of(ask(reader, "image", **how))  # so that what fails below fails for its reason
    os.chmod(os.path.join(folder, "image"), 0o200)
    for reader in READERS:
        for name in ("image", "closed/image"):
            told = complaint(ask(reader, name, **how), reader, name)
            assert told == ("cannot open: Permission denied", None)
    os.chmod(os.path.join(folder, "closed"), 0o700)


@pytest.mark.parametrize("bits", [(20,), (63,), (5, 6, 40), tuple(range(5, 64))])
def test_unknown_incompatible_bits(bits, tmp_path):
    """Everything is shown, and a line says that a program which must know them may not go on."""
    plain, image = tmp_path / "plain", tmp_path / "image"
    recipe = "size 1M\nbitmap b0\nsnapshot s0\n"
    build(recipe, str(plain))
    data = bytearray(plain.read_bytes())
    data[72:80] = struct.pack(">Q", sum(1 << b for b in bits))
    image.write_bytes(data)
    words = "unknown incompatible feature bits: " + " ".join(map(str, bits))
    shown = {}
    for name, code in ((plain, 0), (image, 2)):
        for reader in ("dump", "dump -j", "dump all"):
            done = ask(reader, name.name, cwd=tmp_path)
            if code:
                assert complaint(done, reader, "image", code) == (words, 72)
            shown[name.name, reader] = text_of(done, code)
    for reader in ("dump", "dump all"):
        for line in shown["plain", reader].splitlines():
            assert line in shown["image", reader] or line.startswith("incompatible_features")
    before, after = (documents(shown[n, "dump -j"])[0] for n in ("plain", "image"))
    assert set(before) <= set(after)
    assert after["header"]["incompatible_features"] == sum(1 << b for b in bits)
    assert "feature-incompatible-unknown" in [p["id"] for p in after["problems"]]


@pytest.mark.parametrize("bit", [5, 20, 63])
def test_unknown_incompatible_bits_in_info(bit, tmp_path):
    """What alarms comes first; what can be known of the image follows."""
    path = tmp_path / "image"
    build(f"size 3M\nincompatible {1 << bit}\n", str(path))
    lines = text_of(ask("info", "image", cwd=tmp_path), 2).splitlines()
    assert "feature-incompatible-unknown at 0x48" in lines[0]
    assert any(f"unknown bit {bit} of incompatible_features" in line for line in lines)
    document = documents(text_of(ask("info -j", "image", cwd=tmp_path), 2))[0]
    assert document["virtual-size"] == 3 << 20


# A name of a file: how text and JSON must show it.
NAMES = {
    b"new\nline": ("new\\nline", "new\nline"),
    b"tab\tcr\r": ("tab\\tcr\\r", "tab\tcr\r"),
    b"esc\x1b[31mred": ("esc\\u{1b}[31mred", "esc\x1b[31mred"),
    b"bell\x07del\x7f": ("bell\\u{7}del\\u{7f}", "bell\x07del\x7f"),
    b"c1\xc2\x9b31m": ("c1\\u{9b}31m", "c1\x9b31m"),
    b"bidi\xe2\x80\xaefdp": ("bidi\\u{202e}fdp", "bidi\u202efdp"),
    b"zero\xe2\x80\x8bwidth": ("zero\\u{200b}width", "zero\u200bwidth"),
    b"back\\slash": ("back\\\\slash", "back\\slash"),
    b"latin\xe9": ("latin\\xe9", "latin\ufffd"),
    b"cut\xe2\x82": ("cut\\xe2\\x82", None),
    b"surrogate\xed\xa0\x80": ("surrogate\\xed\\xa0\\x80", None),
    "dotted \u00e9 \u6f22 \U0001f5b4".encode(): ("dotted é 漢 \U0001f5b4",
                                               "dotted é 漢 \U0001f5b4"),
    b"-j": ("-j", "-j"),
    b"--output=json": ("--output=json", "--output=json"),
    b"%s%n%p": ("%s%n%p", "%s%n%p"),
    b"'\"$(id)`id`;": ("'\"$(id)`id`;", "'\"$(id)`id`;"),
    b"n" * 255: ("n" * 255, "n" * 255),
    b"\x01" * 255: ("\\u{1}" * 255, "\x01" * 255),
    b"\xff" * 255: ("\\xff" * 255, "\ufffd" * 255),
}


def is_utf8(name):
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(NAMES), ids=repr)
def test_hostile_names(name, tmp_path):
    """A file's name is somebody else's text wherever it is shown."""
    shown, parsed = NAMES[name]
    for reader in READERS:
        done = ask(reader, name, cwd=tmp_path)
        harmless(done.stderr)
        told = complaint(done, reader, shown)
        assert told == ("cannot open: No such file or directory", None)
    shutil.copy(SAMPLE, os.path.join(os.fsencode(tmp_path), name))
    for reader in READERS:
        done = ask(reader, name, cwd=tmp_path)
        text = text_of(done)
        if "-j" not in reader:
            harmless(done.stdout)
            if reader == "info":
                assert f"image              {shown}\n" in text
            continue
        document = documents(text)[0]
        if "filename" in document and parsed:
            assert document["filename"] == parsed
        if "filename" in document:
            assert document.get("filename-hex") == (None if is_utf8(name) else name.hex())
        assert ("filename" in document) == (reader != "compat -j")


def test_hostile_names_in_chains(tmp_path):
    """The names that images hold, too, when a chain leads to what cannot be read."""
    build('size 1M\nbacking "evil\\e[2Jname\\n" qcow2\n', str(tmp_path / "image"))
    done = ask("info --chain", "image", cwd=tmp_path)
    assert done.returncode == 1
    assert b"evil\\u{1b}[2Jname\\n: named as the backing file of image: cannot open: " \
        b"No such file or directory\n" in done.stderr
    assert done.stderr.count(b"\n") == 1
    harmless(done.stderr + done.stdout)


def test_info_of_several(tmp_path):
    """One that fails does not stop the others; the worst decides about the exit code."""
    good, bad, none = "good", "bad", "none"
    build("size 1M\n", str(tmp_path / good))
    build_named("bad-corrupt", str(tmp_path / bad))
    for images, code, lines in (
            ([good, good], 0, 0), ([good, bad], 2, 0), ([bad, good], 2, 0),
            ([none, good], 1, 1), ([good, none], 1, 1), ([bad, none, good], 1, 1),
            ([none, bad], 1, 1), ([none, good, none, bad], 1, 2), ([none, none], 1, 2)):
        readable = [i for i in images if i != none]
        done = run("info", *images, cwd=tmp_path)
        assert done.returncode == code, (images, done)
        assert done.stderr.decode() == lines * ("qcow2 info: none: cannot open: "
                                                "No such file or directory\n")
        text = done.stdout.decode()
        assert [line.split()[1] for line in text.splitlines()
                if line.startswith("image ")] == readable
        done = run("info", "-j", *images, cwd=tmp_path)
        assert done.returncode == code
        assert done.stderr.count(b"\n") == lines
        shown = documents(done.stdout)
        if readable:
            assert [d["filename"] for d in shown[0]] == readable
        else:
            assert done.stdout == b""


# All that prints, once per way of printing.
PRINTERS = [["--help"], ["--version"], ["--completion"], ["help"], ["help", "dump"],
            ["dump", "--help"], ["dump", SAMPLE], ["dump", "-j", SAMPLE], ["dump", SAMPLE, "all"],
            ["info", SAMPLE], ["info", "-j", SAMPLE], ["explain"], ["explain", "-j"],
            ["explain", "--man"], ["explain", "header"], ["compat", SAMPLE, "dump-header"],
            ["compat", "-j", SAMPLE, "dump-header"], ["compat", SAMPLE, "unknown"], ["compat"]]


@pytest.mark.parametrize("arguments", PRINTERS, ids=lambda a: " ".join(map(os.path.basename, a)))
def test_nowhere_to_print(arguments):
    """A full disk, a closed stdout: exit code 1 and a line that says so."""
    words = arguments[0] if arguments[0] in ("dump", "info", "explain", "compat") else None
    if arguments == ["help", "dump"]:
        words = "dump"
    head = f"qcow2 {words}: standard output: " if words else "qcow2: standard output: "
    with open("/dev/full", "wb") as full:
        done = run(*arguments, stdout=full)
    assert (done.returncode, done.stderr.decode()) == (1, head + "No space left on device\n")
    done = run(*arguments, stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr.decode()) == (1, head + "Bad file descriptor\n")
    read, write = os.pipe()
    os.close(read)
    done = run(*arguments, stdout=write)
    assert (done.returncode, done.stderr) == (-13, b"")  # as of any program in a pipe
    done = run(*arguments, stdout=write, restore_signals=False)
    assert (done.returncode, done.stderr.decode()) == (1, head + "Broken pipe\n")
    os.close(write)


def test_reader_that_goes_early(tmp_path):
    """`| head -1` of what streams ends at once and quietly."""
    build_named("bad-hostile-bitmaps-65535", str(tmp_path / "image"))
    start = time.monotonic()
    done = subprocess.run(["bash", "-c", '"$1" dump image all | head -1; exit ${PIPESTATUS[0]}',
                           "bash", QCOW2], cwd=tmp_path, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.stdout == b"Header:\n"
    assert done.stderr == b"" and done.returncode == 128 + 13
    assert time.monotonic() - start < 20


def test_closed_descriptors(tmp_path):
    """The image takes the number of what is closed, and must not be written to."""
    image = tmp_path / "image"
    shutil.copy(SAMPLE, image)
    before = image.read_bytes()
    for closed in ((0,), (2,), (1, 2), (0, 1, 2), (0, 2)):
        def close(closed=closed):
            for number in closed:
                os.close(number)
        for reader in READERS:
            done = ask(reader, "image", cwd=tmp_path, preexec_fn=close)
            assert done.returncode == (1 if 1 in closed else 0)
            done = ask(reader, "missing", cwd=tmp_path, preexec_fn=close)
            assert done.returncode == 1 and done.stdout == b""
    assert image.read_bytes() == before


def test_image_is_only_read(tmp_path):
    """An image that nobody may write to is as good as any, and stays as it is."""
    image = tmp_path / "image"
    shutil.copy(SAMPLE, image)
    os.chmod(image, 0o444)
    before = os.stat(image)
    for reader in READERS:
        text_of(ask(reader, "image", cwd=tmp_path))
    after = os.stat(image)
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert os.listdir(tmp_path) == ["image"]
