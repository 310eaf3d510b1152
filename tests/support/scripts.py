# SPDX-License-Identifier: MIT
"""Random scripts for `qcow2 edit` and `qcow2 bitmap`, and what each line asks for."""
import re

from tests.support.witness import BITMAPS

HEADER = (("version", 4, 4), ("backing_file_offset", 8, 8), ("backing_file_size", 16, 4),
          ("cluster_bits", 20, 4), ("size", 24, 8), ("crypt_method", 32, 4), ("l1_size", 36, 4),
          ("l1_table_offset", 40, 8), ("refcount_table_offset", 48, 8),
          ("refcount_table_clusters", 56, 4), ("nb_snapshots", 60, 4), ("snapshot_offset", 64, 8),
          ("incompatible_features", 72, 8), ("compatible_features", 80, 8),
          ("autoclear_features", 88, 8), ("refcount_order", 96, 4), ("header_length", 100, 4),
          ("compression_type", 104, 1))
BITMAP = (("bitmap_table_offset", 0, 8), ("bitmap_table_size", 8, 4), ("flags", 12, 4),
          ("type", 16, 1), ("granularity_bits", 17, 1), ("name_size", 18, 2),
          ("extra_data_size", 20, 4))
SNAPSHOT = ("l1_table_offset", "l1_size", "id_str_size", "name_size", "date_sec", "date_nsec",
            "vm_clock_nsec", "vm_state_size", "extra_data_size")
FEATURES = (("incompatible", ("0", "1", "2", "3", "4", "9")), ("compatible", ("0", "7")),
            ("autoclear", ("0", "1", "30")))


def near(rng, old, width, cluster):
    """Another number for a field."""
    return rng.choice((0, old ^ 1 << rng.randrange(8 * width), old + 1, old - 1, old + cluster,
                       old - cluster, old + 8, old - 8, old * 2, cluster * rng.randrange(16),
                       rng.randrange(64), 1)) & (1 << 8 * width) - 1


class Line:
    """One line, and what it asks to change."""

    def __init__(self, text, *asks):
        self.text, self.asks = text, set(asks)


def set_header(rng, image):
    name, offset, width = rng.choice(HEADER)
    if name == "header_length" or rng.random() < 0.1:
        value, name = rng.choice((72, 96, 104, 112, 120, 128, 256, 512, 1024)), "header_length"
    else:
        value = near(rng, int.from_bytes(image.at(offset, width), "big"), width, image.cluster)
    return Line(f"set header/{name}={value}",
                *{"size": ["size"], "crypt_method": ["key"]}.get(name, []))


def set_extension(rng, image):
    at = rng.randrange(max(1, len(image.extensions)))
    if rng.random() < 0.4:
        field = rng.choice(("nb_bitmaps", "bitmap_directory_size", "bitmap_directory_offset"))
        at = next((i for i, (kind, _) in enumerate(image.extensions) if kind == BITMAPS), at)
        return Line(f"set extensions/{at}/data/{field}="
                    f"{rng.choice((0, 1, 2, 32, image.cluster * rng.randrange(12)))}")
    return Line(f"set extensions/{at}/{rng.choice(('magic', 'length'))}={rng.randrange(40)}")


def set_bitmap(rng, image):
    at = rng.randrange(max(1, len(image.bitmaps)))
    name = image.bitmaps[at][0] if image.bitmaps else b""
    field, _, width = rng.choice(BITMAP)
    value = rng.choice((0, 1, 2, 3, rng.randrange(9, 20), near(rng, 16, width, image.cluster)))
    # Asked for: whether it is enabled, not what is dirty.
    return Line(f"set bitmaps/{at}/{field}={value}", *([("flags", name)] if field == "flags" else []))


def set_table(rng, image):
    at, entry = rng.randrange(max(1, len(image.bitmaps))), rng.randrange(2)
    name = image.bitmaps[at][0] if image.bitmaps else b""
    return Line(f"set bitmaps/{at}/table/{entry}={rng.choice((0, 1, 1, image.cluster * 5))}",
                ("bits", name))


def set_snapshot(rng, image):
    at = rng.randrange(max(1, len(image.snapshots)))
    return Line(f"set snapshots/{at}/{rng.choice(SNAPSHOT)}="
                f"{rng.choice((0, 1, 2, 16, image.cluster * rng.randrange(12)))}")


def old_entry(image, entry):
    """Of the first L2 table."""
    table = image.u64(image.u64(40)) & 0x00fffffffffffe00 if image.sane else 0
    return image.u64(table + entry * 8)


def set_l2(rng, image):
    entry = rng.randrange(20)
    value = rng.choice((0, 1, 1, old_entry(image, entry) | 1, old_entry(image, entry) ^ 1 << 63, 1 << 63 | image.cluster * rng.randrange(20),
                        image.cluster * rng.randrange(20)))
    return Line(f"set l2/0/{entry}={value}", ("cluster", entry))


def set_l1(rng, image):
    value = rng.choice((0, 1 << 63 | image.cluster * rng.randrange(20)))
    return Line(f"set l1/0={value}", "guest")


def set_refcount(rng, image):
    return Line(f"set refcounts/0/{rng.randrange(24)}={rng.randrange(3)}")


def feature(rng, image):
    group, bits = rng.choice(FEATURES)
    return Line(f"feature {group} {rng.choice(bits)} {rng.choice(('on', 'off', 'off'))}")


def extension(rng, image):
    kinds = [kind for kind, _ in image.extensions] + [0x77, 0x88]
    kind, verb = rng.choice(kinds), rng.choice(("add", "replace", "remove"))
    data = "" if verb == "remove" else rng.choice((" --data=raw", " --data=something", " --data="))
    return Line(f"extension {verb} {kind:#x}{data}", ("extension", kind))


def backing(rng, image):
    return rng.choice((Line("backing clear", "backing"), Line("backing set base.raw raw", "backing"),
                       Line("backing set base.raw", "backing")))


def data_file(rng, image):
    return Line("data-file set other.raw", "data file")


def feature_names(rng, image):
    return Line("feature-names rebuild", ("extension", 0x6803f857))


EDITS = (set_header,) * 4 + (set_extension, set_bitmap, set_bitmap, set_table, set_snapshot, set_l2,
                             set_l2, set_l1, set_refcount, set_refcount, feature, feature,
                             extension, backing, data_file, feature_names)


def mend(rng, problems, image):
    """Lines that set right what the check names, and clear the bits; maybe not all of them."""
    lines = [Line(f"set {p['where']}={p['expected']}") for p in problems
             if re.fullmatch(r"refcounts/\d+/\d+", p["where"]) and isinstance(p.get("expected"), int)
             and p["id"] in ("refcount-low", "refcount-high")][:40]
    if rng.random() < 0.3 and lines:
        lines.pop(rng.randrange(len(lines)))
    lines += [Line(f"feature incompatible {bit} off") for bit in (0, 1)
              if image.incompatible & 1 << bit and rng.random() < 0.8]
    rng.shuffle(lines)
    return lines


def edit_script(rng, image, problems):
    lines = mend(rng, problems, image) if rng.random() < 0.25 else []
    if not lines or rng.random() < 0.2:
        lines += [rng.choice(EDITS)(rng, image) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    return lines


def quoted(name):
    return "'" + name.decode("ascii") + "'"


def bitmap_line(rng, names):
    name, other = rng.choice(names + [b"new"]), rng.choice(names + [b"new", b"more"])
    verb = rng.choice(("add", "remove", "clear", "enable", "disable", "rename", "merge"))
    if verb == "add":
        options = rng.choice(("", "-g 4k ", "-g 64k --disabled "))
        return Line(f"add {options}{quoted(other)}", ("made", other))
    if verb == "rename":
        return Line(f"rename {quoted(name)} {quoted(other)}", ("gone", name), ("renamed", name, other))
    if verb == "merge":
        return Line(f"merge {quoted(name)} {quoted(other)}", ("merged", other))
    asks = {"remove": "gone", "clear": "bits"}.get(verb, "flags")
    return Line(f"{verb} {quoted(name)}", (asks, name))


def import_line(rng, image, folder):
    """Random bits for a bitmap that has some, from a file."""
    name, (_, count, _) = rng.choice(sorted(image.trusted().items()))
    bits = rng.getrandbits(count) if count else 0
    with open(f"{folder}/bits", "wb") as opened:
        opened.write(bits.to_bytes(-(-count // 8), "little"))
    return Line(f"import {quoted(name)} {folder}/bits", ("bits", name))


def bitmap_script(rng, image, folder):
    names = [name for name in image.names() if re.fullmatch(rb"[ -&(-~]+", name)]
    lines = [bitmap_line(rng, names) for _ in range(rng.choice((1, 1, 2, 4)))]
    if rng.random() < 0.15 and set(image.trusted()) and set(image.trusted()) <= set(names):
        lines.insert(0, import_line(rng, image, folder))
    return lines


def repair_options(rng):
    return rng.choice(([], ["--assume-dirty"], ["--drop-bad"], ["--assume-dirty", "--drop-bad"]))
