# SPDX-License-Identifier: MIT
# The documents of `dump -j` against docs/dump.schema.json: each one is valid, and each property of
# the schema is in some document, so that neither knows more than the other.
"""The schema of dump."""
import json
import os
import re

import jsonschema
import pytest

from scripts.dump_schema import fields
from tests.forge import recipes
from tests.support.answers import NO_IMAGE, TOO_LARGE
from tests.support.programs import RELEASE, SAMPLE, TOP, document, recipe_image, run


with open(os.path.join(TOP, "docs", "dump.schema.json"), encoding="utf-8") as stream:
    SCHEMA = json.load(stream)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
BULK = ("extensions/**", "bitmaps/*/data/0..3", "snapshots", "snapshots/*/l1/0..3",
        "snapshots/*/l2/0..1/0..3", "l1/0..3", "l2/0..2/0..20", "l2/0..1/same-as",
        "refcount_table/0..3", "refcounts/0..1/0..3", "header", "luks")
LONG = {"bad-bitmap-table-size-max", "bad-snapshots-count-max"}
QUICK = [n for n in recipes() if n not in TOO_LARGE | LONG and "hostile" not in n]


def valid(shown):
    error = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(shown))
    assert error is None, f"{list(error.absolute_path)}: {error.message[:300]}"
    return shown


def dumps(path, *arguments):
    """The document, or None if the image cannot be read or has nothing of that name."""
    done = run("dump", "-j", path, *arguments, program=RELEASE)
    return None if done.returncode == 1 else json.loads(done.stdout.decode("utf-8"))


@pytest.mark.parametrize("name", sorted(n for n in os.listdir(os.path.join(TOP, "docs"))
                                        if n.endswith(".schema.json")))
def test_schemas_are_schemas(name):
    with open(os.path.join(TOP, "docs", name), encoding="utf-8") as text:
        found = json.load(text)
    jsonschema.Draft202012Validator.check_schema(found)
    assert re.fullmatch(rf"urn:qcow2-utils:schema:{name[:-12]}:[1-9]\d*", found["$id"])


@pytest.mark.parametrize("name", QUICK)
def test_recipes(name):
    path, _ = recipe_image(name)
    for arguments in ((), ("--offsets", "--hex")):
        shown = dumps(path, *arguments)
        assert (shown is None) == (name in NO_IMAGE)
        if shown is not None:
            valid(shown)


def test_sample():
    for options in ((), ("--offsets",), ("--hex",), ("--offsets", "--hex")):
        for selectors in ((), ("all",), ("header/size",), ("bitmaps/*/name", "l1/0..2")):
            valid(document(SAMPLE, *options, *selectors, program=RELEASE))


def test_nothing_unknown_is_valid():
    shown = document(SAMPLE, program=RELEASE)
    for where in (shown, shown["header"], shown["extensions"][0], shown["snapshots"][0]):
        where["surprise"] = 1
        assert not VALIDATOR.is_valid(shown)
        del where["surprise"]
    shown["header"]["size"] = "1M"
    assert not VALIDATOR.is_valid(shown)


def mark(schema, value, seen):
    """Notes the properties of the schema that a valid value has."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        mark(SCHEMA["$defs"][name], value, seen)
        return
    for choice in schema.get("anyOf", ()):
        if VALIDATOR.evolve(schema=dict(choice, **{"$defs": SCHEMA["$defs"]})).is_valid(value):
            mark(choice, value, seen)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                seen.add((schema.get("description"), key))
                mark(schema["properties"][key], inner, seen)
    elif isinstance(value, list):
        for inner in value:
            mark(schema.get("items", {}), inner, seen)


def properties(schema):
    return {(schema.get("description"), key) for key in schema.get("properties", {})}


def test_every_property_is_seen():
    seen = set()
    for name in QUICK:
        shown = dumps(recipe_image(name)[0])
        if shown is not None:
            mark(SCHEMA, shown, seen)
    for name in ("good-snapshots", "good-bitmaps", "good-extended-l2", "good-compressed",
                 "good-hostile-shared-l2"):
        path, _ = recipe_image(name)
        for selector in BULK:
            shown = dumps(path, selector)
            if shown is not None:
                mark(SCHEMA, valid(shown), seen)
    everything = properties(SCHEMA).union(*(properties(d) for d in SCHEMA["$defs"].values()))
    # what is left out of a list takes gigabytes of claims: see test_dump_bounds.py
    # and no forged image has numbers above 2^53 everywhere
    left = {(where, key) for where, key in everything - seen
            if not key.endswith(("-omitted", "-hex"))}
    assert not left


def test_fields_are_those_that_explain_knows():
    """scripts/generate reads the lists as text: it must find every field that the library has."""
    for found in json.loads(run("explain", "-j", program=RELEASE).stdout):
        if found["kind"] != "structure" or "first-bit" in found["fields"][0]:
            continue
        members = fields(os.path.join(TOP, "include/qcow2/def"), found["name"], names=False)
        assert list(members) == [field["name"] for field in found["fields"]]
