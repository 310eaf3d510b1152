# SPDX-License-Identifier: MIT
# Every state in which a crash may leave an image and its undo file. One run is traced; the states are
# built from its writes. What was synced is there. Of what was written since, any sectors may be
# there, as a medium keeps no order between two syncs.
"""States after a crash, built from a trace of writes."""
import itertools
import os
import random
import struct

SECTOR = 512
HEAD = struct.Struct("=cQQQ")


class Trace:
    """The operations of one run on some files: letter, path, number, data."""

    def __init__(self, path):
        self.steps = []
        with open(path, "rb") as stream:
            content = stream.read()
        at = 0
        while at < len(content):
            letter, number, path_length, length = HEAD.unpack_from(content, at)
            at += HEAD.size
            name = content[at:at + path_length].decode()
            at += path_length
            self.steps.append((letter.decode(), name, number, content[at:at + length]))
            at += length


class File:
    """What is surely on the medium, and what was written since."""

    def __init__(self, content):
        self.content = None if content is None else bytearray(content)
        self.pending = []

    @staticmethod
    def put(content, step):
        letter, number, data = step
        content = bytearray() if content is None else content
        if letter == "w":
            content.extend(bytes(max(0, number - len(content))))
            content[number:number + len(data)] = data
        elif letter == "t":
            del content[number:]
            content.extend(bytes(number - len(content)))
        return content

    def do(self, letter, number, data):
        if letter == "u":
            self.content, self.pending = None, []
        elif letter == "s":
            for step in self.pending:
                self.content = self.put(self.content, step)
            self.pending = []
        else:
            self.pending.append((letter, number, data))

    def sectors(self):
        """Pending writes, each cut at the sectors; changes of size as they are."""
        for letter, number, data in self.pending:
            if letter != "w":
                yield letter, number, data
                continue
            at = 0
            while at < len(data):
                length = min(SECTOR - (number + at) % SECTOR, len(data) - at)
                yield letter, number + at, data[at:at + length]
                at += length

    def with_pending(self, chosen):
        content = None if self.content is None else bytearray(self.content)
        for step in chosen:
            content = self.put(content, step)
        return content


def states(trace, files, chance, most):
    """Yields dictionaries of file contents: in order of the program, and, before each sync, up to
    `most` other choices of what has reached the medium."""
    now = {path: File(content) for path, content in files.items()}

    def all_now():
        return {path: file.with_pending(file.pending) for path, file in now.items()}

    yield all_now()
    for letter, path, number, data in trace.steps:
        if path not in now:
            continue
        if letter in "su":
            yield from disordered(now, path, chance, most)
        now[path].do(letter, number, data)
        if letter != "s":
            yield all_now()


def disordered(now, path, chance, most):
    pieces = list(now[path].sectors())
    if len(pieces) < 2:
        return
    others = {name: file.with_pending(file.pending) for name, file in now.items() if name != path}
    if 1 << len(pieces) <= most:
        choices = list(itertools.product((0, 1), repeat=len(pieces)))
    else:
        choices = [[chance.randrange(2) for _ in pieces] for _ in range(most - 2)]
        one = chance.randrange(len(pieces))
        choices += [[i == one for i in range(len(pieces))], [i != one for i in range(len(pieces))]]
    for chosen in choices:
        kept = [piece for piece, is_there in zip(pieces, chosen) if is_there]
        yield {**others, path: now[path].with_pending(kept)}


def put(content, path):
    """Makes a file what it was, in its old place: its inode counts."""
    if content is None:
        if os.path.exists(path):
            os.remove(path)
        return
    with open(path, "r+b" if os.path.exists(path) else "wb") as stream:
        stream.truncate(0)
        at = 0
        while at < len(content):
            piece = content[at:at + 65536]
            if any(piece):
                stream.seek(at)
                stream.write(piece)
            at += 65536
        stream.truncate(len(content))


def chance(seed):
    return random.Random(seed)
