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
/* Whether its size is fixed, as it is for a device. */
bool q2_source_has_fixed_size(const struct qcow2_source *source);

/*
 * Writes exactly size bytes. A write past the end moves the end. After an error some of the bytes
 * may be written. Errors of this and the next two: QCOW2_ERROR_IO, QCOW2_ERROR_ARGUMENT (the source
 * was not opened for an edit, or a device would have to grow).
 */
int q2_source_write(struct qcow2_source *source, uint64_t offset_bytes, const void *bytes,
		    size_t size, struct qcow2_error *err);
/*
 * Changes the size: cuts, or fills up with zeros. QCOW2_ERROR_IN_USE: somebody else has made the
 * file longer, and that is not cut off.
 */
int q2_source_resize(struct qcow2_source *source, uint64_t size_bytes, struct qcow2_error *err);
/* Returns when everything that was written is on the medium. */
int q2_source_sync(struct qcow2_source *source, struct qcow2_error *err);

/* Identifies a file, and tells whether it was written to. All zeros if the source is no file. */
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
/* Whether both are of the same file or device. Times and sizes may differ. */
bool q2_source_is_same(const struct q2_source_identity *a, const struct q2_source_identity *b);

/*
 * Waits until the system's clock has passed the modification time of the file, so that a later
 * write can be told by it. Gives up after a few ticks of the clock.
 */
void q2_source_settle(const struct qcow2_source *source);

/* Makes a file that does not exist yet, readable and writable by its owner alone. */
int q2_source_create(const char *path, struct qcow2_source **out, struct qcow2_error *err);
/* Gives the file the owner and group of another one, if that is allowed. */
void q2_source_own_like(struct qcow2_source *file, const struct qcow2_source *other);
/* Makes a file without a name in the folder of `beside`. It is gone when it is closed. */
int q2_source_create_unnamed(const char *beside, struct qcow2_source **out,
			     struct qcow2_error *err);
/* Opens an existing file of this library for reading and writing, without locks. */
int q2_source_reopen(const char *path, struct qcow2_source **out, struct qcow2_error *err);
/* Syncs the folder of a new file: returns when its name is on the medium. */
int q2_source_sync_name(const char *path, struct qcow2_error *err);
/* Removes a file that this library made. Returns false if that fails. */
bool q2_source_remove(const char *path);

#endif
