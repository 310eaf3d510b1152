# SPDX-License-Identifier: MIT
# What may happen to an image before its locks are held, locks that cannot be had, and images that
# cannot be written. QEMU's part is in tests/oracle/test_edit_oracle.py.
"""Opening an image for an edit."""
import errno
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.support import shims
from tests.support.programs import RELEASE, recipe_image

IMAGE = "good-bitmaps"
UNDO = ["undo", "made"]
EDITS = [["edit", "--undo-file=u", "image", "set", "header/compatible_features=1"],
         ["bitmap", "--undo-file=u", "add", "image", "new"],
         ["bitmap", "--undo-file=u", "repair", "--assume-dirty", "image", "enabled"],
         ["compat", "--undo-file=u", "image", "set-header", "compatible_features", "1"], UNDO]
FORCED = [w for w in EDITS if w[0] != "compat"]
READS = [["info", "image"], ["dump", "image"], ["check", "image"],
         ["locate", "--host=0", "image"], ["bitmap", "list", "image"],
         ["snapshot", "space", "image"], ["measure", "image"], ["report", "--to=-", "image"], ["read", "-x", "image"], ["hash", "image"],
         ["compare", "image", "image"],
         ["edit", "--dry-run", "image", "set", "header/compatible_features=1"]]


@pytest.fixture(name="shim", scope="module")
def fixture_shim(tmp_path_factory):
    return shims.build("races", tmp_path_factory.mktemp("shim"))


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


@pytest.fixture(name="folder", autouse=True)
def fixture_folder(tmp_path, monkeypatch):
    """An image, and an undo file of an edit of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(recipe_image(IMAGE)[0], "image")
    subprocess.run([RELEASE, "edit", "--undo-file=made", "--data=x", "image", "extension", "add",
                    "0x11111111"], stdout=subprocess.DEVNULL, check=True)
    return tmp_path


def started(shim, words, **env):
    return subprocess.Popen([RELEASE, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            env={**os.environ, "LD_PRELOAD": shim, **env})


def finished(shim, words, **env):
    process = started(shim, words, **env)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def interrupted(shim, words, meanwhile):
    """A run, in which something happens when the image is open and not yet locked."""
    process = started(shim, words, WAIT_IN=".")
    try:
        for _ in range(2000):
            if os.path.exists("waiting") or process.poll() is not None:
                break
            time.sleep(.01)
        assert os.path.exists("waiting")
        meanwhile()
        with open("go", "wb"):
            pass
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


def grow():
    with open("image", "ab") as stream:
        stream.write(b"g" * 65536)


def shrink():
    os.truncate("image", os.path.getsize("image") - 512)


def replace():
    """Another file, of the same bytes, takes the name."""
    shutil.copyfile("image", "other")
    os.rename("other", "image")


def rename():
    os.rename("image", "moved")


def swap_fifo():
    os.rename("image", "moved")
    os.mkfifo("image")


@pytest.mark.parametrize("words", EDITS, ids=" ".join)
@pytest.mark.parametrize("change", [grow, shrink, replace, rename, swap_fifo])
def test_changed_before_the_lock(change, words, shim):
    """What another program does in between is not undone, cut off, or missed."""
    left = []

    def meanwhile():
        os.link("image", "same")
        change()
        left.append(read("same"))

    code, out, err = interrupted(shim, words, meanwhile)
    assert (code, out) == (1, b""), err
    assert b"while it was being opened" in err and b"try again" in err, err
    assert read("same") == left[0] and not os.path.exists("u")
    if change is replace:
        assert read("image") == left[0]


def test_undo_file_replaced_before_the_lock(shim):
    """What was proved is what is used and marked, and nothing else that has its name."""
    def meanwhile():
        shutil.copyfile("made", "other")
        os.rename("other", "made")

    before = read("image"), read("made")
    code, _, err = interrupted(shim, UNDO, meanwhile)
    assert code == 1 and b"the undo file was replaced by another one" in err, err
    assert (read("image"), read("made")) == before


def test_undo_through_a_link(shim):
    os.symlink("made", "link")
    assert finished(shim, ["undo", "link"])[0] == 0
    assert b"undone before" in finished(shim, UNDO)[1]


@pytest.mark.parametrize("words", EDITS, ids=" ".join)
def test_written_before_the_lock(words, shim):
    """What the guest writes in place is read after the lock, and kept."""
    at = recipe_image(IMAGE)[1].value("l2/0/0") & 0xfffffffffffe00

    def meanwhile():
        with open("image", "r+b") as stream:
            stream.seek(at)
            stream.write(b"kept")

    code, _, err = interrupted(shim, words, meanwhile)
    assert code == 0, err
    assert read("image")[at:at + 4] == b"kept"


NO_LOCKS = [errno.EOPNOTSUPP, errno.ENOSYS]
FAILURES = [errno.ENOLCK, errno.EINVAL, errno.EIO, errno.EPERM, errno.EBADF, errno.EDEADLK]


@pytest.mark.parametrize("calls", [None, "set", "get"])
@pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
def test_locks_that_fail(number, calls, shim):
    """Nobody knows who uses the image: refused, but with --force."""
    env = {"LOCK_ERRNO": str(number), **({"LOCK_CALLS": calls} if calls else {})}
    before = read("image")
    for words in EDITS:
        code, out, err = finished(shim, words, **env)
        assert (code, out) == (1, b"") and read("image") == before, err
        assert b"cannot tell whether another program uses it" in err, err
        assert (b"edit --force" if words[0] == "compat" else b"(--force") in err, err
        assert not os.path.exists("u")
    for words in READS:
        code, out, err = finished(shim, words, **env)
        assert code == 0 and out, err
        assert (b"cannot tell whether another program" in err) == (calls != "set"), err
    for words in FORCED:
        code, _, err = finished(shim, [words[0], "--force", *words[1:]], **env)
        assert code == 0, err
        assert b"could not be locked, and nobody is kept out" in err, err
        if words is not UNDO:
            assert finished(shim, ["undo", "u"])[0] == 0
            os.remove("u")


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_no_locks_here(number, shim):
    """Where the file system has none, that is said by whoever changes something."""
    for words in READS:
        code, out, err = finished(shim, words, LOCK_ERRNO=str(number))
        assert code == 0 and out and err == b""
    for words in EDITS:
        code, _, err = finished(shim, words, LOCK_ERRNO=str(number))
        assert code == 0 and b"no locks here" in err and b"nobody is kept out" in err, err
        if os.path.exists("u"):
            assert finished(shim, ["undo", "u"])[0] == 0
            os.remove("u")


def held():
    """A program that has the image open for writing, as QEMU has."""
    holder = subprocess.Popen(["python3", "-c", "import fcntl, os, struct, sys, time\n"
                               "fd = os.open('image', os.O_RDWR)\n"
                               "for at in (101, 201):\n"
                               "    fcntl.fcntl(fd, 37, struct.pack('hhqqi4x', 0, 0, at, 1, 0))\n"
                               "print('held', flush=True)\nsys.stdin.read()"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_force_does_not_pass_a_holder(shim):
    """What is known to be in use is refused, whatever else fails."""
    holder = held()
    for env in ({}, {"LOCK_ERRNO": str(errno.ENOLCK), "LOCK_CALLS": "set"},
                {"LOCK_ERRNO": str(errno.EOPNOTSUPP), "LOCK_CALLS": "set"}):
        for words in FORCED:
            code, _, err = finished(shim, [words[0], "--force", *words[1:]], **env)
            assert code == 1 and b"in use: another program" in err, err
    holder.communicate()


UNWRITABLE = [
    ({"IS_DEVICE": "read-only"}, b"the device is read-only"),
    ({"OPEN_ERRNO": str(errno.EROFS)}, b"its file system is mounted read-only"),
    ({"OPEN_ERRNO": str(errno.EPERM), "FILE_FLAGS": "16"}, b"it is immutable"),
    ({"OPEN_ERRNO": str(errno.EPERM), "FILE_FLAGS": "32"}, b"it can only be appended to"),
    ({"OPEN_ERRNO": str(errno.EPERM), "FILE_FLAGS": "0"}, b"Operation not permitted"),
    ({"OPEN_ERRNO": str(errno.EACCES)}, b"Permission denied"),
    ({"OPEN_ERRNO": str(errno.ETXTBSY)}, b"Text file busy"),
]


def test_reading_what_another_program_writes(shim):
    """Its bitmaps are in use and not stale, and nothing is to be mended meanwhile."""
    shutil.copyfile(recipe_image("good-bitmap-in-use")[0], "image")
    stale = [["info", "image"], ["check", "image"], ["bitmap", "list", "image"],
             ["bitmap", "extents", "image", "stale"]]
    for number in (0, errno.EOPNOTSUPP):
        for words in stale:
            _, out, err = finished(shim, words, **({"LOCK_ERRNO": str(number)} if number else {}))
            assert b"not saved properly" in out + err and b"another program" not in out + err
    holder = held()
    for words in stale:
        _, out, err = finished(shim, words)
        told = b" ".join((out + err).split())
        assert b"next: qcow2" not in told and b"bitmap repair" not in told
        assert words[0] == "check" or b"not saved properly" not in told
        assert words[0] == "check" or b"another program has the image open, and stores" in told
    found = json.loads(finished(shim, ["check", "-j", "image"])[1])
    assert [step["command"] for step in found["next"]] == [None]
    holder.communicate()


@pytest.mark.parametrize("env, text", UNWRITABLE)
def test_not_writable(env, text, shim):
    """Said before anything is planned, by every change, forced or not; readers do not mind."""
    before = read("image")
    for words in EDITS:
        for more in ([], ["--force"]) if words in FORCED else ([],):
            code, out, err = finished(shim, [words[0], *more, *words[1:]], AS_IF="image", **env)
            assert (code, out) == (1, b"") and text in err, err
            assert b"changed" not in err and err.count(b"\n") == 1
            assert read("image") == before and not os.path.exists("u")
    for words in READS:
        assert finished(shim, words, AS_IF="image", **env)[0] == 0


def test_writable_device(shim):
    """One that is a device of the size that the image has is edited."""
    words = ["edit", "--undo-file=u", "image", "set", "header/compatible_features=1"]
    assert finished(shim, words, AS_IF="image", IS_DEVICE="writable")[0] == 0
    assert finished(shim, ["undo", "u"], AS_IF="image", IS_DEVICE="writable")[0] == 0


def loop_device(*options):
    if os.geteuid() != 0 or not shutil.which("losetup"):
        pytest.skip("not here: only root sets loop devices up")
    made = subprocess.run(["losetup", *options, "--find", "--show", "image"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if made.returncode != 0:
        pytest.skip("not here: no loop device can be set up")
    return made.stdout.decode().strip()


def test_device_that_the_system_uses():
    """As a mount does, or a device that is made of it; --force is for those who know better."""
    os.truncate("image", 2 << 20)
    device = loop_device()
    try:
        holder = os.open(device, os.O_RDONLY | os.O_EXCL)
        words = ["edit", "--no-undo", device, "set", "header/compatible_features=1"]
        done = subprocess.run([RELEASE, *words], stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1 and b"the system uses the device" in done.stderr
        words.insert(1, "--force")
        assert subprocess.run([RELEASE, *words], stdout=subprocess.DEVNULL, check=False
                              ).returncode == 0
        os.close(holder)
        words = ["edit", "--no-undo", device, "set", "header/compatible_features=0"]
        assert subprocess.run([RELEASE, *words], stdout=subprocess.DEVNULL, check=False
                              ).returncode == 0
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_read_only_loop_device():
    """The real thing, where there are loop devices."""
    device = loop_device("--read-only")
    try:
        before = read("image")
        for words in EDITS[:4]:
            done = subprocess.run([RELEASE, *(device if w == "image" else w for w in words)],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            assert done.returncode == 1 and b"the device is read-only" in done.stderr, done
        assert read("image") == before and not os.path.exists("u")
        assert subprocess.run([RELEASE, "check", device], stdout=subprocess.DEVNULL,
                              check=False).returncode == 0
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_immutable():
    """The real thing, where the file system has such flags."""
    if os.geteuid() != 0 or subprocess.run(["chattr", "+i", "image"], stderr=subprocess.DEVNULL,
                                           check=False).returncode != 0:
        pytest.skip("not here: no flags of files")
    try:
        done = subprocess.run([RELEASE, *EDITS[0]], stderr=subprocess.PIPE, check=False)
        assert done.returncode == 1 and b"it is immutable" in done.stderr
        assert b"chattr -i" in done.stderr
    finally:
        subprocess.run(["chattr", "-i", "image"], check=True)
