# SPDX-License-Identifier: MIT
# The picture that `qcow2 layout` draws on terminals: what each block shows, how much it is, the
# legend, and colours, which only add to it.
"""Blocks on terminals."""
import json
import os
import re
import subprocess
from collections import Counter

import pytest

from tests.support import shims
from tests.support.blocks import ALL_KINDS, GLYPHS, blocks_of, easy_number
from tests.support.outside import on_terminal, run
from tests.support.programs import QCOW2, RELEASE, image, recipe_image
from tests.support.terminal import show

UNITS = {unit: 1 << 10 * i for i, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))}
HEADING = re.compile(r"One block is ([\d.]+) (\w+)(, to the image's end)?"
                     r"(; kinds in \( \) are too small for one)?\.")
ROW = re.compile(r" *(0|[\d.]+ \w+) ([%s]+)" % re.escape("".join(GLYPHS.values())))
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A disk that is nearly all hole: a header, two tables and a cluster of data 1 TiB behind them.
FAR = "# far away\nsize 1M\nwrite 0 64k at=1T\nleak 1\n"
ORDINARY = "# what most images are like\nsize 1G\nwrite 0 3M\nwrite 600M 2M\nunmap 1M 64k\n"
IMAGES = {"all kinds": ALL_KINDS, "far": FAR}


def size_of(text):
    number, _, unit = text.partition(" ")
    return float(number) * UNITS[unit or "B"]


class Picture:
    """What is read from the picture at the end of a page."""
    def __init__(self, page, width):
        lines = page.split("\n")
        start = next(i for i, line in enumerate(lines) if line.startswith("One block is "))
        lines = lines[start:]
        assert all(len(line) <= width for line in lines), lines
        while not lines[0].endswith("."):
            lines[:2] = [lines[0] + " " + lines[1]]
        heading = HEADING.fullmatch(lines[0])
        assert heading, lines[0]
        self.block = int(size_of(f"{heading[1]} {heading[2]}"))
        self.ends_with_image = bool(heading[3])
        self.has_left_over = bool(heading[4])
        rows = [ROW.fullmatch(line) for line in lines[1:]]
        count = next(i for i, row in enumerate(rows) if not row)
        self.starts = [row[1] for row in rows[:count]]
        self.rows = [row[2] for row in rows[:count]]
        self.legend = " ".join(lines[1 + count:]).rstrip()

    def glyphs(self, count):
        """One character for each of so many blocks, which may be two columns wide."""
        text = "".join(self.rows)
        if len(text) == count:
            return text
        assert len(text) == 2 * count and text[::2] == text[1::2], (text, count)
        return text[::2]


def layout(path, *options):
    done = run("layout", *options, path)
    assert done.returncode in (0, 2), done
    return done.stdout.decode()


def runs_of(path):
    document = json.loads(layout(path, "--output=json"))
    return document["runs"], document["runs"][-1]["start"] + document["runs"][-1]["length"]


def path_of(name):
    return image(IMAGES[name])[0] if name in IMAGES else recipe_image(name)[0]


@pytest.mark.parametrize("name", [*IMAGES, "good-snapshots", "bad-refcount-leak"])
@pytest.mark.parametrize("width", [40, 80, 120, 10000])
def test_blocks(name, width):
    """Each block shows what the rule says, and the legend has every kind that occurs."""
    path = path_of(name)
    picture = Picture(layout(path, f"--width={width}"), width)
    runs, size = runs_of(path)
    cluster = 1 << json.loads(run("dump", "-j", path, "header").stdout)["header"]["cluster_bits"]
    blocks = blocks_of(runs, size, picture.block)
    glyphs = picture.glyphs(len(blocks))
    assert glyphs == "".join(block.glyph() for block in blocks)
    assert picture.block % cluster == 0
    assert easy_number(picture.block // cluster) == picture.block // cluster

    in_row = len(picture.rows[0]) * len(blocks) // len("".join(picture.rows))
    for number, start in enumerate(picture.starts):
        assert size_of(start) == pytest.approx(number * in_row * picture.block, rel=0.01)
    totals = Counter(run["kind"] for run in runs)
    left_over = {kind for kind in totals if GLYPHS[kind] not in glyphs}
    wanted = [f"({kind})" if kind in left_over else f"{GLYPHS[kind]} {kind}"
              for kind in GLYPHS if kind in totals]
    assert re.sub("  +", " ", picture.legend) == " ".join(wanted)
    assert picture.has_left_over == bool(left_over)


def test_small_things_are_seen():
    """In a file of 1 TiB: its header, its only cluster of data, and one leaked cluster."""
    picture = Picture(layout(path_of("far")), 80)
    text = "".join(picture.rows)
    assert text[0] == "!" and text.count("█") == 1 and set(text[1:-1]) <= set("·H12Rr█")
    assert picture.block >= 1 << 30


def test_device(copy, tmp_path):
    """On a device, which is larger than its image, the picture ends where the image does."""
    path = copy(image(ORDINARY)[0])
    end = os.path.getsize(path)
    os.truncate(path, 1 << 30)
    env = {**os.environ, "LD_PRELOAD": shims.build("device", tmp_path), "DEVICE": path}
    page = subprocess.run([RELEASE, "layout", path], env=env, stdout=subprocess.PIPE, check=True)
    picture = Picture(page.stdout.decode(), 80)
    assert picture.ends_with_image and "hole" not in picture.legend
    assert picture.block * len("".join(picture.rows)) < 3 * end
    page = subprocess.run([RELEASE, "layout", "--output=svg", path], env=env,
                          stdout=subprocess.PIPE, check=True)
    assert b", the end of the image</text>" in page.stdout
    assert not Picture(layout(path), 80).ends_with_image


def test_fits_the_terminal(copy):
    """The page of an ordinary image is seen as a whole; a taller terminal has a larger picture."""
    heights = []
    for columns, rows in ((80, 24), (120, 40)):
        screen = show([QCOW2, "layout", "disk.qcow2"], columns, rows,
                      cwd=os.path.dirname(copy(image(ORDINARY)[0], "disk.qcow2")))
        assert screen.code == 0 and not screen.broken
        assert not screen.scrolled(), screen.lines
        screen = show([QCOW2, "layout", image(FAR)[0]], columns, rows)
        heights.append(len(Picture("\n".join(screen.lines), columns).rows))
    assert heights[0] < heights[1]


def test_colours():
    """They add to the characters, end with their line, and are those that the terminal has."""
    path = image(ALL_KINDS)[0]
    plain = layout(path, "--width=80")
    deep = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    for environment, many in ((deep, True), ({**deep, "TERM": "xterm", "COLORTERM": ""}, False),
                              ({**deep, "TERM": "xterm", "COLORTERM": "truecolor"}, True)):
        text = run("layout", "--color=always", "--width=80", path, env=environment).stdout.decode()
        assert COLOUR.sub("", text) == plain
        assert ("38;5;" in text) == many
        for line in text.split("\n"):
            codes = COLOUR.findall(line)
            assert codes[1::2] == ["\x1b[0m"] * (len(codes) // 2) and len(codes) % 2 == 0
    assert "\x1b" not in plain
    for environment, coloured in (({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False),
                                  ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        _, shown = on_terminal("layout", "--width=80", path, environment=environment)
        assert (b"\x1b[" in shown) == coloured


def test_every_kind_has_its_own_look():
    """Characters differ, and with 256 colours the colours do, too."""
    text = run("layout", "--color=always", "--width=999", image(ALL_KINDS)[0],
               env={**os.environ, "TERM": "xterm-256color"}).stdout.decode()
    legend = text[text.index("One block is "):]
    looks = {}
    for codes, glyph, kind in re.findall(r"(\x1b\[[0-9;]+m)(\S)\x1b\[0m ([a-z0-9-]+)", legend):
        looks[kind] = (codes, glyph)
    assert set(looks) == set(GLYPHS)
    assert len({glyph for _, glyph in looks.values()}) == len(GLYPHS)
    assert len({codes for codes, _ in looks.values()}) >= len(GLYPHS) - 1  # free and hole share
