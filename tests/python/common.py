# SPDX-License-Identifier: MIT
# What the tests of the binding share: forged images, typed, and what the command says of them.
"""Images, and JSON of the command."""
import json
import os
import subprocess
from typing import Any, List

from tests.forge import load, recipes
from tests.support import answers, programs

# Not those that a test would take long for: what they show is in the headers, or in their size.
NAMES: List[str] = sorted(name for name in set(recipes()) - answers.TOO_LARGE - answers.NO_IMAGE
                          if "hostile" not in name and "snapshots-count-max" not in name)
NO_IMAGE: List[str] = sorted(answers.NO_IMAGE)
SAMPLE: str = programs.SAMPLE
TWO = "size 1M\nbitmap a flags=auto bits=0,1,5\nbitmap b bits=1,9\n"


def recipe(name: str) -> str:
    """The path of a forged image, which is not to be changed."""
    path: str = programs.recipe_image(name)[0]
    return path


def forged(text: str) -> str:
    """The path of the image of a recipe that is given as text; likewise."""
    path: str = programs.image(text)[0]
    return path


def command(*words: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs the command."""
    done: "subprocess.CompletedProcess[bytes]" = programs.run(*words)
    return done


def said(*words: str) -> Any:
    """The JSON of a run, or None if the command could not do it."""
    done = command(*words)
    return json.loads(done.stdout) if done.stdout else None


def read(path: "str | os.PathLike[str]") -> bytes:
    """All of a file."""
    with open(path, "rb") as stream:
        return stream.read()


__all__ = ["NAMES", "NO_IMAGE", "SAMPLE", "TWO", "command", "forged", "load", "read", "recipe", "said"]
