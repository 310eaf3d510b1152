# SPDX-License-Identifier: MIT
# qcow2 diff against the comparison of two `qcow2 dump -j IMAGE all` that is made here: forged
# images, good and bad, beside twins in which bytes of the metadata were changed.
"""diff against two dumps."""
import json
import os
import random
import re
import subprocess

import pytest

from tests.forge import recipes
from tests.support.programs import RELEASE, folder, recipe_image, run

KINDS = {0x0537be77: "crypto", 0x23852875: "bitmaps", 0x44415441: "data_file",
         0x6803f857: "feature_names", 0xe2792aca: "backing_format"}
OFFSET = 0x00fffffffffffe00
LISTS = ("bitmap_directory", "bitmap_table", "l1", "l2", "entries")
LARGE = 9 << 20  # bytes of a dump
# A dump of these is cut, or far larger than the file.
HUGE = re.compile(r"hostile|huge|sparse|omitted|many|past-end-l1|max")


def flat(node, path=""):
    """path → (value, bytes) of what a dump says of a structure, lists of others aside."""
    found = {}
    for key, value in node.items():
        where = f"{path}/{key}" if path else key
        plain = re.sub(r"(\.hex|-hex|-name|-names)$", "", key)
        if (key == "offset" and "offset.hex" not in node) or key in ("index", "data_str"):
            continue
        if (plain != key and plain in node) or key in LISTS:
            continue
        if isinstance(value, dict):
            found.update(flat(value, where))
        elif isinstance(value, list):
            if key == "data" or (value and not isinstance(value[0], dict)):
                continue
            for row in value:
                found.update(flat(row, f"{where}/{row['index']}"))
        else:
            found[where] = (value, node.get(key + ".hex"))
    return found


def entries(rows, words=1):
    """index → entry of a table."""
    found = {}
    for row in rows:
        more = (row["zeroes"] << 32 | row["allocated"],) if words == 2 else ()
        found[row["index"]] = (row["entry"], *more)
    return found


class Element:
    def __init__(self, node, label, name=None):
        self.index, self.fields, self.node = node["index"], flat(node), node
        self.label, self.name, self.match = label, name, None
        self.ambiguous = False


def text(node, key):
    """The bytes of a name."""
    return bytes.fromhex(node.get(key + ".hex", "")) if node.get(key) else b""


def dump(path):
    """The document, or None if there is none, or if it is too large to be compared quickly."""
    with subprocess.Popen([RELEASE, "dump", "-j", "--hex", path, "all"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as process:
        found = process.stdout.read(LARGE)
        process.stdout.close()
    return found if 0 < len(found) < LARGE else None


class Model:
    """What a dump says of an image."""

    def __init__(self, path):
        shown = dump(path)
        self.cut = shown is None or b"-omitted" in shown
        if self.cut:
            return
        doc = json.loads(shown)
        self.doc, self.header = doc, doc["header"]
        self.fixed = {key: flat(doc[key]) for key in ("header", "backing_file", "luks")
                      if key in doc}
        self.extensions, self.bitmaps = [], []
        for node in doc.get("extensions", ()):
            label = KINDS.get(node["magic"], f"0x{node['magic']:08x}")
            self.extensions.append(Element(node, label.encode()))
            del self.extensions[-1].fields["name"]
            for bitmap in node.get("data", {}).get("bitmap_directory", ()):
                self.bitmaps.append(Element(bitmap, text(bitmap, "name")))
        self.snapshots = [Element(node, text(node, "id"), text(node, "name"))
                          for node in doc.get("snapshots", ())]
        self.sane = "l1" in doc
        extended = self.header.get("incompatible_features", 0) >> 4 & 1
        self.words = 2 if extended else 1
        self.places = {}
        for prefix, disk in [("", doc)] + [(f"snapshots/{s['index']}/", s)
                                           for s in doc.get("snapshots", ())]:
            for table in disk.get("l2", ()):
                if "entries" in table:
                    self.places[f"{prefix}l2/{table['index']}"] = table["entries"]

    def l2(self, disk, index):
        """Offset and entries of an L2 table; None if there is none."""
        for table in disk.get("l2", ()):
            if table["index"] == index:
                rows = table.get("entries", self.places.get(table.get("same-as")))
                return table["offset"], entries(rows, self.words)
        return 0, None


def pair_up(ours, theirs, key):
    waiting = {}
    for element in theirs:
        if element.match is None:
            waiting.setdefault(key(element), []).append(element)
    for element in ours:
        if element.match is None and waiting.get(key(element)):
            element.match = waiting[key(element)].pop(0)
            element.match.match = element


def match(ours, theirs):
    for side in (ours, theirs):
        labels = [e.label for e in side]
        for element in side:
            element.ambiguous = labels.count(element.label) > 1
    pair_up(ours, theirs, lambda e: e.label)
    if any(e.name is not None for e in ours + theirs):
        pair_up(ours, theirs, lambda e: e.name)


def segment(element, plain, always):
    """How an element is called in a path."""
    other = element.match
    if element.ambiguous or (other and other.ambiguous):
        return str(element.index)
    try:
        label = element.label.decode()
    except UnicodeDecodeError:
        return str(element.index)
    if not label or len(element.label) > 256 or not all(c.isprintable() or c == " " for c in label):
        return str(element.index)
    if plain:
        return label
    sign = always or label[0] in "=0123456789" or ".." in label
    return ("=" if sign else "") + re.sub(r"([/*\\])", r"\\\1", label)


class Comparison:
    """What diff should say of two images: path → (a, b)."""

    def __init__(self, a, b):
        self.a, self.b, self.found = a, b, {}
        for key in ("header", "backing_file", "luks"):
            self.pair(key, a.fixed.get(key), b.fixed.get(key))
        self.comparable = (a.sane and b.sane and a.words == b.words and
                           a.header["cluster_bits"] == b.header["cluster_bits"])
        self.compared = set()
        self.elements("extensions", a.extensions, b.extensions)
        self.elements("bitmaps", a.bitmaps, b.bitmaps)
        if self.comparable:
            self.disk("", a.doc, b.doc, a.header["l1_size"], b.header["l1_size"])
        self.elements("snapshots", a.snapshots, b.snapshots)
        if self.comparable:
            self.refcounts()

    def pair(self, path, ours, theirs):
        if ours is None or theirs is None:
            if ours is not theirs:
                self.found[path] = ("removed" if ours else "added",)
            return
        for key in {**ours, **theirs}:
            one, other = ours.get(key), theirs.get(key)
            if one and other and one[0] == other[0] and (None in (one[1], other[1]) or
                                                         one[1] == other[1]):
                continue
            self.found[f"{path}/{key}"] = (one and one[0], other and other[0])

    def elements(self, key, ours, theirs):
        match(ours, theirs)
        for side in (ours, theirs):
            for element in side:
                if element.match is None:
                    path = segment(element, key == "extensions", key == "snapshots")
                    self.found[f"{key}/{path}"] = ("removed" if side is ours else "added",)
        for element in [e for e in ours if e.match]:
            path = f"{key}/{segment(element, key == 'extensions', key == 'snapshots')}"
            self.order(path, element, [e for e in ours if e.match],
                       [e for e in theirs if e.match])
            self.pair(path, element.fields, element.match.fields)
            if key == "bitmaps" and self.comparable:
                self.bitmap(path, element.node, element.match.node)
            if key == "snapshots" and self.comparable and "l1_size" in element.node and \
                    "l1_size" in element.match.node:
                self.disk(path + "/", element.node, element.match.node,
                          element.node["l1_size"], element.match.node["l1_size"])

    def order(self, path, element, ours, theirs):
        if ours.index(element) != theirs.index(element.match) and \
                element.index != element.match.index:
            self.found[path + "/index"] = (element.index, element.match.index)

    def table(self, path, ours, theirs, claims):
        """Tables as index → entry; claims is how many entries each is said to have."""
        for index in sorted({**ours, **theirs}):
            values = []
            for side, claimed in ((ours, claims[0]), (theirs, claims[1])):
                lost = index not in side and index < claimed
                values.append(None if lost else side.get(index, 0))
            zero = [(0,) * len(v) if isinstance(v, tuple) else 0
                    for v in values if v not in (0, None)] or [0]
            values = [zero[0] if v == 0 else v for v in values]
            if values[0] != values[1]:
                self.found[f"{path}/{index}"] = tuple(values)

    def disk(self, prefix, ours, theirs, *claims):
        l1 = entries(ours.get("l1", ())), entries(theirs.get("l1", ()))
        self.table(prefix + "l1", *l1, claims)
        size = (1 << self.a.header["cluster_bits"]) // 8 // self.a.words
        for index in sorted({**l1[0], **l1[1]}):
            tables = self.a.l2(ours, index), self.b.l2(theirs, index)
            places = tables[0][0], tables[1][0]
            if places == (0, 0) or places in self.compared:
                continue
            self.compared.add(places)
            self.table(f"{prefix}l2/{index}", tables[0][1] or {}, tables[1][1] or {},
                       [size if table[0] else 0 for table in tables])

    def refcounts(self):
        a, b = self.a, self.b
        rows = entries(a.doc["refcount_table"]), entries(b.doc["refcount_table"])
        words = [(m.header["refcount_table_clusters"] << m.header["cluster_bits"]) // 8
                 for m in (a, b)]
        self.table("refcount_table", *rows, words)
        if a.header["refcount_order"] != b.header["refcount_order"]:
            return
        size = (8 << a.header["cluster_bits"]) >> a.header["refcount_order"]
        blocks = [{block["index"]: block for block in m.doc["refcounts"]} for m in (a, b)]
        compared = set()
        for index in sorted({**blocks[0], **blocks[1]}):
            both = [side.get(index) for side in blocks]
            places = tuple(block["offset"] if block else 0 for block in both)
            if places in compared:
                continue
            compared.add(places)
            self.table(f"refcounts/{index}",
                       *({row["index"]: (row["refcount"],) for row in block["entries"]}
                         if block else {} for block in both),
                       [size if block else 0 for block in both])

    def bitmap(self, path, ours, theirs):
        if "bitmap_table" not in ours or "bitmap_table" not in theirs:
            return
        self.table(path + "/table", entries(ours["bitmap_table"]),
                   entries(theirs["bitmap_table"]),
                   [n["bitmap_table_size"] for n in (ours, theirs)])
        cluster = 1 << self.a.header["cluster_bits"]
        pieces = max(1, cluster // 4096)
        data = [{row["index"]: row for row in node.get("data", ())} for node in (ours, theirs)]
        tables = [{row["index"]: row["entry"] & OFFSET for row in node["bitmap_table"]}
                  for node in (ours, theirs)]
        size = min(cluster, 4096)
        for index in {**data[0], **data[1]}:
            entry = index // pieces
            if not tables[0].get(entry) or not tables[1].get(entry):
                continue
            rows = [side.get(index) for side in data]
            full = [bytes.fromhex(row["bytes"]).ljust(size, b"\0") if row else None
                    for row in rows]
            if full[0] != full[1]:
                self.found[f"{path}/data/{index}"] = "data"


def expanded(answer):
    """path → (a, b) of what diff says, ranges taken apart."""
    found = {}

    def value(side, step):
        if side is None:
            return None
        if "value" not in side:
            return side
        more = (int(side["subclusters"], 16),) if "subclusters" in side else ()
        return (side["value"] + step * side.get("step", 0), *more)

    for one in answer["differences"]:
        path = one["path"]
        if "first" not in one:
            sides = [one["a"], one["b"]]
            if any(side and "fields" in side for side in sides):
                found[path] = (one["change"],)
            else:
                found[path] = tuple(side and side["value"] for side in sides)
            continue
        base = path.rsplit("/", 1)[0]
        for index in range(one["first"], one["last"] + 1):
            assert f"{base}/{index}" not in found
            found[f"{base}/{index}"] = "data" if base.endswith("/data") else tuple(
                value(one[side], index - one["first"]) for side in "ab")
    return found


def diff(one, other):
    done = run("diff", "-j", one, other, program=RELEASE)
    assert done.returncode in (0, 1, 3), done
    if done.returncode == 1:
        return None
    answer = json.loads(done.stdout)
    assert answer["same"] == (done.returncode == 0) == (not answer["differences"])
    assert answer["difference-count"] == len(answer["differences"])
    return answer


def compare(one, other):
    models = Model(one), Model(other)
    if any(model.cut for model in models):
        return None
    expected = Comparison(*models).found
    answer = diff(one, other)
    assert expanded(answer) == expected
    return answer


def mutate(path, rng):
    """A copy in which a few bytes of the first clusters are others, the fixed ones apart."""
    twin = os.path.join(folder(), "twin.qcow2")
    subprocess.run(['cp', '--sparse=always', path, twin], check=True)
    size = os.path.getsize(twin)
    with open(twin, "r+b") as file:
        for _ in range(rng.randint(1, 4)):
            at = rng.choice([rng.randrange(8, 512), rng.randrange(8, max(9, min(size, 1 << 20)))])
            file.seek(at)
            old = file.read(1) or b"\0"
            file.seek(at)
            file.write(bytes([old[0] ^ (1 << rng.randrange(8))]))
    return twin


SMALL = sorted(name for name in recipes() if not HUGE.search(name))


@pytest.mark.parametrize("part", range(2))
def test_twins(part):
    """Some of all forged images, as all of them take minutes."""
    rng = random.Random(part)
    compared = 0
    for name in rng.sample(SMALL, 5):
        path, _ = recipe_image(name)
        compared += compare(path, mutate(path, rng)) is not None
    assert compared >= 1


def test_swapped():
    """The other way round, the values are swapped."""
    rng = random.Random(5)
    for name in rng.sample([n for n in SMALL if n.startswith("good-")], 12):
        path, _ = recipe_image(name)
        other = mutate(path, rng)
        one, two = diff(path, other), diff(other, path)
        if one is None:
            continue
        swap = {"added": "removed", "removed": "added"}
        turned = {path: value if value == "data" else
                  tuple(swap.get(v, v) for v in reversed(value))
                  for path, value in expanded(one).items()}
        assert turned == expanded(two)
