/* SPDX-License-Identifier: MIT */
/* The value of --only: kinds of problems by their ids, or whole groups of them. */
#ifndef CMD_REPAIR_ONLY_H
#define CMD_REPAIR_ONLY_H

#include "repair/run.h"

/* Adds the kinds that a value names. False, with a message, if a word of it names none. */
bool repair_take_only(struct repair_run *run, const char *value);

#endif
