/* SPDX-License-Identifier: MIT */
/* What qcow2 rescue shows. */
#ifndef CMD_RESCUE_PAGES_H
#define CMD_RESCUE_PAGES_H

#include "rescue/run.h"

/* The page for people: the candidates with their evidence, what is done, and the next command. */
void rescue_show_human(struct spool *out, const struct rescue_run *run);

/* Members of the JSON page, in an object that the caller begins and ends. */
void rescue_show_json(struct json *json, const struct rescue_run *run);

/*
 * The name under which QEMU opens an overlay: "json:{…}". Returns the length that it needs, as
 * snprintf() does. Without memory for it, out->errnum is set.
 */
size_t rescue_overlay_name(struct spool *out, const char *overlay, char *buffer, size_t size);

#endif
