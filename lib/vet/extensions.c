/* SPDX-License-Identifier: MIT */
/* Header extensions, whatever the feature bits say of them, and what hides behind their end. */
#include <stdio.h>
#include <string.h>

#include "format/extension_kind.h"
#include "image/extensions.h"
#include "vet/vet.h"

#define DATA_AT sizeof(struct qcow2_extension_header)
/* Where the fields end that are known; up to header_length, the rest is padding. */
#define FIELDS_END 105

static const struct {
	uint32_t magic;
	enum qcow2_vet_rule_number rule;
	bool is_name;
} told[] = {
	{QCOW2_EXTENSION_DATA_FILE, QCOW2_VET_RULE_DATA_FILE, true},
	{QCOW2_EXTENSION_CRYPTO, QCOW2_VET_RULE_ENCRYPTION, false},
};

static void tell_extension(struct q2_vet *vet, const struct qcow2_extension *extension)
{
	struct q2_vet_finding finding = {.offset_bytes = extension->offset_bytes,
					 .has_value = true,
					 .value = extension->header.magic};

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		if (told[i].magic != extension->header.magic)
			continue;
		finding.rule = told[i].rule;
		if (told[i].is_name)
			finding.name = extension->data;
		q2_vet_tell(vet, &finding, "extensions/%llu", (unsigned long long)extension->index);
	}
	finding.rule = QCOW2_VET_RULE_UNKNOWN_EXTENSION;
	if (!q2_extension_kind(extension->header.magic))
		q2_vet_tell(vet, &finding, "extensions/%llu", (unsigned long long)extension->index);
}

/* Names that programs show: a NUL at the end of a feature's name fills it up. */
static void tell_feature_names(struct q2_vet *vet, const struct qcow2_extension *extension)
{
	struct qcow2_bytes row = extension->data, name;
	char field[64];

	for (size_t i = 0; row.size >= 48; i++, row.data += 48, row.size -= 48) {
		name = (struct qcow2_bytes){row.data + 2, 46};
		while (name.size > 0 && name.data[name.size - 1] == 0)
			name.size--;
		snprintf(field, sizeof(field), "extensions/%llu/feature-names/%zu",
			 (unsigned long long)extension->index, i);
		q2_vet_tell_name(vet, name, extension->offset_bytes + DATA_AT + i * 48 + 2, field);
	}
}

static void tell_texts(struct q2_vet *vet, const struct qcow2_extension *extension)
{
	char field[64];

	snprintf(field, sizeof(field), "extensions/%llu/text",
		 (unsigned long long)extension->index);
	if (extension->header.magic == QCOW2_EXTENSION_DATA_FILE ||
	    extension->header.magic == QCOW2_EXTENSION_BACKING_FORMAT)
		q2_vet_tell_name(vet, extension->data, extension->offset_bytes + DATA_AT, field);
	if (extension->header.magic == QCOW2_EXTENSION_FEATURE_NAMES)
		tell_feature_names(vet, extension);
}

/* Tells the first byte that is not zero in a part of the first cluster. */
static void tell_hidden(struct q2_vet *vet, uint64_t begin, uint64_t end)
{
	struct qcow2_bytes first = qcow2_image_first_cluster(vet->image);
	uint64_t at = begin;

	if (end > first.size)
		end = first.size;
	/* Nearly always all of it is zeros, which is quickly seen. */
	if (at >= end || (first.data[at] == 0 && memcmp(first.data + at, first.data + at + 1,
							(size_t)(end - at - 1)) == 0))
		return;
	while (at < end && first.data[at] == 0)
		at++;
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_HIDDEN_BYTES,
					     .offset_bytes = at,
					     .has_value = true,
					     .value = first.data[at]},
		    "header");
}

void q2_vet_extensions(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	struct qcow2_bytes name = qcow2_image_backing_name(vet->image);
	struct qcow2_extension extension;
	struct q2_extensions it;
	uint64_t end;

	q2_extensions_begin(vet->image, &it);
	while (q2_extensions_next(&it, &extension)) {
		tell_extension(vet, &extension);
		tell_texts(vet, &extension);
	}
	if (!vet->geometry)
		return;
	/* A later version may define fields here, or another reader see extensions. */
	if (h->version >= 3)
		tell_hidden(vet, FIELDS_END, h->header_length);
	end = it.at_bytes + (it.terminated ? DATA_AT : 0);
	if (name.size == 0) {
		tell_hidden(vet, end, vet->geometry->cluster_size_bytes);
		return;
	}
	tell_hidden(vet, end, h->backing_file_offset);
	tell_hidden(vet, h->backing_file_offset + name.size, vet->geometry->cluster_size_bytes);
}
