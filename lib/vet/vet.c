/* SPDX-License-Identifier: MIT */
/* Vets an image: reads its start and its end, then lets one stage after the other look. */
#include "vet/costs.h"

#include <errno.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/sized.h"
#include "base/system.h"
#include "format/probe.h"
#include "image/internal.h"

static size_t up_to(uint64_t size, size_t most)
{
	return size < most ? (size_t)size : most;
}

/* Reads the head and the tail into buffer; in a small file the one is a part of the other. */
static int read_ends(struct q2_vet *vet, uint8_t *buffer)
{
	uint64_t size = vet->result.file_size_bytes;

	vet->head = (struct qcow2_bytes){buffer, up_to(size, Q2_VET_HEAD_BYTES)};
	vet->tail.size = up_to(size, Q2_VET_TAIL_BYTES);
	if (qcow2_source_read(vet->source, 0, buffer, vet->head.size, vet->err))
		return -1;
	if (size <= Q2_VET_HEAD_BYTES) {
		vet->tail.data = buffer + (vet->head.size - vet->tail.size);
		return 0;
	}
	vet->tail.data = buffer + Q2_VET_HEAD_BYTES;
	if (vet->kept)
		return q2_kept_tail(vet->kept, buffer + Q2_VET_HEAD_BYTES) == vet->tail.size ? 0
											     : -1;
	return qcow2_source_read(vet->source, size - vet->tail.size, buffer + Q2_VET_HEAD_BYTES,
				 vet->tail.size, vet->err);
}

/* Tells why there is no image, if that is a reason to refuse the file. */
static int judge_open(struct q2_vet *vet)
{
	const struct qcow2_error *err = vet->err;
	struct q2_vet_finding finding = {.offset_bytes = 0};

	switch (err->code) {
	case QCOW2_ERROR_NOT_QCOW2:
		finding.rule = QCOW2_VET_RULE_FORMAT;
		finding.has_value = vet->head.size >= 4;
		finding.value = finding.has_value ? q2_load_be32(vet->head.data) : 0;
		finding.detail = vet->result.kind->name;
		q2_vet_tell(vet, &finding, "header/magic");
		return 0;
	case QCOW2_ERROR_UNSUPPORTED:
		finding.rule = QCOW2_VET_RULE_VERSION;
		finding.offset_bytes = offsetof(struct qcow2_header, version);
		finding.has_value = true;
		finding.value = vet->result.version;
		q2_vet_tell(vet, &finding, "header/version");
		return 0;
	case QCOW2_ERROR_BROKEN:
		finding.rule = QCOW2_VET_RULE_HEADER;
		finding.offset_bytes = vet->result.file_size_bytes;
		finding.detail = err->text;
		q2_vet_tell(vet, &finding, "header");
		return 0;
	default:
		return -1;
	}
}

static void take_header(struct q2_vet *vet)
{
	struct qcow2_header header;

	vet->result.kind = q2_probe_bytes(vet->head, vet->tail);
	if (vet->result.kind->number != QCOW2_FILE_QCOW2)
		return;
	qcow2_header_decode(&header, vet->head.data, vet->head.size);
	vet->result.version = header.version;
	vet->result.virtual_size_bytes = header.size;
}

/* Nothing behind the header of such an image has a place that is known. */
static void tell_insane(struct q2_vet *vet)
{
	if (!vet->geometry)
		q2_vet_tell(vet,
			    &(struct q2_vet_finding){.rule = QCOW2_VET_RULE_HEADER,
						     .offset_bytes = QCOW2_NO_OFFSET,
						     .detail = "cluster_bits or refcount_order"},
			    "header");
}

/* Opens the image and looks at its first cluster. Not ours: no image is open. */
int q2_vet_look_at_head(struct q2_vet *vet)
{
	take_header(vet);
	if (q2_image_open_started(vet->source, vet->head, &vet->image, vet->err))
		return judge_open(vet);
	vet->header = qcow2_image_header(vet->image);
	vet->geometry = qcow2_image_geometry(vet->image);
	tell_insane(vet);
	q2_vet_header(vet);
	q2_vet_extensions(vet);
	q2_vet_backing(vet);
	q2_vet_file_name(vet);
	q2_vet_rules(vet);
	q2_vet_overlaps(vet);
	q2_vet_polyglots(vet);
	return 0;
}

#define BIT(RULE) (UINT64_C(1) << QCOW2_VET_RULE_##RULE)

/*
 * What looks further than the first cluster, and the rules that it applies. Lists are read ahead, and
 * find out what of them a stream has passed.
 */
static const struct {
	int (*look)(struct q2_vet *vet);
	uint64_t rules;
	bool is_list;
} stages[] = {
	{q2_vet_snapshots, BIT(VM_STATE), true},
	{q2_vet_bitmaps, BIT(BITMAPS), true},
	{q2_vet_trailing, BIT(TRAILING_DATA), false},
	{q2_vet_l1, BIT(L2_SHARED) | BIT(TABLE_OVERLAP), false},
	{q2_vet_costs, BIT(CHECK_TIME), false},
	{q2_vet_reading_costs, BIT(MAP_TIME) | BIT(CONVERT_TIME), false},
	{q2_vet_deep, BIT(COMPRESSION_RATIO), false},
	{q2_vet_check, BIT(CHECK_CORRUPTION) | BIT(CHECK_LEAK), false},
};

/* A stream may have passed what a stage has to read. */
static int look_at_tables(struct q2_vet *vet)
{
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		if (vet->kept)
			vet->kept->strict = !stages[i].is_list;
		if (stages[i].look(vet) == 0)
			continue;
		if (!vet->kept || vet->err->errnum != Q2_ENODATA)
			return -1;
		vet->result.unapplied |= stages[i].rules;
	}
	return 0;
}

int q2_vet_look(struct q2_vet *vet)
{
	uint8_t *buffer = q2_alloc_buffer(Q2_VET_HEAD_BYTES + Q2_VET_TAIL_BYTES);
	int result;

	if (!buffer)
		return q2_fail_memory(vet->err);
	result = read_ends(vet, buffer) || q2_vet_look_at_head(vet) ? -1 : 0;
	if (result == 0 && vet->geometry)
		result = look_at_tables(vet);
	qcow2_image_close(vet->image);
	vet->image = NULL;
	q2_free(buffer);
	if (vet->result.unapplied != 0 && vet->result.verdict == QCOW2_VET_ACCEPTED)
		vet->result.verdict = QCOW2_VET_COULD_NOT_LOOK;
	return result;
}

int qcow2_vet(struct qcow2_source *source, const struct qcow2_vet_options *options,
	      struct qcow2_vet_result *out, struct qcow2_error *err)
{
	struct qcow2_error unheard;
	struct q2_vet vet = {.source = source, .err = err ? err : &unheard};

	if (q2_sized_take(&vet.options, sizeof(vet.options), options, err) ||
	    q2_sized_check(out, err))
		return -1;
	vet.result.size = sizeof(vet.result);
	vet.result.file_size_bytes = qcow2_source_size_bytes(source);
	if (q2_vet_look(&vet))
		return -1;
	q2_sized_give(out, &vet.result, sizeof(vet.result));
	return 0;
}
