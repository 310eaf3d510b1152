/* SPDX-License-Identifier: MIT */
/* qcow2 vet: may this image, which a stranger sent, be opened? */
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/options.h"
#include "common/report.h"
#include "out/spool.h"
#include "vet/policy.h"
#include "vet/stream.h"

#define JOBS_MOST 1024

enum {
	OPTION_POLICY,
	OPTION_VIRTUAL_SIZE,
	OPTION_DEEP,
	OPTION_OUTPUT,
	OPTION_JSON,
	OPTION_FILES_FROM,
	OPTION_JOBS,
	OPTION_LABEL,
	OPTION_LIST,
};

static const struct option_row options[] = {
	{"policy", 0, "POLICY", "upload (default), chain, strict, or a file",
	 "upload chain strict"},
	{"max-virtual-size", 0, "SIZE", "the largest virtual disk that is accepted", NULL},
	{"deep", 0, NULL, "read all L2 tables, to find compressed bombs", NULL},
	{"output", 0, "FORMAT", "human (default), json, ndjson or oslo", "human json ndjson oslo"},
	{"json", 'j', NULL, "short for --output=json", NULL},
	{"files-from", 0, "FILE", "names of images, by newlines or NULs; - is standard input",
	 NULL},
	{"jobs", 0, "N", "vet so many files at once (default: as many as processors)", NULL},
	{"label", 0, "NAME", "what the answer calls the one image, which may be a pipe", NULL},
	{"list", 0, NULL, "show the policy as a file, with all rules, and exit", NULL},
};

static bool take_option(struct vet_run *run, int option, const char *value)
{
	uint64_t number;
	int word;

	switch (option) {
	case OPTION_POLICY:
		run->policy_name = value;
		return true;
	case OPTION_VIRTUAL_SIZE:
		run->has_virtual_size = true;
		return options_number(run->command, &options[option], value, INT64_MAX,
				      &run->virtual_size_bytes);
	case OPTION_DEEP:
		run->deep = true;
		return true;
	case OPTION_LIST:
		run->list = true;
		return true;
	case OPTION_FILES_FROM:
		run->files_from = value;
		return true;
	case OPTION_LABEL:
		run->label = value;
		return true;
	case OPTION_JOBS:
		if (!options_number(run->command, &options[option], value, JOBS_MOST, &number))
			return false;
		run->jobs = (unsigned)number;
		return number > 0 || (usage_error(run->command, "--jobs is at least 1"), false);
	case OPTION_JSON:
		run->output = VET_JSON;
		return true;
	default:
		word = options_word(run->command, &options[option], value);
		run->output = (enum vet_output)word;
		return word >= 0;
	}
}

/* Shows the policy of the line. */
static int show_list(const struct vet_run *run)
{
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	vet_policy_show(run, &out);
	code = finish_output(run->command, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

/* Whether standard input is an image, and another one or a list as well. */
static bool reads_input_twice(const struct vet_run *run, char **files, int count)
{
	int times = (run->files_from && strcmp(run->files_from, "-") == 0) +
		    (strcmp(run->policy_name, "-") == 0);

	for (int i = 0; i < count; i++)
		times += vet_descriptor_of(files[i]) == STDIN_FILENO;
	return times > 1;
}

static int run_vet(const struct command *command, int argc, char **argv)
{
	struct vet_run run = {.command = command, .policy_name = "upload"};
	const char *value;
	int code = EXIT_COULD_NOT, option;

	while ((option = options_next(command, argc, argv, &value, &code)) >= 0)
		if (!take_option(&run, option, value))
			return EXIT_COULD_NOT;
	if (option == OPTIONS_STOP)
		return code;
	if (run.list && (optind < argc || run.files_from || run.output != VET_HUMAN))
		return usage_error(command, "--list shows a policy as text, and takes no image");
	if (optind == argc && !run.files_from && !run.list)
		return usage_error(command, "no image given");
	if (run.output == VET_OSLO && (argc - optind != 1 || run.files_from))
		return usage_error(command, "--output=oslo is for one image");
	if (run.label && (argc - optind != 1 || run.files_from))
		return usage_error(command, "--label names one image");
	if (run.label && !*run.label)
		return usage_error(command, "--label is a name, and not empty");
	if (reads_input_twice(&run, argv + optind, argc - optind))
		return usage_error(command, "standard input is read once, not twice");
	code = vet_policy_make(&run);
	if (code == EXIT_FINE && run.list)
		code = show_list(&run);
	else if (code == EXIT_FINE)
		code = vet_all(&run, argv + optind, argc - optind);
	qcow2_vet_policy_free(run.policy);
	return code;
}

const struct command vet_command = {
	.name = "vet",
	.operands = "IMAGE...|-",
	.summary = "Decide whether an image of a stranger may be opened.",
	.notes = "No other file that an image names is opened.\n"
		 "A policy file has lines 'rule = allow', 'rule = deny' or 'rule = limit', and\n"
		 "'base = upload' for all other rules; --list shows one.\n"
		 "Exit codes: 0 accepted, 1 could not look, 2 refused.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.run = run_vet,
};
