/* SPDX-License-Identifier: MIT */
/*
 * Problems: rules of the format that an image breaks. A problem is data, and the work that found it
 * goes on; what keeps a call from doing its work is an error (error.h). qcow2_check(), qcow2_walk(),
 * qcow2_bitmap_health_examine() and qcow2_plan_judge() hand problems to a callback of one type.
 *
 * The list of all kinds is def/problems.def. A kind has a number and an id that are never changed
 * or given to another kind, so both can be stored. A later version of the library may know more
 * kinds than the header that a program was compiled with: take a number that is not known as it
 * comes, and ask its struct qcow2_problem_kind for the severity and the text.
 *
 * All functions here are pure and thread safe.
 */
#ifndef QCOW2_PROBLEM_H
#define QCOW2_PROBLEM_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

/* ---- problems: rules of the format that an image breaks ---- */

struct qcow2_remedy;

/*
 * How bad a problem is. The order is that of rising severity. New severities are not added: programs
 * may switch over all of them.
 */
enum qcow2_severity {
	QCOW2_WARNING = 0, /* unusual, stale, or refused by QEMU alone; the image is well formed */
	QCOW2_LEAK = 1,    /* space is lost, data is not */
	QCOW2_CORRUPTION = 2, /* the image breaks the specification */
};

/*
 * What a problem does to the part of the virtual disk that it concerns. The order is that of rising
 * damage. New values are not added.
 */
enum qcow2_damage {
	QCOW2_DAMAGE_NONE = 0, /* the guest reads what it wrote, and will */
	/* It can be read, but something else may overwrite it, or has overwritten it already. */
	QCOW2_DAMAGE_AT_RISK = 1,
	/* It may be in the file, but programs refuse to read it, or cannot know what it is. */
	QCOW2_DAMAGE_UNREADABLE = 2,
	QCOW2_DAMAGE_LOST = 3, /* what the guest wrote is not where the image says it is */
};

/*
 * The number of a kind of problem, as the rows of def/problems.def give it:
 * QCOW2_PROBLEM_HEADER_CLUSTER_BITS, … Numbers begin at 1 and may have gaps.
 */
enum qcow2_problem_id {
	QCOW2_PROBLEM_NONE = 0, /* no kind has this number */
#define QCOW2_PROBLEM(number, ID, id, severity, damage, remedy, section, text, consequence)        \
	QCOW2_PROBLEM_##ID = (number),
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
};

/*
 * A kind of problem, a row of def/problems.def. The library owns it, and it lives as long as the
 * program: two problems are of one kind if their pointers are equal. All texts are ASCII or UTF-8
 * without control bytes, and never NULL.
 */
struct qcow2_problem_kind {
	size_t size;             /* set by the library */
	unsigned number;         /* a value of enum qcow2_problem_id, or a newer one */
	const char *id;          /* lower-case words with hyphens: "header-cluster-bits" */
	const char *text;        /* what is wrong, one sentence without a value */
	const char *consequence; /* what that does to the guest, in plain words */
	const char *section;     /* section of the specification, or "QEMU" for limits of QEMU */
	enum qcow2_severity severity;
	bool repairable;          /* the remedy is a command, and lossless */
	enum qcow2_damage damage; /* to the range of the virtual disk that a problem names */
	const struct qcow2_remedy *remedy; /* what mends it (remedy.h); never NULL */
};

/* How the value that was found relates to the value that would be right. */
enum qcow2_expectation {
	QCOW2_EXPECT_NOTHING = 0,     /* there is no number to compare with */
	QCOW2_EXPECT_VALUE = 1,       /* exactly `expected` */
	QCOW2_EXPECT_AT_MOST = 2,     /* at most `expected` */
	QCOW2_EXPECT_AT_LEAST = 3,    /* at least `expected` */
	QCOW2_EXPECT_MULTIPLE_OF = 4, /* a multiple of `expected` */
};

/* Room for texts in the structures below, in bytes with the NUL. These never change. */
#define QCOW2_PROBLEM_WHERE_MAX 256
#define QCOW2_OWNER_WHERE_MAX   96
#define QCOW2_OWNER_NAME_MAX    96
/* The most owners of a cluster that this version names; the others are counted. */
#define QCOW2_PROBLEM_OWNERS_MAX 4

/* What a user of a host cluster belongs to, besides the image. */
enum qcow2_part_of {
	QCOW2_PART_OF_IMAGE = 0, /* to nothing besides */
	QCOW2_PART_OF_SNAPSHOT = 1,
	QCOW2_PART_OF_BITMAP = 2,
};

/* Something that uses a host cluster. */
struct qcow2_owner {
	size_t size; /* set by the library */
	/* Its path, as a selector of qcow2_walk() would spell it ("l2/5/17"). ASCII. */
	char where[QCOW2_OWNER_WHERE_MAX];
	enum qcow2_part_of part_of;
	uint64_t part_of_index; /* of that snapshot or bitmap in its list */
	/* Its name, escaped by qcow2_text_escape() and cut if it is long; empty if there is none. */
	char part_of_name[QCOW2_OWNER_NAME_MAX];
	bool has_guest;              /* it maps a part of the virtual disk: */
	uint64_t guest_byte;         /* offset of that part in the virtual disk */
	uint64_t guest_length_bytes; /* its length */
	/*
	 * With has_guest: how many L1 entries lead to the L2 table that the owner is, or that it is
	 * an entry of. 1 if the range above is all that it maps; else the range is what it maps for
	 * the first of them, and it maps as many ranges in all.
	 */
	uint64_t guest_count;
};

/*
 * One problem that was found. The library owns it and all that it points to, for the time of the
 * callback; qcow2_problem_copy() keeps it for longer.
 */
struct qcow2_problem {
	size_t size; /* set by the library */
	const struct qcow2_problem_kind *kind;
	/* Path of what is wrong, as a selector would spell it ("bitmaps/0/table/3"). ASCII. */
	char where[QCOW2_PROBLEM_WHERE_MAX];
	/*
	 * Where in the file the bytes at fault lie: those of the field, entry or data that `where`
	 * names. For "refcounts/0/2" that is the refcount, in the refcount block. If there is no such
	 * block, it is the entry of the refcount table that does not lead to one. QCOW2_NO_OFFSET if
	 * the file has no such bytes.
	 */
	uint64_t offset_bytes;
	/*
	 * The value at fault. If `where` names a field, it is the value of that field; if it names
	 * an entry of a table, it is the whole entry, with its flags, as the file has it, whichever
	 * part of it is at fault, and `expected` is what that entry could be. If `where` names
	 * more, it is the byte at offset_bytes (QCOW2_PROBLEM_HEADER_PADDING and such), or a number
	 * that the kind's text explains (QCOW2_PROBLEM_REFCOUNT_BEYOND_END: how many there are).
	 * Of a name, see found_text.
	 */
	bool has_found; /* there is a number: */
	uint64_t found; /* that number */
	enum qcow2_expectation expectation;
	uint64_t expected; /* see expectation */
	/*
	 * The range of a virtual disk that is concerned, whose damage the kind tells. Of problems
	 * of a host cluster, it is that of the first owner that maps a part of a disk, and the
	 * others have their own. A range never passes 2^64 - 1, and ends where its disk does,
	 * unless it lies past the end altogether: a snapshot keeps the saved state of the machine
	 * there.
	 */
	bool has_guest;                /* there is one: */
	uint64_t guest_byte;           /* its offset in the virtual disk */
	uint64_t guest_length_bytes;   /* its length, at least 1 */
	bool has_cluster;              /* a host cluster is concerned: */
	uint64_t cluster_offset_bytes; /* where it starts in the file */
	/*
	 * Who uses that cluster, in the order of the walk. owners has owner_count pointers, at most
	 * QCOW2_PROBLEM_OWNERS_MAX; owners_total counts those as well that are not named.
	 */
	unsigned owner_count;
	uint64_t owners_total;
	const struct qcow2_owner *const *owners;
	/*
	 * With has_guest: the snapshot whose disk is meant, by its index in the snapshot table and
	 * its name, escaped and cut as that of an owner; QCOW2_PART_OF_IMAGE is the active image.
	 */
	enum qcow2_part_of guest_of;
	uint64_t guest_of_index;
	char guest_of_name[QCOW2_OWNER_NAME_MAX];
	/* What was found where it is a text, such as a name, escaped and cut; else empty. */
	char found_text[QCOW2_OWNER_NAME_MAX];
	/* With has_guest: how many ranges there are, as guest_count of struct qcow2_owner. */
	uint64_t guest_count;
};

/*
 * Takes a problem. opaque: what the caller handed in together with the callback. problem: not NULL,
 * valid during the callback only. Returns 0 to go on; anything else stops the call that found the
 * problem, which then fails with QCOW2_ERROR_STOPPED. Called from the thread that made the call.
 */
typedef int (*qcow2_problem_callback)(void *opaque, const struct qcow2_problem *problem);

/*
 * Copies a problem with its owners into memory of its own, to keep it when the callback is over.
 *
 * problem: one that a callback was given, or a copy.
 *
 * Returns the copy, which the caller frees with qcow2_problem_free(), or NULL if memory is short.
 * The kind is not copied; it lives as long as the program. A copy takes less than 2 KiB: a program
 * that keeps every problem of a hostile image needs a limit of its own, or
 * qcow2_check_options.max_per_kind.
 */
QCOW2_API struct qcow2_problem *qcow2_problem_copy(const struct qcow2_problem *problem);

/* Frees what qcow2_problem_copy() returned. problem: may be NULL, then nothing happens. */
QCOW2_API void qcow2_problem_free(struct qcow2_problem *problem);

/*
 * Goes through all kinds of problems, in the order in which they are listed to people: that of the
 * structures of the format.
 *
 * before: the kind that was returned last, or NULL to begin.
 *
 * Returns the kind that follows, or NULL behind the last one. Example:
 *
 *         const struct qcow2_problem_kind *kind = NULL;
 *
 *         while ((kind = qcow2_problem_kind_next(kind)))
 *                 printf("%s: %s\n", kind->id, kind->text);
 */
QCOW2_API const struct qcow2_problem_kind *
qcow2_problem_kind_next(const struct qcow2_problem_kind *before);

/*
 * Finds a kind by its number.
 *
 * number: a value of enum qcow2_problem_id; any other one is fine, too, for instance one that a
 * later version of the library stored.
 *
 * Returns the kind, or NULL if this version of the library knows none of that number.
 */
QCOW2_API const struct qcow2_problem_kind *qcow2_problem_kind_get(unsigned number);

/*
 * Finds a kind by its id.
 *
 * id: NUL terminated, as in the first column of "qcow2 check --list" ("refcount-low"). Upper and
 * lower case differ.
 *
 * Returns the kind, or NULL if this version of the library knows none of that id.
 */
QCOW2_API const struct qcow2_problem_kind *qcow2_problem_kind_find(const char *id);

/*
 * The name of a severity as all pages and documents of the command spell it.
 *
 * severity: any number.
 *
 * Returns "warning", "leak" or "corruption", and "unknown" for any other number; never NULL.
 */
QCOW2_API const char *qcow2_severity_name(enum qcow2_severity severity);

/*
 * The name of a damage as all pages and documents of the command spell it.
 *
 * damage: any number.
 *
 * Returns "none", "at-risk", "unreadable" or "lost", and "unknown" for any other number; never
 * NULL.
 */
QCOW2_API const char *qcow2_damage_name(enum qcow2_damage damage);

QCOW2_END_DECLS

#endif
