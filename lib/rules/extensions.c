/* SPDX-License-Identifier: MIT */
/*
 * The rules of header extensions: each by itself, duplicates, and what must or must not be there. A
 * type that is not known breaks no rule: programs have to skip it ("Header extensions").
 */
#include <qcow2/limits.h>

#include "rules/rules.h"

#include "base/utf8.h"
#include "format/extension_kind.h"
#include "image/extensions.h"

#include <stdio.h>

#define FEATURE_NAME_BYTES sizeof(struct qcow2_feature_name)
/* Where a field is, counted from the magic of its extension; data follows magic and length. */
#define LENGTH_AT        offsetof(struct qcow2_extension_header, length)
#define DATA_AT          sizeof(struct qcow2_extension_header)
#define AT(type, field)  (DATA_AT + offsetof(struct qcow2_##type, field))
#define HEADER_AT(field) offsetof(struct qcow2_header, field)
/*
 * The most unknown types among which duplicates are found: an extension takes 8 bytes, so that a
 * cluster of 2 MiB may have 262,144 types.
 */
#define UNKNOWN_TYPES_MAX 256

/* What has been seen so far, and who wants to know. */
struct seen {
	const struct qcow2_image *image;
	const struct q2_reporter *reporter;
	bool known[Q2_EXTENSION_COUNT];
	uint32_t unknown[UNKNOWN_TYPES_MAX];
	size_t unknown_count;
};

/*
 * finding.offset_bytes counts from the magic of the extension; field is the path of what lies there
 * below that of the extension, or "".
 */
static void complain(const struct seen *seen, const struct qcow2_extension *extension,
		     struct q2_finding finding, const char *field)
{
	const struct q2_disk disk = {.size_bytes = qcow2_image_header(seen->image)->size};

	q2_concern_disk(&finding, &disk);
	finding.offset_bytes += extension->offset_bytes;
	q2_report(seen->reporter, &finding, "extensions/%llu%s%s",
		  (unsigned long long)extension->index, field[0] ? "/" : "", field);
}

/* The length must be that of the fields; the struct in C may be padded at its end. */
static void rule_length(const struct seen *seen, const struct qcow2_extension *extension,
			const struct qcow2_structure *structure)
{
	if (extension->header.length != structure->size_bytes)
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_EXTENSION_LENGTH,
					     .offset_bytes = LENGTH_AT,
					     .has_found = true,
					     .found = extension->header.length,
					     .expectation = QCOW2_EXPECT_VALUE,
					     .expected = structure->size_bytes},
			 "length");
}

static void rule_text(const struct seen *seen, const struct qcow2_extension *extension)
{
	if (!q2_utf8_printable(extension->data))
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_EXTENSION_TEXT,
					     .offset_bytes = DATA_AT,
					     .found_text = extension->data},
			 "text");
}

/* The entry of a feature name table at `at` in the extension's data. */
static void rule_feature_name(const struct seen *seen, const struct qcow2_extension *extension,
			      size_t at)
{
	struct qcow2_feature_name fields;
	struct q2_finding finding = {.id = QCOW2_PROBLEM_FEATURE_NAME_ENTRY,
				     .has_found = true,
				     .expectation = QCOW2_EXPECT_AT_MOST};
	char field[64];
	bool type_ok;

	qcow2_feature_name_decode(&fields, extension->data.data + at, FEATURE_NAME_BYTES);
	type_ok = fields.type <= QCOW2_LIMIT_FEATURE_TYPE_MAX;
	if (type_ok && fields.bit <= QCOW2_LIMIT_FEATURE_BIT_MAX)
		return;
	finding.offset_bytes = at + (type_ok ? AT(feature_name, bit) : AT(feature_name, type));
	finding.found = type_ok ? fields.bit : fields.type;
	finding.expected = type_ok ? QCOW2_LIMIT_FEATURE_BIT_MAX : QCOW2_LIMIT_FEATURE_TYPE_MAX;
	snprintf(field, sizeof(field), "feature-names/%zu/%s", at / FEATURE_NAME_BYTES,
		 type_ok ? "bit" : "type");
	complain(seen, extension, finding, field);
}

static void rule_feature_names(const struct seen *seen, const struct qcow2_extension *extension)
{
	struct qcow2_bytes data = extension->data;

	if (extension->header.length % FEATURE_NAME_BYTES != 0)
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_FEATURE_NAME_LENGTH,
					     .offset_bytes = LENGTH_AT,
					     .has_found = true,
					     .found = extension->header.length,
					     .expectation = QCOW2_EXPECT_MULTIPLE_OF,
					     .expected = FEATURE_NAME_BYTES},
			 "length");
	for (size_t at = 0; data.size - at >= FEATURE_NAME_BYTES; at += FEATURE_NAME_BYTES)
		rule_feature_name(seen, extension, at);
}

static void rule_backing_format(const struct seen *seen, const struct qcow2_extension *extension)
{
	if (extension->header.length > QCOW2_LIMIT_QEMU_BACKING_FORMAT_BYTES)
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_BACKING_FORMAT_LENGTH,
					     .offset_bytes = LENGTH_AT,
					     .has_found = true,
					     .found = extension->header.length,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = QCOW2_LIMIT_QEMU_BACKING_FORMAT_BYTES},
			 "length");
	if (qcow2_image_header(seen->image)->backing_file_offset == 0)
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_BACKING_FORMAT_WITHOUT_BACKING},
			 "");
	rule_text(seen, extension);
}

static void rule_crypto(const struct seen *seen, const struct qcow2_extension *extension)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(seen->image);
	struct qcow2_crypto_extension crypto;
	struct q2_finding finding = {.offset_bytes = AT(crypto_extension, offset),
				     .has_found = true};

	rule_length(seen, extension, &qcow2_crypto_extension_structure);
	if (qcow2_image_header(seen->image)->crypt_method != 2)
		complain(seen, extension, (struct q2_finding){.id = QCOW2_PROBLEM_CRYPTO_SURPLUS},
			 "");
	if (extension->data.size < sizeof(crypto) || !geometry)
		return;
	qcow2_crypto_extension_decode(&crypto, extension->data.data, extension->data.size);
	finding.found = crypto.offset;
	if (crypto.offset == 0 || crypto.offset % geometry->cluster_size_bytes != 0) {
		finding.id = QCOW2_PROBLEM_CRYPTO_OFFSET;
		finding.expectation = QCOW2_EXPECT_MULTIPLE_OF;
		finding.expected = geometry->cluster_size_bytes;
		complain(seen, extension, finding, "data/offset");
	}
	if (q2_passes_end(geometry, crypto.offset, crypto.length)) {
		finding.id = QCOW2_PROBLEM_CRYPTO_BEYOND_END;
		q2_expect_inside(&finding, geometry, crypto.length);
		complain(seen, extension, finding, "data/offset");
	}
}

static void rule_data_file(const struct seen *seen, const struct qcow2_extension *extension)
{
	uint64_t features = qcow2_image_header(seen->image)->incompatible_features;

	if (!(features & QCOW2_INCOMPATIBLE_DATA_FILE))
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_DATA_FILE_WITHOUT_BIT}, "");
	rule_text(seen, extension);
}

/* The numbers of the bitmaps extension that need no geometry. */
static void rule_bitmaps_numbers(const struct seen *seen, const struct qcow2_extension *extension,
				 const struct qcow2_bitmaps_extension *bitmaps)
{
	struct q2_finding finding = {.offset_bytes = AT(bitmaps_extension, nb_bitmaps),
				     .has_found = true,
				     .found = bitmaps->nb_bitmaps};

	/* An image without bitmaps has no bitmaps extension. */
	if (bitmaps->nb_bitmaps == 0) {
		finding.id = QCOW2_PROBLEM_BITMAPS_COUNT;
		finding.expectation = QCOW2_EXPECT_AT_LEAST;
		finding.expected = 1;
		complain(seen, extension, finding, "data/nb_bitmaps");
	}
	if (bitmaps->nb_bitmaps > QCOW2_LIMIT_QEMU_BITMAPS) {
		finding.id = QCOW2_PROBLEM_BITMAPS_COUNT_QEMU;
		finding.expectation = QCOW2_EXPECT_AT_MOST;
		finding.expected = QCOW2_LIMIT_QEMU_BITMAPS;
		complain(seen, extension, finding, "data/nb_bitmaps");
	}
	if (bitmaps->reserved32 != 0) {
		finding.id = QCOW2_PROBLEM_BITMAPS_RESERVED;
		finding.offset_bytes = AT(bitmaps_extension, reserved32);
		finding.found = bitmaps->reserved32;
		finding.expectation = QCOW2_EXPECT_VALUE;
		finding.expected = 0;
		complain(seen, extension, finding, "data/reserved32");
	}
}

/* Where the bitmap directory is: aligned, not in the header's cluster, and inside the file. */
static void rule_directory_place(const struct seen *seen, const struct qcow2_extension *extension,
				 const struct qcow2_bitmaps_extension *bitmaps)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(seen->image);
	uint64_t offset = bitmaps->bitmap_directory_offset;
	struct q2_finding finding = {.id = QCOW2_PROBLEM_BITMAP_DIRECTORY_OFFSET,
				     .offset_bytes = AT(bitmaps_extension, bitmap_directory_offset),
				     .has_found = true,
				     .found = offset,
				     .expectation = QCOW2_EXPECT_MULTIPLE_OF,
				     .expected = geometry->cluster_size_bytes};

	if (offset == 0 || offset % geometry->cluster_size_bytes != 0)
		complain(seen, extension, finding, "data/bitmap_directory_offset");
	if (q2_passes_end(geometry, offset, bitmaps->bitmap_directory_size)) {
		finding.id = QCOW2_PROBLEM_BITMAP_DIRECTORY_BEYOND_END;
		q2_expect_inside(&finding, geometry, bitmaps->bitmap_directory_size);
		complain(seen, extension, finding, "data/bitmap_directory_offset");
	}
}

static void rule_bitmaps(const struct seen *seen, const struct qcow2_extension *extension)
{
	const struct qcow2_header *h = qcow2_image_header(seen->image);
	struct qcow2_bitmaps_extension bitmaps;

	rule_length(seen, extension, &qcow2_bitmaps_extension_structure);
	/* Whoever cleared the bit did not keep up what follows, and nobody may use it. */
	if (!(h->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS)) {
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_BITMAPS_INCONSISTENT}, "");
		return;
	}
	if (extension->data.size < sizeof(bitmaps))
		return;
	qcow2_bitmaps_extension_decode(&bitmaps, extension->data.data, extension->data.size);
	rule_bitmaps_numbers(seen, extension, &bitmaps);
	if (qcow2_image_geometry(seen->image))
		rule_directory_place(seen, extension, &bitmaps);
	if (bitmaps.bitmap_directory_size > QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES)
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_BITMAP_DIRECTORY_SIZE_QEMU,
					     .offset_bytes =
						     AT(bitmaps_extension, bitmap_directory_size),
					     .has_found = true,
					     .found = bitmaps.bitmap_directory_size,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = QCOW2_LIMIT_QEMU_BITMAP_DIRECTORY_BYTES},
			 "data/bitmap_directory_size");
}

/* The rules of each kind. */
static void (*const rules[Q2_EXTENSION_COUNT])(const struct seen *seen,
					       const struct qcow2_extension *extension) = {
	[Q2_EXTENSION_BACKING_FORMAT] = rule_backing_format,
	[Q2_EXTENSION_FEATURE_NAMES] = rule_feature_names,
	[Q2_EXTENSION_BITMAPS] = rule_bitmaps,
	[Q2_EXTENSION_CRYPTO] = rule_crypto,
	[Q2_EXTENSION_DATA_FILE] = rule_data_file,
};

/* Notes a type of extension; true if it was there before. */
static bool note(struct seen *seen, uint32_t magic)
{
	const struct q2_extension_kind *kind = q2_extension_kind(magic);

	if (kind) {
		bool before = seen->known[kind->id];

		seen->known[kind->id] = true;
		return before;
	}
	for (size_t i = 0; i < seen->unknown_count; i++)
		if (seen->unknown[i] == magic)
			return true;
	if (seen->unknown_count < UNKNOWN_TYPES_MAX)
		seen->unknown[seen->unknown_count++] = magic;
	return false;
}

static void rule_extension(struct seen *seen, const struct qcow2_extension *extension)
{
	const struct q2_extension_kind *kind = q2_extension_kind(extension->header.magic);

	if (extension->cut)
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_EXTENSION_OVERRUN,
					     .offset_bytes = LENGTH_AT,
					     .has_found = true,
					     .found = extension->header.length,
					     .expectation = QCOW2_EXPECT_AT_MOST,
					     .expected = extension->data.size},
			 "length");
	if (note(seen, extension->header.magic))
		complain(seen, extension,
			 (struct q2_finding){.id = QCOW2_PROBLEM_EXTENSION_DUPLICATE,
					     .has_found = true,
					     .found = extension->header.magic},
			 "magic");
	if (kind && rules[kind->id])
		rules[kind->id](seen, extension);
}

/*
 * The end mark is an extension of type 0. It has a length, too, which QEMU holds to the same bounds
 * as any other.
 */
static void rule_end_mark(const struct q2_extensions *it, const struct q2_reporter *reporter)
{
	struct qcow2_bytes first = qcow2_image_first_cluster(it->image);
	uint64_t room = it->end_bytes - it->at_bytes - DATA_AT;
	struct qcow2_extension_header mark;

	if (!it->terminated)
		return;
	qcow2_extension_header_decode(&mark, first.data + it->at_bytes, DATA_AT);
	if (mark.length > room)
		q2_report(reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_EXTENSION_OVERRUN,
					       .offset_bytes = it->at_bytes + LENGTH_AT,
					       .has_found = true,
					       .found = mark.length,
					       .expectation = QCOW2_EXPECT_AT_MOST,
					       .expected = room},
			  "extensions/%llu/length", (unsigned long long)it->next_index);
}

/* Extensions that the header's bits and crypt_method demand. */
static void rule_missing(const struct seen *seen)
{
	const struct qcow2_header *h = qcow2_image_header(seen->image);
	const struct q2_disk disk = {.size_bytes = h->size};

	if ((h->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) && !seen->known[Q2_EXTENSION_BITMAPS])
		q2_report(
			seen->reporter,
			&(struct q2_finding){.id = QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION,
					     .offset_bytes = HEADER_AT(autoclear_features),
					     .has_found = true,
					     .found = h->autoclear_features},
			"header/autoclear_features");
	if (h->crypt_method == 2 && !seen->known[Q2_EXTENSION_CRYPTO])
		q2_report(seen->reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_CRYPTO_MISSING,
					       .offset_bytes = HEADER_AT(crypt_method),
					       .has_found = true,
					       .found = h->crypt_method,
					       .disk = &disk,
					       .guest = {0, h->size}},
			  "header/crypt_method");
	if ((h->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) &&
	    !seen->known[Q2_EXTENSION_DATA_FILE])
		q2_report(seen->reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_DATA_FILE_NAME_MISSING,
					       .offset_bytes = HEADER_AT(incompatible_features),
					       .has_found = true,
					       .found = h->incompatible_features},
			  "header/incompatible_features");
}

void q2_rules_extensions(const struct qcow2_image *image, const struct q2_reporter *reporter)
{
	struct seen seen = {.image = image, .reporter = reporter};
	struct q2_extensions it;
	struct qcow2_extension extension;
	bool cut = false;

	q2_extensions_begin(image, &it);
	while (q2_extensions_next(&it, &extension)) {
		rule_extension(&seen, &extension);
		cut = extension.cut;
	}
	/* An area that is full to its last byte has no room for an end mark and needs none. */
	if (!it.terminated && !cut && it.at_bytes < it.end_bytes)
		q2_report(reporter,
			  &(struct q2_finding){.id = QCOW2_PROBLEM_EXTENSION_UNTERMINATED,
					       .offset_bytes = it.at_bytes},
			  "extensions");
	rule_end_mark(&it, reporter);
	rule_missing(&seen);
}
