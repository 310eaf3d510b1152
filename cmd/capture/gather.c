/* SPDX-License-Identifier: MIT */
/*
 * See gather.h. What the image claims (claims.h) is the metadata. Of two lists whose entries have
 * any size, only the entries are taken, as a damaged length would make guest data of them.
 */
#include "capture/gather.h"

#include <qcow2/claims.h>
#include <qcow2/extension.h>
#include <qcow2/features.h>
#include <qcow2/geometry.h>

/* ---- the header alone ---- */

/*
 * Takes the header, its extensions and the backing file's name, and nothing behind them: where the
 * cluster size is not known, guest data may follow.
 */
static int gather_header(const struct qcow2_image *image, struct capture_content *content,
			 struct qcow2_error *err)
{
	const struct qcow2_header *header = qcow2_image_header(image);
	const struct qcow2_bytes first = qcow2_image_first_cluster(image);
	const struct qcow2_bytes name = qcow2_image_backing_name(image);
	const struct qcow2_extension *extension;
	struct qcow2_extensions *extensions;
	uint64_t end;

	if (qcow2_extensions_open(image, &extensions, err))
		return -1;
	while (qcow2_extensions_next(extensions, &extension))
		;
	end = qcow2_extensions_at_bytes(extensions);
	if (qcow2_extensions_terminated(extensions))
		end += sizeof(struct qcow2_extension_header);
	qcow2_extensions_close(extensions);
	if (end < sizeof(struct qcow2_header))
		end = sizeof(struct qcow2_header);
	capture_ranges_add(&content->metadata, 0, end, first.size);
	if (name.size > 0)
		capture_ranges_add(&content->metadata, header->backing_file_offset, name.size,
				   first.size);
	return 0;
}

/* ---- claims ---- */

struct hearing {
	struct capture_content *content;
	const struct capture_wanted *wanted;
	uint64_t file_size_bytes, cluster_size_bytes;
};

static int hear_data(const struct hearing *hearing, const struct qcow2_claim *claim)
{
	struct capture_content *content = hearing->content;

	if (hearing->wanted->compressed && claim->use == QCOW2_USE_COMPRESSED)
		capture_ranges_add(&content->compressed, claim->offset_bytes, claim->length_bytes,
				   hearing->file_size_bytes);
	if (hearing->wanted->data)
		capture_ranges_add(&content->data, claim->offset_bytes, claim->length_bytes,
				   hearing->file_size_bytes);
	return content->compressed.failed || content->data.failed;
}

static int hear_claim(void *opaque, const struct qcow2_claim *claim)
{
	const struct hearing *hearing = opaque;
	struct capture_ranges *metadata = &hearing->content->metadata;

	switch (claim->part) {
	case QCOW2_CLAIM_DATA:
		return hear_data(hearing, claim);
	case QCOW2_CLAIM_LUKS:             /* capture_gather_luks() */
	case QCOW2_CLAIM_SNAPSHOT_TABLE:   /* capture_gather_entries() */
	case QCOW2_CLAIM_BITMAP_DIRECTORY: /* likewise */
		return 0;
	default:
		if (claim->part != QCOW2_CLAIM_HEADER)
			capture_ranges_add(&hearing->content->tables_in_header, claim->offset_bytes,
					   claim->length_bytes, hearing->cluster_size_bytes);
		capture_ranges_add(metadata, claim->offset_bytes, claim->length_bytes,
				   hearing->file_size_bytes);
		return metadata->failed || hearing->content->tables_in_header.failed;
	}
}

static int gather_claims(const struct qcow2_image *image, const struct capture_wanted *wanted,
			 struct capture_content *content, struct qcow2_error *err)
{
	const struct qcow2_claims_options how = {
		.size = sizeof(how),
		.without_data = !wanted->compressed && !wanted->data,
	};
	struct hearing hearing = {
		.content = content,
		.wanted = wanted,
		.file_size_bytes = qcow2_source_size_bytes(qcow2_image_source(image)),
		.cluster_size_bytes = qcow2_image_geometry(image)->cluster_size_bytes,
	};

	if (qcow2_claims_walk(image, &how, hear_claim, &hearing, err) == 0)
		return 0;
	return err->code == QCOW2_ERROR_STOPPED
		       ? capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory")
		       : -1;
}

/* ---- all ---- */

/* NULL, or why tables cannot be looked for. */
static const char *tables_unknown(const struct qcow2_image *image)
{
	if (!qcow2_image_geometry(image))
		return "its cluster size or the width of its refcounts is impossible";
	if (qcow2_image_header(image)->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN)
		return "it has incompatible features that are not known here";
	return NULL;
}

static int settle(struct capture_content *content, struct qcow2_error *err)
{
	struct capture_ranges *all[] = {&content->metadata, &content->compressed,
					&content->data,     &content->keys,
					&content->marks,    &content->tables_in_header};
	bool failed = false;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		capture_ranges_settle(all[i]);
	/* Keys come first: bytes that a damaged table claims stay keys. */
	capture_ranges_take_away(&content->metadata, &content->keys);
	capture_ranges_take_away(&content->compressed, &content->keys);
	capture_ranges_take_away(&content->compressed, &content->metadata);
	capture_ranges_take_away(&content->marks, &content->keys);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		failed |= all[i]->failed;
	return failed ? capture_fail(err, QCOW2_ERROR_MEMORY, "out of memory") : 0;
}

int capture_gather(const struct qcow2_image *image, const struct capture_wanted *wanted,
		   struct capture_content *content, struct qcow2_error *err)
{
	content->header_alone = tables_unknown(image);
	if (content->header_alone)
		return gather_header(image, content, err) || settle(content, err) ? -1 : 0;
	if (gather_claims(image, wanted, content, err) ||
	    capture_gather_entries(image, content, err) ||
	    capture_gather_luks(image, wanted, content, err))
		return -1;
	capture_ranges_settle(&content->metadata);
	if (wanted->leaks && capture_gather_leaks(image, wanted, content, err))
		return -1;
	return settle(content, err);
}

void capture_content_release(struct capture_content *content)
{
	capture_ranges_release(&content->metadata);
	capture_ranges_release(&content->compressed);
	capture_ranges_release(&content->data);
	capture_ranges_release(&content->keys);
	capture_ranges_release(&content->marks);
	capture_ranges_release(&content->tables_in_header);
}
