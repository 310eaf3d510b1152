/* SPDX-License-Identifier: MIT */
/* The table of problems, expanded from def/problems.def. */
#include <string.h>

#include <qcow2/problem.h>

static const struct qcow2_problem_kind kinds[] = {
#define QCOW2_PROBLEM(ID, id_text, level, can_repair, section_text, text_text, consequence_text)   \
	[QCOW2_PROBLEM_##ID] = {.id = (id_text),                                                   \
				.text = (text_text),                                               \
				.consequence = (consequence_text),                                 \
				.section = (section_text),                                         \
				.severity = QCOW2_##level,                                         \
				.repairable = (can_repair)},
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
};

const struct qcow2_problem_kind *qcow2_problem_kinds(size_t *count)
{
	*count = QCOW2_PROBLEM_COUNT;
	return kinds;
}

const struct qcow2_problem_kind *qcow2_problem_find(const char *id)
{
	for (size_t i = 0; i < QCOW2_PROBLEM_COUNT; i++)
		if (strcmp(kinds[i].id, id) == 0)
			return &kinds[i];
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
