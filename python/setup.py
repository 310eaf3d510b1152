# SPDX-License-Identifier: MIT
# What pyproject.toml cannot say: the version, the extension module, and for which Pythons it is.
"""Builds the package qcow2 from libqcow2's headers, which pkg-config finds."""
import os
import re
import sys
from typing import Any, Dict

from setuptools import setup

HERE = os.path.dirname(os.path.abspath(__file__))
# The one place where the version is written; and where it stands once this is a source archive.
VERSIONS = (("../include/qcow2/version.h", r"^#define QCOW2_VERSION_(?:MAJOR|MINOR|PATCH) +(\d+)"),
            ("PKG-INFO", r"^Version: (.+)"))


def version() -> str:
    for name, pattern in VERSIONS:
        path = os.path.join(HERE, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                return ".".join(re.findall(pattern, stream.read(), re.M))
    raise SystemExit("no version: this is neither the source tree of qcow2-utils nor its archive")


def extension() -> Dict[str, Any]:
    """Archives and metadata need neither a compiler nor the library."""
    if {"sdist", "egg_info", "dist_info"} & set(sys.argv[1:]):
        return {}
    return {"cffi_modules": ["native/build_ffi.py:ffi_builder"]}


setup(version=version(), options={"bdist_wheel": {"py_limited_api": "cp39"}}, **extension())
