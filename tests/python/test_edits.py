# SPDX-License-Identifier: MIT
# Changes from Python, byte for byte against those of the command, and the ways back.
"""Plans, dry runs, refusals and undo."""
import os
import pathlib
import shutil
from typing import Callable, List, Tuple

import pytest

import qcow2
from tests.python.common import SAMPLE, TWO, command, forged, read, recipe

Change = Callable[[qcow2.Plan], object]
CHANGES: List[Tuple[List[str], Change]] = [
    (["edit", "IMAGE", "set", "snapshots/0/date_sec=0x40"],
     lambda p: p.set("snapshots/0/date_sec", "0x40")),
    (["edit", "IMAGE", "set", "header/compatible_features=1"],
     lambda p: p.set("header/compatible_features", 1)),
    (["edit", "IMAGE", "feature", "compatible", "lazy refcounts", "on"],
     lambda p: p.feature("compatible", "lazy refcounts", True)),
    (["edit", "IMAGE", "backing", "set", "base.raw", "raw"],
     lambda p: p.set_backing("base.raw", "raw")),
    (["edit", "IMAGE", "feature-names", "rebuild"], lambda p: p.set_feature_names()),
    (["bitmap", "add", "IMAGE", "new"], lambda p: p.add_bitmap("new")),
    (["bitmap", "add", "IMAGE", "new", "--granularity=4k", "--disabled"],
     lambda p: p.add_bitmap("new", 4096, enabled=False)),
    (["bitmap", "remove", "IMAGE", "nightly"], lambda p: p.remove_bitmap("nightly")),
    (["bitmap", "clear", "IMAGE", "weekly"], lambda p: p.clear_bitmap("weekly")),
    (["bitmap", "enable", "IMAGE", "weekly"], lambda p: p.enable_bitmap("weekly")),
    (["bitmap", "disable", "IMAGE", "nightly"], lambda p: p.disable_bitmap("nightly")),
    (["bitmap", "rename", "IMAGE", "weekly", "w"], lambda p: p.rename_bitmap("weekly", "w")),
    (["bitmap", "merge", "IMAGE", "nightly", "weekly"],
     lambda p: p.merge_bitmap("nightly", "weekly")),
]


@pytest.fixture(name="place")
def fixture_place(tmp_path: pathlib.Path) -> Callable[..., str]:
    def copy(source: str = SAMPLE, name: str = "a.qcow2") -> str:
        return str(shutil.copyfile(source, tmp_path / name))
    return copy


def after(data: bytes, plan: qcow2.Plan) -> bytes:
    """What the writes of a plan make of a file."""
    made = bytearray(data)
    for write in plan.writes():
        end = write.offset + len(write.new)
        made += bytes(max(0, end - len(made)))
        assert made[write.offset:end][:len(write.old)] == write.old
        made[write.offset:end] = write.new
    made += bytes(max(0, plan.new_size - len(made)))
    return bytes(made[:plan.new_size])


@pytest.mark.parametrize("words, change", CHANGES, ids=[" ".join(words) for words, _ in CHANGES])
def test_as_the_command_does(place: Callable[..., str], words: List[str], change: Change) -> None:
    theirs, ours, undo = place(name="theirs.qcow2"), place(), place(name="undo")
    os.remove(undo)
    done = command(*[theirs if word == "IMAGE" else word for word in words],
                   f"--undo-file={theirs}.undo")
    assert done.returncode == 0, done.stderr
    with qcow2.Image(ours) as image:
        with image.edit(dry_run=True) as plan:
            change(plan)
        assert plan.verdict.ok and not plan.empty and not plan.applied
        planned = after(read(ours), plan)
        assert read(ours) == read(SAMPLE) and not os.path.exists(undo)
        plan.close()
        with image.edit(undo=undo) as plan:
            change(plan)
        assert plan.applied
        assert read(ours) == read(theirs) != read(SAMPLE)
        # The image was opened again, and says what is there now.
        with qcow2.Image(ours) as again:
            assert image.info() == again.info() and list(image.bitmaps) == list(again.bitmaps)
        assert image.check().result.sound
    assert read(ours) == planned
    with qcow2.Undo(undo) as file:
        info = file.info
        assert info.image_path == os.path.realpath(ours) and info.state == "applied"
        assert len(list(file.pieces())) == info.pieces > 0
        assert file.judge().is_exact
        assert file.apply().is_exact and file.apply().is_undone
    assert read(ours) == read(SAMPLE)
    # Either's undo file is good for either's change.
    assert command("undo", theirs + ".undo").returncode == 0
    assert read(theirs) == read(SAMPLE)


def test_several_verbs_are_one_plan(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image, image.edit(undo=path + ".undo") as plan:
        plan.add_bitmap("one")
        plan.merge_bitmap("weekly", "one")
        plan.set("header/compatible_features", 1)
        plan.remove_bitmap("weekly")
        plan.extension("add", 0x12345678, b"mine")
    with qcow2.Image(path) as image:
        assert image.bitmaps.names() == ["nightly", "one"]
        # nightly's granularity
        assert [e.start for e in image.dirty_extents("one", dirty_only=True)] == [1 << 20]
        assert image.info().compatible_features == 1
        assert image.check().result.sound
    assert command("undo", path + ".undo").returncode == 0
    assert read(path) == read(SAMPLE)


def test_an_exception_in_the_block_writes_nothing(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image:
        with pytest.raises(KeyError):
            with image.edit(undo=path + ".undo") as plan:
                plan.clear_bitmap("weekly")
                raise KeyError("no")
        with pytest.raises(qcow2.ClosedError):
            plan.set("header/size", 1)
    assert read(path) == read(SAMPLE) and not os.path.exists(path + ".undo")


def test_a_wrong_action_leaves_the_others(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image, image.edit(undo=False) as plan:
        with pytest.raises(qcow2.NotFoundError) as caught:
            plan.clear_bitmap("nope")
        assert caught.value.code == qcow2.ErrorCode.NOT_FOUND and "nope" in str(caught.value)
        with pytest.raises(qcow2.ArgumentError):
            plan.add_bitmap("weekly")
        with pytest.raises(qcow2.NotFoundError):
            plan.set("header/sise", 1)
        plan.clear_bitmap("weekly")
    with qcow2.Image(path) as image:
        assert not list(image.dirty_extents("weekly", dirty_only=True))
    assert os.listdir(os.path.dirname(path)) == ["a.qcow2"]


def test_refusals(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image:
        with pytest.raises(qcow2.RefusedError) as caught:
            with image.edit(undo=path + ".undo") as plan:
                plan.set("header/l1_size", 1)
        verdict = caught.value.verdict
        assert verdict.adds_problems and not verdict.ok and verdict.added
        assert {problem.kind.id for problem in verdict.problems} <= verdict.added.keys()
        assert verdict.before and verdict.before.sound
        assert read(path) == read(SAMPLE) and not os.path.exists(path + ".undo")
        with pytest.raises(qcow2.RefusedError) as caught:
            with image.edit(undo=path + ".undo") as plan:
                plan.set("header/nb_snapshots", 0)
        assert caught.value.verdict.refusals_total == len(caught.value.verdict.refusals) > 0
        assert all(r.refusal and r.way_out for r in caught.value.verdict.refusals)
        with pytest.raises(qcow2.RefusedError, match="no image any more"):
            with image.edit(undo=path + ".undo") as plan:
                plan.set("header/magic", 0)
        with image.edit(undo=path + ".undo", force=True) as plan:
            plan.set("header/l1_size", 1)
        assert not image.check().result.sound


def test_unknown_features_are_not_touched(place: Callable[..., str]) -> None:
    path = place(recipe("unsupported-incompatible-all"))
    with qcow2.Image(path) as image:
        with pytest.raises(qcow2.ArgumentError, match="features that are not known"):
            with image.edit(undo=False):
                pass


def test_nothing_to_do_writes_nothing(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image:
        extents = image.map()
        with image.edit(undo=path + ".undo") as plan:
            plan.set("header/size", 16 << 20)
            assert plan.empty
        assert not plan.applied
        assert len(list(extents)) == 6  # nothing was closed
    assert read(path) == read(SAMPLE) and not os.path.exists(path + ".undo")


def test_what_reads_is_closed_before_a_write(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image:
        extents, disk, check = image.map(), image.disk(), image.check()
        next(extents)
        with image.edit(undo=False) as plan:
            plan.clear_bitmap("weekly")
        uses: List[Callable[[], object]] = [
            lambda: next(extents), lambda: disk.read(0, 1), lambda: next(check)]
        for use in uses:
            with pytest.raises(qcow2.ClosedError):
                use()
        assert len(list(image.map())) == 6


def test_edits_need_a_path_and_a_decision() -> None:
    with qcow2.Image(read(SAMPLE)) as image:
        with pytest.raises(qcow2.ArgumentError):
            image.edit(undo=False)
        with image.edit(dry_run=True) as plan:
            plan.add_bitmap("x")
        assert plan.verdict.ok and any(write.phase == "new" for write in plan.writes())
    with qcow2.Image(SAMPLE) as image, pytest.raises(ValueError, match="undo"):
        image.edit()


def test_an_undo_file_that_is_there(place: Callable[..., str]) -> None:
    path = place()
    pathlib.Path(path + ".undo").write_bytes(b"precious")
    with qcow2.Image(path) as image:
        with pytest.raises(qcow2.IoError) as caught:
            with image.edit(undo=path + ".undo") as plan:
                plan.clear_bitmap("weekly")
        assert caught.value.errno and isinstance(caught.value, OSError)
        assert image.check().result.sound  # open again
    assert read(path + ".undo") == b"precious" and read(path) == read(SAMPLE)


def test_in_use(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as one, qcow2.Image(path) as two:
        with one.edit(undo=False) as plan:
            with pytest.raises(qcow2.InUseError):
                with two.edit(undo=False):
                    pass
            plan.clear_bitmap("weekly")
        with two.edit(undo=False) as plan:
            plan.clear_bitmap("nightly")


def test_import_and_merge_of_another_image(place: Callable[..., str]) -> None:
    path = place(forged(TWO))
    exported = path + ".qbm"
    assert command("bitmap", "export", forged(TWO), "a",
                   f"--to={exported}").returncode == 0
    with qcow2.Image(forged(TWO)) as other, qcow2.Image(path) as image:
        wanted = list(other.dirty_extents("a"))
        with image.edit(undo=False) as plan:
            plan.import_bitmap_file("c", read(exported))
            plan.add_bitmap("d")
            plan.merge_extents(other.dirty_extents("a"), "d")
            plan.add_bitmap("e")
            plan.import_bitmap("e", b"\x23\x00")
        for name in "cde":
            assert list(image.dirty_extents(name)) == wanted
        with image.edit(dry_run=True) as plan:
            with pytest.raises(qcow2.ArgumentError):
                plan.import_bitmap("e", b"\x23")
            begun = other.dirty_extents("a")
            next(begun)
            with pytest.raises(ValueError):
                plan.merge_extents(begun, "e")


def test_repair(place: Callable[..., str]) -> None:
    theirs, ours = place(recipe("bad-refcount-leak"), "theirs.qcow2"), \
        place(recipe("bad-refcount-leak"))
    assert command("repair", theirs, f"--undo-file={theirs}.undo").returncode == 0
    steps: List[qcow2.RepairStep] = []
    with qcow2.Image(ours) as image:
        with image.edit(undo=ours + ".undo") as plan:
            result = plan.repair(tell=steps.append)
        assert not result.before.sound and result.after.sound and result.steps == len(steps) > 0
        assert steps[0].kind.id in result.before.counts and not result.costs
        assert image.check().result.sound
    assert read(ours) == read(theirs)


def test_repair_of_bitmaps_and_what_callbacks_raise(place: Callable[..., str]) -> None:
    path = place(forged("size 1M\nbitmap a flags=in_use bits=0\n"))
    heard: List[qcow2.Treatment] = []

    def refuse(_: object) -> None:
        raise LookupError("mine")

    with qcow2.Image(path) as image:
        with pytest.raises(qcow2.StaleBitmapError):
            image.dirty_extents("a")
        assert list(image.dirty_extents("a", stale=True))
        with pytest.raises(LookupError, match="mine"):
            with image.edit(undo=False) as plan:
                plan.repair_bitmaps(assume_dirty=True, tell=refuse)
        with image.edit(undo=False) as plan:
            plan.repair_bitmaps(assume_dirty=["a"], tell=heard.append)
        assert [one.remedy for one in heard] == ["all-dirty"] and heard[0].bitmap == "a"
        assert [e.dirty for e in image.dirty_extents("a")] == [True]


def test_names_that_are_no_text(place: Callable[..., str]) -> None:
    path = place()
    with qcow2.Image(path) as image:
        with image.edit(undo=False, force=True) as plan:  # a warning: the name is no text
            plan.add_bitmap(b"\xff\x1b[2J")
        name = image.bitmaps.names()[-1]
        assert name == b"\xff\x1b[2J".decode("utf-8", "surrogateescape")
        assert image.bitmaps[name] == image.bitmaps[b"\xff\x1b[2J"]
        assert qcow2.printable(name) == r"\xff\u{1b}[2J"
        assert name in image.bitmaps and "nope" not in image.bitmaps
        assert len(list(image.dirty_extents(name))) == 1
        with pytest.raises(qcow2.NotFoundError, match=r"no bitmap"):
            _ = image.bitmaps["nope"]
