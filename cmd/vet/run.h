/* SPDX-License-Identifier: MIT */
/* One call of qcow2 vet: what is asked, and the answer on each image. */
#ifndef CMD_VET_RUN_H
#define CMD_VET_RUN_H

#include "common/command.h"
#include "out/json.h"

#include <qcow2/vet.h>

enum vet_output { VET_HUMAN, VET_JSON, VET_NDJSON, VET_OSLO };

/* What is asked. */
struct vet_run {
	const struct command *command;
	struct qcow2_vet_policy *policy;
	const char *policy_name; /* as the command line has it */
	enum vet_output output;
	bool deep;
	unsigned jobs;          /* threads that vet images; 0: as many as there are processors */
	unsigned threads;       /* of the check of one image */
	const char *files_from; /* a file with names, or NULL */
	bool input_is_list;     /* and it is standard input */
	const char *label;      /* what the answer calls the image, or NULL */
	bool list;              /* the rules, no image */
	bool has_virtual_size;
	uint64_t virtual_size_bytes; /* --max-virtual-size */
};

/* The answer on one image. Its memory is used again for the next one. */
struct vet_answer {
	const struct vet_run *run;
	const char *file;
	const char *name; /* the label, or the file */
	enum qcow2_vet_verdict verdict;
	struct qcow2_vet_result result;
	struct qcow2_vet_reason *reasons;
	size_t count, capacity;
	bool short_of_memory;
	struct qcow2_error err; /* why it could not be looked at */
	struct spool page;      /* what is printed of it */
};

/* Vets a file and puts its page together. Safe to call from several threads. */
void vet_file(const struct vet_run *run, const char *file, struct vet_answer *answer);

void vet_answer_release(struct vet_answer *answer);

/* Vets all images of the line, and prints the answers in their order. Returns the exit code. */
int vet_all(struct vet_run *run, char **files, int count);

#endif
