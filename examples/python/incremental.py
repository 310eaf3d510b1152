#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# What a backup tool does with the dirty bitmaps of a virtual machine that is off. Such tools start
# qemu-nbd and ask it for the context qemu:dirty-bitmap:NAME; here the image is read as it is.
"""Incremental backups of a disk image, by its dirty bitmaps.

A checkpoint is a bitmap: it records what was written since it was made, until the next one is made. A
backup is a file of data and a manifest beside it, a JSON document a line: what it is of, then each part
of the disk that it holds, and last how much and a digest. So neither is ever in memory as a whole.

    incremental.py list IMAGE
    incremental.py full IMAGE BACKUP --checkpoint=NAME
    incremental.py since CHECKPOINT IMAGE BACKUP --checkpoint=NAME
    incremental.py restore TARGET BACKUP...
"""
import argparse
import hashlib
import json
import os
import sys
from typing import BinaryIO, Dict, Iterable, Iterator, List, TextIO, Tuple, Union

import qcow2

PIECE = 1 << 20  # bytes that are read at once
HOLE = (qcow2.DiskKind.ZERO, qcow2.DiskKind.UNALLOCATED)
Entry = Dict[str, Union[str, int, List[str]]]


def checkpoints_since(image: qcow2.Image, first: str) -> List[str]:
    """The bitmaps that together know what was written since a checkpoint: it and all after it."""
    names = image.bitmaps.names()
    if first not in names:
        raise SystemExit(f"there is no checkpoint {qcow2.printable(first)}; a full backup is needed")
    return names[names.index(first):]


def parts(disk: qcow2.Disk, ranges: Iterable[Tuple[int, int]]) -> Iterator[qcow2.DiskExtent]:
    """Cuts ranges of the disk at the places where data become zeros."""
    for start, length in ranges:
        for part in disk.extents(start, length):
            if part.kind is qcow2.DiskKind.UNREADABLE:
                raise SystemExit(f"the disk cannot be read at {part.start}: run 'qcow2 check'")
            yield part


def write_backup(disk: qcow2.Disk, about: Entry, ranges: Iterable[Tuple[int, int]],
                 data: BinaryIO, manifest: TextIO) -> int:
    """Copies ranges; returns how many bytes of data they have."""
    digest, copied = hashlib.sha256(), 0
    print(json.dumps(about), file=manifest)
    for part in parts(disk, ranges):
        zero = part.kind in HOLE
        print(json.dumps({"start": part.start, "length": part.length, "zero": zero}), file=manifest)
        if zero:
            continue
        for at in range(part.start, part.start + part.length, PIECE):
            piece = disk.read(at, min(PIECE, part.start + part.length - at))
            digest.update(piece)
            data.write(piece)
        copied += part.length
    print(json.dumps({"data-bytes": copied, "sha256": digest.hexdigest()}), file=manifest)
    data.flush()
    manifest.flush()
    os.fsync(data.fileno())
    os.fsync(manifest.fileno())
    return copied


def new_checkpoint(image: qcow2.Image, plan: qcow2.Plan, name: str) -> None:
    """Ends the last checkpoint and begins one, in a single change of the image."""
    for bitmap in image.bitmaps:
        if bitmap.enabled:
            plan.disable_bitmap(bitmap.name)
    plan.add_bitmap(name)


def backup(path: str, target: str, since: Union[str, None], checkpoint: str) -> None:
    """Writes a backup and begins a checkpoint; the image is locked from before the one to after the other.

    What a virtual machine wrote between them would be in no backup: the old checkpoint is read already,
    the new one is not there yet. So the image is read within the edit, and the checkpoint begins only
    once the backup is on its medium.
    """
    with qcow2.Image(path) as unlocked, unlocked.edit(undo=target + ".undo") as plan, \
            qcow2.Image(path) as image:
        gate = qcow2.gate_within(os.path.dirname(os.path.abspath(path)))
        names = checkpoints_since(image, since) if since is not None else []
        with image.disk(gate=gate) as disk, open(target, "xb") as data, \
                open(target + ".json", "x", encoding="utf-8") as manifest:
            about: Entry = {"image": os.path.abspath(path), "disk-bytes": disk.size,
                            "checkpoint": checkpoint, "since": names}
            ranges: Iterable[Tuple[int, int]] = [(0, disk.size)]
            if since is not None:
                # Refuses a bitmap that may miss writes, rather than making a backup that does.
                ranges = ((extent.start, extent.length) for extent
                          in image.dirty_extents(*names, dirty_only=True))
            copied = write_backup(disk, about, ranges, data, manifest)
        new_checkpoint(image, plan, checkpoint)
    print(f"{copied} bytes of data in {target}")


def restore_one(target: BinaryIO, path: str) -> None:
    """Puts what a backup holds to its place."""
    digest = hashlib.sha256()
    with open(path, "rb") as data, open(path + ".json", encoding="utf-8") as manifest:
        target.truncate(json.loads(next(manifest))["disk-bytes"])
        for line in manifest:
            entry = json.loads(line)
            if "sha256" in entry:
                if entry["sha256"] != digest.hexdigest():
                    raise SystemExit(f"{path}: the data are not those of the manifest")
                return
            target.seek(entry["start"])
            left = entry["length"]
            while left > 0:
                size = min(PIECE, left)
                piece = bytes(size) if entry["zero"] else data.read(size)
                if not entry["zero"]:
                    digest.update(piece)
                if len(piece) != size:
                    raise SystemExit(f"{path}: the data end too soon")
                target.write(piece)
                left -= size
    raise SystemExit(f"{path}.json: the manifest ends too soon")


def show(path: str) -> None:
    """Lists the checkpoints of an image."""
    with qcow2.Image(path) as image:
        for bitmap in image.bitmaps:
            state = "saved" if bitmap.saved else "not saved properly"
            dirty = image.bitmaps.totals(bitmap.name).dirty_bytes
            print(f"{qcow2.printable(bitmap.name)}: {dirty} dirty bytes, {state}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="incremental backups by dirty bitmaps")
    actions = parser.add_subparsers(dest="action", required=True)
    action = actions.add_parser("list")
    action.add_argument("image")
    for name in ("full", "since"):
        action = actions.add_parser(name)
        if name == "since":
            action.add_argument("since")
        action.add_argument("image")
        action.add_argument("backup")
        action.add_argument("--checkpoint", required=True)
    action = actions.add_parser("restore")
    action.add_argument("target")
    action.add_argument("backups", nargs="+")
    words = parser.parse_args()
    try:
        if words.action == "list":
            show(words.image)
        elif words.action == "restore":
            with open(words.target, "xb") as target:
                for path in words.backups:
                    restore_one(target, path)
        else:
            backup(words.image, words.backup, getattr(words, "since", None), words.checkpoint)
    except (qcow2.Qcow2Error, OSError) as error:
        sys.exit(f"incremental.py: {error}")


if __name__ == "__main__":
    main()
