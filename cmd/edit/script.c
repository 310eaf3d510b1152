/* SPDX-License-Identifier: MIT */
/* See script.h. */
#include "edit/script.h"

#include <string.h>

#include "common/script.h"

struct edit {
	struct qcow2_plan *plan;
	struct edit_effect *effect;
};

/*
 * Runs one line. --data=… and --file=… are options anywhere on it; all other words are the verb's.
 */
static int run_verb(void *opaque, char **words, size_t count, struct qcow2_error *err)
{
	const struct edit *edit = opaque;
	struct edit_line line = {.words = words};

	for (size_t i = 0; i < count; i++) {
		if (strncmp(words[i], "--data=", 7) == 0)
			line.data = words[i] + 7;
		else if (strncmp(words[i], "--file=", 7) == 0)
			line.file = words[i] + 7;
		else
			words[line.count++] = words[i];
	}
	return line.count == 0 ? 0 : edit_verb(edit->plan, &line, edit->effect, err);
}

int edit_script(struct qcow2_plan *plan, const char *path, struct edit_effect *effect,
		struct qcow2_error *err)
{
	struct edit edit = {plan, effect};

	return script_run(path, run_verb, &edit, err);
}
