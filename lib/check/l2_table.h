/* SPDX-License-Identifier: MIT */
/* Counts what the entries of one L2 table refer to. */
#ifndef Q2_CHECK_L2_TABLE_H
#define Q2_CHECK_L2_TABLE_H

#include "check/worker.h"
#include "claims/l2.h"

/* A table that was read. */
struct q2_l2_table {
	const struct qcow2_image *image;
	struct q2_l2_ref *ref;
	/*
	 * size bytes, with 16 bytes behind them that may be read: an entry that the end of the file
	 * cuts is filled up with zeros.
	 */
	const uint8_t *bytes;
	uint64_t size;
};

/* Counts in worker. Notes in the ref whether an entry breaks a rule by itself, or is used at all. */
void q2_l2_table_count(const struct q2_l2_table *table, struct q2_worker *worker);

#endif
