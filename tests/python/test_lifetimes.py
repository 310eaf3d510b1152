# SPDX-License-Identifier: MIT
# What a binding can get wrong in ways that C programs cannot: lifetimes, threads, exceptions.
"""Errors, closing, threads, signals and memory."""
import errno
import gc
import operator
import os
import pathlib
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from typing import Any, Callable, List

import pytest

import qcow2
from tests.python.common import SAMPLE, forged, read, recipe


# ---- errors ----

def test_errors_carry_code_errno_and_offset(tmp_path: pathlib.Path) -> None:
    with pytest.raises(qcow2.IoError) as caught:
        qcow2.Image(str(tmp_path / "nope"))
    assert caught.value.code is qcow2.ErrorCode.IO and caught.value.errno == errno.ENOENT
    assert caught.value.offset is None and isinstance(caught.value, FileNotFoundError)
    assert str(caught.value).startswith(str(tmp_path / "nope") + ": ")
    cut = tmp_path / "cut"
    cut.write_bytes(read(SAMPLE))
    with qcow2.Image(cut) as image:
        os.truncate(cut, 4096)
        with pytest.raises(qcow2.IoError) as caught:
            list(image.map())
        assert caught.value.offset == 12288  # the L1 table
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.code, again.offset, str(again)) == \
        (qcow2.IoError, caught.value.code, 12288, str(caught.value))


@pytest.mark.parametrize("fault, kinds", [
    (lambda image: image.snapshots.find("nope"), (qcow2.NotFoundError, LookupError)),
    (lambda image: list(image.map(snapshot=7)), (qcow2.NotFoundError,)),
    (lambda image: image.read(1 << 40, 1), (qcow2.ArgumentError, ValueError)),
    (lambda image: image.dump("nope"), (qcow2.NotFoundError,)),
    (lambda image: image.dump("l2/5..1"), (qcow2.ArgumentError,)),
    (lambda image: image.dump("**", most_values=10), (qcow2.LimitError,)),
    (lambda image: list(image.check(memory_limit=1)), (qcow2.LimitError,)),
    (lambda image: image.check(memory_limit=1).result, (qcow2.LimitError,)),
    (lambda image: image.check(only="nope"), (ValueError,)),
    (lambda image: image.dirty_extents("weekly", combine="xor"), (ValueError,)),
    (lambda image: image.dirty_extents(), (qcow2.ArgumentError,)),
])
def test_classes(fault: Callable[[qcow2.Image], object], kinds: Any) -> None:
    with qcow2.Image(SAMPLE) as image:
        with pytest.raises(kinds[0]) as caught:
            fault(image)
    assert isinstance(caught.value, kinds)


def test_not_ours() -> None:
    for data, kind in ((b"", qcow2.NotQcow2Error), (b"QFI\xfb\0\0\0\x03", qcow2.BrokenError),
                       (b"QFI\xfb\0\0\0\x07" + bytes(200), qcow2.UnsupportedError)):
        with pytest.raises(kind):
            qcow2.Image(data)
    with pytest.raises(qcow2.NotQcow2Error):
        qcow2.Image("/")
    reading, writing = os.pipe()
    with pytest.raises(qcow2.NotQcow2Error):
        qcow2.Image.from_fd(reading)
    os.close(reading)
    os.close(writing)


def test_budget_and_deadline() -> None:
    with qcow2.Image(SAMPLE) as image:
        image.source.set_budget(100)
        with pytest.raises(qcow2.LimitError):
            list(image.map())
        image.source.set_budget(None)
        image.source.set_deadline(1)
        with pytest.raises(qcow2.IoError) as caught:
            list(image.map())
        assert caught.value.errno == errno.ETIMEDOUT
        image.source.set_deadline(None)
        assert len(list(image.map())) == 6


def test_over_nbd(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "socket")
    with subprocess.Popen(["qemu-nbd", "-f", "raw", "-r", "-t", "-k", path, SAMPLE]) as server:
        try:
            for _ in range(200):
                if os.path.exists(path):
                    break
                time.sleep(0.02)
            with qcow2.Image.from_nbd(f"nbd+unix:///?socket={path}") as image:
                assert image.check().result.sound and image.source.in_use is False
                assert image.read(0, 8192) == b"\x11" * 8192
                with pytest.raises(qcow2.ArgumentError):
                    image.edit(undo=False)
            with pytest.raises(qcow2.Qcow2Error):
                qcow2.Image.from_nbd(f"nbd+unix:///nope?socket={path}")
            with pytest.raises(qcow2.ArgumentError):
                qcow2.Image.from_nbd("http://x/")
            with pytest.raises(qcow2.IoError) as caught:
                qcow2.Image("nbd://localhost/x")  # a path is never taken for a server
            assert caught.value.errno == errno.ENOENT
        finally:
            server.terminate()


def test_the_first_extents_of_slow_storage_come_soon(tmp_path: pathlib.Path) -> None:
    """A batch of 512 extents would take 64 reads of 20 ms each."""
    disk, path = str(tmp_path / "disk"), str(tmp_path / "socket")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", disk, "2M"],
                   check=True)
    writes = [word for at in range(64) for word in ("-c", f"write {at * 32768} 512")]
    subprocess.run(["qemu-io", *writes, disk], check=True, stdout=subprocess.DEVNULL)
    with subprocess.Popen(["nbdkit", "-f", "-U", path, "--filter=delay", "file", disk, "rdelay=20ms"]) \
            as server:
        try:
            for _ in range(200):
                if os.path.exists(path):
                    break
                time.sleep(0.02)
            with qcow2.Image.from_nbd(f"nbd+unix:///?socket={path}") as image:
                extents = image.map()
                assert next(extents).start == 0
                assert operator.length_hint(extents._ready) < 64
        finally:
            server.terminate()


# ---- lifetimes ----

MAKERS: List[Callable[[qcow2.Image], Any]] = [
    lambda image: image.map(), lambda image: iter(image.snapshots),
    lambda image: iter(image.bitmaps), lambda image: image.dirty_extents("nightly", "weekly"),
    lambda image: image.check(), lambda image: image.disk().extents()]


@pytest.mark.parametrize("make", MAKERS)
def test_an_iterator_of_a_closed_image(make: Callable[[qcow2.Image], Any]) -> None:
    image = qcow2.Image(forged("size 64M\ncluster_bits 12\nsnapshot s\n" +
                               "bitmap nightly bits=1\nbitmap weekly bits=1,9\n"))
    items, started = make(image), make(image)
    next(started, None)
    image.close()
    image.close()
    for one in (items, started):
        with pytest.raises((qcow2.ClosedError, StopIteration)):
            for _ in range(3):
                next(one)
        one.close()
        one.close()
    with pytest.raises(qcow2.ClosedError):
        make(image)
    with pytest.raises(qcow2.ClosedError):
        image.info()


@pytest.mark.parametrize("make", MAKERS)
def test_an_iterator_of_a_forgotten_image(make: Callable[[qcow2.Image], Any]) -> None:
    items = make(qcow2.Image(SAMPLE))
    gc.collect()
    wanted = list(make(qcow2.Image(SAMPLE)))
    assert list(items) == wanted
    assert list(items) == []  # at its end it stays there


def test_memory_lives_as_long_as_the_image() -> None:
    data = bytearray(read(SAMPLE))
    image = qcow2.Image(data)
    with pytest.raises(BufferError):
        data.clear()
    image.close()
    data.clear()


def test_a_source_closes_what_it_is_under() -> None:
    source = qcow2.Source.open(SAMPLE)
    with qcow2.Image(source) as one, qcow2.Image(source) as two:
        assert len(list(one.map())) == 6
        one.close()
        disk = two.disk()
        assert disk.read(0, 1) == b"\x11" and source.size == os.path.getsize(SAMPLE)
        source.close()
        assert two.closed
        with pytest.raises(qcow2.ClosedError):
            disk.read(0, 1)


LEFT_OPEN = f"""
import qcow2
image = qcow2.Image({SAMPLE!r})
items = [image.map(), image.dirty_extents("weekly"), image.disk(), iter(image.bitmaps)]
next(items[0])
check = qcow2.Image({recipe("bad-guest-ranges-2m-clusters")!r}).check(threads=1)
print(next(check).kind.id)
with image.edit(dry_run=True) as plan:
    plan.add_bitmap("x")
image.cycle = image
"""


def test_a_program_may_end_with_everything_open() -> None:
    done = subprocess.run([sys.executable, "-B", "-X", "dev", "-c", LEFT_OPEN], timeout=60, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout and not done.stderr


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_leaks() -> None:
    def work() -> None:
        image = qcow2.Image(SAMPLE)
        next(image.map())
        check = qcow2.Image(recipe("bad-l2-entry-all-bits")).check()
        next(check)
        with open(SAMPLE, "rb") as stream, qcow2.Image.from_fd(stream.fileno()) as other:
            other.check().result
            other.dump()
        with image.edit(dry_run=True) as plan:
            plan.add_bitmap("x")
        with pytest.raises(qcow2.NotFoundError):
            image.dirty_extents("nope")

    def opened() -> int:
        gc.collect()
        return descriptors()

    work()
    before, threads = opened(), len(os.listdir("/proc/self/task"))
    tracemalloc.start()
    work()
    gc.collect()
    base = tracemalloc.get_traced_memory()[0]
    for _ in range(8):
        work()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - base
    tracemalloc.stop()
    assert opened() == before
    assert len(os.listdir("/proc/self/task")) == threads
    assert grown < 30_000


# ---- streams ----

def many_extents(path: pathlib.Path) -> str:
    """An image whose bitmap has 32768 dirty and as many clean extents: each second bit is set."""
    size = 32 << 20
    path.write_bytes(read(forged("size 32M\ncluster_bits 16\n")))
    with qcow2.Image(path) as image, image.edit(undo=False) as plan:
        plan.add_bitmap("b", 512)
        plan.import_bitmap("b", b"\x55" * (size // 512 // 8))
    return str(path)


def test_extents_stream(tmp_path: pathlib.Path) -> None:
    with qcow2.Image(many_extents(tmp_path / "many")) as image:
        tracemalloc.start()
        dirty = count = 0
        for extent in image.dirty_extents("b"):
            dirty += extent.length if extent.dirty else 0
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (dirty, count) == (16 << 20, 1 << 16)
    assert peak < 1_000_000


def noisy(problems: int) -> bytes:
    """An image with one L2 table full of entries past the end of the file, for each L1 entry."""
    tables = problems // 8192
    header = bytearray(read(forged(f"size {tables * 512}M\ncluster_bits 16\n")))
    l1 = struct.unpack_from(">Q", header, 40)[0]
    end = (len(header) + 65535) // 65536 * 65536
    header += bytes(end - len(header))
    for table in range(tables):
        struct.pack_into(">Q", header, l1 + 8 * table, end + 65536 * table)
        header += struct.pack(">Q", 1 << 50) * 8192
    return bytes(header)


def test_problems_stream() -> None:
    data = noisy(16384)
    with qcow2.Image(data) as image:
        wanted = image.check().result
        assert wanted.corruptions > 16384
        tracemalloc.start()
        count = sum(1 for _ in image.check())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == wanted.corruptions + wanted.leaks + wanted.warnings
        assert peak < 1_000_000
        # Left half way: the rest is counted, or stopped.
        check = image.check()
        next(check)
        assert check.result == wanted
        check = image.check()
        next(check)
        check.close()
        check.close()
        assert len(list(image.check(max_per_kind=5))) <= 5 * len(wanted.counts)
        only = list(image.check(only="data-beyond-end", max_per_kind=3))
        assert [problem.kind.id for problem in only] == ["data-beyond-end"] * 3


# ---- threads ----

def test_threads_share_an_image_and_its_streams() -> None:
    with qcow2.Image(noisy(16384)) as image:
        check, disk = image.check(), qcow2.Image(SAMPLE).disk()
        wanted = sum(1 for _ in image.check())
        counts: List[int] = []

        def work() -> None:
            counts.append(sum(1 for _ in check))
            for _ in range(100):
                assert disk.read(0, 4096) == b"\x11" * 4096
                image.info()
                next(image.map())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(counts) == wanted and len(counts) == 4


def test_closing_while_others_read() -> None:
    for _ in range(30):
        image = qcow2.Image(SAMPLE)
        disk, went_on = image.disk(), threading.Event()
        ended: List[BaseException] = []

        def work() -> None:
            try:
                while True:
                    disk.read(0, 8192)
                    list(image.map())
                    list(image.check())
                    went_on.set()
            except qcow2.ClosedError as error:
                ended.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        went_on.wait(10)
        image.close()
        for thread in threads:
            thread.join(10)
        assert len(ended) == 2


def test_the_interpreter_is_free_during_calls(tmp_path: pathlib.Path) -> None:
    """A call waits for a server that is a thread of this interpreter, which hangs up at once."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises(qcow2.IoError) as caught:
            qcow2.Image.from_nbd(f"nbd+unix:///?socket={path}",
                                 deadline=time.monotonic_ns() + 20 * 10 ** 9)
        thread.join()
    assert caught.value.errno != errno.ETIMEDOUT


def test_signals_are_heard_while_a_check_is_iterated() -> None:
    class Heard(Exception):
        pass

    def hear(*_: object) -> None:
        raise Heard

    before = signal.signal(signal.SIGUSR1, hear)
    sender = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        with qcow2.Image(noisy(1 << 14)) as image:
            sender.start()
            with pytest.raises(Heard):
                while True:
                    for _ in image.check():
                        pass
            wanted = image.check().result
            assert sum(1 for _ in image.check()) == sum(wanted.counts.values())
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
