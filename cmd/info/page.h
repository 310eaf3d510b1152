/* SPDX-License-Identifier: MIT */
/* A page for people under way, and the parts that have files of their own. */
#ifndef CMD_INFO_PAGE_H
#define CMD_INFO_PAGE_H

#include "info/image_info.h"
#include "out/spool.h"

struct page {
	struct spool *out;
	struct info *info;
	bool colour;
	bool in_use;      /* another program has the image open for writing */
	unsigned columns; /* of the terminal; 0: there is none, and lines are as long as they are */
};

/* What is wrong: what makes QEMU refuse the image first, then its verdict and what mends it. */
void page_alarms(const struct page *page);

/* The lists of snapshots and of bitmaps, cut after 64 rows unless all are asked for. */
void page_snapshots(const struct page *page);
void page_bitmaps(const struct page *page);

#endif
