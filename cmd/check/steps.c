/* SPDX-License-Identifier: MIT */
/*
 * Each kind of problem has a remedy, and remedies stand in the order in which they are to be run.
 * Here those of one image are put together: one command for all problems that it mends, and a warning
 * where the usual command would do harm.
 */
#include "check/steps.h"

#include "check/steps_line.h"
#include "check/undo_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one step ---- */

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

static char *command_of(struct check_steps *steps, const struct check_report *report,
			const struct qcow2_remedy *remedy)
{
	size_t length = qcow2_remedy_command(remedy, report->file, NULL, 0, NULL, 0);
	char *line = length > 0 ? malloc(length + 1) : NULL;

	if (length > 0 && !line)
		steps->short_of_memory = true;
	if (line)
		qcow2_remedy_command(remedy, report->file, NULL, 0, line, length + 1);
	return line;
}

/* The step that runs the same command already. */
static struct check_step *find(struct check_steps *steps, const char *command)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->list[i].command && strcmp(steps->list[i].command, command) == 0)
			return &steps->list[i];
	return NULL;
}

static void describe(struct check_step *step, const struct qcow2_remedy *remedy)
{
	step->by_hand = remedy->effect == QCOW2_REMEDY_BY_HAND || !step->command;
	step->mends_image = !step->by_hand;
	if (step->qemu && strcmp(step->qemu, remedy->qemu) != 0)
		step->qemu = "mends a part of it at most";
	else
		step->qemu = remedy->qemu;
}

static void add_remedy(struct check_steps *steps, const struct check_report *report,
		       const struct qcow2_remedy *remedy)
{
	char *command = command_of(steps, report, remedy);
	struct check_step *step = command ? find(steps, command) : NULL;

	if (step)
		free(command);
	else
		step = add(steps, command, remedy->does);
	if (!step)
		return;
	describe(step, remedy);
	add_kinds(step, report, remedy, true);
	if (is(remedy, "free-leaks") && report->result->leaks_with_content > 0 &&
	    report->result->corruptions == 0)
		snprintf(step->detail, sizeof(step->detail),
			 "Data that no table maps is in %" PRIu64
			 " of them, as a killed writer leaves it: keep the undo file until nothing "
			 "is missed.",
			 report->result->leaks_with_content);
	if (qcow2_check_result_count(report->result, QCOW2_PROBLEM_FEATURE_DIRTY) > 0 &&
	    is(remedy, "count-anew"))
		step->does = "Counts all references anew, as QEMU does by itself when it next "
			     "opens the image for writing.";
}

/* ---- bitmaps ---- */

enum { REPAIR, REPAIR_OR_ASK, ASSUME_DIRTY, DROP, STALE, BITMAP_ROWS };

static const char *const bitmap_rows[BITMAP_ROWS] = {"bitmap-repair", "bitmap-repair-or-ask",
						     "bitmap-assume-dirty", "bitmap-drop",
						     "bitmap-stale"};

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
	drop = wanted[DROP];
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

/* ---- what would do harm ---- */

/* Takes a kind out of what a step mends. */
static void take_kind(struct check_step *step, const struct qcow2_problem_kind *kind,
		      uint64_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < step->mend_count; i++)
		if (step->mends[i] != kind)
			step->mends[kept++] = step->mends[i];
	if (kept < step->mend_count)
		step->problems -= count;
	step->mend_count = kept;
}

/*
 * A repair leaves leaks alone that may be data. What is said of lost tables goes, too: one warning
 * says it all.
 */
static void take_out(struct check_steps *steps, struct check_step *lost,
		     const struct check_report *report)
{
	const struct qcow2_remedy *remedy = qcow2_remedy_find("lost-mapping");
	const struct qcow2_problem_kind *leak = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_HIGH);
	size_t kept = 0;

	for (size_t i = 0; i < steps->count; i++) {
		struct check_step *step = &steps->list[i];

		if (step->command)
			take_kind(step, leak, report->result->leaks);
		if (step->mend_count > 0 && !(remedy && step->does == remedy->does)) {
			steps->list[kept++] = *step;
			continue;
		}
		for (size_t k = 0; k < step->mend_count && lost->mend_count < MENDS_MOST; k++)
			lost->mends[lost->mend_count++] = step->mends[k];
		lost->problems += step->problems;
		free(step->command);
	}
	steps->count = kept;
	lost->problems += report->result->leaks;
	if (lost->mend_count < MENDS_MOST)
		lost->mends[lost->mend_count++] = leak;
}

/* Leaked clusters that may be the guest's data: once freed, the next writes destroy them. */
static void warn_of_leaks(struct check_steps *steps, const struct check_report *report)
{
	struct check_step lost = {.by_hand = true};

	take_out(steps, &lost, report);
	lost.does = "Do not run 'qemu-img check -r', and let no guest write to the image: leaked "
		    "clusters may be the guest's data.";
	snprintf(lost.detail, sizeof(lost.detail),
		 "qemu-img check -r all would free %" PRIu64 " of them.",
		 report->result->leaked_clusters);
	insert(steps, 0, NULL, lost.does);
	steps->list[0] = lost;
	insert(steps, 1, check_steps_line(steps, "qcow2 rescue ", report->file, ""),
	       "Looks for the tables that are lost among the leaked clusters, and shows what can "
	       "be put back; it changes nothing. Do this before a repair.");
	insert(steps, 2, check_steps_line(steps, "qcow2 check --deep --all ", report->file, ""),
	       "Names the leaked clusters that read as L2 tables of this image.");
}

/* Before an empty table is made, the one that is lost is looked for. */
static void look_for_l1(struct check_steps *steps, const struct check_report *report)
{
	if (check_report_found(report, QCOW2_PROBLEM_L1_BEYOND_END) > 0)
		insert(steps, 0, check_steps_line(steps, "qcow2 rescue ", report->file, ""),
		       "Looks for another L1 table, and shows what can be put back; it changes "
		       "nothing. Do this first.");
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

/* Whether a step frees leaks. */
static bool frees_leaks(const struct check_step *step)
{
	for (size_t i = 0; i < step->mend_count; i++)
		if (step->mends[i]->number == QCOW2_PROBLEM_REFCOUNT_HIGH)
			return step->command != NULL;
	return false;
}

/* Nobody knows whether what leaks is data before all of it was read. */
static void warn_of_unread(struct check_steps *steps, const struct check_report *report)
{
	for (size_t i = 0; i < steps->count; i++)
		if (frees_leaks(&steps->list[i]))
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
	for (size_t i = 0; i < steps->count; i++)
		steps->list[i].frees_content = frees_leaks(&steps->list[i]);
}

/* The step whose command begins so; the count of steps if there is none. */
static size_t find_begun(const struct check_steps *steps, const char *begin)
{
	size_t i = 0;

	while (i < steps->count && (!steps->list[i].command ||
				    strncmp(steps->list[i].command, begin, strlen(begin)) != 0))
		i++;
	return i;
}

/*
 * What leaks may be what dropped bitmaps had. Once they are dropped, their tables cannot be told from
 * lost L2 tables any more, so one command has to do both.
 */
static void join_bitmaps(struct check_steps *steps, const struct check_report *report)
{
	size_t at = find_begun(steps, "qcow2 bitmap repair --"), leaks = 0;
	struct check_step *step = &steps->list[at];

	while (leaks < steps->count && !frees_leaks(&steps->list[leaks]))
		leaks++;
	if (at == steps->count || leaks == steps->count || !strstr(step->command, " --drop-bad "))
		return;
	free(step->command);
	step->command = check_steps_line(steps, "qcow2 repair --all ", report->file, "");
	step->does = "Makes bitmaps all dirty that nothing can mend, and drops those that cannot "
		     "even be all dirty.";
	step->cost_count = 0;
	add_cost(step, "The next incremental backup copies the whole disk; the next one of the "
		       "chain of a dropped bitmap has to be a full one.");
	for (size_t i = 0; i < steps->list[leaks].mend_count && step->mend_count < MENDS_MOST; i++)
		step->mends[step->mend_count++] = steps->list[leaks].mends[i];
	step->problems += steps->list[leaks].problems;
	free(steps->list[leaks].command);
	memmove(&steps->list[leaks], &steps->list[leaks + 1],
		(--steps->count - leaks) * sizeof(steps->list[0]));
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
		join_bitmaps(steps, report);
		look_for_l1(steps, report);
		warn_of_content(steps, report);
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
