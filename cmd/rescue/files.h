/* SPDX-License-Identifier: MIT */
/* Files that qcow2 rescue makes and reads besides the image. */
#ifndef CMD_RESCUE_FILES_H
#define CMD_RESCUE_FILES_H

#include "rescue/run.h"

/*
 * All return EXIT_FINE, or another code when the error has been said. A file that is made must not
 * be there yet; if something fails it is removed.
 */

/* Writes the plan of run->change.report as JSON (docs/rescue.md) into run->target. */
int rescue_write_plan(struct rescue_run *run);

/* Adds the writes of run->plan_file to a plan, if the bytes that they replace are there. */
int rescue_read_plan(struct rescue_run *run, struct qcow2_plan *plan);

/* Copies the image to run->target: shares its blocks where the file system can, keeps holes. */
int rescue_copy(struct rescue_run *run);

/* Writes run->target: an image over the file, with the clusters that the plan changes. */
int rescue_write_overlay(struct rescue_run *run);

#endif
