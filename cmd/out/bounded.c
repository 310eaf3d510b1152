/* SPDX-License-Identifier: MIT */
/* See bounded.h. */
#include "out/bounded.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX "-omitted"

bool bounded_is_omitted(const char *name)
{
	const size_t size = strlen(name), suffix = sizeof(SUFFIX) - 1;

	return size >= suffix && strcmp(name + size - suffix, SUFFIX) == 0;
}

/* Hands a value to all pages. */
static int pass(const struct bounded *b, const struct qcow2_value *value)
{
	int result = 0;

	for (unsigned i = 0; i < BOUNDED_PAGES && result == 0; i++)
		result = b->visitor[i]->field(b->opaque[i], value);
	return result;
}

static int pass_number(const struct bounded *b, const char *name, const char *suffix,
		       uint64_t number)
{
	char key[96];
	const struct qcow2_value value = {.size = sizeof(value),
					  .name = key,
					  .kind = QCOW2_VALUE_NUMBER,
					  .style = QCOW2_STYLE_DECIMAL,
					  .number = number,
					  .offset_bytes = QCOW2_NO_OFFSET};

	snprintf(key, sizeof(key), "%.63s%s", name, suffix);
	return pass(b, &value);
}

static void enter(struct bounded *b, const struct qcow2_node *node, bool is_list)
{
	struct bounded_level *level = &b->levels[b->depth];

	assert(b->depth + 1 < BOUNDED_DEPTH);
	*level = (struct bounded_level){.is_list = is_list};
	snprintf(level->key, sizeof(level->key), "%s", node->key ? node->key : "entries");
	b->depth++;
}

/* Whether the list that is open takes one more element; it is counted in either case. */
static bool takes(struct bounded *b, const struct qcow2_node *node)
{
	struct bounded_level *list = b->depth > 0 ? &b->levels[b->depth - 1] : NULL;
	const uint64_t most = node->layout == QCOW2_LAYOUT_ROW ? b->rows_most : b->blocks_most;

	if (!list || !list->is_list)
		return true;
	if (list->passed < most) {
		list->passed++;
		return true;
	}
	list->omitted++;
	return false;
}

static int begin_struct(void *opaque, const struct qcow2_node *node)
{
	struct bounded *b = opaque;
	int result = 0;

	if (b->muted > 0 || !takes(b, node)) {
		b->muted++;
		return 0;
	}
	enter(b, node, false);
	for (unsigned i = 0; i < BOUNDED_PAGES && result == 0; i++)
		result = b->visitor[i]->begin_struct(b->opaque[i], node);
	return result;
}

static int end_struct(void *opaque, const struct qcow2_node *node)
{
	struct bounded *b = opaque;
	int result = 0;

	if (b->muted > 0) {
		b->muted--;
		return 0;
	}
	b->depth--;
	for (unsigned i = 0; i < BOUNDED_PAGES && result == 0; i++)
		result = b->visitor[i]->end_struct(b->opaque[i], node);
	return result;
}

static int begin_list(void *opaque, const struct qcow2_node *node)
{
	struct bounded *b = opaque;
	int result = 0;

	if (b->muted > 0) {
		b->muted++;
		return 0;
	}
	enter(b, node, true);
	for (unsigned i = 0; i < BOUNDED_PAGES && result == 0; i++)
		result = b->visitor[i]->begin_list(b->opaque[i], node);
	return result;
}

/* How many entries of a list were not passed on, those included that the walk left out. */
static uint64_t left_out(const struct bounded *b, const struct bounded_level *list)
{
	uint64_t omitted = list->omitted;

	for (size_t i = 0; i < b->total_count; i++)
		if (strcmp(b->totals[i].key, list->key) == 0 &&
		    b->totals[i].entries > list->passed + omitted)
			omitted = b->totals[i].entries - list->passed;
	return omitted;
}

static int end_list(void *opaque, const struct qcow2_node *node)
{
	struct bounded *b = opaque;
	const struct bounded_level *list;
	uint64_t omitted;
	int result = 0;

	if (b->muted > 0) {
		b->muted--;
		return 0;
	}
	list = &b->levels[--b->depth];
	for (unsigned i = 0; i < BOUNDED_PAGES && result == 0; i++)
		result = b->visitor[i]->end_list(b->opaque[i], node);
	omitted = left_out(b, list);
	if (result == 0 && omitted > 0)
		result = pass_number(b, list->key, SUFFIX, omitted);
	return result;
}

static struct qcow2_bytes cut(struct qcow2_bytes bytes, size_t most)
{
	if (bytes.size > most)
		bytes.size = most;
	return bytes;
}

static int field(void *opaque, const struct qcow2_value *value)
{
	const struct bounded *b = opaque;
	struct qcow2_value shorter = *value;
	int result;

	if (b->muted > 0)
		return 0;
	shorter.bytes = cut(value->bytes, b->bytes_most);
	shorter.raw = cut(value->raw, b->bytes_most);
	result = pass(b, &shorter);
	if (result == 0 && shorter.bytes.size < value->bytes.size)
		result = pass_number(b, value->name, SUFFIX "-bytes",
				     value->bytes.size - shorter.bytes.size);
	return result;
}

/* Each page has a limit of its own for problems. */
static int problem(void *opaque, const struct qcow2_problem *problem)
{
	const struct bounded *b = opaque;

	for (unsigned i = 0; i < BOUNDED_PAGES; i++)
		if (b->visitor[i]->problem)
			(void)b->visitor[i]->problem(b->opaque[i], problem);
	return 0;
}

const struct qcow2_visitor bounded_visitor = {
	.size = sizeof(struct qcow2_visitor),
	.begin_struct = begin_struct,
	.end_struct = end_struct,
	.begin_list = begin_list,
	.end_list = end_list,
	.field = field,
	.problem = problem,
};
