/* SPDX-License-Identifier: MIT */
/*
 * A line on standard error that tells a waiting person how far a command is. It appears after a
 * second, if standard error is a terminal and the page itself goes elsewhere, and is wiped at the
 * end. All of it can be left unset: then nothing is ever shown.
 */
#ifndef CMD_OUT_PROGRESS_H
#define CMD_OUT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	bool wanted;
	bool shown;
	uint64_t steps;
	const char *word;     /* what was done to a share; NULL: "checked" */
	struct timespec next; /* when the line is due again */
};

void progress_init(struct progress *progress);

/* One more thing was done; bytes_out is what the page has by now. Costs next to nothing. */
void progress_step(struct progress *progress, uint64_t bytes_out);
/* The same, of many things. */
void progress_steps(struct progress *progress, uint64_t count, uint64_t bytes_out);

/* The line is wanted whatever standard error is: the user said so. */
void progress_force(struct progress *progress);

/* Shows how much of a whole is done. */
void progress_share(struct progress *progress, uint64_t done_bytes, uint64_t total_bytes);

/* Wipes the line, so that messages do not mix with it. */
void progress_end(struct progress *progress);

#endif
