/* SPDX-License-Identifier: MIT */
/* What somebody may have meant who asked qcow2 explain for a name that nothing has. */
#include <stdio.h>
#include <string.h>

#include "explain/explain.h"
#include "out/suggest.h"

#define SLIPS_MAX 2 /* letters to add, drop, change or swap that still make a slip */
#define NEAR_MAX  8
/* A word as long as this is looked for in what values mean, too: "deflate" is zlib. */
#define MEANING_WORD 5

struct near {
	const char *wanted;
	char *list;
	size_t size;
	size_t used;
	size_t count;
};

/* Short names are near to anything, so that a slip must leave most of a name as it is. */
static bool is_near(const char *wanted, const char *name)
{
	size_t length = strlen(wanted);
	size_t slips = length / 3 < SLIPS_MAX ? length / 3 : SLIPS_MAX;

	return length > 1 &&
	       (strstr(name, wanted) || suggest_distance(wanted, name, (unsigned)slips) <= slips);
}

static void add(struct near *near, const char *above, const char *name)
{
	size_t room = near->size - near->used;
	int length;

	if (near->count == NEAR_MAX)
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

static void consider(struct near *near, const char *above, const char *name)
{
	if (is_near(near->wanted, name))
		add(near, above, name);
}

static void consider_value(struct near *near, const struct qcow2_name *value)
{
	bool meant = strlen(near->wanted) >= MEANING_WORD && strstr(value->meaning, near->wanted);

	if (meant || is_near(near->wanted, value->name))
		add(near, NULL, value->name);
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
			consider_value(&near, &tables[t]->list[i]);
	while ((problem = qcow2_problem_kind_next(problem)))
		consider(&near, NULL, problem->id);
	return near.count;
}
