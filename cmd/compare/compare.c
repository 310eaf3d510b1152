/* SPDX-License-Identifier: MIT */
/* qcow2 compare: whether two disks read the same, and where they do not. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "common/crew.h"
#include "common/options.h"
#include "common/report.h"
#include "common/served.h"
#include "compare/run.h"

enum {
	OPTION_STRICT,
	OPTION_SNAPSHOT_A,
	OPTION_SNAPSHOT_B,
	OPTION_CHAIN,
	OPTION_FORMAT_A,
	OPTION_FORMAT_B,
	OPTION_KEY_FILE_A,
	OPTION_KEY_FILE_B,
	OPTION_PROGRESS,
	OPTION_OUTPUT,
	OPTION_JSON,
};

static const struct option_row options[] = {
	{"strict", 's', NULL, "sizes and what is allocated have to be the same, too", NULL},
	{"snapshot-a", 0, "SNAPSHOT", "of A: the disk of a snapshot, by its ID or name", NULL},
	{"snapshot-b", 0, "SNAPSHOT", "the same of B", NULL},
	{"chain", 0, NULL, "open the files that the images name, too", NULL},
	{"format-a", 'f', "FORMAT", "of A: qcow2 or raw (default: looks)", "qcow2 raw"},
	{"format-b", 'F', "FORMAT", "of B", "qcow2 raw"},
	{"key-file-a", 0, "FILE", "the passphrase of A, where it is encrypted", NULL},
	{"key-file-b", 0, "FILE", "the passphrase of B", NULL},
	{"progress", 'p', NULL, "show how far it is on standard error", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* ---- the command line ---- */

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct compare_run *run, int option, const char *value)
{
	struct disk_request *a = &run->requests[0], *b = &run->requests[1];
	int word;

	switch (option) {
	case OPTION_STRICT:
		run->strict = true;
		return true;
	case OPTION_SNAPSHOT_A:
		a->snapshot = value;
		return true;
	case OPTION_SNAPSHOT_B:
		b->snapshot = value;
		return true;
	case OPTION_CHAIN:
		a->chain = b->chain = true;
		return true;
	case OPTION_FORMAT_A:
	case OPTION_FORMAT_B:
		word = options_word(run->command, &options[option], value);
		(option == OPTION_FORMAT_A ? a : b)->format = word == 1 ? "raw" : "qcow2";
		return word >= 0;
	case OPTION_KEY_FILE_A:
	case OPTION_KEY_FILE_B:
		return disk_key_files_add(run->command, options[option].name,
					  &(option == OPTION_KEY_FILE_A ? a : b)->key_files, value);
	case OPTION_PROGRESS:
		run->progress_wanted = true;
		return true;
	case OPTION_JSON:
		run->as_json = true;
		return true;
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

static int take_operands(struct compare_run *run, int argc, char **argv)
{
	if (argc - optind != 2)
		return usage_error(run->command, "two images are compared, not %d", argc - optind);
	run->requests[0].file = argv[optind];
	run->requests[1].file = argv[optind + 1];
	return EXIT_FINE;
}

/* ---- the run ---- */

static int judge(const struct compare_run *run)
{
	if (run->ranges > 0 || (run->strict && run->sizes[0] != run->sizes[1]))
		return COMPARE_DIFFERENT;
	return COMPARE_SAME;
}

static int run_disks(struct compare_run *run)
{
	struct qcow2_error err;
	int failed, code;

	for (unsigned i = 0; i < 2; i++)
		run->sizes[i] = qcow2_disk_size_bytes(run->disks[i].disk);
	progress_init(&run->progress);
	if (run->progress_wanted)
		progress_force(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	failed = compare_walk(run, &err);
	if (!failed)
		compare_show_end(run);
	progress_end(&run->progress);
	/* After a failure nothing is printed, unless the output streams already. */
	if (failed) {
		report_error(run->command, run->requests[run->blamed].file, &err);
		code = run->code;
	} else {
		code = finish_output(run->command, &run->out, EXIT_FINE);
		code = code == EXIT_FINE ? judge(run) : COMPARE_COULD_NOT;
	}
	spool_release(&run->out);
	return code;
}

/* Returns an exit code of run.h. */
static int run_with(struct compare_run *run, int argc, char **argv)
{
	const char *value;
	int code = EXIT_COULD_NOT, option;

	while ((option = options_next(run->command, argc, argv, &value, &code)) >= 0)
		if (!take_option(run, option, value))
			return COMPARE_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code == EXIT_FINE ? COMPARE_SAME : COMPARE_COULD_NOT;
	if (take_operands(run, argc, argv) != EXIT_FINE)
		return COMPARE_COULD_NOT;
	run->threads = crew_threads();
	served_readers(run->command, run->threads);
	run->buffers = calloc(2 * (size_t)run->threads, sizeof(*run->buffers));
	if (!run->buffers) {
		report_text(run->command, "", "out of memory");
		return COMPARE_COULD_NOT;
	}
	code = COMPARE_COULD_NOT;
	if (disks_open_sealed(run->command, run->requests, run->disks, 2) == EXIT_FINE)
		code = run_disks(run);
	disks_close(run->disks, 2);
	for (size_t i = 0; i < 2 * (size_t)run->threads; i++)
		free(run->buffers[i]);
	free(run->buffers);
	return code;
}

static int run_compare(const struct command *command, int argc, char **argv)
{
	struct compare_run *run = calloc(1, sizeof(*run));
	int code;

	if (!run) {
		report_text(command, "", "out of memory");
		return COMPARE_COULD_NOT;
	}
	run->command = command;
	code = run_with(run, argc, argv);
	free(run);
	return code;
}

const struct command compare_command = {
	.name = "compare",
	.operands = "A B",
	.summary = "Say whether two disks read the same, and where they do not.",
	.notes = "A and B are qcow2 images or raw files; name the format of a raw file, as its "
		 "bytes may look like an image. For snapshots of one image, name it twice. With "
		 "-q it stops at the first difference.\n"
		 "Exit codes, as qemu-img compare: 0 identical, 1 different, 2 not opened, or the "
		 "line is wrong, 3 tables cannot be read, 4 data cannot be read.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.could_not = COMPARE_COULD_NOT,
	.run = run_compare,
};
