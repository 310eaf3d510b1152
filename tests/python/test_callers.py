# SPDX-License-Identifier: MIT
# What callers do wrong, or what happens to them: arguments that make no sense, copies, forks, signals,
# threads and callbacks where they must not be, files that change their names.
"""Nothing of that crashes, hangs, or is taken for something else."""
import copy
import gc
import os
import pathlib
import pickle
import shutil
import signal
import threading
import time
from typing import Any, Callable, List

import pytest

import qcow2
from tests.python.common import SAMPLE, forged, read, recipe
from tests.python.test_lifetimes import many_extents, noisy


@pytest.fixture(name="place")
def fixture_place(tmp_path: pathlib.Path) -> str:
    return str(shutil.copyfile(SAMPLE, tmp_path / "a.qcow2"))


# ---- arguments ----

def edited(work: Callable[[qcow2.Plan], object]) -> None:
    with qcow2.Image(SAMPLE) as image, image.edit(dry_run=True) as plan:
        work(plan)


def test_a_null_byte_ends_no_text(place: str) -> None:
    """C would take what stands before it."""
    with qcow2.Image(place) as image:
        calls: List[Callable[[], object]] = [
            lambda: qcow2.Image(place + "\0.raw"), lambda: qcow2.Image(pathlib.Path(place + "\0")),
            lambda: qcow2.Source.open_for_edit(place + "\0"), lambda: qcow2.Undo(place + "\0"),
            lambda: qcow2.Image.from_nbd("nbd://localhost:1\0"), lambda: image.dump("header\0/size"),
            lambda: image.check(only="leak\0"), lambda: image.edit(undo=place + ".undo\0"),
            lambda: edited(lambda p: p.set("header/size\0", 1)),
            lambda: edited(lambda p: p.set("header/size", "1\0")),
            lambda: edited(lambda p: p.feature("compatible\0", 1, True)),
            lambda: edited(lambda p: p.set_backing("x", "raw\0qcow2")),
            lambda: edited(lambda p: p.repair(drop_snapshots=["1\0"]))]
        for call in calls:
            with pytest.raises(ValueError, match="null byte"):
                call()
        # Names in images are bytes, of which this is one.
        with pytest.raises(qcow2.NotFoundError):
            image.dirty_extents("weekly\0")


def test_numbers_that_the_library_cannot_take() -> None:
    with qcow2.Image(SAMPLE) as image, image.disk() as disk:
        calls: List[Callable[[int], object]] = [
            image.map, lambda n: image.map(0, n), lambda n: image.map(snapshot=n), disk.extents,
            lambda n: disk.extents(0, n), lambda n: disk.read(n, 1), lambda n: disk.read(0, n),
            lambda n: disk.readinto(n, bytearray(1)), lambda n: disk.read_past(0, n, print),
            lambda n: image.disk(snapshot=n), lambda n: image.disk(memory_limit=n),
            lambda n: image.check(threads=n), lambda n: image.check(memory_limit=n),
            lambda n: image.check(max_per_kind=n), image.source.set_budget, image.source.set_deadline,
            lambda n: edited(lambda p: p.add_bitmap("x", n)),
            lambda n: edited(lambda p: p.extension("add", n))]
        for call in calls:
            for bad in (-1, 1 << 64):
                with pytest.raises(qcow2.ArgumentError, match="is (-1|18446744073709551616): not"):
                    call(bad)
            with pytest.raises(TypeError):
                call(1.5)  # type: ignore[arg-type]
        # Before memory is taken for it.
        with pytest.raises(qcow2.ArgumentError, match="passes the end"):
            disk.read(0, 1 << 62)
        assert disk.read(disk.size, 0) == b""


def test_what_is_no_name(place: str) -> None:
    with qcow2.Image(place) as image:
        uses: List[Callable[[Any], object]] = [
            lambda name: image.bitmaps[name], lambda name: name in image.bitmaps,
            image.dirty_extents, image.bitmaps.totals, lambda name: edited(lambda p: p.add_bitmap(name))]
        for use in uses:
            for name in (0, None):
                with pytest.raises(TypeError, match="a name is str or bytes"):
                    use(name)
        with pytest.raises(ValueError, match="''"):
            image.check(only="")
        assert (len(image.bitmaps), len(image.snapshots)) == (2, 1)
        with qcow2.Image(forged("size 1M\n")) as other:
            assert not other.bitmaps and not other.snapshots
        with pytest.raises(TypeError):
            qcow2.Image(place, is_path=False)
    # "12" would be the snapshots 1 and 2.
    for repair in (lambda p: p.repair(drop_snapshots="12"), lambda p: p.repair(only="leak"),
                   lambda p: p.repair_bitmaps(assume_dirty="ab")):
        with pytest.raises(TypeError, match="not one name"):
            edited(repair)


def test_an_empty_path_is_not_none(place: str) -> None:
    with qcow2.Image(place) as image:
        with pytest.raises(qcow2.IoError):
            with image.edit(undo="") as plan:
                plan.clear_bitmap("weekly")
        with pytest.raises(TypeError):
            image.edit(undo=True)  # type: ignore[arg-type]
        assert read(place) == read(SAMPLE)
        with image.edit(undo=place + ".undo") as plan:
            plan.clear_bitmap("weekly")
    with qcow2.Undo(place + ".undo") as undo:
        for put_back in (undo.judge, undo.apply):
            with pytest.raises(qcow2.IoError):
                put_back("")
        # Itself is no later change.
        assert undo.apply(later=[undo, undo]).is_exact


def test_messages_can_be_printed(tmp_path: pathlib.Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\x1b[2J\n"
    openers: List[Callable[[], object]] = [
        lambda: qcow2.Image(name, is_path=True), lambda: qcow2.Image(os.fsdecode(name))]
    for opener in openers:
        with pytest.raises(qcow2.IoError) as caught:
            opener()
        assert str(caught.value).isascii() and str(caught.value).isprintable()
        assert os.fsencode(caught.value.filename) == name
    shutil.copyfile(SAMPLE, name)
    with qcow2.Image(name, is_path=True) as image, image.edit(undo=name + b".undo") as plan:
        plan.clear_bitmap("weekly")
    with qcow2.Undo(name + b".undo") as undo:
        assert os.fsencode(undo.info.image_path) == name and undo.apply().is_exact
    assert read(os.fsdecode(name)) == read(SAMPLE)


# ---- copies ----

def test_nothing_that_owns_something_is_copied() -> None:
    with qcow2.Image(SAMPLE) as image, image.disk() as disk, image.edit(dry_run=True) as plan:
        owners = [image, image.source, image.map(), image.check(), disk, disk.extents(), plan,
                  image.bitmaps, image.snapshots, plan.writes(), image.edit(dry_run=True),
                  image.dirty_extents("weekly"), image._handle]
        for owner in owners:
            for make in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="neither copied nor pickled"):
                    make(owner)  # type: ignore[operator]
        values = [image.info(), image.bitmaps["weekly"], next(image.map()), image.check().result]
        assert pickle.loads(pickle.dumps(values)) == copy.deepcopy(values) == values
        assert disk.read(0, 1) == b"\x11"


# ---- signals ----

class Alarm(BaseException):
    """As KeyboardInterrupt, but nobody's who runs the tests."""


def alarmed(work: Callable[[], object], seconds: float) -> bool:
    """Whether a signal interrupted some work. In ``__del__`` Python loses it, so nothing is collected."""
    def hear(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, hear)
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        work()
    except Alarm:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    return False


def test_a_signal_in_a_callback_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    """Mostly it comes while C works, and Python hears of it before the first line of a callback."""
    with qcow2.Image(noisy(1 << 14)) as image:
        count = sum(alarmed(lambda: image.dump("**"), 0.002 + i * 0.0003) for i in range(30))
    assert count == 30 and capfd.readouterr().err == ""


def test_an_interrupted_stream_does_not_go_on(tmp_path: pathlib.Path) -> None:
    """It would leave out items, without a word."""
    with qcow2.Image(many_extents(tmp_path / "many")) as image:
        interrupted = 0
        for i in range(30):
            stream, total = image.dirty_extents("b"), 0

            def go_on() -> None:
                nonlocal total
                for extent in stream:
                    total += extent.length

            if alarmed(go_on, 0.0003 + i * 0.0004):
                try:
                    go_on()
                except qcow2.ClosedError as error:
                    interrupted += "interrupted" in str(error)
                    continue
            # Or else the signal came between the items, or after them; the one at hand is the caller's.
            assert (32 << 20) - total in (0, 512)
    assert interrupted > 2


def test_a_check_that_is_interrupted() -> None:
    with qcow2.Image(noisy(1 << 17)) as image:
        check = image.check(threads=1)
        assert alarmed(lambda: check.result, 0.001)
        assert check.result.corruptions > 1 << 17
        check = image.check()
        assert alarmed(lambda: [None for _ in check], 0.02)
        with pytest.raises((qcow2.ClosedError, StopIteration)):
            while True:
                next(check)
        assert check.result.corruptions > 1 << 17
        # What was stopped is not at its end.
        for check in (image.check(), image.check()):
            check.close()
            with pytest.raises(qcow2.ClosedError):
                next(check)
            with pytest.raises(qcow2.ClosedError):
                print(check.result)


# ---- forks ----

def test_the_child_of_a_fork_ends() -> None:
    """The thread of the check is not in it, and its lock may be locked for ever."""
    with qcow2.Image(noisy(1 << 14)) as image:
        ends: List[Callable[[qcow2.Check], object]] = [
            lambda check: check.close(), next, lambda check: check.result,
            lambda check: image.close()]
        for end in ends:
            check = image.check()
            next(check)
            child = os.fork()
            if child == 0:
                try:
                    for _ in range(600):
                        end(check)
                except qcow2.ArgumentError:
                    os._exit(7)
                finally:
                    os._exit(0)
            until, done = time.monotonic() + 10, 0
            while done == 0 and time.monotonic() < until:
                time.sleep(0.005)
                done, status = os.waitpid(child, os.WNOHANG)
            if done == 0:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            assert done == child and os.waitstatus_to_exitcode(status) in (0, 7)
            assert sum(1 for _ in check) > 1 << 14


# ---- threads and callbacks ----

def test_threads_cannot_break_a_plan() -> None:
    """Without a guard, memory would be corrupted."""
    refused: List[str] = []

    def work(plan: qcow2.Plan, name: str) -> None:
        for i in range(40):
            try:
                plan.add_bitmap(f"{name}{i}")
                plan.set("header/compatible_features", i % 2)
                list(plan.writes())
            except qcow2.ArgumentError as error:
                refused.append(error.text)

    with qcow2.Image(SAMPLE) as image:
        for _ in range(5):
            with image.edit(dry_run=True) as plan:
                threads = [threading.Thread(target=work, args=(plan, name)) for name in "abcd"]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            if refused:
                break
    assert all("another call" in text for text in refused)


def test_a_callback_cannot_use_what_is_in_use() -> None:
    refused: List[str] = []

    def refuse(*uses: Callable[[], object]) -> None:
        for use in uses:
            with pytest.raises(qcow2.ArgumentError) as caught:
                use()
            refused.append(caught.value.text)

    with qcow2.Image(forged("size 1M\nbitmap a flags=in_use bits=0\n")) as image, \
            image.edit(dry_run=True) as plan:
        plan.repair_bitmaps(assume_dirty=True, tell=lambda _: refuse(
            lambda: plan.set("header/size", 1), lambda: plan.remove_bitmap("a"),
            lambda: list(plan.writes()), lambda: plan.verdict))
        plan.add_bitmap("b")  # afterwards it goes on
    assert len(refused) == 4 and plan.verdict.ok
    del refused[:]
    # With the least memory there is one reader, for which the second read would wait for ever.
    with qcow2.Image(recipe("bad-data-beyond-end")) as image, image.disk(memory_limit=1) as disk:
        disk.read_past(0, disk.size, lambda _: refuse(
            lambda: disk.read(0, 1), lambda: disk.readinto(0, bytearray(1)),
            lambda: disk.read_past(0, 1, print)))
        assert len(refused) >= 3 and disk.read_past(0, 1, lambda _: None) == b"\0"


# ---- files that change under their names ----

def test_an_edit_is_of_the_file_that_was_opened(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, name = os.path.split(place)
    other = os.path.join(folder, "other")
    os.mkdir(other)
    shutil.copyfile(SAMPLE, os.path.join(other, name))
    monkeypatch.chdir(folder)
    with qcow2.Image(name) as image:
        os.chdir(other)
        with image.edit(undo=False) as plan:
            plan.add_bitmap("here")
        assert "here" in image.bitmaps and image.filename == name
        assert read(os.path.join(other, name)) == read(SAMPLE)
        os.replace(os.path.join(other, name), place)
        with pytest.raises(qcow2.MismatchError, match="another file"):
            with image.edit(undo=False) as plan:
                plan.add_bitmap("there")
        assert "here" in image.bitmaps and read(place) == read(SAMPLE)
        with image.edit(dry_run=True) as plan:
            plan.add_bitmap("there")


def test_a_change_that_leaves_no_image(place: str) -> None:
    with qcow2.Image(place) as image:
        with image.edit(undo=place + ".undo", force=True) as plan:
            plan.set("header/magic", 0)
        assert plan.applied and image.closed
        with pytest.raises(qcow2.ClosedError):
            image.info()
    with qcow2.Undo(place + ".undo") as undo:
        undo.apply()
    assert read(place) == read(SAMPLE)
    with qcow2.Image(place) as image:
        with pytest.raises(qcow2.IoError) as caught:
            with image.edit(undo=place + "/undo") as plan:
                plan.clear_bitmap("weekly")
        assert caught.value.filename == place + "/undo"  # it is at fault, not the image


def test_snapshots_that_are_not_there_any_more(place: str) -> None:
    with qcow2.Image(place) as image:
        snapshot = next(iter(image.snapshots))
        assert list(image.map(snapshot=snapshot))
        with image.edit(undo=False) as plan:
            plan.set("snapshots/0/date_sec", 7)
        with pytest.raises(qcow2.NotFoundError, match="'installed' is not there"):
            image.map(snapshot=snapshot)
