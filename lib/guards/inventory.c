/* SPDX-License-Identifier: MIT */
/* See inventory.h. */
#include "guards/inventory.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "format/extension_kind.h"
#include "image/extensions.h"

#define ITEMS_MOST ((size_t)1 << 20)

/* ---- lists ---- */

static void init(struct q2_items *items)
{
	*items = (struct q2_items){.slot_count = 0};
	q2_vector_init(&items->list, sizeof(struct q2_item), ITEMS_MOST);
}

static void release(struct q2_items *items)
{
	q2_vector_release(&items->list);
	q2_free(items->slots);
	items->slots = NULL;
	items->slot_count = 0;
}

void q2_inventory_init(struct q2_inventory *inventory, const struct q2_intents *intents, bool after)
{
	*inventory = (struct q2_inventory){.intents = intents, .after = after};
	init(&inventory->extensions);
	init(&inventory->snapshots);
	init(&inventory->bitmaps);
}

void q2_inventory_release(struct q2_inventory *inventory)
{
	release(&inventory->extensions);
	release(&inventory->snapshots);
	release(&inventory->bitmaps);
}

struct q2_item *q2_items_at(const struct q2_items *items, uint64_t index)
{
	return index < items->list.count ? q2_vector_at(&items->list, (size_t)index) : NULL;
}

/* The slot of the first item of a hash, or the empty one where it belongs. */
static uint32_t *find_slot(const struct q2_items *items, uint64_t hash)
{
	size_t mask = items->slot_count - 1, i = (size_t)hash & mask;

	while (items->slots[i] != 0 && q2_items_at(items, items->slots[i] - 1)->hash != hash)
		i = (i + 1) & mask;
	return &items->slots[i];
}

struct q2_item *q2_items_find(const struct q2_items *items, uint64_t hash)
{
	uint32_t slot = items->slots ? *find_slot(items, hash) : 0;

	return slot == 0 ? NULL : q2_items_at(items, slot - 1);
}

struct q2_item *q2_items_take(struct q2_items *items, uint64_t hash)
{
	struct q2_item *first = q2_items_find(items, hash);
	struct q2_item *taken = first ? q2_items_at(items, first->cursor) : NULL;

	if (taken)
		first->cursor = taken->next;
	return taken;
}

void q2_items_rewind(struct q2_items *items)
{
	for (size_t i = 0; i < items->list.count; i++)
		q2_items_at(items, i)->cursor = (uint32_t)i;
}

/* Adds an item. Items beyond the limit are left out. False if memory is short. */
static bool add(struct q2_items *items, struct q2_item item)
{
	enum qcow2_error_code code;

	item.next = Q2_NO_ITEM;
	item.cursor = (uint32_t)items->list.count;
	code = q2_vector_push(&items->list, &item);
	return code == QCOW2_ERROR_NONE || code == QCOW2_ERROR_LIMIT;
}

/*
 * Links the items of one hash, in their order, once all are there. Going backwards, each item finds
 * the one behind it in one step.
 */
static bool chain(struct q2_items *items)
{
	if (items->list.count == 0)
		return true;
	for (items->slot_count = 4; items->slot_count <= 2 * items->list.count;)
		items->slot_count *= 2;
	items->slots = q2_alloc_array(items->slot_count, sizeof(*items->slots));
	if (!items->slots)
		return false;
	for (size_t i = items->list.count; i-- > 0;) {
		struct q2_item *item = q2_items_at(items, i);
		uint32_t *slot = find_slot(items, item->hash);

		if (*slot != 0)
			item->next = *slot - 1;
		*slot = (uint32_t)i + 1;
	}
	return true;
}

/* ---- what things are called ---- */

static uint64_t hash_as(const struct q2_hash_key *key, uint64_t kind, struct qcow2_bytes bytes)
{
	const struct q2_hash_key own = {key->low ^ kind, key->high};

	return q2_hash(&own, bytes);
}

uint64_t q2_inventory_extension(const struct q2_inventory *inventory,
				const struct qcow2_extension *extension)
{
	struct qcow2_bytes data = extension->data;

	/*
	 * The guards compare known extensions by what they mean. Of others nobody knows which bytes
	 * may change, so that all their data are part of the hash.
	 */
	if (q2_extension_kind(extension->header.magic))
		data.size = 0;
	return hash_as(&inventory->intents->key, extension->header.magic, data);
}

uint64_t q2_inventory_snapshot(const struct q2_inventory *inventory,
			       const struct qcow2_snapshot *snapshot)
{
	const struct q2_hash_key *key = &inventory->intents->key;
	uint64_t pair[2] = {hash_as(key, 1, snapshot->id), hash_as(key, 2, snapshot->name)};

	return hash_as(key, 3, (struct qcow2_bytes){(uint8_t *)pair, sizeof(pair)});
}

/* ---- going through an image ---- */

static bool take_extensions(struct q2_inventory *inventory, const struct qcow2_image *image)
{
	struct qcow2_extension extension;
	struct q2_extensions it;

	q2_extensions_begin(image, &it);
	while (q2_extensions_next(&it, &extension)) {
		uint64_t hash = q2_inventory_extension(inventory, &extension);

		if (!add(&inventory->extensions, (struct q2_item){.hash = hash,
								  .old_hash = hash,
								  .size = extension.data.size}))
			return false;
	}
	return chain(&inventory->extensions);
}

/* Whether an error is about the image: then the image has no more items. */
static bool ends(const struct qcow2_error *err)
{
	return err->code != QCOW2_ERROR_IO && err->code != QCOW2_ERROR_MEMORY;
}

static int take_snapshots(struct q2_inventory *inventory, const struct qcow2_image *image,
			  struct qcow2_error *err)
{
	struct qcow2_snapshots *snapshots;
	const struct qcow2_snapshot *snapshot;
	bool memory = true;
	int more;

	if (qcow2_snapshots_open(image, &snapshots, err))
		return ends(err) ? 0 : -1;
	while (memory && (more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0 &&
	       !snapshot->cut && inventory->snapshots.list.count < ITEMS_MOST)
		memory = add(&inventory->snapshots,
			     (struct q2_item){.hash = q2_inventory_snapshot(inventory, snapshot),
					      .state = {snapshot->header.l1_table_offset,
							snapshot->disk_size_bytes,
							snapshot->has_disk_size}});
	qcow2_snapshots_close(snapshots);
	if (!memory || !chain(&inventory->snapshots))
		return q2_fail_memory(err);
	return more < 0 && !ends(err) ? -1 : 0;
}

static int take_bitmaps(struct q2_inventory *inventory, const struct qcow2_image *image,
			struct qcow2_error *err)
{
	const struct q2_intents *intents = inventory->intents;
	const struct q2_hash_key *key = &intents->key;
	struct qcow2_bitmaps *bitmaps;
	const struct qcow2_bitmap *bitmap;
	bool memory = true;
	int more;

	if (qcow2_bitmaps_open(image, &bitmaps, err))
		return ends(err) ? 0 : -1;
	while (memory && (more = qcow2_bitmaps_next(bitmaps, &bitmap, err)) > 0 && !bitmap->cut &&
	       inventory->bitmaps.list.count < ITEMS_MOST)
		memory = add(
			&inventory->bitmaps,
			(struct q2_item){.hash = q2_hash_bitmap(key, bitmap->name),
					 .old_hash = inventory->after
							     ? q2_name_before(intents, bitmap->name)
							     : q2_hash_bitmap(key, bitmap->name),
					 .entry = bitmap->entry});
	qcow2_bitmaps_close(bitmaps);
	if (!memory || !chain(&inventory->bitmaps))
		return q2_fail_memory(err);
	return more < 0 && !ends(err) ? -1 : 0;
}

int q2_inventory_take(struct q2_inventory *inventory, const struct qcow2_image *image,
		      struct qcow2_error *err)
{
	inventory->trusts_bitmaps =
		(qcow2_image_header(image)->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) != 0;
	if (!take_extensions(inventory, image))
		return q2_fail_memory(err);
	return take_snapshots(inventory, image, err) || take_bitmaps(inventory, image, err) ? -1
											    : 0;
}
