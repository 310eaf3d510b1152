/* SPDX-License-Identifier: MIT */
/*
 * What `python -m oslo_utils.imageutils -v -i IMAGE` prints: KEY=VALUE lines. Its names of checks
 * and of formats stand where ours mean the same.
 */
#include <inttypes.h>
#include <string.h>

#include "vet/pages.h"

#include <qcow2/version.h>

/* Its check, and its words, for a rule of ours. */
static const struct {
	enum qcow2_vet_rule_number rule;
	const char *check, *words;
} checks[] = {
	{QCOW2_VET_RULE_BACKING_FILE, "backing_file", "Image has a backing file"},
	{QCOW2_VET_RULE_DATA_FILE, "data_file", "Image has data_file set"},
	{QCOW2_VET_RULE_INCOMPATIBLE_FEATURE, "unknown_features", "Unknown QCOW2 features found"},
	{QCOW2_VET_RULE_VERSION, "unknown_features", "Unsupported qcow2 version"},
};

/* Its names of formats that are others than ours; to it, what is not known is raw. */
static const struct {
	enum qcow2_file_kind_number kind;
	const char *name;
} formats[] = {
	{QCOW2_FILE_QCOW2, "qcow2"}, {QCOW2_FILE_QCOW, "qcow2"}, {QCOW2_FILE_VMDK, "vmdk"},
	{QCOW2_FILE_VDI, "vdi"},     {QCOW2_FILE_VHD, "vhd"},    {QCOW2_FILE_VHDX, "vhdx"},
	{QCOW2_FILE_QED, "qed"},     {QCOW2_FILE_LUKS, "luks"},  {QCOW2_FILE_LUKS2, "luks"},
	{QCOW2_FILE_ISO9660, "iso"}, {QCOW2_FILE_DISK, "gpt"},
};

static const char *format_name(const struct qcow2_file_kind *kind)
{
	for (size_t i = 0; kind && i < sizeof(formats) / sizeof(formats[0]); i++)
		if ((unsigned)formats[i].kind == kind->number)
			return formats[i].name;
	return "raw";
}

/* A quote would end the value for a shell that reads the lines. */
static void put_quoted(struct spool *out, const char *text)
{
	for (; *text; text++)
		spool_text(out, *text == '\'' ? "'\\''" : (char[]){*text, '\0'});
}

static bool was_put(const struct vet_answer *answer, size_t index, const char *check)
{
	for (size_t i = 0; i < index; i++)
		for (size_t j = 0; j < sizeof(checks) / sizeof(checks[0]); j++)
			if (checks[j].rule == answer->reasons[i].rule->number &&
			    strcmp(checks[j].check, check) == 0)
				return true;
	return false;
}

/* Puts a reason; false if one of its check stands there already. */
static bool put_reason(struct vet_answer *answer, size_t index, bool first)
{
	const struct qcow2_vet_reason *reason = &answer->reasons[index];
	const char *check = reason->rule->id, *words = reason->text;
	struct spool *out = &answer->page;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		if ((unsigned)checks[i].rule != reason->rule->number)
			continue;
		check = checks[i].check;
		words = checks[i].words;
		if (was_put(answer, index, check))
			return false;
	}
	spool_print(out, "%s%s: ", first ? "" : ",", check);
	put_quoted(out, words);
	return true;
}

void vet_show_oslo(struct vet_answer *answer)
{
	const struct qcow2_vet_result *result = &answer->result;
	struct spool *out = &answer->page;
	bool refused = answer->verdict == QCOW2_VET_REFUSED, first = true;

	if (answer->verdict == QCOW2_VET_COULD_NOT_LOOK)
		return;
	spool_print(out, "SAFETY_CHECK_PASSED=%s\n", refused ? "False" : "True");
	spool_print(out, "VIRTUAL_SIZE=%" PRIu64 "\n",
		    result->kind && result->kind->number == QCOW2_FILE_QCOW2
			    ? result->virtual_size_bytes
			    : result->file_size_bytes);
	spool_print(out, "ACTUAL_SIZE=%" PRIu64 "\n", result->file_size_bytes);
	spool_print(out, "IMAGE_FORMAT=\"%s\"\n", format_name(result->kind));
	spool_print(out, "OSLO_UTILS_VERSION=\"qcow2-utils %s\"\n", qcow2_version());
	if (!refused)
		return;
	spool_text(out, "FAILURE_REASONS='");
	for (size_t i = 0; i < answer->count; i++)
		if (put_reason(answer, i, first))
			first = false;
	spool_text(out, "'\n");
}
