/* SPDX-License-Identifier: MIT */
/* Takes the first cluster apart and lays it out again. See area.h. */
#include "edit/area.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/extensions.h"

/* Magic and length of an extension; the end mark has them as well. */
#define HEAD_BYTES sizeof(struct qcow2_extension_header)
/* Where a field of the header is. */
#define AT(field) offsetof(struct qcow2_header, field)

static size_t count_extensions(const struct qcow2_image *image)
{
	struct q2_extensions it;
	struct qcow2_extension extension;
	size_t count = 0;

	q2_extensions_begin(image, &it);
	while (q2_extensions_next(&it, &extension))
		count++;
	return count;
}

static int take_extensions(struct q2_area *area, struct qcow2_error *err)
{
	struct q2_extensions it;
	struct qcow2_extension extension;

	area->extensions =
		q2_alloc_array(count_extensions(area->image) + 1, sizeof(*area->extensions));
	if (!area->extensions)
		return q2_fail_memory(err);
	q2_extensions_begin(area->image, &it);
	while (q2_extensions_next(&it, &extension)) {
		if (extension.cut)
			return q2_fail(err, QCOW2_ERROR_BROKEN, extension.offset_bytes,
				       "a header extension passes the end of their area: they "
				       "cannot be laid out again");
		area->extensions[area->count++] = (struct q2_area_extension){
			extension.header.magic, extension.data, extension.padding};
	}
	area->old_end_bytes = it.at_bytes + (it.terminated ? HEAD_BYTES : 0);
	return 0;
}

static int take_apart(struct q2_area *area, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(area->image);
	uint64_t end;

	area->header = qcow2_image_header(area->image);
	area->header_length = area->header->header_length;
	area->incompatible_features = area->header->incompatible_features;
	area->compatible_features = area->header->compatible_features;
	area->autoclear_features = area->header->autoclear_features;
	if (!geometry)
		return q2_fail(err, QCOW2_ERROR_BROKEN, AT(cluster_bits),
			       "the header's cluster_bits or refcount_order make no sense");
	if (area->header->header_length <
	    (area->header->version == 2 ? QCOW2_HEADER_V2_BYTES : QCOW2_HEADER_V3_BYTES))
		return q2_fail(err, QCOW2_ERROR_BROKEN, AT(header_length),
			       "header_length ends inside the header");
	if (area->header->header_length > qcow2_image_first_cluster(area->image).size)
		return q2_fail(err, QCOW2_ERROR_BROKEN, AT(header_length),
			       "header_length passes the first cluster");
	if (take_extensions(area, err))
		return -1;
	area->backing = qcow2_image_backing_name(area->image);
	area->backing_lost = area->header->backing_file_offset != 0 &&
			     (area->backing.size != area->header->backing_file_size ||
			      area->header->backing_file_offset < area->old_end_bytes);
	end = area->header->backing_file_offset + area->backing.size;
	if (area->backing.size > 0 && end > area->old_end_bytes)
		area->old_end_bytes = end;
	return 0;
}

int q2_area_open(struct q2_area *area, struct qcow2_plan *plan, struct qcow2_error *err)
{
	*area = (struct q2_area){.phase = QCOW2_PHASE_POINT};
	return qcow2_plan_view(plan, &area->view, err) ||
			       qcow2_image_open(area->view, &area->image, err) ||
			       take_apart(area, err)
		       ? -1
		       : 0;
}

void q2_area_close(struct q2_area *area)
{
	q2_free(area->extensions);
	qcow2_image_close(area->image);
	qcow2_source_close(area->view);
}

struct q2_area_extension *q2_area_find(struct q2_area *area, uint32_t magic)
{
	for (size_t i = 0; i < area->count; i++)
		if (area->extensions[i].magic == magic)
			return &area->extensions[i];
	return NULL;
}

void q2_area_insert(struct q2_area *area, size_t index, uint32_t magic, struct qcow2_bytes data)
{
	memmove(&area->extensions[index + 1], &area->extensions[index],
		(area->count - index) * sizeof(*area->extensions));
	area->extensions[index] = (struct q2_area_extension){.magic = magic, .data = data};
	area->count++;
}

size_t q2_area_remove(struct q2_area *area, uint32_t magic)
{
	size_t kept = 0, removed;

	for (size_t i = 0; i < area->count; i++)
		if (area->extensions[i].magic != magic)
			area->extensions[kept++] = area->extensions[i];
	removed = area->count - kept;
	area->count = kept;
	return removed;
}

/* The size of an extension in the file: head, data and padding to a multiple of eight. */
static uint64_t padded_size(const struct q2_area_extension *extension)
{
	return HEAD_BYTES + (((uint64_t)extension->data.size + 7) & ~UINT64_C(7));
}

static uint64_t new_end(const struct q2_area *area)
{
	uint64_t end = (uint64_t)area->header_length + HEAD_BYTES + area->backing.size;

	for (size_t i = 0; i < area->count; i++)
		end += padded_size(&area->extensions[i]);
	return end;
}

static void put_extension(uint8_t *to, const struct q2_area_extension *extension)
{
	const struct qcow2_extension_header head = {extension->magic,
						    (uint32_t)extension->data.size};

	qcow2_extension_header_encode(&head, to, HEAD_BYTES);
	if (extension->data.size > 0)
		memcpy(to + HEAD_BYTES, extension->data.data, extension->data.size);
	if (extension->padding.size > 0)
		memcpy(to + HEAD_BYTES + extension->data.size, extension->padding.data,
		       extension->padding.size);
}

/*
 * Stores the fields of the header that an area may have changed. Other fields keep the bytes that
 * stand in `cluster`.
 */
static void put_header(const struct q2_area *area, uint8_t *cluster, uint64_t backing_at)
{
	bool had_one = area->header->backing_file_offset != 0, has_one = area->backing.size > 0;
	struct qcow2_header header = *area->header;

	if (has_one || had_one) {
		header.backing_file_offset = has_one ? backing_at : 0;
		header.backing_file_size = (uint32_t)area->backing.size;
	}
	header.incompatible_features = area->incompatible_features;
	header.compatible_features = area->compatible_features;
	header.autoclear_features = area->autoclear_features;
	header.header_length = area->header_length;
	/* The extensions begin at header_length: fields behind it are not the header's. */
	qcow2_header_encode(&header, cluster, area->header_length);
}

/*
 * Lays out the header, the extensions, the end mark and the backing file's name. `cluster` begins
 * with the old header and has room for the longer of the old and the new layout.
 */
static void lay_out(const struct q2_area *area, uint8_t *cluster)
{
	uint64_t at = area->header_length;

	for (size_t i = 0; i < area->count; i++) {
		put_extension(cluster + at, &area->extensions[i]);
		at += padded_size(&area->extensions[i]);
	}
	at += HEAD_BYTES;
	if (area->backing.size > 0)
		memcpy(cluster + at, area->backing.data, area->backing.size);
	put_header(area, cluster, at);
}

bool q2_area_fits(const struct q2_area *area)
{
	return !area->backing_lost &&
	       new_end(area) <= qcow2_image_geometry(area->image)->cluster_size_bytes;
}

/*
 * Plans size bytes of the new first cluster. Bits that keep other programs out stand until all else
 * is written, if the caller wants that: bytes that stay the same are not written at all.
 */
static int plan_bytes(const struct q2_area *area, struct qcow2_plan *plan, const uint8_t *cluster,
		      size_t size, const char *why, struct qcow2_error *err)
{
	const size_t bits_at = AT(incompatible_features), behind = AT(refcount_order);

	if (!area->features_last || area->header->version < 3 || size <= behind)
		return qcow2_plan_write(plan, area->phase, 0, (struct qcow2_bytes){cluster, size},
					why, err);
	return qcow2_plan_write(plan, area->phase, behind,
				(struct qcow2_bytes){cluster + behind, size - behind}, why, err) ||
			       qcow2_plan_write(plan, area->phase, 0,
						(struct qcow2_bytes){cluster, bits_at}, why, err) ||
			       qcow2_plan_write(
				       plan, QCOW2_PHASE_CLEAN, bits_at,
				       (struct qcow2_bytes){cluster + bits_at, behind - bits_at},
				       why, err)
		       ? -1
		       : 0;
}

int q2_area_plan(const struct q2_area *area, struct qcow2_plan *plan, const char *why,
		 struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(area->image);
	uint64_t end = new_end(area);
	size_t size = (size_t)(end > area->old_end_bytes ? end : area->old_end_bytes);
	struct qcow2_bytes first = qcow2_image_first_cluster(area->image);
	uint8_t *cluster;
	int failed;

	if (area->backing_lost)
		return q2_fail(err, QCOW2_ERROR_BROKEN, AT(backing_file_offset),
			       "the backing file's name is not where it can be: it would be "
			       "lost; set or clear it first");
	if (end > geometry->cluster_size_bytes)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the header cluster of %" PRIu64 " bytes has no room: %" PRIu64
			       " would be needed",
			       geometry->cluster_size_bytes, end);
	cluster = q2_alloc_array(size, 1);
	if (!cluster)
		return q2_fail_memory(err);
	memcpy(cluster, first.data,
	       area->header_length < area->header->header_length ? area->header_length
								 : area->header->header_length);
	lay_out(area, cluster);
	failed = plan_bytes(area, plan, cluster, size, why, err);
	q2_free(cluster);
	return failed;
}
