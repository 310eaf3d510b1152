/* SPDX-License-Identifier: MIT */
/* The settings of a policy. */
#ifndef Q2_VET_POLICY_H
#define Q2_VET_POLICY_H

#include <qcow2/vet.h>

/* As large as the largest number of a rule, and one more. */
union q2_vet_numbers {
#define QCOW2_VET_RULE(number, ID, id, field, UNIT, upload, chain, strict, text, meaning)          \
	char up_to_##ID[(number) + 1];
#include <qcow2/def/vet_rules.def>
#undef QCOW2_VET_RULE
};

#define Q2_VET_NUMBERS sizeof(union q2_vet_numbers)

struct qcow2_vet_policy {
	uint64_t settings[Q2_VET_NUMBERS]; /* by the numbers of the rules */
};

#endif
