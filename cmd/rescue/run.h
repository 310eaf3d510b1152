/* SPDX-License-Identifier: MIT */
/*
 * One call of qcow2 rescue: what is wanted and what was found. What is done with the plan is one of
 * enum rescue_way; only `apply` writes to the image.
 */
#ifndef CMD_RESCUE_RUN_H
#define CMD_RESCUE_RUN_H

#include "common/change.h"
#include "out/progress.h"

#include <qcow2/rescue.h>

enum rescue_way {
	RESCUE_SHOW,    /* nothing is written */
	RESCUE_PLAN,    /* the plan goes to a file */
	RESCUE_APPLY,   /* in place */
	RESCUE_COPY,    /* on a copy */
	RESCUE_OVERLAY, /* what changes goes to an image over the file */
};

struct rescue_run {
	const struct command *command;
	struct change change; /* file, as_json, undo and force also for the other ways */
	enum rescue_way way;
	const char *target;    /* the file that is made, or NULL */
	const char *plan_file; /* --plan: a plan that is read, or NULL */
	const char *like;
	struct spool said;  /* options of the candidate, but --confidence, as words for a shell */
	uint64_t candidate; /* as people count them, from 1; 0: the best one */
	bool hex, progress_wanted;
	bool yes;       /* nobody is asked before the image is changed */
	bool asks;      /* the page is for a person who is asked then */
	bool has_shown; /* that person has seen the candidates */
	struct qcow2_rescue_options how;
	struct progress progress;
	struct qcow2_rescue *rescue;                 /* NULL with --plan */
	const struct qcow2_rescue_candidate *chosen; /* NULL if there is none */
	size_t chosen_index;
	bool open_question; /* two candidates explain the file equally well, and none was named */
};

/* Runs it. Returns the exit code. */
int rescue_run(struct rescue_run *run);

/*
 * Finds the candidates in a source and chooses one. Returns EXIT_FINE, or another code when the
 * error has been said.
 */
int rescue_find(struct rescue_run *run, struct qcow2_source *source);

/* Plans the chosen candidate, or what a plan file says. As above. */
int rescue_plan(struct rescue_run *run, struct qcow2_plan *plan);

/*
 * Tells the library the size of a backing file's disk, if the user has named that file or allowed
 * to look at it; 0 if not. opaque is the run.
 */
uint64_t rescue_backing_size(void *opaque, struct qcow2_bytes name);

/* The exit code for an image that checks so: sound, corruptions left, leaks left. */
int rescue_exit_code(const struct qcow2_check_result *check);

#endif
