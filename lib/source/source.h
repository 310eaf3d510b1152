/* SPDX-License-Identifier: MIT */
/*
 * What the kinds of sources share. Only source.c reads the common part for callers; a backend reads
 * bytes and knows holes, and is never asked for a range that passes the end.
 */
#ifndef Q2_SOURCE_SOURCE_H
#define Q2_SOURCE_SOURCE_H

#include <qcow2/source.h>
#include <stdatomic.h>
#include <sys/types.h>

/* What a backend's read returns, besides 0 and errno values, if the end came too early. */
#define Q2_SOURCE_BECAME_SHORTER (-1)
/* What resize returns if somebody else made the file longer, which is not cut off. */
#define Q2_SOURCE_BECAME_LONGER (-2)

struct q2_source_backend {
	/* Reads exactly size > 0 bytes. 0, an errno value, or Q2_SOURCE_BECAME_SHORTER. */
	int (*read)(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		    size_t size);
	/* As qcow2_source_hole_end(), for an offset below the size. NULL: there are no holes. */
	uint64_t (*hole_end)(const struct qcow2_source *source, uint64_t offset_bytes);
	/* Gives back what the backend holds; may be NULL. */
	void (*close)(struct qcow2_source *source);
	/*
	 * For edits; all NULL if the source is only for reading. Writing past the end moves it;
	 * resize fills up with zeros. 0, or an errno value, or Q2_SOURCE_BECAME_LONGER.
	 */
	int (*write)(struct qcow2_source *source, uint64_t offset_bytes, const uint8_t *bytes,
		     size_t size);
	int (*resize)(struct qcow2_source *source, uint64_t size_bytes);
	int (*sync)(struct qcow2_source *source);
	bool fixed_size; /* a device */
};

struct qcow2_source {
	const struct q2_source_backend *backend;
	uint64_t size_bytes;  /* an edit may change it */
	uint64_t reach_bytes; /* how far an edit may have made the file, as it was told or failed */
	uint64_t allocated_bytes;
	bool is_file; /* fd is meant */
	/* What an edit could not do to keep others out: NO, UNKNOWN or NO_LOCKS. */
	enum qcow2_in_use locked;
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

/*
 * open(), but that interruptions are resumed, and that the descriptor is closed when a program is
 * executed and is never that of standard input, output or error. -1 with errno set.
 */
int q2_descriptor_open(const char *path, int flags);
/* The same for one of mkostemp(): it becomes another one if it is such a one. */
int q2_descriptor_lift(int fd);

/*
 * Opens path with these flags besides the usual ones; what is no file or device is an error.
 * O_CREAT needs O_EXCL; a file that was made is gone after an error.
 */
int q2_source_open_file(const char *path, int flags, struct qcow2_source **out,
			struct qcow2_error *err);

/* A source that owns fd, also after an error: then fd is closed. */
int q2_source_from_fd(int fd, bool edit, struct qcow2_source **out, struct qcow2_error *err);

/*
 * Learns size, occupied bytes and mode of the open file again, once nobody else changes it. Errors:
 * QCOW2_ERROR_IN_USE if the size is another one now, or if path names another file.
 */
int q2_source_learn_again(struct qcow2_source *source, const char *path, mode_t *mode,
			  struct qcow2_error *err);

/* Takes QEMU's locks for an edit; see qcow2_source_open_for_edit() for errors. */
int q2_source_lock(struct qcow2_source *source, unsigned flags, struct qcow2_error *err);

/* Whether the open block device is read-only, whatever it was opened for. */
bool q2_source_is_read_only_device(const struct qcow2_source *source);

/* A source without a budget, its union for the backend to fill. NULL, and *err filled. */
struct qcow2_source *q2_source_new(const struct q2_source_backend *backend, uint64_t size_bytes,
				   uint64_t allocated_bytes, struct qcow2_error *err);

#endif
