/* SPDX-License-Identifier: MIT */
/* Tables that the header and its extensions name. */
#ifndef Q2_VET_TABLES_H
#define Q2_VET_TABLES_H

#include "vet/vet.h"

#define Q2_VET_TABLES_MAX 6

struct q2_vet_table {
	const char *name;
	uint64_t at, length;
	char field[64]; /* that names it, and where that is */
	uint64_t field_at;
};

struct q2_vet_tables {
	struct q2_vet_table table[Q2_VET_TABLES_MAX];
	size_t count;
};

/* The geometry is known. */
void q2_vet_list_tables(const struct q2_vet *vet, struct q2_vet_tables *tables);

/* The first table that shares any of these bytes, or NULL. */
const struct q2_vet_table *q2_vet_find_table(const struct q2_vet_tables *tables, uint64_t at,
					     uint64_t length);

#endif
