/* SPDX-License-Identifier: MIT */
#include "common/soundness.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/report.h"

#include <qcow2/check.h>

static int tell_progress(void *opaque, uint64_t done_bytes, uint64_t total_bytes)
{
	progress_share(opaque, done_bytes, total_bytes);
	return 0;
}

int soundness_find(const struct qcow2_image *image, struct progress *progress,
		   struct soundness *soundness, struct qcow2_error *err)
{
	const struct qcow2_check_options how = {.size = sizeof(how),
						.threads = soundness->threads,
						.memory_limit_bytes = soundness->memory_limit_bytes,
						.lost_mappings = true,
						.progress = tell_progress,
						.opaque = progress};
	struct qcow2_check_result *result;

	if (qcow2_check(image, &how, &result, err))
		return -1;
	soundness->corruptions = result->corruptions;
	soundness->leaks_may_be_data = result->leaks_may_be_data;
	qcow2_check_result_free(result);
	return 0;
}

int soundness_tell(const struct command *command, const char *file,
		   const struct soundness *soundness)
{
	char text[128];

	if (soundness->corruptions == 0)
		return EXIT_FINE;
	snprintf(text, sizeof(text),
		 "%" PRIu64 " corruption%s: not all of this can be relied on; see 'qcow2 check'",
		 soundness->corruptions, soundness->corruptions == 1 ? "" : "s");
	report_text(command, file, text);
	return EXIT_MALFORMED;
}
