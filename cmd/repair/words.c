/* SPDX-License-Identifier: MIT */
/* See words.h. */
#include "repair/words.h"

#include <inttypes.h>

#include "check/verdict.h"

static void count(struct spool *out, const char **between, uint64_t number, const char *word)
{
	if (number == 0)
		return;
	spool_print(out, "%s%" PRIu64 " %s%s", *between, number, word, number == 1 ? "" : "s");
	*between = ", ";
}

void repair_say_counts(struct spool *out, const struct qcow2_check_result *result)
{
	const char *between = "";

	count(out, &between, result->corruptions, "corruption");
	count(out, &between, result->leaks, "leak");
	count(out, &between, result->warnings, "warning");
	if (between[0] == '\0')
		spool_text(out, "no problems");
}

/* In the words of a check, so that one image is not called two things. */
const char *repair_verdict(const struct qcow2_check_result *result)
{
	static const char *const words[] = {
		[VERDICT_SOUND] = "sound",
		[VERDICT_LEAKS] = "intact, but wasting space",
		[VERDICT_NOT_CLOSED] = "not closed (dirty bit)",
		[VERDICT_MARKED] = "marked as corrupt, but nothing else is wrong",
		[VERDICT_LOST] = "short of tables (leaks may be the guest's data)",
		[VERDICT_CORRUPT] = "corrupt",
	};
	/* What reads a report alone does not free its result. */
	const struct check_report report = {.result = (struct qcow2_check_result *)result};

	enum check_verdict verdict = check_verdict(&report);

	if (verdict == VERDICT_MARKED && result->leaks + result->warnings > 0)
		return "marked as corrupt, but nothing else is corrupt";
	return words[verdict];
}

static const char *of_past(enum qcow2_reads reads)
{
	switch (reads) {
	case QCOW2_READS_SAME:
		return "could read this";
	case QCOW2_READS_DATA:
		return "read here what it wrote";
	case QCOW2_READS_ZEROS:
		return "read zeros here";
	case QCOW2_READS_BACKING:
		return "read here what the backing file has";
	case QCOW2_READS_ERROR:
		return "could not read this";
	case QCOW2_READS_FOREIGN:
		return "read bytes here that are not its own";
	}
	return "read something here";
}

static const char *of_now(enum qcow2_reads reads)
{
	switch (reads) {
	case QCOW2_READS_SAME:
		return "reads the same";
	case QCOW2_READS_DATA:
		return "reads what it wrote";
	case QCOW2_READS_ZEROS:
		return "reads zeros";
	case QCOW2_READS_BACKING:
		return "reads what the backing file has, or zeros";
	case QCOW2_READS_ERROR:
		return "cannot read it";
	case QCOW2_READS_FOREIGN:
		return "reads bytes that are not its own";
	}
	return "reads something";
}

/* The same after "would" or "can". */
static const char *of_then(enum qcow2_reads reads)
{
	switch (reads) {
	case QCOW2_READS_SAME:
		return "read the same";
	case QCOW2_READS_DATA:
		return "read what it wrote";
	case QCOW2_READS_ZEROS:
		return "read zeros";
	case QCOW2_READS_BACKING:
		return "read what the backing file has, or zeros";
	case QCOW2_READS_ERROR:
		return "not read it";
	case QCOW2_READS_FOREIGN:
		return "read bytes that are not its own";
	}
	return "read something";
}

void repair_say_reads(struct spool *out, enum qcow2_reads before, enum qcow2_reads after,
		      bool planned)
{
	if (before == after)
		spool_print(out, "The guest %s, before and after",
			    before == QCOW2_READS_ERROR ? "cannot read this" : of_now(before));
	else if (planned && before == QCOW2_READS_ERROR)
		spool_print(out, "The guest cannot read this, and would %s", of_then(after));
	else if (planned)
		spool_print(out, "The guest %s, and would %s", of_now(before), of_then(after));
	else
		spool_print(out, "The guest %s, and %s now", of_past(before), of_now(after));
}
