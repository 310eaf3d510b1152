/* SPDX-License-Identifier: MIT */
/* The answer for programs. */
#include <string.h>

#include "vet/pages.h"

#include <qcow2/problem.h>

static struct qcow2_bytes bytes_of(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

static void put_offset(struct json *json, uint64_t offset_bytes)
{
	json_key(json, "offset");
	if (offset_bytes == QCOW2_NO_OFFSET)
		json_null(json);
	else
		json_number(json, offset_bytes);
}

/* The value is the name that the image has there, else the number. */
static void put_value(struct json *json, const struct qcow2_vet_reason *reason)
{
	json_key(json, "value");
	if (reason->name[0] && !reason->has_limit)
		json_text(json, reason->name);
	else if (reason->has_value)
		json_number(json, reason->value);
	else
		json_null(json);
}

static void put_reason(struct json *json, const struct qcow2_vet_reason *reason)
{
	json_begin_object(json);
	json_text_member(json, "rule", bytes_of(reason->rule->id));
	json_text_member(json, "field", bytes_of(reason->field));
	put_offset(json, reason->offset_bytes);
	put_value(json, reason);
	if (reason->has_limit)
		json_number_member(json, "limit", reason->limit);
	if (reason->problem)
		json_text_member(json, "problem", bytes_of(reason->problem->id));
	json_text_member(json, "text", bytes_of(reason->text));
	json_end_object(json);
}

static void put_facts(struct json *json, const struct qcow2_vet_result *result)
{
	if (result->kind)
		json_text_member(json, "format", bytes_of(result->kind->id));
	if (result->version != 0) {
		json_number_member(json, "version", result->version);
		json_number_member(json, "virtual-size", result->virtual_size_bytes);
	}
	json_number_member(json, "file-size", result->file_size_bytes);
}

void vet_show_json(struct json *json, const struct vet_answer *answer)
{
	json_text_member(json, "filename", bytes_of(answer->name));
	json_text_member(json, "policy", bytes_of(answer->run->policy_name));
	json_text_member(json, "verdict", bytes_of(vet_verdict_name(answer->verdict)));
	json_key(json, "reasons");
	json_begin_array(json);
	for (size_t i = 0; i < answer->count; i++)
		put_reason(json, &answer->reasons[i]);
	json_end_array(json);
	if (answer->result.reasons > answer->count)
		json_number_member(json, "reasons-omitted", answer->result.reasons - answer->count);
	if (answer->verdict == QCOW2_VET_COULD_NOT_LOOK)
		json_text_member(json, "error", bytes_of(answer->err.text));
	else
		put_facts(json, &answer->result);
}
