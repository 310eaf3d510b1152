/* SPDX-License-Identifier: MIT */
/*
 * qcow2 snapshot diff: where the mappings of two disks differ. This file finds the disks that the
 * command line names and has the verdict; diff_text.c and diff_json.c show the differences.
 */
#include "snapshot/diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/find_snapshot.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/report.h"

#include <qcow2/geometry.h>
#include <qcow2/snapshot.h>
#include <qcow2/source.h>
#include <qcow2/text.h>

/* ---- the disks ---- */

/* The word for the active disk, where no snapshot has it as its ID or name. */
static bool is_active(const char *word)
{
	return strcmp(word, "active") == 0;
}

/* Writes what people call a snapshot, by its index. 0, or -1 with *err filled. */
static int name_snapshot(struct diff_side *side, uint64_t index, struct qcow2_error *err)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	char id[32], name[64];
	int more;

	snprintf(side->name, sizeof(side->name), "snapshot");
	if (qcow2_snapshots_open(side->image, &snapshots, err))
		return -1;
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0) {
		if (snapshot->index < index)
			continue;
		qcow2_text_escape(snapshot->id, id, sizeof(id));
		qcow2_text_escape(snapshot->name, name, sizeof(name));
		snprintf(side->name, sizeof(side->name), "snapshot %s '%s'", id, name);
		break;
	}
	qcow2_snapshots_close(snapshots);
	return more < 0 ? -1 : 0;
}

static int find_in(const struct snapshot_run *run, const struct diff_side *side, const char *word,
		   uint64_t *index, struct qcow2_error *err)
{
	/* Only in the image of the run a name that several have is worth a word. */
	if (side->image == run->image)
		return snapshot_find(run, word, index, err);
	return find_snapshot(side->image, word, index, err);
}

/* Opens the mapping of the disk that a word names; NULL: the active one. */
static int open_side(struct diff *diff, struct diff_side *side, const char *word,
		     struct qcow2_error *err)
{
	uint64_t index;

	side->has_backing = qcow2_image_backing_name(side->image).size > 0;
	if (word && find_in(diff->run, side, word, &index, err)) {
		if (err->code != QCOW2_ERROR_NOT_FOUND || !is_active(word))
			return -1;
		word = NULL;
	}
	if (word) {
		if (name_snapshot(side, index, err) ||
		    qcow2_mapping_open_snapshot(side->image, index, &side->mapping, err))
			return -1;
	} else {
		snprintf(side->name, sizeof(side->name), "active disk");
		if (qcow2_mapping_open(side->image, &side->mapping, err))
			return -1;
	}
	side->has_data_file = qcow2_image_geometry(side->image)->data_file;
	return 0;
}

static int open_other(struct diff *diff, struct qcow2_error *err)
{
	const struct snapshot_run *run = diff->run;

	if (!diff->other_file)
		return 0;
	if (limits_open(run->command->common, diff->other_file, &diff->other_source, err))
		return -1;
	warn_in_use(run->command, diff->other_file, diff->other_source);
	return qcow2_image_open(diff->other_source, &diff->other_image, err);
}

/*
 * Takes an operand that is no snapshot of the image, but a file, for the second image. Other faults
 * come back when the operand is used.
 */
static bool takes_file(const struct diff *diff)
{
	const struct snapshot_run *run = diff->run;
	struct qcow2_error err;
	uint64_t index;

	return !run->with && run->name_count == 1 && !is_active(run->names[0]) &&
	       access(run->names[0], F_OK) == 0 &&
	       find_snapshot(run->image, run->names[0], &index, &err) &&
	       err.code == QCOW2_ERROR_NOT_FOUND;
}

/* Opens both disks. Returns EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int open_sides(struct diff *diff)
{
	struct snapshot_run *run = diff->run;
	size_t count = run->name_count;
	struct qcow2_error err;

	diff->other_file = run->with;
	if (takes_file(diff)) {
		diff->other_file = run->names[0];
		count = 0;
	}
	if (!diff->other_file && count == 0)
		return usage_error(run->command, "diff takes a snapshot, or another image");
	if (open_other(diff, &err))
		return report_error(run->command, diff->other_file, &err);
	diff->sides[0].file = diff->sides[1].file = run->file;
	diff->sides[0].image = diff->sides[1].image = run->image;
	if (diff->other_file) {
		diff->sides[1].file = diff->other_file;
		diff->sides[1].image = diff->other_image;
	}
	for (size_t i = 0; i < 2; i++)
		if (open_side(diff, &diff->sides[i], i < count ? run->names[i] : NULL, &err))
			return report_error(run->command, diff->sides[i].file, &err);
	return EXIT_FINE;
}

/* ---- the run ---- */

static int show_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(opaque, done_bytes, total_bytes);
	return 0;
}

/* Says what cannot be read. Returns the exit code. */
static int judge(const struct diff *diff)
{
	char text[256];

	if (diff->invalid.ranges == 0)
		return diff->total.ranges > 0 ? EXIT_DIFFERENT : EXIT_FINE;
	snprintf(text, sizeof(text),
		 "%" PRIu64 " bytes cannot be compared, first at 0x%" PRIx64
		 " of the disk: %s; see 'qcow2 check'",
		 diff->invalid.bytes, diff->invalid_at,
		 qcow2_problem_kind_get(diff->invalid_problem)->id);
	report_text(diff->run->command, diff->sides[diff->invalid_side].file, text);
	return EXIT_MALFORMED;
}

static int show(struct diff *diff)
{
	struct snapshot_run *run = diff->run;
	const struct qcow2_mapping_diff_options options = {
		.size = sizeof(options),
		.ignore_places = run->ignore_offsets,
		.progress = show_progress,
		.opaque = &run->progress,
	};
	struct qcow2_error err;
	int failed;

	if (qcow2_mapping_diff_open(diff->sides[0].mapping, diff->sides[1].mapping, &options,
				    &diff->stream, &err))
		return snapshot_fail(run, &err);
	qcow2_mapping_diff_seek(diff->stream, (struct qcow2_guest){run->start_bytes},
				run->length_bytes);
	failed = run->format == SNAPSHOT_HUMAN ? diff_show_human(diff, &err)
					       : diff_show_data(diff, &err);
	progress_end(&run->progress);
	if (!failed)
		return judge(diff);
	return report_error(run->command, diff->sides[qcow2_mapping_diff_blamed(diff->stream)].file,
			    &err);
}

int snapshot_diff(struct snapshot_run *run)
{
	struct diff diff = {.run = run};
	int code = open_sides(&diff);

	if (code == EXIT_FINE)
		code = show(&diff);
	qcow2_mapping_diff_close(diff.stream);
	for (unsigned i = 0; i < 2; i++)
		qcow2_mapping_close(diff.sides[i].mapping);
	qcow2_image_close(diff.other_image);
	qcow2_source_close(diff.other_source);
	return code;
}
