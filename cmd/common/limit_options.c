/* SPDX-License-Identifier: MIT */
/* Reads the limits from options and the environment. See limits.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/report.h"

#include <qcow2/number.h>

#define TIME_MOST_SECONDS (UINT64_C(100) * 365 * 24 * 3600)

/* Reads a limit that `from`, an option or a variable, has. False, with a message, if it is none. */
static bool take(const struct command *command, const char *from, const char *value, bool memory)
{
	struct limits *limits = command->common ? &command->common->limits : NULL;
	struct qcow2_error err;
	uint64_t number;

	if (qcow2_number_parse(value, memory ? INT64_MAX : TIME_MOST_SECONDS, &number, &err)) {
		usage_error(command, "%s: %s", from, err.text);
		return false;
	}
	if (limits && memory) {
		limits->memory_given = true;
		limits->memory_bytes = number;
	} else if (limits) {
		limits->time_given = true;
		limits->time_seconds = number;
	}
	return true;
}

bool limits_take(const struct command *command, const struct option_row *row, const char *value)
{
	if (strcmp(row->name, "memory-limit") == 0)
		return take(command, "--memory-limit", value, true);
	if (strcmp(row->name, "time-limit") == 0)
		return take(command, "--time-limit", value, false);
	return true;
}

/* What no option said. */
static bool take_variable(const struct command *command, const char *name, bool memory)
{
	const char *value = getenv(name);

	return !value || value[0] == '\0' || take(command, name, value, memory);
}

int limits_begin(const struct command *command)
{
	const struct limits *limits = command->common ? &command->common->limits : NULL;

	if (!limits)
		return EXIT_FINE;
	if ((!limits->memory_given && !take_variable(command, "QCOW2_MEMORY_LIMIT", true)) ||
	    (!limits->time_given && !take_variable(command, "QCOW2_TIME_LIMIT", false)))
		return EXIT_COULD_NOT;
	limits_start(command);
	return EXIT_FINE;
}
