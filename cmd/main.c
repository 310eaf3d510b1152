/* SPDX-License-Identifier: MIT */
/* The command: finds the subcommand and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/command_list.h"
#include "common/descriptors.h"
#include "common/report.h"
#include "common/served.h"
#include "completion/completion.h"
#include "help/help.h"
#include "out/spool.h"

#include <qcow2/version.h>

static const struct command *const all[] = {
	/* In the order in which help shows them; its headings are in help/help.c. */
	&info_command,
	&dump_command,
	&explain_command,
	&diff_command,
	&locate_command,
	&layout_command,
	&report_command,
	&measure_command,
	&check_command,
	&vet_command,
	&repair_command,
	&rescue_command,
	&map_command,
	&read_command,
	&hash_command,
	&compare_command,
	&export_command,
	&snapshot_command,
	&bitmap_command,
	&edit_command,
	&undo_command,
	&compat_command,
	&completion_command,
	/* These are not in its list. */
	&help_command,
	&complete_command,
};
#define ALL      (sizeof(all) / sizeof(all[0]))
#define UNLISTED 2

static const struct command_list list = {all, ALL, ALL - UNLISTED};

static int print_version(void)
{
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	spool_print(&out, "qcow2 %s\n", qcow2_version());
	code = finish_output(NULL, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

/* Runs an option that stands in place of a command, as --help. Returns -1 if it is none of these. */
static int run_option(const char *word, int surplus, const char *program)
{
	bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
	bool version = strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0;
	bool completion = strcmp(word, "--completion") == 0;

	if (!help && !version && !completion)
		return -1;
	if (surplus > 0)
		return usage_error(NULL, "too many arguments for '%s'", word);
	if (version)
		return print_version();
	return completion ? print_completion("bash", program) : print_main_help(&list);
}

/* Runs a command with what its common options will say. */
static int run_command(const struct command *command, const char *program, int argc, char **argv)
{
	struct common common = {.program = program, .list = &list};
	struct command call = *command;
	int code;

	call.common = &common;
	code = command->run(&call, argc, argv);
	served_release(&common);
	return code;
}

/* The exit code of a line that is not run: to some commands, 1 means something else. */
static int could_not(int argc, char **argv)
{
	const struct command *command = argc > 1 ? commands_find(&list, argv[1]) : NULL;

	return command && command->could_not ? command->could_not : EXIT_COULD_NOT;
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *self = slash ? slash + 1 : argc > 0 ? argv[0] : "qcow2";
	const struct command *command;
	const char *image;
	int code;

	if (!descriptors_replace_closed())
		return could_not(argc, argv);
	image = argc > 0 ? descriptors_find_image(argv + 1) : NULL;
	if (image) {
		/* Print nothing if it would be written into the image. */
		if (!descriptors_lead_to(STDERR_FILENO, image))
			fprintf(stderr,
				"qcow2: standard output goes into the image itself: send it "
				"elsewhere\n");
		return could_not(argc, argv);
	}
	/* Then a write beyond the limit of a file's size fails, and the failure is reported. */
	signal(SIGXFSZ, SIG_IGN);
	if (strcmp(self, "qcow2.py") == 0)
		return run_command(&compat_command, argv[0], argc, argv);
	if (argc < 2)
		return usage_error(NULL, "no command given");
	code = run_option(argv[1], argc - 2, argv[0]);
	if (code >= 0)
		return code;
	command = commands_find(&list, argv[1]);
	if (!command)
		return commands_unknown(&list, argv[1]);
	return run_command(command, argv[0], argc - 1, argv + 1);
}
