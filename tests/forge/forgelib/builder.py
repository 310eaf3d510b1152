# SPDX-License-Identifier: MIT
"""From a recipe to an image: what is laid out when, and what points to what."""

import os

from . import bitmaps, breakage, extensions, header, luks, snapshots
from .errors import ForgeError, NeedReserve
from .layout import Layout
from .recipe import Recipe
from .refcounts import Refcounts
from .store import Store
from .tables import Disk
from .values import mask, number

BACKING_BYTE = 0xba


class Builder:
    def __init__(self, recipe, reserve):
        self.recipe = recipe
        self.layout = Layout(recipe.cluster_bits)
        self.layout.recipe = recipe
        self.refcounts = Refcounts(self.layout, recipe)
        self.snapshots = []
        self.uses_zstd = False
        self.layout.allocate(self.layout.cluster_size)
        self.layout.refer(0, self.layout.cluster_size)
        if recipe.refcounts_first:
            self.refcounts.keep(reserve)

    def run(self):
        layout, recipe = self.layout, self.recipe
        crypto = luks.write(layout, recipe)
        disk = self._disk()
        l1_size = max(disk.tables_needed(), recipe.l1_size or 0)
        l1_offset = layout.allocate(l1_size * 8) if l1_size else 0
        layout.refer(l1_offset, l1_size * 8)
        self._guest(disk)
        disk.count()
        for snapshot in self.snapshots:
            snapshot.disk.count()
        nb_snapshots, snapshots_offset = snapshots.allocate(layout, self.snapshots)
        directory = bitmaps.write(layout, recipe)
        self.refcounts.settle()
        disk.encode("", l1_offset, l1_size, active=True)
        snapshots.write(layout, self.snapshots, snapshots_offset)
        self.refcounts.write()
        name_offset, name_size = extensions.write(layout, recipe, directory, crypto)
        header.write(layout, recipe, {
            "magic": header.MAGIC, "version": recipe.version, "size": recipe.size,
            "backing_file_offset": name_offset, "backing_file_size": name_size,
            "cluster_bits": recipe.cluster_bits, "crypt_method": recipe.crypt_method,
            "l1_size": l1_size, "l1_table_offset": l1_offset,
            "refcount_table_offset": self.refcounts.table,
            "refcount_table_clusters": self.refcounts.clusters,
            "nb_snapshots": nb_snapshots, "snapshots_offset": snapshots_offset,
            "refcount_order": recipe.refcount_order, "header_length": header.length(recipe),
            **self._features(directory),
        })
        layout.snapshots = [snapshot.disk for snapshot in self.snapshots]
        return layout

    def _disk(self):
        recipe, layout = self.recipe, self.layout
        disk = layout.guest = Disk(layout, recipe)
        if recipe.backing and recipe.backing["make"]:
            disk.backing = bytes([BACKING_BYTE]) * number(recipe.backing["make"])
        if recipe.data_file:
            layout.data_file = Store()
            layout.data_file.resize(recipe.size)
        return disk

    def _features(self, directory):
        recipe = self.recipe
        compression = recipe.compression
        if compression is None:
            compression = 1 if self.uses_zstd else 0
        bits = {"dirty": recipe.dirty, "corrupt": recipe.corrupt, "data_file": recipe.data_file,
                "compression": compression, "extended_l2": recipe.extended_l2}
        raw = recipe.data_file and recipe.data_file["raw"]
        return {
            "compression_type": compression,
            "incompatible_features": recipe.incompatible | sum(
                1 << header.INCOMPATIBLE[name] for name, there in bits.items() if there),
            "compatible_features": recipe.compatible | bool(recipe.lazy_refcounts),
            "autoclear_features": recipe.autoclear | bool(directory) | bool(raw) << 1,
        }

    def _guest(self, disk):
        """Follow the lines that say what is on the disk, in their order."""
        for word, plain, named, line in self.recipe.disk:
            try:
                getattr(self, "_do_" + word)(disk, plain, named)
            except (ForgeError, ValueError, IndexError, KeyError) as err:
                raise ForgeError(f"line {line}: {word}: {err}") from err

    @staticmethod
    def _range(disk, plain):
        offset = number(plain[0])
        return offset, number(plain[1]) if len(plain) > 1 else disk.cluster

    @staticmethod
    def _pattern(named):
        text = named.get("pattern")
        return text if text in (None, "mixed") else number(text)

    def _do_write(self, disk, plain, named):
        at = number(named["at"]) if "at" in named else None
        disk.write(*self._range(disk, plain), self._pattern(named), at)

    def _do_zero(self, disk, plain, named):
        allocated = "allocated" in plain
        disk.zero(*self._range(disk, [p for p in plain if p != "allocated"]), allocated)

    def _do_compressed(self, disk, plain, named):
        methods = [p for p in plain if p in ("deflate", "zstd")]
        method = methods[0] if methods else "zstd" if self.recipe.compression == 1 else "deflate"
        self.uses_zstd |= method == "zstd"
        span = self._range(disk, [p for p in plain if p not in methods])
        disk.compressed(*span, method, self._pattern(named), number(named.get("frames", "1")))

    def _do_subclusters(self, disk, plain, named):
        disk.subclusters(number(plain[0]), mask(named.get("alloc", "none")),
                         mask(named.get("zero", "none")), self._pattern(named))

    def _do_unmap(self, disk, plain, named):
        disk.unmap(*self._range(disk, plain))

    def _do_alias(self, disk, plain, named):
        disk.alias(*self._range(disk, plain), number(plain[2]))

    def _do_share_l2(self, disk, plain, named):
        disk.share_l2(*(number(p) for p in plain))

    def _do_snapshot(self, disk, plain, named):
        self.snapshots.append(snapshots.Snapshot(disk, self.recipe.version, plain[0], named))

    def _do_gap(self, disk, plain, named):
        """Leave free clusters."""
        self.layout.allocate(number(plain[0]) * disk.cluster)

    def _do_leak(self, disk, plain, named):
        """Clusters that are counted and that nothing uses."""
        length = number(plain[0]) * disk.cluster
        self.layout.refer(self.layout.allocate(length), length)

    def _do_align(self, disk, plain, named):
        """Go on at a host offset."""
        target = number(plain[0]) // disk.cluster
        if target < self.layout.next_cluster:
            raise ForgeError("this offset is already behind")
        self.layout.next_cluster = target


def _companions(layout, recipe, path):
    """The data file and the backing file that the recipe asks for, beside the image."""
    made = []
    if recipe.data_file and recipe.data_file["make"] and recipe.data_file["name"]:
        made.append((recipe.data_file["name"], layout.data_file))
    if recipe.backing and recipe.backing["make"]:
        base = Store()
        base.write(0, layout.guest.backing)
        made.append((recipe.backing["name"], base))
    for name, store in made:
        if b"/" in name or name in (b".", b".."):
            raise ForgeError("a file to be made beside the image has a plain name")
        store.save(os.path.join(os.path.dirname(os.path.abspath(path)), os.fsdecode(name)))


def build(text, path=None):
    """Forge the image of a recipe (text or Recipe); returns its Layout.

    With a path the image, and the files it asks for beside it, are written.
    """
    recipe = text if isinstance(text, Recipe) else Recipe(text)
    reserve = 2
    while True:
        try:
            layout = Builder(recipe, reserve).run()
            break
        except NeedReserve as need:
            reserve += max(1, need.clusters)
    for word, rest, line in recipe.breakages:
        try:
            breakage.apply(layout, word, rest)
        except (ForgeError, ValueError, IndexError, KeyError) as err:
            raise ForgeError(f"line {line}: {word} {rest[:60]}: {err}") from err
    if path is not None:
        layout.store.save(path)
        _companions(layout, recipe, path)
    return layout
