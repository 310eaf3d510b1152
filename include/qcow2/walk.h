/* SPDX-License-Identifier: MIT */
/*
 * The walk: goes through the structures of an image once, in file order of their kinds, and tells a
 * visitor of each structure, field and problem. Text, JSON and whatever a caller wants are
 * visitors; none of them knows the format.
 */
#ifndef QCOW2_WALK_H
#define QCOW2_WALK_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/format.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

#define QCOW2_NO_INDEX UINT64_MAX

/* How a node is best shown. */
enum qcow2_layout {
	QCOW2_LAYOUT_BLOCK, /* a headed block of lines */
	QCOW2_LAYOUT_ROW,   /* a row of a table; its fields are the columns */
};

/* A structure or a list that begins. */
struct qcow2_node {
	size_t size;       /* set by the library */
	const char *key;   /* name of the member in the enclosing structure; NULL inside a list */
	const char *title; /* heading for people (of rows: of their numbers), or NULL */
	const struct qcow2_structure *structure; /* NULL for lists and derived groups */
	uint64_t offset_bytes;                   /* host offset, or QCOW2_NO_OFFSET */
	const char
		*offset_key; /* name under which data formats show that offset; NULL: not at all */
	uint64_t index;      /* in the enclosing list, or QCOW2_NO_INDEX */
	enum qcow2_layout layout;
	/* The row says of its place what the row before it said of its own: pages for people may
	 * show a run of such rows as one. */
	bool repeats;
};

enum qcow2_value_kind {
	QCOW2_VALUE_NUMBER,
	QCOW2_VALUE_TEXT,  /* bytes that should be text; may be anything */
	QCOW2_VALUE_BYTES, /* bytes that need not be text */
	QCOW2_VALUE_BOOL,
	QCOW2_VALUE_NULL, /* not known, not there */
};

/* For whom a value is meant: what is redundant for one of them is left out there. */
enum qcow2_audience {
	QCOW2_FOR_ALL,
	QCOW2_FOR_PEOPLE,
	QCOW2_FOR_PROGRAMS,
};

/* A field that is shown. All pointers are valid during the callback only. */
struct qcow2_value {
	size_t size;      /* set by the library */
	const char *name; /* as the specification spells it */
	enum qcow2_value_kind kind;
	enum qcow2_audience audience;
	enum qcow2_style style;
	const struct qcow2_names *names; /* names of the value or its bits, or NULL */
	uint64_t number;
	struct qcow2_bytes bytes;
	struct qcow2_bytes raw; /* the bytes on disk; empty for derived values */
	uint64_t offset_bytes;  /* of raw, or QCOW2_NO_OFFSET */
};

/* What is told. Each function returns 0 to go on, anything else to stop the walk. */
struct qcow2_visitor {
	size_t size; /* sizeof(struct qcow2_visitor) */
	int (*begin_struct)(void *opaque, const struct qcow2_node *node);
	int (*end_struct)(void *opaque, const struct qcow2_node *node);
	int (*begin_list)(void *opaque, const struct qcow2_node *node);
	int (*end_list)(void *opaque, const struct qcow2_node *node);
	int (*field)(void *opaque, const struct qcow2_value *value);
	qcow2_problem_callback problem;
};

struct qcow2_selection;

/*
 * Compiles selectors (see qcow2-dump(1), "SELECTORS"): paths of names, indexes, ranges a..b and the
 * wildcards * and **. count 0 selects everything but the bulk tables.
 *
 * Returns 0 and sets *out (free it with qcow2_selection_free()), or -1 with *err filled:
 * QCOW2_ERROR_ARGUMENT (what is wrong with which selector), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_selection_new(const char *const *selectors, size_t count,
				  struct qcow2_selection **out, struct qcow2_error *err);

/* NULL is fine. */
QCOW2_API void qcow2_selection_free(struct qcow2_selection *selection);

enum qcow2_walk_flags {
	QCOW2_WALK_NO_TABLES = 1 << 0, /* leave out bitmap tables and totals: headers only */
};

/*
 * Walks the image. selection may be NULL for the default; it is used by one walk at a time.
 * Everything is told to the visitor between one begin_struct and its end_struct for the whole
 * document. Memory is bounded whatever the image claims.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND  a selector names nothing; the text lists what there is. Found out before
 *                          anything is told to the visitor.
 *   QCOW2_ERROR_STOPPED    the visitor asked to stop
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT, QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_walk(const struct qcow2_image *image, struct qcow2_selection *selection,
			 unsigned flags, const struct qcow2_visitor *visitor, void *opaque,
			 struct qcow2_error *err);

QCOW2_END_DECLS

#endif
