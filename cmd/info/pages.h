/* SPDX-License-Identifier: MIT */
/* The pages of qcow2 info. */
#ifndef CMD_INFO_PAGES_H
#define CMD_INFO_PAGES_H

#include "info/image_info.h"
#include "out/json.h"
#include "out/spool.h"

/* The image as people want to know it. What fails is noted; the page is then not whole. */
void info_show_human(struct spool *out, struct info *info, bool colour);

/* The image as `qemu-img info --output=json` shows it, key for key; failure likewise. */
void info_show_json(struct json *json, struct info *info);

#endif
