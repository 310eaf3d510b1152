/* SPDX-License-Identifier: MIT */
/* See only.h. */
#include "repair/only.h"

#include <stdlib.h>
#include <string.h>

#include "common/report.h"
#include "out/suggest.h"

/* Which group the kinds belong to whose ids begin so: the first row that fits. */
static const struct {
	const char *prefix, *group;
} groups[] = {
	{"bitmap", "bitmaps"},
	{"feature-bitmaps", "bitmaps"},
	{"snapshot", "snapshots"},
	{"ref", "refcounts"},
	{"copied-", "refcounts"},
	{"cluster-owners", "mapping"},
	{"l1-", "mapping"},
	{"l2-", "mapping"},
	{"data-unaligned", "mapping"},
	{"data-beyond-end", "mapping"},
	{"zero-", "mapping"},
	{"data-file-offset", "mapping"},
	{"data-file-copied-clear", "mapping"},
	{"data-file-raw-unmapped", "mapping"},
	{"compressed-", "mapping"},
	{"subcluster-", "mapping"},
	{"", "header"},
};

static const char *group_of(const struct qcow2_problem_kind *kind)
{
	size_t i = 0;

	while (strncmp(kind->id, groups[i].prefix, strlen(groups[i].prefix)) != 0)
		i++;
	return groups[i].group;
}

static bool add(struct repair_run *run, const struct qcow2_problem_kind *kind)
{
	void *grown;

	for (size_t i = 0; i < run->how.only_count; i++)
		if (run->only[i] == kind)
			return true;
	grown = realloc(run->only, (run->how.only_count + 1) * sizeof(*run->only));
	if (!grown) {
		report_text(run->command, "", "out of memory");
		return false;
	}
	run->only = grown;
	run->only[run->how.only_count++] = kind;
	return true;
}

/* Says that a word is no kind of problem, and which one may be meant. */
static bool fail(const struct repair_run *run, const char *word)
{
	const struct qcow2_problem_kind *kind = NULL;
	struct suggestion suggestion;
	char text[SUGGEST_TEXT_MAX];

	suggest_begin(&suggestion, word);
	while ((kind = qcow2_problem_kind_next(kind)))
		suggest_offer(&suggestion, kind->id);
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		suggest_offer(&suggestion, groups[i].group);
	suggest_text(&suggestion, "", text, sizeof(text));
	usage_error(run->command, "--only: no problem is called '%s'%s%s", word, text,
		    text[0] ? "" : "; 'qcow2 check --list' lists them");
	return false;
}

static bool take_word(struct repair_run *run, const char *word)
{
	const struct qcow2_problem_kind *kind = qcow2_problem_kind_find(word);
	bool found = false;

	if (kind)
		return add(run, kind);
	while ((kind = qcow2_problem_kind_next(kind))) {
		if (strcmp(group_of(kind), word) != 0)
			continue;
		found = true;
		if (!add(run, kind))
			return false;
	}
	return found || fail(run, word);
}

bool repair_take_only(struct repair_run *run, const char *value)
{
	char word[128];

	for (size_t length;; value += length + 1) {
		length = strcspn(value, ",");
		if (length >= sizeof(word))
			length = sizeof(word) - 1;
		memcpy(word, value, length);
		word[length] = '\0';
		if (!take_word(run, word))
			return false;
		if (value[length] == '\0')
			return true;
	}
}
