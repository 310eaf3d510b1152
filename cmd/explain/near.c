/* SPDX-License-Identifier: MIT */
/* What somebody may have meant who asked qcow2 explain for a name that nothing has. */
#include <stdio.h>
#include <string.h>

#include "explain/explain.h"

#define NAME_MAX_BYTES 64
#define SLIPS_MAX      2 /* letters to add, drop or change that still make a slip */
#define NEAR_MAX       8

struct near {
	const char *wanted;
	char *list;
	size_t size;
	size_t used;
	size_t count;
};

/* How many letters to add, drop or change make b of a; names that are too long are far away. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NAME_MAX_BYTES + 1], width = strlen(b);

	if (strlen(a) > NAME_MAX_BYTES || width > NAME_MAX_BYTES)
		return SIZE_MAX;
	for (size_t i = 0; i <= width; i++)
		row[i] = i;
	for (size_t i = 0; a[i]; i++) {
		size_t above_left = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < width; j++) {
			size_t change = above_left + (a[i] != b[j]);
			size_t other = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;

			above_left = row[j + 1];
			row[j + 1] = change < other ? change : other;
		}
	}
	return row[width];
}

/* Short names are near to anything, so that a slip must leave most of a name as it is. */
static bool is_near(const char *wanted, const char *name)
{
	size_t length = strlen(wanted);
	size_t slips = length / 3 < SLIPS_MAX ? length / 3 : SLIPS_MAX;

	return length > 1 && (strstr(name, wanted) || distance(wanted, name) <= slips);
}

static void consider(struct near *near, const char *above, const char *name)
{
	size_t room = near->size - near->used;
	int length;

	if (near->count == NEAR_MAX || !is_near(near->wanted, name))
		return;
	length = snprintf(near->list + near->used, room, "%s%s%s%s", near->count ? ", " : "",
			  above ? above : "", above ? "/" : "", name);
	if ((size_t)length >= room) {
		near->list[near->used] = '\0';
		near->count = NEAR_MAX;
		return;
	}
	near->used += (size_t)length;
	near->count++;
}

size_t explain_near(const char *wanted, char *list, size_t size)
{
	const char *slash = strchr(wanted, '/');
	struct near near = {.wanted = slash ? slash + 1 : wanted, .list = list, .size = size};
	const struct qcow2_structure *const *structures;
	const struct qcow2_problem_kind *problem = NULL;
	const struct qcow2_names *const *tables;
	size_t count;

	list[0] = '\0';
	structures = qcow2_structures(&count);
	for (size_t s = 0; s < count; s++) {
		consider(&near, NULL, structures[s]->name);
		for (size_t f = 0; f < structures[s]->field_count; f++)
			consider(&near, structures[s]->name, structures[s]->fields[f].name);
	}
	tables = qcow2_names_tables(&count);
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < tables[t]->count; i++)
			consider(&near, NULL, tables[t]->list[i].name);
	while ((problem = qcow2_problem_kind_next(problem)))
		consider(&near, NULL, problem->id);
	return near.count;
}
