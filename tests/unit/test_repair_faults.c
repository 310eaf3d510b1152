/* SPDX-License-Identifier: MIT */
/*
 * A repair of refcounts as the library sees it: how often it reads an image, on a device, where no
 * cluster can be added, and when memory is short. The leak checker watches.
 */
#include "faults.h"
#include "image_bytes.h"

#include <qcow2/edit.h>
#include <qcow2/repair.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "plan/plan.h"
#include "source/source.h"

#define TABLE    512
#define BLOCK    1024
#define L2       2048
#define CLUSTERS 8

static uint8_t bytes[CLUSTERS * CLUSTER];
static unsigned l2_reads; /* that begin where the L2 table does, as those of a check */
static struct qcow2_error err;

/* Clusters: header, refcount table, one block of 16-bit counts, L1, L2, one of data, two free. */
static void build(void)
{
	memset(bytes, 0, sizeof(bytes));
	put_header(bytes, 16384);
	put_be(bytes + 36, 4, 1);
	put_be(bytes + 40, 8, 3 * CLUSTER);
	put_be(bytes + 48, 8, TABLE);
	put_be(bytes + 56, 4, 1);
	put_be(bytes + TABLE, 8, BLOCK);
	for (unsigned i = 0; i < 6; i++)
		put_be(bytes + BLOCK + i * 2, 2, 1);
	put_be(bytes + 3 * CLUSTER, 8, UINT64_C(1) << 63 | L2);
	put_be(bytes + L2, 8, UINT64_C(1) << 63 | 5 * CLUSTER);
	l2_reads = 0;
}

static int read_bytes(void *opaque, uint64_t offset, void *buffer, size_t size)
{
	(void)opaque;
	l2_reads += offset == L2;
	memcpy(buffer, bytes + offset, size);
	return 0;
}

static const struct qcow2_source_ops ops = {.size = sizeof(ops), .read = read_bytes};

struct trial {
	struct qcow2_source *source;
	struct qcow2_plan *plan;
	struct qcow2_repair_result *result;
	struct q2_source_backend device;
};

/* Of a device, nothing can be added to the clusters. */
static int start(struct trial *trial, size_t clusters, bool is_device)
{
	*trial = (struct trial){.source = NULL};
	if (qcow2_source_from_ops(&ops, NULL, clusters * CLUSTER, &trial->source, &err))
		return -1;
	trial->device = *trial->source->backend;
	trial->device.fixed_size = true;
	if (is_device)
		trial->source->backend = &trial->device;
	return qcow2_plan_open(trial->source, &trial->plan, &err);
}

static int repair(struct trial *trial)
{
	const struct qcow2_repair_options how = {.size = sizeof(how), .threads = 1};

	return qcow2_repair(trial->plan, &how, &trial->result, &err);
}

static void end(struct trial *trial)
{
	qcow2_repair_result_free(trial->result);
	qcow2_plan_close(trial->plan);
	qcow2_source_close(trial->source);
}

static unsigned reads_of_judge(struct trial *trial)
{
	struct qcow2_plan_verdict *verdict;
	unsigned before = l2_reads;

	assert_int_equal(qcow2_plan_judge(trial->plan, NULL, &verdict, &err), 0);
	assert_false(verdict->adds_problems);
	qcow2_plan_verdict_free(verdict);
	return l2_reads - before;
}

/* What a check that looks for as much as a repair reads of the image as it is. */
static unsigned reads_of_check(struct trial *trial)
{
	const struct qcow2_check_options how = {.size = sizeof(how),
						.threads = 1,
						.clusters_untold = true,
						.damage = true,
						.lost_mappings = true};
	struct qcow2_image *image;
	unsigned reads;

	assert_int_equal(qcow2_image_open(trial->source, &image, &err), 0);
	assert_int_equal(qcow2_check(image, &how, NULL, &err), 0);
	qcow2_image_close(image);
	reads = l2_reads;
	l2_reads = 0;
	return reads;
}

/* A sound image is checked once, and what that check found is not sought again. */
static void sound_is_checked_once(void **state)
{
	struct trial trial;
	unsigned once;

	(void)state;
	build();
	assert_int_equal(start(&trial, 6, false), 0);
	once = reads_of_check(&trial);
	assert_int_equal(repair(&trial), 0);
	assert_int_equal(qcow2_plan_count(trial.plan), 0);
	assert_int_equal(l2_reads, once);
	assert_int_equal(reads_of_judge(&trial), 0);
	end(&trial);
}

/* The check before and that after prove a repair, until the plan is another one. */
static void proof_ends_with_the_plan(void **state)
{
	const uint8_t byte = 1;
	struct trial trial;
	unsigned once;

	(void)state;
	build();
	put_be(bytes + BLOCK + 10, 2, 7);
	assert_int_equal(start(&trial, 6, false), 0);
	once = reads_of_check(&trial);
	assert_int_equal(repair(&trial), 0);
	assert_int_equal(trial.result->before->leaks, 1);
	assert_int_equal(trial.result->after->leaks, 0);
	assert_in_range(l2_reads, 1, 2 * once);
	assert_int_equal(reads_of_judge(&trial), 0);
	assert_int_equal(qcow2_plan_write(trial.plan, QCOW2_PHASE_CLEAN, 5 * CLUSTER,
					  (struct qcow2_bytes){&byte, 1}, "another", &err),
			 0);
	assert_true(reads_of_judge(&trial) >= 2);
	end(&trial);
}

/* The refcount block has to be made anew: on a device, where a free cluster is. */
static void device_gives_its_free_clusters(void **state)
{
	struct trial trial;
	uint8_t word[8];

	(void)state;
	build();
	put_be(bytes + TABLE, 8, UINT64_C(100) * CLUSTER);
	assert_int_equal(start(&trial, CLUSTERS, true), 0);
	assert_int_equal(repair(&trial), 0);
	assert_int_equal(trial.result->after->corruptions + trial.result->after->leaks, 0);
	assert_int_equal(qcow2_plan_size_bytes(trial.plan), CLUSTERS * CLUSTER);
	assert_int_equal(q2_plan_read(trial.plan, TABLE, word, sizeof(word), &err), 0);
	assert_in_range(word[6] * 256 + word[7], 2 * CLUSTER, (CLUSTERS - 1) * CLUSTER);
	end(&trial);
}

/* What is in free clusters is no reason to spare them while nothing of the mapping is missing. */
static void device_gives_what_was_freed(void **state)
{
	struct trial trial;

	(void)state;
	build();
	put_be(bytes + TABLE, 8, UINT64_C(100) * CLUSTER);
	memset(bytes + BLOCK, 7, CLUSTER);
	memset(bytes + 6 * CLUSTER, 7, 2 * CLUSTER);
	assert_int_equal(start(&trial, CLUSTERS, true), 0);
	assert_int_equal(repair(&trial), 0);
	assert_int_equal(trial.result->after->corruptions + trial.result->after->leaks, 0);
	end(&trial);
}

/* The L1 entry is lost with the block: neither the L2 table nor the data may become free. */
static void device_spares_lost_data(void **state)
{
	struct trial trial;
	uint8_t word[8];

	(void)state;
	build();
	put_be(bytes + TABLE, 8, UINT64_C(100) * CLUSTER);
	put_be(bytes + 3 * CLUSTER, 8, 0);
	memset(bytes + 5 * CLUSTER, 7, CLUSTER);
	assert_int_equal(start(&trial, CLUSTERS, true), 0);
	assert_int_equal(repair(&trial), 0);
	assert_int_equal(trial.result->after->corruptions, 0);
	assert_int_equal(trial.result->after->leaks, 2);
	assert_int_equal(q2_plan_read(trial.plan, TABLE, word, sizeof(word), &err), 0);
	/* Of the two that hold zeros. */
	assert_in_range(word[6] * 256 + word[7], 6 * CLUSTER, 7 * CLUSTER);
	end(&trial);
}

/* All clusters are in use: the block cannot be made, nothing is planned, and the reason is told. */
static void full_device_is_left(void **state)
{
	struct trial trial;
	bool told = false;

	(void)state;
	build();
	put_be(bytes + TABLE, 8, UINT64_C(100) * CLUSTER);
	/* The second cluster, which was the block, is one of data. */
	put_be(bytes + L2 + 8, 8, UINT64_C(1) << 63 | BLOCK);
	assert_int_equal(start(&trial, 6, true), 0);
	assert_int_equal(repair(&trial), 0);
	assert_true(trial.result->after->corruptions > 0);
	for (size_t i = 0; i < trial.result->left_count; i++)
		told |= strstr(trial.result->left[i]->why, "the device is full") != NULL;
	assert_true(told);
	end(&trial);
}

/* With each allocation failing once, a repair fails cleanly, mends all, or says what it leaves. */
static void without_memory(void **state)
{
	struct trial trial;
	unsigned failed = 0;
	int done = -1;

	(void)state;
	build();
	put_be(bytes + TABLE, 8, UINT64_C(100) * CLUSTER);
	for (unsigned long i = 1; done; i++) {
		bool reached;

		assert_true(i < 10000);
		faults_fail_allocation = i;
		done = start(&trial, CLUSTERS, i % 2) || repair(&trial);
		reached = faults_fail_allocation == 0;
		faults_fail_allocation = 0;
		if (done)
			assert_int_equal(err.code, QCOW2_ERROR_MEMORY);
		else
			assert_true(trial.result->after->corruptions == 0 ||
				    trial.result->left_count > 0);
		failed += done != 0;
		done = reached;
		end(&trial);
	}
	assert_true(failed > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound_is_checked_once),
		cmocka_unit_test(proof_ends_with_the_plan),
		cmocka_unit_test(device_gives_its_free_clusters),
		cmocka_unit_test(device_gives_what_was_freed),
		cmocka_unit_test(device_spares_lost_data),
		cmocka_unit_test(full_device_is_left),
		cmocka_unit_test(without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
