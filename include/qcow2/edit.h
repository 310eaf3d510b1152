/* SPDX-License-Identifier: MIT */
/*
 * Changing an image, through one door. Every change is first a plan: an ordered list of writes,
 * each with the bytes that it replaces and why. A plan can be looked at, the image can be read as
 * it would be, and only qcow2_plan_apply() writes: first an undo file, then the plan, in an order
 * in which a crash after any step leaves an image that qcow2_undo_apply() brings back (undo.h).
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

/* ---- plans ---- */

/* When a write is made. All of a phase is on the medium before the next one begins. */
enum qcow2_phase {
	QCOW2_PHASE_WITHDRAW, /* take back what will not be true for a while */
	QCOW2_PHASE_NEW,      /* what nothing points to yet */
	QCOW2_PHASE_COUNT,    /* lead to new refcounts */
	QCOW2_PHASE_POINT,    /* point to it */
	QCOW2_PHASE_CLEAN,    /* give back what is no longer used; what is true again */
};

#define QCOW2_WHY_MAX 160

/* One write of a plan. Views live until another one is asked for, or the plan changes. */
struct qcow2_write {
	enum qcow2_phase phase;
	uint64_t offset_bytes;
	struct qcow2_bytes old_bytes; /* there before this write; shorter past the old end */
	struct qcow2_bytes new_bytes;
	const char *why; /* one safe line */
};

struct qcow2_plan;

/*
 * An empty plan over a source, which stays the caller's and open as long as the plan. To apply it,
 * the source must have been opened with qcow2_source_open_for_edit(), or have functions of the
 * caller's to write; to look at it, any will do. Errors: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_new(struct qcow2_source *source, struct qcow2_plan **out,
			     struct qcow2_error *err);

/*
 * Lets a plan without writes, which keeps what it writes in memory, go on in a temporary file
 * without a name, in the folder of path: then 64 MiB stay in memory. The file is made when it is
 * needed. Without this a plan may hold 1 GiB. path is copied. Errors: QCOW2_ERROR_ARGUMENT (it has
 * writes), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_spill_beside(struct qcow2_plan *plan, const char *path,
				      struct qcow2_error *err);

/* NULL is fine. The source stays open. */
QCOW2_API void qcow2_plan_free(struct qcow2_plan *plan);

/*
 * Adds a write. Bytes at both ends that stay the same are left out, and nothing is added if all do.
 * Past the planned end, the end moves.
 *
 * Errors: QCOW2_ERROR_ARGUMENT (past 2^63 - 1, or past the end of a device), QCOW2_ERROR_LIMIT
 * (over 2^22 writes in one plan, or over 2^30 bytes and nowhere to spill them), QCOW2_ERROR_MEMORY,
 * QCOW2_ERROR_IO. After QCOW2_ERROR_MEMORY the plan may be of no use any more; then all that is
 * done with it fails in the same way.
 */
QCOW2_API int qcow2_plan_write(struct qcow2_plan *plan, enum qcow2_phase phase,
			       uint64_t offset_bytes, struct qcow2_bytes bytes, const char *why,
			       struct qcow2_error *err);

/* Changes the planned size of the file; what is new reads as zeros. Errors: as above. */
QCOW2_API int qcow2_plan_resize(struct qcow2_plan *plan, uint64_t size_bytes,
				struct qcow2_error *err);

/* The planned size of the file, and how many writes there are. */
QCOW2_API uint64_t qcow2_plan_size_bytes(const struct qcow2_plan *plan);
QCOW2_API size_t qcow2_plan_count(const struct qcow2_plan *plan);

/*
 * The write of that index, below qcow2_plan_count(), in the order in which they are made. Rising
 * indexes are fast. Errors: QCOW2_ERROR_MEMORY, QCOW2_ERROR_IO.
 */
QCOW2_API int qcow2_plan_at(struct qcow2_plan *plan, size_t index, struct qcow2_write *out,
			    struct qcow2_error *err);

/*
 * A read-only source that shows the file as it will be; close it before the plan changes. Errors:
 * QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_view(struct qcow2_plan *plan, struct qcow2_source **out,
			      struct qcow2_error *err);

/* What a change may be meant to take away, or to make. */
enum qcow2_intent {
	/* A header extension goes, or gets other data; its name is its type, four bytes,
	 * big-endian. */
	QCOW2_INTENT_EXTENSION,
	/* The backing file gets this name; with an empty one it goes, and its format may. */
	QCOW2_INTENT_BACKING,
	QCOW2_INTENT_DATA_FILE,   /* the data file gets another name */
	QCOW2_INTENT_BITMAP_GONE, /* a bitmap of that name goes */
	QCOW2_INTENT_BITMAP_MADE, /* a bitmap of that name is made, and says what is true */
	/* A bitmap is found again that could not be found, or is mended in its granularity. */
	QCOW2_INTENT_BITMAP_MENDED,
	QCOW2_INTENT_BITMAP_WRITTEN, /* a bitmap of that name gets another table */
};

/*
 * Tells what a change means to do, so that qcow2_plan_judge() does not take it for an accident. The
 * verbs below and those of bitmap_edit.h do it by themselves; it is for programs that add writes of
 * their own. name is copied; one whose data is NULL stands for all names. Errors:
 * QCOW2_ERROR_MEMORY (or over 2^22 of them).
 */
QCOW2_API int qcow2_plan_intend(struct qcow2_plan *plan, enum qcow2_intent intent,
				struct qcow2_bytes name, struct qcow2_error *err);

/* What a check, and the guards of guard.h, say of an image before and after a plan. */
struct qcow2_plan_verdict {
	struct qcow2_check_result before, after;
	bool opened_before; /* it was an image that could be checked */
	bool adds_problems; /* some that are not there before, or it is no image any more */
	struct qcow2_error not_opened; /* if it is none any more: why; else its code is NONE */
	/* New ones of each kind; of kinds with over 100,000, all if there are more than before. */
	uint64_t added_by_kind[QCOW2_PROBLEM_COUNT];
	/* Guards that refuse the plan: the first QCOW2_REFUSALS_MOST are kept. */
	uint64_t refusals_total;
	size_t refusal_count;
	struct qcow2_refusal refusals[QCOW2_REFUSALS_MOST];
};

/*
 * Checks the image as it is and as it will be, and asks the guards. A plan should be applied if
 * adds_problems is false and refusals_total is 0, or if a person insists.
 *
 * A problem is new if there is none of its kind at its place before that says the same or worse; of
 * kinds with over 100,000, if there are more than before. So a leak that is there already does not
 * hide that its cluster loses the pointer to it, while a refcount that is less wrong than before is
 * not new. Bitmaps and header extensions keep their problems when they move or get another name.
 * problem, which may be NULL, hears of up to five new ones of each kind. Guards compare only images
 * that can be opened, before and after. Errors: those of qcow2_check().
 */
QCOW2_API int qcow2_plan_judge(struct qcow2_plan *plan, struct qcow2_plan_verdict *verdict,
			       void (*problem)(void *opaque, const struct qcow2_problem *problem),
			       void *opaque, struct qcow2_error *err);

/* How to apply; all zeros applies without undo. */
struct qcow2_apply_options {
	const char *undo_path;  /* a new file to undo with; NULL: none */
	const char *image_path; /* how the image was called; noted in the undo file */
	const char *command;    /* what is done, one line; noted in the undo file */
	bool *no_undo_file;     /* NULL, or set if an error is about the undo file, not the image */
};

/*
 * Applies the plan: undo file, then the writes phase by phase, each synced to the medium. If a
 * write fails, what was written is taken back; if that fails, too, the text of the error says so,
 * and the undo file remains.
 *
 * Errors: QCOW2_ERROR_IO (with undo_path's trouble told as such), QCOW2_ERROR_ARGUMENT (not opened
 * for an edit), QCOW2_ERROR_IN_USE (the file was written to since the plan was made; nothing is
 * changed), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_plan_apply(struct qcow2_plan *plan, const struct qcow2_apply_options *options,
			       struct qcow2_error *err);

/* ---- verbs: what people want to change; each adds writes to a plan ---- */

/*
 * What any edit owes the image ("autoclear_features"): clears the autoclear bits that are not
 * known. Call it before the verbs, which may set such a bit all the same. Does nothing to what is
 * no image of version 3. Errors: those of qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_begin(struct qcow2_plan *plan, struct qcow2_error *err);

/*
 * Sets the number that a path names to a value: "header/size", "snapshots/0/nb_l2",
 * "bitmaps/0/flags", "l1/3", "l2/5/17", "refcounts/0/9", "refcount_table/0", "bitmaps/0/table/4",
 * "luks/…": whatever qcow2_walk() shows with its bytes, and refcounts. value: a number as
 * qcow2_number_parse() reads it, or the name of a value of the field.
 * Another header/header_length moves the header extensions and the backing file's name along, if
 * they can be laid out there; nothing else that is set moves anything.
 * *raw, which may be NULL, tells whether an entry of a table was set, which no rule of the header
 * protects.
 *
 * Errors: QCOW2_ERROR_NOT_FOUND (nothing of that name), QCOW2_ERROR_ARGUMENT (no number, too large
 * for the field, or several things are named), those of qcow2_walk() and qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_set(struct qcow2_plan *plan, const char *path, const char *value,
			     bool *raw, struct qcow2_error *err);

/*
 * Sets or clears a feature bit of a group, "incompatible", "compatible" or "autoclear", given by
 * its number or its name. Errors: QCOW2_ERROR_ARGUMENT (no such group or bit, or an image of
 * version 2, which has none), those of qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_feature(struct qcow2_plan *plan, const char *group, const char *bit,
				 bool on, struct qcow2_error *err);

enum qcow2_extension_change {
	QCOW2_EXTENSION_ADD,     /* behind the others; more than one of a type is refused */
	QCOW2_EXTENSION_REPLACE, /* the data of the first of that type */
	QCOW2_EXTENSION_REMOVE,  /* all of that type; data is not looked at */
};

/*
 * Adds, replaces or removes a header extension. Removing the bitmaps extension clears its autoclear
 * bit, too. Other extensions, unknown ones included, stay as they are. Errors:
 * QCOW2_ERROR_NOT_FOUND, QCOW2_ERROR_ARGUMENT (there is one already, the type is 0),
 * QCOW2_ERROR_LIMIT (the header cluster has no room for it; nothing is planned then),
 * QCOW2_ERROR_BROKEN (the header area cannot be laid out), those of qcow2_plan_write().
 */
QCOW2_API int qcow2_edit_extension(struct qcow2_plan *plan, enum qcow2_extension_change change,
				   uint32_t magic, struct qcow2_bytes data,
				   struct qcow2_error *err);

/*
 * Names a backing file, 1 to 1023 bytes, and its format ("raw", "qcow2", ...), which has to be
 * given: a file whose format is guessed is what its contents say, and a guest may have written
 * them. An empty name takes both away; format is not looked at then. Nor is the file. Errors:
 * QCOW2_ERROR_ARGUMENT (the name is too long, or has no format), those of extensions.
 */
QCOW2_API int qcow2_edit_backing(struct qcow2_plan *plan, struct qcow2_bytes name,
				 const char *format, struct qcow2_error *err);

/* Names the external data file of an image that has one. Errors: as for extensions. */
QCOW2_API int qcow2_edit_data_file(struct qcow2_plan *plan, struct qcow2_bytes name,
				   struct qcow2_error *err);

/* Writes the feature name table anew, with the names that this library knows. */
QCOW2_API int qcow2_edit_feature_names(struct qcow2_plan *plan, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
