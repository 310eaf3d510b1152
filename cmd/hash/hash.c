/* SPDX-License-Identifier: MIT */
/* qcow2 hash: a digest of what the guest reads, however it is stored. */
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
#include "hash/run.h"

enum {
	OPTION_BLOCK,
	OPTION_SNAPSHOT,
	OPTION_CHAIN,
	OPTION_FORMAT,
	OPTION_KEY_FILE,
	OPTION_OUTPUT,
	OPTION_JSON,
};

static const struct option_row options[] = {
	{"block", 0, "SIZE", "a SHA-256 for each block of the disk, 512 to 1G", NULL},
	{"snapshot", 0, "SNAPSHOT", "the disk of a snapshot, by its ID or name", NULL},
	{"chain", 0, NULL, "open the files that the image names, too", NULL},
	{"format", 'f', "FORMAT", "of IMAGE: qcow2 or raw (default: looks)", "qcow2 raw"},
	{"key-file", 0, "FILE", "the passphrase of encrypted images; may be repeated", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* Reads the size of blocks. False, with a message, if it makes no sense. */
static bool take_block(struct hash_run *run, const char *value)
{
	if (!options_number(run->command, &options[OPTION_BLOCK], value, HASH_BLOCK_MOST,
			    &run->block_bytes))
		return false;
	run->by_block = true;
	if (run->block_bytes >= 512 && run->block_bytes % 512 == 0)
		return true;
	usage_error(run->command, "--block: whole sectors of 512 bytes, as 64k, not %" PRIu64,
		    run->block_bytes);
	return false;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct hash_run *run, int option, const char *value)
{
	int word;

	switch (option) {
	case OPTION_BLOCK:
		return take_block(run, value);
	case OPTION_SNAPSHOT:
		run->request.snapshot = value;
		return true;
	case OPTION_CHAIN:
		run->request.chain = true;
		return true;
	case OPTION_FORMAT:
		word = options_word(run->command, &options[option], value);
		run->request.format = word == 1 ? "raw" : "qcow2";
		return word >= 0;
	case OPTION_KEY_FILE:
		return disk_key_files_add(run->command, options[option].name,
					  &run->request.key_files, value);
	case OPTION_JSON:
		run->as_json = true;
		return true;
	default:
		return options_output(run->command, value, &run->as_json);
	}
}

/* Says what cannot be read. Returns the exit code. */
static int judge(const struct hash_run *run)
{
	char text[256];

	if (run->unreadable_bytes == 0)
		return EXIT_FINE;
	snprintf(text, sizeof(text), "blocks of %" PRIu64 " bytes cannot be read: %s",
		 run->unreadable_bytes, run->reason);
	report_text(run->command, run->request.file, text);
	return EXIT_MALFORMED;
}

static int run_disk(struct hash_run *run)
{
	uint64_t zeros_after = 0;
	struct qcow2_error err;
	int failed, code;

	run->size_bytes = qcow2_disk_size_bytes(run->disk.disk);
	progress_init(&run->progress);
	spool_init(&run->out, STDOUT_FILENO);
	hash_begin(run);
	failed = hash_walk(run, &zeros_after, &err);
	if (!failed)
		hash_end(run, zeros_after);
	progress_end(&run->progress);
	/* After a failure nothing is printed, unless the output streams already. */
	if (failed)
		code = report_error(run->command, run->request.file, &err);
	else
		code = finish_output(run->command, &run->out, judge(run));
	spool_release(&run->out);
	return code;
}

static int run_with(struct hash_run *run, int argc, char **argv)
{
	const char *value;
	int code = EXIT_COULD_NOT, option;

	while ((option = options_next(run->command, argc, argv, &value, &code)) >= 0)
		if (!take_option(run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	code = operands_one_image(run->command, argc, argv, &run->request.file);
	run->threads = crew_threads();
	served_readers(run->command, run->threads);
	run->buffers = calloc(run->threads, sizeof(*run->buffers));
	if (!run->buffers)
		return report_text(run->command, "", "out of memory");
	if (code == EXIT_FINE)
		code = disks_open_sealed(run->command, &run->request, &run->disk, 1);
	if (code == EXIT_FINE)
		code = run_disk(run);
	disks_close(&run->disk, 1);
	for (unsigned i = 0; i < run->threads; i++)
		free(run->buffers[i]);
	free(run->buffers);
	return code;
}

static int run_hash(const struct command *command, int argc, char **argv)
{
	struct hash_run *run = calloc(1, sizeof(*run));
	int code;

	if (!run)
		return report_text(command, "", "out of memory");
	run->command = command;
	run->block_bytes = HASH_BLOCK_BYTES;
	code = run_with(run, argc, argv);
	free(run);
	return code;
}

const struct command hash_command = {
	.name = "hash",
	.operands = "IMAGE",
	.summary = "Print a digest of what the guest reads, however it is stored.",
	.notes = "Images and raw files with the same disk have the same digest, and no others. "
		 "Without --block it is a digest of digests: docs/hash.md has a program that "
		 "computes it.\n"
		 "IMAGE is a qcow2 image or a raw file; name the format of a raw file, as its "
		 "bytes may look like an image.\n"
		 "Exit codes: 0 done, 1 failed, 2 done, but blocks cannot be read (--block).\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_hash,
};
