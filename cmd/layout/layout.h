/* SPDX-License-Identifier: MIT */
/* One call of qcow2 layout: what was found out about the file, and the pages that show it. */
#ifndef CMD_LAYOUT_LAYOUT_H
#define CMD_LAYOUT_LAYOUT_H

#include "common/command.h"
#include "common/soundness.h"
#include "layout/space.h"
#include "out/progress.h"
#include "out/spool.h"

#include <qcow2/image.h>
#include <qcow2/measure.h>
#include <qcow2/usage.h>

enum layout_format { LAYOUT_HUMAN, LAYOUT_JSON, LAYOUT_SVG };

/* The smallest and the largest --width, in columns, or pixels of a picture. */
#define LAYOUT_WIDTH_LEAST 40U
#define LAYOUT_WIDTH_MOST  10000U

struct layout {
	const struct command *command;
	const char *file; /* its name as it was given: escape it before it is shown */
	enum layout_format format;
	unsigned width; /* of --width; 0: not given */
	/* The picture is a part of a page, which has its own heading and legend. */
	bool in_page;
	unsigned threads;
	bool is_file; /* a regular file: it can be cut, and have holes */
	struct soundness soundness;
	const struct qcow2_source *source;
	const struct qcow2_image *image;
	const struct qcow2_image *named; /* whose names are shown: image, or its view without any */
	/*
	 * Its runs are at their start. Each page goes through all of them with qcow2_usage_next(),
	 * until that returns 0, so that the next page finds them at their start again.
	 */
	struct qcow2_usage *usage;
	struct qcow2_fragmentation fragmentation;
	bool has_fragmentation; /* it does not if L1 entries share tables beyond all limits */
	struct qcow2_measure_image measure;
	bool has_measure; /* it does not if the image is too broken, or users are not known */
	struct layout_space space;
	struct progress progress;
	struct spool out; /* to standard output */
};

/*
 * Opens the usage of layout->image, with all threads. Where telling users apart takes more than the
 * limits allow, the other numbers can still be had. 0, or -1 with *err filled: QCOW2_ERROR_BROKEN if
 * the header makes no sense.
 */
int layout_open_usage(struct layout *layout, struct qcow2_error *err);

/* Finds out what the pages show, once the usage is open and the soundness known. As above. */
int layout_measure(struct layout *layout, struct qcow2_error *err);

/*
 * Draws the file as blocks, from its first byte to its last, with a legend: `columns` wide and at
 * most `rows` lines high, the legend included. columns is at least LAYOUT_WIDTH_LEAST, rows at
 * least 3. Colours are used if `colour` says so; letters tell the kinds apart without them. Kinds have
 * the names of qcow2_usage_kind_name(), as in the totals above it. Writes whole lines to layout->out.
 * 0, or -1 with *err filled.
 */
int layout_show_picture(struct layout *layout, unsigned columns, unsigned rows, bool colour,
			struct qcow2_error *err);

/*
 * Writes the whole SVG document to layout->out, layout->width pixels wide, or as wide as it likes
 * if that is 0. 0, or -1 with *err filled.
 */
int layout_show_svg(struct layout *layout, struct qcow2_error *err);

/* The same to another place than layout->out. */
int layout_write_svg(struct spool *out, struct layout *layout, struct qcow2_error *err);

/* The same for the page of people and the JSON document. */
int layout_show_human(struct layout *layout, struct qcow2_error *err);
int layout_show_json(struct layout *layout, struct qcow2_error *err);

struct json;

/* Writes all members of the document but its runs into an object that is begun. 0 or -1. */
int layout_add_facts(struct json *json, const struct layout *layout, struct qcow2_error *err);

#endif
