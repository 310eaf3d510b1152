/* SPDX-License-Identifier: MIT */
/*
 * Writing. Only lib/edit includes this, and only its apply.c and undo files call it: an image
 * changes through a plan or not at all.
 */
#ifndef QCOW2_SOURCE_WRITE_H
#define QCOW2_SOURCE_WRITE_H

#include <qcow2/source.h>

/* Whether the source was opened for an edit. */
bool qcow2_source_is_writable(const struct qcow2_source *source);
/* Whether its size cannot change, as that of a device. */
bool qcow2_source_has_fixed_size(const struct qcow2_source *source);

/*
 * Writes exactly size bytes; past the end, the end moves. After an error some of them may be
 * written. Errors of all three: QCOW2_ERROR_IO, QCOW2_ERROR_ARGUMENT (not opened for an edit, or
 * a device would have to grow).
 */
int qcow2_source_write(struct qcow2_source *source, uint64_t offset_bytes, const void *bytes,
		       size_t size, struct qcow2_error *err);
/* Cuts, or fills up with zeros. */
int qcow2_source_resize(struct qcow2_source *source, uint64_t size_bytes, struct qcow2_error *err);
/* Returns when all is on the medium. */
int qcow2_source_sync(struct qcow2_source *source, struct qcow2_error *err);

/* What tells a file from others; zeros if the source is no file. */
struct qcow2_source_identity {
	uint64_t device;
	uint64_t inode;
};
void qcow2_source_identify(const struct qcow2_source *source,
			   struct qcow2_source_identity *identity);

/* A new file, which must not exist, to be read and written by its owner alone. */
int qcow2_source_create(const char *path, struct qcow2_source **out, struct qcow2_error *err);
/* An existing file of ours, for reading and writing, without locks. */
int qcow2_source_reopen(const char *path, struct qcow2_source **out, struct qcow2_error *err);
/* Returns when the name of a new file is on the medium. */
int qcow2_source_sync_name(const char *path, struct qcow2_error *err);
/* Takes a file of ours away again; false if that cannot be done. */
bool qcow2_source_remove(const char *path);

#endif
