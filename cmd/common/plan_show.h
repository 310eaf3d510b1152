/* SPDX-License-Identifier: MIT */
/* What the commands that change images share: verbs, scripts, the pages that show a plan. */
#ifndef CMD_COMMON_PLAN_SHOW_H
#define CMD_COMMON_PLAN_SHOW_H

#include "common/command.h"
#include "out/json.h"
#include "out/problem_log.h"
#include "out/spool.h"

#include <qcow2/edit.h>

/* One change: a verb and its words, and where the data of an extension come from. */
struct edit_line {
	size_t count;
	char **words;
	const char *data; /* --data */
	const char *file; /* --file */
};

/* What the words have done besides adding to the plan. */
struct edit_effect {
	const char *raw; /* what an entry of a table that was set means; NULL: none was */
};

/*
 * Adds a change to a plan. 0, or -1 with *err filled; QCOW2_ERROR_ARGUMENT also for a verb that
 * there is none of, and for too few or too many words.
 */
int edit_verb(struct qcow2_plan *plan, const struct edit_line *line, struct edit_effect *effect,
	      struct qcow2_error *err);

/* A file or standard input ("-") whole, at most so many bytes; freed by the caller. */
int edit_read_file(const char *path, size_t most, uint8_t **out, size_t *size,
		   struct qcow2_error *err);

/* Runs a script of verbs; see script.h. */
int edit_script(struct qcow2_plan *plan, const char *path, struct edit_effect *effect,
		struct qcow2_error *err);

struct bitmap_repairs;

/* A plan, and what has become of it. */
struct plan_report {
	const char *file;
	struct qcow2_plan *plan;
	const struct qcow2_plan_verdict *verdict; /* NULL: it was not asked for */
	const struct problem_log *problems;       /* those that the plan adds */
	const char *undo_file;                    /* NULL: none */
	bool applied, dry_run;
	const char *selector; /* what of the planned image is shown; NULL: nothing */
	uint64_t old_size_bytes;
	const struct bitmap_repairs *repairs; /* NULL, but for qcow2 bitmap repair */
};

/* What a repair of bitmaps has done, a line each; and as the member "repairs". */
void bitmap_repairs_human(struct spool *out, const struct bitmap_repairs *repairs);
void bitmap_repairs_json(struct json *json, const struct bitmap_repairs *repairs);

/* The page: what was changed, or with a dry run every byte of it. 0, or -1 with *err filled. */
int plan_show_human(struct spool *out, const struct plan_report *report, bool colour,
		    struct qcow2_error *err);
int plan_show_json(struct json *json, const struct plan_report *report, struct qcow2_error *err);

/* The guards that object to a plan, a line each, with that in front. */
void plan_show_refusals(struct spool *out, const struct qcow2_plan_verdict *verdict,
			const char *before);

/*
 * Structures of the planned image, as qcow2 dump shows them: as text, or if json is not NULL as
 * the value of a member. 0, or -1 with *err filled.
 */
int plan_preview(struct spool *out, struct json *json, const struct plan_report *report,
		 const char *selector, bool colour, struct qcow2_error *err);

/* Rows of sixteen bytes where two pieces of an image differ; old or new may be shorter. */
void plan_show_hex(struct spool *out, uint64_t offset, struct qcow2_bytes old_bytes,
		   struct qcow2_bytes new_bytes, bool colour);

/* "withdraw", "new", "count", "point" or "clean". */
const char *plan_phase_name(enum qcow2_phase phase);

#endif
