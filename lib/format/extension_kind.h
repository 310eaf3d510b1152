/* SPDX-License-Identifier: MIT */
/* The header extensions that are known, one kind for each row of def/extensions.def. */
#ifndef FORMAT_EXTENSION_KIND_H
#define FORMAT_EXTENSION_KIND_H

#include <qcow2/format.h>

/* Indexes of the kinds, for tables with an element for each of them. */
enum q2_extension_id {
#define QCOW2_EXTENSION(id, magic, key, name, shape, structure, meaning) Q2_EXTENSION_##id,
#include <qcow2/def/extensions.def>
	Q2_EXTENSION_COUNT
};

/* What the data of an extension is. */
enum q2_extension_shape {
	Q2_EXTENSION_IS_TEXT,
	Q2_EXTENSION_IS_FEATURE_NAMES, /* rows of qcow2_feature_name_structure */
	Q2_EXTENSION_IS_FIELDS,        /* the structure of its kind */
};

struct q2_extension_kind {
	enum q2_extension_id id;
	uint32_t magic;
	const char *key; /* in selectors */
	enum q2_extension_shape shape;
	const struct qcow2_structure *structure; /* NULL unless its data has fields */
};

/* The kind of an extension with that magic number, or NULL if it is not known. */
const struct q2_extension_kind *q2_extension_kind(uint32_t magic);

#endif
