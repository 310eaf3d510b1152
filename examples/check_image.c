/* SPDX-License-Identifier: MIT */
/*
 * Checks an image and prints its problems, at most three of each kind. The exit status is 0 if the
 * image is sound, 2 if it is damaged, and 1 if it could not be checked.
 */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2/check.h>
#include <qcow2/source.h>

#define SHOWN_OF_A_KIND 3

/* The text, the place and the consequence are safe to print, whatever the image holds. */
static int print_problem(void *opaque, const struct qcow2_problem *problem)
{
	(void)opaque;
	printf("%s %s at %s", qcow2_severity_name(problem->kind->severity), problem->kind->id,
	       problem->where);
	if (problem->offset_bytes != QCOW2_NO_OFFSET)
		printf(" (0x%" PRIx64 ")", problem->offset_bytes);
	printf(": %s %s\n", problem->kind->text, problem->kind->consequence);
	for (unsigned i = 0; i < problem->owner_count; i++)
		printf("  used by %s\n", problem->owners[i]->where);
	return 0; /* go on */
}

/* Of a kind with more problems than were printed, how many there are. */
static void print_rest(const struct qcow2_check_result *result)
{
	const struct qcow2_problem_kind *kind = NULL;

	while ((kind = qcow2_problem_kind_next(kind)) != NULL) {
		uint64_t count = qcow2_check_result_count(result, kind->number);

		if (count > SHOWN_OF_A_KIND)
			printf("%" PRIu64 " of %s in all\n", count, kind->id);
	}
}

static int check(const struct qcow2_image *image, struct qcow2_error *err)
{
	const struct qcow2_check_options options = {
		.size = sizeof(options),
		.max_per_kind = SHOWN_OF_A_KIND,
		.problem = print_problem,
	};
	struct qcow2_check_result *result;
	int status;

	if (qcow2_check(image, &options, &result, err) != 0)
		return 1;
	print_rest(result);
	printf("%" PRIu64 " corruptions, %" PRIu64 " leaks, %" PRIu64 " warnings\n",
	       result->corruptions, result->leaks, result->warnings);
	status = result->corruptions > 0 ? 2 : 0;
	qcow2_check_result_free(result);
	return status;
}

int main(int argc, char **argv)
{
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_error err;
	int status = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: check_image IMAGE\n");
		return 1;
	}
	if (qcow2_source_open(argv[1], &source, &err) == 0 &&
	    qcow2_image_open(source, &image, &err) == 0)
		status = check(image, &err);
	if (status == 1)
		fprintf(stderr, "check_image: %s: %s\n", argv[1], err.text);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return status;
}
