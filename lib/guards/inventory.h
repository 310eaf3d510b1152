/* SPDX-License-Identifier: MIT */
/*
 * What an image has that a change could lose: header extensions, snapshots and bitmaps, in their
 * order and by name. Names are kept as hashes under a key that two inventories share, so that one
 * can be compared with the other.
 */
#ifndef Q2_GUARDS_INVENTORY_H
#define Q2_GUARDS_INVENTORY_H

#include <qcow2/image.h>

#include "base/vector.h"
#include "plan/intents.h"

/* No item. */
#define Q2_NO_ITEM UINT32_MAX

/* What a snapshot reads as: its L1 table, and how many bytes of it are the disk. */
struct q2_snapshot_state {
	uint64_t l1_table_offset;
	uint64_t disk_size_bytes;
	bool has_disk_size; /* false: the size of the active image, whatever that becomes */
};

/* A header extension, a snapshot or a bitmap. */
struct q2_item {
	uint64_t hash; /* of its name: of an extension, its type and what must stay of its data */
	uint64_t old_hash; /* of the name that it had before the plan, where that is known */
	union {
		uint64_t size;                       /* of an extension: of its data, in bytes */
		struct qcow2_bitmap_dir_entry entry; /* of a bitmap */
		struct q2_snapshot_state state;      /* of a snapshot */
	};
	uint32_t next;   /* the next item of that hash, or Q2_NO_ITEM */
	uint32_t cursor; /* of the first of a hash: the next one that is not taken yet */
};

/* Items in the order of the image, and where to find those of a hash. */
struct q2_items {
	struct q2_vector list; /* of struct q2_item */
	uint32_t *slots;       /* the first item of a hash, plus 1, near the place that it says */
	size_t slot_count;     /* a power of two, more than twice the items; or 0 */
};

struct q2_inventory {
	const struct q2_intents *intents;
	bool after;
	struct q2_items extensions, snapshots, bitmaps;
	bool trusts_bitmaps; /* the bitmaps bit is set, so that those not in use may be believed */
};

/*
 * Allocates nothing. after: the inventory is of the planned image, in which bitmaps may have got
 * other names.
 */
void q2_inventory_init(struct q2_inventory *inventory, const struct q2_intents *intents,
		       bool after);
void q2_inventory_release(struct q2_inventory *inventory);

/*
 * Fills the inventory from an image. Items that cannot be found are missing, as are those after the
 * first 2^20 of a kind. Errors: QCOW2_ERROR_IO, QCOW2_ERROR_MEMORY.
 */
int q2_inventory_take(struct q2_inventory *inventory, const struct qcow2_image *image,
		      struct qcow2_error *err);

/* The hash of a name. */
uint64_t q2_inventory_extension(const struct q2_inventory *inventory,
				const struct qcow2_extension *extension);
uint64_t q2_inventory_snapshot(const struct q2_inventory *inventory,
			       const struct qcow2_snapshot *snapshot);

/* The item of an index, or NULL. */
struct q2_item *q2_items_at(const struct q2_items *items, uint64_t index);
/* The first item of a hash, or NULL. */
struct q2_item *q2_items_find(const struct q2_items *items, uint64_t hash);
/* The first item of a hash that was not returned before, or NULL. */
struct q2_item *q2_items_take(struct q2_items *items, uint64_t hash);
/* Forgets which items were taken. */
void q2_items_rewind(struct q2_items *items);

#endif
