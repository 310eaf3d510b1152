/* SPDX-License-Identifier: MIT */
/* See left.h. */
#include "repair/left.h"

#include <stdio.h>
#include <string.h>

#include <qcow2/text.h>

bool repair_is_planned(const struct repair_run *run)
{
	return run->change.report.dry_run || run->asks;
}

int repair_exit_code(const struct qcow2_check_result *result)
{
	if (result->corruptions > 0)
		return EXIT_MALFORMED;
	return result->leaks > 0 ? EXIT_LEAKS : EXIT_FINE;
}

unsigned repair_wants(const struct qcow2_repair_left *left)
{
	return (left->wants_all ? REPAIR_WANTS_ALL : 0U) |
	       (left->wants_free_lost ? REPAIR_WANTS_FREE_LOST : 0U) |
	       (left->wants_drop ? REPAIR_WANTS_DROP : 0U);
}

size_t repair_next_command(const struct repair_run *run, unsigned wants, char *line, size_t size)
{
	char file[4096];
	int length;

	if (wants == 0 ||
	    qcow2_text_shell_file(run->change.report.file, file, sizeof(file)) >= sizeof(file))
		return 0;
	length = snprintf(line, size, "qcow2 repair%s%s%s %s",
			  wants & REPAIR_WANTS_ALL ? " --all" : "",
			  wants & REPAIR_WANTS_FREE_LOST ? " --free-lost" : "",
			  wants & REPAIR_WANTS_DROP ? " --drop-snapshot=ID" : "", file);
	return length > 0 && (size_t)length < size ? (size_t)length : 0;
}

size_t repair_rescue_command(const struct repair_run *run, char *line, size_t size)
{
	static const char command[] = "qcow2 rescue ";
	size_t length = sizeof(command) - 1;

	if (size <= length)
		return 0;
	memcpy(line, command, length);
	length += qcow2_text_shell_file(run->change.report.file, line + length, size - length);
	return length < size ? length : 0;
}
