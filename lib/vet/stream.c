/* SPDX-License-Identifier: MIT */
/*
 * Vets a stream. What it has to read later is asked for as soon as its place is known; at the end,
 * the vetting of a file reads what was kept. On the way it is judged three times: when the fixed
 * header is there, the first cluster, and the lists.
 */
#include <errno.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/sized.h"
#include "base/system.h"
#include "image/extensions.h"
#include "vet/vet.h"

#include <qcow2/entry.h>
#include <qcow2/limits.h>

/* Bytes are taken in steps of this, so that what they lead to can be asked for before it passes. */
#define STEP_BYTES ((size_t)256 << 10)
/* How much of a snapshot table is kept: its size is not known. */
#define SNAPSHOT_BYTES      UINT64_C(2048)
#define SNAPSHOT_MORE_BYTES (UINT64_C(256) << 10)
#define TABLE_MOST_BYTES    (UINT64_C(32) << 20)
/* Disks from this size on may take longer to convert than the policies allow. */
#define L2_DISK_BYTES (UINT64_C(1) << 30)

enum stage { AT_HEADER, AT_HEAD, AT_LISTS, AT_REST };

struct qcow2_vet_stream {
	struct qcow2_vet_options options;
	struct q2_kept kept;
	struct qcow2_source *source; /* of what is kept, and larger than anything */
	enum stage stage;
	bool blocks_asked, l2_asked;
	uint64_t snapshots_at, snapshots_left; /* the next entry that may not be there */
	uint64_t directory_at, directory_bytes;
	bool decided;
	struct q2_vet
		vet; /* what the stages on the way share; its image is open from AT_LISTS on */
	uint8_t *head;
};

static int read_kept(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	const struct qcow2_vet_stream *stream = opaque;
	uint64_t missing_from = UINT64_MAX;

	if (!q2_kept_read(&stream->kept, offset_bytes, buffer, size, &missing_from))
		return Q2_ENODATA;
	return stream->kept.strict && missing_from != UINT64_MAX ? Q2_ENODATA : 0;
}

static int open_source(struct qcow2_vet_stream *stream, uint64_t size_bytes,
		       struct qcow2_source **out, struct qcow2_error *err)
{
	const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = read_kept};

	return qcow2_source_from_ops(&ops, stream, size_bytes, out, err);
}

int qcow2_vet_stream_open(const struct qcow2_vet_options *options, struct qcow2_vet_stream **out,
			  struct qcow2_error *err)
{
	struct qcow2_vet_stream *stream = q2_alloc(sizeof(*stream));

	if (!stream)
		return q2_fail_memory(err);
	if (q2_sized_take(&stream->options, sizeof(stream->options), options, err) ||
	    open_source(stream, INT64_MAX, &stream->source, err)) {
		q2_free(stream);
		return -1;
	}
	if (!q2_kept_init(&stream->kept, Q2_VET_TAIL_BYTES)) {
		qcow2_vet_stream_close(stream);
		return q2_fail_memory(err);
	}
	stream->vet = (struct q2_vet){
		.options = stream->options,
		.source = stream->source,
		.kept = &stream->kept,
		.size_unknown = true,
		.result = {.size = sizeof(stream->vet.result), .file_size_bytes = INT64_MAX}};
	*out = stream;
	return 0;
}

void qcow2_vet_stream_close(struct qcow2_vet_stream *stream)
{
	if (!stream)
		return;
	qcow2_image_close(stream->vet.image);
	qcow2_source_close(stream->source);
	q2_kept_release(&stream->kept);
	q2_free(stream->head);
	q2_free(stream);
}

/* ---- the header ---- */

/* What the fixed header says by itself. The rest of the first cluster may still be on its way. */
static void judge_header(struct qcow2_vet_stream *stream)
{
	struct q2_vet *vet = &stream->vet;
	struct qcow2_bytes raw = {stream->kept.regions[0].bytes,
				  (size_t)stream->kept.regions[0].filled};
	struct q2_vet_finding backing = {.rule = QCOW2_VET_RULE_BACKING_FILE,
					 .offset_bytes =
						 offsetof(struct qcow2_header, backing_file_offset),
					 .has_value = true};
	struct qcow2_header header;

	qcow2_header_decode(&header, raw.data, raw.size);
	if (header.magic != QCOW2_MAGIC || header.version < 2 || header.version > 3)
		return; /* when there is more, it is known what it is instead */
	vet->header = &header;
	vet->result.version = header.version;
	vet->result.virtual_size_bytes = header.size;
	vet->result.kind = qcow2_file_kind_get(QCOW2_FILE_QCOW2);
	q2_vet_header(vet);
	backing.value = header.backing_file_offset;
	if (backing.value < raw.size && header.backing_file_size <= raw.size - backing.value &&
	    header.backing_file_size <= QCOW2_LIMIT_BACKING_NAME_BYTES)
		backing.name =
			(struct qcow2_bytes){raw.data + backing.value, header.backing_file_size};
	if (backing.value != 0)
		q2_vet_tell(vet, &backing, "header/backing_file_offset");
	vet->header = NULL;
}

/* ---- the first cluster ---- */

/* How much has to be there: the first cluster, and what other formats are told by. */
static uint64_t head_bytes(const struct qcow2_vet_stream *stream)
{
	uint32_t bits = q2_load_be32(stream->kept.regions[0].bytes +
				     offsetof(struct qcow2_header, cluster_bits));
	unsigned most = QCOW2_LIMIT_QEMU_CLUSTER_BITS; /* more is not read of larger ones */
	uint64_t cluster = UINT64_C(1) << (bits < most ? bits : most);

	return cluster > Q2_VET_HEAD_BYTES ? cluster : Q2_VET_HEAD_BYTES;
}

static int judge_head(struct qcow2_vet_stream *stream)
{
	struct q2_vet *vet = &stream->vet;

	stream->head = q2_alloc_buffer(Q2_VET_HEAD_BYTES);
	if (!stream->head)
		return q2_fail_memory(vet->err);
	vet->head = (struct qcow2_bytes){stream->head, Q2_VET_HEAD_BYTES};
	if (qcow2_source_read(stream->source, 0, stream->head, Q2_VET_HEAD_BYTES, vet->err))
		return -1;
	return q2_vet_look_at_head(vet);
}

/* Asks for the tables that the first cluster leads to. */
static void ask_for_tables(struct qcow2_vet_stream *stream)
{
	const struct q2_vet *vet = &stream->vet;
	const struct qcow2_header *h = vet->header;
	struct qcow2_bitmaps_extension bitmaps;
	struct qcow2_bytes data;
	uint64_t snapshots = h->nb_snapshots * SNAPSHOT_BYTES + SNAPSHOT_MORE_BYTES;

	if (h->l1_size <= QCOW2_LIMIT_QEMU_L1_ENTRIES)
		q2_kept_ask(&stream->kept, h->l1_table_offset, h->l1_size * UINT64_C(8));
	q2_kept_ask(&stream->kept, h->refcount_table_offset,
		    h->refcount_table_clusters * vet->geometry->cluster_size_bytes);
	stream->snapshots_at = h->snapshot_offset;
	stream->snapshots_left = h->nb_snapshots;
	if (h->nb_snapshots > 0)
		q2_kept_ask(&stream->kept, h->snapshot_offset, snapshots);
	if (qcow2_image_find_extension(vet->image, QCOW2_EXTENSION_BITMAPS, &data)) {
		qcow2_bitmaps_extension_decode(&bitmaps, data.data, data.size);
		stream->directory_at = bitmaps.bitmap_directory_offset;
		stream->directory_bytes = bitmaps.bitmap_directory_size;
		if (stream->directory_bytes <= TABLE_MOST_BYTES)
			q2_kept_ask(&stream->kept, stream->directory_at, stream->directory_bytes);
	}
}

/* ---- tables ---- */

/* Asks for the refcount blocks once their table is there, those of the file's end first. */
static void ask_for_blocks(struct qcow2_vet_stream *stream)
{
	const struct q2_vet *vet = &stream->vet;
	uint64_t cluster = vet->geometry->cluster_size_bytes, missing_from = UINT64_MAX, block;
	uint64_t table = vet->header->refcount_table_offset;
	uint64_t entries = vet->header->refcount_table_clusters * (cluster / 8);
	uint8_t entry[8];

	stream->blocks_asked = true;
	for (uint64_t i = entries; i-- > 0;) {
		if (!q2_kept_read(&stream->kept, table + i * 8, entry, sizeof(entry),
				  &missing_from))
			return;
		block = q2_load_be64(entry) & QCOW2_ENTRY_MASK(refcount_table_entry, offset);
		if (block != 0)
			q2_kept_ask(&stream->kept, block, cluster);
	}
}

/*
 * Asks for the L2 tables once the L1 table is there, if the disk is so large that they may have to
 * be looked at (reading.c). How much the file stores is not known yet.
 */
static void ask_for_l2(struct qcow2_vet_stream *stream)
{
	const struct q2_vet *vet = &stream->vet;
	uint64_t at = vet->header->l1_table_offset, missing_from = UINT64_MAX, table;
	uint8_t entry[8];

	stream->l2_asked = true;
	if (vet->header->size < L2_DISK_BYTES)
		return;
	for (uint64_t i = 0; i < vet->header->l1_size; i++) {
		if (!q2_kept_read(&stream->kept, at + i * 8, entry, sizeof(entry), &missing_from))
			return;
		table = q2_load_be64(entry) & QCOW2_ENTRY_MASK(l1_entry, offset);
		if (table != 0)
			q2_kept_ask(&stream->kept, table, vet->geometry->cluster_size_bytes);
	}
}

static bool has_l1(const struct qcow2_vet_stream *stream)
{
	const struct qcow2_header *h = stream->vet.header;

	return h->l1_size <= QCOW2_LIMIT_QEMU_L1_ENTRIES &&
	       q2_kept_has(&stream->kept, h->l1_table_offset, h->l1_size * UINT64_C(8));
}

/* Whether the table and its entries are there, and what they lead to can be asked for. */
static bool has_refcount_table(const struct qcow2_vet_stream *stream)
{
	const struct qcow2_header *h = stream->vet.header;

	return q2_kept_has(&stream->kept, h->refcount_table_offset,
			   h->refcount_table_clusters * stream->vet.geometry->cluster_size_bytes);
}

/* Whether the whole snapshot table is there. Goes on where the last call came to. */
static bool has_snapshots(struct qcow2_vet_stream *stream)
{
	struct qcow2_snapshot_header entry;
	uint8_t raw[sizeof(entry)];
	uint64_t missing_from = UINT64_MAX, size;

	for (; stream->snapshots_left > 0; stream->snapshots_left--) {
		if (!q2_kept_has(&stream->kept, stream->snapshots_at, sizeof(raw)) ||
		    !q2_kept_read(&stream->kept, stream->snapshots_at, raw, sizeof(raw),
				  &missing_from))
			return false;
		qcow2_snapshot_header_decode(&entry, raw, sizeof(raw));
		size = sizeof(raw) + (uint64_t)entry.extra_data_size + entry.id_str_size +
		       entry.name_size;
		if (!q2_kept_has(&stream->kept, stream->snapshots_at, size))
			return false;
		stream->snapshots_at += (size + 7) & ~UINT64_C(7);
	}
	return true;
}

static bool has_lists(struct qcow2_vet_stream *stream)
{
	return has_snapshots(stream) &&
	       q2_kept_has(&stream->kept, stream->directory_at, stream->directory_bytes);
}

/* ---- the stream ---- */

/* Judges what can be judged by now. */
static int advance(struct qcow2_vet_stream *stream)
{
	struct q2_vet *vet = &stream->vet;

	if (stream->stage == AT_HEADER && stream->kept.position >= sizeof(struct qcow2_header)) {
		stream->stage = AT_HEAD;
		judge_header(stream);
	}
	if (vet->result.reasons == 0 && stream->stage == AT_HEAD &&
	    stream->kept.position >= head_bytes(stream)) {
		stream->stage = AT_LISTS;
		if (judge_head(stream))
			return -1;
		if (vet->result.reasons == 0 && vet->geometry)
			ask_for_tables(stream);
	}
	if (vet->result.reasons > 0 || !vet->geometry)
		return 0;
	if (stream->stage == AT_LISTS && has_lists(stream)) {
		stream->stage = AT_REST;
		if ((q2_vet_snapshots(vet) || q2_vet_bitmaps(vet)) &&
		    vet->err->errnum != Q2_ENODATA)
			return -1;
	}
	if (!stream->blocks_asked && has_refcount_table(stream))
		ask_for_blocks(stream);
	if (!stream->l2_asked && has_l1(stream))
		ask_for_l2(stream);
	return 0;
}

int qcow2_vet_stream_feed(struct qcow2_vet_stream *stream, const void *data, size_t size,
			  struct qcow2_error *err)
{
	const uint8_t *bytes = data;
	struct qcow2_error unheard;
	size_t step;

	stream->vet.err = err ? err : &unheard;
	for (; size > 0 && !stream->decided; bytes += step, size -= step) {
		step = size < STEP_BYTES ? size : STEP_BYTES;
		q2_kept_take(&stream->kept, bytes, step);
		if (stream->kept.short_of_memory)
			return q2_fail_memory(err);
		q2_vet_tell(&stream->vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_FILE_SIZE,
						     .offset_bytes = QCOW2_NO_OFFSET,
						     .value = stream->kept.position},
			    "file");
		if (advance(stream))
			return -1;
		stream->decided = stream->vet.result.reasons > 0;
	}
	return stream->decided;
}

/* Vets what was kept as a file of the size that the stream had. */
static int judge_all(struct qcow2_vet_stream *stream, struct qcow2_vet_result *result,
		     struct qcow2_error *err)
{
	struct q2_vet vet = {.options = stream->options, .kept = &stream->kept, .err = err};
	int failed;

	vet.result.size = sizeof(vet.result);
	vet.result.file_size_bytes = stream->kept.position;
	if (open_source(stream, stream->kept.position, &vet.source, err))
		return -1;
	failed = q2_vet_look(&vet);
	qcow2_source_close(vet.source);
	*result = vet.result;
	return failed;
}

int qcow2_vet_stream_end(struct qcow2_vet_stream *stream, struct qcow2_vet_result *out,
			 struct qcow2_error *err)
{
	struct qcow2_vet_result result = stream->vet.result;
	struct qcow2_error unheard;

	if (q2_sized_check(out, err))
		return -1;
	if (!stream->decided && judge_all(stream, &result, err ? err : &unheard))
		return -1;
	result.file_size_bytes = stream->kept.position;
	q2_sized_give(out, &result, sizeof(result));
	return 0;
}
