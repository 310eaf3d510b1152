/* SPDX-License-Identifier: MIT */
/* See help.h. */
#include "common/help.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/option_rows.h"
#include "common/report.h"
#include "out/spool.h"
#include "out/wrap.h"

/* Where the second column begins, and the narrowest one; below that it has lines of its own. */
#define COLUMN       29
#define COLUMN_LEAST 24
#define INDENT       6

void help_row(struct spool *out, const char *left, const char *right, unsigned width)
{
	unsigned used = (unsigned)strlen(left) + 2;
	unsigned column = width < COLUMN + COLUMN_LEAST ? INDENT : COLUMN;

	spool_print(out, "  %s", left);
	if (used < column) {
		spool_fill(out, ' ', column - used);
		wrap_rest(out, right, column, column, width);
	} else {
		spool_text(out, "\n");
		wrap_text(out, right, column, column, width);
	}
}

static void print_option(struct spool *out, const struct option_row *row, unsigned width)
{
	bool is_optional = row->argument && !options_takes_word(row);
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", row->letter ? '-' : ' ',
		 row->letter ? row->letter : ' ', row->letter ? ", " : "  ", row->name,
		 is_optional     ? "[="
		 : row->argument ? "="
				 : "",
		 is_optional     ? row->argument + 1
		 : row->argument ? row->argument
				 : "");
	help_row(out, left, row->help, width);
}

void help_options(struct spool *out, const struct command *command, uint32_t bits, unsigned width)
{
	size_t count;
	const struct option_row *common = options_common(command, &count);

	spool_text(out, "\nOptions:\n");
	for (size_t i = 0; i < command->option_count; i++)
		if (bits & UINT32_C(1) << i)
			print_option(out, &command->options[i], width);
	for (size_t i = 0; i < count; i++)
		print_option(out, &common[i], width);
}

void help_usage(struct spool *out, const struct command *command, const struct action_row *action)
{
	spool_print(out, "%s", command->name);
	if (!action) {
		spool_print(out, " [OPTIONS] %s", command->operands);
		return;
	}
	if (command->action_place == ACTION_AFTER_IMAGE)
		spool_print(out, " [OPTIONS] IMAGE %s", action->name);
	else
		spool_print(out, " %s%s [OPTIONS]%s",
			    command->action_place == ACTION_IS_OPTION ? "--" : "", action->name,
			    command->action_place == ACTION_FIRST ? " IMAGE" : "");
	spool_print(out, "%s%s", action->operands[0] ? " " : "", action->operands);
}

/* Writes an action of the list in its command's help. */
static void print_action(struct spool *out, const struct command *command,
			 const struct action_row *action, unsigned width)
{
	bool is_option = command->action_place == ACTION_IS_OPTION;
	char left[96];

	if (action->group)
		spool_print(out, "\n%s:\n", action->group);
	snprintf(left, sizeof(left), "%s%s%s%s%s%s", is_option ? command->name : "",
		 is_option ? " --" : "", action->name,
		 command->action_place == ACTION_FIRST ? " IMAGE" : "",
		 action->operands[0] ? " " : "", action->operands);
	help_row(out, left, action->summary, width);
}

/* Paragraphs, a line each. */
static void print_notes(struct spool *out, const char *notes, unsigned width)
{
	char paragraph[1024];

	spool_text(out, "\n");
	while (*notes) {
		size_t length = strcspn(notes, "\n");

		snprintf(paragraph, sizeof(paragraph), "%.*s", (int)length, notes);
		wrap_text(out, paragraph, 0, 0, width);
		notes += length + (notes[length] == '\n');
	}
}

static int finish(const struct command *command, struct spool *out)
{
	int code = finish_output(command, out, EXIT_FINE);

	spool_release(out);
	return code;
}

static void print_hint(struct spool *out, const struct command *command)
{
	char word[32];

	snprintf(word, sizeof(word), "%s", command->action_word);
	for (size_t i = 0; word[i]; i++)
		word[i] = (char)toupper((unsigned char)word[i]);
	spool_print(out, "'qcow2 help %s %s' says more of one.\n", command->name, word);
}

int print_help(const struct command *command)
{
	unsigned width = terminal_columns();
	struct spool out;

	spool_init(&out, STDOUT_FILENO);
	spool_text(&out, "Usage: qcow2 ");
	help_usage(&out, command, NULL);
	spool_print(&out, "\n%s\n", command->summary);
	for (size_t i = 0; i < command->action_count; i++)
		print_action(&out, command, &command->actions[i], width);
	help_options(&out, command, OPTIONS_EVERY, width);
	if (command->notes)
		print_notes(&out, command->notes, width);
	if (command->action_count > 0)
		print_hint(&out, command);
	return finish(command, &out);
}

int print_action_help(const struct command *command, const struct action_row *action)
{
	unsigned width = terminal_columns();
	char summary[256];
	struct spool out;

	if (!action)
		return print_help(command);
	spool_init(&out, STDOUT_FILENO);
	spool_text(&out, "Usage: qcow2 ");
	help_usage(&out, command, action);
	snprintf(summary, sizeof(summary), "%s.", action->summary);
	summary[0] = (char)toupper((unsigned char)summary[0]);
	spool_text(&out, "\n");
	wrap_text(&out, summary, 0, 0, width);
	if (action->notes)
		print_notes(&out, action->notes, width);
	help_options(&out, command, action->options, width);
	return finish(command, &out);
}
