/* SPDX-License-Identifier: MIT */
/* Changes images: fields most of all, and clusters, which are copied, added, and cut off. */
#include <string.h>

#include "mutator.h"

#define CHANGES_MOST 4
/* In the header's padding, which no parser looks at; some targets read from it what to do. */
#define CHOICE_AT 111

uint64_t dice_roll(struct dice *dice)
{
	uint64_t x = dice->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	dice->state = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

size_t dice_below(struct dice *dice, size_t count)
{
	return (size_t)((dice_roll(dice) >> 32) % count);
}

bool dice_once_in(struct dice *dice, size_t times)
{
	return dice_below(dice, times) == 0;
}

static void read_header(struct mutant *mutant)
{
	qcow2_header_decode(&mutant->header, mutant->bytes, mutant->size);
	mutant->cluster_bits = mutant->header.cluster_bits;
	if (mutant->cluster_bits < QCOW2_LIMIT_CLUSTER_BITS_MIN ||
	    mutant->cluster_bits > QCOW2_LIMIT_QEMU_CLUSTER_BITS)
		mutant->cluster_bits = QCOW2_LIMIT_CLUSTER_BITS_MIN;
}

/* ---- fields ---- */

/* One of the structures at a place; of tables an entry that is in use, if that is soon found. */
static size_t choose_element(struct mutant *mutant, const struct place *place)
{
	size_t index = 0;

	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *bytes;

		index = dice_below(&mutant->dice, place->count);
		bytes = mutant->bytes + place->offset_bytes + index * place->stride_bytes;
		if (place->stride_bytes > 16)
			break;
		for (size_t j = 0; j < place->stride_bytes; j++)
			if (bytes[j] != 0)
				return index;
	}
	return index;
}

/* Which descriptor an L2 entry is, or its second half. */
static const struct qcow2_structure *choose_structure(struct mutant *mutant,
						      const struct place *place, size_t *at)
{
	if (place->structure != &qcow2_l2_entry_structure)
		return place->structure;
	if (place->stride_bytes == 16 && dice_once_in(&mutant->dice, 2)) {
		*at += 8;
		return &qcow2_l2_subclusters_structure;
	}
	if (qcow2_field_load(qcow2_structure_field(&qcow2_l2_entry_structure, "compressed"),
			     mutant->bytes + *at, 8, mutant->cluster_bits))
		return &qcow2_l2_compressed_structure;
	return place->structure;
}

/* Text and bytes that are not numbers, and places without fields: a few bytes of them. */
static void change_bytes(struct mutant *mutant, size_t at, size_t size)
{
	struct dice *dice = &mutant->dice;

	if (at >= mutant->size)
		return;
	if (size > mutant->size - at)
		size = mutant->size - at;
	if (size == 0)
		return;
	for (size_t i = dice_below(dice, 3) + 1; i > 0; i--) {
		uint8_t *byte = &mutant->bytes[at + dice_below(dice, size)];

		switch (dice_below(dice, 4)) {
		case 0:
			*byte ^= (uint8_t)(1U << dice_below(dice, 8));
			break;
		case 1:
			*byte = 0;
			break;
		case 2:
			*byte = (uint8_t)dice_below(dice, 4);
			break;
		default:
			*byte = (uint8_t)dice_roll(dice);
		}
	}
}

static void change_field(struct mutant *mutant, const struct places *places)
{
	struct dice *dice = &mutant->dice;
	const struct place *place =
		&places->list[dice_once_in(dice, 5) ? 0 : dice_below(dice, places->count)];
	size_t at = place->offset_bytes + choose_element(mutant, place) * place->stride_bytes;
	const struct qcow2_structure *structure = choose_structure(mutant, place, &at);
	const struct qcow2_field *field;
	uint8_t *bytes = mutant->bytes + at;
	uint64_t old;

	if (!structure) {
		change_bytes(mutant, at, place->stride_bytes);
		return;
	}
	field = &structure->fields[dice_below(dice, structure->field_count)];
	/* Without these the rest is seldom looked at. */
	if (structure == &qcow2_header_structure && field->offset_bytes < 8 &&
	    !dice_once_in(dice, 8))
		field = &structure->fields[dice_below(dice, structure->field_count)];
	if (field->width_bytes > 8 || mutant->size - at < 8) {
		change_bytes(mutant, at + field->offset_bytes, field->width_bytes);
		return;
	}
	old = qcow2_field_load(field, bytes, mutant->size - at, mutant->cluster_bits);
	for (unsigned i = 0; i < 4; i++)
		if (qcow2_field_store(field, bytes, mutant->size - at, mutant->cluster_bits,
				      value_choose(mutant, places, field, old)))
			return;
}

/* ---- elements and clusters ---- */

/* Copies one element of a place over another one of its kind. */
static void copy_element(struct mutant *mutant, const struct places *places)
{
	const struct place *place = &places->list[dice_below(&mutant->dice, places->count)];
	const size_t from = choose_element(mutant, place);
	const size_t to = dice_below(&mutant->dice, place->count);
	uint8_t *bytes = mutant->bytes + place->offset_bytes;

	memmove(bytes + to * place->stride_bytes, bytes + from * place->stride_bytes,
		place->stride_bytes);
}

static uint8_t *cluster_at(const struct mutant *mutant, size_t index)
{
	return mutant->bytes + (index << mutant->cluster_bits);
}

static void copy_cluster(struct mutant *mutant)
{
	const size_t clusters = mutant->size >> mutant->cluster_bits;

	if (clusters > 1)
		memmove(cluster_at(mutant, dice_below(&mutant->dice, clusters)),
			cluster_at(mutant, dice_below(&mutant->dice, clusters)),
			(size_t)1 << mutant->cluster_bits);
}

/* Adds a cluster of zeros, or one like another one. */
static void add_cluster(struct mutant *mutant)
{
	const size_t cluster = (size_t)1 << mutant->cluster_bits;
	const size_t clusters = mutant->size >> mutant->cluster_bits;
	const size_t end = (mutant->size + cluster - 1) / cluster * cluster;

	if (end + cluster > mutant->capacity || end + cluster < end)
		return;
	memset(mutant->bytes + mutant->size, 0, end + cluster - mutant->size);
	mutant->size = end + cluster;
	if (clusters > 0 && dice_once_in(&mutant->dice, 2))
		memcpy(mutant->bytes + end, cluster_at(mutant, dice_below(&mutant->dice, clusters)),
		       cluster);
}

static void cut(struct mutant *mutant)
{
	const size_t most =
		dice_once_in(&mutant->dice, 3) ? mutant->size : (size_t)1 << mutant->cluster_bits;
	const size_t bytes = dice_below(&mutant->dice, most) + 1;

	if (mutant->size > bytes)
		mutant->size -= bytes;
}

/* ---- refcounts ---- */

/* Sets the refcount of a cluster of the file, if the first block has it. */
static void set_refcount(struct mutant *mutant, size_t cluster, uint64_t value)
{
	const unsigned order = mutant->header.version == 2 ? 4 : mutant->header.refcount_order;
	const struct qcow2_field *offset =
		qcow2_structure_field(&qcow2_refcount_table_entry_structure, "offset");
	uint64_t block = 0;
	size_t bit = cluster << (order & 7);
	uint8_t *byte;

	if (mutant->header.refcount_table_offset < mutant->size)
		block = qcow2_field_load(
			offset, mutant->bytes + mutant->header.refcount_table_offset,
			mutant->size - (size_t)mutant->header.refcount_table_offset, 9);
	if (block == 0 || order > QCOW2_LIMIT_REFCOUNT_ORDER_MAX ||
	    bit / 8 >= (size_t)1 << mutant->cluster_bits || block + bit / 8 + 8 > mutant->size)
		return;
	byte = mutant->bytes + block + bit / 8;
	if (order < 3) {
		const unsigned mask = (1U << (1U << order)) - 1;

		*byte = (uint8_t)((*byte & ~(mask << bit % 8)) | (value & mask) << bit % 8);
		return;
	}
	for (unsigned i = 1U << (order - 3); i-- > 0; value >>= 8)
		byte[i] = (uint8_t)value;
}

static void change_refcount(struct mutant *mutant)
{
	const uint64_t values[] = {0, 1, 1, 2, 2, 3, UINT64_MAX, dice_roll(&mutant->dice)};

	set_refcount(mutant, dice_below(&mutant->dice, (mutant->size >> mutant->cluster_bits) + 2),
		     values[dice_below(&mutant->dice, 8)]);
}

/* Makes room that is counted, and lets an entry of a table lead there: a sound image stays sound. */
static void allocate(struct mutant *mutant, const struct places *places)
{
	const struct place *place = &places->list[dice_below(&mutant->dice, places->count)];
	const size_t old = mutant->size;
	uint8_t *entry = mutant->bytes + place->offset_bytes +
			 dice_below(&mutant->dice, place->count) * place->stride_bytes;
	const struct qcow2_field *offset, *copied;

	if (!place->structure || place->stride_bytes > 16)
		return;
	offset = qcow2_structure_field(place->structure, "offset");
	copied = qcow2_structure_field(place->structure, "copied");
	add_cluster(mutant);
	if (mutant->size == old || !offset || offset->bit_count == QCOW2_BIT_X)
		return;
	qcow2_field_store(offset, entry, 8, mutant->cluster_bits,
			  mutant->size - ((size_t)1 << mutant->cluster_bits));
	if (copied)
		qcow2_field_store(copied, entry, 8, mutant->cluster_bits, 1);
	set_refcount(mutant, (mutant->size >> mutant->cluster_bits) - 1, 1);
}

/* ---- all of it ---- */

void mutate_once(struct mutant *mutant)
{
	struct dice *dice = &mutant->dice;
	struct places places;

	read_header(mutant);
	places_find(&places, mutant);
	if (places.count == 0)
		return;
	switch (dice_below(dice, 32)) {
	case 0:
		copy_element(mutant, &places);
		break;
	case 1:
		copy_cluster(mutant);
		break;
	case 2:
		add_cluster(mutant);
		break;
	case 3:
		cut(mutant);
		break;
	case 4:
	case 5:
		change_refcount(mutant);
		break;
	case 6:
	case 7:
		allocate(mutant, &places);
		break;
	case 8:
		change_bytes(mutant, 0, mutant->size);
		break;
	case 9:
		if (mutant->size > CHOICE_AT)
			mutant->bytes[CHOICE_AT] = (uint8_t)dice_roll(dice);
		break;
	default:
		change_field(mutant, &places);
	}
}

size_t mutate(uint8_t *bytes, size_t size, size_t capacity, size_t command_bytes, uint64_t seed)
{
	struct mutant mutant = {.bytes = bytes, .dice = {seed * 2 + 1}};
	uint8_t commands[256] = {0};

	if (command_bytes > sizeof(commands) || command_bytes > capacity)
		return size;
	dice_roll(&mutant.dice);
	if (command_bytes > size)
		memset(bytes + size, 0, command_bytes - size);
	mutant.size = command_bytes > size ? 0 : size - command_bytes;
	mutant.capacity = capacity - command_bytes;
	memcpy(commands, bytes + mutant.size, command_bytes);
	if (command_bytes > 0 && dice_once_in(&mutant.dice, 3))
		for (size_t i = dice_below(&mutant.dice, 4) + 1; i > 0; i--)
			commands[dice_below(&mutant.dice, command_bytes)] =
				(uint8_t)dice_roll(&mutant.dice);
	else
		for (size_t i = dice_below(&mutant.dice, CHANGES_MOST) + 1; i > 0; i--)
			mutate_once(&mutant);
	memcpy(bytes + mutant.size, commands, command_bytes);
	return mutant.size + command_bytes;
}

size_t mutate_cross(struct qcow2_bytes first, struct qcow2_bytes second, uint8_t *out,
		    size_t capacity, uint64_t seed)
{
	struct dice dice = {seed * 2 + 1};
	size_t size = first.size < capacity ? first.size : capacity;
	const size_t common = second.size < size ? second.size : size;
	size_t start, length;

	dice_roll(&dice);
	memcpy(out, first.data, size);
	if (common == 0)
		return size;
	/* A few sectors, or all from some place on. */
	start = dice_below(&dice, common / 512 + 1) * 512;
	length = dice_once_in(&dice, 4) ? common : (dice_below(&dice, 4) + 1) * 512;
	if (start < common)
		memcpy(out + start, second.data + start,
		       length < common - start ? length : common - start);
	return size;
}
