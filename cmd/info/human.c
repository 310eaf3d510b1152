/* SPDX-License-Identifier: MIT */
/* qcow2 info for people: one screen, what is alarming first. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json_name.h"
#include "info/page.h"
#include "info/pages.h"
#include "out/human.h"
#include "out/wrap.h"

#include <qcow2/limits.h>
#include <qcow2/text.h>

#define TEXT_SHOWN    1024
#define COMMAND_SHOWN 2048 /* a longer word helps nobody */

static void line(const struct page *page, const char *name, const char *text)
{
	spool_print(page->out, "%-18s %s\n", name, text);
}

static void line_bytes(const struct page *page, const char *name, struct qcow2_bytes bytes,
		       const char *after)
{
	char text[TEXT_SHOWN * 6 + 1];

	qcow2_text_escape(human_cut(bytes, TEXT_SHOWN), text, sizeof(text));
	spool_print(page->out, "%-18s %s%s%s\n", name, text, bytes.size > TEXT_SHOWN ? "…" : "",
		    after);
}

/* Three digits, but never an exponent. */
static void show_percent(const struct page *page, double percent)
{
	if (percent > 0 && percent < 0.001)
		spool_text(page->out, ", below 0.001 % of the virtual size");
	else
		spool_print(page->out,
			    percent < 100 ? ", %.3g %% of the virtual size"
					  : ", %.0f %% of the virtual size",
			    percent);
}

/* size: the virtual size, or 0 if there is no share of it to show. */
static void show_disk(const struct page *page, uint64_t size)
{
	uint64_t disk = qcow2_source_allocated_bytes(page->info->source);
	char human[HUMAN_MAX];

	spool_print(page->out, "%-18s %s (%" PRIu64 " bytes", "on disk", human_size(disk, human),
		    disk);
	if (size > 0)
		show_percent(page, 100.0 * (double)disk / (double)size);
	spool_text(page->out, ")\n");
}

static void show_sizes(const struct page *page)
{
	uint64_t size = page->info->image ? qcow2_image_header(page->info->image)->size
					  : qcow2_source_size_bytes(page->info->source);
	char human[HUMAN_MAX];

	spool_print(page->out, "%-18s %s (%" PRIu64 " bytes)\n", "virtual size",
		    human_size(size, human), size);
	show_disk(page, size);
}

static void show_features(const struct page *page)
{
	const struct qcow2_header *h = qcow2_image_header(page->info->image);
	const struct {
		const struct qcow2_names *names;
		uint64_t bits;
	} groups[] = {{&qcow2_incompatible_features, h->incompatible_features},
		      {&qcow2_compatible_features, h->compatible_features},
		      {&qcow2_autoclear_features, h->autoclear_features}};
	const char *between = "";

	spool_print(page->out, "%-18s ", "features");
	for (size_t g = 0; g < 3; g++) {
		for (uint64_t rest = groups[g].bits; rest != 0; rest &= rest - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(rest);
			const char *name = qcow2_names_find(groups[g].names, bit);

			if (name)
				spool_print(page->out, "%s%s", between, name);
			else
				spool_print(page->out, "%sunknown bit %u of %s", between, bit,
					    groups[g].names->id);
			between = ", ";
		}
	}
	spool_text(page->out, between[0] ? "\n" : "none\n");
}

static void show_refcounts(const struct page *page)
{
	unsigned order = qcow2_image_header(page->info->image)->refcount_order;

	if (order > QCOW2_LIMIT_REFCOUNT_ORDER_MAX)
		line(page, "refcounts", "impossible width");
	else
		spool_print(page->out, "%-18s %u bit%s wide\n", "refcounts", 1U << order,
			    order == 0 ? "" : "s");
}

/* Which QEMU can open it; bitmaps do not keep an older one from that, but it drops them. */
static void show_needs(const struct page *page)
{
	const struct qcow2_header *h = qcow2_image_header(page->info->image);
	struct qemu_need need = qemu_needed(h);
	bool bitmaps = (h->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) != 0;

	if (!need.version)
		spool_print(page->out, "%-18s a program that is not known here (%s)\n", "needs",
			    need.why);
	else
		spool_print(page->out, "%-18s QEMU >= %s (%s)%s\n", "needs", need.version, need.why,
			    bitmaps ? "; >= 2.10 keeps the bitmaps" : "");
}

/* Which compression, where it is not the one that all programs know. */
static void show_compression(const struct page *page)
{
	unsigned type = qcow2_image_header(page->info->image)->compression_type;
	const char *name = qcow2_names_find(&qcow2_compression_types, type);

	if (type != 0)
		line(page, "compression", name ? name : "unknown");
}

static void show_encryption(const struct page *page)
{
	uint32_t method = qcow2_image_header(page->info->image)->crypt_method;
	const char *name = qcow2_names_find(&qcow2_crypt_methods, method);

	if (method != 0)
		line(page, "encryption", name ? name : "unknown");
}

/* The format that a json: name states. False if it states none. */
static bool show_format_of_name(const struct page *page, struct qcow2_bytes name)
{
	struct json_name read;
	const char *why = json_name_read(name, &read);
	bool stated = !why && read.format[0];

	if (stated)
		line_bytes(page, "backing format",
			   (struct qcow2_bytes){(const uint8_t *)read.format, strlen(read.format)},
			   " (in its name)");
	/* What is not understood here may state one. */
	return stated || (name.size >= 5 && memcmp(name.data, "json:", 5) == 0 && why);
}

/*
 * The command that states the format, not wrapped, so that it can be copied: only the format is to
 * be filled in. A name that would be taken for an option stays out.
 */
static void show_format_command(const struct page *page, struct qcow2_bytes name)
{
	char file[COMMAND_SHOWN], backing[COMMAND_SHOWN];
	bool fits = name.data[0] != '-' &&
		    qcow2_text_shell(name, backing, sizeof(backing)) < sizeof(backing) &&
		    qcow2_text_shell_file(page->info->file, file, sizeof(file)) < sizeof(file);

	spool_print(page->out, "  next: qcow2 edit %s backing set %s FORMAT\n",
		    fits ? file : "IMAGE", fits ? backing : "NAME");
}

static void show_backing_format(const struct page *page, struct qcow2_bytes name,
				struct qcow2_bytes format)
{
	if (format.size > 0) {
		line_bytes(page, "backing format", format, "");
		return;
	}
	if (show_format_of_name(page, name))
		return;
	line(page, "backing format",
	     "! not stated: programs probe the file. If it is raw, a guest\n"
	     "                     that writes a qcow2 header to it can name any file of the\n"
	     "                     host, which is then opened.");
	show_format_command(page, name);
}

static void show_files(const struct page *page)
{
	const struct qcow2_image *image = page->info->image;
	struct qcow2_bytes backing = qcow2_image_backing_name(image);
	struct qcow2_bytes format = info_extension_text(image, QCOW2_EXTENSION_BACKING_FORMAT);
	bool data_file = (qcow2_image_header(image)->incompatible_features &
			  QCOW2_INCOMPATIBLE_DATA_FILE) != 0;

	if (backing.size > 0)
		line_bytes(page, "backing file", backing, page->info->chain ? "" : " (not opened)");
	if (backing.size > 0)
		show_backing_format(page, backing, format);
	if (data_file)
		line_bytes(page, "data file", info_extension_text(image, QCOW2_EXTENSION_DATA_FILE),
			   " (not opened)");
}

/* A file of another format, at the end of a chain. */
static void show_other(const struct page *page)
{
	const struct chain_link *link = page->info->link;
	struct qcow2_bytes format = {(const uint8_t *)link->format, strlen(link->format)};
	bool raw = strcmp(link->format, "raw") == 0;

	if (!raw)
		line_bytes(page, "format", format,
			   ": not read here, and the chain may go on behind it");
	else
		line(page, "format", link->probed ? "raw (probed, as QEMU does)" : "raw");
	/* What has a format of its own is a raw disk to QEMU all the same. */
	if (raw && link->probed && link->probed->advice[0])
		spool_print(page->out, "%-18s %s: %s\n", "looks like", link->probed->name,
			    link->probed->advice);
	if (raw)
		show_sizes(page);
	else
		show_disk(page, 0);
}

void info_show_human(struct spool *out, struct info *info, bool colour)
{
	struct page page = {.out = out,
			    .info = info,
			    .colour = colour,
			    .in_use = qcow2_source_in_use(info->source) == QCOW2_IN_USE_YES,
			    .columns = isatty(STDOUT_FILENO) ? terminal_columns() : 0};
	const struct qcow2_geometry *geometry;
	struct qcow2_bytes file = {(const uint8_t *)info->file, strlen(info->file)};
	char human[HUMAN_MAX];

	page_alarms(&page);
	line_bytes(&page, "image", file, "");
	if (!info->image) {
		show_other(&page);
		return;
	}
	geometry = qcow2_image_geometry(info->image);
	line(&page, "format",
	     qcow2_image_header(info->image)->version == 2 ? "qcow2, version 2 (compat 0.10)"
							   : "qcow2, version 3 (compat 1.1)");
	show_sizes(&page);
	line(&page, "cluster size",
	     geometry ? human_size(geometry->cluster_size_bytes, human) : "impossible");
	show_refcounts(&page);
	show_features(&page);
	show_needs(&page);
	show_compression(&page);
	show_encryption(&page);
	show_files(&page);
	page_snapshots(&page);
	page_bitmaps(&page);
}
