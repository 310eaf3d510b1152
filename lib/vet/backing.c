/* SPDX-License-Identifier: MIT */
/* The names of the backing file and of the image: what programs would open for them. */
#include <stddef.h>
#include <string.h>

#include "image/extensions.h"
#include "source/below.h"
#include "vet/vet.h"

#define AT(field) offsetof(struct qcow2_header, field)

static bool is_text(struct qcow2_bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/*
 * QEMU takes what stands before the first colon for a protocol, unless there is a slash in front of
 * it.
 */
static bool has_protocol(struct qcow2_bytes name)
{
	const uint8_t *colon = memchr(name.data, ':', name.size);
	const uint8_t *slash = memchr(name.data, '/', name.size);

	return colon && (!slash || colon < slash);
}

/* A path that stays below the folder: no part of it is empty, "." or "..". A "./" in front is fine. */
static bool is_below(struct qcow2_bytes name)
{
	const uint8_t *at = name.data, *end = name.data + name.size, *slash;
	struct qcow2_bytes part;

	if (name.size > 2 && at[0] == '.' && at[1] == '/')
		at += 2;
	if (at == end)
		return false;
	for (;; at = slash + 1) {
		slash = memchr(at, '/', (size_t)(end - at));
		part = (struct qcow2_bytes){at, (size_t)((slash ? slash : end) - at)};
		if (part.size == 0 || is_text(part, ".") || is_text(part, "..") ||
		    memchr(part.data, 0, part.size))
			return false;
		if (!slash)
			return true;
	}
}

static void tell(struct q2_vet *vet, enum qcow2_vet_rule_number rule, struct qcow2_bytes name,
		 const char *detail)
{
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = rule,
					     .offset_bytes = vet->header->backing_file_offset,
					     .name = name,
					     .detail = detail},
		    "backing_file/name");
}

/* QEMU would open an image that is its own backing file again and again. */
static void tell_kind(struct q2_vet *vet, struct qcow2_bytes name)
{
	enum q2_below kind = q2_source_look_below(vet->options.folder, name, vet->options.file);

	if (kind == Q2_BELOW_ITSELF)
		tell(vet, QCOW2_VET_RULE_BACKING_KIND, name, "it is the image itself");
	else if (kind == Q2_BELOW_OTHER)
		tell(vet, QCOW2_VET_RULE_BACKING_KIND, name, NULL);
}

static void tell_format(struct q2_vet *vet)
{
	struct qcow2_extension extension;
	struct q2_vet_finding finding = {.rule = QCOW2_VET_RULE_BACKING_FORMAT,
					 .offset_bytes = QCOW2_NO_OFFSET};

	if (!q2_find_extension(vet->image, QCOW2_EXTENSION_BACKING_FORMAT, &extension)) {
		finding.detail = "no format is stated";
		q2_vet_tell(vet, &finding, "extensions");
		return;
	}
	if (is_text(extension.data, "raw") || is_text(extension.data, "qcow2"))
		return;
	finding.offset_bytes = extension.offset_bytes;
	finding.name = extension.data;
	q2_vet_tell(vet, &finding, "extensions/%llu", (unsigned long long)extension.index);
}

void q2_vet_backing(struct q2_vet *vet)
{
	const struct qcow2_header *h = vet->header;
	struct qcow2_bytes name = qcow2_image_backing_name(vet->image);

	if (h->backing_file_offset == 0)
		return;
	q2_vet_tell(vet,
		    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_BACKING_FILE,
					     .offset_bytes = AT(backing_file_offset),
					     .has_value = true,
					     .value = h->backing_file_offset,
					     .name = name},
		    "header/backing_file_offset");
	if (name.size == 0)
		return;
	q2_vet_tell_name(vet, name, h->backing_file_offset, "backing_file/name");
	tell_format(vet);
	if (has_protocol(name))
		tell(vet, QCOW2_VET_RULE_BACKING_PROTOCOL, name, NULL);
	if (!is_below(name))
		tell(vet, QCOW2_VET_RULE_BACKING_PATH, name, NULL);
	else if (vet->options.folder)
		tell_kind(vet, name);
}

/* What has a hyphen in front is an option to programs. */
void q2_vet_file_name(struct q2_vet *vet)
{
	const char *file = vet->options.file;
	struct qcow2_bytes name = {(const uint8_t *)file, file ? strlen(file) : 0};

	if (name.size > 0 && (has_protocol(name) || name.data[0] == '-'))
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_FILE_NAME,
						     .offset_bytes = QCOW2_NO_OFFSET,
						     .name = name},
			    "file");
}
