/* SPDX-License-Identifier: MIT */
/* See help.h. */
#include "common/help.h"

#include <stdio.h>
#include <unistd.h>

#include "common/report.h"
#include "out/spool.h"

static void print_option(struct spool *out, const struct option_row *row)
{
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", row->letter ? '-' : ' ',
		 row->letter ? row->letter : ' ', row->letter ? ", " : "  ", row->name,
		 row->argument ? "=" : "", row->argument ? row->argument : "");
	spool_print(out, "  %-26s %s\n", left, row->help);
}

int print_help(const struct command *command)
{
	static const struct option_row help = {"help", HELP_LETTER, NULL,
					       "print this help and exit", NULL};
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	spool_print(&out, "Usage: qcow2 %s [OPTIONS] %s\n%s\n\nOptions:\n", command->name,
		    command->operands, command->summary);
	for (size_t i = 0; i < command->option_count; i++)
		print_option(&out, &command->options[i]);
	print_option(&out, &help);
	if (command->notes)
		spool_print(&out, "\n%s", command->notes);
	code = finish_output(command, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}
