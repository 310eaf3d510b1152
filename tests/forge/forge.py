#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Forge QCOW2 images from recipes.

    forge.py RECIPE OUT        forge one image (RECIPE is a file, a name or - for stdin)
    forge.py --all DIR         forge every recipe to DIR/NAME.qcow2
    forge.py --list            name and sentence of every recipe
    forge.py --map RECIPE      where every structure and field of the image is

From Python: `from forge import build, recipes`; see README.md.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
if HERE not in sys.path:
    sys.path.insert(0, HERE)

from forgelib.builder import build  # noqa: E402
from forgelib.errors import ForgeError  # noqa: E402
from forgelib.layout import Layout, Place  # noqa: E402
from forgelib.recipe import Recipe  # noqa: E402
from forgelib.sweep import everything, sweep  # noqa: E402

__all__ = ["build", "build_named", "recipes", "load", "image_of_each_problem", "sweep",
           "everything", "Recipe", "Layout", "Place", "ForgeError"]
RECIPES = os.path.join(HERE, "recipes")


def recipes(prefix=""):
    """Names of the recipes in the collection, sorted: good-…, bad-…, unsupported-…"""
    return sorted(name[:-7] for name in os.listdir(RECIPES)
                  if name.endswith(".recipe") and name.startswith(prefix))


def load(name):
    """A recipe by its name in the collection, by its path, or from stdin."""
    if name == "-":
        return Recipe(sys.stdin.read())
    path = name if os.path.exists(name) else os.path.join(RECIPES, name + ".recipe")
    with open(path, encoding="utf-8") as file:
        recipe = Recipe(file.read())
    recipe.name = os.path.basename(path)[:-7]
    return recipe


def image_of_each_problem():
    """{problem: recipe} in the order of ids: the recipe whose name is most like the problem's."""
    found = {}
    for name in recipes():
        recipe = load(name)
        if "hostile" in name or recipe.qemu and not name.startswith("good-"):
            continue
        for problem in recipe.shows + recipe.finds:
            likeness = (problem in name, -len(name))
            found[problem] = max(found.get(problem, (likeness, name)), (likeness, name))
    return {problem: name for problem, (_, name) in sorted(found.items())}


def build_named(name, path=None):
    """Forge a recipe of the collection."""
    return build(load(name), path)


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
