/* SPDX-License-Identifier: MIT */
/* The engine over the field tables: loads and stores a field by its description. Pure. */
#include "format/load.h"

#include <qcow2/format.h>

/*
 * The bits of an entry that a field covers. QCOW2_BIT_X is the split of a compressed cluster
 * descriptor, x = 62 - (cluster_bits - 8): the first field has x bits, the second begins at x and
 * ends at bit 61.
 */
static void bit_range(const struct qcow2_field *field, unsigned cluster_bits, unsigned *first,
		      unsigned *count)
{
	unsigned x = cluster_bits >= 9 && cluster_bits <= 30 ? 70 - cluster_bits : 61;

	*first = field->first_bit == QCOW2_BIT_X ? x : field->first_bit;
	*count = field->bit_count;
	if (field->bit_count == QCOW2_BIT_X)
		*count = field->first_bit == QCOW2_BIT_X ? 62 - x : x;
}

static uint64_t mask_of(unsigned count)
{
	return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

uint64_t qcow2_field_of_entry(const struct qcow2_field *field, uint64_t entry,
			      unsigned cluster_bits)
{
	unsigned first, count;

	if (field->bit_count == 0)
		return entry;
	bit_range(field, cluster_bits, &first, &count);
	if (field->in_place)
		return entry & mask_of(count) << first;
	return entry >> first & mask_of(count);
}

uint64_t qcow2_field_load(const struct qcow2_field *field, const uint8_t *raw, size_t size_bytes,
			  unsigned cluster_bits)
{
	if (field->width_bytes > 8)
		return 0;
	return qcow2_field_of_entry(
		field, q2_load_within(raw, size_bytes, field->offset_bytes, field->width_bytes),
		cluster_bits);
}

bool qcow2_field_store(const struct qcow2_field *field, uint8_t *raw, size_t size_bytes,
		       unsigned cluster_bits, uint64_t value)
{
	unsigned first = 0, count = field->width_bytes * 8U;
	uint64_t word, mask;

	if (field->width_bytes > 8 || field->offset_bytes + (size_t)field->width_bytes > size_bytes)
		return false;
	if (field->bit_count > 0)
		bit_range(field, cluster_bits, &first, &count);
	mask = mask_of(count);
	if (field->in_place ? (value & ~(mask << first)) != 0 : (value & ~mask) != 0)
		return false;
	word = q2_load_within(raw, size_bytes, field->offset_bytes, field->width_bytes);
	word = (word & ~(mask << first)) | (field->in_place ? value : value << first);
	for (unsigned i = field->width_bytes; i-- > 0; word >>= 8)
		raw[field->offset_bytes + i] = (uint8_t)word;
	return true;
}
