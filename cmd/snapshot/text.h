/* SPDX-License-Identifier: MIT */
/* What the pages of qcow2 snapshot share: dates, clocks, names, and the problems of the table. */
#ifndef CMD_SNAPSHOT_TEXT_H
#define CMD_SNAPSHOT_TEXT_H

#include "snapshot/snapshot.h"

#define DATE_MAX 64

/* The date in the local time zone, as qemu-img prints it: "2026-11-26 20:41:36". Returns buffer. */
const char *text_date(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX]);

/* The same with nanoseconds and the zone: "2026-11-26 20:41:36.088228000 +0000". */
const char *text_exact_date(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX]);

/* The clock of the machine, as qemu-img prints it: "01:02:03.004". Returns buffer. */
const char *text_clock(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX]);

/* The instruction count, or "" if there is none. Returns buffer. */
const char *text_icount(const struct qcow2_snapshot *snapshot, char buffer[DATE_MAX]);

/* The columns that the IDs of a table take, within bounds. */
unsigned text_id_columns(const struct snapshot_table *table);

/* The same of instruction counts. */
unsigned text_icount_columns(const struct snapshot_table *table);

/* Writes an ID in a column of that width. */
void text_id(struct spool *out, struct qcow2_bytes id, unsigned width);

/*
 * Ends a row with a name. `column` columns are taken; on a terminal a name that does not fit stands
 * in lines of its own.
 */
void text_name(struct snapshot_run *run, struct qcow2_bytes name, unsigned column);

/* Writes a text in lines that fit the terminal, or 80 columns if there is none. */
void text_note(struct snapshot_run *run, const char *text);

/* Says below a page what is wrong with the table and its entries. */
void text_problems(struct snapshot_run *run);

/* The same as members of a JSON object: "snapshots-omitted", "problems", "problems-omitted". */
void json_problems(struct snapshot_run *run);

#endif
