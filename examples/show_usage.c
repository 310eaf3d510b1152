/* SPDX-License-Identifier: MIT */
/*
 * Prints what fills an image file, and what deleting each snapshot would free. Shows how to count
 * the usage of a file by kind and by user.
 */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2/image.h>
#include <qcow2/source.h>
#include <qcow2/usage.h>

static void print_usage(const struct qcow2_usage *usage)
{
	for (int kind = 0; kind < QCOW2_USAGE_KINDS; kind++) {
		const struct qcow2_usage_total *total = qcow2_usage_total_of(usage, kind);

		if (total->bytes > 0)
			printf("%-16s %12" PRIu64 "\n", qcow2_usage_kind_name(kind), total->bytes);
	}
	for (uint64_t i = 0; i < qcow2_usage_user_count(usage); i++) {
		const struct qcow2_usage_user *user = qcow2_usage_user_at(usage, i);

		if (user->part_of == QCOW2_PART_OF_SNAPSHOT)
			printf("snapshot %" PRIu64 ": %" PRIu64 " of %" PRIu64
			       " bytes are its own\n",
			       user->index, user->exclusive_bytes, user->referenced_bytes);
	}
}

int main(int argc, char **argv)
{
	const struct qcow2_usage_options options = {.size = sizeof(options), .users = true};
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_usage *usage = NULL;
	struct qcow2_error err;
	int failed = -1;

	if (argc != 2) {
		fprintf(stderr, "usage: show_usage IMAGE\n");
		return 1;
	}
	if (qcow2_source_open(argv[1], &source, &err) == 0 &&
	    qcow2_image_open(source, &image, &err) == 0)
		failed = qcow2_usage_open(image, &options, &usage, &err);
	if (failed)
		fprintf(stderr, "show_usage: %s: %s\n", argv[1], err.text);
	else
		print_usage(usage);
	qcow2_usage_close(usage);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return failed ? 1 : 0;
}
