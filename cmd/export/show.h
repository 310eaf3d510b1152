/* SPDX-License-Identifier: MIT */
/* What is said at the end. */
#ifndef CMD_EXPORT_SHOW_H
#define CMD_EXPORT_SHOW_H

#include "export/faults.h"
#include "out/json.h"

struct export_run;
struct export_verified;

/* Adds the members about what could not be read to an object. */
void export_faults_show(struct json *json, const struct export_faults *faults);

/* Says what was exported, or what of a target is proven. Return the exit code. */
int export_show(struct export_run *run);
int export_show_verified(struct export_run *run, const char *file,
			 const struct export_verified *found);

#endif
