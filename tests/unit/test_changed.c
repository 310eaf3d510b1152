/* SPDX-License-Identifier: MIT */
/*
 * A plan that changes the header alone is judged by one check, that of the image before. These tests
 * compare the verdicts with those of whole checks of both images, on random images and edits.
 */
#include <qcow2/edit.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/structures.h"
#include "guards/verdict.h"
#include "plan/plan.h"
#include "unit/image_bytes.h"

#include <cmocka.h>

#define CLUSTERS  20
#define ROUNDS    600
#define COPIED    (UINT64_C(1) << 63)
#define PACKED    (UINT64_C(1) << 62)
#define AT(index) ((size_t)(index)*CLUSTER)
/* Where an image has what. Clusters from DATA on are guest data. */
enum { L1 = 1, TABLE, BLOCK, L2, SNAPSHOTS = 6, OLD_L1, DIRECTORY, BITMAP, BITS, DATA };
#define TOLD_MOST 4000

static struct qcow2_error err;
static uint8_t bytes[CLUSTERS * CLUSTER];

static uint64_t one_of(unsigned count)
{
	return (uint64_t)(rand() % (int)count);
}

/* A sound image: two L2 tables, a snapshot that shares them, a bitmap, and three extensions. */
static void make_image(void)
{
	memset(bytes, 0, sizeof(bytes));
	put_header(bytes, AT(128));
	put_be(bytes + 8, 8, 320);
	put_be(bytes + 16, 4, 4);
	memcpy(bytes + 320, "base", 4);
	put_be(bytes + 36, 4, 2);
	put_be(bytes + 40, 8, AT(L1));
	put_be(bytes + 48, 8, AT(TABLE));
	put_be(bytes + 56, 4, 1);
	put_be(bytes + 60, 4, 1);
	put_be(bytes + 64, 8, AT(SNAPSHOTS));
	put_be(bytes + 88, 8, QCOW2_AUTOCLEAR_BITMAPS);
	put_mark(bytes + 104, 0xe2792aca, 5);
	memcpy(bytes + 112, "qcow2", 5);
	put_bitmaps(bytes + 120, 1, 32, AT(DIRECTORY));
	put_mark(bytes + 152, 0x12345678, 8);
	put_be(bytes + AT(TABLE), 8, AT(BLOCK));
	for (unsigned i = 0; i < 2; i++) {
		put_be(bytes + AT(L1) + 8 * (size_t)i, 8, AT(L2 + i));
		put_be(bytes + AT(OLD_L1) + 8 * (size_t)i, 8, AT(L2 + i));
	}
	for (unsigned i = DATA; i < CLUSTERS; i++)
		put_be(bytes + AT(L2 + i % 2) + 8 * (size_t)i, 8, AT(i));
	for (unsigned i = 0; i < CLUSTERS; i++)
		put_be(bytes + AT(BLOCK) + 2 * (size_t)i, 2,
		       i == L2 || i == L2 + 1 || i >= DATA ? 2 : 1);
	put_snapshot(bytes + AT(SNAPSHOTS), 1, 4, 16);
	put_be(bytes + AT(SNAPSHOTS), 8, AT(OLD_L1));
	put_be(bytes + AT(SNAPSHOTS) + 8, 4, 2);
	put_be(bytes + AT(SNAPSHOTS) + 48, 8, AT(128));
	memcpy(bytes + AT(SNAPSHOTS) + 56, "1name", 5);
	put_bitmap(bytes + AT(DIRECTORY), 4, 0);
	put_be(bytes + AT(DIRECTORY), 8, AT(BITMAP));
	memcpy(bytes + AT(DIRECTORY) + 24, "bits", 4);
	put_be(bytes + AT(BITMAP), 8, AT(BITS));
}

/* A word such as tables hold: a cluster of the image, often the first, with flags or without. */
static uint64_t random_word(void)
{
	switch (one_of(8)) {
	case 0:
		return 0;
	case 1:
		return (uint64_t)rand() << 33 ^ (uint64_t)rand();
	case 2:
		return PACKED | one_of(CLUSTERS * CLUSTER);
	case 3:
		return PACKED | one_of(CLUSTER);
	case 4:
		return one_of(CLUSTER);
	case 5:
		return COPIED;
	case 6:
		return COPIED | AT(one_of(CLUSTERS));
	default:
		return AT(one_of(CLUSTERS));
	}
}

/* Breaks something, or nothing: tables, counts, or where the header says that they are. */
static void damage_image(void)
{
	static const unsigned pointers[] = {40, 48, 64, 144};
	unsigned count = (unsigned)one_of(4);

	for (unsigned i = 0; i < count; i++)
		put_be(bytes + CLUSTER + 8 * one_of((CLUSTERS - 1) * CLUSTER / 8), 8,
		       random_word());
	for (unsigned i = 0; i < count; i++)
		put_be(bytes + AT(1 + one_of(DATA - 1)) + 8 * one_of(12), 8, random_word());
	if (one_of(2))
		bytes[AT(BLOCK) + one_of(2 * CLUSTERS)] = (uint8_t)rand();
	if (one_of(8) == 0)
		put_be(bytes + pointers[one_of(4)], 8, one_of(2) ? 0 : random_word());
	if (one_of(4) == 0)
		bytes[72 + one_of(32)] ^= (uint8_t)(1 << one_of(8));
	if (one_of(8) == 0)
		put_be(bytes + 72, 8, one_of(4));
	if (one_of(16) == 0)
		bytes[one_of(320)] = (uint8_t)rand();
}

static void put(struct qcow2_plan *plan, uint64_t at, unsigned width, uint64_t value)
{
	uint8_t raw[8];

	put_be(raw, width, value);
	assert_int_equal(qcow2_plan_write(plan, QCOW2_PHASE_POINT, at,
					  (struct qcow2_bytes){raw, width}, "a test", &err),
			 0);
}

/* Plans changes of the first cluster: names, features, extensions, and anything else at times. */
static void plan_edits(struct qcow2_plan *plan)
{
	for (uint64_t left = 1 + one_of(3); left > 0; left--)
		switch (one_of(9)) {
		case 0:
			put(plan, 8, 8, one_of(2) ? 0 : one_of(700));
			break;
		case 1:
			put(plan, 16, 4, one_of(12));
			break;
		case 2:
			put(plan, 320 + one_of(4), 1, one_of(256));
			break;
		case 3:
			put(plan, 80, 8, one_of(8));
			break;
		case 4:
			put(plan, 88, 8, one_of(2) ? one_of(8) : QCOW2_AUTOCLEAR_BITMAPS);
			break;
		case 5:
			put(plan, 72, 8, one_of(4));
			break;
		case 6:
			put(plan, 104 + 4 * one_of(20), 4, one_of(3) ? (uint64_t)rand() : 0);
			break;
		case 7:
			put(plan, 112 + one_of(5), 1, 'a' + one_of(26));
			break;
		default:
			put(plan, one_of(CLUSTER - 4), 4, one_of(2) ? one_of(3) : (uint64_t)rand());
		}
}

/* The problems that a judge told, as text. */
struct told {
	char text[TOLD_MOST];
	size_t size;
};

static int hear(void *opaque, const struct qcow2_problem *problem)
{
	struct told *told = opaque;

	told->size += (size_t)snprintf(told->text + told->size, sizeof(told->text) - told->size,
				       "%s %s\n", problem->kind->id, problem->where);
	assert_true(told->size < sizeof(told->text));
	return 0;
}

/* Judges a plan, without what the caller has no use for. */
static struct q2_verdict *judge_without(struct qcow2_plan *plan, struct told *told, bool totals,
					bool digests)
{
	const struct qcow2_judge_options how = {.size = sizeof(how),
						.problem = hear,
						.opaque = told,
						.without_totals = totals,
						.without_digests = digests};
	struct qcow2_plan_verdict *verdict;

	*told = (struct told){.size = 0};
	plan->digests.are_current = false;
	assert_int_equal(qcow2_plan_judge(plan, &how, &verdict, &err), 0);
	assert_int_equal(plan->digests.are_current, !digests);
	/* The public part is the first member. */
	return (void *)verdict;
}

static struct q2_verdict *judge(struct qcow2_plan *plan, struct told *told)
{
	return judge_without(plan, told, false, false);
}

static void compare_totals(const struct q2_check_totals *one, const struct q2_check_totals *other)
{
	const struct qcow2_check_result *a = &one->sum, *b = &other->sum;

	assert_memory_equal(one->by_kind, other->by_kind, sizeof(one->by_kind));
	assert_int_equal(a->corruptions, b->corruptions);
	assert_int_equal(a->leaks, b->leaks);
	assert_int_equal(a->warnings, b->warnings);
	assert_int_equal(a->clusters_checked, b->clusters_checked);
	assert_int_equal(a->has_data_file, b->has_data_file);
	assert_int_equal(a->image_end_offset_bytes, b->image_end_offset_bytes);
	assert_int_equal(a->total_clusters, b->total_clusters);
	assert_int_equal(a->allocated_clusters, b->allocated_clusters);
	assert_int_equal(a->fragmented_clusters, b->fragmented_clusters);
	assert_int_equal(a->compressed_clusters, b->compressed_clusters);
	assert_int_equal(a->leaked_clusters, b->leaked_clusters);
	assert_int_equal(a->has_digest, b->has_digest);
	assert_memory_equal(a->metadata_digest, b->metadata_digest, sizeof(a->metadata_digest));
}

/* Compares what decides whether a plan may be applied. */
static void compare_verdicts(const struct q2_verdict *one, const struct q2_verdict *other)
{
	assert_int_equal(one->opened_before, other->opened_before);
	assert_int_equal(one->not_opened.code, other->not_opened.code);
	assert_int_equal(one->adds_problems, other->adds_problems);
	assert_memory_equal(one->added_by_kind, other->added_by_kind, sizeof(one->added_by_kind));
	assert_int_equal(one->refusals_total, other->refusals_total);
	assert_int_equal(one->refusal_count, other->refusal_count);
	for (size_t i = 0; i < one->refusal_count; i++) {
		assert_ptr_equal(one->refusals[i].guard, other->refusals[i].guard);
		assert_string_equal(one->refusals[i].where, other->refusals[i].where);
		assert_string_equal(one->refusals[i].text, other->refusals[i].text);
	}
}

static void compare_digests(const struct q2_plan_digests *one, const struct q2_plan_digests *other)
{
	assert_int_equal(one->has_before, other->has_before);
	assert_int_equal(one->has_after, other->has_after);
	assert_int_equal(one->has_data_file, other->has_data_file);
	assert_memory_equal(one->before, other->before, sizeof(one->before));
	assert_memory_equal(one->after, other->after, sizeof(one->after));
}

/* Compares the verdict with those for callers who need less. Returns whether one cost less. */
static bool compare_short(struct qcow2_plan *plan, const struct q2_verdict *whole,
			  const struct told *told)
{
	const struct q2_plan_digests digests = plan->digests;
	bool shorter = false;

	for (unsigned digest = 0; digest <= 1; digest++) {
		struct told now;
		struct q2_verdict *verdict = judge_without(plan, &now, true, digest == 0);

		compare_verdicts(verdict, whole);
		assert_string_equal(now.text, told->text);
		if (digest)
			compare_digests(&plan->digests, &digests);
		shorter |=
			whole->before.sum.clusters_checked && !verdict->before.sum.clusters_checked;
		qcow2_plan_verdict_free(&verdict->public);
	}
	return shorter;
}

/* Whether one check is enough, as the judge finds out itself. */
static bool shares(struct qcow2_plan *plan, struct qcow2_source *source)
{
	const struct qcow2_check_options how = {.digest = true};
	struct qcow2_source *view;
	struct qcow2_image *image;
	struct q2_structures found;
	bool shared = false;

	assert_int_equal(qcow2_plan_view(plan, &view, &err), 0);
	if (qcow2_image_open(source, &image, &err) == 0) {
		const struct q2_changed changed = {image, view, plan->end_bytes};

		assert_int_equal(q2_check_changed(&changed, &how, &found, &shared, &err), 0);
		qcow2_image_close(image);
	}
	qcow2_source_close(view);
	return shared;
}

/* How often a plan was judged by one check, and by less. */
struct shorter {
	unsigned shared, header;
};

/* Judges a plan in all ways. */
static void play(const struct qcow2_source_ops *ops, struct shorter *shorter)
{
	struct q2_verdict *one, *other;
	struct told told, told_by_whole;
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	bool shared, header;

	assert_int_equal(qcow2_source_from_ops(ops, bytes, sizeof(bytes), &source, &err), 0);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	plan_edits(plan);
	shared = shares(plan, source);
	one = judge(plan, &told);
	header = compare_short(plan, one, &told);
	assert_true(shared || !header);
	/* As if the plan wrote to the end of the file: then both images are checked as a whole. */
	plan->end_bytes = sizeof(bytes);
	assert_false(shares(plan, source));
	other = judge(plan, &told_by_whole);
	compare_verdicts(one, other);
	compare_totals(&one->before, &other->before);
	compare_totals(&one->after, &other->after);
	assert_string_equal(told.text, told_by_whole.text);
	qcow2_plan_verdict_free(&one->public);
	qcow2_plan_verdict_free(&other->public);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	shorter->shared += shared;
	shorter->header += header;
}

static int read_bytes(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	memcpy(buffer, (const uint8_t *)opaque + offset, size);
	return 0;
}

static uint64_t hole_end(void *opaque, uint64_t offset)
{
	const uint8_t *from = opaque;

	while (offset % CLUSTER == 0 && offset < sizeof(bytes) && from[offset] == 0 &&
	       memcmp(from + offset, from + offset + 1, CLUSTER - 1) == 0)
		offset += CLUSTER;
	return offset;
}

/* The same verdict, totals, digest, refusals and problems, whatever the image and the edit. */
static void random_edits(void **state)
{
	struct qcow2_source_ops ops = {.size = sizeof(ops), .read = read_bytes};
	const char *wanted = getenv("CHANGED_ROUNDS");
	unsigned rounds = wanted ? (unsigned)atoi(wanted) : ROUNDS;
	struct shorter shorter = {0};

	(void)state;
	for (unsigned round = 0; round < rounds; round++) {
		srand(round);
		make_image();
		if (round % 8)
			damage_image();
		ops.hole_end = one_of(2) ? hole_end : NULL;
		play(&ops, &shorter);
	}
	/* Most edits are of fields that no table depends on. */
	print_message("one check was enough for %u, and less for %u of %u\n", shorter.shared,
		      shorter.header, rounds);
	assert_in_range(shorter.shared, rounds / 4, rounds - rounds / 8);
	assert_in_range(shorter.header, rounds / 8, shorter.shared - rounds / 32);
}

/* Counts the bytes that are read of L2 tables and the refcount block. */
struct counter {
	uint64_t read_bytes;
};

static int count_bytes(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	if (offset >= AT(BLOCK) && offset < AT(SNAPSHOTS))
		((struct counter *)opaque)->read_bytes += size;
	return read_bytes(bytes, offset, buffer, size);
}

/* Bytes of them that the judge of a plan reads which changes one field. */
static uint64_t cost(uint64_t at, uint64_t value)
{
	struct qcow2_source_ops ops = {.size = sizeof(ops), .read = count_bytes};
	struct counter counter = {0};
	struct qcow2_source *source;
	struct q2_verdict *verdict;
	struct qcow2_plan *plan;
	struct told told;

	make_image();
	assert_int_equal(qcow2_source_from_ops(&ops, &counter, sizeof(bytes), &source, &err), 0);
	assert_int_equal(qcow2_plan_open(source, &plan, &err), 0);
	put(plan, at, 8, value);
	verdict = judge(plan, &told);
	assert_false(verdict->adds_problems);
	qcow2_plan_verdict_free(&verdict->public);
	qcow2_plan_close(plan);
	qcow2_source_close(source);
	return counter.read_bytes;
}

/* Another disk size needs a second check of the tables, a compatible feature does not. */
static void reads_once(void **state)
{
	const uint64_t once = AT(SNAPSHOTS) - AT(BLOCK);

	(void)state;
	assert_int_equal(cost(80, 1), once);
	assert_true(cost(24, AT(127)) >= 2 * once);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_edits),
		cmocka_unit_test(reads_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
