/* SPDX-License-Identifier: MIT */
/* What qcow2 snapshot show knows of a snapshot, and its pages. */
#ifndef CMD_SNAPSHOT_SHOW_H
#define CMD_SNAPSHOT_SHOW_H

#include <inttypes.h>
#include <stdio.h>

#include "out/problem_log.h"
#include "snapshot/snapshot.h"

#include <qcow2/check.h>
#include <qcow2/entry.h>

/* The kinds of enum qcow2_l2_kind, which are numbered from 0. */
#define SHOW_KINDS (QCOW2_L2_INVALID + 1)

struct show {
	struct snapshot_run *run;
	const struct table_row *row;
	char path[48]; /* its selector: "snapshots/3" */
	uint64_t disk_bytes;
	uint64_t bytes[SHOW_KINDS]; /* of the disk, by kind */
	bool counted;               /* all of the disk is in bytes[] */
	struct qcow2_error uncounted;
	struct problem_log problems;
	bool checked; /* clusters were checked, not the structures alone */
	struct qcow2_damage_total damage;
	bool damage_exact;
};

void show_text(struct show *show);
void show_json(struct show *show);

#endif
