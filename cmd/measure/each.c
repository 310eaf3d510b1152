/* SPDX-License-Identifier: MIT */
/* The snapshots and bitmaps of an image, each with what keeping it costs. See run.h. */
#include "measure/run.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/snapshot.h>

/* How many are told. */
#define USERS_MOST 1000

struct each {
	struct measure_run *run;
	const struct qcow2_image *image;
	uint64_t number; /* of the user: those of a kind are in the order of their table */
	uint64_t left;
	void (*tell)(void *opaque, const struct measure_user *user);
	void *opaque;
};

/* Keeps why no more can be told. Where there are none, or the image is broken, nothing has failed. */
static void fail(struct each *each, const struct qcow2_error *err)
{
	if (each->run->failed || (err->code != QCOW2_ERROR_IO && err->code != QCOW2_ERROR_MEMORY))
		return;
	each->run->failed = true;
	each->run->err = *err;
}

/* Tells one. False: no more can be told. */
static bool tell(struct each *each, struct measure_user *user)
{
	struct qcow2_error err;

	if (each->left == 0)
		return false;
	if (qcow2_measure_kept(each->image, each->run->usage, each->number++, &user->kept_bytes,
			       &err)) {
		fail(each, &err);
		return false;
	}
	each->left--;
	each->tell(each->opaque, user);
	return true;
}

static void tell_snapshots(struct each *each)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct measure_user user = {.is_snapshot = true};
	struct qcow2_error err;
	int more;

	if (qcow2_snapshots_open(each->image, &snapshots, &err)) {
		fail(each, &err);
		return;
	}
	while ((more = qcow2_snapshots_next(snapshots, &snapshot, &err)) > 0) {
		user.id = snapshot->id;
		user.name = snapshot->name;
		if (!tell(each, &user))
			break;
	}
	if (more < 0)
		fail(each, &err);
	qcow2_snapshots_close(snapshots);
}

static void tell_bitmaps(struct each *each)
{
	const struct qcow2_bitmap *bitmap;
	struct qcow2_bitmaps *bitmaps;
	struct measure_user user = {0};
	struct qcow2_error err;
	int more;

	if (qcow2_bitmaps_open(each->image, &bitmaps, &err)) {
		fail(each, &err);
		return;
	}
	while ((more = qcow2_bitmaps_next(bitmaps, &bitmap, &err)) > 0) {
		user.name = bitmap->name;
		if (!tell(each, &user))
			break;
	}
	if (more < 0)
		fail(each, &err);
	qcow2_bitmaps_close(bitmaps);
}

uint64_t measure_each(struct measure_run *run, const struct measure_each *wanted)
{
	const enum qcow2_part_of kind =
		wanted->snapshots ? QCOW2_PART_OF_SNAPSHOT : QCOW2_PART_OF_BITMAP;
	const uint64_t users = qcow2_usage_user_count(run->usage);
	struct each each = {run, run->stack.layers[0].image, 1, 0, wanted->tell, wanted->opaque};
	uint64_t count = 0, most = wanted->most < USERS_MOST ? wanted->most : USERS_MOST;

	while (each.number < users && qcow2_usage_user_at(run->usage, each.number)->part_of != kind)
		each.number++;
	while (each.number + count < users &&
	       qcow2_usage_user_at(run->usage, each.number + count)->part_of == kind)
		count++;
	most = count < most ? count : most;
	each.left = most;
	if (wanted->snapshots)
		tell_snapshots(&each);
	else
		tell_bitmaps(&each);
	return count - (most - each.left);
}
