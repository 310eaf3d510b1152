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

/* Whether a remedy that may need a decision begins with a repair of what needs none. */
static bool is_repair(const struct qcow2_remedy *remedy)
{
	return strcmp(remedy->command, "qcow2 repair IMAGE") == 0;
}

static void describe(struct check_step *step, const struct qcow2_remedy *remedy)
{
	bool by_hand =
		(remedy->effect == QCOW2_REMEDY_BY_HAND && !is_repair(remedy)) || !step->command;

	/* A repair that mends other kinds as well is no decision. */
	step->by_hand = by_hand && !step->mends_image;
	step->mends_image = !by_hand || step->mends_image;
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

static void find_wanted(const struct check_report *report, bool wanted[BITMAP_ROWS])
{
	for (size_t i = 0; i < BITMAP_ROWS; i++)
		wanted[i] = is_wanted(report, qcow2_remedy_find(bitmap_rows[i]));
}

/* Whether bitmaps have to be given up, so that one command mends the others as well. */
static bool gives_up_bitmaps(const bool wanted[BITMAP_ROWS])
{
	return wanted[ASSUME_DIRTY] || wanted[DROP];
}

/* What a repair mends of bitmaps without giving any up. */
static void add_bitmaps(struct check_steps *steps, const struct check_report *report)
{
	bool wanted[BITMAP_ROWS];

	find_wanted(report, wanted);
	if (gives_up_bitmaps(wanted))
		return;
	if (wanted[REPAIR])
		add_remedy(steps, report, qcow2_remedy_find(bitmap_rows[REPAIR]));
	if (wanted[REPAIR_OR_ASK])
		add_remedy(steps, report, qcow2_remedy_find(bitmap_rows[REPAIR_OR_ASK]));
}

/*
 * What gives bitmaps up: one command for all of them. What leaks may be what they had, and a repair
 * that gives nothing up keeps it.
 */
static void add_bitmaps_given_up(struct check_steps *steps, const struct check_report *report)
{
	bool wanted[BITMAP_ROWS];
	struct check_step *step;
	char *command;

	find_wanted(report, wanted);
	if (!gives_up_bitmaps(wanted) && !wanted[STALE])
		return;
	command = check_steps_line(steps, "qcow2 repair --all ", report->file, "");
	step = command ? find(steps, command) : NULL;
	if (step)
		free(command);
	else
		step = add(steps, command,
			   wanted[DROP] ? "Makes bitmaps all dirty that nothing can mend, and "
					  "drops those that cannot even be all dirty."
					: "Makes bitmaps all dirty that nothing can mend.");
	if (!step)
		return;
	step->qemu = "refuses the image, or leaves it";
	step->mends_image = true;
	for (size_t i = 0; i < BITMAP_ROWS; i++)
		if (wanted[i] && (i == STALE || gives_up_bitmaps(wanted)))
			add_kinds(step, report, qcow2_remedy_find(bitmap_rows[i]), false);
	add_cost(step, wanted[DROP] ? "The next incremental backup copies the whole disk; the next "
				      "one of the chain of a dropped bitmap has to be a full one."
				    : "The next incremental backup copies the whole disk.");
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

/*
 * What leaks may be what bitmaps had that are given up: a repair keeps it until they are, so the
 * command that does it is the one that frees leaks.
 */
static void join_leaks(struct check_steps *steps, const struct check_report *report)
{
	const struct qcow2_problem_kind *leak = qcow2_problem_kind_get(QCOW2_PROBLEM_REFCOUNT_HIGH);
	struct check_step *giving_up, *freeing = NULL;
	bool wanted[BITMAP_ROWS];
	char *command;

	find_wanted(report, wanted);
	if (!gives_up_bitmaps(wanted) && !wanted[STALE])
		return;
	command = check_steps_line(steps, "qcow2 repair --all ", report->file, "");
	giving_up = command ? find(steps, command) : NULL;
	free(command);
	for (size_t i = 0; i < steps->count && !freeing; i++)
		if (frees_leaks(&steps->list[i]))
			freeing = &steps->list[i];
	if (!giving_up || !freeing || giving_up == freeing)
		return;
	take_kind(freeing, leak, report->result->leaks);
	if (giving_up->mend_count < MENDS_MOST)
		giving_up->mends[giving_up->mend_count++] = leak;
	giving_up->problems += report->result->leaks;
	if (freeing->mend_count > 0)
		return;
	free(freeing->command);
	memmove(freeing, freeing + 1,
		(size_t)(&steps->list[--steps->count] - freeing) * sizeof(*freeing));
}

/* Nothing is repaired in an image with features that are not known. */
static void take_out_repairs(struct check_steps *steps)
{
	size_t kept = 0;

	for (size_t i = 0; i < steps->count; i++)
		if (steps->list[i].command && steps->list[i].mends_image)
			free(steps->list[i].command);
		else
			steps->list[kept++] = steps->list[i];
	steps->count = kept;
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
	add_bitmaps_given_up(steps, report);
	if (report->result->leaks_may_be_data) {
		warn_of_leaks(steps, report);
	} else {
		join_leaks(steps, report);
		look_for_l1(steps, report);
		warn_of_content(steps, report);
	}
	if (check_report_unread(report))
		warn_of_unread(steps, report);
	warn_of_cut(steps, report);
	if (check_report_found(report, QCOW2_PROBLEM_FEATURE_INCOMPATIBLE_UNKNOWN) > 0)
		take_out_repairs(steps);
	if (report->result->corruptions > 0 &&
	    (report->undo_known ? report->has_undo
				: check_has_undo_files(report->file, &steps->short_of_memory)))
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
