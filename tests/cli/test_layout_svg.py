# SPDX-License-Identifier: MIT
# The document of `qcow2 layout --output=svg`: well-formed whatever the image and its name are, small,
# alone, and true to the runs of the JSON document.
"""Pictures in SVG."""
import json
import os
import re
from collections import Counter
from xml.etree import ElementTree

import pytest

from tests.forge import build, recipes
from tests.support.blocks import ALL_KINDS, KINDS, blocks_of
from tests.support.outside import run
from tests.support.programs import TOP, image, recipe_image

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "title", "desc", "style", "rect", "text", "path", "g"}
MIB = 1 << 20
NAMES = [b"plain", "größe 日本.qcow2".encode(), b"a&b<c>d\"e'f", b"]]><script>alert(1)",
         b"\x1b[31m\x01\x02\x7f", b"\xff\xfe\xc0\x80\xed\xa0\x80", "\ufffe\uffff\u202e".encode(),
         b"new\nline\ttab\r", b"&#0;&lt;", b"back\\slash", b"-x" * 100, "é".encode() * 120]
# Of each four clusters one is leaked, one free, one a snapshot's and one shared: a block for four of
# them has as much to say as there can be.
FOURS, PLACE = range(0, 3600 << 10, 2048), 128 << 10
MOTLEY = "\n".join([
    "# nothing lies beside its like", "cluster_bits 9", "size 3600k", f"write 0 3600k at={PLACE}",
    *(f"unmap {at} 1k" for at in FOURS), "snapshot 1", *(f"unmap {at + 1024} 512" for at in FOURS),
    *(f"set refcount_of/{PLACE + at} 1" for at in FOURS), ""])


def svg_of(path, *options, codes=(0, 2)):
    done = run("layout", "--output=svg", *options, path)
    assert done.returncode in codes, done
    return done.stdout


def tag(element):
    return element.tag.removeprefix(SVG)


def judge(data):
    """What is true of every document. Returns its root."""
    assert len(data) < MIB
    text = data.decode("utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == SVG + "svg" and root.get("role") == "img"
    assert [tag(child) for child in root][:3] == ["title", "desc", "style"]
    assert root.get("aria-label") == root[0].text and root[1].text
    assert {tag(element) for element in root.iter()} <= ELEMENTS
    for word in ("href", "url(", "@import", "@font-face", "<!", "<?", "<script", " on"):
        assert word not in re.sub(r"<(title|desc|text)\b[^>]*>[^<]*<|aria-label=\"[^\"]*\"", "",
                                  text).replace("version=", ""), word
    assert text.count("http") == text.count("http://www.w3.org/2000/svg") == 1 or "http" in root[0].text
    return root


def tiles(root):
    """Blocks as (x, y, width, size, kind, mark, tooltip)."""
    found = []
    for element in root:
        group = element if tag(element) == "g" else [element]
        rects = [e for e in group if tag(e) == "rect"]
        if not rects or rects[0].get("class") == "page" or rects[0].get("rx"):
            continue
        mark = rects[1].get("class").removeprefix("mark ") if len(rects) > 1 else None
        x, y, width, height = (int(rects[0].get(key)) for key in ("x", "y", "width", "height"))
        found.append((x, y, width, height, rects[0].get("class"), mark,
                      element.find(SVG + "title").text))
    return found


def legend(root):
    """Bytes of each kind."""
    return {group.find(SVG + "rect").get("class"):
            int(re.search(r": (\d+) bytes$", group.find(SVG + "title").text)[1])
            for group in root.iter(SVG + "g") if group.find(SVG + "rect").get("rx")}


def runs_of(path):
    return json.loads(run("layout", "--output=json", path).stdout)["runs"]


def check_tiles(path, root):
    """Compares tiles with the rule, in order, and their tooltips with what is there."""
    runs = runs_of(path)
    size = runs[-1]["start"] + runs[-1]["length"]
    found = tiles(root)
    pitch = found[0][3]
    assert {tile[3] for tile in found} == {pitch}
    block = max(int(re.search(r"(\d+) bytes from", tile[6])[1]) // (tile[2] // pitch)
                for tile in found)
    blocks = iter(blocks_of(runs, size, block))
    at, left = 0, found[0][0]
    for x, y, width, _, kind, mark, tooltip in found:
        count = width // pitch
        covered = [next(blocks) for _ in range(count)]
        assert {b.shown for b in covered} == {kind}
        assert {b.mark for b in covered} == {mark}
        length, start = re.search(r"\n(\d+) bytes from 0x([0-9a-f]+)(\n|$)", tooltip).groups()[:2]
        assert (int(start, 16), int(length)) == (at, sum(b.length for b in covered))
        if count > 1:
            assert mark is None
            assert all(b.bytes[kind] == b.length for b in covered)
        total = sum((b.bytes for b in covered), Counter())
        told = tooltip.split("\n")[0].split(", ")
        assert told[0].split(" ")[0] in (k for k in total if total[k] == max(total.values()))
        at += int(length)
        if x == left:
            row = y
        assert y == row
    assert next(blocks, None) is None and at == size
    assert legend(root) == {k: v for k, v in Counter(
        {k: sum(r["length"] for r in runs if r["kind"] == k) for k in KINDS}).items() if v}


@pytest.mark.parametrize("options", [[], ["--width=400"], ["--width=2500"]], ids=str)
def test_blocks(options):
    """Blocks, marks, tooltips and legend say what the runs say."""
    path = image(ALL_KINDS)[0]
    check_tiles(path, judge(svg_of(path, *options)))


@pytest.mark.parametrize("name", sorted(recipes())[::9])
def test_any_image(name):
    """Good and bad images have a document, or none at all."""
    path = recipe_image(name)[0]
    done = run("layout", "--output=svg", path)
    if done.returncode == 1:
        assert done.stdout == b"" and done.stderr
        return
    check_tiles(path, judge(done.stdout))


def test_hostile_names(tmp_path):
    """Names are text and nothing else, and what cannot be shown is escaped."""
    with open(image("# small\nsize 1M\n")[0], "rb") as stream:
        data = stream.read()
    for name in NAMES:
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as stream:
            stream.write(data)
        root = judge(svg_of(path))
        shown = root[0].text.removeprefix("Layout of ")
        assert shown.isprintable() or "日" in shown
        told = os.fsdecode(path)
        if told.isprintable() and "\\" not in told:
            assert shown == told
        visible = next(e.text for e in root.iter(SVG + "text") if e.get("class") == "text name")
        assert shown == visible or visible[0] == "…" and shown.endswith(visible[1:])


def test_size():
    """Below 1 MiB for what has as many blocks and as much to say on each as there can be."""
    path = image(MOTLEY)[0]
    for options in ([], ["--width=10000"]):
        data = svg_of(path, *options)
        judge(data)
        assert len(tiles(ElementTree.fromstring(data))) > 1500
        assert len(data) < MIB


def test_width():
    """In pixels; what is narrower than can be read is made smaller as a whole."""
    path = image(ALL_KINDS)[0]
    for options, wanted, laid_out in (([], 900, 900), (["--width=1234"], 1234, 1234),
                                      (["--width=320"], 320, 320), (["--width=100"], 100, 320)):
        root = judge(svg_of(path, *options))
        left, top, width, height = map(int, root.get("viewBox").split())
        assert (left, top, width, int(root.get("width"))) == (0, 0, laid_out, wanted)
        assert abs(int(root.get("height")) - height * wanted / width) < 1
        for element in root.iter(SVG + "rect"):
            right = int(element.get("x", 0)) + int(element.get("width"))
            bottom = int(element.get("y", 0)) + int(element.get("height"))
            assert right <= width and bottom <= height


def test_picture_of_the_readme(tmp_path, monkeypatch):
    """docs/layout.svg is what docs/layout.md says it is."""
    monkeypatch.chdir(tmp_path)
    with open(os.path.join(TOP, "docs", "layout.recipe"), encoding="utf-8") as stream:
        build(stream.read(), "disk.qcow2")
    with open(os.path.join(TOP, "docs", "layout.svg"), "rb") as stream:
        assert svg_of("disk.qcow2") == stream.read()
