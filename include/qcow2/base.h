/* SPDX-License-Identifier: MIT */
/*
 * What every public header needs: visibility, views of bytes, offsets whose type says which side of
 * the mapping they are on, and the conventions that hold in the whole library. Nothing here does
 * any work.
 *
 * Results. A function that can fail returns 0, or -1 with *err filled (error.h). A function that
 * goes through something returns 1 for an item, 0 at the end and -1 for an error. A function that
 * cannot fail returns its answer. The comment of a function lists every error code that it adds;
 * err may be NULL where the caller wants no reason.
 *
 * Ownership. The name of a function says what becomes of its result:
 *   _open    makes an object that uses a source, a file or another object: end it with _close, and
 *            keep what it uses alive until then
 *   _new     makes an object that is memory alone: end it with _free
 *   _init    prepares storage of the caller: end it with _release
 * _close and _free take NULL and do nothing then. A function that makes an object sets *out to NULL
 * or leaves it alone if it fails; nothing has to be ended then.
 *
 * Structures that grow. A structure that may get members in a later version has the member `size`
 * in front. Whoever owns the storage sets it to sizeof() of the structure as it knows it: the
 * caller in options and callbacks that it hands in and in results that it has filled, the library
 * in what it hands out. So a program and a library of different versions agree on the members that
 * both know. A caller sets the size and zeros the rest, which stands for the default:
 *
 *         struct qcow2_check_options options = {
 *                 .size = sizeof(options), .threads = 4};
 *
 * or, in C++,
 *
 *         qcow2_check_options options = {};
 *         options.size = sizeof(options);
 *         options.threads = 4;
 *
 * A size that is not set is QCOW2_ERROR_ARGUMENT; so is a member that this version of the library
 * does not know and that is not zero, and a flag that it does not know. Structures without `size`
 * never change. Do not make arrays of structures that the library hands out, and do not copy them
 * by their size: read them where they are. docs/abi.md has the whole of it.
 *
 * Threads. Functions that are said to be pure or thread safe may be called from any threads at
 * once. An object may be used by one thread at a time, unless its header says more.
 *
 * Numbers. The name of a number ends in its unit: _bytes, _clusters, _entries, _index, _bits. An
 * offset counts bytes. Sections that are named in quotes are those of the specification of the
 * format, docs/interop/qcow2.rst of QEMU.
 */
#ifndef QCOW2_BASE_H
#define QCOW2_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define QCOW2_BEGIN_DECLS extern "C" {
#define QCOW2_END_DECLS   }
#else
#define QCOW2_BEGIN_DECLS
#define QCOW2_END_DECLS
#endif

/* Marks the functions that the shared library exports; everything else in it is hidden. */
#define QCOW2_API __attribute__((visibility("default")))

/*
 * Whether a structure that the library handed out has a member: true unless the library that runs
 * is older than the header that the program was compiled with. pointer: not NULL, to a structure
 * that begins with `size`. member: the name of one of its members. Example:
 *
 *         if (QCOW2_HAS_MEMBER(problem, guest_byte) && problem->has_guest)
 *                 show(problem->guest_byte);
 */
#define QCOW2_HAS_MEMBER(pointer, member)                                                          \
	((pointer)->size >= (size_t)((const char *)&(pointer)->member - (const char *)(pointer)) + \
				    sizeof((pointer)->member))

/*
 * A view of bytes that somebody else owns and keeps alive. data may be NULL if size is 0. Not NUL
 * terminated: text from an image may hold any byte. This structure never changes.
 */
struct qcow2_bytes {
	const uint8_t *data;
	size_t size;
};

/* A byte offset into the virtual disk that a guest sees. This structure never changes. */
struct qcow2_guest {
	uint64_t byte;
};

/* A byte offset into the image file. This structure never changes. */
struct qcow2_host {
	uint64_t byte;
};

#endif
