/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes locating: the input is an image. Parts and pieces leave no gaps, a piece's owners are those
 * that a walk through the claims tells for its bytes, and data found from the guest is owned by the
 * entry that led there. Fields hold the byte that was asked for.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#define IMAGE_MOST  ((size_t)1 << 17)
#define PARTS_MOST  2000
#define PIECES_MOST 500
#define PROBES      4
#define FIELDS      4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

/* ---- owners, counted once more ---- */

struct counting {
	uint64_t start, last;
	uint64_t weight;
};

static int count(void *opaque, const struct qcow2_claim *claim)
{
	struct counting *counting = opaque;
	uint64_t last = claim->offset_bytes + (claim->length_bytes - 1);

	if (claim->length_bytes == 0)
		return 0;
	if (last < claim->offset_bytes)
		last = UINT64_MAX;
	if (claim->offset_bytes <= counting->last && last >= counting->start)
		counting->weight += claim->weight;
	return 0;
}

static int take_field(void *opaque, const char *where, const struct qcow2_value *value)
{
	const uint64_t byte = *(const uint64_t *)opaque;
	const size_t size = value->raw.size > 0 ? value->raw.size : 1;

	demand(where[0] != '\0' && strlen(where) < QCOW2_FIELD_WHERE_MAX);
	demand(byte >= value->offset_bytes && byte - value->offset_bytes < size);
	return 0;
}

static void judge_owner(const struct qcow2_image *image, const struct qcow2_piece *piece,
			const struct qcow2_claim *owner, unsigned *fields)
{
	const uint64_t last = piece->start.byte + (piece->length_bytes - 1);
	char where[QCOW2_CLAIM_WHERE_MAX];
	struct qcow2_error err;
	uint64_t byte = piece->start.byte;

	demand(owner->weight == 1 && qcow2_claim_part_name(owner->part) != NULL);
	demand(qcow2_claim_where(owner, where, sizeof(where))[0] != '\0');
	demand(!owner->has_guest || owner->guest_length_bytes > 0);
	if (piece->unclaimed)
		return;
	demand(owner->offset_bytes <= last);
	if (byte < owner->offset_bytes)
		byte = owner->offset_bytes;
	if ((*fields)++ < FIELDS)
		demand(qcow2_field_find(image, owner, (struct qcow2_host){byte}, take_field, &byte,
					&err) >= -1);
}

static void judge_piece(const struct qcow2_image *image, const struct qcow2_piece *piece,
			unsigned *fields)
{
	const uint64_t size = qcow2_image_geometry(image)->file_size_bytes;

	demand(qcow2_piece_state_name(piece->state) != NULL && piece->length_bytes > 0);
	demand((piece->state == QCOW2_PIECE_BEYOND_END) == (piece->start.byte >= size));
	demand(piece->state != QCOW2_PIECE_USED || piece->owner_count > 0);
	demand(piece->owner_count == 0 || piece->state == QCOW2_PIECE_USED ||
	       piece->state == QCOW2_PIECE_BEYOND_END);
	demand(piece->owner_count <= piece->owners_total);
	demand(piece->refcount->known || piece->refcount->refcount == 0);
	demand(piece->state != QCOW2_PIECE_LEAKED || piece->refcount->refcount > 0);
	for (size_t i = 0; i < piece->owner_count; i++)
		judge_owner(image, piece, piece->owners[i], fields);
}

/* Asks for one byte: as many owners as the claims tell. L1 tables that overlap count once there. */
static void probe_piece(const struct qcow2_image *image, struct qcow2_pieces *pieces, uint64_t byte)
{
	struct counting counting = {byte, byte, 0};
	const struct qcow2_piece *piece;
	struct qcow2_error err;

	qcow2_pieces_seek(pieces, (struct qcow2_host){byte}, 1);
	if (qcow2_claims_walk(image, NULL, count, &counting, &err) ||
	    qcow2_pieces_next(pieces, &piece, &err) < 0)
		return;
	demand(piece->start.byte == byte && piece->length_bytes == 1);
	if (piece->unclaimed || piece->owner_count == 0)
		demand(counting.weight == 0);
	else
		demand(piece->owners_total >= counting.weight && counting.weight > 0);
	demand(qcow2_pieces_next(pieces, &piece, &err) == 0);
}

static void judge_pieces(const struct qcow2_image *image, struct qcow2_pieces *pieces)
{
	const uint64_t size = qcow2_image_geometry(image)->file_size_bytes, end = size + 100000;
	const struct qcow2_piece *piece;
	struct qcow2_error err;
	uint64_t at = size / 3;
	unsigned fields = 0, told = 0;
	int more;

	qcow2_pieces_seek(pieces, (struct qcow2_host){at}, end - at);
	while ((more = qcow2_pieces_next(pieces, &piece, &err)) > 0 && told++ < PIECES_MOST) {
		demand(piece->start.byte == at);
		judge_piece(image, piece, &fields);
		at += piece->length_bytes;
	}
	demand(more != 0 || at == end);
	for (unsigned i = 0; i < PROBES; i++)
		probe_piece(image, pieces, size * i / PROBES + i * 24);
}

/* ---- paths ---- */

/* Data of the guest has the L2 entry that led there among its owners. */
static void demand_owner(struct qcow2_pieces *pieces, const struct qcow2_path *path,
			 const struct qcow2_snapshot *snapshot)
{
	const struct qcow2_piece *piece;
	struct qcow2_error err;
	bool found = false;

	qcow2_pieces_seek(pieces, path->extent->host, 1);
	if (qcow2_pieces_next(pieces, &piece, &err) < 0)
		return;
	for (size_t i = 0; i < piece->owner_count; i++) {
		const struct qcow2_claim *owner = piece->owners[i];

		found |= owner->part == QCOW2_CLAIM_DATA && owner->index == path->l1_index &&
			 owner->entry == path->l2_index &&
			 (owner->part_of == QCOW2_PART_OF_SNAPSHOT) == (snapshot != NULL) &&
			 (!snapshot || owner->part_of_index == snapshot->index);
	}
	demand(found || piece->owners_total > piece->owner_count);
}

static void judge_path(const struct qcow2_image *image, const struct qcow2_path *path)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(image);
	const struct qcow2_mapping_extent *e = path->extent;

	demand(e->length_bytes > 0 && path->subcluster < 32);
	demand(path->l2_index < geometry->l2_entries);
	demand(path->l2_table.byte == QCOW2_NO_OFFSET ||
	       path->l2_table.byte < geometry->file_size_bytes);
	demand((path->refcount != NULL) ==
	       (e->host.byte != QCOW2_NO_OFFSET && !geometry->data_file));
	demand(e->host.byte == QCOW2_NO_OFFSET || path->l2_table.byte != QCOW2_NO_OFFSET);
	if (path->l2_table.byte != QCOW2_NO_OFFSET)
		demand(e->entry_at.byte == QCOW2_NO_OFFSET ||
		       e->entry_at.byte ==
			       path->l2_table.byte + path->l2_index * geometry->l2_entry_bytes);
}

static void judge_paths(const struct qcow2_image *image, struct qcow2_pieces *pieces,
			const struct qcow2_snapshot *snapshot)
{
	const struct qcow2_path *path;
	struct qcow2_paths *paths;
	struct qcow2_error err;
	unsigned told = 0, probes = 0;
	uint64_t at = 0;
	int more;

	if (qcow2_paths_open(image, snapshot, &paths, &err))
		return;
	qcow2_paths_seek(paths, (struct qcow2_guest){0}, UINT64_MAX);
	while ((more = qcow2_paths_next(paths, &path, &err)) > 0 && told++ < PARTS_MOST) {
		demand(path->extent->start.byte == at);
		demand(path->past_end == (qcow2_paths_size_bytes(paths) == 0));
		judge_path(image, path);
		at += path->extent->length_bytes;
		if (path->refcount && probes++ < PROBES)
			demand_owner(pieces, path, snapshot);
	}
	demand(more != 0 || qcow2_paths_size_bytes(paths) == 0 ||
	       at == qcow2_paths_size_bytes(paths));
	qcow2_paths_close(paths);
}

static void judge(const struct qcow2_image *image)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct qcow2_pieces *pieces;
	struct qcow2_error err;

	if (qcow2_pieces_open(image, NULL, &pieces, &err))
		return;
	judge_pieces(image, pieces);
	judge_paths(image, pieces, NULL);
	if (qcow2_snapshots_open(image, &snapshots, &err) == 0) {
		if (qcow2_snapshots_next(snapshots, &snapshot, &err) > 0)
			judge_paths(image, pieces, snapshot);
		qcow2_snapshots_close(snapshots);
	}
	qcow2_pieces_close(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (size > IMAGE_MOST)
		return 0;
	demand(qcow2_source_from_memory(data, size, &source, &err) == 0);
	if (qcow2_image_open(source, &image, &err) == 0) {
		judge(image);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
