/* SPDX-License-Identifier: MIT */
/*
 * The subcommands. main.c has them in a table; the file that defines one includes this, so that
 * the compiler compares. A new command is a folder, a line here and a line in that table.
 */
#ifndef CMD_COMMANDS_H
#define CMD_COMMANDS_H

#include "common/command.h"

extern const struct command bitmap_command;
extern const struct command capture_command;
extern const struct command check_command;
extern const struct command compare_command;
extern const struct command compat_command;
extern const struct command complete_command;
extern const struct command completion_command;
extern const struct command diff_command;
extern const struct command dump_command;
extern const struct command edit_command;
extern const struct command explain_command;
extern const struct command export_command;
extern const struct command hash_command;
extern const struct command help_command;
extern const struct command info_command;
extern const struct command layout_command;
extern const struct command locate_command;
extern const struct command map_command;
extern const struct command measure_command;
extern const struct command read_command;
extern const struct command repair_command;
extern const struct command report_command;
extern const struct command rescue_command;
extern const struct command snapshot_command;
extern const struct command undo_command;
extern const struct command vet_command;

#endif
