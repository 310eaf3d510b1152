# SPDX-License-Identifier: MIT
# `qcow2 edit` and `qcow2 undo` from outside: every verb, option and refusal, what stays as it is, and
# the way back. Crashes are in tests/crash, QEMU's locks and opinions in tests/oracle.
"""edit and undo, from outside."""
import glob
import json
import os
import re
import shutil
import struct
import subprocess

import jsonschema
import pytest

from tests.forge import recipes
from tests.support.answers import text_is_safe
from tests.support.programs import QCOW2, TOP, document, image, recipe_image, run

with open(os.path.join(TOP, "docs", "edit.schema.json"), encoding="utf-8") as stream:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(stream))
HEADER_FIELDS = ("magic", "version", "backing_file_offset", "backing_file_size", "cluster_bits",
                 "size", "crypt_method", "l1_size", "l1_table_offset", "refcount_table_offset",
                 "refcount_table_clusters", "nb_snapshots", "snapshot_offset",
                 "incompatible_features", "compatible_features", "autoclear_features",
                 "refcount_order", "header_length", "compression_type")
PLAIN = "cluster_bits 12\nsize 1M\nwrite 0 8k\n"
# Too large to be copied over and over.
LARGE = 64 << 20


def read(path):
    with open(path, "rb") as opened:
        return opened.read()


@pytest.fixture(name="copy")
def fixture_copy(tmp_path):
    """Copies an image to where it may be changed."""
    def make(source, name="a.qcow2"):
        target = str(tmp_path / name)
        shutil.copyfile(source, target)
        return target
    return make


@pytest.fixture(name="plain")
def fixture_plain(copy):
    return copy(image(PLAIN)[0])


def edit(path, *words, **kwargs):
    return subprocess.run([QCOW2, "edit", *words[:1], path, *words[1:]]
                          if words and words[0].startswith("-") else
                          [QCOW2, "edit", path, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False,
                          **{"stdin": subprocess.DEVNULL, **kwargs})


def undo_files(path):
    folder, name = os.path.split(path)
    return sorted(glob.glob(os.path.join(glob.escape(folder), ".qcow2-undo",
                                         glob.escape(name) + ".*.undo")))


def done(path, *words, insist=(), **kwargs):
    """
    An edit that works, and that is undone by the newest undo file afterwards. insist is --exact
    where that alone undoes it: the guest's data were in another file after it.
    """
    before = read(path)
    result = edit(path, *words, **kwargs)
    assert result.returncode == 0, result
    changed = read(path)
    newest = max(undo_files(path), key=os.path.getmtime)
    kept = shutil.copyfile(newest, path + ".kept")
    if insist:
        assert b"--exact" in run("undo", newest).stderr and read(path) == changed
    assert run("undo", *insist, newest).returncode == 0 and read(path) == before
    assert run("undo", newest).returncode == 0 and read(path) == before
    os.remove(newest)
    os.remove(kept)
    with open(path, "r+b") as opened:
        opened.write(changed)
        opened.truncate(len(changed))
    return result


def refused(path, *words, says, **kwargs):
    before, files = read(path), os.listdir(os.path.dirname(path))
    result = edit(path, *words, **kwargs)
    assert result.returncode == 1 and result.stdout == b"", result
    assert says in result.stderr.decode("utf-8"), result.stderr
    text_is_safe(result.stderr)
    assert read(path) == before and os.listdir(os.path.dirname(path)) == files
    return result


# ---- set ----

@pytest.mark.parametrize("value, stored", [
    ("512k", 512 << 10), ("0x80000", 0x80000), ("0o2000000", 0o2000000), ("0b1000", 8),
    ("524288", 524288), ("0", 0), ("1K", 1024),
])
def test_set_bases(plain, value, stored):
    done(plain, "--force", "set", f"header/size={value}")
    assert document(plain)["header"]["size"] == stored


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_set_header_fields(copy, field):
    """Each field by its name, forced, changes its own bytes and no others."""
    path = copy(recipe_image("good-compressed-zstd")[0])
    before = read(path)
    insist = ("--exact",) if field == "incompatible_features" else ()  # 4 is a data file
    done(path, "--force", "set", f"header/{field}=5", insist=insist)
    after = read(path)
    at = {name: offset for name, offset, _ in FIELDS}[field]
    width = {name: width for name, _, width in FIELDS}[field]
    assert after == before[:at] + (5).to_bytes(width, "big") + before[at + width:]


FIELDS = tuple(zip(HEADER_FIELDS,
                   (0, 4, 8, 16, 20, 24, 32, 36, 40, 48, 56, 60, 64, 72, 80, 88, 96, 100, 104),
                   (4, 4, 8, 4, 4, 8, 4, 4, 8, 8, 4, 4, 8, 8, 8, 8, 4, 4, 1)))


def test_set_by_other_names(copy):
    path = copy(recipe_image("good-snapshots")[0])
    done(path, "--force", "set", "header/snapshots_offset=0x10000")
    assert document(path)["header"]["snapshot_offset"] == 0x10000
    done(path, "--force", "set", "header/crypt_method=LUKS")
    assert document(path)["header"]["crypt_method"] == 2


@pytest.mark.parametrize("recipe, setting, selector", [
    ("good-snapshots", "snapshots/0/vm_state_size=9", "snapshots/0/vm_state_size"),
    ("good-bitmaps", "bitmaps/0/flags=0", "bitmaps/0/flags"),
    ("good-cluster-4k", "l1/0=0x8000000000007000", "l1/0/entry"),
    ("good-cluster-4k", "l2/0/1=1", "l2/0/1/entry"),
    ("good-cluster-4k", "refcount_table/0=0x7000", "refcount_table/0/entry"),
    ("good-luks1", "luks/payload_offset=4", "luks/payload_offset"),
])
def test_set_elsewhere(copy, recipe, setting, selector):
    path = copy(recipe_image(recipe)[0])
    done(path, "--force", "set", setting)
    found = json.dumps(document(path, selector))
    assert re.search(rf"\b{int(setting.split('=')[1], 0)}\b", found)


@pytest.mark.parametrize("order", range(7))
def test_set_refcounts(copy, order):
    """Of every width, the neighbours stay."""
    text = PLAIN + f"refcount_order {order}\n"
    path = copy(image(text)[0])
    before = [row["refcount"] for row in document(path, "refcounts/0/0..9")["refcounts"][0]
              ["entries"]]
    done(path, "--force", "set", "refcounts/0/3=0", "refcounts/0/6=1")
    after = [row["refcount"] for row in document(path, "refcounts/0/0..9")["refcounts"][0]
             ["entries"]]
    assert after == before[:3] + [0] + before[4:6] + [1] + before[7:]


@pytest.mark.parametrize("words, says", [
    (("set", "header/size=abc"), "header/size: 'abc' is no number: write it as"),
    (("set", "header/size="), "'' is no number"),
    (("set", "header/size=0x"), "is no number"),
    (("set", "header/size=1kk"), "is no number"),
    (("set", "header/size=18446744073709551616"), "is too large: 18446744073709551615 is"),
    (("set", "header/version=4294967296"), "does not fit header/version, which is 32 bits wide"),
    (("set", "header/nonsense=1"), "the header has no field 'nonsense'"),
    (("set", "header/size"), "is not PATH=VALUE"),
    (("set", "=1"), "is not PATH=VALUE"),
    (("set",), "usage: set PATH=VALUE..."),
    (("set", "snapshots/0/name=1"), "snapshots/0/name"),
    (("set", "l2/0/0/offset=1"), "set what it follows from"),
    (("set", "extensions=1"), ""),
    (("set", "refcounts/0=1"), "is no refcount"),
    (("set", "refcounts/0/99999999=1"), "is no refcount"),
    (("set", "refcounts/99/0=1"), "there is no refcount block 99"),
    (("set", "refcounts/0/0=65536"), "does not fit refcounts/0/0, which is 16 bits wide"),
    (("set", "features/\x1b[2J=1"), ""),
    (("jump", "high"), "unknown verb 'jump'"),
    (("feature", "incompatible", "dirty"), "usage: feature"),
    (("feature", "incompatible", "dirty", "maybe"), "on or off, not 'maybe'"),
    (("feature", "other", "0", "on"), "'other' is no group"),
    (("feature", "compatible", "64", "on"), "nor a bit from 0 to 63"),
    (("feature", "compatible", "raw", "on"), "'raw' is no compatible feature"),
    (("extension", "add", "0", "--data=x"), "0 marks the end"),
    (("extension", "add", "x", "--data=x"), "type has 32 bits: 'x' is no number"),
    (("extension", "add", "0x100000000", "--data=x"), "too large: 4294967295 is the most"),
    (("extension", "grow", "1", "--data=x"), "add, replace or remove"),
    (("extension", "remove", "1"), "there is no extension 0x00000001"),
    (("extension", "replace", "1", "--data=x"), "there is no extension 0x00000001"),
    (("extension", "add", "1", "--data=x", "--file=y"), "--data and --file at once"),
    (("extension", "add", "1", "--file=/nowhere/x"), "/nowhere/x: No such file or directory"),
    (("extension", "add", "1", "--data=" + "x" * 5000), "has no room"),
    (("backing", "set"), "backing set NAME FORMAT, or clear"),
    (("backing", "set", ""), "name is empty"),
    (("backing", "set", "x"), "give the backing file's format as well"),
    (("backing", "set", "x", ""), "give the backing file's format as well"),
    (("backing", "set", "x" * 1024, "raw"), "1024 bytes long: 1023 are allowed"),
    (("backing", "away"), "backing set NAME FORMAT, or clear"),
    (("data-file", "set", "x"), "it has no data file to name"),
    (("data-file", "unset", "x"), "data-file set NAME"),
    (("feature-names", "forget"), "feature-names rebuild"),
    (("set", "header/size=1", "--data=x"), "--data and --file are for extensions, not for set"),
])
def test_wrong_words(plain, words, says):
    refused(plain, *words, says=says)


def test_names_several(copy):
    refused(copy(recipe_image("good-snapshots")[0]), "set", "snapshots/0=1",
            says="names several fields")


def test_version_2(copy):
    path = copy(recipe_image("good-v2-snapshots")[0])
    refused(path, "set", "header/refcount_order=4", says="version 2 have no field 'refcount_order'")
    refused(path, "feature", "compatible", "0", "on", says="version 2 have no feature bits")
    done(path, "backing", "set", "base.raw", "raw")
    assert document(path)["backing_file"]["name"] == "base.raw"


def test_short_header(copy):
    path = copy(image(PLAIN + "header_length 104\n")[0])
    refused(path, "set", "header/compression_type=0", says="too short to have a field")


# ---- features, extensions, names ----

def test_features(plain):
    done(plain, "feature", "compatible", "lazy-refcounts", "on")
    assert document(plain)["header"]["compatible_features"] == 1
    done(plain, "feature", "compatible", "lazy refcounts", "off")
    assert document(plain)["header"]["compatible_features"] == 0
    done(plain, "--force", "feature", "compatible", "0x3f", "on")
    assert document(plain)["header"]["compatible_features"] == 1 << 63
    refused(plain, "feature", "incompatible", "17", "on", says="refused")
    done(plain, "--force", "feature", "incompatible", "17", "on")
    refused(plain, "feature", "incompatible", "17", "off", says="not known here")
    done(plain, "--force", "feature", "incompatible", "17", "off")
    assert document(plain)["header"]["incompatible_features"] == 0


def extensions(path):
    shown = document(path)["extensions"]
    return {e["magic"]: e for e in shown}


def test_extensions(plain, tmp_path):
    done(plain, "extension", "add", "0x11223344", "--data=some text")
    assert extensions(plain)[0x11223344]["length"] == 9
    refused(plain, "extension", "add", "0x11223344", "--data=x", says="already: replace it")
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)))
    done(plain, "extension", "replace", "0x11223344", f"--file={data}")
    assert extensions(plain)[0x11223344]["length"] == 256
    assert bytes(range(256)) in read(plain)[:4096]
    with open(data, "rb") as opened:
        done(plain, "extension", "add", "5", stdin=opened)
    assert extensions(plain)[5]["length"] == 256
    done(plain, "extension", "remove", "0x11223344")
    assert 0x11223344 not in extensions(plain) and 5 in extensions(plain)
    before = read(plain)
    assert done(plain, "extension", "add", "6", "--file=-").returncode == 0  # nothing to read
    assert extensions(plain)[6]["length"] == 0
    done(plain, "extension", "remove", "6")
    assert read(plain) == before


def test_bitmaps_extension_takes_its_bit_along(copy):
    path = copy(recipe_image("good-bitmaps")[0])
    refused(path, "extension", "remove", "0x23852875", says="refcount-high")  # all leak
    done(path, "--force", "extension", "remove", "0x23852875")
    assert document(path)["header"]["autoclear_features"] == 0


def test_unknown_things_stay(copy):
    """Unknown extensions, their padding, unknown header bytes, unknown compatible bits."""
    path = copy(recipe_image("good-extensions-unknown")[0])
    before, old = read(path), extensions(path)
    done(path, "extension", "add", "0x77", "--data=x")
    new = extensions(path)
    new.pop(0x77)
    assert new == old
    done(path, "extension", "remove", "0x77")
    assert read(path) == before


def test_unknown_autoclear_bits_are_cleared(copy):
    path = copy(recipe_image("good-warn-unknown-autoclear-bit")[0])
    old = document(path)["header"]["autoclear_features"]
    assert old & ~3
    shown = json.loads(done(path, "-j", "set", "header/size=0x8000").stdout)
    assert shown["writes"][0]["phase"] == "withdraw"
    assert document(path)["header"]["autoclear_features"] == old & 3
    done(path, "--force", "feature", "autoclear", "40", "on")
    assert document(path)["header"]["autoclear_features"] == (old & 3) | 1 << 40


def test_backing(plain):
    before = read(plain)
    done(plain, "backing", "set", "b\u00e4cker.qcow2", "qcow2")
    shown = document(plain)["backing_file"]
    assert shown["name"] == "b\u00e4cker.qcow2" and 0xe2792aca in extensions(plain)
    refused(plain, "backing", "set", "other", says="give the backing file's format as well")
    done(plain, "backing", "set", "other", "raw")
    assert document(plain)["backing_file"]["name"] == "other"
    assert extensions(plain)[0xe2792aca]["length"] == 3
    done(plain, "backing", "clear")
    assert read(plain) == before


def test_data_file(copy):
    path = copy(recipe_image("good-data-file")[0])
    done(path, "data-file", "set", "elsewhere.raw", insist=("--exact",))
    assert b"elsewhere.raw" in read(path)[:4096 * 16]
    refused(path, "data-file", "set", "", says="name is empty")


def test_feature_names(plain):
    done(plain, "feature-names", "rebuild")
    assert extensions(plain)[0x6803f857]["length"] == 8 * 48
    assert b"extended L2 entries" in read(plain)[:4096]
    done(plain, "extension", "remove", "0x6803f857")


def test_broken_areas(copy):
    refused(copy(recipe_image("bad-extension-overrun-backing")[0]), "feature-names", "rebuild",
            says="cannot be laid out again")
    refused(copy(recipe_image("bad-cluster-bits-0")[0]), "feature-names", "rebuild",
            says="make no sense")
    refused(copy(recipe_image("bad-header-length-max")[0]), "feature-names", "rebuild",
            says="header_length passes the first cluster")
    refused(copy(recipe_image("bad-header-length-96")[0]), "feature-names", "rebuild",
            says="header_length ends inside the header")


@pytest.mark.parametrize("name", ["bad-backing-offset-cluster", "bad-backing-offset-header",
                                  "bad-backing-offset-max", "bad-backing-size-max",
                                  "bad-backing-size-1024"])
def test_lost_backing_name(copy, name):
    """What cannot be read whole is not laid out again; but it can be replaced."""
    path = copy(recipe_image(name)[0])
    refused(path, "--force", "feature-names", "rebuild", says="it would be lost")
    if name != "bad-backing-offset-header":  # whose extensions cannot be found
        done(path, "--force", "backing", "set", "found.raw", "raw")
        assert document(path)["backing_file"]["name"] == "found.raw"


# ---- what is refused, shown, asked ----

def test_problems_are_refused(plain):
    result = refused(plain, "set", "header/size=1T", says="would have problems")
    assert b"l1-too-small" in result.stderr
    refused(plain, "set", "header/version=9", says="no image any more: version 9")
    shown = edit(plain, "--dry-run", "set", "header/size=1T")
    assert shown.returncode == 1 and b"adds: corruption l1-too-small" in shown.stdout
    shown = edit(plain, "--dry-run", "set", "header/version=9")
    assert shown.returncode == 1 and b"check after: no image any more" in shown.stdout


def test_one_problem_for_another_is_refused(copy):
    """As many problems as before, but not the same ones."""
    path = copy(recipe_image("bad-refcount-too-small")[0])
    low = [p["where"] for p in json.loads(run("check", "-j", path).stdout)["problems"]
           if p["id"] == "refcount-low"]
    assert len(low) == 1 and low[0] != "refcounts/0/1"
    script = f"set {low[0]}=1\nset refcounts/0/1=0\n"
    result = subprocess.run([QCOW2, "edit", "--script=-", path], input=script.encode(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 1 and b"refcount-low" in result.stderr
    assert b"refcounts/0/1" in result.stderr


def test_problems_that_move_are_not_new(copy):
    """A backing format comes before other extensions, and theirs move."""
    path = copy(recipe_image("good-warn-feature-names-bit")[0])
    done(path, "backing", "set", "base.raw", "raw")


def test_mending_is_not_refused(copy):
    """What was broken before may stay broken; a magic number may come back."""
    path = copy(image(PLAIN)[0])
    done(path, "--force", "set", "header/magic=0", "header/version=77")
    done(path, "set", "header/magic=0x514649fb", "header/version=3")
    assert read(path) == read(image(PLAIN)[0])
    path = copy(recipe_image("bad-refcount-too-small")[0])
    done(path, "set", "header/compatible_features=1")


def test_dry_run(plain):
    before, names = read(plain), os.listdir(os.path.dirname(plain))
    shown = edit(plain, "--dry-run", "set", "header/size=0x80000", "l2/0/1=0")
    text = shown.stdout.decode("utf-8")
    assert shown.returncode == 1 and b"refused: the image would have problems" in shown.stderr
    assert "1/2 point, " in text and "set header/size to 524288 (0x80000)" in text
    assert re.search(r"^  0x00000010 -.*\n +\+ .*08", text, re.M)
    assert "check before: 0 corruptions, 0 leaks, 0 warnings\n" in text
    assert "undo with" not in text
    assert read(plain) == before and os.listdir(os.path.dirname(plain)) == names


@pytest.mark.parametrize("options", [("-j",), ("--output=json",)])
def test_json(plain, options):
    shown = json.loads(edit(plain, *options, "set", "header/size=0x80000").stdout)
    VALIDATOR.validate(shown)
    assert shown["applied"] and shown["undo-file"] == undo_files(plain)[0]
    assert [(w["offset"], w["old"], w["new"]) for w in shown["writes"]] == [(29, "10", "08")]
    dry = json.loads(run("edit", "-j", "-n", plain, "set", "header/size=1T").stdout)
    VALIDATOR.validate(dry)
    assert not dry["applied"] and dry["undo-file"] is None and dry["verdict"]["adds-problems"]
    gone = json.loads(run("edit", "-j", "-n", plain, "set", "header/version=9").stdout)
    VALIDATOR.validate(gone)
    assert gone["verdict"]["after"] is None


def test_dump_of_the_plan(plain):
    """What dump shows once the plan is applied, it shows of the plan."""
    words = ("set", "header/compatible_features=1", "header/size=0x200000")
    planned = json.loads(run("edit", "-nfj", "--dump=all", plain, *words).stdout)
    VALIDATOR.validate(planned)
    assert run("edit", "-f", "--no-undo", plain, *words).returncode == 0
    assert planned["planned"] == document(plain, "all")
    gone = run("edit", "-n", "--dump=all", plain, "set", "header/version=9")
    assert gone.returncode == 1 and b"version 9 is not supported" in gone.stderr
    wrong = run("edit", "-n", "--dump=nonsense", plain, *words)
    assert wrong.returncode == 1 and b"names nothing" in wrong.stderr and wrong.stdout == b""


def test_nothing_to_change(plain):
    result = edit(plain, "set", "header/size=1M")
    assert (result.returncode, result.stdout) == (0, b"Nothing to change.\n")
    assert undo_files(plain) == []
    assert json.loads(edit(plain, "-j", "set", "header/size=1M").stdout)["undo-file"] is None


def test_raw_entries_are_announced(plain):
    result = edit(plain, "--force", "set", "l2/0/1=1")
    assert result.returncode == 0 and b"sets entries of tables as they are" in result.stderr
    assert b"where a part of the disk is" in result.stderr
    for path, means in (("l1/0=0", b"a large part of the disk"),
                        ("refcounts/0/0=9", b"how many use a cluster"),
                        ("refcount_table/0=0", b"where the refcounts")):
        assert means in edit(plain, "--force", "set", path).stderr


@pytest.mark.parametrize("answer, code", [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_raw_entries_are_asked_for(plain, answer, code):
    leader, terminal = os.openpty()
    os.write(leader, answer)
    before = read(plain)
    result = edit(plain, "--force", "set", "l2/0/1=1", stdin=terminal)
    assert result.returncode == code and b"Go on? [y/N]" in result.stderr
    assert (read(plain) == before) == (code == 1)
    with_yes = subprocess.run([QCOW2, "edit", "--yes", "--force", plain, "set", "l2/0/1=0"],
                              stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=False)
    assert with_yes.returncode == 0 and b"Go on?" not in with_yes.stderr
    os.close(leader)
    os.close(terminal)


def test_read_only_file(plain):
    os.chmod(plain, 0o444)
    refused(plain, "set", "header/size=0x80000", says="it is read-only: Permission denied")
    assert edit(plain, "--dry-run", "set", "header/size=0x80000").returncode == 0
    assert edit(plain, "--no-undo", "set", "header/size=0x80000").returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can write what nobody may")
def test_read_only_file_forced(plain):
    os.chmod(plain, 0o444)
    assert edit(plain, "--force", "set", "header/size=0x80000").returncode == 0
    assert run("undo", undo_files(plain)[0]).returncode == 1
    assert run("undo", "--force", undo_files(plain)[0]).returncode == 0


# ---- scripts ----

def test_script(plain, tmp_path):
    script = tmp_path / "script"
    script.write_text("""# one plan of many changes
set header/size=0x80000    # a comment
feature compatible 'lazy refcounts' on

extension add 0x99 --data="two words" \t
backing set back\\ ing.raw raw
""")
    result = subprocess.run([QCOW2, "edit", "-j", f"--script={script}", plain],
                            stdout=subprocess.PIPE, check=True)
    assert len(json.loads(result.stdout)["writes"]) == 4 and len(undo_files(plain)) == 1
    assert document(plain)["backing_file"]["name"] == "back ing.raw"
    assert b"two words" in read(plain)[:4096]
    assert run("undo", undo_files(plain)[0]).returncode == 0
    assert read(plain) == read(image(PLAIN)[0])
    with open(script, "rb") as opened:
        assert subprocess.run([QCOW2, "edit", "--script=-", plain], stdin=opened,
                              stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("text, says", [
    ("\nset header/size=x", "line 2: header/size: 'x' is no number"),
    ("set 'header/size=1", "line 1: a quote is not closed"),
    ("set " + "header/size=1 " * 300, "line 1: too many words"),
    ("fly", "line 1: unknown verb 'fly'"),
])
def test_wrong_scripts(plain, tmp_path, text, says):
    script = tmp_path / "script"
    script.write_text(text)
    result = run("edit", f"--script={script}", plain)
    assert result.returncode == 1 and says in result.stderr.decode("utf-8"), result
    assert read(plain) == read(image(PLAIN)[0])


@pytest.mark.parametrize("arguments, says", [
    ((), "no image given"),
    (("IMAGE",), "no verb given"),
    (("--script=x", "IMAGE", "set"), "a verb and --script at once"),
    (("--script=x", "--data=y", "IMAGE"), "--data and --file stand in the script's lines"),
    (("--no-undo", "--undo-file=x", "IMAGE", "set"), "--undo-file and --no-undo at once"),
    (("--output=xml", "IMAGE", "set"), "--output is human or json"),
    (("--dump=all", "IMAGE", "set"), "--dump is for --dry-run"),
])
def test_wrong_lines(plain, arguments, says):
    result = run("edit", *[plain if word == "IMAGE" else word for word in arguments])
    assert result.returncode == 1 and says in result.stderr.decode("utf-8")


# ---- undo files ----

def test_undo_file_names(plain):
    for _ in range(3):
        assert edit(plain, "set", "header/compatible_features=1").returncode == 0
        assert edit(plain, "set", "header/compatible_features=0").returncode == 0
    names = [os.path.basename(name) for name in undo_files(plain)]
    assert len(names) == 6
    for name in names:
        assert re.fullmatch(r"a\.qcow2\.\d{8}T\d{6}Z(-\d+)?\.undo", name)
    assert all(os.stat(path).st_mode & 0o777 == 0o600 for path in undo_files(plain))


def test_undo_file_given(plain, tmp_path):
    path = str(tmp_path / "back")
    result = run("edit", f"--undo-file={path}", plain, "set", "header/size=0x80000")
    assert result.returncode == 0 and f"undo with: qcow2 undo {path}\n" in result.stdout.decode()
    again = run("edit", f"--undo-file={path}", plain, "set", "header/size=0x40000")
    assert again.returncode == 1 and b"File exists" in again.stderr
    assert b"nothing was changed" in again.stderr
    assert document(plain)["header"]["size"] == 0x80000
    assert run("undo", path).stdout.decode() == f"undone: {plain}\n"


def test_no_undo(plain):
    assert edit(plain, "--no-undo", "set", "header/size=0x80000").returncode == 0
    assert undo_files(plain) == [] and document(plain)["header"]["size"] == 0x80000


def test_undo_in_reverse(plain):
    before = read(plain)
    for size in (0x80000, 0x40000, 0x20000):
        assert edit(plain, "set", f"header/size={size}").returncode == 0
    files = sorted(undo_files(plain), key=os.path.getmtime)
    early = run("undo", files[0])
    assert early.returncode == 1 and b"the image was written to since" in early.stderr
    for path in reversed(files):
        assert run("undo", path).returncode == 0
    assert read(plain) == before


def test_undo_elsewhere(plain, tmp_path):
    """An image that moved has to be named; another file of its name is refused."""
    before = read(plain)
    assert edit(plain, "set", "header/size=0x80000").returncode == 0
    undo, moved, twin = undo_files(plain)[0], str(tmp_path / "moved"), str(tmp_path / "twin")
    shutil.copyfile(plain, twin)
    os.rename(plain, moved)
    assert b"No such file" in run("undo", undo).stderr
    os.rename(twin, plain)
    other = run("undo", undo)
    assert other.returncode == 1 and b"another one of its name" in other.stderr
    assert run("undo", undo, moved).returncode == 0 and read(moved) == before
    assert read(plain) != before


def test_undo_of_what_changed(plain):
    assert edit(plain, "set", "header/size=0x80000").returncode == 0
    undo = undo_files(plain)[0]
    for at, says in ((29, b"what the change wrote is not there"), (80, b"its metadata are not what")):
        with open(plain, "r+b") as opened:
            opened.seek(at)
            byte = opened.read(1)
            opened.seek(at)
            opened.write(bytes([byte[0] ^ 0x55]))
            result = None
            opened.flush()
            result = run("undo", undo)
            opened.seek(at)
            opened.write(byte)
        assert result.returncode == 1 and says in result.stderr, result
    with open(plain, "ab") as opened:
        opened.write(b"x")
    assert b"its size is not what the change left" in run("undo", undo).stderr


def test_undo_list(plain):
    assert edit(plain, "set", "header/size=0x80000").returncode == 0
    undo = undo_files(plain)[0]
    text = run("undo", "--list", undo).stdout.decode("utf-8")
    assert f"image    {plain}\n" in text and "state    applied\n" in text
    assert "edit     edit set header/size=0x80000\n" in text
    assert "puts back 1 bytes in 1 places\n" in text
    shown = json.loads(run("undo", "-l", "-j", undo).stdout)
    assert shown["state"] == "applied" and shown["image"] == plain
    assert shown["pieces"] == [{"offset": 29, "old": "10", "new": "08"}]
    shown = json.loads(run("undo", "--output=json", undo).stdout)
    assert (shown["image"], shown["bytes"], shown["exact"]) == (plain, 1, True)
    assert run("undo", undo).stdout.decode("utf-8") == f"undone before: {plain}\n"
    assert json.loads(run("undo", "-lj", undo).stdout)["state"] == "undone"
    assert json.loads(run("undo", "-j", undo).stdout)["bytes"] == 0


@pytest.mark.parametrize("arguments, says", [
    ((), "no undo file given"),
    (("a", "b", "c"), "too many operands"),
    (("--list", "a", "b"), "a: No such file or directory"),
    (("--output=xml", "a"), "--output is human or json"),
    (("/nowhere/x",), "No such file or directory"),
])
def test_wrong_undo_lines(arguments, says):
    result = run("undo", *arguments)
    assert result.returncode == 1 and says in result.stderr.decode("utf-8")


def damaged(undo, bytes_, path, says=b""):
    with open(undo, "wb") as opened:
        opened.write(bytes_)
    before = read(path)
    result = run("undo", undo)
    assert result.returncode == 1 and result.stderr and says in result.stderr, result
    text_is_safe(result.stderr)
    assert read(path) == before


def test_damaged_undo_files(plain):
    """Every byte of an undo file is proved before one is used; so is every length."""
    assert edit(plain, "set", "header/size=0x80000").returncode == 0
    undo = undo_files(plain)[0]
    whole = read(undo)
    for at in (*range(184), *range(1536, len(whole))):
        damaged(undo, whole[:at] + bytes([whole[at] ^ 0xff]) + whole[at + 1:], plain)
    for size in range(0, len(whole), 7):
        damaged(undo, whole[:size], plain)
    damaged(undo, whole + b"x", plain, b"its length is not what it says")
    damaged(undo, whole[:512] + bytes(1024) + whole[1536:], plain, b"it has no state")
    for layout in (1, 2):  # in the second, possible bytes had no phase
        damaged(undo, whole[:8] + struct.pack(">I", layout) + whole[12:], plain,
                b"an undo file of layout %d" % layout)
    damaged(undo, b"", plain, b"too short")


def test_damaged_state(plain):
    """The state is kept twice: if the last one was being written, the one before counts."""
    before = read(plain)
    assert edit(plain, "set", "header/size=0x80000").returncode == 0
    undo = undo_files(plain)[0]
    changed, whole = read(plain), read(undo)
    for at in range(1024, 1064):
        with open(undo, "wb") as opened:
            opened.write(whole[:at] + bytes([whole[at] ^ 0xff]) + whole[at + 1:])
        assert json.loads(run("undo", "-lj", undo).stdout)["state"] == "interrupted"
    assert read(plain) == changed
    assert run("undo", undo).returncode == 0 and read(plain) == before


@pytest.mark.parametrize("layout, says", [(4, b"checksum is wrong"), (3, b"undo file of layout 3")])
def test_huge_undo_file(tmp_path, layout, says):
    """A sparse file that claims to be one of many pieces costs no memory; nor does an older one."""
    undo = str(tmp_path / "undo")
    head = struct.pack(">8sIIQQQQQQ", b"QCOW2UND", layout, 1, 1 << 33, 0, 0, 0, 0, 1 << 24)
    with open(undo, "wb") as stream:
        stream.write(head)
        stream.truncate(1 << 33)
    result = run("undo", undo)
    assert result.returncode == 1 and says in result.stderr


def test_no_image_named(plain, tmp_path):
    """compat may have been called with any name; it is recorded as it was given."""
    undo = str(tmp_path / "back")
    assert run("compat", f"--undo-file={undo}", plain, "set-header", "size", "5").returncode == 0
    assert document(plain)["header"]["size"] == 5
    assert run("undo", undo, plain).returncode == 0
    assert read(plain) == read(image(PLAIN)[0])


# ---- every image ----

@pytest.mark.parametrize("name", recipes())
def test_edit_and_undo_is_nothing(copy, tmp_path, name):
    """Every field of the header, on every forged image, in one plan; then back."""
    source = recipe_image(name)[0]
    if os.stat(source).st_blocks * 512 > LARGE or os.path.getsize(source) > LARGE:
        source = image(PLAIN)[0]
    path = copy(source)
    before = read(path)
    script = tmp_path / "script"
    version = struct.unpack(">I", before[4:8].ljust(4, b"\0"))[0]
    fields = [field for field, at, _ in FIELDS
              if at < (72 if version == 2 else 104) and field not in ("magic", "version")]
    script.write_text("".join(f"set header/{field}={number}\n"
                              for number, field in enumerate(fields)))
    result = run("edit", "--force", "--yes", f"--script={script}", path)
    assert result.returncode in (0, 1) and b"Sanitizer" not in result.stderr, result
    if result.returncode == 1:
        assert read(path) == before and len(before) < 112
        return
    assert read(path) != before
    # With a data file nothing tells whether a guest wrote, and bitmaps would come back in use.
    assert run("undo", "--exact", undo_files(path)[0]).returncode == 0
    assert read(path) == before


def stored_fields(name):
    """The numbers of a structure, from its list."""
    with open(os.path.join(TOP, "include", "qcow2", "def", f"{name}.def"),
              encoding="utf-8") as stream:
        return re.findall(r"^QCOW2_FA?\(u\d+, (\w+),", stream.read(), re.M)


ELSEWHERE = [("good-snapshots", "snapshots/0/{}", "snapshot"),
             ("good-snapshots", "snapshots/0/{}", "snapshot_extra"),
             ("good-bitmaps", "bitmaps/0/{}", "bitmap_dir_entry"),
             ("good-bitmaps", "extensions/bitmaps/data/{}", "bitmaps_extension"),
             ("good-luks1", "extensions/crypto/data/{}", "crypto_extension"),
             ("good-luks1", "luks/{}", "luks1"),
             ("good-luks1", "luks/key-slots/1/{}", "luks1_key_slot"),
             ("good-extensions-unknown", "extensions/0/{}", "extension"),
             ("good-feature-names-full", "extensions/feature_names/feature-names/3/{}", "feature_name")]
ENTRIES = [("good-snapshots", "snapshots/0/l1/0"), ("good-snapshots", "snapshots/0/l2/0/1"),
           ("good-snapshots", "l1/0"), ("good-snapshots", "l2/0/3"),
           ("good-snapshots", "refcount_table/0"), ("good-snapshots", "refcounts/0/7"),
           ("good-bitmaps", "bitmaps/0/table/0"), ("good-extended-l2-compressed", "l2/0/0"),
           ("good-extended-l2-compressed", "l2/0/1/allocated"),
           ("good-extended-l2-compressed", "l2/0/1/zeroes")]


@pytest.mark.parametrize("recipe, path", [
    *((recipe, path.format(field)) for recipe, path, structure in ELSEWHERE
      for field in stored_fields(structure)), *ENTRIES])
def test_every_number_can_be_set(copy, recipe, path):
    """And back."""
    image_path = copy(recipe_image(recipe)[0])
    done(image_path, "--force", "set", f"{path}=93")


def test_names_for_a_shell(copy):
    """What is printed can be pasted."""
    path = copy(image(PLAIN)[0], "it's a disk.qcow2")
    shown = edit(path, "set", "header/compatible_features=1").stdout.decode("utf-8")
    command = shown.splitlines()[-1].removeprefix("undo with: qcow2 ")
    assert subprocess.run(["sh", "-c", f"{QCOW2} {command}"], check=False,
                          stdout=subprocess.DEVNULL).returncode == 0
    assert read(path) == read(image(PLAIN)[0])


def test_output_that_cannot_be_written(plain):
    """The image is changed all the same, and that is said."""
    with open("/dev/full", "wb") as full:
        done_ = subprocess.run([QCOW2, "edit", plain, "set", "header/compatible_features=1"],
                               stdout=full, stderr=subprocess.PIPE, check=False)
        assert done_.returncode == 1 and b"the image was changed, and there is an undo file" \
            in done_.stderr
        undone = subprocess.run([QCOW2, "undo", undo_files(plain)[0]], stdout=full,
                                stderr=subprocess.PIPE, check=False)
        assert undone.returncode == 1 and b"the image was put back" in undone.stderr
        assert read(plain) == read(image(PLAIN)[0])
        done_ = subprocess.run([QCOW2, "edit", "--no-undo", plain, "set", "header/version=2"],
                               stdout=full, stderr=subprocess.PIPE, check=False)
        assert done_.returncode == 1
