/* SPDX-License-Identifier: MIT */
/* See choices.h. */
#include "base/choices.h"

#include <stdio.h>

#include <qcow2/text.h>

/* Kept free for ", …", which says that there are more. */
#define MORE_BYTES sizeof(", …")

void q2_choices_add(struct q2_choices *choices, struct qcow2_bytes name)
{
	const char *comma = choices->size > 0 ? ", " : "";
	char *at = choices->text + choices->size;
	size_t room = choices->room - choices->size;
	char safe[160];
	size_t wanted;

	if (choices->full || name.size == 0)
		return;
	wanted = qcow2_text_escape(name, safe, sizeof(safe));
	choices->full = wanted >= sizeof(safe) || wanted + MORE_BYTES + sizeof(", ") > room;
	choices->size += (size_t)snprintf(at, room, "%s%s", comma, choices->full ? "…" : safe);
}
