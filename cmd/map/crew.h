/* SPDX-License-Identifier: MIT */
/* Makes the text of a large map with several threads, each for a piece of the disk at a time. */
#ifndef CMD_MAP_CREW_H
#define CMD_MAP_CREW_H

#include "map/run.h"

/*
 * Whether threads are worth it, and safe: an image by itself, with much metadata, whose L1 table
 * cannot lead to more tables than the stream's limit allows, as each piece has a limit of its own.
 */
bool map_crew_pays(const struct map_run *run);

/*
 * Adds the extents of the run to run->out, the same as without threads. Returns 0, or -1 with *err
 * filled.
 */
int map_crew_show(struct map_run *run, struct qcow2_error *err);

#endif
