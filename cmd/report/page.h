/* SPDX-License-Identifier: MIT */
/* The page, and its parts in the order in which they stand. */
#ifndef CMD_REPORT_PAGE_H
#define CMD_REPORT_PAGE_H

#include "out/spool.h"
#include "report/report.h"

/*
 * Writes the page to a spool that nothing is behind: as much as fits REPORT_BYTES_MOST. 0, or -1 with
 * *err filled.
 */
int report_page(struct spool *out, struct report *report, struct qcow2_error *err);

/* ---- the parts: each writes a section, and leaves failures of memory in out->errnum ---- */

void report_write_style(struct spool *out);

/* The heading, and what kind of image it is, in one line. */
void report_write_title(struct spool *out, const struct report *report);
/* The verdict, the most important numbers, and a table of what is known. */
void report_write_summary(struct spool *out, const struct report *report);
/* What the check found, what it means, and what to do. */
void report_write_check(struct spool *out, const struct report *report);
/* Whether it says what to do next, in a heading with the ID "next". */
bool report_has_steps(const struct report *report);
/* Likewise of a file that cannot be opened as an image: what rescue would make of it. */
void report_write_remains(struct spool *out, const struct report *report);
/* What fills the file. 0, or -1 with *err filled. */
int report_write_layout(struct spool *out, struct report *report, struct qcow2_error *err);
void report_write_snapshots(struct spool *out, const struct report *report);
void report_write_bitmaps(struct spool *out, const struct report *report);
/*
 * The structures of the image, and in `dump` and `tables` the same as JSON documents. 0, or -1 with
 * *err filled.
 */
int report_write_structures(struct spool *out, struct report *report, struct spool *dump,
			    struct spool *tables, struct qcow2_error *err);
/* The whole as JSON. dump, tables: what report_write_structures() left there. 0, or -1. */
int report_write_data(struct spool *out, struct report *report, const struct spool *dump,
		      const struct spool *tables, struct qcow2_error *err);

#endif
