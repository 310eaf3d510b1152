# SPDX-License-Identifier: MIT
"""The header extension area and the backing file name behind it.

Known extensions come in the order in which QEMU writes them, then those that
the recipe gives byte by byte, then the end marker.
"""

import struct

from . import header
from .errors import ForgeError

TYPES = {
    "end": 0, "backing_format": 0xe2792aca, "feature_names": 0x6803f857,
    "bitmaps": 0x23852875, "crypto": 0x0537be77, "data_file": 0x44415441,
}
NAMES = {number: name for name, number in TYPES.items()}
INNER = {
    "bitmaps": (("nb_bitmaps", 8, 4), ("reserved32", 12, 4),
                ("bitmap_directory_size", 16, 8), ("bitmap_directory_offset", 24, 8)),
    "crypto": (("offset", 8, 8), ("length", 16, 8)),
}
DEFAULT_NAMES = (
    (0, 0, "dirty bit"), (0, 1, "corrupt bit"), (0, 2, "external data file"),
    (0, 3, "compression type"), (0, 4, "extended L2 entries"), (1, 0, "lazy refcounts"),
    (2, 0, "bitmaps"), (2, 1, "raw external data"),
)


def feature_row(kind, bit, name):
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return struct.pack(">BB46s", kind, bit, raw)


def collect(recipe, bitmaps, crypto):
    """(type, data) of every extension in file order, without the end marker."""
    found = []
    if recipe.backing and recipe.backing["format"] is not None:
        found.append((TYPES["backing_format"], recipe.backing["format"]))
    if recipe.data_file and recipe.data_file["name"] is not None:
        found.append((TYPES["data_file"], recipe.data_file["name"]))
    if crypto:
        found.append((TYPES["crypto"], struct.pack(">QQ", *crypto)))
    if recipe.feature_names:
        rows = [feature_row(*row) for row in recipe.feature_names]
        found.append((TYPES["feature_names"], b"".join(rows)))
    if bitmaps:
        count, offset, size = bitmaps
        found.append((TYPES["bitmaps"], struct.pack(">IIQQ", count, 0, size, offset)))
    return found + recipe.extensions


def write(layout, recipe, bitmaps, crypto):
    """Write the area and the backing name; returns (offset, size) of that name or (0, 0)."""
    area, start = bytearray(), header.length(recipe)
    for index, (kind, data) in enumerate(collect(recipe, bitmaps, crypto)):
        name, offset = NAMES.get(kind, f"0x{kind:08x}"), start + len(area)
        path = f"extensions/{index}"
        layout.structure(path, offset, (("type", 0, 4), ("length", 4, 4)))
        layout.alias(f"extensions/{name}", path)
        layout.text(f"{path}/data", offset + 8, len(data))
        for field, at, width in INNER.get(name, ()):
            if at - 8 + width <= len(data):
                layout.structure(path, offset, ((field, at, width),))
        if name == "feature_names":
            for row in range(len(data) // 48):
                layout.structure(f"{path}/{row}", offset + 8 + row * 48,
                                 (("type", 0, 1), ("bit", 1, 1)))
                layout.text(f"{path}/{row}/name", offset + 10 + row * 48, 46)
        area += struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
    if recipe.end_extension:
        layout.structure("extensions/end", start + len(area), (("type", 0, 4), ("length", 4, 4)))
        area += bytes(8)
    layout.offsets["extensions"] = start
    name = recipe.backing["name"] if recipe.backing else b""
    if start + len(area) + len(name) > layout.cluster_size:
        raise ForgeError("the extensions and the backing file name do not fit the first cluster")
    layout.store.write(start, bytes(area))
    if not recipe.backing:
        return 0, 0
    offset = start + len(area)
    layout.offsets["backing_file_name"] = offset
    layout.text("backing_file_name", offset, len(name))
    layout.store.write(offset, name)
    return offset, len(name)
