/* SPDX-License-Identifier: MIT */
/* The table of remedies, expanded from def/remedies.def, and their commands. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/features.h>
#include <qcow2/text.h>

#include "format/remedies.h"

const struct qcow2_remedy q2_remedies[Q2_REMEDY_ROWS] = {
#define QCOW2_REMEDY(ID, row_id, row_effect, row_command, row_argument, row_then, row_does,        \
		     row_cost, row_qemu)                                                           \
	{.size = sizeof(struct qcow2_remedy),                                                      \
	 .id = (row_id),                                                                           \
	 .effect = QCOW2_REMEDY_##row_effect,                                                      \
	 .command = (row_command),                                                                 \
	 .argument = (row_argument),                                                               \
	 .then = (row_then),                                                                       \
	 .does = (row_does),                                                                       \
	 .cost = (row_cost),                                                                       \
	 .qemu = (row_qemu)},
#include <qcow2/def/remedies.def>
#undef QCOW2_REMEDY
};

const struct qcow2_remedy *qcow2_remedy_next(const struct qcow2_remedy *before)
{
	const struct qcow2_remedy *next = before ? before + 1 : q2_remedies;

	return next < q2_remedies + Q2_REMEDY_ROWS ? next : NULL;
}

const struct qcow2_remedy *qcow2_remedy_find(const char *id)
{
	for (size_t row = 0; row < Q2_REMEDY_ROWS; row++)
		if (strcmp(q2_remedies[row].id, id) == 0)
			return &q2_remedies[row];
	return NULL;
}

const char *qcow2_remedy_effect_name(enum qcow2_remedy_effect effect)
{
	switch (effect) {
	case QCOW2_REMEDY_BY_HAND:
		return "by-hand";
	case QCOW2_REMEDY_LOSSLESS:
		return "lossless";
	case QCOW2_REMEDY_COSTS:
		return "costs";
	case QCOW2_REMEDY_NOT_NEEDED:
		return "not-needed";
	}
	return "unknown";
}

/* ---- commands ---- */

/* A line that takes what fits, and what the words of a template stand for. */
struct line {
	char *buffer;
	size_t size;
	size_t wanted;
	const char *file;
	const struct qcow2_problem *problem;
	bool failed;
};

static void put(struct line *line, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++, line->wanted++)
		if (line->wanted + 1 < line->size)
			line->buffer[line->wanted] = text[i];
}

static void put_text(struct line *line, const char *text)
{
	put(line, text, strlen(text));
}

/* The right value of what a problem names: what was found, without what may not be there. */
static bool right_value(const struct qcow2_problem *problem, uint64_t *value)
{
	switch ((enum qcow2_problem_id)problem->kind->number) {
	case QCOW2_PROBLEM_SNAPSHOT_DATE_NSEC:
		*value = 0;
		return true;
	case QCOW2_PROBLEM_ZERO_BEYOND_END:
		/* The flag alone. Extended entries have it in their other half, which stays. */
		*value = problem->found & QCOW2_ENTRY_MASK(l2_entry, zero);
		return problem->has_found;
	case QCOW2_PROBLEM_L1_ENTRY_RESERVED:
		*value = problem->found & ~qcow2_l1_entry_reserved;
		return problem->has_found;
	case QCOW2_PROBLEM_L2_ENTRY_RESERVED:
		*value = problem->found & ~qcow2_l2_entry_reserved;
		return problem->has_found;
	case QCOW2_PROBLEM_L2_ENTRY_ZERO_FLAG:
		*value = problem->found & ~QCOW2_ENTRY_MASK(l2_entry, zero);
		return problem->has_found;
	case QCOW2_PROBLEM_COMPRESSED_COPIED:
		*value = problem->found & ~QCOW2_ENTRY_MASK(l2_entry, copied);
		return problem->has_found;
	case QCOW2_PROBLEM_DATA_FILE_COPIED_CLEAR:
		*value = problem->found | QCOW2_ENTRY_MASK(l2_entry, copied);
		return problem->has_found;
	case QCOW2_PROBLEM_REFTABLE_ENTRY_RESERVED:
		*value = problem->found & ~qcow2_refcount_table_entry_reserved;
		return problem->has_found;
	default:
		*value = problem->expected;
		return problem->expectation == QCOW2_EXPECT_VALUE;
	}
}

static void put_file(struct line *line, const char *after)
{
	size_t room = line->wanted < line->size ? line->size - line->wanted : 0;
	char name[4096 + 16];

	if ((size_t)snprintf(name, sizeof(name), "%s%s", line->file, after) >= sizeof(name))
		line->failed = true;
	else
		line->wanted += qcow2_text_shell_file(
			name, room > 0 ? line->buffer + line->wanted : NULL, room);
}

static void put_value(struct line *line, const char *word, size_t length)
{
	const struct qcow2_problem *problem = line->problem;
	char number[32];
	uint64_t value;

	if (strncmp(word, "WHERE", length) == 0) {
		put_text(line, problem->where);
	} else if (strncmp(word, "VALUE", length) == 0) {
		line->failed |= !right_value(problem, &value);
		snprintf(number, sizeof(number), "0x%" PRIx64, line->failed ? 0 : value);
		put_text(line, number);
	} else if (strncmp(word, "MAGIC", length) == 0) {
		line->failed |= !problem->has_found;
		snprintf(number, sizeof(number), "0x%08" PRIx64, problem->found);
		put_text(line, number);
	} else if (strncmp(word, "SWITCH", length) == 0) {
		/* The bit that is set should not be. */
		put_text(line, problem->found & QCOW2_INCOMPATIBLE_COMPRESSION ? "off" : "on");
	} else {
		put(line, word, length);
	}
}

/* Puts a template; words in capitals are replaced if it is known what they stand for. */
/* By its name, as nothing is opened here: a copy beside a device would be in memory. */
static bool is_device_name(const char *file)
{
	return strncmp(file, "/dev/", 5) == 0 && strncmp(file, "/dev/shm/", 9) != 0;
}

static void put_template(struct line *line, const char *template)
{
	for (const char *at = template; *at;) {
		size_t length = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

		if (length < 4) {
			length = length > 0 ? length : 1;
			put(line, at, length);
		} else if (length == 5 && line->file && strncmp(at, "IMAGE", length) == 0) {
			put_file(line, "");
		} else if (length == 4 && line->file && strncmp(at, "COPY", length) == 0 &&
			   !is_device_name(line->file)) {
			put_file(line, ".copy");
		} else if (line->problem) {
			put_value(line, at, length);
		} else {
			put(line, at, length);
		}
		at += length;
	}
}

size_t qcow2_remedy_command(const struct qcow2_remedy *remedy, const char *file,
			    const struct qcow2_problem *const *problems, size_t count, char *buffer,
			    size_t size)
{
	struct line line = {.buffer = buffer, .size = size, .file = file};
	size_t arguments = remedy->argument[0] ? count : 0;

	put_template(&line, remedy->command);
	if (remedy->argument[0] && count == 0) {
		put_text(&line, " ");
		put_template(&line, remedy->argument);
	}
	for (size_t i = 0; i < arguments; i++) {
		line.problem = problems[i];
		put_text(&line, " ");
		put_template(&line, remedy->argument);
	}
	line.problem = NULL;
	if (remedy->then[0]) {
		put_text(&line, " && ");
		put_template(&line, remedy->then);
	}
	if (line.failed)
		line.wanted = 0;
	if (size > 0)
		buffer[line.wanted < size ? line.wanted : size - 1] = '\0';
	return line.wanted;
}
