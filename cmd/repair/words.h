/* SPDX-License-Identifier: MIT */
/* What the page says in words. */
#ifndef CMD_REPAIR_WORDS_H
#define CMD_REPAIR_WORDS_H

#include "out/spool.h"
#include "repair/kept.h"

/* "7 corruptions, 1 leak and 2 warnings", or "no problems". */
void repair_say_counts(struct spool *out, const struct qcow2_check_result *result);

/* "corrupt", "intact, but wasting space" or "sound", and so on: the verdict of a check. */
const char *repair_verdict(const struct qcow2_check_result *result);

/* What the guest reads in a part of its disk, before and after; planned: it is not done yet. */
void repair_say_reads(struct spool *out, enum qcow2_reads before, enum qcow2_reads after,
		      bool planned);

#endif
