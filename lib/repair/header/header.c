/* SPDX-License-Identifier: MIT */
/* The header's doctor: its parts one after another. See header.h. */
#include "repair/header/header.h"

/*
 * The order matters: what tells where extensions are comes before what reads them, and the types of
 * extensions before the bits that depend on them.
 */
static int (*const parts[])(struct q2_repair *repair) = {
	q2_header_mend_geometry,   q2_header_mend_refcount_order, q2_header_mend_length,
	q2_header_mend_overrun,    q2_header_mend_types,          q2_header_mend_backing,
	q2_header_mend_extensions, q2_header_mend_data_file,      q2_header_mend_luks,
	q2_header_mend_crypt,      q2_header_mend_codec,          q2_header_mend_features,
};

/* All other doctors stand on the header: they work when a check has seen it as it will be. */
static int mend(struct q2_repair *repair)
{
	const size_t before = qcow2_plan_count(repair->plan);

	/* What the first part mends gives all numbers another meaning: a new check comes first. */
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (parts[i](repair))
			return -1;
		if (i == 0 && qcow2_plan_count(repair->plan) != before)
			break;
	}
	repair->begin_again = qcow2_plan_count(repair->plan) != before;
	return 0;
}

const struct q2_doctor q2_doctor_header = {NULL, mend, NULL};
