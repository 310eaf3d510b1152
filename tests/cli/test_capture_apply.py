# SPDX-License-Identifier: MIT
# `qcow2 capture --apply` puts metadata back, byte for byte, as a change that can be undone, and refuses
# what would lose anything that was written since.
"""qcow2 capture --apply, from outside."""
import json
import os
import shutil
import subprocess

import pytest

from tests.forge import build
from tests.support import shims
from tests.support.faults import CALLS_MOST, fault
from tests.support.outside import run, text_of
from tests.support.programs import RELEASE, recipe_image

RECIPE = """size 8M
backing base.raw raw
extension 0x12345678 "what nobody knows"
write 0 1M
snapshot 1 name=one
write 64k 128k
bitmap a bits=0,1,5
"""


def qemu_io(path, *lines):
    subprocess.run(["qemu-io", *(word for line in lines for word in ("-c", line)), path], check=True,
                   stdout=subprocess.DEVNULL)


@pytest.fixture(name="made", scope="module")
def fixture_made(tmp_path_factory):
    """An image with its capture, and one that QEMU made."""
    folder = tmp_path_factory.mktemp("capture")
    layout = build(RECIPE, str(folder / "disk"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", folder / "qemu", "64M"], check=True)
    qemu_io(folder / "qemu", "write -P 1 0 1M")
    subprocess.run(["qemu-img", "snapshot", "-c", "one", folder / "qemu"], check=True)
    qemu_io(folder / "qemu", "write -P 2 0 256k")
    subprocess.run(["qemu-img", "bitmap", "--add", folder / "qemu", "b0"], check=True)
    for name in ("disk", "qemu"):
        text_of(run("capture", "-o", folder / f"{name}.small", folder / name))
    return folder, layout


def copy(made, tmp_path, name="disk"):
    shutil.copyfile(made[0] / name, tmp_path / "image")
    return tmp_path / "image", made[0] / f"{name}.small"


def damage(path, at, data):
    with open(path, "r+b") as stream:
        stream.seek(at)
        stream.write(data)


def apply(small, path, *options):
    return run("capture", f"--apply={small}", f"--undo-file={path}.undo", *options, path)


def refused(done, *texts):
    assert done.returncode == 1 and done.stdout == b"", done
    for text in texts:
        assert text in done.stderr.decode(), done


def test_nothing_to_change(made, tmp_path):
    path, small = copy(made, tmp_path)
    before = path.read_bytes()
    assert text_of(apply(small, path)) == "Nothing to change.\n"
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["image"]


@pytest.mark.parametrize("where, data", [
    ("l1/0", bytes(8)), ("l1/0", b"\xff" * 8), ("l2/0/0", bytes(64)),
    ("l2/0/1", b"\xff" * 8), ("snapshots/0/l2/0/0", b"\x55" * 512), ("refcounts/0/0", bytes(64)),
    ("refcount_table/0", bytes(8)), ("snapshots/0/l1_table_offset", b"\x11" * 8), ("header/size", bytes(8))])
def test_damage_is_mended(where, data, made, tmp_path):
    path, small = copy(made, tmp_path)
    before = path.read_bytes()
    damage(path, made[1].where(where), data)
    damaged = path.read_bytes()
    page = text_of(apply(small, path, "--dry-run"))
    assert "put " in page and path.read_bytes() == damaged
    text_of(apply(small, path, "--yes"))
    assert path.read_bytes() == before
    assert apply(small, path).stdout == b"Nothing to change.\n"
    text_of(run("undo", "--exact", f"{path}.undo"))
    assert path.read_bytes() == damaged


def test_lost_header(tmp_path):
    path = tmp_path / "image"
    build(RECIPE.replace("bitmap", "# bitmap"), str(path))
    text_of(run("capture", "-o", tmp_path / "small", path))
    before = path.read_bytes()
    damage(path, 0, bytes(512))
    assert run("info", path).returncode == 1
    done = apply(tmp_path / "small", path, "--yes")
    assert done.returncode == 0 and done.stderr.endswith(b"names of files from the capture:\n  backing file: base.raw\n"), done
    assert path.read_bytes() == before


@pytest.mark.parametrize("where, data", [("header/magic", bytes(512)), ("bitmaps/0/bitmap_table_offset", b"\1" * 8)])
def test_bitmaps_are_not_believed_again(where, data, made, tmp_path):
    """Where they were lost for a time, nobody knows what they missed."""
    path, small = copy(made, tmp_path)
    before = path.read_bytes()
    damage(path, made[1].where(where), data)
    refused(apply(small, path), "refused: it would give up what protects the data", "bitmaps/0")
    done = apply(small, path, "--force", "--yes")
    assert done.returncode == 0 and path.read_bytes() == before


@pytest.mark.parametrize("options", [("--yes",), ("-j",), ("--dry-run",), ("-q",), ("--force", "--yes")])
def test_files_that_it_names_are_told(options, tmp_path):
    """Whoever sent the capture may have put any name there, that is read with the rights of who opens the image."""
    path, name = tmp_path / "image", "/etc/" + "/" * 300 + "shadow\\x1b"
    recipe = "size 1M\nwrite 0 64k\n"
    build(recipe + f'backing "{name}" raw\n', str(tmp_path / "hostile"))
    text_of(run("capture", "-o", tmp_path / "small", tmp_path / "hostile"))
    build(recipe, str(path))
    if "--force" not in options:
        damage(path, 0, bytes(512))
    done = apply(tmp_path / "small", path, *options)
    shown = name.replace("\\x1b", "\\u{1b}")
    assert done.returncode == 0 and f"  backing file: {shown}\n".encode() in done.stderr, done


def test_manifest_is_not_believed(tmp_path):
    """It may say that all is there, and that names are those of the image."""
    build("size 1M\nincompatible 0x10000000000\n", str(tmp_path / "image"))
    assert run("capture", "-o", tmp_path / "small", tmp_path / "image").returncode == 2
    manifest = tmp_path / "small.json"
    manifest.write_text(manifest.read_text().replace('"whole": false', '"whole": true'))
    refused(apply(tmp_path / "small", tmp_path / "image"), "only a header was captured")


def test_a_capture_that_changes_meanwhile(tmp_path):
    """At whichever read another program writes to it: what was not proved is not put back."""
    shim = shims.build("faults", tmp_path)
    path, other, small = tmp_path / "image", tmp_path / "captured", tmp_path / "small"
    at = build("size 8M\nwrite 0 1M\nsnapshot 1 name=one\n", str(path)).where("snapshots/0/vm_clock_nsec")
    text_of(run("capture", "-o", other, path))
    good = path.read_bytes()
    codes = []
    for number in range(1, CALLS_MOST):
        path.write_bytes(good)
        shutil.copyfile(other, small)
        shutil.copyfile(f"{other}.json", f"{small}.json")
        damage(path, at, b"sometime")
        damaged = path.read_bytes()
        with open(small, "r+b") as stream:
            done, there = fault(shim, ["capture", f"--apply={small}", "--no-undo", "-y", path], (stream.fileno(),),
                                FAIL_READ=str(number), FAIL_HOW="rewrite", FAIL_FILE=str(stream.fileno()),
                                FAIL_SIZE=str(at))
        if not there:
            break
        codes.append(done.returncode)
        assert path.read_bytes() == (damaged if done.returncode else good), (number, done)
        assert done.returncode == 0 or b"it is not the capture" in done.stderr, done
    assert set(codes) == {0, 1} and len(codes) < CALLS_MOST - 1


def test_json(made, tmp_path):
    path, small = copy(made, tmp_path)
    damage(path, made[1].where("l2/0/0"), bytes(8))
    found = json.loads(text_of(apply(small, path, "-j")))
    assert found["applied"] and found["writes"][0]["phase"] == "withdraw"


def test_new_data_is_named(made, tmp_path):
    path, small = copy(made, tmp_path, "qemu")
    qemu_io(path, "write -P 3 40M 128k")
    before = path.read_bytes()
    refused(apply(small, path), "2 clusters with guest data would be lost", "is not known to the capture",
            "of l2/0/640")
    assert path.read_bytes() == before
    text_of(apply(small, path, "--force", "--yes"))
    assert run("check", path).returncode == 0


@pytest.mark.parametrize("options, lines, texts", [
    ("compat=0.10", ("discard 0 64k", "write -P 7 40M 64k"), ("65536 bytes of the disk would be lost", "at 0x2800000")),
    ("compat=1.1", ("discard 0 64k", "write -P 7 40M 64k"), ("65536 bytes of the disk would be lost", "at 0x2800000")),
    ("extended_l2=on", ("discard 0 64k", "write -P 7 40M 2k"), ("2048 bytes of the disk would be lost",)),
    ("data_file=FOLDER/raw", ("discard 0 64k", "write -P 7 40M 64k"), ("65536 bytes of the disk would be lost",)),
    ("compat=1.1", ("write -z 0 128k",), ("the disk at 0x0, 131072 bytes, is zeros now", "were zeroed since")),
    ("extended_l2=on", ("write -z 4k 8k",), ("the disk at 0x1000, 8192 bytes", "were zeroed since"))])
def test_clusters_that_were_used_again(options, lines, texts, tmp_path):
    """The capture knows the cluster as data, but of another place of the disk."""
    path, small = tmp_path / "image", tmp_path / "small"
    options = options.replace("FOLDER", str(tmp_path))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "64M"], check=True)
    qemu_io(path, "write -P 1 0 1M")
    text_of(run("capture", "-o", small, path))
    qemu_io(path, *lines)
    before = path.read_bytes()
    refused(apply(small, path), *texts)
    assert path.read_bytes() == before
    assert apply(small, path, "--force", "--yes").returncode == 0


def test_entries_that_name_other_data(made, tmp_path):
    """A damaged entry that leads to the data of another one, which is where it was, is no loss."""
    path, small = copy(made, tmp_path)
    before = path.read_bytes()
    at = made[1].where("l2/0/1")
    damage(path, at, before[at + 8:at + 16])
    text_of(apply(small, path, "--yes"))
    assert path.read_bytes() == before


def test_disk_that_was_made_larger(made, tmp_path):
    path, small = copy(made, tmp_path, "qemu")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    text_of(run("capture", "-o", tmp_path / "plain", path))
    subprocess.run(["qemu-img", "resize", "-q", path, "128M"], check=True)
    refused(apply(tmp_path / "plain", path), "the disk has 134217728 bytes", "smaller again")
    assert small


def test_last_cluster_is_whole_since(tmp_path):
    """The end of the file cut it when it was captured; it is known all the same."""
    path, small = tmp_path / "image", tmp_path / "small"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    qemu_io(path, "write 0 128k")
    size = path.stat().st_size
    os.truncate(path, size - 4096)
    text_of(run("capture", "-o", small, path))
    os.truncate(path, size)
    data = path.read_bytes()
    l1 = int.from_bytes(data[40:48], "big")
    damage(path, int.from_bytes(data[l1 + 1:l1 + 8], "big"), bytes(8))
    text_of(apply(small, path, "--yes"))
    assert path.read_bytes() == data


def test_data_in_place_of_metadata(made, tmp_path):
    """Clusters of a snapshot that was deleted since are the guest's now."""
    path, small = copy(made, tmp_path, "qemu")
    subprocess.run(["qemu-img", "snapshot", "-d", "one", path], check=True)
    qemu_io(path, "write -P 3 40M 2M")
    before = path.read_bytes()
    refused(apply(small, path), "would be overwritten", "is where the capture has metadata")
    assert path.read_bytes() == before


def test_data_that_was_overwritten_stays(made, tmp_path):
    path, small = copy(made, tmp_path, "disk")
    at = made[1].where("l2/0/1")
    with open(path, "r+b") as stream:
        stream.seek(at)
        data = int.from_bytes(stream.read(8), "big") & 0xfffffffffffe00
    damage(path, data, b"written since")
    damage(path, made[1].where("l2/0/4"), bytes(8))
    text_of(apply(small, path, "--yes"))
    with open(path, "rb") as stream:
        stream.seek(data)
        assert stream.read(13) == b"written since"


def test_bits_are_not_cleared(made, tmp_path):
    path, small = copy(made, tmp_path)
    with open(path, "r+b") as stream:
        stream.seek(made[1].where("bitmaps/0/table/0"))
        bits = int.from_bytes(stream.read(8), "big")
    damage(path, bits, b"\xff")
    refused(apply(small, path), "bitmaps would forget what was written since the capture, in 1 bytes")
    text_of(apply(small, path, "--force", "--yes"))


def test_sizes(made, tmp_path):
    path, small = copy(made, tmp_path)
    size = path.stat().st_size
    os.truncate(path, size // 2)
    refused(apply(small, path), "the file is shorter than it was")
    path, small = copy(made, tmp_path)
    os.truncate(path, size + 65536)
    damage(path, made[1].where("l2/0/0"), bytes(8))
    text_of(apply(small, path, "--yes"))
    assert path.stat().st_size == size + 65536
    assert path.read_bytes()[:size] == (made[0] / "disk").read_bytes()


def test_captures_that_are_none(made, tmp_path):
    path, small = copy(made, tmp_path)
    other = tmp_path / "other"
    shutil.copyfile(small, other)
    refused(apply(other, path), "other.json", "No such file")
    shutil.copyfile(f"{small}.json", f"{other}.json")
    text_of(apply(other, path))
    damage(other, 70000, b"?")
    refused(apply(other, path), "it is not the capture that its manifest describes")
    for text in ("", "{", "[]", "{}", '{"format": "qcow2-export-manifest"}', "x" * 100000):
        with open(f"{other}.json", "w", encoding="ascii") as stream:
            stream.write(text)
        refused(apply(other, path), "other.json")


def test_redacted_and_header_alone(made, tmp_path):
    path, _ = copy(made, tmp_path)
    text_of(run("capture", "--redact", "-o", tmp_path / "redacted", path))
    refused(apply(tmp_path / "redacted", path), "its names were replaced")
    build("size 1M\nincompatible 0x10000000000\n", str(tmp_path / "unknown"))
    assert run("capture", "-o", tmp_path / "header", tmp_path / "unknown").returncode == 2
    refused(apply(tmp_path / "header", tmp_path / "unknown"), "only a header was captured")


def test_a_worse_capture_is_refused(made, tmp_path):
    """The planned image is judged: damage that was captured does not come back by itself."""
    path, _ = copy(made, tmp_path)
    damage(path, made[1].where("refcounts/0/0"), bytes(2))
    text_of(run("capture", "-o", tmp_path / "damaged", path))
    path, _ = copy(made, tmp_path)
    before = path.read_bytes()
    refused(apply(tmp_path / "damaged", path), "refused:")
    assert path.read_bytes() == before


def test_in_use(made, tmp_path):
    path, small = copy(made, tmp_path)
    damage(path, made[1].where("l2/0/0"), bytes(8))
    before = path.read_bytes()
    with subprocess.Popen(["qemu-io", "-f", "raw", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        user.stdin.write(b"length\n")
        user.stdin.flush()
        user.stdout.readline()
        refused(apply(small, path), "in use")
        user.communicate(b"quit\n")
    assert path.read_bytes() == before


def test_holes_are_passed(tmp_path):
    """Terabytes of a table that no file stores are no work."""
    path, small = recipe_image("bad-hostile-sparse-reftable")[0], tmp_path / "small"
    text_of(run("capture", "-o", small, path, program=RELEASE))
    done = run("capture", "--time-limit=20", "-n", f"--apply={small}", path, program=RELEASE)
    assert done.returncode == 0 and b"Nothing to change" in done.stdout, done


def test_tables_that_take_too_long(tmp_path):
    """Whether anything was written since is not known then, so that the change is refused."""
    path, small = recipe_image("good-hostile-shared-l2")[0], tmp_path / "small"
    text_of(run("capture", "-o", small, path, program=RELEASE))
    refused(run("capture", "-n", f"--apply={small}", path, program=RELEASE),
            "what was written since is not known (--force applies it all the same)")
    assert run("capture", "-n", "--force", f"--apply={small}", path, program=RELEASE).returncode == 0


def test_limits(made, tmp_path):
    """Without memory nothing is changed, and an error says so."""
    path, small = copy(made, tmp_path)
    damage(path, made[1].where("l2/0/0"), bytes(8))
    before = path.read_bytes()
    done = subprocess.run([RELEASE, "capture", "--memory-limit=1M", f"--apply={small}", path],
                          capture_output=True, check=False)
    assert done.returncode == 1 and b"memory" in done.stderr and path.read_bytes() == before
