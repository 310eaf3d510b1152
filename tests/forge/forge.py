#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Forge QCOW2 images from recipes.

    forge.py RECIPE OUT        forge one image (RECIPE is a file, a name or - for stdin)
    forge.py --all DIR         forge every recipe to DIR/NAME.qcow2
    forge.py --list            name and sentence of every recipe
    forge.py --map RECIPE      where every structure and field of the image is

From Python: `from tests.forge import build, recipes`; see README.md.
"""

import os
import sys

from forgelib import ForgeError, build, build_named, load, recipes


def _all(folder):
    os.makedirs(folder, exist_ok=True)
    for name in recipes():
        try:
            build_named(name, os.path.join(folder, name + ".qcow2"))
        except ForgeError as err:
            raise ForgeError(f"{name}: {err}") from err


def _map(name):
    layout = build(load(name))
    rows = [(offset, path, "") for path, offset in layout.offsets.items()]
    for path, place in layout.fields.items():
        value = place.value
        rows.append((place.offset, path, repr(value) if place.text else f"{value:#x}"))
    for offset, path, value in sorted(rows, key=lambda row: row[:2]):
        print(f"{offset:#012x} {path} {value}".rstrip().encode("utf-8", "backslashreplace").decode())


def main(args):
    try:
        if args[:1] == ["--list"] and len(args) == 1:
            for name in recipes():
                print(f"{name:<40} {load(name).sentence}")
        elif args[:1] == ["--all"] and len(args) == 2:
            _all(args[1])
        elif args[:1] == ["--map"] and len(args) == 2:
            _map(args[1])
        elif len(args) == 2 and not args[0].startswith("--"):
            build(load(args[0]), args[1])
        else:
            print(__doc__.strip(), file=sys.stderr)
            return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except (ForgeError, OSError) as err:
        print(f"forge: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
