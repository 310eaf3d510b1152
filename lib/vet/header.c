/* SPDX-License-Identifier: MIT */
/* The header: feature bits, encryption, sizes, and the rules of the format. */
#include <stddef.h>

#include "rules/rules.h"
#include "vet/problems.h"
#include "vet/vet.h"

#include <qcow2/problem.h>

#define AT(field) offsetof(struct qcow2_header, field)

/* If value has any of these bits, there is a reason. */
struct bits_row {
	enum qcow2_vet_rule_number rule;
	uint64_t bits, value, offset_bytes;
	const char *field;
};

static void tell_features(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	const struct bits_row rows[] = {
		{QCOW2_VET_RULE_INCOMPATIBLE_FEATURE, ~QCOW2_INCOMPATIBLE_KNOWN,
		 h->incompatible_features, AT(incompatible_features), "incompatible_features"},
		{QCOW2_VET_RULE_COMPATIBLE_FEATURE, ~QCOW2_COMPATIBLE_KNOWN, h->compatible_features,
		 AT(compatible_features), "compatible_features"},
		{QCOW2_VET_RULE_AUTOCLEAR_FEATURE, ~QCOW2_AUTOCLEAR_KNOWN, h->autoclear_features,
		 AT(autoclear_features), "autoclear_features"},
		{QCOW2_VET_RULE_DIRTY, QCOW2_INCOMPATIBLE_DIRTY, h->incompatible_features,
		 AT(incompatible_features), "incompatible_features"},
		{QCOW2_VET_RULE_CORRUPT, QCOW2_INCOMPATIBLE_CORRUPT, h->incompatible_features,
		 AT(incompatible_features), "incompatible_features"},
		{QCOW2_VET_RULE_DATA_FILE, QCOW2_INCOMPATIBLE_DATA_FILE, h->incompatible_features,
		 AT(incompatible_features), "incompatible_features"},
		{QCOW2_VET_RULE_DATA_FILE, QCOW2_AUTOCLEAR_DATA_FILE_RAW, h->autoclear_features,
		 AT(autoclear_features), "autoclear_features"},
		{QCOW2_VET_RULE_ENCRYPTION, UINT64_MAX, h->crypt_method, AT(crypt_method),
		 "crypt_method"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].value & rows[i].bits)
			q2_vet_tell(vet,
				    &(struct q2_vet_finding){.rule = rows[i].rule,
							     .offset_bytes = rows[i].offset_bytes,
							     .has_value = true,
							     .value = rows[i].value},
				    "header/%s", rows[i].field);
}

static void tell_limit(struct q2_vet *vet, enum qcow2_vet_rule_number rule, uint64_t offset_bytes,
		       uint64_t value, const char *field)
{
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){
			    .rule = rule, .offset_bytes = offset_bytes, .value = value},
		    "%s", field);
}

void q2_vet_header(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	uint64_t file_bytes = vet->result.file_size_bytes;

	tell_features(vet);
	tell_limit(vet, QCOW2_VET_RULE_SNAPSHOTS, AT(nb_snapshots), h->nb_snapshots,
		   "header/nb_snapshots");
	tell_limit(vet, QCOW2_VET_RULE_VIRTUAL_SIZE, AT(size), h->size, "header/size");
	if (vet->size_unknown)
		return;
	if (file_bytes > 0)
		tell_limit(vet, QCOW2_VET_RULE_SIZE_RATIO, AT(size), h->size / file_bytes,
			   "header/size");
	tell_limit(vet, QCOW2_VET_RULE_FILE_SIZE, QCOW2_NO_OFFSET, file_bytes, "file");
}

/* ---- the rules of the format ---- */

/* Of these problems there are rules of their own, which say more of what they mean here. */
static bool is_told_otherwise(enum qcow2_problem_id id)
{
	switch (id) {
	case QCOW2_PROBLEM_FEATURE_INCOMPATIBLE_UNKNOWN:
	case QCOW2_PROBLEM_FEATURE_CORRUPT:
	case QCOW2_PROBLEM_DATA_FILE_WITHOUT_BIT:
	case QCOW2_PROBLEM_HEADER_SIZE_SECTORS: /* QEMU opens it, and cuts the disk */
		return true;
	default:
		return false;
	}
}

static enum qcow2_vet_rule_number rule_of(const struct qcow2_problem_kind *kind)
{
	if (kind->severity == QCOW2_CORRUPTION)
		return QCOW2_VET_RULE_MALFORMED;
	if (kind->section[0] == 'Q' && kind->section[1] == 'E') /* "QEMU" */
		return QCOW2_VET_RULE_QEMU_LIMIT;
	return QCOW2_VET_RULE_NONE;
}

static bool is_wanted(void *opaque, enum qcow2_problem_id id)
{
	const struct q2_vet *vet = opaque;
	enum qcow2_vet_rule_number rule = rule_of(qcow2_problem_kind_get(id));

	return rule != QCOW2_VET_RULE_NONE && !is_told_otherwise(id) && q2_vet_denies(vet, rule);
}

static void hear(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_vet *vet = opaque;

	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = rule_of(problem->kind),
					     .offset_bytes = problem->offset_bytes,
					     .has_value = problem->has_found,
					     .value = problem->found,
					     .detail = problem->kind->text,
					     .problem = problem->kind},
		    "%s", problem->where);
}

struct q2_reporter q2_vet_reporter(struct q2_vet *vet)
{
	return (struct q2_reporter){.problem = hear, .opaque = vet, .wanted = is_wanted};
}

void q2_vet_rules(struct q2_vet *vet)
{
	const struct q2_reporter reporter = q2_vet_reporter(vet);

	q2_rules_header(vet->image, &reporter);
	q2_rules_extensions(vet->image, &reporter);
}
