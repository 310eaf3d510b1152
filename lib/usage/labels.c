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

/* Whether a chunk has a bit for each cluster, of the state `uniform`. */
static bool has_bits(const struct q2_label_chunk *chunk)
{
	return chunk->labels && chunk->width == 0;
}

static void release_chunk(struct q2_memory *memory, struct q2_label_chunk *chunk)
{
	if (has_bits(chunk))
		q2_memory_put(memory, chunk->labels, Q2_LABEL_BITS_WORDS, sizeof(uint64_t));
	else
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
	if (!chunk->labels)
		return chunk->uniform;
	switch (chunk->width) {
	case 0:
		return ((const uint64_t *)chunk->labels)[at / 64] >> at % 64 & 1 ? chunk->uniform
										 : Q2_NOTHING;
	case 1:
		return ((const uint8_t *)chunk->labels)[at];
	case 2:
		return ((const uint16_t *)chunk->labels)[at];
	default:
		return ((const uint32_t *)chunk->labels)[at];
	}
}

/* Of a chunk with a width. */
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

	if (chunk->width >= wider.width)
		return true;
	if (chunk->width == 0 && width_of(chunk->uniform) > wider.width)
		wider.width = width_of(chunk->uniform);
	wider.labels = q2_memory_get(labels->memory, Q2_LABEL_CHUNK, wider.width);
	labels->failed |= !wider.labels;
	if (!wider.labels)
		return false;
	for (size_t i = 0; (chunk->labels || chunk->uniform) && i < Q2_LABEL_CHUNK; i++)
		put_label(&wider, i, label_at(chunk, i));
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

/* The bits [at, end) of a word, which end with it at the latest. */
static uint64_t mask_of(size_t at, size_t end)
{
	return UINT64_MAX >> (64 - (end - at)) << at % 64;
}

/* Where the word of a bit ends, or where the bits do. */
static size_t word_end(size_t at, size_t end)
{
	const size_t next = at / 64 * 64 + 64;

	return next < end ? next : end;
}

/*
 * Marks clusters by bits, if all that the chunk knows is of the same state, and no cluster is marked
 * again. False leaves it as it was.
 */
static bool mark_bits(struct q2_labels *labels, struct q2_label_chunk *chunk, size_t at, size_t end,
		      uint32_t state)
{
	uint64_t *words;

	if (!chunk->labels && chunk->uniform == Q2_NOTHING) {
		chunk->labels =
			q2_memory_get(labels->memory, Q2_LABEL_BITS_WORDS, sizeof(uint64_t));
		labels->failed |= !chunk->labels;
		chunk->uniform = chunk->labels ? state : Q2_NOTHING;
	}
	if (!has_bits(chunk) || chunk->uniform != state)
		return false;
	words = chunk->labels;
	for (size_t i = at; i < end; i = word_end(i, end))
		if (words[i / 64] & mask_of(i, word_end(i, end)))
			return false;
	for (size_t i = at; i < end; i = word_end(i, end))
		words[i / 64] |= mask_of(i, word_end(i, end));
	return true;
}

static void mark_chunk(struct q2_labels *labels, struct q2_label_chunk *chunk, size_t at,
		       size_t end, const struct mark *mark)
{
	labels->steps++;
	if (!chunk->labels && at == 0 && end == Q2_LABEL_CHUNK) {
		chunk->uniform = apply(labels, chunk->uniform, mark);
		return;
	}
	labels->steps += (end - at) / 64;
	if (mark->state == Q2_NOTHING || mark_bits(labels, chunk, at, end, mark->state) ||
	    !need_width(labels, chunk, mark->state))
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

/* Joins two chunks with bits of one state, unless a cluster has one in both. */
static bool merge_bits(struct q2_label_chunk *to, const struct q2_label_chunk *from)
{
	uint64_t *a = to->labels, both = 0;
	const uint64_t *b = from->labels;

	if (!has_bits(to) || !has_bits(from) || to->uniform != from->uniform)
		return false;
	for (size_t i = 0; i < Q2_LABEL_BITS_WORDS; i++)
		both |= a[i] & b[i];
	for (size_t i = 0; both == 0 && i < Q2_LABEL_BITS_WORDS; i++)
		a[i] |= b[i];
	return both == 0;
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
		if (!merge_bits(to, from) && need_width(labels, to, Q2_NOTHING))
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

/* How many bits from at on are as the first one. */
static size_t run_of_bits(const uint64_t *words, size_t at)
{
	const uint64_t flip = words[at / 64] >> at % 64 & 1 ? UINT64_MAX : 0;
	size_t i = at;

	while (i < Q2_LABEL_CHUNK) {
		const uint64_t others = (words[i / 64] ^ flip) >> i % 64;

		if (others != 0)
			return i + (size_t)__builtin_ctzll(others) - at;
		i = i / 64 * 64 + 64;
	}
	return i - at;
}

/* How many labels of a chunk from at on are alike. */
static size_t run_in_chunk(const struct q2_label_chunk *chunk, size_t at, uint32_t label)
{
	size_t i = at + 1;

	if (!chunk->labels)
		return Q2_LABEL_CHUNK - at;
	if (chunk->width == 0)
		return run_of_bits(chunk->labels, at);
	if (chunk->width == 1) {
		const uint8_t *bytes = chunk->labels;

		while (i + 8 <= Q2_LABEL_CHUNK && memcmp(bytes + i - 1, bytes + i, 8) == 0)
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
	const size_t at = (size_t)(in_leaf % Q2_LABEL_CHUNK);
	const struct q2_label_chunk *chunk;
	uint64_t run = Q2_LABEL_LEAF - in_leaf;

	*label = slot->uniform;
	if (slot->leaf) {
		chunk = &slot->leaf->chunks[in_leaf / Q2_LABEL_CHUNK];
		*label = label_at(chunk, at);
		run = run_in_chunk(chunk, at, *label);
	}
	return run < left ? run : left;
}
