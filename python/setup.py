# SPDX-License-Identifier: MIT
# What pyproject.toml cannot say: the extension module, its version and for which Pythons it is.
"""Builds the package qcow2 from libqcow2's headers, which pkg-config finds."""
import os
import sys

from setuptools import setup

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "native"))
# Paths of sources have to be relative to setup.py.
os.chdir(HERE)

import build_ffi  # noqa: E402  # pylint: disable=wrong-import-position

setup(version=build_ffi.version(),
      cffi_modules=["native/build_ffi.py:ffi_builder"],
      options={"bdist_wheel": {"py_limited_api": "cp39"}})
