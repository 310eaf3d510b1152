# SPDX-License-Identifier: MIT
# A terminal of a given size, for programs that only write lines and colours: what it would show,
# what has scrolled away, and which lines it had to break because they pass its width.
"""A terminal."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unicodedata
from dataclasses import dataclass, field

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
SECONDS = 60


@dataclass
class Screen:
    """What is on a terminal when a program has ended."""
    columns: int
    rows: int
    code: int
    text: str                                   # what the program wrote
    lines: list = field(default_factory=list)   # as the terminal shows them, from the first on
    broken: list = field(default_factory=list)  # lines of the program that pass the width

    def __post_init__(self):
        text = COLOUR.sub("", self.text)
        assert not CONTROL.search(text), text
        for line in text.removesuffix("\n").split("\n"):
            pieces = self._pieces(line)
            self.lines += pieces
            if len(pieces) > 1:
                self.broken.append(line)

    def _pieces(self, line):
        pieces, used = [""], 0
        for char in line:
            width = columns_of(char)
            if used + width > self.columns:
                pieces.append("")
                used = 0
            pieces[-1] += char
            used += width
        return pieces

    def visible(self):
        """The lines that are still there; the cursor takes the last row."""
        return self.lines[-(self.rows - 1):]

    def scrolled(self):
        """The lines that have scrolled away."""
        return self.lines[:-(self.rows - 1)]


def columns_of(char):
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def read_all(descriptor):
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def show(arguments, columns=80, rows=24, **more):
    """Run a program on a terminal of so many columns and rows; its colours are on."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = {name: value for name, value in os.environ.items()
           if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    try:
        with subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=theirs,
                              stderr=theirs, env={**env, "TERM": "xterm"}, **more) as program:
            os.close(theirs)
            text = read_all(ours).decode("utf-8").replace("\r\n", "\n")
            return Screen(columns, rows, program.wait(SECONDS), text)
    finally:
        os.close(ours)


def answer(arguments, typed, meanwhile=None):
    """Run a program on a terminal and type an answer. What goes on meanwhile does so when a question
    is there. Returns the exit code and all that was shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs,
                          env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"}) as program:
        os.close(theirs)
        shown = b""
        while meanwhile and b"[y/N]" not in shown:
            shown += os.read(ours, 4096)
        if meanwhile:
            meanwhile()
        os.write(ours, typed)
        shown += read_all(ours)
        os.close(ours)
        code = program.wait(SECONDS)
    return code, shown.decode().replace("\r\n", "\n")
