# SPDX-License-Identifier: MIT
# Keys of JSON say whose they are: docs/README.md, "Schemas". All documents are held to their
# schemas by the tests that print them, and schemas allow no other members, so that looking at the
# schemas is looking at every key.
"""How the keys of the schemas are spelled."""
import json
import re

from scripts.dump_schema import FIELD
from tests.runner import report

# Members that qcow2.py has under this name.
QCOW2_PY = {"data_str"}
# What is added to a member of any name.
ADDED = re.compile(r"(-names?|-omitted|-hex|\.offset|\.hex)$")
PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def fields():
    """Fields of the format, and the tables or data that they point to or give the size of."""
    found = set()
    for name in report.tracked():
        if name.startswith("include/qcow2/def/"):
            found.update(row[2] for row in FIELD.findall(report.read(name)))
    return found | {re.sub("_(offset|size)$", "", name) for name in found}


def keys(schema):
    """All names of members that a schema has."""
    if isinstance(schema, list):
        for item in schema:
            yield from keys(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", ())
        for value in schema.values():
            yield from keys(value)


def misspelled(name, known):
    return not PLAIN.fullmatch(name) and ADDED.sub("", name) not in known


def check(out):
    known = fields() | QCOW2_PY
    for name in sorted(n for n in report.tracked() if n.endswith(".schema.json")):
        wrong = sorted({key for key in keys(json.loads(report.read(name))) if misspelled(key, known)})
        out.case(f"keys of {name}", "".join(f"'{key}' is no field of the format: spell it with hyphens\n"
                                            for key in wrong))
