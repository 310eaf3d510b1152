/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores any field by its description in a field table. Dumps, edits by name and the
 * explanations use this; code that knows its field at compile time uses the structs instead.
 */
#include "format/load.h"

#include <qcow2/entry.h>

/* The bits of an entry that a field covers; cluster_bits says what QCOW2_BIT_X stands for. */
static void bit_range(const struct qcow2_field *field, unsigned cluster_bits, unsigned *first,
		      unsigned *count)
{
	unsigned x = qcow2_compressed_bit_x(cluster_bits);

	*first = qcow2_bits_first(field->first_bit, x);
	*count = qcow2_bits_count(field->first_bit, field->bit_count, x);
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
