/* SPDX-License-Identifier: MIT */
/* qcow2 export: the guest's disk as a raw file, all of it or what was written since a backup. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/crew.h"
#include "common/operands.h"
#include "common/options.h"
#include "common/report.h"
#include "export/run.h"

enum {
	OPTION_TO,
	OPTION_FORMAT,
	OPTION_IMAGE_FORMAT,
	OPTION_SNAPSHOT,
	OPTION_CHAIN,
	OPTION_KEY_FILE,
	OPTION_BITMAP,
	OPTION_RANGES,
	OPTION_MANIFEST,
	OPTION_VERIFY,
	OPTION_SALVAGE,
	OPTION_SPARSE,
	OPTION_PREALLOCATE,
	OPTION_NO_SYNC,
	OPTION_FORCE,
	OPTION_OUTPUT,
	OPTION_JSON
};

static const struct option_row options[] = {
	{"to", 'o', "FILE", "where it goes; - is standard output", NULL},
	{"format", 0, "FORMAT", "raw (default), or stream: records, for a pipe", "raw stream"},
	{"image-format", 0, "FORMAT", "of IMAGE: qcow2 or raw (default: looks)", "qcow2 raw"},
	{"snapshot", 'l', "SNAPSHOT", "the disk of a snapshot, by its ID or name", NULL},
	{"chain", 0, NULL, "files that the image names are read as well", NULL},
	{"key-file", 0, "FILE", "the passphrase of an encrypted image; - is standard input", NULL},
	{"bitmap", 'b', "NAME", "only what is dirty, into an existing file; may be repeated", NULL},
	{"ranges", 0, "FILE", "only what a file lists, into an existing file", NULL},
	{"manifest", 0, "FILE", "writes what was exported, with a digest of each range", NULL},
	{"verify", 0, NULL, "compares a file with manifests: MANIFEST... FILE", NULL},
	{"salvage", 0, NULL, "what cannot be read becomes zeros, and is listed", NULL},
	{"sparse", 0, NULL, "zeros take no space in a new file (default)", NULL},
	{"preallocate", 0, NULL, "gives a new file all of its space first", NULL},
	{"no-sync", 0, NULL, "does not wait until all is on the medium", NULL},
	{"force", 'f', NULL, "replaces an existing file, or writes to a device", NULL},
	{"output", 0, "FORMAT", "human (default) or json", "human json"},
	{"json", 'j', NULL, "short for --output=json", NULL},
};

/* ---- the command line ---- */

static bool take_to(struct export_run *run, const char *value)
{
	run->to = value;
	if (strcmp(value, "-") == 0 && run->command->common)
		run->command->common->has_data = true;
	if (*value == '\0')
		usage_error(run->command, "--to: a file needs a name");
	return *value != '\0';
}

static bool take_bitmap(struct export_run *run, const char *value)
{
	const char **grown = realloc(run->bitmaps, (run->bitmap_count + 1) * sizeof(*run->bitmaps));

	if (!grown) {
		report_text(run->command, "", "out of memory");
		return false;
	}
	run->bitmaps = grown;
	run->bitmaps[run->bitmap_count++] = value;
	return true;
}

/* Takes an option that is there or is not. False: it is none of these. */
static bool take_flag(struct export_run *run, int option)
{
	bool *const flags[] = {
		[OPTION_CHAIN] = &run->chain,     [OPTION_VERIFY] = &run->verify,
		[OPTION_SALVAGE] = &run->salvage, [OPTION_SPARSE] = &run->sparse,
		[OPTION_NO_SYNC] = &run->no_sync, [OPTION_PREALLOCATE] = &run->preallocate,
		[OPTION_FORCE] = &run->force,     [OPTION_JSON] = &run->json,
	};

	if (!flags[option])
		return false;
	*flags[option] = true;
	return true;
}

/* Takes an option. False, with a message, if its value makes no sense. */
static bool take_option(struct export_run *run, int option, const char *value)
{
	int word;

	if (take_flag(run, option))
		return true;
	switch (option) {
	case OPTION_TO:
		return take_to(run, value);
	case OPTION_FORMAT:
		word = options_word(run->command, &options[option], value);
		run->stream = word == 1;
		return word >= 0;
	case OPTION_IMAGE_FORMAT:
		word = options_word(run->command, &options[option], value);
		run->image_format = word == 1 ? "raw" : "qcow2";
		return word >= 0;
	case OPTION_SNAPSHOT:
		run->snapshot = value;
		return true;
	case OPTION_KEY_FILE:
		return disk_key_files_add(run->command, options[option].name, &run->key_files,
					  value);
	case OPTION_BITMAP:
		return take_bitmap(run, value);
	case OPTION_RANGES:
		run->ranges_file = value;
		return true;
	case OPTION_MANIFEST:
		run->manifest = value;
		return true;
	default:
		return options_output(run->command, value, &run->json);
	}
}

/* What makes no sense together. NULL: it does. */
static const char *find_mix(const struct export_run *run)
{
	const bool to_output = strcmp(run->to, "-") == 0;
	const bool partial = run->bitmap_count > 0 || run->ranges_file;

	if (run->bitmap_count > 0 && run->ranges_file)
		return "either --bitmap or --ranges";
	if (run->bitmap_count > 0 && run->snapshot)
		return "bitmaps are of the active disk: --bitmap and --snapshot at once";
	if (run->stream && !to_output)
		return "--format=stream is for --to=-";
	if (partial && to_output && !run->stream)
		return "parts of a disk need an existing file, or --to=- with --format=stream";
	if (run->sparse && run->preallocate)
		return "either --sparse or --preallocate";
	if (run->preallocate && (partial || to_output))
		return "--preallocate is for a new file";
	if (run->json && to_output)
		return "standard output has the disk: --json and --to=- at once";
	if (run->manifest && strcmp(run->manifest, "-") == 0)
		return "--manifest needs a file";
	return NULL;
}

static int take_export(struct export_run *run, int argc, char **argv)
{
	const char *mix;

	if (!run->to)
		return usage_error(run->command, "--to=FILE says where the disk goes");
	mix = find_mix(run);
	if (mix)
		return usage_error(run->command, "%s", mix);
	run->what = run->bitmap_count > 0 ? EXPORT_BITMAPS
		    : run->ranges_file    ? EXPORT_RANGES
					  : EXPORT_WHOLE;
	return operands_one_image(run->command, argc, argv, &run->file);
}

static int take_verify(struct export_run *run, int argc, char **argv)
{
	run->operands = argv + optind;
	run->operand_count = argc - optind;
	if (run->to || run->manifest || run->bitmap_count > 0 || run->ranges_file || run->salvage ||
	    run->snapshot || run->chain || run->preallocate || run->image_format)
		return usage_error(run->command, "--verify exports nothing");
	if (run->operand_count < 2)
		return usage_error(run->command,
				   "--verify needs manifests and the file that was exported");
	return EXIT_FINE;
}

static int run_export(const struct command *command, int argc, char **argv)
{
	struct export_run *run = calloc(1, sizeof(*run));
	const char *value;
	int code = EXIT_COULD_NOT, option;

	if (!run)
		return report_text(command, "", "out of memory");
	run->command = command;
	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(run, option, value))
			break;
	if (option >= 0)
		code = EXIT_COULD_NOT;
	else if (option == OPTIONS_END)
		code = (run->verify ? take_verify : take_export)(run, argc, argv);
	if (option == OPTIONS_END && code == EXIT_FINE)
		code = (run->verify ? export_verify : export_run)(run);
	free(run->bitmaps);
	free(run);
	return code;
}

const struct command export_command = {
	.name = "export",
	.operands = "IMAGE",
	.summary = "Copy the guest's disk, or what was written since, to a raw file.",
	.notes =
		"A new file appears when it is whole and on the medium. With --bitmap or --ranges\n"
		"only parts of an existing file are written; repeat it if it was cut off.\n"
		"Without --chain no other file is opened than the image.\n"
		"Exit codes: 0 done, 1 failed, 2 done, but not all could be read (--salvage), or\n"
		"the file is not what was exported (--verify).\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_export,
};
