/* SPDX-License-Identifier: MIT */
/*
 * The style of the SVG document. The kinds that fill files have hues of Okabe and Ito, the others are
 * chosen so that any two differ for people who are colour-blind, too; a test measures that. Rules
 * begin with the class of the document, so that they touch nothing of a page that the picture is put
 * into.
 */
#include "layout/svg.h"

#define SCOPE ".qcow2-layout"

/* Of a class: its colour on light pages, and on dark ones, or NULL if that is the same. */
struct shade {
	const char *name, *light, *dark;
};

static const struct shade kinds[QCOW2_USAGE_KINDS] = {
	[QCOW2_USAGE_HEADER] = {NULL, "#1f2328", "#f0f6fc"},
	[QCOW2_USAGE_REFCOUNT_TABLE] = {NULL, "#b6a347", NULL},
	[QCOW2_USAGE_REFCOUNT_BLOCK] = {NULL, "#f4e647", NULL},
	[QCOW2_USAGE_L1_TABLE] = {NULL, "#a96400", NULL},
	[QCOW2_USAGE_L2_TABLE] = {NULL, "#e69f00", NULL},
	[QCOW2_USAGE_DATA] = {NULL, "#0072b2", NULL},
	[QCOW2_USAGE_COMPRESSED] = {NULL, "#56b4e9", NULL},
	[QCOW2_USAGE_SNAPSHOT_ONLY] = {NULL, "#cc79a7", NULL},
	[QCOW2_USAGE_SHARED] = {NULL, "#009e73", NULL},
	[QCOW2_USAGE_SNAPSHOT_TABLE] = {NULL, "#7e337b", NULL},
	[QCOW2_USAGE_BITMAP_DIRECTORY] = {NULL, "#483bac", NULL},
	[QCOW2_USAGE_BITMAP_TABLE] = {NULL, "#7963e5", NULL},
	[QCOW2_USAGE_BITMAP_DATA] = {NULL, "#8798ff", NULL},
	[QCOW2_USAGE_CRYPTO] = {NULL, "#573c0b", NULL},
	[QCOW2_USAGE_CONFLICT] = {NULL, "#c0052f", NULL},
	[QCOW2_USAGE_LEAKED] = {NULL, "#f24362", NULL},
	[QCOW2_USAGE_FREE] = {NULL, "#c3cad3", "#4d5661"},
	[QCOW2_USAGE_HOLE] = {NULL, "#eceff2", "#1f252d"},
};

/* Of everything else. */
static const struct shade others[] = {
	{"page", "#ffffff", "#0d1117"},
	{"text", "#1f2328", "#e6edf3"},
	{"small", "#59636e", "#9aa3ad"},
};

const char *svg_colour(enum qcow2_usage_kind kind)
{
	return kinds[kind].light;
}

const char *svg_page_colour(void)
{
	return others[0].light;
}

static const char *name_of(const struct shade *shade, size_t kind)
{
	return shade->name ? shade->name : qcow2_usage_kind_name((enum qcow2_usage_kind)kind);
}

static void write_shades(struct spool *out, const struct shade *shades, size_t count, bool dark)
{
	for (size_t i = 0; i < count; i++)
		if (!dark || shades[i].dark)
			spool_print(out, SCOPE " .%s{fill:%s}\n", name_of(&shades[i], i),
				    dark ? shades[i].dark : shades[i].light);
}

static void write_all(struct spool *out, bool dark)
{
	write_shades(out, others, sizeof(others) / sizeof(others[0]), dark);
	write_shades(out, kinds, QCOW2_USAGE_KINDS, dark);
	spool_print(out, SCOPE " .lines{fill:none;stroke:%s}\n",
		    dark ? others[0].dark : others[0].light);
	spool_print(out, SCOPE " .mark{stroke:%s}\n", dark ? others[0].dark : others[0].light);
}

void svg_write_style(struct spool *out)
{
	spool_text(out, "<style>\n" SCOPE
			" text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',"
			"sans-serif;font-size:13px;font-variant-numeric:tabular-nums}\n" SCOPE
			" .name{font-size:18px;font-weight:600}\n" SCOPE
			" .offset{font-size:12px;text-anchor:end}\n" SCOPE
			" .end{text-anchor:end}\n" SCOPE " .lines{pointer-events:none}\n");
	write_all(out, false);
	spool_text(out, "@media (prefers-color-scheme:dark){\n");
	write_all(out, true);
	spool_text(out, "}\n</style>\n");
}
