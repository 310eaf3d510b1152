/* SPDX-License-Identifier: MIT */
/*
 * What the kinds of sources share. Only source.c reads the common part for callers; a backend reads
 * bytes and knows holes, and is never asked for a range that passes the end.
 */
#ifndef QCOW2_SOURCE_SOURCE_H
#define QCOW2_SOURCE_SOURCE_H

#include <qcow2/source.h>
#include <stdatomic.h>

/* What a backend's read returns, besides 0 and errno values, if the end came too early. */
#define QCOW2_SOURCE_BECAME_SHORTER (-1)

struct qcow2_source_backend {
	/* Reads exactly size > 0 bytes. 0, an errno value, or QCOW2_SOURCE_BECAME_SHORTER. */
	int (*read)(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		    size_t size);
	/* As qcow2_source_hole_end(), for an offset below the size. NULL: there are no holes. */
	uint64_t (*hole_end)(const struct qcow2_source *source, uint64_t offset_bytes);
	/* Gives back what the backend holds; may be NULL. */
	void (*close)(struct qcow2_source *source);
	/*
	 * For edits; all NULL if the source is only for reading. Writing past the end moves it;
	 * resize fills up with zeros. 0, or an errno value.
	 */
	int (*write)(struct qcow2_source *source, uint64_t offset_bytes, const uint8_t *bytes,
		     size_t size);
	int (*resize)(struct qcow2_source *source, uint64_t size_bytes);
	int (*sync)(struct qcow2_source *source);
	bool fixed_size; /* a device */
};

struct qcow2_source {
	const struct qcow2_source_backend *backend;
	uint64_t size_bytes; /* an edit may change it */
	uint64_t allocated_bytes;
	bool is_file; /* fd is meant */
	_Atomic uint64_t read_bytes;
	_Atomic uint64_t budget_bytes; /* what may still be read; UINT64_MAX is no limit */
	union {
		int fd;
		const uint8_t *memory;
		struct {
			struct qcow2_source_ops ops;
			void *opaque;
		} caller;
	};
};

/* Opens path with these flags besides the usual ones; what is no file or device is an error. */
int qcow2_source_open_file(const char *path, int flags, struct qcow2_source **out,
			   struct qcow2_error *err);

/* A source that owns fd, also after an error: then fd is closed. */
int qcow2_source_from_fd(int fd, bool edit, struct qcow2_source **out, struct qcow2_error *err);

/* A source without a budget, its union for the backend to fill. NULL, and *err filled. */
struct qcow2_source *qcow2_source_new(const struct qcow2_source_backend *backend,
				      uint64_t size_bytes, uint64_t allocated_bytes,
				      struct qcow2_error *err);

#endif
