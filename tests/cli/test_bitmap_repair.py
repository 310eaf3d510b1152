# SPDX-License-Identifier: MIT
# What a repair of bitmaps believes, what it leaves, and what it says about that. Damage that needs
# QEMU to be seen is in tests/oracle.
"""bitmap repair, as scripts and people meet it."""
import json
import os
import shutil
import struct
import subprocess

import jsonschema
import pytest

from tests.support.bitmaps import changed, dirty, read, refused, shown, states
from tests.support.programs import TOP, image, recipe_image, run

with open(os.path.join(TOP, "docs", "edit.schema.json"), encoding="utf-8") as stream:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(stream))

A = "size 1M\nwrite 0 64k\nbitmap a bits=3\nbitmap b bits=2,5\n"


@pytest.fixture(name="copy")
def fixture_copy(tmp_path):
    return lambda source: shutil.copyfile(source, str(tmp_path / "a.qcow2"))


def stale(copy, name):
    """An image with what is stale in it, and the options that help."""
    if name == "bit clear":
        path = copy(recipe_image("good-bitmap-autoclear-cleared")[0])
    elif name == "of no type":
        # That it is stale is all that is known: what is not of a known type cannot be dirty.
        path = copy(recipe_image("good-bitmap-autoclear-cleared")[0])
        done = run("edit", "--force", "--no-undo", path, "set", "bitmaps/0/type=9")
        assert done.returncode == 0, done
    elif name == "of no directory":
        path = copy(image(A + "set header/autoclear_features 0\n"
                          "set extensions/bitmaps/bitmap_directory_offset 1 << 40\n")[0])
    else:
        path = copy(image("size 1M\nbitmap a flags=in_use,auto bits=3\nbitmap b\n")[0])
    return path, ["--drop-bad"] if name.startswith("of no ") else ["--assume-dirty", "--drop-bad"]


@pytest.mark.parametrize("name", ["in use", "bit clear", "of no type", "of no directory"])
def test_stale_bitmaps_have_a_code_of_their_own(copy, name):
    """repair && backup must not go on if no backup can rely on the bitmaps."""
    path, remedies = stale(copy, name)
    before = read(path)
    for words in ((), ("-n",)):
        text = shown("repair", path, *words, code=4)
        assert text.count("No backup can rely on what was left") == 1
        for option in ("--assume-dirty", "--drop-bad"):
            assert (option in text) == (option in remedies), text
        plan = json.loads(shown("repair", path, *words, "-j", code=4))
        VALIDATOR.validate(plan)
        assert plan["left"] == 1 and plan["left-remedies"] == remedies
        assert plan["image-in-use"] is False and plan["applied"] is False
    assert read(path) == before
    for option in remedies:
        other = path + ".copy"
        shutil.copyfile(path, other)
        # What no directory names leaks: no sound image is left, but one without damage.
        if name == "of no directory":
            assert run("bitmap", "repair", "--no-undo", option, other).returncode == 0
            assert run("check", other).returncode == 3
        else:
            changed(other, "repair", option)
        plan = json.loads(shown("repair", other, "-j"))
        assert plan["left"] == 0 and plan["left-remedies"] == []


def test_stale_among_mended_ones(copy):
    """What can be mended is, and the code tells of the rest."""
    path = copy(image("size 1M\nbitmap a flags=in_use,auto bits=3\nbitmap b flags=in_use,0x10\n"
                      "bitmap c bits=3\n")[0])
    done = run("edit", "--force", "--no-undo", path, "set", "bitmaps/2/flags=0x10")
    assert done.returncode == 0, done
    text = shown("repair", path, code=4)
    assert "left as it is" in text and "mended" in text
    assert states(path) == {"a": "in use", "b": "in use", "c": "disabled"}
    # In flags that are damaged, in_use may have been set.
    assert dirty(path, "c") == list(range(16))
    changed(path, "repair", "--drop-bad")
    assert states(path) == {"c": "disabled"}


def test_names_are_what_is_asked_for(copy):
    path = copy(image("size 1M\nbitmap a flags=in_use bits=3\nbitmap b flags=in_use\n")[0])
    assert "No backup can rely" in shown("repair", path, "--assume-dirty", "a")
    shown("repair", path, code=4)


def test_image_in_use_elsewhere(copy):
    """What another program has open was not saved badly: it is not saved yet."""
    path = copy(image("size 1M\nbitmap a flags=auto bits=3\nbitmap b\n")[0])
    holder = subprocess.Popen(["qemu-io", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        holder.stdin.write(b"write 0 64k\n")
        holder.stdin.flush()
        holder.stdout.readline()
        done = run("bitmap", "extents", path, "a")
        assert done.returncode == 1 and b"another program has the image open" in done.stderr
        assert b"not saved properly" not in done.stderr
        done = run("bitmap", "clear", "-n", path, "a")
        assert done.returncode == 1 and b"stores it when it is done" in done.stderr
        done = run("bitmap", "list", path)
        assert b"another program has the image open" in done.stdout
        assert json.loads(run("bitmap", "list", "-j", path).stdout)["image-in-use"] is True
        done = run("bitmap", "repair", "-n", path)
        assert done.returncode == 4 and b"not saved properly" not in done.stdout
        assert b"--assume-dirty" not in done.stdout
        plan = json.loads(run("bitmap", "repair", "-n", "-j", path).stdout)
        assert plan["image-in-use"] is True and plan["left-remedies"] == []
        assert run("bitmap", "repair", path).returncode == 1
    finally:
        holder.communicate(b"quit\n")
    assert states(path) == {"a": "enabled", "b": "disabled"}


# ---- what is not believed ----

DIRTY = list(range(16))
# What is wrong: the image, whether a decision is needed, what is dirty then in a and in b (None: it
# is gone, or its name is).
DOUBTS = {
    "a guest's cluster": (A + "set bitmaps/b/table/0 @data/0\n", False, [3], DIRTY),
    "another's data": (A + "set bitmaps/b/table/0 @bitmaps/a/data/0/0\n", False, DIRTY, DIRTY),
    "the directory": (A + "set bitmaps/b/table/0 @bitmap_directory\n", False, [3], DIRTY),
    "an L2 table": (A + "set bitmaps/b/table/0 @l2/0\n", False, [3], DIRTY),
    "a refcount block": (A + "set bitmaps/b/table/0 @refcounts/0/0\n", False, [3], DIRTY),
    "its own table": (A + "set bitmaps/b/table/0 @bitmaps/b/table/0\n", True, [3], DIRTY),
    "another's table": (A + "set bitmaps/b/table/0 @bitmaps/a/table/0\n", True, DIRTY, DIRTY),
    "a shared table": (A + "set bitmaps/b/bitmap_table_offset @bitmaps/a/table/0\n", True, DIRTY,
                       DIRTY),
    "table in the guest's": (A + "set bitmaps/b/bitmap_table_offset @data/0\n", True, [3], DIRTY),
    "free data": (A + "set refcount_of/bitmaps/b/data/0/0 0\n", False, [3], DIRTY),
    "data counted twice": (A + "set refcount_of/bitmaps/b/data/0/0 2\n", False, [3], DIRTY),
    "a free table": (A + "set refcount_of/bitmaps/b/table/0 0\n", True, [3], DIRTY),
    "a free directory": (A + "set refcount_of/bitmap_directory 0\n", True, DIRTY, DIRTY),
    "reserved flags": (A + "set bitmaps/b/flags 0x10\n", False, [3], DIRTY),
    "table too long": (A + "set bitmaps/b/bitmap_table_size 2\n", False, [3], DIRTY),
    "granularity": ("size 1G\nbitmap a bits=3\nbitmap b granularity=512 bits=2\n"
                    "set bitmaps/b/granularity_bits 10\n", False, [3], list(range(1 << 14))),
    "tail": (A + "set bitmaps/b/data/0/60000 1\n", False, [3], DIRTY),
    "QEMU's tail": (A + "poke @bitmaps/b/data/0/2 ffffffffffff\n", False, [3], [2, 5]),
    "not all of QEMU's tail": (A + "poke @bitmaps/b/data/0/2 ffffffffff7f\n", False, [3], DIRTY),
    "two of a name": (A + 'set bitmaps/b/name "a"\n', False, None, None),
    "equal extensions": (A + "extension bitmaps hex:{extension}\n", False, [3], [2, 5]),
    "hidden by the count": (A + "set bitmaps/b/table/0 @data/0\n"
                            "set extensions/bitmaps/nb_bitmaps 1\n", False, [3], DIRTY),
    "hidden by the size": (A + "set bitmaps/b/table/0 @data/0\n"
                           "set extensions/bitmaps/bitmap_directory_size 32\n", False, [3], DIRTY),
    "hidden in use": (A + "set bitmaps/b/flags 1\nset extensions/bitmaps/nb_bitmaps 1\n", False,
                      [3], "in use"),
}


def forged(copy, text):
    if "{extension}" in text:
        plain = recipe_extension(text.split("extension bitmaps")[0])
        text = text.format(extension=plain)
    return copy(image(text)[0])


def recipe_extension(text):
    """The data of the bitmaps extension of an image, as digits."""
    with open(image(text)[0], "rb") as stream:
        head = stream.read(4096)
    at = head.index(struct.pack(">II", 0x23852875, 24))
    return head[at + 8:at + 32].hex()


def believed(path, a, b):
    after = states(path)
    for name, wanted in (("a", a), ("b", b)):
        if wanted is None:
            assert name not in after
        elif wanted == "in use":
            assert after[name] == wanted
        else:
            assert dirty(path, name) == wanted, name


@pytest.mark.parametrize("name", DOUBTS)
def test_what_is_not_believed(copy, name):
    """A bit that may have been dirty never comes out clean."""
    text, decision, a, b = DOUBTS[name]
    path = forged(copy, text)
    options = ["--assume-dirty"] if decision else []
    if decision:
        refused(path, "repair", path, says="to be decided")
        dropped = shutil.copyfile(path, path + ".dropped")
        assert run("bitmap", "repair", "--no-undo", "--drop-bad", dropped).returncode == 0
        assert all(dirty(dropped, n) == {"a": a, "b": b}[n] for n in states(dropped))
    done = run("bitmap", "repair", "--no-undo", path, *options)
    assert done.returncode == (4 if b == "in use" else 0), done
    believed(path, a, b)
    again = run("bitmap", "repair", path)
    assert b"Nothing to change" in again.stdout and again.returncode == done.returncode
    assert run("check", path).returncode in (0, 3)
    # What several have by name is told apart by new ones.
    if name == "two of a name":
        assert [dirty(path, n) for n in ("a-0", "a-1")] == [[3], [2, 5]]


def test_extensions_that_differ(copy):
    """Which of them is older nobody knows: what the first says is not believed."""
    path = copy(recipe_image("bad-extension-duplicate-bitmaps")[0])
    with open(path, "r+b") as stream:
        head = stream.read(4096)
        stream.seek(head.rindex(struct.pack(">II", 0x23852875, 24)) + 8 + 23)
        stream.write(b"\x01")
    refused(path, "repair", path, says="to be decided")
    assert run("bitmap", "repair", "--no-undo", "--assume-dirty", path).returncode == 0
    assert dirty(path, "b0") == DIRTY


def test_a_name_that_is_asked_for_stays(copy):
    """All dirty, it is right for whoever looks for that name."""
    path = copy(image(A + 'set bitmaps/b/name "a"\n')[0])
    assert run("bitmap", "repair", "--no-undo", "--assume-dirty", path, "a").returncode == 0
    assert sorted(states(path)) == ["a", "a-1"] and dirty(path, "a") == dirty(path, "a-1") == DIRTY


def test_a_directory_of_zeros(copy):
    """One cause, the one way out, and that the disk is not concerned."""
    path = copy(image(A + "poke @bitmap_directory zeros:64\n")[0])
    said = run("bitmap", "repair", path).stderr.decode()
    assert said.count("The bitmap directory is all zeros.") == said.count("to be decided") == 1
    assert "(--drop-bad); only bitmaps are damaged, the disk itself is sound" in said
    refused(path, "repair", path, "--assume-dirty", says="--drop-bad as well")
    assert run("bitmap", "repair", "--no-undo", "--drop-bad", path).returncode == 0
    assert states(path) == {} and run("check", path).returncode == 3


def test_the_disk_is_not_called_sound(copy):
    path = copy(image(A + "poke @bitmap_directory zeros:64\nset refcount_of/data/0 0\n")[0])
    assert "the disk itself" not in run("bitmap", "repair", path).stderr.decode()


@pytest.mark.parametrize("options, says", [
    ([], "(--drop-bad, with --assume-dirty where that is possible)"),
    (["--assume-dirty"], "(--drop-bad as well)"),
])
def test_only_what_helps_is_suggested(copy, options, says):
    path = copy(image(A + "set bitmaps/a/type 7\nset bitmaps/b/bitmap_table_offset 0\n")[0])
    refused(path, "repair", path, *options, says=says)
    both = ("--assume-dirty", "--drop-bad")
    assert run("bitmap", "repair", "--no-undo", path, *both).returncode == 0
    assert states(path) == {"b": "disabled"} and dirty(path, "b") == DIRTY


def test_what_a_false_table_names_is_not_freed(copy):
    """A cluster that nothing refers to may be what somebody else has lost."""
    path = copy(image("size 1M\nwrite 0 64k\nwrite 64k 64k\nbitmap a\n"
                      "set bitmaps/a/bitmap_table_offset @l2/0\nset l1/0 0\n")[0])
    lost = run("check", path).stdout
    assert run("bitmap", "repair", "--no-undo", "--drop-bad", path).returncode == 0, lost
    assert run("check", path).returncode == 3


@pytest.mark.parametrize("stored, wanted", [(1, DIRTY), (2, [3])])
def test_data_cut_by_the_end_of_the_file(copy, stored, wanted):
    """Bits that the end of the file cuts off are lost, not clean; others need not be there."""
    end = os.path.getsize(image(A)[0])
    path = copy(image(A + f"set bitmaps/a/table/0 {end}\nset refcount_of/{end} 1\n"
                      f"append {bytes((8, 0))[:stored].hex()}\n")[0])
    done = run("bitmap", "repair", "--no-undo", path)
    assert done.returncode == 0 and dirty(path, "a") == wanted, done
