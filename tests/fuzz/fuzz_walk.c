/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the walk: the input is an image, walked as by default, with everything, or with selectors,
 * and each value is touched. The visitor stops after a bound: many inputs are worth more than long
 * ones.
 */
#include <stdlib.h>

#include <qcow2/qcow2.h>

#define EVENTS_MAX 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the visitor has seen: a checksum that keeps every read alive, and how much is left. */
struct seen {
	uint64_t sum;
	uint64_t left;
	int depth;
};

static int tick(struct seen *seen)
{
	if (seen->left == 0)
		return 1;
	seen->left--;
	return 0;
}

/* Both ends, and enough between them: a page that is not there is never missed. */
static void touch(struct seen *seen, struct qcow2_bytes bytes)
{
	for (size_t i = 0; i < bytes.size; i += i < 64 ? 1 : 61)
		seen->sum = seen->sum * 31 + bytes.data[i];
	if (bytes.size > 0)
		seen->sum += bytes.data[bytes.size - 1];
}

static int begin(void *opaque, const struct qcow2_node *node)
{
	struct seen *seen = opaque;

	seen->depth++;
	seen->sum += node->offset_bytes ^ node->index;
	return tick(seen);
}

static int end(void *opaque, const struct qcow2_node *node)
{
	struct seen *seen = opaque;

	(void)node;
	if (--seen->depth < 0)
		abort();
	return tick(seen);
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct seen *seen = opaque;

	touch(seen, value->bytes);
	touch(seen, value->raw);
	seen->sum += value->number;
	return tick(seen);
}

static int problem(void *opaque, const struct qcow2_problem *problem)
{
	struct seen *seen = opaque;

	seen->sum += problem->found + (uint64_t)problem->where[0];
	return tick(seen);
}

static const struct qcow2_visitor visitor = {
	.size = sizeof(visitor),
	.begin_struct = begin,
	.end_struct = end,
	.begin_list = begin,
	.end_list = end,
	.field = field,
	.problem = problem,
};

static void walk(const struct qcow2_image *image, const char *const *selectors, size_t count)
{
	struct seen seen = {.left = EVENTS_MAX};
	struct qcow2_selection *selection;
	struct qcow2_error err;

	if (qcow2_selection_new(selectors, count, &selection, &err))
		abort();
	if (qcow2_walk(image, selection, 0, &visitor, &seen, &err) == 0 && seen.depth != 0)
		abort();
	qcow2_selection_free(selection);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const everything[] = {"all"};
	static const char *const few[] = {"header/size", "bitmaps/*/table/0..1", "l2/0/3..5"};
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		return 0;
	if (qcow2_image_open(source, &image, &err) == 0) {
		/* one of the bytes that no parser looks at says which walk it is */
		unsigned which = size > 111 ? data[111] % 3 : 0;

		walk(image,
		     which == 1   ? few
		     : which == 0 ? everything
				  : NULL,
		     which == 1 ? 3 : which == 0);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
