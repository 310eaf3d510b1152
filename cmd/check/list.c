/* SPDX-License-Identifier: MIT */
/* The table of all problems that a check can report. */
#include <string.h>

#include "check/pages.h"
#include "out/wrap.h"

#include <qcow2/remedy.h>

/* Columns of the table besides that of the ids: severity, and the blanks between. */
#define SEVERITY_COLUMNS 10
#define BETWEEN          2

static unsigned id_columns(void)
{
	const struct qcow2_problem_kind *kind = NULL;
	size_t most = 0;

	while ((kind = qcow2_problem_kind_next(kind)))
		if (strlen(kind->id) > most)
			most = strlen(kind->id);
	return (unsigned)most;
}

void check_list_human(struct spool *out, unsigned columns)
{
	const struct qcow2_problem_kind *kind = NULL;
	unsigned id = id_columns(), text = id + BETWEEN + SEVERITY_COLUMNS + BETWEEN;

	while ((kind = qcow2_problem_kind_next(kind))) {
		spool_print(out, "%-*s%*s%-*s%*s", (int)id, kind->id, BETWEEN, "", SEVERITY_COLUMNS,
			    qcow2_severity_name(kind->severity), BETWEEN, "");
		wrap_rest(out, kind->text, text, text, columns);
	}
}

static void text(struct json *json, const char *key, const char *value)
{
	json_text_member(json, key, (struct qcow2_bytes){(const uint8_t *)value, strlen(value)});
}

void check_list_json(struct json *json)
{
	const struct qcow2_problem_kind *kind = NULL;

	json_begin_array(json);
	while ((kind = qcow2_problem_kind_next(kind))) {
		json_begin_object(json);
		text(json, "id", kind->id);
		text(json, "severity", qcow2_severity_name(kind->severity));
		json_key(json, "repairable");
		json_bool(json, kind->repairable);
		text(json, "remedy", qcow2_remedy_effect_name(kind->remedy->effect));
		text(json, "section", kind->section);
		text(json, "text", kind->text);
		text(json, "consequence", kind->consequence);
		json_end_object(json);
	}
	json_end_array(json);
	spool_text(json->out, "\n");
}
