/* SPDX-License-Identifier: MIT */
/* What the entries of tables say. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "diff/run.h"

#include <qcow2/entry.h>
#include <qcow2/mapping.h>

static const char *bitmap_type(uint64_t entry)
{
	switch (qcow2_bitmap_entry_classify(entry)) {
	case QCOW2_BITMAP_ENTRY_ALL_ZEROES:
		return "all-zeroes";
	case QCOW2_BITMAP_ENTRY_ALL_ONES:
		return "all-ones";
	case QCOW2_BITMAP_ENTRY_SERIALIZED:
		return "serialized";
	case QCOW2_BITMAP_ENTRY_INVALID:
		break;
	}
	return "invalid";
}

const char *diff_entry_type(const struct diff_run *run, const struct qcow2_diff_range *range,
			    enum qcow2_diff_side side)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->images[side]);
	uint64_t entry = range->entries[side]->entry;

	if (range->table == QCOW2_DIFF_L2)
		return qcow2_l2_kind_name(
			qcow2_l2_classify(entry, geometry->extended_l2, geometry->data_file));
	if (range->table == QCOW2_DIFF_BITMAP_TABLE)
		return bitmap_type(entry);
	return NULL;
}

/* " 0x50000" or, of several entries that follow each other, " 0x50000.." */
static size_t add_offset(char *text, size_t at, const struct qcow2_diff_entry *entry,
			 uint64_t offset)
{
	return at + (size_t)snprintf(text + at, DIFF_ENTRY_MAX - at, "%s0x%" PRIx64 "%s",
				     at > 0 ? " " : "", offset, entry->step_bytes ? ".." : "");
}

static size_t add_word(char *text, size_t at, const char *word)
{
	return at +
	       (size_t)snprintf(text + at, DIFF_ENTRY_MAX - at, "%s%s", at > 0 ? " " : "", word);
}

static void l2_text(const struct diff_run *run, const struct qcow2_diff_range *range,
		    enum qcow2_diff_side side, char *text)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(run->images[side]);
	const struct qcow2_diff_entry *entry = range->entries[side];
	const struct qcow2_l2_entry fields = qcow2_l2_entry_decode(entry->entry);
	size_t at = add_word(text, 0, diff_entry_type(run, range, side));

	if (qcow2_l2_is_compressed(entry->entry)) {
		const struct qcow2_compressed_extent extent =
			qcow2_compressed_split(entry->entry, geometry->cluster_bits);

		at = add_offset(text, at, entry, extent.offset_bytes);
		at += (size_t)snprintf(text + at, DIFF_ENTRY_MAX - at, ", %" PRIu64 " sectors",
				       (uint64_t)extent.sectors);
	} else if (qcow2_l2_has_offset(entry->entry, geometry->data_file)) {
		at = add_offset(text, at, entry, fields.offset);
	}
	if (fields.copied)
		at = add_word(text, at, "copied");
	if (geometry->extended_l2 && entry->subclusters != 0) {
		const struct qcow2_l2_subclusters bits =
			qcow2_l2_subclusters_decode(entry->subclusters);

		snprintf(text + at, DIFF_ENTRY_MAX - at,
			 ", allocated 0x%" PRIx64 ", zeroes 0x%" PRIx64, (uint64_t)bits.allocated,
			 (uint64_t)bits.zeroes);
	}
}

static void bitmap_text(const struct diff_run *run, const struct qcow2_diff_range *range,
			enum qcow2_diff_side side, char *text)
{
	const struct qcow2_diff_entry *entry = range->entries[side];
	uint64_t offset = qcow2_bitmap_table_entry_decode(entry->entry).offset;
	size_t at = add_word(text, 0, diff_entry_type(run, range, side));

	if (offset != 0)
		add_offset(text, at, entry, offset);
}

static void plain_text(const struct qcow2_diff_range *range, enum qcow2_diff_side side, char *text)
{
	const struct qcow2_diff_entry *entry = range->entries[side];
	const struct qcow2_l1_entry l1 = qcow2_l1_entry_decode(entry->entry);
	size_t at;

	if (range->table == QCOW2_DIFF_REFCOUNTS) {
		snprintf(text, DIFF_ENTRY_MAX, "%" PRIu64, entry->entry);
	} else if (range->table == QCOW2_DIFF_BITMAP_DATA) {
		snprintf(text, DIFF_ENTRY_MAX, "%" PRIu64 " bits set", entry->entry);
	} else if (range->table == QCOW2_DIFF_L1) {
		at = l1.offset ? add_offset(text, 0, entry, l1.offset)
			       : add_word(text, 0, "unallocated");
		if (l1.copied)
			add_word(text, at, "copied");
	} else {
		uint64_t offset = qcow2_refcount_table_entry_decode(entry->entry).offset;

		if (offset != 0)
			add_offset(text, 0, entry, offset);
		else
			add_word(text, 0, "unallocated");
	}
}

static void decoded(const struct diff_run *run, const struct qcow2_diff_range *range,
		    enum qcow2_diff_side side, char *text)
{
	text[0] = '\0';
	if (range->entries[side]->lost)
		add_word(text, 0, "beyond the end of the file");
	else if (range->table == QCOW2_DIFF_L2)
		l2_text(run, range, side, text);
	else if (range->table == QCOW2_DIFF_BITMAP_TABLE)
		bitmap_text(run, range, side, text);
	else
		plain_text(range, side, text);
}

const char *diff_entry_text(const struct diff_run *run, const struct qcow2_diff_range *range,
			    enum qcow2_diff_side side, char text[DIFF_ENTRY_MAX])
{
	enum qcow2_diff_side other = side == QCOW2_DIFF_A ? QCOW2_DIFF_B : QCOW2_DIFF_A;
	char theirs[DIFF_ENTRY_MAX];
	size_t at;

	decoded(run, range, side, text);
	decoded(run, range, other, theirs);
	if (strcmp(text, theirs) != 0)
		return text;
	/* They differ in bits that mean nothing here, or in the place of set bits. */
	at = strlen(text);
	if (range->table == QCOW2_DIFF_BITMAP_DATA)
		snprintf(text + at, DIFF_ENTRY_MAX - at, "%s",
			 side == QCOW2_DIFF_A ? "" : ", not the same");
	else
		snprintf(text + at, DIFF_ENTRY_MAX - at, " (entry 0x%" PRIx64 ")",
			 range->entries[side]->entry);
	return text;
}
