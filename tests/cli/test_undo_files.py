# SPDX-License-Identifier: MIT
# Where undo files go, how they are called, and what keeps them from being made; which there are, and
# what can be done with each. What an undo does to an image is in test_edit.py and tests/crash.
"""The undo files of edit, bitmap and compat."""
import os
import re
import shutil
import stat
import subprocess

import pytest

from helpers import image, run
from test_recipes import text_is_safe

PLAIN = "cluster_bits 12\nsize 1M\nwrite 0 8k\n"
STAMP = r"\d{8}T\d{6}Z"
MEMORY = "/dev/shm"
needs_memory = pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="no /dev/shm")


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


def change(path, *options, env=None, to=1):
    """Sets a harmless bit; returns the run and, if it worked, the undo file that it names."""
    done = run("edit", *options, path, "set", f"header/compatible_features={to}", env=env)
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
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
        pytest.skip("no loop devices")
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
    assert run("undo", named).returncode == 0
    done, named = change(device, f"--undo-file={memory}/u")
    assert done.returncode == 0 and b"warning: is in memory" in done.stderr


def test_link_to_a_device(device, tmp_path):
    """A link that stays is what people call the device by, and its folder stays, too."""
    folder = tmp_path / "links"
    folder.mkdir()
    os.symlink(device, folder / "volume")
    named = change(str(folder / "volume"))[1]
    assert re.fullmatch(rf"{folder}/\.qcow2-undo/volume\.{STAMP}\.undo", named)
