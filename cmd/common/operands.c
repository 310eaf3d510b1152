/* SPDX-License-Identifier: MIT */
/* See operands.h. */
#include "common/operands.h"

#include <unistd.h>

#include "common/option_rows.h"
#include "common/report.h"
#include "out/suggest.h"

int operands_one_image(const struct command *command, int argc, char **argv, const char **file)
{
	if (optind == argc)
		return usage_error(command, "no image given");
	if (optind + 1 < argc)
		return usage_error(command, "one image at a time, not also '%s'", argv[optind + 1]);
	*file = argv[optind];
	return EXIT_FINE;
}

int operands_action(const struct command *command, int argc, char **argv, uint32_t given,
		    struct action_line *line)
{
	const struct action_row *action;
	char text[SUGGEST_TEXT_MAX];
	uint32_t surplus;

	if (optind == argc)
		return usage_error(command, "no action given");
	action = command_action(command, argv[optind]);
	if (!action)
		return usage_error(command, "unknown action '%s'%s", argv[optind],
				   actions_suggest(command, argv[optind], text));
	if (++optind == argc)
		return usage_error(command, "no image given");
	*line = (struct action_line){.action = action, .file = argv[optind++]};
	line->names = argv + optind;
	line->name_count = (size_t)(argc - optind);
	if (line->name_count < action->least || line->name_count > action->most)
		return usage_error(command, "%s takes IMAGE%s%s", action->name,
				   action->operands[0] ? " " : "", action->operands);
	surplus = given & ~action->options;
	if (surplus)
		return usage_error(command, "%s does not take --%s", action->name,
				   command->options[__builtin_ctz(surplus)].name);
	return EXIT_FINE;
}
