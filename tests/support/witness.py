# SPDX-License-Identifier: MIT
"""What an image has, read by a parser of its own: names, extensions, snapshots, bitmaps with their bits.

It follows the specification and trusts nothing: what cannot be read is not there."""
import struct

BACKING_FORMAT, FEATURE_NAMES, BITMAPS = 0xe2792aca, 0x6803f857, 0x23852875
CRYPTO, DATA_FILE = 0x0537be77, 0x44415441
DIRTY, CORRUPT, HAS_DATA_FILE = 1, 2, 4
MOST, BITS_MOST = 4096, 1 << 24


class Image:
    """The metadata of one image file."""

    def __init__(self, path):
        with open(path, "rb") as opened:
            self.bytes = opened.read()
        self.extensions, self.snapshots, self.bitmaps = [], [], []
        self.backing = self.backing_format = self.data_file = None
        self.incompatible = self.compatible = self.autoclear = 0
        self.is_image = len(self.bytes) >= 104 and self.bytes[:4] == b"QFI\xfb" and \
            self.u32(4) in (2, 3)
        if not self.is_image:
            return
        self.version, self.size = self.u32(4), self.u64(24)
        self.cluster_bits = self.u32(20)
        self.header_length = 72
        if self.version == 3:
            self.incompatible, self.compatible, self.autoclear = struct.unpack(
                ">3Q", self.bytes[72:96])
            self.header_length = self.u32(100)
        self.sane = 9 <= self.cluster_bits <= 21
        self.cluster = 1 << self.cluster_bits if self.sane else 65536
        self.first = self.bytes[:self.cluster]
        self.read_extensions()
        self.read_names()
        if self.sane:
            self.read_snapshots()
            self.read_bitmaps()

    def at(self, offset, size):
        """Bytes, padded with the zeros behind the end of the file."""
        return self.bytes[offset:offset + size].ljust(size, b"\0")

    def u32(self, offset):
        return struct.unpack(">I", self.at(offset, 4))[0]

    def u64(self, offset):
        return struct.unpack(">Q", self.at(offset, 8))[0]

    def read_extensions(self):
        offset, end = self.header_length, self.u64(8) or len(self.first)
        end = min(end, len(self.first))
        self.area_sane = self.version == 2 or (104 <= offset <= self.cluster and offset % 8 == 0)
        while self.area_sane and offset + 8 <= end:
            magic, length = struct.unpack(">II", self.first[offset:offset + 8])
            if magic == 0 or offset + 8 + length > end:
                break
            self.extensions.append((magic, self.first[offset + 8:offset + 8 + length]))
            offset += 8 + (length + 7 & ~7)

    def extension(self, magic):
        return next((data for kind, data in self.extensions if kind == magic), None)

    def read_names(self):
        offset, size = self.u64(8), self.u32(16)
        self.backing_sane = offset == 0 or (offset >= self.header_length and 0 < size <= 1023 and
                                            offset + size <= len(self.first))
        if offset and self.backing_sane:
            self.backing = self.first[offset:offset + size]
        self.backing_format = self.extension(BACKING_FORMAT)
        if self.incompatible & HAS_DATA_FILE:
            self.data_file = self.extension(DATA_FILE)

    def read_snapshots(self):
        count, offset = self.u32(60), self.u64(64)
        for _ in range(min(count, MOST)):
            if offset + 40 > len(self.bytes):
                return
            id_size, name_size = struct.unpack(">HH", self.at(offset + 12, 4))
            extra = self.u32(offset + 36)
            end = offset + 40 + extra + id_size + name_size
            if end > len(self.bytes):
                return
            text = self.bytes[offset + 40 + extra:end]
            self.snapshots.append((text[:id_size], text[id_size:]))
            offset = end + 7 & ~7

    def read_bitmaps(self):
        data = self.extension(BITMAPS)
        if data is None or len(data) < 24:
            return
        count, _, size, offset = struct.unpack(">IIQQ", data[:24])
        end = offset + size
        for _ in range(min(count, MOST)):
            if offset + 24 > min(end, len(self.bytes)):
                return
            table, entries, flags, _, bits, name_size, extra = struct.unpack(
                ">QIIBBHI", self.at(offset, 24))
            behind = offset + 24 + extra + name_size
            if behind > min(end, len(self.bytes)):
                return
            name = self.bytes[offset + 24 + extra:behind]
            self.bitmaps.append((name, flags, bits, self.bits(table, entries, bits)))
            offset = behind + 7 & ~7

    def bits(self, table, entries, granularity_bits):
        """As a number, bit 0 first; None if they cannot be read."""
        count = -(-(self.size & ~511) // (1 << min(granularity_bits, 63)))
        if count > BITS_MOST or entries != -(-count // (8 * self.cluster)) or entries > MOST or \
                table % self.cluster or table == 0 or table + entries * 8 > len(self.bytes):
            return None
        data = b""
        for i in range(entries):
            entry = self.u64(table + i * 8)
            where = entry & 0x00fffffffffffe00
            if entry & 0xff000000000001fe or (where and entry & 1) or where % self.cluster or \
                    where >= len(self.bytes):
                return None
            data += self.at(where, self.cluster) if where else bytes([255 * (entry & 1)]) * \
                self.cluster
        return int.from_bytes(data, "little") & (1 << count) - 1, count

    def trusted(self):
        """{name: (bits, count, granularity)} of those that a backup may believe, by name."""
        if not self.autoclear & 1:
            return {}
        return {name: (*bits, granularity) for name, flags, granularity, bits in self.bitmaps
                if not flags & 1 and bits is not None}

    def names(self):
        return sorted(name for name, *_ in self.bitmaps)
