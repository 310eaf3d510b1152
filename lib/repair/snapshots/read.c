/* SPDX-License-Identifier: MIT */
/*
 * Reads a snapshot table that may be damaged. Entries follow each other, so that one wrong length
 * hides all that follow. Where the next entry is not one, the next place that looks like an entry is
 * searched, and the lengths of the entry before are corrected to end there.
 */
#include "repair/snapshots/snapshots.h"

#include <string.h>

#include <qcow2/limits.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/utf8.h"
#include "image/internal.h"
#include "rules/rules.h"

/* The longest entry that QEMU reads, and how far the next one is searched. */
#define ENTRY_MOST                                                                                 \
	(Q2_SNAPSHOT_BYTES + QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES + 2 * UINT64_C(0xffff) + 8)

/* The longest entry that QEMU writes, to guess how long a table is. */
#define ENTRY_TYPICAL (Q2_SNAPSHOT_BYTES + QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES + 128 + 256 + 8)

/* What entries take as a rule, where none is damaged. */
#define ENTRY_SHORT (Q2_SNAPSHOT_BYTES + 88)

/* Bytes that are read at once. */
#define PIECE_BYTES ((size_t)65536)

/* IDs that programs give are short numbers. */
#define ID_LIKELY_MOST 32
/* Names longer than this are not looked for where lengths are wrong. */
#define TEXT_MOST 2048
/* Entries that are kept: more is beyond what any program reads. */
#define ENTRIES_MOST (2 * QCOW2_LIMIT_QEMU_SNAPSHOTS)

static bool is_zero(const uint8_t *bytes, uint64_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, (size_t)size - 1) == 0);
}

/* The fixed part at a place; what was not read of it is 0. */
static struct qcow2_snapshot_header fixed_at(const struct q2_snapshot_table *table, uint64_t at)
{
	struct qcow2_snapshot_header header;
	uint64_t there = at < table->size_bytes ? table->size_bytes - at : 0;
	/* Nothing at all may have been read. */
	const uint8_t *bytes = there > 0 ? table->bytes + at : (const uint8_t *)"";

	if (there > Q2_SNAPSHOT_BYTES)
		there = Q2_SNAPSHOT_BYTES;
	qcow2_snapshot_header_decode(&header, bytes, (size_t)there);
	return header;
}

/* The bytes [at, at + size) as far as they were read. */
static struct qcow2_bytes piece(const struct q2_snapshot_table *table, uint64_t at, uint64_t size)
{
	if (at >= table->size_bytes)
		return (struct qcow2_bytes){table->bytes, 0};
	if (size > table->size_bytes - at)
		size = table->size_bytes - at;
	return (struct qcow2_bytes){table->bytes + at, (size_t)size};
}

bool q2_snapshot_view(const struct q2_snapshot_table *table, uint64_t at,
		      struct q2_snapshot_entry *entry)
{
	const struct qcow2_snapshot_header *h = &entry->header;
	uint64_t names_at, end;

	*entry = (struct q2_snapshot_entry){.header = fixed_at(table, at), .at = at};
	names_at = at + Q2_SNAPSHOT_BYTES + h->extra_data_size;
	entry->extra = piece(table, at + Q2_SNAPSHOT_BYTES, h->extra_data_size);
	entry->id = piece(table, names_at, h->id_str_size);
	entry->name = piece(table, names_at + h->id_str_size, h->name_size);
	end = names_at + h->id_str_size + h->name_size;
	entry->size_bytes = (end - at + 7) & ~UINT64_C(7);
	return end <= table->size_bytes;
}

static bool is_likely_id(struct qcow2_bytes id)
{
	return id.size > 0 && id.size <= ID_LIKELY_MOST && q2_utf8_printable(id);
}

static bool is_l1_possible(const struct q2_repair *repair, const struct qcow2_snapshot_header *h)
{
	return h->l1_table_offset != 0 &&
	       h->l1_table_offset % repair->geometry->cluster_size_bytes == 0 &&
	       h->l1_table_offset < repair->geometry->file_size_bytes;
}

unsigned q2_snapshot_score(const struct q2_repair *repair, const struct q2_snapshot_table *table,
			   uint64_t at)
{
	struct q2_snapshot_entry entry;
	const struct qcow2_snapshot_header *h = &entry.header;
	bool whole = q2_snapshot_view(table, at, &entry);
	struct qcow2_bytes fixed = piece(table, at, Q2_SNAPSHOT_BYTES);
	unsigned score = 0;

	if (fixed.size < Q2_SNAPSHOT_BYTES || is_zero(fixed.data, fixed.size))
		return 0;
	score += is_l1_possible(repair, h);
	score += h->l1_size > 0 && h->l1_size <= QCOW2_LIMIT_QEMU_L1_ENTRIES;
	score += h->date_nsec <= QCOW2_LIMIT_DATE_NSEC_MAX;
	score += h->extra_data_size <= QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES &&
		 h->extra_data_size % 8 == 0 &&
		 (repair->header->version < 3 || h->extra_data_size >= 8);
	score += is_likely_id(entry.id);
	if (entry.name.size > TEXT_MOST)
		entry.name.size = 0;
	score += whole && q2_utf8_printable(entry.name);
	return score;
}

/* ---- lengths ---- */

/* How many bytes from there on are text. */
static uint64_t text_run(const struct q2_snapshot_table *table, uint64_t at, uint64_t end)
{
	struct qcow2_bytes all = piece(table, at, end > at ? end - at : 0);
	size_t low = 0, high = all.size < TEXT_MOST ? all.size : TEXT_MOST;

	/* What begins with text is text, but for a character that is cut. */
	while (low < high) {
		size_t middle = high - (high - low) / 2, cut = middle;

		while (cut > low && middle - cut < 4 &&
		       !q2_utf8_printable((struct qcow2_bytes){all.data, cut}))
			cut--;
		if (cut > low && middle - cut < 4)
			low = cut;
		else
			high = middle - 1;
	}
	return low;
}

static bool fits(uint64_t size, uint64_t span, bool exact)
{
	return exact ? ((size + 7) & ~UINT64_C(7)) == span : size <= span;
}

/* Takes other lengths if they make an entry of that span, with an ID and a name that are text. */
static bool try_lengths(const struct q2_snapshot_table *table, struct q2_snapshot_entry *entry,
			const struct qcow2_snapshot_header *lengths, uint64_t span, bool exact)
{
	struct q2_snapshot_entry tried = *entry;
	uint64_t names_at = entry->at + Q2_SNAPSHOT_BYTES + lengths->extra_data_size;
	uint64_t size = names_at - entry->at + lengths->id_str_size + lengths->name_size;

	if (!fits(size, span, exact))
		return false;
	tried.header = *lengths;
	tried.extra = piece(table, entry->at + Q2_SNAPSHOT_BYTES, lengths->extra_data_size);
	tried.id = piece(table, names_at, lengths->id_str_size);
	tried.name = piece(table, names_at + lengths->id_str_size, lengths->name_size);
	if (!is_likely_id(tried.id) || !q2_utf8_printable(tried.name))
		return false;
	tried.size_bytes = (size + 7) & ~UINT64_C(7);
	tried.refitted = true;
	*entry = tried;
	return true;
}

/* The ID that QEMU would have given is the most likely split of "1one". */
static uint16_t likely_id_size(const struct q2_snapshot_table *table, uint64_t at, uint64_t run)
{
	struct qcow2_bytes text = piece(table, at, run);
	uint16_t digits = 0;

	while (digits < text.size && digits < 10 && text.data[digits] >= '0' &&
	       text.data[digits] <= '9')
		digits++;
	return digits > 0 ? digits : 1;
}

static bool try_extra(const struct q2_snapshot_table *table, struct q2_snapshot_entry *entry,
		      uint32_t extra, uint64_t span, bool exact)
{
	struct qcow2_snapshot_header lengths = entry->header;
	uint64_t names_at = entry->at + Q2_SNAPSHOT_BYTES + extra, run;

	lengths.extra_data_size = extra;
	if (try_lengths(table, entry, &lengths, span, exact))
		return true;
	run = text_run(table, names_at, entry->at + span);
	if (run == 0)
		return false;
	/* One of both lengths may be right. */
	lengths.name_size = (uint16_t)(run - lengths.id_str_size);
	if (lengths.id_str_size < run && lengths.id_str_size > 0 &&
	    run - lengths.id_str_size <= 0xffff && try_lengths(table, entry, &lengths, span, exact))
		return true;
	lengths.name_size = entry->header.name_size;
	lengths.id_str_size = (uint16_t)(run - lengths.name_size);
	if (lengths.name_size < run && try_lengths(table, entry, &lengths, span, exact))
		return true;
	lengths.id_str_size = likely_id_size(table, names_at, run);
	lengths.name_size = (uint16_t)(run - lengths.id_str_size);
	return run - lengths.id_str_size <= 0xffff &&
	       try_lengths(table, entry, &lengths, span, exact);
}

bool q2_snapshot_refit(const struct q2_repair *repair, const struct q2_snapshot_table *table,
		       struct q2_snapshot_entry *entry, uint64_t end)
{
	static const uint32_t extras[] = {24, 16, 0};
	bool exact = end < table->size_bytes;
	uint64_t span = end - entry->at;

	if (span < Q2_SNAPSHOT_BYTES)
		return false;
	if (entry->header.extra_data_size <= QCOW2_LIMIT_QEMU_SNAPSHOT_EXTRA_BYTES &&
	    try_extra(table, entry, entry->header.extra_data_size, span, exact))
		return true;
	for (unsigned i = 0; i < 2 + (repair->header->version < 3); i++)
		if (try_extra(table, entry, extras[i], span, exact))
			return true;
	return false;
}

/* ---- the table ---- */

/* Reads a piece, unless it lies in a hole: zeros that nobody wrote take no memory. */
static int read_piece(struct q2_repair *repair, struct q2_snapshot_table *table, uint64_t at)
{
	uint64_t left = table->size_bytes - at, offset = table->offset_bytes + at;
	size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;

	if (qcow2_source_hole_end(repair->view, offset) - offset >= size)
		return 0;
	return q2_image_read_padded(repair->image, offset, table->bytes + at, size, repair->err);
}

static int read_bytes(struct q2_repair *repair, struct q2_snapshot_table *table, uint64_t most)
{
	uint64_t end = repair->geometry->file_size_bytes;

	if (table->offset_bytes >= end)
		return 0;
	if (most > end - table->offset_bytes)
		most = end - table->offset_bytes;
	table->bytes = q2_alloc_array((size_t)most + 8, 1);
	if (!table->bytes)
		return q2_fail_memory(repair->err);
	table->size_bytes = most;
	for (uint64_t at = 0; at < most; at += PIECE_BYTES)
		if (read_piece(repair, table, at))
			return -1;
	return 0;
}

static int add(struct q2_repair *repair, struct q2_snapshot_table *table,
	       const struct q2_snapshot_entry *entry)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 16;
		void *more = q2_realloc_array(table->entries, capacity, sizeof(*table->entries));

		if (!more)
			return q2_fail_memory(repair->err);
		table->entries = more;
		table->capacity = capacity;
	}
	table->entries[table->count++] = *entry;
	return 0;
}

/* The next place from `at` on that looks like an entry, or the end of what was read. */
static uint64_t search(const struct q2_repair *repair, const struct q2_snapshot_table *table,
		       uint64_t at)
{
	uint64_t end = at + ENTRY_MOST < table->size_bytes ? at + ENTRY_MOST : table->size_bytes;

	for (; at + Q2_SNAPSHOT_BYTES <= end; at += 8)
		if (table->bytes[at + 7] | table->bytes[at + 6] | table->bytes[at + 5] |
		    table->bytes[at + 4] | table->bytes[at + 3])
			if (q2_snapshot_score(repair, table, at) >= Q2_SNAPSHOT_LIKELY)
				return at;
	return table->size_bytes;
}

/* Whether an entry is good enough as it stands: what follows it is an entry, or nothing has to. */
static bool is_in_order(const struct q2_repair *repair, const struct q2_snapshot_table *table,
			const struct q2_snapshot_entry *entry, bool whole, bool last)
{
	if (!whole || q2_snapshot_score(repair, table, entry->at) < Q2_SNAPSHOT_TOLERABLE)
		return false;
	return last || q2_snapshot_score(repair, table, entry->at + entry->size_bytes) >=
			       Q2_SNAPSHOT_TOLERABLE;
}

/*
 * An entry that leads nowhere: sets *next to where the next one may be. It is kept if its lengths
 * can be told, or if it has an L1 table that can be read.
 */
static int reform(struct q2_repair *repair, struct q2_snapshot_table *table,
		  struct q2_snapshot_entry *entry, uint64_t *next)
{
	uint64_t first = is_zero(piece(table, entry->at, Q2_SNAPSHOT_BYTES).data,
				 piece(table, entry->at, Q2_SNAPSHOT_BYTES).size)
				 ? 8
				 : Q2_SNAPSHOT_BYTES;
	uint64_t end = search(repair, table, entry->at + first);
	struct q2_snapshot_entry seen = *entry;
	bool found = end < table->size_bytes;
	/* An entry may be in order, and nothing but the end of the table follow it. */
	bool whole = q2_snapshot_view(table, entry->at, &seen);

	seen.index = entry->index;
	*entry = seen;
	*next = end;
	if (first == 8) {
		table->holes++;
		table->is_reformed = true;
		return 0;
	}
	if (whole && q2_snapshot_score(repair, table, entry->at) >= Q2_SNAPSHOT_LIKELY &&
	    (!found || end >= entry->at + entry->size_bytes)) {
		*next = entry->at + entry->size_bytes;
		return add(repair, table, entry);
	}
	table->is_reformed = true;
	if (q2_snapshot_refit(repair, table, entry, end)) {
		*next = found ? end : entry->at + entry->size_bytes;
		return add(repair, table, entry);
	}
	if (!is_l1_possible(repair, &entry->header)) {
		table->holes++;
		return 0;
	}
	/* Its disk can be read; what it was called cannot. */
	entry->header.extra_data_size = 0;
	entry->header.id_str_size = entry->header.name_size = 0;
	entry->extra.size = entry->id.size = entry->name.size = 0;
	entry->refitted = true;
	return add(repair, table, entry);
}

/* Reads the table as far as `most` bytes go. *more: it may go on. */
static int read_table(struct q2_repair *repair, struct q2_snapshot_table *table, uint64_t most,
		      bool *more)
{
	uint64_t count = repair->header->nb_snapshots, at = 0, index = 0;
	struct q2_snapshot_entry entry;

	if (read_bytes(repair, table, most))
		return -1;
	for (; table->count < count && at < table->size_bytes; index++) {
		bool last = table->count + 1 == count;
		bool whole = q2_snapshot_view(table, at, &entry);

		if (table->count == ENTRIES_MOST)
			break;
		entry.index = index;
		if (!is_in_order(repair, table, &entry, whole, last)) {
			if (reform(repair, table, &entry, &at))
				return -1;
			continue;
		}
		at += entry.size_bytes;
		if (add(repair, table, &entry))
			return -1;
	}
	table->is_reformed |= table->count < count;
	*more = table->count < count && table->size_bytes == most;
	return 0;
}

/*
 * Reads no more than a table in order takes as a rule: what lies behind it may be large, and makes no
 * difference. *done: all entries are there, and in order.
 */
static int read_short(struct q2_repair *repair, struct q2_snapshot_table *table, bool *done)
{
	uint64_t count = repair->header->nb_snapshots, offset = table->offset_bytes;
	bool more;

	*done = false;
	if (count > QCOW2_LIMIT_QEMU_SNAPSHOTS)
		return 0;
	if (read_table(repair, table, ENTRY_MOST + count * ENTRY_SHORT, &more))
		return -1;
	*done = !table->is_reformed;
	if (!*done)
		q2_snapshot_table_release(table);
	table->offset_bytes = offset;
	return 0;
}

int q2_snapshot_table_read(struct q2_repair *repair, uint64_t offset_bytes,
			   struct q2_snapshot_table *table)
{
	uint64_t count = repair->header->nb_snapshots, most = ENTRY_MOST;
	bool more = true, done;

	*table = (struct q2_snapshot_table){.offset_bytes = offset_bytes};
	if (read_short(repair, table, &done) || done)
		return done ? 0 : -1;
	most += count > QCOW2_LIMIT_QEMU_SNAPSHOTS ? 64 * ENTRY_TYPICAL : count * ENTRY_TYPICAL;
	for (;;) {
		if (most > Q2_SNAPSHOTS_READ_MOST)
			most = Q2_SNAPSHOTS_READ_MOST;
		*table = (struct q2_snapshot_table){.offset_bytes = offset_bytes};
		if (read_table(repair, table, most, &more))
			return -1;
		if (!more || most == Q2_SNAPSHOTS_READ_MOST || table->holes > 0)
			break;
		q2_snapshot_table_release(table);
		most *= 8;
	}
	table->is_cut = more && table->holes == 0;
	return 0;
}

void q2_snapshot_table_release(struct q2_snapshot_table *table)
{
	q2_free(table->bytes);
	q2_free(table->entries);
	*table = (struct q2_snapshot_table){.offset_bytes = 0};
}
