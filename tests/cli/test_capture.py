# SPDX-License-Identifier: MIT
# `qcow2 capture` makes a copy of the metadata that checks like the image, whatever is damaged, and in
# which nothing of the guest is left.
"""qcow2 capture, from outside."""
import concurrent.futures
import json
import os
import re
import shutil
import subprocess

import pytest

from tests.forge import build, recipes
from tests.support import schemas
from tests.support.measure import peak
from tests.support.outside import run, text_of
from tests.support.programs import QCOW2, RELEASE, image, recipe_image

# A damaged size makes a table of names, which are others then.
NAMES_ARE_TABLES = {"bad-bitmap-table-size-max", "bad-snapshot-l1-size-max"}
# Hostile ones that are no work to make and to check. Of the others, some are checked as far as the file
# stores bytes, which a capture has less of (docs/capture.md).
HOSTILE = ("bad-hostile-loop-tables", "bad-hostile-random-header", "good-hostile-shared-l2",
           "good-hostile-backing-itself", "bad-hostile-extensions-duplicate", "bad-hostile-luks-names")
# Keys of the JSON of a check that have names, or texts with bytes of names.
NAMES = {"snapshot", "bitmap", "name", "found-text", "found", "found-hex", "entry", "entry-hex", "next"}
SECRET = b"guest secret"


def captured(path, folder, *options, code=0, program=QCOW2):
    """The capture of an image, and what was said of it."""
    name = os.path.join(str(folder), "capture")
    done = run("capture", "-f", "-j", *options, f"--to={name}", path, program=program)
    assert done.returncode == code, done
    return name, json.loads(done.stdout)


def without(value, keys):
    if isinstance(value, dict):
        return {key: without(inner, keys) for key, inner in value.items() if key not in keys}
    return [without(inner, keys) for inner in value] if isinstance(value, list) else value


def checked(path, *options):
    """The exit code and the document of a check."""
    done = run("check", "-j", *options, path, program=RELEASE)
    text = done.stdout.decode().replace(os.fspath(path), "IMAGE")
    return done.returncode, json.loads(text)


def same(line, path, name, drop=()):
    """A line of the command says the same of both."""
    found = []
    for each in (path, name):
        done = run(*line.split()[:2], each, *line.split()[2:], program=RELEASE)
        document = json.loads(done.stdout) if done.stdout else None
        found.append((done.returncode, without(document, {"filename", "full-backing-filename", "actual-size",
                                                          *drop}),
                      done.stderr.replace(os.fsencode(each), b"IMAGE")))
    assert found[0] == found[1], line


def all_checked(paths, drop=()):
    """The exit code of a check of several images, and what it says of each."""
    done = run("check", "-j", *paths, program=RELEASE)
    text = done.stdout.decode()
    for path in paths:
        text = text.replace(str(path), os.path.basename(path))
    return done.returncode, without(json.loads(text), drop)


@pytest.mark.parametrize("part", range(8))
def test_checks_like_the_image(part, tmp_path):
    """All recipes, with names and without them: the problems, their places and all counts."""
    names = [name for name in recipes() if "hostile" not in name or name in HOSTILE][part::8]
    paths = []
    for name in names:
        path = recipe_image(name)[0]
        done = run("capture", "-j", f"--to={tmp_path / os.path.basename(path)}", path, program=RELEASE)
        if done.returncode == 1:
            assert b"'qcow2 rescue'" in done.stderr and not (tmp_path / os.path.basename(path)).exists(), name
            assert run("info", path, program=RELEASE).returncode == 1, name
            continue
        assert done.returncode in (0, 2), (name, done)
        assert os.path.getsize(tmp_path / os.path.basename(path)) == os.path.getsize(path), name
        paths.append(path)
    copies = [tmp_path / os.path.basename(path) for path in paths]
    (code, wanted), found = all_checked(paths), all_checked(copies)
    assert found[0] == code and len(found[1]) == len(wanted) == len(paths)
    for there, here in zip(wanted, found[1]):
        assert here == there, there["filename"]
    for path in paths:
        if not any(name in path for name in NAMES_ARE_TABLES):
            done = run("capture", "-fq", "--redact", f"--to={tmp_path / os.path.basename(path)}", path,
                       program=RELEASE)
            assert done.returncode in (0, 2), (path, done)
    for there, here in zip(without(wanted, NAMES), all_checked(copies, NAMES)[1]):
        assert here == there, there["filename"]


@pytest.mark.parametrize("name", ["good-snapshots", "good-bitmaps", "good-backing", "good-extended-l2",
                                  "good-bitmap-autoclear-cleared", "bad-snapshot-l1-entry",
                                  "good-extensions-unknown", "bad-luks-magic"])
def test_shows_like_the_image(name, tmp_path):
    path = recipe_image(name)[0]
    copy, _ = captured(path, tmp_path)
    for line in ("info -j", "dump -j all", "bitmap list -j", "snapshot list -j"):
        words = line.split()
        if words[0] in ("bitmap", "snapshot"):
            done = [run(*words, each, program=RELEASE) for each in (path, copy)]
            assert done[0].stdout.replace(os.fsencode(path), b"x") == \
                done[1].stdout.replace(os.fsencode(copy), b"x")
        else:
            same(line, path, copy, {"mk_digest", "mk_digest_salt", "salt"})


def test_qemu_agrees(tmp_path):
    """On what QEMU made, with a snapshot, bitmaps and leaks, qemu-img says the same of both."""
    path = str(tmp_path / "disk")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 1 0 1M", "-c", "write -P 2 20M 2M", path], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["qemu-img", "snapshot", "-c", "one", path], check=True)
    subprocess.run(["qemu-img", "bitmap", "--add", path, "b0"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 3 512k 1M", path], check=True, stdout=subprocess.DEVNULL)
    for options in ((), ("--redact",)):
        copy, said = captured(path, tmp_path, *options)
        assert said["stored"] < 1 << 20 < said["left-out"]
        pages = [subprocess.run(["qemu-img", "check", "--output=json", each], capture_output=True, check=False)
                 for each in (path, copy)]
        assert pages[0].returncode == pages[1].returncode == 0
        found = [without(json.loads(page.stdout), {"filename"}) for page in pages]
        assert found[0] == found[1]
        assert run("bitmap", "extents", copy, "b0" if not options else "00").stdout == \
            run("bitmap", "extents", path, "b0").stdout


def test_no_guest_data(tmp_path):
    """Neither of the disk, nor of snapshots, leaks, free clusters or states of machines."""
    path = str(tmp_path / "disk")
    layout = build("size 4M\nwrite 0 1M\nsnapshot one vmstate=64k\nwrite 64k 128k\ncompressed 2M\nleak 3\n", path)
    size = os.path.getsize(path)
    with open(path, "r+b") as stream:
        stream.truncate(size + (256 << 10))
        end = size + (256 << 10)
        tables = run("layout", "-j", path, program=RELEASE)
        for row in json.loads(tables.stdout)["runs"]:
            if row["kind"] in ("data", "shared", "snapshot-only", "leaked", "free", "hole", "compressed"):
                for at in range(row["start"], row["start"] + row["length"], 4096):
                    stream.seek(at)
                    stream.write(SECRET)
        assert end and layout
    copy, said = captured(path, tmp_path)
    with open(copy, "rb") as stream:
        data = stream.read()
    assert SECRET not in data and said["leaks-marked"] > 0
    assert checked(path)[1]["leaks"] == checked(copy)[1]["leaks"] > 0
    for key in ("lost-mappings",):
        assert checked(path)[1].get(key) == checked(copy)[1].get(key)


def test_lost_tables(tmp_path):
    """A leaked L2 table is metadata; without leaks it is not there."""
    path = str(tmp_path / "disk")
    layout = build("size 8M\nwrite 0 2M\nset l1/0 0\n", path)
    assert layout
    code, wanted = checked(path)
    copy, said = captured(path, tmp_path)
    assert said["orphan-tables"] == 1 and checked(copy) == (code, wanted)
    copy, said = captured(path, tmp_path, "--no-leaks")
    assert said["problems"] is None and said["with-leaks"] is False and checked(copy) != (code, wanted)


def test_blocks_that_nobody_reads(tmp_path):
    """An unaligned refcount block is none, whatever the guest has there: the check does not look at it."""
    path = str(tmp_path / "disk")
    layout = build("size 1M\nwrite 0 256k\n", path)
    with open(path, "r+b") as stream:
        stream.seek(layout.where("l2/0/1"))
        data = int.from_bytes(stream.read(8), "big") & 0xfffffffffffe00
        stream.seek(data)
        stream.write(SECRET * 1000)
        stream.seek(layout.where("refcount_table/0"))
        stream.write((data + 4096).to_bytes(8, "big"))
    copy, _ = captured(path, tmp_path)
    assert checked(copy) == checked(path) and "causes" not in checked(path)[1]
    with open(copy, "rb") as stream:
        assert SECRET not in stream.read()


def test_compressed(tmp_path):
    path = recipe_image("good-compressed")[0]
    wanted = checked(path, "--deep")
    assert wanted[0] == 0
    copy, said = captured(path, tmp_path)
    assert said["compressed"] == 0 and checked(copy, "--deep")[0] == 2
    copy, said = captured(path, tmp_path, "--with-compressed")
    assert said["compressed"] > 0 and checked(copy, "--deep") == wanted


def test_keys_are_never_there(tmp_path):
    """Nor digests and salts, even if a damaged table claims the area of the keys."""
    path = str(tmp_path / "disk")
    shutil.copyfile(recipe_image("good-luks1")[0], path)
    with open(path, "r+b") as stream:
        header = stream.read(1 << 16)
        at = header.index(b"\x05\x37\xbe\x77") + 8
        luks, length = (int.from_bytes(header[at + i:at + i + 8], "big") for i in (0, 8))
        stream.seek(int.from_bytes(header[40:48], "big"))
        stream.write((luks + (64 << 10)).to_bytes(8, "big"))  # an L2 table in the keys
        stream.seek(luks)
        area = bytearray(stream.read(length))
        for at in range(4096, length, 512):
            area[at:at + len(SECRET)] = SECRET
        stream.seek(luks)
        stream.write(area)
    copy, said = captured(path, tmp_path, "--redact", "--with-compressed")
    with open(copy, "rb") as stream:
        stream.seek(luks)
        kept = stream.read(length)
    assert kept[:8] == area[:8] == b"LUKS\xba\xbe\x00\x01" and said["keys-left-out"] > 64 << 10
    assert kept[1024:].strip(b"\0") == b""
    assert area[112:132].strip(b"\0") and not kept[112:164].strip(b"\0")
    assert not kept[208 + 8:208 + 40].strip(b"\0")
    assert b"keys, digests and salts are never captured" in run("capture", "-fo", copy, path).stdout


# ---- redacting ----


def shown_names(path, what):
    document = json.loads(run(what, "list", "-j", path, program=RELEASE).stdout)
    return document[f"{what}s"] if isinstance(document, dict) else document


def test_redacted_names(tmp_path):
    path = str(tmp_path / "disk")
    names = ["night run", "b", "c", "äöü-name", "night ruN", "日本語日本語", "x" * 1023]
    text = "size 1M\nbacking /var/lib/very-private.qcow2 qcow2\nextension 0x12345678 \"private too\"\n"
    text += "".join(f'bitmap "{name}" bits=1\n' for name in names)
    text += 'snapshot 7 name="before private"\nsnapshot 8 name="before private"\n'
    build(text, path)
    before = open(path, "rb").read()
    copy, said = captured(path, tmp_path, "--redact")
    after = open(copy, "rb").read()
    for private in (b"private", b"night", "äöü".encode(), "日本".encode(), b"xxxx" * 200):
        assert private in before and private not in after.replace(b"x" * 11, b""), private
    assert said["names-replaced"] == 1 + len(names) + 4 and said["redacted"]
    found = [row["name"] for row in shown_names(copy, "bitmap")]
    assert [len(x.encode()) for x in found] == [len(x.encode()) for x in names]
    assert len(set(found)) == len(names)
    rows = shown_names(copy, "snapshot")
    assert rows[0]["name"] == rows[1]["name"] != "before private" and rows[0]["id"] != rows[1]["id"]
    assert checked(copy)[0] == checked(path)[0]


def test_redacted_remains(tmp_path):
    """What is left of an older name behind the header goes, too."""
    path = str(tmp_path / "disk")
    build("size 1M\n", path)
    with open(path, "r+b") as stream:
        stream.seek(2000)
        stream.write(b"/old/private.qcow2")
    plain, _ = captured(path, tmp_path)
    assert b"private" in open(plain, "rb").read()
    copy, _ = captured(path, tmp_path, "--redact")
    assert b"private" not in open(copy, "rb").read()


def test_redacted_right_behind_the_header(tmp_path):
    """Where a header of version 2 ends, the name of the backing file begins, within what version 3 has there."""
    path = str(tmp_path / "disk")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-u", "-b", "/home/private/one",
                    "-F", "raw", path, "64M"], check=True)
    with open(path, "rb") as stream:
        at = int.from_bytes(stream.read(16)[8:], "big")
    assert at < 112
    copy, said = captured(path, tmp_path, "--redact")
    assert said["names-replaced"] == 1
    assert open(copy, "rb").read()[at:at + 17] == b"0" * 17
    assert checked(copy) == checked(path)


def test_redacted_unknown_fields(tmp_path):
    """Fields behind those that are known, however long the header says it is; and a name within it."""
    path = str(tmp_path / "disk")
    build("size 1M\nextension 0x12345678 \"private\"\n", path)
    with open(path, "r+b") as stream:
        extensions = bytearray(stream.read(4096))[112:1024]
        stream.seek(100)
        stream.write((2048).to_bytes(4, "big"))
        stream.seek(8)
        stream.write((400).to_bytes(8, "big") + (7).to_bytes(4, "big"))
        stream.seek(112)
        stream.write(b"private".rjust(100, b"\1").ljust(288, b"\1") + b"private".ljust(600, b"\0"))
        stream.seek(2048)
        stream.write(extensions)
    copy, _ = captured(path, tmp_path, "--redact")
    assert b"private" not in open(copy, "rb").read()
    assert checked(copy)[0] == checked(path)[0] == 2


def test_redacted_slack(tmp_path):
    """What fills up entries and extensions to 8 bytes, and what their lengths count beyond what is known."""
    path = str(tmp_path / "disk")
    layout = build("size 1M\nbacking b qcow2\nbitmap abc bits=0\nsnapshot 1 name=one\n", path)
    bitmap, snapshot = layout.where("bitmaps/0"), layout.where("snapshots/0")
    with open(path, "r+b") as stream:
        data = bytearray(stream.read())
        extension = data.index(b"\xe2\x79\x2a\xca\0\0\0\5qcow2") + 13
        ends = (extension, bitmap + 24 + 3, snapshot + int.from_bytes(data[snapshot + 36:snapshot + 40], "big") + 44)
        for at in ends:
            assert data[at:at + 3] == b"\0\0\0"
            data[at:at + 3] = b"SLY"
        stream.seek(0)
        stream.write(data)
    copy, _ = captured(path, tmp_path, "--redact")
    assert b"SLY" in data and b"SLY" not in open(copy, "rb").read()


def test_redacted_behind_a_cut_extension(tmp_path):
    """A damaged length makes all that follows the format's name, also the name of the data file."""
    path = str(tmp_path / "disk")
    build("size 1M\nextension 0xe2792aca \"qcow2\"\nextension 0x44415441 \"private.raw\"\n", path)
    with open(path, "r+b") as stream:
        at = stream.read(4096).index(b"\xe2\x79\x2a\xca") + 4
        stream.seek(at)
        stream.write(b"\xff\xff\xff\0")
    copy, _ = captured(path, tmp_path, "--redact")
    assert b"private" not in open(copy, "rb").read() and checked(copy)[0] == checked(path)[0] == 2


def test_luks_slack_and_checksums(tmp_path):
    """Of version 2 neither salt nor checksum; of version 1 nothing behind the end of a text."""
    path = str(tmp_path / "disk")
    shutil.copyfile(recipe_image("good-luks1")[0], path)
    with open(path, "r+b") as stream:
        luks = stream.read().index(b"LUKS\xba\xbe")
        stream.seek(luks + 30)
        stream.write(b"\0" + b"sly!" * 2)
        stream.seek(luks + 72 + 22)
        stream.write(b"\0" + b"sly!" * 2)
    copy, _ = captured(path, tmp_path)
    assert b"sly!" not in open(copy, "rb").read()
    with open(path, "r+b") as stream:
        stream.seek(luks)
        stream.write(b"LUKS\xba\xbe\0\2" + bytes(96) + b"\x5a" * 64 + bytes(100) + b"\x5a" * 244)
    copy, _ = captured(path, tmp_path)
    kept = open(copy, "rb").read()
    assert b"\x5a\x5a" not in kept and kept[luks:luks + 8] == b"LUKS\xba\xbe\0\2"


def test_malformed_names_stay_malformed(tmp_path):
    path = image('size 1M\nbitmap "a\\xffb" bits=1\nbitmap "a\\xfeb" bits=1\nbitmap "a\\nb" bits=1\n')[0]
    code, wanted = checked(path)
    copy, _ = captured(path, tmp_path, "--redact")
    found = checked(copy)
    assert found[0] == code and without(found[1], NAMES) == without(wanted, NAMES)
    assert [p["id"] for p in found[1]["problems"]].count("bitmap-name-text") == 3


def test_many_names(tmp_path):
    """Each gets another one, also where names are short."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = "size 1M\n" + "".join(f"bitmap {a}{b}\n" for a in letters for b in letters[:20])
    path = image(text)[0]
    copy, _ = captured(path, tmp_path, "--redact", program=RELEASE)
    found = [row["name"] for row in shown_names(copy, "bitmap")]
    assert len(set(found)) == len(found) == 720 and {len(x) for x in found} == {2}


# ---- files ----


def test_manifest(tmp_path):
    copy, said = captured(recipe_image("good-snapshots")[0], tmp_path)
    with open(copy + ".json", encoding="utf-8") as stream:
        manifest = json.load(stream)
    schemas.validator("capture")(manifest, ())
    schemas.validator("capture")(said, ())
    assert manifest == without(said, {"filename", "capture", "manifest", "stored"})
    # docs/capture.md says how the digest is made.
    import hashlib  # pylint: disable=import-outside-toplevel
    with open(copy, "rb") as stream:
        data = stream.read()
    digest = hashlib.sha256(len(data).to_bytes(8, "big"))
    for at in range(0, len(data), 4096):
        if data[at:at + 4096].strip(b"\0"):
            digest.update(at.to_bytes(8, "big") + data[at:at + 4096])
    assert digest.hexdigest() == said["sha256"]


def test_header_alone(tmp_path):
    for text, why in (("size 1M\nwrite 0 64k\nincompatible 0x10000000000\n", b"not known here"),
                      ("size 1M\nwrite 0 64k\nset header/cluster_bits 40\n", b"impossible")):
        path = image(text)[0]
        done = run("capture", "-f", "-j", "-o", tmp_path / "small", path)
        assert done.returncode == 2 and b"only its header" in done.stderr and why in done.stderr, done
        said = json.loads(done.stdout)
        assert said["whole"] is False and said["metadata"] < 4096
        assert checked(tmp_path / "small") == checked(path)


def line_of(done):
    assert done.returncode == 1 and done.stdout == b"" and done.stderr.count(b"\n") == 1, done
    return done.stderr.decode()


def test_targets(tmp_path):
    path, other = tmp_path / "disk", tmp_path / "other"
    build("size 1M\nbacking other qcow2\nwrite 0 64k\n", str(path))
    build("size 1M\n", str(other))
    before = path.read_bytes(), other.read_bytes()
    assert "it is the image" in line_of(run("capture", "-fo", path, path))
    assert "the image needs this file" in line_of(run("capture", "-fo", other, path))
    build(f"size 1M\nbacking file:{other} qcow2\n", str(tmp_path / "full"))
    assert "the image needs this file" in line_of(run("capture", "-fo", other, tmp_path / "full"))
    assert "--force replaces it" in line_of(run("capture", "-o", other, path))
    assert "no file" in line_of(run("capture", "-fo", tmp_path, path))
    os.mkfifo(tmp_path / "fifo")
    assert "no file" in line_of(run("capture", "-fo", tmp_path / "fifo", path))
    assert "tar -S" in run("capture", "-o-", path).stderr.decode()
    assert "cannot make" in line_of(run("capture", "-o", tmp_path / "none" / "x", path))
    (tmp_path / "new.json").write_text("{}")
    assert "no manifest" in line_of(run("capture", "-fo", tmp_path / "new", path))
    assert (path.read_bytes(), other.read_bytes()) == before
    assert sorted(os.listdir(tmp_path)) == ["disk", "fifo", "full", "new.json", "other"]
    (tmp_path / "new.json").unlink()
    text_of(run("capture", "-o", tmp_path / "new", path))
    assert "--force" in line_of(run("capture", "-o", tmp_path / "new", path))
    text_of(run("capture", "-fo", tmp_path / "new", path))
    assert path.read_bytes() == before[0]


def test_lines(tmp_path):
    for words in (["x"], ["-o", "a", "--apply=b", "x"], ["-o", "a", "-n", "x"], ["-o", "", "x"],
                  ["--apply=a", "--redact", "x"], ["-o", "a"], ["-o", "a", "x", "y"],
                  ["-o", "a", "--no-undo", "x"]):
        done = run("capture", *words, cwd=tmp_path)
        assert done.returncode == 1 and b"--help" in done.stderr and not os.listdir(tmp_path), words


# ---- hostile images ----


@pytest.mark.parametrize("name", ["good-hostile-sparse-terabytes", "bad-hostile-sparse-l1",
                                  "bad-hostile-sparse-reftable", "bad-hostile-sparse-snapshots"])
def test_sparse(name, tmp_path):
    """A small file that claims to be terabytes, and tables in holes."""
    path = recipe_image(name)[0]
    code, memory, _ = peak("capture", "-f", "-o", tmp_path / "small", path)
    assert code == 0 and memory < 256 << 20
    assert os.stat(tmp_path / "small").st_blocks * 512 < os.stat(path).st_blocks * 512 + (1 << 20)
    assert os.path.getsize(tmp_path / "small") == os.path.getsize(path)


def test_overlapping_claims(tmp_path):
    """Thousands of tables that overlap: the ranges of the capture are as few as the bytes."""
    names = ("bad-hostile-shared-bitmap-table", "good-hostile-shared-l2", "bad-hostile-bitmap-counts")

    def measure(name):
        folder = tmp_path / name
        folder.mkdir()
        path = recipe_image(name)[0]
        return name, path, peak("capture", "-f", "-o", folder / "small", path)

    with concurrent.futures.ThreadPoolExecutor(2) as crew:
        for name, path, (code, memory, _) in crew.map(measure, names):
            assert code in (0, 1, 2) and memory < 512 << 20, name
            if code != 1:
                stored = os.stat(tmp_path / name / "small").st_blocks * 512
                assert stored <= os.stat(path).st_blocks * 512 + (1 << 20), name
            shutil.rmtree(tmp_path / name)


def test_no_space(tmp_path):
    """A file that cannot be written is not left behind."""
    path = recipe_image("good-snapshots")[0]
    done = subprocess.run(["bash", "-c", f"ulimit -f 16; exec '{RELEASE}' capture -o small '{path}'"],
                          cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1 and b"File too large" in done.stderr and not os.listdir(tmp_path), done


def test_is_read_only(tmp_path):
    path = tmp_path / "disk"
    build("size 1M\nwrite 0 64k\n", str(path))
    path.chmod(0o444)
    before = path.read_bytes(), path.stat().st_mtime_ns
    page = text_of(run("capture", "-o", tmp_path / "small", path))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert re.search(r"^sha256: +[0-9a-f]{64}$", page, re.M)
