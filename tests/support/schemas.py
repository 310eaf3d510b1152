# SPDX-License-Identifier: MIT
# Holds every JSON document that a test sees to its schema in docs/. Schemas are compiled to functions
# once, as tests print thousands of documents and the jsonschema package would take minutes for them.
# tests/cli/test_schemas.py compares the two.
"""JSON documents and their schemas."""
import functools
import json
import os
import re
import subprocess

from tests.support.programs import QCOW2, RELEASE, TOP

FOLDER = os.path.join(TOP, "docs")
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
# Of a list that is longer, some are looked at: they were printed by one loop.
MANY = 1000
# What says nothing about a value by itself.
NOTES = {"$schema", "$id", "$comment", "$defs", "title", "description", "then", "else"}


class Invalid(Exception):
    """A value does not follow its schema."""


def fail(path, why):
    steps = []
    while path:
        path, step = path
        steps.append(str(step))
    raise Invalid(f"{'/'.join(reversed(steps)) or 'the document'}: {why}")


# ---- one function for each keyword: its value and the schema around it give a function ----

def is_type(name, value):
    if name in ("integer", "number"):
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def of_type(wanted, _schema, _home):
    names = wanted if isinstance(wanted, list) else [wanted]

    def check(value, path):
        if not any(is_type(name, value) for name in names):
            fail(path, f"{value!r:.80} is no {' or '.join(names)}")
    return check


def of_enum(wanted, _schema, _home):
    same = {(type(one), one) for one in wanted}

    def check(value, path):
        if isinstance(value, (dict, list)) or (type(value), value) not in same:
            fail(path, f"{value!r:.80} is not one of {wanted}")
    return check


def of_const(wanted, schema, home):
    return of_enum([wanted], schema, home)


def of_bound(kind, wrong):
    """Keywords that compare a value, or its length, with a number."""
    def compile_it(bound, _schema, _home):
        def check(value, path):
            if isinstance(value, kind) and not isinstance(value, bool) and wrong(value, bound):
                fail(path, f"{value!r:.80} against the bound {bound}")
        return check
    return compile_it


def of_pattern(pattern, _schema, _home):
    search = re.compile(pattern).search

    def check(value, path):
        if isinstance(value, str) and not search(value):
            fail(path, f"{value!r:.80} does not match {pattern}")
    return check


def of_unique(wanted, _schema, _home):
    def check(value, path):
        if wanted and isinstance(value, list) and len(set(map(repr, value))) < len(value):
            fail(path, "an item is there twice")
    return check


def of_required(names, _schema, _home):
    def check(value, path):
        if isinstance(value, dict):
            for name in names:
                if name not in value:
                    fail(path, f"lacks '{name}'")
    return check


def of_items(schema, _schema, home):
    inner = compiled(schema, home)

    def check(value, path):
        if isinstance(value, list):
            for index in range(0, len(value), len(value) // MANY + 1):
                inner(value[index], (path, index))
    return check


def of_ref(ref, _schema, home):
    target = home
    for step in ref.split("/")[1:]:
        target = target[step]
    made = []

    def check(value, path):
        if not made:  # when it is needed: a schema may refer to itself
            made.append(compiled(target, home))
        made[0](value, path)
    return check


def holds(check, value, path):
    try:
        check(value, path)
    except Invalid:
        return False
    return True


def of_choice(right):
    def compile_it(schemas, _schema, home):
        checks = [compiled(schema, home) for schema in schemas]

        def check(value, path):
            why = []
            for one in checks:
                try:
                    one(value, path)
                except Invalid as error:
                    why.append(str(error))
            if not right(len(checks) - len(why)):
                fail(path, f"follows {len(checks) - len(why)} choices; " + "; ".join(why))
        return check
    return compile_it


def of_all(schemas, _schema, home):
    checks = [compiled(schema, home) for schema in schemas]

    def check(value, path):
        for one in checks:
            one(value, path)
    return check


def of_not(schema, _schema, home):
    inner = compiled(schema, home)

    def check(value, path):
        if holds(inner, value, path):
            fail(path, f"{value!r:.80} is what it may not be")
    return check


def of_if(condition, schema, home):
    test = compiled(condition, home)
    branches = [compiled(schema.get(word, {}), home) for word in ("else", "then")]

    def check(value, path):
        branches[holds(test, value, path)](value, path)
    return check


def named(schema, home):
    """The properties of a schema and of those that it is made from."""
    found = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        found.update(named(part, home))
    if schema.get("$ref", "").startswith("#/$defs/"):
        found.update(named(home["$defs"][schema["$ref"][8:]], home))
    return found


def of_members(_properties, schema, home):
    """properties and its neighbours."""
    known = {name: compiled(one, home) for name, one in schema.get("properties", {}).items()}
    patterns = [(re.compile(pattern).search, compiled(one, home))
                for pattern, one in schema.get("patternProperties", {}).items()]
    more = schema.get("additionalProperties", True)
    others = compiled(more, home) if isinstance(more, dict) else None
    closed = more is False
    if schema.get("unevaluatedProperties") is False:
        closed = True
        known = {**{name: lambda value, path: None for name in named(schema, home)}, **known}

    def other(name, value, path):
        matching = [check for search, check in patterns if search(name)]
        for check in matching or ([others] if others else []):
            check(value, (path, name))
        if closed and not matching:
            fail(path, f"'{name}' is in no schema")

    def check(value, path):
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in known:
                    known[name](inner, (path, name))
                else:
                    other(name, inner, path)
    return check


KEYWORDS = {
    "type": of_type, "enum": of_enum, "const": of_const, "pattern": of_pattern,
    "minimum": of_bound(int, lambda value, bound: value < bound),
    "maximum": of_bound(int, lambda value, bound: value > bound),
    "minLength": of_bound(str, lambda value, bound: len(value) < bound),
    "minItems": of_bound(list, lambda value, bound: len(value) < bound),
    "maxItems": of_bound(list, lambda value, bound: len(value) > bound),
    "minProperties": of_bound(dict, lambda value, bound: len(value) < bound),
    "maxProperties": of_bound(dict, lambda value, bound: len(value) > bound), "if": of_if,
    "uniqueItems": of_unique, "items": of_items, "required": of_required, "$ref": of_ref,
    "properties": of_members, "allOf": of_all, "not": of_not,
    "oneOf": of_choice(lambda count: count == 1), "anyOf": of_choice(lambda count: count > 0),
}
MEMBERS = ("patternProperties", "additionalProperties", "unevaluatedProperties")


def compiled(schema, home):
    """A function that raises Invalid if a value does not follow `schema`, a part of `home`."""
    if any(key in schema for key in MEMBERS):
        schema = {"properties": {}, **schema}
    checks = [KEYWORDS[key](wanted, schema, home) for key, wanted in schema.items()
              if key not in NOTES and key not in MEMBERS]  # an unknown keyword is a KeyError
    if len(checks) == 1:
        return checks[0]

    def check(value, path):
        for one in checks:
            one(value, path)
    return check


# ---- the schemas of docs/ ----

@functools.lru_cache(None)
def load(name):
    with open(os.path.join(FOLDER, name + ".schema.json"), encoding="utf-8") as stream:
        return json.load(stream)


@functools.lru_cache(None)
def validator(name, part=None):
    """The function for a schema of docs/, or for one of its $defs."""
    schema = load(name)
    return compiled(schema["$defs"][part] if part else schema, schema)


# ---- which schema the output of a command has ----

# Documents above this are looked at in part: a few of them would take longer than all others.
LARGE_BYTES = 1 << 20
# What the actions of bitmap that read print as a document, and as lines.
READS = {"list": ("list", "bitmap"), "extents": ("extents", "extent"),
         "compare": ("comparison", "difference")}
# The same of snapshot.
SHOWS = {"list": ("list", "snapshot"), "show": ("shown", None), "space": ("space", None)}
CHANGES = {"add", "clear", "disable", "enable", "export", "import", "merge", "remove", "rename",
           "repair", "script", "set"}


def asked(words):
    """Whether the arguments ask for "json", "ndjson" or neither (None). The last word counts."""
    kind = None
    for word, after in zip(words, (*words[1:], "")):
        if word == "--":
            break
        if word in ("--help", "-h"):
            return None
        name, equals, value = word.partition("=")
        if len(name) > 3 and "--output".startswith(name):
            kind = value if equals else after
        elif word == "--json" or re.fullmatch("-[a-z]*j[a-z]*", word):
            kind = "json"
    return kind if kind in ("json", "ndjson") else None


def schema_of(words, kind):
    """The schema, and its part, of the output of a command or of each of its lines, or None."""
    command = next((word for word in words if not word.startswith("-")), None)
    if command == "bitmap":
        action = next((word for word in words if word in READS or word in CHANGES), None)
        if action == "list" and kind == "json" and "--chain" in words:
            return "bitmap", "chain"
        if action in READS:
            return "bitmap", READS[action][kind == "ndjson"]
        return ("edit", None) if action and kind == "json" else None
    if command == "snapshot" and "diff" in words:
        return "snapshot-diff", "difference" if kind == "ndjson" else None
    if command == "snapshot":
        action = next((word for word in words if word in SHOWS), "list")
        return command, SHOWS[action][kind == "ndjson"]
    if command == "vet":
        return command, "answer" if kind == "ndjson" else None
    if command == "map":
        return command, "extent" if kind == "ndjson" else None
    if command == "capture" and any(word.startswith("--ap") for word in words):
        command = "edit"
    if command == "check" and any(re.fullmatch("--rep[air]*(=.*)?|-[adjpqv]*r.*", word) for word in words):
        command = "repair"
    if command == "check" and "--list" in words:
        command = "check-list"
    known = os.path.exists(os.path.join(FOLDER, f"{command}.schema.json"))
    return (command, None) if known and kind == "json" else None


def once(pairs):
    found = dict(pairs)
    assert len(found) == len(pairs), f"a key is there twice: {[key for key, _ in pairs]}"
    return found


@functools.lru_cache(None)
def keys(name):
    """What a schema calls members, and patterns for the names of others."""
    found, patterns = set(), {"[a-z0-9]+(-[a-z0-9]+)+"}  # ids of problems
    left = [load(name)]
    while left:
        schema = left.pop()
        if isinstance(schema, dict):
            found.update(schema.get("properties", ()))
            patterns.update(schema.get("patternProperties", ()))
            left += schema.values()
        elif isinstance(schema, list):
            left += schema
    return found, re.compile("|".join(f"(?:{one})" for one in patterns))


def hold_large(name, output):
    """Holds the keys at the beginning and at the end of a document to those of its schema."""
    names, patterns = keys(name)
    for piece in (output[:LARGE_BYTES // 4], output[-LARGE_BYTES // 4:]):
        for key in set(re.findall(rb'^ *"([^"\\\n]+)": ', piece, re.M)):
            key = key.decode()
            assert key in names or patterns.fullmatch(key), f"'{key}' is not in the schema {name}"


def hold_lines(check, output):
    lines = output.splitlines()
    for line in lines if len(lines) < 4000 else lines[:2000] + lines[-2000:]:
        check(json.loads(line, object_pairs_hook=once), ())


def hold(words, code, output):
    """Holds the output of one run to its schema, if it is JSON."""
    kind = asked(words)
    # A stream of bitmap that fails halfway ends there; qcow2.py prints its usage.
    if not kind or code < 0 or (code == 1 and words[0] in ("bitmap", "map")) or \
            (words[0] == "compat" and output[:1] not in b"{["):
        return
    found = schema_of(words, kind)
    assert found, f"no schema in docs/ describes the JSON of {words}"
    check = validator(*found)
    if kind == "ndjson":
        hold_lines(check, output.decode("utf-8"))
    elif len(output) > LARGE_BYTES:
        hold_large(found[0], output)
    else:
        text = output.decode("utf-8")
        for piece in text.split("\n\n") if words[0] == "compat" else [text]:
            document = json.loads(piece, object_pairs_hook=once)
            check(document, ())
            if found[0] == "edit" and "planned" in document:
                validator("dump")(document["planned"], ("planned",))


def watch():
    """From now on, each JSON output that subprocess.run catches is held to its schema."""
    run = subprocess.run

    def watched(*arguments, **more):
        done = run(*arguments, **more)
        line = done.args
        if done.stdout and isinstance(line, (list, tuple)) and str(line[0]) in (QCOW2, RELEASE):
            output = done.stdout.encode() if isinstance(done.stdout, str) else done.stdout
            hold([os.fsdecode(word) for word in line[1:]], done.returncode, output)
        return done
    subprocess.run = watched
