/* SPDX-License-Identifier: MIT */
/* See command_list.h. */
#include "common/command_list.h"

#include <string.h>

#include "common/option_rows.h"
#include "common/report.h"
#include "out/suggest.h"

static const struct option_row options[] = {
	{"version", 'V', NULL, "print the version and exit", NULL},
	{"completion", 0, NULL, "the same as 'qcow2 completion bash'", NULL},
};

const struct command main_command = {
	.name = "",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.is_plain = true,
};

const struct command *commands_find(const struct command_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->all[i]->name, name) == 0)
			return list->all[i];
	return NULL;
}

int commands_unknown(const struct command_list *list, const char *name)
{
	char text[SUGGEST_TEXT_MAX];
	struct suggestion suggestion;

	if (name[0] == '-')
		return usage_error(NULL, "unknown option '%s'%s", name,
				   options_suggest(&main_command, name + strspn(name, "-"), text));
	suggest_begin(&suggestion, name);
	for (size_t i = 0; i < list->count; i++)
		if (list->all[i]->name[0] != '_')
			suggest_offer(&suggestion, list->all[i]->name);
	return usage_error(NULL, "unknown command '%s'%s", name,
			   suggest_text(&suggestion, "", text, sizeof(text)));
}
