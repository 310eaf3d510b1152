# SPDX-License-Identifier: MIT
# `qcow2 bitmap` as its tests call it: what it shows, what it refuses and what it changes.
"""Bitmap actions, each held to what all of them promise."""
import json
import os

import jsonschema

from tests.support.answers import text_is_safe
from tests.support.programs import TOP, run

with open(os.path.join(TOP, "docs", "bitmap.schema.json"), encoding="utf-8") as stream:
    VALIDATOR = jsonschema.Draft202012Validator(json.load(stream))
TWO = "size 1M\nbitmap a flags=auto bits=0,1,5\nbitmap b bits=1,9\n"
GRANULE = 64 << 10


def read(path):
    with open(path, "rb") as opened:
        return opened.read()


def shown(*words, code=0):
    done = run("bitmap", *words)
    assert done.returncode == code, done
    assert done.stderr == b"" or code
    text_is_safe(done.stdout)
    return done.stdout.decode()


def valid(*words, code=0):
    found = json.loads(shown(*words, "-j", code=code))
    VALIDATOR.validate(found)
    return found


def refused(path, *words, says):
    before, files = read(path), sorted(os.listdir(os.path.dirname(path)))
    done = run("bitmap", *words)
    assert done.returncode == 1 and done.stdout == b"", done
    assert says in done.stderr.decode(), done.stderr
    text_is_safe(done.stderr)
    assert read(path) == before and sorted(os.listdir(os.path.dirname(path))) == files


def changed(path, action, *words):
    """A change that works, leaves a sound image, and is undone and done again."""
    before = read(path)
    assert run("bitmap", action, f"--undo-file={path}.undo", path, *words).returncode == 0
    after = read(path)
    if os.path.exists(path + ".undo"):
        assert run("undo", path + ".undo").returncode == 0
        assert read(path) == before
        with open(path, "wb") as opened:
            opened.write(after)
        os.remove(path + ".undo")
    else:
        assert after == before
    assert run("check", path).returncode == 0


def states(path):
    return {b["name"]: b["state"] for b in valid("list", path)["bitmaps"]}


def dirty(path, *names):
    """The granules of 64 KiB that are dirty."""
    return [start // GRANULE + i for start, length in
            ((e["start"], e["length"]) for e in valid("extents", path, *names, "--dirty"))
            for i in range(length // GRANULE)]
