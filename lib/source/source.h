/* SPDX-License-Identifier: MIT */
/*
 * What the kinds of sources share. source.c checks sizes and budgets for all of them. A backend
 * only reads bytes and knows holes, and is never asked for a range that passes the end.
 */
#ifndef Q2_SOURCE_SOURCE_H
#define Q2_SOURCE_SOURCE_H

#include <qcow2/source.h>
#include <stdatomic.h>
#include <sys/types.h>

/* Besides 0 and errno values, read() of a backend returns this if the file ended too early. */
#define Q2_SOURCE_BECAME_SHORTER (-1)
/* resize() returns this if somebody else made the file longer; it does not cut that off. */
#define Q2_SOURCE_BECAME_LONGER (-2)

struct q2_source_backend {
	/* Reads exactly size > 0 bytes. 0, an errno value, or Q2_SOURCE_BECAME_SHORTER. */
	int (*read)(const struct qcow2_source *source, uint64_t offset_bytes, uint8_t *buffer,
		    size_t size);
	/* As qcow2_source_hole_end(), for an offset below the size. NULL: there are no holes. */
	uint64_t (*hole_end)(const struct qcow2_source *source, uint64_t offset_bytes);
	/* As qcow2_source_data_end(), for an offset with data. NULL: it cannot be known. */
	uint64_t (*data_end)(const struct qcow2_source *source, uint64_t offset_bytes);
	/* As the functions of ahead.h, for offsets below the size. NULL: there is no disk. */
	void (*will_need)(const struct qcow2_source *source, uint64_t offset_bytes,
			  uint64_t size_bytes);
	bool (*is_cold)(const struct qcow2_source *source, uint64_t offset_bytes);
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

struct q2_nbd;

struct qcow2_source {
	const struct q2_source_backend *backend;
	uint64_t size_bytes;  /* an edit may change it */
	uint64_t reach_bytes; /* largest size that an edit may have given the file */
	uint64_t allocated_bytes;
	bool is_file; /* fd is meant */
	/* What an edit could not do to keep others out: NO, UNKNOWN or NO_LOCKS. */
	enum qcow2_in_use locked;
	_Atomic uint64_t read_bytes;
	_Atomic uint64_t budget_bytes; /* bytes that may still be read; UINT64_MAX: no limit */
	_Atomic uint64_t deadline_ns;  /* of CLOCK_MONOTONIC; 0: none */
	union {
		int fd;
		const uint8_t *memory;
		struct q2_nbd *nbd;
		struct {
			struct qcow2_source_ops ops;
			void *opaque;
		} caller;
	};
};

/* The time until the deadline: 0 when it has passed, UINT64_MAX if there is none. */
uint64_t q2_source_left_ns(const struct qcow2_source *source);

/*
 * Opens path as open() does. Resumes interrupted calls, sets O_CLOEXEC, and never returns the
 * number of standard input, output or error. Returns -1 with errno set on failure.
 */
int q2_descriptor_open(const char *path, int flags);
/* Replaces a descriptor 0, 1 or 2, such as mkostemp() may have made, by another one. */
int q2_descriptor_lift(int fd);

/*
 * Opens path with these flags besides the usual ones. It is an error if it is no file and no block
 * device. O_CREAT needs O_EXCL. A file that was made here is removed again after an error.
 */
int q2_source_open_file(const char *path, int flags, struct qcow2_source **out,
			struct qcow2_error *err);

/* Makes a source that owns fd. After an error fd is closed. */
int q2_source_from_fd(int fd, bool edit, struct qcow2_source **out, struct qcow2_error *err);

/*
 * Learns size, occupied bytes and mode of the open file again, when locks keep others from changing
 * it. Errors: QCOW2_ERROR_IN_USE if the size has changed, or if path names another file by now.
 */
int q2_source_learn_again(struct qcow2_source *source, const char *path, mode_t *mode,
			  struct qcow2_error *err);

/* Takes QEMU's locks for an edit; see qcow2_source_open_for_edit() for errors. */
int q2_source_lock(struct qcow2_source *source, unsigned flags, struct qcow2_error *err);

/* Whether the open block device is read-only, whatever it was opened for. */
bool q2_source_is_read_only_device(const struct qcow2_source *source);

/* Makes a source without a limit; the caller fills the union. NULL with *err filled on failure. */
struct qcow2_source *q2_source_new(const struct q2_source_backend *backend, uint64_t size_bytes,
				   uint64_t allocated_bytes, struct qcow2_error *err);

#endif
