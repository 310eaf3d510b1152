# SPDX-License-Identifier: MIT
"""The parts of the forge, one module for each kind of on-disk structure.

Nothing here shares code or tables with the C library: both were written from
the format specification, so that each can catch the other's mistakes.
"""

from .builder import build
from .collection import build_named, image_of_each_problem, load, recipes
from .errors import ForgeError
from .layout import Layout, Place
from .recipe import Recipe
from .sweep import everything, sweep

__all__ = ["build", "build_named", "recipes", "load", "image_of_each_problem", "sweep",
           "everything", "Recipe", "Layout", "Place", "ForgeError"]
