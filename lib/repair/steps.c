/* SPDX-License-Identifier: MIT */
/* What doctors ask before they plan, and how they plan and tell it. */
#include "repair/repair.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "repair/result.h"

static bool is_named(const struct qcow2_repair_options *options, unsigned number)
{
	for (size_t i = 0; i < options->only_count; i++)
		if (options->only[i]->number == number)
			return true;
	return false;
}

bool q2_repair_may(struct q2_repair *repair, enum qcow2_problem_id id, bool costs)
{
	const struct qcow2_repair_options *options = repair->options;

	if (options->only_count > 0) {
		if (is_named(options, id))
			return true;
		q2_repair_leave(repair, id, "only other kinds of problems were to be mended");
		return false;
	}
	if (options->extent == QCOW2_REPAIR_LEAKS && id != QCOW2_PROBLEM_REFCOUNT_HIGH) {
		q2_repair_leave(repair, id, "only leaks were to be mended");
		return false;
	}
	if (costs && options->extent != QCOW2_REPAIR_ALL) {
		repair->why[id].wants_all = true;
		return false;
	}
	return true;
}

void q2_repair_leave(struct q2_repair *repair, enum qcow2_problem_id id, const char *format, ...)
{
	struct q2_repair_why *why = &repair->why[id];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why->text, sizeof(why->text), format, arguments);
	va_end(arguments);
}

/* The index that a snapshot had before the repair. */
static uint64_t first_index(const struct q2_repair *repair, uint64_t index)
{
	const uint64_t *dropped = (const void *)repair->dropped.data;

	if (repair->round == repair->dropped_in)
		return index;
	for (size_t i = 0; i < repair->dropped.count && dropped[i] <= index; i++)
		index++;
	return index;
}

int q2_repair_tell(struct q2_repair *repair, const struct qcow2_repair_step *step)
{
	struct qcow2_repair_step mine = *step;

	if (mine.has_guest && mine.guest_of == QCOW2_PART_OF_SNAPSHOT)
		mine.guest_of_index = first_index(repair, mine.guest_of_index);
	return q2_repair_tell_first(repair, &mine);
}

int q2_repair_tell_first(struct q2_repair *repair, const struct qcow2_repair_step *step)
{
	struct qcow2_repair_step mine = *step;

	mine.size = sizeof(mine);
	if (mine.count == 0)
		mine.count = 1;
	repair->result->public.steps++;
	repair->result->public.costs += mine.costs;
	if ((mine.costs && strncmp(mine.kind->id, "bitmap", 6) != 0) ||
	    (mine.has_guest &&
	     (mine.after == QCOW2_READS_ZEROS || mine.after == QCOW2_READS_BACKING ||
	      mine.after == QCOW2_READS_FOREIGN)))
		repair->gave_up = true;
	if (q2_told_add(&repair->told, &mine))
		return q2_fail_memory(repair->err);
	if (!repair->options->tell || repair->options->tell(repair->options->opaque, &mine) == 0)
		return 0;
	return q2_fail(repair->err, QCOW2_ERROR_STOPPED, QCOW2_NO_OFFSET, "stopped by the caller");
}

struct qcow2_repair_step q2_repair_step_of(const struct qcow2_problem *problem, const char *does)
{
	struct qcow2_repair_step step = {
		.size = sizeof(step),
		.kind = problem->kind,
		.count = 1,
		.does = does,
		.has_guest = problem->has_guest,
		.guest_byte = problem->guest_byte,
		.guest_length_bytes = problem->guest_length_bytes,
		.guest_of = problem->guest_of,
		.guest_of_index = problem->guest_of_index,
	};

	memcpy(step.where, problem->where, sizeof(step.where));
	memcpy(step.guest_of_name, problem->guest_of_name, sizeof(step.guest_of_name));
	return step;
}

int q2_repair_write(struct q2_repair *repair, enum qcow2_phase phase, uint64_t offset_bytes,
		    struct qcow2_bytes bytes, const char *why)
{
	return qcow2_plan_write(repair->plan, phase, offset_bytes, bytes, why, repair->err);
}

int q2_repair_write_number(struct q2_repair *repair, enum qcow2_phase phase, uint64_t offset_bytes,
			   uint64_t value, unsigned size, const char *why)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
	return q2_repair_write(repair, phase, offset_bytes, (struct qcow2_bytes){bytes, size}, why);
}
