/* SPDX-License-Identifier: MIT */
/* How many numbers of problems there are: for arrays that are indexed by kind. */
#ifndef Q2_FORMAT_PROBLEMS_H
#define Q2_FORMAT_PROBLEMS_H

#include <qcow2/problem.h>

/* As large as the largest number, and one more: numbers may have gaps and stand in any order. */
union q2_problem_numbers {
#define QCOW2_PROBLEM(number, ID, id, severity, damage, remedy, section, text, consequence)        \
	char up_to_##ID[(number) + 1];
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
};

#define Q2_PROBLEM_NUMBERS sizeof(union q2_problem_numbers)

#endif
