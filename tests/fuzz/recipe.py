#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Makes a recipe of an input that a fuzz target has found: text that can be read, changed and kept.
"""tests/fuzz/recipe.py FILE [PROGRAM]

Prints the recipe of the bytes of FILE. With the PROGRAM of a fuzz target, on which it fails, the
bytes are first made zero, and the end is cut off, wherever PROGRAM still fails without.
"""
import os
import subprocess
import sys
import tempfile

ROW_BYTES = 16


def fails(program, data):
    with tempfile.TemporaryDirectory(prefix="qcow2-fuzz-") as folder:
        name = os.path.join(folder, "input")
        with open(name, "wb") as stream:
            stream.write(data)
        try:
            done = subprocess.run([program, "-timeout=20", f"-artifact_prefix={folder}/", name],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                                  timeout=60)
        except subprocess.TimeoutExpired:
            return True
    return done.returncode != 0


def shorter(program, data):
    """Cuts off the end, by halves of what might go."""
    step = len(data) // 2
    while step > 0:
        if fails(program, data[:len(data) - step]):
            data = data[:len(data) - step]
        else:
            step //= 2
        step = min(step, len(data) // 2)
    return data


def emptier(program, data):
    """Zeros what may be zero, in ever smaller pieces."""
    step = 4096
    while step > 0:
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            tried = data[:at] + bytes(len(piece)) + data[at + step:]
            if any(piece) and fails(program, tried):
                data = tried
        step //= 4
    return data


def recipe(data, sentence):
    lines = [f"# {sentence}", "erase"]
    for at in range(0, len(data), ROW_BYTES):
        row = data[at:at + ROW_BYTES].rstrip(b"\0")
        if row:
            lines.append(f"poke {at:#06x} {row.hex()}")
    return "\n".join([*lines, f"sparse {len(data)}"]) + "\n"


def main(arguments):
    if len(arguments) not in (1, 2):
        sys.exit(__doc__)
    with open(arguments[0], "rb") as stream:
        data = stream.read()
    if len(arguments) == 2:
        program = os.path.abspath(arguments[1])
        if not fails(program, data):
            sys.exit(f"{program} does not fail on {arguments[0]}")
        data = emptier(program, shorter(program, data))
    print(recipe(data, "Found by a fuzz target."), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
