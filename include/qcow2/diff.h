/* SPDX-License-Identifier: MIT */
/*
 * Comparing the structures of two images: what did that command do to the image? Each value that
 * differs is told by its path, with what both images have there. Paths are those of the walk
 * (walk.h), so that "qcow2 dump IMAGE PATH" shows the same value.
 *
 *	static int tell(void *opaque, const struct qcow2_diff_field *field)
 *	{
 *		puts(field->path);
 *		return 0;
 *	}
 *
 *	const struct qcow2_image *images[2] = {before, after};
 *	const struct qcow2_diff_visitor visitor = {
 *		.size = sizeof(visitor), .field = tell};
 *	struct qcow2_diff_result result = {.size = sizeof(result)};
 *
 *	if (qcow2_diff(images, &visitor, NULL, &result, &err) == 0 &&
 *	    result.differences == 0)
 *		puts("no structure differs");
 *
 * What belongs together is compared, wherever it lies: snapshots by their ID, or else by their name;
 * bitmaps by their name; header extensions by their type; entries of L2 tables by the guest offset
 * that they map; refcounts by the cluster that they count. Whatever follows from a value that is
 * told is not told again: the place of a structure, and the names of feature bits.
 *
 * The bytes of the guest are not read. A data cluster that was overwritten in place is no
 * difference.
 */
#ifndef QCOW2_DIFF_H
#define QCOW2_DIFF_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/image.h>
#include <qcow2/walk.h>

QCOW2_BEGIN_DECLS

/* ---- compare the structures of two images ---- */

/* One of the images. The values index arrays of two. */
enum qcow2_diff_side {
	QCOW2_DIFF_A = 0,
	QCOW2_DIFF_B = 1,
	QCOW2_DIFF_NEITHER = 2,
};

/*
 * A value that differs. The library owns it and all that it points to, for the time of the
 * callback; so it is for the other structures that are told.
 */
struct qcow2_diff_field {
	size_t size;      /* set by the library */
	const char *path; /* "header/size", "bitmaps/b0/flags" */
	const char *name; /* the end of the path: below its element, "totals/bits-set" */
	/*
	 * The value in each image; NULL if the image has none of that path. Of these, a name is the
	 * last segment of the path. Values that read the same differ in their raw bytes.
	 */
	const struct qcow2_value *values[2];
};

/*
 * A snapshot, a bitmap, a header extension, the backing file's name or the LUKS header that only
 * one of the images has.
 */
struct qcow2_diff_element {
	size_t size;               /* set by the library */
	const char *path;          /* "snapshots/=2" */
	enum qcow2_diff_side side; /* which image has it */
};

/* What the entries of a range are. The values are stable. */
enum qcow2_diff_table {
	QCOW2_DIFF_L1 = 0,             /* L1 entries: struct qcow2_l1_entry */
	QCOW2_DIFF_L2 = 1,             /* L2 entries: struct qcow2_l2_entry */
	QCOW2_DIFF_REFCOUNT_TABLE = 2, /* struct qcow2_refcount_table_entry */
	QCOW2_DIFF_REFCOUNTS = 3,      /* refcounts: plain numbers */
	QCOW2_DIFF_BITMAP_TABLE = 4,   /* struct qcow2_bitmap_table_entry */
	QCOW2_DIFF_BITMAP_DATA = 5, /* pieces of bitmap data: the number of their bits that are 1 */
};

/* What one image has in a range of entries. */
struct qcow2_diff_entry {
	size_t size; /* set by the library */
	/*
	 * Whether the end of the file cuts the first entry off. The entries of a table that an
	 * image does not have, or that is shorter than the other one, are 0 and not lost.
	 */
	bool lost;
	uint64_t entry;        /* the first one, as it is stored; of data, the sum over the range */
	uint64_t subclusters;  /* the second half of an extended L2 entry, or 0 */
	uint64_t step_bytes;   /* each further entry is this much more: 0, or the cluster size */
	uint64_t offset_bytes; /* host offset of the first entry; QCOW2_NO_OFFSET: not stored */
};

/* A range of entries of a table that differ in the same manner. */
struct qcow2_diff_range {
	size_t size;      /* set by the library */
	const char *path; /* "l1/3", "snapshots/=1/l2/0/16..31", "bitmaps/b0/table/2" */
	enum qcow2_diff_table table;
	uint64_t first, last; /* indexes of the entries */
	uint64_t host_byte;   /* of refcounts: the cluster that the first one counts; else 0 */
	uint64_t guest_byte;  /* of L2 entries: what the first one maps; else 0 */
	/* The same but for where: both have a place, and kind and flags are equal. */
	bool moved;
	/* What the images have there, A and B. Never NULL. */
	const struct qcow2_diff_entry *entries[2];
};

/* Something that was not compared, and why. */
struct qcow2_diff_gap {
	size_t size;        /* set by the library */
	const char *path;   /* "l2" */
	const char *reason; /* a phrase */
	/* Something there may differ that nothing else tells: no difference does not mean equal. */
	bool may_differ;
};

/*
 * What a comparison tells. The caller owns the structure and sets size; functions that do not
 * interest it are NULL. Each returns 0 to go on; anything else stops the comparison, which fails
 * with QCOW2_ERROR_STOPPED then. Calls come in the order of the structures in a dump, all from the
 * thread that compares.
 */
struct qcow2_diff_visitor {
	size_t size; /* sizeof(struct qcow2_diff_visitor) */
	int (*field)(void *opaque, const struct qcow2_diff_field *field);
	int (*range)(void *opaque, const struct qcow2_diff_range *range);
	/* Between these two, the fields of the element are told; the other image has none. */
	int (*begin_element)(void *opaque, const struct qcow2_diff_element *element);
	int (*end_element)(void *opaque, const struct qcow2_diff_element *element);
	int (*gap)(void *opaque, const struct qcow2_diff_gap *gap);
};

/* What a comparison found. The caller owns it and sets size. */
struct qcow2_diff_result {
	size_t size;          /* sizeof(struct qcow2_diff_result) */
	uint64_t differences; /* fields, elements of one image alone (each once), and ranges */
	uint64_t entries;     /* of tables, that differ */
	uint64_t gaps;
	bool may_differ; /* of any gap */
	/* After an error: the image that could not be read, if that is why. */
	enum qcow2_diff_side failed;
};

/*
 * Compares the structures of two images: header, header extensions, bitmaps with tables and data,
 * backing file name, LUKS header, L1 and L2 tables, snapshots with theirs, refcounts. Tables can
 * be compared if the images have clusters of one size; gaps say what else is missing.
 *
 * images: both opened with qcow2_image_open(), which accepts broken images, too. May be the same.
 * visitor: whom to tell. opaque: handed to each function of the visitor.
 * result: filled in any case, if its size is set.
 *
 * Memory is bounded whatever the images claim: values outside of tables are kept up to 2,097,152
 * of each list and image, tables are compared as they are read. Tables are read up to 16 times what
 * the file stores, plus 64 MiB; holes cost nothing. What is beyond is a gap. Tables that several
 * snapshots share are compared once for each pair of tables, and told where they come first.
 *
 * Returns 0, or -1 with *err filled:
 *   QCOW2_ERROR_STOPPED   the visitor asked to stop
 *   QCOW2_ERROR_ARGUMENT  the size of the visitor or of the result is not set
 *   QCOW2_ERROR_IO        an image cannot be read: result->failed says which one
 *   QCOW2_ERROR_LIMIT     the read budget of a source is used up; likewise
 *   QCOW2_ERROR_MEMORY
 * Several threads may compare images at once.
 */
QCOW2_API int qcow2_diff(const struct qcow2_image *const images[2],
			 const struct qcow2_diff_visitor *visitor, void *opaque,
			 struct qcow2_diff_result *result, struct qcow2_error *err);

QCOW2_END_DECLS

#endif
