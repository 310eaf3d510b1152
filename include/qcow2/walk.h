/* SPDX-License-Identifier: MIT */
/*
 * The walk: goes through the structures of an image once, in a fixed order, and tells a visitor of
 * each structure, field and problem. Text, JSON and whatever a program wants are visitors; none of
 * them knows the format. A program that wants one number of an image can walk to it by its path, as
 * "qcow2 dump IMAGE header/size" does:
 *
 *         static int take(void *opaque, const struct qcow2_value *value)
 *         {
 *                 *(uint64_t *)opaque = value->number;
 *                 return 0;
 *         }
 *
 *         const char *path = "header/size";
 *         const struct qcow2_visitor visitor = {
 *                 .size = sizeof(visitor), .field = take};
 *
 *         if (qcow2_selection_new(&path, 1, &selection, &err) == 0 &&
 *             qcow2_walk(image, selection, 0, &visitor, &size, &err) == 0)
 *                 printf("%" PRIu64 "\n", size);
 *         qcow2_selection_free(selection);
 *
 * Costs are bounded by what the file stores: lists that claim more are cut, and the rest is
 * counted.
 */
#ifndef QCOW2_WALK_H
#define QCOW2_WALK_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/format.h>
#include <qcow2/image.h>
#include <qcow2/problem.h>

QCOW2_BEGIN_DECLS

/* ---- walk through the structures of an image ---- */

/* Stands for the index of something that is in no list. */
#define QCOW2_NO_INDEX UINT64_MAX

/* How a node is best shown. */
enum qcow2_layout {
	QCOW2_LAYOUT_BLOCK = 0, /* a headed block of lines */
	QCOW2_LAYOUT_ROW = 1,   /* a row of a table; its fields are the columns */
};

/*
 * A structure or a list that begins or ends. The library owns it and all that it points to, for the
 * time of the callback.
 */
struct qcow2_node {
	size_t size;       /* set by the library */
	const char *key;   /* name of the member in the enclosing structure; NULL inside a list */
	const char *title; /* heading for people (of rows: of their numbers), or NULL */
	uint64_t offset_bytes; /* host offset, or QCOW2_NO_OFFSET */
	const char
		*offset_key; /* name under which data formats show that offset; NULL: not at all */
	uint64_t index;      /* in the enclosing list, or QCOW2_NO_INDEX */
	enum qcow2_layout layout;
	/* The row says of its place what the row before it said of its own: pages for people may
	 * show a run of such rows as one. */
	bool repeats;
};

/* What a value is. */
enum qcow2_value_kind {
	QCOW2_VALUE_NUMBER = 0, /* see number */
	QCOW2_VALUE_TEXT = 1,   /* see bytes: they should be text, and may be anything */
	QCOW2_VALUE_BYTES = 2,  /* see bytes: they need not be text */
	QCOW2_VALUE_BOOL = 3,   /* see number: 0 or 1 */
	QCOW2_VALUE_NULL = 4,   /* not known, or not there */
};

/* For whom a value is meant: what is redundant for one of them is left out there. */
enum qcow2_audience {
	QCOW2_FOR_ALL = 0,
	QCOW2_FOR_PEOPLE = 1,   /* pages that are read */
	QCOW2_FOR_PROGRAMS = 2, /* JSON and the like */
};

/*
 * A field that is shown, or something derived from fields. The library owns it and all that it
 * points to, for the time of the callback.
 */
struct qcow2_value {
	size_t size;      /* set by the library */
	const char *name; /* of a field: as the specification spells it; else with hyphens */
	enum qcow2_value_kind kind;
	enum qcow2_audience audience;
	enum qcow2_style style;          /* how a number is best shown */
	const struct qcow2_names *names; /* names of the value or its bits, or NULL */
	uint64_t number;
	struct qcow2_bytes bytes;
	struct qcow2_bytes raw; /* the bytes on disk; empty for derived values */
	/* Host offset of raw, or of the byte that holds the bits; or QCOW2_NO_OFFSET. */
	uint64_t offset_bytes;
};

/*
 * A column of rows. Those that a walk hands out never change, and last as long as the program; all
 * texts are ASCII without quotes, backslashes and control characters.
 */
struct qcow2_column {
	size_t size; /* set by the library */
	const char *name;
	enum qcow2_audience audience;
	enum qcow2_style style;   /* how a number is best shown */
	const char *const *texts; /* of a text: what its values stand for; NULL: it is a number */
	size_t text_count;
};

/*
 * Rows of the list that was begun last, which follow each other. The library owns it and all that it
 * points to but the columns, for the time of the callback.
 */
struct qcow2_rows {
	size_t size;    /* set by the library */
	uint64_t index; /* of the first row in the list */
	size_t count;   /* at least 1 */
	size_t column_count;
	const struct qcow2_column *const *columns;
	const uint64_t *values; /* those of the first row, then those of the second, and so on */
	const bool *repeats;    /* as in struct qcow2_node, of each row */
};

/*
 * What a walk tells. The caller owns the structure and sets size; functions that do not interest it
 * are NULL. Each returns 0 to go on; anything else stops the walk, which fails with
 * QCOW2_ERROR_STOPPED then. Calls of begin and end are properly nested, all from the thread that
 * walks.
 */
struct qcow2_visitor {
	size_t size; /* sizeof(struct qcow2_visitor) */
	int (*begin_struct)(void *opaque, const struct qcow2_node *node);
	int (*end_struct)(void *opaque, const struct qcow2_node *node);
	int (*begin_list)(void *opaque, const struct qcow2_node *node);
	int (*end_list)(void *opaque, const struct qcow2_node *node);
	int (*field)(void *opaque, const struct qcow2_value *value);
	qcow2_problem_callback problem;
	/*
	 * If it is set, many rows of large tables are told at once where all of their fields are
	 * wanted: instead of begin_struct, field and end_struct for each. They come without their
	 * places and bytes, and after the problems of each of them.
	 */
	int (*rows)(void *opaque, const struct qcow2_rows *rows);
};

struct qcow2_selection;

/*
 * Compiles selectors, which say what a walk tells of: paths of names, indexes, ranges a..b and the
 * wildcards * and ** ("header/size", "l2/0..3", "**"). qcow2-dump(1), "SELECTORS", has the whole
 * language.
 *
 * selectors: count texts, each NUL terminated; copied.
 * count: 0 selects everything but the tables that may be huge.
 * *out: set to the selection; the caller frees it with qcow2_selection_free().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (its text says what is wrong with which
 * selector), QCOW2_ERROR_MEMORY. Whether a selector names anything depends on the image:
 * qcow2_walk() finds out.
 */
QCOW2_API int qcow2_selection_new(const char *const *selectors, size_t count,
				  struct qcow2_selection **out, struct qcow2_error *err);

/* Frees a selection. selection: may be NULL, then nothing happens. */
QCOW2_API void qcow2_selection_free(struct qcow2_selection *selection);

/* How to walk; combined with |. */
enum qcow2_walk_flags {
	QCOW2_WALK_NO_TABLES = 1 << 0, /* leave out bitmap tables and totals: headers only */
};

/*
 * Walks an image and tells the visitor of all that is selected, between one begin_struct and its
 * end_struct for the whole document. Problems that the rules find on the way are told where they
 * are found; the walk does not count references as qcow2_check() does.
 *
 * image: opened with qcow2_image_open(), which accepts broken images, too.
 * selection: NULL for what a selection of no selectors has. Used by one walk at a time.
 * flags: of enum qcow2_walk_flags, or 0.
 * visitor: whom to tell.
 * opaque: handed to each function of the visitor.
 *
 * Memory is bounded whatever the image claims. With selectors, a silent walk comes first, so that a
 * wrong one is an error before anything is told.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_NOT_FOUND  a selector names nothing; the text says why. To ask for all of a
 *                          list that has no elements is no error
 *   QCOW2_ERROR_STOPPED    the visitor asked to stop
 *   QCOW2_ERROR_ARGUMENT   the size of the visitor is not set, or an unknown flag is
 *   QCOW2_ERROR_IO         the source cannot be read
 *   QCOW2_ERROR_LIMIT      the read budget of the source is used up
 *   QCOW2_ERROR_MEMORY
 * Several threads may walk one image, each with a selection and a visitor of its own.
 */
QCOW2_API int qcow2_walk(const struct qcow2_image *image, struct qcow2_selection *selection,
			 unsigned flags, const struct qcow2_visitor *visitor, void *opaque,
			 struct qcow2_error *err);

QCOW2_END_DECLS

#endif
