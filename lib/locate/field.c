/* SPDX-License-Identifier: MIT */
/*
 * Finds the field that holds a byte, by walking the structure that claims the byte: the walk knows
 * where each value lies.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/locate.h>

#include "base/error.h"

#define DEPTH_MOST 16

struct search {
	uint64_t byte;
	int (*found)(void *opaque, const char *where, const struct qcow2_value *value);
	void *opaque;
	const char *row; /* the path of the one row that is walked, or NULL */
	bool done;
	/* The path down to the current node: its length at each depth. */
	char path[QCOW2_FIELD_WHERE_MAX];
	size_t lengths[DEPTH_MOST];
	size_t depth;
};

/* Cuts a path of bitmaps to the form that people write: "bitmaps/0/flags". */
static const char *short_path(const char *path)
{
	static const char directory[] = "/bitmap_directory";
	const char *found = strncmp(path, "extensions/", 11) == 0 ? strstr(path, directory) : NULL;

	return found ? found + sizeof(directory) - 1 : NULL;
}

static int begin(void *opaque, const struct qcow2_node *node)
{
	struct search *search = opaque;
	size_t length = strlen(search->path), left = sizeof(search->path) - length;
	const char *slash = length > 0 ? "/" : "";

	if (search->depth < DEPTH_MOST)
		search->lengths[search->depth] = length;
	search->depth++;
	if (node->key)
		snprintf(search->path + length, left, "%s%s", slash, node->key);
	else if (node->index != QCOW2_NO_INDEX)
		snprintf(search->path + length, left, "%s%" PRIu64, slash, node->index);
	return 0;
}

static int end(void *opaque, const struct qcow2_node *node)
{
	struct search *search = opaque;

	(void)node;
	search->depth--;
	if (search->depth < DEPTH_MOST)
		search->path[search->lengths[search->depth]] = '\0';
	return 0;
}

/* The bytes that hold a value. A refcount that shares its byte with others has none of its own. */
static size_t size_of(const struct search *search, const struct qcow2_value *value)
{
	if (value->raw.size > 0 || value->offset_bytes == QCOW2_NO_OFFSET)
		return value->raw.size;
	return search->row && strcmp(value->name, "refcount") == 0;
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct search *search = opaque;
	char where[2 * QCOW2_FIELD_WHERE_MAX];
	const char *bitmap = short_path(search->path);

	if (search->byte < value->offset_bytes ||
	    search->byte - value->offset_bytes >= size_of(search, value))
		return 0;
	/* The whole entry of a table is the row itself. */
	if (search->row &&
	    (strcmp(value->name, "entry") == 0 || strcmp(value->name, "refcount") == 0))
		snprintf(where, sizeof(where), "%s", search->row);
	else if (search->row)
		snprintf(where, sizeof(where), "%s/%s", search->row, value->name);
	else if (bitmap)
		snprintf(where, sizeof(where), "bitmaps%s/%s", bitmap, value->name);
	else
		snprintf(where, sizeof(where), "%s/%s", search->path, value->name);
	where[QCOW2_FIELD_WHERE_MAX - 1] = '\0';
	search->done = true;
	(void)search->found(search->opaque, where, value);
	return 1;
}

/* Walks what a selector names until the byte is found. */
static int walk(const struct qcow2_image *image, const char *selector, struct search *search,
		struct qcow2_error *err)
{
	const struct qcow2_visitor visitor = {.size = sizeof(visitor),
					      .begin_struct = begin,
					      .end_struct = end,
					      .begin_list = begin,
					      .end_list = end,
					      .field = field};
	/* Without rows, no table is wanted, and no bits are to be counted. */
	const unsigned flags = search->row ? 0 : QCOW2_WALK_NO_TABLES;
	struct qcow2_selection *selection;
	struct qcow2_error reason;
	int result;

	if (qcow2_selection_new(&selector, 1, &selection, err))
		return -1;
	search->path[0] = '\0';
	search->depth = 0;
	result = qcow2_walk(image, selection, flags, &visitor, search, &reason);
	qcow2_selection_free(selection);
	if (result == 0 || search->done || reason.code == QCOW2_ERROR_NOT_FOUND)
		return 0;
	if (err)
		*err = reason;
	return -1;
}

/* The index of the entry of a table that holds the byte. */
static uint64_t entry_index(const struct qcow2_image *image, const struct qcow2_claim *owner,
			    uint64_t byte)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const uint64_t into = byte - owner->offset_bytes;

	switch (owner->part) {
	case QCOW2_CLAIM_L2_TABLE:
		return into / geometry->l2_entry_bytes;
	case QCOW2_CLAIM_REFCOUNT_BLOCK:
		return into / sizeof(uint64_t) * (64 / geometry->refcount_bits) +
		       into % sizeof(uint64_t) * 8 / geometry->refcount_bits;
	default:
		return into / sizeof(uint64_t);
	}
}

/* Whether fields of the part are found by the path of a row. Fills path with that of the row. */
static bool row_path(const struct qcow2_image *image, const struct qcow2_claim *owner,
		     uint64_t byte, char *path)
{
	char where[QCOW2_CLAIM_WHERE_MAX];

	switch (owner->part) {
	case QCOW2_CLAIM_L1_TABLE:
	case QCOW2_CLAIM_L2_TABLE:
	case QCOW2_CLAIM_REFCOUNT_TABLE:
	case QCOW2_CLAIM_REFCOUNT_BLOCK:
	case QCOW2_CLAIM_BITMAP_TABLE:
		snprintf(path, QCOW2_FIELD_WHERE_MAX, "%s/%" PRIu64,
			 qcow2_claim_where(owner, where, sizeof(where)),
			 entry_index(image, owner, byte));
		return true;
	default:
		return false;
	}
}

/* Walks the structures of the header's cluster, one after another. */
static int walk_header(const struct qcow2_image *image, struct search *search,
		       struct qcow2_error *err)
{
	static const char *const selectors[] = {"header", "extensions", "backing_file"};

	for (size_t i = 0; i < sizeof(selectors) / sizeof(selectors[0]) && !search->done; i++)
		if (walk(image, selectors[i], search, err))
			return -1;
	return 0;
}

int qcow2_field_find(const struct qcow2_image *image, const struct qcow2_claim *owner,
		     struct qcow2_host byte,
		     int (*found)(void *opaque, const char *where, const struct qcow2_value *value),
		     void *opaque, struct qcow2_error *err)
{
	struct search search = {.byte = byte.byte, .found = found, .opaque = opaque};
	char path[QCOW2_FIELD_WHERE_MAX];
	int result = 0;

	if (byte.byte < owner->offset_bytes ||
	    byte.byte - owner->offset_bytes >= owner->length_bytes)
		return 0;
	if (row_path(image, owner, byte.byte, path)) {
		search.row = path;
		result = walk(image, path, &search, err);
	} else if (owner->part == QCOW2_CLAIM_HEADER) {
		result = walk_header(image, &search, err);
	} else if (owner->part == QCOW2_CLAIM_SNAPSHOT_TABLE) {
		result = walk(image, "snapshots", &search, err);
	} else if (owner->part == QCOW2_CLAIM_BITMAP_DIRECTORY) {
		result = walk(image, "bitmaps", &search, err);
	} else if (owner->part == QCOW2_CLAIM_LUKS) {
		result = walk(image, "luks", &search, err);
	}
	return result ? -1 : search.done;
}
