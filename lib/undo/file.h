/* SPDX-License-Identifier: MIT */
/*
 * An undo file that is open. open.c reads its head, records.c its records. An undo file is trusted
 * as little as an image: q2_undo_prove() compares checksums and lengths before a record is used.
 */
#ifndef Q2_UNDO_FILE_H
#define Q2_UNDO_FILE_H

#include "source/write.h"
#include "undo/mark.h"

/* A piece, possible bytes or a freed record: where in the image, and where in the undo file. */
struct q2_undo_record {
	uint64_t offset_bytes;
	uint64_t at; /* of its bytes in the undo file, the old ones before the new ones */
	uint32_t size, old_size, new_size;
	uint32_t phase; /* of a piece: the last one that wrote to it; of possible bytes: theirs */
	uint32_t order; /* of possible bytes: of two of one phase, the later write has the higher */
};

/* The records of one kind, by their offsets. */
struct q2_undo_records {
	struct q2_undo_record *items;
	size_t count;
};

struct qcow2_undo {
	char *path;
	struct qcow2_source *file;
	char *texts; /* the image's path, then the command */
	struct qcow2_undo_info info;
	struct q2_undo_marked mark;
	struct q2_source_identity identity; /* of the image, when the change began */
	uint32_t flags;
	uint64_t digest_before[2], digest_after[2];
	uint64_t first_sum;
	uint64_t possible_count, freed_count;
	bool is_proved; /* the records below are read and their checksums are right */
	struct q2_undo_records pieces, possible, freed;
	uint64_t longest_possible;     /* size of the longest record of possible bytes */
	uint8_t *buffer;               /* of a piece: old, new */
	struct qcow2_undo_piece piece; /* that was asked for last */
};

/* Reads the state again: it may have changed since the file was opened. */
int q2_undo_refresh(struct qcow2_undo *undo, struct qcow2_error *err);

/*
 * Reads all records and proves them, unless that was done. Errors: QCOW2_ERROR_BROKEN,
 * QCOW2_ERROR_LIMIT (more records than a plan can cause), QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
int q2_undo_prove(struct qcow2_undo *undo, struct qcow2_error *err);

/* Reads the old bytes of a record, filled up with zeros to its size. */
int q2_undo_read_old(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		     uint8_t *bytes, struct qcow2_error *err);
/* Reads the new bytes, filled up likewise. */
int q2_undo_read_new(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		     uint8_t *bytes, struct qcow2_error *err);

/*
 * Returns the index of the first record of a kind whose end is behind `offset`; records->count if
 * there is none.
 */
size_t q2_undo_find(const struct q2_undo_records *records, uint64_t offset);

/* A part of possible bytes that lies in a range of the image. */
struct q2_undo_overlap {
	uint64_t start, end; /* the range */
	size_t next;
	const struct q2_undo_record *record;
	uint64_t first, last; /* the part: [first, last), not empty */
};

/* Begins a search for the parts of possible bytes that lie in [start, end). */
struct q2_undo_overlap q2_undo_overlaps(const struct qcow2_undo *undo, uint64_t start,
					uint64_t end);
/* Steps to the next part; false at the end. */
bool q2_undo_next_overlap(const struct qcow2_undo *undo, struct q2_undo_overlap *overlap);
/* Reads the bytes of a part. */
int q2_undo_read_overlap(const struct qcow2_undo *undo, const struct q2_undo_overlap *overlap,
			 uint8_t *bytes, struct qcow2_error *err);

/* Sets *byte to what a place in a freed cluster held. False if no freed record has the place. */
bool q2_undo_freed_byte(const struct qcow2_undo *undo, uint64_t offset, uint8_t *byte);

#endif
