/* SPDX-License-Identifier: MIT */
/* Notes the refusals of guards in a verdict. See trial.h. */
#include "guards/trial.h"

#include <stdio.h>

#include <qcow2/text.h>

#define NAME_MOST ((size_t)64)

void q2_guard_refuse(struct q2_trial *trial, enum qcow2_guard_id guard, const char *where,
		     const char *text, struct qcow2_bytes name)
{
	struct q2_verdict *verdict = trial->verdict;
	struct qcow2_refusal *refusal;
	char safe[NAME_MOST * 2 + 1];

	verdict->refusals_total++;
	if (verdict->refusal_count == QCOW2_REFUSALS_MOST)
		return;
	refusal = &verdict->refusals[verdict->refusal_count++];
	refusal->size = sizeof(*refusal);
	refusal->guard = qcow2_guard_get(guard);
	snprintf(refusal->where, sizeof(refusal->where), "%s", where);
	if (!name.data) {
		snprintf(refusal->text, sizeof(refusal->text), "%s", text);
		return;
	}
	if (name.size > NAME_MOST)
		name.size = NAME_MOST;
	qcow2_text_escape(name, safe, sizeof(safe));
	snprintf(refusal->text, sizeof(refusal->text), "%.96s '%s'", text, safe);
}
