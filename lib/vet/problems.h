/* SPDX-License-Identifier: MIT */
/* Problems as reasons. */
#ifndef Q2_VET_PROBLEMS_H
#define Q2_VET_PROBLEMS_H

#include "rules/report.h"
#include "vet/vet.h"

/*
 * A listener for rules of the format. Corruptions are reasons of the rule "malformed", what QEMU
 * refuses of the rule "qemu-limit".
 */
struct q2_reporter q2_vet_reporter(struct q2_vet *vet);

#endif
