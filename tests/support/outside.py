# SPDX-License-Identifier: MIT
# What the tests share that look at the command from outside: running it, on pipes and on terminals,
# and what every one of its answers must be like.
"""Running qcow2 as people and scripts do."""
import json
import os
import pty
import re
import subprocess

from tests.support.programs import QCOW2

# Every way to ask about an image: what stands before it, and after it.
READERS = {
    "dump": (["dump"], []),
    "dump -j": (["dump", "-j"], []),
    "dump all": (["dump"], ["all"]),
    "info": (["info"], []),
    "info -j": (["info", "-j"], []),
    "info --chain": (["info", "--chain"], []),
    "compat": (["compat"], ["dump-header"]),
    "compat -j": (["compat", "-j"], ["dump-header"]),
}


def run(*arguments, program=QCOW2, **more):
    """Runs qcow2; arguments may be text or bytes."""
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60,
            "check": False, **more}
    return subprocess.run([program, *arguments], **more)  # pylint: disable=subprocess-run-check


def ask(reader, image, **more):
    """Asks about an image in one of the ways of READERS."""
    before, after = READERS[reader]
    return run(*before, "--", image, *after, **more)


def text_of(done, code=0):
    """What a command printed that ended with code, and had nothing to say if that is 0."""
    assert done.returncode == code, done
    assert code or done.stderr == b"", done
    return done.stdout.decode()


def documents(text):
    """All JSON documents of a text, which must be UTF-8 without lone surrogates or NaN."""
    def refuse(word):
        raise ValueError(word)
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    decoder = json.JSONDecoder(parse_constant=refuse)
    found, text = [], text.lstrip()
    while text:
        value, end = decoder.raw_decode(text)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        found.append(value)
        text = text[end:].lstrip()
    return found


def complaint(done, reader, name, code=1):
    """
    The reason in the one line on stderr of a command that could not: it names command and file
    (as they must be printed), and stdout is empty. Returns (reason, offset or None).
    """
    assert done.returncode == code, done
    if code == 1:
        assert done.stdout == b"", done
    line = done.stderr.decode("utf-8")
    command = READERS[reader][0][0] if reader in READERS else reader
    assert line.count("\n") == 1 and line.endswith("\n"), line
    head = f"qcow2 {command}: {name}: "
    assert line.startswith(head), line
    match = re.fullmatch(r"(.+?)(?: \(at offset 0x([0-9a-f]+)\))?\n", line[len(head):])
    assert match, line
    return match[1], int(match[2], 16) if match[2] else None


def harmless(data):
    """Bytes that may go to a terminal: UTF-8, and nothing that moves, hides or colours."""
    text = data.decode("utf-8")
    bad = [f"U+{ord(c):04X}" for c in text
           if (ord(c) < 32 and c != "\n") or 0x7f <= ord(c) <= 0x9f or
           ord(c) in {0xad, 0x61c, 0x180e, 0xfeff} or
           0x200b <= ord(c) <= 0x200f or 0x2028 <= ord(c) <= 0x202e or
           0x2060 <= ord(c) <= 0x206f or 0xe0000 <= ord(c) <= 0xe007f]
    assert not bad, (bad, text[:2000])
    return text


def on_terminal(*arguments, environment=None):
    """Runs qcow2 with stdout on a terminal. Returns its exit code and what the terminal got."""
    mine, its = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    env.update({"TERM": "xterm"} if environment is None else environment)
    with subprocess.Popen([QCOW2, *arguments], stdin=subprocess.DEVNULL, stdout=its,
                          stderr=subprocess.PIPE, env=env) as process:
        os.close(its)
        got = b""
        while True:
            try:
                piece = os.read(mine, 65536)
            except OSError:
                break
            if not piece:
                break
            got += piece
        os.close(mine)
        errors = process.stderr.read()
    assert b"Sanitizer" not in errors, errors
    return process.returncode, got.replace(b"\r\n", b"\n")
