/* SPDX-License-Identifier: MIT */
/* qcow2 bitmap repair: repairs bitmaps, and reports what the user has to decide. */
#include <stdlib.h>
#include <unistd.h>

#include "bitmap/actions.h"
#include "bitmap/repairs.h"
#include "common/report.h"

#include <qcow2/source.h>

/* Reports on standard error what has to be decided. */
static void tell_undecided(const struct bitmap_repairs *repairs)
{
	struct spool to;

	spool_init(&to, STDERR_FILENO);
	bitmap_repairs_human(&to, repairs);
	(void)spool_finish(&to);
	spool_release(&to);
}

/* One repair: the plan is made from it. */
struct repair_run {
	const struct bitmap_run *run;
	struct bitmap_repairs repairs;
};

static int plan_repair(struct change *change)
{
	struct repair_run *repair = change->opaque;
	const struct bitmap_run *run = repair->run;
	struct qcow2_bytes *names = calloc(run->name_count + 1, sizeof(*names));
	struct qcow2_bitmap_repair_options how = {
		.size = sizeof(how),
		.drop_bad = run->drop_bad,
		.assume_dirty = run->assume_dirty,
		.names = names,
		.name_count = run->name_count,
		.tell = bitmap_repairs_hear,
		.opaque = &repair->repairs,
	};
	struct qcow2_error err;
	int failed;

	if (!names)
		return change_fail_text(change, "out of memory");
	repair->repairs.image_in_use = qcow2_source_in_use(change->source) == QCOW2_IN_USE_YES;
	for (size_t i = 0; i < run->name_count; i++)
		names[i] = bitmap_bytes(run->names[i]);
	failed = qcow2_bitmap_repair(change->report.plan, &how, &err);
	free(names);
	if (!failed)
		return EXIT_FINE;
	change_fail(change, &err);
	if (err.code == QCOW2_ERROR_BROKEN)
		tell_undecided(&repair->repairs);
	return EXIT_COULD_NOT;
}

int bitmap_repair(struct bitmap_run *run)
{
	struct repair_run repair = {.run = run};
	int code;

	if (run->name_count > 0 && !run->assume_dirty)
		return usage_error(run->command, "names are for --assume-dirty");
	run->change.plan = plan_repair;
	run->change.opaque = &repair;
	run->change.report.more =
		(struct plan_more){bitmap_repairs_human, bitmap_repairs_json, &repair.repairs};
	code = change_run(&run->change);
	/* Bitmaps that are named are repaired or refused, never left. */
	if (code == EXIT_FINE && repair.repairs.left > 0 && run->name_count == 0)
		code = EXIT_STALE;
	bitmap_repairs_release(&repair.repairs);
	return code;
}
