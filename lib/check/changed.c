/* SPDX-License-Identifier: MIT */
/*
 * Proves that a change leaves alone what the last part of a check depends on. The proof has three
 * steps. All bytes that differ are in the first cluster. Of what is read there for the header, only
 * fields and extensions differ that the last part does not use. And nothing else reads there: a
 * watch sees what the first part reads, which says where the last part reads.
 */
#include "check/structures.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "image/extensions.h"
#include "source/source.h"

/* ---- what a check reads of the bytes that differ ---- */

/* A source that notes, and refuses, any read below `end` while it is armed. */
struct watch {
	struct qcow2_source *under;
	uint64_t end;
	bool is_armed, has_read;
};

static int watch_read(void *opaque, uint64_t offset_bytes, void *buffer, size_t size)
{
	struct watch *watch = opaque;
	struct qcow2_error err = {.errnum = 0};

	if (offset_bytes < watch->end && watch->is_armed) {
		/* The answer is known: whoever reads ends here. */
		watch->has_read = true;
		return ECANCELED;
	}
	if (qcow2_source_read(watch->under, offset_bytes, buffer, size, &err) == 0)
		return 0;
	return err.errnum ? err.errnum : EIO;
}

static uint64_t watch_hole_end(void *opaque, uint64_t offset_bytes)
{
	const struct watch *watch = opaque;

	return qcow2_source_hole_end(watch->under, offset_bytes);
}

static int open_watch(struct watch *watch, struct qcow2_source **out, struct qcow2_error *err)
{
	static const struct qcow2_source_ops ops = {
		.size = sizeof(ops), .read = watch_read, .hole_end = watch_hole_end};

	if (qcow2_source_from_ops(&ops, watch, qcow2_source_size_bytes(watch->under), out, err))
		return -1;
	(*out)->allocated_bytes = qcow2_source_allocated_bytes(watch->under);
	return 0;
}

/* ---- headers ---- */

/* Whether all fields are the same but those that only the rules of the header look at. */
static bool are_fields_alike(const struct qcow2_header *one, struct qcow2_header other)
{
	const uint64_t known = QCOW2_AUTOCLEAR_KNOWN;
	bool alike = true;

	other.incompatible_features ^= (one->incompatible_features ^ other.incompatible_features) &
				       QCOW2_INCOMPATIBLE_CORRUPT;
	other.autoclear_features ^= (one->autoclear_features ^ other.autoclear_features) & ~known;
	other.compatible_features = one->compatible_features;
	other.backing_file_offset = one->backing_file_offset;
	other.backing_file_size = one->backing_file_size;
	other.header_length = one->header_length;
#define QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)                            \
	alike = alike && one->name == other.name;
#define QCOW2_FA(type, name, alias, offset, style, names, legal, qemu, meaning)                    \
	QCOW2_F(type, name, offset, style, names, legal, qemu, meaning)
#include <qcow2/def/header.def>
#undef QCOW2_F
#undef QCOW2_FA
	return alike;
}

/* Steps to the next extension that says where clusters are used. */
static bool next_owner(struct q2_extensions *it, struct qcow2_extension *out)
{
	while (q2_extensions_next(it, out))
		if (out->header.magic == QCOW2_EXTENSION_BITMAPS ||
		    out->header.magic == QCOW2_EXTENSION_CRYPTO)
			return true;
	return false;
}

static bool are_owners_alike(const struct qcow2_image *one, const struct qcow2_image *other)
{
	struct q2_extensions left, right;
	struct qcow2_extension a, b;
	bool more;

	q2_extensions_begin(one, &left);
	q2_extensions_begin(other, &right);
	while ((more = next_owner(&left, &a)) == next_owner(&right, &b)) {
		if (!more)
			return true;
		if (a.header.magic != b.header.magic || a.header.length != b.header.length ||
		    a.data.size != b.data.size ||
		    memcmp(a.data.data, b.data.data, a.data.size) != 0)
			return false;
	}
	return false;
}

/* Whether the changed image differs in nothing but what the first part of a check looks at. */
static bool are_alike(const struct q2_changed *changed, const struct qcow2_image *after)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(changed->before);
	const struct qcow2_header *header = qcow2_image_header(changed->before);

	/* The rule of raw data files reads the mapping within bounds of its own. */
	return geometry && qcow2_image_geometry(after) &&
	       !(header->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN) &&
	       !(header->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) &&
	       changed->same_from_bytes <= geometry->cluster_size_bytes &&
	       qcow2_source_size_bytes(qcow2_image_source(changed->before)) ==
		       qcow2_source_size_bytes(changed->after) &&
	       are_fields_alike(header, *qcow2_image_header(after)) &&
	       are_owners_alike(changed->before, after);
}

/* ---- both ---- */

int q2_check_changed(const struct q2_changed *changed, const struct qcow2_check_options *options,
		     struct q2_structures *found, bool *shares, struct qcow2_error *err)
{
	const struct qcow2_geometry *geometry = qcow2_image_geometry(changed->before);
	struct watch watch = {.under = changed->after, .end = changed->same_from_bytes};
	struct qcow2_check_options alone = *options;
	struct qcow2_source *source;
	struct qcow2_image *after = NULL;
	int failed;

	*shares = false;
	alone.problem = NULL;
	alone.threads = 1;
	if (!geometry || changed->same_from_bytes > geometry->cluster_size_bytes)
		return 0;
	if (open_watch(&watch, &source, err))
		return -1;
	failed = qcow2_image_open(source, &after, err);
	if (!failed && are_alike(changed, after)) {
		watch.is_armed = true;
		failed = q2_check_structures(after, &alone, found, err);
		*shares = !failed && found->is_whole && !watch.has_read &&
			  found->lowest_bytes >= changed->same_from_bytes;
	}
	qcow2_image_close(after);
	qcow2_source_close(source);
	/* Of what is no fault, a whole check says more. */
	return failed && q2_is_fault(err) && !watch.has_read ? -1 : 0;
}
