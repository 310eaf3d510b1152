/* SPDX-License-Identifier: MIT */
/* Images of clusters of 512 bytes whose guest extents are tested: where their tables are. */
#ifndef TESTS_UNIT_MAPPING_FIXTURE_H
#define TESTS_UNIT_MAPPING_FIXTURE_H

#include "image_fixture.h"

#include <qcow2/mapping.h>

#define BYTES     ((uint64_t)CLUSTER)
#define STORED    ((uint64_t)sizeof(bytes))
#define L1_AT     0x1000
#define TABLES_AT 0x8000

/* What an image is made of. */
struct form {
	const char *name;
	unsigned version;
	bool extended, data_file;
};

static const struct form forms[] = {
	{"version 2", 2, false, false},        {"version 3", 3, false, false},
	{"extended", 3, true, false},          {"data file", 3, false, true},
	{"extended data file", 3, true, true},
};

static inline void put_form(const struct form *form, uint64_t size, uint32_t l1_size)
{
	put_be(bytes + 4, 4, form->version);
	put_be(bytes + 24, 8, size);
	put_be(bytes + 36, 4, l1_size);
	put_be(bytes + 40, 8, L1_AT);
	put_be(bytes + 72, 8, (form->extended ? 16U : 0U) | (form->data_file ? 4U : 0U));
}

static inline struct qcow2_mapping *open_mapping(void)
{
	struct qcow2_mapping *mapping;

	open_bytes(sizeof(bytes));
	assert_int_equal(qcow2_mapping_open(image, &mapping, &err), 0);
	return mapping;
}

#endif
