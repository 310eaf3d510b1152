# SPDX-License-Identifier: MIT
"""The collection of recipes: their names, and images of them."""

import os
import sys

from .builder import build
from .recipe import Recipe

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
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
