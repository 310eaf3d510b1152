/* SPDX-License-Identifier: MIT */
/*
 * Each kind of problem has a remedy, and remedies stand in the order in which they are to be run.
 * Here those of one image are put together: one command for all problems that it mends, a copy
 * before what cannot be undone, and a warning where the usual command would do harm.
 */
#include "check/steps.h"

#include "check/steps_line.h"
#include "check/undo_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The most problems of one command: a line that can be read. */
#define ARGUMENTS_MOST 8
/* A table with more problems of a kind was overwritten: its entries are not set one by one. */
#define ENTRIES_MOST 32

/* ---- one step ---- */

static bool ends_with(const char *line, const char *end)
{
	size_t length = strlen(line), tail = strlen(end);

	return length >= tail && strcmp(line + length - tail, end) == 0;
}

static struct check_step *add(struct check_steps *steps, char *command, const char *does)
{
	struct check_step *step = &steps->list[steps->count];

	if (steps->count == STEPS_MOST) {
		free(command);
		return NULL;
	}
	steps->count++;
	*step = (struct check_step){.command = command, .does = does};
	return step;
}

static void add_cost(struct check_step *step, const char *cost)
{
	for (size_t i = 0; i < step->cost_count; i++)
		if (strcmp(step->costs[i], cost) == 0)
			return;
	if (cost[0] && step->cost_count < COSTS_MOST)
		step->costs[step->cost_count++] = cost;
}

static void add_kinds(struct check_step *step, const struct check_report *report,
		      const struct qcow2_remedy *remedy, bool at_its_cost)
{
	const struct qcow2_problem_kind *kind = NULL;

	while ((kind = qcow2_problem_kind_next(kind))) {
		uint64_t count = qcow2_check_result_count(report->result, kind->number);

		if (kind->remedy != remedy || count == 0)
			continue;
		step->problems += count;
		if (step->mend_count < MENDS_MOST)
			step->mends[step->mend_count++] = kind;
	}
	if (at_its_cost)
		add_cost(step, remedy->cost);
}

/* Whether anything was found that has this remedy. */
static bool is_wanted(const struct check_report *report, const struct qcow2_remedy *remedy)
{
	const struct qcow2_problem_kind *kind = NULL;

	while ((kind = qcow2_problem_kind_next(kind)))
		if (kind->remedy == remedy &&
		    qcow2_check_result_count(report->result, kind->number) > 0)
			return true;
	return false;
}

static bool is(const struct qcow2_remedy *remedy, const char *id)
{
	return strcmp(remedy->id, id) == 0;
}

/* ---- the command of a remedy ---- */

/* Whether a remedy sets fields or entries, one by one. */
static bool sets(const struct qcow2_remedy *remedy)
{
	return strncmp(remedy->argument, "WHERE", 5) == 0;
}

/* Whether two problems are of one entry, or with any_entry of one table. */
static bool same_place(const char *where, const char *other, bool any_entry)
{
	const char *last = strrchr(where, '/');
	size_t length = any_entry && last ? (size_t)(last - where) + 1 : strlen(where) + 1;

	return strncmp(where, other, length) == 0;
}

/*
 * Whether setting an entry is of no use: it has a problem that no value mends, or another one that
 * the same command mends later. A table with many such entries was overwritten as a whole.
 */
static bool in_vain(const struct check_report *report, size_t at)
{
	const struct qcow2_problem *problem = report->problems[at], *other;
	bool whole = qcow2_check_result_count(report->result, problem->kind->number) > ENTRIES_MOST;

	if (!sets(problem->kind->remedy))
		return false;
	if (whole && strncmp(problem->where, "refcount_table/", 15) == 0)
		return true;
	for (size_t i = 0; i < report->count; i++) {
		other = report->problems[i];
		if (other->kind->remedy == problem->kind->remedy
			    ? i > at && strcmp(problem->where, other->where) == 0
			    : !sets(other->kind->remedy) &&
				      same_place(problem->where, other->where, whole))
			return true;
	}
	return false;
}

static char *command_of(struct check_steps *steps, const struct check_report *report,
			const struct qcow2_remedy *remedy, size_t *named)
{
	const struct qcow2_problem *problems[ARGUMENTS_MOST];
	size_t count = 0, length;
	char *line;

	for (size_t i = 0; i < report->count && count < ARGUMENTS_MOST; i++)
		if (report->problems[i]->kind->remedy == remedy && !in_vain(report, i))
			problems[count++] = report->problems[i];
	*named = count;
	length = count == 0 && sets(remedy)
			 ? 0
			 : qcow2_remedy_command(remedy, report->file, problems, count, NULL, 0);
	line = length > 0 ? malloc(length + 1) : NULL;
	if (length > 0 && !line)
		steps->short_of_memory = true;
	if (line)
		qcow2_remedy_command(remedy, report->file, problems, count, line, length + 1);
	return line;
}

/* The step that runs the same command already, or one that mends more. */
static struct check_step *find(struct check_steps *steps, const struct check_report *report,
			       const struct qcow2_remedy *remedy, const char *command)
{
	char *all = check_steps_line(steps, "qemu-img check -r all ", report->file, "");
	bool counted = all && (is(remedy, "free-leaks") || is(remedy, "corrupt-off"));
	struct check_step *found = NULL;

	for (size_t i = 0; i < steps->count && !found; i++) {
		const char *there = steps->list[i].command;

		if (there && (ends_with(there, command) || (counted && ends_with(there, all))))
			found = &steps->list[i];
	}
	free(all);
	return found;
}

static void describe(struct check_step *step, const struct qcow2_remedy *remedy)
{
	step->by_hand = remedy->effect == QCOW2_REMEDY_BY_HAND || !step->command;
	step->mends_image = !step->by_hand && !is(remedy, "copy-out");
	step->qemu = remedy->qemu;
}

/*
 * What is done where setting entries is in vain: an image is restored, but refcounts are counted
 * anew, whatever is left of their table.
 */
static struct check_step *instead(struct check_steps *steps, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	bool counts =
		qcow2_check_result_count(result, QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED) >
			ENTRIES_MOST ||
		qcow2_check_result_count(result, QCOW2_PROBLEM_REFBLOCK_UNALIGNED) > ENTRIES_MOST;
	const struct qcow2_remedy *remedy = qcow2_remedy_find(counts ? "count-anew" : "restore");
	size_t named;
	char *command = command_of(steps, report, remedy, &named);
	struct check_step *step = command ? find(steps, report, remedy, command) : NULL;

	for (size_t i = 0; !command && !step && i < steps->count; i++)
		if (steps->list[i].does == remedy->does)
			step = &steps->list[i];
	if (step) {
		free(command);
		return step;
	}
	step = add(steps, command, remedy->does);
	if (step) {
		describe(step, remedy);
		add_cost(step, remedy->cost);
	}
	return step;
}

static void add_remedy(struct check_steps *steps, const struct check_report *report,
		       const struct qcow2_remedy *remedy)
{
	size_t named;
	char *command = command_of(steps, report, remedy, &named);
	struct check_step *step = command ? find(steps, report, remedy, command) : NULL;
	bool vain = !command && sets(remedy) && named == 0;

	if (step)
		free(command);
	else
		step = vain ? instead(steps, report) : add(steps, command, remedy->does);
	if (!step)
		return;
	if (!vain)
		describe(step, remedy);
	add_kinds(step, report, remedy, !vain);
	if (command && remedy->argument[0] && step->problems > named)
		snprintf(step->detail, sizeof(step->detail),
			 "These are %zu of %" PRIu64 ": check again for the others.", named,
			 step->problems);
	if (is(remedy, "free-leaks") && report->result->leaks_with_content > 0 &&
	    report->result->corruptions == 0)
		snprintf(step->detail, sizeof(step->detail),
			 "Data that no table maps is in %" PRIu64
			 " of them, as a killed writer leaves it: keep the copy until nothing is "
			 "missed.",
			 report->result->leaks_with_content);
	if (qcow2_check_result_count(report->result, QCOW2_PROBLEM_FEATURE_DIRTY) > 0 &&
	    is(remedy, "count-anew"))
		step->does = "Counts all references anew, as QEMU does by itself when it next "
			     "opens the image for writing.";
}

/* ---- bitmaps ---- */

enum { REPAIR, REPAIR_OR_ASK, ASSUME_DIRTY, DROP, DROP_ALL, STALE, BITMAP_ROWS };

static const char *const bitmap_rows[BITMAP_ROWS] = {"bitmap-repair",       "bitmap-repair-or-ask",
						     "bitmap-assume-dirty", "bitmap-drop",
						     "extension-length",    "bitmap-stale"};

/* The step of a repair with these options; its costs are those of the options. */
static struct check_step *add_repair(struct check_steps *steps, const struct check_report *report,
				     bool dirty, bool drop)
{
	char command[64];
	struct check_step *step;

	snprintf(command, sizeof(command), "qcow2 bitmap repair %s%s",
		 dirty ? "--assume-dirty " : "", drop ? "--drop-bad " : "");
	step = add(steps, check_steps_line(steps, command, report->file, ""),
		   dirty && drop ? "Makes bitmaps all dirty that nothing can mend, and drops those "
				   "that cannot even be all dirty."
		   : dirty       ? "Makes bitmaps all dirty that nothing can mend."
		   : drop        ? "Drops bitmaps that nothing can mend."
				 : "Mends each bitmap by itself.");
	if (!step)
		return NULL;
	step->qemu = "refuses the image, or leaves it";
	step->mends_image = true;
	return step;
}

/* All bitmaps are mended at once: a repair that needs a decision changes nothing. */
static void add_bitmaps(struct check_steps *steps, const struct check_report *report)
{
	bool wanted[BITMAP_ROWS], dirty, drop;
	struct check_step *step;

	for (size_t i = 0; i < BITMAP_ROWS; i++)
		wanted[i] = is_wanted(report, qcow2_remedy_find(bitmap_rows[i]));
	drop = wanted[DROP] || wanted[DROP_ALL];
	/* What can be made all dirty is not to be dropped with the others. */
	dirty = wanted[ASSUME_DIRTY] || (drop && (wanted[REPAIR_OR_ASK] || wanted[STALE]));
	if (wanted[REPAIR] || wanted[REPAIR_OR_ASK] || dirty || drop) {
		step = add_repair(steps, report, dirty, drop);
		for (size_t i = 0; step && i < BITMAP_ROWS; i++)
			if (wanted[i] && (i != STALE || dirty))
				add_kinds(step, report, qcow2_remedy_find(bitmap_rows[i]), true);
		/* The cost of an option is more than that of a plain repair, which comes first. */
		if (step && (dirty || drop) && wanted[REPAIR] && step->cost_count > 1)
			memmove(step->costs, step->costs + 1,
				--step->cost_count * sizeof(step->costs[0]));
	}
	if (wanted[STALE] && !dirty)
		add_remedy(steps, report, qcow2_remedy_find("bitmap-stale"));
}

static bool is_of_bitmaps(const struct qcow2_remedy *remedy)
{
	for (size_t i = 0; i < BITMAP_ROWS; i++)
		if (is(remedy, bitmap_rows[i]))
			return true;
	return false;
}

/* ---- before and after ---- */

/* What cannot be undone, and is done to the image itself. */
static bool is_final(const struct check_step *step)
{
	return step->command && (strstr(step->command, "qemu-img check -r") ||
				 strncmp(step->command, "qemu-img snapshot", 17) == 0 ||
				 strncmp(step->command, "qemu-img amend", 14) == 0);
}

static void insert(struct check_steps *steps, size_t at, char *command, const char *does)
{
	struct check_step step;

	if (!add(steps, command, does))
		return;
	step = steps->list[steps->count - 1];
	memmove(&steps->list[at + 1], &steps->list[at],
		(steps->count - 1 - at) * sizeof(steps->list[0]));
	steps->list[at] = step;
}

/* A copy beside a device would be in memory. */
static bool is_device(const char *file)
{
	struct stat status;

	return stat(file, &status) == 0 && S_ISBLK(status.st_mode);
}

static void insert_copy(struct check_steps *steps, size_t at, const struct check_report *report)
{
	const bool device = is_device(report->file);

	insert(steps, at, device ? NULL : check_steps_copy(steps, report->file),
	       device ? "Copy the device first: what follows cannot be undone."
		      : "Keeps the image as it is: what follows cannot be undone.");
	steps->list[at].by_hand = device;
}

/* ---- what would do harm ---- */

/* Takes out what frees leaks, and what is said of lost tables: one warning says it all. */
static void take_out(struct check_steps *steps, struct check_step *lost)
{
	const struct qcow2_remedy *remedy = qcow2_remedy_find("lost-mapping");
	size_t kept = 0;

	for (size_t i = 0; i < steps->count; i++) {
		const struct check_step *step = &steps->list[i];

		if (!(step->command && strstr(step->command, "qemu-img check -r")) &&
		    !(remedy && step->does == remedy->does)) {
			steps->list[kept++] = *step;
			continue;
		}
		for (size_t k = 0; k < step->mend_count && lost->mend_count < MENDS_MOST; k++)
			lost->mends[lost->mend_count++] = step->mends[k];
		lost->problems += step->problems;
		free(step->command);
	}
	steps->count = kept;
}

/*
 * Leaked clusters that may be the guest's data: whoever counts anew frees them, so that the next
 * writes destroy the only copy. What counts anew is left out.
 */
static void warn_of_leaks(struct check_steps *steps, const struct check_report *report)
{
	struct check_step lost = {.by_hand = true};

	take_out(steps, &lost);
	lost.does = "Do not run 'qemu-img check -r', and let no guest write to the image: leaked "
		    "clusters may be the guest's data.";
	snprintf(lost.detail, sizeof(lost.detail),
		 "qemu-img check -r all would free %" PRIu64 " of them.",
		 report->result->leaked_clusters);
	insert(steps, 0, NULL, lost.does);
	steps->list[0] = lost;
	insert(steps, 1, check_steps_copy(steps, report->file),
	       "Keeps the image with all that leaks.");
	insert(steps, 2, check_steps_line(steps, "qcow2 check --deep --all ", report->file, ""),
	       "Names the leaked clusters that read as L2 tables of this image. 'qcow2 edit "
	       "--force IMAGE set l1/N=VALUE' leads to such a table again, if it is known which "
	       "part of the disk it maps. Else restore the image from a backup.");
}

static void warn_of_cut(struct check_steps *steps, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;

	if (!result->file_cut)
		return;
	insert(steps, 0, NULL, "Get the whole file again: its end is missing.");
	steps->list[0].by_hand = true;
	snprintf(steps->list[0].detail, sizeof(steps->list[0].detail),
		 "It was at least %" PRIu64 " bytes long; %" PRIu64 " are missing.",
		 result->file_whole_bytes, result->file_missing_bytes);
}

/* Nobody knows whether what leaks is data before all of it was read. */
static void warn_of_unread(struct check_steps *steps, const struct check_report *report)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->list[i].command && strstr(steps->list[i].command, "qemu-img check -r"))
			add_cost(&steps->list[i],
				 "Leaked clusters that were not read, which may be data.");
	if (!report->deep)
		insert(steps, 0, check_steps_line(steps, "qcow2 check --deep ", report->file, ""),
		       "Reads all leaked clusters: they may be the guest's data. Do this first.");
}

/* What frees leaks, whether it mends more or not, takes with them what they hold. */
static void warn_of_content(struct check_steps *steps, const struct check_report *report)
{
	if (report->result->leaks_with_content == 0)
		return;
	for (size_t i = 0; i < steps->count; i++) {
		struct check_step *step = &steps->list[i];

		step->frees_content = step->command && strstr(step->command, "qemu-img check -r");
	}
}

/*
 * A dirty image alone needs no copy: QEMU would do the same without being asked. Leaks that hold
 * nothing need none either.
 */
static void add_copy(struct check_steps *steps, const struct check_report *report)
{
	bool content = report->result->leaks_with_content > 0;
	bool dirty = qcow2_check_result_count(report->result, QCOW2_PROBLEM_FEATURE_DIRTY) > 0;
	size_t at = 0;

	while (at < steps->count && !is_final(&steps->list[at]))
		at++;
	if (at == steps->count)
		return;
	if (content || (report->result->corruptions > 0 && !(dirty && steps->count == 1)))
		insert_copy(steps, at, report);
}

void check_steps_make(struct check_steps *steps, const struct check_report *report)
{
	const struct qcow2_remedy *remedy = NULL;
	bool runs = false, bitmaps = false;
	struct check_step *again;

	steps->count = 0;
	steps->short_of_memory = false;
	while ((remedy = qcow2_remedy_next(remedy))) {
		if (is_of_bitmaps(remedy)) {
			if (!bitmaps)
				add_bitmaps(steps, report);
			bitmaps = true;
		} else if (remedy->effect != QCOW2_REMEDY_NOT_NEEDED && is_wanted(report, remedy)) {
			add_remedy(steps, report, remedy);
		}
	}
	if (report->result->leaks_may_be_data) {
		warn_of_leaks(steps, report);
	} else {
		warn_of_content(steps, report);
		add_copy(steps, report);
	}
	if (check_report_unread(report))
		warn_of_unread(steps, report);
	warn_of_cut(steps, report);
	if (report->result->corruptions > 0 &&
	    check_has_undo_files(report->file, &steps->short_of_memory))
		insert(steps, 0, check_steps_line(steps, "qcow2 undo --list ", report->file, ""),
		       "Shows the changes of this image that can be taken back.");
	for (size_t i = 0; i < steps->count; i++)
		runs |= steps->list[i].mends_image;
	if (!runs)
		return;
	again = add(steps, check_steps_line(steps, "qcow2 check ", report->file, ""),
		    "Shows what is left.");
	if (again)
		again->says_itself = true;
}

void check_steps_release(struct check_steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		free(steps->list[i].command);
}
