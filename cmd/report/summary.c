/* SPDX-License-Identifier: MIT */
/* The title of the page, the verdict, and what is known of the image at a glance. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check/verdict.h"
#include "out/html.h"
#include "out/human.h"
#include "report/page.h"
#include "report/section.h"

#include <qcow2/bitmap_directory.h>
#include <qcow2/limits.h>
#include <qcow2/text.h>
#include <qcow2/version.h>

/* The bytes of a name that the table shows. */
#define NAME_SHOWN 512

void report_write_title(struct spool *out, const struct report *report)
{
	char human[HUMAN_MAX];

	spool_text(out, "<p class=\"lead\">");
	if (report->image)
		spool_print(out, "QCOW2 image, version %" PRIu32 ", with a virtual disk of %s",
			    qcow2_image_header(report->shown)->version,
			    human_size(qcow2_image_header(report->shown)->size, human));
	else
		spool_print(out, "A file of %s that cannot be opened as a QCOW2 image",
			    human_size(qcow2_source_size_bytes(report->source), human));
	spool_text(out, "</p>\n");
}

/* ---- the verdict ---- */

/* How a banner looks, and the drawing in it, whose meaning its text repeats. */
struct mood {
	const char *class, *drawing;
};

static const struct mood good = {"good", "<path d=\"M7 12.5l3.5 3.5L17 9\"/>"};
static const struct mood fair = {"fair", "<path d=\"M12 7v6m0 3.5v.5\"/>"};
static const struct mood bad = {"bad", "<path d=\"M8.5 8.5l7 7m0-7l-7 7\"/>"};

static const struct mood *mood_of(const struct report *report)
{
	if (!report->image || report->info.verdict == QEMU_REFUSES)
		return &bad;
	switch (check_verdict(&report->check)) {
	case VERDICT_SOUND:
		return report->info.verdict == QEMU_OPENS ? &good : &fair;
	case VERDICT_LEAKS:
	case VERDICT_NOT_CLOSED:
	case VERDICT_MARKED:
		return &fair;
	case VERDICT_LOST:
	case VERDICT_CORRUPT:
		break;
	}
	return &bad;
}

static void write_qemu(struct spool *out, const struct report *report)
{
	if (report->info.verdict == QEMU_REFUSES)
		spool_text(out, "<br>QEMU refuses to open this image.");
	else if (report->info.verdict == QEMU_ONLY_READS)
		spool_text(out, "<br>QEMU opens this image for reading only.");
}

static void write_verdict(struct spool *out, const struct report *report)
{
	const struct mood *mood = mood_of(report);
	char text[CHECK_VERDICT_MAX];

	spool_print(out,
		    "<div class=\"verdict %s\"><svg viewBox=\"0 0 24 24\" fill=\"none\" "
		    "stroke=\"currentColor\" stroke-width=\"2\" stroke-linecap=\"round\" "
		    "stroke-linejoin=\"round\" aria-hidden=\"true\"><circle cx=\"12\" cy=\"12\" "
		    "r=\"10\"/>%s</svg>\n<p><strong>",
		    mood->class, mood->drawing);
	if (report->image) {
		check_verdict_text(text, &report->check);
		spool_text(out, "The image ");
		html_text(out, text);
		spool_text(out, ".</strong>");
		write_qemu(out, report);
	} else {
		spool_text(out, "The image cannot be opened: ");
		html_text(out, report->why.text);
		spool_text(out, ".</strong>");
	}
	if (report_has_steps(report))
		spool_text(out, "<br><a href=\"#next\">What to do next</a>");
	spool_text(out, "</p></div>\n");
}

static void write_notes(struct spool *out, const struct report *report)
{
	if (report->in_use)
		spool_text(out,
			   "<div class=\"verdict note\"><p><strong>Another program has the "
			   "image open for writing.</strong> What looks damaged may be a write "
			   "under way: make the report again when the image is closed.</p></div>"
			   "\n");
	if (report->redaction_differs)
		spool_text(out, "<div class=\"verdict fair\"><p><strong>The stand-ins for names "
				"changed what the check finds.</strong> Names of this image lie "
				"where other structures are: a report with names is exact.</p>"
				"</div>\n");
	if (report->redacts)
		spool_print(
			out,
			"<div class=\"verdict note\"><p><strong>Names are removed.</strong> "
			"Stand-ins of the same length are in their places, also where bytes "
			"are shown: equal names have equal stand-ins.%s</p></div>\n",
			report->image && report->check.result->corruptions > 0
				? " What a corrupt image takes for numbers is shown, even if it "
				  "was a name once: read the page before you send it."
				: "");
}

/* ---- tiles ---- */

__attribute__((format(printf, 3, 4))) static void tile(struct spool *out, const char *name,
						       const char *detail, ...)
{
	va_list list;
	char text[160];

	va_start(list, detail);
	vsnprintf(text, sizeof(text), detail, list);
	va_end(list);
	spool_print(out, "<div><dt>%s</dt><dd>%s</dd></div>\n", name, text);
}

static void write_share(char buffer[64], const struct report *report)
{
	const struct qcow2_check_result *result = report->check.result;

	if (result->clusters_checked && result->total_clusters > 0)
		snprintf(buffer, 64, "<small>%.1f %% allocated</small>",
			 100.0 * (double)result->allocated_clusters /
				 (double)result->total_clusters);
	else
		buffer[0] = '\0';
}

static void write_tiles(struct spool *out, const struct report *report)
{
	const struct qcow2_header *header = qcow2_image_header(report->shown);
	const struct qcow2_geometry *geometry = qcow2_image_geometry(report->shown);
	char human[HUMAN_MAX], other[HUMAN_MAX], share[64];

	write_share(share, report);
	spool_text(out, "<dl class=\"tiles\">\n");
	tile(out, "Virtual disk", "%s%s", human_size(header->size, human), share);
	tile(out, "File", "%s<small>%s on disk</small>",
	     human_size(qcow2_source_size_bytes(report->source), human),
	     human_size(qcow2_source_allocated_bytes(report->source), other));
	tile(out, "Cluster size", "%s",
	     geometry ? human_size(geometry->cluster_size_bytes, human) : "impossible");
	tile(out, "Snapshots", "%" PRIu32, header->nb_snapshots);
	tile(out, "Bitmaps", "%" PRIu64, report->lists.bitmaps_total);
	spool_text(out, "</dl>\n");
}

/* ---- the table ---- */

static void begin_row(struct spool *out, const char *name)
{
	spool_print(out, "<tr><th scope=\"row\">%s</th><td>", name);
}

static void end_row(struct spool *out)
{
	spool_text(out, "</td></tr>\n");
}

/* Text of ours. */
static void row(struct spool *out, const char *name, const char *text)
{
	begin_row(out, name);
	html_text(out, text);
	end_row(out);
}

static void row_size(struct spool *out, const char *name, uint64_t bytes)
{
	char human[HUMAN_MAX];

	begin_row(out, name);
	spool_print(out, "%s (%" PRIu64 " bytes)", human_size(bytes, human), bytes);
	end_row(out);
}

static void row_code(struct spool *out, const char *name, const char *text)
{
	begin_row(out, name);
	html_command(out, text);
	end_row(out);
}

static void row_name(struct spool *out, const char *name, struct qcow2_bytes text,
		     const char *after)
{
	begin_row(out, name);
	html_name(out, text, NAME_SHOWN);
	spool_text(out, after);
	end_row(out);
}

static void write_features(struct spool *out, const struct qcow2_header *header)
{
	const struct {
		const struct qcow2_names *names;
		uint64_t bits;
	} groups[] = {{&qcow2_incompatible_features, header->incompatible_features},
		      {&qcow2_compatible_features, header->compatible_features},
		      {&qcow2_autoclear_features, header->autoclear_features}};
	const char *between = "";

	begin_row(out, "Features");
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		for (uint64_t rest = groups[g].bits; rest != 0; rest &= rest - 1) {
			const unsigned bit = (unsigned)__builtin_ctzll(rest);
			const char *name = qcow2_names_find(groups[g].names, bit);

			spool_text(out, between);
			if (name)
				html_text(out, name);
			else
				spool_print(out, "unknown bit %u of %s", bit, groups[g].names->id);
			between = ", ";
		}
	}
	spool_text(out, between[0] ? "" : "none");
	end_row(out);
}

static void write_needs(struct spool *out, const struct qcow2_header *header)
{
	const struct qemu_need need = qemu_needed(header);

	begin_row(out, "Needs");
	if (need.version)
		spool_print(out, "QEMU %s or later (%s)", need.version, need.why);
	else
		spool_print(out, "a program that is not known here (%s)", need.why);
	end_row(out);
}

static void write_kinds(struct spool *out, const struct qcow2_header *header)
{
	const char *compression =
		qcow2_names_find(&qcow2_compression_types, header->compression_type);
	const char *encryption = qcow2_names_find(&qcow2_crypt_methods, header->crypt_method);
	char text[64];

	snprintf(text, sizeof(text), "qcow2, version %" PRIu32 " (compat %s)", header->version,
		 header->version == 2 ? "0.10" : "1.1");
	row(out, "Format", text);
	if (header->refcount_order > QCOW2_LIMIT_REFCOUNT_ORDER_MAX)
		snprintf(text, sizeof(text), "impossible width");
	else
		snprintf(text, sizeof(text), "%u bit%s wide", 1U << header->refcount_order,
			 header->refcount_order == 0 ? "" : "s");
	row(out, "Refcounts", text);
	write_features(out, header);
	write_needs(out, header);
	row(out, "Compression", compression ? compression : "unknown");
	row(out, "Encryption", encryption ? encryption : "unknown");
}

static void write_files(struct spool *out, const struct report *report)
{
	const struct qcow2_image *image = report->shown;
	const struct qcow2_bytes backing = qcow2_image_backing_name(image);
	const struct qcow2_bytes format =
		info_extension_text(image, QCOW2_EXTENSION_BACKING_FORMAT);

	if (backing.size > 0) {
		row_name(out, "Backing file", backing, " (not opened)");
		if (format.size > 0)
			row_name(out, "Backing format", format, "");
		else
			row(out, "Backing format", "not stated: programs probe the file");
	}
	if (qcow2_image_header(image)->incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE)
		row_name(out, "Data file", info_extension_text(image, QCOW2_EXTENSION_DATA_FILE),
			 " (not opened)");
}

/* Which file this was, and when: two reports of one image can be told apart. */
static void write_state(struct spool *out, const struct report *report)
{
	char time[HUMAN_MAX], digest[REPORT_DIGEST_MAX];

	if (report->has_modified)
		row(out, "Modified", human_time((uint64_t)report->modified, time));
	if (report_digest(digest, report))
		row_code(out, "Metadata digest", digest);
}

static void write_origin(struct spool *out, const struct report *report)
{
	char time[HUMAN_MAX], line[REPORT_COMMAND_MAX];

	begin_row(out, "Report");
	spool_print(out, "qcow2-utils %s, %s, by ", qcow2_version(),
		    human_time((uint64_t)report->made, time));
	report_own_command(line, report);
	html_command(out, line);
	end_row(out);
}

static void write_table(struct spool *out, const struct report *report)
{
	const struct qcow2_check_result *result = report->check.result;
	const struct qcow2_geometry *geometry;

	html_begin_table(out, "about", "About the image");
	spool_text(out, "<tbody>\n");
	row_name(out, "Image",
		 (struct qcow2_bytes){(const uint8_t *)report->file, strlen(report->file)}, "");
	if (report->image) {
		geometry = qcow2_image_geometry(report->shown);
		row_size(out, "Virtual size", qcow2_image_header(report->shown)->size);
		row_size(out, "File size", qcow2_source_size_bytes(report->source));
		row_size(out, "On disk", qcow2_source_allocated_bytes(report->source));
		if (geometry)
			row_size(out, "Cluster size", geometry->cluster_size_bytes);
		if (result->clusters_checked)
			row_size(out, "End of the image", result->image_end_offset_bytes);
		write_kinds(out, qcow2_image_header(report->shown));
		write_files(out, report);
	} else {
		row_size(out, "File size", qcow2_source_size_bytes(report->source));
		row_size(out, "On disk", qcow2_source_allocated_bytes(report->source));
	}
	write_state(out, report);
	write_origin(out, report);
	html_end_table(out);
}

void report_write_summary(struct spool *out, const struct report *report)
{
	report_begin_section(out, "summary", "Summary");
	write_verdict(out, report);
	write_notes(out, report);
	if (report->image)
		write_tiles(out, report);
	write_table(out, report);
	report_end_section(out);
}
