/* SPDX-License-Identifier: MIT */
/* See lent.h. */
#include "plan/lent.h"

#include <string.h>

#include "base/alloc.h"

bool q2_lent_init(struct q2_lent *lent, const uint64_t *clusters, size_t count)
{
	lent->clusters = q2_alloc_array(count, sizeof(*lent->clusters));
	lent->taken = q2_alloc_array(count, sizeof(*lent->taken));
	if (!lent->clusters || !lent->taken)
		return false;
	if (count > 0)
		memcpy(lent->clusters, clusters, count * sizeof(*clusters));
	lent->count = count;
	return true;
}

void q2_lent_release(struct q2_lent *lent)
{
	q2_free(lent->clusters);
	q2_free(lent->taken);
	*lent = (struct q2_lent){NULL, NULL, 0};
}

/* Returns the index of a cluster, or lent->count. */
static size_t find(const struct q2_lent *lent, uint64_t cluster)
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

bool q2_lent_has(const struct q2_lent *lent, uint64_t cluster)
{
	size_t at = find(lent, cluster);

	return at < lent->count && !lent->taken[at];
}

void q2_lent_take(struct q2_lent *lent, uint64_t cluster)
{
	size_t at = find(lent, cluster);

	if (at < lent->count)
		lent->taken[at] = true;
}
