/* SPDX-License-Identifier: MIT */
/* See verdict.h. */
#include "check/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/wrap.h"

#include <qcow2/text.h>

#define NAME_MAX_BYTES 4096
/* The columns that the line's second and further lines are indented by. */
#define HANGING 4

/* Kinds of corruptions that a writer with lazy refcounts leaves behind if it is killed. */
static bool may_lag(unsigned number)
{
	switch (number) {
	case QCOW2_PROBLEM_REFCOUNT_LOW:
	case QCOW2_PROBLEM_COPIED_SET:
	case QCOW2_PROBLEM_COPIED_CLEAR:
	case QCOW2_PROBLEM_REFBLOCK_BEYOND_END:
		return true;
	default:
		return false;
	}
}

bool check_lags(const struct check_report *report)
{
	const struct qcow2_problem_kind *kind = NULL;

	/* The check knows which refcounts may lag behind: they damage nothing. */
	if (check_report_found(report, QCOW2_PROBLEM_FEATURE_DIRTY) == 0 ||
	    report->result->damage_ranges > 0)
		return false;
	while ((kind = qcow2_problem_kind_next(kind)))
		if (kind->severity == QCOW2_CORRUPTION && !may_lag(kind->number) &&
		    check_report_found(report, kind->number) > 0)
			return false;
	return report->result->corruptions + report->result->leaks > 0;
}

enum check_verdict check_verdict(const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	uint64_t marked = check_report_found(report, QCOW2_PROBLEM_FEATURE_CORRUPT);
	bool lags = check_lags(report);

	if (result->corruptions > marked && !lags)
		return VERDICT_CORRUPT;
	if (check_report_lost(report))
		return VERDICT_LOST;
	if (marked > 0)
		return VERDICT_MARKED;
	if (lags)
		return VERDICT_NOT_CLOSED;
	return result->leaks > 0 ? VERDICT_LEAKS : VERDICT_SOUND;
}

const char *check_verdict_name(enum check_verdict verdict)
{
	static const char *const names[] = {
		[VERDICT_SOUND] = "sound",           [VERDICT_LEAKS] = "leaks",
		[VERDICT_NOT_CLOSED] = "not-closed", [VERDICT_MARKED] = "marked-corrupt",
		[VERDICT_LOST] = "lost-mappings",    [VERDICT_CORRUPT] = "corrupt",
	};

	return names[verdict];
}

const char *check_consequence(const struct check_report *report,
			      const struct qcow2_problem_kind *kind)
{
	bool counts = kind->number == QCOW2_PROBLEM_REFCOUNT_HIGH;

	if (counts && check_report_lost(report))
		return "What leaks may be the guest's data, whose mapping tables are lost: do not "
		       "free it before it was looked at.";
	if ((counts || may_lag(kind->number)) && check_lags(report))
		return "The image was not closed, so that this may be behind; the next writer "
		       "counts anew, and mends it.";
	return NULL;
}

/* Whether problems of a kind leave the guest's data alone, whatever their place. */
static bool spares_guest(const struct qcow2_problem_kind *kind)
{
	if (kind->damage != QCOW2_DAMAGE_NONE || kind->number == QCOW2_PROBLEM_BACKING_NAME_TEXT)
		return false;
	if (kind->severity != QCOW2_CORRUPTION || strncmp(kind->id, "bitmap", 6) == 0)
		return true;
	return kind->number == QCOW2_PROBLEM_FEATURE_CORRUPT ||
	       kind->number == QCOW2_PROBLEM_ZERO_BEYOND_END ||
	       kind->number == QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION ||
	       kind->number == QCOW2_PROBLEM_COPIED_CLEAR;
}

bool check_spares_guest(const struct check_report *report)
{
	const struct qcow2_problem_kind *kind = NULL;
	bool lags = check_lags(report);

	if (!report->result->clusters_checked || check_report_lost(report) ||
	    check_report_unread(report) || report->result->empty_tables > 0)
		return false;
	while ((kind = qcow2_problem_kind_next(kind)))
		if (check_report_found(report, kind->number) > 0 && !spares_guest(kind) &&
		    !(lags && may_lag(kind->number)))
			return false;
	return true;
}

/* "8 corruptions, 1 warning"; empty if there are no problems. */
static void counts(char *text, size_t size, const struct qcow2_check_result *result)
{
	const struct {
		uint64_t count;
		const char *word;
	} rows[] = {{result->corruptions, "corruption"},
		    {result->leaks, "leak"},
		    {result->warnings, "warning"}};
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].count > 0)
			used += (size_t)snprintf(text + used, size - used, "%s%" PRIu64 " %s%s",
						 used ? ", " : "", rows[i].count, rows[i].word,
						 rows[i].count == 1 ? "" : "s");
}

/* How the line goes on: in colour, before the numbers, and after them. */
struct words {
	const char *colour;
	const char *state;
	const char *before;
	const char *after;
};

static struct words words_of(const struct check_report *report, enum check_verdict verdict)
{
	static const struct words all[] = {
		[VERDICT_SOUND] = {"\033[32m", "is sound", "", ""},
		[VERDICT_LEAKS] = {"\033[35m", "is intact, but wastes space", "", ""},
		[VERDICT_NOT_CLOSED] = {"\033[33m", "was not closed",
					" (dirty bit), the next writer counts anew", ""},
		[VERDICT_MARKED] = {"\033[33m", "is marked as corrupt",
				    ", but nothing else is wrong", ""},
		[VERDICT_LOST] = {"\033[31m", "may have lost guest data", "", "; free no leaks"},
		[VERDICT_CORRUPT] = {"\033[31m", "is corrupt", "", ""},
	};
	struct words words = all[verdict];
	bool dirty = check_report_found(report, QCOW2_PROBLEM_FEATURE_DIRTY) > 0;

	if (verdict == VERDICT_SOUND && dirty)
		words.before = ", but was not closed (dirty bit), the next writer counts anew";
	if (verdict == VERDICT_CORRUPT && dirty)
		words.after = "; it was not closed, either (dirty bit)";
	if (verdict == VERDICT_CORRUPT && check_report_lost(report))
		words.after = "; free no leaks";
	if (verdict == VERDICT_MARKED && report->result->leaks + report->result->warnings > 0)
		words.before = ", but nothing else is corrupt";
	return words;
}

/* Behind the name, with what begins and ends the colour of the state. */
static void say_verdict(char text[CHECK_VERDICT_MAX], const struct check_report *report,
			const struct words *words, bool colour)
{
	char numbers[128];

	counts(numbers, sizeof(numbers), report->result);
	snprintf(text, CHECK_VERDICT_MAX, "%s%s%s%s%s%s%s", colour ? words->colour : "",
		 words->state, colour ? "\033[0m" : "", words->before, numbers[0] ? ": " : "",
		 numbers, words->after);
}

void check_verdict_text(char text[CHECK_VERDICT_MAX], const struct check_report *report)
{
	const struct words words = words_of(report, check_verdict(report));

	say_verdict(text, report, &words, false);
}

void check_verdict_print(struct spool *out, const struct check_report *report)
{
	const struct words words = words_of(report, check_verdict(report));
	char name[NAME_MAX_BYTES], verdict[CHECK_VERDICT_MAX],
		line[NAME_MAX_BYTES + CHECK_VERDICT_MAX];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)report->file, strlen(report->file)},
			  name, sizeof(name));
	say_verdict(verdict, report, &words, report->colour);
	snprintf(line, sizeof(line), "%s %s", name, verdict);
	if (report->terminal)
		wrap_text(out, line, 0, HANGING, report->columns);
	else
		spool_print(out, "%s\n", line);
}
