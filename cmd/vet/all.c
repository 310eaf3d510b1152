/* SPDX-License-Identifier: MIT */
/* Vets many files, and prints the answers in the order of their names. */
#include <stdlib.h>
#include <unistd.h>

#include "common/report.h"
#include "vet/pages.h"

struct all {
	struct vet_run *run;
	struct spool out;
	struct json json;
	int code;
};

/* The exit code of several is that of the worst: could not look, refused, accepted. */
static void worsen(struct all *all, enum qcow2_vet_verdict verdict)
{
	if (verdict == QCOW2_VET_COULD_NOT_LOOK || all->code == QCOW2_VET_ACCEPTED)
		all->code = (int)verdict;
}

static void print(struct all *all, const struct vet_answer *answer)
{
	worsen(all, answer->verdict);
	if (answer->verdict == QCOW2_VET_COULD_NOT_LOOK)
		report_error(all->run->command, answer->file, &answer->err);
	if (answer->page.errnum)
		all->out.errnum = answer->page.errnum;
	if (all->run->output != VET_JSON) {
		spool_write(&all->out, answer->page.kept, answer->page.size);
		return;
	}
	json_begin_object(&all->json);
	vet_show_json(&all->json, answer);
	json_end_object(&all->json);
}

int vet_all(struct vet_run *run, char **files, int count)
{
	struct all all = {.run = run};
	struct vet_answer answer = {.run = run};
	bool list = run->output == VET_JSON && count > 1;

	spool_init(&all.out, STDOUT_FILENO);
	spool_init(&answer.page, -1);
	json_init(&all.json, &all.out, 4, false);
	if (list)
		json_begin_array(&all.json);
	for (int i = 0; i < count; i++) {
		vet_file(run, files[i], &answer);
		print(&all, &answer);
	}
	if (list)
		json_end_array(&all.json);
	if (run->output == VET_JSON)
		spool_text(&all.out, "\n");
	all.code = finish_output(run->command, &all.out, all.code);
	vet_answer_release(&answer);
	spool_release(&all.out);
	return all.code;
}
