/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes differences of mappings: the active disk and the first snapshots of an image, each with the
 * next one, and the disks of two copies of it. Differences must rise, must differ in kind or place,
 * and must be the same ones if L2 tables and entries in common are not passed, which they are not
 * between copies.
 */
#include <stdlib.h>

#include <qcow2/qcow2.h>

#define DISKS_MOST       4
#define IMAGE_MOST       ((size_t)1 << 18)
#define DIFFERENCES_MOST 50000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool truth)
{
	if (!truth)
		abort();
}

/* Disk 0 is the active one, the others are snapshots. NULL if it cannot be opened. */
static struct qcow2_mapping *open_disk(const struct qcow2_image *image, unsigned disk)
{
	struct qcow2_mapping *mapping = NULL;
	struct qcow2_error err;

	if (disk == 0 ? qcow2_mapping_open(image, &mapping, &err)
		      : qcow2_mapping_open_snapshot(image, disk - 1, &mapping, &err))
		return NULL;
	return mapping;
}

static void judge_side(const struct qcow2_mapping_difference *d, unsigned i)
{
	const struct qcow2_mapping_side *side = d->sides[i];

	if (!side)
		return;
	demand(qcow2_l2_kind_name(side->kind) != NULL);
	demand((side->host.byte == QCOW2_NO_OFFSET) == (side->host_bytes == 0));
	demand((side->kind == QCOW2_L2_INVALID) == (side->problem != QCOW2_PROBLEM_NONE));
	if (side->host_bytes > 0 && side->kind != QCOW2_L2_COMPRESSED)
		demand(side->host_bytes == d->length_bytes);
}

static void judge(const struct qcow2_mapping_difference *d)
{
	const struct qcow2_mapping_side *a = d->sides[0], *b = d->sides[1];

	demand(d->length_bytes > 0 && (a || b));
	judge_side(d, 0);
	judge_side(d, 1);
	if (!a || !b) {
		demand(!d->reads_same);
		return;
	}
	demand(a->kind != b->kind || a->kind == QCOW2_L2_INVALID || a->host.byte != b->host.byte ||
	       a->host_bytes != b->host_bytes);
	demand(!d->reads_same || (a->kind != QCOW2_L2_DATA && b->kind != QCOW2_L2_DATA));
}

static bool is_invalid(const struct qcow2_mapping_side *side)
{
	return side && side->kind == QCOW2_L2_INVALID;
}

/* Adds what is told to a digest. What reads the same is known for one image only. */
struct digest {
	uint64_t count, sum;
	bool complete, invalid;
};

static void add(struct digest *digest, const struct qcow2_mapping_difference *d)
{
	digest->count++;
	digest->sum = digest->sum * 31 + d->start.byte;
	digest->sum = digest->sum * 31 + d->length_bytes;
	for (unsigned i = 0; i < 2; i++) {
		digest->invalid |= is_invalid(d->sides[i]);
		if (d->sides[i])
			digest->sum = digest->sum * 31 + d->sides[i]->host.byte +
				      (uint64_t)d->sides[i]->kind;
	}
}

static struct digest compare(struct qcow2_mapping *first, struct qcow2_mapping *second)
{
	const struct qcow2_mapping_difference *d;
	struct digest digest = {0};
	struct qcow2_mapping_diff *diff;
	struct qcow2_error err;
	uint64_t at = 0;
	int more = 0;

	demand(qcow2_mapping_diff_open(first, second, NULL, &diff, &err) == 0);
	while (digest.count < DIFFERENCES_MOST &&
	       (more = qcow2_mapping_diff_next(diff, &d, &err)) > 0) {
		demand(d->start.byte >= at);
		at = d->start.byte + d->length_bytes;
		judge(d);
		add(&digest, d);
	}
	demand(more >= 0 || err.code == QCOW2_ERROR_LIMIT);
	digest.complete = more == 0;
	qcow2_mapping_diff_close(diff);
	return digest;
}

/* Compares two disks of one image, and the same disks of that image and of its copy. */
static void judge_pair(const struct qcow2_image *image, const struct qcow2_image *copy,
		       unsigned disk)
{
	struct qcow2_mapping *first = open_disk(image, disk);
	struct qcow2_mapping *second = open_disk(image, (disk + 1) % DISKS_MOST);
	struct qcow2_mapping *third = open_disk(copy, (disk + 1) % DISKS_MOST);
	struct digest one, two;

	if (first && second && third) {
		one = compare(first, second);
		two = compare(first, third);
		/* Broken tables in common are alike in one image, and never in two. */
		if (one.complete && two.complete && !one.invalid && !two.invalid)
			demand(one.count == two.count && one.sum == two.sum);
	}
	qcow2_mapping_close(first);
	qcow2_mapping_close(second);
	qcow2_mapping_close(third);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_image *image = NULL, *copy = NULL;
	struct qcow2_source *sources[2];
	struct qcow2_error err;

	if (size > IMAGE_MOST)
		return 0;
	for (unsigned i = 0; i < 2; i++)
		demand(qcow2_source_from_memory(data, size, &sources[i], &err) == 0);
	if (qcow2_image_open(sources[0], &image, &err) == 0 &&
	    qcow2_image_open(sources[1], &copy, &err) == 0)
		for (unsigned disk = 0; disk < DISKS_MOST; disk++)
			judge_pair(image, copy, disk);
	qcow2_image_close(image);
	qcow2_image_close(copy);
	for (unsigned i = 0; i < 2; i++)
		qcow2_source_close(sources[i]);
	return 0;
}
