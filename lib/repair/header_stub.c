/* SPDX-License-Identifier: MIT */
#include "repair/header.h"
int q2_header_mend_data_file(struct q2_repair *repair)
{
	(void)repair;
	return 0;
}
int q2_header_mend_codec(struct q2_repair *repair)
{
	(void)repair;
	return 0;
}
int q2_header_mend_crypt(struct q2_repair *repair)
{
	(void)repair;
	return 0;
}
int q2_header_mend_luks(struct q2_repair *repair)
{
	(void)repair;
	return 0;
}
int q2_header_mend_refcount_order(struct q2_repair *repair)
{
	(void)repair;
	return 0;
}
