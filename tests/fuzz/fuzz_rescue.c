/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the rescue: of a file that is all of the input but its last byte, which says what the
 * caller knows. Every candidate can be planned, the planned image is what the candidate says of it,
 * and what it says is printable.
 */
#include <stdio.h>
#include <string.h>

#include "memory.h"
#include "mutator/mutator.h"

#define FILE_MOST ((size_t)1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const size_t fuzz_command_bytes = 1;

static void demand(bool truth)
{
	if (!truth)
		abort();
}

static void judge_text(const char *text)
{
	struct qcow2_bytes left = {(const uint8_t *)text, strlen(text)};
	uint32_t codepoint;
	bool valid;

	demand(left.size > 0);
	while (left.size > 0) {
		size_t used = qcow2_text_next(left, &codepoint, &valid);

		demand(valid && qcow2_text_is_printable(codepoint));
		left.data += used;
		left.size -= used;
	}
}

static void judge_texts(const struct qcow2_rescue_candidate *candidate)
{
	for (size_t i = 0; i < candidate->evidence_count; i++) {
		demand(candidate->evidence[i]->confidence <= 100);
		judge_text(candidate->evidence[i]->text);
	}
	for (size_t i = 0; i < candidate->table_count; i++) {
		demand(candidate->tables[i]->confidence <= 100);
		judge_text(candidate->tables[i]->text);
	}
}

/* The planned image has the problems that the candidate says, and its header. */
static void judge_planned(struct qcow2_source *view, const struct qcow2_rescue_candidate *candidate)
{
	const struct qcow2_check_options how = {.size = sizeof(how), .threads = 1};
	struct qcow2_check_result *result;
	struct qcow2_image *image;

	if (qcow2_image_open(view, &image, NULL)) {
		demand(!candidate->check);
		return;
	}
	demand(qcow2_image_header(image)->l1_table_offset == candidate->header->l1_table_offset);
	demand(qcow2_image_header(image)->size == candidate->header->size);
	if (qcow2_check(image, &how, &result, NULL) == 0) {
		demand(candidate->check && result->corruptions == candidate->check->corruptions);
		qcow2_check_result_free(result);
	}
	qcow2_image_close(image);
}

static void judge_candidate(struct qcow2_rescue *rescue, struct qcow2_source *source, size_t index)
{
	const struct qcow2_rescue_candidate *candidate = qcow2_rescue_at(rescue, index);
	struct qcow2_source *view;
	struct qcow2_plan *plan;

	demand(candidate && candidate->confidence <= 100);
	judge_texts(candidate);
	if (qcow2_plan_open(source, &plan, NULL))
		return;
	demand(qcow2_rescue_plan(rescue, index, plan, NULL) == 0);
	if (qcow2_plan_view(plan, &view, NULL) == 0) {
		judge_planned(view, candidate);
		qcow2_source_close(view);
	}
	qcow2_plan_close(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_rescue_options how = {.size = sizeof(how), .threads = 1};
	struct qcow2_source *source;
	struct qcow2_rescue *rescue;
	uint8_t known;

	if (size < 2 || size > FILE_MOST)
		return 0;
	known = data[--size];
	how.look_at_guest = known & 1;
	how.cluster_size_bytes = known & 2 ? UINT64_C(512) << (known >> 4) % 13 : 0;
	how.data_file = known & 4 ? "data" : NULL;
	how.backing_file = known & 8 ? "backing" : NULL;
	if (qcow2_source_from_memory(data, size, &source, NULL))
		return 0;
	if (qcow2_rescue_open(source, &how, &rescue, NULL) == 0) {
		demand(qcow2_rescue_count(rescue) <= 16);
		for (size_t i = 0; i < qcow2_rescue_count(rescue); i++)
			judge_candidate(rescue, source, i);
		qcow2_rescue_close(rescue);
	}
	qcow2_source_close(source);
	return 0;
}
