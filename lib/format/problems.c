/* SPDX-License-Identifier: MIT */
/* The table of problems, expanded from def/problems.def; and copies of problems. */
#include <string.h>

#include "base/alloc.h"
#include "format/problems.h"
#include "format/remedies.h"

/* Indexed by number; a number that no row has is a kind without an id. */
static const struct qcow2_problem_kind kinds[Q2_PROBLEM_NUMBERS] = {
#define QCOW2_PROBLEM(row_number, ID, row_id, level, harm, row_remedy, row_section, row_text,      \
		      row_consequence)                                                             \
	[row_number] = {.size = sizeof(struct qcow2_problem_kind),                                 \
			.number = (row_number),                                                    \
			.id = (row_id),                                                            \
			.text = (row_text),                                                        \
			.consequence = (row_consequence),                                          \
			.section = (row_section),                                                  \
			.severity = QCOW2_##level,                                                 \
			.repairable = Q2_REMEDY_REPAIRS_##row_remedy,                              \
			.damage = QCOW2_DAMAGE_##harm,                                             \
			.remedy = &q2_remedies[Q2_REMEDY_##row_remedy]},
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
};

/* The numbers in the order of the rows. */
static const uint16_t order[] = {
#define QCOW2_PROBLEM(number, ID, id, severity, damage, remedy, section, text, consequence) number,
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
};

#define ROWS (sizeof(order) / sizeof(order[0]))

const struct qcow2_problem_kind *qcow2_problem_kind_next(const struct qcow2_problem_kind *before)
{
	size_t row = 0;

	while (before && row < ROWS && order[row] != before->number)
		row++;
	if (before)
		row++;
	return row < ROWS ? &kinds[order[row]] : NULL;
}

const struct qcow2_problem_kind *qcow2_problem_kind_get(unsigned number)
{
	return number < Q2_PROBLEM_NUMBERS && kinds[number].id ? &kinds[number] : NULL;
}

const struct qcow2_problem_kind *qcow2_problem_kind_find(const char *id)
{
	for (size_t row = 0; row < ROWS; row++)
		if (strcmp(kinds[order[row]].id, id) == 0)
			return &kinds[order[row]];
	return NULL;
}

const char *qcow2_severity_name(enum qcow2_severity severity)
{
	switch (severity) {
	case QCOW2_WARNING:
		return "warning";
	case QCOW2_LEAK:
		return "leak";
	case QCOW2_CORRUPTION:
		return "corruption";
	}
	return "unknown";
}

const char *qcow2_damage_name(enum qcow2_damage damage)
{
	switch (damage) {
	case QCOW2_DAMAGE_NONE:
		return "none";
	case QCOW2_DAMAGE_AT_RISK:
		return "at-risk";
	case QCOW2_DAMAGE_UNREADABLE:
		return "unreadable";
	case QCOW2_DAMAGE_LOST:
		return "lost";
	}
	return "unknown";
}

/* ---- copies ---- */

/* A problem and what it points to, in one piece of memory. */
struct copy {
	struct qcow2_problem problem;
	const struct qcow2_owner *pointers[QCOW2_PROBLEM_OWNERS_MAX];
	struct qcow2_owner owners[];
};

struct qcow2_problem *qcow2_problem_copy(const struct qcow2_problem *problem)
{
	size_t count = problem->owner_count < QCOW2_PROBLEM_OWNERS_MAX ? problem->owner_count
								       : QCOW2_PROBLEM_OWNERS_MAX;
	struct copy *copy = q2_alloc(sizeof(*copy) + count * sizeof(copy->owners[0]));

	if (!copy)
		return NULL;
	copy->problem = *problem;
	for (size_t i = 0; i < count; i++) {
		copy->owners[i] = *problem->owners[i];
		copy->pointers[i] = &copy->owners[i];
	}
	copy->problem.owner_count = (unsigned)count;
	copy->problem.owners = copy->pointers;
	return &copy->problem;
}

void qcow2_problem_free(struct qcow2_problem *problem)
{
	/* The problem is the first member of its copy. */
	q2_free(problem);
}
