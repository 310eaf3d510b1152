/* SPDX-License-Identifier: MIT */
/* Chooses values of fields: those that the field's row speaks of, and those at which code breaks. */
#include "mutator.h"

#define SECTOR 512

static uint64_t roll_bits(struct dice *dice, unsigned bits)
{
	return dice_roll(dice) >> (64 - bits);
}

/* A number near the end of what so many bits can say, or near nothing. */
static uint64_t extreme(struct dice *dice, unsigned bits)
{
	const uint64_t most = UINT64_MAX >> (64 - bits);
	const uint64_t power = UINT64_C(1) << dice_below(dice, bits);

	switch (dice_below(dice, 8)) {
	case 0:
		return 0;
	case 1:
		return most;
	case 2:
		return most - dice_below(dice, 9);
	case 3:
		return most >> 1;
	case 4:
		return power;
	case 5:
		return power - 1;
	case 6:
		return power + 1;
	default:
		return roll_bits(dice, bits);
	}
}

/* The old value, a little changed. */
static uint64_t near(struct mutant *mutant, uint64_t old, unsigned bits)
{
	struct dice *dice = &mutant->dice;
	const uint64_t cluster = UINT64_C(1) << mutant->cluster_bits;

	switch (dice_below(dice, 8)) {
	case 0:
		return old + 1;
	case 1:
		return old - 1;
	case 2:
		return old + cluster;
	case 3:
		return old - cluster;
	case 4:
		return old * 2;
	case 5:
		return old / 2;
	case 6:
		return old + 8;
	default:
		return old ^ UINT64_C(1) << dice_below(dice, bits);
	}
}

/* A name that the field's values or bits have. */
static uint64_t named(struct dice *dice, const struct qcow2_names *names, uint64_t old)
{
	const uint64_t value = names->list[dice_below(dice, names->count)].value;

	return names->bits ? old ^ UINT64_C(1) << value : value;
}

/* A limit of the format or of a program, or the first value that passes it. */
static uint64_t limit(struct dice *dice)
{
	size_t count;
	const struct qcow2_limit *limits = qcow2_limits(&count);

	return limits[dice_below(dice, count)].value + dice_below(dice, 3) - 1;
}

/* A place in the file: of a structure, of any cluster, at the end or behind it. */
static uint64_t offset(struct mutant *mutant, const struct places *places)
{
	struct dice *dice = &mutant->dice;
	const uint64_t cluster = UINT64_C(1) << mutant->cluster_bits;
	const size_t clusters = (mutant->size >> mutant->cluster_bits) + 1;

	switch (dice_below(dice, 12)) {
	case 0:
	case 1:
	case 2:
		return places->list[dice_below(dice, places->count)].offset_bytes;
	case 3:
		return mutant->size;
	case 4:
		return (uint64_t)clusters << mutant->cluster_bits;
	case 5:
		return dice_below(dice, mutant->size + 1);
	case 6:
		return dice_below(dice, mutant->size / SECTOR + 2) * SECTOR;
	case 7:
		return (dice_roll(dice) >> dice_below(dice, 64)) & ~(cluster - 1);
	default:
		return dice_below(dice, clusters) << mutant->cluster_bits;
	}
}

static bool is_offset(const struct qcow2_field *field)
{
	return field->in_place || (field->style == QCOW2_STYLE_HEX &&
				   (field->width_bytes == 8 || field->bit_count == QCOW2_BIT_X));
}

/* How many bits a value of the field has. */
static unsigned width(const struct qcow2_field *field)
{
	if (field->in_place)
		return 56;
	if (field->bit_count == QCOW2_BIT_X)
		return 61;
	return field->bit_count > 0 ? field->bit_count : field->width_bytes * 8U;
}

uint64_t value_choose(struct mutant *mutant, const struct places *places,
		      const struct qcow2_field *field, uint64_t old)
{
	struct dice *dice = &mutant->dice;
	const unsigned bits = width(field);

	if (is_offset(field) && !dice_once_in(dice, 4))
		return offset(mutant, places);
	if (field->names && field->names->count > 0 && !dice_once_in(dice, 3))
		return named(dice, field->names, old);
	switch (dice_below(dice, 8)) {
	case 0:
	case 1:
		return extreme(dice, bits);
	case 2:
	case 3:
		return near(mutant, old, bits);
	case 4:
		return limit(dice);
	case 5:
		return mutant->size >> dice_below(dice, 22);
	case 6:
		return dice_below(dice, 72);
	default:
		return dice_below(dice, 8);
	}
}
