# SPDX-License-Identifier: MIT
# `qcow2 info` for people: what it says of an image, what it says first, and how it follows chains.
"""The screen of info, several images, and chains."""
import json
import os
import re
import subprocess

import pytest

from tests.forge import build, recipes
from tests.support.programs import QCOW2, RELEASE, SAMPLE, image, recipe_image, run

SECONDS = 30


def info(*arguments, cwd=None):
    return subprocess.run([QCOW2, "info", *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=SECONDS, check=False)


def screen(text):
    """What info says of the image of a recipe: exit code and lines."""
    done = info(image(text)[0])
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


def value(lines, name):
    return next(line[19:] for line in lines if line[:19] == f"{name:18} ")


def test_sizes_in_units_and_bytes():
    code, lines = screen("# plain\nsize 10M\nwrite 0 1M\n")
    assert code == 0
    assert value(lines, "format") == "qcow2, version 3 (compat 1.1)"
    assert value(lines, "virtual size") == "10 MiB (10485760 bytes)"
    assert value(lines, "cluster size") == "64 KiB"
    assert value(lines, "features") == "none"
    disk = os.stat(image("# plain\nsize 10M\nwrite 0 1M\n")[0]).st_blocks * 512
    assert f"({disk} bytes, {disk / 104857.6:.3g} % of the virtual size)" in value(lines, "on disk")


def test_version_2():
    assert value(screen("# old\nversion 2\n")[1], "format") == "qcow2, version 2 (compat 0.10)"


@pytest.mark.parametrize("text, code, words", [
    ("dirty\n", 0, "warning feature-dirty"),
    ("corrupt\n", 2, "corruption feature-corrupt"),
    ("bitmap b flags=in_use\n", 0, "warning bitmap-in-use"),
    ("incompatible 0x100000\n", 2, "corruption feature-incompatible-unknown"),
])
def test_alarms_come_first(text, code, words):
    done = info(image("# alarming\n" + text)[0])
    lines = done.stdout.decode().splitlines()
    assert done.returncode == code
    assert lines[0].startswith("! " + words)
    assert any(line.startswith("image ") for line in lines[1:])


@pytest.mark.parametrize("text, verdict, commands", [
    ("incompatible 0x100000\n", "refuses to open this image", ["Use a program that knows"]),
    ("bitmap b\nset bitmaps/0/type 7\n", "refuses to open this image",
     ["qcow2 repair FILE"]),
    ("corrupt\n", "opens this image for reading only",
     ["qcow2 repair FILE"]),
    ("set header/autoclear_features 2\n", "opens this image for reading only",
     ["qcow2 repair FILE"]),
    ("dirty\n", None, ["qcow2 repair FILE"]),
    ("bitmap b flags=in_use\n", None, ["qcow2 repair FILE"]),
    ("size 1M\nset header/l1_size 0\n", "refuses to open this image", ["qcow2 repair FILE"]),
    ("size 1M\n", None, []),
])
def test_what_to_do(text, verdict, commands):
    """What QEMU does, and a line for each remedy, as a shell takes it."""
    path = image("# broken\n" + text)[0]
    done = info(path)
    lines = done.stdout.decode().splitlines()
    assert [x[7:] for x in lines if x.startswith("! QEMU ")] == ([verdict] if verdict else [])
    found = [x[8:].replace(path, "FILE") for x in lines if x.startswith("  next: ")]
    assert len(found) == len(commands) and all(a.startswith(b) for a, b in zip(found, commands))
    assert done.returncode == (2 if verdict else 0)
    assert run("info", "-j", path).returncode == done.returncode


def test_one_command_is_named_once():
    """Problems of several remedies that one command mends; what may be lost data it does not free."""
    path = image("size 1M\nwrite 0 64k\nsnapshot one\nset snapshots/0/extra_data_size 0\n")[0]
    page = info(path).stdout.decode()
    assert "check -r" not in page and page.count(f"  next: qcow2 repair {path}\n") == 1


def test_a_name_that_needs_quotes(tmp_path):
    build("size 1M\ncorrupt\n", str(tmp_path / "a b;c"))
    assert "next: qcow2 repair 'a b;c'\n" in info("a b;c", cwd=tmp_path).stdout.decode()


def test_what_is_refused_comes_first():
    """A fault that keeps QEMU from the image stands before others, and each kind before repeats."""
    _, lines = screen("# many\nbitmap b\nset bitmaps/0/type 7\nsize 1M\ncorrupt\n" + "".join(
        f"snapshot {i} name=same\n" for i in (1, 1, 1)))
    assert [line.split()[2] for line in lines if line.startswith(("! corr", "! warn"))] == \
        ["bitmap-type", "feature-corrupt", "snapshot-id-duplicate", "snapshot-id-duplicate"]


@pytest.mark.parametrize("text, words", [
    ("version 2\n", "QEMU >= 0.10 (version 2)"), ("version 3\n", "QEMU >= 1.1 (version 3)"),
    ("refcount_order 0\n", "QEMU >= 2.3 (refcount width)"), ("dirty\n", "QEMU >= 1.2 (dirty bit)"),
    ("compression zstd\n", "QEMU >= 5.1 (zstd compression)"),
    ("extended_l2\n", "QEMU >= 5.2 (extended L2 entries)"),
    ("data_file x\n", "QEMU >= 4.0 (external data file)"),
    ("bitmap b\n", "QEMU >= 1.1 (version 3); >= 2.10 keeps the bitmaps"),
    ("incompatible 0x100000\n",
     "a program that is not known here (unknown incompatible features)"),
])
def test_which_qemu_it_needs(text, words):
    assert value(screen("# needs\n" + text)[1], "needs") == words


@pytest.mark.parametrize("order, words", [(0, "1 bit wide"), (4, "16 bits wide"),
                                         (6, "64 bits wide")])
def test_refcount_width(order, words):
    assert value(screen(f"# width\nrefcount_order {order}\n")[1], "refcounts") == words


def test_a_backing_file_without_a_format():
    _, lines = screen("# no format\nbacking base.raw\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("backing format"))
    assert value(lines, "backing format").startswith("! not stated: programs probe the file.")
    assert re.fullmatch(r"  next: qcow2 edit \S+ backing set \S+ FORMAT", lines[at + 3])
    assert all(len(line) <= 80 for line in lines[at:at + 3])
    for stated in ("base.raw raw", r'"json:{\"driver\":\"raw\",\"file.filename\":\"x\"}"',
                   r'"json:{\"driver\":\"nbd\"}"'):
        _, lines = screen(f"# format\nbacking {stated}\n")
        assert not [line for line in lines if "probe" in line]
    _, lines = screen('# none\nbacking "json:{\\"file.filename\\":\\"x\\"}"\n')
    assert [line for line in lines if "probe" in line]


def test_long_lists_are_cut():
    """64 rows, and how many more there are; --all shows them. JSON is always whole."""
    path = image("# long\nsize 64K\n" + "".join(
        f"snapshot {i} name=s{i}\nbitmap b{i}\n" for i in range(1, 71)))[0]
    lines = info(path).stdout.decode().splitlines()
    assert lines.count("\u2026 and 6 more, which --all shows") == 2
    assert "s64" in lines[lines.index("snapshots (70):") + 65]
    lines = info("--all", path).stdout.decode().splitlines()
    assert not [line for line in lines if "more" in line]
    assert lines[-1].endswith(" b70") and lines[-1].startswith("64 KiB")
    found = json.loads(info("-j", path).stdout)
    assert len(found["snapshots"]) == len(found["format-specific"]["data"]["bitmaps"]) == 70


def test_exactly_64():
    path = image("# 64\nsize 64K\n" + "".join(f"bitmap b{i}\n" for i in range(64)))[0]
    assert "more" not in info(path).stdout.decode()


def states_of(name):
    """The words of bitmap list, and those of info, on the bitmaps of a forged image."""
    path = recipe_image(name)[0]
    listed, shown = (subprocess.run([RELEASE, *words, path], stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, timeout=SECONDS, check=False).stdout
                     for words in (["bitmap", "list", "-j"], ["info", "--all"]))
    lines = shown.decode().splitlines()
    at = next((i for i, x in enumerate(lines) if x.startswith("granularity ")), len(lines))
    return ([x["state"] for x in json.loads(listed)["bitmaps"]] if listed else [],
            [x[13:27].strip() for x in lines[at + 1:] if not x.startswith("… and ")])


def test_states_of_bitmaps():
    """info and bitmap list say the same word of each bitmap, in every forged image."""
    states = {name: states_of(name) for name in recipes()}
    assert {name for name, (one, other) in states.items() if one != other} == set()
    assert {word for one, _ in states.values() for word in one} == {
        "enabled", "disabled", "in use", "inconsistent", "unusable"}


def test_features_in_words():
    _, lines = screen("# features\nextended_l2\nlazy_refcounts\nautoclear 0x80\n")
    assert value(lines, "features") == \
        "extended L2 entries, lazy refcounts, unknown bit 7 of autoclear_features"


def test_other_files_are_named_and_not_opened():
    _, lines = screen("# files\nbacking nowhere.raw raw\n")
    assert value(lines, "backing file") == "nowhere.raw (not opened)"
    assert value(lines, "backing format") == "raw"
    _, lines = screen("# files\ndata_file nowhere.data absent\n")
    assert value(lines, "data file") == "nowhere.data (not opened)"


def test_encryption():
    done = info(recipe_image("good-luks1")[0])
    assert value(done.stdout.decode().splitlines(), "encryption") == "LUKS"
    done = info(recipe_image("good-aes")[0])
    assert value(done.stdout.decode().splitlines(), "encryption") == "AES"


def test_snapshots_and_bitmaps():
    _, lines = screen("# lists\nsnapshot 7 name=before\nbitmap one flags=auto\n"
                      "bitmap two granularity=1M\nbitmap three flags=in_use\n")
    at = lines.index("snapshots (1):")
    assert lines[at + 2].split()[0] == "7" and lines[at + 2].split()[-1] == "before"
    at = lines.index("bitmaps (3):")
    assert lines[at + 1].split() == ["granularity", "state", "name"]
    rows = [re.split("  +", line) for line in lines[at + 2:at + 5]]
    assert rows == [["64 KiB", "enabled", "one"], ["1 MiB", "disabled", "two"],
                    ["64 KiB", "in use", "three"]]


def test_a_name_pushes_nothing_out_of_line():
    """Names are the last column: narrow, wide, escaped and cut ones start at the same place."""
    names = ["b", "\u0436\u00f3\u0142w", "\u30d0\u30c3\u30af", "a\tb", "n" * 200]
    shown = [*names[:3], "a\\tb", "n" * 120 + "\u2026"]
    _, lines = screen("# names\nversion 3\n" + "".join(
        f'snapshot {i} name="{name}"\n' for i, name in enumerate(names, 1)).replace("\t", "\\x09") +
        "".join(f'bitmap "{name}"\n' for name in names).replace("\t", "\\x09"))
    for title in ("snapshots (5):", "bitmaps (5):"):
        at = lines.index(title)
        column = lines[at + 1].index("name")
        assert [line[column:] for line in lines[at + 2:at + 7]] == shown
        assert {line[column - 1] for line in lines[at + 2:at + 7]} == {" "}


def test_compression_is_named_unless_it_is_the_usual():
    _, lines = screen("# zstd\ncompression zstd\n")
    assert value(lines, "compression") == "zstd"
    _, lines = screen("# deflate\nsize 2M\n")
    assert not [line for line in lines if line.startswith("compression")]


def test_bitmaps_that_nobody_vouches_for():
    _, lines = screen("# the bit is clear\nbitmap one flags=auto\nset header/autoclear_features 0\n")
    assert lines[lines.index("bitmaps (1):") + 2].split() == ["64", "KiB", "inconsistent", "one"]


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    nothing = str(tmp_path / "nothing")
    done = info(SAMPLE, nothing, SAMPLE)
    assert done.returncode == 1
    assert done.stdout.decode().count("image              ") == 2
    assert done.stderr.decode().count("\n") == 1 and nothing in done.stderr.decode()
    done = info("--output=json", SAMPLE, nothing, SAMPLE)
    assert done.returncode == 1
    assert [found["filename"] for found in json.loads(done.stdout)] == [SAMPLE, SAMPLE]


def test_worst_code_counts():
    corrupt = image("# corrupt\ncorrupt\n")[0]
    assert info(SAMPLE, corrupt, SAMPLE).returncode == 2
    assert info(corrupt, "/nowhere/at/all", SAMPLE).returncode == 1


def qcow2(folder, name, backing=None, kind="qcow2"):
    """An image in a folder, whatever its backing file is."""
    more = ["-u", "-b", str(backing), "-F", kind] if backing else []
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more, name, "1M"], cwd=folder,
                   check=True)
    return str(folder / name)


def chain(path, cwd=None):
    """The files of a chain, the exit code, and what was said."""
    done = info("--chain", "-j", path, cwd=cwd)
    files = [found["filename"] for found in json.loads(done.stdout)]
    return files, done.returncode, done.stderr.decode()


def test_chain_is_relative_to_each_image(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.raw").write_bytes(bytes(512))
    qcow2(tmp_path / "sub", "mid.qcow2", "base.raw", "raw")
    qcow2(tmp_path, "top.qcow2", "sub/mid.qcow2")
    assert chain("top.qcow2", tmp_path) == (["top.qcow2", "sub/mid.qcow2", "sub/base.raw"], 0, "")


@pytest.mark.parametrize("links", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_loops(tmp_path, links):
    for name, backing in zip(links, links[1:] + links[:1]):
        qcow2(tmp_path, name, "./" + backing)
    files, code, said = chain("a", tmp_path)
    assert ([os.path.basename(file) for file in files], code) == (links, 1)
    assert "is a loop" in said and said.count("\n") == 1


def test_loop_over_a_link(tmp_path):
    qcow2(tmp_path, "a", "b")
    (tmp_path / "b").symlink_to("a")
    files, code, said = chain("a", tmp_path)
    assert (files, code) == (["a"], 1) and "is a loop" in said


def test_depth(tmp_path):
    """256 images are followed, no more."""
    data = open(qcow2(tmp_path, "seed", "000"), "rb").read()
    assert data.count(b"000") == 1
    for i in range(258):
        (tmp_path / f"{i:03}").write_bytes(data.replace(b"000", b"%03d" % (i + 1)))
    files, code, said = chain("000", tmp_path)
    assert (len(files), code) == (256, 1) and "over 256 images" in said


def overlay(folder, name, backing, kind=None):
    """An image whose backing file's name is any bytes, with a format or none."""
    quoted = backing.replace("\\", "\\\\").replace('"', '\\"')
    build(f'size 1M\nbacking "{quoted}"{" " + kind if kind else ""}\n', str(folder / name))


def formats(path, cwd):
    """The files of a chain with the format of each."""
    done = info("--chain", "-j", path, cwd=cwd)
    assert done.returncode == 0, done
    return [(found["filename"], found["format"]) for found in json.loads(done.stdout)]


@pytest.fixture(name="bases")
def fixture_bases(tmp_path):
    """Files that can be backing files, in a folder of their own; the overlay is beside it."""
    (tmp_path / "sub").mkdir()
    qcow2(tmp_path / "sub", "q")
    for kind in ("vmdk", "qed"):
        subprocess.run(["qemu-img", "create", "-q", "-f", kind, kind, "1M"], cwd=tmp_path / "sub",
                       check=True)
    (tmp_path / "sub" / "raw").write_bytes(b"guest" + bytes(507))
    (tmp_path / "sub" / "gz").write_bytes(b"\x1f\x8b\x08" + bytes(509))
    (tmp_path / "sub" / "none").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("backing, kind, found", [
    ("sub/raw", None, "raw"), ("sub/q", None, "qcow2"), ("sub/vmdk", None, "vmdk"),
    ("sub/vmdk", "vmdk", "vmdk"), ("sub/qed", None, "qed"), ("sub/gz", None, "raw"),
    ("sub/none", None, "raw"), ("sub/q", "raw", "raw"), ("sub/q", "file", "raw"),
    ("file:sub/q", None, "qcow2"), ("file:sub/raw", "raw", "raw"),
    ('json:{"driver":"qcow2","file":{"driver":"file","filename":"sub/q"}}', None, "qcow2"),
    ('json: {"driver" : "qcow2", "file.filename" : "sub/q", "file.driver": "file"} ', None, "qcow2"),
    ('json:{"file":{"filename":"sub/q"}}', None, "qcow2"),
    ('json:{"driver":"raw","file.filename":"sub/q"}', None, "raw"),
    ('json:{"driver":"raw","file.filename":"sub/q"}', "qcow2", "qcow2"),
    ('json:{"driver":"file","filename":"sub/q"}', None, "raw"),
    ('json:{"driver":"vmdk","file":{"filename":"sub/vmdk"}}', None, "vmdk"),
    ("json:{'driver':'qcow2','file':{'driver':'file','filename':'sub/q','locking':'off'}}", None,
     "qcow2"),
    ('json:{"driver":"qcow2","read-only":true,"backing":null,"file.filename":"sub/q"}', None,
     "qcow2"),
    (r'json:{"driver":"qcow2","file":{"driver":"file","filename":"s\u0075b\/q"}}', None, "qcow2"),
])
def test_formats_of_a_chain(bases, backing, kind, found):
    """What QEMU finds: names of files are relative to the image, others to the current directory."""
    overlay(bases, "top", backing, kind)
    name = next((n for n in ("raw", "vmdk", "qed", "gz", "none") if f"sub/{n}" in backing), "q")
    assert formats("top", bases) == [("top", "qcow2"), ("sub/" + name, found)]
    theirs = subprocess.run(["qemu-img", "info", "--backing-chain", "--output=json", "top"], cwd=bases,
                            stdout=subprocess.PIPE, check=True).stdout
    # the driver of plain files is a format of its own to QEMU
    plain = kind == "file" or backing.startswith('json:{"driver":"file"')
    assert [x["format"] for x in json.loads(theirs)] == ["qcow2", "file" if plain else found]


@pytest.mark.parametrize("name, why", [
    ("{", "not JSON"), ("{}", "names no file"), ('{"driver":"qcow2"}', "names no file"),
    ('{"driver":"qcow2","file":"node"}', "more than the path"),
    ('{"driver":"nbd","host":"x"}', "more than the path"),
    ('{"driver":"nbd","file.filename":"x","server":[]}', "more than the path"),
    ('{"file":{"driver":"nbd","filename":"sub/q"}}', "not a plain file"),
    ('{"driver":"raw","offset":512,"file.filename":"sub/q"}', "more than the path"),
    ('{"driver":"qcow2","file":{"driver":"raw","file":{"filename":"sub/q"}}}', "more than the path"),
    ('{"driver":"qcow2","backing":"b","file.filename":"sub/q"}', "more than the path"),
    ('{"file.filename":"sub/q","file":{"filename":"sub/raw"}}', "twice"),
    ('{"file.filename":"sub/q","filename":"sub/raw"}', "twice"),
    (r'{"file.filename":"a\u0000"}', "no name has"), (r'{"file.filename":"a\ud800"}', "no name has"),
    (r'{"file.filename":"a\x"}', "not JSON"), ('{"file.filename":"sub/q"} x', "not JSON"),
    ('{"a":' * 160, "more than the path"), ('{"file.filename":"' + "a" * 990, "not JSON"),
    ('{"file.filename":"sub/q",}', "not JSON"), ("[]", "not JSON"), ("", "not JSON"),
])
def test_json_names_that_are_not_understood(bases, name, why):
    overlay(bases, "top", "json:" + name)
    files, code, said = chain("top", bases)
    assert (files, code, said.count("\n")) == (["top"], 1, 1)
    assert "was not followed" in said and why in said


def test_no_backing(bases):
    """A json: name may say that the backing file of its file is not used."""
    overlay(bases / "sub", "mid", "raw", "raw")
    overlay(bases, "top", 'json:{"driver":"qcow2","file.filename":"sub/mid","backing":null}')
    assert formats("top", bases) == [("top", "qcow2"), ("sub/mid", "qcow2")]
    overlay(bases, "top", 'json:{"driver":"qcow2","file.filename":"sub/mid"}')
    assert formats("top", bases)[2:] == [("sub/raw", "raw")]


def test_who_names_what_is_missing(bases):
    overlay(bases, "top", "sub/nowhere", "qcow2")
    assert info("--chain", "top", cwd=bases).stderr.decode() == \
        "qcow2 info: sub/nowhere: named as the backing file of top: cannot open: " \
        "No such file or directory\n"
    overlay(bases, "top", "sub/vmdk", "qcow2")
    assert info("--chain", "top", cwd=bases).stderr.decode() == \
        "qcow2 info: sub/vmdk: named as the backing file of top: not a qcow2 image but a vmdk " \
        "image: convert it with 'qemu-img convert -O qcow2'\n"


def test_other_formats_say_so(bases):
    overlay(bases, "top", "sub/vmdk")
    lines = info("--chain", "top", cwd=bases).stdout.decode().splitlines()
    assert "format             vmdk: not read here, and the chain may go on behind it" in lines
    overlay(bases, "top", "sub/gz")
    lines = info("--chain", "top", cwd=bases).stdout.decode().splitlines()
    assert "format             raw (probed, as QEMU does)" in lines
    assert "looks like         a gzip file: unpack it first (gunzip)" in lines


@pytest.mark.parametrize("backing", ["nbd://127.0.0.1:1/x", "nbd:unix:/x", "json:{}", "https://example.org/a",
                                     "ssh:host"])
def test_protocols_are_not_followed(tmp_path, backing):
    qcow2(tmp_path, "top", backing, "raw")
    files, code, said = chain("top", tmp_path)
    assert (files, code) == (["top"], 1) and "was not followed" in said


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for backing in ("pipe", "folder", "missing", "/dev/null", "/dev/zero"):
        qcow2(tmp_path, "top", backing)
        files, code, said = chain("top", tmp_path)
        assert (files, code) == (["top"], 1), backing
        assert said.count("\n") == 1
