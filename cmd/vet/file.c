/* SPDX-License-Identifier: MIT */
/* Vets one file. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "vet/pages.h"
#include "vet/stream.h"

#include <qcow2/source.h>

static void keep(void *opaque, const struct qcow2_vet_reason *reason)
{
	struct vet_answer *answer = opaque;
	size_t capacity = answer->capacity ? answer->capacity * 2 : 4;
	struct qcow2_vet_reason *grown;

	if (answer->count == answer->capacity) {
		grown = realloc(answer->reasons, capacity * sizeof(*grown));
		if (!grown) {
			answer->short_of_memory = true;
			return;
		}
		answer->reasons = grown;
		answer->capacity = capacity;
	}
	answer->reasons[answer->count++] = *reason;
}

/*
 * The folder of a file, as its path says. NULL for an open descriptor: where its file has a name is
 * not known.
 */
static const char *folder_of(const char *file, char *folder, size_t size)
{
	const char *slash = strrchr(file, '/');
	int length = slash ? (int)(slash - file) : 0;

	if (strcmp(file, "-") == 0 || strcmp(file, "/dev/stdin") == 0 ||
	    strncmp(file, "/dev/fd/", 8) == 0 || (size_t)length >= size)
		return NULL;
	if (!slash)
		return ".";
	snprintf(folder, size, "%.*s", length, file);
	return folder;
}

static int look(const struct vet_run *run, struct vet_answer *answer)
{
	char folder[PATH_MAX];
	int result, fd = vet_descriptor_of(answer->file);
	struct qcow2_vet_options options = {.size = sizeof(options),
					    .policy = run->policy,
					    .deep = run->deep,
					    .folder =
						    folder_of(answer->file, folder, sizeof(folder)),
					    .threads = run->threads,
					    .memory_limit_bytes = limits_memory(run->command),
					    .reason = keep,
					    .opaque = answer,
					    .file = fd < 0 ? answer->file : NULL};
	struct qcow2_source *source;

	/* The name is one of a server, which QEMU would be given likewise, and not of a file. */
	if (qcow2_source_is_nbd(answer->file))
		options.file = options.folder = NULL;
	if (fd == STDIN_FILENO && run->input_is_list) {
		answer->err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT,
						   .offset_bytes = QCOW2_NO_OFFSET,
						   .text = "standard input is the list of names"};
		return -1;
	}
	if (fd >= 0)
		return vet_stream(answer, fd, &options);
	if (limits_open(run->command->common, answer->file, &source, &answer->err))
		return -1;
	result = qcow2_vet(source, &options, &answer->result, &answer->err);
	qcow2_source_close(source);
	return result;
}

/* Names the rules that could not be applied. */
static void tell_unapplied(struct vet_answer *answer)
{
	struct qcow2_error *err = &answer->err;
	const struct qcow2_vet_rule *rule;
	size_t at;

	*err = (struct qcow2_error){.code = QCOW2_ERROR_LIMIT, .offset_bytes = QCOW2_NO_OFFSET};
	at = (size_t)snprintf(err->text, sizeof(err->text),
			      "what these rules look at has passed in the pipe, vet the file:");
	for (size_t i = 0; (rule = qcow2_vet_rule_at(i)) != NULL; i++)
		if (answer->result.unapplied >> rule->number & 1 && at < sizeof(err->text))
			at += (size_t)snprintf(err->text + at, sizeof(err->text) - at, " %s",
					       rule->id);
}

/* A reason that could not be kept makes no verdict wrong, but its page. */
static void judge(struct vet_answer *answer, int result)
{
	answer->verdict = result ? QCOW2_VET_COULD_NOT_LOOK : answer->result.verdict;
	if (result == 0 && answer->verdict == QCOW2_VET_COULD_NOT_LOOK)
		tell_unapplied(answer);
	if (result == 0 && answer->short_of_memory) {
		answer->verdict = QCOW2_VET_COULD_NOT_LOOK;
		answer->err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
						   .offset_bytes = QCOW2_NO_OFFSET};
		strcpy(answer->err.text, "out of memory");
	}
	if (answer->verdict == QCOW2_VET_COULD_NOT_LOOK) {
		answer->count = 0;
		answer->result.reasons = 0;
	}
}

static void show(struct vet_answer *answer)
{
	struct json json;

	switch (answer->run->output) {
	case VET_HUMAN:
		vet_show_human(answer);
		return;
	case VET_OSLO:
		vet_show_oslo(answer);
		return;
	case VET_JSON:
		return; /* a document of all of them is put together at the end */
	case VET_NDJSON:
		json_init(&json, &answer->page, 0, false);
		json_begin_line_object(&json);
		vet_show_json(&json, answer);
		json_end_object(&json);
		spool_text(&answer->page, "\n");
	}
}

void vet_file(const struct vet_run *run, const char *file, struct vet_answer *answer)
{
	answer->run = run;
	answer->file = file;
	answer->name = run->label ? run->label : file;
	answer->count = 0;
	answer->short_of_memory = false;
	answer->result = (struct qcow2_vet_result){.size = sizeof(answer->result)};
	answer->page.size = 0;
	judge(answer, look(run, answer));
	show(answer);
}

void vet_answer_release(struct vet_answer *answer)
{
	free(answer->reasons);
	spool_release(&answer->page);
}
