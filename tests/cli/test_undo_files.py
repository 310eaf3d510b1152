# SPDX-License-Identifier: MIT
# Where undo files go, how they are called, and what keeps them from being made; which there are, and
# what can be done with each. What an undo does to an image is in test_edit.py and tests/crash.
"""The undo files of edit, bitmap and compat."""
import fcntl
import json
import os
import pty
import re
import shutil
import stat
import struct
import subprocess
import time

import jsonschema
import pytest

from tests.support.answers import text_is_safe
from tests.support.faults import each_fault
from tests.support.programs import QCOW2, TOP, image, run

with open(os.path.join(TOP, "docs", "undo.schema.json"), encoding="utf-8") as stream:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(stream))
PLAIN = "cluster_bits 12\nsize 1M\nwrite 0 8k\n"
STAMP = r"\d{8}T\d{6}Z"
MEMORY = "/dev/shm"
needs_memory = pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="not here: no /dev/shm")


def read(path):
    with open(path, "rb") as opened:
        return opened.read()


@pytest.fixture(name="plain")
def fixture_plain(tmp_path):
    path = str(tmp_path / "disk.qcow2")
    shutil.copyfile(image(PLAIN)[0], path)
    return path


@pytest.fixture(name="memory")
def fixture_memory(tmp_path):
    """A folder in memory."""
    path = os.path.join(MEMORY, f"qcow2-test-{os.getpid()}-{tmp_path.name}")
    os.mkdir(path)
    yield path
    shutil.rmtree(path)


def change(path, *options, env=None, field="compatible_features", to=1):
    """Sets a harmless field; returns the run and, if it worked, the undo file that it names."""
    done = run("edit", *options, path, "set", f"header/{field}={to}", env=env)
    text_is_safe(done.stderr)
    named = re.findall(r"^undo with: qcow2 undo (\S+)$", done.stdout.decode(), re.M)
    return done, named[0] if named else None


def refused(path, *options, says, env=None):
    """Nothing is changed, and nothing is left behind."""
    before, files = read(path), sorted(os.listdir(os.path.dirname(path)))
    done, named = change(path, *options, env=env)
    assert (done.returncode, done.stdout, named) == (1, b"", None), done
    for what in says:
        assert what in done.stderr.decode(), done.stderr
    assert read(path) == before and sorted(os.listdir(os.path.dirname(path))) == files


# ---- where they go ----

def test_beside_the_image(plain, tmp_path):
    """In a folder that is hidden, for the image's own sake: nobody takes it for an image."""
    done, named = change(plain)
    assert done.returncode == 0 and done.stderr == b""
    folder, name = os.path.split(named)
    assert folder == str(tmp_path / ".qcow2-undo")
    assert re.fullmatch(rf"disk\.qcow2\.{STAMP}\.undo", name)
    assert sorted(os.listdir(tmp_path)) == [".qcow2-undo", "disk.qcow2"]
    assert stat.S_IMODE(os.stat(named).st_mode) == 0o600
    for shown in (["ls", str(tmp_path)], ["sh", "-c", f"echo {tmp_path}/*"]):
        assert b"undo" not in subprocess.run(shown, stdout=subprocess.PIPE, check=True).stdout
    assert run("undo", named).returncode == 0 and read(plain) == read(image(PLAIN)[0])


def test_names_of_one_second(plain):
    names = [change(plain, to=to % 2)[1] for to in range(1, 7)]
    assert len(set(names)) == 6 and all(os.path.exists(name) for name in names)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o2770])
def test_mode_of_the_folder(plain, tmp_path, mode):
    """Whoever may keep images there may keep undo files there."""
    os.chmod(tmp_path, mode)
    folder = os.path.dirname(change(plain)[1])
    assert stat.S_IMODE(os.stat(folder).st_mode) == mode
    assert os.stat(folder).st_gid == os.stat(tmp_path).st_gid


def test_where_everybody_may_write(plain, tmp_path):
    """There the folder could be anybody's, who could then replace what is in it."""
    os.chmod(tmp_path, 0o1777)
    os.mkdir(tmp_path / ".qcow2-undo", 0o777)
    folder, name = os.path.split(change(plain)[1])
    assert folder == str(tmp_path) and re.fullmatch(rf"\.disk\.qcow2\.{STAMP}\.undo", name)


def test_relative_names(plain, tmp_path):
    done = run("edit", "disk.qcow2", "set", "header/compatible_features=1", cwd=tmp_path)
    assert re.search(rb"undo \.qcow2-undo/disk\.qcow2\.\S+\.undo\n", done.stdout)
    assert os.path.dirname(plain) == str(tmp_path)


def test_link_to_an_image(plain, tmp_path):
    """The undo file is where the image is, whatever it was called."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.symlink(plain, elsewhere / "link")
    assert os.path.dirname(change(str(elsewhere / "link"))[1]) == str(tmp_path / ".qcow2-undo")
    assert os.listdir(elsewhere) == ["link"]


def test_long_names(tmp_path):
    """Names that differ only where they are cut have undo files of different names."""
    names = []
    for end in "ab":
        path = str(tmp_path / ("n" * 240 + end))
        shutil.copyfile(image(PLAIN)[0], path)
        done, named = change(path)
        assert done.returncode == 0, done
        names.append(os.path.basename(named).partition("Z-")[2])
    assert names[0] != names[1]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_in_place_of_the_folder(plain, tmp_path, kind):
    if kind == "file":
        (tmp_path / ".qcow2-undo").write_text("mine")
    else:
        os.mkdir(tmp_path / "trap")
        os.symlink("trap", tmp_path / ".qcow2-undo")
    refused(plain, says=["/.qcow2-undo/disk.qcow2.", "Not a directory", "--undo-file", "--no-undo"])


def test_nothing_to_change(plain, tmp_path):
    """Or only looked at: nothing is made."""
    assert change(plain, to=0)[0].stdout == b"Nothing to change.\n"
    assert change(plain, "--dry-run")[1] is None
    assert change(plain, "--no-undo")[1] is None
    assert os.listdir(tmp_path) == ["disk.qcow2"]


# ---- other places ----

@pytest.mark.parametrize("how", ["option", "environment"])
def test_undo_dir(plain, tmp_path, how):
    kept = tmp_path / "kept"
    kept.mkdir()
    options, env = ([f"--undo-dir={kept}"], None) if how == "option" else \
        ([], {**os.environ, "QCOW2_UNDO_DIR": str(kept)})
    other = tmp_path / "other"
    other.mkdir()
    twin = shutil.copyfile(plain, other / "disk.qcow2")
    names = [change(path, *options, env=env)[1] for path in (plain, str(twin))]
    assert sorted(map(os.path.basename, names)) == sorted(os.listdir(kept))
    assert all(re.fullmatch(rf"disk\.qcow2\.{STAMP}-[0-9a-f]{{12}}\.undo", os.path.basename(name))
               for name in names)
    # Not by chance: the marks of the two differ.
    assert len({name.rpartition("-")[2] for name in names}) == 2
    assert sorted(os.listdir(tmp_path)) == ["disk.qcow2", "kept", "other"]
    assert run("undo", names[0]).returncode == 0 and read(plain) == read(image(PLAIN)[0])


def test_other_commands(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    path = str(tmp_path / "disk.qcow2")
    shutil.copyfile(image(PLAIN)[0], path)
    before = read(path)
    done = run("bitmap", "add", f"--undo-dir={kept}", path, "b0")
    assert done.returncode == 0 and len(os.listdir(kept)) == 1
    assert run("undo", kept / os.listdir(kept)[0]).returncode == 0 and read(path) == before
    env = {**os.environ, "QCOW2_UNDO_DIR": str(kept)}
    for words in ([f"--undo-dir={kept}"], ["--undo-dir", str(kept)]):
        assert run("compat", *words, path, "set-header", "size", "5").returncode == 0
        assert run("compat", path, "set-header", "size", "6", env=env).returncode == 0
    assert len(os.listdir(kept)) == 5
    assert run("compat", path, "set-header", "size", "5").returncode == 0
    assert len(os.listdir(kept)) == 5
    lacking = run("compat", "--undo-dir")
    assert lacking.returncode == 1 and b"'--undo-dir' needs an argument" in lacking.stderr


def test_undo_file_goes_before_the_environment(plain, tmp_path):
    env = {**os.environ, "QCOW2_UNDO_DIR": "/nowhere"}
    path = str(tmp_path / "u")
    assert change(plain, f"--undo-file={path}", env=env)[1] == path
    assert change(plain, "--no-undo", env=env, to=0)[0].returncode == 0
    assert change(plain, env={**env, "QCOW2_UNDO_DIR": ""})[0].returncode == 0


@pytest.mark.parametrize("options, says", [
    (["--undo-dir=.", "--no-undo"], "--undo-dir and --no-undo at once"),
    (["--undo-dir=.", "--undo-file=u"], "--undo-file and --undo-dir at once"),
    (["--undo-file=u", "--no-undo"], "--undo-file and --no-undo at once"),
])
@pytest.mark.parametrize("command", ["edit", "bitmap"])
def test_options_that_do_not_go_together(plain, command, options, says):
    words = ["set", "header/size=1"] if command == "edit" else ["b"]
    action = [] if command == "edit" else ["add"]
    done = run(command, *options, *action, plain, *words)
    assert done.returncode == 1 and says in done.stderr.decode()


def test_undo_dir_that_is_none(plain, tmp_path):
    (tmp_path / "file").write_text("")
    refused(plain, f"--undo-dir={tmp_path}/none", says=["/none: No such file", "--undo-dir"])
    refused(plain, f"--undo-dir={tmp_path}/file", says=["/file: Not a directory", "--undo-dir"])
    refused(plain, says=["/none: No such file", "QCOW2_UNDO_DIR"],
            env={**os.environ, "QCOW2_UNDO_DIR": f"{tmp_path}/none"})
    refused(plain, "--undo-dir=", says=["qcow2 edit: '': No such file"])


def test_undo_file_that_cannot_be_made(plain, tmp_path):
    """Its own path is named, and both ways out."""
    (tmp_path / "there").write_text("mine")
    for path, why in ((tmp_path / "there", "File exists"), (tmp_path / "no" / "u", "No such file"),
                      (tmp_path / "there" / "u", "Not a directory"),
                      (tmp_path / ("u" * 300), "File name too long")):
        refused(plain, f"--undo-file={path}",
                says=[f"{path}: {why}", "nothing was changed", "--undo-file", "--no-undo"])
    assert (tmp_path / "there").read_text() == "mine"


def test_folder_that_is_full(plain, tmp_path):
    """What goes wrong while it is written is its trouble, too."""
    done = subprocess.run(["sh", "-c", 'ulimit -f 1; exec "$0" "$@"', QCOW2, "edit",
                           f"--undo-file={tmp_path}/u", plain, "set", "header/size=512k"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and done.stdout == b"", done
    said = done.stderr.decode()
    assert said.startswith(f"qcow2 edit: {tmp_path}/u: ") and "File too large" in said
    for what in ("nothing was changed", "--undo-file=PATH", "--undo-dir=DIR", "--no-undo keeps none)"):
        assert what in said
    assert not os.path.exists(tmp_path / "u") and read(plain) == read(image(PLAIN)[0])


@pytest.mark.skipif(os.geteuid() == 0, reason="not here: root may write everywhere")
def test_folder_that_is_closed(plain, tmp_path):
    os.chmod(tmp_path, 0o555)
    refused(plain, says=["/.qcow2-undo/", "Permission denied", "--undo-file", "--no-undo"])
    os.chmod(tmp_path, 0o755)


# ---- file systems in memory ----

@needs_memory
def test_place_in_memory(plain, memory):
    """Taken, as it was given on purpose, and warned about."""
    for options, env in (([f"--undo-file={memory}/u"], None), ([f"--undo-dir={memory}"], None),
                         ([], {**os.environ, "QCOW2_UNDO_DIR": memory})):
        done, named = change(plain, *options, env=env)
        assert done.returncode == 0 and named.startswith(memory + "/")
        assert f"{memory}: warning: is in memory".encode() in done.stderr
        assert run("undo", named).returncode == 0


@needs_memory
def test_image_in_memory(memory):
    """It goes with its undo file, so that the one need not outlive the other."""
    path = os.path.join(memory, "disk.qcow2")
    shutil.copyfile(image(PLAIN)[0], path)
    done, named = change(path)
    assert done.returncode == 0 and done.stderr == b""
    assert os.path.dirname(named) == os.path.join(memory, ".qcow2-undo")


@pytest.fixture(name="device")
def fixture_device(plain):
    """A block device with an image on it."""
    with open(plain, "ab") as opened:
        opened.truncate((os.path.getsize(plain) + 511) // 512 * 512)
    made = subprocess.run(["losetup", "-f", "--show", plain], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False) if shutil.which("losetup") else None
    if not made or made.returncode:
        pytest.skip("not here: no loop devices")
    path = made.stdout.decode().strip()
    yield path
    subprocess.run(["losetup", "-d", path], check=True)


def test_device(device, tmp_path, memory):
    """Beside its node the undo file would be gone after the power cut that it is for."""
    done, named = change(device)
    assert (done.returncode, done.stdout, named) == (1, b"", None)
    for what in ("/dev: is in memory", "--undo-file=PATH", "--undo-dir=DIR", "QCOW2_UNDO_DIR",
                 "--no-undo"):
        assert what in done.stderr.decode()
    kept = tmp_path / "kept"
    kept.mkdir()
    done, named = change(device, f"--undo-dir={kept}")
    assert done.returncode == 0 and done.stderr == b""
    assert os.path.basename(named).startswith(os.path.basename(device) + ".")
    assert nows(device, env={**os.environ, "QCOW2_UNDO_DIR": str(kept)}) == [(named, "exact")]
    shown = json.loads(run("undo", "-j", named).stdout)
    assert (shown["exact"], shown["reason"]) == (True, "device")
    done, named = change(device, f"--undo-file={memory}/u")
    assert done.returncode == 0 and b"warning: is in memory" in done.stderr


def test_link_to_a_device(device, tmp_path):
    """A link that stays is what people call the device by, and its folder stays, too."""
    folder = tmp_path / "links"
    folder.mkdir()
    os.symlink(device, folder / "volume")
    named = change(str(folder / "volume"))[1]
    assert re.fullmatch(rf"{folder}/\.qcow2-undo/volume\.{STAMP}\.undo", named)


# ---- which there are ----

def listed(*operands, option="--list", code=0, **more):
    """The document; the page for people has the same files."""
    done = run("undo", "-j", option, *operands, **more)
    assert done.returncode == code, done
    shown = json.loads(done.stdout.decode("utf-8"))
    VALIDATOR.validate(shown)
    return shown


def nows(*operands, **more):
    return [(one["file"], one["now"]) for one in listed(*operands, **more)["undo-files"]]


def page(*operands, **more):
    done = run("undo", "--list", *operands, **more)
    assert (done.returncode, done.stderr) == (0, b""), done
    text_is_safe(done.stdout)
    return done.stdout.decode("utf-8")


@pytest.fixture(name="three")
def fixture_three(plain):
    """Three changes of an image, the last one first."""
    return [change(plain, field="size", to=size)[1] for size in ("512k", "256k", "128k")][::-1]


def test_list(plain, tmp_path, three):
    """Whatever way they are asked for: the order to undo them in, and what comes first."""
    shown = listed(tmp_path)
    assert [one["file"] for one in shown["undo-files"]] == three and shown["complete"]
    for one in shown["undo-files"]:
        assert one["image"] == plain and one["state"] == "applied" and one["bytes"] == 1
        assert re.fullmatch(r"edit set header/size=\d+k", one["edit"])
        assert abs(one["time"] - time.time()) < 100
    assert [one["now"] for one in shown["undo-files"]] == ["exact", "after", "after"]
    assert {one.get("undo-first") for one in shown["undo-files"][1:]} == {three[0]}
    assert listed(plain) == listed(tmp_path / ".qcow2-undo") == listed(*three) == shown
    relative = listed(cwd=tmp_path)["undo-files"]
    assert [one["file"] for one in relative] == [os.path.relpath(name, tmp_path) for name in three]


def test_page(plain, tmp_path, three):
    text = page(tmp_path)
    assert text.startswith(f"{plain}\n   #  made (UTC)        state     undo now        change\n")
    rows = re.findall(r"^ +(\d) +([-\d]+ [:\d]+) +(\w+) +(.*?) {2,}edit set (\S+)\n +(\S+)$", text, re.M)
    assert [(row[0], row[2], row[3]) for row in rows] == \
        [("1", "applied", "exact"), ("2", "applied", "after 1"), ("3", "applied", "after 1")]
    assert [row[5] for row in rows] == three
    assert page(cwd="/proc/self/fdinfo") == "no undo files\n"


def test_page_fits(tmp_path):
    """A terminal of 80 columns breaks no row."""
    path = str(tmp_path / "a")
    shutil.copyfile(image(PLAIN)[0], path)
    for name in ("b" * 16, "b" * 17, "b" * 40, "b" * 60):
        assert run("bitmap", "add", path, name).returncode == 0
    lines = page(cwd=tmp_path).splitlines()
    assert len(lines) == 2 + 2 * 2 + 2 * 3 and max(map(len, lines)) <= 80


def test_list_of_one(plain, three):
    """One undo file alone shows its bytes, too."""
    text = page(three[0])
    assert f"image    {plain}\n" in text and "\nnow      exact: every byte comes back\n" in text
    assert f"\nnow      after {three[0]}\n" in page(three[2])
    shown = listed(three[0])
    assert shown["pieces"] == [{"offset": 29, "old": "04", "new": "02"}] and shown["now"] == "exact"
    shown = listed(three[1])
    assert (shown["now"], shown["undo-first"]) == ("after", three[0])


def test_undo_says_what_comes_first(plain, three):
    """And each of them, undone in that order, is undone exactly."""
    before = read(image(PLAIN)[0])
    for early in three[1:]:
        done = run("undo", early)
        assert done.returncode == 1 and done.stdout == b""
        assert f"undone first: qcow2 undo {three[0]}\n" in done.stderr.decode()
    for index, name in enumerate(three):
        assert nows(plain)[:index] == [(one, "undone") for one in three[:index]]
        shown = json.loads(run("undo", "-j", name).stdout)
        VALIDATOR.validate(shown)
        assert shown == {"image": plain, "bytes": 1, "exact": True, "reason": None,
                         "bitmaps-in-use": 0, "autoclear-lost": 0}, (index, shown)
    assert read(plain) == before
    assert json.loads(run("undo", "-j", three[-1]).stdout)["bytes"] == 0


def test_there_and_back(plain, tmp_path):
    """Changes that leave what was there before follow each other in circles; their age tells."""
    names = [change(plain, to=to)[1] for to in (1, 0, 1, 0)][::-1]
    assert nows(tmp_path) == list(zip(names, ["exact", "after", "after", "after"]))
    assert {one.get("undo-first") for one in listed(plain)["undo-files"][1:]} == {names[0]}


def test_later_ones_elsewhere(plain, tmp_path):
    """They are looked for beside the image, beside the undo file, and where they are kept."""
    kept = tmp_path / "kept"
    kept.mkdir()
    env = {**os.environ, "QCOW2_UNDO_DIR": str(kept)}
    first = change(plain, f"--undo-file={tmp_path}/u")[1]
    second = change(plain, env=env, to=0)[1]
    assert f"qcow2 undo {second}\n" in run("undo", first, env=env).stderr.decode()
    third = change(plain, field="size", to="512k")[1]
    assert f"qcow2 undo {third}\n" in run("undo", first, env=env).stderr.decode()
    assert nows(plain, env=env) == [(third, "exact"), (second, "after"), (first, "after")]
    assert run("undo", third).returncode == run("undo", second).returncode == 0
    assert run("undo", first).returncode == 0


def test_what_nobody_asked_for(plain, tmp_path):
    """What comes first may be in another folder: then it is named, but not listed."""
    kept = tmp_path / "kept"
    kept.mkdir()
    first = change(plain, f"--undo-dir={kept}")[1]
    second = change(plain, field="size", to="512k")[1]
    shown = listed(kept)["undo-files"]
    assert [(one["file"], one["now"], one["undo-first"]) for one in shown] == \
        [(first, "after", second)]
    text = page(kept)
    assert " applied   after another " in text and f"\n      after {second}\n" in text
    assert listed(kept, option="--prune") == {"undo-files": [], "complete": True}


def test_list_of_an_image(plain, tmp_path, three):
    """By whatever name, and no others'."""
    other = str(tmp_path / "other.qcow2")
    shutil.copyfile(plain, other)
    its = change(other)[1]
    os.link(plain, tmp_path / "link")
    for name in (plain, tmp_path / "link"):
        assert nows(name) == [(one, now) for one, now in zip(three, ("exact", "after", "after"))]
    assert nows(other) == [(its, "exact")]
    assert nows(plain, other) == nows(tmp_path)


def test_list_of_neither(plain, tmp_path):
    """What is neither an image nor an undo file is an error; an image that was one is not."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(bytes(5000))
    for option in ("--list", "--prune"):
        for name in ("empty", "text"):
            done = run("undo", option, tmp_path / name)
            assert done.returncode == 1 and b"not an undo file" in done.stderr
            assert done.stdout == b""
    assert listed(plain)["undo-files"] == []
    named = change(plain, "--force", field="magic", to=0)[1]
    assert nows(plain) == [(named, "exact")]


def test_written_to_since(plain, three):
    with open(plain, "r+b") as opened:
        opened.seek(87)
        opened.write(b"\x02")
    assert nows(plain) == [(name, "never") for name in three]
    text = page(plain)
    assert " never " in text and "nothing was written" not in text and "written to" not in text
    said = run("undo", three[2]).stderr.decode()
    assert f"a later change cannot be undone any more either: {three[0]}\n" in said


def test_image_that_is_not_there(plain, tmp_path, three):
    moved = str(tmp_path / "moved")
    os.rename(plain, moved)
    assert nows(tmp_path) == [(name, "no image") for name in three]
    assert nows(moved) == [(name, "no image") for name in three]
    shutil.copyfile(moved, plain)
    assert nows(tmp_path) == [(name, "other image") for name in three]
    assert run("undo", three[0], moved).returncode == 0


F_OFD_SETLK = 37


def test_image_in_use(plain, three):
    """What is being written cannot be judged, and its undo files stay."""
    with open(plain, "rb") as opened:
        # QEMU's way to say that it writes.
        fcntl.fcntl(opened, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 101, 1, 0))
        shown = listed(plain)["undo-files"]
        assert [(one["file"], one["now"]) for one in shown] == [(one, "unknown") for one in three]
        assert "open for writing" in shown[0]["why"]
        assert listed(plain, "--force", option="--prune")["undo-files"] == []


@pytest.mark.parametrize("call", ["FAIL_ALLOC", "FAIL_READ"])
def test_system_that_fails(plain, three, shim, tmp_path, call):
    """What cannot be told is not told wrongly: nothing is called never, or removed, by mistake."""
    for arguments in (["undo", "-lj", str(tmp_path)], ["undo", "-lj", three[0]],
                      ["undo", "-j", "--prune", "--yes", plain]):
        for _, done in each_fault(shim, arguments, call):
            assert done.returncode in (0, 1), done
            if done.stdout:
                shown = json.loads(done.stdout)
                VALIDATOR.validate(shown)
                found = {one["now"] for one in shown.get("undo-files", [shown])}
                assert not found & {"never", "undone"}
    assert all(os.path.exists(name) for name in three)


def test_hostile_folder(plain, tmp_path, three):
    """Nothing but regular files is opened, nothing waits, nothing reaches the terminal as it is."""
    whole = read(three[0])
    os.mkfifo(tmp_path / "a.undo")
    os.mkdir(tmp_path / "b.undo")
    os.symlink("/dev/zero", tmp_path / "c.undo")
    os.symlink("nowhere", tmp_path / "d.undo")
    os.symlink(tmp_path / "a.undo", tmp_path / "e.undo")
    (tmp_path / "f.undo").write_bytes(b"QCOW2UND")
    (tmp_path / "g.undo").write_bytes(whole[:-1])
    (tmp_path / "\x1b[31m\n.undo").write_bytes(whole[:20])
    (tmp_path / "h.undo").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    text = page(tmp_path)
    assert text.count("unreadable") == 3 and "of images that are not known\n" in text
    assert "\n      " + str(tmp_path) + r"/\u{1b}[31m\n.undo" in text
    shown = listed(tmp_path)
    assert [one["now"] for one in shown["undo-files"]][3:] == ["exact", "after", "after"]
    assert listed(tmp_path, option="--prune") == {"undo-files": [], "complete": True}
    assert plain in text


def test_folder_with_many_files(plain, tmp_path, three):
    """Ours are found by their names; others only as far as is bearable."""
    for number in range(5000):
        (tmp_path / f"{number}").write_bytes(b"")
    shown = listed(tmp_path)
    assert [one["file"] for one in shown["undo-files"]] == three and not shown["complete"]
    assert "more than is looked through" in page(plain)


@pytest.mark.parametrize("arguments, says", [
    (["--list", "--prune"], "--list and --prune at once"),
    (["--yes", "u"], "are for --prune"),
    (["--older-than=1d", "--list"], "are for --prune"),
    (["--exact", "--list"], "--exact is for undoing"),
    (["--exact", "--prune"], "--exact is for undoing"),
    (["--prune", "--older-than=", "."], "'' is no age: 30d, 2w, 12h"),
    (["--prune", "--older-than=3", "."], "'3' is no age"),
    (["--prune", "--older-than=d", "."], "'d' is no age"),
    (["--prune", "--older-than=-3d", "."], "'-3d' is no age"),
    (["--prune", "--older-than=3dd", "."], "'3dd' is no age"),
    (["--prune", "--older-than=99999999999999999999d", "."], "is no age"),
    (["--prune", "--older-than=18446744073709551615w", "."], "is no age"),
    (["--list", "/nowhere"], "/nowhere: No such file"),
    (["--list", "/dev/null"], "/dev/null: a character device"),
])
def test_wrong_lines(arguments, says):
    done = run("undo", *arguments)
    assert done.returncode == 1 and done.stdout == b"" and says in done.stderr.decode()


# ---- what an undo brings back ----

BITMAPS = "size 1M\nbitmap a flags=auto bits=0,1,5\nbitmap b flags=auto bits=1,9\n"


@pytest.fixture(name="touched")
def fixture_touched(tmp_path):
    """An image that a bitmap was removed from, and that was modified since; its undo file."""
    path = str(tmp_path / "disk.qcow2")
    shutil.copyfile(image(BITMAPS)[0], path)
    done = run("bitmap", "remove", path, "a")
    assert done.returncode == 0, done
    os.utime(path)
    return path, done.stdout.decode().split()[-1]


def bitmap_states(path):
    shown = json.loads(run("bitmap", "list", "-j", path).stdout)["bitmaps"]
    return {one["name"]: one["state"] for one in shown}


def test_undo_that_is_not_exact(touched):
    """It says what came back in use, why, and how to go on, and both ways on work."""
    path, undo = touched
    before = read(image(BITMAPS)[0])
    assert " safe, 1 in use  bitmap remove a\n" in page(path)
    assert "the image was modified after the change" in page(path)
    assert "\nnow      safe: the image was modified" in page(undo)
    shown = listed(path)["undo-files"][0]
    assert (shown["now"], shown["reason"], shown["bitmaps-in-use"]) == ("safe", "time", 1)
    done = run("undo", undo)
    assert done.returncode == 0 and done.stderr == b""
    text = done.stdout.decode()
    assert text.startswith(f"undone: {path}\nnot exact: the image was modified after the change\n")
    assert "1 bitmap came back in use" in text
    assert bitmap_states(path)["a"] == "in use" and read(path) != before
    repair, exact = re.findall(r": qcow2 (.*)$", text, re.M)
    kept = path + ".kept"
    shutil.copyfile(path, kept)
    assert run(*repair.split()).returncode == 0
    assert bitmap_states(path)["a"] != "in use"
    shutil.copyfile(kept, path)
    assert exact.split() == ["undo", "--exact", undo]


def test_exact(touched):
    path, undo = touched
    shown = json.loads(run("undo", "-j", "--exact", undo).stdout)
    VALIDATOR.validate(shown)
    assert (shown["exact"], shown["reason"], shown["bitmaps-in-use"]) == (True, "time", 0)
    assert read(path) == read(image(BITMAPS)[0])


def test_exact_afterwards(touched):
    """Who finds out later that nothing had written to the image gets it all back."""
    path, undo = touched
    shown = json.loads(run("undo", "-j", undo).stdout)
    VALIDATOR.validate(shown)
    assert (shown["exact"], shown["reason"], shown["bitmaps-in-use"]) == (False, "time", 1)
    assert run("undo", "--exact", undo).returncode == 0
    assert read(path) == read(image(BITMAPS)[0])


def test_only_exact(tmp_path):
    """What a smaller disk would cut off may have been written since; that undo file is kept."""
    path = str(tmp_path / "disk.qcow2")
    shutil.copyfile(image("size 1M\nwrite 0 1M\n")[0], path)
    assert run("edit", "--force", path, "set", "header/size=512k").returncode == 0
    undo = change(path, field="size", to="1M")[1]
    os.utime(path)
    shown = listed(path)["undo-files"]
    assert [one["now"] for one in shown] == ["exact only", "after"] and "--exact" in shown[0]["why"]
    assert " exact only " in page(path)
    assert listed(path, option="--prune")["undo-files"] == []
    assert run("undo", undo).returncode == 1 and run("undo", "--exact", undo).returncode == 0


# ---- removing ----

def files(folder):
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def test_prune(plain, tmp_path, three):
    """What is undone, and what can never be; nothing else, and nothing before it is agreed to."""
    folder = tmp_path / ".qcow2-undo"
    assert run("undo", "--prune", "-y", tmp_path).stdout == b"no undo files to remove\n"
    assert run("undo", three[0]).returncode == 0
    done = run("undo", "--prune", plain, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and three[0] in done.stdout.decode()
    assert three[1] not in done.stdout.decode() and b"\n1 undo file, " in done.stdout
    assert b"nothing was removed: --yes removes it" in done.stderr
    shown = listed(plain, option="--prune", code=1)["undo-files"]
    assert [one["file"] for one in shown] == [three[0]] and "removed" not in shown[0]
    assert files(folder) == sorted(three)
    done = run("undo", "--prune", "--yes", plain)
    assert done.returncode == 0 and done.stdout.endswith(b"\nremoved\n") and done.stderr == b""
    assert files(folder) == sorted(three[1:])
    with open(plain, "r+b") as opened:
        opened.seek(87)
        opened.write(b"\x02")
    done = run("undo", "--prune", "-yj", plain)
    shown = json.loads(done.stdout)
    VALIDATOR.validate(shown)
    assert [(one["file"], one["now"], one["removed"]) for one in shown["undo-files"]] == \
        [(name, "never", True) for name in three[1:]]
    # The folder was for nothing else.
    assert os.listdir(tmp_path) == ["disk.qcow2"]


def answered(word, *arguments):
    """What a person is shown and answers on a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen([QCOW2, "undo", *arguments], stdin=slave, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as asked:
        os.write(master, word.encode())
        out, err = asked.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    return asked.returncode, out.decode(), err.decode()


def test_prune_asks(plain, three):
    assert run("undo", three[0]).returncode == 0
    for word in ("n\n", "\n", "\x04"):
        code, out, err = answered(word, "--prune", plain)
        assert code == 1 and three[0] in out and err.endswith("[y/N] ") and os.path.exists(three[0])
    code, out, err = answered("y\n", "--prune", plain)
    assert code == 0 and out.endswith("removed\n") and not os.path.exists(three[0])
    assert os.path.exists(three[1])


def test_prune_by_age(plain, three):
    assert run("undo", three[0]).returncode == 0
    for age in ("1h", "30d", "2w", "60m", "1000s"):
        done = run("undo", "--prune", "--yes", f"--older-than={age}", plain)
        assert done.stdout == b"no undo files to remove\n", age
    time.sleep(1.1)
    assert run("undo", "--prune", "--yes", "--older-than=1s", plain).returncode == 0
    assert not os.path.exists(three[0])


def test_prune_keeps_what_may_be_needed(plain, tmp_path, three):
    """The image may have moved, or its file system not be mounted."""
    os.rename(plain, tmp_path / "moved")
    for prepare in (lambda: None, lambda: shutil.copyfile(tmp_path / "moved", plain)):
        prepare()
        assert listed(tmp_path, option="--prune")["undo-files"] == []
    shown = listed("--yes", "--force", tmp_path, option="--prune")["undo-files"]
    assert sorted(one["file"] for one in shown) == sorted(three)
    assert not os.path.exists(os.path.dirname(three[0]))


def test_prune_what_was_interrupted(plain, tmp_path, three):
    """The way back from a crash is kept whatever the image looks like."""
    for name in three:
        with open(name, "r+b") as opened:
            opened.seek(1024)
            opened.write(bytes(40))
    with open(plain, "r+b") as opened:
        opened.seek(87)
        opened.write(b"\x02")
    shown = listed(tmp_path)["undo-files"]
    assert {(one["state"], one["now"]) for one in shown} == {("interrupted", "never")}
    assert listed(tmp_path, option="--prune")["undo-files"] == []
    shown = listed("--force", "--yes", tmp_path, option="--prune")["undo-files"]
    assert sorted(one["file"] for one in shown) == sorted(three)


def test_prune_of_links(plain, tmp_path, three):
    """A link is not what was looked at."""
    assert run("undo", three[0]).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.rename(three[0], elsewhere / "undo")
    os.symlink(elsewhere / "undo", three[0])
    done = run("undo", "--prune", "--yes", plain)
    assert done.returncode == 1 and b"not removed: another file is there now" in done.stderr
    assert os.path.islink(three[0]) and (elsewhere / "undo").exists()
