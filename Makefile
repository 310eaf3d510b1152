# SPDX-License-Identifier: MIT
# A thin door to Meson and to the test runner: everything here can also be called by hand.
#
#   make            release build in build/release
#   make check      under a minute: layout, unit tests by one compiler, some tests of each command
#   make test       everything that has to hold; the last line is "N passed, N failed"
#   make demo       show the dump of a small image with two bitmaps, and what else to try
#   make lint       layout and house rules only
#   make fuzz       every fuzz target for FUZZ_SECONDS (default 60) each; FUZZ_TARGETS names some
#   make coverage   which lines the inputs of the fuzz targets reach, by file and room
#   make bench      measure against qemu-img
#   make install    install the release build (PREFIX, LIBDIR, DESTDIR)
#   make clean      remove build/
#
# `make demo` and `make test` install missing packages by scripts/deps; NODEPS=1 skips that. The others
# say which packages are missing and install nothing.

PREFIX ?= /usr/local
# Not what Meson guesses: without dpkg-dev that is lib64, where Debian's linker does not look.
LIBDIR ?= lib
RELEASE = build/release
RELEASE_OPTIONS = --buildtype=release -Db_ndebug=false --prefix=$(PREFIX) --libdir=$(LIBDIR)

ifdef NODEPS
install_deps = :
need_deps = :
else
install_deps = scripts/deps
need_deps = scripts/deps --need
endif

.PHONY: all build demo check test lint fuzz coverage bench install clean help

all:
	@$(need_deps) build
	@$(MAKE) --no-print-directory build

build:
	@scripts/configure $(RELEASE) $(RELEASE_OPTIONS)
	@ninja -C $(RELEASE)

demo:
	@$(install_deps) build
	@scripts/demo

check:
	@$(need_deps) build test
	@tests/run quick

test:
	@$(install_deps) build test
	@tests/run

lint:
	@$(need_deps) build test
	@tests/run lint arrows

fuzz:
	@$(need_deps) build test
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} tests/run fuzz-long

coverage:
	@$(need_deps) build test
	@tests/run fuzz-coverage

bench:
	@$(need_deps) build bench
	@$(MAKE) --no-print-directory build
	@bench/run

install: all
	DESTDIR="$(DESTDIR)" meson install -C $(RELEASE) --no-rebuild

clean:
	rm -rf build

help:
	@sed -n 's/^#   //p' Makefile
