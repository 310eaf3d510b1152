/* SPDX-License-Identifier: MIT */
/* What a repair leaves: the exit code that says so, and the command that does more. */
#ifndef CMD_REPAIR_LEFT_H
#define CMD_REPAIR_LEFT_H

#include "repair/run.h"

/* Whether the page speaks of what would be done, not of what was. */
bool repair_is_planned(const struct repair_run *run);

/* The exit code for what a check found: 0 sound, 2 corruptions, 3 leaks. */
int repair_exit_code(const struct qcow2_check_result *result);

/* Options that would mend a kind that is left, in the order in which they are shown. */
enum { REPAIR_WANTS_ALL = 1, REPAIR_WANTS_FREE_LOST = 2, REPAIR_WANTS_DROP = 4 };
unsigned repair_wants(const struct qcow2_repair_left *left);

/*
 * Writes the next command for what is left, with the name of the image quoted for a shell. wants: the
 * sum of repair_wants() over what is left. Returns how long the line is; 0 if no command helps.
 */
size_t repair_next_command(const struct repair_run *run, unsigned wants, char *line, size_t size);

/* The command that looks for lost data. As above. */
size_t repair_rescue_command(const struct repair_run *run, char *line, size_t size);

#endif
