/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes guest extents: the active L1 table and those of the first snapshots. Extents must cover the
 * range without gaps, neighbours must differ, places must lie in the file; and any range must show
 * the same as the same part of the whole disk.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#define SNAPSHOTS    4
#define IMAGE_MOST   ((size_t)1 << 18)
#define EXTENTS_MOST 50000
#define PROBES       16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static bool is_placed(const struct qcow2_mapping_extent *e)
{
	return e->host.byte != QCOW2_NO_OFFSET && e->kind != QCOW2_L2_COMPRESSED;
}

static void judge_extent(const struct qcow2_image *image, const struct qcow2_mapping_extent *e)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);

	demand(qcow2_l2_kind_name(e->kind) != NULL && e->length_bytes > 0);
	demand((e->host.byte == QCOW2_NO_OFFSET) == (e->host_bytes == 0));
	demand(is_placed(e) || (e->kind != QCOW2_L2_DATA && e->kind != QCOW2_L2_ZERO_ALLOCATED));
	demand(!is_placed(e) || (e->kind != QCOW2_L2_ZERO && e->kind != QCOW2_L2_INVALID));
	if (is_placed(e)) {
		demand(e->host_bytes == e->length_bytes);
		demand(e->host.byte % geometry->cluster_size_bytes ==
		       e->start.byte % geometry->cluster_size_bytes);
	}
	if (geometry->data_file)
		demand(!is_placed(e) || e->host.byte == e->start.byte);
	else if (e->kind == QCOW2_L2_DATA || e->kind == QCOW2_L2_COMPRESSED)
		demand(e->host.byte + e->host_bytes <=
		       geometry->file_size_bytes + geometry->cluster_size_bytes);
	if (e->kind == QCOW2_L2_COMPRESSED)
		demand(e->length_bytes <= geometry->cluster_size_bytes);
}

static bool alike(const struct qcow2_mapping_extent *a, const struct qcow2_mapping_extent *b)
{
	if (a->kind != b->kind || a->kind == QCOW2_L2_COMPRESSED)
		return false;
	if (a->kind == QCOW2_L2_INVALID)
		return a->problem == b->problem;
	if (!is_placed(a))
		return !is_placed(b);
	return a->host.byte + a->host_bytes == b->host.byte;
}

/* Asks for one byte somewhere in an extent: the answer is that extent. */
static void probe(struct qcow2_mapping *mapping, const struct qcow2_mapping_extent *known,
		  uint64_t into)
{
	const struct qcow2_mapping_extent *e;
	struct qcow2_error err;
	int more;

	qcow2_mapping_seek(mapping, (struct qcow2_guest){known->start.byte + into}, 1);
	more = qcow2_mapping_next(mapping, &e, &err);
	demand(more == 1 && e->length_bytes == 1 && e->kind == known->kind);
	demand(e->kind != QCOW2_L2_INVALID || e->problem == known->problem);
	demand(!is_placed(e) || e->host.byte == known->host.byte + into);
	demand(qcow2_mapping_next(mapping, &e, &err) == 0);
}

static void judge_mapping(const struct qcow2_image *image, struct qcow2_mapping *mapping)
{
	struct qcow2_mapping_extent some[PROBES], last = {0};
	const struct qcow2_mapping_extent *e;
	struct qcow2_error err;
	uint64_t at = 0;
	unsigned count = 0;
	int more;

	while ((more = qcow2_mapping_next(mapping, &e, &err)) > 0 && count < EXTENTS_MOST) {
		demand(e->start.byte == at);
		demand(count == 0 || !alike(&last, e));
		judge_extent(image, e);
		at += e->length_bytes;
		last = some[count++ % PROBES] = *e;
	}
	demand(more != 0 || at == qcow2_mapping_size_bytes(mapping));
	demand(more >= 0 || err.code == QCOW2_ERROR_LIMIT);
	for (unsigned i = 0; i < count && i < PROBES; i++) {
		probe(mapping, &some[i], 0);
		probe(mapping, &some[i], some[i].length_bytes / 2);
		probe(mapping, &some[i], some[i].length_bytes - 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_mapping *mapping;
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (size > IMAGE_MOST)
		return 0;
	demand(qcow2_source_from_memory(data, size, &source, &err) == 0);
	if (qcow2_image_open(source, &image, &err) == 0) {
		if (qcow2_mapping_open(image, &mapping, &err) == 0) {
			judge_mapping(image, mapping);
			qcow2_mapping_close(mapping);
		}
		for (unsigned i = 0; i < SNAPSHOTS; i++)
			if (qcow2_mapping_open_snapshot(image, i, &mapping, &err) == 0) {
				judge_mapping(image, mapping);
				qcow2_mapping_close(mapping);
			}
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
