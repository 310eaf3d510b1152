/* SPDX-License-Identifier: MIT */
/* The command: finds the subcommand that is meant and hands over. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "out/spool.h"

#include <qcow2/version.h>

static const struct command *const all[] = {
	&info_command,
	&dump_command,
	&explain_command,
	&compat_command,
};

const struct command *const *commands_all(size_t *count)
{
	*count = sizeof(all) / sizeof(all[0]);
	return all;
}

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
	spool_text(&out, "Usage: qcow2 COMMAND [OPTIONS] IMAGE ...\n"
			 "Look into QCOW2 disk images without QEMU.\n\nCommands:\n");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		spool_print(&out, "  %-10s %s\n", all[i]->name, all[i]->summary);
	spool_text(&out,
		   "\nOptions:\n"
		   "  -h, --help                 print this help and exit\n"
		   "  -V, --version              print the version and exit\n"
		   "      --completion           print a completion script for bash and exit\n"
		   "\n'qcow2 COMMAND --help' says more; so does qcow2-COMMAND(1).\n"
		   "Exit codes: 0 done, 1 could not, 2 done but the metadata is malformed.\n");
	code = finish_output(all[0], &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

static int print_version(void)
{
	return printf("qcow2 %s\n", qcow2_version()) < 0 || fflush(stdout) != 0 ? EXIT_COULD_NOT
										: EXIT_FINE;
}

static int help_on(const char *name)
{
	const struct command *command = name ? find(name) : NULL;

	if (!name)
		return print_main_help();
	return command ? print_help(command) : usage_error(NULL, "unknown command '%s'", name);
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *self = slash ? slash + 1 : argc > 0 ? argv[0] : "qcow2";
	const struct command *command;

	if (strcmp(self, "qcow2.py") == 0)
		return compat_command.run(&compat_command, argc, argv);
	if (argc < 2)
		return usage_error(NULL, "no command given");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_main_help();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return print_version();
	if (strcmp(argv[1], "--completion") == 0)
		return print_completion();
	if (strcmp(argv[1], "help") == 0)
		return help_on(argc > 2 ? argv[2] : NULL);
	command = find(argv[1]);
	if (!command)
		return usage_error(NULL, "unknown %s '%s'",
				   argv[1][0] == '-' ? "option" : "command", argv[1]);
	return command->run(command, argc - 1, argv + 1);
}
