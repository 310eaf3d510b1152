/* SPDX-License-Identifier: MIT */
/*
 * qcow2 snapshot show: all fields of one snapshot, what its disk is, and what a check of the image
 * finds that concerns it.
 */
#include "snapshot/show.h"

#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/report.h"
#include "out/problem_json.h"

#include <qcow2/check.h>
#include <qcow2/mapping.h>

/* ---- the disk ---- */

static int hear_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(&((struct snapshot_run *)opaque)->progress, done_bytes, total_bytes);
	return 0;
}

/* Adds up the bytes of the disk by what they are. */
static int add_extents(struct show *show, struct qcow2_error *err)
{
	const struct qcow2_mapping_extent *extent;
	struct qcow2_mapping *mapping;
	int more;

	if (qcow2_mapping_open_snapshot(show->run->image, show->row->snapshot.index, &mapping, err))
		return -1;
	show->disk_bytes = qcow2_mapping_size_bytes(mapping);
	while ((more = qcow2_mapping_next(mapping, &extent, err)) > 0)
		if ((unsigned)extent->kind < SHOW_KINDS)
			show->bytes[extent->kind] += extent->length_bytes;
	qcow2_mapping_close(mapping);
	return more;
}

/* A disk that makes no sense is no reason to tell nothing. */
static int count_disk(struct show *show, struct qcow2_error *err)
{
	if (add_extents(show, err) == 0) {
		show->counted = true;
		return 0;
	}
	show->uncounted = *err;
	return err->code == QCOW2_ERROR_MEMORY || err->code == QCOW2_ERROR_IO ? -1 : 0;
}

/* ---- problems ---- */

/* Whether a problem is one of this snapshot: of its structures, its disk or its clusters. */
static bool concerns(const struct show *show, const struct qcow2_problem *problem)
{
	uint64_t index = show->row->snapshot.index;
	size_t length = strlen(show->path);

	if (strncmp(problem->where, show->path, length) == 0 &&
	    (problem->where[length] == '/' || problem->where[length] == '\0'))
		return true;
	if (problem->has_guest && problem->guest_of == QCOW2_PART_OF_SNAPSHOT &&
	    problem->guest_of_index == index)
		return true;
	for (unsigned i = 0; i < problem->owner_count; i++)
		if (problem->owners[i]->part_of == QCOW2_PART_OF_SNAPSHOT &&
		    problem->owners[i]->part_of_index == index)
			return true;
	return false;
}

struct hearing {
	struct show *show;
	struct snapshot_run *run;
};

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct show *show = ((struct hearing *)opaque)->show;

	if (concerns(show, problem))
		problem_log_add(&show->problems, problem);
	return 0;
}

static int pass_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	return hear_progress(((struct hearing *)opaque)->run, done_bytes, total_bytes);
}

/* Keeps the damage of this disk. */
static void take_damage(struct show *show, const struct qcow2_check_result *result)
{
	const struct qcow2_damage_total *total;

	for (size_t i = 1; (total = qcow2_check_result_damage(result, i)); i++)
		if (total->of_index == show->row->snapshot.index)
			show->damage = *total;
	show->damage_exact = result->damage_exact;
	show->checked = result->clusters_checked;
}

static int find_problems(struct show *show, struct qcow2_error *err)
{
	struct hearing hearing = {show, show->run};
	const struct qcow2_check_options how = {
		.size = sizeof(how),
		.threads = show->run->threads,
		.memory_limit_bytes = limits_memory(show->run->command),
		.problem = hear,
		.progress = pass_progress,
		.damage = true,
		.opaque = &hearing,
	};
	struct qcow2_check_result *result;

	if (qcow2_check(show->run->image, &how, &result, err))
		return -1;
	take_damage(show, result);
	qcow2_check_result_free(result);
	if (!show->problems.short_of_memory)
		return 0;
	*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
				    .offset_bytes = QCOW2_NO_OFFSET,
				    .text = "out of memory"};
	return -1;
}

static int find_row(struct show *show, struct qcow2_error *err)
{
	struct snapshot_run *run = show->run;
	uint64_t index;

	if (snapshot_find(run, run->names[0], &index, err))
		return -1;
	if (index >= run->table.count) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_LIMIT,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "the snapshot is behind those that QEMU "
						    "accepts"};
		return -1;
	}
	show->row = &run->table.rows[index];
	snprintf(show->path, sizeof(show->path), "snapshots/%" PRIu64, index);
	return 0;
}

int snapshot_show(struct snapshot_run *run)
{
	struct show *show = calloc(1, sizeof(*show));
	struct qcow2_error err;
	int code;

	if (!show)
		return report_text(run->command, run->file, "out of memory");
	show->run = run;
	if (find_row(show, &err) || find_problems(show, &err) || count_disk(show, &err)) {
		code = snapshot_fail(run, &err);
	} else {
		progress_end(&run->progress);
		if (run->format == SNAPSHOT_HUMAN)
			show_text(show);
		else
			show_json(show);
		code = show->problems.corrupt || !show->counted || !show->checked ? EXIT_MALFORMED
										  : EXIT_FINE;
	}
	problem_log_release(&show->problems);
	free(show);
	return code;
}
