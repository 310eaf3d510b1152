/* SPDX-License-Identifier: MIT */
/* The fields of a snapshot for programs, and those that say which snapshot is meant. */
#ifndef CMD_SNAPSHOT_FIELDS_H
#define CMD_SNAPSHOT_FIELDS_H

#include "snapshot/snapshot.h"

/* Members of the image: "filename", "virtual-size", "cluster-size". */
void fields_json_image(struct snapshot_run *run);

/* Members that name a snapshot: "index", "id", "name". */
void fields_json_name(struct json *json, const struct qcow2_snapshot *snapshot);

/* The same, and all fields. */
void fields_json(struct json *json, const struct table_row *row);

/* A member with a number. */
void fields_number(struct json *json, const char *key, uint64_t number);

#endif
