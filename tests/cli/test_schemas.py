# SPDX-License-Identifier: MIT
# Schemas and what holds documents to them. Every other test that prints JSON uses the latter; here it
# is compared with the jsonschema package, on documents that follow their schemas and on some that do
# not.
"""Schemas of all JSON documents."""
import copy
import json
import os
import random
import subprocess

import jsonschema
import pytest

from tests.support import html, schemas
from tests.support.programs import SAMPLE, TOP, image, recipe_image, run

NAMES = sorted(name[:-12] for name in os.listdir(os.path.join(TOP, "docs"))
               if name.endswith(".schema.json"))
BROKEN = "size 1M\nbitmap a bits=0\nsnapshot one\nwrite 0 64k\nset l2/0/0 0xc000000000fff200\n"


def reference(name):
    """The same as schemas.validator(), made by the package."""
    return jsonschema.Draft202012Validator(schemas.load(name))


def holds(name, value):
    return schemas.holds(schemas.validator(name), value, ())


def outputs(folder):
    """(schema, document) of every kind."""
    path = image(BROKEN)[0]
    plain = str(folder / "plain.qcow2")
    with open(image("size 1M\nbitmap a bits=0\n")[0], "rb") as source, open(plain, "wb") as target:
        target.write(source.read())
    made = folder / "undo"
    lines = [("dump", "dump", path), ("dump", "dump", "--offsets", "--hex", recipe_image("good-luks1")[0]),
             ("check", "check", path), ("check-list", "check", "--list"), ("info", "info", path),
             ("info", "info", "--chain", recipe_image("good-snapshots")[0]),
             ("info", "info", recipe_image("good-luks1")[0]), ("explain", "explain", "size"),
             ("map", "map", path), ("map", "map", "--chain", recipe_image("bad-data-beyond-end")[0]),
             ("explain", "explain", "dirty"), ("explain", "explain", "header"),
             ("bitmap", "bitmap", "list", path), ("bitmap", "bitmap", "extents", path, "a"),
             ("bitmap", "bitmap", "compare", path, "a", "a"),
             ("compat", "compat", path, "dump-header-exts"),
             ("locate", "locate", "--guest=0+1M", "--all-snapshots", path),
             *(("snapshot", "snapshot", *words) for words in (
                 ("list", path), ("space", path, "one"),
                 ("show", recipe_image("good-snapshots")[0], "1"))),
             ("snapshot-diff", "snapshot", "diff", recipe_image("good-snapshot-resized")[0], "smaller"),
             ("snapshot-diff", "snapshot", "diff", recipe_image("bad-snapshot-l1-entry")[0], "1"),
             ("compare", "compare", plain, recipe_image("good-snapshots")[0]),
             ("export", "export", "-f", f"--to={folder / 'raw'}", plain),
             ("capture", "capture", "-f", f"--to={folder / 'small'}", plain),
             ("edit", "capture", "-n", f"--apply={folder / 'small'}", plain),
             ("hash", "hash", plain), ("hash", "hash", "--block=64k", recipe_image("good-snapshots")[0]),
             ("diff", "diff", path, recipe_image("good-snapshots")[0]),
             ("locate", "locate", "--host=0+1M", recipe_image("good-bitmaps")[0]),
             ("layout", "layout", path), ("measure", "measure", path),
             ("measure", "measure", recipe_image("good-snapshots")[0]),
             ("edit", "edit", "-n", "--dump=header", plain, "set", "header/compatible_features=1"),
             ("edit", "bitmap", "repair", "-n", plain),
             ("rescue", "rescue", path), ("vet", "vet", path), ("vet", "vet", path, plain),
             ("repair", "repair", "-n", path), ("repair", "check", "--repair=all", "-nx", path),
             ("edit", "edit", f"--undo-file={made}", plain, "set", "header/compatible_features=1"),
             ("undo", "undo", "--list", made), ("undo", "undo", "--list", folder),
             ("undo", "undo", made)]
    for name, *words in (("a", path), ("b", "--redact", path), ("c", recipe_image("bad-magic")[0])):
        page = folder / name
        done = run("report", f"--to={page}", *words)
        assert page.exists(), done
        yield "report", html.Page(page.read_text(encoding="utf-8")).data()
    for name, *line in lines:
        done = run(*(["compat", "-j", *line[1:]] if line[0] == "compat" else [*line, "-j"]))
        assert done.stdout, done
        yield name, json.loads(done.stdout)


def places(value, found):
    """Every object and array of a document."""
    if isinstance(value, (dict, list)):
        if value:
            found.append(value)
        for inner in value.values() if isinstance(value, dict) else value:
            places(inner, found)
    return found


def spoil(document, rng):
    """A copy with one thing changed, which may still follow the schema."""
    changed = copy.deepcopy(document)
    place = rng.choice(places([changed], []))
    key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
    values = (None, True, 7, -1, 1 << 64, "", "text", "0G", [], {}, [1, 1], {"unknown": 1})
    how = rng.randrange(4)
    if how == 0:
        del place[key]
    elif how == 1 and isinstance(place, dict):
        place[rng.choice(("unknown", "under_scored", "name-hex", "problems"))] = rng.choice(values)
    else:
        place[key] = rng.choice(values)
    return changed


def test_as_jsonschema(tmp_path):
    rng, kept, spoiled, seen = random.Random(1), 0, 0, set()
    for name, document in outputs(tmp_path):
        seen.add(name)
        if name == "check-list":
            document = document[:3]
        package = reference(name)
        assert package.is_valid(document) and holds(name, document)
        for _ in range(25):
            other = spoil(document, rng)
            assert holds(name, other) == package.is_valid(other), (name, other)
            kept, spoiled = kept + holds(name, other), spoiled + (not holds(name, other))
    assert seen == set(NAMES) and kept > 20 and spoiled > 200


def test_what_is_refused():
    for line, output in ((["map", "-j", "x"], b"{}"), (["dump", "-j", "x"], b'{"filename": 5}'),
                         (["check", "--output=json", "x"], b'{"unknown": 1}'),
                         (["info", "-j", "x"], b'{"filename": "a", "filename": "a"}'),
                         (["bitmap", "list", "-j", "x"], b"[]"), (["explain", "-j"], b"not JSON"),
                         (["bitmap", "compare", "--output=ndjson", "x"], b'{"start": 1}\n'),
                         (["dump", "-j", "x", "all"],
                          b'{\n "dirty_bytes": 1,\n' + b' "name": "x",\n' * (1 << 17))):
        with pytest.raises((AssertionError, schemas.Invalid, ValueError)):
            schemas.hold(line, 0, output)
    with pytest.raises(schemas.Invalid):
        schemas.validator("check")(5, ())


def test_watched():
    """What tests run is looked at."""
    assert subprocess.run.__name__ == "watched"


@pytest.mark.parametrize("name", [
    "good-default", "good-snapshots", "good-bitmaps", "good-luks1", "good-backing", "good-v2",
    "good-data-file", "good-extended-l2", "good-compressed-zstd", "good-refcount-64bit"])
def test_info_of_qemu(name):
    """The schema of info accepts what qemu-img prints."""
    path, _ = recipe_image(name)
    done = subprocess.run(["qemu-img", "info", "--output=json", os.path.basename(path)],
                          cwd=os.path.dirname(path), stdout=subprocess.PIPE, check=True)
    schemas.validator("info")(json.loads(done.stdout), ())
    chain = subprocess.run(["qemu-img", "info", "--output=json", "--backing-chain", SAMPLE],
                           stdout=subprocess.PIPE, check=True)
    schemas.validator("info")(json.loads(chain.stdout), ())


def test_large_numbers():
    """A number that a reader may round has its digits beside it."""
    path, layout = image("cluster_bits 16\nsize 1M\nwrite 0 64k\nset l2/0/0 0x8000000000fff200\n")
    done = run("check", "-j", path)
    found = [p for p in json.loads(done.stdout)["problems"] if isinstance(p["found"], int)]
    assert layout and any(p["found"] > 1 << 53 for p in found)
    for problem in found:
        for key in ("found", "expected", "offset"):
            large = isinstance(problem[key], int) and problem[key] > 1 << 53
            assert problem.get(key + "-hex") == (hex(problem[key]) if large else None)
