/* SPDX-License-Identifier: MIT */
/* See evidence.h. */
#include "report/evidence.h"

bool report_evidence_stays(const struct report *report,
			   const struct qcow2_rescue_evidence *evidence)
{
	if (!report->redacts)
		return true;
	switch (evidence->topic) {
	case QCOW2_RESCUE_CLUSTERS:
	case QCOW2_RESCUE_REFCOUNTS:
	case QCOW2_RESCUE_L1:
	case QCOW2_RESCUE_L2:
	case QCOW2_RESCUE_SIZE:
	case QCOW2_RESCUE_VERSION:
	case QCOW2_RESCUE_CHECK:
		return true;
	default:
		return false;
	}
}
