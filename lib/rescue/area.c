/* SPDX-License-Identifier: MIT */
/* Decides extensions and names, and lays out the first bytes of the file. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "image/extensions.h"
#include "rescue/candidate.h"

#include <qcow2/features.h>
#include <qcow2/image.h>
#include <qcow2/limits.h>
#include <qcow2/text.h>

#define HEAD_BYTES             sizeof(struct qcow2_extension_header)
#define SAY(topic, confidence) ((struct q2_evidence_head){(topic), (confidence), false})
#define ASK(topic, confidence) ((struct q2_evidence_head){(topic), (confidence), true})
/* Names in evidence are cut after this. */
#define NAME_SHOWN 160

/* The extensions that the image gets, and the name of its backing file. */
struct area {
	struct q2_remain_extension extensions[Q2_EXTENSIONS_MOST + 4];
	size_t count;
	uint8_t crypto[sizeof(struct qcow2_crypto_extension)];
	uint8_t bitmaps[sizeof(struct qcow2_bitmaps_extension)];
};

static void add(struct area *area, uint32_t magic, struct qcow2_bytes data)
{
	if (area->count < sizeof(area->extensions) / sizeof(area->extensions[0]))
		area->extensions[area->count++] = (struct q2_remain_extension){magic, data};
}

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static int say_backing(const struct q2_deciding *deciding, unsigned sure, const char *from)
{
	char name[NAME_SHOWN];

	if (deciding->backing.size == 0)
		return q2_evidence_add(deciding->candidate, SAY(QCOW2_RESCUE_BACKING, sure),
				       deciding->err, "no backing file, %s", from);
	qcow2_text_escape(deciding->backing, name, sizeof(name));
	return q2_evidence_add(deciding->candidate,
			       (struct q2_evidence_head){QCOW2_RESCUE_BACKING, sure, sure < 70},
			       deciding->err, "backing file '%s', %s", name, from);
}

int q2_decide_backing(struct q2_deciding *deciding)
{
	const struct qcow2_rescue_options *options = deciding->options;
	const struct q2_remains *remains = &deciding->remains;

	if (options->backing_file) {
		deciding->backing = bytes_of(options->backing_file);
		return say_backing(deciding, 100, "as stated");
	}
	if (remains->backing.size > 0) {
		deciding->backing = remains->backing;
		return say_backing(deciding, remains->backing_certain ? 95 : 80,
				   "whose name is left in the first cluster");
	}
	if (options->like && qcow2_image_backing_name(options->like).size > 0) {
		deciding->backing = qcow2_image_backing_name(options->like);
		return say_backing(deciding, 60, "that of the sibling");
	}
	if (remains->has_header)
		return say_backing(deciding, 90, "as what is left of the header says");
	if (remains->has_extensions &&
	    !q2_remains_extension(remains, QCOW2_EXTENSION_BACKING_FORMAT))
		return say_backing(deciding, 80, "as nothing follows the header extensions");
	return q2_evidence_add(deciding->candidate, ASK(QCOW2_RESCUE_BACKING, 40), deciding->err,
			       "whether the image has a backing file is not known: if it has one, "
			       "state it");
}

/* The format of the backing file, if it has one. */
static int decide_format(struct q2_deciding *deciding, struct area *area)
{
	const struct qcow2_rescue_options *options = deciding->options;
	const struct qcow2_bytes *left =
		q2_remains_extension(&deciding->remains, QCOW2_EXTENSION_BACKING_FORMAT);
	struct qcow2_extension extension;

	if (deciding->backing.size == 0)
		return 0;
	if (options->backing_format) {
		if (*options->backing_format)
			add(area, QCOW2_EXTENSION_BACKING_FORMAT,
			    bytes_of(options->backing_format));
		return 0;
	}
	if (left) {
		add(area, QCOW2_EXTENSION_BACKING_FORMAT, *left);
		return 0;
	}
	if (options->like &&
	    q2_find_extension(options->like, QCOW2_EXTENSION_BACKING_FORMAT, &extension)) {
		add(area, QCOW2_EXTENSION_BACKING_FORMAT, extension.data);
		return 0;
	}
	return q2_evidence_add(deciding->candidate, ASK(QCOW2_RESCUE_BACKING, 40), deciding->err,
			       "the format of the backing file is not known: programs will guess "
			       "it from what is in there, so state it");
}

static int decide_data_file(struct q2_deciding *deciding, struct area *area)
{
	const struct qcow2_bytes *left =
		q2_remains_extension(&deciding->remains, QCOW2_EXTENSION_DATA_FILE);

	if (!deciding->options->data_file)
		return 0;
	if (*deciding->options->data_file)
		add(area, QCOW2_EXTENSION_DATA_FILE, bytes_of(deciding->options->data_file));
	else if (left)
		add(area, QCOW2_EXTENSION_DATA_FILE, *left);
	return q2_evidence_add(deciding->candidate, SAY(QCOW2_RESCUE_BACKING, 95), deciding->err,
			       "the guest's data is in an external data file");
}

static int decide_luks(struct q2_deciding *deciding, struct area *area)
{
	const struct q2_guess *guess = deciding->guess;
	const struct qcow2_crypto_extension crypto = {.offset = guess->luks_offset_bytes,
						      .length = guess->luks_length_bytes};

	if (guess->luks_length_bytes == 0)
		return 0;
	deciding->candidate->header.crypt_method = 2;
	qcow2_crypto_extension_encode(&crypto, area->crypto, sizeof(area->crypto));
	add(area, QCOW2_EXTENSION_CRYPTO,
	    (struct qcow2_bytes){area->crypto, qcow2_crypto_extension_structure.size_bytes});
	return q2_evidence_add(deciding->candidate, SAY(QCOW2_RESCUE_ENCRYPTION, 95), deciding->err,
			       "LUKS header at 0x%" PRIx64 ", in no cluster of the guest: the "
			       "image is encrypted",
			       guess->luks_offset_bytes);
}

static int decide_bitmaps(struct q2_deciding *deciding, struct area *area)
{
	const struct q2_guess_bitmaps *found = &deciding->guess->bitmaps;
	const struct qcow2_bitmaps_extension bitmaps = {
		.nb_bitmaps = found->count,
		.bitmap_directory_size = found->size_bytes,
		.bitmap_directory_offset = found->offset_bytes,
	};

	if (found->count == 0)
		return 0;
	qcow2_bitmaps_extension_encode(&bitmaps, area->bitmaps, sizeof(area->bitmaps));
	add(area, QCOW2_EXTENSION_BITMAPS,
	    (struct qcow2_bytes){area->bitmaps, qcow2_bitmaps_extension_structure.size_bytes});
	return q2_evidence_add(deciding->candidate, SAY(QCOW2_RESCUE_BITMAPS, 95), deciding->err,
			       "directory of %" PRIu32 " bitmap%s at 0x%" PRIx64
			       "; they are not to be trusted, so the bit that says so stays clear",
			       found->count, found->count == 1 ? "" : "s", found->offset_bytes);
}

/* Keeps extensions that say nothing of where things are. */
static void keep_others(const struct q2_remains *remains, struct area *area)
{
	for (size_t i = 0; i < remains->extension_count; i++) {
		uint32_t magic = remains->extensions[i].magic;

		if (magic != QCOW2_EXTENSION_BACKING_FORMAT && magic != QCOW2_EXTENSION_CRYPTO &&
		    magic != QCOW2_EXTENSION_BITMAPS && magic != QCOW2_EXTENSION_DATA_FILE)
			add(area, magic, remains->extensions[i].data);
	}
}

static size_t padded(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static size_t size_of(const struct q2_deciding *deciding, const struct area *area)
{
	size_t size =
		deciding->candidate->header.header_length + HEAD_BYTES + deciding->backing.size;

	for (size_t i = 0; i < area->count; i++)
		size += HEAD_BYTES + padded(area->extensions[i].data.size);
	return size;
}

static int lay_out(const struct q2_deciding *deciding, const struct area *area)
{
	struct q2_candidate *candidate = deciding->candidate;
	struct qcow2_error *err = deciding->err;
	struct qcow2_header *header = &candidate->header;
	size_t at = header->header_length;

	candidate->area_bytes = size_of(deciding, area);
	if (candidate->area_bytes > candidate->cluster_size_bytes)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the first cluster has no room for header, extensions and names");
	candidate->area = q2_alloc(candidate->area_bytes);
	if (!candidate->area)
		return q2_fail_memory(err);
	for (size_t i = 0; i < area->count; i++) {
		const struct q2_remain_extension *extension = &area->extensions[i];
		const struct qcow2_extension_header head = {extension->magic,
							    (uint32_t)extension->data.size};

		qcow2_extension_header_encode(&head, candidate->area + at, HEAD_BYTES);
		memcpy(candidate->area + at + HEAD_BYTES, extension->data.data,
		       extension->data.size);
		at += HEAD_BYTES + padded(extension->data.size);
	}
	at += HEAD_BYTES;
	if (deciding->backing.size > 0) {
		header->backing_file_offset = at;
		header->backing_file_size = (uint32_t)deciding->backing.size;
		memcpy(candidate->area + at, deciding->backing.data, deciding->backing.size);
	}
	qcow2_header_encode(header, candidate->area, header->header_length);
	return 0;
}

int q2_decide_area(struct q2_deciding *deciding)
{
	struct q2_candidate *candidate = deciding->candidate;
	struct qcow2_header *header = &candidate->header;
	struct area area = {.count = 0};

	if (decide_format(deciding, &area) || decide_data_file(deciding, &area) ||
	    decide_luks(deciding, &area) || decide_bitmaps(deciding, &area))
		return -1;
	keep_others(&deciding->remains, &area);
	header->header_length = header->version == 2 ? QCOW2_HEADER_V2_BYTES
						     : (uint32_t)sizeof(struct qcow2_header);
	if (deciding->remains.has_header && header->version == 3)
		header->compatible_features =
			deciding->remains.header.compatible_features & QCOW2_COMPATIBLE_KNOWN;
	/* Names of features are left out first where the cluster is small. */
	if (size_of(deciding, &area) > candidate->cluster_size_bytes)
		area.count -= area.count > 0;
	candidate->feature_names =
		header->version == 3 &&
		!q2_remains_extension(&deciding->remains, QCOW2_EXTENSION_FEATURE_NAMES);
	return lay_out(deciding, &area);
}
