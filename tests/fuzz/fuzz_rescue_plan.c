/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the reader of plans of `qcow2 rescue`: the input is a plan for a file of 1 KiB that counts
 * up. A plan that is taken writes inside of the file that it says.
 */
#include <stdlib.h>

#include "rescue/plan_parse.h"

#include <qcow2/source.h>

#define FILE_BYTES 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static void look_at(struct qcow2_plan *plan)
{
	const struct qcow2_write *write;
	struct qcow2_error err;

	demand(qcow2_plan_size_bytes(plan) >= FILE_BYTES);
	for (size_t i = 0; i < qcow2_plan_count(plan); i++) {
		demand(qcow2_plan_at(plan, i, &write, &err) == 0);
		demand(write->new_bytes.size > 0 &&
		       write->offset_bytes <= qcow2_plan_size_bytes(plan) &&
		       write->new_bytes.size <= qcow2_plan_size_bytes(plan) - write->offset_bytes);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rescue_plan_fault fault;
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	struct qcow2_error err;
	uint8_t file[FILE_BYTES];

	for (size_t i = 0; i < sizeof(file); i++)
		file[i] = (uint8_t)i;
	if (qcow2_source_from_memory(file, sizeof(file), &source, &err) ||
	    qcow2_plan_open(source, &plan, &err))
		abort();
	if (rescue_parse_plan((struct qcow2_bytes){data, size}, plan, &fault))
		look_at(plan);
	else
		demand(fault.text || fault.err.text[0] != '\0');
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	return 0;
}
