/* SPDX-License-Identifier: MIT */
/* Types of header extensions that the header demands, and of which a bit or a byte is damaged. */
#include "repair/header/header.h"

#include <stdio.h>

#include "base/utf8.h"
#include "format/extension_kind.h"
#include "image/extensions.h"
#include "rules/rules.h"

/* An extension that the header demands, and that is missing. */
struct missing {
	enum qcow2_problem_id id;
	uint32_t magic;
	const char *does;
};

/* Whether a type that is not known is one that is, but for a bit, or for the bits of a byte. */
static bool is_nearly(uint32_t magic, uint32_t wanted)
{
	uint32_t differ = magic ^ wanted;
	unsigned bits = 0;

	for (uint32_t left = differ; left; left &= left - 1)
		bits++;
	for (unsigned shift = 0; shift < 32; shift += 8)
		if ((differ & ~(UINT32_C(0xff) << shift)) == 0)
			return true;
	return bits <= 2;
}

/* Whether the data can be those of that type. */
static bool is_like(const struct qcow2_extension *extension, const struct q2_extension_kind *kind)
{
	if (kind->shape == Q2_EXTENSION_IS_TEXT)
		return extension->data.size > 0 && q2_utf8_printable(extension->data);
	return extension->header.length == kind->structure->size_bytes;
}

static int mend_type(struct q2_repair *repair, const struct missing *missing)
{
	struct qcow2_extension extension, found = {.size = 0};
	struct q2_extensions it;
	struct q2_head head;
	unsigned count = 0;
	int failed = q2_head_open(repair, &head);

	if (!failed) {
		q2_extensions_begin(head.image, &it);
		while (q2_extensions_next(&it, &extension)) {
			if (q2_extension_kind(extension.header.magic) || extension.cut ||
			    !is_nearly(extension.header.magic, missing->magic) ||
			    !is_like(&extension, q2_extension_kind(missing->magic)))
				continue;
			found = extension;
			count++;
		}
	}
	if (!failed && count == 1 && q2_repair_may(repair, missing->id, false)) {
		char where[QCOW2_PROBLEM_WHERE_MAX];

		snprintf(where, sizeof(where), "extensions/%llu/magic",
			 (unsigned long long)found.index);
		failed = q2_repair_write_number(repair, QCOW2_PHASE_POINT, found.offset_bytes,
						missing->magic, 4, "the type that its data have") ||
			 q2_head_intend(repair, found.header.magic) ||
			 q2_head_intend(repair, missing->magic) ||
			 q2_head_tell(repair, missing->id, where, missing->does, false);
	}
	q2_head_close(&head);
	return failed ? -1 : 0;
}

int q2_header_mend_types(struct q2_repair *repair)
{
	static const struct missing all[] = {
		{QCOW2_PROBLEM_FEATURE_BITMAPS_WITHOUT_EXTENSION, QCOW2_EXTENSION_BITMAPS,
		 "gives an extension with a damaged type that of the bitmaps"},
		{QCOW2_PROBLEM_CRYPTO_MISSING, QCOW2_EXTENSION_CRYPTO,
		 "gives an extension with a damaged type that of the encryption header pointer"},
		{QCOW2_PROBLEM_DATA_FILE_NAME_MISSING, QCOW2_EXTENSION_DATA_FILE,
		 "gives an extension with a damaged type that of the data file's name"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (q2_has(repair, all[i].id) && mend_type(repair, &all[i]))
			return -1;
	return 0;
}
