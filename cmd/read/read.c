/* SPDX-License-Identifier: MIT */
/* qcow2 read: the bytes that a guest reads from its disk. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "common/crew.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "common/served.h"
#include "read/run.h"

enum {
	OPTION_GUEST,
	OPTION_HEX,
	OPTION_SNAPSHOT,
	OPTION_VM_STATE,
	OPTION_CHAIN,
	OPTION_FORMAT,
	OPTION_KEY_FILE,
	OPTION_SALVAGE,
};

static const struct option_row options[] = {
	{"guest", 0, "RANGE", "OFFSET+LENGTH, or from OFFSET on (default all)", NULL},
	{"hex", 'x', NULL, "a hex dump, with what each row is", NULL},
	{"snapshot", 0, "SNAPSHOT", "the disk of a snapshot, by its ID or name", NULL},
	{"vm-state", 0, NULL, "the state of the machine in the snapshot", NULL},
	{"chain", 0, NULL, "open the files that the image names, too", NULL},
	{"format", 'f', "FORMAT", "of IMAGE: qcow2 or raw (default: looks)", "qcow2 raw"},
	{"key-file", 0, "FILE", "the passphrase of encrypted images; may be repeated", NULL},
	{"salvage", 0, NULL, "zeros for what cannot be read", NULL},
};

/* ---- the command line ---- */

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct read_run *run, int option, const char *value)
{
	struct disk_request *request = &run->request;
	int word;

	switch (option) {
	case OPTION_GUEST:
		run->texts[run->text_count++] = value;
		return true;
	case OPTION_HEX:
		run->hex = true;
		return true;
	case OPTION_SNAPSHOT:
		request->snapshot = value;
		return true;
	case OPTION_VM_STATE:
		request->vm_state = true;
		return true;
	case OPTION_CHAIN:
		request->chain = true;
		return true;
	case OPTION_KEY_FILE:
		return disk_key_files_add(run->command, options[option].name, &request->key_files,
					  value);
	case OPTION_SALVAGE:
		request->salvage = true;
		return true;
	default:
		word = options_word(run->command, &options[option], value);
		request->format = word == 1 ? "raw" : "qcow2";
		return word >= 0;
	}
}

/* Reads the ranges. EXIT_FINE, or EXIT_COULD_NOT when the error has been said. */
static int take_ranges(struct read_run *run)
{
	struct qcow2_error err;

	for (size_t i = 0; i < run->text_count; i++)
		if (range_parse(run->texts[i], &run->ranges[i], &err))
			return usage_error(run->command, "--guest: %s", err.text);
	run->range_count = run->text_count > 0 ? run->text_count : 1;
	return EXIT_FINE;
}

static int take_operands(struct read_run *run, int argc, char **argv)
{
	int code = operands_one_image(run->command, argc, argv, &run->request.file);

	if (code == EXIT_FINE)
		code = take_ranges(run);
	if (code != EXIT_FINE)
		return code;
	if (run->request.vm_state && !run->request.snapshot)
		return usage_error(run->command, "--vm-state needs --snapshot");
	if (!run->hex && isatty(STDOUT_FILENO))
		return usage_error(run->command, "the bytes are not for a terminal: --hex shows "
						 "them, else use a pipe or a file");
	return EXIT_FINE;
}

/* ---- the run ---- */

/* Cuts a range without a length to the disk. EXIT_FINE, or EXIT_COULD_NOT with a message. */
static int fit_range(struct read_run *run, struct range *range)
{
	const uint64_t size = qcow2_disk_size_bytes(run->disk.disk);
	char text[160];

	if (!range->has_length)
		range->length = range->start < size ? size - range->start : 0;
	if (range->start <= size && range->length <= size - range->start) {
		run->total_bytes += range->length;
		return EXIT_FINE;
	}
	snprintf(text, sizeof(text),
		 "the range 0x%" PRIx64 "+0x%" PRIx64 " passes the end of the disk, at 0x%" PRIx64,
		 range->start, range->length, size);
	return report_text(run->command, run->request.file, text);
}

static int run_ranges(struct read_run *run)
{
	struct qcow2_error err;
	int code = EXIT_FINE, failed;

	for (size_t i = 0; i < run->range_count && code == EXIT_FINE; i++)
		code = fit_range(run, &run->ranges[i]);
	if (code != EXIT_FINE)
		return code;
	progress_init(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	failed = (run->hex ? read_hex : read_bytes)(run, &err);
	progress_end(&run->progress);
	code = read_faults_end(run);
	/* After a failure nothing is printed, unless the output streams already. */
	if (failed)
		code = report_error(run->command, run->request.file, &err);
	else
		code = finish_output(run->command, &run->out, code);
	spool_release(&run->out);
	return code;
}

static int run_with(struct read_run *run, int argc, char **argv)
{
	const char *value;
	int code = EXIT_COULD_NOT, option;

	/* -q keeps bytes, but no page. */
	if (run->command->common)
		run->command->common->has_data = true;
	while ((option = options_next(run->command, argc, argv, &value, &code)) >= 0) {
		if (!take_option(run, option, value))
			return EXIT_COULD_NOT;
		if (run->command->common)
			run->command->common->has_data = !run->hex;
	}
	if (option == OPTIONS_STOP)
		return code;
	code = take_operands(run, argc, argv);
	run->threads = crew_threads();
	served_readers(run->command, run->threads);
	if (code == EXIT_FINE)
		code = disks_open_sealed(run->command, &run->request, &run->disk, 1);
	if (code == EXIT_FINE)
		code = run_ranges(run);
	disks_close(&run->disk, 1);
	return code;
}

static int run_read(const struct command *command, int argc, char **argv)
{
	struct read_run run = {.command = command};
	int code;

	/* No line has more ranges than words. */
	run.texts = calloc((size_t)argc + 1, sizeof(*run.texts));
	run.ranges = calloc((size_t)argc + 1, sizeof(*run.ranges));
	if (run.texts && run.ranges)
		code = run_with(&run, argc, argv);
	else
		code = report_text(command, "", "out of memory");
	free(run.ranges);
	free(run.texts);
	return code;
}

const struct command read_command = {
	.name = "read",
	.operands = "IMAGE",
	.summary = "Read the bytes of the virtual disk, as the guest does.",
	.notes = "A RANGE is OFFSET+LENGTH, as 1M+64k, in bytes or, with an s, in sectors, as\n"
		 "128s+8s. Several are read one after the other. IMAGE is a qcow2 image or a raw\n"
		 "file; name the format of a raw file, as its bytes may look like an image.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but parts could not be read (--salvage).\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_read,
};
