# SPDX-License-Identifier: MIT
"""The header: field names, offsets and widths as the specification gives them."""

from .errors import ForgeError

MAGIC = 0x514649fb
V2_LENGTH = 72
FIELDS = (
    ("magic", 0, 4), ("version", 4, 4), ("backing_file_offset", 8, 8),
    ("backing_file_size", 16, 4), ("cluster_bits", 20, 4), ("size", 24, 8),
    ("crypt_method", 32, 4), ("l1_size", 36, 4), ("l1_table_offset", 40, 8),
    ("refcount_table_offset", 48, 8), ("refcount_table_clusters", 56, 4),
    ("nb_snapshots", 60, 4), ("snapshots_offset", 64, 8),
    ("incompatible_features", 72, 8), ("compatible_features", 80, 8),
    ("autoclear_features", 88, 8), ("refcount_order", 96, 4), ("header_length", 100, 4),
    ("compression_type", 104, 1),
)

INCOMPATIBLE = {"dirty": 0, "corrupt": 1, "data_file": 2, "compression": 3, "extended_l2": 4}
COMPATIBLE = {"lazy_refcounts": 0}
AUTOCLEAR = {"bitmaps": 0, "data_file_raw": 1}


def length(recipe):
    """Bytes of the header; extensions start there."""
    if recipe.version == 2:
        return V2_LENGTH
    if recipe.header_length is not None:
        return recipe.header_length
    return 112 + -(-len(recipe.header_tail) // 8) * 8


def write(layout, recipe, values):
    """Encode the header at 0 and name its fields; `values` maps names to numbers."""
    end = length(recipe)
    out = bytearray(max(end, V2_LENGTH))
    for name, offset, width in FIELDS:
        if offset + width <= end:
            out[offset:offset + width] = values.get(name, 0).to_bytes(width, "big")
    if recipe.header_tail:
        if 112 + len(recipe.header_tail) > end:
            raise ForgeError("header_tail does not fit header_length")
        out[112:112 + len(recipe.header_tail)] = recipe.header_tail
    layout.structure("header", 0, [f for f in FIELDS if f[1] + f[2] <= end], bytes(out))
    if end >= 112:
        layout.text("header/padding", 105, 7)
    if end > 112:
        layout.text("header/tail", 112, end - 112)
