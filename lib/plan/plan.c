/* SPDX-License-Identifier: MIT */
/* Plans: an ordered list of writes over a source that is left alone. See edit.h. */
#include "plan/plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/error.h"

#define FIRST_CAPACITY 16
#define STEP_BYTES     256

int qcow2_plan_open(struct qcow2_source *source, struct qcow2_plan **out, struct qcow2_error *err)
{
	struct qcow2_plan *plan = q2_alloc(sizeof(*plan));

	if (!plan)
		return q2_fail_memory(err);
	plan->source = source;
	q2_intents_init(&plan->intents);
	plan->old_size_bytes = plan->size_bytes = qcow2_source_size_bytes(source);
	q2_source_identify(source, &plan->identity);
	q2_segments_init(&plan->planned);
	q2_segments_init(&plan->replay);
	q2_store_init(&plan->store);
	*out = plan;
	return 0;
}

void qcow2_plan_close(struct qcow2_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < Q2_PHASES; i++)
		q2_free(plan->phases[i].writes);
	q2_segments_release(&plan->planned);
	q2_segments_release(&plan->replay);
	q2_store_release(&plan->store);
	q2_intents_release(&plan->intents);
	q2_free(plan->writes);
	q2_free(plan->shown);
	q2_free(plan->now);
	q2_free(plan);
}

int qcow2_plan_spill_beside(struct qcow2_plan *plan, const char *path, struct qcow2_error *err)
{
	if (plan->store.end_bytes > 0)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the plan has writes already");
	return q2_store_spill_beside(&plan->store, path, err);
}

void qcow2_plan_spill_now(struct qcow2_plan *plan)
{
	if (plan->store.end_bytes == 0)
		q2_store_open_file(&plan->store);
}

uint64_t qcow2_plan_size_bytes(const struct qcow2_plan *plan)
{
	return plan->size_bytes;
}

size_t qcow2_plan_count(const struct qcow2_plan *plan)
{
	return plan->count;
}

int q2_plan_read_old(const struct qcow2_plan *plan, uint64_t offset, uint8_t *bytes, size_t size,
		     struct qcow2_error *err)
{
	uint64_t there = plan->old_size_bytes;
	size_t stored = offset >= there         ? 0
			: there - offset < size ? (size_t)(there - offset)
						: size;

	if (stored > 0 && qcow2_source_read(plan->source, offset, bytes, stored, err))
		return -1;
	memset(bytes + stored, 0, size - stored);
	return 0;
}

/* Lays the planned bytes over `bytes`, which were read from `offset`. */
static int lay_over(const struct qcow2_plan *plan, const struct q2_segments *segments,
		    uint64_t offset, struct qcow2_bytes bytes, struct qcow2_error *err)
{
	struct q2_segment_at at;
	const struct q2_segment *segment = q2_segments_find(segments, offset, &at);
	uint8_t *to = (uint8_t *)(uintptr_t)bytes.data;
	uint64_t end = offset + bytes.size;

	for (; segment && segment->offset_bytes < end; segment = q2_segments_next(segments, &at)) {
		const struct q2_planned_write *write = &plan->writes[segment->write];
		uint64_t first = segment->offset_bytes > offset ? segment->offset_bytes : offset;
		uint64_t last = segment->offset_bytes + segment->size_bytes;

		if (last > end)
			last = end;
		if (q2_store_get(&plan->store, write->at + (first - write->offset_bytes),
				 to + (first - offset), (size_t)(last - first), err))
			return -1;
	}
	return 0;
}

int q2_plan_read(const struct qcow2_plan *plan, uint64_t offset, uint8_t *bytes, size_t size,
		 struct qcow2_error *err)
{
	if (size == 0)
		return 0;
	return q2_plan_read_old(plan, offset, bytes, size, err) ||
			       lay_over(plan, &plan->planned, offset,
					(struct qcow2_bytes){bytes, size}, err)
		       ? -1
		       : 0;
}

static int check_end(const struct qcow2_plan *plan, uint64_t end, struct qcow2_error *err)
{
	if (plan->is_broken)
		return q2_fail_memory(err);
	if (end > INT64_MAX ||
	    (q2_source_has_fixed_size(plan->source) && end > plan->old_size_bytes))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the file of %" PRIu64 " bytes cannot become one of %" PRIu64,
			       plan->old_size_bytes, end);
	return 0;
}

/* Makes room for the present bytes at the place of a write; it is kept for the next write. */
static bool make_room(struct qcow2_plan *plan, size_t size)
{
	if (size <= plan->now_size)
		return true;
	q2_free(plan->now);
	plan->now = q2_alloc_buffer(size);
	plan->now_size = plan->now ? size : 0;
	return plan->now != NULL;
}

/* Cuts off the bytes at both ends that stay the same, in large steps first. */
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

/* Makes room for one more element in an array; false if memory is short. */
static bool grow(void **array, size_t count, size_t *capacity, size_t element_size)
{
	size_t more = *capacity ? *capacity * 2 : FIRST_CAPACITY;
	void *grown;

	if (count < *capacity)
		return true;
	grown = q2_realloc_array(*array, more, element_size);
	if (!grown)
		return false;
	*array = grown;
	*capacity = more;
	return true;
}

static void note_shared(void *opaque, uint32_t number)
{
	struct qcow2_plan *plan = opaque;

	plan->writes[number].shares = plan->writes[plan->count].shares = true;
}

/* Adds a write, whose bytes are in the store, to the list, to its phase and to the segments. */
static bool list_write(struct qcow2_plan *plan, const struct q2_planned_write *write)
{
	struct q2_planned_phase *phase = &plan->phases[write->phase];
	const struct q2_segment segment = {write->offset_bytes, write->size_bytes,
					   (uint32_t)plan->count, write->phase};

	if (!grow((void **)&plan->writes, plan->count, &plan->capacity, sizeof(*plan->writes)) ||
	    !grow((void **)&phase->writes, phase->count, &phase->capacity, sizeof(*phase->writes)))
		return false;
	plan->writes[plan->count] = *write;
	if (!q2_segments_add(&plan->planned, &segment, note_shared, plan)) {
		/* Segments may be lost: nothing more can be done with this plan. */
		plan->is_broken = true;
		return false;
	}
	phase->writes[phase->count++] = (uint32_t)plan->count;
	plan->count++;
	return true;
}

/* Adds a write behind all writes of its phase. */
static int insert(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t offset,
		  struct qcow2_bytes bytes, const char *why, struct qcow2_error *err)
{
	struct q2_planned_write write = {
		.offset_bytes = offset, .size_bytes = bytes.size, .phase = (uint8_t)phase};
	size_t why_size = strlen(why);
	uint64_t why_at;

	if (plan->count == Q2_WRITES_MOST)
		return q2_fail(err, QCOW2_ERROR_LIMIT, QCOW2_NO_OFFSET,
			       "the plan would have over %zu writes", Q2_WRITES_MOST);
	write.why_size = (uint8_t)(why_size < QCOW2_WHY_MAX ? why_size : QCOW2_WHY_MAX - 1);
	if (q2_store_put(&plan->store, bytes, &write.at, err) ||
	    q2_store_put(&plan->store, (struct qcow2_bytes){(const uint8_t *)why, write.why_size},
			 &why_at, err))
		return -1;
	if (!list_write(plan, &write))
		return q2_fail_memory(err);
	if (offset + bytes.size > plan->end_bytes)
		plan->end_bytes = offset + bytes.size;
	plan->digests.are_current = false;
	plan->replayed = 0;
	return 0;
}

int qcow2_plan_write(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t offset,
		     struct qcow2_bytes bytes, const char *why, struct qcow2_error *err)
{
	uint64_t end;
	int failed;

	if ((unsigned)phase >= Q2_PHASES)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET, "there is no phase %u",
			       (unsigned)phase);
	if (q2_add_u64(offset, bytes.size, &end))
		end = UINT64_MAX;
	if (check_end(plan, end, err))
		return -1;
	if (bytes.size == 0)
		return 0;
	if (!make_room(plan, bytes.size))
		return q2_fail_memory(err);
	failed = q2_plan_read(plan, offset, plan->now, bytes.size, err);
	if (!failed)
		trim(plan->now, &bytes, &offset);
	if (!failed && bytes.size > 0)
		failed = insert(plan, phase, offset, bytes, why, err);
	if (!failed && end > plan->size_bytes) {
		plan->size_bytes = end;
		plan->digests.are_current = false;
	}
	return failed;
}

int qcow2_plan_resize(struct qcow2_plan *plan, uint64_t size_bytes, struct qcow2_error *err)
{
	if (check_end(plan, size_bytes, err))
		return -1;
	if (plan->end_bytes > size_bytes)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the plan writes past %" PRIu64 " bytes", size_bytes);
	plan->size_bytes = size_bytes;
	plan->digests.are_current = false;
	return 0;
}

int qcow2_plan_intend(struct qcow2_plan *plan, enum qcow2_intent intent, struct qcow2_bytes name,
		      struct qcow2_error *err)
{
	return q2_intents_add(&plan->intents, intent, name) ? 0 : q2_fail_memory(err);
}

bool q2_plan_touches(const struct qcow2_plan *plan, uint64_t offset, uint64_t size)
{
	struct q2_segment_at at;
	const struct q2_segment *segment = q2_segments_find(&plan->planned, offset, &at);

	return segment && segment->offset_bytes < offset + size;
}

const struct q2_planned_write *q2_plan_write_at(const struct qcow2_plan *plan, size_t index)
{
	const struct q2_planned_phase *phase = plan->phases;

	while (index >= phase->count)
		index -= (phase++)->count;
	return &plan->writes[phase->writes[index]];
}

/* Makes `replay` hold the first `count` writes in the order in which they are made. */
static bool replay(struct qcow2_plan *plan, size_t count)
{
	if (count < plan->replayed || plan->replayed == 0) {
		q2_segments_release(&plan->replay);
		plan->replayed = 0;
	}
	for (; plan->replayed < count; plan->replayed++) {
		const struct q2_planned_write *write = q2_plan_write_at(plan, plan->replayed);
		const struct q2_segment segment = {
			.offset_bytes = write->offset_bytes,
			.size_bytes = write->size_bytes,
			.write = (uint32_t)(write - plan->writes),
		};

		if (!q2_segments_add(&plan->replay, &segment, NULL, NULL)) {
			plan->replayed = 0;
			return false;
		}
	}
	return true;
}

int qcow2_plan_at(struct qcow2_plan *plan, size_t index, const struct qcow2_write **out,
		  struct qcow2_error *err)
{
	const uint64_t there = plan->old_size_bytes;
	const struct q2_planned_write *write;
	struct qcow2_bytes old_bytes;
	size_t size, old;

	if (index >= plan->count)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the plan has %zu writes, and none with index %zu", plan->count,
			       index);
	write = q2_plan_write_at(plan, index);
	size = (size_t)write->size_bytes;
	old = write->offset_bytes >= there         ? 0
	      : there - write->offset_bytes < size ? (size_t)(there - write->offset_bytes)
						   : size;
	if (!replay(plan, index))
		return q2_fail_memory(err);
	q2_free(plan->shown);
	plan->shown = q2_alloc_buffer(size + old);
	if (!plan->shown)
		return q2_fail_memory(err);
	old_bytes = (struct qcow2_bytes){plan->shown + size, old};
	if (q2_store_get(&plan->store, write->at, plan->shown, size, err) ||
	    q2_store_get(&plan->store, write->at + size, plan->shown_why, write->why_size, err) ||
	    q2_plan_read_old(plan, write->offset_bytes, plan->shown + size, old, err) ||
	    lay_over(plan, &plan->replay, write->offset_bytes, old_bytes, err))
		return -1;
	plan->shown_why[write->why_size] = '\0';
	plan->shown_write = (struct qcow2_write){
		.size = sizeof(plan->shown_write),
		.phase = (enum qcow2_phase)write->phase,
		.offset_bytes = write->offset_bytes,
		.old_bytes = old_bytes,
		.new_bytes = {plan->shown, size},
		.why = plan->shown_why,
	};
	*out = &plan->shown_write;
	return 0;
}

int q2_plan_autoclear(struct qcow2_plan *plan, enum qcow2_phase phase, uint64_t bits,
		      const char *why, struct qcow2_error *err)
{
	const struct qcow2_header header = {.version = 3, .autoclear_features = bits};
	const size_t at = offsetof(struct qcow2_header, autoclear_features);
	uint8_t raw[sizeof(header)];

	qcow2_header_encode(&header, raw, sizeof(raw));
	return qcow2_plan_write(plan, phase, at,
				(struct qcow2_bytes){raw + at, sizeof(header.autoclear_features)},
				why, err);
}
