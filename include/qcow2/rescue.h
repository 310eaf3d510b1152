/* SPDX-License-Identifier: MIT */
/*
 * Rescue: finds the structures of an image again whose header, L1 table or L2 tables are gone. The
 * whole file is read once. What looks like a table is judged by what it leads to, and by whether
 * refcounts and references agree. The result is a list of candidates, the best one first, each with
 * its evidence. Nothing is written; a candidate is planned like any other change (edit.h).
 *
 *         struct qcow2_rescue_options how = {.size = sizeof(how)};
 *         struct qcow2_rescue *rescue;
 *
 *         if (qcow2_source_open("image.qcow2", &source, &err) == 0 &&
 *             qcow2_rescue_open(source, &how, &rescue, &err) == 0 &&
 *             (candidate = qcow2_rescue_at(rescue, 0)) != NULL)
 *                 printf("%u %%\n", candidate->confidence);
 *
 * A rescue may be used by one thread at a time.
 */
#ifndef QCOW2_RESCUE_H
#define QCOW2_RESCUE_H

#include <qcow2/base.h>
#include <qcow2/check.h>
#include <qcow2/edit.h>
#include <qcow2/error.h>
#include <qcow2/format.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

/* ---- rescue an image whose header or tables are lost ---- */

/* What a piece of evidence is about. */
enum qcow2_rescue_topic {
	QCOW2_RESCUE_HEADER = 0,     /* what is left of the header and its extensions */
	QCOW2_RESCUE_CLUSTERS = 1,   /* cluster size and size of L2 entries */
	QCOW2_RESCUE_REFCOUNTS = 2,  /* refcount table, blocks and the width of refcounts */
	QCOW2_RESCUE_L1 = 3,         /* the active L1 table */
	QCOW2_RESCUE_L2 = 4,         /* L2 tables, found or missing */
	QCOW2_RESCUE_SIZE = 5,       /* the size of the virtual disk */
	QCOW2_RESCUE_VERSION = 6,    /* the version, and features */
	QCOW2_RESCUE_SNAPSHOTS = 7,  /* the snapshot table */
	QCOW2_RESCUE_BITMAPS = 8,    /* the directory of bitmaps */
	QCOW2_RESCUE_ENCRYPTION = 9, /* LUKS */
	QCOW2_RESCUE_BACKING = 10,   /* the backing file, the data file */
	QCOW2_RESCUE_CHECK = 11,     /* what the check finds in the image as planned */
};

/* Room for the text of a piece of evidence, in bytes with the NUL. Never changes. */
#define QCOW2_RESCUE_TEXT_MAX 256

/* Why a candidate says what it says. The library owns it. */
struct qcow2_rescue_evidence {
	size_t size; /* set by the library */
	enum qcow2_rescue_topic topic;
	unsigned confidence; /* in what it says: 0 to 100 */
	bool wants_option;   /* it is a guess that an option of the caller would settle */
	char text[QCOW2_RESCUE_TEXT_MAX]; /* a safe line without a full stop */
};

/*
 * A place of the guest's disk whose L2 table was found again, or could be one of several. The
 * library owns it.
 */
struct qcow2_rescue_table {
	size_t size;                 /* set by the library */
	uint64_t l1_index;           /* the entry of the L1 table */
	uint64_t guest_byte;         /* the first byte of the disk that the table maps */
	uint64_t guest_length_bytes; /* how much it maps */
	struct qcow2_host l2_table;  /* where the table is */
	uint64_t clusters;           /* how many clusters it leads to */
	unsigned confidence;         /* 0 to 100 */
	bool planned;                /* the candidate puts it there; else it is only possible */
	char text[QCOW2_RESCUE_TEXT_MAX]; /* the evidence, a safe line without a full stop */
};

/* One way to put the image back. The library owns it and all that it points to. */
struct qcow2_rescue_candidate {
	size_t size;         /* set by the library */
	unsigned confidence; /* 0 to 100 */
	/* The header as it would be; its extensions and names are in the plan. Never NULL. */
	const struct qcow2_header *header;
	bool changes_header; /* false: the header of the file stays */
	size_t evidence_count;
	const struct qcow2_rescue_evidence *const *evidence;
	/* Tables that go to places of the L1 table; 0 if the L1 table is whole. */
	size_t table_count;
	const struct qcow2_rescue_table *const *tables;
	/* What the check finds in the image as planned; NULL if that cannot be opened. */
	const struct qcow2_check_result *check;
	uint64_t mapped_clusters; /* that its active tables lead to */
};

/*
 * What the caller knows of the image. The caller owns it and sets size; zeros mean that nothing is
 * known. What is stated here is not questioned.
 */
struct qcow2_rescue_options {
	size_t size;                 /* sizeof(struct qcow2_rescue_options) */
	uint64_t cluster_size_bytes; /* a power of two, 512 to 2 MiB; 0: unknown */
	uint64_t virtual_size_bytes; /* 0: unknown */
	unsigned version;            /* 2 or 3; 0: unknown */
	unsigned refcount_bits;      /* 1 to 64; 0: unknown */
	/* Names for the header; NULL: what is found there. Empty: none, whatever is found there. */
	const char *backing_file, *backing_format;
	const char *data_file; /* the image has an external data file of this name */
	/*
	 * An image of the same make: its cluster size, version, refcount width, features, backing
	 * file and virtual size are taken where nothing else is stated. May be NULL.
	 */
	const struct qcow2_image *like;
	/*
	 * Look into the guest's disk for what tells its size and order: partition tables and
	 * superblocks. A guest chooses what is there.
	 */
	bool look_at_guest;
	/*
	 * Tells the size of the virtual disk of a backing file, by the name that the image would
	 * have for it, in bytes; 0 if it is not known. The library opens no such file. An overlay
	 * has the size of its backing file as a rule. May be NULL.
	 */
	uint64_t (*backing_size)(void *opaque, struct qcow2_bytes name);
	unsigned threads;            /* as in struct qcow2_check_options */
	uint64_t memory_limit_bytes; /* likewise */
	/* As in struct qcow2_check_options, for the scan. Not 0 stops. May be NULL. */
	int (*progress)(void *opaque, uint64_t done_bytes, uint64_t total_bytes);
	void *opaque; /* handed to both */
	/*
	 * Tables are put back to places that are at least so sure, 1 to 100. 0: to those that are
	 * more likely right than not, 50. The others are shown.
	 */
	unsigned confidence_least;
};

struct qcow2_rescue;

/*
 * Reads a file and finds the candidates.
 *
 * source: stays the caller's, who keeps it open as long as the rescue. Only read.
 * options: NULL if nothing is known.
 * *out: set to the rescue; the caller closes it with qcow2_rescue_close().
 *
 * Returns 0, also if there is no candidate, or -1 with *err filled:
 *   QCOW2_ERROR_IO, QCOW2_ERROR_LIMIT  as qcow2_source_read() and qcow2_check()
 *   QCOW2_ERROR_ARGUMENT  the size of the options is not set, a member is unknown, or a number is
 *                         none that the format knows
 *   QCOW2_ERROR_STOPPED   progress() asked to stop
 *   QCOW2_ERROR_MEMORY
 */
QCOW2_API int qcow2_rescue_open(struct qcow2_source *source,
				const struct qcow2_rescue_options *options,
				struct qcow2_rescue **out, struct qcow2_error *err);

/* Returns how many candidates there are, at most 16. Never fails. */
QCOW2_API size_t qcow2_rescue_count(const struct qcow2_rescue *rescue);

/*
 * Gives a candidate.
 *
 * index: the best one is 0.
 *
 * Returns the candidate, which lives as long as the rescue, or NULL past the last one.
 */
QCOW2_API const struct qcow2_rescue_candidate *qcow2_rescue_at(const struct qcow2_rescue *rescue,
							       size_t index);

/*
 * Plans what makes the file the image that a candidate says. What remains to be mended then is for
 * qcow2_repair().
 *
 * index: below qcow2_rescue_count().
 * plan: over the same file, or over a copy of it that has the same bytes.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT (no such candidate), and the errors of
 * qcow2_plan_write().
 */
QCOW2_API int qcow2_rescue_plan(struct qcow2_rescue *rescue, size_t index, struct qcow2_plan *plan,
				struct qcow2_error *err);

/* Closes a rescue and frees its candidates. rescue: may be NULL, then nothing happens. */
QCOW2_API void qcow2_rescue_close(struct qcow2_rescue *rescue);

/*
 * The name of a topic, as all pages and documents of the command spell it.
 *
 * topic: any number.
 *
 * Returns a word in lower case, or "unknown" for any other number; never NULL. Thread safe.
 */
QCOW2_API const char *qcow2_rescue_topic_name(enum qcow2_rescue_topic topic);

QCOW2_END_DECLS

#endif
