# SPDX-License-Identifier: MIT
# Standard input, output and error may be closed when the command starts. The image would get their
# numbers, and messages would be written into it; so every command is run with every subset of them
# closed, and the image must end with the bytes that it has if none is.
"""Closed descriptors 0, 1 and 2."""
import itertools
import os
import re
import shutil
import subprocess

import pytest

from tests.support.programs import QCOW2, RELEASE, recipe_image, run
from tests.support.reading import failures

SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations((0, 1, 2), n)]
CLOSE = {0: "<&-", 1: ">&-", 2: "2>&-"}
GIVEN = b"what stands on standard input"
IMAGE = "good-bitmaps"
# Words of each run. IMAGE is a copy of the image, OTHER another one, UNDO a new undo file, MADE one
# of an edit of the image, SCRIPT and VERBS scripts, BITS the bits of a bitmap, JUNK
# no script, OUT a new file, LEAKS an image to repair.
READ = """info IMAGE|info -j IMAGE|dump IMAGE|dump -j IMAGE|check IMAGE|check -j IMAGE
map IMAGE|map -j IMAGE|map --binary --chain IMAGE|locate --guest=0 IMAGE
layout IMAGE|layout -j IMAGE|report --to=OUT IMAGE|report -o- IMAGE|measure IMAGE|measure -j --chain IMAGE|snapshot list IMAGE|snapshot space -j IMAGE
read IMAGE|read -x IMAGE|export --to=OUT IMAGE|capture --to=OUT IMAGE|hash IMAGE|hash -j IMAGE|compare IMAGE OTHER|compare -j IMAGE OTHER
diff IMAGE OTHER|diff -j IMAGE IMAGE|vet IMAGE OTHER|vet -j IMAGE
explain header|explain -j|bitmap list IMAGE|bitmap list -j IMAGE|bitmap extents IMAGE enabled
bitmap export IMAGE enabled|bitmap export --to=OUT IMAGE enabled
bitmap export --sparse --to=OUT IMAGE enabled|bitmap compare IMAGE enabled disabled
bitmap compare --from=OTHER IMAGE enabled enabled|undo --list MADE|undo -l -j MADE
compat IMAGE dump-header|compat -j IMAGE dump-header|compat IMAGE dump-header-exts|--help
--version|--completion|completion fish|help edit|edit --help|edit -n IMAGE set
compat IMAGE no-such-command|repair --dry-run LEAKS|rescue IMAGE|rescue -j IMAGE
repair -j IMAGE|edit --dry-run IMAGE set header/size=1M|bitmap add --dry-run IMAGE new"""
CHANGE = """edit --undo-file=UNDO IMAGE feature compatible lazy-refcounts on
edit --no-undo -j IMAGE set header/compatible_features=1
edit --no-undo --data=x IMAGE extension add 0x12345678
edit --no-undo --file=BITS IMAGE extension add 0x12345678
edit --no-undo IMAGE backing set base.raw raw|edit --no-undo IMAGE feature-names rebuild
edit --no-undo --script=VERBS IMAGE|edit -f -y --no-undo IMAGE set l1/0=0
bitmap add --undo-file=UNDO IMAGE new|bitmap add --no-undo -j IMAGE new
bitmap remove --no-undo IMAGE enabled|bitmap clear --no-undo IMAGE enabled
bitmap enable --no-undo IMAGE disabled|bitmap disable --no-undo IMAGE enabled
bitmap rename --no-undo IMAGE enabled other|bitmap merge --no-undo IMAGE enabled disabled
bitmap merge --no-undo --from=OTHER IMAGE enabled enabled
bitmap import --no-undo -g 64k IMAGE new BITS|bitmap script --no-undo IMAGE SCRIPT
bitmap repair --no-undo --assume-dirty IMAGE enabled|undo MADE|undo -j MADE
undo MADE IMAGE|repair --no-undo LEAKS|repair --undo-file=UNDO -j LEAKS
compat IMAGE set-header compatible_features 1|compat IMAGE set-feature-bit compatible 3
compat --undo-file=UNDO IMAGE add-header-ext 0x12345678 text
compat IMAGE del-header-ext 0x23852875"""
REFUSE = """edit --no-undo IMAGE set l2/0/0=0|edit --no-undo IMAGE set no/such=1
edit --no-undo IMAGE no-verb|edit --no-undo --script=JUNK IMAGE|edit --undo-file=BITS IMAGE set
edit --undo-file=BITS IMAGE set header/compatible_features=1
edit --undo-file=IMAGE IMAGE set header/compatible_features=1
bitmap remove --no-undo IMAGE nosuch|bitmap add --no-undo IMAGE enabled|bitmap nothing IMAGE
bitmap import --no-undo IMAGE new OUT|bitmap script --no-undo IMAGE JUNK
bitmap export --to=IMAGE IMAGE enabled|report --force --to=IMAGE IMAGE|undo IMAGE|undo OUT|undo MADE JUNK
compat IMAGE set-header nosuch 1|compat IMAGE set-feature-bit compatible 99
compat IMAGE add-header-ext x y|info OUT|check OUT|dump IMAGE nosuch|no-such-command IMAGE|repair no-such|repair --only=no-such LEAKS
rescue JUNK|rescue --apply --undo-file=BITS JUNK
capture -o OTHER IMAGE|capture -o IMAGE IMAGE|capture -o OUT JUNK|capture --no-undo --apply=OTHER IMAGE"""
GIVE = """edit --no-undo --file=- IMAGE extension add 0x12345678
edit --no-undo --script=- IMAGE|bitmap script --no-undo IMAGE -
bitmap import --no-undo -g 64k IMAGE new -|compat IMAGE add-header-ext-stdio 0x12345678"""


def runs(text):
    return [r for line in text.splitlines() for r in line.split("|")]


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def listed(folder):
    return {name: read(folder / name) for name in sorted(os.listdir(folder))}


@pytest.fixture(name="kept", scope="module")
def fixture_kept(tmp_path_factory):
    """The files of each scene. MADE is of an image with another inode here, and cannot be undone."""
    kept = tmp_path_factory.mktemp("kept")
    for name in ("PLAIN", "OTHER"):
        shutil.copyfile(recipe_image(IMAGE)[0], kept / name)
    (kept / "VERBS").write_text("feature compatible lazy-refcounts on\nbacking clear\n")
    (kept / "SCRIPT").write_text("add new\nclear enabled\n")
    done = run("bitmap", "export", f"--to={kept / 'BITS'}", kept / "PLAIN", "enabled")
    assert done.returncode == 0
    shutil.copyfile(recipe_image("bad-refcount-leak")[0], kept / "LEAKS")
    (kept / "JUNK").write_text("no-such-verb\n")
    shutil.copyfile(kept / "PLAIN", kept / "IMAGE")
    add_extension(kept)
    return kept


def add_extension(folder):
    done = run("edit", "--undo-file=MADE", "--data=x", "IMAGE", "extension", "add", "0x11111111",
               program=RELEASE, cwd=folder)
    assert done.returncode == 0


@pytest.fixture(name="scene")
def fixture_scene(kept, tmp_path, monkeypatch):
    """Makes the folder anew, with an undo file that fits if it is to be used; the bytes of all."""
    folder = tmp_path / "scene"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # a report names the time

    def again(words=""):
        fits = "MADE" in words.split()
        for name in os.listdir(folder):
            os.remove(folder / name)
        for name in sorted(set(os.listdir(kept)) - {"PLAIN"}):
            shutil.copyfile(kept / ("PLAIN" if fits and name == "IMAGE" else name), folder / name)
            os.utime(folder / name, (0, 0))  # a report names that one as well
        if fits:
            os.remove("MADE")
            add_extension(folder)
        return listed(folder)

    return folder, again


def closed(words, subset):
    """A run with these descriptors closed: under ASan if output is lost, as only then another path
    is taken than elsewhere."""
    program = QCOW2 if subset == (1,) else RELEASE
    close = " ".join(CLOSE[fd] for fd in subset)
    return subprocess.run(["sh", "-c", f'exec "$@" {close}', "sh", program, *words.split()],
                          input=GIVEN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          check=False)


def without_undo(files):
    """Undo files name the time and the inode."""
    return {name: data for name, data in files.items() if name not in ("UNDO", "MADE")}


@pytest.mark.parametrize("words", runs(READ) + runs(CHANGE) + runs(REFUSE))
def test_closed(words, scene):
    """The same files as with all of them open, and an exit code that says if output was lost."""
    folder, again = scene
    before = again(words)
    usual = closed(words, ())
    expected = listed(folder)
    changes = without_undo(before) != without_undo(expected)
    assert usual.returncode == 0 if words in runs(CHANGE) else True, usual
    assert usual.returncode == 1 if words in runs(REFUSE) else True, usual
    assert changes == (words in runs(CHANGE) or usual.returncode == 0 and "--to" in words)
    for subset in SUBSETS:
        again(words)
        done = closed(words, subset)
        found = listed(folder)
        assert without_undo(found) == without_undo(expected), subset
        assert found.keys() == expected.keys(), subset
        lost = 1 in subset and usual.stdout
        assert done.returncode == (failures(words)[0] if lost else usual.returncode), (subset, done)
        if lost and 2 not in subset:
            assert b"standard output: Bad file descriptor" in done.stderr, done
        if lost and words in runs(CHANGE) and words.startswith(("edit", "bitmap")):
            assert 2 in subset or b"the image was changed" in done.stderr, done
        if 2 not in subset:
            assert usual.stderr in done.stderr
        if "UNDO" in found:
            assert run("undo", "UNDO").returncode == 0
            assert without_undo(before).items() <= listed(folder).items()


@pytest.mark.parametrize("words", runs(GIVE))
def test_input(words, scene):
    """What is to be read from a closed standard input is missing, and nothing is changed."""
    folder, again = scene
    for subset in SUBSETS:
        before = again()
        done = closed(words, subset)
        if 0 in subset:
            assert done.returncode == 1 and listed(folder) == before, (subset, done)
            assert 2 in subset or b"Bad file descriptor" in done.stderr
        else:
            assert b"Bad file descriptor" not in done.stderr or 1 in subset


@pytest.mark.parametrize("subset", SUBSETS)
def test_by_the_other_name(subset, scene):
    folder, again = scene
    os.symlink(QCOW2, folder.parent / "qcow2.py")
    for words in (["set-header", "compatible_features", "3"], ["set-header", "nosuch", "1"]):
        files = []
        for each in ((), subset):
            again()
            close = " ".join(CLOSE[fd] for fd in each)
            subprocess.run(["sh", "-c", f'exec "$@" {close}', "sh", folder.parent / "qcow2.py",
                            "IMAGE", *words], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            files.append(listed(folder)["IMAGE"])
        assert files[0] == files[1]


@pytest.mark.parametrize("words", [r for r in runs(CHANGE) if "LEAKS" not in r] +
                         [r for r in runs(READ) if "IMAGE" in r.split()])
@pytest.mark.parametrize("where", ["1<>IMAGE", "1>>IMAGE", "2<>IMAGE", "2>>IMAGE", "1<>LINK"])
def test_output_into_the_image(where, words, scene):
    """What is told of an image must not be written into it."""
    folder, again = scene
    again(words)
    os.link("IMAGE", "LINK")
    before = listed(folder)
    program = QCOW2 if where == "1<>IMAGE" else RELEASE
    done = subprocess.run(["sh", "-c", f'exec "$@" {where}', "sh", program, *words.split()],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == failures(words)[0] and listed(folder) == before
    assert where[0] == "2" or b"standard output goes into the image itself" in done.stderr


def test_every_command_is_there():
    names = re.findall(r"^  ([a-z]+) ", run("--help").stdout.decode().split("Options:")[0], re.M)
    actions = set(re.findall(r"^  ([a-z]+) ", run("bitmap", "--help").stdout.decode(), re.M))
    tried = [r.split() for r in runs(READ) + runs(CHANGE) + runs(REFUSE) + runs(GIVE)]
    assert len(names) >= 8 and set(names) <= {t[0] for t in tried}
    assert {t[1] for t in tried if t[0] == "bitmap"} >= actions - {"bitmap"}


def test_no_null_device(scene):
    """Where they cannot be replaced nothing is done at all."""
    folder, again = scene
    before = again()
    done = subprocess.run(["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /dev && exec \"$@\""
                           " 2>&-", "sh", QCOW2, "bitmap", "remove", "--no-undo", "IMAGE",
                           "enabled"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1) or b"unshare" in done.stderr:
        pytest.skip("not here: no namespaces")
    assert done.returncode == 1 and listed(folder) == before
