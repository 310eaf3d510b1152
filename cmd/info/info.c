/* SPDX-License-Identifier: MIT */
/* qcow2 info: what is this image, on one screen; and, only if asked, what it is backed by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/chain.h"
#include "common/each_file.h"
#include "common/open_image.h"
#include "common/options.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "info/pages.h"

enum { OPTION_JSON, OPTION_OUTPUT, OPTION_CHAIN, OPTION_ALL };

static const struct option_row options[] = {
	{"json", 'j', NULL, "the same as --output=json", NULL},
	{"output", 0, "FORMAT", "human (default) or json, as qemu-img info prints it",
	 "human json"},
	{"chain", 0, NULL, "follow backing files, local files only", NULL},
	{"all", 0, NULL, "show all snapshots and bitmaps, not 64 of each", NULL},
};

/* A run over some images. */
struct run {
	const struct command *command;
	struct spool out;
	struct json json;
	bool as_json;
	bool chain;
	bool all;
	bool colour;
	bool list; /* the JSON document is an array */
	size_t shown;
	int code;
};

/* The exit code of several images is that of the worst: could not, malformed, fine. */
static void worsen(struct run *run, int code)
{
	if (code == EXIT_COULD_NOT || run->code == EXIT_FINE)
		run->code = code;
}

static void fail(struct run *run, const char *file, const struct qcow2_error *err)
{
	worsen(run, report_error(run->command, file, err));
}

/* Half a page is worse than none: it is taken back. */
static bool show(struct run *run, struct info *info)
{
	const struct spool before = run->out;
	const struct json json_before = run->json;

	if (run->as_json) {
		info_show_json(&run->json, info);
	} else {
		if (run->shown > 0)
			spool_text(&run->out, "\n");
		info_show_human(&run->out, info, run->colour);
	}
	if (info->failed) {
		if (run->out.written == before.written) {
			run->out.size = before.size;
			run->json = json_before;
		}
		fail(run, info->file, &info->failure);
		return false;
	}
	run->shown++;
	worsen(run,
	       info->problems.corrupt || info->verdict != QEMU_OPENS ? EXIT_MALFORMED : EXIT_FINE);
	return true;
}

static void fail_text(struct run *run, const char *file, const char *text)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "%s", text);
	fail(run, file, &err);
}

/* Shows the file that a chain has come to. Returns whether to go on. */
static bool show_link(struct run *run, const struct chain_link *link)
{
	struct info info = {.file = link->file,
			    .source = link->source,
			    .image = link->image,
			    .link = link,
			    .all = run->all,
			    .chain = run->chain};
	struct qcow2_error err;
	bool shown = false;

	if (info_examine(&info, &err)) {
		fail(run, info.file, &err);
	} else {
		warn_in_use(run->command, info.file, info.source);
		if (info.problems.short_of_memory)
			fail_text(run, info.file, "out of memory");
		else
			shown = show(run, &info);
	}
	problem_log_release(&info.problems);
	return shown;
}

static void show_chain(void *opaque, const char *file)
{
	struct run *run = opaque;
	struct chain *chain = malloc(sizeof(*chain));
	struct qcow2_error err;
	int more;

	if (!chain) {
		fail_text(run, file, "out of memory");
		return;
	}
	chain_begin(chain, file);
	chain->common = run->command->common;
	do {
		more = chain_next(chain, &err);
		if (more < 0)
			fail(run, chain->link.file, &err);
	} while (more > 0 && show_link(run, &chain->link) && run->chain);
	chain_end(chain);
	free(chain);
}

static int run_over(struct run *run, char **files, int count)
{
	int code;

	code = sandbox_read_files(
		run->command,
		&(struct sandbox_files){.names = files, .count = count, .chains = run->chain});
	if (code != EXIT_FINE)
		return code;
	run->colour = wants_colour(run->command);
	run->list = count > 1 || run->chain;
	files_show(&(struct files){.names = files,
				   .count = count,
				   .json = run->as_json ? &run->json : NULL,
				   .list = run->list},
		   &run->out, show_chain, run);
	if (run->as_json && run->shown > 0)
		spool_text(&run->out, "\n");
	code = run->code;
	if (run->shown > 0)
		code = finish_output(run->command, &run->out, run->code);
	spool_release(&run->out);
	return code;
}

static int run_info(const struct command *command, int argc, char **argv)
{
	struct run run = {.command = command};
	const char *value;
	int code, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0) {
		if (option == OPTION_JSON)
			run.as_json = true;
		else if (option == OPTION_CHAIN)
			run.chain = true;
		else if (option == OPTION_ALL)
			run.all = true;
		else if (!options_output(command, value, &run.as_json))
			return EXIT_COULD_NOT;
	}
	if (option == OPTIONS_STOP)
		return code;
	if (optind == argc)
		return usage_error(command, "no image given");
	return run_over(&run, argv + optind, argc - optind);
}

const struct command info_command = {
	.name = "info",
	.operands = "IMAGE...",
	.summary = "Say what an image is, on one screen or as JSON.",
	.notes = "No other file that an image names is opened unless --chain asks for it.\n"
		 "Exit codes: 0 done, 1 an image could not be read, 2 done but one is malformed,\n"
		 "or QEMU refuses it.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_info,
};
