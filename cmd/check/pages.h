/* SPDX-License-Identifier: MIT */
/* The pages of qcow2 check. */
#ifndef CMD_CHECK_PAGES_H
#define CMD_CHECK_PAGES_H

#include "check/report.h"
#include "common/chain.h"
#include "out/json.h"
#include "out/spool.h"

/* A page for people: a verdict, its cause, the problems by kind, totals, the verdict again. */
void check_show_human(struct spool *out, const struct check_report *report);

/* The keys of `qemu-img check --output=json`, and the problems. */
void check_show_json(struct json *json, const struct check_report *report);

/* The same of a backing file of another format, which cannot be checked. */
void check_show_other_human(struct spool *out, const struct chain_link *link);
void check_show_other_json(struct json *json, const struct chain_link *link);

/* The table of all problems that a check can report, in so many columns. */
void check_list_human(struct spool *out, unsigned columns);
void check_list_json(struct json *json);

#endif
