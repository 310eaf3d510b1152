/* SPDX-License-Identifier: MIT */
/*
 * Changing an image, through one door. Every change is first a plan: an ordered list of writes,
 * each with the bytes that it replaces and the reason. A plan can be looked at, the image can be
 * read as it would be, and qcow2_plan_judge() says whether the image would be worse than before.
 * Only qcow2_plan_apply() writes: first an undo file, then the plan, in an order in which a crash
 * after any step leaves an image that qcow2_undo_apply() (undo.h) brings back.
 *
 *         struct qcow2_apply_options how = {
 *                 .size = sizeof(how), .undo_path = "image.undo"};
 *
 *         if (qcow2_source_open_for_edit("image.qcow2", 0, &source, &err) == 0 &&
 *             qcow2_plan_open(source, &plan, &err) == 0 &&
 *             qcow2_edit_begin(plan, &err) == 0 &&
 *             qcow2_edit_set(plan, "header/size", "1G", NULL, &err) == 0 &&
 *             qcow2_plan_judge(plan, NULL, &verdict, &err) == 0 &&
 *             !verdict->adds_problems && verdict->refusals_total == 0 &&
 *             qcow2_plan_apply(plan, &how, &err) == 0)
 *                 printf("done\n");
 *
 * examples/add_bitmap.c is a whole program. docs/edit.md says what an edit promises.
 *
 * A plan may be used by one thread at a time.
 */
#ifndef QCOW2_EDIT_H
#define QCOW2_EDIT_H

#include <qcow2/base.h>
#include <qcow2/check.h>
#include <qcow2/error.h>
#include <qcow2/guard.h>
#include <qcow2/image.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

/* ---- plans: the writes that change an image ---- */

/*
 * When a write is made. All writes of a phase are on the medium before the next phase begins, so
 * that a crash never leaves a pointer to something that is not there yet.
 */
enum qcow2_phase {
	QCOW2_PHASE_WITHDRAW = 0, /* take back what will not be true for a while */
	QCOW2_PHASE_NEW = 1,      /* write what nothing points to yet */
	QCOW2_PHASE_COUNT = 2,    /* point to new refcounts */
	QCOW2_PHASE_POINT = 3,    /* point to what is new */
	QCOW2_PHASE_CLEAN = 4, /* give back what is no longer used; say again what is true again */
};

/* Room for the reason of a write, in bytes with the NUL. Never changes. */
#define QCOW2_WHY_MAX 160

/*
 * One write of a plan. The library owns it and all that it points to; it is valid until another
 * write is asked for, or the plan changes.
 */
struct qcow2_write {
	size_t size; /* set by the library */
	enum qcow2_phase phase;
	uint64_t offset_bytes;        /* in the image file */
	struct qcow2_bytes old_bytes; /* there before this write; shorter where the file ended */
	struct qcow2_bytes new_bytes; /* there after it */
	const char *why;              /* one line, as qcow2_plan_write() was given it */
};

struct qcow2_plan;

/*
 * Makes an empty plan over an image file. What the plan says of the file is compared with what is
 * there when it is applied.
 *
 * source: stays the caller's, who keeps it open as long as the plan. A plan that is to be applied
 *   needs one of qcow2_source_open_for_edit(), or of qcow2_source_from_ops() with functions that
 *   write; a plan that is only looked at takes any. It need not hold an image.
 * *out: set to the plan; the caller closes it with qcow2_plan_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_open(struct qcow2_source *source, struct qcow2_plan **out,
			      struct qcow2_error *err);

/*
 * Lets a large plan go on in a temporary file. A plan keeps what it writes in memory, 1 GiB at
 * most; after this call it keeps 64 MiB there and puts the rest into a file without a name, which
 * is made when it is needed and is gone when the plan is closed.
 *
 * plan: has no writes yet.
 * path: any path in the folder where the temporary file shall be, as a rule that of the undo file.
 *   It is copied, and nothing of that name is touched.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the plan has writes),
 * QCOW2_ERROR_MEMORY. Whether the folder has room is found out by later writes.
 */
QCOW2_API int qcow2_plan_spill_beside(struct qcow2_plan *plan, const char *path,
				      struct qcow2_error *err);

/*
 * Makes the temporary file of a plan at once: for a program that gives up making files, as in a
 * sandbox, before it reads what it does not trust. If there is no folder, or it takes no file, the
 * plan stays in memory, up to 1 GiB.
 *
 * plan: has no writes yet; else nothing is done.
 */
QCOW2_API void qcow2_plan_spill_now(struct qcow2_plan *plan);

/*
 * Closes a plan and drops what was not applied. Its source stays open. plan: may be NULL, then
 * nothing happens. Views of the plan have to be closed before.
 */
QCOW2_API void qcow2_plan_close(struct qcow2_plan *plan);

/*
 * Adds a write. Bytes at both ends that stay the same are left out, and nothing is added if all do.
 * A write past the planned end of the file moves that end; bytes between read as zeros.
 *
 * phase: when it is made. Within a phase, writes are made in the order in which they were added,
 *   and of two that overlap the later one has the last word.
 * offset_bytes: in the image file; offset_bytes + bytes.size is at most 2^63 - 1.
 * bytes: copied.
 * why: the reason, for people: one line of printable text; copied, and cut to QCOW2_WHY_MAX - 1
 *   bytes. What comes from an image goes through qcow2_text_escape() before.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_ARGUMENT  past 2^63 - 1, past the end of a block device, or no phase of this version
 *   QCOW2_ERROR_LIMIT     over 2^22 writes in one plan, or over 2^30 bytes and nowhere to spill
 *   QCOW2_ERROR_IO        the image, or the temporary file, cannot be read or written
 *   QCOW2_ERROR_MEMORY    the plan may be of no use any more: then every later call fails so, too
 */
QCOW2_API int qcow2_plan_write(struct qcow2_plan *plan, enum qcow2_phase phase,
			       uint64_t offset_bytes, struct qcow2_bytes bytes, const char *why,
			       struct qcow2_error *err);

/*
 * Changes the planned size of the file. The size changes when the plan is applied: a larger one
 * before the first write, a smaller one after the last.
 *
 * size_bytes: at most 2^63 - 1. What is new reads as zeros; what is cut off is kept in the undo
 *   file.
 *
 * Returns 0, or -1 with *err filled: the errors of qcow2_plan_write().
 */
QCOW2_API int qcow2_plan_resize(struct qcow2_plan *plan, uint64_t size_bytes,
				struct qcow2_error *err);

/* Returns the size that the file will have when the plan is applied, in bytes. Never fails. */
QCOW2_API uint64_t qcow2_plan_size_bytes(const struct qcow2_plan *plan);

/*
 * Returns how many writes a plan has. With none, and with a size that stays, there is nothing to
 * apply. Never fails.
 */
QCOW2_API size_t qcow2_plan_count(const struct qcow2_plan *plan);

/*
 * Shows one write of a plan.
 *
 * index: below qcow2_plan_count(), in the order in which the writes are made. Rising indexes are
 *   fast; a falling one costs as much as all writes before it.
 * *out: set to the write, which the plan owns; see struct qcow2_write for how long it lives.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (there is no such write), QCOW2_ERROR_IO
 * (the image or the temporary file cannot be read), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_at(struct qcow2_plan *plan, size_t index, const struct qcow2_write **out,
			    struct qcow2_error *err);

/*
 * Makes a source that shows the file as it will be when the plan is applied. Everything that reads
 * images works on it: qcow2_image_open(), qcow2_walk(), qcow2_check().
 *
 * *out: set to a read-only source; the caller closes it with qcow2_source_close(), before the plan
 *   is changed or closed.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_view(struct qcow2_plan *plan, struct qcow2_source **out,
			      struct qcow2_error *err);

/* What a change is meant to take away, or to make. The name is that of the thing it is about. */
enum qcow2_intent {
	/* A header extension goes, or gets other data; its name is its type, four bytes,
	 * big-endian. */
	QCOW2_INTENT_EXTENSION = 0,
	/* The backing file gets this name; with an empty one it goes, and its format may. */
	QCOW2_INTENT_BACKING = 1,
	QCOW2_INTENT_DATA_FILE = 2,   /* the data file gets another name */
	QCOW2_INTENT_BITMAP_GONE = 3, /* a bitmap of that name goes */
	QCOW2_INTENT_BITMAP_MADE = 4, /* a bitmap of that name is made, and says what is true */
	/* A bitmap is found again that could not be found, or its granularity is mended. */
	QCOW2_INTENT_BITMAP_MENDED = 5,
	QCOW2_INTENT_BITMAP_WRITTEN = 6, /* a bitmap of that name gets another table */
	/* The image is repaired by qcow2_repair(): what was damaged may change, and what damage hid
	 * may be seen. Without a name. */
	QCOW2_INTENT_REPAIR = 7,
	QCOW2_INTENT_SNAPSHOT_GONE = 8, /* a snapshot goes; its name is its ID */
};

/*
 * Tells what a change means to do, so that qcow2_plan_judge() does not take it for an accident. The
 * verbs below and those of bitmap_edit.h do it by themselves; this is for programs that add writes
 * of their own.
 *
 * name: of the thing that the change is about, see enum qcow2_intent; copied. With data NULL, the
 *   intent holds for all names.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_MEMORY (or over 2^22 intents in one plan).
 */
QCOW2_API int qcow2_plan_intend(struct qcow2_plan *plan, enum qcow2_intent intent,
				struct qcow2_bytes name, struct qcow2_error *err);

/* ---- judge a plan, and apply it ---- */

/* How to judge. The caller owns it and sets size. */
struct qcow2_judge_options {
	size_t size; /* sizeof(struct qcow2_judge_options) */
	/* Called for problems that the plan adds, at most five of each kind. May be NULL. */
	qcow2_problem_callback problem;
	void *opaque; /* handed to problem() */
	/*
	 * What the caller does without. Without totals, the verdict is the same, but before and after
	 * may count problems of header, extensions and other structures alone, and have
	 * clusters_checked false. Without digests, qcow2_plan_apply() finds those of an undo file
	 * by another check. Both save time if the plan changes the header alone.
	 */
	bool without_totals, without_digests;
};

/*
 * What the check and the guards say of an image before and after a plan. The library owns it and
 * all that it points to; qcow2_plan_verdict_free() frees it. New problems by kind are read with
 * qcow2_plan_verdict_added().
 */
struct qcow2_plan_verdict {
	size_t size; /* set by the library */
	/* What the check found before and after; NULL if that is no image. */
	const struct qcow2_check_result *before;
	const struct qcow2_check_result *after;
	const struct qcow2_error *not_opened; /* if after is NULL: why; else NULL */
	/* The plan adds problems that are not there before, or leaves what is no image any more. */
	bool adds_problems;
	/*
	 * Guards that refuse the plan: refusals has refusal_count pointers, at most
	 * QCOW2_REFUSALS_MOST; refusals_total counts those as well that are not kept.
	 */
	uint64_t refusals_total;
	size_t refusal_count;
	const struct qcow2_refusal *const *refusals;
};

/*
 * Checks the image as it is and as it will be, and asks the guards (guard.h). A plan should be
 * applied if adds_problems is false and refusals_total is 0, or if a person insists.
 *
 * A problem is new if the image has none of its kind at its place that says the same or worse. So a
 * leak that is there already does not hide that its cluster loses the pointer to it, while a
 * refcount that is less wrong than before is not new. Of kinds with over 100,000 problems only the
 * numbers are compared. Bitmaps and header extensions keep their problems when they move or get
 * another name. Guards compare images that can be opened both before and after, no others.
 *
 * options: NULL for all defaults.
 * *out: set to the verdict; the caller frees it with qcow2_plan_verdict_free(). It does not change
 *   with the plan.
 *
 * Returns 0 whatever the verdict, or -1 with *err filled and no verdict: the errors of
 * qcow2_check(), where QCOW2_ERROR_STOPPED comes from options->problem. Costs two checks of the
 * image, and a third one if the planned image has problems. A plan that changes nothing but fields
 * and extensions of the header on which no table depends costs one, or less if the options say what
 * is not needed.
 */
QCOW2_API int qcow2_plan_judge(struct qcow2_plan *plan, const struct qcow2_judge_options *options,
			       struct qcow2_plan_verdict **out, struct qcow2_error *err);

/*
 * Tells how many problems of one kind a plan adds.
 *
 * number: a value of enum qcow2_problem_id, or kind->number of a kind.
 *
 * Returns that count; of a kind of which there are over 100,000, the count of all, if there are
 * more than before. 0 for a number that this version of the library does not know. Thread safe.
 */
QCOW2_API uint64_t qcow2_plan_verdict_added(const struct qcow2_plan_verdict *verdict,
					    unsigned number);

/* Frees what qcow2_plan_judge() made. verdict: may be NULL, then nothing happens. */
QCOW2_API void qcow2_plan_verdict_free(struct qcow2_plan_verdict *verdict);

/* How to apply. The caller owns it and sets size; zeros apply without a way back. */
struct qcow2_apply_options {
	size_t size;            /* sizeof(struct qcow2_apply_options) */
	const char *undo_path;  /* a file that is not there yet, to undo with; NULL: none */
	const char *image_path; /* how the image was called; noted in the undo file. May be NULL. */
	const char *command;    /* what is done, one line; noted in the undo file. May be NULL. */
	bool *no_undo_file;     /* NULL, or set if an error is about the undo file, not the image */
};

/*
 * Applies a plan: writes the undo file, then the writes phase by phase, each phase synced to the
 * medium before the next. If a write fails, what was written is taken back; if that fails as well,
 * the text of the error says so, and the undo file remains. Does not judge: call qcow2_plan_judge()
 * before.
 *
 * plan: its source can be written, see qcow2_plan_open(). Apply a plan once.
 * options: NULL applies without an undo file.
 *
 * Returns 0 when all is on the medium, or -1 with *err filled; unless the text says otherwise, the
 * image is what it was before:
 *   QCOW2_ERROR_IO        a read, a write or a sync failed, of the image or of the undo file
 *   QCOW2_ERROR_ARGUMENT  the source was not opened for an edit, or the size of the options is not
 *                         set
 *   QCOW2_ERROR_IN_USE    the file was written to since the plan was made; nothing is changed
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_plan_apply(struct qcow2_plan *plan, const struct qcow2_apply_options *options,
			       struct qcow2_error *err);

/* ---- verbs: plan what people want to change ---- */

/* Each verb adds writes to plan, which is not NULL. */

/*
 * Plans what any edit owes the image: clears the autoclear bits that are not known here
 * ("autoclear_features"), as their features do not know of the edit. Call it once, before the
 * verbs, which may set such a bit all the same. Does nothing to what is no image of version 3.
 *
 * Returns 0, or -1 with *err filled: the errors of qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_begin(struct qcow2_plan *plan, struct qcow2_error *err);

/*
 * Plans that a number gets another value, whatever that means for the image. Nothing else that is
 * set moves anything, with one exception: another header/header_length moves the header extensions
 * and the backing file's name along, if they can be laid out there.
 *
 * path: what to set, spelled as a selector of qcow2_walk(): "header/size", "snapshots/0/nb_l2",
 *   "bitmaps/0/flags", "l1/3", "l2/5/17", "refcounts/0/9", "refcount_table/0",
 *   "bitmaps/0/table/4", "luks/…": whatever a walk shows with its bytes, and refcounts.
 * value: a number as qcow2_number_parse() reads it, or the name of a value of that field.
 * *raw: set to whether an entry of a table was set, which no rule of the header protects. raw may
 *   be NULL.
 *
 * Returns 0, or -1 with *err filled and nothing planned: QCOW2_ERROR_NOT_FOUND (nothing is called
 * so), QCOW2_ERROR_ARGUMENT (value is no number, or too large for the field, or several things are
 * named), the errors of qcow2_walk() and qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_set(struct qcow2_plan *plan, const char *path, const char *value,
			     bool *raw, struct qcow2_error *err);

/*
 * Plans that a feature bit of the header is set or cleared ("Header"). What the bit says is not
 * made true; qcow2_plan_judge() tells what would be wrong then.
 *
 * group: "incompatible", "compatible" or "autoclear".
 * bit: its number, 0 to 63, or its name as "qcow2 explain" shows it ("dirty").
 * on: whether to set it.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (no such group or bit, or an image of
 * version 2, which has none), the errors of qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_feature(struct qcow2_plan *plan, const char *group, const char *bit,
				 bool on, struct qcow2_error *err);

/* What to do with a header extension. */
enum qcow2_extension_change {
	QCOW2_EXTENSION_ADD = 0,     /* behind the others; more than one of a type is refused */
	QCOW2_EXTENSION_REPLACE = 1, /* other data for the first of that type */
	QCOW2_EXTENSION_REMOVE = 2,  /* all of that type; data is not looked at */
};

/*
 * Plans a change of one header extension ("Header extensions"). Other extensions, unknown ones
 * included, stay as they are; the backing file's name moves with them. Removing the bitmaps
 * extension clears its autoclear bit, too.
 *
 * magic: the type of the extension, not 0.
 * data: its data without the padding; copied.
 *
 * Returns 0, or -1 with *err filled and nothing planned:
 *   QCOW2_ERROR_NOT_FOUND  there is none of that type to replace or remove
 *   QCOW2_ERROR_ARGUMENT   there is one already, the type is 0, or change is none of the three
 *   QCOW2_ERROR_LIMIT      the first cluster has no room for it
 *   QCOW2_ERROR_BROKEN     the header area is so damaged that it cannot be laid out
 *   the errors of qcow2_plan_write()
 */
QCOW2_API int qcow2_edit_extension(struct qcow2_plan *plan, enum qcow2_extension_change change,
				   uint32_t magic, struct qcow2_bytes data,
				   struct qcow2_error *err);

/*
 * Plans that the image gets another backing file, or none ("Header", "Backing file format name").
 * The file itself is not looked at, and guest data is not moved.
 *
 * name: 1 to 1023 bytes; copied. An empty one takes both the name and the format away.
 * format: "raw", "qcow2", …; it has to be given with a name: a file whose format is guessed is what
 *   its contents say, and a guest may have written them. Not looked at if the name is empty.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the name is too long, or has no format),
 * the errors of qcow2_edit_extension().
 */
QCOW2_API int qcow2_edit_backing(struct qcow2_plan *plan, struct qcow2_bytes name,
				 const char *format, struct qcow2_error *err);

/*
 * Plans that the external data file gets another name ("Header extensions"). Neither file is looked
 * at or moved.
 *
 * name: copied. The image has an external data file.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (the image has no data file), the errors
 * of qcow2_edit_extension().
 */
QCOW2_API int qcow2_edit_data_file(struct qcow2_plan *plan, struct qcow2_bytes name,
				   struct qcow2_error *err);

/*
 * Plans that the feature name table is written anew, with the names of the features that this
 * library knows ("Feature name table"). An image that has no such table gets one.
 *
 * Returns 0, or -1 with *err filled: the errors of qcow2_edit_extension().
 */
QCOW2_API int qcow2_edit_feature_names(struct qcow2_plan *plan, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
