/* SPDX-License-Identifier: MIT */
/* The end of a page of qcow2 check: what to do next. */
#ifndef CMD_CHECK_NEXT_H
#define CMD_CHECK_NEXT_H

#include "check/report.h"
#include "check/steps.h"
#include "out/json.h"
#include "out/spool.h"

/* A short sentence: whether a kind of problem can be mended. */
const char *check_remedy_text(const struct qcow2_problem_kind *kind);

/*
 * Fills in what to do next, as all pages show it. The caller releases the steps; short_of_memory says
 * that some are missing.
 */
void check_next_steps(struct check_steps *steps, const struct check_report *report);

/* Room for the sentences of a step, terminated. */
#define CHECK_STEP_TEXT_MAX 2048

/* What a step does, mends and costs: sentences, or nothing if its command says it all. */
void check_step_text(char text[CHECK_STEP_TEXT_MAX], const struct check_step *step);

/* Lines that begin with "next: ", each with a command and what it does; none for a sound image. */
void check_next_human(struct spool *out, const struct check_report *report);

/* The member "next", an array that may be empty, in an object that is begun. */
void check_next_json(struct json *json, const struct check_report *report);

#endif
