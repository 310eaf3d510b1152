/* SPDX-License-Identifier: MIT */
/* The command: finds the subcommand and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/descriptors.h"
#include "common/help.h"
#include "common/report.h"
#include "completion/completion.h"
#include "out/spool.h"

#include <qcow2/version.h>

/* In the order in which help shows them. */
static const struct command *const all[] = {
	&info_command, &dump_command, &check_command,   &bitmap_command,
	&edit_command, &undo_command, &explain_command, &compat_command,
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

static int print_main_help(void)
{
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	spool_text(&out,
		   "Usage: qcow2 COMMAND [OPTIONS] IMAGE ...\n"
		   "Look into QCOW2 disk images, and change them, without QEMU.\n\nCommands:\n");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		spool_print(&out, "  %-10s %s\n", all[i]->name, all[i]->summary);
	spool_text(&out,
		   "\nOptions:\n"
		   "  -h, --help                 print this help and exit\n"
		   "  -V, --version              print the version and exit\n"
		   "      --completion           print a completion script for bash and exit\n"
		   "\n'qcow2 COMMAND --help' says more; so does qcow2-COMMAND(1).\n"
		   "Exit codes: 0 done, 1 failed, 2 done but the metadata is malformed;\n"
		   "3: check found leaks only.\n");
	code = finish_output(NULL, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

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

static int help_on(const char *name)
{
	const struct command *command = name ? find(name) : NULL;

	if (!name)
		return print_main_help();
	return command ? print_help(command) : usage_error(NULL, "unknown command '%s'", name);
}

/* Runs a word that stands in place of a command, as --help. Returns -1 if it is none of these. */
static int run_word(const char *word, int surplus, const char *topic)
{
	bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
	bool version = strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0;
	bool completion = strcmp(word, "--completion") == 0;
	bool help_command = strcmp(word, "help") == 0;

	if (!help && !version && !completion && !help_command)
		return -1;
	if (surplus > (help_command ? 1 : 0))
		return usage_error(NULL, "too many arguments for '%s'", word);
	if (version)
		return print_version();
	return completion ? print_completion(all, sizeof(all) / sizeof(all[0]))
			  : help_on(help_command ? topic : NULL);
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *self = slash ? slash + 1 : argc > 0 ? argv[0] : "qcow2";
	const struct command *command;
	const char *image;
	int code;

	if (!descriptors_replace_closed())
		return EXIT_COULD_NOT;
	image = argc > 0 ? descriptors_find_image(argv + 1) : NULL;
	if (image) {
		/* Print nothing if it would be written into the image. */
		if (!descriptors_lead_to(STDERR_FILENO, image))
			fprintf(stderr,
				"qcow2: standard output goes into the image itself: send it "
				"elsewhere\n");
		return EXIT_COULD_NOT;
	}
	/* Then a write beyond the limit of a file's size fails, and the failure is reported. */
	signal(SIGXFSZ, SIG_IGN);
	if (strcmp(self, "qcow2.py") == 0)
		return compat_command.run(&compat_command, argc, argv);
	if (argc < 2)
		return usage_error(NULL, "no command given");
	code = run_word(argv[1], argc - 2, argc > 2 ? argv[2] : NULL);
	if (code >= 0)
		return code;
	command = find(argv[1]);
	if (!command)
		return usage_error(NULL, "unknown %s '%s'",
				   argv[1][0] == '-' ? "option" : "command", argv[1]);
	return command->run(command, argc - 1, argv + 1);
}
