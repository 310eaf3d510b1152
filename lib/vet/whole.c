/* SPDX-License-Identifier: MIT */
/* What reads all of the metadata: the check, and the search for compressed bombs. */
#include "vet/vet.h"

#include <qcow2/check.h>
#include <qcow2/mapping.h>

/* The check names more than one place of a kind, but not all. */
#define PROBLEMS_PER_KIND 4

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct q2_vet *vet = opaque;
	struct q2_vet_finding finding = {.rule = QCOW2_VET_RULE_CHECK_CORRUPTION,
					 .offset_bytes = problem->offset_bytes,
					 .has_value = problem->has_found,
					 .value = problem->found,
					 .detail = problem->kind->text,
					 .problem = problem->kind};

	if (problem->kind->severity == QCOW2_LEAK)
		finding.rule = QCOW2_VET_RULE_CHECK_LEAK;
	if (problem->kind->severity != QCOW2_WARNING)
		q2_vet_tell(vet, &finding, "%s", problem->where);
	return 0;
}

int q2_vet_check(struct q2_vet *vet)
{
	const struct qcow2_check_options options = {.size = sizeof(options),
						    .threads = vet->options.threads,
						    .memory_limit_bytes =
							    vet->options.memory_limit_bytes,
						    .max_per_kind = PROBLEMS_PER_KIND,
						    .deep = vet->options.deep,
						    .problem = hear,
						    .opaque = vet};

	if (!q2_vet_denies(vet, QCOW2_VET_RULE_CHECK_CORRUPTION) &&
	    !q2_vet_denies(vet, QCOW2_VET_RULE_CHECK_LEAK))
		return 0;
	return qcow2_check(vet->image, &options, NULL, vet->err);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Sums up what the disk holds, and what the file has for it. */
static int sum_up(struct q2_vet *vet, struct qcow2_mapping *mapping, uint64_t *guest_bytes,
		  uint64_t *host_bytes)
{
	const struct qcow2_mapping_extent *extent;
	int more;

	while ((more = qcow2_mapping_next(mapping, &extent, vet->err)) > 0) {
		if (extent->kind != QCOW2_L2_DATA && extent->kind != QCOW2_L2_COMPRESSED)
			continue;
		*guest_bytes += extent->length_bytes;
		*host_bytes += extent->host_bytes;
	}
	return more;
}

/*
 * Clusters that share their bytes count as often as they are used, so that the file is the bound:
 * its size and not what it takes on a disk, since preallocated data may be a hole.
 */
int q2_vet_deep(struct q2_vet *vet)
{
	uint64_t guest_bytes = 0, host_bytes = 0;
	struct qcow2_mapping *mapping;
	int result;

	if (!vet->options.deep)
		return 0;
	if (qcow2_mapping_open(vet->image, &mapping, vet->err))
		return vet->err->code == QCOW2_ERROR_UNSUPPORTED ? 0 : -1;
	result = sum_up(vet, mapping, &guest_bytes, &host_bytes);
	qcow2_mapping_close(mapping);
	if (result && vet->err->code != QCOW2_ERROR_LIMIT)
		return -1;
	host_bytes = smaller(host_bytes, vet->result.file_size_bytes);
	if (host_bytes > 0)
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_COMPRESSION_RATIO,
						     .offset_bytes = QCOW2_NO_OFFSET,
						     .value = guest_bytes / host_bytes},
			    "l2");
	return 0;
}
