/* SPDX-License-Identifier: MIT */
/* The rules and the policies: all from one list. */
#include "vet/policy.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static const struct qcow2_vet_rule rules[] = {
#define QCOW2_VET_RULE(row_number, ID, row_id, row_field, UNIT, upload, chain, strict, row_text,   \
		       row_meaning)                                                                \
	{                                                                                          \
		.size = sizeof(struct qcow2_vet_rule),                                             \
		.number = (row_number),                                                            \
		.id = (row_id),                                                                    \
		.field = (row_field),                                                              \
		.unit = QCOW2_VET_##UNIT,                                                          \
		.text = (row_text),                                                                \
		.meaning = (row_meaning),                                                          \
	},
#include <qcow2/def/vet_rules.def>
#undef QCOW2_VET_RULE
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

/* Settings in the list are words or numbers. */
#define DENY     QCOW2_VET_DENY
#define ALLOW    QCOW2_VET_ALLOW
#define NO_LIMIT QCOW2_VET_NO_LIMIT

static const struct {
	const char *name;
	struct qcow2_vet_policy policy;
} policies[] = {
#define QCOW2_VET_RULE(number, ID, id, field, UNIT, upload, chain, strict, text, meaning)          \
	[number] = (upload),
	{"upload",
	 {.settings =
		  {
#include <qcow2/def/vet_rules.def>
		  }}},
#undef QCOW2_VET_RULE
#define QCOW2_VET_RULE(number, ID, id, field, UNIT, upload, chain, strict, text, meaning)          \
	[number] = (chain),
	{"chain",
	 {.settings =
		  {
#include <qcow2/def/vet_rules.def>
		  }}},
#undef QCOW2_VET_RULE
#define QCOW2_VET_RULE(number, ID, id, field, UNIT, upload, chain, strict, text, meaning)          \
	[number] = (strict),
	{"strict",
	 {.settings =
		  {
#include <qcow2/def/vet_rules.def>
		  }}},
#undef QCOW2_VET_RULE
};
#define POLICIES (sizeof(policies) / sizeof(policies[0]))

const struct qcow2_vet_rule *qcow2_vet_rule_at(size_t index)
{
	return index < RULES ? &rules[index] : NULL;
}

/* Numbers may have gaps, so that a rule stands at or before the place of its number. */
const struct qcow2_vet_rule *qcow2_vet_rule_get(unsigned number)
{
	for (size_t i = number < RULES ? number : RULES; i-- > 0;)
		if (rules[i].number <= number)
			return rules[i].number == number ? &rules[i] : NULL;
	return NULL;
}

const struct qcow2_vet_rule *qcow2_vet_rule_find(const char *id)
{
	for (size_t i = 0; i < RULES; i++)
		if (strcmp(rules[i].id, id) == 0)
			return &rules[i];
	return NULL;
}

int qcow2_vet_policy_new(const char *name, struct qcow2_vet_policy **out, struct qcow2_error *err)
{
	struct qcow2_vet_policy *policy;

	for (size_t i = 0; i < POLICIES; i++) {
		if (strcmp(policies[i].name, name) != 0)
			continue;
		policy = q2_alloc(sizeof(*policy));
		if (!policy)
			return q2_fail_memory(err);
		*policy = policies[i].policy;
		*out = policy;
		return 0;
	}
	return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET, "there is no policy '%s'",
		       name);
}

void qcow2_vet_policy_free(struct qcow2_vet_policy *policy)
{
	q2_free(policy);
}

int qcow2_vet_policy_set(struct qcow2_vet_policy *policy, unsigned number, uint64_t setting,
			 struct qcow2_error *err)
{
	const struct qcow2_vet_rule *rule = qcow2_vet_rule_get(number);

	if (!rule)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no rule of number %u", number);
	if (rule->unit == QCOW2_VET_ALWAYS)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the rule %s always refuses", rule->id);
	if (rule->unit == QCOW2_VET_SWITCH && setting != QCOW2_VET_ALLOW &&
	    setting != QCOW2_VET_DENY)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the rule %s has no limit", rule->id);
	policy->settings[number] = setting;
	return 0;
}

uint64_t qcow2_vet_policy_setting(const struct qcow2_vet_policy *policy, unsigned number)
{
	if (!policy)
		policy = &policies[0].policy;
	return number < Q2_VET_NUMBERS ? policy->settings[number] : QCOW2_VET_DENY;
}
