/* SPDX-License-Identifier: MIT */
/* One call of qcow2 check: which images, how, and what came of it. */
#ifndef CMD_CHECK_RUN_H
#define CMD_CHECK_RUN_H

#include "check/verdict.h"
#include "common/command.h"
#include "out/json.h"
#include "out/spool.h"

struct check_run {
	const struct command *command;
	struct spool out;
	struct json json;
	bool as_json, all, deep, ranges, quiet, verbose, progress, chain;
	bool list; /* several images, or a chain: the JSON document is an array */
	unsigned threads;
	int code;     /* exit code: that of the worst image so far */
	size_t shown; /* images whose page was written */
	/* How many had which verdict, were raw, of another format, and could not be checked. */
	size_t verdicts[VERDICT_CORRUPT + 1];
	size_t raw;
	size_t not_qcow2;
	size_t failed;
	size_t open_chains; /* whose next backing file could not be found or opened */
};

/*
 * Checks one image after the other and shows what was found; says on standard error what could not
 * be checked. Returns the exit code.
 */
int check_run(struct check_run *run, char **files, int count);

#endif
