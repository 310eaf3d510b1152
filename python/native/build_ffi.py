# SPDX-License-Identifier: MIT
# Describes the extension module qcow2._native to cffi. setup.py calls it; so can a shell:
# python3 native/build_ffi.py prints the declarations.
"""Where libqcow2 is, and what the extension module holds."""
import os
import shlex
import subprocess
import sys
from typing import Any, List

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from cdef import declarations  # noqa: E402  # pylint: disable=wrong-import-position

INCLUDE = "#include \"streams.h\"\n"
SOURCES = ("streams.c", "check.c", "descriptor.c")
# Functions in Python that the library calls. Their types are those of the members of structures to
# which they are assigned: cffi compares them.
CALLBACKS = """
extern "Python" int binding_hear_problem(void *, const struct qcow2_problem *);
extern "Python" int binding_gate(void *, const struct qcow2_disk_wanted *, struct qcow2_source **,
                                 struct qcow2_error *);
extern "Python" int binding_key(void *, const struct qcow2_image *, uint32_t, uint8_t *, size_t *,
                                struct qcow2_error *);
extern "Python" int binding_fault(void *, const struct qcow2_disk_fault *);
extern "Python" int binding_step(void *, const struct qcow2_repair_step *);
extern "Python" int binding_treatment(void *, const struct qcow2_bitmap_treatment *);
extern "Python" int binding_begin_struct(void *, const struct qcow2_node *);
extern "Python" int binding_begin_list(void *, const struct qcow2_node *);
extern "Python" int binding_end(void *, const struct qcow2_node *);
extern "Python" int binding_field(void *, const struct qcow2_value *);
extern "Python" int binding_rows(void *, const struct qcow2_rows *);
extern "Python" int binding_walk_problem(void *, const struct qcow2_problem *);
"""


def pkg_config(*words: str) -> List[str]:
    """What pkg-config says of libqcow2."""
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), *words, "libqcow2"]
    return shlex.split(subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                      encoding="utf-8").stdout)


def include_folders() -> List[str]:
    """The folders of the headers: as CPPFLAGS and pkg-config say, in this order."""
    words = shlex.split(os.environ.get("CPPFLAGS", "")) + pkg_config("--cflags-only-I")
    folders = [word[2:] for word in words if word.startswith("-I")]
    return folders + pkg_config("--variable=includedir")  # not named if the compiler knows it


def compiler() -> List[str]:
    return shlex.split(os.environ.get("CC", "cc"))


def cdef() -> str:
    return declarations(compiler(), [HERE, *include_folders()], INCLUDE) + CALLBACKS


def ffi_builder() -> Any:
    """The description of the extension module."""
    import cffi  # pylint: disable=import-outside-toplevel
    # Several hundred functions that hand arguments on: there is nothing to optimise. Who builds for a
    # distribution has flags that count.
    quick = [] if "CFLAGS" in os.environ else ["-O1", "-g0"]
    ffi = cffi.FFI()
    ffi.cdef(cdef())
    ffi.set_source("qcow2._native", INCLUDE,
                   sources=["native/" + name for name in SOURCES],
                   include_dirs=["native", *include_folders()],
                   library_dirs=[word[2:] for word in pkg_config("--libs-only-L")],
                   libraries=[word[2:] for word in pkg_config("--libs-only-l")],
                   extra_compile_args=["-std=gnu11", "-D_FILE_OFFSET_BITS=64", "-D_GNU_SOURCE",
                                       "-pthread", *quick],
                   extra_link_args=["-pthread"],
                   py_limited_api=True)
    return ffi


if __name__ == "__main__":
    print(cdef())
