/* SPDX-License-Identifier: MIT */
/*
 * Writing. Only lib/plan and lib/undo include this, and only lib/undo writes to an image: an image
 * changes through a plan that is applied or put back, or not at all.
 */
#ifndef Q2_SOURCE_WRITE_H
#define Q2_SOURCE_WRITE_H

#include <qcow2/source.h>

/* Whether the source was opened for an edit. */
bool q2_source_is_writable(const struct qcow2_source *source);
/* Whether its size cannot change, as that of a device. */
bool q2_source_has_fixed_size(const struct qcow2_source *source);

/*
 * Writes exactly size bytes; past the end, the end moves. After an error some of them may be
 * written. Errors of all three: QCOW2_ERROR_IO, QCOW2_ERROR_ARGUMENT (not opened for an edit, or
 * a device would have to grow).
 */
int q2_source_write(struct qcow2_source *source, uint64_t offset_bytes, const void *bytes,
		    size_t size, struct qcow2_error *err);
/*
 * Cuts, or fills up with zeros. QCOW2_ERROR_IN_USE: the file has become longer than it was made
 * here, and what somebody else has written is not cut off.
 */
int q2_source_resize(struct qcow2_source *source, uint64_t size_bytes, struct qcow2_error *err);
/* Returns when all is on the medium. */
int q2_source_sync(struct qcow2_source *source, struct qcow2_error *err);

/* What tells a file from others, and whether it was written to; zeros if it is no file. */
struct q2_source_identity {
	uint64_t device;     /* 0 of a block device */
	uint64_t filesystem; /* its id, which outlives a restart where the device's number does not
			      */
	uint64_t inode;      /* of a block device, its number */
	bool is_file;        /* the time is known; false for devices, too */
	bool is_device;
	uint64_t size_bytes; /* as it is now, of a file */
	uint64_t modified_seconds;
	uint32_t modified_nanoseconds;
};
void q2_source_identify(const struct qcow2_source *source, struct q2_source_identity *identity);
/* Whether both are of one file or device, at whatever time. */
bool q2_source_is_same(const struct q2_source_identity *a, const struct q2_source_identity *b);

/*
 * Waits until what is written from now on gets another modification time than the one that the
 * file has, but no longer than a few ticks of the system's clock.
 */
void q2_source_settle(const struct qcow2_source *source);

/* A new file, which must not exist, to be read and written by its owner alone. */
int q2_source_create(const char *path, struct qcow2_source **out, struct qcow2_error *err);
/* Gives the file the owner of another one, as far as that is allowed. */
void q2_source_own_like(struct qcow2_source *file, const struct qcow2_source *other);
/* A file without a name, in the folder of beside; it is gone when it is closed. */
int q2_source_create_unnamed(const char *beside, struct qcow2_source **out,
			     struct qcow2_error *err);
/* An existing file of ours, for reading and writing, without locks. */
int q2_source_reopen(const char *path, struct qcow2_source **out, struct qcow2_error *err);
/* Returns when the name of a new file is on the medium. */
int q2_source_sync_name(const char *path, struct qcow2_error *err);
/* Takes a file of ours away again; false if that cannot be done. */
bool q2_source_remove(const char *path);

#endif
