/* SPDX-License-Identifier: MIT */
/* See ask.h. */
#include "common/ask.h"

#include <stdio.h>

bool ask_person(const char *question)
{
	char answer[16];

	fprintf(stderr, "%s [y/N] ", question);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}
