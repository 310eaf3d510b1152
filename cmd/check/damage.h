/* SPDX-License-Identifier: MIT */
/*
 * What the problems of an image do to the guest's data, on the pages of qcow2 check: which ranges of
 * the virtual disks are damaged, how much of the file is missing, and whether mappings were lost.
 */
#ifndef CMD_CHECK_DAMAGE_H
#define CMD_CHECK_DAMAGE_H

#include <stddef.h>

#include <qcow2/check.h>

/* The most ranges that are kept; --ranges finds the others once more. */
#define CHECK_RANGES_KEPT 100

/* The first ranges, those of the active disk before those of snapshots. Needs no release. */
struct check_damage {
	struct qcow2_damage_range ranges[CHECK_RANGES_KEPT];
	size_t count;
};

/* As damage_range of struct qcow2_check_options; opaque is a struct check_damage. */
int check_damage_hear(void *opaque, const struct qcow2_damage_range *range);

struct check_report;
struct json;
struct spool;

/* The paragraphs for people. Nothing at all if nothing is damaged, missing or lost. */
void check_damage_human(struct spool *out, const struct check_report *report);

/* Of these, the lines that sum up, and no ranges. */
void check_damage_sums(struct spool *out, const struct check_report *report);

/* Returns how many snapshots are damaged, of which these lines and the document may list fewer. */
uint64_t check_damaged_snapshots(const struct check_report *report);

/* The members "guest-damage", "file-missing-bytes" and "lost-mappings" of the document. */
void check_damage_json(struct json *json, const struct check_report *report);

#endif
