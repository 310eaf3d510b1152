/* SPDX-License-Identifier: MIT */
/* See labels.h. */
#include "usage/labels.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"

bool q2_labels_init(struct q2_labels *labels, uint64_t cluster_count, struct q2_joiner *joiner)
{
	*labels = (struct q2_labels){
		.cluster_count = cluster_count, .memory = joiner->states->memory, .joiner = joiner};
	labels->slot_count = q2_div_ceil_u64(cluster_count, Q2_LABEL_LEAF);
	labels->slots = q2_memory_get(labels->memory, labels->slot_count, sizeof(*labels->slots));
	return labels->slots != NULL;
}

static void release_chunk(struct q2_memory *memory, struct q2_label_chunk *chunk)
{
	q2_memory_put(memory, chunk->labels, Q2_LABEL_CHUNK, chunk->width);
	chunk->labels = NULL;
	chunk->width = 0;
}

void q2_labels_release(struct q2_labels *labels)
{
	for (uint64_t i = 0; labels->slots && i < labels->slot_count; i++) {
		struct q2_label_leaf *leaf = labels->slots[i].leaf;

		for (size_t j = 0; leaf && j < Q2_LABEL_LEAF_CHUNKS; j++)
			release_chunk(labels->memory, &leaf->chunks[j]);
		q2_memory_put(labels->memory, leaf, 1, sizeof(*leaf));
	}
	if (labels->memory)
		q2_memory_put(labels->memory, labels->slots, labels->slot_count,
			      sizeof(*labels->slots));
	labels->slots = NULL;
}

static struct q2_label_leaf *need_leaf(struct q2_labels *labels, struct q2_label_slot *slot)
{
	if (slot->leaf)
		return slot->leaf;
	slot->leaf = q2_memory_get(labels->memory, 1, sizeof(*slot->leaf));
	labels->failed |= !slot->leaf;
	for (size_t i = 0; slot->leaf && slot->uniform && i < Q2_LABEL_LEAF_CHUNKS; i++)
		slot->leaf->chunks[i].uniform = slot->uniform;
	return slot->leaf;
}

static uint32_t label_at(const struct q2_label_chunk *chunk, size_t at)
{
	switch (chunk->width) {
	case 1:
		return ((const uint8_t *)chunk->labels)[at];
	case 2:
		return ((const uint16_t *)chunk->labels)[at];
	default:
		return ((const uint32_t *)chunk->labels)[at];
	}
}

static void put_label(struct q2_label_chunk *chunk, size_t at, uint32_t label)
{
	switch (chunk->width) {
	case 1:
		((uint8_t *)chunk->labels)[at] = (uint8_t)label;
		break;
	case 2:
		((uint16_t *)chunk->labels)[at] = (uint16_t)label;
		break;
	default:
		((uint32_t *)chunk->labels)[at] = label;
	}
}

static uint32_t width_of(uint32_t label)
{
	return label <= UINT8_MAX ? 1 : label <= UINT16_MAX ? 2 : 4;
}

/* Gives a chunk labels that are wide enough for one of that number, and keeps what it knows. */
static bool need_width(struct q2_labels *labels, struct q2_label_chunk *chunk, uint32_t label)
{
	struct q2_label_chunk wider = {.width = width_of(label)};

	if (chunk->labels && chunk->width >= wider.width)
		return true;
	if (!chunk->labels && width_of(chunk->uniform) > wider.width)
		wider.width = width_of(chunk->uniform);
	wider.labels = q2_memory_get(labels->memory, Q2_LABEL_CHUNK, wider.width);
	labels->failed |= !wider.labels;
	if (!wider.labels)
		return false;
	for (size_t i = 0; (chunk->labels || chunk->uniform) && i < Q2_LABEL_CHUNK; i++)
		put_label(&wider, i, chunk->labels ? label_at(chunk, i) : chunk->uniform);
	release_chunk(labels->memory, chunk);
	*chunk = wider;
	return true;
}

/* What to do with clusters: join a state to theirs, or only to those that have none. */
struct mark {
	uint32_t state;
	bool fill;
};

static uint32_t apply(struct q2_labels *labels, uint32_t label, const struct mark *mark)
{
	if (mark->fill && label != Q2_NOTHING)
		return label;
	return q2_join(labels->joiner, label, mark->state);
}

static void mark_one(struct q2_labels *labels, struct q2_label_chunk *chunk, size_t at,
		     const struct mark *mark)
{
	const uint32_t label = apply(labels, label_at(chunk, at), mark);

	if (need_width(labels, chunk, label))
		put_label(chunk, at, label);
}

/* How many of the clusters [at, end) of a chunk with labels of a byte have no state. */
static size_t unknown_run(const uint8_t *bytes, size_t at, size_t end)
{
	size_t i = at;

	while (i < end && bytes[i] == Q2_NOTHING)
		i++;
	return i - at;
}

static void mark_chunk(struct q2_labels *labels, struct q2_label_chunk *chunk, size_t at,
		       size_t end, const struct mark *mark)
{
	labels->steps++;
	if (!chunk->labels && at == 0 && end == Q2_LABEL_CHUNK) {
		chunk->uniform = apply(labels, chunk->uniform, mark);
		return;
	}
	if (!need_width(labels, chunk, mark->state))
		return;
	labels->steps += end - at;
	while (at < end) {
		const size_t run = chunk->width == 1 ? unknown_run(chunk->labels, at, end) : 0;

		if (run > 0)
			memset((uint8_t *)chunk->labels + at, (int)mark->state, run);
		else
			mark_one(labels, chunk, at, mark);
		at += run ? run : 1;
	}
}

/* Marks the clusters [at, end) of a leaf. */
static void mark_leaf(struct q2_labels *labels, struct q2_label_slot *slot, uint64_t at,
		      uint64_t end, const struct mark *mark)
{
	struct q2_label_leaf *leaf;

	labels->steps++;
	if (!slot->leaf && at == 0 && end == Q2_LABEL_LEAF) {
		slot->uniform = apply(labels, slot->uniform, mark);
		return;
	}
	leaf = need_leaf(labels, slot);
	while (leaf && at < end) {
		const uint64_t chunk = at / Q2_LABEL_CHUNK, start = chunk * Q2_LABEL_CHUNK;
		const uint64_t stop = end - start < Q2_LABEL_CHUNK ? end - start : Q2_LABEL_CHUNK;

		mark_chunk(labels, &leaf->chunks[chunk], (size_t)(at - start), (size_t)stop, mark);
		at = start + stop;
	}
}

static void mark_all(struct q2_labels *labels, uint64_t first, uint64_t count,
		     const struct mark *mark)
{
	assert(first <= labels->cluster_count && count <= labels->cluster_count - first);
	while (count > 0) {
		const uint64_t at = first % Q2_LABEL_LEAF;
		const uint64_t here = Q2_LABEL_LEAF - at < count ? Q2_LABEL_LEAF - at : count;

		mark_leaf(labels, &labels->slots[first / Q2_LABEL_LEAF], at, at + here, mark);
		first += here;
		count -= here;
	}
}

void q2_labels_mark(struct q2_labels *labels, uint64_t first, uint64_t count, uint32_t state)
{
	mark_all(labels, first, count, &(struct mark){.state = state});
}

void q2_labels_fill(struct q2_labels *labels, uint64_t first, uint64_t count, uint32_t state)
{
	mark_all(labels, first, count, &(struct mark){.state = state, .fill = true});
}

/* Joins eight labels of a byte at once, unless a cluster has one in both. */
static bool merge_word(uint8_t *to, const uint8_t *from)
{
	uint64_t a, b;

	memcpy(&b, from, sizeof(b));
	if (b == 0)
		return true;
	memcpy(&a, to, sizeof(a));
	for (uint64_t both = a && b ? UINT64_C(0xff) : 0; both != 0; both <<= 8)
		if ((a & both) && (b & both))
			return false;
	a |= b;
	memcpy(to, &a, sizeof(a));
	return true;
}

static void merge_labels(struct q2_labels *labels, struct q2_label_chunk *to,
			 const struct q2_label_chunk *from)
{
	for (size_t i = 0; i < Q2_LABEL_CHUNK; i++) {
		if (i % 8 == 0 && to->width == 1 && from->width == 1 &&
		    merge_word((uint8_t *)to->labels + i, (const uint8_t *)from->labels + i)) {
			i += 7;
			continue;
		}
		if (label_at(from, i) != Q2_NOTHING)
			mark_one(labels, to, i, &(struct mark){.state = label_at(from, i)});
	}
}

static void merge_chunk(struct q2_labels *labels, struct q2_label_chunk *to,
			struct q2_label_chunk *from)
{
	if (!from->labels) {
		if (from->uniform != Q2_NOTHING)
			mark_chunk(labels, to, 0, Q2_LABEL_CHUNK,
				   &(struct mark){.state = from->uniform});
	} else if (!to->labels && to->uniform == Q2_NOTHING) {
		*to = *from;
	} else {
		if (need_width(labels, to, Q2_NOTHING))
			merge_labels(labels, to, from);
		release_chunk(labels->memory, from);
	}
	*from = (struct q2_label_chunk){0};
}

static void merge_leaf(struct q2_labels *labels, struct q2_label_slot *to,
		       struct q2_label_slot *from)
{
	if (!from->leaf) {
		if (from->uniform != Q2_NOTHING)
			mark_leaf(labels, to, 0, Q2_LABEL_LEAF,
				  &(struct mark){.state = from->uniform});
	} else if (!to->leaf && to->uniform == Q2_NOTHING) {
		*to = *from;
	} else {
		if (need_leaf(labels, to))
			for (size_t i = 0; i < Q2_LABEL_LEAF_CHUNKS; i++)
				merge_chunk(labels, &to->leaf->chunks[i], &from->leaf->chunks[i]);
		return;
	}
	*from = (struct q2_label_slot){0};
}

void q2_labels_merge(struct q2_labels *labels, struct q2_labels *other)
{
	assert(labels->slot_count == other->slot_count);
	labels->failed |= other->failed;
	for (uint64_t i = 0; i < other->slot_count; i++)
		merge_leaf(labels, &labels->slots[i], &other->slots[i]);
}

/* How many labels of a chunk from at on are alike. */
static uint64_t run_in_chunk(const struct q2_label_chunk *chunk, size_t at, uint32_t label)
{
	size_t i = at + 1;

	if (chunk->width == 1) {
		const uint8_t *bytes = chunk->labels;

		while (i + 8 <= Q2_LABEL_CHUNK && bytes[i] == bytes[at] &&
		       memcmp(bytes + i - 1, bytes + i, 8) == 0)
			i += 8;
	}
	while (i < Q2_LABEL_CHUNK && label_at(chunk, i) == label)
		i++;
	return i - at;
}

uint64_t q2_labels_run(const struct q2_labels *labels, uint64_t cluster, uint32_t *label)
{
	const struct q2_label_slot *slot = &labels->slots[cluster / Q2_LABEL_LEAF];
	const uint64_t in_leaf = cluster % Q2_LABEL_LEAF, left = labels->cluster_count - cluster;
	const struct q2_label_chunk *chunk;
	uint64_t run;

	if (slot->leaf) {
		const size_t at = (size_t)(in_leaf % Q2_LABEL_CHUNK);

		chunk = &slot->leaf->chunks[in_leaf / Q2_LABEL_CHUNK];
		*label = chunk->labels ? label_at(chunk, at) : chunk->uniform;
		run = chunk->labels ? run_in_chunk(chunk, at, *label) : Q2_LABEL_CHUNK - at;
	} else {
		*label = slot->uniform;
		run = Q2_LABEL_LEAF - in_leaf;
	}
	return run < left ? run : left;
}
