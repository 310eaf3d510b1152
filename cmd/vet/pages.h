/* SPDX-License-Identifier: MIT */
/* What is printed of an answer. */
#ifndef CMD_VET_PAGES_H
#define CMD_VET_PAGES_H

#include "vet/run.h"

/* "accepted", "refused", "could not look". */
const char *vet_verdict_name(enum qcow2_vet_verdict verdict);

/* Lines for people, into the answer's page. Nothing if it could not be looked at. */
void vet_show_human(struct vet_answer *answer);

/* The lines of oslo.utils. Nothing if it could not be looked at. */
void vet_show_oslo(struct vet_answer *answer);

/* An object with all that is known. */
void vet_show_json(struct json *json, const struct vet_answer *answer);

#endif
