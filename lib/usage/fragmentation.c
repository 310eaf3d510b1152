/* SPDX-License-Identifier: MIT */
/* How a guest that reads its disk from start to end moves through the file. */
#include "base/sized.h"
#include "usage/survey.h"

int qcow2_fragmentation_measure(const struct qcow2_image *image, struct qcow2_fragmentation *out,
				struct qcow2_error *err)
{
	struct q2_survey survey;

	if (q2_sized_check(out, err) || q2_survey_disk(image, 0, &survey, err))
		return -1;
	q2_sized_give(out, &survey.sums, sizeof(survey.sums));
	return 0;
}
