/* SPDX-License-Identifier: MIT */
/*
 * Refuses an undo after which a guest would not see what it may have written in place since the
 * change. This concerns data behind the end of a disk that becomes smaller, data in clusters that
 * are mapped otherwise, and data in another data file. Nothing can make such an undo safe.
 */
#include "undo/guest.h"

#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/limits.h>

#include "base/error.h"
#include "image/extensions.h"

#define NEEDED_FEATURES (QCOW2_INCOMPATIBLE_DATA_FILE | QCOW2_INCOMPATIBLE_EXTENDED_L2)

/* The image as it is, and as it would be. */
struct guest {
	struct q2_undoing *u;
	struct qcow2_image *now, *then;
	struct qcow2_table *l1_now, *l1_then, *l2_now, *l2_then;
};

static int refuse_mapping(const struct guest *g, uint64_t offset)
{
	if (g->u->result->doubt == QCOW2_UNDO_DOUBT_DATA_FILE)
		return q2_undo_mismatch(g->u, offset,
					"nothing shows whether a guest has written to the data "
					"file since, and what it wrote might not be read from any "
					"more (--exact undoes it all the same)");
	return q2_undo_mismatch(g->u, offset,
				"a guest may have written since to where its data would not be "
				"read from any more (--exact undoes it all the same)");
}

static bool is_touched(const struct guest *g, uint64_t offset, uint64_t size)
{
	const struct q2_undo_records *pieces = &g->u->undo->pieces;
	size_t i = q2_undo_find(pieces, offset);

	return i < pieces->count && pieces->items[i].offset_bytes < offset + size;
}

/* Reads an entry of a table; an entry that the file does not have is zero. */
static int entry_of(struct qcow2_table *table, uint64_t index, uint64_t entries, uint64_t *entry,
		    struct qcow2_error *err)
{
	*entry = 0;
	return index < entries ? qcow2_table_entry(table, index, entry, err) : 0;
}

/*
 * Whether a guest may write to the cluster of an entry in place. It does not if the entry is
 * compressed, reads as zeros or has no host cluster.
 */
static bool is_in_place(const struct qcow2_geometry *geometry, uint64_t entry)
{
	return qcow2_l2_classify(entry, geometry->extended_l2, geometry->data_file) ==
	       QCOW2_L2_DATA;
}

/*
 * Whether what a guest may have written through the entry `now` is read through the entry `then`.
 * Nobody reads otherwise for the copied flag or a reserved bit.
 */
static bool stays(const struct qcow2_geometry *geometry, const uint64_t *now, const uint64_t *then)
{
	uint64_t unread = QCOW2_ENTRY_MASK(l2_entry, copied) | qcow2_l2_entry_reserved;
	uint64_t allocated = qcow2_l2_subclusters_decode(now[1]).allocated;

	if (!is_in_place(geometry, now[0]))
		return true;
	/* In a data file, the copied flag alone tells an offset of 0 from none. */
	if (((now[0] ^ then[0]) & ~unread) != 0 || !is_in_place(geometry, then[0]))
		return false;
	return (allocated & ~qcow2_l2_subclusters_decode(then[1]).allocated) == 0;
}

static int compare_l2(struct guest *g, uint64_t offset)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(g->now);
	unsigned words = geometry->l2_entry_bytes / 8;
	uint64_t all = geometry->l2_entries * words;
	uint64_t there = qcow2_table_begin(g->l2_now, offset, all);
	uint64_t then_there = qcow2_table_begin(g->l2_then, offset, all);

	for (uint64_t i = 0; i < all; i += words) {
		uint64_t now[2] = {0, 0}, then[2] = {0, 0};

		for (unsigned k = 0; k < words; k++)
			if (entry_of(g->l2_now, i + k, there, &now[k], g->u->err) ||
			    entry_of(g->l2_then, i + k, then_there, &then[k], g->u->err))
				return -1;
		if (!stays(geometry, now, then))
			return refuse_mapping(g, offset + i * 8);
	}
	return 0;
}

/* Compares all L1 entries, and the L2 tables that the undo writes to. */
static int compare_l1(struct guest *g)
{
	const struct qcow2_header *now = qcow2_image_header(g->now);
	const struct qcow2_header *then = qcow2_image_header(g->then);
	uint64_t cluster = qcow2_image_geometry(g->now)->cluster_size_bytes;
	uint64_t there = qcow2_table_begin(g->l1_now, now->l1_table_offset, now->l1_size);
	uint64_t then_there = qcow2_table_begin(g->l1_then, then->l1_table_offset, then->l1_size);

	/* No program opens an image with a larger L1 table; a hostile image may claim any size. */
	if (there > QCOW2_LIMIT_QEMU_L1_ENTRIES)
		return refuse_mapping(g, now->l1_table_offset);
	for (uint64_t i = 0; i < there; i++) {
		uint64_t a, b;

		if (entry_of(g->l1_now, i, there, &a, g->u->err) ||
		    entry_of(g->l1_then, i, then_there, &b, g->u->err))
			return -1;
		a = qcow2_l1_entry_decode(a).offset;
		b = qcow2_l1_entry_decode(b).offset;
		/* No program can use a table that does not begin at a cluster. */
		if (a % cluster != 0)
			continue;
		if (a != 0 && a != b)
			return refuse_mapping(g, now->l1_table_offset + i * 8);
		if (a != 0 && is_touched(g, a, cluster) && compare_l2(g, a))
			return -1;
	}
	return 0;
}

/* Whether an extension is the same in both, or in neither. */
static bool is_same_extension(const struct guest *g, uint32_t magic)
{
	struct qcow2_extension now, then;
	bool is_now = q2_find_extension(g->now, magic, &now);

	if (is_now != q2_find_extension(g->then, magic, &then))
		return false;
	return !is_now || (now.data.size == then.data.size &&
			   memcmp(now.data.data, then.data.data, now.data.size) == 0);
}

static int compare_headers(const struct guest *g)
{
	const struct qcow2_header *now = qcow2_image_header(g->now);
	const struct qcow2_header *then = qcow2_image_header(g->then);

	if (now->crypt_method == then->crypt_method && now->cluster_bits == then->cluster_bits &&
	    ((now->incompatible_features ^ then->incompatible_features) & NEEDED_FEATURES) == 0 &&
	    is_same_extension(g, QCOW2_EXTENSION_CRYPTO) &&
	    (!(now->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) ||
	     is_same_extension(g, QCOW2_EXTENSION_DATA_FILE)))
		return 0;
	return refuse_mapping(g, 0);
}

/*
 * Sets *mapped if the new end of the disk is in the middle of a cluster to which a guest may have
 * written in place.
 */
static int find_at_end(struct guest *g, uint64_t size, bool *mapped)
{
	const struct qcow2_header *now = qcow2_image_header(g->now);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(g->now);
	uint64_t index = size >> geometry->cluster_bits;
	uint64_t words = geometry->l2_entry_bytes / 8, l1, table, entry;
	uint64_t there = qcow2_table_begin(g->l1_now, now->l1_table_offset, now->l1_size);

	*mapped = false;
	if (size % geometry->cluster_size_bytes == 0)
		return 0;
	if (entry_of(g->l1_now, index / geometry->l2_entries, there, &l1, g->u->err))
		return -1;
	table = qcow2_l1_entry_decode(l1).offset;
	if (table == 0)
		return 0;
	there = qcow2_table_begin(g->l2_now, table, geometry->l2_entries * words);
	if (entry_of(g->l2_now, index % geometry->l2_entries * words, there, &entry, g->u->err))
		return -1;
	*mapped = is_in_place(geometry, entry);
	return 0;
}

static int compare_sizes(struct guest *g)
{
	enum qcow2_problem_id id = QCOW2_PROBLEM_L2_ENTRY_BEYOND_SIZE;
	uint64_t size = qcow2_image_header(g->then)->size;
	bool mapped;

	if (size >= qcow2_image_header(g->now)->size)
		return 0;
	if (find_at_end(g, size, &mapped))
		return -1;
	if (!mapped && g->u->then.by_kind[id] <= g->u->now.by_kind[id])
		return 0;
	return q2_undo_mismatch(g->u, QCOW2_NO_OFFSET,
				"the virtual disk would become smaller, and what a guest may "
				"have written behind its new end would be cut off (--exact does "
				"it all the same)");
}

/*
 * The headers come first: tables of another form could not be compared. An undo that passes leaves
 * each cluster that a guest may have written in place mapped as it is now.
 */
static int compare(struct guest *g)
{
	struct qcow2_error *err = g->u->err;

	/* If the image cannot be mapped now, nobody has read or written guest data. */
	if (!qcow2_image_geometry(g->now))
		return 0;
	if (!qcow2_image_geometry(g->then))
		return refuse_mapping(g, 0);
	if (compare_headers(g) || qcow2_table_open(g->now, &g->l1_now, err) ||
	    qcow2_table_open(g->then, &g->l1_then, err) ||
	    qcow2_table_open(g->now, &g->l2_now, err) ||
	    qcow2_table_open(g->then, &g->l2_then, err))
		return -1;
	return compare_sizes(g) || compare_l1(g) ? -1 : 0;
}

/*
 * Whether the corrupt bit has kept programs from writing since a change or an undo was interrupted:
 * a repair sets it first and clears it last, and its undo does the same.
 */
static bool is_held(const struct guest *g)
{
	enum qcow2_undo_state state = g->u->undo->info.state;

	return !g->u->is_copy && (state == QCOW2_UNDO_APPLYING || state == QCOW2_UNDO_UNDOING) &&
	       (qcow2_image_header(g->now)->incompatible_features & QCOW2_INCOMPATIBLE_CORRUPT);
}

int q2_undo_check_guest(struct q2_undoing *u, struct qcow2_source *restored)
{
	struct guest g = {.u = u};
	int failed =
		q2_undo_open_image(u, u->image, &g.now) || q2_undo_open_image(u, restored, &g.then);

	/* If the file is no image now, nobody has read or written guest data. */
	if (!failed && g.now && !is_held(&g))
		failed = g.then ? compare(&g) : refuse_mapping(&g, 0);
	qcow2_table_close(g.l1_now);
	qcow2_table_close(g.l1_then);
	qcow2_table_close(g.l2_now);
	qcow2_table_close(g.l2_then);
	qcow2_image_close(g.now);
	qcow2_image_close(g.then);
	return failed ? -1 : 0;
}
