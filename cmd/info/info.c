/* SPDX-License-Identifier: MIT */
/* qcow2 info: what is this image, on one screen; and, only if asked, what it is backed by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "common/open_image.h"
#include "common/options.h"
#include "common/report.h"
#include "info/names.h"
#include "info/pages.h"

#include <qcow2/walk.h>

#define CHAIN_MAX 256

enum { OPTION_JSON, OPTION_OUTPUT, OPTION_CHAIN };

static const struct option_row options[] = {
	{"json", 'j', NULL, "the same as --output=json", NULL},
	{"output", 0, "FORMAT", "human (default) or json, as qemu-img info prints it",
	 "human json"},
	{"chain", 0, NULL, "follow backing files, local files only", NULL},
};

/* A run over some images. */
struct run {
	const struct command *command;
	struct spool out;
	struct json json;
	bool as_json;
	bool chain;
	bool colour;
	bool list; /* the JSON document is an array */
	size_t shown;
	int code;
};

/* Which files of a chain were seen: the same file again is a loop. */
struct chain {
	dev_t devices[CHAIN_MAX];
	ino_t inodes[CHAIN_MAX];
	size_t length;
};

/* The exit code of several images is that of the worst: could not, malformed, fine. */
static void worsen(struct run *run, int code)
{
	if (code == EXIT_COULD_NOT || run->code == EXIT_FINE)
		run->code = code;
}

static int hear_problem(void *opaque, const struct qcow2_problem *problem)
{
	problem_log_add(opaque, problem);
	return 0;
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
	worsen(run, info->problems.corrupt ? EXIT_MALFORMED : EXIT_FINE);
	return true;
}

static void fail_text(struct run *run, const char *file, const char *text)
{
	struct qcow2_error err = {.offset_bytes = QCOW2_NO_OFFSET};

	snprintf(err.text, sizeof(err.text), "%s", text);
	fail(run, file, &err);
}

/* Notes the file; false, with a message, if the chain was here before or is too long. */
static bool extend_chain(struct run *run, struct chain *chain, const char *file)
{
	struct stat st;

	if (stat(file, &st) != 0)
		return true; /* opening it will say why */
	for (size_t i = 0; i < chain->length; i++) {
		if (chain->devices[i] != st.st_dev || chain->inodes[i] != st.st_ino)
			continue;
		fail_text(run, file, "the chain of backing files is a loop");
		return false;
	}
	if (chain->length == CHAIN_MAX) {
		fail_text(run, file, "the chain of backing files is over 256 images long");
		return false;
	}
	chain->devices[chain->length] = st.st_dev;
	chain->inodes[chain->length++] = st.st_ino;
	return true;
}

/* The path of the backing file of an image, if it has one that may be followed; else NULL. */
static char *next_in_chain(struct run *run, const struct info *info, bool *raw)
{
	struct qcow2_bytes name, format;
	char *full;

	if (!info->image)
		return NULL;
	name = qcow2_image_backing_name(info->image);
	format = info_extension_text(info->image, QCOW2_EXTENSION_BACKING_FORMAT);
	*raw = format.size == 3 && memcmp(format.data, "raw", 3) == 0;
	if (name.size == 0)
		return NULL;
	if (info_is_protocol(name)) {
		fail_text(run, info->file,
			  "the backing file is not a local file; it was not followed");
		return NULL;
	}
	if (memchr(name.data, 0, name.size)) {
		fail_text(run, info->file, "the backing file's name holds a NUL");
		return NULL;
	}
	full = info_full_name(info->file, name);
	if (!full)
		fail_text(run, info->file, "out of memory");
	return full;
}

/* Opens what info->file names; a file that the image above calls raw is not looked into. */
static bool open_info(struct run *run, struct info *info, bool raw)
{
	static const struct qcow2_visitor listener = {.size = sizeof(listener),
						      .problem = hear_problem};
	struct qcow2_error err;

	if (qcow2_source_open(info->file, &info->source, &err) ||
	    (!raw && (qcow2_image_open(info->source, &info->image, &err) ||
		      qcow2_walk(info->image, NULL, QCOW2_WALK_NO_TABLES, &listener,
				 &info->problems, &err)))) {
		fail(run, info->file, &err);
		return false;
	}
	warn_in_use(run->command, info->file, info->source);
	if (info->problems.short_of_memory) {
		fail_text(run, info->file, "out of memory");
		return false;
	}
	return true;
}

static void close_info(struct info *info)
{
	qcow2_image_close(info->image);
	qcow2_source_close(info->source);
	problem_log_release(&info->problems);
}

static void show_chain(struct run *run, const char *file)
{
	struct chain *chain = calloc(1, sizeof(*chain));
	char *owned = NULL;
	bool raw = false, more = chain != NULL;

	if (!chain)
		fail_text(run, file, "out of memory");
	while (more && extend_chain(run, chain, file)) {
		struct info info = {.file = file, .chain = run->chain};
		char *next = NULL;

		if (open_info(run, &info, raw)) {
			if (show(run, &info) && run->chain)
				next = next_in_chain(run, &info, &raw);
		}
		close_info(&info);
		free(owned);
		owned = next;
		file = next;
		more = next != NULL;
	}
	free(owned);
	free(chain);
}

static int run_over(struct run *run, char **files, int count)
{
	int code;

	run->colour = wants_colour(run->command);
	run->list = count > 1 || run->chain;
	spool_init(&run->out, STDOUT_FILENO);
	json_init(&run->json, &run->out, 4, false);
	if (run->as_json && run->list)
		json_begin_array(&run->json);
	for (int i = 0; i < count; i++)
		show_chain(run, files[i]);
	if (run->as_json && run->list)
		json_end_array(&run->json);
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
		 "Exit codes: 0 done, 1 an image could not be read, 2 done but one is malformed.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_info,
};
