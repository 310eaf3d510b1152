# SPDX-License-Identifier: MIT
# What a browser makes of `qcow2 layout --output=svg`: blocks and legend in the colours of their kinds
# and as large as they should be, text that can be seen, on light pages and on dark ones.
"""Pictures in a browser."""
import itertools
import math
import random
import re
import struct
import zlib
from collections import Counter
from xml.etree import ElementTree

import pytest

from tests.support import png
from tests.support.blocks import ALARMS, ALL_KINDS, KINDS
from tests.support.browser import DARK, LIGHT, screenshot
from tests.support.outside import run
from tests.support.programs import image

SVG = "{http://www.w3.org/2000/svg}"
RULE = re.compile(r"\.qcow2-layout \.([a-z0-9-]+)\{fill:#([0-9a-f]{6})\}")


def colours_of(style, scheme):
    """The colour of each class."""
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    found = dict(RULE.findall(light))
    if scheme == DARK:
        found.update(RULE.findall(dark))
    return {name: tuple(bytes.fromhex(colour)) for name, colour in found.items()}


def number(element, key):
    return int(element.get(key))


class Shown:
    """The document, and what the browser shows of it."""
    def __init__(self, text, folder, scheme):
        self.root = ElementTree.fromstring(text)
        self.width, self.height = number(self.root, "width"), number(self.root, "height")
        page = folder / "page.svg"
        page.write_bytes(text)
        self.picture = screenshot(page, folder, self.width, self.height, scheme)
        self.colours = colours_of(self.root.find(SVG + "style").text, scheme)
        self.swatches = {}
        self.area = Counter()  # of the blocks of each kind, without the lines between them
        tiles = []
        for rect in self.root.iter(SVG + "rect"):
            kind = rect.get("class").removeprefix("mark ")
            if rect.get("rx"):
                self.swatches[kind] = rect
            elif kind in KINDS and not rect.get("class").startswith("mark"):
                tiles.append(rect)
                pitch = number(rect, "height")
                self.area[kind] += number(rect, "width") // pitch * (pitch - 1) ** 2

        left, top = number(tiles[0], "x"), number(tiles[0], "y")
        self.grid = (left, top, self.width, number(tiles[-1], "y") + number(tiles[-1], "height"))

    def within(self, rect):
        left, top = number(rect, "x"), number(rect, "y")
        return self.picture.colours(left, top, left + number(rect, "width"),
                                    top + number(rect, "height"))


@pytest.fixture(name="shown", scope="module", params=[LIGHT, DARK], ids=["light", "dark"])
def fixture_shown(request, tmp_path_factory):
    done = run("layout", "--output=svg", image(ALL_KINDS)[0])
    return Shown(done.stdout, tmp_path_factory.mktemp("browser"), request.param)


def test_colours(shown):
    """Each kind has a colour of its own, in the legend and in as many pixels of blocks."""
    assert set(shown.swatches) == set(KINDS)
    assert len({shown.colours[kind] for kind in KINDS} | {shown.colours["page"]}) == len(KINDS) + 1
    blocks = shown.picture.colours(*shown.grid)
    for kind, rect in shown.swatches.items():
        colour = shown.colours[kind]
        # the squares of alarms have edges; they take some of what is behind them
        part = 0.55 if kind in ALARMS else 0.85
        assert shown.within(rect)[colour] > 14 * 14 * part, kind
        assert shown.area[kind] * part <= blocks[colour] <= shown.area[kind] * 1.05 + 200, kind


def test_page_and_text(shown):
    """The page is as light as the reader prefers, and what is written on it stands out."""
    page, text = shown.colours["page"], shown.colours["text"]
    corners = [shown.picture.rows[y][x] for y in (0, -1) for x in (0, -1)]
    assert corners == [page] * 4
    assert (sum(page) > 600) == (sum(text) < 200) and (sum(page) < 100) == (sum(text) > 600)
    for element in shown.root.iter(SVG + "text"):
        left, baseline = number(element, "x"), number(element, "y")
        if element.get("class").endswith(("end", "offset")):
            left -= 40
        seen = shown.picture.colours(max(left, 0), baseline - 12, left + 40, baseline + 3)
        ink = shown.colours[element.get("class").split()[0]]
        assert sum(count for colour, count in seen.items() if colour != page) > 15, element.text
        assert seen[ink] > 0, element.text


# How the colours of light look to people without one of the three kinds of cones (Machado, Oliveira
# and Fernandes, 2009): linear red, green and blue, after those that everybody else sees.
VISIONS = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
     (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
     (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
     (0.004733, 0.691367, 0.303900)))


def lab(colour, vision):
    """CIE L*a*b* of a colour of sRGB, in which distances are as large as people see them."""
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
             for c in (value / 255 for value in colour)]
    red, green, blue = (min(max(sum(a * b for a, b in zip(row, light)), 0), 1) for row in vision)
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_colour_blind(scheme):
    """Any two kinds differ to any eye: more than 2 is seen, more than 10 at a glance."""
    text = run("layout", "--output=svg", image(ALL_KINDS)[0]).stdout
    colours = colours_of(ElementTree.fromstring(text).find(SVG + "style").text, scheme)
    for vision in VISIONS:
        seen = {name: lab(colours[name], vision) for name in (*KINDS, "page")}
        for one, other in itertools.combinations(seen, 2):
            least = 5 if other == "page" and one == "hole" else 12
            assert math.dist(seen[one], seen[other]) > least, (one, other)


def test_schemes_differ():
    """A reader's preference changes the page, not the colours that say what is what."""
    text = run("layout", "--output=svg", image(ALL_KINDS)[0]).stdout
    style = ElementTree.fromstring(text).find(SVG + "style").text
    light, dark = colours_of(style, LIGHT), colours_of(style, DARK)
    assert {"page", "text", "small"} <= {name for name in light if light[name] != dark[name]}
    # viewers that do not know the style see what light pages have
    for rect in ElementTree.fromstring(text).iter(SVG + "rect"):
        name = rect.get("class").removeprefix("mark ")
        assert rect.get("fill") == "#" + bytes(light[name]).hex()
    assert light["data"] == dark["data"] and light["leaked"] == dark["leaked"]


def test_png(tmp_path):
    """The reader of screenshots knows all filters."""
    width, draw = 7, random.Random(3)
    rows = [bytes(draw.choice((0, 1, 90, 255)) for _ in range(3 * width)) for _ in range(60)]
    data, above = b"", bytes(3 * width)
    for number_of_row, row in enumerate(rows):
        kind = number_of_row % 5
        left, corner = bytes(3) + row[:-3], bytes(3) + above[:-3]
        guesses = [(0, a, b, a + b >> 1, min((abs(b - c), 0, a), (abs(a - c), 1, b),
                                             (abs(a + b - 2 * c), 2, c))[2])
                   for a, b, c in zip(left, above, corner)]
        data += bytes([kind]) + bytes(x - guess[kind] & 255 for x, guess in zip(row, guesses))
        above = row
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 2, 0, 0, 0)),
              (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    path = tmp_path / "noise.png"
    path.write_bytes(png.MAGIC + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks))
    assert png.read(path).rows == [list(zip(row[::3], row[1::3], row[2::3])) for row in rows]
