/* SPDX-License-Identifier: MIT */
/* See damage.h. */
#include "check/damage.h"

#include <inttypes.h>
#include <stdio.h>

#include "check/report.h"
#include "out/human.h"
#include "out/json.h"
#include "out/spool.h"
#include "out/wrap.h"

/* Ranges that people see unless they ask for all. */
#define SHOWN_TO_PEOPLE 5
/* Columns that ranges are indented by, and what is added where a line is broken. */
#define RANGE_INDENT 4
#define BROKEN       4

int check_damage_hear(void *opaque, const struct qcow2_damage_range *range)
{
	struct check_damage *damage = opaque;

	if (damage->count < CHECK_RANGES_KEPT)
		damage->ranges[damage->count++] = *range;
	return 0;
}

static const char *word_of(enum qcow2_damage damage)
{
	return damage == QCOW2_DAMAGE_AT_RISK ? "at risk" : qcow2_damage_name(damage);
}

/* What is written for people. */
struct page {
	struct spool *out;
	struct spool line; /* put together before it is wrapped */
	unsigned columns;
};

static struct page begin(struct spool *out, const struct check_report *report)
{
	struct page page = {.out = out, .columns = report->columns};

	spool_init(&page.line, -1);
	return page;
}

static void end_line(struct page *page, unsigned indent)
{
	wrap_spool(page->out, &page->line, indent, indent + BROKEN, page->columns);
}

static void add_size(struct spool *line, uint64_t bytes)
{
	char human[HUMAN_MAX];

	human_size(bytes, human);
	if (bytes < 1024)
		spool_text(line, human);
	else
		spool_print(line, "%s (%" PRIu64 " B)", human, bytes);
}

static void add_part(struct spool *line, const char **between, uint64_t bytes, const char *word)
{
	if (bytes == 0)
		return;
	spool_text(line, *between);
	add_size(line, bytes);
	spool_print(line, " %s", word);
	*between = ", ";
}

static void show_total(struct page *page, const struct qcow2_damage_total *total, bool exact)
{
	const char *between = exact ? "" : "at most ";

	if (total->of == QCOW2_PART_OF_SNAPSHOT)
		spool_print(&page->line, "snapshot %" PRIu64 " \"%s\": ", total->of_index,
			    total->of_name);
	else
		spool_text(&page->line, "guest data: ");
	if (total->ranges == 0)
		spool_text(&page->line, "no damage");
	add_part(&page->line, &between, total->lost_bytes, "lost");
	add_part(&page->line, &between, total->unreadable_bytes, "unreadable");
	add_part(&page->line, &between, total->at_risk_bytes, "at risk");
	end_line(page, 0);
}

static int show_range(void *opaque, const struct qcow2_damage_range *range)
{
	struct page *page = opaque;

	spool_print(&page->line, "%-10s  0x%" PRIx64 "..0x%" PRIx64, word_of(range->damage),
		    range->guest_byte, range->guest_byte + (range->guest_length_bytes - 1));
	if (range->of == QCOW2_PART_OF_SNAPSHOT)
		spool_print(&page->line, "  (snapshot %" PRIu64 " \"%s\")", range->of_index,
			    range->of_name);
	end_line(page, RANGE_INDENT);
	return 0;
}

static void show_ranges(struct page *page, const struct check_report *report)
{
	const struct check_damage *damage = &report->damage;
	size_t shown = damage->count;

	if (report->tell_ranges) {
		report->tell_ranges(report->opaque, show_range, page);
		return;
	}
	if (shown > SHOWN_TO_PEOPLE)
		shown = SHOWN_TO_PEOPLE;
	for (size_t i = 0; i < shown; i++)
		show_range(page, &damage->ranges[i]);
	if (report->result->damage_ranges > shown)
		spool_print(page->out, "%*s… %" PRIu64 " more (--ranges shows them)\n",
			    RANGE_INDENT, "", report->result->damage_ranges - shown);
}

static void count_words(struct spool *line, uint64_t count, const char *one, const char *many)
{
	if (count > 0)
		spool_print(line, ", %" PRIu64 " %s", count, count == 1 ? one : many);
}

static void show_lost_mappings(struct page *page, const struct qcow2_check_result *result)
{
	if (!result->leaks_may_be_data && result->empty_tables > 0) {
		spool_print(&page->line,
			    "guest data: %" PRIu64 " L2 table%s empty, while refcounts are too "
			    "high: what %s mapped may be lost",
			    result->empty_tables, result->empty_tables == 1 ? " is" : "s are",
			    result->empty_tables == 1 ? "it" : "they");
		end_line(page, 0);
	}
	if (!result->leaks_may_be_data)
		return;
	spool_print(&page->line, "leaked clusters: %" PRIu64 ", %s%" PRIu64 " with content",
		    result->leaked_clusters, result->leaks_all_read ? "" : "at least ",
		    result->leaks_with_content);
	count_words(&page->line, result->orphan_tables, "reads as an L2 table",
		    "read as L2 tables");
	count_words(&page->line, result->empty_tables, "L2 table is empty", "L2 tables are empty");
	count_words(&page->line, qcow2_check_result_count(result, QCOW2_PROBLEM_L2_ENTRIES_EMPTY),
		    "hole in an L2 table fits them", "holes in L2 tables fit them");
	spool_text(&page->line, "; they may be the guest's data");
	end_line(page, 0);
}

static void show_sums(struct page *page, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	const struct qcow2_damage_total *total;

	if (result->file_cut) {
		spool_print(&page->line, "the file is cut: %s",
			    result->file_maybe_longer ? "at least " : "");
		add_size(&page->line, result->file_missing_bytes);
		spool_text(&page->line, " missing, whole at ");
		add_size(&page->line, result->file_whole_bytes);
		spool_text(&page->line, result->file_maybe_longer ? " or more" : "");
		end_line(page, 0);
	}
	show_lost_mappings(page, result);
	if (result->damage_ranges == 0)
		return;
	for (size_t i = 0; (total = qcow2_check_result_damage(result, i)); i++)
		if (i == 0 || check_report_bounded(report, i) == i)
			show_total(page, total, result->damage_exact);
}

uint64_t check_damaged_snapshots(const struct check_report *report)
{
	uint64_t count = 0;

	while (qcow2_check_result_damage(report->result, count + 1))
		count++;
	return count;
}

void check_damage_sums(struct spool *out, const struct check_report *report)
{
	struct page page = begin(out, report);

	show_sums(&page, report);
	spool_release(&page.line);
}

void check_damage_human(struct spool *out, const struct check_report *report)
{
	struct page page = begin(out, report);

	show_sums(&page, report);
	if (report->result->damage_ranges > 0)
		show_ranges(&page, report);
	spool_release(&page.line);
}

static void boolean(struct json *json, const char *key, bool value)
{
	json_key(json, key);
	json_bool(json, value);
}

static void write_name(struct json *json, const char *key, const char *name)
{
	json_key(json, key);
	json_text(json, name);
}

static int write_range(void *opaque, const struct qcow2_damage_range *range)
{
	struct json *json = opaque;

	json_begin_object(json);
	json_number_member(json, "start", range->guest_byte);
	json_number_member(json, "length", range->guest_length_bytes);
	write_name(json, "damage", qcow2_damage_name(range->damage));
	if (range->of == QCOW2_PART_OF_SNAPSHOT) {
		write_name(json, "snapshot", range->of_name);
		json_number_member(json, "snapshot-index", range->of_index);
	}
	json_end_object(json);
	return 0;
}

static void write_sums(struct json *json, const struct qcow2_damage_total *total)
{
	json_number_member(json, "lost-bytes", total->lost_bytes);
	json_number_member(json, "unreadable-bytes", total->unreadable_bytes);
	json_number_member(json, "at-risk-bytes", total->at_risk_bytes);
}

static void write_ranges(struct json *json, const struct check_report *report)
{
	const struct check_damage *damage = &report->damage;
	const uint64_t listed = check_report_bounded(report, damage->count);
	uint64_t all = report->result->damage_ranges;

	json_key(json, "ranges");
	json_begin_array(json);
	if (report->tell_ranges && all > damage->count)
		report->tell_ranges(report->opaque, write_range, json);
	else
		for (size_t i = 0; i < listed; i++)
			write_range(json, &damage->ranges[i]);
	json_end_array(json);
	if (!report->tell_ranges && all > listed)
		json_number_member(json, "ranges-omitted", all - listed);
}

static void write_snapshots(struct json *json, const struct check_report *report)
{
	const uint64_t all = check_damaged_snapshots(report);
	const uint64_t listed = check_report_bounded(report, all);
	const struct qcow2_damage_total *total;

	json_key(json, "snapshots");
	json_begin_array(json);
	for (size_t i = 1; i <= listed; i++) {
		total = qcow2_check_result_damage(report->result, i);
		json_begin_object(json);
		write_name(json, "name", total->of_name);
		json_number_member(json, "index", total->of_index);
		write_sums(json, total);
		json_end_object(json);
	}
	json_end_array(json);
	if (all > listed)
		json_number_member(json, "snapshots-omitted", all - listed);
}

/* The problems of a kind, by where their clusters or tables are. */
static void write_places(struct json *json, const char *key, const struct check_report *report,
			 enum qcow2_problem_id id)
{
	uint64_t found = qcow2_check_result_count(report->result, id), shown = 0;

	json_key(json, key);
	json_begin_array(json);
	for (size_t i = 0; i < report->count; i++) {
		const struct qcow2_problem *problem = report->problems[i];

		if (problem->kind->number != (unsigned)id ||
		    check_report_bounded(report, shown + 1) <= shown)
			continue;
		json_number(json, problem->has_cluster ? problem->cluster_offset_bytes
						       : problem->offset_bytes);
		shown++;
	}
	json_end_array(json);
	if (found > shown) {
		char omitted[64];

		snprintf(omitted, sizeof(omitted), "%s-omitted", key);
		json_number_member(json, omitted, found - shown);
	}
}

static void write_lost_mappings(struct json *json, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;

	json_key(json, "lost-mappings");
	json_begin_object(json);
	boolean(json, "leaks-may-be-data", result->leaks_may_be_data);
	json_number_member(json, "leaked-clusters", result->leaked_clusters);
	json_number_member(json, "leaks-with-content", result->leaks_with_content);
	boolean(json, "all-leaks-read", result->leaks_all_read);
	write_places(json, "orphaned-l2-tables", report, QCOW2_PROBLEM_L2_TABLE_ORPHANED);
	write_places(json, "freed-l2-tables", report, QCOW2_PROBLEM_L2_TABLE_FREED);
	write_places(json, "empty-l2-tables", report, QCOW2_PROBLEM_L2_TABLE_EMPTY);
	write_places(json, "empty-l2-entries", report, QCOW2_PROBLEM_L2_ENTRIES_EMPTY);
	write_places(json, "empty-l1-tables", report, QCOW2_PROBLEM_L1_TABLE_EMPTY);
	json_end_object(json);
}

void check_damage_json(struct json *json, const struct check_report *report)
{
	const struct qcow2_check_result *result = report->result;
	const struct qcow2_damage_total *active = qcow2_check_result_damage(result, 0);

	json_key(json, "guest-damage");
	json_begin_object(json);
	write_sums(json, active);
	boolean(json, "exact", result->damage_exact);
	write_ranges(json, report);
	write_snapshots(json, report);
	json_end_object(json);
	write_lost_mappings(json, report);
	if (!result->file_cut)
		return;
	json_number_member(json, "file-missing-bytes", result->file_missing_bytes);
	json_number_member(json, "file-whole-size", result->file_whole_bytes);
	boolean(json, "file-maybe-longer", result->file_maybe_longer);
}
