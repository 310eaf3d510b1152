/* SPDX-License-Identifier: MIT */
/* What is known of host clusters: marks, weights, conflicts, merging, limits; classes of refcounts.
 */
#include <qcow2/entry.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/crew.h"
#include "check/classify.h"
#include "check/clusters.h"
#include "check/packed.h"
#include "check/tally.h"

#define CLUSTERS 140000

static struct q2_memory memory;

static void start(struct q2_clusters *clusters)
{
	memory.limit_bytes = UINT64_C(1) << 26;
	assert_true(q2_clusters_init(clusters, CLUSTERS, &memory));
}

static void assert_state(const struct q2_clusters *clusters, uint64_t cluster, uint64_t count,
			 enum qcow2_claim_use use, unsigned flags)
{
	struct q2_cluster_state state = q2_clusters_get(clusters, cluster);

	assert_int_equal(state.count, count);
	assert_int_equal(state.use, use);
	assert_int_equal(state.flags, flags);
}

static void marks(void **state)
{
	struct q2_clusters c;

	(void)state;
	start(&c);
	assert_state(&c, 5, 0, QCOW2_USE_NONE, 0);
	q2_clusters_mark(&c, 60, 10, QCOW2_USE_DATA_COPIED, 1);
	assert_state(&c, 59, 0, QCOW2_USE_NONE, 0);
	for (uint64_t i = 60; i < 70; i++)
		assert_state(&c, i, 1, QCOW2_USE_DATA_COPIED, Q2_SEEN_COPIED);
	assert_state(&c, 70, 0, QCOW2_USE_NONE, 0);
	q2_clusters_mark(&c, 65, 1, QCOW2_USE_DATA_SHARED, 1);
	assert_state(&c, 65, 2, QCOW2_USE_DATA_COPIED, Q2_SEEN_COPIED | Q2_SEEN_SHARED);
	assert_state(&c, 64, 1, QCOW2_USE_DATA_COPIED, Q2_SEEN_COPIED);
	q2_clusters_mark(&c, 4000, 5000, QCOW2_USE_DATA, 101);
	assert_state(&c, 4000, 101, QCOW2_USE_DATA, 0);
	assert_state(&c, 8999, 101, QCOW2_USE_DATA, 0);
	q2_clusters_mark(&c, 8999, 1, QCOW2_USE_DATA, 9000);
	assert_state(&c, 8999, 9101, QCOW2_USE_DATA, 0);
	assert_state(&c, 8998, 101, QCOW2_USE_DATA, 0);
	q2_clusters_mark(&c, 8999, 1, QCOW2_USE_DATA, UINT64_MAX >> 3);
	assert_state(&c, 8999, UINT64_MAX >> 3, QCOW2_USE_DATA, 0);
	assert_false(q2_clusters_note_fresh(&c, 4096, QCOW2_USE_DATA)); /* no bitset yet */
	q2_clusters_note(&c, 4096, QCOW2_USE_DATA);
	q2_clusters_note(&c, 4096, QCOW2_USE_DATA); /* for the second there is no bit */
	assert_state(&c, 4096, 102, QCOW2_USE_DATA, 0);
	assert_true(q2_clusters_note_fresh(&c, 100, QCOW2_USE_DATA));
	assert_false(q2_clusters_note_fresh(&c, 100, QCOW2_USE_DATA));
	q2_clusters_note(&c, 100, QCOW2_USE_DATA_SHARED);
	assert_state(&c, 100, 0, QCOW2_USE_NONE, 0);
	q2_clusters_join(&(struct q2_clusters *){&c}, 1, 1);
	assert_state(&c, 4096, 103, QCOW2_USE_DATA, 0);
	assert_state(&c, 100, 2, QCOW2_USE_DATA, Q2_SEEN_SHARED);
	q2_clusters_mark(&c, CLUSTERS, 0, QCOW2_USE_DATA, 1);
	assert_false(c.failed);
	q2_clusters_release(&c);
	assert_int_equal(memory.used_bytes, 0);
}

/* Which uses may share a cluster. */
static void conflicts(void **state)
{
	const enum qcow2_claim_use data[] = {QCOW2_USE_DATA, QCOW2_USE_DATA_COPIED,
					     QCOW2_USE_DATA_SHARED};

	(void)state;
	for (unsigned a = QCOW2_USE_DATA; a <= QCOW2_USE_COMPRESSED; a++) {
		for (unsigned b = QCOW2_USE_DATA; b <= QCOW2_USE_COMPRESSED; b++) {
			bool both_data = a <= data[2] && b <= data[2];
			bool both_compressed = a == QCOW2_USE_COMPRESSED && a == b;
			struct q2_clusters c, other;
			unsigned flags;

			start(&c);
			start(&other);
			q2_clusters_mark(&c, 7, 1, (enum qcow2_claim_use)a, 1);
			q2_clusters_mark(&c, 7, 1, (enum qcow2_claim_use)b, 1);
			flags = q2_clusters_get(&c, 7).flags;
			assert_int_equal((flags & Q2_SEEN_CONFLICT) != 0,
					 !both_data && !both_compressed);
			/* and the same if two threads saw one each */
			q2_clusters_mark(&c, 9, 1, (enum qcow2_claim_use)a, 1);
			q2_clusters_mark(&other, 9, 1, (enum qcow2_claim_use)b, 1);
			q2_clusters_join((struct q2_clusters *[]){&c, &other}, 2, 1);
			assert_int_equal(q2_clusters_get(&c, 9).flags, flags);
			assert_int_equal(q2_clusters_get(&c, 9).count, 2);
			q2_clusters_release(&c);
			q2_clusters_release(&other);
		}
	}
	assert_int_equal(memory.used_bytes, 0);
}

/* Any split of marks among two threads comes to the same. */
static void merging(void **state)
{
	struct q2_clusters whole, parts[2];
	uint64_t seed = 1;

	(void)state;
	start(&whole);
	start(&parts[0]);
	start(&parts[1]);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t first, count, weight;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
		first = (seed >> 33) % (CLUSTERS - 200);
		count = (seed >> 20) % 130 + 1;
		weight = (seed >> 50) % 8 == 0 ? 5000 : 1;
		q2_clusters_mark(&whole, first, count, QCOW2_USE_DATA_COPIED, weight);
		if (count % 3 == 0 && weight == 1)
			for (uint64_t j = 0; j < count; j++)
				q2_clusters_note(&parts[(seed >> 40) % 2], first + j,
						 QCOW2_USE_DATA_COPIED);
		else
			q2_clusters_mark(&parts[(seed >> 40) % 2], first, count,
					 QCOW2_USE_DATA_COPIED, weight);
	}
	q2_clusters_join((struct q2_clusters *[]){&parts[0], &parts[1]}, 2, 1);
	for (uint64_t i = 0; i < CLUSTERS; i++) {
		struct q2_cluster_state a = q2_clusters_get(&whole, i);
		struct q2_cluster_state b = q2_clusters_get(&parts[0], i);

		assert_true(a.count == b.count && a.use == b.use && a.flags == b.flags);
	}
	q2_clusters_release(&whole);
	q2_clusters_release(&parts[0]);
	q2_clusters_release(&parts[1]);
	assert_int_equal(memory.used_bytes, 0);
}

static void tally(struct q2_clusters *c, uint64_t first, uint64_t count, enum qcow2_claim_use use,
		  uint64_t weight)
{
	unsigned flags = use == QCOW2_USE_DATA_COPIED   ? Q2_SEEN_COPIED
			 : use == QCOW2_USE_DATA_SHARED ? Q2_SEEN_SHARED
							: 0;

	if (count > 15) {
		q2_tally_run(c, first, count, use, weight);
		return;
	}
	for (uint64_t i = first; i < first + count; i++)
		if (!q2_tally_add(q2_tally_need(c, i / Q2_CHUNK_CLUSTERS), i,
				  (uint16_t)(weight << Q2_TALLY_FLAG_BITS), flags))
			q2_clusters_mark(c, i, 1, use, weight);
}

/* Tallies of two threads, beside metadata and counts that do not fit, are as marks. */
static void tallies(void **state)
{
	struct q2_clusters whole, parts[2];
	uint64_t seed = 5;

	(void)state;
	start(&whole);
	start(&parts[0]);
	start(&parts[1]);
	for (unsigned i = 0; i < 6000; i++) {
		uint64_t first, count, weight;
		enum qcow2_claim_use use;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
		first = (seed >> 33) % (CLUSTERS - 200);
		count = (seed >> 20) % 130 + 1;
		weight = (seed >> 50) % 16 == 0 ? (seed >> 24) % Q2_TALLY_MOST + 1 : 1 + i % 3;
		use = (enum qcow2_claim_use)(QCOW2_USE_DATA + (seed >> 60) % 3);
		if (i % 1000 == 0) {
			q2_clusters_mark(&whole, first, 3, QCOW2_USE_METADATA, 1);
			q2_clusters_mark(&parts[0], first, 3, QCOW2_USE_METADATA, 1);
		}
		q2_clusters_mark(&whole, first, count, use, weight);
		tally(&parts[(seed >> 40) % 2], first, count, use, weight);
	}
	q2_clusters_join((struct q2_clusters *[]){&parts[0], &parts[1]}, 2, 2);
	for (uint64_t i = 0; i < CLUSTERS; i++) {
		struct q2_cluster_state a = q2_clusters_get(&whole, i);
		struct q2_cluster_state b = q2_clusters_get(&parts[0], i);

		assert_true(a.count == b.count && a.flags == b.flags);
		assert_true(a.use == b.use || (a.count > 1 && a.use != QCOW2_USE_NONE && b.use));
	}
	q2_clusters_release(&whole);
	q2_clusters_release(&parts[0]);
	q2_clusters_release(&parts[1]);
	assert_int_equal(memory.used_bytes, 0);
}

/* What was tallied and not folded is released; without memory nothing is. */
static void tallies_in_little_memory(void **state)
{
	struct q2_memory small = {.limit_bytes = 120000};
	struct q2_clusters c;

	(void)state;
	assert_true(q2_clusters_init(&c, UINT64_C(1) << 34, &small));
	for (uint64_t i = 0; i < 100; i++)
		q2_tally_run(&c, i * 5000, 1, QCOW2_USE_DATA, 2);
	assert_true(c.failed);
	assert_true(small.used_bytes <= small.limit_bytes);
	q2_clusters_release(&c);
	assert_int_equal(small.used_bytes, 0);
}

/* The limit holds, is noticed, and nothing is lost of what was there. */
static void limits(void **state)
{
	struct q2_memory small = {.limit_bytes = 100000};
	struct q2_clusters c;

	(void)state;
	assert_false(q2_clusters_init(&c, (UINT64_C(1) << 48) + 1, &small));
	q2_clusters_release(&c);
	assert_true(q2_clusters_init(&c, UINT64_C(1) << 34, &small));
	for (uint64_t i = 0; i < 100; i++)
		q2_clusters_mark(&c, i * 5000, 1, QCOW2_USE_DATA, 2);
	assert_true(c.failed);
	assert_true(small.limited);
	assert_true(small.used_bytes <= small.limit_bytes);
	assert_int_equal(q2_clusters_get(&c, 0).count, 2);
	q2_clusters_release(&c);
	assert_int_equal(small.used_bytes, 0);
}

/* 64 refcounts of every width, against the slow way to read one. */
static void classes(void **state)
{
	uint8_t bytes[512];
	uint64_t seed = 3;

	(void)state;
	for (unsigned order = 0; order <= 6; order++) {
		for (unsigned round = 0; round < 200; round++) {
			struct q2_refcount_classes fast, slow;

			for (size_t i = 0; i < sizeof(bytes); i++) {
				seed = seed * UINT64_C(6364136223846793005) + 1;
				bytes[i] = (uint8_t)(seed >> 60 < 12 ? seed >> 56 & 1 : seed >> 40);
			}
			fast = q2_classify_choose(order)(bytes);
			slow = q2_classify_portable(order)(bytes);
			assert_true(fast.zero == slow.zero && fast.one == slow.one);
			for (unsigned i = 0; i < 64; i++) {
				uint64_t count = qcow2_refcount_get(bytes, i, 1U << order);

				assert_int_equal(slow.zero >> i & 1, count == 0);
				assert_int_equal(slow.one >> i & 1, count == 1);
			}
		}
	}
}

static bool count_piece(void *opaque, unsigned worker, uint64_t piece)
{
	_Atomic uint64_t *done = opaque;

	assert_true(worker < 64);
	atomic_fetch_add(&done[piece], 1);
	return piece != 700;
}

/* Clusters of every kind: runs, single ones, shared ones, counts of 16, 32 and 64 bits. */
static void mark_all_kinds(struct q2_clusters *c)
{
	start(c);
	q2_clusters_mark(c, 0, 5000, QCOW2_USE_DATA_COPIED, 1);
	q2_clusters_mark(c, 63, 2, QCOW2_USE_METADATA, 1);
	q2_clusters_mark(c, 9000, 3000, QCOW2_USE_DATA, 7);
	q2_clusters_mark(c, 12500, 1, QCOW2_USE_COMPRESSED, 70000);
	q2_clusters_mark(c, 20000, 1, QCOW2_USE_DATA_SHARED, UINT64_C(1) << 40);
	for (uint64_t i = 24576; i < 32768; i += 2)
		q2_clusters_mark(c, i, 1, QCOW2_USE_L2_COPIED, 1 + i % 5);
	q2_clusters_mark(c, CLUSTERS - 1, 1, QCOW2_USE_L2_SHARED, 1);
}

static void packing(void **state)
{
	struct q2_clusters c, same;
	struct q2_packed packed;
	uint64_t before;

	(void)state;
	mark_all_kinds(&same);
	mark_all_kinds(&c);
	assert_true(q2_packed_take(&packed, &c));
	assert_null(c.leaves);
	for (uint64_t i = 0; i < CLUSTERS; i++) {
		struct q2_cluster_state now = q2_packed_get(&packed, i);

		assert_state(&same, i, now.count, now.use, now.flags);
	}
	q2_packed_release(&packed);
	q2_packed_release(&packed);
	q2_clusters_release(&same);
	assert_int_equal(memory.used_bytes, 0);
	/* Runs take little, and what is not packed no more than before. */
	start(&c);
	q2_clusters_mark(&c, 0, CLUSTERS, QCOW2_USE_DATA_COPIED, 1);
	before = memory.used_bytes;
	assert_true(q2_packed_take(&packed, &c));
	assert_true(memory.used_bytes + 8192 < before);
	q2_packed_release(&packed);
}

static void packing_without_memory(void **state)
{
	struct q2_clusters c;
	struct q2_packed packed;
	unsigned failures = 0;

	(void)state;
	for (unsigned more = 0; more < 34000; more += 1000) {
		mark_all_kinds(&c);
		memory.limit_bytes = memory.used_bytes + more;
		/* What was packed makes room for more. */
		failures += !q2_packed_take(&packed, &c);
		q2_packed_release(&packed);
		assert_int_equal(memory.used_bytes, 0);
		memory.limited = false;
	}
	assert_true(failures > 0);
}

static void crews(void **state)
{
	static _Atomic uint64_t done[1000];
	struct q2_crew_work work = {.work = count_piece, .opaque = (void *)done};

	(void)state;
	for (work.threads = 1; work.threads < 9; work.threads += 3) {
		work.pieces = 700;
		assert_true(q2_crew_run(&work));
		for (size_t i = 0; i < 700; i++) {
			assert_int_equal(done[i], 1);
			done[i] = 0;
		}
		work.pieces = 1000;
		assert_false(q2_crew_run(&work));
		memset((void *)done, 0, sizeof(done));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks),
		cmocka_unit_test(conflicts),
		cmocka_unit_test(merging),
		cmocka_unit_test(tallies),
		cmocka_unit_test(tallies_in_little_memory),
		cmocka_unit_test(limits),
		cmocka_unit_test(classes),
		cmocka_unit_test(crews),
		cmocka_unit_test(packing),
		cmocka_unit_test(packing_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
