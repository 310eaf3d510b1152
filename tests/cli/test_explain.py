# SPDX-License-Identifier: MIT
# qcow2 explain against numbers that were written down from the specification by hand, its ways of
# saying the same against each other, and the manual page that is made from it.
"""The explanations of the format."""
import functools
import re
import subprocess

import pytest

from tests.support.outside import documents, harmless, run, text_of

# Structure: its size, and offset and width of each field, in bytes.
PLACES = {
    "header": (112, {
        "magic": (0, 4), "version": (4, 4), "backing_file_offset": (8, 8),
        "backing_file_size": (16, 4), "cluster_bits": (20, 4), "size": (24, 8),
        "crypt_method": (32, 4), "l1_size": (36, 4), "l1_table_offset": (40, 8),
        "refcount_table_offset": (48, 8), "refcount_table_clusters": (56, 4),
        "nb_snapshots": (60, 4), "snapshot_offset": (64, 8), "incompatible_features": (72, 8),
        "compatible_features": (80, 8), "autoclear_features": (88, 8), "refcount_order": (96, 4),
        "header_length": (100, 4), "compression_type": (104, 1)}),
    "extension": (8, {"magic": (0, 4), "length": (4, 4)}),
    "bitmaps_extension": (24, {
        "nb_bitmaps": (0, 4), "reserved32": (4, 4), "bitmap_directory_size": (8, 8),
        "bitmap_directory_offset": (16, 8)}),
    "crypto_extension": (16, {"offset": (0, 8), "length": (8, 8)}),
    "feature_name": (48, {"type": (0, 1), "bit": (1, 1), "name": (2, 46)}),
    "bitmap_dir_entry": (24, {
        "bitmap_table_offset": (0, 8), "bitmap_table_size": (8, 4), "flags": (12, 4),
        "type": (16, 1), "granularity_bits": (17, 1), "name_size": (18, 2),
        "extra_data_size": (20, 4)}),
    "snapshot": (40, {
        "l1_table_offset": (0, 8), "l1_size": (8, 4), "id_str_size": (12, 2), "name_size": (14, 2),
        "date_sec": (16, 4), "date_nsec": (20, 4), "vm_clock_nsec": (24, 8),
        "vm_state_size": (32, 4), "extra_data_size": (36, 4)}),
    # The specification counts from the start of the entry, 40 bytes before.
    "snapshot_extra": (24, {"vm_state_size_large": (40 - 40, 8), "disk_size": (48 - 40, 8),
                            "icount": (56 - 40, 8)}),
    "luks1": (208, {
        "magic": (0, 6), "version": (6, 2), "cipher_name": (8, 32), "cipher_mode": (40, 32),
        "hash_spec": (72, 32), "payload_offset": (104, 4), "key_bytes": (108, 4),
        "mk_digest": (112, 20), "mk_digest_salt": (132, 32), "mk_digest_iter": (164, 4),
        "uuid": (168, 40)}),
    "luks1_key_slot": (48, {"active": (0, 4), "iterations": (4, 4), "salt": (8, 32),
                            "key_material_offset": (40, 4), "stripes": (44, 4)}),
    "luks2": (512, {
        "magic": (0, 6), "version": (6, 2), "hdr_size": (8, 8), "seqid": (16, 8),
        "label": (24, 48), "csum_alg": (72, 32), "salt": (104, 64), "uuid": (168, 40),
        "subsystem": (208, 48), "hdr_offset": (256, 8), "csum": (448, 64)}),
}

X = "x = 62 - (cluster_bits - 8)"
# Entries of 8 bytes: first and last bit of each field; words where the cluster size decides.
BITS = {
    "bitmap_table_entry": {"all_ones": (0, 0), "reserved_1": (1, 8), "offset": (9, 55),
                           "reserved_56": (56, 63)},
    "l1_entry": {"reserved_0": (0, 8), "offset": (9, 55), "reserved_56": (56, 62),
                 "copied": (63, 63)},
    "l2_entry": {"zero": (0, 0), "reserved_1": (1, 8), "offset": (9, 55), "reserved_56": (56, 61),
                 "compressed": (62, 62), "copied": (63, 63)},
    "l2_compressed": {"offset": f"bits 0 to x - 1, {X}",
                      "additional_sectors": f"bits x to 61, {X}", "compressed": (62, 62),
                      "copied": (63, 63)},
    "l2_subclusters": {"allocated": (0, 31), "zeroes": (32, 63)},
    "refcount_table_entry": {"reserved_0": (0, 8), "offset": (9, 63)},
}

# The values and bits that the specification defines, by the field or the table that has them.
VALUES = {
    "incompatible_features": {0: "dirty", 1: "corrupt", 2: "external data file",
                              3: "compression type", 4: "extended L2 entries"},
    "compatible_features": {0: "lazy refcounts"},
    "autoclear_features": {0: "bitmaps", 1: "raw external data"},
    "crypt_method": {0: "none", 1: "AES", 2: "LUKS"},
    "compression_type": {0: "zlib", 1: "zstd"},
    "extension/magic": {0: "End", 0xe2792aca: "Backing format", 0x6803f857: "Feature table",
                        0x23852875: "Bitmaps", 0x0537be77: "Crypto header",
                        0x44415441: "Data file"},
    "feature_name/type": {0: "incompatible", 1: "compatible", 2: "autoclear"},
    "bitmap_dir_entry/flags": {0: "in_use", 1: "auto", 2: "extra_data_compatible"},
    "bitmap_dir_entry/type": {1: "dirty tracking bitmap"},
    "luks1_key_slot/active": {0xdead: "inactive", 0xac71f3: "active"},
}

# The headings of the specification; "QEMU" is said of limits that only QEMU has.
SECTIONS = {
    "General", "Header", "Additional fields (version 3 and higher)", "Header padding",
    "Header extensions", "String header extensions", "Feature name table", "Bitmaps extension",
    "Full disk encryption header pointer", "Data encryption", "Host cluster management",
    "Cluster mapping", "Extended L2 Entries", "Snapshots", "Bitmaps", "Bitmap directory",
    "Bitmap table", "Bitmap data", "Dirty tracking bitmaps", "QEMU"}


@functools.cache
def explain(*name):
    return text_of(run("explain", *name))


@functools.cache
def explain_json(*name):
    found = documents(text_of(run("explain", "-j", *name)))
    assert len(found) == 1 and isinstance(found[0], list) and found[0]
    return found[0]


def everything(kind):
    return {x["name"]: x for x in explain_json() if x["kind"] == kind}


def place_of(bits):
    """The words for the bits that a field is."""
    if isinstance(bits, str):
        return bits
    first, last = bits
    return f"bit {first}" if first == last else f"bits {first} to {last}"


def bytes_of(place):
    return f"{place[1]} byte{'s' if place[1] > 1 else ''} at offset {place[0]}"


def test_structures_of_the_specification_are_there():
    """A later structure needs no row here: the forge, which knows the format by itself, judges it."""
    assert set(everything("structure")) >= set(PLACES) | set(BITS)


@pytest.mark.parametrize("name", sorted(PLACES))
def test_places(name):
    """Size, and offset and width of every field, in JSON and in text."""
    size, places = PLACES[name]
    structure = everything("structure")[name]
    assert structure["size"] == size
    assert {f["name"]: (f["offset"], f["width"]) for f in structure["fields"]} == places
    assert [f["name"] for f in structure["fields"]] == list(places)
    text = explain(name)
    assert re.match(rf"{name}: .+, {size} bytes\n", text)
    for field, place in places.items():
        assert re.search(rf"^  {field} +{re.escape(bytes_of(place))}$", text, re.M), field
        assert f"{name}/{field}: {bytes_of(place)}\n" in explain(f"{name}/{field}")


@pytest.mark.parametrize("name", sorted(BITS))
def test_bits(name):
    structure = everything("structure")[name]
    assert structure["size"] == 8
    fields = {f["name"]: f for f in structure["fields"]}
    assert list(fields) == list(BITS[name])
    for field, bits in BITS[name].items():
        shown = fields[field]
        assert (shown["offset"], shown["width"]) == (0, 8)
        if not isinstance(bits, str):
            assert (shown["first-bit"], shown["bit-count"]) == (bits[0], bits[1] - bits[0] + 1)
        assert re.search(rf"^  {field} +{re.escape(place_of(bits))}$", explain(name), re.M)
        assert f"{name}/{field}: {place_of(bits)}\n" in explain(f"{name}/{field}")
    if name == "l2_compressed":
        offset, sectors = fields["offset"], fields["additional_sectors"]
        assert (offset["first-bit"], offset["bit-count"]) == (0, None)
        assert (sectors["first-bit"], sectors["bit-count"]) == (None, None)
    else:  # no bit twice, none left out
        flat = [b for first, last in BITS[name].values() for b in range(first, last + 1)]
        assert flat == list(range(64))


def test_fields_do_not_overlap():
    """Each structure is its fields, one after the other; gaps are padding that the tables name."""
    gaps = {"header": (105, 112), "luks2": (264, 448)}
    for name, structure in everything("structure").items():
        if "first-bit" in structure["fields"][0]:
            continue
        at = 0
        for field in structure["fields"]:
            if field["offset"] != at:
                assert gaps[name] == (at, field["offset"])
            at = field["offset"] + field["width"]
        assert at == structure["size"] or gaps[name] == (at, structure["size"])


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values(name):
    """The names of values, whichever way they are asked for."""
    field = explain_json(name)[0]
    values = field.get("bits") or field["values"]
    assert VALUES[name].items() <= {v["value"]: v["name"] for v in values}.items()
    kind = "bit" if "bits" in field else "value"
    for value, word in VALUES[name].items():
        number = (f"bit {value}" if kind == "bit" else
                  str(value) if value < 256 else f"0x{value:08x}")
        assert re.search(rf"^  {number} +{re.escape(word)} +\S", explain(name), re.M)
        for spelling in {word, word.replace(" ", "_"), word.replace(" ", "-")}:
            found = [x for x in explain_json(spelling)
                     if x["kind"] == kind and x["value"] == value and x["name"] == word]
            assert len(found) == 1, spelling
        if kind == "value" and value > 255:
            assert explain_json(f"0x{value:x}") == explain_json(f"0x{value:08X}")
            assert [x["name"] for x in explain_json(f"0x{value:08x}")] == [word]


def test_sections_are_those_of_the_specification():
    assert {x["section"] for x in explain_json() if "section" in x} <= SECTIONS


def test_the_list_is_everything():
    """Without a name: a line for each structure, field, value and problem, as in JSON."""
    lines = explain().splitlines()
    expected = []
    for x in explain_json():
        if x["kind"] == "structure":
            expected += [f"{x['name']:<24} {x['title']}", *("  " + f["name"] for f in x["fields"])]
        elif x["kind"] == "names":
            values = x.get("bits") or x["values"]
            expected += [f"{x['name']:<24} {'Bits' if 'bits' in x else 'Values'}",
                         *("  " + v["name"] for v in values)]
        elif x["kind"] == "message":
            expected.append(f'"{x["name"]}"')
        else:
            expected.append(f"{x['name']:<34} {x['severity']}: {x['meaning']}")
    assert lines == expected
    assert len(everything("problem")) >= 100 and len(everything("names")) >= len(VALUES)


def same_facts(text, facts):
    """A field as text says what it says as JSON."""
    lines = text.splitlines()
    assert lines[0] == f"{facts['structure']}/{facts['name']}: {facts['place']}"
    told = dict(re.fullmatch(r"  (.{14}) (.*)", line).groups() for line in lines[1:]
                if re.match(r"  [a-zQ][A-Za-z' ]{13} \S", line) and not line.startswith("  bit "))
    told = {key.strip(): value for key, value in told.items()}
    assert told.pop("also called", None) == facts["alias"]
    assert told.pop("meaning") == facts["meaning"] and facts["meaning"]
    assert told.pop("legal values") == facts["legal"] and facts["legal"]
    assert told.pop("QEMU's limits", None) == facts["qemu"]
    assert told.pop("specification") == f'"{facts["section"]}"'
    assert not told
    for value in facts.get("bits", []) + facts.get("values", []):
        assert any(line.endswith(value["meaning"]) and f" {value['name']} " in line
                   for line in lines)


def test_every_field():
    """Each field of each structure is explained, in text and JSON alike."""
    for structure, shown in everything("structure").items():
        explains_every_field(structure, shown)


def explains_every_field(structure, shown):
    text = explain(structure)
    assert shown in explain_json(structure)
    assert shown["meaning"] in text and f'Specification: "{shown["section"]}"' in text
    for field in shown["fields"]:
        name = f"{structure}/{field['name']}"
        found = explain_json(name)
        assert len(found) == 1 and found[0] == {"kind": "field", "structure": structure,
                                                "section": shown["section"], **field}
        same_facts(explain(name), found[0])
        assert explain(name) in explain(field["name"]) + "\n"
        assert found[0] in explain_json(field["name"])
        assert field["meaning"] in text
        harmless(text.encode())


def unwrapped(text):
    """A page with each fact in one line."""
    return re.sub(r"\n {17}(?=\S)", " ", text)


def test_every_problem():
    for name, problem in everything("problem").items():
        remedy = problem["remedy"]
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)
        assert explain_json(name) == [problem]
        risk = {"none": "not touched", "at-risk": "at risk"}.get(problem["damage"], problem["damage"])
        assert unwrapped(explain(name)) == (
            f"{name}: a problem\n"
            f"  meaning        {problem['meaning']}\n"
            f"  consequence    {problem['consequence']}\n"
            f"  severity       {problem['severity']}\n"
            f"  guest's data   {risk}\n"
            f"  repairable     {'yes' if problem['repairable'] else 'no'}\n"
            + (f"  mended by      {remedy['command']}\n  which does     " if remedy["command"]
               else "  what to do     ") + remedy["does"] + "\n"
            + (f"  at the cost of {remedy['cost']}\n" if remedy["cost"] else "") +
            f"  QEMU           qemu-img check -r all {remedy['qemu-img']}\n"
            f"  specification  \"{problem['section']}\"\n")
        assert max(map(len, explain(name).splitlines())) <= 80 or remedy["command"]
        assert problem["repairable"] == (remedy["effect"] == "lossless")
        assert problem["severity"] in ("corruption", "leak", "warning")
        assert problem["section"] != "QEMU" or problem["severity"] == "warning"


def messages_of(*words):
    """Names of the messages that are found, and the problems that are explained with them."""
    found = explain_json(*words)
    return ([x["name"] for x in found if x["kind"] == "message"],
            [x["name"] for x in found if x["kind"] == "problem"])


def test_messages_name_problems():
    problems = everything("problem")
    for name, message in everything("message").items():
        # Words of the message are enough to find it, whatever stands between and around them.
        for words in (name, name.upper(), f"qemu-img: {name.replace('*', 'some words')}: 0x5000"):
            assert message in explain_json(words), (name, words)
        for problem in message["problems"]:
            assert problem in problems
        page = explain(name)
        assert f'"{name}": a message of QEMU\n' in page and message["meaning"] in unwrapped(page)
    assert len(everything("message")) > 100


def test_good_news_is_no_bad_news():
    """What qemu-img check says of a sound image holds the words of what it says of others."""
    assert messages_of("No errors were found on the image.") == (["No errors were found on the image"], [])
    assert messages_of("2 errors were found on the image.") == (["errors were found on the image"], [])
    for line in ("64/16384 = 0.39% allocated, 0.00% fragmented, 0.00% compressed clusters",
                 "Image end offset: 4587520"):
        assert len(messages_of(line)[0]) == 1


@pytest.mark.parametrize("line, kinds", [
    ("ERROR OFLAG_COPIED data cluster: l2_entry=8000000000050000 refcount=0",
     ["copied-set", "copied-clear"]),
    ("ERROR OFLAG_COPIED L2 cluster: l1_index=0 l1_entry=8000000000040000 refcount=2",
     ["copied-set", "copied-clear"]),
    ("OFLAG_COPIED", ["copied-set", "copied-clear"]),
    ("leaked cluster", ["refcount-high"]),
    ("Leaked cluster 5 refcount=1 reference=0", ["refcount-high"]),
    ("ERROR cluster 5 refcount=0 reference=1", ["refcount-low"]),
    ("Preventing invalid write on metadata", ["cluster-owners", "refcount-low", "copied-set"]),
    ("qcow2: Marking image as corrupt: Preventing invalid write on metadata (overlaps with active L2 "
     "table); further corruption events will be suppressed",
     ["cluster-owners", "refcount-low", "copied-set", "feature-corrupt"]),
    ("qemu-system-x86_64: -drive file=/a b.qcow2: Image is corrupt; cannot be opened read/write",
     ["feature-corrupt"]),
    ("qemu-img: Could not open 'x': Bitmap '' doesn't satisfy the constraints", ["bitmap-granularity"]),
    ("Bitmap 'leaked cluster' doesn't satisfy the constraints", ["bitmap-granularity"]),
    ("Too much extra metadata in snapshot table entry 3", ["snapshot-extra-qemu"]),
    ("Snapshot table too large", ["snapshots-count-qemu"]),
    ("Reference count table too large", ["reftable-too-large"]),
    ("L1 table is too small", ["l1-too-small"]),
    ("Backing file name too long", ["backing-size"]),
    ("qcow2: Image is corrupt: L2 table offset 0x30200 unaligned (L1 index: 0); further non-fatal "
     "corruption events will be suppressed", ["l2-table-unaligned"]),
    ("Unsupported qcow2 feature(s): Unknown incompatible feature: 80", ["feature-incompatible-unknown"]),
    ("image is not in qcow2 format", []),
    ("qemu-img: Cannot copy inconsistent bitmap 'b0'", ["bitmap-in-use", "bitmaps-inconsistent"]),
    ("qemu-img: warning: Skipping inconsistent bitmap 'b0'", ["bitmap-in-use"]),
    ("Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it", ["bitmap-in-use"]),
    ("Lost persistent bitmaps during inactivation of node '#block1': No space left on device",
     ["bitmap-in-use"]),
    ("qcow2_free_clusters failed: Invalid argument", ["refcount-low"]),
    ("ERROR refcount block 3 is outside image", ["refblock-beyond-end"]),
    ("\x1b[31mERROR\x1b[0m cluster 5\trefcount=0 reference=1", ["refcount-low"]),
])
def test_messages_of_qemu(line, kinds):
    """As one argument, and as the words that a shell makes of it."""
    names, problems = messages_of(line)
    assert names and set(kinds) <= set(problems)
    assert messages_of("--", *line.split()) == (names, problems)
    harmless(explain(line).encode())
    for kind in kinds:
        assert kind in explain(line)


def test_words_that_are_no_message():
    for line in ("nothing of the kind", "image", "the cluster of grapes", "1 2 3", "* *"):
        done = run("explain", *line.split(" "))
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(f"qcow2 explain: nothing is called '{line}'; ".encode())
    near = run("explain", "the snapshot table is quite large").stderr.decode()
    assert "; a message like it has the words '" in near and "table" in near.split("words")[1]
    done = run("explain", *["word " * 100] * 100)
    assert done.returncode == 1 and b"4096 bytes" in done.stderr


def test_both_names_of_a_field():
    assert explain("snapshots_offset") == explain("snapshot_offset")
    assert "also called    snapshots_offset" in explain("header/snapshot_offset")
    assert explain("header/snapshots-offset") == explain("header/snapshot_offset")


@pytest.mark.parametrize("name, near", [
    ("headr", "header"), ("l1_siz", "header/l1_size"), ("bitmap-in-us", "bitmap-in-use"),
    ("header/sise", "header/size"), ("bitmap_dir", "bitmap_dir_entry"), ("dirti", "dirty"),
    ("snapshot_ofset", "header/snapshot_offset"), ("compressed_", "l2_entry/compressed"),
    ("maigc", "header/magic"), ("L1_Size", "header/l1_size"), ("deflate", "zlib"),
])
def test_a_slip(name, near):
    done = run("explain", name)
    assert (done.returncode, done.stdout) == (1, b"")
    first, second, _ = done.stderr.decode().split("\n")
    head = f"qcow2 explain: nothing is called '{name}'; there is "
    assert first.startswith(head) and near in first[len(head):].split(", ")
    assert second == "Try 'qcow2 explain --help'."
    assert run("explain", "-j", name).stderr == done.stderr
    for word in first[len(head):].split(", "):
        assert explain_json(word)


@pytest.mark.parametrize("name, shown", [
    ("zzzzzz", "zzzzzz"), ("", ""), ("x", "x"), ("/", "/"), ("header/", "header/"),
    ("0xffffffff", "0xffffffff"), ("0x", "0x"), ("0", "0"), ("\x1b[31m", "\\u{1b}[31m"),
    (b"\xff\n", "\\xff\\n"), ("%s%n", "%s%n"), ("z" * 5000, "z" * 128),
    ("z" * 5000 + "/" + "z" * 5000, "z" * 128), ("q" * 64, "q" * 64), ("q" * 65, "q" * 65),
])
def test_nothing_of_that_name(name, shown):
    done = run("explain", name)
    assert (done.returncode, done.stdout) == (1, b"")
    first = harmless(done.stderr).split("\n")[0]
    assert first.startswith(f"qcow2 explain: nothing is called '{shown}'; ")


def test_long_and_odd_names_are_compared_safely():
    for name in ("a" * 63, "a" * 64, "header_" * 9 + "h", "é" * 32, "incompatible_feature",
                 "header/" + "x" * 60, "x" * 70 + "/size", "bitmaps_extension/bitmap_directory"):
        done = run("explain", name)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 2
        assert len(done.stderr) < 1200


@functools.cache
def page():
    return text_of(run("explain", "--man"))


def test_page_says_everything():
    """qcow2-format(5) has every structure, field and problem, with its place."""
    def plain(text):
        return re.sub(r"\\([_*\\#<+~])", r"\1", text)
    source = plain(page())
    for structure in everything("structure").values():
        assert f"\n# {structure['title']}\n" in source or f"\n## {structure['title']}\n" in source
        for field in structure["fields"]:
            assert f"*{field['name']}* ({field['place']})" in source
            assert field["meaning"] in source
    for problem in everything("problem").values():
        assert problem["name"] in source and problem["meaning"] in source


def test_page_formats():
    """scdoc takes it, and man shows it without a warning and with no markup left over."""
    roff = subprocess.run(["scdoc"], input=page().encode(), capture_output=True, check=False,
                          timeout=60)
    assert (roff.returncode, roff.stderr) == (0, b"")
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MANROFFOPT": "-c"}
    shown = subprocess.run(["man", "--warnings", "-l", "-"], input=roff.stdout, env=env,
                           capture_output=True, check=False, timeout=60)
    assert (shown.returncode, shown.stderr) == (0, b"")
    text = re.sub(".\b", "", shown.stdout.decode())
    assert text.startswith("qcow2-format(5)")
    assert "incompatible_features (8 bytes at offset 72)" in text
    assert not re.search(r"\\[_*#<]", text)
