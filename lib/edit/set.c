/* SPDX-License-Identifier: MIT */
/*
 * Sets a number by its path. A number that qcow2_walk() shows with its bytes can be set, since the
 * walk finds it. Two kinds of numbers are found without a walk: fields of the header, so that a
 * header can be mended which no walk can begin with; and refcounts, which may be smaller than a
 * byte.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/entry.h>
#include <qcow2/text.h>
#include <qcow2/walk.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/number.h"
#include "edit/area.h"
#include "plan/plan.h"

/* Where a number is, and what is known of it. */
struct target {
	uint64_t offset_bytes;
	size_t width_bytes;
	unsigned first_bit; /* of refcounts below 8 bits, counted from the least significant */
	unsigned bit_count;
	const struct qcow2_names *names;
};

/* ---- the header, without a walk ---- */

static int find_in_header(const struct qcow2_plan *plan, const char *name, struct target *target,
			  struct qcow2_error *err)
{
	const struct qcow2_field *field = qcow2_structure_field(&qcow2_header_structure, name);
	uint8_t raw[sizeof(struct qcow2_header)];
	struct qcow2_header header;

	if (!field)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "the header has no field '%s'", name);
	if (q2_plan_read(plan, 0, raw, sizeof(raw), err))
		return -1;
	qcow2_header_decode(&header, raw, sizeof(raw));
	if (header.version == 2 && field->offset_bytes >= QCOW2_HEADER_V2_BYTES)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, field->offset_bytes,
			       "images of version 2 have no field '%s'", field->name);
	if (field->offset_bytes >= QCOW2_HEADER_V3_BYTES &&
	    header.header_length <= field->offset_bytes)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, field->offset_bytes,
			       "this header is too short to have a field '%s'", field->name);
	*target = (struct target){
		.offset_bytes = field->offset_bytes,
		.width_bytes = field->width_bytes,
		.names = field->names,
	};
	return 0;
}

/* ---- refcounts ---- */

/* Finds the host offset of a refcount block; 0 if there is none. */
static int find_block(const struct qcow2_image *image, uint64_t index, uint64_t *offset,
		      struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(image);
	uint64_t entries = (uint64_t)header->refcount_table_clusters << (header->cluster_bits - 3);
	struct qcow2_table *table;
	int failed = 0;

	*offset = 0;
	if (qcow2_table_open(image, &table, err))
		return -1;
	if (index < qcow2_table_begin(table, header->refcount_table_offset, entries))
		failed = qcow2_table_entry(table, index, offset, err);
	*offset = qcow2_refcount_table_entry_decode(*offset).offset;
	qcow2_table_close(table);
	return failed;
}

/* Parses BLOCK/INDEX, what follows "refcounts/" in a path. False if it has another form. */
static bool parse_refcount(const char *at, uint64_t *block, uint64_t *index)
{
	const char *slash = strchr(at, '/');

	return slash && q2_index_parse(at, (size_t)(slash - at), block) &&
	       q2_index_parse(slash + 1, strlen(slash + 1), index);
}

static int find_refcount(const struct qcow2_image *image, const char *at, struct target *target,
			 struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t block, index, offset = 0, bits;

	if (!geometry || !parse_refcount(at, &block, &index) ||
	    index >= geometry->refcount_block_entries)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "'refcounts/%s' is no refcount: refcounts/BLOCK/INDEX", at);
	if (find_block(image, block, &offset, err))
		return -1;
	if (offset == 0)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no refcount block %" PRIu64, block);
	bits = index * geometry->refcount_bits;
	*target = (struct target){
		.offset_bytes = offset + bits / 8,
		.width_bytes = geometry->refcount_bits < 8 ? 1 : geometry->refcount_bits / 8,
		.first_bit = geometry->refcount_bits < 8 ? (unsigned)(bits % 8) : 0,
		.bit_count = geometry->refcount_bits < 8 ? geometry->refcount_bits : 0,
	};
	return 0;
}

/* ---- all else, by a walk ---- */

struct finding {
	const char *last; /* the last step of the path */
	struct target named, any;
	size_t named_count, any_count;
	bool wide; /* something named is no number */
};

static int hear_field(void *opaque, const struct qcow2_value *value)
{
	struct finding *finding = opaque;
	bool is_named = strcmp(value->name, finding->last) == 0;
	const struct target target = {
		.offset_bytes = value->offset_bytes,
		.width_bytes = value->raw.size,
		.names = value->names && !value->names->bits ? value->names : NULL,
	};

	if (value->kind != QCOW2_VALUE_NUMBER || value->raw.size == 0 || value->raw.size > 8) {
		finding->wide |= is_named && value->raw.size > 0;
		return 0;
	}
	/*
	 * A row of a table means its entry, although parts of the entry have places of their own.
	 */
	if (is_named || strcmp(value->name, "entry") == 0) {
		finding->named = target;
		finding->named_count++;
	}
	finding->any = target;
	finding->any_count++;
	return 0;
}

static int walk_to(const struct qcow2_image *image, const char *path, struct finding *finding,
		   struct qcow2_error *err)
{
	static const struct qcow2_visitor visitor = {.size = sizeof(visitor), .field = hear_field};
	struct qcow2_selection *selection;
	int failed;

	if (qcow2_selection_new(&path, 1, &selection, err))
		return -1;
	failed = qcow2_walk(image, selection, 0, &visitor, finding, err);
	qcow2_selection_free(selection);
	return failed;
}

static int find_by_walk(const struct qcow2_image *image, const char *path, struct target *target,
			struct qcow2_error *err)
{
	const char *slash = strrchr(path, '/');
	struct finding finding = {.last = slash ? slash + 1 : path};

	if (walk_to(image, path, &finding, err))
		return -1;
	if (finding.named_count == 1 || (finding.named_count == 0 && finding.any_count == 1)) {
		*target = finding.named_count == 1 ? finding.named : finding.any;
		return 0;
	}
	if (finding.any_count > 1)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%s' names several fields", path);
	return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
		       finding.wide ? "'%s' is no number"
				    : "'%s' is not stored as such: set what it follows from",
		       path);
}

/*
 * Refuses a place in the first cluster, where the header is and no table can be; and one behind the
 * end of the file, which would make the file grow by terabytes. Only the last cluster may be cut
 * short.
 */
static int check_place(const struct qcow2_image *image, const char *path,
		       const struct target *target, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	uint64_t first = qcow2_image_first_cluster(image).size;
	uint64_t end = qcow2_source_size_bytes(qcow2_image_source(image));

	if (geometry)
		end = q2_div_ceil_u64(end, geometry->cluster_size_bytes) << geometry->cluster_bits;
	if (target->offset_bytes > end || end - target->offset_bytes < target->width_bytes)
		return q2_fail(err, QCOW2_ERROR_BROKEN, target->offset_bytes,
			       "'%s' would be behind the end of the file: what says where it is "
			       "has to be set right first",
			       path);
	if (target->offset_bytes >= first || strncmp(path, "extensions/", 11) == 0 ||
	    strncmp(path, "features/", 9) == 0)
		return 0;
	return q2_fail(err, QCOW2_ERROR_BROKEN, target->offset_bytes,
		       "'%s' would be inside the header: what says where it is has to be set "
		       "right first",
		       path);
}

static int find_in_image(struct qcow2_plan *plan, const char *path, struct target *target,
			 struct qcow2_error *err)
{
	struct qcow2_source *view = NULL;
	struct qcow2_image *image = NULL;
	int failed = qcow2_plan_view(plan, &view, err) || qcow2_image_open(view, &image, err);

	if (!failed)
		failed = strncmp(path, "refcounts/", 10) == 0
				 ? find_refcount(image, path + 10, target, err)
				 : find_by_walk(image, path, target, err);
	if (!failed)
		failed = check_place(image, path, target, err);
	qcow2_image_close(image);
	qcow2_source_close(view);
	return failed ? -1 : 0;
}

/* ---- storing ---- */

static int parse_value(const struct target *target, const char *path, const char *text,
		       uint64_t *value, struct qcow2_error *err)
{
	struct qcow2_error why;
	unsigned bits = target->bit_count ? target->bit_count : (unsigned)target->width_bytes * 8;

	for (size_t i = 0; target->names && !target->names->bits && i < target->names->count; i++) {
		if (strcmp(target->names->list[i].name, text) == 0) {
			*value = target->names->list[i].value;
			return 0;
		}
	}
	if (qcow2_number_parse(text, UINT64_MAX, value, &why))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "%s: %s", path,
			       why.text);
	if (bits < 64 && *value >> bits != 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "%s does not fit %s, which is %u bits wide", text, path, bits);
	return 0;
}

static int store(struct qcow2_plan *plan, const struct target *target, uint64_t value,
		 const char *why, struct qcow2_error *err)
{
	uint8_t bytes[8];

	if (q2_plan_read(plan, target->offset_bytes, bytes, target->width_bytes, err))
		return -1;
	if (target->bit_count > 0) {
		unsigned mask = ((1U << target->bit_count) - 1) << target->first_bit;

		bytes[0] = (uint8_t)((bytes[0] & ~mask) | (unsigned)value << target->first_bit);
	} else {
		for (size_t i = target->width_bytes; i-- > 0; value >>= 8)
			bytes[i] = (uint8_t)value;
	}
	return qcow2_plan_write(plan, QCOW2_PHASE_POINT, target->offset_bytes,
				(struct qcow2_bytes){bytes, target->width_bytes}, why, err);
}

/*
 * Moves the extensions and the backing file's name to another header_length. Returns 1 if that is
 * planned; 0 if there is nothing to move, or if it cannot be moved, so that the number alone is
 * set; -1 with *err filled.
 */
static int move_extensions(struct qcow2_plan *plan, uint64_t length, const char *why,
			   struct qcow2_error *err)
{
	struct q2_area area;
	struct qcow2_error ignored;
	int moved = 0;

	if (length < QCOW2_HEADER_V3_BYTES || length % 8 != 0 || length > UINT32_MAX)
		return 0;
	if (q2_area_open(&area, plan, &ignored) == 0 && area.count > 0 &&
	    area.header->version >= 3) {
		area.header_length = (uint32_t)length;
		if (q2_area_fits(&area))
			moved = q2_area_plan(&area, plan, why, err) ? -1 : 1;
	}
	q2_area_close(&area);
	return moved;
}

/* Whether a path names an entry of a table, on which the contents of the image depend. */
static bool is_raw(const char *path)
{
	static const char *const tables[] = {"l1/", "l2/", "refcounts/", "refcount_table/",
					     "table/"};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		const char *at = strstr(path, tables[i]);

		if (at && (at == path || at[-1] == '/'))
			return true;
	}
	return false;
}

int qcow2_edit_set(struct qcow2_plan *plan, const char *path, const char *value, bool *raw,
		   struct qcow2_error *err)
{
	char why[QCOW2_WHY_MAX], safe[QCOW2_WHY_MAX / 2];
	struct target target = {0};
	uint64_t number;
	int moved = 0;

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)path, strlen(path)}, safe,
			  sizeof(safe));
	if (raw)
		*raw = is_raw(path);
	if (strncmp(path, "header/", 7) == 0 ? find_in_header(plan, path + 7, &target, err)
					     : find_in_image(plan, path, &target, err))
		return -1;
	if (parse_value(&target, path, value, &number, err))
		return -1;
	snprintf(why, sizeof(why), "set %s to %" PRIu64 " (0x%" PRIx64 ")", safe, number, number);
	if (strcmp(path, "header/header_length") == 0)
		moved = move_extensions(plan, number, why, err);
	if (moved != 0)
		return moved < 0 ? -1 : 0;
	return store(plan, &target, number, why, err);
}
