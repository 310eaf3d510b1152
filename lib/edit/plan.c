/* SPDX-License-Identifier: MIT */
/* Plans: an ordered list of writes over a source that is left alone. See edit.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"
#include "edit/plan.h"
#include "source/write.h"

#define HELD_MOST_BYTES (UINT64_C(1) << 30)
#define FIRST_CAPACITY  16
#define STEP_BYTES      256

int qcow2_plan_new(struct qcow2_source *source, struct qcow2_plan **out, struct qcow2_error *err)
{
	struct qcow2_plan *plan = qcow2_alloc(sizeof(*plan));

	if (!plan)
		return qcow2_fail_memory(err);
	plan->source = source;
	qcow2_intents_init(&plan->intents);
	plan->old_size_bytes = plan->size_bytes = qcow2_source_size_bytes(source);
	*out = plan;
	return 0;
}

static void free_write(struct qcow2_planned_write *write)
{
	qcow2_free(write->bytes);
	qcow2_free(write);
}

void qcow2_plan_free(struct qcow2_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->count; i++)
		free_write(plan->writes[i]);
	qcow2_plan_index_release(plan->buckets);
	qcow2_intents_release(&plan->intents);
	qcow2_free(plan->writes);
	qcow2_free(plan->old_bytes);
	qcow2_free(plan->now);
	qcow2_free(plan);
}

uint64_t qcow2_plan_size_bytes(const struct qcow2_plan *plan)
{
	return plan->size_bytes;
}

size_t qcow2_plan_count(const struct qcow2_plan *plan)
{
	return plan->count;
}

int qcow2_plan_read(const struct qcow2_plan *plan, size_t count, uint64_t offset, uint8_t *bytes,
		    size_t size, struct qcow2_error *err)
{
	uint64_t there = plan->old_size_bytes;
	size_t stored = offset >= there         ? 0
			: there - offset < size ? (size_t)(there - offset)
						: size;

	if (size == 0)
		return 0;
	if (stored > 0 && qcow2_source_read(plan->source, offset, bytes, stored, err))
		return -1;
	memset(bytes + stored, 0, size - stored);
	qcow2_plan_index_lay_over(plan->buckets, count < plan->count ? plan->writes[count] : NULL,
				  offset, bytes, size);
	return 0;
}

static int check_end(const struct qcow2_plan *plan, uint64_t end, struct qcow2_error *err)
{
	if (end > INT64_MAX ||
	    (qcow2_source_has_fixed_size(plan->source) && end > plan->old_size_bytes))
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "the file of %" PRIu64 " bytes cannot become one of %" PRIu64,
				  plan->old_size_bytes, end);
	return 0;
}

/* Room for what stands where a write goes, kept for the next write. */
static bool make_room(struct qcow2_plan *plan, size_t size)
{
	if (size <= plan->now_size)
		return true;
	qcow2_free(plan->now);
	plan->now = qcow2_alloc_buffer(size);
	plan->now_size = plan->now ? size : 0;
	return plan->now != NULL;
}

/* Takes away what stays the same at both ends, large steps first. */
static void trim(const uint8_t *now, struct qcow2_bytes *bytes, uint64_t *offset)
{
	size_t first = 0;

	while (bytes->size - first >= STEP_BYTES &&
	       memcmp(now + first, bytes->data + first, STEP_BYTES) == 0)
		first += STEP_BYTES;
	while (bytes->size - first >= STEP_BYTES &&
	       memcmp(now + bytes->size - STEP_BYTES, bytes->data + bytes->size - STEP_BYTES,
		      STEP_BYTES) == 0)
		bytes->size -= STEP_BYTES;
	while (first < bytes->size && now[first] == bytes->data[first])
		first++;
	while (bytes->size > first && now[bytes->size - 1] == bytes->data[bytes->size - 1])
		bytes->size--;
	bytes->data += first;
	bytes->size -= first;
	*offset += first;
}

/* A write with a copy of the bytes, or NULL. */
static struct qcow2_planned_write *make_write(enum qcow2_phase phase, uint64_t offset,
					      struct qcow2_bytes bytes, const char *why)
{
	struct qcow2_planned_write *write = qcow2_alloc(sizeof(*write));

	if (!write)
		return NULL;
	write->bytes = qcow2_alloc_buffer(bytes.size);
	if (!write->bytes) {
		qcow2_free(write);
		return NULL;
	}
	memcpy(write->bytes, bytes.data, bytes.size);
	write->size = bytes.size;
	write->phase = phase;
	write->offset_bytes = offset;
	snprintf(write->why, sizeof(write->why), "%s", why);
	return write;
}

/* Makes room for one write more. */
static bool grow(struct qcow2_plan *plan)
{
	size_t capacity = plan->capacity ? plan->capacity * 2 : FIRST_CAPACITY;
	void *grown;

	if (plan->count < plan->capacity)
		return true;
	grown = qcow2_realloc_array(plan->writes, capacity, sizeof(struct qcow2_planned_write *));
	if (!grown)
		return false;
	plan->writes = grown;
	plan->capacity = capacity;
	return true;
}

/* Behind all writes of its phase. */
static int insert(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t offset,
		  struct qcow2_bytes bytes, const char *why, struct qcow2_error *err)
{
	struct qcow2_planned_write *write;
	size_t at = plan->count;

	if (plan->count == QCOW2_WRITES_MOST)
		return qcow2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
				  "the plan would have over %zu writes", QCOW2_WRITES_MOST);
	if (bytes.size > HELD_MOST_BYTES - plan->held_bytes)
		return qcow2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
				  "the plan would write over %" PRIu64 " bytes", HELD_MOST_BYTES);
	write = grow(plan) ? make_write(phase, offset, bytes, why) : NULL;
	if (!write)
		return qcow2_fail_memory(err);
	write->number = plan->count;
	if (!qcow2_plan_index_add(plan->buckets, write)) {
		qcow2_plan_index_remove(plan->buckets, write);
		free_write(write);
		return qcow2_fail_memory(err);
	}
	for (; at > 0 && plan->writes[at - 1]->phase > phase; at--)
		plan->writes[at] = plan->writes[at - 1];
	plan->writes[at] = write;
	plan->count++;
	plan->held_bytes += bytes.size;
	return 0;
}

int qcow2_plan_write(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t offset,
		     struct qcow2_bytes bytes, const char *why, struct qcow2_error *err)
{
	uint64_t end;
	int failed;

	if (qcow2_add_u64(offset, bytes.size, &end))
		end = UINT64_MAX;
	if (check_end(plan, end, err))
		return -1;
	if (bytes.size == 0)
		return 0;
	if (!make_room(plan, bytes.size))
		return qcow2_fail_memory(err);
	failed = qcow2_plan_read(plan, plan->count, offset, plan->now, bytes.size, err);
	if (!failed)
		trim(plan->now, &bytes, &offset);
	if (!failed && bytes.size > 0)
		failed = insert(plan, phase, offset, bytes, why, err);
	if (!failed && end > plan->size_bytes)
		plan->size_bytes = end;
	return failed;
}

int qcow2_plan_resize(struct qcow2_plan *plan, uint64_t size_bytes, struct qcow2_error *err)
{
	if (check_end(plan, size_bytes, err))
		return -1;
	for (size_t i = 0; i < plan->count; i++)
		if (plan->writes[i]->offset_bytes + plan->writes[i]->size > size_bytes)
			return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
					  "the plan writes past %" PRIu64 " bytes", size_bytes);
	plan->size_bytes = size_bytes;
	return 0;
}

int qcow2_plan_at(struct qcow2_plan *plan, size_t index, struct qcow2_write *out,
		  struct qcow2_error *err)
{
	const struct qcow2_planned_write *write = plan->writes[index];
	uint64_t there = plan->old_size_bytes;
	size_t size = write->offset_bytes >= there ? 0
		      : there - write->offset_bytes < write->size
			      ? (size_t)(there - write->offset_bytes)
			      : write->size;

	qcow2_free(plan->old_bytes);
	plan->old_bytes = qcow2_alloc_buffer(size);
	if (!plan->old_bytes)
		return qcow2_fail_memory(err);
	*out = (struct qcow2_write){
		.phase = write->phase,
		.offset_bytes = write->offset_bytes,
		.old_bytes = {plan->old_bytes, size},
		.new_bytes = {write->bytes, write->size},
		.why = write->why,
	};
	return qcow2_plan_read(plan, index, write->offset_bytes, plan->old_bytes, size, err);
}
