/* SPDX-License-Identifier: MIT */
/* What the page and its data say of a file that cannot be opened any more. */
#ifndef CMD_REPORT_EVIDENCE_H
#define CMD_REPORT_EVIDENCE_H

#include "report/report.h"

/* Whether a piece of evidence is shown: without names, none is that may have one in it. */
bool report_evidence_stays(const struct report *report,
			   const struct qcow2_rescue_evidence *evidence);

#endif
