/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the check: the input is an image, checked deeply by one thread and by three, which have to
 * say the same. What the problems say has to add up to the totals.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/qcow2.h>

#define PER_KIND     3
#define MEMORY_BYTES (UINT64_C(64) << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was told: a checksum of all of it. */
struct heard {
	uint64_t sum;
	uint64_t told;
	uint64_t ranges;                 /* damaged ones */
	struct qcow2_damage_range range; /* the last of them */
};

static void mix(struct heard *heard, const void *bytes, size_t size)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < size; i++)
		heard->sum = heard->sum * 31 + b[i];
}

/* A range has bytes and an end; count ranges are meant. */
static void judge_guest(bool has_guest, uint64_t byte, uint64_t length_bytes, uint64_t count)
{
	if (has_guest && (length_bytes == 0 || byte > UINT64_MAX - length_bytes || count == 0))
		abort();
	if (!has_guest && (length_bytes != 0 || byte != 0 || count != 0))
		abort();
}

static void judge(const struct qcow2_problem *problem)
{
	judge_guest(problem->has_guest, problem->guest_byte, problem->guest_length_bytes,
		    problem->guest_count);
	if (problem->guest_of == QCOW2_PART_OF_BITMAP || (problem->guest_of && !problem->has_guest))
		abort();
	if (problem->has_found && problem->found_text[0] != '\0')
		abort();
	for (unsigned i = 0; i < problem->owner_count; i++)
		judge_guest(problem->owners[i]->has_guest, problem->owners[i]->guest_byte,
			    problem->owners[i]->guest_length_bytes,
			    problem->owners[i]->guest_count);
}

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct heard *heard = opaque;

	heard->told++;
	judge(problem);
	if (problem->owner_count > QCOW2_PROBLEM_OWNERS_MAX ||
	    problem->owner_count > problem->owners_total)
		abort();
	mix(heard, problem->kind->id, strlen(problem->kind->id));
	mix(heard, problem->where, strlen(problem->where));
	mix(heard, &problem->offset_bytes, sizeof(problem->offset_bytes));
	mix(heard, &problem->found, sizeof(problem->found));
	mix(heard, &problem->guest_byte, sizeof(problem->guest_byte));
	for (unsigned i = 0; i < problem->owner_count; i++)
		mix(heard, problem->owners[i]->where, strlen(problem->owners[i]->where));
	return 0;
}

/* Ranges of a disk rise, do not overlap, and end with 64 bits. */
static int hear_range(void *opaque, const struct qcow2_damage_range *range)
{
	struct heard *heard = opaque;

	if (range->guest_length_bytes == 0 || range->damage == QCOW2_DAMAGE_NONE ||
	    range->guest_byte + (range->guest_length_bytes - 1) < range->guest_byte)
		abort();
	if (heard->ranges > 0 && range->of == heard->range.of &&
	    range->of_index == heard->range.of_index &&
	    (range->guest_byte < heard->range.guest_byte ||
	     range->guest_byte - heard->range.guest_byte < heard->range.guest_length_bytes))
		abort();
	heard->ranges++;
	heard->range = *range;
	mix(heard, &range->guest_byte, sizeof(range->guest_byte));
	mix(heard, &range->guest_length_bytes, sizeof(range->guest_length_bytes));
	return 0;
}

/* The totals are those of the ranges. */
static void add_up(const struct qcow2_check_result *result, const struct heard *heard)
{
	const struct qcow2_damage_total *total;
	uint64_t ranges = 0;

	for (size_t i = 0; (total = qcow2_check_result_damage(result, i)); i++)
		ranges += total->ranges;
	if (ranges != heard->ranges || ranges != result->damage_ranges)
		abort();
}

static int check(const struct qcow2_image *image, unsigned threads, struct heard *heard,
		 struct qcow2_check_result **out)
{
	const struct qcow2_check_options options = {
		.size = sizeof(options),
		.threads = threads,
		.memory_limit_bytes = MEMORY_BYTES,
		.max_per_kind = PER_KIND,
		.deep = true,
		.damage = true,
		.lost_mappings = true,
		.problem = hear,
		.damage_range = hear_range,
		.opaque = heard,
	};
	const struct qcow2_problem_kind *kind = NULL;
	const struct qcow2_check_result *result;
	struct qcow2_error err;
	uint64_t total = 0;

	if (qcow2_check(image, &options, out, &err))
		return -1;
	result = *out;
	add_up(result, heard);
	while ((kind = qcow2_problem_kind_next(kind)))
		total += qcow2_check_result_count(result, kind->number);
	if (total != result->corruptions + result->leaks + result->warnings || heard->told > total)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_source *source;
	struct qcow2_image *image;
	struct qcow2_error err;

	if (qcow2_source_from_memory(data, size, &source, &err))
		return 0;
	if (qcow2_image_open(source, &image, &err) == 0) {
		struct qcow2_check_result *one = NULL, *three = NULL;
		struct heard by_one = {0}, by_three = {0};

		if (check(image, 1, &by_one, &one) == 0 &&
		    check(image, 3, &by_three, &three) == 0 &&
		    (memcmp(one, three, sizeof(*one)) != 0 || by_one.sum != by_three.sum))
			abort();
		qcow2_check_result_free(one);
		qcow2_check_result_free(three);
		qcow2_image_close(image);
	}
	qcow2_source_close(source);
	return 0;
}
