/* SPDX-License-Identifier: MIT */
/* One call of qcow2 locate, and what its pages share. */
#ifndef CMD_LOCATE_RUN_H
#define CMD_LOCATE_RUN_H

#include "common/command.h"
#include "locate/names.h"
#include "common/range.h"
#include "out/json.h"
#include "out/spool.h"

#include <qcow2/locate.h>

/* A field is looked up for so many owners of a call. */
#define LOCATE_FIELDS_MOST 64
/* A call shows so many parts of ranges, and stops after so many owners. */
#define LOCATE_PARTS_MOST  65536
#define LOCATE_OWNERS_MOST 1048576

struct locate_run {
	const struct command *command;
	const char *file;
	const struct qcow2_image *image;
	struct range range;
	const char *guest, *host; /* as they were given */
	const char *snapshot;     /* ID or name, or NULL */
	uint64_t snapshot_index;
	bool all_snapshots;
	bool as_json;
	unsigned fields_left;
	uint64_t parts_left;  /* beside the first one of each disk */
	uint64_t owners_left; /* none: no more parts */
	struct all_names names;
	struct spool out;
	struct spool line; /* of a page, before it is fitted to the terminal */
	unsigned columns;  /* of that; lines of files are as long as they are */
	struct json json;
};

/* Answer --guest and --host. 0, or -1 with *err filled. */
int locate_guest(struct locate_run *run, struct qcow2_error *err);
int locate_host(struct locate_run *run, struct qcow2_error *err);

/* Members of a JSON object: the snapshot that something is a part of. */
void locate_json_snapshot(struct locate_run *run, uint64_t index);

/*
 * End the line that run->line has: a heading, or a row with a name in front. What does not fit the
 * terminal goes on below.
 */
void locate_heading(struct locate_run *run);
void locate_row(struct locate_run *run, const char *name);

/* A number as people read offsets: "0x20000 (131072)". */
void locate_print_offset(struct spool *out, uint64_t offset);

/* "snapshot 2 'monday'", by its ID and name, behind `before`. index: in the snapshot table. */
void locate_print_snapshot(struct locate_run *run, const char *before, uint64_t index);

/* "1 (refcounts/0/5 at 0x3000a)", or what is wrong. */
void locate_print_refcount(struct spool *out, const struct qcow2_refcount_path *refcount);

/* Members of a JSON object: "refcount" and "refcount-path". refcount is NULL if there is none. */
void locate_json_refcount(struct json *json, const struct qcow2_refcount_path *refcount);

/* Members that tell where an entry of a table is, and its raw value. Opens the object. */
void locate_json_entry(struct json *json, const char *where, uint64_t offset, uint64_t entry);

/*
 * Says that the range from `at` on is not shown, though it goes on to `end`. key is that of its
 * offset: "guest" or "host". Members of a JSON object, or lines.
 */
void locate_rest(struct locate_run *run, const char *key, uint64_t at, uint64_t end);

/* The pages of one path and of one piece. */
void locate_path_text(struct locate_run *run, const struct qcow2_path *path,
		      const uint64_t *snapshot);
void locate_path_json(struct locate_run *run, const struct qcow2_path *path,
		      const uint64_t *snapshot);
int locate_piece_text(struct locate_run *run, const struct qcow2_piece *piece,
		      struct qcow2_error *err);
int locate_piece_json(struct locate_run *run, const struct qcow2_piece *piece,
		      struct qcow2_error *err);

/* The path of the list of L1 or L2 entries of a disk: "l2", "snapshots/3/l2". Returns text. */
const char *locate_list(const char *what, const uint64_t *snapshot, char *text, size_t size);

/* Whether an owner is to be shown: --snapshot leaves out all but those of one snapshot. */
bool locate_wants(const struct locate_run *run, const struct qcow2_claim *owner);

#endif
