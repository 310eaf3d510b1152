# SPDX-License-Identifier: MIT
"""LUKS headers, well formed but with keys that open nothing.

LUKS1: the 592-byte partition header with its eight key slots.  LUKS2: two
binary headers with their JSON areas and true checksums.
"""

import hashlib
import json
import struct

from .values import number

STRIPES = 4000
ACTIVE, IDLE = 0x00AC71F3, 0x0000DEAD
FIELDS1 = (
    ("magic", 0, 6), ("version", 6, 2), ("cipher_name", 8, 32), ("cipher_mode", 40, 32),
    ("hash_spec", 72, 32), ("payload_offset", 104, 4), ("key_bytes", 108, 4),
    ("mk_digest", 112, 20), ("mk_digest_salt", 132, 32), ("mk_digest_iterations", 164, 4),
    ("uuid", 168, 40),
)
SLOT1 = (("active", 0, 4), ("iterations", 4, 4), ("salt", 8, 32), ("key_material_offset", 40, 4),
         ("stripes", 44, 4))
FIELDS2 = (
    ("magic", 0, 6), ("version", 6, 2), ("hdr_size", 8, 8), ("seqid", 16, 8), ("label", 24, 48),
    ("checksum_alg", 72, 32), ("salt", 104, 64), ("uuid", 168, 40), ("subsystem", 208, 48),
    ("hdr_offset", 256, 8), ("checksum", 448, 64),
)
TEXTS = {"magic", "cipher_name", "cipher_mode", "hash_spec", "mk_digest", "mk_digest_salt", "uuid",
         "salt", "label", "checksum_alg", "subsystem", "checksum"}
UUID = "6ab1c0de-0000-4000-8000-000000000001"


def _salt(seed, length):
    """Bytes that look random and are the same each time."""
    return hashlib.sha512(seed.encode()).digest()[:length]


def _name(layout, path, base, fields):
    layout.offsets[path] = base
    for field, offset, width in fields:
        if field in TEXTS:
            layout.text(f"{path}/{field}", base + offset, width)
        else:
            layout.structure(path, base, ((field, offset, width),))


def _luks1(layout, options):
    key = number(options.get("key_bytes", "64"))
    sectors = -(-key * STRIPES // 512 // 8) * 8 if key * STRIPES % 512 == 0 else \
        -(-(key * STRIPES // 512 + 1) // 8) * 8
    used = number(options.get("slots", "1"))
    payload = 8 + 8 * sectors
    head = struct.pack(
        ">6sH32s32s32sII20s32sI40s", b"LUKS\xba\xbe", 1,
        options.get("cipher", "aes").encode(), options.get("mode", "xts-plain64").encode(),
        options.get("hash", "sha256").encode(), payload, key, _salt("digest", 20),
        _salt("digest salt", 32), 1000, options.get("uuid", UUID).encode())
    for slot in range(8):
        live = slot < used
        head += struct.pack(">II32sII", ACTIVE if live else IDLE, 1000 if live else 0,
                            _salt(f"slot {slot}", 32) if live else bytes(32),
                            8 + slot * sectors, STRIPES)
    length = payload * 512
    offset = layout.allocate(length)
    layout.store.write(offset, head)
    _name(layout, "luks", offset, FIELDS1)
    for slot in range(8):
        _name(layout, f"luks/key_slots/{slot}", offset + 208 + slot * 48, SLOT1)
        if slot < used:
            layout.store.write(offset + (8 + slot * sectors) * 512, _salt(f"key {slot}", 64))
    return offset, length


def _luks2(layout, options):
    size = number(options.get("hdr_size", "16k"))
    text = json.dumps({
        "keyslots": {"0": {"type": "luks2", "key_size": 64, "area": {
            "type": "raw", "offset": str(2 * size), "size": "258048",
            "encryption": "aes-xts-plain64", "key_size": 64},
            "af": {"type": "luks1", "stripes": STRIPES, "hash": "sha256"},
            "kdf": {"type": "pbkdf2", "hash": "sha256", "iterations": 1000,
                    "salt": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}},
        "tokens": {},
        "segments": {"0": {"type": "crypt", "offset": "16777216", "size": "dynamic",
                           "iv_tweak": "0", "encryption": "aes-xts-plain64", "sector_size": 512}},
        "digests": {}, "config": {"json_size": str(size - 4096), "keyslots_size": "16744448"},
    }).encode()
    length = 1 << 20
    offset = layout.allocate(length)
    for copy, magic in enumerate((b"LUKS\xba\xbe", b"SKUL\xba\xbe")):
        head = bytearray(size)
        head[:264] = struct.pack(
            ">6sHQQ48s32s64s40s48sQ", magic, 2, size, 1, options.get("label", "forged").encode(),
            b"sha256", _salt(f"header {copy}", 64), UUID.encode(), b"", copy * size)
        head[4096:4096 + len(text)] = text
        head[448:480] = hashlib.sha256(head).digest()
        base = offset + copy * size
        layout.store.write(base, bytes(head))
        path = "luks" if copy == 0 else "luks/secondary"
        _name(layout, path, base, FIELDS2)
        layout.text(f"{path}/json", base + 4096, size - 4096)
    return offset, length


def write(layout, recipe):
    """Write the LUKS header; returns (offset, length) or None."""
    if not recipe.luks:
        return None
    version, options = recipe.luks
    offset, length = (_luks1 if version == 1 else _luks2)(layout, options)
    layout.refer(offset, length)
    return offset, length
