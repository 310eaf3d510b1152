# SPDX-License-Identifier: MIT
# `qcow2 vet` from outside: its line, its verdicts by rule and policy, its pages. Each rule of
# def/vet_rules.def has an image here that it refuses, and that is accepted without the fault.
"""vet, from outside."""
import json
import os
import re
import shutil
import struct
import subprocess
import sys

import pytest

from tests.forge import build
from tests.support.measure import MEASURE
from tests.support.programs import QCOW2, RELEASE, SAMPLE, TOP, recipe_image, run
from tests.support.qemu import create, tool

PLAIN = "size 1M\nwrite 0 64k\n"
BACKING = "size 1M\nbacking {} {}\n"
WITH_SNAPSHOT = "size 1M\nwrite 0 64k\nsnapshot 1 name=monday\n"


def rules():
    """(id, unit, settings) of each rule, as the list has them."""
    with open(os.path.join(TOP, "include", "qcow2", "def", "vet_rules.def"), encoding="utf-8") as stream:
        return {name: (unit, words) for name, unit, *words in
                re.findall(r'^QCOW2_VET_RULE\(\d+, \w+, "([^"]+)", "[^"]+", (\w+), (\w+), (\w+), (\w+), ',
                           stream.read(), re.M)}


def answer(path, *options, code=None):
    done = run("vet", "-j", *options, path)
    found = json.loads(done.stdout)
    codes = {"accepted": 0, "could not look": 1, "refused": 2}
    assert done.returncode == codes[found["verdict"]] == (done.returncode if code is None else code), done
    return found


def reasons(path, *options):
    return [reason["rule"] for reason in answer(path, *options)["reasons"]]


@pytest.fixture(name="forge")
def fixture_forge(tmp_path):
    def forge(text, name="image.qcow2", change=None):
        path = tmp_path / name
        if "\n" not in text:
            return recipe_image(text)[0]
        build(text, str(path))
        if change:
            data = bytearray(path.read_bytes())
            change(data)
            path.write_bytes(data)
        return path
    return forge


def put(at, data):
    """A change of an image: these bytes at that offset, from the end if it is negative."""
    def change(image):
        place = at if at >= 0 else len(image) + at
        image[place:place + len(data)] = data
    return change


# ---- the line ----

@pytest.mark.parametrize("words, message", [
    ([], "no image given"),
    (["--policy=nobody", SAMPLE], "--policy: there is no policy 'nobody', and no such file can be read"),
    (["--output=xml", SAMPLE], "--output is human, json, ndjson or oslo, not 'xml'"),
    (["--policy=-", "-"], "standard input is read once"),
    (["--max-virtual-size=much", SAMPLE], "--max-virtual-size"),
    (["--jobs=0", SAMPLE], "--jobs is at least 1"), (["--jobs=x", SAMPLE], "--jobs"),
    (["-", "-"], "standard input is read once"), (["-", "/dev/fd/0"], "standard input is read once"), (["--files-from=-", "-"], "standard input is read once"),
    (["--label=x", SAMPLE, SAMPLE], "--label names one image"), (["--label=x", "--files-from=-"], "--label names one"),
    (["--label=", SAMPLE], "--label is a name, and not empty"), (["--label=x", "--list"], "--label names one"),
])
def test_wrong_lines(words, message):
    done = run("vet", *words)
    assert done.returncode == 1 and done.stdout == b""
    assert message in done.stderr.decode().splitlines()[0]


def test_accepts_the_sample_for_people():
    done = run("vet", SAMPLE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{SAMPLE}: accepted by policy upload\n"


def test_refuses_for_people():
    path = recipe_image("good-hostile-backing-passwd")[0]
    done = run("vet", path)
    text = done.stdout.decode()
    assert done.returncode == 2 and text.startswith(f"{path}: refused by policy upload\n")
    assert 'backing-file: It names a backing file: "/etc/passwd"' in text
    assert "header/backing_file_offset at 0x8" in text.replace("\n    ", " ")


def test_a_reason_for_programs():
    found = answer(recipe_image("good-hostile-backing-passwd")[0], code=2)
    assert found["policy"] == "upload" and found["format"] == "qcow2"
    first = found["reasons"][0]
    assert (first["rule"], first["field"], first["offset"], first["value"]) == (
        "backing-file", "header/backing_file_offset", 8, "/etc/passwd")


def test_what_cannot_be_looked_at(tmp_path):
    for path in (tmp_path / "nothing", tmp_path):
        done = run("vet", path)
        assert done.returncode == 1 and done.stdout == b"" and str(path) in done.stderr.decode()
        found = answer(path, code=1)
        assert found["reasons"] == [] and found["error"]


def test_several_exit_with_the_worst(tmp_path):
    bad, lost = recipe_image("good-dirty")[0], tmp_path / "nothing"
    for files, code in (([SAMPLE, SAMPLE], 0), ([SAMPLE, bad], 2), ([bad, SAMPLE], 2), ([bad, lost, SAMPLE], 1)):
        done = run("vet", "--output=ndjson", *files)
        lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert done.returncode == code and [line["filename"] for line in lines] == list(map(str, files))
        document = json.loads(run("vet", "-j", *files).stdout)
        assert document == lines


# ---- the rules: an image for each, and the same without the fault ----

def trail(data):
    data += bytes(65536 - len(data) % 65536) if len(data) % 65536 else b""
    data += b"behind the end"


def zip_end(data):
    data += b"PK\5\6" + bytes(18)


def vhd_end(data):
    data += b"conectix" + bytes(504)


def many_bitmaps(data):
    """65,535 bitmaps, all with one table."""
    count, at = 65535, len(data) + -len(data) % 65536
    data += bytes(at - len(data))
    for index in range(count):
        data += struct.pack(">QIIBBHI8s", at, 1, 0, 1, 16, 8, 0, b"%08d" % index)
    put(88, struct.pack(">Q", 1))(data)
    put(112, struct.pack(">IIIIQQ", 0x23852875, 24, count, 0, 32 * count, at))(data)


def share_l2(data):
    """Makes all L1 entries lead to one L2 table, with every other entry a zero cluster."""
    size, at = struct.unpack(">IQ", data[36:48])
    place = struct.unpack(">Q", data[at:at + 8])[0] & ((1 << 56) - 512)
    put(at, struct.pack(">Q", place) * size)(data)
    put(place, struct.pack(">QQ", 0, 1) * 4096)(data)


def gpt_end(sector_bytes):
    """The copy of a GPT's header in the last sector, which says where that is."""
    def change(data):
        put(-sector_bytes, b"EFI PART" + bytes(16) + struct.pack("<Q", len(data) // sector_bytes - 1))(data)
    return change


def share_data(data):
    """Makes all L1 entries lead to one L2 table, and all its entries to one cluster."""
    share_l2(data)
    at = struct.unpack(">Q", data[40:48])[0]
    place = struct.unpack(">Q", data[at:at + 8])[0]
    put(place, struct.pack(">Q", 65536) * 8192)(data)


FAULTS = {
    "version": [(PLAIN, put(4, struct.pack(">I", 4)))],
    "header": [(PLAIN, put(20, struct.pack(">I", 40))), (PLAIN, lambda data: data.__delitem__(slice(90, None)))],
    "format": [(PLAIN, put(0, b"KDMV")), (PLAIN, put(4, struct.pack(">I", 1))),
               (PLAIN, lambda data: data.clear())],
    "malformed": [(PLAIN, put(40, struct.pack(">Q", 1 << 50))), (PLAIN, put(36, struct.pack(">I", 0))),
                  ("size 1M\nextension 0x11 hex:00\nextension 0x11 hex:00\n", None),
                  (PLAIN + "set l1/0 0x8000000000fff200\n", None)],
    "qemu-limit": [("size 1M\nbitmap a granularity=4G\n", None)],
    "polyglot": [(PLAIN, put(510, b"\x55\xaa")), (PLAIN, put(0x8001, b"CD001")), (PLAIN, put(64, b"\x7f\x10\xda\xbe")),
                 (PLAIN, put(257, b"ustar")), (PLAIN, put(300, b"%PDF-1.4")), (PLAIN, zip_end), (PLAIN, vhd_end),
                 (PLAIN, put(512, b"EFI PART")), (PLAIN, put(-512, b"koly")), (PLAIN, gpt_end(512)),
                 (PLAIN, gpt_end(4096))],
    "incompatible-feature": [("size 1M\nincompatible 0x20\n", None)],
    "dirty": [("size 1M\ndirty\n", None)],
    "corrupt": [("size 1M\ncorrupt\n", None)],
    "backing-file": [(BACKING.format("base.raw", "raw"), None)],
    "backing-format": [("size 1M\nbacking base.raw\n", None), (BACKING.format("base", "vmdk"), None)],
    "backing-protocol": [(BACKING.format(name, "raw"), None) for name in
                         ("json:{}", "nbd:unix:/x", "file:base.raw", "rbd:pool/x", "fat:rw:x")],
    "backing-path": [(BACKING.format(name, "raw"), None) for name in
                     ("/etc/passwd", "../base.raw", "a/../../b", "a//b", "a/.", ".")],
    "data-file": [("size 1M\ndata_file x.raw\n", None), ("size 1M\nextension 0x44415441 hex:2f657463\n", None),
                  ("version 2\nsize 1M\nextension 0x44415441 hex:2f657463\n", None),
                  ("size 1M\nautoclear 2\n", None)],
    "encryption": [("size 1M\n", put(32, struct.pack(">I", 1))),
                   ("size 1M\nextension 0x0537be77 zeros:16\n", None)],
    "snapshots": [("size 1M\nrepeat 1001 snapshot {} name=x{}\n", None)],
    "bitmaps": [("cluster_bits 9\nsize 64k\nrepeat 1001 bitmap b{}\n", None)],
    "vm-state": [("size 1M\nsnapshot 1 name=a vmstate=64k\n", None)],
    "name-text": [("size 1M\nbitmap \"\\e[2J\"\n", None), ("size 1M\nsnapshot 1 name=\"a\\nb\"\n", None),
                  (BACKING.format('"a\\nb"', "raw"), None)],
    "hidden-bytes": [(PLAIN, put(60000, b"\1")), (PLAIN, put(1000, struct.pack(">II", 0x44415441, 4) + b"/etc"))],
    "trailing-data": [(PLAIN, trail), (PLAIN, lambda data: data.extend(b"x" * 65536)),
                      (PLAIN, lambda data: data.extend(struct.pack(">Q", 1 << 62))),
                      (PLAIN, lambda data: data.extend(struct.pack(">Q", 0x10200)))],
    "virtual-size": [("size 65T\n", None), ("cluster_bits 21\nsize 1024T\n", None)],
    "size-ratio": [("size 64T\n", lambda data: data.__delitem__(slice(200000, None)))],
    "table-overlap": [(PLAIN, lambda data: put(40, data[48:56])(data)), (PLAIN + "set l1/0 @l1/0 | 1<<63\n", None)],
    "open-memory": [("size 32T\nrepeat 10 bitmap b{} granularity=32k table=zeroes\n", None)],
    "open-time": [(PLAIN, many_bitmaps)],
    "check-memory": [("cluster_bits 12\nsize 1M\nsparse 4T\n", None)],
    "check-time": [("size 64T\nwrite 0 64k\n", share_l2)],
    "map-time": [("size 64T\nwrite 0 64k\n", share_l2)],
    "convert-time": [("size 64T\nwrite 0 64k\n", share_data)],
    "compression-ratio": [("cluster_bits 21\nsize 4M\ncompressed 0 4M\n", None)],
    "l2-shared": [("size 1G\nwrite 0 64k\nset l1/1 @l2/0 | 1<<63\n", None)],
}


@pytest.mark.parametrize("rule", FAULTS)
def test_each_rule_refuses(rule, forge):
    for text, change in FAULTS[rule]:
        deep = ["--deep"] if rule == "compression-ratio" else []
        assert rule in reasons(forge(text, change=change), *deep), (text, change)


def test_nothing_is_refused_without_a_fault(forge):
    for text in (PLAIN, WITH_SNAPSHOT, "version 2\nsize 1M\n", "size 64T\n", "extended_l2\nsize 1G\nwrite 0 64k\n",
                 "size 1M\nbitmap a bits=0-3\n", "cluster_bits 9\nsize 1M\nwrite 0 1M\n",
                 "version 2\nsize 1M\nextension 0x11223344 hex:00112233\n", "compression zstd\nsize 1M\n",
                 "size 0\n", "refcount_order 0\nsize 1M\nwrite 0 64k\n"):
        assert reasons(forge(text)) == [], text


def test_the_partitions_of_a_guest_are_no_fault(forge):
    """The last cluster of the file is that of the disk, which ends with the copy of a GPT."""
    last = put(-512, b"EFI PART" + bytes(16) + struct.pack("<Q", (1 << 20) // 512 - 1))
    for text in ("size 1M\nwrite 0 1M\n", "size 1M\nwrite 960k 64k\n"):
        path = forge(text, change=last)
        assert reasons(path) == []
        with open(path, "rb") as stream:
            assert piped(stream.read()).returncode == 0


def test_preallocated_data_are_no_bomb(tmp_path):
    """They are a hole in the file."""
    path = create(str(tmp_path / "image"), "1G", "preallocation=metadata")
    assert reasons(path, "--deep") == [] == reasons(path, "--deep", "--policy=strict")


def directory(*names, table=65536):
    """A bitmap directory; while a bitmap is in use, QEMU writes 0 as the offset of its table."""
    return b"".join(struct.pack(">QIIBBHI", table, 1, 2, 1, 16, len(name), 0) + name + bytes(-len(name) % 8)
                    for name in names)


ENTRIES = struct.pack(">QQ", 1 << 63 | 1 << 16, 3 << 16)
# What may be behind the last cluster in use, and whether it is left of a freed table.
BEHIND = [(ENTRIES + bytes(24), True), (ENTRIES.ljust(65536, b"\0") + ENTRIES, True), (ENTRIES + b"x", False),
          (struct.pack(">H", 1) * 32768, True), (struct.pack(">H", 256) * 32768, False),
          (directory(b"a", b"day"), True), (directory(b"a", b"b", table=0), True), (directory(b"a", table=99), False),
          (directory(b"a", b"\n"), False), (directory(b"a") + b"x", False)]


@pytest.mark.parametrize("case", range(len(BEHIND)))
def test_freed_tables_are_no_trailing_data(case, forge):
    tail, is_table = BEHIND[case]
    path = forge(PLAIN, change=lambda data: data.extend(tail))
    assert reasons(path) == ([] if is_table else ["trailing-data"])
    with open(path, "rb") as stream:
        assert piped(stream.read()).returncode == (0 if is_table else 2)


def test_freed_tables_of_a_long_pipe(tmp_path):
    """It keeps the first 4 MiB, and the last bytes. What has passed cannot be looked at."""
    path = create(str(tmp_path / "image"), "64M")
    tool("qemu-io", "-f", "qcow2", "-c", "write -q 0 6M", path)
    with open(path, "rb") as stream:
        data = stream.read()
    whole = ENTRIES * 4096
    for tail, code in ((ENTRIES, 0), (whole + ENTRIES, 0), (whole * 3, 1), (whole * 3 + b"x", 2), (b"x" * 262144, 2),
                       (whole * 40, 1)):
        assert piped(data + tail).returncode == code, tail[:20]


def test_each_rule_has_an_image():
    missing = {name for name, (_, words) in rules().items() if words[0] not in ("ALLOW", "NO_LIMIT")}
    assert missing - set(FAULTS) == {"backing-kind", "file-name"}  # see policies, and names


def test_the_size_that_is_asked_for(forge):
    path = forge("size 2G\n")
    assert reasons(path, "--max-virtual-size=2G") == []
    found = answer(path, "--max-virtual-size=1G")["reasons"]
    assert [(one["rule"], one["value"], one["limit"]) for one in found] == [("virtual-size", 2 << 30, 1 << 30)]


def test_names_that_qemu_takes_for_something_else(forge, tmp_path):
    names = ["nbd:x", "json:{}", "a:b", ":", "-f"]
    for name in names:
        shutil.copy(forge(PLAIN), tmp_path / name)
    done = subprocess.run([QCOW2, "vet", "--output=ndjson", "--", *names], cwd=tmp_path, stdout=subprocess.PIPE,
                          check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2 and [line["filename"] for line in found] == names
    for line in found:
        assert [(one["rule"], one["value"]) for one in line["reasons"]] == [("file-name", line["filename"])]
    assert run("vet", *[tmp_path / name for name in names]).returncode == 0  # a path is a path
    done = subprocess.run([QCOW2, "vet", *[f"./{name}" for name in names]], cwd=tmp_path, check=False,
                          stdout=subprocess.DEVNULL)
    assert done.returncode == 0


# ---- pipes ----

def piped(data, *options, program=QCOW2):
    return subprocess.run([program, "vet", "--output=ndjson", *options, "-"], input=data, check=False, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# Too large for a pipe, the image of another one, and seen with --deep alone.
NOT_PIPED = ("check-memory", "check-time", "compression-ratio")


@pytest.mark.parametrize("rule", [rule for rule in FAULTS if rule not in NOT_PIPED])
def test_a_pipe_is_refused_for_the_same(rule, forge):
    for text, change in FAULTS[rule]:
        with open(forge(text, change=change), "rb") as stream:
            done = piped(stream.read())
        found = json.loads(done.stdout)
        assert done.returncode == 2 and found["filename"] == "-", (done, text)
        # What is decided on the way needs no rule of the rest.
        assert {reason["rule"] for reason in found["reasons"]} <= set(
            reasons(forge(text, change=change))), text


def test_a_pipe_is_accepted(forge):
    for text in (PLAIN, WITH_SNAPSHOT, "size 1M\nbitmap a bits=0-3\n", "version 2\nsize 1M\n",
                 "cluster_bits 9\nsize 1M\nwrite 0 1M\n"):
        with open(forge(text), "rb") as stream:
            data = stream.read()
        for options in ([], ["--policy=strict", "--deep"]):
            assert piped(data, *options).returncode == 0, text


def feed(piece):
    """Feeds a piece to a pipe that stays open; the program has to end all the same."""
    with subprocess.Popen([QCOW2, "vet", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdin.write(piece)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has seen enough
        try:
            code = process.wait(20)
        finally:
            process.kill()
        return code, process.stdout.read().decode()


def test_an_upload_is_refused_while_it_arrives(forge):
    with open(recipe_image("good-hostile-backing-passwd")[0], "rb") as stream:
        data = stream.read()
    code, text = feed(data[:512])
    assert code == 2 and '"/etc/passwd"' in text
    with open(forge("size 1M\nextension 0x44415441 hex:2f657463\nwrite 0 1M\n"), "rb") as stream:
        data = stream.read()
    code, text = feed(data[:1 << 17])
    assert code == 2 and "data-file" in text
    with open(forge("size 64M\nwrite 0 16M\nsnapshot 1 name=x vmstate=64k\nwrite 0 64k\n"), "rb") as stream:
        data = stream.read()
    code, text = feed(data[:-1])
    assert code == 2 and "vm-state" in text


def test_a_pipe_takes_little_memory(forge):
    path = forge("size 8G\nwrite 0 64k\n", change=None)
    with open(path, "ab") as stream:
        stream.truncate(512 << 20)
    done = subprocess.run([sys.executable, "-S", "-E", "-c", MEASURE, "60", "sh", "-c",
                           'cat "$1" | "$2" vet -', "sh", path, RELEASE], check=False, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    code, kib = map(int, done.stderr.split())
    assert code == 0 and kib < 16 << 10, (code, kib)


def test_a_long_pipe_cannot_be_checked(forge):
    with open(forge("size 16M\nwrite 0 8M\nwrite 15M 64k\n"), "rb") as stream:
        data = stream.read() + bytes(16 << 20)
    done = piped(data, "--policy=strict")
    assert done.returncode in (0, 1) and (done.returncode == 0 or b"check-corruption" in done.stderr)


def test_open_descriptors(tmp_path):
    for name in ("/dev/fd/0", "/dev/stdin", "-"):
        with open(SAMPLE, "rb") as stream:
            done = run("vet", name, stdin=stream)
            assert done.returncode == 0 and done.stdout.decode().startswith(f"{name}: accepted")
        done = subprocess.run([QCOW2, "vet", name], input=b"nothing", check=False, stdout=subprocess.PIPE)
        assert done.returncode == 2
    assert run("vet", "/dev/fd/77").returncode == 1
    os.mkfifo(tmp_path / "fifo")  # nobody waits for it
    assert run("vet", tmp_path / "fifo").returncode == 1


def test_an_answer_has_the_name_that_is_asked_for(forge, tmp_path):
    with open(forge("size 1M\ndirty\n"), "rb") as stream:
        data = stream.read()
    done = piped(data, "--label=uploads/a\nb")
    assert done.returncode == 2 and json.loads(done.stdout)["filename"] == "uploads/a\nb"
    done = run("vet", "--label=uploads/a\nb", "-", input=data)
    assert done.stdout.startswith(b"uploads/a\\nb: refused by policy upload\n")
    assert answer(SAMPLE, "--label=x")["filename"] == "x"
    done = run("vet", "--output=ndjson", "--label=uploads/x", tmp_path / "nothing")
    assert json.loads(done.stdout)["filename"] == "uploads/x" and b"uploads/x" in done.stderr


def test_a_pipe_has_no_folder(forge, tmp_path):
    path = forge(BACKING.format("null", "raw"))  # a device of /dev
    (tmp_path / "null").symlink_to("/etc/passwd")
    assert reasons(path, "--policy=chain") == ["backing-kind"]
    assert run("vet", "--policy=chain", path.name, cwd=tmp_path).returncode == 2
    for name in ("-", "/dev/stdin", "/dev/fd/0"):  # whatever the current folder has
        done = subprocess.run(["sh", "-c", f'cat "$0" | "$1" vet --policy=chain {name}', path, QCOW2],
                              check=False, cwd=tmp_path)
        assert done.returncode == 0
        with open(path, "rb") as stream:
            assert run("vet", "--policy=chain", name, stdin=stream, cwd=tmp_path).returncode == 0


# ---- many files ----

def make_many(folder, count):
    names = []
    for index in range(count):
        kind = ("good-empty", "good-dirty", "good-default", "bad-magic")[index % 4]
        path = folder / f"image {index}"
        os.link(recipe_image(kind)[0], path) if folder.stat().st_dev == os.stat(
            recipe_image(kind)[0]).st_dev else shutil.copy(recipe_image(kind)[0], path)
        names.append(str(path))
    return names


def test_lists_of_names(tmp_path):
    names = make_many(tmp_path, 1500)
    wanted = run("vet", "--output=ndjson", "--jobs=1", *names[:1000]).stdout + run(
        "vet", "--output=ndjson", "--jobs=1", *names[1000:]).stdout
    assert [json.loads(line)["filename"] for line in wanted.splitlines()] == names
    (tmp_path / "list").write_text("\n".join(names))
    for jobs in (1, 3, 8):
        for ends in ("\n", "\0"):
            done = run("vet", "--output=ndjson", "--files-from=-", f"--jobs={jobs}",
                       input=(ends.join(names) + ends).encode())
            assert done.returncode == 2 and done.stdout == wanted
    assert run("vet", "--output=ndjson", f"--files-from={tmp_path}/list").stdout == wanted
    assert len(json.loads(run("vet", "-j", f"--files-from={tmp_path}/list").stdout)) == 1500


def test_names_with_newlines(tmp_path):
    path = tmp_path / "a\nb"
    shutil.copy(SAMPLE, path)
    done = run("vet", "--output=ndjson", "--files-from=-", input=f"{path}\0{SAMPLE}".encode())
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[0])["filename"] == str(path)
    assert run("vet", "--files-from=-", input=b"").stdout == b""
    assert run("vet", "--files-from=-", input=b"x" * 70000).returncode == 1
    assert run("vet", f"--files-from={tmp_path}/none").returncode == 1


def test_an_answer_for_each_name_at_once():
    with subprocess.Popen([QCOW2, "vet", "--output=ndjson", "--files-from=-"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        for _ in range(3):
            process.stdin.write(f"{SAMPLE}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["verdict"] == "accepted"
        process.stdin.close()
        assert process.wait(20) == 0


def test_full_standard_output(tmp_path):
    (tmp_path / "list").write_text(f"{SAMPLE}\n" * 2000)
    with open("/dev/full", "wb") as full:
        done = subprocess.run([QCOW2, "vet", f"--files-from={tmp_path}/list"], stdout=full, check=False,
                              stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1 and b"standard output" in done.stderr


# ---- policies ----

def test_chain_takes_plain_names(forge):
    for name in ("base.qcow2", "./base.qcow2", "sub/base.qcow2"):
        assert reasons(forge(BACKING.format(name, "qcow2")), "--policy=chain") == []
    for rule in ("backing-format", "backing-protocol", "backing-path", "data-file", "name-text"):
        for text, change in FAULTS[rule]:
            assert rule in reasons(forge(text, change=change), "--policy=chain"), text


def test_chain_looks_what_the_backing_file_is(forge, tmp_path):
    path = forge(BACKING.format("sub/base", "raw"))
    (tmp_path / "sub").mkdir()
    base = tmp_path / "sub" / "base"
    assert reasons(path, "--policy=chain") == []  # there is none yet
    base.write_bytes(b"")
    assert reasons(path, "--policy=chain") == []
    for make in (lambda: base.symlink_to("/etc/passwd"), lambda: os.mkfifo(base), base.mkdir):
        base.unlink()
        make()
        assert reasons(path, "--policy=chain") == ["backing-kind"]
    base.rmdir()
    (tmp_path / "sub").rmdir()
    (tmp_path / "sub").symlink_to("/etc")
    assert reasons(path, "--policy=chain") == ["backing-kind"]


def test_chain_does_not_take_an_image_that_backs_itself(forge, tmp_path):
    path = forge(BACKING.format("sub/image.qcow2", "qcow2"))
    (tmp_path / "sub").mkdir()
    os.link(path, tmp_path / "sub" / "image.qcow2")
    found = answer(path, "--policy=chain")["reasons"]
    assert [one["rule"] for one in found] == ["backing-kind"] and "it is the image itself" in found[0]["text"]
    done = subprocess.run([QCOW2, "vet", "--policy=chain", "image.qcow2"], cwd=tmp_path, check=False)
    assert done.returncode == 2
    shutil.copy(path, tmp_path / "other")
    os.replace(tmp_path / "other", tmp_path / "sub" / "image.qcow2")
    assert reasons(path, "--policy=chain") == []


def test_strict_wants_a_clean_check(forge):
    assert reasons(forge(PLAIN), "--policy=strict") == []
    assert reasons(forge(PLAIN + "leak 2\n"), "--policy=strict") == ["check-leak"] * 2
    assert "check-corruption" in reasons(forge(PLAIN + "set l2/0/0 3\n"), "--policy=strict")
    assert "backing-file" in reasons(forge(BACKING.format("base.raw", "raw")), "--policy=strict")


# ---- policy files ----

@pytest.fixture(name="policy")
def fixture_policy(tmp_path):
    def policy(text):
        path = tmp_path / "policy.ini"
        path.write_text(text)
        return f"--policy={path}"
    return policy


def test_a_policy_file_sets_rules(forge, policy):
    backed, trailed = forge(BACKING.format("/etc/passwd", "raw"), "a"), forge(PLAIN, "b", trail)
    assert reasons(backed, policy("# ours\nbacking-file = allow\n")) == ["backing-path"]
    assert reasons(backed, policy("base = chain\nbacking-path: allow ; ours\n")) == []
    assert reasons(backed, policy("backing-path = allow\nbase = chain\n")) == []
    assert reasons(trailed, policy("trailing-data = 64k\n")) == []
    assert reasons(trailed, policy("trailing-data = no-limit\n")) == []
    assert reasons(trailed, policy("trailing-data = deny\n")) == ["trailing-data"]
    assert reasons(SAMPLE, policy("virtual-size = 1M\n")) == ["virtual-size"] * 2  # a snapshot, too
    assert reasons(SAMPLE, policy("virtual-size = 1M\n"), "--max-virtual-size=1G") == []
    assert reasons(SAMPLE, policy("")) == []
    assert answer(SAMPLE, policy(""))["policy"].endswith("policy.ini")


@pytest.mark.parametrize("text, message", [
    ("backing-fiel = allow\n", "line 1: there is no rule 'backing-fiel': did you mean backing-file?"),
    ("\nbacking-file = maybe\n", "line 2: backing-file is allow or deny, not 'maybe'"),
    ("backing-file = 4\n", "line 1: backing-file is allow or deny, not '4'"),
    ("virtual-size = much\n", "line 1: virtual-size: "),
    ("format = allow\n", "line 1: the rule format always refuses"),
    ("backing-file\n", "line 1: a line is 'rule = setting'"),
    ("dirty = deny\ndirty = allow\n", "line 2: dirty is set twice"),
    ("base = upload\nbase = chain\n", "line 2: base is set twice"),
    ("base = none\n", "base: there is no policy 'none'"),
    ("[rules]\ndirty = allow\n", "line 2: a policy has no sections, as [rules]"),
    ("dirty = deny\n#" + "x" * 300 + "\n", "line 2: a line is too long"),
    ("dirty = al\0low\n", "line 1: there is a NUL in it"),
])
def test_wrong_policy_files(text, message, policy):
    done = run("vet", policy(text), SAMPLE)
    assert done.returncode == 1 and done.stdout == b""
    assert message in done.stderr.decode().splitlines()[0]


def test_the_list_is_a_policy(forge, policy):
    for name, place in (("upload", 0), ("chain", 1), ("strict", 2)):
        text = run("vet", "--list", f"--policy={name}").stdout.decode()
        found = dict(re.findall(r"^([a-z0-9-]+) = (\S+)$", text, re.M))
        assert found == {rule: words[place].lower().replace("_", "-") for rule, (_, words) in rules().items()}
        assert run("vet", "--list", policy(text)).stdout.decode() == text
        assert reasons(forge(PLAIN + "leak 1\n"), policy(text)) == (["check-leak"] if name == "strict" else [])
    for words in (["--list", SAMPLE], ["--list", "-j"], ["--list", "--files-from=x"]):
        assert run("vet", *words).returncode == 1


# ---- as oslo.utils ----

def oslo(path):
    done = run("vet", "--output=oslo", path)
    lines = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    return done.returncode, lines


def test_lines_of_oslo(forge):
    code, lines = oslo(SAMPLE)
    assert code == 0 and list(lines) == ["SAFETY_CHECK_PASSED", "VIRTUAL_SIZE", "ACTUAL_SIZE", "IMAGE_FORMAT",
                                         "OSLO_UTILS_VERSION"]
    assert lines["SAFETY_CHECK_PASSED"] == "True" and lines["IMAGE_FORMAT"] == '"qcow2"'
    assert int(lines["VIRTUAL_SIZE"]) == 16 << 20 and int(lines["ACTUAL_SIZE"]) == os.path.getsize(SAMPLE)
    code, lines = oslo(forge("size 1M\nbacking base.raw raw\ndata_file x.raw\nincompatible 0x20\n"))
    assert code == 1 and lines["SAFETY_CHECK_PASSED"] == "False"
    assert lines["FAILURE_REASONS"].startswith("'unknown_features: Unknown QCOW2 features found,"
                                               "data_file: Image has data_file set,"
                                               "backing_file: Image has a backing file")
    assert run("vet", "--output=oslo", "nothing").returncode == 1
    assert run("vet", "--output=oslo", SAMPLE, SAMPLE).returncode == 1


def test_lines_of_oslo_in_a_shell(forge):
    path = forge("size 1M\nbitmap \"it's \\e[2J\"\n")
    text = run("vet", "--output=oslo", path).stdout.decode()
    done = subprocess.run(["sh", "-c", text + 'printf %s "$FAILURE_REASONS"'], stdout=subprocess.PIPE, check=True)
    assert "it's \\u{1b}[2J" in done.stdout.decode()


@pytest.mark.parametrize("name", ["-", "/dev/fd/0", "/dev/stdin"])
def test_a_list_that_names_itself(name):
    """The rest of the list is not taken for an image: each name has its answer."""
    lines = [SAMPLE] * 300
    lines[100] = name
    done = subprocess.run([RELEASE, "vet", "--output=ndjson", "--files-from=-"], check=False, timeout=60,
                          input="\n".join(lines).encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and b"standard input is the list of names" in done.stderr
    assert [answer["filename"] for answer in answers] == lines
    assert [answer["verdict"] for answer in answers].count("accepted") == 299
