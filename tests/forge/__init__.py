# SPDX-License-Identifier: MIT
"""The image builder, for tests: `from tests.forge import build, load, recipes`."""
from .forgelib import (ForgeError, Layout, Place, Recipe, build, build_named, everything,
                       image_of_each_problem, load, recipes, sweep)

__all__ = ["build", "build_named", "recipes", "load", "image_of_each_problem", "sweep",
           "everything", "Recipe", "Layout", "Place", "ForgeError"]
