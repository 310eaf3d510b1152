/* SPDX-License-Identifier: MIT */
/* The layout for people: what is in the file, where space can be gained, how scattered the data is. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/report.h"
#include "layout/layout.h"
#include "out/human.h"
#include "out/wrap.h"

#include <qcow2/text.h>

/* Columns of names in front of rows, of sizes behind them, and where texts begin. */
#define NAME_WIDTH  16
#define BYTES_WIDTH 9
#define TEXT_START  (NAME_WIDTH + 1 + BYTES_WIDTH + 2)

struct page {
	struct layout *layout;
	struct spool *out;
	struct spool line; /* that is not yet fitted to the terminal */
	unsigned columns;
};

/* Ends a line: what does not fit goes on below, behind the names. */
static void end_line(struct page *page, unsigned hanging)
{
	wrap_spool(page->out, &page->line, 0, hanging, page->columns);
}

static void begin_row(struct page *page, const char *name, uint64_t bytes)
{
	char human[HUMAN_MAX];

	spool_print(&page->line, "%-*s %*s  ", NAME_WIDTH, name, BYTES_WIDTH,
		    human_size(bytes, human));
}

/* ---- the file, and what is in it ---- */

static void print_bytes_escaped(struct page *page, struct qcow2_bytes name)
{
	char text[4096];

	qcow2_text_escape(name, text, sizeof(text));
	spool_text(&page->line, text);
}

static void show_file(struct page *page)
{
	const struct layout *layout = page->layout;
	const uint64_t size = qcow2_usage_file_size_bytes(layout->usage);
	char human[HUMAN_MAX];

	print_bytes_escaped(
		page, (struct qcow2_bytes){(const uint8_t *)layout->file, strlen(layout->file)});
	spool_print(&page->line, ": %s (%" PRIu64 " bytes), ", human_size(size, human), size);
	if (layout->is_file)
		spool_print(&page->line, "%s stored, ",
			    human_size(qcow2_source_allocated_bytes(layout->source), human));
	spool_print(&page->line, "%s clusters",
		    human_size(qcow2_image_geometry(layout->image)->cluster_size_bytes, human));
	end_line(page, 4);
}

/* Says where the guest's data is, if it is not in this file. */
static void show_data_file(struct page *page)
{
	const struct qcow2_image *image = page->layout->named;
	struct qcow2_bytes name = {0};

	if (!qcow2_image_geometry(image)->data_file)
		return;
	spool_text(&page->line, "The guest's data is in another file");
	if (qcow2_image_find_extension(image, QCOW2_EXTENSION_DATA_FILE, &name) && name.size > 0) {
		spool_text(&page->line, ", ");
		print_bytes_escaped(page, human_cut(name, 512));
	}
	spool_text(&page->line, "; this one has the metadata.");
	end_line(page, 4);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void show_total(struct page *page, enum qcow2_usage_kind kind)
{
	const struct layout *layout = page->layout;
	const struct qcow2_usage_total *total = qcow2_usage_total_of(layout->usage, kind);

	if (total->bytes == 0)
		return;
	begin_row(page, qcow2_usage_kind_name(kind), total->bytes);
	spool_print(&page->line, "%5.1f %%  %" PRIu64 " bytes in %" PRIu64 " run%s",
		    percent(total->bytes, qcow2_usage_file_size_bytes(layout->usage)), total->bytes,
		    total->runs, total->runs == 1 ? "" : "s");
	end_line(page, TEXT_START);
}

static void show_totals(struct page *page)
{
	for (unsigned kind = 0; kind < QCOW2_USAGE_KINDS; kind++)
		show_total(page, (enum qcow2_usage_kind)kind);
}

/* ---- where the space is ---- */

/*
 * What there is to say stands in the row, and the command below it: a whole line can be copied, and
 * not every shell takes a comment behind a command. If there is nothing to say, and room, the command
 * is in the row.
 */
static void show_gain(struct page *page, enum layout_place place, unsigned *shown)
{
	struct layout_gain gain;
	bool fits;

	layout_space_gain(page->layout, place, &gain);
	if (gain.bytes == 0)
		return;
	if ((*shown)++ == 0)
		spool_text(page->out, "\nWhere the space is:\n");
	fits = TEXT_START + text_columns(gain.command) <= page->columns;
	begin_row(page, gain.title, gain.bytes);
	spool_text(&page->line, gain.detail[0] || !fits ? gain.detail : gain.command);
	end_line(page, TEXT_START);
	if (!gain.command[0] || (fits && !gain.detail[0]))
		return;
	spool_fill(page->out, ' ', fits ? TEXT_START : 4);
	spool_print(page->out, "%s\n", gain.command);
}

static void show_space(struct page *page)
{
	const char *doubt = layout_space_doubt(page->layout);
	unsigned shown = 0;

	for (unsigned place = 0; place < LAYOUT_PLACES; place++)
		show_gain(page, (enum layout_place)place, &shown);
	if (shown > 0 && doubt)
		spool_print(page->out, "%s Nothing should be changed now.\n", doubt);
}

/* ---- how scattered the data is, and how large the file can be ---- */

static void show_fragmentation(struct page *page)
{
	const struct qcow2_fragmentation *found = &page->layout->fragmentation;
	char human[HUMAN_MAX];

	if (!page->layout->has_fragmentation || found->runs == 0)
		return;
	spool_print(&page->line, "%-*s %*" PRIu64 "  of %s on average; ", NAME_WIDTH, "data runs",
		    BYTES_WIDTH, found->runs, human_size(found->data_bytes / found->runs, human));
	spool_print(&page->line, "%" PRIu64 " seek%s to read the disk", found->seeks,
		    found->seeks == 1 ? "" : "s");
	end_line(page, TEXT_START);
}

/* A size that no file can have, as broken images claim, is not shown. */
static bool begin_size(struct page *page, const char *name, uint64_t bytes)
{
	if (bytes == QCOW2_MEASURE_TOO_LARGE)
		return false;
	begin_row(page, name, bytes);
	return true;
}

/* A copy inflates compressed clusters, and leaves out data that the file stores nothing of. */
static void show_smallest(struct page *page)
{
	const struct qcow2_measure_image *size = &page->layout->measure;
	const bool packed = size->has_compressed &&
			    size->smallest_compressed_bytes < size->smallest_bytes &&
			    size->smallest_bytes != QCOW2_MEASURE_TOO_LARGE;
	char human[HUMAN_MAX];

	if (!begin_size(page, "smallest size",
			packed ? size->smallest_compressed_bytes : size->smallest_bytes))
		return;
	if (packed)
		spool_print(&page->line, "compressed; %s ",
			    human_size(size->smallest_bytes, human));
	spool_text(&page->line, "by 'qemu-img convert'");
	if (page->layout->space.zero_bytes > 0)
		spool_text(&page->line, ", less the zeros");
	if ((size->has_snapshots || size->has_bitmaps) &&
	    size->with_all_bytes != QCOW2_MEASURE_TOO_LARGE)
		spool_print(&page->line, "; %s with all kept",
			    human_size(size->with_all_bytes, human));
	end_line(page, TEXT_START);
}

static void show_sizes(struct page *page)
{
	const uint64_t volume = qcow2_usage_file_size_bytes(page->layout->usage);
	const struct qcow2_measure_image *size = &page->layout->measure;
	const bool is_device = !page->layout->is_file;

	if (!page->layout->has_measure)
		return;
	show_smallest(page);
	if (begin_size(page, "largest size", size->largest_bytes)) {
		spool_print(&page->line, "with every cluster written: %s",
			    is_device && volume < size->largest_bytes ? "the device has less"
								      : "give a volume as much");
		end_line(page, TEXT_START);
	}
	if (qcow2_image_backing_name(page->layout->image).size > 0 &&
	    begin_size(page, "commit", size->commit_growth_bytes)) {
		spool_text(&page->line, "the most that the backing file grows by");
		end_line(page, TEXT_START);
	}
}

static void show_end(struct page *page)
{
	const uint64_t end = qcow2_usage_end_bytes(page->layout->usage);

	begin_row(page, "end offset", end);
	spool_print(&page->line, "0x%" PRIx64 " (%" PRIu64 ")", end, end);
	end_line(page, TEXT_START);
}

/*
 * The lines that are left on the terminal for the picture. If that is too little, the page scrolls
 * anyway, and the picture gets half of the terminal.
 */
static unsigned picture_rows(const struct spool *out)
{
	unsigned rows = terminal_rows(), used = 1;

	for (const char *at = out->kept;
	     (at = memchr(at, '\n', (size_t)(out->kept + out->size - at))); at++)
		used++;
	return used + rows / 4 > rows ? rows / 2 : rows - used;
}

int layout_show_human(struct layout *layout, struct qcow2_error *err)
{
	struct page page = {.layout = layout,
			    .out = &layout->out,
			    .columns = layout->width ? layout->width : terminal_columns()};

	spool_init(&page.line, -1);
	show_file(&page);
	show_data_file(&page);
	show_totals(&page);
	show_space(&page);
	spool_text(page.out, "\n");
	show_fragmentation(&page);
	show_end(&page);
	show_sizes(&page);
	spool_release(&page.line);
	spool_text(page.out, "\n");
	return layout_show_picture(layout, page.columns, picture_rows(page.out),
				   wants_colour(layout->command), err);
}
