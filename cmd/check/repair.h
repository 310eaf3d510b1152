/* SPDX-License-Identifier: MIT */
/* qcow2 check --repair: hands the line over to qcow2 repair. */
#ifndef CMD_CHECK_REPAIR_H
#define CMD_CHECK_REPAIR_H

#include "common/command.h"

/*
 * Whether a line of qcow2 check has --repair, --repair=HOW or -r HOW. The other options of such a
 * line are those of qcow2 repair, so that it is not parsed as one of qcow2 check.
 */
bool check_repair_asked(const struct command *command, int argc, char **argv);

/* Runs such a line. Returns the exit code. */
int check_repair(const struct command *command, int argc, char **argv);

#endif
