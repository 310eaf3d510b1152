/* SPDX-License-Identifier: MIT */
/* One call of qcow2 snapshot, and its actions, a file each. snapshot.c has them in a table. */
#ifndef CMD_SNAPSHOT_SNAPSHOT_H
#define CMD_SNAPSHOT_SNAPSHOT_H

#include "common/command.h"
#include "common/snapshot_table.h"
#include "out/json.h"
#include "out/progress.h"
#include "out/spool.h"

#include <qcow2/error.h>
#include <qcow2/image.h>

enum snapshot_format { SNAPSHOT_HUMAN, SNAPSHOT_JSON, SNAPSHOT_NDJSON };

/*
 * One call. snapshot.c opens the image before it calls an action, and closes it afterwards. Output
 * goes into `out`, which snapshot.c writes if the action does not return EXIT_COULD_NOT.
 */
struct snapshot_run {
	const struct command *command;
	const struct action_row *action;
	const char *file;
	struct qcow2_source *source;
	struct qcow2_image *image;
	char **names; /* the operands behind IMAGE */
	size_t name_count;
	enum snapshot_format format;
	unsigned columns; /* of the terminal; UINT_MAX if standard output is none: any width */
	struct snapshot_table table; /* its snapshots; not read for diff */
	struct spool out;
	struct json json; /* writes to out, with indent 2; 0 for SNAPSHOT_NDJSON */
	struct progress progress;
	unsigned threads; /* of show and space */
	/* Of diff. */
	const char *with;                   /* another image, or NULL */
	bool ignore_offsets;                /* compare kinds alone */
	uint64_t start_bytes, length_bytes; /* of the range; length_bytes UINT64_MAX: all */
};

/* Actions; each returns the exit code. */
int snapshot_list(struct snapshot_run *run);
int snapshot_show(struct snapshot_run *run);
int snapshot_space(struct snapshot_run *run);
int snapshot_diff(struct snapshot_run *run);

/* Says an error of the image. Returns EXIT_COULD_NOT. */
int snapshot_fail(const struct snapshot_run *run, const struct qcow2_error *err);

/*
 * Finds the snapshot that an operand names, by ID or else by name, and says on standard error if
 * others have that ID or name, too. 0, or -1 with *err filled.
 */
int snapshot_find(const struct snapshot_run *run, const char *wanted, uint64_t *index,
		  struct qcow2_error *err);

/* Ends the page of an action: EXIT_MALFORMED if the snapshot table is damaged, else EXIT_FINE. */
int snapshot_verdict(const struct snapshot_run *run);

#endif
