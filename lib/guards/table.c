/* SPDX-License-Identifier: MIT */
/* The table of guards, expanded from def/guards.def. */
#include <string.h>

#include <qcow2/guard.h>

/* In the order of the rows; numbers may have gaps. */
static const struct qcow2_guard guards[] = {
#define QCOW2_GUARD(row_number, ID, row_id, row_section, row_what, row_says, row_unless,           \
		    row_refusal, row_way_out)                                                      \
	{.size = sizeof(struct qcow2_guard),                                                       \
	 .number = (row_number),                                                                   \
	 .id = (row_id),                                                                           \
	 .section = (row_section),                                                                 \
	 .what = (row_what),                                                                       \
	 .says = (row_says),                                                                       \
	 .unless = (row_unless),                                                                   \
	 .refusal = (row_refusal),                                                                 \
	 .way_out = (row_way_out)},
#include <qcow2/def/guards.def>
#undef QCOW2_GUARD
};

#define ROWS (sizeof(guards) / sizeof(guards[0]))

const struct qcow2_guard *qcow2_guard_next(const struct qcow2_guard *before)
{
	const struct qcow2_guard *next = before ? before + 1 : guards;

	return next < guards + ROWS ? next : NULL;
}

const struct qcow2_guard *qcow2_guard_get(unsigned number)
{
	for (size_t row = 0; row < ROWS; row++)
		if (guards[row].number == number)
			return &guards[row];
	return NULL;
}

const struct qcow2_guard *qcow2_guard_find(const char *id)
{
	for (size_t row = 0; row < ROWS; row++)
		if (strcmp(guards[row].id, id) == 0)
			return &guards[row];
	return NULL;
}
