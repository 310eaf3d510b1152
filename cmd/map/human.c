/* SPDX-License-Identifier: MIT */
/*
 * The table of extents for people, and what each state comes to. Rows have fixed columns, as all is
 * printed while it is found.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "map/run.h"
#include "out/human.h"

/* The most that a row takes in front of the name of a file. */
#define ROW_MOST 256

enum state {
	STATE_DATA,
	STATE_HOLE,
	STATE_COMPRESSED,
	STATE_ENCRYPTED,
	STATE_ZERO,
	STATE_ZERO_ALLOCATED,
	STATE_UNALLOCATED,
	STATE_INVALID,
	STATE_COUNT
};

static const char *const names[] = {
	[STATE_DATA] = "data",
	[STATE_HOLE] = "data, hole",
	[STATE_COMPRESSED] = "compressed",
	[STATE_ENCRYPTED] = "encrypted",
	[STATE_ZERO] = "zero",
	[STATE_ZERO_ALLOCATED] = "zero, allocated",
	[STATE_UNALLOCATED] = "unallocated",
	[STATE_INVALID] = "invalid",
};

static enum state state_of(const struct map_extent *extent)
{
	const bool placed = extent->offset_bytes != QCOW2_NO_OFFSET;

	if (extent->flags & MAP_INVALID)
		return STATE_INVALID;
	if (!(extent->flags & MAP_PRESENT))
		return STATE_UNALLOCATED;
	if (extent->flags & MAP_COMPRESSED)
		return STATE_COMPRESSED;
	if (!(extent->flags & MAP_DATA))
		return placed ? STATE_ZERO_ALLOCATED : STATE_ZERO;
	if (!placed)
		return STATE_ENCRYPTED;
	return extent->flags & MAP_ZERO ? STATE_HOLE : STATE_DATA;
}

/* The page, and what stays the same from row to row. */
struct page {
	struct map_run *run;
	struct map_total totals[STATE_COUNT];
	const char *file; /* whose name is in `shown`; NULL: none yet */
	char shown[4096]; /* what may be printed of it */
};

/* The file that says what an extent is: where its offset leads, or whose tables say it. */
static const char *file_of(struct page *page, const struct map_extent *extent)
{
	const struct map_layer *layer = &page->run->stack.layers[extent->depth];
	const bool placed = extent->offset_bytes != QCOW2_NO_OFFSET;
	const char *file = placed ? layer->offset_file : layer->file;

	if (!file)
		return "(a data file without a name)";
	if (file != page->file)
		qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)file, strlen(file)},
				  page->shown, sizeof(page->shown));
	page->file = file;
	return page->shown;
}

/* Writes a number as 0x…, and blanks up to a width and one at least. Returns the end. */
static char *put_hex(char *to, uint64_t number, size_t width)
{
	static const char digits[] = "0123456789abcdef";
	const size_t count = number ? (67 - (size_t)__builtin_clzll(number)) / 4 : 1;

	*to++ = '0';
	*to++ = 'x';
	for (size_t i = 0; i < count; i++)
		*to++ = digits[number >> 4 * (count - 1 - i) & 15];
	for (size_t i = count + 2; i <= width || i == count + 2; i++)
		*to++ = ' ';
	return to;
}

static char *put_text(char *to, const char *text, size_t width)
{
	const size_t size = strlen(text);

	memcpy(to, text, size);
	memset(to + size, ' ', width + 1);
	return to + (size < width ? width : size) + 1;
}

static void add_row(struct page *page, const struct map_extent *extent, enum state state)
{
	struct spool *out = &page->run->out;
	const bool placed = extent->offset_bytes != QCOW2_NO_OFFSET;
	const char *last = "";
	char *at = spool_reserve(out, ROW_MOST);

	if (!at)
		return;
	at = put_hex(at, extent->start_bytes, 15);
	at = put_hex(at, extent->length_bytes, 13);
	/* The file of what nobody has stored would only say where the search ended. */
	if (state == STATE_INVALID) {
		at = put_text(at, names[state], 15);
		last = qcow2_problem_kind_get(extent->problem)->id;
	} else if (placed || extent->flags & MAP_PRESENT) {
		at = put_text(at, names[state], 15);
		at = placed ? put_hex(at, extent->offset_bytes, 15) : put_text(at, "-", 15);
		last = file_of(page, extent);
	} else {
		at = put_text(at, names[state], 0) - 1;
	}
	spool_advance(out, at);
	spool_text(out, last);
	spool_write(out, "\n", 1);
}

static void add_totals(struct page *page)
{
	const struct map_total *totals = page->totals;
	struct spool *out = &page->run->out;
	char size[HUMAN_MAX];
	uint64_t all = 0;

	for (size_t i = 0; i < STATE_COUNT; i++)
		all += totals[i].bytes;
	spool_text(out, "\n");
	for (size_t i = 0; i < STATE_COUNT; i++) {
		if (totals[i].extents == 0)
			continue;
		spool_print(out, "%-15s %12s %5.1f %%  in %" PRIu64 " extent%s\n", names[i],
			    human_size(totals[i].bytes, size),
			    100.0 * (double)totals[i].bytes / (double)all, totals[i].extents,
			    totals[i].extents == 1 ? "" : "s");
	}
}

static int show_page(struct page *page, struct qcow2_error *err)
{
	struct map_run *run = page->run;
	const struct map_extent *extent;
	enum state state;
	int more;

	while ((more = map_next(run, &extent, err)) > 0) {
		if (run->shown == 1)
			spool_print(&run->out, "%-15s %-13s %-15s %-15s %s\n", "Offset", "Length",
				    "State", "Mapped to", "File");
		state = state_of(extent);
		page->totals[state].extents++;
		page->totals[state].bytes += extent->length_bytes;
		add_row(page, extent, state);
	}
	if (more < 0)
		return EXIT_COULD_NOT;
	if (run->shown == 0)
		spool_text(&run->out, "The range has no bytes.\n");
	else
		add_totals(page);
	return EXIT_FINE;
}

int map_show_human(struct map_run *run, struct qcow2_error *err)
{
	struct page page = {.run = run};

	return show_page(&page, err);
}
