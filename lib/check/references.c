/* SPDX-License-Identifier: MIT */
/* See references.h. */
#include "check/references.h"

#include "base/alloc.h"
#include "base/error.h"
#include "check/run.h"

/* Moves memory that a check got to its new owner, together with what it counts for. */
static void move(struct q2_check *check, struct q2_references *kept)
{
	kept->memory.limit_bytes = check->memory.limit_bytes;
	kept->memory.user = check->memory.user;
	atomic_store(&kept->memory.used_bytes, atomic_load(&check->memory.used_bytes));
	kept->clusters = check->workers[0].clusters;
	kept->clusters.memory = &kept->memory;
	check->workers[0].clusters.memory = NULL;
	kept->tables = check->metadata.tables;
	kept->table_count = check->metadata.table_count;
	kept->table_capacity = check->metadata.table_capacity;
	check->metadata.tables = NULL;
	check->metadata.table_count = check->metadata.table_capacity = 0;
	for (unsigned i = 1; i < check->threads; i++)
		q2_bits_join(&check->workers[0].beyond, &check->workers[i].beyond);
	kept->beyond = check->workers[0].beyond;
	kept->beyond.memory = &kept->memory;
	kept->spared.memory = &kept->memory;
	check->workers[0].beyond.root = NULL;
	check->workers[0].beyond.leaf = NULL;
	kept->file_clusters = check->file_clusters;
	kept->table_counted = check->table_counted;
	kept->blocks_counted = check->blocks_counted;
	kept->are_cut = check->claims_are_cut;
}

int q2_references_take(struct q2_check *check, struct q2_references **out)
{
	struct q2_references *kept = q2_alloc(sizeof(*kept));

	if (!kept)
		return q2_fail_memory(check->err);
	move(check, kept);
	*out = kept;
	return 0;
}

static void release_tables(struct q2_references *references)
{
	q2_memory_put(&references->memory, references->tables, references->table_capacity,
		      sizeof(*references->tables));
	references->tables = NULL;
	references->table_count = references->table_capacity = 0;
}

bool q2_references_pack(struct q2_references *references)
{
	if (references->packed.leaves)
		return true;
	release_tables(references);
	return q2_packed_take(&references->packed, &references->clusters);
}

void q2_references_free(struct q2_references *references)
{
	if (!references)
		return;
	q2_clusters_release(&references->clusters);
	q2_packed_release(&references->packed);
	q2_bits_release(&references->beyond);
	q2_bits_release(&references->spared);
	release_tables(references);
	q2_free(references);
}

struct q2_cluster_state q2_references_state(const struct q2_references *references,
					    uint64_t cluster)
{
	if (cluster >= references->clusters.cluster_count)
		return (struct q2_cluster_state){0};
	return references->packed.leaves ? q2_packed_get(&references->packed, cluster)
					 : q2_clusters_get(&references->clusters, cluster);
}

uint64_t q2_references_of(const struct q2_references *references, uint64_t cluster)
{
	return q2_references_state(references, cluster).count;
}
