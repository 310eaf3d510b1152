/* SPDX-License-Identifier: MIT */
/* Problems as JSON objects, of which the caller writes the braces. */
#ifndef CMD_OUT_PROBLEM_JSON_H
#define CMD_OUT_PROBLEM_JSON_H

#include "out/json.h"

#include <qcow2/problem.h>

/* What every problem has: id, severity, where, offset, found, expected, text, section, repairable.
 */
void problem_json_members(struct json *json, const struct qcow2_problem *problem);

/* Its range of the virtual disk, and the owners of its host cluster, as far as it has them. */
void problem_json_place(struct json *json, const struct qcow2_problem *problem);

#endif
