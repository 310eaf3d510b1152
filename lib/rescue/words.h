/* SPDX-License-Identifier: MIT */
/* Whether a word may be an entry of a table, at any cluster size. */
#ifndef Q2_RESCUE_WORDS_H
#define Q2_RESCUE_WORDS_H

#include "base/bytes.h"
#include "rescue/scan.h"

#include <qcow2/entry.h>
#include <qcow2/limits.h>

/* What words may say. */
struct q2_words {
	uint64_t end_bytes; /* of the file */
	bool data_file;     /* offsets lead into another file, whose size is not known */
};

/* The alignment of a run that has no offset. */
#define Q2_ALIGNMENT_NONE 63

/* A compressed descriptor: its start is in the file, at the largest cluster size at least. */
static inline bool q2_word_is_compressed(const struct q2_words *words, uint64_t entry)
{
	return (entry & QCOW2_ENTRY_MASK(l2_entry, copied)) == 0 &&
	       qcow2_compressed_split(entry, QCOW2_LIMIT_QEMU_CLUSTER_BITS).offset_bytes <
		       words->end_bytes;
}

/* An entry of any table but those of extended L2 entries. 0 is one. */
static inline bool q2_word_is_entry(const struct q2_words *words, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l2_entry, offset);

	if (entry == 0)
		return true;
	if (qcow2_l2_is_compressed(entry))
		return q2_word_is_compressed(words, entry);
	if (entry & qcow2_l2_entry_reserved)
		return false;
	if (offset == 0)
		return words->data_file || entry == QCOW2_ENTRY_MASK(l2_entry, zero);
	return words->data_file || offset < words->end_bytes;
}

/* An extended L2 entry and its subclusters. */
static inline bool q2_word_is_extended(const struct q2_words *words, uint64_t entry,
				       uint64_t bitmap)
{
	const struct qcow2_l2_subclusters bits = qcow2_l2_subclusters_decode(bitmap);

	if (qcow2_l2_is_compressed(entry))
		return bitmap == 0 && q2_word_is_compressed(words, entry);
	if ((entry & QCOW2_ENTRY_MASK(l2_entry, zero)) || (bits.allocated & bits.zeroes))
		return false;
	if (!qcow2_l2_has_offset(entry, words->data_file))
		return entry == 0 && bits.allocated == 0;
	return q2_word_is_entry(words, entry);
}

/* Notes what an entry adds to the run that it is in. */
static inline void q2_run_note(struct q2_scan_run *run, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_ENTRY_MASK(l2_entry, offset);

	if (qcow2_l2_is_compressed(entry)) {
		run->has_compressed = true;
		return;
	}
	if (entry & QCOW2_ENTRY_MASK(l2_entry, zero))
		run->has_zero_flag = true;
	if (offset == 0)
		return;
	if ((unsigned)__builtin_ctzll(offset) < run->alignment_bits)
		run->alignment_bits = (uint8_t)__builtin_ctzll(offset);
	if (entry & QCOW2_ENTRY_MASK(l2_entry, copied))
		run->has_copied = true;
	else
		run->has_plain = true;
}

/* Adds the sectors behind a run to it. */
static inline void q2_run_join(struct q2_scan_run *run, const struct q2_scan_run *next)
{
	run->sectors += next->sectors;
	if (next->alignment_bits < run->alignment_bits)
		run->alignment_bits = next->alignment_bits;
	run->has_plain |= next->has_plain;
	run->has_copied |= next->has_copied;
	run->has_compressed |= next->has_compressed;
	run->has_zero_flag |= next->has_zero_flag;
	run->has_bitmaps |= next->has_bitmaps;
}

#endif
