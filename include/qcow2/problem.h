/* SPDX-License-Identifier: MIT */
/*
 * Problems: rules of the format that an image breaks. A problem is data; the work that found it
 * goes on. The table of all kinds is def/problems.def; ids are stable and never reused.
 */
#ifndef QCOW2_PROBLEM_H
#define QCOW2_PROBLEM_H

#include <qcow2/base.h>
#include <qcow2/error.h>

QCOW2_BEGIN_DECLS

enum qcow2_severity {
	QCOW2_WARNING,    /* unusual, stale, or refused by QEMU only; the image is well formed */
	QCOW2_LEAK,       /* space is lost, data is not */
	QCOW2_CORRUPTION, /* the image breaks the specification */
};

/* A kind of problem, a row of def/problems.def. */
struct qcow2_problem_kind {
	const char *id;          /* "header-cluster-bits" */
	const char *text;        /* what is wrong, one sentence without a value */
	const char *consequence; /* what it does to the guest, in plain words */
	const char *section;     /* section of the specification, or "QEMU" for its limits */
	enum qcow2_severity severity;
	bool repairable; /* whether a repair without loss of data is possible in principle */
};

/* How the value found relates to the value that would be right. */
enum qcow2_expectation {
	QCOW2_EXPECT_NOTHING,     /* there is no number to compare with */
	QCOW2_EXPECT_VALUE,       /* exactly expected */
	QCOW2_EXPECT_AT_MOST,     /* at most expected */
	QCOW2_EXPECT_AT_LEAST,    /* at least expected */
	QCOW2_EXPECT_MULTIPLE_OF, /* a multiple of expected */
};

#define QCOW2_PROBLEM_WHERE_MAX  256
#define QCOW2_PROBLEM_OWNERS_MAX 4
#define QCOW2_OWNER_WHERE_MAX    96
#define QCOW2_OWNER_NAME_MAX     96

/* What a user of a host cluster belongs to, besides the image. */
enum qcow2_part_of {
	QCOW2_PART_OF_IMAGE,
	QCOW2_PART_OF_SNAPSHOT,
	QCOW2_PART_OF_BITMAP,
};

/* Something that uses a host cluster. */
struct qcow2_owner {
	char where[QCOW2_OWNER_WHERE_MAX]; /* its path, as in struct qcow2_problem */
	enum qcow2_part_of part_of;
	uint64_t part_of_index;                  /* of that snapshot or bitmap */
	char part_of_name[QCOW2_OWNER_NAME_MAX]; /* its name, escaped and maybe cut, or empty */
	bool has_guest;                          /* it maps a part of the virtual disk */
	uint64_t guest_byte;
	uint64_t guest_length_bytes;
};

/* One problem found. Valid during the callback only. */
struct qcow2_problem {
	const struct qcow2_problem_kind *kind;
	/* Path of what is wrong as a selector would spell it ("bitmaps/0/table/3"). ASCII. */
	char where[QCOW2_PROBLEM_WHERE_MAX];
	/*
	 * Where in the file the bytes at fault lie: those of the field, entry or data that `where`
	 * names. Of "refcounts/0/2" that is the refcount, in the refcount block. If there is no such
	 * block, it is the entry of the refcount table that does not lead to one. QCOW2_NO_OFFSET if
	 * the file has no such bytes.
	 */
	uint64_t offset_bytes;
	bool has_found; /* whether found is meant */
	uint64_t found;
	enum qcow2_expectation expectation;
	uint64_t expected;
	bool has_guest; /* whether a range of the virtual disk is concerned */
	uint64_t guest_byte;
	uint64_t guest_length_bytes;
	/* Of problems of a host cluster: where it starts in the file. */
	bool has_cluster;
	uint64_t cluster_offset_bytes;
	/* And who uses it, in the order of the walk. */
	unsigned owner_count; /* of those that are named */
	uint64_t owners_total;
	struct qcow2_owner owners[QCOW2_PROBLEM_OWNERS_MAX];
};

/* Identifies a row: QCOW2_PROBLEM_HEADER_CLUSTER_BITS, … */
enum qcow2_problem_id {
#define QCOW2_PROBLEM(ID, id, severity, repairable, section, text, consequence) QCOW2_PROBLEM_##ID,
#include <qcow2/def/problems.def>
#undef QCOW2_PROBLEM
	QCOW2_PROBLEM_COUNT
};

/* The table of all kinds, indexed by enum qcow2_problem_id; *count is set. Thread safe. */
QCOW2_API const struct qcow2_problem_kind *qcow2_problem_kinds(size_t *count);

/* The kind with that id, or NULL. Thread safe. */
QCOW2_API const struct qcow2_problem_kind *qcow2_problem_find(const char *id);

/* "warning", "leak" or "corruption". Thread safe. */
QCOW2_API const char *qcow2_severity_name(enum qcow2_severity severity);

QCOW2_END_DECLS

#endif
