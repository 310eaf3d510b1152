/* SPDX-License-Identifier: MIT */
/* qcow2 help: the help of the program, of a command, or of one of its actions. */
#include "help/help.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "common/help.h"
#include "common/option_rows.h"
#include "common/options.h"
#include "common/report.h"
#include "out/spool.h"
#include "out/suggest.h"
#include "out/wrap.h"

/* What people want: the headings of the list of commands, each above the command that it names. */
static const struct {
	const char *first;
	const char *heading;
} groups[] = {
	{"info", "Commands that show what an image is, and where everything lies"},
	{"check", "Commands that say whether it is sound and safe, and mend it"},
	{"map", "Commands that read the guest's disk, compare it and copy it"},
	{"snapshot", "Commands for snapshots, bitmaps, and changes by hand"},
	{"compat", "Commands for scripts and shells"},
};

static void print_commands(struct spool *out, const struct command_list *list)
{
	const struct command *const *all = list->all;

	for (size_t i = 0; i < list->listed; i++) {
		for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
			if (strcmp(groups[g].first, all[i]->name) == 0)
				spool_print(out, "%s:\n", groups[g].heading);
		spool_print(out, "  %-10s %s\n", all[i]->name, all[i]->summary);
	}
}

int print_main_help(const struct command_list *list)
{
	unsigned width = terminal_columns();
	struct spool out;
	int code;

	spool_init(&out, STDOUT_FILENO);
	spool_text(&out, "Usage: qcow2 COMMAND [OPTIONS] IMAGE ...\n"
			 "Look into QCOW2 disk images, and change them, without QEMU.\n\n");
	print_commands(&out, list);
	help_options(&out, &main_command, OPTIONS_EVERY, width);
	spool_text(&out, "\n");
	wrap_text(&out,
		  "'qcow2 help COMMAND [ACTION]' says more; so does qcow2-COMMAND(1).\n"
		  "Exit codes: 0 done, 1 failed, 2 malformed, 3 leaks or different, 63 no qcow2.",
		  0, 0, width);
	code = finish_output(NULL, &out, EXIT_FINE);
	spool_release(&out);
	return code;
}

static int help_on_action(const struct command *command, const char *name)
{
	char text[SUGGEST_TEXT_MAX];
	const struct action_row *action;

	if (command->action_count == 0)
		return usage_error(NULL, "too many arguments for 'help'");
	action = command_action(command, name + (strncmp(name, "--", 2) == 0 ? 2 : 0));
	if (action)
		return print_action_help(command, action);
	return usage_error(command, "unknown %s '%s'%s", command->action_word, name,
			   actions_suggest(command, name, text));
}

static int run_help(const struct command *command, int argc, char **argv)
{
	const struct command_list *list = command->common->list;
	const struct command *topic;
	const char *value;
	int code;

	/* Modes look like options: "help undo --list" is about one. */
	topic = argc == 3 ? commands_find(list, argv[1]) : NULL;
	if (topic && topic->action_place == ACTION_IS_OPTION &&
	    command_action(topic, argv[2] + strspn(argv[2], "-")))
		return help_on_action(topic, argv[2]);
	if (options_next(command, argc, argv, &value, &code) == OPTIONS_STOP)
		return code;
	argc -= optind;
	argv += optind;
	if (argc > 2)
		return usage_error(NULL, "too many arguments for 'help'");
	if (argc == 0)
		return print_main_help(list);
	topic = commands_find(list, argv[0]);
	if (!topic)
		return commands_unknown(list, argv[0]);
	return argc > 1 ? help_on_action(topic, argv[1]) : print_help(topic);
}

const struct command help_command = {
	.name = "help",
	.operands = "[COMMAND [ACTION]]",
	.summary = "Say how the program, a command or one of its actions is used.",
	.notes = "'qcow2 help bitmap' is 'qcow2 bitmap --help'; 'qcow2 help bitmap add' is "
		 "'qcow2 bitmap add --help', which has only the options of that action.\n",
	.is_plain = true,
	.run = run_help,
};
