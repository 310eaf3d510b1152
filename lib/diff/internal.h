/* SPDX-License-Identifier: MIT */
/*
 * What the parts of a comparison share. Values outside of tables are recorded by a walk of each
 * image (record.c), matched (match.c) and told (fields.c). Tables are compared as they are read
 * (reader.c, run.c); disks.c, refcounts.c and bitmaps.c find those that belong together.
 *
 * Failure is sticky, as in the walk: once d->failed is set, the calls below do nothing, and loops
 * end.
 */
#ifndef Q2_DIFF_INTERNAL_H
#define Q2_DIFF_INTERNAL_H

#include <qcow2/diff.h>

#include "base/hash.h"
#include "base/vector.h"

/* The most values that are kept of a list, and bytes of texts of an image. */
#define Q2_DIFF_RECORDS_MAX ((size_t)1 << 21)
#define Q2_DIFF_TEXT_MAX    ((size_t)1 << 28)
/* The longest path. */
#define Q2_DIFF_PATH_MAX 640
/* Tables are read in pieces of this size. */
#define Q2_DIFF_PIECE_BYTES ((size_t)65536)

/* The lists of what an image has; FIXED is what can be there only once. */
enum q2_diff_list {
	Q2_DIFF_FIXED,
	Q2_DIFF_EXTENSIONS,
	Q2_DIFF_BITMAPS,
	Q2_DIFF_SNAPSHOTS,
	Q2_DIFF_LISTS
};

/* Bytes among the texts of a side. */
struct q2_diff_text {
	uint32_t at;
	uint32_t size;
};

/* A path below an element, and the names of the values there, which live as long as the library. */
struct q2_diff_path {
	struct q2_diff_text text; /* in path_text */
	const struct qcow2_names *names;
};

/* A value as it was told. There may be a million of them, so that they are small. */
struct q2_diff_record {
	uint32_t path;       /* the same number in both images */
	uint8_t kind, style; /* of a struct qcow2_value */
	uint8_t raw_size;    /* of a number */
	uint64_t offset_bytes;
	union {
		uint64_t number;
		struct q2_diff_text bytes; /* of texts; their raw bytes begin there, too */
	};
	union {
		uint8_t raw[8]; /* of a number */
		uint32_t raw_bytes;
	};
};

/* The index of an element that the other image does not have. */
#define Q2_DIFF_ALONE SIZE_MAX

/* A snapshot, a bitmap, an extension, or a structure of FIXED. */
struct q2_diff_element {
	uint64_t index;            /* in the image's list */
	size_t first, count;       /* of its records, in those of the list */
	struct q2_diff_text label; /* ID, name, key */
	struct q2_diff_text name;  /* of snapshots */
	uint64_t label_hash, name_hash;
	size_t match;   /* its index in the other image's list, or ALONE */
	bool ambiguous; /* another element has the same label */
};

struct q2_diff_list_of {
	struct q2_vector elements, records;
	bool full; /* there was more than what can be kept */
};

/* One of the images. */
struct q2_diff_half {
	const struct qcow2_image *image;
	const struct qcow2_geometry *geometry; /* NULL if insane */
	struct q2_diff_list_of lists[Q2_DIFF_LISTS];
	struct q2_vector text;
	uint64_t left_bytes; /* of tables that may still be read */
	/* Reads ahead where tables follow each other. */
	uint8_t *buffer; /* Q2_DIFF_PIECE_BYTES */
	uint64_t buffer_at, buffer_end;
	uint8_t *piece; /* a piece that has to be padded */
	uint8_t *outer; /* a piece of a table whose entries lead to what is read meanwhile */
};

/* The run of entries at hand: told when the next one does not continue it. */
struct q2_diff_run {
	bool open;
	struct qcow2_diff_range range; /* all but its path and entries */
	struct qcow2_diff_entry entries[2];
	uint64_t before[2]; /* the entries at range.last */
};

/* The table that is compared: how its entries are told. */
struct q2_diff_kind {
	const char *path; /* of the list: "l1", "l2/5" */
	enum qcow2_diff_table table;
	unsigned words; /* of an entry */
	uint64_t index; /* of L2 tables and refcount blocks: the entry that leads to them */
};

struct q2_diff {
	struct q2_diff_half halves[2];
	const struct qcow2_diff_visitor *visitor;
	void *opaque;
	struct qcow2_diff_result *result;
	struct qcow2_error *err;
	bool failed;
	struct q2_hash_key hash_key;
	struct q2_vector paths;     /* of struct q2_diff_path */
	struct q2_vector path_text; /* NUL terminated */
	struct q2_name_set path_numbers;
	struct q2_name_set compared; /* pairs of tables */
	struct q2_diff_run run;
	const struct q2_diff_kind *kind; /* of the table whose run is at hand */
	bool short_of_reads;             /* a table was left out as a budget was used up */
};

/* Notes a failure, whose reason is in d->err, and which image it was. */
void q2_diff_fail(struct q2_diff *d, enum qcow2_diff_side side);
void q2_diff_fail_memory(struct q2_diff *d);

/* Takes the answer of the visitor: anything but 0 ends the comparison. */
void q2_diff_answer(struct q2_diff *d, int result);

/* Records what a walk of that image tells. */
void q2_diff_record(struct q2_diff *d, enum qcow2_diff_side side);

/* Finds which elements of a list belong together. */
void q2_diff_match(struct q2_diff *d, enum q2_diff_list list);

/* Tells how the elements of a list differ; of FIXED, the one with that label. */
void q2_diff_tell_list(struct q2_diff *d, enum q2_diff_list list);
void q2_diff_tell_fixed(struct q2_diff *d, const char *label);
/* Tells what was left out of each list, and by the walks. */
void q2_diff_tell_gap(struct q2_diff *d, const char *path, bool may_differ, const char *reason);

/* The path of an element, as a selector. Returns path. */
const char *q2_diff_element_path(const struct q2_diff *d, enum q2_diff_list list,
				 enum qcow2_diff_side side, const struct q2_diff_element *element,
				 char path[Q2_DIFF_PATH_MAX]);

struct qcow2_bytes q2_diff_bytes(const struct q2_diff_half *half, struct q2_diff_text text);
struct q2_diff_element *q2_diff_element(struct q2_diff *d, enum q2_diff_list list,
					enum qcow2_diff_side side, size_t index);
/* The path of a value below its element. */
const char *q2_diff_path(const struct q2_diff *d, const struct q2_diff_record *record);
/* The number of a field of an element; false if the element has none of that path. */
bool q2_diff_number(const struct q2_diff *d, const struct q2_diff_list_of *list,
		    const struct q2_diff_element *element, const char *path, uint64_t *number);

/* A table in one image. All is 0 if the image does not have it. */
struct q2_diff_table {
	uint64_t offset_bytes;
	uint64_t claimed_bytes;
	uint64_t there_bytes; /* of these, in the file */
};

/* Fills a table: how much of it the file has. */
struct q2_diff_table q2_diff_table(const struct q2_diff *d, enum qcow2_diff_side side,
				   uint64_t offset_bytes, uint64_t claimed_bytes);

/* A piece of both tables: the same range of each, padded with zeros. */
struct q2_diff_piece {
	uint64_t at; /* in the tables */
	size_t size;
	const uint8_t *bytes[2];
};

/* Is told of pieces; opaque is that of the call. */
typedef void (*q2_diff_hear)(struct q2_diff *d, const struct q2_diff_table tables[2],
			     const struct q2_diff_piece *piece, void *opaque);

/*
 * Reads two tables in pieces, and tells of those whose bytes differ, or that only one of the files
 * has; with `all`, of all that are not holes of both.
 */
void q2_diff_read(struct q2_diff *d, const struct q2_diff_table tables[2], bool all,
		  q2_diff_hear hear, void *opaque);

/* Compares two tables of 64-bit words, and tells of the entries that differ. */
void q2_diff_words(struct q2_diff *d, const struct q2_diff_table tables[2],
		   const struct q2_diff_kind *kind);

/* What a table has at a place: all but the entry itself. */
struct qcow2_diff_entry q2_diff_place(const struct q2_diff_table *table, uint64_t at);
/* Whether the end of one file cuts off what the other one has there. */
bool q2_diff_only_one(const struct q2_diff_table tables[2], uint64_t at);

/* Begins to tell of a table; kind stays as long as it is told of. */
void q2_diff_run_begin(struct q2_diff *d, const struct q2_diff_kind *kind);
/* Adds an entry that differs to the run at hand. */
void q2_diff_run_add(struct q2_diff *d, uint64_t index, const struct qcow2_diff_entry entries[2]);
/* Tells the run at hand, if there is one. */
void q2_diff_run_end(struct q2_diff *d);

/*
 * Copies a piece of a table whose entries are followed, so that more can be read meanwhile, and
 * gives the entries at a place: 0 where the table is not there.
 */
void q2_diff_outer(struct q2_diff *d, const struct q2_diff_piece *piece);
uint64_t q2_diff_outer_entry(const struct q2_diff *d, enum qcow2_diff_side side, size_t at);
/*
 * Whether this pair of tables of that kind was compared before, and was then told at the place that
 * came first. Notes that it was.
 */
bool q2_diff_compared(struct q2_diff *d, enum qcow2_diff_table kind,
		      const struct q2_diff_table tables[2]);

/* A disk: its L1 table in each image, and where it is in paths ("", "snapshots/=1/"). */
struct q2_diff_disk {
	const char *prefix;
	struct q2_diff_table l1[2];
};

void q2_diff_disk(struct q2_diff *d, const struct q2_diff_disk *disk);
void q2_diff_refcounts(struct q2_diff *d);
/* Compares table and data of a bitmap that both images have. */
void q2_diff_bitmap(struct q2_diff *d, const struct q2_diff_element *const elements[2],
		    const char *path);
/* Compares the tables of a snapshot that both images have. */
void q2_diff_snapshot(struct q2_diff *d, const struct q2_diff_element *const elements[2],
		      const char *path);

/* Why tables cannot be compared, or NULL; text is storage for it. */
const char *q2_diff_no_tables(const struct q2_diff *d, char text[128]);

#endif
