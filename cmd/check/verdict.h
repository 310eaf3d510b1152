/* SPDX-License-Identifier: MIT */
/* What a check says of an image as a whole, in one line. */
#ifndef CMD_CHECK_VERDICT_H
#define CMD_CHECK_VERDICT_H

#include "check/report.h"
#include "out/spool.h"

/* From good to bad. The exit code does not depend on it, but on the numbers of problems alone. */
enum check_verdict {
	VERDICT_SOUND,
	VERDICT_LEAKS,      /* space is wasted, no more */
	VERDICT_NOT_CLOSED, /* dirty, and only refcounts and copied flags are behind */
	VERDICT_MARKED,     /* the corrupt bit is set, and nothing else is corrupt */
	VERDICT_LOST,       /* nothing is corrupt, but what leaks may be the guest's data */
	VERDICT_CORRUPT,
};

enum check_verdict check_verdict(const struct check_report *report);

/* "sound", "leaks", "not-closed", "marked-corrupt", "lost-mappings", "corrupt". */
const char *check_verdict_name(enum check_verdict verdict);

/* Whether the dirty bit explains all that is wrong with refcounts and copied flags. */
bool check_lags(const struct check_report *report);

/*
 * What problems of a kind do in this image, if that is something else than the kind says by itself:
 * leaks that may be the guest's data are not to be freed, and what only lags behind is no danger.
 * Else NULL.
 */
const char *check_consequence(const struct check_report *report,
			      const struct qcow2_problem_kind *kind);

/*
 * Whether nothing that was found can have touched the guest's data: false as well if that is not
 * known.
 */
bool check_spares_guest(const struct check_report *report);

/* Room for the words of a verdict, terminated. */
#define CHECK_VERDICT_MAX 384

/* What the line says behind the name, without colours: "is corrupt: 2 corruptions, 1 warning". */
void check_verdict_text(char text[CHECK_VERDICT_MAX], const struct check_report *report);

/* Writes the line: name, verdict, numbers. It is wrapped on terminals alone. */
void check_verdict_print(struct spool *out, const struct check_report *report);

#endif
