/* SPDX-License-Identifier: MIT */
/* See line.h. */
#include "completion/line.h"

#include <string.h>

#include "common/option_rows.h"

char line_unquote(char *word)
{
	char *from = word, *to = word, quote = 0;

	for (; *from; from++) {
		char c = *from;

		if (quote != '\'' && (c == '$' || c == '`')) {
			word[0] = '\0';
			return 0;
		}
		if (c == '\\' && quote != '\'' && from[1])
			/* Between double quotes a backslash stands for itself before most letters. */
			*to++ = quote && !strchr("\\\"$`", from[1]) ? c : *++from;
		else if (quote ? c == quote : c == '\'' || c == '"')
			quote = quote ? 0 : c;
		else
			*to++ = c;
	}
	*to = '\0';
	return quote;
}

/* Finds the row of a long option by its name or the beginning of it, up to a '='. */
static const struct option_row *find_long(const struct command *command, const char *word)
{
	size_t length = strcspn(word, "=");
	const struct option_row *row, *found = NULL;

	for (size_t i = 0; (row = options_row(command, i)) != NULL; i++) {
		if (strncmp(row->name, word, length) != 0)
			continue;
		if (row->name[length] == '\0')
			return row;
		found = row;
	}
	return found;
}

/* Takes the value of an option. */
static void take_value(struct line *line, const struct option_row *row, const char *value)
{
	if (strcmp(row->name, "from") == 0)
		line->other = value;
}

/* Takes a word of options. Returns the one whose value is the next word, or NULL. */
static const struct option_row *take_options(struct line *line, const char *word)
{
	const struct option_row *row;
	const char *equals = strchr(word, '=');

	if (word[1] == '-') {
		row = find_long(line->command, word + 2);
		if (row && line->command->action_place == ACTION_IS_OPTION)
			line->action = line->action ? line->action
						    : command_action(line->command, row->name);
		if (row && row->argument && equals)
			take_value(line, row, equals + 1);
		return row && options_takes_word(row) && !equals ? row : NULL;
	}
	for (word++; *word; word++) {
		row = options_find(line->command, NULL, *word);
		if (row && line->command->action_place == ACTION_IS_OPTION)
			line->action = line->action ? line->action
						    : command_action(line->command, row->name);
		if (!row || !row->argument)
			continue;
		if (word[1])
			take_value(line, row, word + 1);
		return word[1] ? NULL : row;
	}
	return NULL;
}

static void take_operand(struct line *line, const char *word)
{
	if (line->operand_count < OPERANDS_KEPT)
		line->operands[line->operand_count] = word;
	line->operand_count++;
}

void line_read(struct line *line, const struct command *command, char *const *words, size_t count)
{
	size_t place = command->action_place == ACTION_AFTER_IMAGE ? 1 : 0;

	*line = (struct line){.command = command};
	for (size_t i = 0; i < count; i++) {
		const char *word = words[i];

		if (line->option) {
			take_value(line, line->option, word);
			line->option = NULL;
		} else if (line->ended || word[0] != '-' || !word[1]) {
			take_operand(line, word);
		} else if (strcmp(word, "--") == 0) {
			line->ended = true;
		} else {
			line->option = take_options(line, word);
		}
	}
	if (command->action_count > 0 && command->action_place != ACTION_IS_OPTION &&
	    line->operand_count > place)
		line->action = command_action(command, line->operands[place]);
}

const char *line_image(const struct line *line)
{
	size_t place =
		line->command->action_count > 0 && line->command->action_place == ACTION_FIRST ? 1
											       : 0;

	return line->operand_count > place ? line->operands[place] : NULL;
}
