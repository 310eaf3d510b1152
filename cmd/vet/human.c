/* SPDX-License-Identifier: MIT */
/* The answer for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "out/wrap.h"
#include "vet/pages.h"

#include <qcow2/text.h>

const char *vet_verdict_name(enum qcow2_vet_verdict verdict)
{
	switch (verdict) {
	case QCOW2_VET_ACCEPTED:
		return "accepted";
	case QCOW2_VET_REFUSED:
		return "refused";
	default:
		return "could not look";
	}
}

static void show_reason(struct spool *out, const struct qcow2_vet_reason *reason)
{
	struct spool line;

	spool_init(&line, -1);
	spool_print(&line, "%s: %s", reason->rule->id, reason->text);
	if (reason->field[0] && reason->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(&line, " (%s at 0x%" PRIx64, reason->field, reason->offset_bytes);
	else if (reason->field[0])
		spool_print(&line, " (%s", reason->field);
	if (reason->field[0] && reason->has_value && !reason->has_limit)
		spool_print(&line, ", 0x%" PRIx64, reason->value);
	if (reason->field[0])
		spool_text(&line, ")");
	wrap_spool(out, &line, 2, 4, terminal_columns());
	spool_release(&line);
}

void vet_show_human(struct vet_answer *answer)
{
	struct spool *out = &answer->page;
	char name[4096];

	if (answer->verdict == QCOW2_VET_COULD_NOT_LOOK)
		return;
	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)answer->name, strlen(answer->name)},
			  name, sizeof(name));
	spool_print(out, "%s: %s by policy %s\n", name, vet_verdict_name(answer->verdict),
		    answer->run->policy_name);
	for (size_t i = 0; i < answer->count; i++)
		show_reason(out, &answer->reasons[i]);
	if (answer->result.reasons > answer->count)
		spool_print(out, "  and %" PRIu64 " more reasons by these rules\n",
			    answer->result.reasons - answer->count);
}
