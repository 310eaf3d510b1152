/* SPDX-License-Identifier: MIT */
/* The pages about a repair. */
#ifndef CMD_REPAIR_PAGES_H
#define CMD_REPAIR_PAGES_H

#include "repair/run.h"

/* For people; and the members of the document for programs. */
void repair_show_human(struct spool *out, const struct repair_run *run);

/* What the image is now, after a page that said what it would be. */
void repair_show_done(struct spool *out, const struct repair_run *run);
void repair_show_json(struct json *json, const struct repair_run *run);

#endif
