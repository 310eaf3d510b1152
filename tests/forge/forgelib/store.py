# SPDX-License-Identifier: MIT
"""Sparse bytes: what was never written reads as zeros and costs nothing.

Knows offsets and bytes only.  A store may claim terabytes; saving it leaves
holes in the file.
"""

import os

PAGE = 1 << 16


class Store:
    def __init__(self):
        self.pages = {}
        self.size = 0

    def write(self, offset, data):
        """Put bytes at an offset; the size grows to hold them."""
        self.size = max(self.size, offset + len(data))
        done = 0
        while done < len(data):
            number, start = divmod(offset + done, PAGE)
            take = min(PAGE - start, len(data) - done)
            page = self.pages.get(number)
            if page is None:
                page = self.pages[number] = bytearray(PAGE)
            page[start:start + take] = data[done:done + take]
            done += take

    def read(self, offset, length):
        """Bytes at an offset; holes and what lies past the end are zeros."""
        parts = []
        while length > 0:
            number, start = divmod(offset, PAGE)
            take = min(PAGE - start, length)
            page = self.pages.get(number)
            parts.append(bytes(take) if page is None else bytes(page[start:start + take]))
            offset += take
            length -= take
        return b"".join(parts)

    def resize(self, size):
        """Cut or extend; bytes that were cut do not come back."""
        if size < self.size:
            for number in [n for n in self.pages if n * PAGE >= size]:
                del self.pages[number]
            number, start = divmod(size, PAGE)
            if number in self.pages:
                self.pages[number][start:] = bytes(PAGE - start)
        self.size = size

    def trim(self):
        """Drop the zero bytes at the end."""
        for number in sorted(self.pages, reverse=True):
            used = len(self.pages[number].rstrip(b"\0"))
            if used:
                self.resize(min(self.size, number * PAGE + used))
                return
        self.resize(0)

    def save(self, path):
        with open(path, "wb") as out:
            for number in sorted(self.pages):
                page = self.pages[number]
                if any(page):
                    out.seek(number * PAGE)
                    out.write(page[:max(0, min(PAGE, self.size - number * PAGE))])
            out.flush()
            os.ftruncate(out.fileno(), self.size)
