/* SPDX-License-Identifier: MIT */
/* Opens a stack and says what failed: apart from the stack, which is tested without a command. */
#include <stdlib.h>

#include "common/limits.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "common/served.h"
#include "map/stack.h"

static int open_image(struct map_stack *stack, const struct command *command, const char *file,
		      const char *snapshot)
{
	struct qcow2_source *source;
	struct qcow2_error err;
	int code;

	if (limits_open(command->common, file, &source, &err))
		return report_error(command, file, &err);
	code = sandbox_seal(command);
	if (code != EXIT_FINE) {
		qcow2_source_close(source);
		return code;
	}
	return map_stack_open(stack, file, source, snapshot, &err)
		       ? report_error(command, file, &err)
		       : EXIT_FINE;
}

static int open_chain(struct map_stack *stack, const struct command *command, const char *file,
		      const char *snapshot)
{
	struct map_blame blame;
	int code = served_connect(command, &(char *){(char *)(uintptr_t)file}, 1);

	if (code == EXIT_FINE)
		code = sandbox_read_any(command);
	if (code != EXIT_FINE)
		return code;
	if (map_stack_open_chain(stack, command->common, file, snapshot, &blame) == 0)
		return sandbox_seal(command);
	report_error(command, blame.file ? blame.file : file, &blame.err);
	free(blame.file);
	return EXIT_COULD_NOT;
}

int map_stack_open_said(struct map_stack *stack, const struct command *command, const char *file,
			const char *snapshot, bool chain)
{
	return (chain ? open_chain : open_image)(stack, command, file, snapshot);
}
