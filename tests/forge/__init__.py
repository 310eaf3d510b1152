# SPDX-License-Identifier: MIT
"""The image builder, for tests: `from tests.forge import build, load, recipes`."""
from .forgelib import (ForgeError, Layout, Place, Recipe, build, build_named, everything, load,
                       recipes, sweep)

__all__ = ["build", "build_named", "recipes", "load", "sweep", "everything", "Recipe", "Layout",
           "Place", "ForgeError"]
