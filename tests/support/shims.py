# SPDX-License-Identifier: MIT
# Libraries that stand between the command and the system; their sources are in tests/shims.
"""Builds a shim to be named in LD_PRELOAD."""
import os
import subprocess

from tests.support.programs import TOP


def build(name, folder):
    """The path of the shim `name`, built into `folder`."""
    library = os.path.join(str(folder), name + ".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-O1", "-o", library,
                    os.path.join(TOP, "tests", "shims", name + ".c"), "-ldl"], check=True)
    return library
