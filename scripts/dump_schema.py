# SPDX-License-Identifier: MIT
# The schema of `qcow2 dump -j`. Members that are fields of a structure come from the lists in
# include/qcow2/def; what the walk adds to them (indexes, names, lists inside) is written here.
"""The JSON Schema of the document of qcow2 dump -j."""
import os
import re

VERSION = 2
ID = f"urn:qcow2-utils:schema:dump:{VERSION}"

# A field of a list: QCOW2_F(type, name, offset, STYLE, names, QCOW2_FA with an alias after the
# name, QCOW2_FB(size, name, offset, STYLE, for bytes.
FIELD = re.compile(r"^QCOW2_(F|FA|FB)\(\s*(\w+),\s*(\w+),\s*(?:\"\w+\",\s*)?\d+,\s*(\w+),\s*"
                   r"(&\w+|NULL)?", re.M)

NUMBER = {"$ref": "#/$defs/number"}
HEX = {"$ref": "#/$defs/hex"}
EXACT = {"$ref": "#/$defs/exact"}
TEXT = {"type": "string"}
OMITTED = {"$ref": "#/$defs/omitted"}
COPIED = {"enum": [0, 1]}
INDEX = {"index": {**NUMBER, "description": "Position in its list."}}
OFFSET = {"offset": {**NUMBER, "description": "Where in the file the structure is."}}
ENTRY = {"entry": {**NUMBER, "description": "As it is in the file."}, "entry-hex": EXACT}
NAMES = {"type": "array", "items": TEXT, "uniqueItems": True}
NULLABLE = {"anyOf": [NUMBER, {"type": "null"}]}


def list_of(what):
    return {"type": "array", "items": {"$ref": f"#/$defs/{what}"}}


def bounded(name, what):
    """A list that may be cut, and how many entries are then left out."""
    return {name: list_of(what), f"{name}-omitted": OMITTED}


def fields(folder, *structures, names=True):
    """The members for the fields of structures, in their order. Rows of a table show no names."""
    members = {}
    for structure in structures:
        with open(os.path.join(folder, structure + ".def"), encoding="utf-8") as stream:
            rows = FIELD.findall(stream.read())
        if not rows:
            raise ValueError(f"{structure}.def has no field that can be read")
        for kind, _, name, style, table in rows:
            if kind == "FB":
                members[name] = TEXT if style == "TEXT" else HEX
                continue
            members[name] = NUMBER
            if names and table.startswith("&"):
                flags = style == "FLAGS"
                members[f"{name}-names" if flags else f"{name}-name"] = NAMES if flags else TEXT
    return members


def is_text(member):
    return "string" in member.get("type", ())


def companions(members):
    """The patterns for NAME-hex: of texts that are not UTF-8, and of large numbers."""
    texts = "|".join(sorted(name for name, member in members.items() if is_text(member)))
    numbers = "|".join(sorted(name for name, member in members.items()
                              if member.get("$ref") == NUMBER["$ref"] or member == NULLABLE))
    return {f"^({names})-hex$": what for names, what in ((texts, HEX), (numbers, EXACT)) if names}


def shown(description, members, required=()):
    """
    A structure: with --offsets and --hex, each member may have NAME.offset and NAME.hex. NAME-hex
    is for texts that are not UTF-8, and for large numbers.
    """
    result = {"type": "object", "description": description, "properties": members,
              "additionalProperties": False,
              "patternProperties": {r"^[a-z0-9_-]+\.offset$": NUMBER, r"^[a-z0-9_-]+\.hex$": HEX,
                                    **companions(members)}}
    if required:
        result["required"] = list(required)
    return result


def header_parts(folder):
    return {
        "header": shown(
            "The header. Version 2 has no bytes for the later fields; they have the values that "
            "the specification gives them.",
            {**OFFSET, **fields(folder, "header"),
             "unknown-bytes": {**HEX, "description":
                               "Header bytes that no known field uses, if they are not zero."}}),
        "feature": shown("A feature bit that is set.", {
            **INDEX, "bit": NUMBER, "known": {"type": "boolean"}, "name": TEXT,
            "name-in-image": {"type": ["string", "null"], "description":
                              "What the image's own feature name table calls the bit; null if it "
                              "does not name it."}}, ["index"]),
        "features": shown("The feature bits that are set.", {
            group: list_of("feature") for group in ("incompatible", "compatible", "autoclear")}),
        "backing_file": shown("The name of the backing file.", {**OFFSET, "name": TEXT}),
    }


# What is shown inside the data of an extension, behind its fields.
INSIDE = {"bitmaps": bounded("bitmap_directory", "bitmap")}


def extension_kinds(folder):
    """(key, structure, (title, meaning)) of each extension whose data has fields."""
    with open(os.path.join(folder, "extensions.def"), encoding="utf-8") as stream:
        text = stream.read()
    told = {name: texts for name, *texts in re.findall(
        r'^QCOW2_FIELDS_END\((\w+),\s*"([^"]*)",\s*"[^"]*",\s*"([^"]*)"\)', text, re.M)}
    rows = re.findall(r'^QCOW2_EXTENSION\(\w+, \w+, (\w+), "[^"]*", FIELDS,\s*&qcow2_(\w+)_structure',
                      text, re.M)
    if not rows:
        raise ValueError("extensions.def has no row that can be read")
    return [(key, structure, told[structure]) for key, structure in rows]


def extension_parts(folder):
    kinds = extension_kinds(folder)
    return {
        "extension": shown("A header extension.", {
            **INDEX, **OFFSET,
            "name": {**TEXT, "description": "What qcow2.py calls the type."},
            **fields(folder, "extension"),
            "data_str": {**TEXT, "description":
                         "The data in quotes if it is printable, else <binary>, as in qcow2.py."},
            "text": TEXT, "bytes": HEX, "feature-names": list_of("feature_name"),
            "data": {"anyOf": [{"$ref": f"#/$defs/{key}"} for key, _, _ in kinds]}},
            ["index", "offset", "name"]),
        "feature_name": shown("An entry of the feature name table.",
                              {**INDEX, **fields(folder, "feature_name", names=False)}, ["index"]),
        **{key: shown(f"{title}. {meaning}", {**fields(folder, structure), **INSIDE.get(key, {})})
           for key, structure, (title, meaning) in kinds},
    }


def bitmap_parts(folder):
    return {
        "bitmap": shown("An entry of the bitmap directory.", {
            **INDEX, **OFFSET, "name": TEXT, **fields(folder, "bitmap_dir_entry"),
            "extra_data": {**HEX, "description": "Up to 4096 bytes."},
            "padding": {**HEX, "description": "If it is not zero."},
            "totals": {"$ref": "#/$defs/totals"},
            **bounded("bitmap_table", "bitmap_table_entry"),
            **bounded("data", "bitmap_data")}, ["index", "offset"]),
        "totals": shown("What a bitmap comes to.", {
            **{name: NUMBER for name in ("serialized-entries", "all-zeroes-entries",
                                         "all-ones-entries", "disk-bytes", "bits")},
            "bits-set": NULLABLE, "dirty-bytes": NULLABLE,
            "not-counted": {**TEXT, "description": "Why the bits could not be counted."}}),
        "bitmap_table_entry": shown("An entry of a bitmap table.", {
            **INDEX, **ENTRY,
            "type": {"enum": ["serialized", "all-zeroes", "all-ones", "invalid"]}, "offset": NUMBER, "reserved": NUMBER}, ["index"]),
        "bitmap_data": shown("A piece of a bitmap, least significant bit first.", {
            **INDEX, **OFFSET, "first-bit": NUMBER, "bits-set": NUMBER, "bytes": HEX},
            ["index", "offset"]),
    }


def luks_parts(folder):
    return {
        "luks": shown("The LUKS header, version 1 or 2.", {
            **OFFSET, **fields(folder, "luks1", "luks2"), "key-slots": list_of("key_slot"),
            "json-area": {**TEXT, "description": "As far as it was read."}}),
        "key_slot": shown("A key slot of LUKS version 1.", {
            **INDEX, **OFFSET, **fields(folder, "luks1_key_slot")}, ["index", "offset"]),
    }


def mapping_parts(folder):
    return {
        "snapshot": shown("A snapshot.", {
            **INDEX, **OFFSET, "id": TEXT, "name": TEXT,
            **fields(folder, "snapshot", "snapshot_extra"), "unknown-extra-data": HEX,
            **bounded("l1", "l1_entry"), **bounded("l2", "l2_table")}, ["index", "offset"]),
        "l1_entry": shown("An entry of an L1 table.", {
            **INDEX, **ENTRY, "offset": NUMBER, "copied": COPIED}, ["index"]),
        "l2_table": shown("An L2 table; index is that of its L1 entry.", {
            **INDEX, **OFFSET,
            "same-as": {**TEXT, "description": "Path of the place where the same table was shown "
                        "before: l2/INDEX or snapshots/INDEX/l2/INDEX."},
            **bounded("entries", "l2_entry")}, ["index", "offset"]),
        "l2_entry": shown("An entry of an L2 table.", {
            **INDEX, **ENTRY, "guest": {**NUMBER, "description": "Guest offset."},
            "type": {"enum": ["unallocated", "data", "zero", "zero-allocated", "compressed"]},
            "offset": {**NUMBER, "description": "Host offset."},
            "sectors": {**NUMBER, "description": "Of compressed data."}, "copied": COPIED,
            "allocated": {**NUMBER, "description": "Extended entries: the subclusters that have "
                          "data, one bit each."},
            "zeroes": {**NUMBER, "description": "Extended entries: the subclusters that read as "
                       "zeros, one bit each."}}, ["index"]),
        "refcount_table_entry": shown("An entry of the refcount table.", {
            **INDEX, **ENTRY, "offset": NUMBER}, ["index"]),
        "refcount_block": shown(
            "A refcount block; index is that of its entry in the refcount table.",
            {**INDEX, **OFFSET, **bounded("entries", "refcount")}, ["index", "offset"]),
        "refcount": shown("A refcount.", {
            **INDEX, "host": {**NUMBER, "description": "Offset of the cluster that is counted."},
            "refcount": NUMBER}, ["index"]),
    }


def problem_part():
    members = {
        "id": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "severity": {"enum": ["corruption", "warning"]}, "where": TEXT, "offset": NULLABLE,
        "offset-hex": EXACT,
        "found": {"anyOf": [NUMBER, TEXT, {"type": "null"}],
                  "description": "Value of the field or entry that where names."},
        "found-hex": EXACT, "expected": {"anyOf": [NUMBER, TEXT, {"type": "null"}]},
        "expected-hex": EXACT, "text": TEXT,
        "section": {**TEXT, "description": "Of the specification, or QEMU."},
        "repairable": {"type": "boolean"}}
    guest = {"type": "object", "description": "The range of a virtual disk that is concerned.",
             "properties": {"start": NUMBER, "length": NUMBER, "snapshot": {
                 **TEXT, "description": "Whose disk it is, escaped; not there for the active one."}},
             "additionalProperties": False, "required": ["start", "length"]}
    return {"type": "object", "description": "A rule of the format that the image breaks.",
            "properties": {**members, "guest": guest}, "additionalProperties": False,
            "required": [name for name in members if not name.endswith("-hex")]}


def basics():
    return {
        "number": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1, "description":
                   "Exact up to 64 bits. A reader that turns it into a floating point number "
                   "loses bits."},
        "hex": {"type": "string", "pattern": "^([0-9a-f]{2})*$",
                "description": "Bytes, two digits each."},
        "exact": {"type": "string", "pattern": "^0x[0-9a-f]+$", "description":
                  "A number, for readers that lose bits of large ones. Entries of tables have it "
                  "beside them, and so has every number above 2^53."},
        "omitted": {**NUMBER, "description": "How many entries of the list are left out, because "
                    "the list claims much more than the file stores."},
    }


def document():
    """The members of the whole document."""
    return {
        "filename": {**TEXT, "description": "As it was given."},
        "header": {"$ref": "#/$defs/header"}, "features": {"$ref": "#/$defs/features"},
        "extensions": list_of("extension"), "backing_file": {"$ref": "#/$defs/backing_file"},
        "luks": {"$ref": "#/$defs/luks"}, **bounded("snapshots", "snapshot"),
        **bounded("l1", "l1_entry"), **bounded("l2", "l2_table"),
        **bounded("refcount_table", "refcount_table_entry"),
        **bounded("refcounts", "refcount_block"), "problems": list_of("problem"),
        "problems-omitted": {"type": "object", "description": "How many more problems of a kind "
                             "there are, by id.", "additionalProperties": NUMBER},
    }


def schema(folder):
    """The schema, made from the lists in folder."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID,
        "$comment": "SPDX-License-Identifier: MIT. Generated by scripts/generate; do not edit.",
        "title": f"The document of qcow2 dump -j, version {VERSION}", "type": "object",
        "description": "Selectors leave out what they do not name. --offsets adds NAME.offset, "
        "--hex adds NAME.hex. Text that is not UTF-8 has its bytes in NAME-hex, two digits each; "
        "entries and numbers above 2^53 are in NAME-hex as well, with 0x in front.",
        "properties": document(), "patternProperties": {"^filename-hex$": HEX},
        "additionalProperties": False, "required": ["filename", "problems"],
        "$defs": {**basics(), **header_parts(folder), **extension_parts(folder),
                  **bitmap_parts(folder), **luks_parts(folder), **mapping_parts(folder),
                  "problem": problem_part()},
    }
