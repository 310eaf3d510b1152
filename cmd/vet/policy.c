/* SPDX-License-Identifier: MIT */
/*
 * Policy files: lines "rule = setting", read by inih. The key "base" names the policy that all rules
 * are taken from which the file does not set.
 */
#include "vet/policy.h"

#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/read_file.h"
#include "common/report.h"
#include "out/suggest.h"

#include <qcow2/number.h>

#define FILE_BYTES ((size_t)64 << 10)
/* What inih takes of a line; it would go on with the rest as if it were another line. */
#define LINE_BYTES ((size_t)INI_MAX_LINE - 2)
#define RULES_MOST 128

/* A file that is read: twice, as the base may stand behind rules. */
struct reading {
	struct qcow2_vet_policy *policy; /* NULL while the base is looked for */
	char base[64];
	bool has_base;
	bool seen[RULES_MOST]; /* rules that were set, by their numbers */
	char text[256];        /* what is wrong, or "" */
};

static int complain(struct reading *reading, const char *format, const char *a, const char *b)
{
	if (!reading->text[0])
		snprintf(reading->text, sizeof(reading->text), format, a, b);
	return 0;
}

/* Reads a setting. False, with what is wrong, if it is none of the rule. */
static bool read_setting(struct reading *reading, const struct qcow2_vet_rule *rule,
			 const char *value, uint64_t *setting)
{
	struct qcow2_error err;

	if (strcmp(value, "allow") == 0 || strcmp(value, "no-limit") == 0)
		*setting = QCOW2_VET_ALLOW;
	else if (strcmp(value, "deny") == 0)
		*setting = QCOW2_VET_DENY;
	else if (rule->unit == QCOW2_VET_SWITCH || rule->unit == QCOW2_VET_ALWAYS)
		return complain(reading, "%s is allow or deny, not '%.60s'", rule->id, value);
	else if (qcow2_number_parse(value, UINT64_MAX - 1, setting, &err))
		return complain(reading, "%s: %.200s", rule->id, err.text);
	return true;
}

/* Returns the rule of an id, or NULL when it has been said what may be meant. */
static const struct qcow2_vet_rule *find_rule(struct reading *reading, const char *id)
{
	const struct qcow2_vet_rule *rule = qcow2_vet_rule_find(id);
	struct suggestion suggestion;
	char text[SUGGEST_TEXT_MAX];

	if (rule)
		return rule;
	suggest_begin(&suggestion, id);
	for (size_t i = 0; (rule = qcow2_vet_rule_at(i)) != NULL; i++)
		suggest_offer(&suggestion, rule->id);
	complain(reading, "there is no rule '%.60s'%s", id,
		 suggest_text(&suggestion, "", text, sizeof(text)));
	return NULL;
}

/* Takes a line. Returns 1, or 0 if it is wrong. */
static int take(void *opaque, const char *section, const char *key, const char *value)
{
	struct reading *reading = opaque;
	const struct qcow2_vet_rule *rule;
	struct qcow2_error err;
	uint64_t setting;

	if (section[0])
		return complain(reading, "a policy has no sections, as [%.60s]%s", section, "");
	if (strcmp(key, "base") == 0) {
		if (!reading->policy && reading->has_base)
			return complain(reading, "%s is set twice%s", "base", "");
		reading->has_base = true;
		snprintf(reading->base, sizeof(reading->base), "%s", value);
		return 1;
	}
	rule = find_rule(reading, key);
	if (!rule || !read_setting(reading, rule, value, &setting))
		return 0;
	if (!reading->policy || rule->number >= RULES_MOST)
		return 1;
	if (reading->seen[rule->number])
		return complain(reading, "%s is set twice%s", rule->id, "");
	reading->seen[rule->number] = true;
	/* What always refuses may be written down. */
	if (rule->unit == QCOW2_VET_ALWAYS && setting == QCOW2_VET_DENY)
		return 1;
	if (qcow2_vet_policy_set(reading->policy, rule->number, setting, &err))
		return complain(reading, "%s%s", err.text, "");
	return 1;
}

/* What inih would not see: lines that it cuts, and a NUL. Returns the line at fault, or 0. */
static int check_lines(struct reading *reading, const char *text, size_t size)
{
	int line = 1;

	if (strlen(text) != size) {
		complain(reading, "there is a NUL in it%s%s", "", "");
		return 1;
	}
	for (size_t length; *text; text += length, line++) {
		length = strcspn(text, "\n");
		if (length > LINE_BYTES) {
			complain(reading, "a line is too long%s%s", "", "");
			return line;
		}
		length += text[length] == '\n';
	}
	return 0;
}

/* Reads the text of a file into a policy. Returns the line at fault, 0 if there is none, or -1. */
static int read_text(struct reading *reading, const char *text, size_t size)
{
	struct qcow2_vet_policy *policy;
	struct qcow2_error err;
	int line = check_lines(reading, text, size);

	snprintf(reading->base, sizeof(reading->base), "upload");
	if (line == 0)
		line = ini_parse_string(text, take, reading);
	if (line != 0)
		return line;
	if (qcow2_vet_policy_new(reading->base, &policy, &err)) {
		complain(reading, "base: %.200s%s", err.text, "");
		return -1;
	}
	reading->policy = policy;
	return ini_parse_string(text, take, reading);
}

static int read_policy(struct vet_run *run)
{
	struct reading reading = {.policy = NULL};
	struct qcow2_error err;
	char text[256], *bytes;
	uint8_t *file;
	size_t size;
	int line;

	if (read_whole_file(run->policy_name, FILE_BYTES, &file, &size, &err))
		return usage_error(run->command,
				   "--policy: there is no policy '%s', and no such file can be "
				   "read: %s",
				   run->policy_name, err.text);
	bytes = (char *)file;
	bytes[size] = '\0'; /* there is room for it */
	line = read_text(&reading, bytes, size);
	free(file);
	run->policy = reading.policy;
	if (line == 0)
		return EXIT_FINE;
	if (!reading.text[0])
		complain(&reading, "a line is 'rule = setting'%s%s", "", "");
	if (line > 0)
		snprintf(text, sizeof(text), "line %d: %.200s", line, reading.text);
	else
		snprintf(text, sizeof(text), "%s", reading.text);
	return report_text(run->command, run->policy_name, text);
}

int vet_policy_make(struct vet_run *run)
{
	struct qcow2_error err;
	int code = EXIT_FINE;

	if (qcow2_vet_policy_new(run->policy_name, &run->policy, &err)) {
		if (err.code != QCOW2_ERROR_NOT_FOUND)
			return report_error(run->command, run->policy_name, &err);
		code = read_policy(run);
	}
	if (code == EXIT_FINE && run->has_virtual_size)
		qcow2_vet_policy_set(run->policy, QCOW2_VET_RULE_VIRTUAL_SIZE,
				     run->virtual_size_bytes, NULL);
	return code;
}

/* ---- showing ---- */

static void show_setting(struct spool *out, const struct qcow2_vet_rule *rule, uint64_t setting)
{
	if (rule->unit == QCOW2_VET_ALWAYS || rule->unit == QCOW2_VET_SWITCH)
		spool_text(out, setting == QCOW2_VET_DENY ? "deny" : "allow");
	else if (setting == QCOW2_VET_NO_LIMIT)
		spool_text(out, "no-limit");
	else
		spool_print(out, "%" PRIu64, setting);
}

void vet_policy_show(const struct vet_run *run, struct spool *out)
{
	static const char *const units[] = {
		[QCOW2_VET_ALWAYS] = " It cannot be allowed.",
		[QCOW2_VET_SWITCH] = "",
		[QCOW2_VET_BYTES] = " In bytes.",
		[QCOW2_VET_COUNT] = "",
		[QCOW2_VET_RATIO] = " Bytes for each byte.",
		[QCOW2_VET_MILLISECONDS] = " In milliseconds.",
	};
	const struct qcow2_vet_rule *rule;

	for (size_t i = 0; (rule = qcow2_vet_rule_at(i)) != NULL; i++) {
		spool_print(out, "%s# %s%s\n%s = ", i > 0 ? "\n" : "", rule->text,
			    units[rule->unit], rule->id);
		show_setting(out, rule, qcow2_vet_policy_setting(run->policy, rule->number));
		spool_text(out, "\n");
	}
}
