/* SPDX-License-Identifier: MIT */
/* See lent.h. */
#include "edit/lent.h"

#include <string.h>

#include "base/alloc.h"

bool qcow2_lent_init(struct qcow2_lent *lent, const uint64_t *clusters, size_t count)
{
	lent->clusters = qcow2_alloc_array(count, sizeof(*lent->clusters));
	lent->taken = qcow2_alloc_array(count, sizeof(*lent->taken));
	if (!lent->clusters || !lent->taken)
		return false;
	if (count > 0)
		memcpy(lent->clusters, clusters, count * sizeof(*clusters));
	lent->count = count;
	return true;
}

void qcow2_lent_release(struct qcow2_lent *lent)
{
	qcow2_free(lent->clusters);
	qcow2_free(lent->taken);
	*lent = (struct qcow2_lent){NULL, NULL, 0};
}

/* Where a cluster is, or lent->count. */
static size_t find(const struct qcow2_lent *lent, uint64_t cluster)
{
	size_t first = 0, end = lent->count;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (lent->clusters[middle] < cluster)
			first = middle + 1;
		else
			end = middle;
	}
	return first < lent->count && lent->clusters[first] == cluster ? first : lent->count;
}

bool qcow2_lent_has(const struct qcow2_lent *lent, uint64_t cluster)
{
	size_t at = find(lent, cluster);

	return at < lent->count && !lent->taken[at];
}

void qcow2_lent_take(struct qcow2_lent *lent, uint64_t cluster)
{
	size_t at = find(lent, cluster);

	if (at < lent->count)
		lent->taken[at] = true;
}
