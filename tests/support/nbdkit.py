# SPDX-License-Identifier: MIT
# NBD servers of one test each, our plugin and qemu-nbd, and a client that asks both the same.
"""nbdkit with the plugin, qemu-nbd, and what a client learns from them."""
import contextlib
import itertools
import os
import subprocess
import tempfile
import time

import nbd

from tests.support.programs import RELEASE

# nbdkit has no sanitizers, and a program without them cannot load a plugin that has.
PLUGIN = os.path.join(os.path.dirname(os.path.dirname(RELEASE)), "plugins", "nbdkit-qcow2-plugin.so")
ALLOCATION = "base:allocation"
HOLE, ZERO = 1, 2
ASK_BYTES = 1 << 30


def refusal(*arguments):
    """What nbdkit says when it does not start."""
    done = subprocess.run(["nbdkit", "-U", "-", PLUGIN, *map(str, arguments), "--run", "true"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 1, done
    return done.stdout.decode()


@contextlib.contextmanager
def server(words, log=subprocess.DEVNULL):
    """Starts a server; @ in its words is the socket. Gives the socket, and the process."""
    folder = tempfile.mkdtemp(prefix="nbd-", dir="/tmp")
    socket = os.path.join(folder, "socket")
    with subprocess.Popen([word.replace("@", socket) for word in words], stdout=log, stderr=log) as process:
        try:
            for _ in range(2000):
                if process.poll() is not None or listens(socket):
                    break
                time.sleep(0.005)
            assert process.poll() is None, f"{words} has ended: {process.returncode}"
            yield socket, process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(socket)
            os.rmdir(folder)


def listens(socket):
    """Whether somebody answers there: the socket is in its folder a moment before."""
    if not os.path.exists(socket):
        return False
    with contextlib.suppress(nbd.Error):
        nbd.NBD().connect_unix(socket)
        return True
    return False


def ours(*arguments, log=subprocess.DEVNULL):
    return server(["nbdkit", "-f", "-U", "@", PLUGIN, *map(str, arguments)], log)


def qemus(*arguments):
    return server(["qemu-nbd", "-r", "-t", "-e", "16", "-k", "@", *map(str, arguments)])


@contextlib.contextmanager
def client(socket, *contexts):
    handle = nbd.NBD()
    for context in contexts:
        handle.add_meta_context(context)
    handle.connect_unix(socket)
    try:
        yield handle
    finally:
        handle.shutdown()


def everything(handle, piece=8 << 20):
    size = handle.get_size()
    return b"".join(bytes(handle.pread(min(piece, size - at), at)) for at in range(0, size, piece))


def extents(handle, context=ALLOCATION):
    """[(start, end, type)] of the whole disk; neighbours that say the same are joined."""
    found, size = [], handle.get_size()

    def note(name, offset, entries, _error):
        if name != context:
            return
        for length, kind in zip(entries[::2], entries[1::2]):
            end = min(offset + length, size)
            if found and found[-1][2] == kind:
                found[-1] = (found[-1][0], end, kind)
            else:
                found.append((offset, end, kind))
            offset = end

    while not found or found[-1][1] < size:
        at = found[-1][1] if found else 0
        if at == size:
            break
        handle.block_status(min(ASK_BYTES, size - at), at, note)
        assert found[-1][1] > at
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found)) if hasattr(itertools, "pairwise") else True
    return found
