/* SPDX-License-Identifier: MIT */
/* See l2_batches.h. */
#include "claims/l2_batches.h"

#include <string.h>

#include "source/ahead.h"

static uint64_t begin_of(const struct q2_l2_batches *batches, size_t index)
{
	return batches->metadata->tables[batches->items[index].first].offset_bytes;
}

static size_t size_of(const struct q2_l2_batches *batches, size_t index)
{
	const struct q2_metadata *metadata = batches->metadata;
	uint64_t last = metadata->tables[batches->items[index].last - 1].offset_bytes;

	return (size_t)(last - begin_of(batches, index) +
			q2_metadata_l2_stored(metadata->geometry, last));
}

/* Of what is read in a row, the system finds out by itself that it goes on. */
static void advise(const struct q2_l2_batches *batches, size_t index)
{
	if (index < batches->count &&
	    (index == 0 || begin_of(batches, index - 1) + size_of(batches, index - 1) !=
				   begin_of(batches, index)))
		q2_source_will_need(qcow2_image_source(batches->metadata->image),
				    begin_of(batches, index), size_of(batches, index));
}

bool q2_l2_batches_make(struct q2_l2_batches *batches, const struct q2_metadata *metadata)
{
	const struct q2_l2_ref *tables = metadata->tables;
	const uint64_t cluster = metadata->geometry->cluster_size_bytes;
	const uint64_t most = cluster > Q2_PIECE_BYTES ? cluster : Q2_PIECE_BYTES;
	struct q2_l2_batch *items =
		q2_memory_get(metadata->memory, metadata->table_count, sizeof(*items));
	size_t count = 0;

	*batches = (struct q2_l2_batches){.metadata = metadata, .items = items};
	for (size_t i = 0; items && i < metadata->table_count; i++) {
		uint64_t offset = tables[i].offset_bytes;

		batches->total_bytes += q2_metadata_l2_stored(metadata->geometry, offset);
		if (i > 0 && offset - tables[i - 1].offset_bytes <= cluster &&
		    offset + cluster - tables[items[count - 1].first].offset_bytes <= most)
			items[count - 1].last = i + 1;
		else
			items[count++] = (struct q2_l2_batch){i, i + 1};
	}
	batches->count = count;
	if (!items)
		return false;
	batches->cold = q2_source_is_cold(qcow2_image_source(metadata->image),
					  begin_of(batches, count / 2));
	for (size_t i = 0; batches->cold && i < Q2_AHEAD; i++)
		advise(batches, i);
	return true;
}

void q2_l2_batches_release(struct q2_l2_batches *batches)
{
	q2_memory_put(batches->metadata->memory, batches->items, batches->metadata->table_count,
		      sizeof(*batches->items));
}

int q2_l2_batches_read(const struct q2_l2_batches *batches, size_t index, uint8_t *buffer,
		       size_t *size, struct qcow2_error *err)
{
	struct qcow2_source *source = qcow2_image_source(batches->metadata->image);
	uint64_t begin = begin_of(batches, index);

	*size = size_of(batches, index);
	if (batches->cold)
		advise(batches, index + Q2_AHEAD);
	/* A hole has no entries. */
	if (qcow2_source_hole_end(source, begin) - begin >= *size)
		return 0;
	if (qcow2_source_read(source, begin, buffer, *size, err))
		return -1;
	memset(buffer + *size, 0, Q2_L2_BATCH_SLACK_BYTES);
	return 1;
}
