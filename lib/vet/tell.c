/* SPDX-License-Identifier: MIT */
/* Makes reasons of findings. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "rules/rules.h"
#include "vet/vet.h"

#include <qcow2/text.h>

bool q2_vet_passes(const struct q2_vet *vet, enum qcow2_vet_rule_number rule, uint64_t value)
{
	return value > qcow2_vet_policy_setting(vet->options.policy, rule);
}

bool q2_vet_denies(const struct q2_vet *vet, enum qcow2_vet_rule_number rule)
{
	return qcow2_vet_policy_setting(vet->options.policy, rule) == QCOW2_VET_DENY;
}

static bool is_limit(const struct qcow2_vet_rule *rule)
{
	return rule->unit != QCOW2_VET_ALWAYS && rule->unit != QCOW2_VET_SWITCH;
}

static const char *unit_name(enum qcow2_vet_unit unit)
{
	switch (unit) {
	case QCOW2_VET_BYTES:
		return " bytes";
	case QCOW2_VET_MILLISECONDS:
		return " ms";
	case QCOW2_VET_RATIO:
		return " to 1";
	default:
		return "";
	}
}

/* Writes the sentence: that of the rule without its stop, then what was found. */
static void write_text(struct qcow2_vet_reason *reason, const struct q2_vet_finding *finding)
{
	const struct qcow2_vet_rule *rule = reason->rule;
	size_t size = sizeof(reason->text), at = strcspn(rule->text, ".");
	char *text = reason->text;

	snprintf(text, size, "%.*s", (int)at, rule->text);
	if (finding->detail)
		at += (size_t)snprintf(text + at, size - at, ": %s", finding->detail);
	if (reason->name[0] && at < size)
		at += (size_t)snprintf(text + at, size - at, ": \"%.256s\"", reason->name);
	if (reason->has_limit && at < size)
		snprintf(text + at, size - at, ": %" PRIu64 "%s, at most %" PRIu64 " allowed",
			 reason->value, unit_name(rule->unit), reason->limit);
}

void q2_vet_tell(struct q2_vet *vet, const struct q2_vet_finding *finding, const char *field, ...)
{
	const struct qcow2_vet_rule *rule = qcow2_vet_rule_get(finding->rule);
	struct qcow2_vet_reason reason;
	va_list arguments;

	if (is_limit(rule) ? !q2_vet_passes(vet, finding->rule, finding->value)
			   : !q2_vet_denies(vet, finding->rule))
		return;
	vet->result.verdict = QCOW2_VET_REFUSED;
	vet->result.reasons++;
	if (vet->told[finding->rule]++ >= QCOW2_VET_REASONS_PER_RULE || !vet->options.reason)
		return;
	reason = (struct qcow2_vet_reason){
		.size = sizeof(reason),
		.rule = rule,
		.offset_bytes = finding->offset_bytes,
		.has_value = finding->has_value || is_limit(rule),
		.value = finding->value,
		.has_limit = is_limit(rule),
		.problem = finding->problem,
	};
	if (reason.has_limit)
		reason.limit = qcow2_vet_policy_setting(vet->options.policy, finding->rule);
	qcow2_text_escape(finding->name, reason.name, sizeof(reason.name));
	va_start(arguments, field);
	vsnprintf(reason.field, sizeof(reason.field), field, arguments);
	va_end(arguments);
	write_text(&reason, finding);
	vet->options.reason(vet->options.opaque, &reason);
}

void q2_vet_tell_name(struct q2_vet *vet, struct qcow2_bytes name, uint64_t offset_bytes,
		      const char *field)
{
	if (name.size == 0 || q2_utf8_printable(name))
		return;
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_NAME_TEXT,
					     .offset_bytes = offset_bytes,
					     .name = name},
		    "%s", field);
}
