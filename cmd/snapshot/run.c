/* SPDX-License-Identifier: MIT */
/* What the actions of qcow2 snapshot share: see snapshot.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/find_snapshot.h"
#include "common/report.h"
#include "out/human.h"
#include "snapshot/snapshot.h"

#include <qcow2/text.h>

int snapshot_fail(const struct snapshot_run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->file, err);
}

static bool is_text(struct qcow2_bytes bytes, struct qcow2_bytes text)
{
	return bytes.size == text.size &&
	       (text.size == 0 || memcmp(bytes.data, text.data, text.size) == 0);
}

/* Says if others could be meant. */
static void say_ambiguous(const struct snapshot_run *run, const struct qcow2_snapshot *found,
			  struct qcow2_bytes text)
{
	bool by_id = is_text(found->id, text);
	uint64_t count = table_count(&run->table, by_id, text);
	char id[160];

	qcow2_text_escape(human_cut(found->id, 24), id, sizeof(id));
	if (count < 2 || wants_silence(run->command))
		return;
	if (by_id)
		fprintf(stderr, "qcow2 %s: %" PRIu64 " snapshots have that ID: this is the first\n",
			run->command->name, count);
	else
		fprintf(stderr,
			"qcow2 %s: %" PRIu64
			" snapshots have that name: this is the first, ID %s\n",
			run->command->name, count, id);
}

int snapshot_find(const struct snapshot_run *run, const char *wanted, uint64_t *index,
		  struct qcow2_error *err)
{
	const struct qcow2_bytes text = {(const uint8_t *)wanted, strlen(wanted)};

	if (find_snapshot(run->image, wanted, index, err))
		return -1;
	if (*index < run->table.count)
		say_ambiguous(run, &run->table.rows[*index].snapshot, text);
	return 0;
}

int snapshot_verdict(const struct snapshot_run *run)
{
	return run->table.damaged ? EXIT_MALFORMED : EXIT_FINE;
}
