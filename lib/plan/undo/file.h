/* SPDX-License-Identifier: MIT */
/* An undo file that is open, and the image as it would be put back. */
#ifndef Q2_PLAN_UNDO_FILE_H
#define Q2_PLAN_UNDO_FILE_H

#include "plan/undo/undo.h"

/* A piece, possible bytes or a freed record: where in the image, and where in the undo file. */
struct q2_undo_record {
	uint64_t offset_bytes;
	uint64_t at; /* of its bytes in the undo file, the old ones before the new ones */
	uint32_t size, old_size, new_size;
	uint32_t phase; /* of a piece: the one in which the change wrote it last */
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
	uint8_t *buffer; /* of a piece: old, new */
	struct qcow2_undo_piece piece;
};

/* Reads all records and proves them, unless that was done. */
int q2_undo_prove(struct qcow2_undo *undo, struct qcow2_error *err);

/* Reads the state again: it may have changed since the file was opened. */
int q2_undo_refresh(struct qcow2_undo *undo, struct qcow2_error *err);

/* Reads the old bytes of a record, filled up with zeros to its size. */
int q2_undo_read_old(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		     uint8_t *bytes, struct qcow2_error *err);
/* Reads the new bytes, filled up likewise. */
int q2_undo_read_new(const struct qcow2_undo *undo, const struct q2_undo_record *record,
		     uint8_t *bytes, struct qcow2_error *err);

/* The first record of a kind whose end is behind offset; records->count if there is none. */
size_t q2_undo_find(const struct q2_undo_records *records, uint64_t offset);

/* The byte that a place in a freed cluster had; false if it is in none, or cannot be read. */
bool q2_undo_freed_byte(const struct qcow2_undo *undo, uint64_t offset, uint8_t *byte);

/* A byte that is put back with other bits than it had: see undo_doubt.c. */
struct q2_undo_patch {
	uint64_t offset_bytes;
	uint8_t set, clear; /* bits */
};

/* In the order of the file. */
struct q2_undo_patches {
	struct q2_undo_patch *items;
	size_t count, capacity;
};

/* False if memory is short. They are to be added in rising order. */
bool q2_undo_patch_add(struct q2_undo_patches *patches, struct q2_undo_patch patch);
void q2_undo_patches_release(struct q2_undo_patches *patches);

/* The image with all pieces put back, and patched. */
struct q2_undo_view {
	const struct qcow2_undo *undo;
	struct qcow2_source *image;
	const struct q2_undo_patches *patches; /* NULL: none */
};

/*
 * A read-only source that shows the image as it would be put back. *view stays where it is until
 * the source is closed. Errors: QCOW2_ERROR_MEMORY.
 */
int q2_undo_view_open(struct q2_undo_view *view, struct qcow2_source **out,
		      struct qcow2_error *err);

/* What an undo has found out and is going to do. */
struct q2_undoing {
	struct qcow2_undo *undo;
	struct qcow2_source *image;
	const struct qcow2_undo_options *options;
	struct qcow2_undo_result *result;
	struct q2_source_identity identity; /* of the image now */
	bool is_copy;                       /* not the file that was changed */
	bool is_exact;                      /* the saved bytes were insisted on */
	bool is_old;       /* all places hold the bytes of before, as far as that is looked at */
	bool is_marked;    /* an undo before this one left bitmaps in use */
	bool is_untouched; /* its time proves that the file is as the change left it */
	struct q2_check_totals now, then; /* of the image, and of what it would be */
	struct q2_undo_patches marks;     /* bits that an earlier undo may have patched */
	struct q2_undo_patches patches;
	struct qcow2_error *err;
};

/* Writes *u->result and u->patches; the caller releases both lists of patches. */
int q2_undo_find_out(struct q2_undoing *u);
/* Proves that each place holds bytes that the state allows. */
int q2_undo_check_places(struct q2_undoing *u);
/* Proves that what the change freed is as it was. */
int q2_undo_check_freed(struct q2_undoing *u);
/* Whether the guest may have written to its data in place since, for all that is known. */
enum qcow2_undo_doubt q2_undo_find_doubt(struct q2_undoing *u);
/* If there is doubt: proves that all that a guest may have written in place stays in its sight. */
int q2_undo_check_guest(struct q2_undoing *u, struct qcow2_source *restored);
/* What must not come back as it was, if there is doubt: fills u->patches and the result. */
int q2_undo_distrust(struct q2_undoing *u, struct qcow2_source *restored);
/* Where earlier undos may have set or cleared bits: fills u->marks. */
int q2_undo_find_marks(struct q2_undoing *u, struct qcow2_source *restored);

/* Opens what may be no image: *out stays NULL then, and 0 is returned. Errors: memory, reading. */
int q2_undo_open_image(struct q2_undoing *u, struct qcow2_source *source, struct qcow2_image **out);

/* QCOW2_ERROR_MISMATCH; the text goes on with what that means. */
int q2_undo_mismatch(struct q2_undoing *u, uint64_t offset, const char *text);

#endif
