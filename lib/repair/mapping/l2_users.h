/* SPDX-License-Identifier: MIT */
/* Which L1 entries lead to L2 tables that several of them share. */
#ifndef Q2_REPAIR_L2_USERS_H
#define Q2_REPAIR_L2_USERS_H

#include "repair/mapping/l2_tell.h"

/* An L1 entry that leads to a table. */
struct q2_l2_use {
	uint64_t table; /* where the table starts */
	struct q2_l1_user user;
};

/* All zeros but the teller: nothing is known. */
struct q2_l2_users {
	const struct q2_teller *teller;
	uint64_t *tables; /* that are asked for, in rising order once they are found */
	size_t table_count, table_capacity;
	struct q2_l2_use *uses; /* by table, then in the order of the lists */
	size_t use_count, use_capacity;
	bool stopped; /* a bound was reached: not all are known */
};

/* Asks for a table. 0, or -1 with repair->err filled. */
int q2_l2_users_ask(struct q2_l2_users *users, uint64_t table);

/* Reads the L1 tables of all disks; does nothing if no table was asked for. As above. */
int q2_l2_users_find(struct q2_l2_users *users);

/* The uses of a table: *count of them, or NULL if they are not known. */
const struct q2_l2_use *q2_l2_users_of(const struct q2_l2_users *users, uint64_t table,
				       size_t *count);

void q2_l2_users_release(struct q2_l2_users *users);

#endif
