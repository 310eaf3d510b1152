/* SPDX-License-Identifier: MIT */
/*
 * What every public header needs: visibility, byte views, and offsets whose type says which side
 * of the mapping they are on. Nothing here does any work.
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

/* A view of bytes that somebody else owns. data may be NULL when size is 0. Not NUL terminated. */
struct qcow2_bytes {
	const uint8_t *data;
	size_t size;
};

/* A byte offset into the virtual disk that a guest sees. */
struct qcow2_guest {
	uint64_t byte;
};

/* A byte offset into the image file. */
struct qcow2_host {
	uint64_t byte;
};

#endif
