/* SPDX-License-Identifier: MIT */
/* The table of guards, expanded from def/guards.def. */
#include <qcow2/guard.h>

static const struct qcow2_guard guards[] = {
#define QCOW2_GUARD(ID, id_text, section_text, what_text, says_text, unless_text, refusal_text,    \
		    way_out_text)                                                                  \
	[QCOW2_GUARD_##ID] = {.id = (id_text),                                                     \
			      .section = (section_text),                                           \
			      .what = (what_text),                                                 \
			      .says = (says_text),                                                 \
			      .unless = (unless_text),                                             \
			      .refusal = (refusal_text),                                           \
			      .way_out = (way_out_text)},
#include <qcow2/def/guards.def>
#undef QCOW2_GUARD
};

const struct qcow2_guard *qcow2_guards(size_t *count)
{
	*count = QCOW2_GUARD_COUNT;
	return guards;
}
