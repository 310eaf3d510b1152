/* SPDX-License-Identifier: MIT */
/* What a person needs to know where a file system is full. */
#ifndef CMD_COMMON_CHANGE_ROOM_H
#define CMD_COMMON_CHANGE_ROOM_H

#include "common/plan_report.h"

/* If *err is that a file system is full: adds to its text how much is missing, and where. */
void change_explain_full(const struct plan_report *report, struct qcow2_error *err);

#endif
