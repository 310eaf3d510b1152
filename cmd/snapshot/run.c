/* SPDX-License-Identifier: MIT */
/* What the actions of qcow2 snapshot share: see snapshot.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/find_snapshot.h"
#include "common/report.h"
#include "snapshot/snapshot.h"

#include <qcow2/text.h>

int snapshot_fail(const struct snapshot_run *run, const struct qcow2_error *err)
{
	return report_error(run->command, run->file, err);
}

int snapshot_find(const struct snapshot_run *run, const char *wanted, uint64_t *index,
		  struct qcow2_error *err)
{
	const struct qcow2_bytes text = {(const uint8_t *)wanted, strlen(wanted)};
	const struct qcow2_snapshot *found;
	char shown[128];
	uint64_t named;

	if (find_snapshot(run->image, wanted, index, err))
		return -1;
	named = table_count_named(&run->table, text);
	if (*index >= run->table.count || named < 2 || wants_silence(run->command))
		return 0;
	found = &run->table.rows[*index].snapshot;
	/* Another one may have the text as its name, and this one as its ID. */
	if (found->name.size != text.size || memcmp(found->name.data, text.data, text.size) != 0)
		return 0;
	qcow2_text_escape(found->id, shown, sizeof(shown));
	fprintf(stderr,
		"qcow2 %s: %" PRIu64 " snapshots have that name: this is the first, ID %s\n",
		run->command->name, named, shown);
	return 0;
}

int snapshot_verdict(const struct snapshot_run *run)
{
	return run->table.damaged ? EXIT_MALFORMED : EXIT_FINE;
}
