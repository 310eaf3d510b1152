/* SPDX-License-Identifier: MIT */
/*
 * Vetting: may this image, which a stranger sent, be given to other programs? The answer is a
 * verdict and every reason for it, by rules that a policy sets. It is worked out from the bytes of
 * the image alone. No file that the image names is opened.
 *
 * Vetting is not the check (check.h). The check says whether an image is sound. Vetting says
 * whether it reaches for other files, hides something, or exhausts who opens it; most of that is in
 * the header, so that vetting a sound image takes microseconds. The policy "strict" asks for both.
 *
 * Refuses an upload that is not self-contained:
 *
 *	static void show(void *opaque, const struct qcow2_vet_reason *reason)
 *	{
 *		printf("%s: %s\n", reason->rule->id, reason->text);
 *	}
 *
 *	struct qcow2_vet_options options = {
 *		.size = sizeof(options), .reason = show};
 *	struct qcow2_vet_result result = {.size = sizeof(result)};
 *
 *	if (qcow2_vet(source, &options, &result, &err) == 0)
 *		puts(result.verdict == QCOW2_VET_ACCEPTED ? "accepted"
 *							  : "refused");
 *
 * The rules are listed once, in def/vet_rules.def, from which come their numbers, this library's
 * table, the settings of the policies, the manual page and the list of docs/vet.md.
 */
#ifndef QCOW2_VET_H
#define QCOW2_VET_H

#include <qcow2/base.h>
#include <qcow2/error.h>
#include <qcow2/probe.h>
#include <qcow2/problem.h>
#include <qcow2/source.h>

QCOW2_BEGIN_DECLS

/* ---- the rules of vetting ---- */

/* The numbers of the rules, as the rows of def/vet_rules.def give them. They begin at 1. */
enum qcow2_vet_rule_number {
	QCOW2_VET_RULE_NONE = 0, /* no rule has this number */
#define QCOW2_VET_RULE(number, ID, id, field, UNIT, upload, chain, strict, text, meaning)          \
	QCOW2_VET_RULE_##ID = (number),
#include <qcow2/def/vet_rules.def>
#undef QCOW2_VET_RULE
};

/* What a policy can set a rule to. New units may come with new rules. */
enum qcow2_vet_unit {
	QCOW2_VET_ALWAYS = 0,       /* nothing: the rule always refuses */
	QCOW2_VET_SWITCH = 1,       /* QCOW2_VET_ALLOW or QCOW2_VET_DENY */
	QCOW2_VET_BYTES = 2,        /* a limit in bytes */
	QCOW2_VET_COUNT = 3,        /* a limit of how many there are */
	QCOW2_VET_RATIO = 4,        /* a limit of how many bytes there are for one byte */
	QCOW2_VET_MILLISECONDS = 5, /* a limit of time */
};

/*
 * Settings of a rule. A switch is one of the first two. A limit is the largest number that is
 * accepted; QCOW2_VET_NO_LIMIT accepts any, and 0 accepts nothing but 0.
 */
#define QCOW2_VET_DENY     UINT64_C(0)
#define QCOW2_VET_ALLOW    UINT64_MAX
#define QCOW2_VET_NO_LIMIT UINT64_MAX

/* A rule: a row of def/vet_rules.def. The library owns it; it lives as long as the program. */
struct qcow2_vet_rule {
	size_t size;              /* set by the library */
	unsigned number;          /* of enum qcow2_vet_rule_number, or a newer one */
	const char *id;           /* lower-case words with hyphens: "backing-file" */
	const char *field;        /* the field that reasons name, or the first of several */
	enum qcow2_vet_unit unit; /* what it can be set to */
	const char *text;         /* what was found, a sentence */
	const char *meaning;      /* why it matters, a sentence or more */
};

/*
 * Gives a rule by its number.
 *
 * number: any.
 *
 * Returns the rule, or NULL if the library has none of that number. Pure and thread safe.
 */
QCOW2_API const struct qcow2_vet_rule *qcow2_vet_rule_get(unsigned number);

/*
 * Gives a rule by its id.
 *
 * id: NUL terminated.
 *
 * Returns the rule, or NULL if there is none of that id. Pure and thread safe.
 */
QCOW2_API const struct qcow2_vet_rule *qcow2_vet_rule_find(const char *id);

/*
 * Gives the rules in the order of their numbers, for lists.
 *
 * index: 0, 1, …
 *
 * Returns the rule, or NULL behind the last one. Pure and thread safe.
 */
QCOW2_API const struct qcow2_vet_rule *qcow2_vet_rule_at(size_t index);

/* ---- policies of vetting ---- */

/* A policy: a setting for each rule. */
struct qcow2_vet_policy;

/*
 * Makes a policy, which starts as one of those that are built in:
 *   "upload"  an image that needs no other file: what an image service takes from strangers
 *   "chain"   the same, but a backing file is allowed if its name is a plain relative path below
 *             the folder of the image, and its format is stated
 *   "strict"  as upload, and the check (check.h) finds no corruption and no leak
 *
 * name: one of these. *out: set on success; the caller frees it with qcow2_vet_policy_free().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_NOT_FOUND (no such policy), QCOW2_ERROR_MEMORY.
 * Thread safe.
 */
QCOW2_API int qcow2_vet_policy_new(const char *name, struct qcow2_vet_policy **out,
				   struct qcow2_error *err);

/* Frees a policy that nothing uses any more. policy: NULL is fine. */
QCOW2_API void qcow2_vet_policy_free(struct qcow2_vet_policy *policy);

/*
 * Sets a rule.
 *
 * policy: not in use by a vetting meanwhile. number: of the rule. setting: QCOW2_VET_ALLOW or
 * QCOW2_VET_DENY for a switch; for others a limit, as above. QCOW2_VET_DENY is the limit 0.
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_NOT_FOUND (no such rule), QCOW2_ERROR_ARGUMENT (the
 * rule cannot be set, or not to that).
 */
QCOW2_API int qcow2_vet_policy_set(struct qcow2_vet_policy *policy, unsigned number,
				   uint64_t setting, struct qcow2_error *err);

/*
 * Tells what a rule is set to. policy: NULL stands for "upload". number: of the rule.
 *
 * Returns the setting; QCOW2_VET_DENY for a rule that the library does not know. Thread safe.
 */
QCOW2_API uint64_t qcow2_vet_policy_setting(const struct qcow2_vet_policy *policy, unsigned number);

/* ---- vet an image of a stranger ---- */

/* The verdict. The numbers are those that the command exits with, and never change. */
enum qcow2_vet_verdict {
	QCOW2_VET_ACCEPTED = 0,
	QCOW2_VET_COULD_NOT_LOOK = 1, /* the call failed, or a pipe passed what it should look at */
	QCOW2_VET_REFUSED = 2,
};

/* Room for texts below, in bytes with the NUL. These never change. */
#define QCOW2_VET_FIELD_MAX 128
#define QCOW2_VET_TEXT_MAX  512

/* A reason to refuse an image. The library owns it, for the time of the callback. */
struct qcow2_vet_reason {
	size_t size; /* set by the library */
	const struct qcow2_vet_rule *rule;
	/* Path of the field at fault, as a selector of qcow2_walk() spells it, if it has one. */
	char field[QCOW2_VET_FIELD_MAX];
	uint64_t offset_bytes; /* of the field in the file, or QCOW2_NO_OFFSET */
	bool has_value;        /* there is a number: */
	uint64_t value;        /* that number, in the unit of the rule if that is a limit */
	bool has_limit;        /* the rule is a limit: */
	uint64_t limit;        /* the largest number that the policy accepts */
	/* A name of the image, or what else was found that is text. Escaped; "" if there is none. */
	char name[QCOW2_VET_TEXT_MAX];
	/* What was found: one line of UTF-8 without control bytes, with values and names. */
	char text[QCOW2_VET_TEXT_MAX];
	/* For the rule "malformed" and the like: the problem of the check. Else NULL. */
	const struct qcow2_problem_kind *problem;
};

/* The most reasons that are told by one rule; the rest is counted. */
#define QCOW2_VET_REASONS_PER_RULE 16

/* How to vet. The caller owns it and sets size; zeros in the other members are a good choice. */
struct qcow2_vet_options {
	size_t size; /* sizeof(struct qcow2_vet_options) */
	/* By which rules; stays the caller's. NULL: the policy "upload". */
	const struct qcow2_vet_policy *policy;
	/* Reads all L2 tables to find compressed bombs (rule "compression-ratio"). */
	bool deep;
	/*
	 * The folder in which the image lies, to find out whether a backing file of a plain name is
	 * a regular file (rule "backing-kind"). It is looked at, not opened. NULL: not known.
	 */
	const char *folder;
	/* Of a check, as in struct qcow2_check_options. */
	unsigned threads;
	uint64_t memory_limit_bytes;
	/* Called for each reason, from the calling thread. NULL: the verdict is enough. */
	void (*reason)(void *opaque, const struct qcow2_vet_reason *reason);
	void *opaque; /* handed to it */
	/*
	 * The name of the image's file, as other programs will be given it: QEMU would open
	 * something else for "nbd:x" (rule "file-name"). The backing file must not be this file
	 * (rule "backing-kind"). It is looked at, not opened. NULL: not known.
	 */
	const char *file;
};

/* What was found. The caller owns it and sets size. */
struct qcow2_vet_result {
	size_t size; /* sizeof(struct qcow2_vet_result) */
	enum qcow2_vet_verdict verdict;
	uint64_t reasons;                   /* in all, whether or not they were told */
	const struct qcow2_file_kind *kind; /* what the file is by its first bytes */
	uint32_t version;                   /* of the format; 0 if the header has none */
	uint64_t virtual_size_bytes;        /* as the header says; 0 if it is cut off */
	uint64_t file_size_bytes;           /* of a pipe: what has been read of it */
	/*
	 * Of a stream: rules that could not be applied, as what they look at has passed: bit
	 * 1 << number for each.
	 */
	uint64_t unapplied;
};

/*
 * Vets an image by a policy.
 *
 * source: of the image; stays the caller's. Reads its first cluster and its end, and of its tables
 *   what the policy needs: a sound image of a usual size costs four reads.
 * options: NULL for all defaults.
 * *out: filled on success; out->size is set by the caller.
 *
 * Returns 0 with the verdict accepted or refused, or -1 with *err filled and no verdict:
 *   QCOW2_ERROR_IO        the file cannot be read
 *   QCOW2_ERROR_LIMIT     the budget of the source is used up
 *   QCOW2_ERROR_ARGUMENT  the size of options or out is not set, or there is an unknown member
 *   QCOW2_ERROR_MEMORY
 * Reasons may have been told before that. A file that is no qcow2 image, is empty or ends within the
 * header is refused, which is no error. Thread safe.
 */
QCOW2_API int qcow2_vet(struct qcow2_source *source, const struct qcow2_vet_options *options,
			struct qcow2_vet_result *out, struct qcow2_error *err);

/* ---- vet an image that arrives as a stream ---- */

/* The vetting of an image that arrives piece by piece, as from a pipe. */
struct qcow2_vet_stream;

/*
 * Begins the vetting of a stream. Its first 4 MiB are kept in memory, its last bytes, and of its
 * tables what the policy needs; at most about 72 MiB, and a few 100 KiB for images of usual sizes.
 *
 * options: as for qcow2_vet(); what they point to stays the caller's until the stream is closed.
 * *out: set on success; the caller closes it with qcow2_vet_stream_close().
 *
 * Returns 0, or -1 with *err filled: QCOW2_ERROR_ARGUMENT as qcow2_vet(), QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_vet_stream_open(const struct qcow2_vet_options *options,
				    struct qcow2_vet_stream **out, struct qcow2_error *err);

/*
 * Takes the next bytes. The header is judged as soon as it is there, then the first cluster, then
 * lists of snapshots and bitmaps; what is refused by them is refused without the rest.
 *
 * data: size bytes; they are not needed any more when the call returns.
 *
 * Returns 0 if more bytes are needed; 1 if the image is refused, which further bytes do not change:
 * reasons have been told; or -1 with *err filled: QCOW2_ERROR_MEMORY.
 */
QCOW2_API int qcow2_vet_stream_feed(struct qcow2_vet_stream *stream, const void *data, size_t size,
				    struct qcow2_error *err);

/*
 * Ends a stream, at its end or when it is refused, and gives the verdict. Tells the reasons that
 * were not told before. With tables that lie in front of what leads to them, or with a policy or an
 * option that reads all tables, there may be rules that cannot be applied to a long stream: then
 * the verdict is QCOW2_VET_COULD_NOT_LOOK unless others refuse it, and out->unapplied names them.
 *
 * *out: filled on success; out->size is set by the caller.
 *
 * Returns 0, or -1 with *err filled as qcow2_vet().
 */
QCOW2_API int qcow2_vet_stream_end(struct qcow2_vet_stream *stream, struct qcow2_vet_result *out,
				   struct qcow2_error *err);

/* Closes and frees. stream: NULL is fine. */
QCOW2_API void qcow2_vet_stream_close(struct qcow2_vet_stream *stream);

QCOW2_END_DECLS

#endif
