/* SPDX-License-Identifier: MIT */
/* An undo file that is open. */
#ifndef QCOW2_EDIT_UNDO_FILE_H
#define QCOW2_EDIT_UNDO_FILE_H

#include "edit/undo.h"

/* A piece, or possible bytes: where in the image, and where in the undo file. */
struct qcow2_undo_record {
	uint64_t offset_bytes;
	uint64_t at; /* of its bytes in the undo file, the old ones before the new ones */
	uint32_t size, old_size, new_size;
};

struct qcow2_undo {
	char *path;
	struct qcow2_source *file;
	char *texts; /* the image's path, then the command */
	struct qcow2_undo_info info;
	struct qcow2_source_identity identity;
	uint64_t first_sum;
	struct qcow2_undo_record *records; /* pieces, then possible bytes */
	size_t piece_count, record_count;
	uint8_t *buffer; /* of a piece: old, new */
};

/* Reads the old and the new bytes of a record, each filled up with zeros to its size. */
int qcow2_undo_read(struct qcow2_undo *undo, const struct qcow2_undo_record *record,
		    uint8_t *old_bytes, uint8_t *new_bytes, struct qcow2_error *err);

#endif
