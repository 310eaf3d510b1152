/* SPDX-License-Identifier: MIT */
/*
 * Repair: plans what makes a damaged image sound again. A repair is a plan like any other (edit.h):
 * it can be shown, the image can be checked as it would be, and an undo file takes it back. It goes
 * on where something cannot be mended, and tells what is left.
 *
 *         struct qcow2_repair_options how = {.size = sizeof(how), .tell = tell};
 *         struct qcow2_repair_result *result;
 *
 *         if (qcow2_source_open_for_edit("image.qcow2", 0, &source, &err) == 0 &&
 *             qcow2_plan_open(source, &plan, &err) == 0 &&
 *             qcow2_repair(plan, &how, &result, &err) == 0)
 *                 puts(result->after->corruptions == 0 ? "sound" : "damaged");
 *
 * after which the plan is judged and applied. docs/repair.md says what a repair promises.
 */
#ifndef QCOW2_REPAIR_H
#define QCOW2_REPAIR_H

#include <qcow2/base.h>
#include <qcow2/check.h>
#include <qcow2/edit.h>
#include <qcow2/error.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- repair an image: plan what makes it sound again ---- */

/* How much a repair may do. */
enum qcow2_repair_extent {
	/*
	 * All that costs nothing: what the guest, snapshots and bitmaps can read today they read
	 * afterwards, and nothing that may be found again is given up.
	 */
	QCOW2_REPAIR_LOSSLESS = 0,
	QCOW2_REPAIR_LEAKS = 1, /* only frees clusters that nothing refers to */
	/*
	 * Gives up as well what nobody can read any more: such parts of a disk become zeros, and
	 * bitmaps that nothing can mend become all dirty. Neither drops snapshots nor frees what may
	 * be lost data of the guest; these have options of their own.
	 */
	QCOW2_REPAIR_ALL = 2,
};

/* What a guest reads in a part of its disk. */
enum qcow2_reads {
	QCOW2_READS_SAME = 0,    /* before and after: what it read, and will read */
	QCOW2_READS_DATA = 1,    /* what the guest wrote there, as far as anything tells */
	QCOW2_READS_ZEROS = 2,   /* zeros */
	QCOW2_READS_BACKING = 3, /* what the backing file has, or zeros if there is none */
	QCOW2_READS_ERROR = 4,   /* nothing: programs refuse to read it */
	QCOW2_READS_FOREIGN = 5, /* bytes of something else, such as a table of the image */
};

/*
 * One thing that a repair does. The library owns it, for the time of the callback. Neighbouring
 * places with the same cause and the same effect are one step.
 */
struct qcow2_repair_step {
	size_t size;                           /* set by the library */
	const struct qcow2_problem_kind *kind; /* what it mends; never NULL */
	char where[QCOW2_PROBLEM_WHERE_MAX];   /* the first place, as in struct qcow2_problem */
	uint64_t count;                        /* how many places it mends, at least 1 */
	const char *does;                      /* what is done, one safe line; never NULL */
	bool costs; /* something is given up that could be read, or found again by hand */
	/* The part of a virtual disk that is concerned, and what its guest reads there: */
	bool has_guest;
	uint64_t guest_byte, guest_length_bytes;
	enum qcow2_part_of guest_of; /* QCOW2_PART_OF_IMAGE or QCOW2_PART_OF_SNAPSHOT */
	uint64_t guest_of_index;     /* of the snapshot, before the repair */
	char guest_of_name[QCOW2_OWNER_NAME_MAX]; /* escaped, and cut if it is long */
	enum qcow2_reads before, after;
};

/* How to repair. The caller owns it and sets size; zeros mend all that costs nothing. */
struct qcow2_repair_options {
	size_t size; /* sizeof(struct qcow2_repair_options) */
	enum qcow2_repair_extent extent;
	/*
	 * only_count kinds of problems: nothing else is mended, and these are, even if that costs
	 * something. extent is not looked at then. NULL and 0: all kinds.
	 */
	const struct qcow2_problem_kind *const *only;
	size_t only_count;
	/*
	 * drop_count snapshots that are dropped, whether or not they are damaged: each an ID, a
	 * name, or "#N", the place in the snapshot table, counted from 0.
	 */
	const char *const *drop_snapshots;
	size_t drop_count;
	bool free_lost; /* free leaked clusters although they may be lost data of the guest */
	/* Dropping bitmaps rather than making them all dirty; with QCOW2_REPAIR_ALL. */
	bool drop_bad_bitmaps;
	unsigned threads;            /* as in struct qcow2_check_options */
	uint64_t memory_limit_bytes; /* likewise */
	/* Called for each step, in the order of their planning. Not 0 stops. May be NULL. */
	int (*tell)(void *opaque, const struct qcow2_repair_step *step);
	/* As in struct qcow2_check_options; begins anew with each check of the image. */
	int (*progress)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);
	void *opaque; /* handed to both */
	/*
	 * Inflates every compressed cluster, too, as a deep check does, so that those which lie on
	 * each other are found. Naming QCOW2_PROBLEM_COMPRESSED_OVERLAP or
	 * QCOW2_PROBLEM_COMPRESSED_INFLATE in only does the same.
	 */
	bool deep;
};

/* Room for the text of struct qcow2_repair_left, in bytes with the NUL. Never changes. */
#define QCOW2_REPAIR_WHY_MAX 256

/* A kind of problem that the planned image still has. The library owns it. */
struct qcow2_repair_left {
	size_t size; /* set by the library */
	const struct qcow2_problem_kind *kind;
	uint64_t count;
	char why[QCOW2_REPAIR_WHY_MAX]; /* why it is left, one safe line; never empty */
	/* What would mend it: */
	bool wants_all;       /* QCOW2_REPAIR_ALL, or naming the kind */
	bool wants_free_lost; /* free_lost */
	bool wants_drop;      /* drop_snapshots */
};

/* What a repair comes to. The library owns it; qcow2_repair_result_free() frees it. */
struct qcow2_repair_result {
	size_t size;                             /* set by the library */
	const struct qcow2_check_result *before; /* of the image as it is, with damage */
	/* Of the planned image, likewise; equal to before if nothing is planned. Never NULL. */
	const struct qcow2_check_result *after;
	uint64_t steps;          /* how many were told */
	uint64_t costs;          /* of those: with costs */
	uint64_t added_bytes;    /* that the file grows by */
	uint64_t freed_clusters; /* whose refcounts become 0 */
	/* Kinds that are left: left has left_count pointers, in the order of the kinds. */
	size_t left_count;
	const struct qcow2_repair_left *const *left;
};

/*
 * Plans a repair. What is mended, in this order: header, extensions and LUKS pointers, the
 * snapshot table, clusters with two owners, L1 and L2 tables and their entries, bitmaps (as
 * qcow2_bitmap_repair() does), refcounts with their blocks and table and the copied flags, and last
 * the corrupt and dirty bits, if the planned image has no corruption otherwise. Each repair may let
 * the check see more, so it goes round until nothing is found that can be mended.
 *
 * A crash at any write of the plan leaves an image that the undo file takes back; until the last
 * write an image of version 3 has the corrupt bit, so that no program writes to it meanwhile.
 *
 * plan: has no writes yet; what qcow2_edit_begin() plans is planned here.
 * options: NULL for all defaults.
 * *out: set to what the repair comes to; the caller frees it with qcow2_repair_result_free().
 *
 * Returns 0 with the plan filled, whether or not something is left; nothing is planned if nothing
 * can be mended. Returns -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND    no snapshot, or more than one, is called as drop_snapshots says
 *   QCOW2_ERROR_BROKEN       the header is too damaged to find anything: rescue.h is for that
 *   QCOW2_ERROR_UNSUPPORTED  unknown incompatible features: nobody knows what they change
 *   QCOW2_ERROR_ARGUMENT     the size of the options is not set, they hold an unknown member, or the
 *                            plan has writes
 *   QCOW2_ERROR_STOPPED      tell() or progress() asked to stop
 *   the errors of qcow2_check(), qcow2_plan_write() and qcow2_bitmap_repair()
 * If it fails, the plan may hold a part of the repair: close it.
 */
QCOW2_API int qcow2_repair(struct qcow2_plan *plan, const struct qcow2_repair_options *options,
			   struct qcow2_repair_result **out, struct qcow2_error *err);

/* Frees what qcow2_repair() made. result: may be NULL, then nothing happens. */
QCOW2_API void qcow2_repair_result_free(struct qcow2_repair_result *result);

/*
 * The name of what a guest reads, as all pages and documents of the command spell it.
 *
 * reads: any number.
 *
 * Returns "same", "data", "zeros", "backing", "error" or "foreign", and "unknown" for any other
 * number; never NULL. Thread safe.
 */
QCOW2_API const char *qcow2_reads_name(enum qcow2_reads reads);

QCOW2_END_DECLS

#endif
