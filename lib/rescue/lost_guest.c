/* SPDX-License-Identifier: MIT */
#include "rescue/lost_state.h"
int q2_lost_ask_guest(struct q2_lost_state *state)
{
	(void)state;
	return 0;
}
const char *q2_lost_magic_name(uint64_t detail)
{
	(void)detail;
	return "";
}
