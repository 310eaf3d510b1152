/* SPDX-License-Identifier: MIT */
/*
 * A program that tests/lint/newer.py compiles with the headers as they are and runs with a library
 * that knows a kind more and has larger structures. Finds one problem, counts it, walks the image,
 * and looks whether the library has written past the storage of the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/check.h>
#include <qcow2/source.h>
#include <qcow2/walk.h>

/* The first byte behind the fields of the header that are known: padding. */
#define PADDING_AT 105
#define GUARDED    0x5a

struct found {
	unsigned problems, fields;
	unsigned number;
	char id[64];
};

static int take_problem(void *opaque, const struct qcow2_problem *problem)
{
	struct found *found = opaque;
	struct qcow2_problem *copy = qcow2_problem_copy(problem);

	if (!copy || strcmp(copy->where, problem->where) != 0)
		abort();
	qcow2_problem_free(copy);
	found->problems++;
	found->number = problem->kind->number;
	snprintf(found->id, sizeof(found->id), "%s", problem->kind->id);
	return 0;
}

static int take_field(void *opaque, const struct qcow2_value *value)
{
	struct found *found = opaque;

	found->fields += value->name != NULL;
	return 0;
}

static void look(const struct qcow2_image *image)
{
	struct {
		struct qcow2_check_options options;
		unsigned char guard[256];
	} own = {.options = {.size = sizeof(own.options), .threads = 1}};
	const struct qcow2_visitor visitor = {.size = sizeof(visitor), .field = take_field};
	struct qcow2_check_result *result;
	struct found found = {0};
	struct qcow2_error err;

	memset(own.guard, GUARDED, sizeof(own.guard));
	own.options.problem = take_problem;
	own.options.opaque = &found;
	if (qcow2_check(image, &own.options, &result, &err) != 0 || found.problems != 1 ||
	    result->corruptions + result->leaks + result->warnings != 1 ||
	    qcow2_walk(image, NULL, 0, &visitor, &found, &err) != 0 || found.fields < 20)
		abort();
	for (size_t i = 0; i < sizeof(own.guard); i++)
		if (own.guard[i] != GUARDED)
			abort();
	printf("found %s %u\n", found.id, (unsigned)qcow2_check_result_count(result, found.number));
	qcow2_check_result_free(result);
}

int main(int argc, char **argv)
{
	static unsigned char bytes[1 << 20];
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
	size_t size = file ? fread(bytes, 1, sizeof(bytes), file) : 0;

	bytes[PADDING_AT] = 1;
	if (qcow2_source_from_memory(bytes, size, &source, &err) != 0 ||
	    qcow2_image_open(source, &image, &err) != 0)
		return 1;
	look(image);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return 0;
}
