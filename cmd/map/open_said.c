/* SPDX-License-Identifier: MIT */
/* Opens a stack and says what failed: apart from the stack, which is tested without a command. */
#include <stdlib.h>

#include "common/report.h"
#include "map/stack.h"

int map_stack_open_said(struct map_stack *stack, const struct command *command, const char *file,
			const char *snapshot, bool chain)
{
	struct qcow2_error err;
	char *blamed = NULL;
	int failed;

	if (chain)
		failed = map_stack_open_chain(stack, file, snapshot, &blamed, &err);
	else
		failed = map_stack_open(stack, file, snapshot, &err);
	if (failed)
		report_error(command, blamed ? blamed : file, &err);
	free(blamed);
	return failed ? EXIT_COULD_NOT : EXIT_FINE;
}
